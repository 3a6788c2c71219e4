"""Pods whose volumes can be used only where no node is left for them: another zone, or a node that is gone.

A node of the right place that is merely full is no mismatch: the pod would be placed once there is room. Where the
pod's own selector takes no node of any place, that is the cause, and not the volume.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from aggregator.cluster.amounts import amounts_text
from aggregator.cluster.objects import Pod, PodSpec
from aggregator.cluster.state import ClusterState
from aggregator.cluster.zones import Kind, place_of
from aggregator.messages import scheduling
from aggregator.model import Evidence, RuledOut, Severity
from aggregator.signatures.case import Case, api_evidence
from aggregator.signatures.storage.claims import age
from aggregator.signatures.storage.codes import ZONE_MISMATCH
from aggregator.signatures.storage.mismatch import COUNTED, Judge, Mismatch, Out
from aggregator.signatures.thresholds import Thresholds
from aggregator.topology import Pinned, Terms, Topology, pinned_volumes, terms_of, topology_of
from aggregator.view import ClusterView
from aggregator.wording import some, span

_NEEDED = ("nodes", "pods", "persistentvolumeclaims", "persistentvolumes")
_NAME = "storage.placement"
_JUDGED_S = 15.0
"""How long it is taken for granted that a node which is out stays so: how long it has been away goes on."""
_IN_FULL = 3
_NAMED = 4


_Key = tuple[Terms, int, str]
"""What pods have in common that fit the same nodes: where their volumes can be used, id of their PodSpec, and the one
node that they are for, if any."""


@dataclass(slots=True)
class _Memory:
    """What was worked out and still holds: when a zone is lost, thousands of pods wait for it at once."""

    standing: int = -1
    judged_at: float = 0.0
    judge: Judge | None = None
    judged: dict[_Key, Mismatch | None] = field(default_factory=dict)
    specs: dict[int, PodSpec] = field(default_factory=dict)
    """Kept, so that their ids stay their own."""
    claims: tuple[int, int] = (-1, -1)
    pods: dict[str, tuple[Pod, list[Pinned], _Key]] = field(default_factory=dict)

    def current(self, view: ClusterView, topology: Topology, thresholds: Thresholds) -> Judge:
        """Forget what may not hold any more; who is to be asked for what is not known."""
        if self.standing != topology.standing or not 0 <= view.now - self.judged_at < _JUDGED_S:
            self.standing, self.judged_at = topology.standing, view.now
            self.judged, self.specs, self.judge = {}, {}, None
        revisions = view.objects.revisions
        claims = revisions["persistentvolumeclaims"], revisions["persistentvolumes"]
        if self.claims != claims or len(self.pods) > 2 * len(view.objects.waiting) + COUNTED:
            self.claims, self.pods = claims, {}
        self.judge = self.judge or Judge(view, topology, thresholds)
        return self.judge

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
    judge = memory.current(view, topology, thresholds)
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
            memory.judged[alike] = judge.mismatch(pod, pinned)
        found = memory.judged[alike]
        if found is not None and not _contradicted(pod, found):
            told[found.about] += 1
            yield _case(view, pod, pinned, found, thresholds, in_full=found.apart or told[found.about] <= _IN_FULL)


def _contradicted(pod: Pod, found: Mismatch) -> bool:
    """Schedulers take the older name of a zone label for the newer one in places: theirs is the last word there."""
    scheduled = pod.condition("PodScheduled")
    if not found.unlabelled or scheduled is None or not scheduled.message:
        return False
    says = scheduling.parse(scheduled.message)
    return bool(says.reasons) and all(reason.kind is not scheduling.Kind.VOLUME_ZONE for reason in says.reasons)


# -- what is said of it --------------------------------------------------------------------------------------------


def _case(
    view: ClusterView, pod: Pod, pinned: list[Pinned], found: Mismatch, thresholds: Thresholds, *, in_full: bool
) -> Case:
    """`in_full`: with all that a finding says; of many pods of one place the oldest speak for the others."""
    waits = age(view, pod.created)
    culprits = pinned if len(pinned) == 1 else [each for each in pinned if each.terms in found.culprits]
    about = ("apart", culprits[0].claim.key) if found.apart else found.about
    objects = (
        f"Pod/{pod.key}",
        *(f"PersistentVolumeClaim/{each.claim.key}" for each in culprits),
        *(f"PersistentVolume/{each.volume.name}" for each in culprits),
    )
    severity = Severity.CRITICAL if waits >= thresholds.pending_critical_s else Severity.WARNING
    if not in_full:
        return Case(ZONE_MISMATCH, about, "", objects, (), severity=severity, weight=waits, since=pod.created)
    lost = found.out.get(Out.LOST, [])
    return Case(
        ZONE_MISMATCH,
        about,
        f"Pod {pod.key} has been Pending for {span(waits)}: {_where(culprits, found)}; {_elsewhere(found.elsewhere)}",
        (*objects, *(f"Node/{name}" for name in lost[:COUNTED])),
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


def _where(culprits: list[Pinned], found: Mismatch) -> str:
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
    return f"{count} node{'' if count == 1 else 's'}{' or more' if count >= COUNTED else ''}"


def _evidence(view: ClusterView, pod: Pod, culprits: list[Pinned], found: Mismatch) -> Iterator[Evidence]:
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


def _remedies(pod: Pod, found: Mismatch) -> Iterator[str]:
    room = amounts_text(pod.spec.requests)
    if found.apart:
        yield "Bring the volumes to one place with snapshots: WaitForFirstConsumer would have made them in one."
        return
    if cordoned := found.out.get(Out.CORDONED):
        yield f"Uncordon a node there, if it may take pods again: {some(cordoned, _NAMED)}."
    if lost := found.out.get(Out.LOST):
        yield f"Bring back {some(lost, _NAMED)}."
    if found.unlabelled:
        name, key = found.unlabelled[0]
        yield f"See why {name} has no label {key}: the driver's pod on it sets it when it registers."
    if found.place.kind is Kind.NODE:
        yield "What is on a local volume is on that machine alone: without it, a replica or a backup must do."
    else:
        where = f"in {found.place}" if found.place.kind is Kind.ZONE else f"on {found.place}"
        yield f"Have a node {where} that the pod may use, with {room} free (its pool may have been scaled to none)."
    if tainted := found.out.get(Out.TAINTED):
        yield f"Let the pod tolerate the taint of {some(tainted, _NAMED)}, if it may run there."
