"""What the loss of nodes or zones would mean: which pods would come back elsewhere, which could not, and why not.

An estimate in one respect: pods are placed one after the other, the most urgent and the most constrained first, each on
the first node that takes it, so that no two count on the same room. The real scheduler may choose better or worse, and
it may preempt pods of lower priority, which is left out here. Pure.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Set
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import takewhile
from typing import cast

from aggregator.cluster.objects import NodeObject, Pod
from aggregator.cluster.state import ClusterState
from aggregator.cluster.workloads import controller_of, workload_of
from aggregator.scheduling.cluster import Cluster
from aggregator.scheduling.fit import Fit
from aggregator.scheduling.selectors import selects
from aggregator.scheduling.stops import POD_AFFINITY, Stop
from aggregator.scheduling.volumes import volume_needs
from aggregator.shortage import Shortage, shortage_of
from aggregator.topology import Pinned, Terms, Topology, pinned_volumes, terms_of, topology_of
from aggregator.view import ClusterView

NEEDED = ("nodes", "pods")
"""Resources of the API server without which nothing can be said."""
WANTED = ("persistentvolumeclaims", "persistentvolumes", "csinodes", "replicasets")
"""... and those without which less can be."""
_STAYING = ("DaemonSet", "Node")
"""Controllers whose pods belong to their node: they are not missed elsewhere. Node: a static pod's mirror."""
_MOST_COUNTED = 500
"""How often what the pods of the cluster mean for a template is counted: once, and anew after each placement where that
may open other nodes (topology spread, affinity); after so many, no more."""
_STEP = 100
"""Pods that are placed in one step."""
_MOST_LOOKED_AT = 50_000
_FEW_LOOKED_AT = 50
"""So many nodes are looked at for reasons in one answer; after that, so many for each template, the emptiest ones."""


NOBODY = Cluster(ClusterState())
"""A cluster without pods: what a node is by itself is asked of it, not who runs there."""


class WhatIfError(Exception):
    """The question cannot be answered: why, one line."""


class WhatIfUnknownError(WhatIfError):
    """What the answer rests on is not known."""


class Cause(StrEnum):
    """Why pods could not come back."""

    VOLUME = "volume"
    """Their volume cannot be used where nodes are left that would take them."""
    ROOM = "room"
    """Nodes are left that they may use, and none has room, or another rule keeps them off."""
    SHARED_ROOM = "shared room"
    """There is room for one of them, and others of the lost pods need it as well."""
    NOT_MADE_AGAIN = "not made again"
    """They have no controller: nobody makes them again."""


@dataclass(frozen=True, slots=True)
class Stranded:
    """Pods of one workload that could not come back, for one reason."""

    workload: str
    """"Kind/namespace/name"."""
    cause: Cause
    because: str
    """A clause with the numbers in it."""
    needs: tuple[str, ...]
    """What would make them come back: any of these."""
    pods: tuple[str, ...]
    """"namespace/name"."""
    claims: tuple[str, ...] = ()
    """Of the volumes that hold them, "namespace/name"."""


@dataclass(frozen=True, slots=True)
class Returning:
    """Pods of one workload that would come back, and where they may."""

    workload: str
    pods: tuple[str, ...]
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Loss:
    """What would follow."""

    nodes: tuple[str, ...]
    """Lost."""
    stranded: tuple[Stranded, ...] = ()
    returning: tuple[Returning, ...] = ()
    going_with_it: int = 0
    """Pods of DaemonSets and static ones: they belong to their node."""
    unknown: tuple[str, ...] = ()
    """What could not be taken into account, one clause each."""

    @property
    def moving(self) -> int:
        """Pods that would have to come back elsewhere."""
        groups: tuple[Stranded | Returning, ...] = (*self.stranded, *self.returning)
        return sum(len(each.pods) for each in groups)


@dataclass(slots=True)
class _Mover:
    """A pod that has to come back elsewhere."""

    pod: Pod
    pinned: list[Pinned]
    candidates: int
    """Nodes left on which its volumes can be used."""

    @property
    def key(self) -> tuple[Terms, int, str]:
        """What it has in common with all that fit the same nodes. PodSpecs are shared by the pods of a template."""
        return terms_of(self.pinned), id(self.pod.spec), self.pod.pinned_node


def nodes_of(view: ClusterView, zones: Iterable[str], nodes: Iterable[str]) -> tuple[str, ...]:
    """Names of all nodes of these zones, and these nodes. Raises WhatIfError for one that there is not."""
    state = view.objects
    missing = [resource for resource in NEEDED if not state.knows(resource)]
    if missing:
        raise WhatIfUnknownError(f"{' and '.join(missing)} of the API server are not known: nothing can be said")
    topology = topology_of(state)
    there = sorted({zone for zone in topology.zones.values() if zone})
    found: dict[str, None] = {}
    for zone in zones:
        if zone not in there:
            raise WhatIfError(f"no node is in zone {zone}; zones there are: {_some(there)}")
        found.update((name, None) for name, its in topology.zones.items() if its == zone)
    for name in nodes:
        if name not in state.nodes:
            raise WhatIfError(f"there is no node {name}; nodes there are: {_some(sorted(state.nodes))}")
        found[name] = None
    if not found:
        raise WhatIfError("no node and no zone is named that would be lost")
    return tuple(found)


