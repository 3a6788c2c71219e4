"""Why a container that waits is not started: its image, or what it was given to start with.

New kubelets tell it in the container's status, old ones only in an event.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from aggregator.cluster.objects import ContainerStatus, Event, Pod
from aggregator.messages.classify import classify
from aggregator.messages.model import Classification, Message
from aggregator.signatures.crash.cause import (
    APP_ERROR,
    COMMAND,
    CONFIG,
    IMAGE_UNKNOWN,
    NOT_FOUND,
    OOM,
    PERMISSION_FS,
    UNAUTHORIZED,
    Cause,
)
from aggregator.wording import quoted

MOUNT_FAILED = "FailedMount"
_TRIED_AGAIN_S = 300.0
"""The kubelet tries to mount again after two minutes at most: what it has not said for longer is over."""
_IMAGE_WAITS = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "ImageInspectError",
        "RegistryUnavailable",
        "SignatureValidationFailed",
    }
)
_CONFIG_WAITS = frozenset({"CreateContainerConfigError"})
_START_WAITS = frozenset({"CreateContainerError", "RunContainerError", "PostStartHookError", "StartError"})
_OF_STARTS = frozenset({CONFIG, COMMAND, OOM, PERMISSION_FS})
_NOBODYS = re.compile(r"failed to sync (?:secret|configmap) cache|timed out|context deadline|context canceled", re.I)
"""The kubelet itself got no answer: nothing is said of what it asked for."""
_MISSING = (
    (re.compile(r"\b(secret|configmap)s? \"([^\"]{1,253})\" not found", re.I), (1, 2)),
    (re.compile(r"couldn't find key \S{1,253} in (Secret|ConfigMap) (?:[^\s/]{1,63}/)?([^\s/,]{1,253})", re.I), (1, 2)),
    (re.compile(r"\b(secret|configmap)s? (?:[^\s/\"]{1,63}/)?([a-z0-9][a-z0-9.-]{0,252}) not found", re.I), (1, 2)),
)
_KINDS = {"secret": "Secret", "configmap": "ConfigMap"}


def cause_of_waiting(container: ContainerStatus, events: Sequence[Event]) -> Cause | None:
    """Why a container that waits is not started; None: its reason tells of no fault, or of one of a loop."""
    state = container.state
    if state is None or state.kind != "waiting":
        return None
    if state.reason in _IMAGE_WAITS:
        return _image(container, events)
    if state.reason in _CONFIG_WAITS:
        said = classify(Message("Pod", state.reason, None, state.message))
        if said.label != CONFIG and (said.label or _NOBODYS.search(state.message)):
            return None
        statement = f'cannot be created: "{quoted(state.message)}"'
        return Cause(CONFIG, statement, said.phrase, "status", said.also, named_missing(state.message))
    if state.reason in _START_WAITS:
        return _start(state.reason, state.message)
    return None


def _start(reason: str, message: str) -> Cause | None:
    said = classify(Message("Pod", reason, None, message))
    statement = f'cannot be started: "{quoted(message)}"' if message else f"cannot be started ({reason})"
    if said.label in _OF_STARTS:
        return Cause(said.label, statement, said.phrase, "status", said.also, named_missing(message))
    if said.label.partition(".")[0] in ("storage", "net", "cp", "node"):
        return None  # told by whoever looks at volumes, networks and nodes
    return Cause(APP_ERROR, statement, "", "status", said.also)


def cause_of_mounts(pod: Pod, events: Sequence[Event], now: float) -> Cause | None:
    """A Secret, ConfigMap or key that a volume is made of and that is not there. None: no volume waits for such now."""
    for event in reversed(events):
        of_now = now - event.last < _TRIED_AGAIN_S and event.object_uid in ("", pod.uid)
        if event.reason == MOUNT_FAILED and of_now:
            said = classify(Message("Pod", event.reason, None, event.message))
            if said.label == CONFIG:
                statement = f'is not started: "{quoted(event.message)}"'
                return Cause(CONFIG, statement, said.phrase, "event", said.also, named_missing(event.message))
    return None


def named_missing(message: str) -> tuple[str, ...]:
    """Secrets and ConfigMaps that a message says are not there, or lack a key."""
    found: dict[str, None] = {}
    for pattern, (kind, name) in _MISSING:
        found |= {f"{_KINDS[match[kind].lower()]}/{match[name]}": None for match in pattern.finditer(message)}
    return tuple(found)


def _image(container: ContainerStatus, events: Sequence[Event]) -> Cause:
    """The first of what the status and the newest events say that tells a cause."""
    assert container.state is not None  # noqa: S101  # the caller has looked
    for source, message in _told(container, events):
        said = classify(message)
        if said.label.startswith("image."):
            return _pull(said, message, source)
    return Cause(IMAGE_UNKNOWN, f"does not get its image ({container.state.reason}), and nothing says why")


def _pull(said: Classification, message: Message, source: str) -> Cause:
    both = "; it does not tell a private image from a missing one" if NOT_FOUND in said.also else ""
    statement = f'does not get its image: "{quoted(message.message)}"{both if said.label == UNAUTHORIZED else ""}'
    return Cause(said.label, statement, said.phrase, source, said.also)


def _told(container: ContainerStatus, events: Sequence[Event]) -> Iterator[tuple[str, Message]]:
    state = container.state
    if state is not None:
        yield "status", Message("Pod", state.reason, None, state.message)
    field = f"{{{container.name}}}"
    for each in reversed(events):
        if each.reason in ("Failed", "InspectFailed") and (not each.field or each.field.endswith(field)):
            yield "event", Message("Pod", each.reason, None, each.message)
