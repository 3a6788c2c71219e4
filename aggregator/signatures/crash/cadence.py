"""How a container ends and comes back: often enough to be a loop, how long it lives, how it ended last."""

from __future__ import annotations

from dataclasses import dataclass

from aggregator.cluster.objects import ContainerState, ContainerStatus
from aggregator.signatures.thresholds import Thresholds

BACK_OFF = "CrashLoopBackOff"


@dataclass(frozen=True, slots=True)
class Loop:
    """A container that ends again and again."""

    container: ContainerStatus
    end: ContainerState
    """How it ended last."""
    backing_off: bool
    """The kubelet waits before it starts it anew."""

    @property
    def alive_s(self) -> float | None:
        """How long it lived last, seconds; None: not said."""
        end = self.end
        return max(0.0, end.finished - end.started) if end.finished and end.started else None


def loop_of(container: ContainerStatus, now: float, thresholds: Thresholds) -> Loop | None:
    """The loop that the container is in at `now`; None: it is not in one.

    The kubelet backs off only from what has just ended, and begins anew once a container has run for ten minutes. Where
    it does not wait at this very moment, it takes several restarts, the last of them of late and after a short life.
    """
    state = container.state
    if state is not None and state.kind == "waiting" and state.reason == BACK_OFF and container.restarts > 1:
        end = container.last
        if end is None or end.kind != "terminated":
            end = ContainerState("terminated", reason="", message=state.message)
        return Loop(container, end, backing_off=True)
    end = state if state is not None and state.kind == "terminated" else container.last
    if end is None or end.kind != "terminated" or container.restarts < thresholds.crash_restarts_min:
        return None
    if now - end.finished > thresholds.crash_window_s:
        return None
    found = Loop(container, end, backing_off=False)
    alive = found.alive_s
    return found if alive is not None and alive < thresholds.crash_window_s else None
