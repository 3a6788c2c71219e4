"""By how much a host's clock is ahead of the aggregator's, and how sure that is: NTP's reckoning over the stream.

The aggregator says something at one moment of its own clock and hears the agent's answer at another; in between lies
the round trip and the time for which the agent held the answer. The host's clock was read when the answer left, that is
at some moment of the round trip, nobody knows which. The middle is taken, and half the round trip is the error it may
have at most: a path that is quick in one direction and slow in the other needs no more. Whatever else delays a message
(a queue, a busy or suspended process at either end) makes the round trip longer, never the answer wrong.

An agent can lie about its own clock only. Claiming to have held the answer for longer than it was away is refused.
Pure: all times are given.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from nodetell.v1 import agent_pb2

DRIFT = 500e-6
"""How fast two clocks may drift apart, seconds per second: what the kernel assumes of one that nobody disciplines."""
WINDOW_S = 300.0
"""The best reading of so long counts."""
MAX_ROUND_TRIP_S = 2.0
"""A reading that took longer says too little: its bound would be a second and more."""
ROUNDING_S = 1e-6
"""Agents tell whole microseconds."""
MAX_HELD_S = 600.0
"""Agents send at least every five minutes, and a stream that is silent for 15 s is over."""
MAX_UNIX_S = 253_402_300_799
"""The end of the year 9999: a clock beyond it is none."""


@dataclass(frozen=True, slots=True)
class ClockSample:
    """One reading of a host's clock."""

    at: float
    """When it came, seconds by the aggregator's monotonic clock."""
    offset_s: float
    """The host's clock less the aggregator's."""
    bound_s: float
    """The true offset then differs from that by no more."""

    def bound_at(self, now: float) -> float:
        """What the bound has become by `now` of the monotonic clock."""
        return self.bound_s + DRIFT * max(0.0, now - self.at)


def sample_of(reading: agent_pb2.ClockReading, *, answered: float, received: float, clock: float) -> ClockSample | None:
    """What a reading tells; None: nothing. It follows on the answer that was sent at `answered`; it came at `received`
    of the same monotonic clock, and at `clock` of the wall clock."""
    held = reading.held_us / 1e6
    away = received - answered
    unsure = DRIFT * held + ROUNDING_S  # the two ends' seconds are not of one length
    round_trip = away - held
    if held > MAX_HELD_S or not -unsure <= round_trip <= MAX_ROUND_TRIP_S:
        return None
    if not 0 < reading.now_unix_us <= MAX_UNIX_S * 1_000_000:
        return None
    round_trip = max(0.0, round_trip)
    offset = reading.now_unix_us / 1e6 - (clock - round_trip / 2)
    return ClockSample(received, offset, round_trip / 2 + unsure)


MOST_SAMPLES = 64
"""Readings of one host that are kept; ten come in a window, unless an agent sends more than it should."""


class OffsetWindow:
    """Readings of one host's clock of the last minutes. Times are given in rising order."""

    def __init__(self) -> None:
        self._samples: deque[ClockSample] = deque(maxlen=MOST_SAMPLES)

    def add(self, sample: ClockSample) -> None:
        """A new reading. Older ones that contradict it are from before one of the two clocks was set."""
        kept = [each for each in self._samples if sample.at - each.at <= WINDOW_S and _agree(each, sample)]
        self._samples.clear()
        self._samples.extend((*kept, sample))

    def best(self, now: float) -> ClockSample | None:
        """The reading with the least bound at `now`, of such the newest; None: none is of the last minutes."""
        while self._samples and now - self._samples[0].at > WINDOW_S:
            self._samples.popleft()
        return min(reversed(self._samples), key=lambda each: each.bound_at(now), default=None)

    def clear(self) -> None:
        """The aggregator's own clock was set: what was measured against it says nothing."""
        self._samples.clear()


def _agree(older: ClockSample, newer: ClockSample) -> bool:
    return abs(older.offset_s - newer.offset_s) <= older.bound_at(newer.at) + newer.bound_s
