"""Receivers that misbehave: they hang, break off, go on for ever, redirect, show another's certificate."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web

from aggregator.outputs.receiver import Answer, Receiver, secret_lines
from tests.authority import authority, issued, server_context
from tests.outputs import Behaviour, Inbox, free_port


def answer(behave: Behaviour | None, *, timeout_s: float = 10.0, body: bytes = b"{}") -> Answer:
    """What a receiver that behaves so is taken to say."""

    async def play() -> Answer:
        async with Inbox(behave=behave).open() as inbox:
            receiver = Receiver(f"{inbox.url}/secret-path", timeout_s=timeout_s)
            try:
                return await receiver.post(body, {"Nodetell-Timestamp": "1"})
            finally:
                await receiver.aclose()

    return asyncio.run(play())


def raw(reply: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], timeout_s: float) -> Answer:
    """The same of one that does not even speak HTTP properly."""

    async def play() -> Answer:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await reader.readuntil(b"\r\n\r\n")
                await reply(reader, writer)
            except (ConnectionError, asyncio.IncompleteReadError):
                pass
            finally:
                writer.close()

        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            receiver = Receiver(f"http://127.0.0.1:{port}", timeout_s=timeout_s)
            try:
                return await receiver.post(b"{}", {})
            finally:
                await receiver.aclose()

    return asyncio.run(play())


def test_what_is_taken_is_taken() -> None:
    assert answer(None) == Answer(200, body=b"ok")


@pytest.mark.parametrize("status", [500, 503, 404, 401, 429])
def test_what_is_refused_says_so_in_one_line(status: int) -> None:
    async def refuse(_: web.Request) -> web.Response:
        return web.Response(
            status=status, text="no\nplace password=hunter2 " + "x" * 10_000, headers={"Retry-After": "7"}
        )

    found = answer(refuse)
    assert (found.taken, found.status, found.retry_after_s) == (False, status, 7.0)
    assert found.reason.startswith(f"it answers {status}: no place password=*** x")
    assert len(found.reason) < 300


def test_one_that_wants_to_be_left_alone_for_a_year_is_asked_again_sooner() -> None:
    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=429, headers={"Retry-After": "31536000"})

    assert answer(refuse).retry_after_s == 300.0


def test_one_that_hangs_is_given_up() -> None:
    async def hang(_: web.Request) -> web.Response:
        await asyncio.sleep(3600)
        raise AssertionError

    assert answer(hang, timeout_s=0.2).reason == "no answer within 0.2 s"


def test_one_that_trickles_is_given_up() -> None:
    async def trickle(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _each in range(1000):
            writer.write(b"H")
            await writer.drain()
            await asyncio.sleep(0.02)

    found = raw(trickle, 0.3)
    assert not found.taken
    assert found.status == 0


def test_of_an_answer_that_goes_on_for_ever_no_more_than_a_little_is_read() -> None:
    sent = 0

    async def flood(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        while sent < 1 << 30:
            await response.write(b"x" * 65_536)
            sent += 65_536
        return response

    begun = time.monotonic()
    assert answer(flood).taken
    assert sent < 64 << 20
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize("reply", [b"", b"what?\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000 + b"\r\n\r\n"])
def test_nonsense_is_no_answer(reply: bytes) -> None:
    async def say(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(reply)
        await writer.drain()

    found = raw(say, 5.0)
    assert not found.taken
    assert "\n" not in found.reason
    assert len(found.reason) < 300


def test_a_redirect_is_not_followed() -> None:
    async def play() -> None:
        async with Inbox().open() as elsewhere:

            async def redirect(_: web.Request) -> web.Response:
                raise web.HTTPTemporaryRedirect(elsewhere.url)

            async with Inbox(behave=redirect).open() as inbox:
                receiver = Receiver(inbox.url)
                found = await receiver.post(b"{}", {})
                await receiver.aclose()
            assert found.reason == "it answers 307, a redirect, which is not followed"
            assert elsewhere.posts == []

    asyncio.run(play())


def test_nobody_there() -> None:
    async def play() -> Answer:
        receiver = Receiver(f"http://127.0.0.1:{free_port()}")
        found = await receiver.post(b"{}", {})
        await receiver.aclose()
        return found

    assert asyncio.run(play()).reason == "no connection: connection refused"


def test_the_environment_s_proxy_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("no_proxy", "")
    assert answer(None).taken


def test_only_a_certificate_of_the_named_authority_is_taken_and_the_file_is_read_again(tmp_path: Path) -> None:
    right, wrong = authority(tmp_path, "right"), authority(tmp_path, "wrong")
    tls = server_context(issued(tmp_path, right, "hook"))
    other = server_context(issued(tmp_path, right, "other", "DNS:elsewhere.example"))
    ca = tmp_path / "ca.crt"
    ca.write_bytes(wrong.certificate.read_bytes())

    async def play() -> None:
        async with Inbox().open(tls=tls) as inbox:
            receiver = Receiver(inbox.url, str(ca))
            found = await receiver.post(b"{}", {})
            assert "its certificate is not taken: " in found.reason
            system = Receiver(inbox.url)
            assert "its certificate is not taken: " in (await system.post(b"{}", {})).reason
            await system.aclose()
            ca.unlink()
            assert str(ca) in (await receiver.post(b"{}", {})).reason
            ca.write_text("no certificate\n")
            assert str(ca) in (await receiver.post(b"{}", {})).reason
            ca.write_bytes(right.certificate.read_bytes() + b"\n")
            assert (await receiver.post(b"{}", {})).taken
            await receiver.aclose()
        async with Inbox().open(tls=other) as inbox:
            receiver = Receiver(inbox.url, str(right.certificate))
            assert "its certificate is not taken: " in (await receiver.post(b"{}", {})).reason
            await receiver.aclose()
            assert inbox.posts == []

    asyncio.run(play())


def test_where_the_system_knows_no_authority_that_is_what_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in the image, which has nothing of a system."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))

    async def play() -> Answer:
        receiver = Receiver(f"https://127.0.0.1:{free_port()}")
        found = await receiver.post(b"{}", {})
        await receiver.aclose()
        return found

    assert asyncio.run(play()).reason == "there are no authorities of the system here: name some (ca)"


def test_secrets_are_lines_and_what_is_none_is_not_quoted(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("\n one-secret \n\ntwo\n")
    assert secret_lines(str(path)) == ["one-secret", "two"]
    with pytest.raises(ValueError, match="fewer than 16 characters") as refused:
        secret_lines(str(path), 16)
    assert "one-secret" not in str(refused.value)
