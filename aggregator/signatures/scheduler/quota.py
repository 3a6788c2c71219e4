"""Pods that are never made because a quota refuses them: there is no pod to look at, only its controller's attempts.

A ReplicaSet says so in its condition ReplicaFailure, which goes away once it succeeds; others only by events, so theirs
must be of late. "exceeded quota: NAME, requested: a=1,b=2, used: ..., limited: ..." and "failed quota: NAME: must
specify a,b" come from the API server's admission (plugin/pkg/admission/resourcequota).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from aggregator.cluster.objects import Condition, Event, Quota, Workload
from aggregator.cluster.quantity import QuantityError, amount
from aggregator.cluster.state import Change, ClusterState
from aggregator.model import Evidence
from aggregator.signatures.case import Case, api_evidence
from aggregator.signatures.scheduler.codes import QUOTA
from aggregator.signatures.thresholds import Thresholds
from aggregator.view import ClusterView
from aggregator.wording import quoted, span

_NAME = "scheduler.refusals"
_EXCEEDED = re.compile(r"exceeded quota: ([^,\s]{1,253}), requested: ")
_USED, _LIMITED = ", used: ", ", limited: "
_FAILED = re.compile(r"failed quota: (?P<quota>[^:\s]+): must specify (?P<missing>.*)", re.DOTALL)
_PAIR = re.compile(r"([^=,\s]{1,320})=([^,\s]{1,320})")


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a message of the API server says of a quota."""

    quota: str
    message: str
    """Verbatim."""
    asked: Mapping[str, str] = field(default_factory=dict)
    """Quantities by resource, as they were written."""
    used: Mapping[str, str] = field(default_factory=dict)
    hard: Mapping[str, str] = field(default_factory=dict)
    missing: str = ""
    """What the pod must specify and does not."""


@dataclass(slots=True)
class _Refused:
    """Objects that tell of a quota, by key."""

    revision: int = 0
    workloads: dict[str, Workload] = field(default_factory=dict)
    """ReplicaSets and StatefulSets with a ReplicaFailure, by "resource key"."""
    events: dict[str, Event] = field(default_factory=dict)


def parse(message: str) -> Refusal | None:
    """None: it says nothing of a quota."""
    if (found := _EXCEEDED.search(message)) is not None:
        asked, is_told, rest = message[found.end() :].partition(_USED)
        used, is_limited, hard = rest.partition(_LIMITED)
        if is_told and is_limited:
            pairs = [dict(_PAIR.findall(part)) for part in (asked, used, hard)]
            return Refusal(found[1], message, pairs[0], pairs[1], pairs[2])
    if (found := _FAILED.search(message)) is not None:
        return Refusal(found["quota"], message, missing=" ".join(found["missing"].split()))
    return None


def cases(view: ClusterView, thresholds: Thresholds) -> Iterator[Case]:
    """One for each controller that still lacks pods."""
    refused = _refused(view.objects)
    told: set[str] = set()
    for workload in refused.workloads.values():
        condition = _failure(workload)
        refusal = parse(condition.message) if condition is not None else None
        if condition is None or refusal is None or workload.existing >= workload.wanted:
            continue
        told.add(f"{workload.kind}/{workload.key}")
        if not _has_room(view.objects, workload.namespace, refusal):
            age = max(0.0, view.now - condition.since) if condition.since else 0.0
            if age >= thresholds.pending_warning_s:
                yield _case(view, f"{workload.kind}/{workload.key}", refusal, age, workload)
    latest: dict[str, Event] = {}
    for event in refused.events.values():
        about = f"{event.kind}/{event.object}"
        if about not in latest or latest[about].last < event.last:
            latest[about] = event
    for about, event in sorted(latest.items()):
        if about not in told and view.now - event.last <= thresholds.failed_create_recent_s:
            refusal, owner = parse(event.message), _workload(view.objects, event)
            age = max(0.0, view.now - (event.first or event.last))
            stands = owner is not _GONE and not _is_whole(owner)
            if refusal is None or not stands or age < thresholds.pending_warning_s:
                continue
            if not _has_room(view.objects, event.object.partition("/")[0], refusal):
                yield _case(view, about, refusal, age, owner)


_GONE = Workload("", "", "")


def _workload(state: ClusterState, event: Event) -> Workload | None:
    """The controller of the event, where its kind is kept; _GONE: it is there no more. None: nothing is known."""
    known = {"ReplicaSet": ("replicasets", state.replica_sets), "StatefulSet": ("statefulsets", state.stateful_sets)}
    if event.kind not in known:
        return None
    resource, workloads = known[event.kind]
    found = workloads.get(event.object)
    if found is None:
        return _GONE if state.knows(resource) else None
    return _GONE if event.object_uid not in ("", found.uid) else found


