"""Of all that stops a pod, the one thing to name: what stops most of the nodes that were meant for it.

A node counts for what the scheduler would say of it, the first filter that says no; amounts are one filter, and whether
they mean too large, fragmented or short is a matter of sums. Where every node that lacks an amount is out for another
reason too, amounts explain nothing and that reason counts. Nodes that are lost decide only where no other node is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from aggregator.cluster.objects import NodeObject, Pod
from aggregator.scheduling.candidates import Candidates, candidates, says_lost, taint_key
from aggregator.scheduling.cluster import Cluster
from aggregator.scheduling.fit import Fit
from aggregator.scheduling.resources import could_ever_hold, free
from aggregator.scheduling.stops import (
    CORDONED,
    HOST_PORT,
    INSUFFICIENT,
    NODE_AFFINITY,
    POD_AFFINITY,
    RESOURCES,
    SPREAD,
    TAINT,
    TOO_LARGE,
    TOO_MANY_PODS,
    UNBOUND_CLAIM,
    VOLUME_IN_USE,
    VOLUME_LIMIT,
    VOLUME_ZONE,
    Stop,
)

FRAGMENTATION = "sched.fragmentation"

_SPECIFIC = (
    VOLUME_ZONE,
    VOLUME_IN_USE,
    UNBOUND_CLAIM,
    VOLUME_LIMIT,
    HOST_PORT,
    POD_AFFINITY,
    SPREAD,
    INSUFFICIENT,
    TOO_MANY_PODS,
    CORDONED,
    TAINT,
    NODE_AFFINITY,
)
"""Where two stop equally many nodes, the first of these: the later filter says more of the pod."""
_PASSING = (CORDONED, TAINT, INSUFFICIENT, TOO_LARGE, TOO_MANY_PODS)
_SAME = {TOO_LARGE: INSUFFICIENT}
_FIRST_RESOURCES = ("cpu", "memory", "ephemeral-storage")


@dataclass(frozen=True, slots=True)
class Survey:
    """One pod against all nodes."""

    pod: Pod
    of_pod: tuple[Stop, ...]
    stops: Mapping[str, tuple[Stop, ...]]
    """By name of the node; empty: it fits."""
    meant: Candidates
    unknown: tuple[str, ...]
    underway: tuple[str, ...]
    """Claims whose volume is being made for a chosen node ("namespace/name")."""

    @property
    def fitting(self) -> list[str]:
        """Names of nodes that nothing known keeps it off; it may be stopped as a whole nonetheless."""
        return [name for name, stops in self.stops.items() if not stops]


@dataclass(frozen=True, slots=True)
class Cause:
    """What to name."""

    code: str
    about: str
    """Resource, key of the taint, requirement, port, topology key, place of the volume, claim or CSI driver; of several
    that one which stops most nodes, or up to three in order."""
    nodes: tuple[str, ...]
    """Names of candidates that it stops."""
    stops: tuple[Stop, ...]
    """One of each of these nodes, in the same order."""
    others: Mapping[str, int] = field(default_factory=dict)
    """Candidates that something else stops, by its code."""


def survey(fit: Fit, nodes: Iterable[NodeObject] | None = None) -> Survey:
    """What stops the pod on every node of the cluster (or on these)."""
    nodes = list(fit.cluster.nodes() if nodes is None else nodes)
    stops = {node.name: fit.stops(node) for node in nodes}
    meant = candidates(nodes, stops, fit.pod.spec.requests)
    return Survey(fit.pod, fit.of_pod, stops, meant, fit.unknown, tuple(fit.volumes.underway))


def cause(cluster: Cluster, seen: Survey) -> Cause | None:
    """What keeps the pod from having a node. None: by this arithmetic nothing does, or there is no node at all."""
    if seen.of_pod:
        first = min(seen.of_pod, key=lambda stop: _SPECIFIC.index(stop.code))
        return Cause(first.code, first.about, (), (first,))
    if not seen.stops and seen.pod.pinned_node:
        return _without_its_node(seen.pod)
    if not seen.stops or any(not stops for stops in seen.stops.values()):
        return None
    groups, lost = _groups(seen, amounts=_amounts_explain(seen))
    if not groups:
        groups = {TAINT: lost}
    elif lost:
        groups.setdefault(TAINT, []).extend(lost)
    gone = set(lost)
    decisive = {code: sum(name not in gone for name in names) or -1 for code, names in groups.items()}
    code = max(groups, key=lambda each: (decisive[each], -_SPECIFIC.index(each)))
    others = {each: len(names) for each, names in groups.items() if each != code}
    return _named(cluster, seen, code, groups[code], others)


def _groups(seen: Survey, *, amounts: bool) -> tuple[dict[str, list[str]], list[str]]:
    """Names of candidates by the code of what the scheduler would say, and those that are lost."""
    groups: dict[str, list[str]] = {}
    lost: list[str] = []
    for node in seen.meant.nodes:
        stops = seen.stops[node.name]
        if any(stop.code == TAINT and says_lost(stop.about) for stop in stops):
            lost.append(node.name)
            continue
        first = stops[0] if amounts else next((stop for stop in stops if stop.code not in RESOURCES), stops[0])
        if first.code not in RESOURCES:
            groups.setdefault(first.code, []).append(node.name)
        else:
            for code in {_SAME.get(stop.code, stop.code) for stop in stops if stop.code in RESOURCES}:
                groups.setdefault(code, []).append(node.name)
    return groups, lost


def _amounts_explain(seen: Survey) -> bool:
    """There is a node that would take the pod if it had the amounts, were uncordoned, or came back."""
    return any(all(stop.code in _PASSING for stop in seen.stops[node.name]) for node in seen.meant.nodes)


def _without_its_node(pod: Pod) -> Cause:
    detail = f"node {pod.pinned_node}, the only one that it is for, is not there"
    about = f"metadata.name={pod.pinned_node}"
    return Cause(NODE_AFFINITY, about, (), (Stop(NODE_AFFINITY, about, detail),))


def _named(cluster: Cluster, seen: Survey, code: str, names: list[str], others: dict[str, int]) -> Cause:
    if code == INSUFFICIENT:
        code, names = _of_amounts(cluster, seen, names)
        wanted: tuple[str, ...] = (INSUFFICIENT, TOO_LARGE)
    else:
        wanted = (code,)
    of_nodes = [[stop for stop in seen.stops[name] if stop.code in wanted] for name in names]
    counts = Counter(about for stops in of_nodes for about in {_about(stop) for stop in stops})
    most = min(counts, key=lambda each: (-counts[each], _resource_rank(each), each))
    chosen = tuple(next((stop for stop in stops if _about(stop) == most), stops[0]) for stops in of_nodes)
    several = code not in (*RESOURCES, FRAGMENTATION) and 1 < len(counts) <= 3
    return Cause(code, " | ".join(sorted(counts)) if several else most, tuple(names), chosen, others)


def _about(stop: Stop) -> str:
    return taint_key(stop.about) if stop.code == TAINT else stop.about


def _resource_rank(name: str) -> int:
    return _FIRST_RESOURCES.index(name) if name in _FIRST_RESOURCES else len(_FIRST_RESOURCES)


def _of_amounts(cluster: Cluster, seen: Survey, names: list[str]) -> tuple[str, list[str]]:
    """Which of the three that are told apart by sums, and on which of these nodes, where an amount is short."""
    pod, requests = seen.pod, seen.pod.spec.requests
    possible = [node for node in seen.meant.nodes if all(stop.code in _PASSING for stop in seen.stops[node.name])]
    short = set(names)
    if not any(could_ever_hold(node.allocatable, requests) for node in possible):
        too_small = [node.name for node in possible if node.name in short]
        return (TOO_LARGE, too_small) if too_small else (INSUFFICIENT, names)
    usable = [
        node
        for node in possible
        if node.name in short and all(stop.code in (INSUFFICIENT, TOO_LARGE) for stop in seen.stops[node.name])
    ]
    if not any(could_ever_hold(node.allocatable, requests) for node in usable):
        return INSUFFICIENT, names
    return (FRAGMENTATION if len(usable) > 1 and _suffice(cluster, usable, pod) else INSUFFICIENT), names


def _suffice(cluster: Cluster, nodes: Iterable[NodeObject], pod: Pod) -> bool:
    """What is free on all of them together is enough for the pod."""
    missing = {name: asked for name, asked in pod.spec.requests.items() if asked > 0}
    for node in nodes:
        left = free(cluster, node, pod)
        missing = {name: asked - max(0, left.get(name, 0)) for name, asked in missing.items()}
        missing = {name: asked for name, asked in missing.items() if asked > 0}
        if not missing:
            return True
    return False
