"""Which nodes were meant for a pod. The others' reasons are as they should be and explain nothing.

Left aside: nodes that its selector does not take, where others are taken; nodes without a device that it asks for,
where others have it; nodes where its volumes cannot be used, where others are open to it and to them; nodes that a
taint keeps for others (the control plane's, another pool's). What a node is going through at present (not ready, under
pressure, about to be deleted, cordoned) does not say whom it is for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from aggregator.cluster.objects import Amounts, NodeObject
from aggregator.cluster.pools import pool_of
from aggregator.scheduling.resources import is_extended
from aggregator.scheduling.stops import CORDONED, NODE_AFFINITY, TAINT, VOLUME_ZONE, Stop

_STANDING = frozenset({CORDONED, TAINT, NODE_AFFINITY, VOLUME_ZONE})
"""Codes of what a node is, rather than of what runs there."""
_LOST = (
    "node.kubernetes.io/not-ready",
    "node.kubernetes.io/unreachable",
    "node.kubernetes.io/out-of-service",
    "node.kubernetes.io/network-unavailable",
    "node.cloudprovider.kubernetes.io/uninitialized",
    "node.cloudprovider.kubernetes.io/shutdown",
)
_PRESSED = (
    "node.kubernetes.io/memory-pressure",
    "node.kubernetes.io/disk-pressure",
    "node.kubernetes.io/pid-pressure",
    "node.kubernetes.io/out-of-disk",
)
LEAVING = (
    "ToBeDeletedByClusterAutoscaler",
    "DeletionCandidateOfClusterAutoscaler",
    "karpenter.sh/disruption",
    "karpenter.sh/disrupted",
    "cluster.x-k8s.io/",
    "machine.openshift.io/",
    "cloud.google.com/impending-node-termination",
    "aws-node-termination-handler/",
    "kubernetes.azure.com/scheduledevent",
)
"""Beginnings of the keys of taints that say that a node is about to be taken away."""
_STARTING = (
    "karpenter.sh/unregistered",
    "node.cilium.io/agent-not-ready",
    "ebs.csi.aws.com/agent-not-ready",
    "efs.csi.aws.com/agent-not-ready",
    "node.eks.amazonaws.com/",
    "node.cluster.x-k8s.io/",
    "startup-taint.cluster-autoscaler.kubernetes.io/",
    "status-taint.cluster-autoscaler.kubernetes.io/",
    "ignore-taint.cluster-autoscaler.kubernetes.io/",
)
_CONTROL_PLANE = (
    "node-role.kubernetes.io/control-plane",
    "node-role.kubernetes.io/controlplane",
    "node-role.kubernetes.io/master",
    "node-role.kubernetes.io/etcd",
    "CriticalAddonsOnly",
)

KEPT = "is kept for others: "
"""How the reason begins why a tainted node is left aside; the taint follows."""
ELSEWHERE = "is not where its volume is: "
"""How the reason begins why a node is left aside where a volume cannot be used; its place follows."""


def taint_key(text: str) -> str:
    """Key of a taint from its text, "key=value:effect"."""
    return text.rpartition(":")[0].partition("=")[0]


def says_lost(taint: str) -> bool:
    """A taint (as text) of a node that cannot be reached, is not ready, or not yet: its loss is what it is about."""
    return taint_key(taint).startswith((*_LOST, *_STARTING))


def says_pressed(taint: str) -> bool:
    """A taint (as text) of a node that is short of memory, disk or process ids."""
    return taint_key(taint).startswith(_PRESSED)


def says_leaving(taint: str) -> bool:
    """A taint (as text) of a node that is about to be taken away."""
    return taint_key(taint).startswith(LEAVING)


def of_purpose(taint: str) -> bool:
    """A taint (as text) that keeps a node for others, rather than saying what it goes through."""
    return not taint_key(taint).startswith((*_LOST, *_PRESSED, *LEAVING, *_STARTING))


def of_control_plane(taint: str) -> bool:
    """A taint (as text) that keeps a node for the control plane."""
    return taint_key(taint) in _CONTROL_PLANE


@dataclass(frozen=True, slots=True)
class Candidates:
    """Nodes that were meant for a pod, and why others were not."""

    nodes: tuple[NodeObject, ...]
    aside: Mapping[str, str]
    """Why, in a few words, by name of the node that is left aside."""


def candidates(nodes: Iterable[NodeObject], stops: Mapping[str, tuple[Stop, ...]], requests: Amounts) -> Candidates:
    """`stops`: what keeps the pod off each node, by the node's name (fit.Fit.stops); `requests`: the pod's."""
    aside: dict[str, str] = {}
    left = list(nodes)
    left = _kept(left, aside, lambda node: _not_selected(stops[node.name]))
    for resource, asked in requests.items():
        if asked > 0 and is_extended(resource):
            left = _kept(left, aside, _without(resource))
    if any(_is_open(stops[node.name]) for node in left):
        left = _kept(left, aside, lambda node: _out_of_place(stops[node.name]))
    return Candidates(tuple(_for_the_pod(left, stops, aside)), aside)


def _kept(nodes: list[NodeObject], aside: dict[str, str], why: Callable[[NodeObject], str]) -> list[NodeObject]:
    """Nodes without a reason, where there are any; the others' reasons go to `aside`."""
    reasons = {node.name: why(node) for node in nodes}
    kept = [node for node in nodes if not reasons[node.name]]
    if not kept:
        return nodes
    aside.update((name, reason) for name, reason in reasons.items() if reason)
    return kept


def _not_selected(stops: Iterable[Stop]) -> str:
    return next((f"is not {stop.about}" for stop in stops if stop.code == NODE_AFFINITY), "")


def _is_open(stops: Iterable[Stop]) -> bool:
    """The pod and its volumes may be there: at most what runs there is in the way."""
    return all(stop.code not in _STANDING for stop in stops)


def _out_of_place(stops: Iterable[Stop]) -> str:
    return next((f"{ELSEWHERE}{stop.about}" for stop in stops if stop.code == VOLUME_ZONE), "")


def _without(resource: str) -> Callable[[NodeObject], str]:
    return lambda node: "" if node.allocatable.get(resource, 0) else f"has no {resource}"


def _for_the_pod(
    nodes: list[NodeObject], stops: Mapping[str, tuple[Stop, ...]], aside: dict[str, str]
) -> list[NodeObject]:
    kept_for = {node.name: taints for node in nodes if (taints := _purposes(stops[node.name]))}
    if not kept_for:
        return nodes
    free = [node for node in nodes if node.name not in kept_for]
    pools = {pool_of(node) for node in free}
    workers = bool(free) or any(not any(map(of_control_plane, taints)) for taints in kept_for.values())
    found = []
    for node in nodes:
        keepers = kept_for.get(node.name, [])
        if not keepers or not workers:
            found.append(node)
        elif any(map(of_control_plane, keepers)) or (pools and pool_of(node) not in pools):
            aside[node.name] = f"{KEPT}{keepers[0]}"
        else:
            found.append(node)
    return found


def _purposes(stops: tuple[Stop, ...]) -> list[str]:
    """Taints that keep the node for others."""
    return [stop.about for stop in stops if stop.code == TAINT and of_purpose(stop.about)]
