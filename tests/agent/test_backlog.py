"""What is kept of an absence: bounded, coarser with age, and right in its sums."""

from __future__ import annotations

import contextlib
import random
import tracemalloc
from collections import Counter
from itertools import pairwise

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st
from nodetell.limits import MAX_UPDATE_BYTES
from nodetell.v1 import agent_pb2, facts_pb2

from agent import backlog as backlog_module
from agent.backlog import LEVELS, MAX_BYTES, PART_BYTES, Backlog
from agent.reading import Block
from aggregator.backlog import RollUp, roll_ups
from aggregator.limits import NODE

NAMES = tuple(f"counter_{number}" for number in range(24))
HOUR, DAY = 3_600.0, 86_400.0
AT_MS = 10**12


def host(interfaces: int, tick: int) -> dict[str, Block]:
    """Everything moves, a packet counter by more than an error counter."""
    return {
        f"link/{which}": Block(NAMES, tuple(tick * (1 + 997 * which * n % 60_000) for n in range(24)))
        for which in range(interfaces)
    }


def told(backlog: Backlog, now: float) -> list[RollUp]:
    """All of it as the aggregator understands it, oldest first."""
    found: list[RollUp] = []
    while (part := backlog.take_part(now)) is not None:
        found += roll_ups(agent_pb2.Update(at_unix_ms=AT_MS, backlog=part), NODE)
        backlog.taken()
    return found[::-1]


def sums(rollups: list[RollUp]) -> Counter[tuple[str, str]]:
    total: Counter[tuple[str, str]] = Counter()
    for rollup in rollups:
        for block in rollup.blocks:
            for index, increment in block.increments.items():
                total[block.subject, block.names[index]] += increment
    return total


def away(backlog: Backlog, interfaces: int, seconds: float, step: float = 5.0) -> int:
    """An absence of so long; the most bytes that were held."""
    backlog.begin(host(interfaces, 0), 0.0)
    most = 0
    for tick in range(1, round(seconds / step) + 1):
        backlog.add(host(interfaces, tick), tick * step)
        most = max(most, backlog.size)
    return most


def test_an_hour_is_kept_finely_where_it_is_near_and_coarser_where_it_is_far() -> None:
    backlog = Backlog()
    most = away(backlog, 3, HOUR)
    rollups = told(backlog, HOUR)
    assert most < 30_000
    spans = [round(one.end - one.begin) for one in rollups]
    assert spans[-12:] == [5] * 12
    assert all(30 < span <= 60 for span in spans[-24:-12])
    assert all(300 < span <= 600 for span in spans[:4])
    assert 25 <= len(spans) <= 40
    assert sum(spans) == HOUR
    assert backlog.merged == 720 - len(spans)
    assert all(before.end == after.begin for before, after in pairwise(rollups))
    end, start = host(3, 720), host(3, 0)
    rises = {
        (subject, name): now - then
        for subject, block in end.items()
        for name, then, now in zip(NAMES, start[subject].values, block.values, strict=True)
    }
    assert sums(rollups) == Counter(rises)
    assert [tuple(block.after) for block in rollups[-1].blocks] == [block.values for block in end.values()]


@pytest.mark.parametrize(
    ("interfaces", "seconds", "step"), [(100, HOUR, 60.0), (100, DAY, 1_200.0), (1000, HOUR, 300.0)]
)
def test_however_long_the_absence_and_however_large_the_host_the_room_is_bounded(
    interfaces: int, seconds: float, step: float
) -> None:
    backlog = Backlog()
    assert away(backlog, interfaces, seconds, step) <= MAX_BYTES
    assert sum(sums(told(backlog, seconds)).values()) == sum(
        sum(block.values) for block in host(interfaces, round(seconds / step)).values()
    )
    assert backlog.size == 0


