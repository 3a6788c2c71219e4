"""What stops each kind of waiting pod on every node, kept from one evaluation to the next.

Pods of one template are asked about once. When something changes, only the nodes that it touched are looked at again;
what is counted over the whole cluster (affinity, spread) is counted anew when a pod came or went that it counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from aggregator.cluster.objects import Attachment, Claim, CsiNode, NodeObject, Pod, Selector, Volume
from aggregator.cluster.pools import pool_of
from aggregator.cluster.state import Change, ClusterState
from aggregator.scheduling.candidates import candidates
from aggregator.scheduling.cause import Cause, Survey, cause
from aggregator.scheduling.cluster import Cluster
from aggregator.scheduling.fit import Fit
from aggregator.scheduling.neighbours import asks_for_neighbours
from aggregator.scheduling.selectors import selects
from aggregator.scheduling.stops import Stop

_NAME = "scheduler.surveys"
_AGAIN_S = 15.0
"""Where a pod fits no more nodes than before, sums over all nodes are made no more often than this, and for one kind of
pod in one evaluation."""
_OF_ONE_POD = frozenset(
    {
        "statefulset.kubernetes.io/pod-name",
        "apps.kubernetes.io/pod-index",
        "batch.kubernetes.io/job-completion-index",
    }
)
"""Labels that tell pods of one template apart; who selects by them selects a single pod."""
_Key = tuple[object, ...]


@dataclass(slots=True)
class Looked:
    """One kind of waiting pod, and what was found of it."""

    fit: Fit
    stops: dict[str, tuple[Stop, ...]]
    """By name of the node; brought up to date."""
    survey: Survey
    cause: Cause | None
    pools: tuple[str, ...]
    """Names of the pools that were meant for it, in order."""
    at: float
    """When survey and cause were made, by the view's clock."""
    explanation: object = None
    """What others have worked out from all this; gone when it is made anew."""
    moved: bool = False
    """Something that stops the pod somewhere has moved since then."""
    stale: bool = False
    """... and it fits a node that it did not fit, or the reverse."""


@dataclass(slots=True)
class _Touched:
    """What has changed since the last evaluation."""

    nodes: set[str] = field(default_factory=set)
    """Names of nodes on which something may be different."""
    topology: bool = False
    """A node came, went, or bears other labels."""
    taints: bool = False
    """A node bears other taints, or is cordoned or no more."""
    pods: list[Pod] = field(default_factory=list)
    """Pods as they were before and as they are after, those with a node."""
    claims: set[str] = field(default_factory=set)
    """Keys of claims that are different, or whose volume is."""
    classes: bool = False


class Surveys:
    """Of one state: ask `of` for every waiting pod, then `finish`."""

    def __init__(self, state: ClusterState) -> None:
        self.revision = state.revision
        self._kept: dict[_Key, Looked] = {}
        self._asked: dict[_Key, Looked] = {}
        self._cluster = Cluster(state)
        self._summed = False
        """Sums were made in this evaluation already."""

    def begin(self, state: ClusterState, changes: Iterable[Change]) -> None:
        """Look again at what has changed."""
        touched = _touched(state, changes)
        self.revision = state.revision
        self._cluster = Cluster(state)
        for key, kept in list(self._kept.items()):
            kept.fit.cluster = self._cluster
            if _is_void(kept.fit, touched):
                del self._kept[key]
            else:
                _look_again(kept, state, touched.nodes)

    def of(self, pod: Pod, now: float) -> Looked:
        """What stops this pod, and what to name: one object for all pods of its kind."""
        key = _key(pod)
        kept = self._asked.get(key) or self._kept.get(key)
        if kept is None:
            kept = _looked(self._cluster, pod, now)
        elif kept.stale or (kept.moved and not self._summed and now - kept.at >= _AGAIN_S):
            self._summed = self._summed or not kept.stale
            _conclude(kept, self._cluster, now)
        self._asked[key] = kept
        return kept

    def finish(self) -> None:
        """Forget what nobody asked for."""
        self._kept, self._asked, self._summed = self._asked, {}, False


def surveys(state: ClusterState) -> Surveys:
    """Those of this state, current."""
    known = state.derived.get(_NAME)
    changes = state.changes(known.revision) if isinstance(known, Surveys) else None
    if not isinstance(known, Surveys) or changes is None:
        known = state.derived[_NAME] = Surveys(state)
    else:
        known.begin(state, changes)
    return known


def _key(pod: Pod) -> _Key:
    labels = tuple(sorted(pair for pair in pod.labels.items() if pair[0] not in _OF_ONE_POD))
    return pod.namespace, id(pod.spec), labels, pod.claims, pod.pinned_node, bool(pod.nominated_node)


