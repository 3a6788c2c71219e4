"""What the aggregator takes from agents, and what it does with those that break the rules. Over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
import zlib
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import grpc.aio
import pytest
from nodetell.limits import CHUNK_BYTES, MAX_PATH_PROOF_BYTES, MAX_UPDATE_BYTES
from nodetell.v1 import agent_pb2, agent_pb2_grpc

from agent.ledger import Ledger
from agent.pieces import pieces
from tests.wire import MemorySink, host_with, serving, until


class Client:
    """An agent of the test's own, which may say anything."""

    def __init__(self, target: str, node: str = "node-1", instance: bytes = b"i" * 16) -> None:
        self.node, self.instance, self.seq = node, instance, 0
        self.channel = grpc.aio.insecure_channel(target, options=[("grpc.use_local_subchannel_pool", 1)])
        self.call = agent_pb2_grpc.AgentServiceStub(self.channel).Connect()  # type: ignore[no-untyped-call]

    async def send(self, message: agent_pb2.AgentMessage | None = None, **body: Any) -> None:
        message = message or agent_pb2.AgentMessage(**body)
        if not message.seq:
            self.seq += 1
            message.seq = self.seq
        await self.call.write(message)

    async def hello(self, **more: Any) -> agent_pb2.Welcome:
        said = {"protocol": 1, "node": self.node, "instance": self.instance, "now_unix_ms": int(time.time() * 1000)}
        await self.send(hello=agent_pb2.Hello(**{**said, **more}))
        welcome: agent_pb2.Welcome = (await self.read()).welcome
        return welcome

    async def read(self) -> agent_pb2.AggregatorMessage:
        message = await asyncio.wait_for(self.call.read(), 5)
        assert message is not grpc.aio.EOF
        assert isinstance(message, agent_pb2.AggregatorMessage)
        return message

    async def update(self, number: int, update: agent_pb2.Update) -> agent_pb2.AggregatorMessage:
        """Send an update, each piece after the acknowledgement of the one before. The last answer."""
        answer = None
        for chunk in pieces(number, update):
            await self.send(chunk=chunk)
            answer = await self.read()
        assert answer is not None
        return answer

    async def status(self) -> tuple[str, str]:
        """How the call ends."""
        with contextlib.suppress(grpc.aio.AioRpcError):
            while await asyncio.wait_for(self.call.read(), 5) is not grpc.aio.EOF:
                pass
        return (await self.call.code()).name, await self.call.details()


def full(links: int = 3, salt: int = 0) -> agent_pb2.Update:
    update = Ledger().next(host_with(links, salt), 1_000, 0.0)
    assert update is not None
    return update[1]


def empty_delta(at: int = 2_000) -> agent_pb2.Update:
    return agent_pb2.Update(at_unix_ms=at)


@contextlib.asynccontextmanager
async def client(target: str, **more: Any) -> AsyncIterator[Client]:
    one = Client(target, **more)
    try:
        yield one
    finally:
        one.call.cancel()
        await one.channel.close()


def against(scenario: Callable[[str, MemorySink], Coroutine[Any, Any, None]], **more: Any) -> None:
    """Run a scenario against a server; when its clients are gone, so are their seats."""

    async def run() -> None:
        sink = MemorySink()
        async with serving(sink, **more) as target:
            await scenario(target, sink)
            await until(lambda: not sink.connected)

    asyncio.run(run())


# -- in order ------------------------------------------------------------------------------------------------------


def test_pieces_are_acknowledged_as_they_come_and_the_update_when_it_is_taken() -> None:
    async def scenario(target: str, sink: MemorySink) -> None:
        sink.delay = lambda _node: 0.8
        async with client(target) as one:
            welcome = await one.hello()
            assert (welcome.protocol, welcome.resume, len(welcome.instance)) == (1, False, 16)
            chunks = list(pieces(1, full(60)))
            assert len(chunks) > 2
            for chunk in chunks:
                began = time.monotonic()
                await one.send(chunk=chunk)
                assert (await one.read()).ack.seq == one.seq
                assert (time.monotonic() - began > 0.7) == chunk.last
            assert len(sink.nodes["node-1"].links()) == 60
            await one.send(heartbeat=agent_pb2.Heartbeat(now_unix_ms=5))
            assert (await one.read()).ack.seq == one.seq
            assert sink.heartbeats == 1

    against(scenario)


