"""Pods of the installation that do not run, with what the kubelet, the scheduler or the controller says of them.

Pods that say the same are told once: what keeps one agent from starting mostly keeps all of them.
"""

from __future__ import annotations

from collections.abc import Iterator

from aggregator.messages.classify import classify
from aggregator.messages.families import FAMILIES
from aggregator.messages.model import Message
from aggregator.wording import some
from cli import exits
from cli.doctor.model import (
    AGENT,
    AGGREGATOR,
    Check,
    Object,
    Reading,
    State,
    Unread,
    at,
    count,
    entries,
    name_of,
    part_of,
    parts,
    text,
)

_ON_THE_WAY = frozenset({"", "ContainerCreating", "PodInitializing"})
"""Reasons of a container that waits which say nothing: an event may."""

_OWN_STATUS = {
    exits.USAGE: "its command line is wrong",
    exits.CONFIG: "its settings are wrong, and its own words say which",
}


def check(reading: Reading) -> Iterator[Check]:
    """All pods, by part."""
    pods = reading.objects("pods")
    if isinstance(pods, Unread):
        yield pods.check("pods", "pods of the installation")
        return
    for part in (AGGREGATOR, AGENT):
        its = [each for each in parts(pods, part) if not at(each, "metadata", "deletionTimestamp")]
        groups: dict[tuple[str, str, str], list[str]] = {}
        for pod in its:
            if (trouble := _trouble(reading, pod)) is not None:
                state, why, do = trouble
                groups.setdefault((state, _of_any_pod(pod, why), do), []).append(name_of(pod))
        running = len(its) - sum(map(len, groups.values()))
        for (state, why, do), names in sorted(groups.items(), key=lambda each: -len(each[1])):
            keeps = part == AGGREGATOR or not running
            subject = names[0] if len(names) == 1 else f"{len(names)} pods ({some(names)})"
            yield Check("pods", State.BROKEN if keeps else State.WRONG, f"{part}: {subject}: {state}", why, do)
        if its and not groups:
            yield Check("pods", State.OK, f"{part}: {count(len(its), 'pod')}, all ready")
        yield from _not_made(reading, part, bool(its))
    yield from _desired(reading)


def _of_any_pod(pod: Object, why: str) -> str:
    """What was said of a pod without what is its own alone."""
    for own in (name_of(pod), text(pod, "metadata", "uid")):
        why = why.replace(own, "...") if own else why
    return why


def _not_made(reading: Reading, part: str, any_there: bool) -> Iterator[Check]:
    """No pod at all of a workload that asks for some: the controller is refused, or there is none."""
    owners = {AGENT: ("daemonsets", "DaemonSet"), AGGREGATOR: ("deployments", "ReplicaSet")}
    plural, kind = owners[part]
    workloads = parts(reading.of(plural), part)
    if any_there or not workloads or part == AGENT:  # agents are told node by node, and by _desired
        return
    if at(workloads[0], "spec", "replicas") == 0:
        return
    why = refused_creation(reading, kind, name_of(workloads[0]))
    what = f"{part}: there is no pod of Deployment {name_of(workloads[0])}"
    yield Check("pods", State.BROKEN, what, why or "no event says why", "see the events of its ReplicaSet")


def refused_creation(reading: Reading, kind: str, prefix: str) -> str:
    """Why a controller may not make pods, by its events; empty: nothing says so."""
    found = [
        each
        for each in reading.of("events")
        if text(each, "reason") == "FailedCreate"
        and text(each, "involvedObject", "kind") == kind
        and text(each, "involvedObject", "name").startswith(prefix)
    ]
    found.sort(key=lambda each: text(each, "lastTimestamp") or text(each, "eventTime"))
    if not found:
        return ""
    return _with_family(Message(kind, "FailedCreate", None, text(found[-1], "message")))


def _desired(reading: Reading) -> Iterator[Check]:
    """What the controller of the agents counts."""
    for each in parts(reading.of("daemonsets"), AGENT):
        wanted, ready = at(each, "status", "desiredNumberScheduled"), at(each, "status", "numberReady")
        if not isinstance(wanted, int) or not isinstance(ready, int):
            what = f"DaemonSet {name_of(each)} has no status"
            yield Check("agents", State.WRONG, what, "its controller has not seen it yet, or does not run")
        elif wanted == 0:
            what = f"DaemonSet {name_of(each)} fits no node"
            # Of the one for control-plane nodes that is what a managed cluster looks like.
            state = State.WRONG if text(each, "metadata", "labels", "nodetell.dev/nodes") in ("", "all") else State.OK
            yield Check("agents", state, what, "its node selector, affinity or tolerations leave out all of them")
        elif ready < wanted:
            state = State.WRONG if ready else State.BROKEN
            yield Check("agents", state, f"DaemonSet {name_of(each)}: {ready} of {wanted} agents are ready")
        else:
            yield Check("agents", State.OK, f"DaemonSet {name_of(each)}: all of {wanted} agents are ready")


