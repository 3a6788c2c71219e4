"""Findings as they change, told over HTTP: by a stream that goes on where it was, and ends where it must."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from aggregator.findings import Kind, Record, Transition
from aggregator.web.api import events
from aggregator.web.api.events import FEED, Feed
from aggregator.web.tls import Contexts
from tests.aggregator.trust.test_operators import lines
from tests.entrance import entrance
from tests.trust import OPERATORS
from tests.web.site import AT, Running, finding, made_up, running


def change(number: int, kind: Kind = Kind.CHANGED) -> Transition:
    return Transition(kind, Record(finding(number), "x", AT, AT), AT)


class Stream:
    """A client that follows."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response

    async def block(self) -> dict[str, str]:
        """The next one: fields by name, comments under ""."""
        found: dict[str, str] = {}
        while line := (await asyncio.wait_for(self.response.content.readline(), 20)).decode().rstrip("\n"):
            name, _, value = line.partition(": ")
            found[name] = value
        return found

    async def event(self) -> tuple[str, Any]:
        """The next event: its kind, and what it is about."""
        block = await self.block()
        while "event" not in block:
            block = await self.block()
        self.id = block.get("id", "")
        data = json.loads(block["data"])
        return block["event"], data.get("finding", {}).get("id", data)


@asynccontextmanager
async def following(at: Running, query: str = "", **headers: str) -> AsyncIterator[Stream]:
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=at.context())) as session,
        session.get(f"{at.address}/api/v1/events{query}", headers=headers) as response,
    ):
        assert response.status == 200, await response.text()
        assert response.headers["Content-Type"] == "text/event-stream"
        assert response.headers["Cache-Control"] == "no-store"
        yield Stream(response)


def test_what_stands_and_then_each_change_and_on_from_there() -> None:
    known = made_up([finding(1), finding(2)])

    async def scene() -> None:
        async with running(known, page=False) as at:
            (tell,) = known.listeners
            async with following(at) as one, following(at, "?standing=no") as other:
                assert [await one.event() for _ in range(2)] == [("standing", "mtu-00001"), ("standing", "mtu-00002")]
                assert [(await each.event())[0] for each in (one, other)] == ["synced", "synced"]
                tell(change(3, Kind.APPEARED))
                tell(change(3))
                for each in (one, other):
                    assert [await each.event() for _ in range(2)] == [
                        ("appeared", "mtu-00003"),
                        ("changed", "mtu-00003"),
                    ]
                last = one.id
            tell(change(3, Kind.RESOLVED))
            async with following(at, **{"Last-Event-ID": last}) as again:
                assert [(await again.event())[0] for _ in range(2)] == ["synced", "resolved"]
            for unknown in ("x", "00000000-1", last.replace("-2", "-9")):
                async with following(at, **{"Last-Event-ID": unknown}) as anew:
                    assert (await anew.event())[0] == "standing"
        assert known.listeners == []

    asyncio.run(scene())


def test_who_is_too_slow_is_told_and_costs_nothing() -> None:
    known = made_up([])

    async def scene() -> None:
        async with running(known, page=False) as at:
            feed = at.site.app[FEED]
            async with following(at) as slow:
                assert (await slow.event())[0] == "synced"
                for number in range(feed.most + 1):  # without a turn for the stream between them
                    known.listeners[0](change(number))
                kind, data = await slow.event()
                assert (kind, data["reason"]) == ("missed", "more than 1,000 changes waited for this client")
                assert await slow.response.content.read() == b""
            assert (feed.count, len(feed._changes), at.site.events.taken) == (1_001, 1_000, 0)

    asyncio.run(scene())


def test_a_quiet_stream_shows_that_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "QUIET_S", 0.05)

    async def scene() -> None:
        async with running(made_up([]), page=False) as at, following(at) as stream:
            assert "retry" in await stream.block()
            assert (await stream.event())[0] == "synced"
            assert await stream.block() == {"": "nothing has changed"}

    asyncio.run(scene())


def test_a_stream_ends_with_the_right_to_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "QUIET_S", 0.05)
    monkeypatch.setattr(events, "RECHECK_S", 0.1)
    file = tmp_path / "tokens"
    file.write_text(lines(("ada", "t-ada")))

    async def scene() -> None:
        async with entrance(tmp_path, api=True, operator_tokens_file=str(file)) as door:
            known, tls = made_up([]), Contexts(door.settings.tls)
            async with (
                running(known, door.operators, tls, door.ca.file, page=False) as at,
                following(at, Authorization="Bearer t-ada") as stream,
            ):
                assert (await stream.event())[0] == "synced"
                file.write_text("# nobody\n")
                await asyncio.wait_for(stream.response.content.read(), 20)
                assert stream.response.content.at_eof()

    asyncio.run(scene())


def test_places_in_the_feed() -> None:
    feed = Feed(made_up([]), most=2)
    for number in range(3):
        feed._tell(change(number))
    assert feed.after(3) == []
    assert [len(feed.after(number) or []) for number in (1, 2)] == [2, 1]
    assert feed.after(0) is None
    assert [feed.place_of(feed.id_of(number)) for number in range(5)] == [None, 1, 2, 3, None]


def test_a_stream_by_certificate_ends_after_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "QUIET_S", 0.05)
    monkeypatch.setattr(events, "RECHECK_S", 0.1)

    async def scene() -> None:
        async with entrance(tmp_path, clients=True) as door:
            known, tls = made_up([]), Contexts(door.settings.tls)
            async with running(known, door.operators, tls, door.ca.file, page=False) as at:
                context = at.context(door.ca.issued("ada", OPERATORS))
                async with (
                    aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session,
                    session.get(f"{at.address}/api/v1/events") as response,
                ):
                    stream = Stream(response)
                    assert (await stream.event())[0] == "synced"
                    assert await stream.block() == {"": "nothing has changed"}
                    door.clock.ahead_s = 25 * 3_600.0
                    await asyncio.wait_for(response.content.read(), 20)

    asyncio.run(scene())
