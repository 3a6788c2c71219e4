"""The kernel's own view of its clock: a node whose clock is off has its tokens and leases refused."""

from __future__ import annotations

from nodetell.v1 import facts_pb2 as pb

from agent.collectors import gaps
from agent.collectors.keep import Kept, two_digits
from agent.host import Host, ReadError
from agent.reading import Reading


class ClockCollector:
    """Item "clock"."""

    name = "clock"
    lane = "clock"
    interval_s = 30.0

    def __init__(self) -> None:
        self._kept = Kept()

    def collect(self, host: Host, now: float) -> Reading:  # noqa: ARG002  # the state is the kernel's, not a difference to `now`
        """State of the clock now, its figures to two significant digits."""
        reading = Reading()
        try:
            state = host.clock()
        except ReadError as error:
            gaps.add(reading, "clock", error, lost="a clock that is off is not seen")
            return self._kept.settle(reading)
        clock = pb.Clock(synchronized=state.synchronized)
        if state.offset_us is not None:
            clock.offset_us = two_digits(state.offset_us)
        if state.max_error_us is not None:
            clock.max_error_us = two_digits(state.max_error_us)
        reading.source("clock", "adjtimex(2)" if host.live else "clock.json")
        reading.add(pb.Item(key="clock", clock=clock))
        return self._kept.settle(reading)
