"""Hosts with a truth of their own, and a history that they tell it to."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nodetell.v1 import agent_pb2
from nodetell.v1 import facts_pb2 as pb

from agent.delta import DeltaEncoder
from agent.reading import Block, Reading
from aggregator.history.base import Kept
from aggregator.history.keeper import History

EPOCH = 1_800_000_000.0
ONE, OTHER = b"1" * 16, b"2" * 16
COUNTERS = ("rx_packets", "tx_packets", "rx_dropped")
DAY = 86_400.0


@dataclass
class Host:
    """An agent's own truth, and its updates."""

    name: str
    instance: bytes = ONE
    now: float = EPOCH
    number: int = 0
    counters: dict[str, list[int]] = field(default_factory=dict)
    mtus: dict[str, int] = field(default_factory=dict)
    encoder: DeltaEncoder = field(default_factory=DeltaEncoder)

    def __post_init__(self) -> None:
        for index in range(1, 4):
            self.counters[f"link/{index}"] = [1_000 * index, 2_000, 0]
            self.mtus[f"link/{index}"] = 1500

    def restart(self) -> None:
        self.instance, self.number, self.encoder = OTHER, 0, DeltaEncoder()

    def reading(self) -> Reading:
        reading = Reading()
        for index, (subject, values) in enumerate(self.counters.items(), 1):
            reading.add(pb.Item(key=subject, link=pb.Link(ifindex=index, name=f"eth{index}", mtu=self.mtus[subject])))
            reading.blocks[subject] = Block(COUNTERS, tuple(values))
        return reading

    def update(self, *, full: bool = False) -> tuple[int, agent_pb2.Update]:
        self.number += 1
        at_ms = round(self.now * 1000)
        if full or self.number == 1:
            return self.number, self.encoder.full(self.reading(), at_ms)
        return self.number, self.encoder.delta(self.reading(), at_ms) or agent_pb2.Update(at_unix_ms=at_ms)

    def move(self, chance: random.Random) -> None:
        for values in self.counters.values():
            for index in range(len(values)):
                values[index] += chance.choice((0, 0, chance.randrange(1000)))


@dataclass
class Scene:
    directory: Path
    now: float = EPOCH
    options: dict[str, Any] = field(default_factory=dict)
    kept: dict[str, Kept] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.history = History(self.directory, clock=lambda: self.now, **self.options)
        self.history.open()

    async def take(self, host: Host, number: int, update: agent_pb2.Update) -> None:
        answer = self.history.take(self.kept[host.name], host.instance, number, update)
        if answer is not None:
            await answer

    async def tell(self, host: Host, *, full: bool = False) -> None:
        host.now = self.now
        number, update = host.update(full=full)
        if host.name not in self.kept:
            self.kept[host.name] = self.history.rebuilt(host.name) or self.history.fresh(host.name)
        await self.take(host, number, update)

    def rebuild(self) -> dict[str, Kept]:
        while (name := self.history.waiting()) is not None:
            kept = self.history.rebuilt(name)
            if kept is not None:
                self.kept[name] = kept
        return self.kept

    async def total(self, host: str, series: str) -> float:
        points = await self.history.read(host, series, 0, self.now + DAY)
        return sum(point.value for point in points)


@contextlib.contextmanager
def scene(directory: Path, now: float = EPOCH, **options: Any) -> Iterator[Scene]:
    opened = Scene(directory, now, options)
    try:
        yield opened
    finally:
        opened.history.close()


def play(script: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(script(), 50))
