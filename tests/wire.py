"""Both ends of the agent's stream for tests: a sink in memory, a server around it, a TCP proxy that fails on demand.

As a program (`python -m tests.wire ADDRESS`) it is an aggregator without diagnosis, which says on standard output what
it took in, a JSON object per line.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import grpc.aio
from nodetell.v1 import agent_pb2, agent_pb2_grpc
from nodetell.v1 import facts_pb2 as pb

from agent.reading import Block, Reading
from aggregator.clock_offset import ClockSample
from aggregator.ingest import AgentService, server_options
from aggregator.node_items import UpdateError
from aggregator.node_state import NodeState
from aggregator.trust.standing import Anybody

SMALL_PACKET = 1_300 - 20 - 20 - 12
"""TCP payload of an IP packet of 1,300 bytes with time stamps."""


@dataclass
class MemorySink:
    """Holds what it is given, refuses and dawdles on demand."""

    nodes: dict[str, NodeState] = field(default_factory=dict)
    last: dict[str, tuple[bytes, int]] = field(default_factory=dict)
    taken: list[tuple[str, int, agent_pb2.Update]] = field(default_factory=list)
    connected: list[tuple[str, bytes]] = field(default_factory=list)
    hellos: list[agent_pb2.Hello] = field(default_factory=list)
    heartbeats: int = 0
    refuse: int = 0
    """Updates to refuse from now on."""
    delay: Callable[[str], float] = lambda _node: 0.0
    fail: Exception | None = None
    samples: list[tuple[str, ClockSample]] = field(default_factory=list)
    instructions: list[agent_pb2.Instruction] = field(default_factory=list)
    """What agents are still to be told."""

    def connect(self, hello: agent_pb2.Hello, peer: str) -> bool:
        assert peer
        self.hellos.append(hello)
        self.connected.append((hello.node, hello.instance))
        return self.last.get(hello.node) == (hello.instance, hello.last_update) and hello.last_update > 0

    async def take(self, node: str, instance: bytes, number: int, update: agent_pb2.Update) -> None:
        await asyncio.sleep(self.delay(node))
        if self.fail is not None:
            raise self.fail
        if self.refuse:
            self.refuse -= 1
            raise UpdateError(f"update {number} is refused by the test")
        self.nodes.setdefault(node, NodeState(node)).apply(update)
        self.last[node] = (instance, number)
        self.taken.append((node, number, update))

    def heard(self, node: str, now_unix_ms: int) -> None:
        assert node
        assert now_unix_ms > 0
        self.heartbeats += 1

    def measured(self, node: str, sample: ClockSample) -> None:
        self.samples.append((node, sample))

    def instruction(self, node: str, instance: bytes) -> agent_pb2.Instruction | None:
        assert (node, instance) in self.connected
        return self.instructions.pop(0) if self.instructions else None

    def disconnect(self, node: str, instance: bytes) -> None:
        self.connected.remove((node, instance))

    def knows(self, node: str, reading: Reading) -> bool:
        """Exactly what is in the reading has arrived."""
        state = self.nodes.get(node)
        if state is None:
            return False
        counters = {subject: Block(block.names, tuple(block.values)) for subject, block in state.counters.items()}
        return (
            counters == reading.blocks
            and {k: v for k, v in state.items.items() if k != "coverage/stream"} == reading.items
        )


@contextlib.asynccontextmanager
async def serving(sink: MemorySink, address: str = "127.0.0.1:0", idle_timeout_s: float = 15.0) -> AsyncIterator[str]:
    """A real server around the sink; gives its address."""
    server = grpc.aio.server(options=server_options())
    service = AgentService(sink, Anybody(), time.time, idle_timeout_s=idle_timeout_s)
    agent_pb2_grpc.add_AgentServiceServicer_to_server(service, server)  # type: ignore[no-untyped-call]  # generated
    port = server.add_insecure_port(address)
    await server.start()
    try:
        yield f"{address.rpartition(':')[0]}:{port}"
    finally:
        await server.stop(0)


@dataclass
class Source:
    """A source whose reading the test sets."""

    now: Reading = field(default_factory=Reading)

    def reading(self) -> Reading:
        return Reading(dict(self.now.items), dict(self.now.blocks))


def link(ifindex: int, mtu: int = 1500, name: str = "") -> pb.Item:
    """An interface as an item."""
    return pb.Item(key=f"link/{ifindex}", link=pb.Link(ifindex=ifindex, name=name or f"veth{ifindex:04x}", mtu=mtu))


def host_with(links: int, salt: int = 0) -> Reading:
    """A host of so many interfaces with 24 counters each; another `salt` has moved all of them."""
    names = tuple(f"counter_{number}" for number in range(24))
    reading = Reading()
    for ifindex in range(1, links + 1):
        reading.add(link(ifindex))
        values = tuple(10_000 * ifindex + 7 * n + salt for n in range(24))
        reading.blocks[f"link/{ifindex}"] = Block(names, values)
    return reading


async def until(condition: Callable[[], object], timeout_s: float = 10.0) -> float:
    """Wait for a condition and give the seconds it took. Fails the test if it does not come true."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < timeout_s, f"nothing came of it within {timeout_s} s"
        await asyncio.sleep(0.005)
    return time.monotonic() - began


