"""Cases of pods that have waited too long for a node: one for all pods of a kind, and gathered by their cause."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from aggregator.cluster.objects import Pod
from aggregator.cluster.workloads import controller_of
from aggregator.model import Evidence, RuledOut, Severity
from aggregator.scheduling import stops
from aggregator.scheduling.cause import FRAGMENTATION
from aggregator.signatures.case import Case, api_evidence
from aggregator.signatures.scheduler.codes import CODES
from aggregator.signatures.scheduler.decision import Decision, Ground, decide, is_lease_stale, lease_of
from aggregator.signatures.scheduler.surveys import Looked, surveys
from aggregator.signatures.scheduler.waiting import Waiting, waiting
from aggregator.signatures.scheduler.words import counted, explain
from aggregator.signatures.thresholds import Thresholds
from aggregator.view import ClusterView
from aggregator.wording import quoted, span

_OF_CLAIMS = (stops.VOLUME_ZONE, stops.UNBOUND_CLAIM, stops.VOLUME_LIMIT, stops.VOLUME_IN_USE)
_MAKING_NODES = ("fargate-scheduler",)
"""Schedulers that make a node for each pod: what is free on those that are there says nothing."""
_LARGER = (FRAGMENTATION, stops.TOO_LARGE)
_NAMED = 3


def cases(view: ClusterView, thresholds: Thresholds) -> Iterator[Case]:
    """Nothing where pods are not known: half a list is no cluster."""
    if not view.objects.knows("pods"):
        return
    kept = surveys(view.objects) if view.objects.knows("nodes") else None
    groups: dict[tuple[object, ...], tuple[Looked | None, list[Waiting]]] = {}
    for each in waiting(view, thresholds):
        followed = kept is not None and each.pod.spec.scheduler not in _MAKING_NODES
        looked = kept.of(each.pod, view.now) if kept is not None and followed else None
        main = each.says.main
        key = (id(looked), main.code if main is not None else "", each.pod.spec.scheduler if looked is None else "")
        groups.setdefault(key, (looked, []))[1].append(each)
    if kept is not None:
        kept.finish()
    for looked, alike in groups.values():
        alike.sort(key=lambda each: (each.since, each.pod.key))
        decision = decide(view, alike[0], looked)
        if decision is not None:
            yield _case(view, thresholds, decision, alike)


def _case(view: ClusterView, thresholds: Thresholds, decision: Decision, alike: list[Waiting]) -> Case:
    first = decision.waiting
    looked = decision.looked
    by_sums = decision.ground is Ground.ARITHMETIC and looked is not None
    shared = explain(looked, first.pod, view.now) if by_sums and looked is not None else None
    clause = shared.clause if shared is not None else _clause(view, decision)
    also = f" and {len(alike) - 1:,} more like it" if len(alike) > 1 else ""
    verb = "have" if also else "has"
    said = _of_the_message(decision)
    objects = [f"Pod/{each.pod.key}" for each in alike]
    objects += dict.fromkeys(each for one in alike for each in _controllers(view, one.pod))
    objects += shared.objects if shared is not None else ()
    if decision.code in _OF_CLAIMS:
        objects += (
            f"PersistentVolumeClaim/{each.pod.namespace}/{use.claim}" for each in alike for use in each.pod.claims
        )
    critical = first.age >= thresholds.pending_critical_s
    return Case(
        decision.code,
        decision.about,
        f"Pod {first.pod.key}{also} {verb} waited {span(first.age)} for a node: {clause}{said}",
        tuple(dict.fromkeys(objects)),
        (*_told(view, alike), *(shared.evidence if shared is not None else ())),
        nodes=shared.nodes if shared is not None else (),
        severity=Severity.CRITICAL if critical else Severity.WARNING,
        weight=first.age,
        since=first.since,
        ruled_out=shared.ruled_out if shared is not None else tuple(_ruled_out(decision)),
        remedies=(*(shared.remedies if shared is not None else ()), *_by_autoscaler(first)),
    )


def _controllers(view: ClusterView, pod: Pod) -> Iterator[str]:
    """Its controller, and that one's."""
    if pod.owner is not None:
        yield f"{pod.owner.kind}/{pod.namespace}/{pod.owner.name}"
        above = controller_of(view.objects, pod)
        if above is not None and above != pod.owner:
            yield f"{above.kind}/{pod.namespace}/{above.name}"


