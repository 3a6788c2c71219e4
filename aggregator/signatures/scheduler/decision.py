"""What keeps a waiting pod from a node: our own arithmetic, checked against what the scheduler says.

What the arithmetic proves stands. Where it cannot follow (devices, storage capacity, plug-ins, what is not listed) the
scheduler's word counts. Where the two contradict each other, or nobody says anything, that is said, and no cause is.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum

from aggregator.cluster.objects import Pod
from aggregator.messages.scheduling import Kind, Reason
from aggregator.scheduling import stops
from aggregator.scheduling.cause import FRAGMENTATION, Cause, Survey
from aggregator.scheduling.volumes import class_of
from aggregator.signatures.scheduler.codes import UNKNOWN
from aggregator.signatures.scheduler.surveys import Looked
from aggregator.signatures.scheduler.waiting import Waiting
from aggregator.view import ClusterView

CODES_OF = {
    Kind.RESOURCES: stops.INSUFFICIENT,
    Kind.PODS: stops.TOO_MANY_PODS,
    Kind.TAINT: stops.TAINT,
    Kind.NOT_READY: stops.TAINT,
    Kind.DISK_PRESSURE: stops.TAINT,
    Kind.MEMORY_PRESSURE: stops.TAINT,
    Kind.NODE_AFFINITY: stops.NODE_AFFINITY,
    Kind.POD_AFFINITY: stops.POD_AFFINITY,
    Kind.SPREAD: stops.SPREAD,
    Kind.HOST_PORT: stops.HOST_PORT,
    Kind.VOLUME_ZONE: stops.VOLUME_ZONE,
    Kind.VOLUME_LIMIT: stops.VOLUME_LIMIT,
    Kind.VOLUME_IN_USE: stops.VOLUME_IN_USE,
    Kind.UNBOUND_CLAIM: stops.UNBOUND_CLAIM,
    Kind.CORDONED: stops.CORDONED,
    Kind.RESOURCE_CLAIM: stops.RESOURCE_CLAIM,
}
"""Codes of the reasons that a scheduler gives."""
_PLAIN = (
    stops.INSUFFICIENT,
    stops.TOO_MANY_PODS,
    stops.TAINT,
    stops.NODE_AFFINITY,
    stops.HOST_PORT,
    stops.CORDONED,
)
"""What a sum or a comparison decides: the scheduler's word against it is old, or rests on what is not followed."""
_OF_POOLS = (FRAGMENTATION, stops.INSUFFICIENT, stops.TOO_LARGE, stops.TOO_MANY_PODS, stops.CORDONED)
"""Causes that are about the pools of the nodes too."""
_SAME = {FRAGMENTATION: stops.INSUFFICIENT, stops.TOO_LARGE: stops.INSUFFICIENT}
_QUOTES = re.compile(r"\"[^\"]*\"|'[^']*'")


class Ground(StrEnum):
    """What the decision rests on."""

    ARITHMETIC = "arithmetic"
    MESSAGE = "message"
    UNDERWAY = "underway"
    """Its volume is being made."""
    SILENCE = "silence"
    """No scheduler has said anything."""
    CONTRADICTION = "contradiction"
    """The scheduler gives a reason that does not hold."""
    FITS = "fits"
    """Nothing is said, and nothing stops it."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One pod's cause."""

    waiting: Waiting
    code: str
    about: tuple[str, ...]
    """The cause, without numbers."""
    ground: Ground
    looked: Looked | None = None
    """None: nodes are not known."""
    said: Reason | None = None
    """The reason that the scheduler gives, where that is what decided, or what is contradicted."""


def decide(view: ClusterView, waiting: Waiting, looked: Looked | None) -> Decision | None:
    """`looked`: None where nodes are not known. None: it waits its turn, as its scheduler says."""
    if looked is None:
        return _by_message(waiting, None) or _unknown(waiting, Ground.SILENCE, None)
    if (claim := _claim_refused(waiting)) is not None:
        return _said(waiting, looked, claim)
    found = looked.cause
    if found is not None and not (_is_silent(waiting) and is_lease_stale(view, waiting.pod.spec.scheduler)):
        return Decision(
            waiting, found.code, (found.about, *_where(waiting.pod, looked, found)), Ground.ARITHMETIC, looked
        )
    if looked.survey.underway:
        return Decision(waiting, stops.UNBOUND_CLAIM, _classes(looked), Ground.UNDERWAY, looked)
    if waiting.takes_turns:
        return None
    return _by_message(waiting, looked) or _unexplained(waiting, looked)