def _some(names: list[str], most: int = 12) -> str:
    more = len(names) - most
    return (", ".join(names[:most]) or "none") + (f" and {more:,} more" if more > 0 else "")


def lose(view: ClusterView, nodes: Iterable[str]) -> Loss:
    """What would follow if these nodes were lost now. `nodes`: names that the view has."""
    steps = lose_in_steps(view, nodes)
    while True:
        try:
            next(steps)
        except StopIteration as done:
            return cast(Loss, done.value)


def lose_in_steps(view: ClusterView, nodes: Iterable[str]) -> Generator[None, None, Loss]:
    """The same in steps of a few milliseconds, for whoever has other things to do meanwhile. What happens to the view
    between them may or may not be in the answer."""
    state, lost = view.objects, tuple(dict.fromkeys(nodes))
    topology = topology_of(state)
    gone = frozenset(lost) | {name for name, node in state.nodes.items() if not reachable(node)}
    movers, stranded, going = _movers(state, topology, lost, gone)
    without_pods = frozenset(mover.pod.key for mover in movers)
    placing = _Placing(state, topology, gone, without_pods)
    for number, mover in enumerate(sorted(movers, key=_urgency), 1):
        if placing.place(mover) or not number % _STEP:
            yield
    unknown = [f"{resource} of the API server are not known" for resource in WANTED if not state.knows(resource)]
    return Loss(
        lost,
        tuple(sorted([*stranded, *placing.stranded()], key=lambda each: (each.cause, each.workload, each.because))),
        tuple(placing.returning()),
        going,
        (*unknown, *sorted(placing.unknown)),
    )


def reachable(node: NodeObject) -> bool:
    """Pods may be placed there and run: it is not lost already."""
    ready = node.condition("Ready")
    return ready is None or ready.status == "True"


def _movers(
    state: ClusterState, topology: Topology, lost: tuple[str, ...], gone: Set[str]
) -> tuple[list[_Mover], list[Stranded], int]:
    """Pods that have to come back, those that nobody makes again, and the number of those that belong to their node."""
    movers, orphans, going = [], [], 0
    left: dict[Terms, int] = {}
    for name in lost:
        for _, pod in sorted(state.pods_on(name).items()):
            if pod.terminal or pod.deleted:
                continue
            owner = controller_of(state, pod)
            if owner is not None and owner.kind in _STAYING:
                going += 1
            elif owner is None:
                orphans.append(_orphan(pod))
            else:
                pinned = pinned_volumes(state, pod)
                terms = terms_of(pinned)
                if terms not in left:
                    left[terms] = sum(name not in gone for name in topology.usable(terms))
                movers.append(_Mover(pod, pinned, left[terms]))
    return movers, orphans, going


def _orphan(pod: Pod) -> Stranded:
    because, needs = "it has no controller: nobody makes it again", ("a Deployment or StatefulSet of its own",)
    return Stranded(f"Pod/{pod.key}", Cause.NOT_MADE_AGAIN, because, needs, (pod.key,))


def _urgency(mover: _Mover) -> tuple[int, int, int, int, str]:
    requests = mover.pod.spec.requests
    return (
        -mover.pod.spec.priority,
        mover.candidates,
        -requests.get("cpu", 0),
        -requests.get("memory", 0),
        mover.pod.key,
    )


@dataclass(slots=True)
class _Line:
    """Pods that fit the same nodes wait in one line: a node that is full for one of them is full for the next."""

    fit: Fit
    nodes: Iterator[NodeObject]
    node: NodeObject | None


@dataclass(slots=True)
class _Group:
    """Pods of one workload with one fate."""

    pods: list[str] = field(default_factory=list)
    nodes: dict[str, None] = field(default_factory=dict)
    claims: dict[str, None] = field(default_factory=dict)


