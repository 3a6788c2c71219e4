"""Agents that behave, and one that does not: the five ways to flood an aggregator, each as fast as it can."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
import zlib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import grpc.aio
from nodetell.limits import CHUNK_BYTES, MAX_UPDATE_BYTES
from nodetell.v1 import agent_pb2, agent_pb2_grpc
from nodetell.v1 import facts_pb2 as pb

from agent.delta import DeltaEncoder
from agent.pieces import pieces
from agent.reading import Block, Reading

_NAMES = tuple(f"counter_{number}" for number in range(24))


class Talker:
    """One stream of an agent that may say anything."""

    def __init__(self, target: str, node: str, *, timeout_s: float = 60.0) -> None:
        self.node, self.seq, self._timeout_s = node, 0, timeout_s
        self._channel = grpc.aio.insecure_channel(target, options=[("grpc.use_local_subchannel_pool", 1)])
        self.call = agent_pb2_grpc.AgentServiceStub(self._channel).Connect()  # type: ignore[no-untyped-call]

    async def hello(self) -> None:
        """Say Hello and hear Welcome."""
        now = int(time.time() * 1000)
        await self.send(hello=agent_pb2.Hello(protocol=1, node=self.node, instance=b"i" * 16, now_unix_ms=now))
        await self.read()

    async def send(self, **body: Any) -> None:
        """The next message."""
        self.seq += 1
        await self.call.write(agent_pb2.AgentMessage(seq=self.seq, **body))

    async def read(self) -> agent_pb2.AggregatorMessage:
        """What the aggregator says next, instructions to probe left out. Raises EOFError at the end."""
        while True:
            message = await asyncio.wait_for(self.call.read(), self._timeout_s)
            if message is grpc.aio.EOF:
                raise EOFError(await self.call.details())
            if message.WhichOneof("body") != "instruction" or message.instruction.HasField("resync"):
                answer: agent_pb2.AggregatorMessage = message
                return answer

    async def update(self, number: int, update: agent_pb2.Update) -> float:
        """Send an update, each piece after the acknowledgement of the one before. Seconds until the last one's."""
        began = 0.0
        for chunk in pieces(number, update):
            began = time.monotonic()
            await self.send(chunk=chunk)
            answer = await self.read()
            if answer.WhichOneof("body") != "ack":
                raise AssertionError(f"{self.node}: {answer.WhichOneof('body')} instead of an acknowledgement")
        return time.monotonic() - began

    async def close(self) -> None:
        """End it without a word."""
        self.call.cancel()
        await self._channel.close()


@contextlib.asynccontextmanager
async def talking(target: str, node: str) -> AsyncIterator[Talker]:
    """A stream that is open, and closed afterwards."""
    one = Talker(target, node)
    try:
        await one.hello()
        yield one
    finally:
        await one.close()


# -- those that behave -------------------------------------------------------------------------------------------------


def host(links: int, salt: int = 0) -> Reading:
    """A host of so many interfaces with 24 counters each; another `salt` has moved all of them."""
    reading = Reading()
    for ifindex in range(1, links + 1):
        link = pb.Link(ifindex=ifindex, name=f"veth{ifindex:04x}", mtu=1450, kind="veth", up=True)
        reading.add(pb.Item(key=f"link/{ifindex}", link=link))
        reading.blocks[f"link/{ifindex}"] = Block(_NAMES, tuple(10_000 * ifindex + 7 * n + salt for n in range(24)))
    return reading


@dataclass
class Behaved:
    """An agent that says what changed, every `interval_s`, and how long it waited for each acknowledgement."""

    target: str
    node: str
    links: int = 30
    interval_s: float = 0.5
    now: Reading = field(default_factory=Reading)
    waited_s: list[float] = field(default_factory=list)
    acknowledged: int = 0

    async def run(self, updates: int) -> None:
        """So many updates, the first one full."""
        encoder = DeltaEncoder()
        async with talking(self.target, self.node) as stream:
            for number in range(1, updates + 1):
                self.now = host(self.links, salt=number)
                at = int(time.time() * 1000)
                update = encoder.full(self.now, at) if number == 1 else encoder.delta(self.now, at)
                if update is None:
                    raise AssertionError("nothing moved")
                self.waited_s.append(await stream.update(number, update))
                self.acknowledged = number
                await asyncio.sleep(self.interval_s)


# -- the one that does not ---------------------------------------------------------------------------------------------


