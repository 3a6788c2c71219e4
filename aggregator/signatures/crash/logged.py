"""What an agent has found at the end of a container's log, where its operator lets it look there."""

from __future__ import annotations

from dataclasses import dataclass

from nodetell.log_patterns import LOG_PATTERNS

from aggregator.cluster.objects import Pod
from aggregator.model import Evidence
from aggregator.node_state import NodeState
from aggregator.signatures.crash.cadence import Loop


@dataclass(frozen=True, slots=True)
class Logged:
    """A phrase of a refused identity, by its family: the agent keeps the line to itself."""

    meaning: str
    evidence: Evidence


def logged_of(pod: Pod, loop: Loop, host: NodeState | None) -> Logged | None:
    """What the log of a container's last run, or of the one that runs now, ends with; None: nothing that is known.

    Of several families, the first by name.
    """
    runs = {loop.container.restarts, loop.container.restarts - 1}
    found = sorted(
        (item.log_pattern.pattern, item.log_pattern.at_unix_ms / 1000)
        for item in (host.of("log_pattern") if host is not None else ())
        if item.log_pattern.pod_uid == pod.uid
        and item.log_pattern.container == loop.container.name
        and item.log_pattern.run in runs
        and item.log_pattern.pattern in LOG_PATTERNS
    )
    if not found:
        return None
    name, at = found[0]
    subject = f"{pod.key}/{loop.container.name}"
    return Logged(LOG_PATTERNS[name].meaning, Evidence(pod.node, "log.pattern", subject, name, "", "/var/log/pods", at))
