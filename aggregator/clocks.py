"""All hosts' clocks beside the aggregator's, and which of them is the wrong one where they differ.

Where most hosts differ from the aggregator by the same amount, and the API server does not take its side, the
aggregator's own clock is wrong: that is said once, of the aggregator, and hosts are then measured by what most show.
Its owner calls `settle` from time to time; between two calls a host's offset stays as it is, so that all are judged by
the same clock. Where that was set, or the machine slept, nothing is judged until all agents have been heard again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median_low

from aggregator.clock_offset import WINDOW_S, ClockSample, OffsetWindow
from aggregator.model import Gap
from aggregator.node_state import ClockOffset, NodeState

FIRST_S = 10.0
"""When first, after the start: by then most agents are back."""
EVERY_S = 5.0
SET_WAIT_S = 40.0
"""After the aggregator's own clock was set: each agent has told its own again (every 30 s) by then."""
STEP_S = 0.5
"""Our own clock has been set, or the machine has slept, if it moves by so much against the monotonic clock."""
MOST_NODES = 3
"""Fewer hosts prove nothing against the aggregator by themselves."""


@dataclass(frozen=True, slots=True)
class Reference:
    """What hosts' clocks are compared with."""

    offset_s: float = 0.0
    """From the aggregator's clock, in seconds; not 0 where that is the wrong one."""
    because: str = ""
    """What makes the aggregator's clock the wrong one."""

    @property
    def most(self) -> bool:
        """It is what most hosts show."""
        return bool(self.because)


class Clocks:
    """The clocks of all hosts."""

    def __init__(self, tolerance_s: float, clock: Callable[[], float], monotonic: Callable[[], float]) -> None:
        self._tolerance_s = tolerance_s
        self._clock, self._monotonic = clock, monotonic
        self._windows: dict[str, OffsetWindow] = {}
        self._drift = clock() - monotonic()
        self._next = monotonic() + FIRST_S
        self.reference = Reference()

    def add(self, node: str, sample: ClockSample) -> None:
        """A reading of a node's clock has come."""
        self._watch_own()
        self._windows.setdefault(node, OffsetWindow()).add(sample)

    def forget(self, node: str) -> None:
        """The node is gone, or another agent reports for it."""
        self._windows.pop(node, None)

    def settle(self, hosts: Mapping[str, NodeState], api_offset_s: float | None) -> None:
        """If it is time to, see what the clocks show, and write each host's offset into its state.

        `api_offset_s`: the API server's clock less the aggregator's; None: not known.
        """
        self._watch_own()
        now = self._monotonic()
        if now < self._next:
            return
        self._next = now + EVERY_S
        best = {
            name: sample
            for name, window in self._windows.items()
            if name in hosts and (sample := window.best(now)) is not None
        }
        self.reference = reference([each.offset_s for each in best.values()], api_offset_s, self._tolerance_s)
        wall = self._clock()
        for name, host in hosts.items():
            sample = best.get(name)
            if sample is not None:
                offset = sample.offset_s - self.reference.offset_s
                at = wall - (now - sample.at)
                told = ClockOffset(offset, sample.bound_at(now), at, from_most=self.reference.most)
                self._tell(host, told)
            elif host.clock_offset is not None and wall - host.clock_offset.at > WINDOW_S:
                self._tell(host, None)

    def _tell(self, host: NodeState, offset: ClockOffset | None) -> None:
        """What follows from a host is worked out anew only where its clock is off now or was: most never are."""
        if any(each is not None and abs(each.offset_s) > self._tolerance_s for each in (host.clock_offset, offset)):
            host.revision += 1
        host.clock_offset = offset

    def _watch_own(self) -> None:
        drift = self._clock() - self._monotonic()
        if abs(drift - self._drift) > STEP_S:
            for window in self._windows.values():
                window.clear()
            self._next = self._monotonic() + SET_WAIT_S
        self._drift = drift

    def gaps(self) -> list[Gap]:
        """That the aggregator's clock is wrong."""
        if not self.reference.most:
            return []
        offset = self.reference.offset_s
        because = (
            f"the aggregator's own clock is {abs(offset):.1f} s {'slow' if offset > 0 else 'fast'}: "
            f"{self.reference.because}; nodes are compared with what most of them show"
        )
        remedy = "See the time daemon of the machine that the aggregator runs on, and whether it reaches its servers."
        return [Gap("", "clock", "degraded", because, remedy)]


def reference(offsets_s: list[float], api_offset_s: float | None, tolerance_s: float) -> Reference:
    """What to compare with, where hosts and API server differ from the aggregator by so much.

    Most hosts alike and the API server nowhere near the aggregator; or, where hosts are too few to be most of anything,
    all of them and the API server alike.
    """
    if not offsets_s:
        return Reference()
    middle = median_low(offsets_s)
    alike = sum(1 for offset in offsets_s if abs(offset - middle) <= tolerance_s)
    if abs(middle) <= tolerance_s or 2 * alike <= len(offsets_s):
        return Reference()
    nodes = f"{alike:,} of {len(offsets_s):,} node{'s' if len(offsets_s) > 1 else ''} differ from it alike"
    if api_offset_s is None:
        return Reference(middle, nodes) if len(offsets_s) >= MOST_NODES else Reference()
    if abs(api_offset_s - middle) <= tolerance_s:
        return Reference(middle, f"{nodes}, and so does the API server")
    if abs(api_offset_s) <= tolerance_s or len(offsets_s) < MOST_NODES:
        return Reference()
    return Reference(middle, f"{nodes}, and the API server by another amount")
