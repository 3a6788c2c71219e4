"""Everything that stops one pod, node by node, as kube-scheduler's filters decide it.

All reasons of a node are told, in the order in which the scheduler looks; the scheduler itself names the first filter
that says no. What the cluster as a whole says of the pod is worked out once, so that thousands of nodes are cheap.
"""

from __future__ import annotations

from collections.abc import Iterator

from aggregator.cluster.objects import NodeObject, Pod, Requirement, Taint
from aggregator.scheduling.cluster import Cluster
from aggregator.scheduling.neighbours import Neighbours, neighbours
from aggregator.scheduling.resources import port_stops, resource_stops
from aggregator.scheduling.selectors import (
    any_term_holds,
    requirement_holds,
    requirement_text,
    terms_text,
    tolerates,
    untolerated,
)
from aggregator.scheduling.stops import CORDONED, NODE_AFFINITY, TAINT, Stop
from aggregator.scheduling.volumes import volume_needs

UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
_CORDON = Taint(UNSCHEDULABLE, "", "NoSchedule")


class Fit:
    """One pod against the nodes of a cluster, whether it has a node already or not: itself is left out of all sums
    where the cluster is without it."""

    neighbours: Neighbours

    def __init__(self, cluster: Cluster, pod: Pod) -> None:
        self.cluster = cluster
        self.pod = pod
        self._stops_by_taints: dict[tuple[Taint, ...], tuple[Stop, ...]] = {(): ()}
        self._stays_when_cordoned = any(tolerates(each, _CORDON) for each in pod.spec.tolerations)
        self._wanted = [Requirement(key, "In", (value,)) for key, value in sorted(pod.spec.node_selector.items())]
        self._selects = bool(self._wanted or pod.spec.node_terms is not None or pod.pinned_node)
        self.volumes = volume_needs(cluster, pod)
        self.count_neighbours()

    @property
    def of_pod(self) -> tuple[Stop, ...]:
        """What stops the pod whichever the node is."""
        return tuple(self.volumes.of_pod)

    @property
    def unknown(self) -> tuple[str, ...]:
        """What could not be decided, one clause each: a node that fits by this arithmetic may still not do."""
        claims = ", ".join(self.pod.spec.resource_claims)
        devices = [f"devices of resource claims ({claims}) are not followed"] if claims else []
        return (*devices, *self.volumes.unknown, *self.neighbours.unknown)

    def stops(self, node: NodeObject) -> tuple[Stop, ...]:
        """All that keeps the pod off this node, apart from what stops it everywhere; empty: it fits."""
        return self.with_neighbours(node, self.own_stops(node))

    def own_stops(self, node: NodeObject) -> tuple[Stop, ...]:
        """The same without what other pods' places mean for it."""
        found = list(self.standing_stops(node))
        if self.pod.spec.host_ports:
            found += port_stops(self.cluster, node, self.pod)
        found += resource_stops(self.cluster, node, self.pod)
        if self.pod.claims:
            found += self.volumes.stops(self.cluster, node)
        return tuple(found)

    def with_neighbours(self, node: NodeObject, own: tuple[Stop, ...]) -> tuple[Stop, ...]:
        """All, given those without the neighbours."""
        more = tuple(self.neighbours.stops(node)) if self.neighbours.decide else ()
        return (*own, *more) if more else own

    def count_neighbours(self) -> None:
        """Count anew what the cluster's pods mean for this one."""
        self.neighbours = neighbours(self.cluster, self.pod, self._counted_by_spread)

    def fits(self, node: NodeObject) -> bool:
        """Nothing that is known keeps the pod off this node."""
        if self.volumes.of_pod or next(self.standing_stops(node), None) is not None:
            return False
        return not self.own_stops(node) and next(self.neighbours.stops(node), None) is None

    def nodes_that_fit(self) -> Iterator[NodeObject]:
        """Nodes that would take it."""
        return (node for node in self.cluster.nodes() if self.fits(node))

    def standing_stops(self, node: NodeObject) -> Iterator[Stop]:
        """What the node is, whatever runs there: cordoned, tainted, not selected."""
        if node.unschedulable and not self._stays_when_cordoned:
            yield Stop(CORDONED, "cordoned")
        yield from self._taint_stops(node)
        if self._selects:
            yield from self._selector_stops(node)

    def _taint_stops(self, node: NodeObject) -> tuple[Stop, ...]:
        stops = self._stops_by_taints.get(node.taints)
        if stops is None:
            taints = untolerated(self.pod.spec.tolerations, node.taints)
            stops = tuple(Stop(TAINT, str(taint)) for taint in taints if taint.key != UNSCHEDULABLE)
            self._stops_by_taints[node.taints] = stops
        return stops

    def _selector_stops(self, node: NodeObject) -> Iterator[Stop]:
        pod = self.pod
        for wanted in self._wanted:
            if not requirement_holds(wanted, node.labels):
                yield Stop(NODE_AFFINITY, requirement_text(wanted), _has(node, wanted.key))
        terms = pod.spec.node_terms
        if terms is not None and not any_term_holds(terms, node):
            yield Stop(NODE_AFFINITY, terms_text(terms))
        if pod.pinned_node and pod.pinned_node != node.name:
            yield Stop(NODE_AFFINITY, f"metadata.name={pod.pinned_node}")

    def _counted_by_spread(self, node: NodeObject, honor_affinity: bool, honor_taints: bool) -> bool:
        if honor_affinity and next(self._selector_stops(node), None) is not None:
            return False
        return not honor_taints or (not self._taint_stops(node) and not node.unschedulable)


def _has(node: NodeObject, key: str) -> str:
    value = node.labels.get(key)
    return f"it has {key}={value}" if value is not None else f"it has no label {key}"
