"""All agents come back at once, and the aggregator lets them in as it can. Real sockets; the long form is a target."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator

import grpc.aio
import pytest
from nodetell.v1 import agent_pb2, agent_pb2_grpc

from agent import stream as stream_module
from agent.connection import Peer, Proof
from agent.settings import StreamSettings
from agent.stream import Identity, Stream
from aggregator.findings import FindingBook
from aggregator.fleet import Fleet
from aggregator.ingest import AgentService, server_options
from aggregator.limits import PeerLimits
from aggregator.pacing import Paces
from aggregator.settings import PathMtuSettings
from aggregator.store import Store
from aggregator.trust.standing import Anybody
from tests.wire import Source, host_with, until

AGENTS = 200
AT_MOST = PeerLimits(arrivals_at_once=4, arrivals_waiting=20)
SETTINGS = StreamSettings(
    batch_interval_s=2.0, heartbeat_interval_s=1.0, ack_timeout_s=10.0, reconnect_min_s=0.1, reconnect_max_s=2.0
)


async def unproven(_peer: Peer) -> Proof:
    return Proof.UNTOLD


class Watched:
    """An aggregator that counts how many come at a time."""

    def __init__(self) -> None:
        self.fleet = Fleet(Store(None), FindingBook(), path_mtu=PathMtuSettings(enabled=False))
        self.service = AgentService(self.fleet, Anybody(), time.time, paces=Paces(AT_MOST))
        self.most = 0
        self.took_part: Counter[str] = Counter()
        self._take = self.fleet.take

    async def take(self, node: str, instance: bytes, number: int, update: agent_pb2.Update) -> None:
        door = self.service.admission
        self.most = max(self.most, door.taken)
        assert door.taken <= AT_MOST.arrivals_at_once
        assert door.waiting <= AT_MOST.arrivals_waiting
        self.took_part[node] += 1
        await self._take(node, instance, number, update)

    @contextlib.asynccontextmanager
    async def serving(self, address: str) -> AsyncIterator[str]:
        self.fleet.take = self.take  # type: ignore[method-assign]
        server = grpc.aio.server(options=server_options())
        agent_pb2_grpc.add_AgentServiceServicer_to_server(self.service, server)  # type: ignore[no-untyped-call]
        port = server.add_insecure_port(address)
        await server.start()
        evaluation = asyncio.create_task(self.fleet.run())
        try:
            yield f"127.0.0.1:{port}"
        finally:
            evaluation.cancel()
            await asyncio.gather(evaluation, return_exceptions=True)
            await server.stop(0)
            await self.fleet.close()

    def connected(self) -> int:
        return sum(node.connected and node.last_update > 0 for node in self.fleet.nodes.values())


@pytest.mark.timeout(120)
def test_two_hundred_agents_come_back_at_once_and_all_get_in(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_module, "PROOF_SPREAD_S", 30.0)
    delays: list[float] = []

    def uniform(low: float, high: float) -> float:
        delays.append(low)
        return random.uniform(low, high)  # noqa: S311  # no secret

    async def scenario() -> None:
        source, stop = Source(host_with(5)), asyncio.Event()
        first, second = Watched(), Watched()
        async with first.serving("127.0.0.1:0") as address:
            peer = Peer(address, None)
            streams = [
                Stream(
                    peer, SETTINGS, Identity(f"node-{number}", os.urandom(16), "test"), source, asyncio.Event(),
                    uniform=uniform, prove=unproven,
                )
                for number in range(AGENTS)
            ]  # fmt: skip
            running = [asyncio.create_task(stream.run(stop)) for stream in streams]
            await until(lambda: first.connected() == AGENTS, 50)
        source.now = host_with(5, salt=1)
        caplog.clear()
        door = second.service.admission
        held = [await door.enter(f"held-{number}") for number in range(AT_MOST.arrivals_at_once)]
        async with second.serving(address):
            await until(lambda: door.refused > 0, 30)
            for place in held:
                place.leave()
            await until(lambda: second.connected() == AGENTS, 50)
            assert all(number == 1 for number in second.took_part.values())
            assert 1 <= second.most <= AT_MOST.arrivals_at_once
            await until(lambda: door.taken == door.waiting == 0)
            assert all(not stream.ledger.owes for stream in streams if not stream.ledger.under_way)
            stop.set()
            await asyncio.gather(*running)
        assert any(low >= 1.0 for low in delays)  # they came again when they were told to

    with caplog.at_level(logging.INFO, logger="nodetell.agent"):
        asyncio.run(scenario())
    ends = [record for record in caplog.records if record.getMessage().startswith("event=stream_deferred")]
    assert all(record.levelno == logging.INFO for record in ends)
    assert not [record for record in caplog.records if "event=stream_refused" in record.getMessage()]
