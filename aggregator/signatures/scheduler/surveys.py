"""What stops each kind of waiting pod on every node, kept from one evaluation to the next.

Pods of one template whose volumes let them onto the same nodes are asked about once. When something changes, only
the nodes that it touched are looked at again; what is counted over the whole cluster (affinity, spread) is counted anew
when a pod came or went that it counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from operator import attrgetter

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
from aggregator.scheduling.volumes import ONE_POD, volume_needs

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
_OF_VOLUMES = ("persistentvolumeclaims", "persistentvolumes", "storageclasses", "volumeattachments")
_Key = tuple[object, ...]


@dataclass(slots=True)
class Looked:
    """One kind of waiting pod, and what was found of it."""

    fit: Fit
    own: dict[str, tuple[Stop, ...]]
    """Without what other pods' places mean, by name of the node; brought up to date."""
    stops: dict[str, tuple[Stop, ...]]
    """All, likewise."""
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


class Surveys:
    """Of one state: ask `of` for every waiting pod, then `finish`."""

    def __init__(self, state: ClusterState) -> None:
        self.revision = state.revision
        self._state = state
        self._kept: dict[_Key, Looked] = {}
        self._asked: dict[_Key, Looked] = {}
        self._cluster = Cluster(state)
        self._summed = False
        """Sums were made in this evaluation already."""
        self._volumes: dict[str, tuple[Pod, tuple[int, ...], _Key]] = {}
        """What volumes mean for a pod, by its key, with the pod and the revisions that it is of."""

    def begin(self, changes: Iterable[Change]) -> None:
        """Look again at what has changed."""
        touched = _touched(self._state, changes)
        self.revision = self._state.revision
        self._cluster = Cluster(self._state)
        for kept in self._kept.values():
            kept.fit.cluster = self._cluster
            kept.moved = kept.moved or touched.topology or touched.taints  # their pools may be others
            if _counts_otherwise(kept.fit, touched):
                _count_again(kept, self._state)
            _look_again(kept, self._state, touched.nodes)

    def of(self, pod: Pod, now: float) -> Looked:
        """What stops this pod, and what to name: one object for all pods of its kind."""
        key = self._key(pod)
        kept = self._asked.get(key) or self._kept.get(key)
        if kept is not None and kept.fit.pod.key not in self._state.waiting:
            kept = None if pod.claims else _of_another(kept, pod, self._state)
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
        if len(self._volumes) > 2 * len(self._state.waiting):
            self._volumes = {key: kept for key, kept in self._volumes.items() if key in self._state.waiting}

    def _key(self, pod: Pod) -> _Key:
        labels = tuple(sorted(pair for pair in pod.labels.items() if pair[0] not in _OF_ONE_POD))
        volumes = self._kind_of_volumes(pod) if pod.claims else ()
        return pod.namespace, id(pod.spec), labels, volumes, pod.pinned_node, pod.nominated_node

    def _kind_of_volumes(self, pod: Pod) -> _Key:
        state = self._state
        claims = [state.claims.get(f"{pod.namespace}/{use.claim}") for use in pod.claims]
        revisions = tuple(state.revisions[resource] for resource in _OF_VOLUMES)
        if any(claim is not None and ONE_POD in claim.access_modes for claim in claims):
            revisions = (*revisions, state.revisions["pods"])
        known = self._volumes.get(pod.key)
        if known is None or known[0] is not pod or known[1] != revisions:
            volumes = [claim.volume for claim in claims if claim is not None and claim.volume]
            there = frozenset(each.node for name in volumes for each in state.attachments_of(name).values())
            kind = (*volume_needs(self._cluster, pod).kind(), there)
            known = self._volumes[pod.key] = pod, revisions, kind
        return known[2]


def surveys(state: ClusterState) -> Surveys:
    """Those of this state, current."""
    known = state.derived.get(_NAME)
    changes = state.changes(known.revision) if isinstance(known, Surveys) else None
    if not isinstance(known, Surveys) or changes is None:
        known = state.derived[_NAME] = Surveys(state)
    else:
        known.begin(changes)
    return known


def _nodes(fit: Fit) -> Iterable[NodeObject]:
    """Nodes that are worth a look: none where the pod is stopped whichever the node is, one where it is for one."""
    if fit.of_pod:
        return ()
    if not fit.pod.pinned_node:
        return fit.cluster.nodes()
    node = fit.cluster.node(fit.pod.pinned_node)
    return () if node is None else (node,)


