"""Pods whose volumes can be used only where no node is left for them: another zone, or a node that is gone.

A node of the right place that is merely full is no mismatch: the pod would be placed once there is room. Where the
pod's own selector takes no node of any place, that is the cause, and not the volume.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from aggregator.cluster.amounts import amounts_text
from aggregator.cluster.objects import NodeObject, NodeTerm, Pod, PodSpec
from aggregator.cluster.state import ClusterState
from aggregator.cluster.zones import Kind, Place, is_zone_key, place_of, zone_of
from aggregator.messages import scheduling
from aggregator.model import Evidence, RuledOut, Severity
from aggregator.scheduling.candidates import says_lost
from aggregator.scheduling.fit import Fit
from aggregator.scheduling.stops import CORDONED, NODE_AFFINITY, TAINT
from aggregator.signatures.case import Case, api_evidence
from aggregator.signatures.storage.claims import age
from aggregator.signatures.storage.codes import ZONE_MISMATCH
from aggregator.signatures.storage.facts import span
from aggregator.signatures.thresholds import Thresholds
from aggregator.topology import Pinned, Terms, Topology, pinned_volumes, terms_of, topology_of
from aggregator.view import ClusterView
from aggregator.whatif import NOBODY

_NEEDED = ("nodes", "pods", "persistentvolumeclaims", "persistentvolumes")
_NAME = "storage.placement"
_JUDGED_S = 15.0
"""How long it is taken for granted that a node which is out stays so: how long it has been away goes on."""
_IN_FULL = 3
_COUNTED = 100
"""Nodes elsewhere that are counted: one is enough to prove that it is the volume."""
_NAMED = 4


class _Out(StrEnum):
    """Why a node is out for a pod; of several reasons, the first of these."""

    LOST = "lost"
    CORDONED = "cordoned"
    TAINTED = "tainted"
    NOT_SELECTED = "not selected"


@dataclass(frozen=True, slots=True)
class _Excluded:
    """A node where the volume could be used, and why the pod may not use it."""

    node: NodeObject
    kind: _Out
    because: str


@dataclass(frozen=True, slots=True)
class _Mismatch:
    """What holds for all pods of one template with volumes of one place."""

    place: Place
    culprits: frozenset[tuple[NodeTerm, ...]]
    """Node affinities of the volumes that exclude every node; all of them where only together they do."""
    apart: bool
    """Each volume by itself could be used somewhere, and all of them together nowhere."""
    there: tuple[_Excluded, ...]
    """Nodes of the place."""
    out: dict[_Out, list[str]]
    """Their names, by what keeps them out."""
    unlabelled: tuple[tuple[str, str], ...]
    """Nodes in the same zone that lack the label which the volume asks for: name and key."""
    elsewhere: Counter[str]
    """Nodes that the pod may use, by zone."""

    @property
    def about(self) -> tuple[str, ...]:
        """The cause: the place, but of volumes that are local to nodes what happened to those, zone by zone."""
        if self.place.kind is not Kind.NODE:
            return self.place.kind.value, *self.place.values
        return (self.place.kind.value, self.there[0].kind, zone_of(self.there[0].node)) if self.there else ("gone",)


_Key = tuple[Terms, int, str]
"""What pods have in common that fit the same nodes: where their volumes can be used, id of their PodSpec, and the one
node that they are for, if any."""


@dataclass(slots=True)
class _Memory:
    """What was worked out and still holds: when a zone is lost, thousands of pods wait for it at once."""

    standing: int = -1
    judged_at: float = 0.0
    judged: dict[_Key, _Mismatch | None] = field(default_factory=dict)
    specs: dict[int, PodSpec] = field(default_factory=dict)
    """Kept, so that their ids stay their own."""
    claims: tuple[int, int] = (-1, -1)
    pods: dict[str, tuple[Pod, list[Pinned], _Key]] = field(default_factory=dict)

    def current(self, view: ClusterView, topology: Topology) -> None:
        """Forget what may not hold any more."""
        if self.standing != topology.standing or not 0 <= view.now - self.judged_at < _JUDGED_S:
            self.standing, self.judged_at = topology.standing, view.now
            self.judged, self.specs = {}, {}
        revisions = view.objects.revisions
        claims = revisions["persistentvolumeclaims"], revisions["persistentvolumes"]
        if self.claims != claims or len(self.pods) > 2 * len(view.objects.waiting) + _COUNTED:
            self.claims, self.pods = claims, {}

    def place(self, state: ClusterState, key: str, pod: Pod) -> tuple[list[Pinned], _Key]:
        """The pod's volumes that cannot be used everywhere, and whom it is like."""
        known = self.pods.get(key)
        if known is None or known[0] is not pod:
            pinned = pinned_volumes(state, pod)
            known = self.pods[key] = pod, pinned, (terms_of(pinned), id(pod.spec), pod.pinned_node)
        return known[1], known[2]


