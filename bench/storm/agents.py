"""Many agents in one process: real streams over real connections, each with what an agent holds for its own.

As a program it takes an Orders as JSON on standard input, and then single words: "mark" (from now on note who is back),
"report" (say so, as a line of JSON), "still" (no more traffic on the hosts), nothing more (stop).
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import os
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field

from nodetell.v1 import facts_pb2 as pb

from agent.connection import Peer
from agent.ended import StreamEndedError
from agent.reading import Block, Reading
from agent.settings import StreamSettings, TlsSettings
from agent.stream import Identity, Stream

_NAMES = tuple(f"counter_{number}" for number in range(24))
_LOOK_S = 0.05
_MOVE_S = 5.0


@dataclass(frozen=True, slots=True)
class Orders:
    """What a process of agents is to do."""

    address: str
    first: int
    """Number of the first agent: it reports for node "node-NUMBER"."""
    count: int
    links: int
    """Interfaces of each host, with 24 counters."""
    moving: int
    """How many of them have traffic."""
    certificates: str
    """Directory with ca.crt, node-NUMBER.crt and node-NUMBER.key; empty: nothing is encrypted."""


@dataclass
class Report:
    """What became of the agents since the mark. Times are of the monotonic clock, which is one for the whole host."""

    back: list[float] = field(default_factory=list)
    """When an update was acknowledged again, of each that has come back."""
    deferred: int = 0
    """How often one was told to come again later."""
    refused: int = 0
    ended: dict[str, int] = field(default_factory=dict)
    """Other ends of streams and attempts, by reason."""
    backlog_bytes: int = 0
    """What the agents hold of the absence, all together."""
    dropped_samples: int = 0
    acknowledged: int = 0
    """Updates of all, since they began."""


class Host:
    """What all agents of a process read: the same, so that the process stays small."""

    def __init__(self, links: int, moving: int) -> None:
        self._now, self._moving, self._ticks = Reading(), moving, 0
        for number in range(1, links + 1):
            link = pb.Link(ifindex=number, name=f"veth{number:04x}", mtu=1450, kind="veth", up=True)
            self._now.add(pb.Item(key=f"link/{number}", link=link))
            self._now.blocks[f"link/{number}"] = Block(_NAMES, tuple(10_000 * number + n for n in range(24)))

    def move(self) -> None:
        """Traffic."""
        self._ticks += 1
        for number in range(1, self._moving + 1):
            values = tuple(10_000 * number + n + 1_237 * self._ticks for n in range(24))
            self._now.blocks[f"link/{number}"] = Block(_NAMES, values)

    def reading(self) -> Reading:
        """An object of the caller's own."""
        return Reading(dict(self._now.items), dict(self._now.blocks))


def peer_of(address: str, certificates: str, node: str) -> Peer:
    """The aggregator, as this node's agent knows it."""
    if not certificates:
        return Peer(address, None)
    own = os.path.join(certificates, node)
    return Peer(address, TlsSettings(os.path.join(certificates, "ca.crt"), f"{own}.crt", f"{own}.key", "localhost"))


class Agents:
    """The agents of one process."""

    def __init__(self, orders: Orders) -> None:
        self._host = Host(orders.links, orders.moving)
        self._report = Report()
        self._ends: Counter[str] = Counter()
        self._waited: dict[str, int] = {}
        """Number of the last update that was acknowledged at the mark, of those that are not back yet."""
        self._streams: dict[str, Stream] = {}
        self._moves = True
        for number in range(orders.first, orders.first + orders.count):
            node = f"node-{number}"
            identity = Identity(node, os.urandom(16), "storm")
            peer = peer_of(orders.address, orders.certificates, node)
            stream = Stream(peer, StreamSettings(), identity, self._host, asyncio.Event())
            stream._log_end = self._note_end  # type: ignore[method-assign]  # what it would log is counted
            self._streams[node] = stream

    def _note_end(self, ended: StreamEndedError, delay: float) -> None:
        del delay
        if ended.later_s is not None:
            self._report.deferred += 1
        elif ended.refused:
            self._report.refused += 1
            self._ends[str(ended)[:90]] += 1
        else:
            self._ends[str(ended)[:90]] += 1

    async def run(self, words: asyncio.StreamReader) -> None:
        """Until there are no more words."""
        stop = asyncio.Event()
        tasks = [asyncio.create_task(self._begin(stream, stop)) for stream in self._streams.values()]
        tasks += [asyncio.create_task(self._move()), asyncio.create_task(self._look())]
        while word := (await words.readline()).decode().strip():
            if word == "mark":
                self._mark()
            if word == "still":
                self._moves = False
            print(json.dumps(dataclasses.asdict(self._told())), flush=True)  # its output
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @staticmethod
    async def _begin(stream: Stream, stop: asyncio.Event) -> None:
        await asyncio.sleep(random.uniform(0.0, 10.0))  # noqa: S311  # a roll-out takes its time
        await stream.run(stop)

    async def _move(self) -> None:
        while True:
            await asyncio.sleep(_MOVE_S)
            if self._moves:
                self._host.move()

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            now = time.monotonic()
            for node, before in list(self._waited.items()):
                if self._streams[node].ledger.last_acknowledged > before:
                    del self._waited[node]
                    self._report.back.append(now)

    def _mark(self) -> None:
        self._report, self._waited = Report(), {}
        self._ends.clear()
        for node, stream in self._streams.items():
            self._waited[node] = stream.ledger.last_acknowledged

    def _told(self) -> Report:
        report = dataclasses.replace(self._report, ended=dict(self._ends.most_common(5)))
        ledgers = [stream.ledger for stream in self._streams.values()]
        report.backlog_bytes = sum(ledger.backlog.size for ledger in ledgers)
        report.acknowledged = sum(ledger.last_acknowledged for ledger in ledgers)
        report.dropped_samples = sum(ledger.dropped_samples for ledger in ledgers)
        return report


async def main() -> None:
    """The program."""
    logging.disable(logging.CRITICAL)
    words = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(words), sys.stdin)
    agents = Agents(Orders(**json.loads(await words.readline())))
    agents._mark()
    await agents.run(words)


if __name__ == "__main__":
    asyncio.run(main())
