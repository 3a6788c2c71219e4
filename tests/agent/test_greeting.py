"""The token at the beginning of a stream and on a standing one: pieces, one at a time, and not a word of it logged."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from nodetell.limits import CHUNK_BYTES
from nodetell.pem import PemError
from nodetell.v1 import agent_pb2, agent_pb2_grpc

from agent import credentials as credentials_module
from agent import stream as stream_module
from agent.connection import Peer, Proof, prove_path
from agent.credentials import read_token
from agent.greeting import token_pieces
from agent.settings import StreamSettings, TlsSettings
from agent.stream import Identity, Stream
from tests.trust import Authority, Files
from tests.wire import Source, host_with, until

TOKEN = "t" * 1_300
FAST = StreamSettings(batch_interval_s=0.2, heartbeat_interval_s=0.3, reconnect_min_s=0.05, reconnect_max_s=0.2)


class Listener(agent_pb2_grpc.AgentServiceServicer):
    """Takes tokens as the aggregator does, and counts how many pieces were ever under way."""

    def __init__(self, *, asks: bool = True) -> None:
        self.asks = asks
        self.refuse: grpc.StatusCode | None = None
        self.tokens: list[bytes] = []
        self.hellos: list[agent_pb2.Hello] = []
        self.early = 0
        """Messages that came before the one before them was answered."""
        self.shown: list[dict[str, Any]] = []
        self.largest = 0
        self.clocks: list[agent_pb2.ClockReading] = []

    async def ProvePath(self, request: agent_pb2.PathProof, context: Any) -> agent_pb2.PathProof:  # noqa: ARG002, N802
        return request

    async def Connect(self, _: object, context: Any) -> None:  # noqa: N802
        self.shown.append(dict(context.auth_context()))
        token, welcomed, answered = b"", False, 0
        while (message := await context.read()) is not grpc.aio.EOF:
            self.largest = max(self.largest, message.ByteSize())
            if message.HasField("clock"):
                self.clocks.append(message.clock)
            self.early += message.seq != answered + 1
            await asyncio.sleep(0.02)  # whoever sends more before the answer is there puts two pieces into one packet
            done = not self.asks
            if message.HasField("hello"):
                self.hellos.append(message.hello)
                done = done or not message.hello.credential_bytes
            if message.HasField("credential"):
                token += message.credential.data
                if message.credential.last:
                    self.tokens.append(token)
                    token, done = b"", True
                    if self.refuse is not None:
                        await context.abort(self.refuse, "the test says no")
            answer = agent_pb2.AggregatorMessage(ack=agent_pb2.Ack(seq=message.seq))
            if done and not welcomed:
                welcomed = True
                answer = agent_pb2.AggregatorMessage(welcome=agent_pb2.Welcome(protocol=1, version="t"))
            answered = message.seq
            await context.write(answer)


def server_credentials(ca: Authority, demand: bool, own: Files | None = None) -> grpc.ServerCredentials:
    own = own or ca.server()
    pair = (Path(own.key).read_bytes(), Path(own.certificate).read_bytes())
    return grpc.ssl_server_credentials([pair], Path(ca.file).read_bytes() if demand else None, demand)


@contextlib.asynccontextmanager
async def listening(
    service: Listener, ca: Authority, *, demand: bool = False, own: Files | None = None
) -> AsyncIterator[str]:
    """A server with TLS around it; its address."""
    server = grpc.aio.server()
    agent_pb2_grpc.add_AgentServiceServicer_to_server(service, server)  # type: ignore[no-untyped-call]
    port = server.add_secure_port("127.0.0.1:0", server_credentials(ca, demand, own))
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


@contextlib.asynccontextmanager
async def streaming(peer: Peer, **more: Any) -> AsyncIterator[Stream]:
    async def no_proof(_peer: Peer) -> Proof:
        return Proof.UNTOLD

    identity = Identity("here", os.urandom(16), "test")
    stream = Stream(peer, FAST, identity, Source(host_with(2)), asyncio.Event(), prove=no_proof, **more)
    stop = asyncio.Event()
    task = asyncio.create_task(stream.run(stop))
    try:
        yield stream
    finally:
        stop.set()
        await task


@pytest.fixture
def ca(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def token(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    return file


def rewrite(file: Path, text: str) -> None:
    """At once, as the kubelet does."""
    new = file.with_suffix(".new")
    new.write_text(text)
    new.replace(file)


@pytest.mark.parametrize("length", [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES])
def test_pieces_are_the_token(length: int) -> None:
    whole = os.urandom(length)
    pieces = token_pieces(whole)
    assert b"".join(piece.data for piece in pieces) == whole
    assert [piece.last for piece in pieces] == [False] * (len(pieces) - 1) + [True] * bool(pieces)
    assert all(0 < len(piece.data) <= CHUNK_BYTES for piece in pieces)


def test_a_token_is_sent_in_pieces_and_again_when_it_is_another(
    ca: Authority, token: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(stream_module, "TOKEN_CHECK_S", 0.05)
    caplog.set_level(logging.DEBUG, "nodetell")

    async def scenario() -> None:
        service = Listener()
        async with listening(service, ca) as address:
            peer = Peer(address, TlsSettings(ca=ca.file), str(token))
            async with streaming(peer) as stream:
                await until(lambda: stream.ledger.last_acknowledged)
                assert [each.decode() for each in service.tokens] == [TOKEN]
                assert service.hellos[0].credential_bytes == len(TOKEN)
                assert service.largest < 1_000
                rewrite(token, "")  # half written: what was good stays
                await asyncio.sleep(0.2)
                assert stream.connected
                rewrite(token, "u" * 2_000)
                await until(lambda: len(service.tokens) == 2)
                assert service.tokens[1] == b"u" * 2_000
                before = stream.ledger.last_acknowledged
                stream._source.now = host_with(3)  # type: ignore[attr-defined]  # it is the test's
                stream._wake.set()
                await until(lambda: stream.ledger.last_acknowledged > before)
                assert len(service.hellos) == 1  # the stream stood
                assert service.clocks[0].acknowledged == 1  # Welcome, whatever came before it
                await asyncio.sleep(0.3)
                assert len(service.tokens) == 2  # the same one is not sent again
                assert service.early == 0

    asyncio.run(scenario())
    said = caplog.text
    assert f"{token}: is empty" in said
    assert "token_renewed" in said
    assert TOKEN[:20] not in said
    assert "u" * 20 not in said


def test_a_certificate_is_shown_and_the_next_connection_shows_the_one_that_is_there_then(
    ca: Authority, token: Path
) -> None:
    async def scenario() -> None:
        service = Listener()
        files = ca.agent("here")
        async with listening(service, ca, demand=True) as address:
            peer = Peer(address, TlsSettings(ca.file, files.certificate, files.key), str(token))
            async with streaming(peer):
                await until(lambda: service.tokens)
                assert service.shown[0]["x509_common_name"] == [b"here"]
                assert service.shown[0]["ssl_tls_version"] == [b"TLSv1.3"]
                assert await prove_path(peer) is Proof.PASSED
                files.copy_from(ca.agent("renewed"))
                assert await prove_path(peer) is Proof.PASSED
            async with streaming(peer):
                await until(lambda: len(service.shown) == 2)
                assert service.shown[1]["x509_common_name"] == [b"renewed"]

    asyncio.run(scenario())


def test_an_aggregator_that_does_not_ask_gets_no_token(ca: Authority, token: Path) -> None:
    async def scenario() -> None:
        service = Listener(asks=False)
        async with listening(service, ca) as address:
            async with streaming(Peer(address, TlsSettings(ca=ca.file), str(token))) as stream:
                await until(lambda: stream.ledger.last_acknowledged)
            assert service.tokens == []

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("UNAUTHENTICATED", "event=stream_refused {}: the aggregator does not know who this is"),
        ("PERMISSION_DENIED", "event=stream_refused {}: the aggregator says that this may not report here"),
    ],
)
def test_a_refusal_is_told_and_tried_again(
    ca: Authority, token: Path, code: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "nodetell")

    async def scenario() -> None:
        service = Listener()
        service.refuse = getattr(grpc.StatusCode, code)
        async with listening(service, ca) as address, streaming(Peer(address, TlsSettings(ca=ca.file), str(token))):
            await until(lambda: len(service.hellos) > 1)  # it comes again by itself

    asyncio.run(scenario())
    (line,) = [record.getMessage() for record in caplog.records if "the test says no" in record.getMessage()]
    event, meaning = said.split(" {}: ")
    assert f"{event} " in line
    assert f"{meaning}: the test says no" in line


def log_of(peer: Peer, caplog: pytest.LogCaptureFixture) -> str:
    """What an agent says that can't connect to it."""
    caplog.set_level(logging.WARNING, "nodetell")

    async def scenario() -> None:
        async with streaming(peer):
            await until(lambda: caplog.records)

    asyncio.run(scenario())
    return str(caplog.records[0].getMessage())


