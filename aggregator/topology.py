"""Where nodes are, and which of them volumes can be used on, kept as long as no node's labels change.

A node's status changes all the time and its labels hardly ever, so this holds for hours where it would otherwise be
worked out for every pod. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from aggregator.cluster.objects import Claim, NodeObject, NodeTerm, Pod, Volume
from aggregator.cluster.state import Change, ClusterState
from aggregator.cluster.zones import zone_of
from aggregator.scheduling.selectors import any_term_holds

Terms = tuple[tuple[NodeTerm, ...], ...]
"""Node affinities that must all hold: one for each volume."""
_NAME = "topology"
_MOST_REMEMBERED = 20_000


class Topology:
    """Of all nodes of a state."""

    def __init__(self, state: ClusterState) -> None:
        self.revision = state.revision
        self.version = 0
        """Revision of the state at which a node last came, went or moved."""
        self.standing = 0
        """... or became ready, unready, cordoned or tainted, or no longer so."""
        self.zones: Mapping[str, str] = {}
        """Zone by name of the node; nodes in no zone have the empty one."""
        self._nodes: Mapping[str, NodeObject] = {}
        self._usable: dict[Terms, tuple[str, ...]] = {}
        self._read(state)

    def _read(self, state: ClusterState) -> None:
        self.version = self.standing = state.revision
        self._nodes = dict(state.nodes)
        self.zones = {name: zone_of(node) for name, node in sorted(self._nodes.items())}
        self._usable.clear()

    def take(self, state: ClusterState, changes: list[Change]) -> None:
        """Take in what happened to the state."""
        of_nodes = [change for change in changes if change.resource == "nodes"]
        if any(map(_moved, of_nodes)):
            self._read(state)
        elif any(map(_changed_standing, of_nodes)):
            self.standing = state.revision

    def usable(self, terms: Terms) -> tuple[str, ...]:
        """Names of the nodes on which volumes with these node affinities can be used, in order."""
        found = self._usable.get(terms)
        if found is None:
            if len(self._usable) >= _MOST_REMEMBERED:
                self._usable.clear()
            found = self._usable[terms] = tuple(
                name for name in self.zones if all(any_term_holds(each, self._nodes[name]) for each in terms)
            )
        return found


def _moved(change: Change) -> bool:
    before, after = change.before, change.after
    return not (isinstance(before, NodeObject) and isinstance(after, NodeObject) and before.labels == after.labels)


def _changed_standing(change: Change) -> bool:
    before, after = change.before, change.after
    if not (isinstance(before, NodeObject) and isinstance(after, NodeObject)):
        return True
    same = before.taints == after.taints and before.unschedulable == after.unschedulable
    return not same or before.condition("Ready") != after.condition("Ready")


def topology_of(state: ClusterState) -> Topology:
    """Of this state, current."""
    known = state.derived.get(_NAME)
    changes = state.changes(known.revision) if isinstance(known, Topology) else None
    if not isinstance(known, Topology) or changes is None:
        known = state.derived[_NAME] = Topology(state)
        return known
    known.take(state, list(changes))
    known.revision = state.revision
    return known


@dataclass(frozen=True, slots=True)
class Pinned:
    """A volume of a pod that cannot be used on every node."""

    claim: Claim
    volume: Volume
    terms: tuple[NodeTerm, ...]


def pinned_volumes(state: ClusterState, pod: Pod) -> list[Pinned]:
    """Those of the pod's bound claims, in the pod's order, as far as they are known."""
    found = []
    for use in pod.claims:
        claim = state.claims.get(f"{pod.namespace}/{use.claim}")
        volume = state.volume_of(claim) if claim is not None else None
        if claim is not None and volume is not None and volume.node_terms is not None:
            found.append(Pinned(claim, volume, volume.node_terms))
    return found


def terms_of(pinned: Iterable[Pinned]) -> Terms:
    """All of their node affinities, each once."""
    return tuple(dict.fromkeys(each.terms for each in pinned))
