"""Storms: a server whose every answer may go wrong in any way, while objects change. What is held after it is true."""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import tracemalloc
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.aggregator.cluster.following import FAST, PATHS, watching
from tests.apiserver import EXPIRED, TOO_LARGE, Cluster, Reply, Request, line, serving, status


class Storm:
    """A cluster behind faults. Each is drawn by a seeded chance; every second watch of a path has expired."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)  # noqa: S311  # a test's
        self.there = Cluster()
        self.there.watch_s = 0.3
        self.raging = True
        self.faults: dict[str, int] = {}
        self._watches: dict[str, int] = {}
        for path in PATHS.values():
            for number in range(self.chance.randrange(25)):
                self.there.put(path, f"first-{number:03}")

    def happen(self) -> None:
        """Something changes."""
        path = self.chance.choice(list(PATHS.values()))
        names = list(self.there.of(path).objects)
        if names and self.chance.random() < 0.4:
            self.there.drop(path, self.chance.choice(names))
        elif names and self.chance.random() < 0.6:
            self.there.put(path, self.chance.choice(names), changed=self.chance.random())
        else:
            self.there.put(path, f"new-{self.chance.randrange(1000):04}")
        if self.chance.random() < 0.01:
            self.there.compact()

    async def answer(self, request: Request, reply: Reply) -> None:
        """Badly while it rages, well afterwards."""
        if not self.raging:
            await self.there.answer(request, reply)
        elif "watch" in request.query:
            number = self._watches[request.path] = self._watches.get(request.path, 0) + 1
            fault = "expired" if number % 2 else self.chance.choice(list(WATCH_FAULTS))
            await self._do(fault, WATCH_FAULTS[fault], request, reply)
        elif self.chance.random() < 0.35:
            fault = self.chance.choice(list(LIST_FAULTS))
            await self._do(fault, LIST_FAULTS[fault], request, reply)
        else:
            await self.there.answer(request, reply)

    async def _do(self, name: str, fault: Callable[..., Awaitable[None]], request: Request, reply: Reply) -> None:
        self.faults[name] = self.faults.get(name, 0) + 1
        await fault(self, request, reply)


async def _good(storm: Storm, request: Request, reply: Reply) -> None:
    await storm.there.answer(request, reply)


async def _expired(storm: Storm, _: Request, reply: Reply) -> None:
    if storm.chance.random() < 0.5:
        await reply.whole(410, EXPIRED)
        return
    await reply.begin()
    await reply.piece(line("ERROR", EXPIRED))
    await reply.end()


def _events(storm: Storm, request: Request) -> list[bytes]:
    """What the watch should tell, and some of what it told before: again, and not in order."""
    version = int(request.query["resourceVersion"])
    past = storm.there.of(request.path).past
    told = [line(kind, item) for at, kind, _, item in past if at <= version][-4:]
    storm.chance.shuffle(told)
    return told + [line(kind, item) for at, kind, _, item in past if at > version]


async def _torn(storm: Storm, request: Request, reply: Reply) -> None:
    """Some events, then half of one, then the end: of the chunk, of the answer or of the connection."""
    await reply.begin()
    events = _events(storm, request) or [line("BOOKMARK", {"metadata": {"resourceVersion": "1"}})]
    count = storm.chance.randrange(len(events))
    for event in events[:count]:
        await reply.piece(event)
    half = events[count][: storm.chance.randrange(1, len(events[count]))]
    way = storm.chance.randrange(3)
    await (reply.half_piece(half) if way == 0 else reply.piece(half))
    await (reply.end() if way == 1 else reply.reset())


async def _garbage(storm: Storm, request: Request, reply: Reply) -> None:
    """Events with others among them that are none; what follows one of these is good again."""
    await reply.begin()
    for event in _events(storm, request):
        await reply.piece(event)
        if storm.chance.random() < 0.4:
            odd = [b"\x00\n", b"{}\n", b'{"type":"ADDED"}\n', b'{"type":"ADDED","object":7}\n', event[:-9] + b"\n"]
            odd.append(line("RENAMED", {"metadata": {"name": "x", "resourceVersion": "99999"}}))
            odd.append(line("ERROR", status(500, "etcd", "InternalError")))
            await reply.piece(storm.chance.choice(odd))
    await reply.end()


async def _repeats(storm: Storm, request: Request, reply: Reply) -> None:
    await reply.begin()
    for event in _events(storm, request):
        await reply.piece(event * storm.chance.randrange(1, 3))
    await asyncio.sleep(0.02)
    await reply.end()


async def _silence(storm: Storm, request: Request, reply: Reply) -> None:
    await reply.begin()
    for event in _events(storm, request)[: storm.chance.randrange(3)]:
        await reply.piece(event)
    await asyncio.sleep(30)


async def _busy(storm: Storm, _: Request, reply: Reply) -> None:
    await reply.whole(429, status(429, "too many"), {"Retry-After": str(storm.chance.choice([0, "0.01", "soon"]))})


async def _broken(storm: Storm, _: Request, reply: Reply) -> None:
    await reply.whole(storm.chance.choice([500, 502, 503]), b"<html>no</html>")


async def _too_large(_: Storm, __: Request, reply: Reply) -> None:
    await reply.whole(504, TOO_LARGE)


async def _unauthorized(_: Storm, __: Request, reply: Reply) -> None:
    await reply.whole(401, status(401, "Unauthorized"))


async def _denied(_: Storm, __: Request, reply: Reply) -> None:
    await reply.whole(403, status(403, "is forbidden", "Forbidden"))


async def _no_list(_: Storm, __: Request, reply: Reply) -> None:
    await reply.whole(200, b"<html>log in</html>")


async def _reset(_: Storm, __: Request, reply: Reply) -> None:
    await reply.reset()


async def _half_list(storm: Storm, _: Request, reply: Reply) -> None:
    await reply.begin()
    await reply.half_piece(
        b'{"kind":"ThingList","metadata":{"resourceVersion":"1"},"items":[{"metadata":{"name":"never'
    )
    await (reply.reset() if storm.chance.random() < 0.5 else reply.end())


async def _expired_token(storm: Storm, request: Request, reply: Reply) -> None:
    if "continue" not in request.query:
        await storm.there.answer(request, reply)
    elif storm.chance.random() < 0.5:
        await reply.whole(410, storm.there.expired(request.query["continue"]))
    else:
        await reply.whole(410, EXPIRED)


WATCH_FAULTS: dict[str, Callable[[Storm, Request, Reply], Awaitable[None]]] = {
    "good": _good,
    "expired": _expired,
    "torn": _torn,
    "garbage": _garbage,
    "repeats": _repeats,
    "silence": _silence,
    "busy": _busy,
    "broken": _broken,
    "too large": _too_large,
    "unauthorized": _unauthorized,
    "denied": _denied,
    "reset": _reset,
}
LIST_FAULTS: dict[str, Callable[[Storm, Request, Reply], Awaitable[None]]] = {
    "busy": _busy,
    "broken": _broken,
    "unauthorized": _unauthorized,
    "denied": _denied,
    "no list": _no_list,
    "reset": _reset,
    "half a list": _half_list,
    "expired token": _expired_token,
}


async def weather(folder: Path, seed: int, faults: int) -> Storm:
    """A storm of so many faults, and the calm after it."""
    storm = Storm(seed)
    async with serving(storm.answer) as server, watching(folder, server.url, seed=seed) as there:

        def true() -> bool:
            return all(there.held.objects.get(name, {}) == storm.there.truth(path) for name, path in PATHS.items())

        while sum(storm.faults.values()) < faults:
            storm.happen()
            await asyncio.sleep(0.004)
        if storm.chance.random() < 0.3:
            await server.stop()
            storm.happen()
            await asyncio.sleep(0.05)
            await server.start()
        storm.raging, storm.there.watch_s = False, 5.0
        await there.until(true, "after the storm")
        await there.until(lambda: not there.watch.stale(), "current")
        for _ in range(20):
            storm.happen()
        await there.until(true, "after the calm")
        await there.until(lambda: set(there.states().values()) == {"current"}, "all current")
        assert there.held.complete == set(PATHS)
        assert there.watch.gaps() == []
        assert {request.method for request in server.requests} == {"GET"}
    return storm


@pytest.mark.parametrize("seed", range(5))
def test_after_a_storm_what_is_held_is_true(tmp_path: Path, seed: int) -> None:
    storm = asyncio.run(weather(tmp_path, seed, 60))
    assert len(storm.faults) > 8


def test_a_storm_leaves_no_memory_behind(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A storm that is four times as long leaves no more: what each failure left would show."""
    caplog.set_level(logging.CRITICAL, "nodetell")  # what is logged is kept for the test's report
    asyncio.run(weather(tmp_path, 11, 30))  # imports, caches
    left = []
    for faults in (30, 120):
        tracemalloc.start()
        asyncio.run(weather(tmp_path, 12, faults))
        gc.collect()
        left.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
    assert left[1] < left[0] + 100_000


