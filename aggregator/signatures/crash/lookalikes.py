"""What a crash could be taken for, and the fact that excludes it.

Where a source was not read (no agent, no events) nothing is excluded by it: silence is no fact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from aggregator.model import RuledOut
from aggregator.signatures.crash.cadence import UNTOLD
from aggregator.signatures.crash.cause import (
    APP_ERROR,
    COMMAND,
    CONFIG,
    DEPENDENCY,
    EXIT_ZERO,
    IDENTITY,
    LIVENESS,
    NOT_FOUND,
    OOM,
    PERMISSION_FS,
    RATE_LIMITED,
    REGISTRY,
    SEGFAULT,
    UNAUTHORIZED,
    UNPACKING,
    Cause,
)
from aggregator.signatures.crash.decide import killed_by_probe
from aggregator.signatures.crash.ending import End
from aggregator.signatures.crash.kernel import oom_on_host, segfault_on_host
from aggregator.wording import quoted

IO_ERROR_READONLY = "storage.io_error_readonly"
_KERNEL_LOG = "source/kernel_log"


def ruled_out(seen: End, cause: Cause, *, events_known: bool) -> tuple[RuledOut, ...]:
    """Look-alikes of a crash that the facts exclude."""
    found = []
    for code in _LOOK_ALIKES.get(cause.code, ()):
        because = _EXCLUDED_BY[code](seen, events_known)
        if because:
            found.append(RuledOut(code, because))
    return tuple(found)


def _kernel_is_read(seen: End) -> bool:
    return seen.host is not None and _KERNEL_LOG in seen.host.items


def _no_oom(seen: End, events_known: bool) -> str:  # noqa: ARG001  # the shape of all of them
    if seen.loop.end is UNTOLD or seen.loop.end.reason == "OOMKilled" or oom_on_host(seen):
        return ""
    because = f"its status says {seen.loop.end.reason or 'nothing'}, not OOMKilled"
    if _kernel_is_read(seen):
        because += f", and the kernel of {seen.pod.node} tells of no kill for want of memory in its pod"
    return because


def _no_probe(seen: End, events_known: bool) -> str:
    if not events_known or killed_by_probe(seen) is not None:
        return ""
    return "no event tells of a liveness or startup probe of it that failed"


def _no_segfault(seen: End, events_known: bool) -> str:  # noqa: ARG001
    if seen.loop.end is UNTOLD or not _kernel_is_read(seen) or segfault_on_host(seen):
        return ""
    return f"exit code {seen.loop.end.exit_code}, and the kernel of {seen.pod.node} tells of no crash of it"


def _words(seen: End) -> str:
    message = seen.loop.end.message
    return f'its last words are "{quoted(message)}"' if message.strip() else ""


def _no_identity(seen: End, events_known: bool) -> str:  # noqa: ARG001
    words = _words(seen)
    if not words or IDENTITY in (seen.said.label, *seen.said.also):
        return ""
    return f"{words}: nobody refused it"


def _no_dependency(seen: End, events_known: bool) -> str:  # noqa: ARG001
    words = _words(seen)
    if not words:
        return ""
    if seen.said.label == IDENTITY:
        return f'it was answered, and refused: "{seen.said.phrase}"'
    told = (seen.said.label, *seen.said.also)
    return "" if any(each == DEPENDENCY or each.startswith("net.") for each in told) else f"{words}: of no connection"


def _no_permission(seen: End, events_known: bool) -> str:  # noqa: ARG001
    words = _words(seen)
    told = (seen.said.label, *seen.said.also)
    return f"{words}: of no file that is denied" if words and PERMISSION_FS not in told else ""


def _no_command(seen: End, events_known: bool) -> str:  # noqa: ARG001
    alive = seen.loop.alive_s
    return f"it was started, and ran for {alive:.0f} s" if alive else ""


def _no_end_of_its_own(seen: End, events_known: bool) -> str:  # noqa: ARG001
    code = seen.loop.end.exit_code
    return f"exit code {code}: it was killed, and did not end by itself" if code > 128 else ""


def _no_io_error(seen: End, events_known: bool) -> str:  # noqa: ARG001
    """The pod's volumes can be written on its host."""
    mine = [
        item.volume
        for item in (seen.host.of("volume") if seen.host is not None else ())
        if item.volume.pod_uid == seen.pod.uid and item.volume.mounted
    ]
    if any(each.fs_read_only or each.errors for each in mine):
        return ""
    if mine:
        names = ", ".join(sorted({each.volume_name or each.path for each in mine}))
        return f"on {seen.pod.node}, {names} can be written to and counts no errors"
    return "" if seen.pod.claims else "the pod has no volume of its own that a disk could make read-only"


_EXCLUDED_BY: Mapping[str, Callable[[End, bool], str]] = {
    OOM: _no_oom,
    LIVENESS: _no_probe,
    SEGFAULT: _no_segfault,
    IDENTITY: _no_identity,
    DEPENDENCY: _no_dependency,
    PERMISSION_FS: _no_permission,
    COMMAND: _no_command,
    APP_ERROR: _no_end_of_its_own,
    IO_ERROR_READONLY: _no_io_error,
}
_LOOK_ALIKES: Mapping[str, tuple[str, ...]] = {
    OOM: (LIVENESS, SEGFAULT),
    LIVENESS: (OOM, APP_ERROR),
    COMMAND: (OOM, LIVENESS),
    SEGFAULT: (OOM, LIVENESS),
    EXIT_ZERO: (OOM, LIVENESS, COMMAND),
    CONFIG: (IDENTITY, OOM),
    IDENTITY: (OOM, LIVENESS, DEPENDENCY, PERMISSION_FS),
    DEPENDENCY: (OOM, LIVENESS, IDENTITY),
    PERMISSION_FS: (IO_ERROR_READONLY, IDENTITY, OOM),
    APP_ERROR: (OOM, LIVENESS, SEGFAULT, IDENTITY, DEPENDENCY, PERMISSION_FS, COMMAND),
}


# -- what does not start ---------------------------------------------------------------------------------------------

_PULLS = (UNAUTHORIZED, NOT_FOUND, REGISTRY, RATE_LIMITED, UNPACKING)
_ANSWERED = frozenset({UNAUTHORIZED, NOT_FOUND, RATE_LIMITED})


def ruled_out_of_start(cause: Cause) -> tuple[RuledOut, ...]:
    """Look-alikes of what keeps a container from being started, which its own words exclude."""
    return tuple(_of_start(cause)) if cause.phrase else ()


def _of_start(cause: Cause) -> Iterator[RuledOut]:
    if cause.code == CONFIG:
        yield RuledOut(APP_ERROR, "it has not been started: its image says nothing of it")
    if cause.code not in _PULLS:
        return
    for code in _PULLS:
        if code == cause.code or code in cause.also:
            continue
        if code == UNPACKING and cause.code != UNPACKING:
            yield RuledOut(code, "nothing was fetched that could be unpacked")
        elif code == REGISTRY and (cause.code in _ANSWERED or cause.code == UNPACKING):
            yield RuledOut(code, f'the registry answered: "{cause.phrase}"')
        elif cause.code == REGISTRY:
            yield RuledOut(code, f'the registry gave no answer that could be used: "{cause.phrase}"')
        elif cause.code == UNPACKING:
            yield RuledOut(code, f'the image was fetched: "{cause.phrase}"')
        else:
            yield RuledOut(code, f'the registry says "{cause.phrase}"')
