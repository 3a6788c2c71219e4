"""The smallest change that would give a pod a node: which node lacks how much, which taint, which label, whose move."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from heapq import nsmallest

from aggregator.cluster.amounts import amount_text, amounts_text
from aggregator.cluster.objects import NodeObject, Pod
from aggregator.cluster.pools import pool_of
from aggregator.scheduling import stops
from aggregator.scheduling.candidates import of_purpose, says_lost, says_pressed, taint_key
from aggregator.scheduling.cause import FRAGMENTATION, Cause, Survey
from aggregator.scheduling.cluster import Cluster
from aggregator.scheduling.fit import Fit
from aggregator.scheduling.resources import could_ever_hold, free

_LOOKED_AT = 50
"""Nodes that lack the least, and where a pod could be moved to."""
_TRIED = 3
"""Nodes and pods that are tried for a move."""
_FIXED = ("DaemonSet", "Node", "Job")
"""Owners whose pods do not move: one for each node, the kubelet's own, and work that would begin anew."""


def smallest_changes(fit: Fit, seen: Survey, found: Cause) -> Iterator[str]:
    """One sentence each, the smallest first; none where no single change would do."""
    if found.code in (*stops.RESOURCES, FRAGMENTATION):
        yield from _of_amounts(fit, seen, found)
    elif found.code == stops.TAINT:
        yield from _of_taints(seen, found)
    elif found.code == stops.CORDONED:
        yield from _uncordon(seen, found)
    elif found.code == stops.NODE_AFFINITY:
        yield from _label(fit, found)
    elif found.code == stops.VOLUME_ZONE:
        yield f"A node that takes the pod is needed where the volume is: {found.about}."


def _only(seen: Survey, name: str, *codes: str) -> bool:
    """Nothing but these keeps the pod off this node."""
    return all(stop.code in codes for stop in seen.stops[name])


def _of_amounts(fit: Fit, seen: Survey, found: Cause) -> Iterator[str]:
    if found.code == stops.TOO_LARGE:
        yield from _larger_elsewhere(fit, seen)
        return
    nearest = _nearest(seen, found)
    if not nearest:
        return
    lacking = {stop.about: stop.lacks for stop in seen.stops[nearest[0]] if stop.code in stops.RESOURCES}
    short = " and ".join(amount_text(resource, amount) for resource, amount in lacking.items() if resource != "pods")
    if "pods" in lacking:
        short = " and ".join(part for part in (short, f"room for {lacking['pods']} more pod") if part)
    yield f"{nearest[0]} lacks the least: {short}."
    if found.code == FRAGMENTATION:
        yield from _move(fit, seen, nearest)


def _nearest(seen: Survey, found: Cause) -> list[str]:
    """Nodes that only lack amounts and could hold the pod, by how much they lack in relation to what is asked."""
    short = []
    for name in found.nodes:
        if _only(seen, name, stops.INSUFFICIENT, stops.TOO_MANY_PODS):
            lack = max(stop.lacks / max(1, stop.asked) for stop in seen.stops[name])
            short.append((lack, name))
    return [name for _, name in nsmallest(_LOOKED_AT, short)]


def _larger_elsewhere(fit: Fit, seen: Survey) -> Iterator[str]:
    """A node of another pool that could hold it, and what keeps the pod off that pool."""
    requests = fit.pod.spec.requests
    for node in fit.cluster.nodes():
        if node.name in seen.meant.aside and could_ever_hold(node.allocatable, requests):
            yield f"{node.name} of pool {pool_of(node)} could hold it, but {seen.meant.aside[node.name]}."
            return


def _move(fit: Fit, seen: Survey, nearest: list[str]) -> Iterator[str]:
    """A pod whose move to another node would make room: the smallest that does."""
    cluster = fit.cluster
    left = {name: free(cluster, node) for name in nearest if (node := cluster.node(name)) is not None}
    for name in nearest[:_TRIED]:
        lacking = {stop.about: stop.lacks for stop in seen.stops[name]}
        movable = [
            other
            for other in cluster.pods_on(name)
            if (other.owner is not None and other.owner.kind not in _FIXED)
            and all(other.spec.requests.get(resource, 0) >= amount for resource, amount in lacking.items())
        ]
        movable.sort(key=lambda other: (sorted(other.spec.requests.values()), other.key))
        for other in movable[:_TRIED]:
            if (target := _taker(cluster, other, left)) is not None:
                size = amounts_text(other.spec.requests)
                yield f"Moving {other.key} ({size}) from {name} to {target.name} would make room on {name}."
                return


def _taker(cluster: Cluster, pod: Pod, left: dict[str, dict[str, int]]) -> NodeObject | None:
    """A node that would take this pod."""
    fit: Fit | None = None
    for name, amounts in left.items():
        node = cluster.node(name)
        enough = all(amounts.get(resource, 0) >= asked for resource, asked in pod.spec.requests.items() if asked)
        if node is not None and name != pod.node and enough:
            fit = fit or Fit(Cluster(cluster.state, without_pods={pod.key}), pod)
            if fit.fits(node):
                return node
    return None


def _of_taints(seen: Survey, found: Cause) -> Iterator[str]:
    only = [
        (name, stop.about)
        for name, stop in zip(found.nodes, found.stops, strict=True)
        if _only(seen, name, stops.TAINT) and len(seen.stops[name]) == 1
    ]
    lost = [name for name, taint in only if says_lost(taint)]
    if lost:
        yield f"Bring {lost[0]} back: nothing else keeps the pod off it."
    pressed = [(name, taint) for name, taint in only if says_pressed(taint)]
    if pressed:
        yield f"Relieve {pressed[0][0]} ({taint_key(pressed[0][1])}): nothing else keeps the pod off it."
    kept = Counter(taint for _, taint in only if of_purpose(taint))
    if kept:
        taint, count = kept.most_common(1)[0]
        opened = f"{count:,} node{'' if count == 1 else 's'}"
        yield f"A toleration of {taint} would open {opened} to it, if it belongs there."


def _uncordon(seen: Survey, found: Cause) -> Iterator[str]:
    ready = [name for name in found.nodes if _only(seen, name, stops.CORDONED)]
    if ready:
        yield f"Uncordon {ready[0]}: nothing else keeps the pod off it."


def _label(fit: Fit, found: Cause) -> Iterator[str]:
    """What the nodes have for the label that is asked for: a typing error shows."""
    if fit.pod.pinned_node:
        return
    for key, wanted in fit.pod.spec.node_selector.items():
        there = Counter(value for node in fit.cluster.nodes() if (value := node.labels.get(key)) is not None)
        if wanted not in there and f"{key}={wanted}" in found.about:
            values = ", ".join(value for value, _ in there.most_common(_TRIED))
            yield f"Nodes have {key}={values}." if values else f"No node has the label {key}."
