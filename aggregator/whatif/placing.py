"""Pods that come back one after the other, each on the first node that takes it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass, field
from itertools import takewhile

from aggregator.cluster.objects import NodeObject, Pod
from aggregator.cluster.state import ClusterState
from aggregator.cluster.workloads import workload_of
from aggregator.scheduling.cluster import Cluster
from aggregator.scheduling.fit import Fit
from aggregator.scheduling.selectors import selects
from aggregator.scheduling.stops import POD_AFFINITY, Stop
from aggregator.scheduling.volumes import volume_needs
from aggregator.topology import Pinned, Terms, Topology, terms_of
from aggregator.whatif.loss import Cause, Returning, Stranded
from aggregator.whatif.shortage import Shortage, shortage_of

_MOST_COUNTED = 500
"""How often what the pods of the cluster mean for a template is counted: once, and anew after each placement where that
may open other nodes (topology spread, affinity); after so many, no more."""
_MOST_LOOKED_AT = 50_000
_FEW_LOOKED_AT = 50
"""So many nodes are looked at for reasons in one answer; after that, so many for each template, the emptiest ones."""


@dataclass(slots=True)
class Mover:
    """A pod that has to come back elsewhere."""

    pod: Pod
    pinned: list[Pinned]
    candidates: int
    """Nodes left on which its volumes can be used."""

    @property
    def key(self) -> tuple[Terms, int, str]:
        """What it has in common with all that fit the same nodes. PodSpecs are shared by the pods of a template."""
        return terms_of(self.pinned), id(self.pod.spec), self.pod.pinned_node


def urgency(mover: Mover) -> tuple[int, int, int, int, str]:
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


class Placing:
    """Places pods one after the other."""

    def __init__(self, state: ClusterState, topology: Topology, gone: Set[str]) -> None:
        self._state = state
        self._topology = topology
        self._gone = gone
        self._cluster = Cluster(state, gone)
        self._untouched = Cluster(state, gone)
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

    def place(self, mover: Mover) -> bool:
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

    def _line(self, mover: Mover) -> _Line:
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

    def _candidates(self, mover: Mover) -> list[NodeObject]:
        """Nodes left on which its volumes can be used, the emptiest first."""
        if not mover.pinned:
            return self._left
        usable = set(self._topology.usable(terms_of(mover.pinned)))
        return [node for node in self._left if node.name in usable]

    def _shortage(self, mover: Mover) -> tuple[Cause, Shortage]:
        """Why there is no node, for the first of each line; the others of it meet the same."""
        key = mover.key
        known = self._shortages.get(key)
        if known is None:
            self._counted += 1
            known = self._shortages[key] = self._why(mover)
        return known

    def _why(self, mover: Mover) -> tuple[Cause, Shortage]:
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
