"""Pods that have a node and do not start, because a volume cannot be mounted there.

"Unmounted volumes ... timed out" says nothing by itself, and a missing secret or config map is no fault of storage.
What is missing as a device, attached elsewhere or failing on the host is told by the rules that look at the host.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from aggregator.cluster.objects import Claim, Event, NodeObject, Pod, Volume
from aggregator.cluster.state import ClusterState
from aggregator.messages import Message, classify
from aggregator.model import Evidence, RuledOut
from aggregator.signatures.case import Case, api_evidence
from aggregator.signatures.storage.claims import age, began, event_evidence, events_about, with_harm
from aggregator.signatures.storage.codes import DRIVER_NOT_REGISTERED, MOUNT_FAILED_FS, MOUNT_PERMISSION
from aggregator.signatures.storage.file_systems import Fault, fault_of
from aggregator.signatures.thresholds import Thresholds
from aggregator.view import ClusterView
from aggregator.wording import quoted, span

_FAILED = frozenset({"FailedMount", "FailedMapVolume"})
_MOUNTED = frozenset(
    {"Pulling", "Pulled", "Created", "Started", "BackOff", "FailedCreatePodSandBox", "SuccessfulMountVolume"}
)
"""Reasons of events that the kubelet sends only when all volumes of the pod are mounted."""
_VOLUME = re.compile(r'for volume ["\']?([^"\'\s:]{1,253})')
_DRIVER = re.compile(r"driver name (\S{1,253}) not found")
_MOUNTING = re.compile(r"by server while mounting |Mounting arguments: |-t ")
_MOST_MOUNTING = 4
"""Places of a message behind which a server may be named."""
_SERVER = re.compile(r"(//[\w.-]{1,253}|[\w.\-\[\]:]{1,253}):?/")
_SOCKET = "csi.sock"
"""Named where the driver is known and its pod on the node does not answer."""
_OWN = frozenset({MOUNT_FAILED_FS, MOUNT_PERMISSION, DRIVER_NOT_REGISTERED})


@dataclass(frozen=True, slots=True)
class _Failure:
    """The latest that was said of one volume of a pod, and since when it fails."""

    code: str
    message: str
    since: float
    told: Evidence | None
    volume: Volume | None
    """None: given inline, or not known."""
    name: str
    """What the kubelet calls the volume; empty: it does not say."""


def cases(view: ClusterView, thresholds: Thresholds) -> Iterable[Case]:
    """One for each volume of each pod that cannot be mounted for one of these reasons."""
    if not view.objects.knows("pods"):
        return ()
    starting = sorted(view.objects.starting.items())
    return with_harm(view, (case for _, pod in starting for case in _of_pod(view, pod, thresholds)))


def _of_pod(view: ClusterView, pod: Pod, thresholds: Thresholds) -> Iterator[Case]:
    scheduled = pod.condition("PodScheduled")
    waits = age(view, scheduled.since if scheduled is not None and scheduled.since else pod.created)
    if pod.deleted or waits < thresholds.mount_failing_min_s:
        return
    failures = list(_failures(view, pod))
    for failure in failures:
        if age(view, failure.since) >= thresholds.mount_failing_min_s:
            yield from _case(view, pod, failure, thresholds)
    if not any(failure.code == DRIVER_NOT_REGISTERED for failure in failures) and not _is_mounted(pod):
        yield from _unregistered(view, pod, waits, thresholds)


def _is_mounted(pod: Pod) -> bool:
    """A sandbox is made only when all volumes are mounted."""
    ready = pod.condition("PodReadyToStartContainers")
    return bool(pod.ip and not pod.spec.host_network) or (ready is not None and ready.status == "True")


def _failures(view: ClusterView, pod: Pod) -> Iterator[_Failure]:
    """The latest failure of each volume, as events and the states of containers tell."""
    state = view.objects
    for status in pod.containers:
        waiting = status.state
        if waiting is not None and waiting.kind == "waiting" and waiting.message:
            code = classify(Message(object="Pod", reason=waiting.reason, message=waiting.message)).label
            if code in _OWN:
                told = api_evidence("pods", pod.key, "container.waiting", quoted(waiting.message), at=view.now)
                yield _Failure(code, waiting.message, pod.created, told, _claimed(state, pod), "")
    if _is_mounted(pod):
        return
    events = events_about(state, "Pod", pod.key, pod.uid)
    mounted = max((event.last for event in events if event.reason in _MOUNTED), default=0.0)
    by_volume: dict[str, list[Event]] = {}
    for event in events:
        if event.reason in _FAILED and event.last > mounted:
            name = found[1] if (found := _VOLUME.search(event.message)) else ""
            by_volume.setdefault(name, []).append(event)
    for name, failed in sorted(by_volume.items()):
        event = failed[-1]
        code = classify(Message(object="Pod", reason=event.reason, message=event.message)).label
        if code in _OWN:
            volume = _volume(state, pod, name)
            yield _Failure(code, event.message, began(failed), event_evidence(event, pod.node), volume, name)


def _volume(state: ClusterState, pod: Pod, name: str) -> Volume | None:
    """The kubelet names a PersistentVolume, and a volume that is given inline by its name in the pod."""
    found = state.volumes.get(name)
    if found is not None:
        return found
    for use in pod.claims:
        claim = state.claims.get(f"{pod.namespace}/{use.claim}")
        if claim is not None and name and name in (use.volume, use.claim):
            return state.volume_of(claim)
    return None


def _claimed(state: ClusterState, pod: Pod) -> Volume | None:
    """The pod's only volume; None: it has several, or none."""
    volumes = [state.volumes.get(claim.volume) for claim in _claims(state, pod) if claim.volume]
    return volumes[0] if len(volumes) == 1 else None


