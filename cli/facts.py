"""One host's facts as the aggregator hands them out, taken apart for showing: items by kind, counters by name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message
from nodetell.v1 import facts_pb2, operator_pb2

from cli.clock_text import offset_json
from cli.report import Json, iso


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
        names = {schema.id: tuple(schema.names) for schema in response.facts.schemas}
        self.counters: dict[str, dict[str, int]] = {
            block.subject: dict(zip(names.get(block.schema, ()), block.values, strict=False))
            for block in response.facts.blocks
        }
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
            "items": [
                {"key": item.key, "fact": kind} | plain(getattr(item, kind))
                for item in self.items
                if (kind := item.WhichOneof("fact"))
            ],
            "counters": self.counters,
            "changes": {
                subject: {
                    name: {"increment": change.increment, "over_s": change.over_s} for name, change in names.items()
                }
                for subject, names in self.changes.items()
            },
        }


def summary_json(summary: operator_pb2.NodeSummary) -> Json:
    """A node in the list of nodes."""
    document = plain(summary)
    document["facts_at"] = iso(document.pop("facts_at_unix_ms") / 1000) or None
    document["heard_at"] = iso(document.pop("heard_at_unix_ms") / 1000) or None
    for name in [name for name in document if name.startswith("clock_")]:
        del document[name]
    document["clock"] = offset_json(summary)
    return document


def plain(message: Message) -> Json:
    """A message as JSON: enums as words, 64-bit integers as numbers, what is unset left out."""
    document: Json = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if field.is_repeated:
            document[field.name] = [_plain_value(field, each) for each in value]
        elif not field.has_presence or message.HasField(field.name):
            document[field.name] = _plain_value(field, value)
    return document


def _plain_value(field: Any, value: Any) -> Any:
    if field.message_type is not None:
        return plain(value)
    if field.enum_type is not None:
        number = field.enum_type.values_by_number.get(value)
        prefix = _screaming(field.enum_type.name)
        return number.name.removeprefix(prefix).lower() if number else value
    return value


def _screaming(name: str) -> str:
    """ "OperState" as "OPER_STATE_"."""
    return "".join(f"_{c}" if c.isupper() else c.upper() for c in name).lstrip("_") + "_"