def _looked(cluster: Cluster, pod: Pod, now: float) -> Looked:
    fit = Fit(cluster, pod)
    stops = {node.name: fit.stops(node) for node in cluster.nodes()}
    seen = _survey(fit, stops)
    return Looked(fit, stops, seen, cause(cluster, seen), _pools(seen), now)


def _survey(fit: Fit, stops: Mapping[str, tuple[Stop, ...]]) -> Survey:
    meant = candidates(fit.cluster.nodes(), stops, fit.pod.spec.requests)
    return Survey(fit.pod, fit.of_pod, stops, meant, fit.unknown, tuple(fit.volumes.underway))


def _conclude(kept: Looked, cluster: Cluster, now: float) -> None:
    kept.survey = _survey(kept.fit, kept.stops)
    kept.cause = cause(cluster, kept.survey)
    kept.pools, kept.explanation = _pools(kept.survey), None
    kept.at, kept.moved, kept.stale = now, False, False


def _pools(seen: Survey) -> tuple[str, ...]:
    return tuple(sorted({pool_of(node) for node in seen.meant.nodes}))


def _look_again(kept: Looked, state: ClusterState, names: Iterable[str]) -> None:
    for name in names:
        node = state.nodes.get(name)
        before = kept.stops.get(name)
        after = kept.fit.stops(node) if node is not None else None
        if after == before:
            continue
        if after is None:
            del kept.stops[name]
        else:
            kept.stops[name] = after
        kept.moved = True
        kept.stale = kept.stale or before == () or after == ()


# -- what a change touches -----------------------------------------------------------------------------------------


def _touched(state: ClusterState, changes: Iterable[Change]) -> _Touched:
    found = _Touched()
    for change in changes:
        for thing in (change.before, change.after):
            _take(found, state, thing)
        if isinstance(change.before or change.after, NodeObject):
            _compare(found, change)
        elif change.resource == "storageclasses" or not change.key:
            found.classes = True
    return found


def _take(found: _Touched, state: ClusterState, thing: object) -> None:
    match thing:
        case NodeObject() | CsiNode():
            found.nodes.add(thing.name)
        case Pod():
            found.nodes.update(name for name in (thing.node, thing.nominated_node) if name)
            if thing.node:
                found.pods.append(thing)
        case Attachment():
            found.nodes.add(thing.node)
        case Claim():
            found.claims.add(thing.key)
            found.nodes.update(pod.node for pod in state.pods_of_claim(thing.key).values() if pod.node)
        case Volume():
            found.claims.add(thing.claim)
            found.classes = found.classes or not thing.claim
            found.nodes.update(each.node for each in state.attachments_of(thing.name).values())


def _compare(found: _Touched, change: Change) -> None:
    before, after = change.before, change.after
    if not isinstance(before, NodeObject) or not isinstance(after, NodeObject) or before.labels != after.labels:
        found.topology = True
    elif before.taints != after.taints or before.unschedulable != after.unschedulable:
        found.taints = True


def _is_void(fit: Fit, touched: _Touched) -> bool:
    """What was counted for this pod over the whole cluster does not hold any more."""
    pod = fit.pod
    if pod.claims and (touched.classes or any(f"{pod.namespace}/{use.claim}" in touched.claims for use in pod.claims)):
        return True
    if pod.claims and any(_shares_claim(pod, other) for other in touched.pods):
        return True
    neighbourly = asks_for_neighbours(pod)
    if touched.topology and (neighbourly or fit.neighbours.refused):
        return True
    if touched.taints and any(each.honor_taints for each in pod.spec.spread):
        return True
    selectors = list(_selectors(pod)) if neighbourly else []
    return any(_concerns(pod, other, selectors) for other in touched.pods)


def _shares_claim(pod: Pod, other: Pod) -> bool:
    ours = {use.claim for use in pod.claims}
    return pod.namespace == other.namespace and any(use.claim in ours for use in other.claims)


def _selectors(pod: Pod) -> Iterator[Selector]:
    terms = (*pod.spec.pod_affinity, *pod.spec.pod_anti_affinity)
    for selector in (*(term.selector for term in terms), *(each.selector for each in pod.spec.spread)):
        if selector is not None:
            yield selector


def _concerns(pod: Pod, other: Pod, selectors: Iterable[Selector]) -> bool:
    if any(selects(term.selector, pod.labels) for term in other.spec.pod_anti_affinity):
        return True
    return any(selects(selector, other.labels) for selector in selectors)