def cases(view: ClusterView, thresholds: Thresholds) -> Iterable[Case]:
    """One for each pod that waits for a node where its volumes are and has none."""
    state = view.objects
    if not state.knows(*_NEEDED):
        return
    topology = topology_of(state)
    memory = state.derived.get(_NAME)
    if not isinstance(memory, _Memory):
        memory = state.derived[_NAME] = _Memory()
    memory.current(view, topology)
    told: Counter[tuple[str, ...]] = Counter()
    waiting = [each for each in state.waiting.items() if each[1].claims]
    for key, pod in sorted(waiting, key=lambda each: (each[1].created, each[0])):
        if pod.gates or pod.deleted or age(view, pod.created) < thresholds.pending_warning_s:
            continue
        pinned, alike = memory.place(state, key, pod)
        if not pinned:
            continue
        if alike not in memory.judged:
            memory.specs[id(pod.spec)] = pod.spec
            memory.judged[alike] = _mismatch(view, topology, pod, pinned, thresholds)
        found = memory.judged[alike]
        if found is not None and not _contradicted(pod, found):
            told[found.about] += 1
            yield _case(view, pod, pinned, found, thresholds, in_full=found.apart or told[found.about] <= _IN_FULL)


def _mismatch(
    view: ClusterView, topology: Topology, pod: Pod, pinned: list[Pinned], thresholds: Thresholds
) -> _Mismatch | None:
    usable = topology.usable(terms_of(pinned))
    standing = Fit(NOBODY, pod)
    there = []
    for name in usable:
        node = view.nodes[name]
        reason = _why_out(view, standing, node, thresholds)
        if reason is None:
            return None
        there.append(_Excluded(node, *reason))
    in_place = set(usable)
    elsewhere: Counter[str] = Counter()
    for name, zone in topology.zones.items():
        if name not in in_place and _why_out(view, standing, view.nodes[name], thresholds) is None:
            elsewhere[zone] += 1
            if elsewhere.total() >= _COUNTED:
                break
    if not elsewhere:
        return None
    alone = [each for each in pinned if not _open(view, topology, standing, each, thresholds)]
    culprits = alone or pinned
    place = place_of(culprits[0].terms)
    terms = frozenset(each.terms for each in culprits)
    unlabelled = () if not alone else tuple(_unlabelled(view, topology, culprits, place))
    out: dict[_Out, list[str]] = {}
    for each in there:
        out.setdefault(each.kind, []).append(each.node.name)
    return _Mismatch(place, terms, not alone, tuple(there), out, unlabelled, elsewhere)


def _open(view: ClusterView, topology: Topology, standing: Fit, one: Pinned, thresholds: Thresholds) -> bool:
    """The pod may use a node where this volume can be used."""
    names = topology.usable((one.terms,))
    return any(_why_out(view, standing, view.nodes[name], thresholds) is None for name in names)