class _Placing:
    """Places pods one after the other."""

    def __init__(self, state: ClusterState, topology: Topology, gone: Set[str], without_pods: Set[str]) -> None:
        self._state = state
        self._topology = topology
        self._gone = gone
        self._cluster = Cluster(state, gone, without_pods)
        self._untouched = Cluster(state, gone, without_pods)
        """As it is before any of them has come back."""
        self._free_cpu_before = {node.name: self._free_cpu(node) for node in self._cluster.nodes()}
        self._left = sorted(self._cluster.nodes(), key=lambda node: (-self._free_cpu_before[node.name], node.name))
        """The emptiest first, as the scheduler prefers."""
        self._lines: dict[tuple[Terms, int, str], _Line] = {}
        self._counted = 0
        self._looked_at = 0
        self._shortages: dict[tuple[Terms, int, str], tuple[Cause, Shortage]] = {}
        self._stranded: dict[tuple[str, Cause, str, tuple[str, ...]], _Group] = {}
        self._returning: dict[str, _Group] = {}
        self.unknown: set[str] = set()

    def _free_cpu(self, node: NodeObject) -> int:
        return node.allocatable.get("cpu", 0) - self._cluster.requested(node.name).get("cpu", 0)

    def place(self, mover: _Mover) -> bool:
        """Find it a node, or say why there is none. Whether that took longer than usual."""
        pod, before = mover.pod, self._counted
        line = self._line(mover)
        self.unknown.update(line.fit.unknown)
        workload = workload_of(self._state, pod)
        asked = pod.spec.requests.get("cpu", 0)
        while line.node is not None and not line.fit.fits(line.node):
            line.node = next(line.nodes, None)
            if line.node is not None and self._free_cpu_before[line.node.name] < asked:
                line.node = None  # those that follow had even less
        if line.node is not None:
            self._cluster.place(pod, line.node.name)
            _keep_apart(line.fit, pod, line.node)
            group = self._returning.setdefault(workload, _Group())
            group.pods.append(pod.key)
            group.nodes[line.node.name] = None
            return self._counted > before
        cause, shortage = self._shortage(mover)
        group = self._stranded.setdefault((workload, cause, shortage.because, shortage.needs), _Group())
        group.pods.append(pod.key)
        group.claims.update(dict.fromkeys(each.claim.key for each in mover.pinned if cause is Cause.VOLUME))
        return self._counted > before

    def _line(self, mover: _Mover) -> _Line:
        key, pod = mover.key, mover.pod
        line = self._lines.get(key)
        moved_by_others = bool(pod.spec.spread or pod.spec.pod_affinity)
        if line is None or (moved_by_others and self._counted < _MOST_COUNTED):
            self._counted += 1
            nodes = iter(self._candidates(mover))
            line = self._lines[key] = _Line(Fit(self._cluster, pod), nodes, next(nodes, None))
        elif pod.claims:
            line.fit.volumes = volume_needs(self._cluster, pod)  # of its own, which count against a limit
        return line

    def _candidates(self, mover: _Mover) -> list[NodeObject]:
        """Nodes left on which its volumes can be used, the emptiest first."""
        if not mover.pinned:
            return self._left
        usable = set(self._topology.usable(terms_of(mover.pinned)))
        return [node for node in self._left if node.name in usable]

    def _shortage(self, mover: _Mover) -> tuple[Cause, Shortage]:
        """Why there is no node, for the first of each line; the others of it meet the same."""
        key = mover.key
        known = self._shortages.get(key)
        if known is None:
            self._counted += 1
            known = self._shortages[key] = self._why(mover)
        return known

    def _why(self, mover: _Mover) -> tuple[Cause, Shortage]:
        candidates, asked = self._candidates(mover), mover.pod.spec.requests.get("cpu", 0)
        fit = Fit(self._untouched, mover.pod)
        roomy = takewhile(lambda node: self._free_cpu_before[node.name] >= asked, candidates)
        alone = next((node for node in roomy if fit.fits(node)), None)
        if alone is not None:
            return Cause.SHARED_ROOM, Shortage(
                f"there is room for one of them ({alone.name}), which others of the lost pods take before",
                (f"room for all of them: {len(candidates):,} nodes are left where they may be",),
            )
        most = _FEW_LOOKED_AT if self._looked_at > _MOST_LOOKED_AT else len(self._left)
        self._looked_at += min(most, len(self._left))
        shortage = shortage_of(fit, candidates, mover.pinned, self._left, most)
        held = bool(mover.pinned) and len(candidates) < len(self._left) and shortage.open_elsewhere
        return (Cause.VOLUME if held else Cause.ROOM), shortage

    def stranded(self) -> Iterator[Stranded]:
        """Those that found no node."""
        for (workload, cause, because, needs), group in self._stranded.items():
            yield Stranded(workload, cause, because, needs, tuple(sorted(group.pods)), tuple(sorted(group.claims)))

    def returning(self) -> Iterator[Returning]:
        """Those that found one, by workload."""
        for workload, group in sorted(self._returning.items()):
            yield Returning(workload, tuple(sorted(group.pods)), tuple(sorted(group.nodes)))


def _keep_apart(fit: Fit, pod: Pod, node: NodeObject) -> None:
    """A pod has got this node: its likes, where they keep apart, may not come near."""
    for term in pod.spec.pod_anti_affinity:
        own = not term.namespaces and term.namespace_selector is None
        value = node.labels.get(term.topology_key)
        if value is not None and (own or pod.namespace in term.namespaces) and selects(term.selector, pod.labels):
            stop = Stop(POD_AFFINITY, term.topology_key, f"pod {pod.key} is in {term.topology_key}={value}")
            fit.neighbours.refused.setdefault((term.topology_key, value), stop)