def _trouble(reading: Reading, pod: Object) -> tuple[str, str, str] | None:
    """State, why, and what to do, of a pod that is not as it should be."""
    phase = text(pod, "status", "phase")
    if phase == "Succeeded" or (phase == "Failed" and not text(pod, "spec", "nodeName")):
        return None
    for condition in entries(pod, "status", "conditions"):
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            message = Message("Pod", text(condition, "reason"), None, text(condition, "message"))
            return "Pending", _with_family(message), "the scheduler's words say what to change"
    statuses = [*entries(pod, "status", "initContainerStatuses"), *entries(pod, "status", "containerStatuses")]
    for container in statuses:
        if (found := _stopped(reading, pod, container)) is not None:
            return found
    if phase == "Failed":
        why = _with_family(Message("Pod", text(pod, "status", "reason"), None, text(pod, "status", "message")))
        return text(pod, "status", "reason") or "Failed", why, ""
    if phase != "Running":
        return phase or "no status", _event(reading, pod) or "nothing says why", ""
    unready = ", ".join(text(each, "name") for each in statuses if at(each, "ready") is not True)
    return (f"running, and {unready} is not ready", _event(reading, pod), _logs(reading, pod)) if unready else None


def _stopped(reading: Reading, pod: Object, container: Object) -> tuple[str, str, str] | None:
    """The same of one of its containers that does not run."""
    if isinstance(waiting := at(container, "state", "waiting"), dict):
        return _waiting(reading, pod, container, waiting)
    ended = at(container, "state", "terminated")
    if isinstance(ended, dict) and ended.get("exitCode") != 0:
        state = f"{text(container, 'name')} ended ({text(ended, 'reason') or 'no reason given'})"
        return state, _ended(ended), _logs(reading, pod)
    return None


def _waiting(reading: Reading, pod: Object, container: Object, waiting: Object) -> tuple[str, str, str]:
    reason, said = text(waiting, "reason"), text(waiting, "message")
    if reason == "CrashLoopBackOff":
        ended = at(container, "lastState", "terminated")
        why = _ended(ended) if isinstance(ended, dict) else said
        return f"{reason} ({text(container, 'name')})", why, _logs(reading, pod, previous=True)
    if reason in _ON_THE_WAY:
        return reason or "waiting", _event(reading, pod) or "nothing says why", ""
    why = _with_family(Message("Pod", reason, None, said))
    if reason in ("ImagePullBackOff", "ErrImagePull", "ErrImageNeverPull", "InvalidImageName"):
        image = text(container, "image")
        return reason, f"{why} (image {image})", "nodetell install --image names one that nodes can pull"
    return reason, why, ""


def _ended(ended: Object) -> str:
    """How a container ended, in one line."""
    code = at(ended, "exitCode")
    message = Message("Pod", text(ended, "reason"), code if isinstance(code, int) else None, text(ended, "message"))
    last = f"it ended with status {code} ({text(ended, 'reason') or 'no reason given'})"
    told = _OWN_STATUS.get(code, "") if isinstance(code, int) else ""
    told = told or _with_family(message)
    return f"{last}: {told}" if told else last


def _logs(reading: Reading, pod: Object, *, previous: bool = False) -> str:
    """Where its own words are. Of agents one is named for all, so that those that say the same stay together."""
    before = " --previous" if previous else ""
    return f"its own words: kubectl -n {reading.namespace} logs -l app.kubernetes.io/component={part_of(pod)}{before}"


def _event(reading: Reading, pod: Object) -> str:
    """The newest warning of a pod."""
    found = [
        each
        for each in reading.of("events")
        if each.get("type") == "Warning"
        and text(each, "involvedObject", "kind") == "Pod"
        and text(each, "involvedObject", "name") == name_of(pod)
    ]
    found.sort(key=lambda each: text(each, "lastTimestamp") or text(each, "eventTime"))
    if not found:
        return ""
    return _with_family(Message("Pod", text(found[-1], "reason"), None, text(found[-1], "message")))


def _with_family(message: Message) -> str:
    """What was said, and what it means where that is known."""
    meaning = FAMILIES.get(classify(message).label, "")
    said = " ".join(message.message.split())
    return f"{said} - {meaning}" if said and meaning else said or meaning