def _why_out(view: ClusterView, standing: Fit, node: NodeObject, thresholds: Thresholds) -> tuple[_Out, str] | None:
    """Why the pod may not use the node, in a word and in a clause; None: it may."""
    ready = node.condition("Ready")
    if ready is not None and ready.status != "True":
        away = age(view, ready.since)
        if ready.since and away < thresholds.node_away_min_s:
            return None  # a kubelet that restarts; its taints go with that
        silent = "has not been heard" if ready.status == "Unknown" else "has not been ready"
        return _Out.LOST, f"{silent}{f' for {span(away)}' if ready.since else ''}"
    return next((_OF_STOP[stop.code](stop.about) for stop in standing.standing_stops(node)), None)


def _of_taint(about: str) -> tuple[_Out, str]:
    if says_lost(about):
        return _Out.LOST, f"is not ready ({about})"
    return _Out.TAINTED, f"has taint {about}, which the pod does not tolerate"


_OF_STOP: dict[str, Callable[[str], tuple[_Out, str]]] = {
    CORDONED: lambda _: (_Out.CORDONED, "is cordoned"),
    TAINT: _of_taint,
    NODE_AFFINITY: lambda about: (_Out.NOT_SELECTED, f"is not selected by the pod ({about})"),
}


def _unlabelled(
    view: ClusterView, topology: Topology, culprits: list[Pinned], place: Place
) -> Iterator[tuple[str, str]]:
    """Nodes that are in the volume's zone and lack the label by which its driver, or an older version, calls it."""
    if place.kind is not Kind.ZONE:
        return
    keys = {each.key for one in culprits for term in one.terms for each in term.labels if is_zone_key(each.key)}
    for name, zone in topology.zones.items():
        if zone in place.values:
            missing = sorted(key for key in keys if key not in view.nodes[name].labels)
            if missing:
                yield name, missing[0]


def _contradicted(pod: Pod, found: _Mismatch) -> bool:
    """Schedulers take the older name of a zone label for the newer one in places: theirs is the last word there."""
    scheduled = pod.condition("PodScheduled")
    if not found.unlabelled or scheduled is None or not scheduled.message:
        return False
    says = scheduling.parse(scheduled.message)
    return bool(says.reasons) and all(reason.kind is not scheduling.Kind.VOLUME_ZONE for reason in says.reasons)


# -- what is said of it --------------------------------------------------------------------------------------------


def _case(
    view: ClusterView, pod: Pod, pinned: list[Pinned], found: _Mismatch, thresholds: Thresholds, *, in_full: bool
) -> Case:
    """`in_full`: with all that a finding says; of many pods of one place the oldest speak for the others."""
    waits = age(view, pod.created)
    culprits = [each for each in pinned if each.terms in found.culprits]
    about = ("apart", culprits[0].claim.key) if found.apart else found.about
    objects = (
        f"Pod/{pod.key}",
        *(f"PersistentVolumeClaim/{each.claim.key}" for each in culprits),
        *(f"PersistentVolume/{each.volume.name}" for each in culprits),
    )
    severity = Severity.CRITICAL if waits >= thresholds.pending_critical_s else Severity.WARNING
    if not in_full:
        return Case(ZONE_MISMATCH, about, "", objects, (), severity=severity, weight=waits, since=pod.created)
    lost = found.out.get(_Out.LOST, [])
    return Case(
        ZONE_MISMATCH,
        about,
        f"Pod {pod.key} has been Pending for {span(waits)}: {_where(culprits, found)}; {_elsewhere(found.elsewhere)}",
        (*objects, *(f"Node/{name}" for name in lost[:_COUNTED])),
        tuple(_evidence(view, pod, culprits, found)),
        severity=severity,
        weight=waits,
        since=pod.created,
        ruled_out=(
            RuledOut("sched.node_affinity", f"the pod itself may use {_nodes(found.elsewhere)} elsewhere"),
            RuledOut("sched.insufficient_resources", "no node of the volume's place is open to it, full or not"),
        ),
        remedies=tuple(_remedies(pod, found)),
    )


