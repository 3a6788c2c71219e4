"""Volumes by class and by where they can be used, kept as they change: thousands of volumes are in a few places."""

from __future__ import annotations

from dataclasses import dataclass, field

from aggregator.cluster.objects import NodeTerm, Volume
from aggregator.cluster.state import ClusterState

_NAME = "storage.volumes"


@dataclass(slots=True)
class VolumesByPlace:
    """Names and claims of all volumes by class and node affinity, kept as objects change."""

    revision: int = 0
    changed: int = 0
    """Revision of the state at which a volume last changed."""
    by_class: dict[str, dict[tuple[NodeTerm, ...] | None, dict[str, str]]] = field(default_factory=dict)

    def take(self, before: object, after: object) -> None:
        """Take in one change of a volume."""
        if isinstance(before, Volume):
            self.by_class.get(before.storage_class, {}).get(before.node_terms, {}).pop(before.name, None)
        if isinstance(after, Volume):
            of_class = self.by_class.setdefault(after.storage_class, {})
            of_class.setdefault(after.node_terms, {})[after.name] = after.claim


def volumes_by_place(state: ClusterState) -> VolumesByPlace:
    """Of this state, current."""
    known = state.derived.get(_NAME)
    changes = state.changes(known.revision) if isinstance(known, VolumesByPlace) else None
    if not isinstance(known, VolumesByPlace) or changes is None:
        known = state.derived[_NAME] = VolumesByPlace()
        for volume in state.volumes.values():
            known.take(None, volume)
        known.changed = state.revision
    else:
        for change in changes:
            if change.resource == "persistentvolumes":
                known.take(change.before, change.after)
                known.changed = state.revision
    known.revision = state.revision
    return known