# -- what was said -------------------------------------------------------------------------------------------------


def _told(view: ClusterView, alike: Iterable[Waiting]) -> Iterator[Evidence]:
    """Age and message of the oldest ones."""
    messages: set[str] = set()
    for each in list(alike)[:_NAMED]:
        key = each.pod.key
        yield api_evidence("pods", key, "pod.pending", round(each.age), unit="s", at=view.now)
        if each.message and each.message not in messages:
            messages.add(each.message)
            yield api_evidence("pods", key, "scheduler.says", quoted(each.message), at=each.said_at or view.now)
        if each.autoscaler and each.autoscaler not in messages:
            messages.add(each.autoscaler)
            yield api_evidence("events", key, "autoscaler.says", quoted(each.autoscaler), at=view.now)


def _of_the_message(decision: Decision) -> str:
    """Where the scheduler says another reason first, or nothing at all."""
    if decision.ground is not Ground.ARITHMETIC:
        return ""
    says = decision.waiting.says
    if not decision.waiting.message:
        return "; the scheduler has said nothing of it"
    if not says.reasons:
        return ""
    code = stops.INSUFFICIENT if decision.code in _LARGER else decision.code
    if any(reason.code == code or reason.code not in CODES for reason in says.reasons):
        return ""
    return "; the scheduler's last word names other reasons"


def _by_autoscaler(first: Waiting) -> Iterator[str]:
    if first.autoscaler.startswith("NotTriggerScaleUp"):
        yield "The autoscaler makes no node for it: its reason is in the evidence."
    elif first.autoscaler:
        yield "The autoscaler wanted to make a node for it and has not: look at its log and at the cloud's quota."


# -- decided otherwise ---------------------------------------------------------------------------------------------


def _clause(view: ClusterView, decision: Decision) -> str:
    scheduler = decision.waiting.pod.spec.scheduler
    match decision.ground:
        case Ground.UNDERWAY:
            claims = decision.looked.survey.underway if decision.looked is not None else ()
            return f"the volume of its claim {', '.join(claims[:_NAMED])} is being made for a node that is chosen"
        case Ground.MESSAGE:
            reason = decision.said
            text = reason.text if reason is not None else ""
            where = f" on {counted(reason.count)}" if reason is not None and reason.count else ""
            return f'the scheduler says "{quoted(text)}"{where}, which is not followed here any further'
        case Ground.SILENCE:
            return f"{_silence(view, scheduler)}{_fits(decision)}"
        case Ground.CONTRADICTION:
            reason = decision.said
            text = reason.text if reason is not None else ""
            return f'the scheduler says "{quoted(text)}", which does not hold now{_fits(decision)}'
    said = f': "{quoted(decision.waiting.message)}"' if decision.waiting.message else ""
    return f"{scheduler} gives no reason that is known{said}{_fits(decision)}"


def _silence(view: ClusterView, scheduler: str) -> str:
    lease = view.objects.leases.get(f"kube-system/{lease_of(scheduler)}")
    if lease is not None and is_lease_stale(view, scheduler):
        return f"{scheduler} has said nothing of it, and has not renewed its lease for {span(view.now - lease.renewed)}"
    if lease is None and scheduler != "default-scheduler":
        return f"no scheduler named {scheduler} has said anything of it"
    return f"{scheduler} has said nothing of it"


def _fits(decision: Decision) -> str:
    if decision.looked is None:
        return "" if decision.waiting.pod.spec.scheduler in _MAKING_NODES else "; nodes are not known"
    seen = decision.looked.survey
    if not seen.stops:
        return "; there is no node"
    fitting = seen.fitting
    if not fitting:
        return ""
    return f"; by its sums {counted(len(fitting))} would take it ({', '.join(sorted(fitting)[:_NAMED])})"


def _ruled_out(decision: Decision) -> Iterator[RuledOut]:
    """What a pod without a known cause was looked at for."""
    if decision.looked is None:
        return
    seen = decision.looked.survey
    if decision.ground in (Ground.CONTRADICTION, Ground.FITS, Ground.SILENCE) and seen.fitting:
        node = min(seen.fitting)
        because = f"{node} has room, no taint and no label against it"
        for code in (stops.INSUFFICIENT, stops.TAINT, stops.NODE_AFFINITY, stops.CORDONED):
            yield RuledOut(code, because)