def test_an_aggregator_of_an_unknown_authority_or_another_name(
    ca: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(peer_of: Any) -> None:
        async with listening(Listener(), ca) as address, streaming(peer_of(address)):
            await until(lambda: caplog.records)

    caplog.set_level(logging.WARNING, "nodetell")
    other = Authority(tmp_path, "other")
    asyncio.run(scenario(lambda address: Peer(address, TlsSettings(ca=other.file))))
    assert "its certificate is of no authority in our file of them" in caplog.text
    caplog.clear()
    asyncio.run(scenario(lambda address: Peer(address, TlsSettings(ca=ca.file, server_name="elsewhere"))))
    assert "its certificate is not for this name" in caplog.text
    caplog.clear()
    asyncio.run(scenario(lambda address: Peer(address, None)))
    assert "it closed the connection at once, as one does that wants TLS" in caplog.text


def test_the_certificate_of_an_agent_does_not_pass_for_the_aggregators(
    ca: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    """Not even where its node is called as the aggregator's host: gRPC takes a common name for want of others."""

    async def scenario() -> None:
        async with listening(Listener(), ca, own=ca.agent("localhost")) as address:
            there = "localhost:" + address.rpartition(":")[2]
            async with streaming(Peer(there, TlsSettings(ca=ca.file))):
                await until(lambda: caplog.records)

    caplog.set_level(logging.WARNING, "nodetell")
    asyncio.run(scenario())
    assert "its certificate is not one for a server" in caplog.text


def test_a_server_that_does_not_ask_for_a_certificate_of_ours_is_no_reason_to_fail(ca: Authority) -> None:
    async def scenario() -> None:
        service, files = Listener(), ca.agent("here")
        tls = TlsSettings(ca.file, files.certificate, files.key)
        async with listening(service, ca) as address, streaming(Peer(address, tls)) as stream:
            await until(lambda: stream.connected)

    asyncio.run(scenario())


def test_a_server_name_other_than_the_address(ca: Authority) -> None:
    async def scenario() -> None:
        service = Listener()
        async with listening(service, ca) as address:
            there = "localhost:" + address.rpartition(":")[2]
            async with streaming(Peer(there, TlsSettings(ca=ca.file, server_name="127.0.0.1"))) as stream:
                await until(lambda: stream.connected)

    asyncio.run(scenario())


def test_credentials_that_cannot_be_used_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    missing = str(tmp_path / "missing.crt")
    said = log_of(Peer("127.0.0.1:1", TlsSettings(ca=missing)), caplog)
    assert "event=stream_refused" in said
    assert f"{missing}: no such file or directory" in said


def test_a_disk_that_hangs_holds_nothing_up(ca: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that does not come is waited for a moment; what was read of it before is used."""
    monkeypatch.setattr(credentials_module, "READ_S", 0.1)
    pipe = tmp_path / "token"
    pipe.write_text("first")

    async def scenario() -> None:
        peer = Peer("127.0.0.1:1", TlsSettings(ca=ca.file), str(pipe))
        assert await peer.token() == b"first"
        pipe.unlink()
        os.mkfifo(pipe)  # opening it hangs until somebody writes
        for _ in range(3):
            assert await peer.token() == b"first"
        descriptor = os.open(pipe, os.O_RDWR)
        os.write(descriptor, b"second")
        os.close(descriptor)
        pipe.unlink()
        pipe.write_text("third")
        for _ in range(50):
            if await peer.token() == b"third":
                return
        pytest.fail("what is there again is not read")

    asyncio.run(scenario())


def test_no_token_of_a_damaged_file_is_quoted(tmp_path: Path) -> None:
    file = tmp_path / "token"
    for raw, said in (
        (b"sec ret", "is no token"),
        (b"\xff\xfe", "is no token"),
        (b" \n", "is empty"),
        (b"x" * 16_385, "longer"),
    ):
        file.write_bytes(raw)
        with pytest.raises(PemError) as caught:
            read_token(str(file))
        assert str(caught.value).startswith(f"{file}: {said}")
        assert "ret" not in str(caught.value)
    assert read_token("") == b""
