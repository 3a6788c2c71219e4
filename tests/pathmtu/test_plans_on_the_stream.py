"""Plans travel from the fleet to the agents, in small parts, also across a path that swallows large packets."""

from __future__ import annotations

import asyncio
import os

from nodetell.v1 import agent_pb2
from nodetell.v1 import facts_pb2 as pb

from agent.connection import Peer, Proof
from agent.pathmtu.plan import Assembly, Plan
from agent.settings import StreamSettings
from agent.stream import Identity, Stream
from aggregator import probing
from aggregator.findings import FindingBook
from aggregator.fleet import Fleet
from aggregator.settings import FleetSettings, PathMtuSettings
from aggregator.store import Store
from tests.wire import SMALL_PACKET, MemorySink, Proxy, Source, host_with, serving, until

QUICK = StreamSettings(batch_interval_s=0.2, heartbeat_interval_s=0.2, ack_timeout_s=5)


async def _no_proof(_peer: Peer) -> Proof:
    return Proof.STALLED


def large_plan() -> list[agent_pb2.ProbePlan]:
    key = agent_pb2.ProbeGrant(id=b"i" * 8, key=b"k" * 16)
    targets = tuple(
        agent_pb2.ProbeTarget(peer=f"node-{n}", via="underlay", address=f"10.0.0.{n}", port=7446, key=key)
        for n in range(1, 100)
    )
    return probing.parts(probing.Assignment(targets, (key,) * 100), 1, 60)


def test_a_plan_of_many_parts_crosses_a_black_hole() -> None:
    async def scenario() -> None:
        parts = large_plan()
        assert len(parts) > 10
        sink = MemorySink(instructions=[agent_pb2.Instruction(probe_plan=part) for part in parts])
        assembly = Assembly()
        plans: list[Plan] = []

        def take(part: agent_pb2.ProbePlan) -> None:
            if (plan := assembly.take(part)) is not None:
                plans.append(plan)

        async with serving(sink) as server:
            proxy = Proxy(server, largest=SMALL_PACKET)
            async with proxy.running() as target:
                stop = asyncio.Event()
                stream = Stream(
                    Peer(target, None),
                    QUICK,
                    Identity("a", os.urandom(16), "1"),
                    Source(host_with(40)),
                    asyncio.Event(),
                    prove=_no_proof,
                    take_plan=take,
                )
                work = asyncio.create_task(stream.run(stop))
                await until(lambda: plans, 20)
                stop.set()
                await work
                (connection,) = proxy.connections  # it never stalled
                assert max(map(len, connection.down)) <= SMALL_PACKET
        (plan,) = plans
        assert len(plan.targets) == 99

    asyncio.run(scenario())


def test_the_fleet_tells_those_that_are_heard() -> None:
    async def scenario() -> None:
        clock = [1_800_000_000.0]
        store = Store(None)
        store.open()
        fleet = Fleet(
            store,
            FindingBook(),
            settings=FleetSettings(silent_after_s=15),
            path_mtu=PathMtuSettings(interval_s=30),
            clock=lambda: clock[0],
            monotonic=lambda: clock[0],
        )
        for number in (1, 2):
            fleet.connect(agent_pb2.Hello(node=f"n{number}", instance=bytes([number]) * 16), "peer")
            update = agent_pb2.Update(at_unix_ms=round(clock[0] * 1000), full=True)
            endpoint = pb.ProbeEndpoint(
                port=7446, addresses=[pb.ProbeAddress(address=f"10.0.0.{number}", via="underlay")]
            )
            update.items.append(pb.Item(key="probe_endpoint", probe_endpoint=endpoint))
            taking = asyncio.create_task(fleet.take(f"n{number}", bytes([number]) * 16, 1, update))
            await asyncio.sleep(0)
            clock[0] += 3
            fleet.evaluate()
            await taking
        told = fleet.instruction("n1", b"\x01" * 16)
        assert told is not None
        (target,) = told.probe_plan.targets
        assert (target.peer, target.address, told.probe_plan.interval_ms) == ("n2", "10.0.0.2", 30_000)
        assert fleet.instruction("n1", b"\x01" * 16) is None
        assert fleet.instruction("n1", b"\x09" * 16) is None

        clock[0] += 10
        fleet.heard("n1", round(clock[0] * 1000))
        clock[0] += 6  # n2 has been silent for more than 15 s
        fleet.evaluate()
        told = fleet.instruction("n1", b"\x01" * 16)
        assert told is not None
        assert not told.probe_plan.targets
        store.close()

    asyncio.run(scenario())


def test_a_fleet_that_is_told_not_to_arranges_nothing() -> None:
    async def scenario() -> None:
        store = Store(None)
        store.open()
        fleet = Fleet(store, FindingBook(), path_mtu=PathMtuSettings(enabled=False))
        fleet.connect(agent_pb2.Hello(node="n1", instance=b"i" * 16), "peer")
        fleet.evaluate()
        assert fleet.instruction("n1", b"i" * 16) is None
        store.close()

    asyncio.run(scenario())
