"""Which nodes' leases are late: of thousands that are renewed every 10 s, all are walked only when one more may be."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from aggregator.cluster.objects import Lease
from aggregator.cluster.state import Change, ClusterState

PREFIX = "kube-node-lease/"
"""Of their keys."""


@dataclass(slots=True)
class LateLeases:
    """Nodes' leases by how long ago they were renewed, kept as they change."""

    number: int = 0
    """Of all of them, as of the last walk and what came and went since."""
    _late: dict[str, Lease] = field(default_factory=dict)
    """Those that were late at the last walk and have not changed since, by key."""
    _oldest: float = float("-inf")
    """None of the others was renewed before that, seconds since the epoch."""
    _late_s: float = 0.0
    _at: float = 0.0
    """When all were walked."""

    def begin_anew(self) -> None:
        """What has changed is not known."""
        self._oldest = float("-inf")

    def take(self, changes: Iterable[Change]) -> None:
        """Take in what happened to the state."""
        for change in changes:
            if change.resource == "leases" and not change.key:
                self.begin_anew()
            elif change.resource == "leases" and change.key.startswith(PREFIX):
                self._late.pop(change.key, None)
                self.number += (change.after is not None) - (change.before is not None)
                if isinstance(change.after, Lease):
                    self._oldest = min(self._oldest, change.after.renewed)

    def late(self, state: ClusterState, now: float, late_s: float) -> list[Lease]:
        """Those that were renewed more than `late_s` seconds before `now`. To be asked after `take`."""
        limit = now - late_s
        if self._oldest < limit or now < self._at or late_s != self._late_s:
            leases = [lease for key, lease in state.leases.items() if key.startswith(PREFIX)]
            self.number, self._at, self._late_s = len(leases), now, late_s
            self._late = {lease.key: lease for lease in leases if lease.renewed < limit}
            self._oldest = min((lease.renewed for lease in leases if lease.renewed >= limit), default=float("inf"))
        return list(self._late.values())