def _is_whole(workload: Workload | None) -> bool:
    return workload is not None and workload.existing >= workload.wanted


def _failure(workload: Workload) -> Condition | None:
    return next((each for each in workload.conditions if each.type == "ReplicaFailure" and each.status == "True"), None)


def _refused(state: ClusterState) -> _Refused:
    """Of this state, current."""
    known = state.derived.get(_NAME)
    changes = state.changes(known.revision) if isinstance(known, _Refused) else None
    if not isinstance(known, _Refused) or changes is None:
        known = state.derived[_NAME] = _Refused()
        changes = (
            Change(resource, key, None, thing)
            for resource, things in (
                ("replicasets", state.replica_sets),
                ("statefulsets", state.stateful_sets),
                ("events", state.events),
            )
            for key, thing in things.items()
        )
    for change in changes:
        if change.resource in ("replicasets", "statefulsets"):
            known.workloads.pop(f"{change.resource} {change.key}", None)
            if isinstance(change.after, Workload) and _failure(change.after) is not None:
                known.workloads[f"{change.resource} {change.key}"] = change.after
        elif change.resource == "events":
            known.events.pop(change.key, None)
            if (
                isinstance(change.after, Event)
                and change.after.reason == "FailedCreate"
                and "quota" in change.after.message
            ):
                known.events[change.key] = change.after
    known.revision = state.revision
    return known


def _has_room(state: ClusterState, namespace: str, refusal: Refusal) -> bool:
    """The quota, as it is now, would take what was refused."""
    quota = state.quotas.get(f"{namespace}/{refusal.quota}")
    if quota is None:
        return state.knows("resourcequotas")
    if refusal.missing:
        return False
    return all(_takes(quota, resource, text) for resource, text in refusal.asked.items())


def _takes(quota: Quota, resource: str, asked: str) -> bool:
    if resource not in quota.hard:
        return True
    try:
        wanted = amount(resource, asked)
    except QuantityError:
        return False
    return quota.used.get(resource, 0) + wanted <= quota.hard[resource]


def _case(view: ClusterView, about: str, refusal: Refusal, age: float, workload: Workload | None) -> Case:
    kind, namespace, name = about.split("/", 2)
    quota = f"{namespace}/{refusal.quota}"
    objects = [about, f"ResourceQuota/{quota}"]
    if workload is not None and workload.owner is not None:
        objects.insert(1, f"{workload.owner.kind}/{namespace}/{workload.owner.name}")
    lacking = f" ({workload.existing} of {workload.wanted} pods are there)" if workload is not None else ""
    return Case(
        QUOTA,
        (namespace, refusal.quota),
        f"{kind} {namespace}/{name} has not been able to make a pod for {span(age)}{lacking}: {_words(refusal)}",
        tuple(objects),
        tuple(_facts(view, about, quota, refusal, age)),
        weight=age,
        since=view.now - age if age else 0.0,
        remedies=tuple(_remedies(refusal)),
    )


def _words(refusal: Refusal) -> str:
    if refusal.missing:
        return f"quota {refusal.quota} asks every pod to specify {refusal.missing}"
    parts = (
        f"{resource} {refusal.used.get(resource, '?')} of {refusal.hard.get(resource, '?')} used, {asked} more asked"
        for resource, asked in refusal.asked.items()
    )
    return f"quota {refusal.quota} is used up ({'; '.join(parts)})"


def _facts(view: ClusterView, about: str, quota: str, refusal: Refusal, age: float) -> Iterator[Evidence]:
    at = view.now
    source = {"ReplicaSet": "replicasets"}.get(about.partition("/")[0], "events")
    yield api_evidence(source, about.partition("/")[2], "controller.refused", round(age), unit="s", at=at)
    yield api_evidence(source, about.partition("/")[2], "apiserver.says", quoted(refusal.message), at=at)
    for resource in refusal.asked:
        for signal, amounts in (("asked", refusal.asked), ("used", refusal.used), ("hard", refusal.hard)):
            if resource in amounts:
                text = f"{resource}={amounts[resource]}"
                yield api_evidence("resourcequotas", quota, f"quota.{signal}.{resource}", text, at=at)


def _remedies(refusal: Refusal) -> Iterator[str]:
    if refusal.missing:
        yield f"Let the pod's template specify {refusal.missing}, or give the namespace a LimitRange with defaults."
    for resource, asked in refusal.asked.items():
        try:
            hard, used = (amount(resource, each[resource]) for each in (refusal.hard, refusal.used))
            lacks = used + amount(resource, asked) - hard
        except (QuantityError, KeyError):
            continue
        unit = "m" if resource in ("cpu", "requests.cpu", "limits.cpu") else ""
        yield f"One more pod needs {lacks:,}{unit} more of {resource} in quota {refusal.quota}."
