"""What a reading of a host's clock tells: never more than is true, whatever the path, the queues and the clocks do."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from nodetell.v1 import agent_pb2

from aggregator.clock_offset import (
    DRIFT,
    MAX_HELD_S,
    MAX_ROUND_TRIP_S,
    MAX_UNIX_S,
    WINDOW_S,
    ClockSample,
    OffsetWindow,
    sample_of,
)

EPOCH = 1_800_000_000.0
ROUNDING_S = 5e-6
"""Microseconds on the wire, and what a float of today's date can hold."""


@dataclass
class Path:
    """One exchange over a path of which all is known."""

    offset_s: float = 0.0
    """The host's clock less the aggregator's."""
    there_s: float = 0.001
    back_s: float = 0.001
    held_s: float = 4.0
    agent_rate: float = 0.0
    """By how much the agent's seconds are too short."""
    slept_s: float = 0.0
    """While the agent held the answer, its machine slept: the monotonic clock stood still."""

    def sample(self, answered: float = 100.0) -> ClockSample | None:
        left = answered + self.there_s + self.held_s
        received = left + self.back_s
        reading = agent_pb2.ClockReading(
            now_unix_us=round((EPOCH + left + self.offset_s) * 1e6),
            acknowledged=1,
            held_us=round((self.held_s - self.slept_s) * (1 + self.agent_rate) * 1e6),
        )
        return sample_of(reading, answered=answered, received=received, clock=EPOCH + received)


delays = st.floats(0, 0.9)


@settings(max_examples=200)
@given(
    st.builds(
        Path,
        offset_s=st.floats(-1e8, 1e8),
        there_s=delays,
        back_s=delays,
        held_s=st.floats(0, 60),
        agent_rate=st.floats(-DRIFT, DRIFT),
    )
)
@example(Path(there_s=0.0, back_s=0.0, held_s=0.00020347304170619267, agent_rate=0.00020347304170619267))
def test_the_truth_is_within_the_bound(path: Path) -> None:
    sample = path.sample()
    assert sample is not None
    assert abs(sample.offset_s - path.offset_s) <= sample.bound_s + ROUNDING_S
    assert sample.bound_s <= (path.there_s + path.back_s) / 2 + 1.5 * DRIFT * path.held_s + ROUNDING_S


def test_a_path_of_equal_ways_is_measured_exactly_and_one_of_unequal_ways_is_off_by_half_the_difference() -> None:
    even, uneven = Path(12.0).sample(), Path(12.0, there_s=0.0, back_s=0.5).sample()
    assert even is not None
    assert uneven is not None
    assert even.offset_s == pytest.approx(12.0, abs=ROUNDING_S)
    assert uneven.offset_s == pytest.approx(11.75, abs=ROUNDING_S)
    assert uneven.bound_s == pytest.approx(0.25 + DRIFT * 4, abs=ROUNDING_S)
    assert even.bound_s == pytest.approx(0.001 + DRIFT * 4, abs=ROUNDING_S)


def test_a_sleeping_machine_widens_the_bound_and_nothing_else() -> None:
    slept = Path(3.0, held_s=4.0, slept_s=1.5).sample()
    assert slept is not None
    assert slept.bound_s > 0.75
    assert abs(slept.offset_s - 3.0) <= slept.bound_s
    assert Path(3.0, held_s=4.0, slept_s=3.5).sample() is None


@pytest.mark.parametrize(
    ("path", "because"),
    [
        (Path(there_s=MAX_ROUND_TRIP_S, back_s=0.01), "it took too long"),
        (Path(held_s=5.0, agent_rate=0.01), "it says it held it for longer than it was away"),
        (Path(held_s=MAX_HELD_S + 1), "held for longer than a stream may be silent"),
        (Path(offset_s=-EPOCH - 200), "before the epoch"),
        (Path(offset_s=MAX_UNIX_S - EPOCH), "beyond all calendars"),
    ],
)
def test_what_tells_nothing_is_dropped(path: Path, because: str) -> None:
    assert path.sample() is None, because


@given(st.integers(0, 2**64 - 1), st.integers(-(2**63), 2**63 - 1))
def test_whatever_an_agent_says_is_a_sample_with_a_sane_bound_or_none(held_us: int, now_us: int) -> None:
    reading = agent_pb2.ClockReading(now_unix_us=now_us, acknowledged=1, held_us=held_us)
    sample = sample_of(reading, answered=10.0, received=15.0, clock=EPOCH)
    assert sample is None or 0 <= sample.bound_s <= MAX_ROUND_TRIP_S


# -- the best of some minutes --------------------------------------------------------------------------------------


def window(*samples: tuple[float, float, float]) -> OffsetWindow:
    made = OffsetWindow()
    for at, offset_s, bound_s in samples:
        made.add(ClockSample(at, offset_s, bound_s))
    return made


def test_the_quickest_of_the_last_minutes_counts_until_drift_makes_a_newer_one_better() -> None:
    made = window((0, 0.30, 0.4), (30, 0.01, 0.02), (60, -0.2, 0.3))
    best = made.best(60)
    assert best is not None
    assert best.offset_s == 0.01
    assert best.bound_at(60) == pytest.approx(0.02 + 30 * DRIFT)
    made.add(ClockSample(90, 0.02, 0.04))
    assert (made.best(90) or best).at == 90  # 60 s of drift are 0.03


def test_a_reading_is_forgotten_when_it_is_too_old() -> None:
    made = window((0, 0.0, 0.001), (30, 0.0, 0.9))
    assert (made.best(WINDOW_S) or ClockSample(-1, 0, 0)).at == 0
    assert (made.best(WINDOW_S + 1) or ClockSample(-1, 0, 0)).at == 30
    assert made.best(WINDOW_S + 31) is None


@pytest.mark.parametrize("step", [-30.0, 0.5, 3600.0])
def test_a_clock_that_is_set_is_measured_anew_at_once(step: float) -> None:
    best = window((0, 0.0, 0.001), (30, 0.0, 0.001), (60, step, 0.3)).best(60)
    assert best is not None
    assert best.offset_s == step


samples = st.lists(st.tuples(st.floats(0.1, 100), st.floats(-0.5, 0.5), st.floats(0, 1)), min_size=1, max_size=20)


@settings(max_examples=100)
@given(samples)
def test_the_best_is_the_best_of_all_that_no_later_one_contradicts(rows: list[tuple[float, float, float]]) -> None:
    now, made, kept = 0.0, OffsetWindow(), list[ClockSample]()
    for gap, offset, bound in rows:
        now += gap
        sample = ClockSample(now, offset, bound)
        made.add(sample)
        agreeing = [each for each in kept if abs(each.offset_s - offset) <= each.bound_at(now) + bound]
        kept = [*(each for each in agreeing if now - each.at <= WINDOW_S), sample]
    best = made.best(now)
    assert best is not None
    assert best.bound_at(now) == pytest.approx(min(each.bound_at(now) for each in kept))
