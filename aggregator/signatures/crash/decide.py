"""Why a container ends: the decision table of the incident, in its order; the first that fits.

One row is left to `identity`, which looks at more than one pod. Pure.
"""

from __future__ import annotations

from dataclasses import replace

from nodetell.redact import without_secrets

from aggregator.cluster.objects import ContainerStatus, Event
from aggregator.messages.model import Classification
from aggregator.signatures.crash.cadence import UNTOLD
from aggregator.signatures.crash.cause import (
    APP_ERROR,
    COMMAND,
    CONFIG,
    DEPENDENCY,
    EXIT_ZERO,
    IDENTITY,
    LIVENESS,
    OOM,
    PERMISSION_FS,
    SEGFAULT,
    Cause,
)
from aggregator.signatures.crash.ending import End
from aggregator.signatures.crash.kernel import KILLED, oom_on_host, segfault_on_host
from aggregator.signatures.crash.waiting import named_missing
from aggregator.wording import quoted

_START_ENDS = frozenset({"StartError", "ContainerCannotRun", "RunContainerError"})
_PROBED_S = 300.0
"""A probe that failed so shortly before made the kubelet kill: grace periods are minutes at most."""
_TOLD_BY_MESSAGE = {
    IDENTITY: IDENTITY,
    "node.clock_skew": IDENTITY,  # a token or certificate that is of the future, or out of date, by somebody's clock
    DEPENDENCY: DEPENDENCY,
    PERMISSION_FS: PERMISSION_FS,
    CONFIG: CONFIG,
    OOM: OOM,
    COMMAND: COMMAND,
    SEGFAULT: SEGFAULT,
    "net.dns": DEPENDENCY,
    "net.tls_handshake_timeout": DEPENDENCY,
    "cp.apiserver_timeout": DEPENDENCY,
    "cp.lease_renew_failed": DEPENDENCY,
    "cp.leader_lost": DEPENDENCY,
}
"""What last words mean for a crash, by what they say."""
_BATCH = "See which of its failing probes is right: the process was asked to end, or ended before it was ready."


def cause_of_end(seen: End) -> Cause:
    """Why a container in a loop ends, by what can be said of it alone."""
    found = (row(seen) for row in _ROWS)
    return next((cause for cause in found if cause is not None), _app_error(seen))


def _app_error(seen: End) -> Cause:
    said, message = seen.said, seen.loop.end.message
    own = said.label == APP_ERROR and not said.phrase.startswith("exit code")
    return Cause(APP_ERROR, f"{seen.how}{_because(message)}", "", "status", said.also, own_error=own)


def _row_oom(seen: End) -> Cause | None:
    found = _oom(seen)
    return replace(found, of_node=_system_oom(seen)) if found is not None else None


def _oom(seen: End) -> Cause | None:
    end = seen.loop.end
    if end.reason == "OOMKilled":
        return seen.cause(OOM, f", OOMKilled; {whose_memory(seen)}", phrase="OOMKilled")
    if end.reason in _START_ENDS and seen.said.label == OOM:
        return seen.cause(OOM, f': "{quoted(end.message)}"; {whose_memory(seen)}', phrase=seen.said.phrase)
    if end.exit_code == 137 and oom_on_host(seen) and not _another_was_it(seen):
        more = f", and its node's kernel killed a process of its pod for want of memory; {whose_memory(seen)}"
        return seen.cause(OOM, more, "kernel log")
    return None


def _another_was_it(seen: End) -> bool:
    """The kernel killed another container of the pod, and the kubelet this one, for its probe."""
    mine = seen.loop.container.name
    others = (each.last or each.state for each in seen.pod.containers if each.name != mine)
    killed = any(each is not None and each.reason == "OOMKilled" for each in others)
    return killed and killed_by_probe(seen) is not None


def whose_memory(seen: End) -> str:
    """Whether its own limit was too small, or its node's memory."""
    if _system_oom(seen):
        return f"{seen.pod.node} itself had run out of memory (SystemOOM)"
    limit = seen.spec.limits.get("memory", 0) if seen.spec is not None else 0
    if limit:
        return f"its limit is {_mebibytes(limit)}"
    return "it has no memory limit of its own: its pod's, or the node's memory, ran out"


