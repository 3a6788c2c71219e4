"""What a signature has worked out of each host, kept until that host is another.

A host's windows lie on its own clock, which moves only with what its agent sends. So whatever follows from one host
and its Node alone holds until either changes, and an evaluation costs what has changed. Signatures keep such a memo
with the view's objects (ClusterState.derived): a view with new objects is evaluated from scratch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

from aggregator.cluster.objects import NodeObject
from aggregator.node_state import NodeState
from aggregator.view import ClusterView

_T = TypeVar("_T")


class HostMemo(Generic[_T]):
    """Something of each host of a view. Its owner fills `known` with what `changed` tells."""

    def __init__(self) -> None:
        self.known: dict[str, _T] = {}
        """By name of the host."""
        self._of: dict[str, tuple[NodeState, int, NodeObject | None]] = {}

    def changed(self, view: ClusterView) -> Iterator[tuple[str, NodeState, NodeObject | None]]:
        """Hosts that are new, or another than when they were given last, each with its Node."""
        of, nodes = self._of, view.nodes
        for name, state in view.hosts.items():
            node, before = nodes.get(name), of.get(name)
            if before is None or before[1] != state.revision or before[0] is not state or before[2] is not node:
                of[name] = (state, state.revision, node)
                yield name, state, node

    def gone(self, view: ClusterView) -> list[str]:
        """Hosts that the view has not any more; they are forgotten. To be asked after `changed`."""
        if len(self._of) == len(view.hosts):
            return []
        names = [name for name in self._of if name not in view.hosts]
        for name in names:
            del self._of[name]
            self.known.pop(name, None)
        return names
