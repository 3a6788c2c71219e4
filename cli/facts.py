"""One host's facts as the aggregator hands them out, taken apart for showing: items by kind, counters by name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from nodetell.v1 import facts_pb2, operator_pb2

from aggregator.node_json import changes_json, counters_json, item_json, plain, summary_json
from cli.report import Json


@dataclass(frozen=True, slots=True)
class Change:
    """By how much a counter rose, over how many seconds."""

    increment: int
    over_s: float


class HostFacts:
    """Look-ups over a GetNodeResponse."""

    def __init__(self, response: operator_pb2.GetNodeResponse) -> None:
        self.summary = response.summary
        self.at = response.facts.at_unix_ms / 1000
        self.items = list(response.facts.items)
        self.counters: dict[str, dict[str, int]] = dict(counters_json(response.facts))
        self._changes = response.changes
        self.changes: dict[str, dict[str, Change]] = {}
        for change in response.changes:
            of_subject = self.changes.setdefault(change.subject, {})
            of_subject[change.name] = Change(change.increment, change.over_ms / 1000)
        self.volumes = list(response.volumes)
        """What host and API server say of each volume, joined."""
        self.api_unknown = list(response.api_unknown)
        """Resources of the API server that those rows lack."""
        self.links = {item.link.ifindex: item.link for item in self.of("link")}

    def of(self, kind: str) -> Iterator[facts_pb2.Item]:
        """Items of one kind of fact ("link", "disk", "coverage", ...)."""
        return (item for item in self.items if item.WhichOneof("fact") == kind)

    def first(self, kind: str) -> Any:
        """The only fact of its kind; None: there is none."""
        return next((getattr(item, kind) for item in self.of(kind)), None)

    def as_json(self) -> Json:
        """Everything, under its own names: summary, volumes, items by key, counters and their changes by subject."""
        return {
            **summary_json(self.summary),
            "volume_rows": [plain(volume) for volume in self.volumes],
            "api_unknown": self.api_unknown,
            "items": [told for item in self.items if (told := item_json(item)) is not None],
            "counters": self.counters,
            "changes": changes_json(self._changes),
        }
