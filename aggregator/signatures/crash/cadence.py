"""How a container ends and comes back: often enough to be a loop, how long it lives, how it ended last."""

from __future__ import annotations

from dataclasses import dataclass

from aggregator.cluster.objects import ContainerState, ContainerStatus, Pod
from aggregator.signatures.thresholds import Thresholds

BACK_OFF = "CrashLoopBackOff"
UNTOLD = ContainerState("terminated", exit_code=-1)
"""An end of which nothing is said."""
_NOT_ITS_OWN = frozenset({"Unknown", "ContainerStatusUnknown"})
"""Reasons of ends that nobody has seen: the node, or the runtime, went down under the container."""
_SETTLED_S = 300.0
"""A pod that is older has left its roll-out behind: two ends in a row are enough then."""


@dataclass(frozen=True, slots=True)
class Loop:
    """A container that ends again and again."""

    container: ContainerStatus
    end: ContainerState
    """How it ended last."""
    backing_off: bool
    """The kubelet waits before it starts it anew."""
    tries: int = 0
    """How often it has been started, by as many pods as that took; 0: as often as the container says."""

    @property
    def alive_s(self) -> float | None:
        """How long it lived last, seconds; None: not said."""
        end = self.end
        return max(0.0, end.finished - end.started) if end.finished and end.started else None

    @property
    def starts(self) -> int:
        """How often it has been started."""
        return self.tries or self.container.restarts + 1


def loop_of(
    container: ContainerStatus, pod: Pod, now: float, thresholds: Thresholds, booted: float = 0.0
) -> Loop | None:
    """The loop that a container of the pod is in at `now`; None: it is not in one.

    The kubelet backs off only from what has just ended, and begins anew once a container has run for ten minutes. Where
    it does not wait at this very moment, it takes several restarts, the last of them of late and after a short life.
    A container that was to end once and did so well is done, however often it had to try. `booted`: when its node was,
    0.0 where that is not known: what ran before has not ended by itself.
    """
    state = container.state
    if state is not None and state.kind == "waiting" and state.reason == BACK_OFF:
        if not _often_enough(container, pod, now, thresholds):
            return None
        end = container.last
        return Loop(container, end if end is not None and end.kind == "terminated" else UNTOLD, backing_off=True)
    end = state if state is not None and state.kind == "terminated" else container.last
    if end is None or end.kind != "terminated" or container.restarts < thresholds.crash_restarts_min:
        return None
    if is_done(container, pod) or end.reason in _NOT_ITS_OWN or (end.started and end.started < booted):
        return None
    if now - end.finished > thresholds.crash_window_s:
        return None
    found = Loop(container, end, backing_off=False)
    alive = found.alive_s
    return found if alive is not None and alive < thresholds.crash_window_s else None


def _often_enough(container: ContainerStatus, pod: Pod, now: float, thresholds: Thresholds) -> bool:
    """What has just been rolled out may end once or twice before what it needs is there."""
    return container.restarts >= thresholds.crash_restarts_min or (
        container.restarts > 1 and now - pod.created >= _SETTLED_S
    )


def is_done(container: ContainerStatus, pod: Pod) -> bool:
    """It has ended as it should, or has been followed by others: it will not be started again."""
    if container.init and not _is_sidecar(container, pod):
        state = container.state
        return container.ready or (state is not None and state.kind == "terminated" and state.exit_code == 0)
    if pod.spec.restart_policy == "Always" or container.init:
        return False
    state = container.state
    ended = state is not None and state.kind == "terminated"
    return ended and (pod.spec.restart_policy == "Never" or (state is not None and state.exit_code == 0))


def _is_sidecar(container: ContainerStatus, pod: Pod) -> bool:
    return any(each.restartable and each.name == container.name for each in pod.spec.containers if each.init)
