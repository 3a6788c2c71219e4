"""Claims whose volume is not made: their class is missing, the driver or its cloud refuses, or no place is left.

A claim that waits for its first consumer is as it should be, and so is one that wants no class and waits for a volume
that somebody makes by hand: no driver is at fault there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from aggregator.cluster.amounts import bytes_text
from aggregator.cluster.objects import Claim, Event, Pod, StorageClass
from aggregator.cluster.state import ClusterState
from aggregator.messages import Classification, Message, classify
from aggregator.model import RuledOut, Severity
from aggregator.scheduling.selectors import terms_text
from aggregator.signatures.case import Case, api_evidence
from aggregator.signatures.storage.claims import (
    age,
    began,
    event_evidence,
    events_about,
    pod_objects,
    users_of,
    wanting_claims,
    with_harm,
)
from aggregator.signatures.storage.codes import CLASS_MISSING, MOUNT_PERMISSION, QUOTA_OR_CLOUD, TOPOLOGY
from aggregator.signatures.thresholds import Thresholds
from aggregator.view import ClusterView
from aggregator.wording import quoted, span

STATIC = "kubernetes.io/no-provisioner"
_FAILED = "ProvisioningFailed"
_UNBOUND = "FailedBinding"
_NO_CLASS = "no storage class is set"
_SUCCEEDED = "ProvisioningSucceeded"
_WAITS_FOR_PROVISIONER = "ExternalProvisioning"
_NODE_NAMED = re.compile(r"CSINode (\S{1,253})")
_NAMED = 6
_CAUSES = frozenset({QUOTA_OR_CLOUD, TOPOLOGY, MOUNT_PERMISSION})


def cases(view: ClusterView, thresholds: Thresholds) -> Iterable[Case]:
    """One for each claim whose volume is not made."""
    state = view.objects
    if not state.knows("persistentvolumeclaims"):
        return ()
    found = (_case(view, state.claims[key], thresholds) for key in sorted(wanting_claims(state).pending))
    return with_harm(view, (case for case in found if case is not None))


@dataclass(frozen=True, slots=True)
class _Pending:
    """A claim that waits for its volume, and what is known about it."""

    claim: Claim
    users: list[Pod]
    made_by: StorageClass | None
    """None: the class is not there, or not known."""

    @property
    def driver(self) -> str:
        """Who is to make the volume; empty: not known."""
        return self.claim.provisioner or (self.made_by.provisioner if self.made_by is not None else "")

    @property
    def objects(self) -> tuple[str, ...]:
        """As findings name them."""
        return f"PersistentVolumeClaim/{self.claim.key}", *pod_objects(self.users)

    def wanted_since(self, told: float) -> float:
        """When it was first wanted, where that is before it was first told of: events live an hour, and the first
        refusal comes after the pod."""
        return max(self.claim.created, min([told, *(pod.created for pod in self.users if pod.created)]))


def _case(view: ClusterView, claim: Claim, thresholds: Thresholds) -> Case | None:
    state = view.objects
    if claim.deleted or claim.volume or claim.storage_class == "":
        return None  # the last two: a volume made by hand is wanted
    made_by = state.storage_classes.get(claim.storage_class or "")
    pending = _Pending(claim, users_of(state, claim.key), made_by)
    if _class_missing(state, claim) or _made_before_the_default(view, claim, thresholds):
        return _of_missing_class(view, pending, thresholds)
    if made_by is not None and (made_by.provisioner == STATIC or _waits_for_consumer(pending, made_by)):
        return None
    events = events_about(state, "PersistentVolumeClaim", claim.key, claim.uid)
    succeeded = max((event.last for event in events if event.reason == _SUCCEEDED), default=0.0)
    failures = [event for event in events if event.reason == _FAILED and event.last > succeeded]
    if failures:
        return _of_failures(view, pending, failures, thresholds)
    silent = [event for event in events if event.reason == _WAITS_FOR_PROVISIONER]
    return _of_silence(view, pending, silent, thresholds) if silent else None


def _waits_for_consumer(pending: _Pending, made_by: StorageClass) -> bool:
    """Nobody has to make it yet: no pod wants it, and the scheduler has not chosen a node for one."""
    return made_by.waits_for_consumer and not pending.claim.selected_node and not pending.users


# -- the class -----------------------------------------------------------------------------------------------------


def _class_missing(state: ClusterState, claim: Claim) -> bool:
    """The class that the claim names, or a default one where it names none, is not there, and that is known."""
    if not state.knows("storageclasses"):
        return False
    if claim.storage_class:
        return claim.storage_class not in state.storage_classes
    return not any(each.default for each in state.storage_classes.values())


def _made_before_the_default(view: ClusterView, claim: Claim, thresholds: Thresholds) -> bool:
    """The claim names no class, and though there is a default one by now, the controller goes on saying that none is
    set: before 1.28 nobody gave it to claims that were there already."""
    if claim.storage_class is not None or not view.objects.knows("storageclasses"):
        return False
    events = events_about(view.objects, "PersistentVolumeClaim", claim.key, claim.uid)
    said = max((event.last for event in events if event.reason == _UNBOUND and _NO_CLASS in event.message), default=0.0)
    return bool(said) and age(view, said) < thresholds.claim_failing_min_s  # it says so every quarter of a minute


def _of_missing_class(view: ClusterView, pending: _Pending, thresholds: Thresholds) -> Case | None:
    claim, state = pending.claim, view.objects
    waits = age(view, claim.created)
    if waits < thresholds.claim_failing_min_s:
        return None
    events = events_about(state, "PersistentVolumeClaim", claim.key, claim.uid)
    told = [event for event in events if event.reason in (_FAILED, _UNBOUND)][-1:]
    classes = sorted(state.storage_classes)
    there = ", ".join(classes[:_NAMED]) + (", ..." if len(classes) > _NAMED else "") or "none"
    name = claim.storage_class or ""
    if name:
        wants = f"names storage class {name}, which does not exist"
        remedy = f"Make the class {name}, or make the claim anew with one that is there ({there})."
    else:
        late = any(each.default for each in state.storage_classes.values())
        wants = "names no storage class, and no class is the default"
        if late:
            wants = "names no storage class, and was made before there was a default one"
        remedy = (
            "Mark a class as the default (storageclass.kubernetes.io/is-default-class), or name one in a new claim."
        )
    by_hand = _made_by_hand(state, name) if name else ""
    fact = partial(api_evidence, "persistentvolumeclaims", claim.key, at=view.now)
    return Case(
        CLASS_MISSING,
        (name,),
        f"Claim {claim.key} has waited {span(waits)} for {bytes_text(claim.requested)}: it {wants} "
        f"(classes there are: {there}){by_hand}",
        pending.objects,
        (
            fact("claim.class", name or "(none)"),
            fact("claim.age", round(waits), unit="s"),
            api_evidence("storageclasses", "*", "classes", there, at=view.now),
            *(event_evidence(event) for event in told),
        ),
        weight=waits,
        since=view.now - waits if waits else 0.0,
        remedies=(remedy, *((f"Or make one more volume of class {name} by hand.",) if by_hand else ())),
    )


def _made_by_hand(state: ClusterState, name: str) -> str:
    """Volumes may bear the name of a class that was never made: somebody makes them by hand."""
    volumes = [volume for volume in state.volumes.values() if volume.storage_class == name]
    if not volumes:
        return ""
    free = sum(volume.phase == "Available" for volume in volumes)
    return f"; of {len(volumes):,} volumes that bear its name, made by hand, {free:,} are free, and none of them fits"


# -- what the driver says ------------------------------------------------------------------------------------------


def _of_failures(view: ClusterView, pending: _Pending, failures: list[Event], thresholds: Thresholds) -> Case | None:
    claim, made_by = pending.claim, pending.made_by
    fails = age(view, began(failures))
    if fails < thresholds.claim_failing_min_s:
        return None
    said = [(event, _classified(event)) for event in failures]
    if made_by is not None:
        said = [(event, each) for event, each in said if each.label != CLASS_MISSING]  # it is there now
    told = [(event, each) for event, each in said if each.label in _CAUSES]
    if not said or (not told and said[-1][1].no_fault):
        return None
    event, verdict = (told or said)[-1]
    code = verdict.label if told else QUOTA_OR_CLOUD
    unsure = "" if told else "; why is not clear from what it says"
    name, driver = claim.storage_class or "", pending.driver
    node = found[1].rstrip(".,;:") if (found := _NODE_NAMED.search(event.message)) else ""
    exists = code != CLASS_MISSING and made_by is not None
    return Case(
        code,
        (name or driver,),
        f"{driver or 'The driver'} has refused to make the volume of claim {claim.key} ({bytes_text(claim.requested)}, "
        f"class {name or '(none)'}) for {span(fails)}{unsure}: {quoted(event.message)}",
        (*pending.objects, *((f"StorageClass/{name}",) if name else ())),
        (
            api_evidence("persistentvolumeclaims", claim.key, "claim.phase", claim.phase or "Pending", at=view.now),
            event_evidence(event),
        ),
        nodes=(node,) if node in view.nodes else (),
        weight=fails,
        since=pending.wanted_since(view.now - fails),
        ruled_out=(RuledOut(CLASS_MISSING, f"class {name} exists and names {driver}"),) if exists else (),
        remedies=_remedies(code, pending),
    )


def _classified(event: Event) -> Classification:
    return classify(Message(object="PersistentVolumeClaim", reason=event.reason, message=event.message))


def _remedies(code: str, pending: _Pending) -> tuple[str, ...]:
    if code != TOPOLOGY or pending.made_by is None:
        return ()
    if pending.made_by.topologies:
        allowed = terms_text(pending.made_by.topologies)
        return (f"Class {pending.made_by.name} allows {allowed} only: see that nodes are there.",)
    return (f"See that {pending.driver} runs on the nodes and has its topology keys in their CSINode objects.",)


def _of_silence(view: ClusterView, pending: _Pending, events: list[Event], thresholds: Thresholds) -> Case | None:
    """The controller waits for a provisioner that has neither made a volume nor said why not."""
    claim, made_by = pending.claim, pending.made_by
    silent = age(view, max(began(events), claim.created))
    asked = claim.selected_node or (made_by is not None and not made_by.waits_for_consumer)
    if not asked or silent < thresholds.claim_silent_min_s:
        return None
    driver = pending.driver or "its provisioner"
    return Case(
        QUOTA_OR_CLOUD,
        ("silent", driver),
        f"{driver} has neither made the volume of claim {claim.key} nor said why not for {span(silent)}: perhaps "
        "it does not run",
        pending.objects,
        tuple(event_evidence(event) for event in events[-1:]),
        severity=Severity.INFO,
        weight=silent,
        since=pending.wanted_since(view.now - silent),
        remedies=(f"See whether the controller of {driver} runs, and whether that is its name (CSIDriver, class).",),
    )