def _where(culprits: list[Pinned], found: _Mismatch) -> str:
    if found.apart:
        named = ", ".join(f"{each.claim.key} in {place_of(each.terms)}" for each in culprits)
        return f"no node is where all its volumes are ({named})"
    one = culprits[0]
    more = f" and {len(culprits) - 1} more of its volumes" if len(culprits) > 1 else ""
    volume = f"volume {one.volume.name} of claim {one.claim.key}{more} can be used on {found.place} only"
    if found.place.kind is Kind.ZONE:
        volume = volume.replace(" on zone", " in zone", 1)
    if not found.there:
        if found.unlabelled:
            name, key = found.unlabelled[0]
            return f"{volume}, and {name}, which is there, has no label {key} as the volume's affinity asks for"
        gone = ", which is gone" if found.place.kind is Kind.NODE else ", where there is no node"
        return volume + gone
    if found.place.kind is Kind.NODE and len(found.there) == 1:
        return f"{volume}, which {found.there[0].because}"
    named = ", ".join(f"{each.node.name} {each.because}" for each in found.there[:_NAMED])
    rest = len(found.there) - _NAMED
    return f"{volume}, where {named}{f', and {rest} more nodes are out' if rest > 0 else ''}"


def _elsewhere(elsewhere: Counter[str]) -> str:
    zones = ", ".join(f"{count} in zone {zone}" for zone, count in sorted(elsewhere.items())[:_NAMED] if zone)
    return f"it may use {_nodes(elsewhere)} elsewhere{f' ({zones})' if zones else ''}"


def _nodes(elsewhere: Counter[str]) -> str:
    count = elsewhere.total()
    return f"{count} node{'' if count == 1 else 's'}{' or more' if count >= _COUNTED else ''}"


def _evidence(view: ClusterView, pod: Pod, culprits: list[Pinned], found: _Mismatch) -> Iterator[Evidence]:
    yield api_evidence("pods", pod.key, "pod.waiting", round(age(view, pod.created)), unit="s", at=view.now)
    for each in culprits:
        where = str(place_of(each.terms))
        yield api_evidence("persistentvolumes", each.volume.name, "volume.place", where, at=view.now)
    for out in found.there[:_NAMED]:
        yield api_evidence("nodes", out.node.name, "node.out", out.kind, at=view.now)
    if not found.there:
        yield api_evidence("nodes", str(found.place), "nodes", 0, unit="nodes", at=view.now)
    for zone, count in sorted(found.elsewhere.items())[:_NAMED]:
        yield api_evidence("nodes", f"zone {zone}" if zone else "in no zone", "nodes", count, unit="nodes", at=view.now)


def _remedies(pod: Pod, found: _Mismatch) -> Iterator[str]:
    room = amounts_text(pod.spec.requests)
    if found.apart:
        yield "Bring the volumes to one place with snapshots: WaitForFirstConsumer would have made them in one."
        return
    if cordoned := found.out.get(_Out.CORDONED):
        yield f"Uncordon a node there, if it may take pods again: {_some(cordoned)}."
    if lost := found.out.get(_Out.LOST):
        yield f"Bring back {_some(lost)}."
    if found.unlabelled:
        name, key = found.unlabelled[0]
        yield f"See why {name} has no label {key}: the driver's pod on it sets it when it registers."
    if found.place.kind is Kind.NODE:
        yield "What is on a local volume is on that machine alone: without it, a replica or a backup must do."
    else:
        where = f"in {found.place}" if found.place.kind is Kind.ZONE else f"on {found.place}"
        yield f"Have a node {where} that the pod may use, with {room} free (its pool may have been scaled to none)."
    if tainted := found.out.get(_Out.TAINTED):
        yield f"Let the pod tolerate the taint of {_some(tainted)}, if it may run there."


def _some(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