def _claims(state: ClusterState, pod: Pod) -> list[Claim]:
    found = (state.claims.get(f"{pod.namespace}/{use.claim}") for use in pod.claims)
    return [claim for claim in found if claim is not None]


# -- what is said of it --------------------------------------------------------------------------------------------


def _case(view: ClusterView, pod: Pod, failure: _Failure, thresholds: Thresholds) -> Iterator[Case]:
    if failure.code == DRIVER_NOT_REGISTERED:
        yield from _of_driver(view, pod, failure, thresholds)
        return
    what = failure.volume.name if failure.volume is not None else failure.name or "a volume"
    fails = span(age(view, failure.since))
    if failure.code == MOUNT_PERMISSION:
        fault = _refusal(failure)
        statement = f"{pod.node} has been refused volume {what} of pod {pod.key}{fault.statement} for {fails}"
    else:
        fault = fault_of(view, pod.node, failure.volume, failure.message)
        statement = f"Volume {what} of pod {pod.key} has not been mounted on {pod.node} for {fails}: {fault.statement}"
    yield Case(
        failure.code,
        fault.about or (what,),
        f"{statement}: {quoted(failure.message)}",
        _objects(pod, failure.volume),
        (*((failure.told,) if failure.told is not None else ()), *fault.evidence),
        nodes=(pod.node,),
        weight=age(view, failure.since),
        since=failure.since,
        ruled_out=fault.ruled_out,
        remedies=fault.remedies,
    )


def _refusal(failure: _Failure) -> Fault:
    """One server that refuses many volumes is one cause."""
    server = _server(failure)
    seen = RuledOut(MOUNT_FAILED_FS, "it is refused for who asks, before any file system is looked at")
    return Fault(f" by {server}" if server else "", (), about=(server,) if server else (), ruled_out=(seen,))


def _objects(pod: Pod, volume: Volume | None) -> tuple[str, ...]:
    if volume is None:
        return (f"Pod/{pod.key}",)
    claim = (f"PersistentVolumeClaim/{volume.claim}",) if volume.claim else ()
    return (f"Pod/{pod.key}", *claim, f"PersistentVolume/{volume.name}")


