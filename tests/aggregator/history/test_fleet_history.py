"""The fleet and its history: judged whatever the disk does, rebuilt after a start, forgotten in its time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from nodetell.v1 import agent_pb2

from aggregator import fleet as fleet_module
from aggregator.database import NotStoredError
from aggregator.findings import FindingBook, Kind
from aggregator.history import journal as journal_module
from aggregator.history.keeper import History
from aggregator.store import Store
from tests.aggregator.test_fleet import INSTANCE, Clock, Scene
from tests.wire import until


class Kept(Scene):
    """A scene whose history is on disk."""

    def __init__(self, directory: Path, clock: Clock) -> None:
        super().__init__(Store(None), clock=clock)
        self.history = History(directory, clock=clock)
        self.history.open()
        self.fleet._history = self.history


def play(directory: Path, clock: Clock, script: Callable[[Kept], Coroutine[Any, Any, None]]) -> None:
    scene = Kept(directory, clock)

    async def run() -> None:
        evaluation = asyncio.create_task(scene.fleet.run())
        try:
            await asyncio.wait_for(script(scene), 40)
        finally:
            evaluation.cancel()

    try:
        asyncio.run(run())
    finally:
        scene.history.close()


def test_a_disk_that_hangs_delays_no_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_module, "STORE_WAIT_S", 0.5)
    goes_on = threading.Event()
    real = journal_module.Journal._put
    monkeypatch.setattr(journal_module.Journal, "_put", lambda self, *each: (goes_on.wait(30), real(self, *each))[1])

    async def script(scene: Kept) -> None:
        scene.connect("a")
        sending = asyncio.ensure_future(scene.send("a", 1000))
        await until(lambda: scene.news() == [(Kind.APPEARED, "small-a", "")])
        with pytest.raises(NotStoredError, match="not stored in time"):
            await sending
        assert not scene.connect("a", last_update=0)  # what was not acknowledged is not gone on from
        goes_on.set()
        await scene.send("a", 1000)

    try:
        play(tmp_path, Clock(), script)
    finally:
        goes_on.set()


def test_nodes_are_judged_after_a_start_before_their_agents_come(tmp_path: Path) -> None:
    clock = Clock()

    async def first(scene: Kept) -> None:
        for name in ("a", "b"):
            scene.connect(name)
            await scene.send(name, 1000)

    async def second(scene: Kept) -> None:
        await until(lambda: len(scene.fleet.summaries()) == 2)
        assert [summary.connected for summary in scene.fleet.summaries()] == [False, False]
        await until(lambda: {key for _, key, _ in scene.news()} == {"small-a", "small-b"})
        assert scene.connect("a", last_update=1)
        clock.now += 60  # nobody has come since
        await until(lambda: ("small-b", True) in {(key, bool(why)) for _, key, why in scene.news()})

    play(tmp_path, clock, first)
    clock.now += 3
    play(tmp_path, clock, second)


def test_a_node_that_is_forgotten_is_not_rebuilt_and_its_minutes_stay(tmp_path: Path) -> None:
    clock = Clock()
    begun = clock.now

    async def first(scene: Kept) -> None:
        scene.connect("a")
        await scene.send("a", 1000)
        clock.now += 4000
        await until(lambda: not scene.fleet.nodes)
        await until(lambda: not scene.history._leaving and not scene.history._unstored)

    async def second(scene: Kept) -> None:
        assert not scene.connect("a", last_update=1)
        assert [point.value for point in await scene.history.read("a", "link/1/mtu", 0, begun + 60)] == [1000]

    play(tmp_path, clock, first)
    play(tmp_path, clock, second)


def test_an_older_instance_of_an_agent_does_not_go_on_from_a_newer_one_s_state(tmp_path: Path) -> None:
    clock = Clock()

    async def first(scene: Kept) -> None:
        scene.connect("a")
        await scene.send("a", 1000)

    async def second(scene: Kept) -> None:
        assert not scene.connect("a", last_update=1, instance=b"o" * 16)
        assert not scene.connect("a", last_update=1)
        assert INSTANCE != b"o" * 16

    play(tmp_path, clock, first)
    play(tmp_path, clock, second)


def test_what_cannot_be_rebuilt_is_asked_for_and_pins_nothing(tmp_path: Path) -> None:
    """A row that says only what changed, with nothing before it."""
    clock = Clock()

    async def first(scene: Kept) -> None:
        scene.connect("a")
        await scene.send("a", 1000)

    play(tmp_path, clock, first)
    update = agent_pb2.Update(at_unix_ms=round(clock.now * 1000)).SerializeToString()
    history = History(tmp_path, clock=clock)
    history.open()
    history._stored["b"] = journal_module.Stored(
        rows=[journal_module.Row(INSTANCE, 2, clock.now, None, packed=False, body=update)]
    )
    fleet = fleet_module.Fleet(Store(None), FindingBook([], []), history=history, clock=clock, monotonic=clock)

    async def script() -> None:
        assert not fleet.connect(agent_pb2.Hello(node="b", instance=INSTANCE, last_update=2), "peer")
        assert history._leaving == {"b"}
        history.step()
        await until(lambda: not history._leaving)

    asyncio.run(script())
    history.close()