async def _while_reading(stream: Talker, speak: Coroutine[Any, Any, None]) -> None:
    """Speak without waiting for any answer, which are read all the same."""

    async def listen() -> None:
        while True:
            await stream.read()

    tasks = [asyncio.ensure_future(speak), asyncio.ensure_future(listen())]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _messages(target: str, node: str) -> None:
    """Full-size messages: pieces of updates that are as long as may be."""
    async with talking(target, node) as stream:

        async def speak() -> None:
            data = os.urandom(CHUNK_BYTES)
            total = MAX_UPDATE_BYTES // CHUNK_BYTES * CHUNK_BYTES
            await stream.send(chunk=agent_pb2.Chunk(update=1, data=data, total_bytes=total))
            while True:
                await stream.send(chunk=agent_pb2.Chunk(update=1, data=data))

        await _while_reading(stream, speak())


async def _tiny(target: str, node: str) -> None:
    async with talking(target, node) as stream:

        async def speak() -> None:
            while True:
                await stream.send(heartbeat=agent_pb2.Heartbeat(now_unix_ms=int(time.time() * 1000)))

        await _while_reading(stream, speak())


@cache
def largest_update(salt: int = 0) -> bytes:
    """A full update of as many bytes as may be, few when compressed: interfaces, tunnels, routes, counters."""
    update = agent_pb2.Update(at_unix_ms=int(time.time() * 1000) + salt, full=True)
    update.schemas.add(id=1, names=_NAMES)
    for number in range(1, 20_000):
        kind = number % 4
        key = f"flood/{number}"
        if kind == 0:
            route = pb.Route(destination=f"10.{number >> 8 & 255}.{number & 255}.0/24", ifindex=number + 1, mtu=1400)
            update.items.add(key=key, route=route)
        elif kind == 1:
            tunnel = pb.Tunnel(id=number, local="10.0.0.1", underlay=number % 4_000, port=4789)
            update.items.add(
                key=key, link=pb.Link(ifindex=number, name=key, kind="vxlan", mtu=1500, up=True, tunnel=tunnel)
            )
        elif kind == 2:
            volume = pb.Volume(volume_name=key, path=f"/{key}", mounted=True, errors=salt, fs_read_only=True)
            update.items.add(key=key, volume=volume)
        else:
            update.items.add(key=key, link=pb.Link(ifindex=number, name=key, kind="veth", mtu=1500, up=True))
            update.blocks.add(first_slot=24 * number, schema=1, subject=key, values=range(salt, salt + 24))
    one = pb.Item(key="flood/usage/000000", usage=pb.Usage(memory_total_bytes=1 << 60))
    for number in range((MAX_UPDATE_BYTES - update.ByteSize()) // (one.ByteSize() + 2) - 1):
        one.key = f"flood/usage/{number:06}"
        update.items.append(one)
    return update.SerializeToString()


def _cut(number: int, data: bytes) -> Iterator[agent_pb2.Chunk]:
    packed = zlib.compress(data, 1)
    for begin in range(0, len(packed), CHUNK_BYTES):
        piece = packed[begin : begin + CHUNK_BYTES]
        chunk = agent_pb2.Chunk(update=number, data=piece, last=begin + CHUNK_BYTES >= len(packed))
        if not begin:
            chunk.total_bytes, chunk.encoding = len(packed), agent_pb2.ENCODING_ZLIB
        yield chunk


async def _full_updates(target: str, node: str) -> None:
    made = [list(_cut(1, data)) for data in (largest_update(1), largest_update(2))]
    async with talking(target, node) as stream:

        async def speak() -> None:
            number = 0
            while True:
                number += 1
                for chunk in made[number % 2]:
                    piece = agent_pb2.Chunk()
                    piece.CopyFrom(chunk)
                    piece.update = number
                    await stream.send(chunk=piece)

        await _while_reading(stream, speak())


async def _resyncs(target: str, node: str) -> None:
    """Updates that do not fit, three in a row and then one that does, so that the stream goes on."""
    async with talking(target, node) as stream:

        async def speak() -> None:
            number = 0
            while True:
                number += 1
                full = number % 4 == 0
                update = agent_pb2.Update(at_unix_ms=int(time.time() * 1000), full=full)
                update.samples.extend(() if full else [pb.CounterSample(slot_gaps=[1], increments=[1])])
                for chunk in pieces(number, update):
                    await stream.send(chunk=chunk)

        await _while_reading(stream, speak())


async def _reconnects(target: str, node: str) -> None:
    while True:
        with contextlib.suppress(grpc.aio.AioRpcError, EOFError):
            async with talking(target, node):
                pass


FLOODS: dict[str, Callable[[str, str], Coroutine[Any, Any, None]]] = {
    "messages": _messages,
    "tiny messages": _tiny,
    "full updates": _full_updates,
    "resyncs": _resyncs,
    "reconnects": _reconnects,
}


async def flood(kind: str, target: str, node: str) -> None:
    """One of FLOODS, again and again until cancelled, whatever the aggregator does about it."""
    while True:
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError, EOFError, TimeoutError):
            await FLOODS[kind](target, node)
        await asyncio.sleep(0)