def _server(failure: _Failure) -> str:
    """The file server that refuses, or the driver; empty: not known."""
    volume = failure.volume
    if volume is not None and volume.source == "nfs" and ":" in volume.handle:
        return volume.handle.rpartition(":")[0]
    if server := _mounted_from(failure.message):
        return server
    return volume.driver or volume.source if volume is not None else ""


def _mounted_from(message: str) -> str:
    """The file server that a message names: in what was to be mounted, within the line; empty: none."""
    for found in islice(_MOUNTING.finditer(message), _MOST_MOUNTING):
        line = message[found.end() :].partition("\n")[0]
        named = _SERVER.match(line) if found[0].startswith("by") else _SERVER.search(line)
        if named is not None:
            return named[1].strip("/")
    return ""


# -- drivers -------------------------------------------------------------------------------------------------------


def _of_driver(view: ClusterView, pod: Pod, failure: _Failure, thresholds: Thresholds) -> Iterator[Case]:
    node = view.nodes.get(pod.node)
    if node is not None and _just_started(view, node, thresholds):
        return
    named = found[1] if (found := _DRIVER.search(failure.message)) else ""
    driver = named or (failure.volume.driver if failure.volume is not None else "")
    registered = _registered(view.objects, pod.node, driver)
    if registered and age(view, failure.since) < thresholds.driver_starting_s:
        return  # it came up meanwhile: the next attempt, two minutes later at most, gets through
    yield _without_driver(view, pod, driver, failure, registered=registered)


def _unregistered(view: ClusterView, pod: Pod, waits: float, thresholds: Thresholds) -> Iterator[Case]:
    """Nobody has said so, but the node's CSINode does not have the driver of a volume that the pod waits for."""
    state = view.objects
    node = view.nodes.get(pod.node)
    if node is None or waits < thresholds.driver_starting_s or _just_started(view, node, thresholds):
        return
    for claim in _claims(state, pod):
        volume = state.volume_of(claim)
        if volume is None or volume.source != "csi":
            continue
        if _registered(state, pod.node, volume.driver) is False:
            failure = _Failure(DRIVER_NOT_REGISTERED, "", view.now - waits, None, volume, volume.name)
            yield _without_driver(view, pod, volume.driver, failure, registered=False)
            return


def _just_started(view: ClusterView, node: NodeObject, thresholds: Thresholds) -> bool:
    ready = node.condition("Ready")
    since = max(node.created, ready.since if ready is not None else 0.0)
    return bool(since) and age(view, since) < thresholds.driver_starting_s


def _registered(state: ClusterState, node: str, driver: str) -> bool | None:
    """Whether the node's CSINode has the driver; None: not known."""
    csi_node = state.csi_nodes.get(node)
    if not driver or csi_node is None or not state.knows("csinodes"):
        return None
    return csi_node.driver(driver) is not None


def _without_driver(view: ClusterView, pod: Pod, driver: str, failure: _Failure, *, registered: bool | None) -> Case:
    csi_node = view.objects.csi_nodes.get(pod.node)
    there = sorted(each.name for each in csi_node.drivers) if csi_node is not None else []
    has = {
        True: ", though its CSINode has it",
        False: f", and its CSINode has {', '.join(there) or 'no driver at all'}",
        None: "",
    }[registered]
    silent = _SOCKET in failure.message
    what = f"does not answer on its socket there{has}" if silent else f"is not registered with the kubelet there{has}"
    told = [] if failure.told is None else [failure.told]
    if registered is not None:
        drivers = ", ".join(there) or "(none)"
        told.append(api_evidence("csinodes", pod.node, "csinode.drivers", drivers, at=view.now, node=pod.node))
    return Case(
        DRIVER_NOT_REGISTERED,
        (driver,),
        f"Pod {pod.key} has waited for a volume on {pod.node} for {span(age(view, failure.since))}: driver "
        f"{driver or '(not named)'} {what}",
        _objects(pod, failure.volume),
        tuple(told),
        nodes=(pod.node,),
        weight=age(view, failure.since),
        since=failure.since,
    )