def test_a_later_agent_is_answered_in_our_version() -> None:
    async def scenario(target: str, _sink: MemorySink) -> None:
        async with client(target) as one:
            assert (await one.hello(protocol=7)).protocol == 1
            unknown = agent_pb2.AgentMessage.FromString(b"\x9a\x06\x02\x08\x01")  # field 99, which only it knows
            await one.send(unknown)
            assert (await one.read()).ack.seq == 2

    against(scenario)


def test_a_clock_is_measured_only_by_the_acknowledgement_that_it_follows_on() -> None:
    def reading(acknowledged: int, held_us: int = 0) -> dict[str, Any]:
        now = round((time.time() - 30) * 1e6)
        clock = agent_pb2.ClockReading(now_unix_us=now, acknowledged=acknowledged, held_us=held_us)
        return {"clock": clock, "heartbeat": agent_pb2.Heartbeat(now_unix_ms=5)}

    async def scenario(target: str, sink: MemorySink) -> None:
        async with client(target) as one:
            await one.hello()
            for nonsense in (0, 7, 1, 2**64 - 1):
                await one.send(**reading(nonsense))
                assert (await one.read()).ack.seq == one.seq
            assert not sink.samples
            await one.send(**reading(one.seq, held_us=60_000_000))  # it was not away for so long
            await one.read()
            assert not sink.samples
            await one.send(**reading(one.seq))
            await one.read()
            ((node, sample),) = sink.samples
            assert node == "node-1"
            assert abs(sample.offset_s + 30) <= sample.bound_s + 0.01
            assert sample.bound_s < 1

    against(scenario)


def test_an_older_agent_s_clock_is_not_measured() -> None:
    async def scenario(target: str, sink: MemorySink) -> None:
        async with client(target) as one:
            await one.hello()
            await one.send(heartbeat=agent_pb2.Heartbeat(now_unix_ms=5))
            assert (await one.read()).ack.seq == 2
            assert not sink.samples

    against(scenario)


def test_resume_goes_on_where_the_acknowledgement_was() -> None:
    async def scenario(target: str, _sink: MemorySink) -> None:
        async with client(target) as one:
            await one.hello()
            assert (await one.update(1, full())).HasField("ack")
        async with client(target) as one:
            assert (await one.hello(last_update=1)).resume
            assert (await one.update(2, empty_delta())).HasField("ack")
        async with client(target, instance=b"j" * 16) as one:
            assert not (await one.hello(last_update=2)).resume
            answer = await one.update(3, empty_delta())
            assert "what was before is not known here" in answer.instruction.resync.reason

    against(scenario)


def test_slow_evaluation_delays_only_its_own_node() -> None:
    async def scenario(target: str, sink: MemorySink) -> None:
        sink.delay = lambda node: 2.0 if node == "slow" else 0.0
        async with client(target, node="slow") as slow, client(target, node="quick") as quick:
            await slow.hello()
            await quick.hello()
            (chunk,) = pieces(1, full(1))
            await slow.send(chunk=chunk)
            began = time.monotonic()
            for number in range(1, 20):
                await quick.update(number, full(1) if number == 1 else empty_delta(number))
            assert time.monotonic() - began < 1
            assert (await slow.read()).ack.seq == 2

    against(scenario)


