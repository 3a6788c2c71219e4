"""Objects that are worth a look, kept up to date by what changed: of many attachments few are unsettled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from aggregator.cluster.state import ClusterState

_T = TypeVar("_T")


@dataclass(slots=True)
class _Kept(Generic[_T]):
    revision: int = -1
    found: dict[str, _T] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Watchlist(Generic[_T]):
    """What of a resource's objects to keep in sight."""

    name: str
    """Of its own, among all that is derived from the objects."""
    resource: str
    kind: type[_T]
    everything: Callable[[ClusterState], Mapping[str, _T]]
    wanted: Callable[[_T], bool]
    """By the object alone."""

    def of(self, objects: ClusterState) -> Mapping[str, _T]:
        """The wanted ones by key. Costs what changed since it was asked last."""
        kept = objects.derived.get(self.name)
        if not isinstance(kept, _Kept):
            kept = objects.derived[self.name] = _Kept()
        if kept.revision < objects.revisions[self.resource] or kept.revision < 0:
            self._renew(objects, kept)
        kept.revision = objects.revision
        return kept.found

    def _renew(self, objects: ClusterState, kept: _Kept[_T]) -> None:
        changes = objects.changes(kept.revision) if kept.revision >= 0 else None
        if changes is None:
            kept.found = {key: each for key, each in self.everything(objects).items() if self.wanted(each)}
            return
        for change in changes:
            if change.resource != self.resource or not change.key:
                continue
            if isinstance(change.after, self.kind) and self.wanted(change.after):
                kept.found[change.key] = change.after
            else:
                kept.found.pop(change.key, None)