@dataclass
class Connection:
    """One TCP connection through the proxy, and every read from either side."""

    up: list[bytes] = field(default_factory=list)
    """From the agent."""
    down: list[bytes] = field(default_factory=list)
    """From the aggregator."""
    stalled: bool = False
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    def frames(self, data: list[bytes], preface: bool) -> list[tuple[int, int]]:
        """(type, length with the frame's own 9 bytes) of the HTTP/2 frames of one direction."""
        whole = b"".join(data)[24 if preface else 0 :]
        frames, position = [], 0
        while position + 9 <= len(whole):
            length = int.from_bytes(whole[position : position + 3], "big")
            frames.append((whole[position + 3], length + 9))
            position += 9 + length
        return frames

    def messages(self) -> list[int]:
        """Bytes on the wire of each DATA and HEADERS frame of both directions."""
        return [
            length
            for frames in (self.frames(self.up, True), self.frames(self.down, False))
            for kind, length in frames
            if kind in (0, 1)
        ]


class Proxy:
    """Forwards TCP until told otherwise. Stalled connections stay open and forward nothing, ever again.

    With `largest`, a connection stalls at the first read that is larger: a path that silently drops large packets.
    """

    def __init__(self, target: str, largest: int | None = None) -> None:
        self.target = target
        self.largest = largest
        self.connections: list[Connection] = []
        self.cut_after: int | None = None
        """Close the next connection from which so many bytes came."""
        self._tasks: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        try:
            yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self.cut()

    def stall(self) -> None:
        """Stop forwarding on all connections there are."""
        for connection in self.connections:
            connection.stalled = True

    def cut(self) -> None:
        """Close all connections there are."""
        for connection in self.connections:
            for writer in connection.writers:
                writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(writers=[writer])
        self.connections.append(connection)
        host, _, port = self.target.rpartition(":")
        try:
            far_reader, far_writer = await asyncio.open_connection(host, int(port))
        except OSError:
            writer.transport.abort()
            return
        connection.writers.append(far_writer)
        for pump in (
            self._pump(connection, reader, far_writer, connection.up),
            self._pump(connection, far_reader, writer, connection.down),
        ):
            task = asyncio.create_task(pump)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(
        self, connection: Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, log: list[bytes]
    ) -> None:
        try:
            while data := await reader.read(65_536):
                log.append(data)
                if self.largest is not None and len(data) > self.largest:
                    connection.stalled = True
                if self.cut_after is not None and log is connection.up and sum(map(len, log)) > self.cut_after:
                    self.cut_after = None
                    self.cut()
                    return
                if not connection.stalled:
                    writer.write(data)
                    await writer.drain()
            if not connection.stalled:
                writer.close()
        except (OSError, RuntimeError):
            return


async def _program(address: str) -> None:
    sink = MemorySink()
    take = sink.take

    async def told(node: str, instance: bytes, number: int, update: agent_pb2.Update) -> None:
        await take(node, instance, number, update)
        state = sink.nodes[node]
        coverage = {key: item.coverage.because for key, item in state.items.items() if key.startswith("coverage/")}
        line = {
            "at": time.time(),
            "node": node,
            "number": number,
            "full": update.full,
            "items": len(state.items),
            "links": len(state.links()),
            "mtus": sorted({each.mtu for each in state.links().values()}),
            "coverage": coverage,
            "coalesced": update.coalesced_updates,
        }
        print(json.dumps(line), flush=True)  # noqa: T201  # its output

    sink.take = told  # type: ignore[method-assign]
    async with serving(sink, address) as bound:
        print(json.dumps({"listening": bound}), flush=True)  # noqa: T201
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_program(sys.argv[1]))