# -- one stream per node -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("instance", [b"i" * 16, b"j" * 16])
def test_the_newest_hello_wins(instance: bytes) -> None:
    async def scenario(target: str, sink: MemorySink) -> None:
        async with client(target) as old, client(target, instance=instance) as new:
            await old.hello()
            await new.hello()
            code, details = await old.status()
            assert code == "ABORTED"
            assert details.startswith("a newer stream of node node-1 was opened by ipv4:127.0.0.1:")
            assert sink.connected == [("node-1", instance)]
            assert (await new.update(1, full())).HasField("ack")
            assert sink.connected == [("node-1", instance)]

    against(scenario)


def test_an_update_being_taken_is_finished_before_the_next_stream_begins() -> None:
    async def scenario(target: str, sink: MemorySink) -> None:
        sink.delay = lambda _node: 0.5
        async with client(target) as old, client(target) as middle, client(target) as new:
            await old.hello()
            (chunk,) = pieces(1, full(1))
            await old.send(chunk=chunk)
            await asyncio.sleep(0.1)
            waiting = asyncio.create_task(middle.hello())
            await asyncio.sleep(0.1)
            assert (await new.hello(last_update=1)).resume  # so the first update had been taken when this one was heard
            with pytest.raises(grpc.aio.AioRpcError, match="a newer stream of node node-1"):
                await waiting
            assert len(sink.connected) == 1

    against(scenario)


def test_an_agent_that_goes_while_its_update_is_taken_loses_nothing() -> None:
    async def scenario(target: str, sink: MemorySink) -> None:
        sink.delay = lambda _node: 0.3
        async with client(target) as one:
            await one.hello()
            (chunk,) = pieces(1, full(1))
            await one.send(chunk=chunk)
            await asyncio.sleep(0.1)
        await until(lambda: sink.taken)

    against(scenario)


# -- those that break the rules ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "code", "because"),
    [
        ({"protocol": 0}, "FAILED_PRECONDITION", "protocol 0"),
        ({"node": ""}, "INVALID_ARGUMENT", "no node name"),
        ({"node": "Node_1"}, "INVALID_ARGUMENT", "\"'Node_1'\" is no node name"),
        ({"node": "a\nlevel=error"}, "INVALID_ARGUMENT", "a\\nlevel=error"),
        ({"node": "é"}, "INVALID_ARGUMENT", "no node name"),
        ({"node": "n" * 254}, "INVALID_ARGUMENT", "254 characters"),
        ({"instance": b"short"}, "INVALID_ARGUMENT", "an instance id of 5 bytes"),
    ],
)
def test_a_hello_that_cannot_be_believed(more: dict[str, Any], code: str, because: str) -> None:
    async def scenario(target: str, sink: MemorySink) -> None:
        async with client(target) as one:
            with pytest.raises(grpc.aio.AioRpcError):
                await one.hello(**more)
            status = await one.status()
            assert status[0] == code
            assert because in status[1]
        assert not sink.hellos

    against(scenario)


