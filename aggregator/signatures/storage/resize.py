"""Claims that ask for more than they have, and do not get it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from aggregator.cluster.amounts import bytes_text
from aggregator.cluster.objects import Claim, Condition, Event, Pod
from aggregator.model import Evidence, RuledOut
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
from aggregator.signatures.storage.codes import RESIZE_FAILED
from aggregator.signatures.thresholds import Thresholds
from aggregator.view import ClusterView
from aggregator.wording import quoted, span

_FAILED = frozenset({"VolumeResizeFailed", "FileSystemResizeFailed"})
_SUCCEEDED = frozenset({"VolumeResizeSuccessful", "FileSystemResizeSuccessful"})
_FAILED_STATES = frozenset(
    {"ControllerResizeFailed", "ControllerResizeInfeasible", "NodeResizeFailed", "NodeResizeInfeasible"}
)
"""status.allocatedResourceStatuses: ...Failed until 1.30, ...Infeasible since."""
_ERROR_CONDITIONS = frozenset({"ControllerResizeError", "NodeResizeError"})
_UNDER_WAY = frozenset({"Resizing", "FileSystemResizePending"})
_WAITS = "ExternalExpanding"
_TOO_SOON = ("modificationrate", "modification rate", "cooldown", "hours", "optimizing")
_FILE_SYSTEM = "file system"


def cases(view: ClusterView, thresholds: Thresholds) -> Iterable[Case]:
    """One for each claim whose expansion has failed. A file system that grows when its pod starts is none."""
    state = view.objects
    if not state.knows("persistentvolumeclaims"):
        return ()
    found = (_case(view, state.claims[key], thresholds) for key in sorted(wanting_claims(state).growing))
    return with_harm(view, (case for case in found if case is not None))


def _case(view: ClusterView, claim: Claim, thresholds: Thresholds) -> Case | None:
    if claim.deleted or not 0 < claim.capacity < claim.requested:
        return None
    users = users_of(view.objects, claim.key)
    conditions = {each.type: each for each in claim.conditions if each.status == "True"}
    errors = [each for name, each in sorted(conditions.items()) if name in _ERROR_CONDITIONS]
    failures = _failures(view, claim, users)
    infeasible = claim.resize_status in _FAILED_STATES
    since = min((at for at in (began(failures), *(each.since for each in errors)) if at), default=0.0)
    fails = age(view, since)
    fact = partial(api_evidence, "persistentvolumeclaims", claim.key, at=view.now)
    told: list[Evidence] = [
        fact("claim.requested", claim.requested, unit="bytes"),
        fact("claim.capacity", claim.capacity, unit="bytes"),
    ]
    wants = f"{claim.key} asks for {bytes_text(claim.requested)} and has {bytes_text(claim.capacity)}"
    if infeasible:
        told.append(fact("claim.resize", claim.resize_status))
        statement = f"Claim {wants}: its expansion has failed ({claim.resize_status}){_why(errors, failures)}"
    elif (errors or failures) and fails >= thresholds.claim_failing_min_s:
        statement = f"Claim {wants}: its expansion has failed for {span(fails)}{_why(errors, failures)}"
    else:
        return _of_silence(view, claim, users, conditions, thresholds)
    told += [fact(f"claim.{each.type}", quoted(each.message)) for each in errors]
    told += [event_evidence(event) for event in failures[-1:]]
    said = " ".join([event.message for event in failures] + [each.message for each in errors])
    return Case(
        RESIZE_FAILED,
        _about(view, claim, said),
        statement,
        (f"PersistentVolumeClaim/{claim.key}", f"PersistentVolume/{claim.volume}", *pod_objects(users)),
        tuple(told),
        weight=fails,
        since=view.now - fails if fails else 0.0,
        remedies=_remedies(said),
    )


def _about(view: ClusterView, claim: Claim, said: str) -> tuple[str, ...]:
    """The claim, where it is its own affair (changed too lately, its file system, or nobody says); else the driver."""
    own = not said or claim.resize_status.startswith("Node") or _is_too_soon(said) or _FILE_SYSTEM in said.lower()
    driver = _driver(view, claim)
    return (claim.key,) if own or not driver else ("driver", driver)


def _driver(view: ClusterView, claim: Claim) -> str:
    volume = view.objects.volumes.get(claim.volume)
    return volume.driver if volume is not None else ""


def _is_too_soon(said: str) -> bool:
    """The cloud changes a volume once in several hours."""
    folded = said.lower()
    return any(phrase in folded for phrase in _TOO_SOON)


def _failures(view: ClusterView, claim: Claim, users: list[Pod]) -> list[Event]:
    """Events about the claim, or about a pod and this volume, that say it failed, and after which nothing succeeded."""
    state = view.objects
    events = events_about(state, "PersistentVolumeClaim", claim.key, claim.uid)
    for pod in users:
        mine = events_about(state, "Pod", pod.key, pod.uid)
        events += [event for event in mine if claim.volume and claim.volume in event.message]
    succeeded = max((event.last for event in events if event.reason in _SUCCEEDED), default=0.0)
    failures = [event for event in events if event.reason in _FAILED and event.last > succeeded]
    return sorted(failures, key=lambda event: event.last)


def _why(errors: list[Condition], failures: list[Event]) -> str:
    said = failures[-1].message if failures else errors[-1].message if errors else ""
    return f": {quoted(said)}" if said else ""


def _remedies(said: str) -> tuple[str, ...]:
    folded = said.lower()
    if "attached" in folded or "in use" in folded or "cannot resize disk" in folded:
        return (
            "The disk cannot grow while it is attached: stop its pods until it is detached and has grown.",
            "Then start them again.",
        )
    if _is_too_soon(said):
        return ("Some clouds allow one change of a volume in several hours: it is tried again by itself.",)
    if "quota" in folded or "limit" in folded or "exceed" in folded:
        return ("Raise the quota, or ask for less: since 1.34 a claim may go back to any size above its own.",)
    return ("See the log of the driver's csi-resizer container, and of its node plug-in for the file system.",)


def _of_silence(
    view: ClusterView, claim: Claim, users: list[Pod], conditions: dict[str, Condition], thresholds: Thresholds
) -> Case | None:
    """The controller leaves the expansion to a resizer, and none has taken it up."""
    if any(name in conditions for name in _UNDER_WAY):
        return None  # FileSystemResizePending: the node does the rest when a pod uses the volume
    events = events_about(view.objects, "PersistentVolumeClaim", claim.key, claim.uid)
    waiting = [event for event in events if event.reason == _WAITS]
    silent = age(view, began(waiting))
    if not waiting or silent < thresholds.claim_silent_min_s:
        return None
    driver = _driver(view, claim)
    return Case(
        RESIZE_FAILED,
        ("silent", driver) if driver else (claim.key,),
        f"Claim {claim.key} has asked for {bytes_text(claim.requested)} instead of {bytes_text(claim.capacity)} for "
        f"{span(silent)}, and no resizer has taken it up",
        (f"PersistentVolumeClaim/{claim.key}", f"PersistentVolume/{claim.volume}", *pod_objects(users)),
        (event_evidence(waiting[-1]),),
        weight=silent,
        since=view.now - silent,
        ruled_out=(RuledOut("storage.driver_not_registered", "the claim is bound: its driver made the volume"),),
        remedies=("See whether the driver's controller has a csi-resizer container, and whether the driver can grow.",),
    )
