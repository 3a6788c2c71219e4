"""Why a container ends or does not start: the decision table of the incident, in its order; the first that fits.

One row is left to `identity`, which looks at more than one pod. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nodetell.v1 import facts_pb2 as pb

from aggregator.cluster.objects import ContainerStatus, Event, Pod
from aggregator.messages.classify import classify
from aggregator.messages.model import Classification, Message
from aggregator.node_state import NodeState
from aggregator.signatures.crash.cadence import Loop

IDENTITY = "crash.identity"
DEPENDENCY = "crash.dependency_unreachable"
PERMISSION_FS = "crash.permission_fs"
APP_ERROR = "crash.app_error"
OOM = "crash.oom"
LIVENESS = "crash.liveness_probe"
COMMAND = "crash.command_not_found"
SEGFAULT = "crash.segfault"
EXIT_ZERO = "crash.exit_zero"
CONFIG = "crash.config_missing"
IMAGE_UNKNOWN = "image.unknown"
REGISTRY = "image.registry_unreachable"
UNPACKING = "image.disk_or_snapshotter"

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
_START_ENDS = frozenset({"StartError", "ContainerCannotRun", "RunContainerError"})
_KILLED = frozenset({137, 143})
_NEAR_S = 60.0
"""An event that a probe failed, or a kill by the kernel, so close to the end of a container is about that end."""
_TOLD_BY_MESSAGE = {
    IDENTITY: IDENTITY,
    DEPENDENCY: DEPENDENCY,
    PERMISSION_FS: PERMISSION_FS,
    "net.dns": DEPENDENCY,
    "net.tls_handshake_timeout": DEPENDENCY,
    "cp.apiserver_timeout": DEPENDENCY,
}
"""What last words mean for a crash, by what they say."""


@dataclass(frozen=True, slots=True)
class Cause:
    """What a container suffers from."""

    code: str
    statement: str
    """A clause about the container, without its name."""
    phrase: str = ""
    """Verbatim what decided, where a message did."""
    said_by: str = ""
    """"termination message", "event", "status", "kernel log": what the phrase or the code is from."""
    also: tuple[str, ...] = ()
    """Codes that the same words may mean too."""


def cause_of_waiting(container: ContainerStatus, events: Sequence[Event]) -> Cause | None:
    """Why a container that waits is not started; None: its reason tells of no fault, or of one of a loop."""
    state = container.state
    if state is None or state.kind != "waiting":
        return None
    if state.reason in _IMAGE_WAITS:
        return _image(container, events)
    if state.reason in _CONFIG_WAITS:
        said = classify(Message("Pod", state.reason, None, state.message))
        return Cause(CONFIG, f"cannot be created: {_quoted(state.message)}", said.phrase, "status")
    if state.reason in _START_WAITS:
        said = classify(Message("Pod", state.reason, None, state.message))
        if said.label in (CONFIG, COMMAND):
            return Cause(said.label, f"cannot be started: {_quoted(state.message)}", said.phrase, "status")
        if state.reason == "RunContainerError":
            return Cause(COMMAND, f"cannot be started: {_quoted(state.message)}", said.phrase, "status")
    return None


def _image(container: ContainerStatus, events: Sequence[Event]) -> Cause:
    """The status tells why in new versions; in old ones, only an event does."""
    assert container.state is not None  # noqa: S101 - the caller has looked
    told = [("status", Message("Pod", container.state.reason, None, container.state.message))]
    field = f"spec.{'initContainers' if container.init else 'containers'}{{{container.name}}}"
    about = [each for each in events if each.reason in ("Failed", "InspectFailed") and each.field in ("", field)]
    told += [("event", Message("Pod", each.reason, None, each.message)) for each in reversed(about)]
    for source, message in told:
        said = classify(message)
        if said.label.startswith("image."):
            return Cause(
                said.label, f"does not get its image: {_quoted(message.message)}", said.phrase, source, said.also
            )
    return Cause(IMAGE_UNKNOWN, f"does not get its image ({container.state.reason}), and nothing says why")


@dataclass(frozen=True, slots=True)
class _End:
    """How a container ended, and what there is to see of it."""

    loop: Loop
    pod: Pod
    events: Sequence[Event]
    host: NodeState | None
    said: Classification
    how: str

    def cause(self, code: str, more: str = "", said_by: str = "status", phrase: str = "") -> Cause:
        return Cause(code, f"{self.how}{more}", phrase, said_by, self.said.also)


def cause_of_end(loop: Loop, pod: Pod, events: Sequence[Event], host: NodeState | None) -> Cause:
    """Why a container in a loop ends, by what can be said of it alone."""
    end = loop.end
    said = classify(Message("Container", end.reason, end.exit_code, end.message))
    lived = f" after {_span(loop.alive_s)}" if loop.alive_s is not None else ""
    seen = _End(loop, pod, events, host, said, f"ended{lived} with exit code {end.exit_code}")
    found = (row(seen) for row in _ROWS)
    return next((cause for cause in found if cause is not None), seen.cause(APP_ERROR, _because(end.message)))


def _row_oom(seen: _End) -> Cause | None:
    end = seen.loop.end
    if end.reason == "OOMKilled":
        return seen.cause(OOM, ", OOMKilled", phrase="OOMKilled")
    if end.exit_code == 137 and _oom_on_host(seen.pod, seen.host, end.finished):
        return seen.cause(OOM, ", and its node's kernel killed a process of its pod for want of memory", "kernel log")
    return None


def _row_probe(seen: _End) -> Cause | None:
    event = _killed_by_probe(seen.loop, seen.events) if seen.loop.end.exit_code in _KILLED else None
    return seen.cause(LIVENESS, f": {_quoted(event.message)}", "event", event.message[:120]) if event else None


def _row_command(seen: _End) -> Cause | None:
    end, said = seen.loop.end, seen.said
    if end.reason in _START_ENDS or end.exit_code in (126, 127) or (end.exit_code == 128 and said.label == COMMAND):
        code = CONFIG if said.label == CONFIG else COMMAND
        return seen.cause(code, _because(end.message), "termination message", said.phrase)
    return None


def _row_segfault(seen: _End) -> Cause | None:
    end = seen.loop.end
    return seen.cause(SEGFAULT, ": a segmentation fault") if end.exit_code == 139 or end.signal == 11 else None


def _row_exit_zero(seen: _End) -> Cause | None:
    if seen.loop.end.exit_code != 0 or seen.loop.container.last is None:
        return None
    failing = next((each for each in reversed(seen.events) if each.reason == "Unhealthy"), None)
    return seen.cause(EXIT_ZERO, f"; beside it: {_quoted(failing.message)}" if failing is not None else "")


def _row_message(seen: _End) -> Cause | None:
    """Identity, a dependency or a file: as the classifier decides between them."""
    code = _TOLD_BY_MESSAGE.get(seen.said.label)
    if code is None:
        return None
    words = _quoted(_around(seen.said, seen.loop.end.message))
    return seen.cause(code, f": {words}", "termination message", seen.said.phrase)


_ROWS = (_row_oom, _row_probe, _row_command, _row_segfault, _row_exit_zero, _row_message)


def _killed_by_probe(loop: Loop, events: Sequence[Event]) -> Event | None:
    """The newest event of a failed liveness or startup probe that is about the last end."""
    for each in reversed(events):
        words = each.message.lower()
        of_probe = "liveness probe" in words or "startup probe" in words
        if each.reason in ("Killing", "Unhealthy") and of_probe and _about(each, loop.container):
            finished = loop.end.finished
            return each if not finished or abs(each.last - finished) < _NEAR_S * 5 or each.last > finished else None
    return None


def _about(event: Event, container: ContainerStatus) -> bool:
    return not event.field or f"{{{container.name}}}" in event.field


def _oom_on_host(pod: Pod, host: NodeState | None, finished: float) -> bool:
    if host is None:
        return False
    for item in host.of("kernel_event"):
        event = item.kernel_event
        if getattr(event, "class") == pb.KERNEL_EVENT_CLASS_OOM_KILL and event.pod_uid == pod.uid:
            return not finished or event.last_unix_ms / 1000 > finished - _NEAR_S
    return False


def _around(said: Classification, message: str) -> str:
    """The part of a message around what decided."""
    flat = " ".join(message.split())
    at = flat.lower().find(said.phrase.lower()[:40]) if said.phrase else -1
    return flat[max(0, at - 80) :] if at > 120 else flat


def _because(message: str) -> str:
    return f": {_quoted(message)}" if message.strip() else ""


def _quoted(message: str) -> str:
    flat = " ".join(message.split())
    return f'"{flat[:200]}{"…" if len(flat) > 200 else ""}"'


def _span(seconds: float | None) -> str:
    seconds = seconds or 0.0
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
