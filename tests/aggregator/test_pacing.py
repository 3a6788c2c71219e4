"""How fast a node is heard: pure arithmetic over a clock that the test holds."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from nodetell.bucket import Bucket

from aggregator.limits import PeerLimits
from aggregator.pacing import MOST_WAIT_S, Paces, timed

SLOW = PeerLimits(
    messages_per_s=10.0,
    messages_at_once=5.0,
    updates_per_s=1.0,
    updates_at_once=100.0,
    bytes_per_s=1_000.0,
    bytes_at_once=10_000.0,
    work_share=0.1,
    work_at_once_s=1.0,
    streams_per_s=0.5,
    streams_at_once=2.0,
    remembered=3,
)


def test_what_is_within_the_pace_never_waits_and_what_is_over_it_waits_for_its_turn() -> None:
    pace = Paces(SLOW).of("a")
    waited = []
    for _ in range(25):
        waited.append(pace.wait_s(100.0))
        pace.message(100.0)
    assert waited[:6] == [0.0] * 6
    assert waited[6:10] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert pace.wait_s(100.0) == pytest.approx(2.0)
    assert pace.wait_s(102.1) == 0.0
    assert pace.reached(102.1)["messages_per_s"].total == 20


def test_work_and_bytes_are_paid_back_and_no_single_message_waits_for_all_of_it() -> None:
    pace = Paces(SLOW).of("a")
    pace.work(4.0, 0.0)
    assert pace.wait_s(0.0) == MOST_WAIT_S
    assert pace.wait_s(29.0) == pytest.approx(1.0)
    assert pace.wait_s(30.5) == 0.0
    pace.update(12_000, 40.0)
    assert pace.wait_s(40.0) == pytest.approx(2.0)
    assert {name for name, each in pace.reached(40.0).items() if each.now} == {"work_share", "bytes_per_s"}
    assert pace.reached(400.0)["work_share"].now == 0
    assert pace.reached(400.0)["work_share"].total == 2


def test_streams_over_the_pace_are_refused_and_a_refusal_costs_no_later_one() -> None:
    pace = Paces(SLOW).of("a")
    assert [pace.may_open(0.0) for _ in range(5)] == [True, True, False, False, False]
    assert pace.may_open(2.0)
    assert not pace.may_open(2.0)
    assert pace.reached(2.0)["streams_per_s"].total == 4


def test_a_flood_of_long_ago_is_forgiven() -> None:
    bucket = Bucket(1.0, 1.0)
    bucket.spend(1e9, 0.0)
    assert bucket.owed_s(0.0) == bucket.most_owed_s


def test_names_that_are_made_up_push_out_idle_ones_and_none_that_is_connected() -> None:
    paces = Paces(SLOW)
    kept = paces.of("10.0.0.1")
    kept.open_streams = 1
    for number in range(100):
        paces.of(f"made-up-{number}")
    assert paces.of("10.0.0.1") is kept
    assert len(paces._of) <= SLOW.remembered + 1


def test_the_cpu_time_of_work_is_its_own_and_not_that_of_what_it_waits_for() -> None:
    booked: list[float] = []

    async def work(gate: asyncio.Event) -> str:
        _spin(0.02)
        await gate.wait()
        _spin(0.02)
        return "done"

    async def run() -> None:
        gate = asyncio.Event()

        async def wrapped() -> str:
            return await timed(work(gate), booked.append)

        task = asyncio.ensure_future(wrapped())
        await asyncio.sleep(0)
        _spin(0.5)
        gate.set()
        assert await task == "done"

    asyncio.run(run())
    assert 0.04 <= sum(booked) < 0.4


def test_work_that_is_timed_hears_of_its_cancellation_and_raises_what_it_raises() -> None:
    async def stubborn(log: list[Any]) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            log.append("cancelled")
            raise

    async def run(log: list[Any]) -> None:
        async def wrapped() -> None:
            await timed(stubborn(log), lambda _cpu_s: None)

        task = asyncio.ensure_future(wrapped())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    log: list[Any] = []
    asyncio.run(run(log))
    assert log == ["cancelled"]


def _spin(cpu_s: float) -> None:
    until = time.thread_time() + cpu_s
    while time.thread_time() < until:
        pass