def test_a_server_that_is_away_for_long_is_asked_seldom_and_costs_nothing(tmp_path: Path) -> None:
    """An hour in two seconds: with the first and last retry as long, in proportion, as they are in earnest."""
    pace = replace(FAST, first_retry_s=0.5 / 100, last_retry_s=20.0 / 100, recall_s=0.02)

    async def play() -> None:
        there = Cluster()
        for path in PATHS.values():
            there.put(path, "one")
        async with serving(there.answer) as server, watching(tmp_path, server.url, pace) as seen:
            await seen.until(lambda: seen.watch.synced and not seen.watch.stale())
            await server.stop()
            await asyncio.sleep(0.5)
            assert "does not answer since" in seen.watch.stale()
            tracemalloc.start()
            before = sum(standing.counters.failures for standing in seen.watch.standings())
            held = tracemalloc.get_traced_memory()[0]
            await asyncio.sleep(1.5)
            tried = sum(standing.counters.failures for standing in seen.watch.standings()) - before
            grown = tracemalloc.get_traced_memory()[0] - held
            tracemalloc.stop()
            assert tried <= len(PATHS) * 1.5 / 0.1 * 1.2  # every one at least half the ceiling apart
            assert grown < 2_000_000
            there.put(PATHS["pods"], "two")
            await server.start()
            loop = asyncio.get_running_loop()
            back = loop.time()
            await seen.until(lambda: not seen.watch.stale())
            assert loop.time() - back < 1.0
            await seen.until(lambda: seen.held.objects["pods"] == there.truth(PATHS["pods"]))
            assert all(standing.counters.lists == 1 for standing in seen.watch.standings())

    asyncio.run(play())
