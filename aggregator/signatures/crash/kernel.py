"""What the kernel of its node tells of the end of a container: kills for want of memory, segmentation faults."""

from __future__ import annotations

from collections.abc import Iterator

from nodetell.v1 import facts_pb2 as pb

from aggregator.model import Evidence
from aggregator.node_state import NodeState
from aggregator.signatures.crash.cause import OOM, SEGFAULT, Cause
from aggregator.signatures.crash.ending import End

KILLED = frozenset({137, 143})
"""Exit codes of a container that somebody ended: SIGKILL, SIGTERM."""
_BY_SIGNAL = 128
NEAR_S = 60.0
"""What the kernel's log tells so close to the end of a container is about that end."""
_AT_ONCE_S = 5.0
"""... even where nothing but the time joins them."""
_COMM = 15
"""Characters of a process's name that the kernel keeps."""


def oom_on_host(seen: End) -> bool:
    """The kernel of its node killed a process of its pod for want of memory as it ended."""
    return next(_kills(seen), None) is not None


def _kills(seen: End) -> Iterator[pb.KernelEvent]:
    finished = seen.loop.end.finished
    for event in _kernel_events(seen.host, pb.KERNEL_EVENT_CLASS_OOM_KILL):
        if event.pod_uid == seen.pod.uid and (not finished or abs(event.last_unix_ms / 1000 - finished) < NEAR_S):
            yield event


def kernel_evidence(seen: End, cause: Cause) -> Iterator[Evidence]:
    """What the kernel of its node tells of this end."""
    found = {OOM: _kills, SEGFAULT: _crashes}.get(cause.code)
    for event in found(seen) if found is not None else ():
        signal = "counter.kernel_oom_kill" if cause.code == OOM else "counter.kernel_segfault"
        at = event.last_unix_ms / 1000
        yield Evidence(seen.pod.node, signal, event.subject, event.count, "messages", "kmsg", at)


def _kernel_events(host: NodeState | None, of_class: pb.KernelEventClass) -> Iterator[pb.KernelEvent]:
    for item in host.of("kernel_event") if host is not None else ():
        if getattr(item.kernel_event, "class") == of_class:  # a keyword of Python
            yield item.kernel_event


def segfault_on_host(seen: End) -> str:
    """Name of the process that crashed on its node as it ended; empty: none that is likely its own.

    The kernel names the process and no pod: it must be called like the container, or have crashed at the very moment.
    """
    return next((event.subject for event in _crashes(seen)), "")


def _crashes(seen: End) -> Iterator[pb.KernelEvent]:
    end = seen.loop.end
    for event in _kernel_events(seen.host, pb.KERNEL_EVENT_CLASS_SEGFAULT):
        apart = abs(event.last_unix_ms / 1000 - end.finished) if end.finished and event.last_unix_ms else NEAR_S
        at_once = apart < _AT_ONCE_S and end.exit_code > _BY_SIGNAL and end.exit_code not in KILLED
        if at_once or (apart < NEAR_S and _is_called(event.subject, seen)):
            yield event


def _is_called(process: str, seen: End) -> bool:
    image = seen.spec.image.rpartition("/")[2].partition("@")[0].partition(":")[0] if seen.spec is not None else ""
    name = process.lower()
    return len(name) > 2 and any(name == each[:_COMM].lower() for each in (seen.loop.container.name, image) if each)