def _system_oom(seen: End) -> bool:
    """Its kubelet saw the whole node run out of memory as it ended."""
    finished = seen.loop.end.finished
    return any(
        each.reason == "SystemOOM" and (not finished or abs(each.last - finished) < _PROBED_S)
        for each in seen.node_events
    )


def _mebibytes(amount: int) -> str:
    return f"{amount / 2**20:,.0f} MiB" if amount < 10 * 2**30 else f"{amount / 2**30:,.0f} GiB"


def _row_probe(seen: End) -> Cause | None:
    code = seen.loop.end.exit_code
    event = killed_by_probe(seen) if code not in (0, UNTOLD.exit_code) else None
    if event is None or (code not in KILLED and event.reason != "Killing"):
        return None
    return seen.cause(LIVENESS, f': "{quoted(event.message)}"', "event", event.message[:120])


def killed_by_probe(seen: End) -> Event | None:
    """The newest event that the kubelet killed it for a liveness or startup probe; else that such a probe failed."""
    finished = seen.loop.end.finished
    about = [
        each
        for each in reversed(seen.events)
        if each.reason in ("Killing", "Unhealthy")
        and is_of_killing_probe(each)
        and _about(each, seen.loop.container)
        and (not finished or finished - _PROBED_S < each.last)
    ]
    return next((each for each in about if each.reason == "Killing"), about[0] if about else None)


def is_of_killing_probe(event: Event) -> bool:
    """It is about a probe that ends containers: a readiness probe does not."""
    words = event.message.lower()
    return "liveness probe" in words or "startup probe" in words


def _about(event: Event, container: ContainerStatus) -> bool:
    return not event.field or event.field.endswith(f"{{{container.name}}}")


def _row_command(seen: End) -> Cause | None:
    end, said = seen.loop.end, seen.said
    if end.exit_code in (126, 127) and end.reason not in _START_ENDS:
        return seen.cause(COMMAND, _because(end.message), "termination message", said.phrase)
    if (end.reason in _START_ENDS or end.exit_code in (126, 127, 128)) and said.label in (COMMAND, CONFIG):
        return _with_missing(seen, seen.cause(said.label, _because(end.message), "termination message", said.phrase))
    return None


def _row_segfault(seen: End) -> Cause | None:
    end = seen.loop.end
    if end.exit_code == 139 or end.signal == 11:
        return seen.cause(SEGFAULT, ": a segmentation fault")
    process = segfault_on_host(seen) if end.exit_code > 0 else ""
    if process:
        return seen.cause(SEGFAULT, f", and its node's kernel tells of a segmentation fault of {process}", "kernel log")
    return None


def _row_exit_zero(seen: End) -> Cause | None:
    if seen.loop.end.exit_code != 0:
        return None
    failing = next(
        (each for each in reversed(seen.events) if each.reason == "Unhealthy" and _about(each, seen.loop.container)),
        None,
    )
    if failing is None:
        return seen.cause(EXIT_ZERO)
    found = seen.cause(EXIT_ZERO, f'; beside it: "{quoted(failing.message)}"', "event", failing.message[:120])
    return replace(found, remedies=(_BATCH,))


def _row_message(seen: End) -> Cause | None:
    """Identity, a dependency or a file: as the classifier decides between them."""
    said = seen.said
    code = _TOLD_BY_MESSAGE.get(said.label) if seen.loop.end.message.strip() else None
    if code is None or said.phrase.startswith("exit code"):
        return None
    words = f'"{quoted(_around(said, seen.loop.end.message))}"'
    return _with_missing(seen, seen.cause(code, f": {words}", "termination message", said.phrase))


def _with_missing(seen: End, cause: Cause) -> Cause:
    return replace(cause, missing=named_missing(seen.loop.end.message)) if cause.code == CONFIG else cause


_ROWS = (_row_oom, _row_probe, _row_command, _row_segfault, _row_exit_zero, _row_message)


def _around(said: Classification, message: str) -> str:
    """The part of a message around what decided."""
    flat = without_secrets(" ".join(message.split()))
    at = flat.lower().find(said.phrase.lower()[:40]) if said.phrase else -1
    return flat[max(0, at - 80) :] if at > 120 else flat


def _because(message: str) -> str:
    return f': "{quoted(message)}"' if message.strip() else ""