def _looked(cluster: Cluster, pod: Pod, now: float) -> Looked:
    fit = Fit(cluster, pod)
    own = {node.name: fit.own_stops(node) for node in _nodes(fit)}
    stops = {node.name: fit.with_neighbours(node, own[node.name]) for node in _nodes(fit)}
    seen = _survey(fit, stops)
    return Looked(fit, own, stops, seen, cause(cluster, seen), _pools(seen), now)


def _survey(fit: Fit, stops: Mapping[str, tuple[Stop, ...]]) -> Survey:
    nodes = sorted(_nodes(fit), key=attrgetter("name"))  # whoever is named first is named again next time
    meant = candidates(nodes, stops, fit.pod.spec.requests)
    return Survey(fit.pod, fit.of_pod, stops, meant, fit.unknown, tuple(fit.volumes.underway))


def _conclude(kept: Looked, cluster: Cluster, now: float) -> None:
    kept.survey = _survey(kept.fit, kept.stops)
    kept.cause = cause(cluster, kept.survey)
    kept.pools, kept.explanation = _pools(kept.survey), None
    kept.at, kept.moved, kept.stale = now, False, False


def _of_another(kept: Looked, pod: Pod, state: ClusterState) -> Looked:
    """The pod that was looked at waits no more: another of its kind stands for them, and that one may count now."""
    kept.fit.pod = pod
    kept.survey = replace(kept.survey, pod=pod)
    _count_again(kept, state)
    return kept


def _pools(seen: Survey) -> tuple[str, ...]:
    return tuple(sorted({pool_of(node) for node in seen.meant.nodes}))


def _count_again(kept: Looked, state: ClusterState) -> None:
    kept.fit.count_neighbours()
    for name, own in kept.own.items():
        if (node := state.nodes.get(name)) is not None:
            _put(kept, name, own, kept.fit.with_neighbours(node, own))


def _look_again(kept: Looked, state: ClusterState, names: Iterable[str]) -> None:
    pod = kept.fit.pod
    if kept.fit.of_pod:
        return
    for name in (pod.pinned_node,) if pod.pinned_node in names else () if pod.pinned_node else names:
        node = state.nodes.get(name)
        if node is not None:
            own = kept.fit.own_stops(node)
            _put(kept, name, own, kept.fit.with_neighbours(node, own))
        elif name in kept.stops:
            del kept.own[name], kept.stops[name]
            kept.moved = kept.stale = True


def _put(kept: Looked, name: str, own: tuple[Stop, ...], stops: tuple[Stop, ...]) -> None:
    before = kept.stops.get(name)
    kept.own[name] = own
    if stops != before:
        kept.stops[name] = stops
        kept.moved = True
        kept.stale = kept.stale or not before or not stops


# -- what a change touches -----------------------------------------------------------------------------------------


def _touched(state: ClusterState, changes: Iterable[Change]) -> _Touched:
    found = _Touched()
    for change in changes:
        for thing in (change.before, change.after):
            _take(found, state, thing)
        if isinstance(change.before or change.after, NodeObject):
            _compare(found, change)
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
            found.nodes.update(pod.node for pod in state.pods_of_claim(thing.key).values() if pod.node)
        case Volume():
            found.nodes.update(each.node for each in state.attachments_of(thing.name).values())
            found.nodes.update(pod.node for pod in state.pods_of_claim(thing.claim).values() if pod.node)


def _compare(found: _Touched, change: Change) -> None:
    before, after = change.before, change.after
    if not isinstance(before, NodeObject) or not isinstance(after, NodeObject) or before.labels != after.labels:
        found.topology = True
    elif before.taints != after.taints or before.unschedulable != after.unschedulable:
        found.taints = True


def _counts_otherwise(fit: Fit, touched: _Touched) -> bool:
    """What was counted for this pod over the whole cluster does not hold any more."""
    pod = fit.pod
    neighbourly = asks_for_neighbours(pod)
    if touched.topology and (neighbourly or fit.neighbours.refused):
        return True
    if touched.taints and any(each.honor_taints for each in pod.spec.spread):
        return True
    selectors = list(_selectors(pod)) if neighbourly else []
    return any(_concerns(pod, other, selectors) for other in touched.pods)


def _selectors(pod: Pod) -> Iterator[Selector]:
    terms = (*pod.spec.pod_affinity, *pod.spec.pod_anti_affinity)
    for selector in (*(term.selector for term in terms), *(each.selector for each in pod.spec.spread)):
        if selector is not None:
            yield selector


def _concerns(pod: Pod, other: Pod, selectors: Iterable[Selector]) -> bool:
    if any(selects(term.selector, pod.labels) for term in other.spec.pod_anti_affinity):
        return True
    return any(selects(selector, other.labels) for selector in selectors)
