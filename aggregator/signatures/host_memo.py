"""What a signature has worked out of each host, kept until that host is another.

A host's windows lie on its own clock, which moves only with what its agent sends. So whatever follows from one host
and its Node alone holds until either changes, and an evaluation costs what has changed. Signatures keep such a memo
with the view's objects (ClusterState.derived): a view with new objects is evaluated from scratch. All hosts are walked
once for a view, whoever asks.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from aggregator.cluster.objects import NodeObject
from aggregator.node_state import NodeState
from aggregator.signatures.moves import Moves
from aggregator.view import ClusterView

_T = TypeVar("_T")
_NAME = "hosts"


class HostMemo(Generic[_T]):
    """Something of each host of a view. Its owner fills `known` with what `changed` tells."""

    def __init__(self) -> None:
        self.known: dict[str, _T] = {}
        """By name of the host."""
        self._names: set[str] = set()
        self._walk: _Walk | None = None
        self._turn = 0
        self._left = False

    def changed(self, view: ClusterView) -> list[tuple[str, NodeState, NodeObject | None]]:
        """Hosts that are new, or another than when they were given last, each with its Node."""
        walk = _walk(view)
        if self._walk is not walk:
            self._walk, self._turn = walk, 0
            self._left = True
        names = walk.moves.since(self._turn)
        self._left = self._left or walk.left > self._turn
        self._turn = walk.moves.turn
        self._names.update(names)
        nodes = view.nodes
        return [(name, view.hosts[name], nodes.get(name)) for name in names]

    def gone(self, view: ClusterView) -> list[str]:
        """Hosts that the view has not any more; they are forgotten. To be asked after `changed`."""
        if not self._left:
            return []
        self._left = False
        names = sorted(name for name in self._names if name not in view.hosts)
        for name in names:
            self._names.discard(name)
            self.known.pop(name, None)
        return names


class _Walk:
    """All hosts as they were when they were walked last, and which have changed at which walk."""

    def __init__(self) -> None:
        self.view: ClusterView | None = None
        self.moves = Moves()
        self.left = 0
        """Turn at which a host was last found to have left."""
        self._of: dict[str, tuple[NodeState, int, NodeObject | None]] = {}

    def follow(self, view: ClusterView) -> None:
        """See what has changed since the view before this one."""
        of, nodes, moves = self._of, view.nodes, self.moves
        self.view = view
        moves.begin()
        for name, state in view.hosts.items():
            before = of.get(name)
            if (
                before is None
                or before[1] != state.revision
                or before[0] is not state
                or before[2] is not nodes.get(name)
            ):
                of[name] = (state, state.revision, nodes.get(name))
                moves.note(name)
        if len(of) != len(view.hosts):
            self.left = moves.turn
            for name in [name for name in of if name not in view.hosts]:
                del of[name]
                moves.forget(name)


def _walk(view: ClusterView) -> _Walk:
    walk = view.objects.derived.get(_NAME)
    if not isinstance(walk, _Walk):
        walk = view.objects.derived[_NAME] = _Walk()
    if walk.view is not view:
        walk.follow(view)
    return walk
