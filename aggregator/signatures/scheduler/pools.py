"""How much of each node pool is requested, and of what size its pods are; brought up to date node by node.

Only nodes count that pods can be put on now: ready, not cordoned, not about to be taken away, and not kept for the
control plane. What a pool has that takes no pods would make it look roomier than it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from aggregator.cluster.objects import Amounts, NodeObject, Pod
from aggregator.cluster.pools import pool_of
from aggregator.cluster.state import Change, ClusterState
from aggregator.scheduling.candidates import of_control_plane, of_purpose
from aggregator.scheduling.selectors import STOPPING, any_term_holds, untolerated

_NAME = "scheduler.pools"
RESOURCES = ("cpu", "memory")
_NOT_USUAL = ("DaemonSet", "Node")
"""Owners whose pods say nothing of what is put on a pool next: each node has one anyway, and the kubelet's own."""
Size = tuple[int, int]
"""CPU in thousandths and memory in bytes."""


@dataclass(slots=True)
class _Member:
    """What a node adds to its pool."""

    pool: str
    has: Size
    requested: Size
    pods: tuple[Size, ...]
    free_pods: int


@dataclass(slots=True)
class Pool:
    """Sums over the nodes of a pool that take pods."""

    name: str
    has: list[int] = field(default_factory=lambda: [0, 0])
    requested: list[int] = field(default_factory=lambda: [0, 0])
    members: dict[str, _Member] = field(default_factory=dict)
    """By name of the node."""
    sizes: Counter[Size] = field(default_factory=Counter)
    """How many of its pods have a size, those of DaemonSets and the kubelet's own left out."""
    derived: dict[str, object] = field(default_factory=dict)
    """What others have worked out from all this, each under a name of its own; emptied when a node changes."""

    def share(self, index: int) -> float:
        """Share of a resource (index in RESOURCES) that is requested."""
        return self.requested[index] / self.has[index] if self.has[index] else 0.0

    def free(self, name: str) -> Size:
        """What a node of it has left."""
        member = self.members[name]
        return member.has[0] - member.requested[0], member.has[1] - member.requested[1]

    def has_room(self, size: Size) -> bool:
        """Whether a pod of this size fits on a node of the pool."""
        cpu, memory = size
        return any(
            each.free_pods > 0 and each.has[0] - each.requested[0] >= cpu and each.has[1] - each.requested[1] >= memory
            for each in self.members.values()
        )


class Pools:
    """Of one state."""

    def __init__(self, state: ClusterState) -> None:
        self.revision = state.revision
        self.by_name: dict[str, Pool] = {}
        self._pool_of: dict[str, str] = {}
        for name in state.nodes:
            self._put(state, name)

    def take(self, state: ClusterState, changes: Iterable[Change]) -> None:
        """Look again at the nodes that changes touch."""
        names: set[str] = set()
        for change in changes:
            for thing in (change.before, change.after):
                if isinstance(thing, NodeObject):
                    names.add(thing.name)
                elif isinstance(thing, Pod) and thing.node:
                    names.add(thing.node)
        self.revision = state.revision
        for name in names:
            self._remove(name)
            self._put(state, name)

    def _put(self, state: ClusterState, name: str) -> None:
        node = state.nodes.get(name)
        if node is None or not takes_pods(node):
            return
        requested = state.requested(name)
        found = pool_of(node)
        pool = self.by_name.setdefault(found, Pool(found))
        member = _Member(
            found,
            size_of(node.allocatable),
            size_of(requested),
            tuple([size_of(pod.spec.requests) for pod in state.pods_on(name).values() if is_usual(pod)]),
            node.allocatable.get("pods", 0) - requested.get("pods", 0),
        )
        pool.members[name] = member
        pool.derived.clear()
        self._pool_of[name] = found
        for index in range(len(RESOURCES)):
            pool.has[index] += member.has[index]
            pool.requested[index] += member.requested[index]
        pool.sizes.update(member.pods)

    def _remove(self, name: str) -> None:
        found = self._pool_of.pop(name, None)
        if found is None:
            return
        pool = self.by_name[found]
        member = pool.members.pop(name)
        pool.derived.clear()
        for index in range(len(RESOURCES)):
            pool.has[index] -= member.has[index]
            pool.requested[index] -= member.requested[index]
        pool.sizes.subtract(member.pods)
        for size in member.pods:
            if not pool.sizes[size]:
                del pool.sizes[size]
        if not pool.members:
            del self.by_name[found]


def pools(state: ClusterState) -> Mapping[str, Pool]:
    """Pools by name, current."""
    known = state.derived.get(_NAME)
    changes = state.changes(known.revision) if isinstance(known, Pools) else None
    if not isinstance(known, Pools) or changes is None:
        known = state.derived[_NAME] = Pools(state)
    else:
        known.take(state, changes)
    return known.by_name


def takes_pods(node: NodeObject) -> bool:
    """Pods without a toleration of their pool's taint aside, the node takes what is put on it. One that stands for a
    single pod, or for a cloud without end, does not: how full it is says nothing."""
    if node.labels.get("type") == "virtual-kubelet" or node.labels.get("eks.amazonaws.com/compute-type") == "fargate":
        return False
    if node.ready != "True" or node.unschedulable or node.deleted:
        return False
    stopping = [str(taint) for taint in node.taints if taint.effect in STOPPING]
    return not any(of_control_plane(taint) or not of_purpose(taint) for taint in stopping)


def is_usual(pod: Pod) -> bool:
    """It has not ended, and is none that every node has."""
    return not pod.terminal and (pod.owner is None or pod.owner.kind not in _NOT_USUAL)


def size_of(amounts: Amounts) -> Size:
    """CPU and memory of these amounts."""
    return amounts.get("cpu", 0), amounts.get("memory", 0)


def is_meant_for(pod: Pod, node: NodeObject) -> bool:
    """Selector and taints let the pod onto the node."""
    spec = pod.spec
    return (
        pod.pinned_node in ("", node.name)
        and all(node.labels.get(key) == value for key, value in spec.node_selector.items())
        and any_term_holds(spec.node_terms, node)
        and not untolerated(spec.tolerations, node.taints)
    )
