"""Jobs whose pods fail one after the other: with restartPolicy Never each try is a pod of its own."""

from __future__ import annotations

from collections.abc import Iterator

from aggregator.cluster.objects import Pod
from aggregator.cluster.state import ClusterState
from aggregator.signatures.crash.cadence import Loop
from aggregator.signatures.crash.troubled import Troubled
from aggregator.signatures.thresholds import Thresholds

_SLACK_S = 2.0
"""Times of the API have no fractions."""
_DISRUPTED = "DisruptionTarget"
"""Condition of pods that were evicted, preempted or deleted with their node."""


def loops_of_jobs(known: Troubled, state: ClusterState, now: float, limits: Thresholds) -> Iterator[tuple[Pod, Loop]]:
    """The last of several pods of one Job that failed by themselves, each soon after it began, and how it ended.

    None where another pod of the Job has succeeded since the first of them failed: it gets on.
    """
    for uid, pods in known.failed.items():
        if len(pods) < limits.crash_restarts_min:
            continue
        ends = sorted((each for pod in pods.values() if (each := _end(pod)) is not None), key=lambda end: end[0])
        if len(ends) < limits.crash_restarts_min or now - ends[-1][0] > limits.crash_window_s:
            continue
        _, pod, loop = ends[-1]
        if sum(1 for _, each, _ in ends if each.created >= ends[0][0] - _SLACK_S) < limits.crash_restarts_min - 1:
            continue  # they failed beside each other: none of them was another try
        if loop.alive_s is None or loop.alive_s >= limits.crash_window_s:
            continue
        if not any(
            other.phase == "Succeeded" and _finished(other) > ends[0][0] for other in state.pods_of(uid).values()
        ):
            yield pod, Loop(loop.container, loop.end, backing_off=False, tries=len(ends))


def _end(pod: Pod) -> tuple[float, Pod, Loop] | None:
    """When a pod failed, and how; None: it was taken away, or does not say how it ended."""
    if pod.reason or pod.condition(_DISRUPTED) is not None:
        return None
    for container in pod.containers:
        end = container.state
        if end is not None and end.kind == "terminated" and end.exit_code and end.reason != "ContainerStatusUnknown":
            return end.finished, pod, Loop(container, end, backing_off=False)
    return None


def _finished(pod: Pod) -> float:
    return max((each.state.finished for each in pod.containers if each.state is not None), default=0.0)
