"""Whether a loss leaves a node for the pods of one template: the emptiest nodes where their volumes can be used are
asked one after the other, until enough would take one more such pod. Pure.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from aggregator.cluster.objects import NodeObject, Pod, PodSpec
from aggregator.cluster.zones import Kind, place_of
from aggregator.scheduling.cluster import Cluster
from aggregator.scheduling.fit import Fit
from aggregator.scheduling.neighbours import asks_for_neighbours
from aggregator.topology import Terms, Topology
from aggregator.view import ClusterView
from aggregator.whatif import NOBODY, reachable

_FIT_COSTS = 100
_COMPANY_COSTS = 400
"""What it costs to ask for a template, in nodes looked at; and for one that asks about other pods."""
_ENOUGH = 2
"""Nodes of a zone that fit: one may be the node that is lost."""


@dataclass(slots=True)
class Batch:
    """Pods of one template whose volumes can be used on the same nodes, and what losses would do to them."""

    spec: PodSpec
    """Kept, so that its id stays its own."""
    pods: dict[str, Pod] = field(default_factory=dict)
    at: float | None = None
    """When they were judged; None: not yet."""
    by_node: dict[str, Pod] = field(default_factory=dict)
    """Those that could not come back if their node were lost."""
    by_zone: dict[str, Pod] = field(default_factory=dict)
    """... if their zone were."""


@dataclass(frozen=True, slots=True)
class _Nodes:
    """Where volumes with certain node affinities can be used."""

    there: frozenset[str]
    """Names of all of them."""
    emptiest: list[tuple[int, NodeObject]]
    """Those that are reached, each with its free CPU (millicores), those with most of it first."""
    zones: frozenset[str]
    """Of those."""


class Judge:
    """Finds nodes for templates, in the cluster as it is now."""

    def __init__(self, view: ClusterView, topology: Topology) -> None:
        self._state = view.objects
        self._now = view.now
        self._topology = topology
        self._cluster = Cluster(view.objects)
        self._sorted: dict[Terms, _Nodes] = {}
        self.looked_at = 0

    def judge(self, terms: Terms, batch: Batch) -> bool:
        """Say what losses would do to the pods of one batch; whether that is news."""
        before = batch.by_node.keys(), batch.by_zone.keys()
        batch.at, batch.by_node, batch.by_zone = self._now, {}, {}
        reached = {key: pod for key, pod in batch.pods.items() if self._is_reached(pod.node)}
        self.looked_at += len(batch.pods) // 10
        if is_local(terms):
            batch.by_node = reached
        elif reached:
            self._strand(terms, batch, reached)
        return before != (batch.by_node.keys(), batch.by_zone.keys())

    def _strand(self, terms: Terms, batch: Batch, reached: dict[str, Pod]) -> None:
        fits = self._fitting(next(iter(reached.values())), self._nodes(terms))
        by_zone = Counter(fits.values())
        for key, pod in reached.items():
            zone = self._topology.zones.get(pod.node, "")
            if len(fits) == (pod.node in fits):
                batch.by_node[key] = pod
            if zone and len(fits) == by_zone[zone]:
                batch.by_zone[key] = pod
        if (batch.by_node or batch.by_zone) and not self._is_held_by_volume(next(iter(reached.values())), terms):
            batch.by_node, batch.by_zone = {}, {}

    def _nodes(self, terms: Terms) -> _Nodes:
        found = self._sorted.get(terms)
        if found is None:
            names, nodes = self._topology.usable(terms), self._state.nodes
            reached = [(self._free_cpu(node), node) for name in names if reachable(node := nodes[name])]
            reached.sort(key=lambda each: -each[0])
            zones = frozenset(self._topology.zones[node.name] for _, node in reached)
            found = self._sorted[terms] = _Nodes(frozenset(names), reached, zones)
            self.looked_at += len(reached) // 8
        return found

    def _is_reached(self, name: str) -> bool:
        node = self._state.nodes.get(name)
        return node is not None and reachable(node)

    def _free_cpu(self, node: NodeObject) -> int:
        return node.allocatable.get("cpu", 0) - self._cluster.requested(node.name).get("cpu", 0)

    def _fitting(self, pod: Pod, nodes: _Nodes) -> dict[str, str]:
        """Zone by name of up to two nodes in each zone that would take one more pod like this."""
        cluster, company = self._cluster, asks_for_neighbours(pod)
        if company:  # it does not keep itself away, and its own node is no place for its likes
            cluster = Cluster(self._state, without_pods=frozenset({pod.key}))
        fit = Fit(cluster, pod)
        self.looked_at += _COMPANY_COSTS if company else _FIT_COSTS
        asked = pod.spec.requests.get("cpu", 0)
        wanting = dict.fromkeys(nodes.zones, _ENOUGH)
        found: dict[str, str] = {}
        for free, node in nodes.emptiest:
            if not wanting or free < asked:
                break  # those that follow have less
            zone = self._topology.zones[node.name]
            if zone not in wanting or (company and node.name == pod.node):
                continue
            self.looked_at += 1
            if fit.fits(node):
                found[node.name] = zone
                wanting[zone] -= 1
                if not wanting[zone]:
                    del wanting[zone]
        return found

    def _is_held_by_volume(self, pod: Pod, terms: Terms) -> bool:
        """A node is there that the pod itself might use, and its volumes cannot."""
        there, standing = self._nodes(terms).there, Fit(NOBODY, pod)
        for name, node in self._state.nodes.items():
            if name not in there:
                self.looked_at += 1
                if reachable(node) and next(standing.standing_stops(node), None) is None:
                    return True
        return False


def is_local(terms: Terms) -> bool:
    """One of these volumes can be used on certain nodes only, by name."""
    return any(place_of(each).kind is Kind.NODE for each in terms)