def _where(pod: Pod, looked: Looked, found: Cause) -> tuple[str, ...]:
    """What a cause of amounts is about beside the resource: the pools, or, of a DaemonSet's pods, which are for a node
    each, their owner."""
    if found.code not in _OF_POOLS:
        return ()
    if pod.pinned_node and pod.owner is not None:
        return (f"{pod.owner.kind}/{pod.namespace}/{pod.owner.name}",)
    return looked.pools


def _classes(looked: Looked) -> tuple[str, ...]:
    """Classes of the claims whose volume is being made, in order."""
    state = looked.fit.cluster.state
    claims = [state.claims[key] for key in looked.survey.underway if key in state.claims]
    return tuple(sorted({f"class {found.name}" for claim in claims if (found := class_of(state, claim)) is not None}))


def _is_silent(waiting: Waiting) -> bool:
    return not waiting.message and waiting.pod.condition("PodScheduled") is None


def is_lease_stale(view: ClusterView, scheduler: str) -> bool:
    """The lease of this scheduler, where it has one that is known, has run out."""
    lease = view.objects.leases.get(f"kube-system/{lease_of(scheduler)}")
    return lease is not None and view.now - lease.renewed > max(3 * lease.duration_s, 60)


def lease_of(scheduler: str) -> str:
    """Name of a scheduler's lease in kube-system."""
    return "kube-scheduler" if scheduler == "default-scheduler" else scheduler


def _claim_refused(waiting: Waiting) -> Reason | None:
    """Devices that the scheduler refuses before it looks at any node."""
    if not waiting.pod.spec.resource_claims:
        return None
    return next((each for each in waiting.says.reasons if each.kind is Kind.RESOURCE_CLAIM and not each.count), None)


# -- by the scheduler's word ---------------------------------------------------------------------------------------


def _by_message(waiting: Waiting, looked: Looked | None) -> Decision | None:
    """What the scheduler says. Where nodes are known, some would take the pod by plain sums: then it is a reason that
    these do not decide, unless what they prove stops more nodes. None: it gives none that holds."""
    reasons = [reason for reason in waiting.says.reasons if reason.kind in CODES_OF]
    if looked is None:
        main = waiting.says.main
        return _said(waiting, None, main) if main in reasons and main is not None else None
    proven = _proven(looked.survey)
    code, nodes = proven.most_common(1)[0] if proven else ("", 0)
    soft = max((each for each in reasons if CODES_OF[each.kind] not in _PLAIN), key=_reach, default=None)
    if soft is not None and (not soft.count or soft.count >= nodes):
        return _said(waiting, looked, soft)
    odd = soft is not None or any(each.kind is Kind.OTHER for each in waiting.says.reasons)
    plain = next((each for each in reasons if odd and CODES_OF[each.kind] == code), None)
    return _said(waiting, looked, plain) if plain is not None else None


def _reach(reason: Reason) -> tuple[bool, int]:
    """Of the pod as a whole first, then by the number of nodes."""
    return not reason.count, reason.count


def _proven(seen: Survey) -> Counter[str]:
    """How many nodes that were meant for the pod plain sums keep it off, by code."""
    firsts = [stops[0] for node in seen.meant.nodes if (stops := seen.stops[node.name])]
    return Counter(code for stop in firsts if (code := _SAME.get(stop.code, stop.code)) in _PLAIN)


def _said(waiting: Waiting, looked: Looked | None, reason: Reason) -> Decision:
    about = reason.resource or reason.taint or " ".join(_QUOTES.sub("", reason.text).split())[:120]
    return Decision(waiting, CODES_OF[reason.kind], ("said", about), Ground.MESSAGE, looked, said=reason)


def _unexplained(waiting: Waiting, looked: Looked) -> Decision:
    if _is_silent(waiting):
        return _unknown(waiting, Ground.SILENCE, looked)
    return _unknown(waiting, Ground.CONTRADICTION if waiting.says.main is not None else Ground.FITS, looked)


def _unknown(waiting: Waiting, ground: Ground, looked: Looked | None) -> Decision:
    main = waiting.says.main
    about = (str(ground), waiting.pod.spec.scheduler, main.code if main is not None else "")
    return Decision(waiting, UNKNOWN, about, ground, looked, said=main)
