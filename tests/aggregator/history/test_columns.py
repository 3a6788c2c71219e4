"""A node's past by columns: when it was heard, and its latencies, from the disk and from what is not there yet."""

from __future__ import annotations

from pathlib import Path

from nodetell.v1 import agent_pb2

from aggregator.history.columns import spans
from tests.aggregator.history.hosts import EPOCH, Host, play, scene

NAMES = ("le_1000us", "le_2000us", "gt_2000us")
SUBJECT = "latency/probe/x"


def test_minutes_are_one_stretch_until_there_is_a_silence() -> None:
    assert spans(set()) == []
    assert spans({10, 11, 13, 15}) == [(600.0, 960.0)]
    assert spans({10, 14}) == [(600.0, 660.0), (840.0, 900.0)]


def test_latencies_by_column_add_up_to_what_was_told(tmp_path: Path) -> None:
    """Over an hour's edge, with rows that are on disk and rows that are not, and a silence of ten minutes."""

    async def script() -> None:
        with scene(tmp_path, now=EPOCH - 300) as there:
            host = Host("a")
            there.kept["a"] = there.history.fresh("a")
            full = agent_pb2.Update(at_unix_ms=round(there.now * 1000), full=True)
            full.schemas.add(id=1, names=NAMES)
            full.blocks.add(first_slot=1, schema=1, subject=SUBJECT, values=[7, 7, 7])
            await there.take(host, 1, full)
            number = 1
            for minute in (0, 1, 2, 13, 14):
                there.now = EPOCH - 300 + 60 * minute + 5
                delta = agent_pb2.Update(at_unix_ms=round(there.now * 1000))
                delta.samples.add(slot_gaps=[1, 1], increments=[90, 10 * minute + 1])
                number += 1
                await there.take(host, number, delta)
                if minute == 2:  # what was told so far goes to the disk
                    there.history.forget("a")
                    there.history.step()
            past = await there.history.past("a", EPOCH - 600, EPOCH + 3600, 300.0)
            (calls,) = past.latencies
            assert (calls.subject, calls.bounds_us) == (SUBJECT, (1000, 2000))
            assert {column: sum(counts) for column, counts in calls.counts.items()} == {
                1: 3 * 90 + 1 + 11 + 21,
                3: 2 * 90 + 131 + 141,
            }
            assert calls.quantile_us(1, 0.5) is not None
            assert calls.quantile_us(2, 0.99) is None
            assert calls.calls(2) == 0
            assert [(begin - EPOCH, end - EPOCH) for begin, end in past.heard] == [(-300, -120), (480, 600)]
            points = await there.history.read("a", f"{SUBJECT}/calls", EPOCH - 600, EPOCH + 3600)
            assert [(point.at - EPOCH, point.value) for point in points][:2] == [(-300, 91), (-240, 101)]
            assert (await there.history.past("nobody", EPOCH - 600, EPOCH, 60.0)).latencies == ()

    play(script)


def test_what_rose_between_two_snapshots_lies_evenly_between_them(tmp_path: Path) -> None:
    async def script() -> None:
        with scene(tmp_path) as there:
            host = Host("a")
            await there.tell(host, full=True)
            there.now += 300
            host.counters["link/1"][0] += 603
            await there.tell(host, full=True)
            there.kept["a"].minutes.spread(EPOCH)
            points = await there.history.read("a", "link/1/rx_packets", EPOCH - 60, EPOCH + 600)
            assert [(point.at - EPOCH, point.spread_s) for point in points] == [(60 * n, 300) for n in range(5)]
            assert [point.value for point in points] == [120, 121, 120, 121, 121]
            there.kept["a"].minutes.spread(EPOCH)  # nothing is left to be spread
            assert await there.total("a", "link/1/rx_packets") == 603

    play(script)
