"""Agents that speak the real protocol, each with its own truth, and that remember what was acknowledged to them."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from dataclasses import dataclass, field
from typing import Any

import grpc.aio
from nodetell.v1 import agent_pb2, agent_pb2_grpc
from nodetell.v1 import facts_pb2 as pb

from agent.delta import DeltaEncoder
from agent.pieces import pieces
from agent.reading import Block, Reading

COUNTERS = ("rx_packets", "tx_packets", "rx_dropped", "tx_dropped")
SUBJECTS = tuple(f"link/{index}" for index in range(2, 12))
GOOD, BAD = 1500, 1400
"""MTU of the network device below an overlay of 1450."""
ANSWER_S = 8.0


@dataclass(frozen=True)
class Told:
    """An update, and what is true once it is taken in."""

    instance: bytes
    number: int
    counters: dict[str, tuple[int, ...]]
    mtu: int


@dataclass
class FakeAgent:
    """One agent. `play` is its life; it connects again whenever the stream ends."""

    name: str
    chance: random.Random
    instance: bytes = b""
    number: int = 0
    seq: int = 0
    mtu: int = GOOD
    counters: dict[str, list[int]] = field(default_factory=dict)
    first: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """What was told first."""
    acknowledged: Told | None = None
    under_way: list[Told] = field(default_factory=list)
    """Sent since then, at least in part, and not acknowledged."""
    appeared: int = 0
    """Acknowledged updates that made the MTU bad."""
    resolved: int = 0
    acknowledgements: int = 0
    resumed: int = 0
    fulls: int = 0

    def __post_init__(self) -> None:
        self.counters = {subject: [1000, 1000, 0, 0] for subject in SUBJECTS}
        self._encoder = DeltaEncoder()
        self._renew()

    def _renew(self) -> None:
        """The agent's process is another one from now on."""
        self.instance, self.number = self.chance.randbytes(16), 0
        self._encoder, self._full = DeltaEncoder(), True

    async def play(self, address: str) -> None:
        """Until it is cancelled."""
        while True:
            with contextlib.suppress(grpc.aio.AioRpcError, asyncio.TimeoutError, ConnectionError, EOFError):
                async with grpc.aio.insecure_channel(address) as channel:
                    await self._stream(channel)
            self._full = True  # what became of the update under way is not known
            await asyncio.sleep(self.chance.uniform(0.01, 0.1))

    async def _stream(self, channel: grpc.aio.Channel) -> None:
        stream = agent_pb2_grpc.AgentServiceStub(channel).Connect()  # type: ignore[no-untyped-call]
        self.seq = 0
        last = self.acknowledged.number if self.acknowledged and self.acknowledged.instance == self.instance else 0
        hello = agent_pb2.Hello(protocol=1, node=self.name, instance=self.instance, last_update=last)
        hello.now_unix_ms = round(time.time() * 1000)
        welcome = (await self._say(stream, hello=hello)).welcome
        if welcome.resume:
            assert last, "resumed where nothing was acknowledged"
            self.resumed += 1
            self._full = bool(self.under_way)
        else:
            self._full = True
        for _ in range(self.chance.randrange(20, 200)):
            if self.chance.random() < 0.02:
                self._renew()
                return
            if self.chance.random() < 0.05:
                heartbeat = agent_pb2.Heartbeat(now_unix_ms=round(time.time() * 1000))
                await self._say(stream, heartbeat=heartbeat)
            await self._tell(stream)
            await asyncio.sleep(self.chance.uniform(0.0, 0.05))

    async def _say(self, stream: Any, **body: Any) -> agent_pb2.AggregatorMessage:
        self.seq += 1
        async with asyncio.timeout(ANSWER_S):
            await stream.write(agent_pb2.AgentMessage(seq=self.seq, **body))
            while True:
                answer = await stream.read()
                if answer is grpc.aio.EOF:
                    raise EOFError
                message: agent_pb2.AggregatorMessage = answer
                if message.WhichOneof("body") != "instruction" or message.instruction.HasField("resync"):
                    return message

    async def _tell(self, stream: Any) -> None:
        for values in self.counters.values():
            for index in range(len(values)):
                values[index] += self.chance.choice((0, self.chance.randrange(1, 5_000)))
        if self.chance.random() < 0.2:
            self.mtu = GOOD if self.mtu == BAD else BAD
        at_ms = round(time.time() * 1000)
        if self._full:
            update = self._encoder.full(self._reading(), at_ms)
            self.fulls += 1
        else:
            update = self._encoder.delta(self._reading(), at_ms) or agent_pb2.Update(at_unix_ms=at_ms)
        self.number += 1
        self._full = False
        counters = {subject: tuple(values) for subject, values in self.counters.items()}
        told = Told(self.instance, self.number, counters, self.mtu)
        self.under_way.append(told)
        for chunk in pieces(self.number, update):
            answer = await self._say(stream, chunk=chunk)
            assert answer.ack.seq == self.seq, answer
        before = self.acknowledged.mtu if self.acknowledged is not None else GOOD
        self.appeared += (before, told.mtu) == (GOOD, BAD)
        self.resolved += (before, told.mtu) == (BAD, GOOD)
        self.acknowledged, self.under_way = told, []
        self.acknowledgements += 1
        self.first = self.first or counters

    def _reading(self) -> Reading:
        reading = Reading()
        own = int(self.name[1:])  # an overlay of its own: findings about several nodes wait for all of them
        tunnel = pb.Tunnel(
            id=1 + own, local="10.0.0.11", port=8472, underlay=2, underlay_source=pb.UNDERLAY_SOURCE_LINK
        )
        for index, subject in enumerate(SUBJECTS, 2):
            link = pb.Link(ifindex=index, name=f"if{index}", mtu=GOOD, up=True, operstate=pb.OPER_STATE_UP)
            if index == 2:
                link.mtu, link.hardware = self.mtu, True
                link.addresses.append("10.0.0.11/24")
            elif index == 3:
                link.mtu, link.kind, link.lower, link.name = 1450, "vxlan", 2, f"vxlan{own}"
                link.tunnel.CopyFrom(tunnel)
            reading.add(pb.Item(key=subject, link=link))
            reading.blocks[subject] = Block(COUNTERS, tuple(self.counters[subject]))
        route = pb.Route(destination="10.244.2.0/24", ifindex=3, gateway="10.244.2.0", table=254)
        reading.add(pb.Item(key="route/254/10.244.2.0/24/3", route=route))
        return reading
