"""What a client can take of the HTTP server: heads that never end, answers that nobody takes, too much at a time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from aggregator.limits import HTTP
from aggregator.segments import SEGMENT
from aggregator.web.connections import MOST_S, Connections
from aggregator.web.problems import ProblemError
from aggregator.web.server import MAX_FIELD, HttpServer, make_site
from aggregator.web.slots import TOLD_S, Slots
from tests.web.site import bundle, finding, made_up, running

HEAD = b"GET /api/v1/findings HTTP/1.1\r\nHost: 127.0.0.1\r\n"


@contextlib.asynccontextmanager
async def impatient(idle_s: float, most: int = 10) -> AsyncIterator[str]:
    """A server that lets go early; where it is."""
    site = make_site(made_up([]), None)
    site.connections.idle_s, site.connections.most = idle_s, most
    server = HttpServer(site, "127.0.0.1:0")
    try:
        yield (await server.start()).removeprefix("http://")
    finally:
        await server.aclose()


async def connected(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = address.rpartition(":")
    return await asyncio.open_connection(host, int(port))


async def rest_of(reader: asyncio.StreamReader) -> bytes:
    """All that comes until the other side closes."""
    with contextlib.suppress(ConnectionError):
        return await asyncio.wait_for(reader.read(), 20)
    return b""


def test_an_answer_goes_out_in_segments_that_every_path_carries() -> None:
    async def scene() -> None:
        async with impatient(5.0) as address:
            _, writer = await connected(address)
            near: socket.socket = writer.get_extra_info("socket")
            assert 0 < near.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) <= SEGMENT
            writer.close()

    asyncio.run(scene())


def test_who_never_finishes_a_request_is_let_go_and_others_are_answered() -> None:
    async def scene() -> None:
        async with impatient(0.5) as address:
            silent, begun, late = [await connected(address) for _ in range(3)]
            begun[1].write(b"GET /api/v1/findings HT")
            late[1].write(HEAD)
            for reader, writer in (silent, begun, late):
                assert await rest_of(reader) == b""
                writer.close()
            reader, writer = await connected(address)
            writer.write(HEAD + b"Connection: close\r\n\r\n")
            assert (await rest_of(reader)).startswith(b"HTTP/1.1 200")
            writer.close()

    asyncio.run(scene())


def test_an_answer_that_nobody_takes_is_given_up() -> None:
    known = made_up([finding(number, summary="x" * 200_000) for number in range(100)])

    async def scene() -> None:
        site = make_site(known, None, page=False)
        site.connections.idle_s = 0.5
        server = HttpServer(site, "127.0.0.1:0")
        host, _, port = (await server.start()).removeprefix("http://").rpartition(":")
        with socket.socket() as raw:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            raw.connect((host, int(port)))
            raw.sendall(HEAD + b"\r\n")
            runner = server._runner
            assert runner is not None
            assert runner.server is not None
            for there in (True, False):  # until it has come, and until it is let go
                async with asyncio.timeout(30):
                    while bool(runner.server.connections) is not there:  # noqa: ASYNC110  # nothing tells of it
                        await asyncio.sleep(0.02)
        await server.aclose()

    asyncio.run(scene())


def test_one_connection_too_many_is_closed() -> None:
    async def scene() -> None:
        async with impatient(30.0, most=2) as address:
            held = [await connected(address) for _ in range(2)]
            for reader, writer in held:  # so that the server has them
                writer.write(HEAD + b"\r\n")
                assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            reader, writer = await connected(address)
            assert await rest_of(reader) == b""
            for each in (writer, *(other for _, other in held)):
                each.close()

    asyncio.run(scene())


def test_heads_and_addresses_that_are_too_long_are_refused_and_not_quoted(caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        async with impatient(30.0) as address:
            for head in (
                HEAD + b"Authorization: Bearer s3cret" + b"x" * (MAX_FIELD + 1) + b"\r\n\r\n",
                HEAD + b"X: " + b"x" * (MAX_FIELD + 1) + b"\r\n\r\n",
                HEAD + b"".join(b"X-%d: x\r\n" % number for number in range(300)) + b"\r\n",
                b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
                b"\x00\x01\x02 what is this\r\n\r\n",
            ):
                reader, writer = await connected(address)
                writer.write(head)
                answer = await rest_of(reader)
                assert answer.split(b" ")[1] == b"400"
                assert b"Content-Security-Policy: default-src 'none'" in answer
                assert b"s3cret" not in answer
                assert b"xxx" not in answer
                writer.close()

    with caplog.at_level(logging.DEBUG), caplog.at_level(logging.DEBUG, "nodetell.aggregator"):
        asyncio.run(scene())
    assert "s3cret" not in caplog.text
    assert "http_request_refused" in caplog.text


def test_a_connection_on_which_a_request_is_worked_on_is_left_alone() -> None:
    async def scene() -> None:
        now = [0.0]
        held = Connections(idle_s=1.0, monotonic=lambda: now[0])
        entered, go = asyncio.Event(), asyncio.Event()

        async def slow(_request: web.Request) -> web.Response:
            entered.set()
            await go.wait()
            return web.Response(text="done")

        app = web.Application(middlewares=[held.noted()])
        app.router.add_get("/", slow)
        runner = web.AppRunner(app)
        await runner.setup()
        assert runner.server is not None
        listening = await asyncio.get_running_loop().create_server(held.factory(runner.server), "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await entered.wait()
        for now[0] in (0.0, 10.0, 20.0):
            held.look(runner.server)
        go.set()
        assert await reader.readuntil(b"done")
        for now[0] in (20.5, 40.0):
            held.look(runner.server)
        assert await rest_of(reader) == b""
        writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for now[0], ends in ((40.0, False), (40.0 + MOST_S + 1, True)):  # at last, it has to be shown anew who it is
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (b"Connection: close" in await reader.readuntil(b"done")) == ends
        assert await rest_of(reader) == b""
        writer.close()
        listening.close()
        await runner.cleanup()

    asyncio.run(scene())


def test_places_are_given_and_taken_back() -> None:
    now = [0.0]
    places = Slots("requests", "http_requests", 3, 2, lambda: now[0])
    assert places.gap() is None
    with places.place("10.0.0.1"), places.place("10.0.0.1"):
        with pytest.raises(ProblemError) as refused, places.place("10.0.0.1"):
            pass
        assert (refused.value.status, refused.value.headers["Retry-After"]) == (429, "1")
        with places.place("10.0.0.2"):
            with pytest.raises(ProblemError) as refused, places.place("127.0.0.1"):
                pass
            assert (refused.value.status, refused.value.headers["Retry-After"]) == (503, "1")
    assert places.taken == 0
    with places.place("127.0.0.1"), places.place("127.0.0.1"), places.place("::1"):
        pass
    gap = places.gap()
    assert gap is not None
    assert gap.because == "too much at a time: 2 requests beyond the limit http_requests were refused lately"
    now[0] = TOLD_S + 1
    assert places.gap() is None


def test_more_requests_than_there_are_places_are_told_to_come_again() -> None:
    async def scene() -> None:
        async with running(bundle()) as at:
            with contextlib.ExitStack() as held:
                for _ in range(HTTP.http_requests):
                    held.enter_context(at.site.requests.place("127.0.0.1"))
                answer = await at.get("/api/v1/findings")
                assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
                assert answer.json["detail"] == "64 requests are being worked on already (http_requests)"
            assert (await at.get("/api/v1/findings")).status == 200
            with contextlib.ExitStack() as held:
                for _ in range(HTTP.http_events):
                    held.enter_context(at.site.events.place("127.0.0.1"))
                assert (await at.get("/api/v1/events")).status == 503
                assert (await at.get("/api/v1/findings")).status == 200

    asyncio.run(scene())


def test_a_server_stops_at_once_though_clients_hang_on(recwarn: pytest.WarningsRecorder) -> None:
    async def scene() -> float:
        async with running(bundle()) as at:
            address = at.address.removeprefix("http://")
            reader, follows = await connected(address)
            follows.write(b"GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            await reader.readuntil(b"event: synced")
            _, idle = await connected(address)
            begun = time.monotonic()
        took = time.monotonic() - begun
        for each in (follows, idle):
            each.close()
        return took

    assert asyncio.run(scene()) < 5
    assert not recwarn.list
