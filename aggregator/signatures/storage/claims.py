"""Claims that want something: a volume, or a larger one. Few among many, so they are kept apart as objects change."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from aggregator.cluster.objects import Claim, Event, Pod
from aggregator.cluster.state import ClusterState
from aggregator.cluster.workloads import workload_of
from aggregator.model import Evidence, Severity
from aggregator.signatures.case import API, Case
from aggregator.view import ClusterView
from aggregator.wording import quoted

_NAME = "storage.claims"


@dataclass(slots=True)
class WantingClaims:
    """Keys of claims that want something."""

    revision: int = 0
    pending: set[str] = field(default_factory=set)
    """Not bound yet."""
    growing: set[str] = field(default_factory=set)
    """Bound, and asking for more than they have, or saying something about it."""


def wanting_claims(state: ClusterState) -> WantingClaims:
    """Those of this state, current."""
    known = state.derived.get(_NAME)
    changes = state.changes(known.revision) if isinstance(known, WantingClaims) else None
    if not isinstance(known, WantingClaims) or changes is None:
        known = state.derived[_NAME] = WantingClaims()
        for key, claim in state.claims.items():
            _sort(known, key, claim)
    else:
        for change in changes:
            if change.resource == "persistentvolumeclaims" and change.key:
                _sort(known, change.key, change.after if isinstance(change.after, Claim) else None)
    known.revision = state.revision
    return known


def _sort(known: WantingClaims, key: str, claim: Claim | None) -> None:
    for keys, wanting in (
        (known.pending, claim is not None and claim.phase in ("Pending", "")),
        (known.growing, claim is not None and claim.phase == "Bound" and _grows(claim)),
    ):
        if wanting:
            keys.add(key)
        else:
            keys.discard(key)


def _grows(claim: Claim) -> bool:
    return 0 < claim.capacity < claim.requested or bool(claim.conditions) or bool(claim.resize_status)


def users_of(state: ClusterState, claim: str) -> list[Pod]:
    """Pods that use the claim "namespace/name", or wait for it, by name."""
    pods = state.pods_of_claim(claim)
    return [pod for _, pod in sorted(pods.items()) if not pod.terminal and not pod.deleted]


def events_about(state: ClusterState, kind: str, key: str, uid: str) -> list[Event]:
    """Events about this very object, oldest first: a namesake that was there before has another UID."""
    return [event for event in state.events_of(kind, key) if event.object_uid in ("", uid) or not uid]


def event_evidence(event: Event, node: str = "") -> Evidence:
    """What an event says, as evidence."""
    subject = f"{event.kind} {event.object}"
    return Evidence(node, f"event.{event.reason}", subject, quoted(event.message), "", f"{API}events", event.last)


def age(view: ClusterView, at: float) -> float:
    """Seconds since then, 0.0 where it is not said or lies ahead."""
    return max(0.0, view.now - at) if at else 0.0


def began(events: Iterable[Event]) -> float:
    """When the first of them was first seen; 0.0: there are none, or none says."""
    return min((event.first or event.last for event in events), default=0.0)


def pod_objects(pods: Iterable[Pod]) -> tuple[str, ...]:
    """As findings name them."""
    return tuple(f"Pod/{pod.key}" for pod in pods)


def with_harm(view: ClusterView, cases: Iterable[Case]) -> list[Case]:
    """The same cases, critical where one cause holds up several workloads: the harm is proven more than once."""
    cases = list(cases)
    workloads: dict[tuple[str, tuple[str, ...]], set[str]] = {}
    for case in cases:
        harmed = workloads.setdefault((case.code, case.about), set())
        for name in case.objects:
            pod = view.objects.pods.get(name.removeprefix("Pod/")) if name.startswith("Pod/") else None
            if pod is not None:
                harmed.add(workload_of(view.objects, pod))
    return [
        replace(case, severity=Severity.CRITICAL)
        if case.severity is not Severity.INFO and len(workloads[case.code, case.about]) > 1
        else case
        for case in cases
    ]
