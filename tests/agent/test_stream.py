"""The stream over real sockets: what it delivers, and what it does when the path or the aggregator fails it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nodetell.limits import MAX_MESSAGE_BYTES, PROVEN_WINDOW_BYTES
from nodetell.v1 import agent_pb2, agent_pb2_grpc
from nodetell.v1 import facts_pb2 as pb

from agent import ledger as ledger_module
from agent import stream as stream_module
from agent.connection import Peer, Proof, prove_path
from agent.reading import Block, Reading
from agent.settings import StreamSettings
from agent.stream import Identity, Stream
from tests.wire import SMALL_PACKET, MemorySink, Proxy, Source, host_with, link, serving, until

ROOT = Path(__file__).resolve().parents[2]
FAST = StreamSettings(
    batch_interval_s=0.2, heartbeat_interval_s=0.2, ack_timeout_s=0.8, reconnect_min_s=0.05, reconnect_max_s=0.2
)
NODE = "node-1"


@pytest.fixture(autouse=True)
def _proof_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "PROOF_SPREAD_S", 0.05)


async def proof_passes(_peer: Peer) -> Proof:
    return Proof.PASSED


async def proof_stalls(_peer: Peer) -> Proof:
    return Proof.STALLED


async def proof_cannot_be_asked(_peer: Peer) -> Proof:
    return Proof.UNTOLD


def new_stream(target: str, source: Source, settings: StreamSettings = FAST, **more: Any) -> Stream:
    return Stream(Peer(target, None), settings, Identity(NODE, os.urandom(16), "test"), source, asyncio.Event(), **more)


@contextlib.asynccontextmanager
async def running(stream: Stream) -> AsyncIterator[Stream]:
    """The stream at work. Stopping it must not take long, whatever state it is in."""
    stop = asyncio.Event()
    task = asyncio.create_task(stream.run(stop))
    try:
        yield stream
    finally:
        stop.set()
        began = time.monotonic()
        await task
        assert time.monotonic() - began < 1.5


def full_updates(sink: MemorySink) -> list[int]:
    return [number for _, number, update in sink.taken if update.full]


# -- what it delivers ----------------------------------------------------------------------------------------------


def test_everything_first_and_then_only_what_changed() -> None:
    async def scenario() -> None:
        sink, source = MemorySink(), Source(host_with(20))
        async with serving(sink) as target, running(new_stream(target, source)) as stream:
            await until(lambda: sink.knows(NODE, source.now))
            source.now = Reading({**source.now.items, "link/3": link(3, 9000)}, host_with(20, salt=5).blocks)
            await until(lambda: sink.knows(NODE, source.now))
            del source.now.items["link/7"], source.now.blocks["link/7"]
            await until(lambda: sink.knows(NODE, source.now))
            assert full_updates(sink) == [1]
            second = sink.taken[1][2]
            assert [item.key for item in second.items] == ["link/3"]
            assert not second.blocks
            assert len(second.samples) == 1
            await until(lambda: stream.ledger.last_acknowledged == sink.taken[-1][1])
            assert (stream.ledger.coalesced_updates, stream.ledger.dropped_samples) == (0, 0)
        await until(lambda: not sink.connected)

    asyncio.run(scenario())


def test_news_does_not_wait_for_the_batch() -> None:
    async def scenario() -> None:
        sink, source = MemorySink(), Source(host_with(3))
        slow = StreamSettings(batch_interval_s=60)
        async with serving(sink) as target:
            stream = new_stream(target, source, slow)
            async with running(stream):
                await until(lambda: sink.knows(NODE, source.now))
                for mtu in range(1400, 1440):
                    source.now = Reading({**source.now.items, "link/1": link(1, mtu)}, source.now.blocks)
                    stream._wake.set()
                    await asyncio.sleep(0.02)
                took = await until(lambda: sink.knows(NODE, source.now))
                assert took < 1
                assert 3 <= len(sink.taken) <= 8  # 40 changes in 0.8 s, told at most every 200 ms

    asyncio.run(scenario())


def test_a_quiet_host_sends_heartbeats_and_nothing_else() -> None:
    async def scenario() -> None:
        sink, source = MemorySink(), Source(host_with(3))
        async with serving(sink) as target, running(new_stream(target, source)):
            await until(lambda: sink.heartbeats >= 3)
            assert len(sink.taken) == 1

    asyncio.run(scenario())


def test_pace_is_kept_within_bounds() -> None:
    async def scenario() -> None:
        async with scripted(["welcome", "pace 0", "pace 300001", "pace 250"]) as (target, _):
            stream = new_stream(target, Source(), StreamSettings(batch_interval_s=30))
            async with running(stream):
                await until(lambda: stream._batch_interval_s == 0.25)

    asyncio.run(scenario())


@pytest.mark.parametrize("ahead_s", [0.0, -47.9, 3600.0])
def test_the_host_s_clock_is_measured_beside_what_is_sent_anyway(
    monkeypatch: pytest.MonkeyPatch, ahead_s: float
) -> None:
    monkeypatch.setattr(stream_module, "CLOCK_INTERVAL_S", 0.5)

    async def scenario() -> None:
        sink, source = MemorySink(), Source(host_with(40))
        async with serving(sink) as server:
            proxy = Proxy(server)
            async with proxy.running() as target:
                stream = new_stream(target, source, wall=lambda: time.time() + ahead_s, prove=proof_passes)
                async with running(stream):
                    await until(lambda: len(sink.samples) >= 3)
                    for salt in range(1, 6):
                        source.now = host_with(40, salt)
                        await until(lambda: sink.knows(NODE, source.now))
        assert 3 <= len(sink.samples) < sink.heartbeats + len(sink.taken)
        for node, sample in sink.samples:
            assert node == NODE
            assert abs(sample.offset_s - ahead_s) <= sample.bound_s + 0.001
            assert sample.bound_s < 0.5
        assert min(sample.bound_s for _, sample in sink.samples) < 0.05

    asyncio.run(scenario())


def test_an_older_aggregator_is_told_and_does_not_mind() -> None:
    async def scenario() -> None:
        async with scripted(["welcome", "ack 2"]) as (target, heard), running(new_stream(target, Source(host_with(1)))):
            await until(lambda: len(heard) >= 3)
            hello, first, *rest = heard
            assert not hello.HasField("clock")
            assert first.clock.acknowledged == 1
            assert abs(first.clock.now_unix_us / 1e6 - time.time()) < 5
            assert first.clock.held_us < 5_000_000
            assert not any(message.HasField("clock") for message in rest)

    asyncio.run(scenario())


# -- small messages, one at a time ---------------------------------------------------------------------------------

keys = st.text(min_size=1, max_size=60)
values = st.integers(min_value=0, max_value=2**64 - 1)
blocks = st.lists(values, min_size=1, max_size=40).map(
    lambda row: Block(tuple(f"name_{index}" for index in range(len(row))), tuple(row))
)
readings = st.builds(
    lambda links, counters: Reading(
        {
            f"link/{name}": pb.Item(key=f"link/{name}", link=pb.Link(name=name, mtu=mtu, addresses=[name] * (mtu % 50)))
            for name, mtu in links.items()
        },
        counters,
    ),
    st.dictionaries(keys, st.integers(min_value=0, max_value=2**32 - 1), max_size=40),
    st.dictionaries(keys, blocks, max_size=30),
)


@settings(max_examples=12)
@given(st.lists(readings, min_size=1, max_size=4), st.text("abc", min_size=1, max_size=253), st.booleans())
def test_no_message_is_longer_than_the_limit(states: list[Reading], node: str, proven: bool) -> None:
    async def scenario() -> None:
        sink, source = MemorySink(), Source()
        prove = proof_passes if proven else proof_cannot_be_asked
        async with serving(sink) as server:
            proxy = Proxy(server)
            async with proxy.running() as target:
                stream = Stream(
                    Peer(target, None),
                    FAST,
                    Identity(node, os.urandom(16), "1" * 40),
                    source,
                    asyncio.Event(),
                    prove=prove,
                )
                async with running(stream):
                    for state in states:
                        source.now = state
                        stream._wake.set()
                        await until(lambda: sink.knows(node, source.now))
                (connection,) = proxy.connections
                sizes = connection.messages()
                assert len(sizes) > 4
                assert max(sizes) <= MAX_MESSAGE_BYTES
                if not proven:
                    assert max(map(len, connection.up)) <= SMALL_PACKET

    asyncio.run(scenario())


@contextlib.asynccontextmanager
async def scripted(script: list[str]) -> AsyncIterator[tuple[str, list[agent_pb2.AgentMessage]]]:
    """A server that says what the script has, and then only listens. Gives its address and what it heard."""
    heard: list[agent_pb2.AgentMessage] = []

    class Service(agent_pb2_grpc.AgentServiceServicer):
        async def Connect(self, _: object, context: Any) -> None:  # noqa: N802
            for line in script:
                word, _space, rest = line.partition(" ")
                message = agent_pb2.AggregatorMessage()
                if word == "read":
                    await context.read()
                    continue
                if word == "welcome":
                    message.welcome.protocol = int(rest or 1)
                elif word == "pace":
                    message.instruction.pace.batch_interval_ms = int(rest)
                elif word == "ack":
                    message.ack.seq = int(rest)
                elif word == "abort":
                    await context.abort(getattr(grpc.StatusCode, rest), "the test says no")
                await context.write(message)
            while (message := await context.read()) is not grpc.aio.EOF:
                heard.append(message)

    server = grpc.aio.server()
    agent_pb2_grpc.add_AgentServiceServicer_to_server(Service(), server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}", heard
    finally:
        await server.stop(0)


@pytest.mark.parametrize("proof", [proof_passes, proof_stalls])
def test_how_much_is_unacknowledged_before_and_after_the_proof(proof: Callable[[Peer], Any]) -> None:
    async def scenario() -> None:
        async with scripted(["welcome"]) as (target, heard):
            source = Source(Reading({f"link/{n}": link(n, n, os.urandom(400).hex()) for n in range(1, 200)}))
            async with running(new_stream(target, source, StreamSettings(ack_timeout_s=5), prove=proof)):
                await asyncio.sleep(0.8)
                chunks = [message for message in heard if message.WhichOneof("body") == "chunk"]
                if proof is proof_stalls:
                    assert len(chunks) == 1
                else:
                    size = sum(message.ByteSize() for message in chunks)
                    assert PROVEN_WINDOW_BYTES * 0.9 < size <= PROVEN_WINDOW_BYTES

    asyncio.run(scenario())


def test_a_path_that_drops_large_packets_is_crossed_and_told() -> None:
    async def scenario() -> None:
        sink, source = MemorySink(), Source(host_with(100))
        async with serving(sink) as server:
            proxy = Proxy(server, largest=SMALL_PACKET)
            async with proxy.running() as target:
                prove = functools.partial(prove_path, timeout_s=0.5)
                stream = new_stream(target, source, StreamSettings(batch_interval_s=0.2), prove=prove)
                async with running(stream):
                    await until(lambda: sink.knows(NODE, source.now))
                    await until(lambda: "coverage/stream" in sink.nodes[NODE].items)
                    coverage = sink.nodes[NODE].items["coverage/stream"].coverage
                    assert coverage.status == pb.COVERAGE_STATUS_DEGRADED
                    assert "full-size packets do not reach the aggregator" in coverage.because
                    assert full_updates(sink) == [1]
                    assert not stream.proven
                    # The same proxy does stop what is sent without this care.
                    assert await prove_path(Peer(target, None), 0.5) is Proof.STALLED
                    proxy.largest = None
                    assert await prove_path(Peer(target, None), 2) is Proof.PASSED

    asyncio.run(scenario())


def test_the_gap_is_withdrawn_once_the_path_is_proven(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "PROOF_RETRY_S", 0.2)
    answers = [Proof.UNTOLD, Proof.STALLED, Proof.STALLED, Proof.PASSED]

    async def prove(_peer: Peer) -> Proof:
        return answers.pop(0)

    async def scenario() -> None:
        sink, source = MemorySink(), Source(host_with(2))
        async with serving(sink) as target, running(new_stream(target, source, prove=prove)) as stream:
            await until(lambda: sink.taken and "coverage/stream" in sink.nodes[NODE].items)
            await until(lambda: stream.proven)
            await until(lambda: "coverage/stream" not in sink.nodes[NODE].items)

    asyncio.run(scenario())


def test_a_stall_on_a_proven_path_makes_it_careful_again() -> None:
    async def scenario() -> None:
        sink, source = MemorySink(), Source(host_with(2))
        async with serving(sink) as server:
            proxy = Proxy(server)
            async with proxy.running() as target, running(new_stream(target, source, prove=proof_passes)) as stream:
                await until(lambda: stream.proven)
                proxy.stall()
                await until(lambda: len(proxy.connections) == 2 and stream.connected)
                source.now = host_with(3)
                await until(lambda: sink.knows(NODE, source.now))
                assert not stream.proven

    asyncio.run(scenario())


# -- failures ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after_bytes", [0, 1500, 4000, 9000])
def test_disconnect_in_the_middle_of_an_update(after_bytes: int) -> None:
    async def scenario() -> None:
        sink, source = MemorySink(), Source(host_with(100))
        async with serving(sink) as server:
            proxy = Proxy(server)
            proxy.cut_after = after_bytes
            prove = proof_cannot_be_asked
            async with proxy.running() as target, running(new_stream(target, source, prove=prove)) as stream:
                await until(lambda: sink.knows(NODE, source.now))
                assert len(proxy.connections) >= 2
                assert proxy.cut_after is None
                source.now = host_with(100, salt=1)
                await until(lambda: sink.knows(NODE, source.now))
                # An update that was on its way when the connection went is one that was merged into the next.
                assert stream.ledger.coalesced_updates == (1 if after_bytes else 0)

    asyncio.run(scenario())


def test_disconnect_with_nothing_under_way_goes_on_with_deltas() -> None:
    async def scenario() -> None:
        sink, source = MemorySink(), Source(host_with(10))
        async with serving(sink) as server:
            proxy = Proxy(server)
            async with proxy.running() as target, running(new_stream(target, source)) as stream:
                await until(lambda: stream.ledger.last_acknowledged == 1)
                proxy.cut()
                await until(lambda: len(sink.hellos) == 2)
                source.now = host_with(10, salt=3)
                await until(lambda: sink.knows(NODE, source.now))
                assert full_updates(sink) == [1]
                assert sink.hellos[1].last_update == 1

    asyncio.run(scenario())


def test_half_open_connection_is_noticed_by_both_ends() -> None:
    async def scenario() -> None:
        sink, source = MemorySink(), Source(host_with(10))
        async with serving(sink, idle_timeout_s=1.0) as server:
            proxy = Proxy(server)
            async with proxy.running() as target, running(new_stream(target, source)) as stream:
                await until(lambda: sink.knows(NODE, source.now))
                proxy.stall()
                source.now = host_with(10, salt=1)
                took = await until(lambda: sink.knows(NODE, source.now))
                assert took < 4 * FAST.ack_timeout_s
                assert len(sink.connected) == 1  # the new stream took the old one's place
                assert stream.ledger.coalesced_updates >= 1
                proxy.stall()
                proxy.target = "127.0.0.1:1"  # nothing comes through any more
                await until(lambda: not stream.connected)
                await until(lambda: not sink.connected, timeout_s=3)  # by silence alone

    asyncio.run(scenario())


def test_refused_updates_are_sent_again_whole() -> None:
    async def scenario() -> None:
        sink, source = MemorySink(), Source(host_with(30))
        async with serving(sink) as target, running(new_stream(target, source)) as stream:
            await until(lambda: stream.ledger.last_acknowledged == 1)
            sink.refuse = 2
            source.now = host_with(30, salt=1)
            await until(lambda: sink.knows(NODE, source.now))
            assert full_updates(sink) == [1, 4]
            assert (stream.ledger.coalesced_updates, stream.ledger.dropped_samples) == (2, 1)
            assert len(sink.hellos) == 1

    asyncio.run(scenario())


def test_an_aggregator_that_has_forgotten_gets_everything() -> None:
    async def scenario() -> None:
        source = Source(host_with(10))
        first, second = MemorySink(), MemorySink()
        async with contextlib.AsyncExitStack() as stack:
            async with serving(first) as server:
                proxy = Proxy(server)
                target = await stack.enter_async_context(proxy.running())
                await stack.enter_async_context(running(new_stream(target, source)))
                await until(lambda: first.knows(NODE, source.now))
            async with serving(second) as proxy.target:
                source.now = host_with(10, salt=1)
                await until(lambda: second.knows(NODE, source.now))
                assert second.taken[0][2].full
                assert second.hellos[0].last_update >= 1

    asyncio.run(scenario())


def test_while_the_aggregator_is_away_changes_are_merged_and_counted_and_what_moved_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ledger_module, "PART_GAP_S", 0.1)

    async def scenario() -> None:
        sink, source = MemorySink(), Source(host_with(10))
        with socket.socket() as holder:
            holder.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{holder.getsockname()[1]}"
        stream = new_stream(address, source)
        async with running(stream):
            for salt in range(1, 6):
                known = stream.ledger.coalesced_updates
                source.now = host_with(10, salt=salt)
                await until(lambda known=known: stream.ledger.coalesced_updates == known + 1)  # type: ignore[misc]
            await asyncio.sleep(0.5)  # nothing changes: nothing is lost
            assert stream.ledger.coalesced_updates == 5
            async with serving(sink, address):
                await until(lambda: sink.knows(NODE, source.now))
                first = sink.taken[0][2]
                assert first.full
                assert not first.HasField("backlog")
                assert (first.coalesced_updates, first.dropped_samples) == (5, 0)
                await until(lambda: len(sink.taken) == 2)
                told = sink.taken[1][2]
                assert not told.full
                assert [set(sample.increments) for sample in told.backlog.samples] == [{1}] * 4
                assert sink.knows(NODE, source.now)

    asyncio.run(scenario())


@pytest.mark.parametrize("answer", ["FAILED_PRECONDITION", "INVALID_ARGUMENT", "ABORTED"])
def test_a_refusal_is_told_once_and_not_asked_again_soon(
    answer: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    delays: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        delays.append((low, high))
        return 0.05

    async def scenario() -> None:
        async with scripted([f"abort {answer}"]) as (target, _):
            stream = new_stream(target, Source(), StreamSettings(reconnect_max_s=40), uniform=uniform)
            async with running(stream):
                await until(lambda: len(delays) >= 3)

    monkeypatch.setattr(logging.getLogger("nodetell"), "propagate", True)
    with caplog.at_level(logging.WARNING, "nodetell"):
        asyncio.run(scenario())
    assert set(delays) == {(20.0, 40)}
    told = [record.getMessage() for record in caplog.records if "stream_refused" in record.getMessage()]
    assert len(told) == 1
    assert f"{answer}: the test says no" in told[0]


def test_of_an_attempt_that_was_refused_no_connection_stays() -> None:
    async def scenario() -> None:
        async with scripted(["read", "abort RESOURCE_EXHAUSTED"]) as (target, _):
            proxy = Proxy(target)
            async with proxy.running() as front:
                stream = new_stream(front, Source(), StreamSettings(), uniform=lambda *_: 60.0, prove=proof_passes)
                async with running(stream):
                    await until(lambda: proxy.connections and proxy.connections[0].down)
                    await until(proxy.connections[0].writers[-1].is_closing)

    asyncio.run(scenario())


def test_delays_grow_up_to_the_bound_and_are_random() -> None:
    bounds: list[float] = []

    def uniform(low: float, high: float) -> float:
        assert low == 0
        bounds.append(high)
        return 0.001

    async def scenario() -> None:
        limits = StreamSettings(reconnect_min_s=0.5, reconnect_max_s=30)
        async with running(new_stream("127.0.0.1:1", Source(), limits, uniform=uniform)):
            await until(lambda: len(bounds) >= 9)

    asyncio.run(scenario())
    assert bounds[:9] == [1, 2, 4, 8, 16, 30, 30, 30, 30]


@pytest.mark.parametrize("script", [["welcome 0"], ["welcome 2"], ["ack 1"], ["welcome", "ack 100"]])
def test_nonsense_from_the_aggregator_ends_the_connection(script: list[str]) -> None:
    async def scenario() -> None:
        ends: list[float] = []

        def uniform(_low: float, high: float) -> float:
            ends.append(high)
            return 0.05

        async with (
            scripted(script) as (target, _),
            running(new_stream(target, Source(), prove=proof_stalls, uniform=uniform)),
        ):
            await until(lambda: ends)

    asyncio.run(scenario())


def test_the_aggregator_is_killed_and_comes_back() -> None:
    def start(address: str) -> tuple[subprocess.Popen[str], str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.wire", address],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'proto'}"},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        return process, json.loads(process.stdout.readline())["listening"]

    async def take(process: subprocess.Popen[str]) -> dict[str, Any]:
        assert process.stdout is not None
        line: dict[str, Any] = json.loads(await asyncio.to_thread(process.stdout.readline))
        return line

    async def scenario() -> None:
        source = Source(host_with(50))
        first, address = await asyncio.to_thread(start, "127.0.0.1:0")
        second = None
        try:
            async with running(new_stream(address, source)):
                assert (await take(first))["links"] == 50
                source.now = host_with(60)
                first.kill()
                second, _ = await asyncio.to_thread(start, address)
                taken = await take(second)
                assert (taken["full"], taken["links"]) == (True, 60)
        finally:
            for process in (first, second):
                if process is not None:
                    process.kill()
                    process.communicate()

    asyncio.run(scenario())
