"""Lists that cost too much to make for each who asks: all nodes, and what limits the diagnosis. Thousands of nodes take
some tenths of a second, so they are gathered in pieces, kept for a moment, and whoever asks meanwhile waits for the
same."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from nodetell.v1 import operator_pb2

from aggregator.known import Known
from aggregator.model import Gap
from aggregator.web.api.breath import Breath

T = TypeVar("T")

GOOD_S = 1.0
"""As often as everything is evaluated."""
SHARE = 10.0
"""... or for so many times as long as it took, whichever is longer."""
NODES_AT_ONCE = 25


@dataclass(slots=True)
class Kept(Generic[T]):
    """A list, made again when it is asked for and is old."""

    make: Callable[[], Awaitable[T]]
    live: bool = True
    """It changes."""
    monotonic: Callable[[], float] = time.monotonic
    _value: T | None = None
    _until: float = float("-inf")
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def get(self) -> T:
        """As it was a moment ago at most."""
        async with self._lock:
            if self._value is None or (self.live and self.monotonic() >= self._until):
                begun = self.monotonic()
                self._value = await self.make()
                done = self.monotonic()
                self._until = done + max(GOOD_S, SHARE * (done - begun))
            return self._value


@dataclass(slots=True)
class Lists:
    """Those of one application."""

    known: Known
    nodes: Kept[list[operator_pb2.NodeSummary]] = field(init=False)
    """By name."""
    gaps: Kept[list[Gap]] = field(init=False)

    def __post_init__(self) -> None:
        self.nodes = Kept(self._nodes, self.known.live)
        self.gaps = Kept(self._gaps, self.known.live)

    async def _nodes(self) -> list[operator_pb2.NodeSummary]:
        names, breath = self.known.node_names(), Breath()
        found: list[operator_pb2.NodeSummary] = []
        for start in range(0, len(names), NODES_AT_ONCE):
            found += self.known.summaries(names[start : start + NODES_AT_ONCE])
            await breath.take()
        return found

    async def _gaps(self) -> list[Gap]:
        breath = Breath()
        found: list[Gap] = []
        for some in self.known.gaps_in_parts():
            found += some
            await breath.take()
        return found