@pytest.mark.parametrize(
    ("messages", "because"),
    [
        ([agent_pb2.AgentMessage(seq=3, heartbeat=agent_pb2.Heartbeat(now_unix_ms=1))], "message 3 after message 1"),
        ([agent_pb2.AgentMessage(seq=1, heartbeat=agent_pb2.Heartbeat(now_unix_ms=1))], "message 1 after message 1"),
        ([agent_pb2.AgentMessage(hello=agent_pb2.Hello(protocol=1, node="a"))], "a second Hello"),
        (
            [agent_pb2.AgentMessage(chunk=agent_pb2.Chunk(update=1, data=b"x", total_bytes=MAX_UPDATE_BYTES + 1))],
            "4,194,305 bytes announced",
        ),
        ([agent_pb2.AgentMessage(chunk=agent_pb2.Chunk(update=1, data=b"x"))], "0 bytes announced"),
        ([agent_pb2.AgentMessage(chunk=agent_pb2.Chunk(data=b"x", total_bytes=1))], "without the number"),
        ([agent_pb2.AgentMessage(chunk=agent_pb2.Chunk(update=1, data=b"xy", total_bytes=1))], "more than the 1 bytes"),
        (
            [agent_pb2.AgentMessage(chunk=agent_pb2.Chunk(update=1, data=b"x", total_bytes=2, last=True))],
            "1 of 2 announced bytes, and this is the last piece",
        ),
        (
            [
                agent_pb2.AgentMessage(chunk=agent_pb2.Chunk(update=1, data=b"x", total_bytes=9)),
                agent_pb2.AgentMessage(chunk=agent_pb2.Chunk(update=2, data=b"y")),
            ],
            "a piece of update 2 within update 1",
        ),
        (
            [
                agent_pb2.AgentMessage(chunk=agent_pb2.Chunk(update=1, data=b"x", total_bytes=9)),
                agent_pb2.AgentMessage(chunk=agent_pb2.Chunk(update=1)),
            ],
            "an empty piece",
        ),
        (
            [
                agent_pb2.AgentMessage(
                    chunk=agent_pb2.Chunk(update=1, data=b"x", total_bytes=1, last=True, encoding=9)  # type: ignore[arg-type]
                )
            ],
            "encoding 9",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_does_not_fit_ends_the_stream(messages: list[agent_pb2.AgentMessage], because: str) -> None:
    async def scenario(target: str, sink: MemorySink) -> None:
        async with client(target) as one:
            await one.hello()
            for message in messages:
                await one.send(agent_pb2.AgentMessage.FromString(message.SerializeToString()))
            code, details = await one.status()
            assert code == "INVALID_ARGUMENT"
            assert because in details
            assert not sink.taken

    against(scenario)


def test_a_replayed_update_ends_the_stream_and_changes_nothing() -> None:
    async def scenario(target: str, sink: MemorySink) -> None:
        async with client(target) as one:
            await one.hello()
            await one.update(1, full(3))
            await one.update(2, empty_delta())
            for chunk in pieces(1, full(2)):
                await one.send(chunk=chunk)
            assert await one.status() == ("INVALID_ARGUMENT", "update 1 after update 2: numbers must rise")
            assert len(sink.nodes["node-1"].links()) == 3
            assert len(sink.taken) == 2

    against(scenario)


def test_a_decompression_bomb_is_not_unpacked() -> None:
    async def scenario(target: str, _sink: MemorySink) -> None:
        bomb = zlib.compress(bytes(MAX_UPDATE_BYTES + 1), 9)
        async with client(target) as one:
            await one.hello()
            for begin in range(0, len(bomb), CHUNK_BYTES):
                chunk = agent_pb2.Chunk(update=1, data=bomb[begin : begin + CHUNK_BYTES])
                chunk.last = begin + CHUNK_BYTES >= len(bomb)
                if not begin:
                    chunk.total_bytes, chunk.encoding = len(bomb), agent_pb2.ENCODING_ZLIB
                await one.send(chunk=chunk)
            code, details = await one.status()
            assert (code, "when decompressed" in details) == ("INVALID_ARGUMENT", True)

    against(scenario)


def damaged(kind: str) -> agent_pb2.Chunk:
    plain = full(1).SerializeToString()
    packed = zlib.compress(plain)
    data, encoding = {
        "not zlib": (b"\x00" * 50, agent_pb2.ENCODING_ZLIB),
        "cut short": (packed[:-5], agent_pb2.ENCODING_ZLIB),
        "more behind": (packed + b"more", agent_pb2.ENCODING_ZLIB),
        "not protobuf": (b"\xff" * 50, agent_pb2.ENCODING_PLAIN),
        "half a protobuf": (plain[: len(plain) // 2], agent_pb2.ENCODING_PLAIN),
    }[kind]
    return agent_pb2.Chunk(update=1, data=data, last=True, total_bytes=len(data), encoding=encoding)


@pytest.mark.parametrize("kind", ["not zlib", "cut short", "more behind", "not protobuf", "half a protobuf"])
def test_a_damaged_update_is_asked_for_again(kind: str) -> None:
    async def scenario(target: str, sink: MemorySink) -> None:
        async with client(target) as one:
            await one.hello()
            await one.send(chunk=damaged(kind))
            assert (await one.read()).instruction.resync.reason.startswith("update 1: ")
            assert (await one.update(2, full(4))).HasField("ack")
            assert len(sink.nodes["node-1"].links()) == 4

    against(scenario)


def test_a_gap_between_updates_is_asked_for_again() -> None:
    async def scenario(target: str, sink: MemorySink) -> None:
        async with client(target) as one:
            await one.hello()
            await one.update(1, full(3))
            answer = await one.update(3, empty_delta())
            assert answer.instruction.resync.reason == "update 3 says only what changed since 2, and 1 came last"
            answer = await one.update(4, empty_delta())
            assert answer.HasField("instruction")
            assert (await one.update(5, full(2))).HasField("ack")
            assert [number for _, number, _ in sink.taken] == [1, 5]

    against(scenario)


def test_refusals_have_an_end() -> None:
    async def scenario(target: str, sink: MemorySink) -> None:
        async with client(target) as one:
            await one.hello()
            sink.refuse = 3
            for number in range(1, 4):
                assert (await one.update(number, full())).HasField("instruction")
            assert (await one.update(4, full())).HasField("ack")  # which clears the count
            sink.refuse = 4
            for number in range(5, 8):
                assert (await one.update(number, full())).HasField("instruction")
            for chunk in pieces(8, full()):
                await one.send(chunk=chunk)
            code, details = await one.status()
            assert code == "FAILED_PRECONDITION"
            assert details.startswith("4 updates in a row were refused: ")

    against(scenario)


def test_what_cannot_be_stored_is_not_acknowledged() -> None:
    async def scenario(target: str, sink: MemorySink) -> None:
        async with client(target) as one:
            await one.hello()
            sink.fail = OSError(28, "No space left on device", "/var/lib/secret-place")
            (chunk,) = pieces(1, full(1))
            await one.send(chunk=chunk)
            code, details = await one.status()
            assert code == "UNAVAILABLE"
            assert "secret" not in details

    against(scenario)


def test_silence_ends_a_stream() -> None:
    async def scenario(target: str, sink: MemorySink) -> None:
        async with client(target) as silent, client(target, node="node-2") as alive:
            await silent.hello()
            await alive.hello()
            for _ in range(6):
                await asyncio.sleep(0.1)
                await alive.send(heartbeat=agent_pb2.Heartbeat(now_unix_ms=1))
                await alive.read()
            assert await silent.status() == ("DEADLINE_EXCEEDED", "nothing was heard for 0.4 s")
            assert [node for node, _ in sink.connected] == ["node-2"]

    against(scenario, idle_timeout_s=0.4)


def test_a_message_larger_than_any_of_ours_is_refused() -> None:
    async def scenario(target: str, sink: MemorySink) -> None:
        async with client(target) as one:
            await one.hello()
            await one.send(chunk=agent_pb2.Chunk(update=1, data=bytes(70_000), total_bytes=70_000, last=True))
            assert (await one.status())[0] == "RESOURCE_EXHAUSTED"
            assert not sink.taken

    against(scenario)


# -- path proofs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "passes"), [(0, False), (1, True), (MAX_PATH_PROOF_BYTES, True), (16_385, False)])
def test_path_proofs_come_back_as_they_were(size: int, passes: bool) -> None:
    async def scenario(target: str, _sink: MemorySink) -> None:
        padding = os.urandom(size)
        async with client(target, node="unused") as one:
            stub = agent_pb2_grpc.AgentServiceStub(one.channel)  # type: ignore[no-untyped-call]
            if passes:
                assert (await stub.ProvePath(agent_pb2.PathProof(padding=padding))).padding == padding
            else:
                with pytest.raises(grpc.aio.AioRpcError, match="1 to 16,384 are allowed"):
                    await stub.ProvePath(agent_pb2.PathProof(padding=padding))

    against(scenario)
