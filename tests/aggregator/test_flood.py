"""One agent floods, twenty behave: what the flood gets done is bounded by its pace, and nobody else is touched.

Fairness is counted in work done, not in seconds: whatever the machine does, the aggregator takes in no more of the
flood than its pace allows for the time that has passed. `make flood` measures what the others wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine

import grpc.aio
import pytest
from nodetell.v1 import agent_pb2
from nodetell.v1 import facts_pb2 as pb

from agent.delta import DeltaEncoder
from agent.reading import Reading
from aggregator import engine, ingest
from aggregator.findings import FindingBook
from aggregator.fleet import GATHER_S, Fleet
from aggregator.ingest import add_agent_service, server_options
from aggregator.limits import PeerLimits
from aggregator.pacing import Paces, address_of
from aggregator.settings import PathMtuSettings
from aggregator.signatures.thresholds import Thresholds
from aggregator.store import Store
from aggregator.trust.standing import Anybody
from aggregator.view import ClusterView
from bench.floods import FLOODS, Behaved, Talker, flood, largest_update, talking
from tests.wire import MemorySink, until

AT_MOST = PeerLimits(
    messages_per_s=20.0,
    messages_at_once=40.0,
    updates_per_s=1.0,
    updates_at_once=8.0,
    streams_per_s=0.2,
    streams_at_once=4.0,
)
UPDATES = 6


class Watched:
    """A fleet, and what of it each node has had done."""

    def __init__(self) -> None:
        self.judged = 0
        self.fleet = Fleet(Store(None), FindingBook(), path_mtu=PathMtuSettings(enabled=False), judge=self._judge)
        self.fleet.paces = Paces(AT_MOST)
        self.taken: dict[str, int] = {}
        self.opened: dict[str, int] = {}
        take, connect = self.fleet.take, self.fleet.connect

        async def counted_take(node: str, instance: bytes, number: int, update: agent_pb2.Update) -> None:
            self.taken[node] = self.taken.get(node, 0) + 1
            await take(node, instance, number, update)

        def counted_connect(hello: agent_pb2.Hello, peer: str) -> bool:
            self.opened[hello.node] = self.opened.get(hello.node, 0) + 1
            return connect(hello, peer)

        self.fleet.take = counted_take  # type: ignore[method-assign]
        self.fleet.connect = counted_connect  # type: ignore[method-assign]

    def _judge(self, view: ClusterView, thresholds: Thresholds) -> engine.Judgement:
        self.judged += 1
        return engine.judge(view, thresholds)


def misfit() -> Reading:
    """A host whose overlay is too large for what carries it: a finding of somebody else."""
    reading = Reading()
    eth0 = pb.Link(ifindex=2, name="eth0", mtu=1400, up=True, operstate=pb.OPER_STATE_UP, hardware=True)
    eth0.addresses.append("10.0.0.11/24")
    tunnel = pb.Tunnel(id=1, local="10.0.0.11", port=8472, underlay=2, underlay_source=pb.UNDERLAY_SOURCE_LINK)
    vxlan = pb.Link(ifindex=3, name="flannel.1", kind="vxlan", mtu=1450, up=True, lower=2, tunnel=tunnel)
    route = pb.Route(destination="10.244.2.0/24", ifindex=3, gateway="10.244.2.0", table=254)
    reading.add(pb.Item(key="link/2", link=eth0))
    reading.add(pb.Item(key="link/3", link=vxlan))
    reading.add(pb.Item(key="route/254/x/3/0", route=route))
    return reading


@pytest.mark.parametrize("kind", list(FLOODS))
def test_a_flood_gets_no_more_done_than_its_pace_and_touches_nobody_else(kind: str) -> None:
    largest_update(1), largest_update(2)  # made beforehand: it would keep everybody waiting

    async def run() -> None:
        watched = Watched()
        fleet = watched.fleet
        server = grpc.aio.server(options=server_options())
        add_agent_service(server, fleet, Anybody(), time.time, fleet.paces)
        target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        evaluation = asyncio.create_task(fleet.run())
        flooding: asyncio.Task[None] | None = None
        try:
            async with talking(target, "misfit") as one:
                await one.update(1, DeltaEncoder().full(misfit(), int(time.time() * 1000)))
                (finding,) = [record for record in fleet.book.standing.values() if record.finding.nodes == ("misfit",)]
                began = time.monotonic()
                flooding = asyncio.create_task(flood(kind, target, "flooder"))
                behaved = [Behaved(target, f"node-{number}", links=5, interval_s=0.05) for number in range(20)]
                async with asyncio.TaskGroup() as group:
                    for each in behaved:
                        group.create_task(each.run(UPDATES))
                await until(lambda: fleet.summary("flooder").limits, 30)
                elapsed, judged = time.monotonic() - began, watched.judged
                assert not flooding.done()
                for each in behaved:
                    state = fleet.nodes[each.node].state
                    assert each.acknowledged == watched.taken[each.node] == UPDATES
                    assert watched.opened[each.node] == 1
                    assert dict(state.items) == each.now.items
                    assert {s: tuple(b.values) for s, b in state.counters.items()} == {
                        s: b.values for s, b in each.now.blocks.items()
                    }
                    assert not fleet.summary(each.node).limits
                still = fleet.book.standing[finding.finding.id]
                assert (still.finding.nodes, still.first_seen) == (("misfit",), finding.first_seen)
            assert watched.taken.get("flooder", 0) <= AT_MOST.updates_at_once + AT_MOST.updates_per_s * elapsed + 1
            assert watched.opened["flooder"] <= AT_MOST.streams_at_once + AT_MOST.streams_per_s * elapsed + 1
            assert judged <= elapsed / GATHER_S + 3
            reached = {each.limit for each in fleet.summary("flooder").limits if each.total}
            assert reached
            told = " ".join(gap.because for gap in fleet.gaps() if gap.node == "flooder")
            assert any(f"the aggregator's limit {limit} " in told for limit in reached), told
        finally:
            for task in filter(None, (flooding, evaluation)):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
            await server.stop(0)
            await fleet.close()

    asyncio.run(run())


def test_peers_are_told_apart_by_address_and_this_hosts_own_is_nobodys() -> None:
    assert address_of("ipv4:10.0.0.5:4711") == "10.0.0.5"
    assert address_of("ipv6:[fd00::5]:4711") == "fd00::5"
    for own in ("ipv4:127.0.0.1:4711", "ipv6:[::1]:4711", "unix:", "unix:/run/x"):
        assert address_of(own) == ""


def against(paces: Paces, scene: Callable[[str], Coroutine[None, None, None]]) -> None:
    """A real server with these paces."""

    async def run() -> None:
        server = grpc.aio.server(options=server_options())
        add_agent_service(server, MemorySink(), Anybody(), time.time, paces)
        target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        try:
            await scene(target)
        finally:
            await server.stop(0)

    asyncio.run(run())


async def refusal(target: str, node: str) -> str:
    """How the aggregator answers Hello, if not with Welcome."""
    one = Talker(target, node)
    try:
        await one.hello()
    except (grpc.aio.AioRpcError, asyncio.InvalidStateError, EOFError):
        return f"{(await one.call.code()).name}: {await one.call.details()}"
    finally:
        await one.close()
    return ""


def test_an_address_that_opens_stream_upon_stream_is_told_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "address_of", lambda _peer: "10.0.0.5")
    paces = Paces(PeerLimits(streams_per_address=3))

    async def scene(target: str) -> None:
        async with contextlib.AsyncExitStack() as stack:
            for number in range(3):
                await stack.enter_async_context(talking(target, f"node-{number}"))
            said = await refusal(target, "one-more")
            assert said.startswith("RESOURCE_EXHAUSTED: 3 streams from 10.0.0.5 are open already")
        await until(lambda: paces.reached("", time.monotonic())["streams_per_address"].total == 1)

        for attempt in range(400):  # a stream that has ended makes room
            if not await refusal(target, f"another-{attempt}"):
                return
            await asyncio.sleep(0.05)
        pytest.fail("no room is made")

    against(paces, scene)


def test_a_node_that_opens_streams_too_often_is_told_to_come_again_and_no_other_is() -> None:
    paces = Paces(PeerLimits(streams_per_s=0.001, streams_at_once=2.0))

    async def scene(target: str) -> None:
        assert [bool(await refusal(target, "a")) for _ in range(4)] == [False, False, True, True]
        assert await refusal(target, "b") == ""
        assert paces.reached("a", time.monotonic())["streams_per_s"].now == 2

    against(paces, scene)


def test_a_message_that_is_too_long_ends_its_stream_and_is_counted() -> None:
    paces = Paces()

    async def scene(target: str) -> None:
        one = Talker(target, "a")
        await one.hello()
        chunk = agent_pb2.Chunk(update=1, data=bytes(2_000), total_bytes=2_000, last=True)
        await one.send(chunk=chunk)
        with pytest.raises((grpc.aio.AioRpcError, EOFError)):
            await one.read()
        assert (await one.call.code()).name == "INVALID_ARGUMENT"
        assert "at most 1,000 are allowed" in await one.call.details()
        await one.close()
        assert paces.reached("a", time.monotonic())["message_bytes"].total == 1

    against(paces, scene)