def test_the_bytes_that_are_counted_are_the_bytes_that_are_taken() -> None:
    room = 16_000
    own = [tracemalloc.Filter(True, "*/agent/backlog.py"), tracemalloc.Filter(True, "*/agent/delta.py")]
    backlog = Backlog(room)
    backlog.begin(host(4, 0), 0.0)
    tracemalloc.start()
    try:
        for tick in range(1, 721):
            backlog.add(host(4, tick), tick * 30.0)
            if tick in (120, 720):  # after an hour, and after six
                held = sum(each.size for each in tracemalloc.take_snapshot().filter_traces(own).statistics("filename"))
                assert 2_000 < backlog.size <= room
                assert held < 1.25 * backlog.size + 4_000
    finally:
        tracemalloc.stop()


def test_for_want_of_room_all_of_it_becomes_coarser_and_sums_stay() -> None:
    backlog = Backlog(20_000)
    assert away(backlog, 20, HOUR, 20.0) <= 20_000
    rollups = told(backlog, HOUR)
    assert 1 <= len(rollups) < 20
    assert sum(sums(rollups).values()) == sum(sum(block.values) for block in host(20, 180).values())


def test_where_not_even_one_roll_up_fits_nothing_is_kept_and_that_is_counted() -> None:
    backlog = Backlog(500)
    away(backlog, 50, 600.0)
    assert len(backlog) == backlog.size == 0
    assert backlog.merged >= 119
    assert backlog.take_part(600.0) is None


def test_blocks_that_come_and_go_for_a_day_stay_within_the_room() -> None:
    backlog, at = Backlog(20_000), 0.0
    backlog.begin({}, at)
    for pod in range(400):
        for tick in (0, 1):
            at += 30.0
            backlog.add(
                {f"link/{pod}": Block(NAMES, (tick,) * 24), "link/eth": Block(NAMES, (2 * pod + tick,) * 24)}, at
            )
            assert backlog.size <= 20_000
    total = sums(told(backlog, at))
    assert total["link/eth", "counter_0"] == 799
    assert 0 < sum(count for (subject, _), count in total.items() if subject != "link/eth") < 400 * 24


def test_a_counter_set_back_closes_what_is_before_it() -> None:
    backlog = Backlog()
    backlog.begin({"x": Block(("a",), (10,)), "y": Block(("a",), (1,))}, 0.0)
    backlog.add({"x": Block(("a",), (15,)), "y": Block(("a",), (2,))}, 5.0)
    backlog.add({"x": Block(("a",), (3,))}, 10.0)
    backlog.add({"x": Block(("a",), (7,)), "y": Block(("a",), (9,)), "z": Block(("a",), (1,))}, 15.0)
    assert backlog.began_anew == {"x", "y"}
    rollups = told(backlog, 15.0)
    assert [
        (block.subject, dict(block.increments), list(block.after)) for rollup in rollups for block in rollup.blocks
    ] == [("x", {0: 5}, [15]), ("y", {0: 1}, [2]), ("x", {0: 4}, [7])]


def test_a_second_absence_does_not_mix_with_what_is_left_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    backlog = Backlog()
    rising = [{"x": Block(NAMES, (at,) * 24)} for at in range(0, 4_000, 5)]
    backlog.begin(rising[0], 0.0)
    for number in range(1, 400):
        backlog.add(rising[number], 5.0 * number)
    monkeypatch.setattr(backlog_module, "PART_BYTES", 500)
    newest = backlog.take_part(2_000.0)
    backlog.taken()
    assert newest is not None
    assert len(backlog)
    backlog.begin(rising[500], 2_500.0)  # meanwhile all was told as it came
    backlog.add(rising[501], 2_505.0)
    rollups = told(backlog, 2_505.0)
    assert rollups[-1].end - rollups[-1].begin == 5.0
    assert list(rollups[-1].blocks[0].after) == list(rising[501]["x"].values)
    first = sums(roll_ups(agent_pb2.Update(at_unix_ms=AT_MS, backlog=newest), NODE))
    assert first["x", "counter_0"] + sums(rollups)["x", "counter_0"] == rising[399]["x"].values[0] + 5


