"""Who may come back when: bounded, in order, and nobody overtaken for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator import admission as admission_module
from aggregator.admission import RETRY_MAX_S, RETRY_MIN_S, Admission, BusyError, Place
from aggregator.limits import PEER
from tests.wire import until


def admission(places: int, waiting: int = 100, **more: Any) -> Admission:
    return Admission(replace(PEER, arrivals_at_once=places, arrivals_waiting=waiting), **more)


async def taken(entering: Coroutine[Any, Any, Place]) -> asyncio.Task[Place]:
    task = asyncio.create_task(entering)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return task


def test_places_go_round_in_the_order_they_were_asked_for() -> None:
    async def scenario() -> None:
        door, came = admission(2), []

        async def come(name: str) -> None:
            place = await door.enter(name)
            came.append(name)
            assert door.taken <= 2
            await asyncio.sleep(0.001)
            place.leave()
            place.leave()  # more often changes nothing

        await asyncio.gather(*(come(f"n{number}") for number in range(50)))
        assert came == [f"n{number}" for number in range(50)]
        assert (door.taken, door.waiting, door.refused) == (0, 0, 0)

    asyncio.run(scenario())


def test_the_latest_is_sent_away_and_goes_first_when_it_comes_again() -> None:
    async def scenario() -> None:
        door = admission(1, waiting=2, uniform=lambda low, high: (low + high) / 2)
        first = await door.enter("a")
        second, third = await taken(door.enter("b")), await taken(door.enter("c"))
        with pytest.raises(BusyError, match="come again later") as told:
            await door.enter("d")
        assert RETRY_MIN_S <= told.value.retry_s <= RETRY_MAX_S
        first.leave()
        (await second).leave()
        held = await third
        young, younger = await taken(door.enter("e")), await taken(door.enter("f"))
        again = await taken(door.enter("d"))  # asked before them, and so the last of them goes
        with pytest.raises(BusyError):
            await younger
        held.leave()
        (await again).leave()
        (await young).leave()
        assert (door.taken, door.refused) == (0, 2)

    asyncio.run(scenario())


def test_nobody_waits_long_nor_holds_a_place_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission_module, "WAIT_S", 0.05)

    async def scenario() -> None:
        door = admission(1)
        slow = await door.enter("slow")
        with pytest.raises(BusyError):
            await door.enter("other")
        slow.leave()
        monkeypatch.setattr(admission_module, "HOLD_S", 0.05)
        monkeypatch.setattr(admission_module, "WAIT_S", 30.0)
        slow = await door.enter("slow")
        place = await door.enter("other")
        slow.leave()
        assert door.taken == 1
        place.leave()
        assert door.taken == 0

    asyncio.run(scenario())


@pytest.mark.parametrize("called", [False, True])
def test_one_whose_stream_ends_while_it_waits_costs_no_place(called: bool) -> None:
    async def scenario() -> None:
        door = admission(1)
        place = await door.enter("a")
        waiting = await taken(door.enter("b"))
        if called:
            place.leave()  # and before b hears of it
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        place.leave()
        (await door.enter("c")).leave()
        assert (door.taken, door.waiting) == (0, 0)

    asyncio.run(scenario())


def test_who_is_told_to_come_again_is_told_a_time_by_how_fast_others_get_in() -> None:
    async def scenario() -> None:
        now = [0.0]
        door = admission(1, waiting=1, monotonic=lambda: now[0], uniform=lambda low, _high: low)
        place = await door.enter("first")
        waits = await taken(door.enter("waits"))
        told = []
        for number in range(1_000):
            with pytest.raises(BusyError) as busy:
                await door.enter(f"n{number}")
            told.append(busy.value.retry_s)
        assert told == sorted(told)
        assert (told[0], told[-1]) == (RETRY_MIN_S, RETRY_MAX_S)
        place.leave()
        (await waits).leave()

    asyncio.run(scenario())


@settings(max_examples=60)
@given(
    st.lists(st.sampled_from(["come", "come", "leave", "cancel", "again"]), max_size=80),
    st.integers(1, 3),
    st.integers(1, 4),
)
def test_places_and_queue_stay_within_their_bounds_and_none_is_lost(
    story: list[str], places: int, waiting: int
) -> None:
    async def scenario() -> None:
        door = admission(places, waiting)
        tasks: list[asyncio.Task[Place]] = []
        away: list[str] = []
        for number, what in enumerate(story):
            held = [task for task in tasks if task.done() and not task.cancelled() and task.exception() is None]
            if what == "come" or (what == "again" and away):
                tasks.append(await taken(door.enter(away.pop() if what == "again" else f"n{number}")))
            elif what == "leave" and held:
                held[0].result().leave()
                tasks.remove(held[0])
            elif what == "cancel" and (still := [task for task in tasks if not task.done()]):
                still[0].cancel()
                await asyncio.gather(still[0], return_exceptions=True)
                tasks.remove(still[0])
            for task in [task for task in tasks if task.done() and not task.cancelled() and task.exception()]:
                tasks.remove(task)
                away.append(f"n{number}")
            assert door.taken <= places
            assert door.waiting <= waiting
            assert door.waiting == 0 or door.taken == places
        while tasks:
            await until(tasks[0].done)
            if tasks[0].exception() is None:
                tasks[0].result().leave()
            del tasks[0]
        assert (door.taken, door.waiting) == (0, 0)

    asyncio.run(scenario())
