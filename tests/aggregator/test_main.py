"""The aggregator over real sockets: agents in, operators out, watchers of all kinds, stop and kill."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from nodetell.v1 import agent_pb2, agent_pb2_grpc, operator_pb2, operator_pb2_grpc
from nodetell.v1 import facts_pb2 as pb

from agent.pieces import pieces
from aggregator import query
from aggregator.findings import FindingBook, Kind, Record, Transition
from aggregator.fleet import Fleet
from aggregator.ingest import server_options
from aggregator.limits import OPERATOR, OperatorLimits
from aggregator.main import FAILED, REFUSED, run
from aggregator.model import Finding, Severity, Stage
from aggregator.settings import AggregatorSettings, TlsSettings
from aggregator.store import DATABASE, Store
from tests.trust import OPERATORS, Authority, Files

ROOT = Path(__file__).resolve().parents[2]
EVENT = operator_pb2.FindingEvent


def tunnel_host(underlay_mtu: int, number: int = 0) -> agent_pb2.Update:
    """A host with a VXLAN of 1450 over a network device of the given MTU."""
    update = agent_pb2.Update(at_unix_ms=round(time.time() * 1000), full=True)
    eth0 = pb.Link(ifindex=2, name="eth0", mtu=underlay_mtu, up=True, operstate=pb.OPER_STATE_UP, hardware=True)
    eth0.addresses.append("10.0.0.11/24")
    tunnel = pb.Tunnel(id=1, local="10.0.0.11", port=8472, underlay=2, underlay_source=pb.UNDERLAY_SOURCE_LINK)
    vxlan = pb.Link(ifindex=3, name="flannel.1", kind="vxlan", mtu=1450, up=True, lower=2, tunnel=tunnel)
    vxlan.addresses.append("10.244.1.0/32")
    route = pb.Route(destination=f"10.244.{number + 2}.0/24", ifindex=3, gateway="10.244.2.0", table=254)
    for key, item in (("link/2", {"link": eth0}), ("link/3", {"link": vxlan}), ("route/254/x/3/0", {"route": route})):
        update.items.append(pb.Item(key=key, **item))
    update.items.append(pb.Item(key="coverage/fsync", coverage=pb.Coverage(signal="fsync", because="off")))
    update.schemas.add(id=1, names=["rx_packets"])
    update.blocks.add(first_slot=1, schema=1, subject="link/2", values=[7])
    return update


@dataclass
class Agent:
    """The other end of one agent stream, one message at a time."""

    stream: Any
    seq: int = 0
    number: int = 0

    async def say(self, **body: Any) -> agent_pb2.AggregatorMessage:
        self.seq += 1
        await self.stream.write(agent_pb2.AgentMessage(seq=self.seq, **body))
        answer: agent_pb2.AggregatorMessage = await self.stream.read()
        return answer

    async def send(self, update: agent_pb2.Update) -> None:
        self.number += 1
        for chunk in pieces(self.number, update):
            answer = await self.say(chunk=chunk)
            assert answer.ack.seq == self.seq, answer


@asynccontextmanager
async def an_agent(address: str, node: str = "a", instance: bytes = b"i" * 16) -> AsyncIterator[Agent]:
    async with grpc.aio.insecure_channel(address) as channel:
        agent = Agent(agent_pb2_grpc.AgentServiceStub(channel).Connect())  # type: ignore[no-untyped-call]
        welcome = await agent.say(hello=agent_pb2.Hello(protocol=1, node=node, instance=instance))
        assert welcome.HasField("welcome")
        yield agent
        agent.stream.cancel()


@asynccontextmanager
async def operator(address: str) -> AsyncIterator[Any]:
    async with grpc.aio.insecure_channel(address) as channel:
        yield operator_pb2_grpc.OperatorServiceStub(channel)  # type: ignore[no-untyped-call]


def with_aggregator(script: Callable[[str], Coroutine[Any, Any, None]], directory: Path | None = None) -> None:
    """Run the script against an aggregator of this process, then stop that."""

    async def scene() -> None:
        stop, address = asyncio.Event(), asyncio.get_running_loop().create_future()
        state = "" if directory is None else str(directory)
        settings = AggregatorSettings(listen="127.0.0.1:0", insecure=True, state_directory=state, log_level="error")
        running = asyncio.create_task(run(settings, stop, lambda where, _: address.set_result(where)))
        await asyncio.wait({running, address}, return_when=asyncio.FIRST_COMPLETED)
        try:
            await asyncio.wait_for(script(address.result()), 20)
        finally:
            stop.set()
            begun = time.monotonic()
            assert await running == 0
        assert time.monotonic() - begun < 1

    asyncio.run(scene())


def test_from_an_agent_s_update_to_a_finding_and_its_end(tmp_path: Path) -> None:
    async def script(address: str) -> None:
        async with an_agent(address) as agent, operator(address) as ask:
            watch = ask.WatchFindings(operator_pb2.WatchFindingsRequest())
            assert (await watch.read()).kind == EVENT.KIND_SYNCED
            await agent.send(tunnel_host(1400))
            event = await watch.read()
            assert event.kind == EVENT.KIND_APPEARED
            assert event.finding.code == "mtu.overlay_exceeds_underlay"
            assert list(event.finding.nodes) == ["a"]
            answer = await ask.ListFindings(operator_pb2.ListFindingsRequest())
            assert [finding.id for finding in answer.findings] == [event.finding.id]
            assert ("a", "fsync") in [(entry.node, entry.coverage.signal) for entry in answer.coverage]
            await agent.send(tunnel_host(1500))
            event = await watch.read()
            assert (event.kind, event.finding.resolved_because) == (EVENT.KIND_RESOLVED, "cleared")
            assert not (await ask.ListFindings(operator_pb2.ListFindingsRequest())).findings
            resolved = await ask.ListFindings(operator_pb2.ListFindingsRequest(include_resolved=True))
            assert [finding.id for finding in resolved.findings] == [event.finding.id]
            watch.cancel()

    with_aggregator(script, tmp_path)


def test_nodes_and_their_facts() -> None:
    async def script(address: str) -> None:
        async with an_agent(address) as agent, operator(address) as ask:
            await agent.send(tunnel_host(1500))
            delta = agent_pb2.Update(at_unix_ms=round(time.time() * 1000) + 1)
            delta.samples.add(slot_gaps=[1], increments=[5])
            await agent.send(delta)
            answer = await ask.ListNodes(operator_pb2.ListNodesRequest())
            assert [(node.node, node.connected, node.links) for node in answer.nodes] == [("a", True, 2)]
            node = await ask.GetNode(operator_pb2.GetNodeRequest(node="a"))
            assert node.summary.coverage_gaps == 1
            assert {item.key for item in node.facts.items} == {"link/2", "link/3", "route/254/x/3/0", "coverage/fsync"}
            assert [(c.subject, c.name, c.increment) for c in node.changes] == [("link/2", "rx_packets", 5)]
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await ask.GetNode(operator_pb2.GetNodeRequest(node="b"))
            assert refused.value.code() == grpc.StatusCode.NOT_FOUND
            assert refused.value.details() == "no agent has reported for node 'b'"

    with_aggregator(script)


async def to_the_end(watch: Any) -> None:
    while await watch.read() is not grpc.aio.EOF:
        pass


def test_a_watcher_that_is_too_slow_is_told_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query, "OPERATOR", OperatorLimits(watch_queue=8))
    finding = Finding("f", "x", "x", Stage.RISK, Severity.INFO, "x" * 100_000, ("a",), (), "never")
    transition = Transition(Kind.CHANGED, Record(finding, "x", 1.0, 1.0), 1.0)

    async def scene() -> None:
        fleet, server = Fleet(Store(None), FindingBook()), grpc.aio.server(options=server_options())
        query.add_operator_service(server, fleet, time.time)
        address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        async with operator(address) as slow, operator(address) as quick:
            watches = [each.WatchFindings(operator_pb2.WatchFindingsRequest()) for each in (slow, quick)]
            for watch in watches:
                assert (await watch.read()).kind == EVENT.KIND_SYNCED
            for _ in range(300):  # more than gRPC and the kernel hold for a client that does not read
                fleet.listeners[0](transition)
                assert (await watches[1].read()).kind == EVENT.KIND_CHANGED
            with pytest.raises(grpc.aio.AioRpcError) as ended:
                await to_the_end(watches[0])
            assert ended.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
            watches[1].cancel()
        await server.stop(0)

    asyncio.run(scene())


def test_a_cancelled_watcher_leaves_nothing_behind() -> None:
    async def script(address: str) -> None:
        async with operator(address) as ask:
            for _ in range(OPERATOR.watches + 20):
                watch = ask.WatchFindings(operator_pb2.WatchFindingsRequest())
                assert (await watch.read()).kind == EVENT.KIND_SYNCED
                watch.cancel()

    with_aggregator(script)


def test_more_watchers_than_allowed_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query, "OPERATOR", OperatorLimits(watches=2))

    async def script(address: str) -> None:
        async with operator(address) as ask:
            watches = [ask.WatchFindings(operator_pb2.WatchFindingsRequest()) for _ in range(2)]
            for watch in watches:
                await watch.read()
            one_more = ask.WatchFindings(operator_pb2.WatchFindingsRequest())
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await one_more.read()
            assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED

    with_aggregator(script)


def test_an_agent_goes_on_after_a_disconnect_and_after_a_restart(tmp_path: Path) -> None:
    async def hello(address: str, last_update: int) -> bool:
        async with grpc.aio.insecure_channel(address) as channel:
            agent = Agent(agent_pb2_grpc.AgentServiceStub(channel).Connect())  # type: ignore[no-untyped-call]
            greeting = agent_pb2.Hello(protocol=1, node="a", instance=b"i" * 16, last_update=last_update)
            welcome = await agent.say(hello=greeting)
            return bool(welcome.welcome.resume)

    async def first(address: str) -> None:
        async with an_agent(address) as agent:
            await agent.send(tunnel_host(1400))
        assert await hello(address, 1)

    async def second(address: str) -> None:
        assert await hello(address, 1)
        async with operator(address) as ask:
            [finding] = (await ask.ListFindings(operator_pb2.ListFindingsRequest())).findings
            assert finding.code == "mtu.overlay_exceeds_underlay"

    async def third(address: str) -> None:
        assert not await hello(address, 2)  # an update that is not known here was acknowledged to it

    with_aggregator(first, tmp_path)
    with_aggregator(second, tmp_path)
    with_aggregator(third, tmp_path)
    with_aggregator(third)


def test_it_stops_at_once_with_streams_and_watches_open() -> None:
    async def scene() -> None:
        stop, address = asyncio.Event(), asyncio.get_running_loop().create_future()
        settings = AggregatorSettings(listen="127.0.0.1:0", insecure=True, state_directory="", log_level="error")
        running = asyncio.create_task(run(settings, stop, lambda where, _: address.set_result(where)))
        where = await address
        async with an_agent(where) as agent, operator(where) as ask:
            watch = ask.WatchFindings(operator_pb2.WatchFindingsRequest())
            assert (await watch.read()).kind == EVENT.KIND_SYNCED
            await agent.send(tunnel_host(1400))
            stop.set()
            begun = time.monotonic()
            assert await running == 0
            assert time.monotonic() - begun < 1

    asyncio.run(scene())


def test_a_port_that_is_taken_and_a_newer_database_are_told_with_an_exit_status(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        settings = AggregatorSettings(listen=listen, insecure=True, state_directory="")
        assert asyncio.run(run(settings, asyncio.Event())) == FAILED
    said = capfd.readouterr().err
    assert f'event=not_started listen={listen} reason="can\'t listen there: address already in use"' in said
    with closing(sqlite3.connect(tmp_path / DATABASE)) as connection:
        connection.execute("PRAGMA user_version = 7")
    settings = AggregatorSettings(listen="127.0.0.1:0", insecure=True, state_directory=str(tmp_path))
    assert asyncio.run(run(settings, asyncio.Event())) == FAILED
    assert "its schema version is 7" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"listen": "0.0.0.0:7443", "insecure": True}, "not loopback"),
        ({"listen": "example.org:7443", "insecure": True}, "not loopback"),
        ({"insecure": True, "tls": TlsSettings("a.crt", "a.key")}, "one of them"),
        ({"listen": "7443"}, 'not "host:port"'),
        ({"listen": "127.0.0.1:99999"}, 'not "host:port"'),
    ],
)
def test_an_address_that_is_not_safe_or_none_is_refused(given: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        AggregatorSettings(**given)


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "127.8.8.8:1", "[::1]:7443", "localhost:7443"])
def test_loopback_is_safe(listen: str) -> None:
    assert AggregatorSettings(listen=listen, insecure=True).listen == listen


def test_nobody_is_asked_only_by_an_explicit_word_and_that_is_said_at_every_start(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert asyncio.run(run(AggregatorSettings(listen="127.0.0.1:0", state_directory=""), asyncio.Event())) == REFUSED
    assert "event=settings_refused" in capfd.readouterr().err

    async def start_and_stop() -> None:
        stop = asyncio.Event()
        settings = AggregatorSettings(listen="127.0.0.1:0", insecure=True, state_directory="")
        assert await run(settings, stop, lambda _address, _surfaces: stop.set()) == 0

    for _ in range(2):
        asyncio.run(start_and_stop())
        warnings = [line for line in capfd.readouterr().err.splitlines() if "event=insecure" in line]
        assert len(warnings) == 1
        assert "level=warning" in warnings[0]


def test_a_whole_aggregator_takes_whom_it_knows_and_nobody_else(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    ca = Authority(tmp_path)
    own, agent, ada = ca.server(), ca.agent("a"), ca.issued("ada", OPERATORS)

    def connected(address: str, shows: Files | None) -> grpc.aio.Channel:
        pair = (Path(shows.key).read_bytes(), Path(shows.certificate).read_bytes()) if shows else (None, None)
        return grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(Path(ca.file).read_bytes(), *pair))

    async def script(address: str) -> None:
        async with connected(address, agent) as channel, connected(address, ada) as asking:
            stream = Agent(agent_pb2_grpc.AgentServiceStub(channel).Connect())  # type: ignore[no-untyped-call]
            hello = agent_pb2.Hello(protocol=1, node="a", instance=b"i" * 16)
            assert (await stream.say(hello=hello)).HasField("welcome")
            await stream.send(tunnel_host(1500))
            ask = operator_pb2_grpc.OperatorServiceStub(asking)  # type: ignore[no-untyped-call]
            nodes = await ask.ListNodes(operator_pb2.ListNodesRequest())
            assert [node.node for node in nodes.nodes] == ["a"]
            spy = operator_pb2_grpc.OperatorServiceStub(channel)  # type: ignore[no-untyped-call]
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await spy.GetNode(operator_pb2.GetNodeRequest(node="a"))
            assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
        async with connected(address, None) as channel:
            ask = operator_pb2_grpc.OperatorServiceStub(channel)  # type: ignore[no-untyped-call]
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await ask.ListNodes(operator_pb2.ListNodesRequest())
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE

    async def scene() -> None:
        stop, address = asyncio.Event(), asyncio.get_running_loop().create_future()
        tls = TlsSettings(own.certificate, own.key, ca.file)
        settings = AggregatorSettings(listen="127.0.0.1:0", state_directory="", tls=tls)
        running = asyncio.create_task(run(settings, stop, lambda where, _: address.set_result(where)))
        try:
            await script(await asyncio.wait_for(address, 20))
        finally:
            stop.set()
            assert await running == 0

    asyncio.run(scene())
    said = capfd.readouterr().err
    assert "event=insecure" not in said
    assert "event=stream_open node=a" in said
    assert "proved_by=certificate" in said
    assert "event=operator_refused" in said
    assert "PRIVATE" not in said


SERVER = """
import asyncio, sys
from pathlib import Path
sys.path[:0] = [{root!r}, {root!r} + "/proto"]
from aggregator.main import run
from aggregator.settings import AggregatorSettings, TlsSettings
settings = AggregatorSettings(listen="127.0.0.1:0", insecure=True, state_directory={state!r}, log_level="error")
asyncio.run(run(settings, asyncio.Event(), lambda address, _: print(address, flush=True)))
"""


def test_what_was_acknowledged_over_the_wire_survives_kill_9(tmp_path: Path) -> None:
    program = SERVER.format(root=str(ROOT), state=str(tmp_path))

    def start() -> tuple[subprocess.Popen[str], str]:
        process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        return process, process.stdout.readline().strip()

    async def report(address: str, node: str) -> None:
        async with an_agent(address, node) as agent:
            await agent.send(tunnel_host(1400))

    async def standing(address: str) -> set[str]:
        async with operator(address) as ask:
            answer = await ask.ListFindings(operator_pb2.ListFindingsRequest())
            return {node for finding in answer.findings for node in finding.nodes}

    acknowledged: set[str] = set()
    for life in range(4):
        process, address = start()
        try:
            assert acknowledged <= asyncio.run(standing(address))
            asyncio.run(report(address, f"n{life}"))
            acknowledged.add(f"n{life}")
        finally:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
    assert len(acknowledged) == 4