def test_a_part_is_small_unless_one_roll_up_is_larger() -> None:
    backlog = Backlog()
    away(backlog, 5, HOUR)
    while (part := backlog.take_part(HOUR)) is not None:
        assert part.ByteSize() < 2 * PART_BYTES
        assert part.samples[-1].at_offset_ms <= 0
        backlog.taken()
    away(backlog, 1_000, 20.0)
    part = backlog.take_part(20.0)
    assert part is not None
    assert len(part.samples) == 1
    assert part.ByteSize() < MAX_UPDATE_BYTES / 10


def test_what_is_a_week_old_is_dropped_and_counted() -> None:
    backlog = Backlog()
    away(backlog, 1, 8 * DAY, 3_600.0)
    rollups = told(backlog, 8 * DAY)
    assert 7 * 24 <= len(rollups) <= 7 * 24 + 1
    assert backlog.merged == 8 * 24 - len(rollups)


def test_a_part_that_did_not_arrive_is_told_once_again_unless_it_is_a_week_old() -> None:
    backlog = Backlog()
    away(backlog, 1, 20.0)
    part = backlog.take_part(20.0)
    assert part is not None
    backlog.lost()
    again = backlog.take_part(100.0)
    assert again is not None
    assert again.samples[-1].at_offset_ms == -80_000
    assert backlog.take_part(20 + 30 * DAY) is None
    assert (backlog.merged, len(backlog)) == (4, 0)


steps = st.lists(
    st.tuples(
        st.floats(0.2, 2_000.0),
        st.dictionaries(st.sampled_from("abc"), st.lists(st.integers(-3, 9), min_size=2, max_size=2)),
    ),
    max_size=40,
)


@settings(max_examples=100)
@given(steps, st.sampled_from([300, 2_000, MAX_BYTES]))
def test_sums_and_order_hold_whatever_happens(story: list[tuple[float, dict[str, list[int]]]], room: int) -> None:
    backlog, at = Backlog(room), 0.0
    levels = {subject: [5, 5] for subject in "abc"}
    last: dict[str, Block] = {}
    expected: Counter[tuple[str, str]] = Counter()
    backlog.begin({}, at)
    for wait, moves in story:
        at += wait
        blocks = {}
        for subject, rises in moves.items():
            levels[subject] = [max(0, level + rise) for level, rise in zip(levels[subject], rises, strict=True)]
            blocks[subject] = Block(("p", "q"), tuple(levels[subject]))
            before = last.get(subject)
            if before is not None and all(b <= a for b, a in zip(before.values, blocks[subject].values, strict=True)):
                for name, then, now in zip("pq", before.values, blocks[subject].values, strict=True):
                    expected[subject, name] += now - then
        last = blocks
        backlog.add(blocks, at)
        assert backlog.size <= max(room, 0)
    rollups = told(backlog, at)
    assert all(before.end <= after.begin + 0.002 for before, after in pairwise(rollups))
    limits = [span for _, span in LEVELS]
    if room == MAX_BYTES:
        assert sums(rollups) == +expected
        assert all(one.end - one.begin <= max(limits) + 0.002 or one.end - one.begin <= 2_000.1 for one in rollups)
    else:
        assert all(sums(rollups)[key] <= expected[key] for key in sums(rollups))
    assert backlog.size == 0


def test_random_parts_are_understood_or_refused_and_nothing_else() -> None:
    source = random.Random(7)  # noqa: S311  # no secret
    backlog = Backlog()
    away(backlog, 3, 120.0)
    part = backlog.take_part(120.0)
    assert part is not None
    good = part.SerializeToString()
    for _ in range(2_000):
        bad = bytearray(good)
        for _ in range(source.randint(1, 4)):
            bad[source.randrange(len(bad))] = source.randrange(256)
        try:
            backlog_part = facts_pb2.Backlog.FromString(bytes(bad))
        except DecodeError:
            continue
        with contextlib.suppress(ValueError):
            roll_ups(agent_pb2.Update(at_unix_ms=AT_MS, backlog=backlog_part), NODE)
