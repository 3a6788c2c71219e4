"""Lists that cost too much to make for each who asks: all nodes, and what limits the diagnosis. Thousands of nodes take
some tenths of a second, so they are gathered in pieces, kept for a moment, and whoever asks meanwhile waits for the
same."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from nodetell.v1 import operator_pb2

from aggregator.known import Known
from aggregator.model import Gap
from aggregator.slices import Kept, gently

GOOD_S = 1.0
"""As often as everything is evaluated."""
NODES_AT_ONCE = 25


@dataclass(slots=True)
class Lists:
    """Those of one application."""

    known: Known
    nodes: Kept[list[operator_pb2.NodeSummary]] = field(init=False)
    """By name."""
    gaps: Kept[list[Gap]] = field(init=False)

    def __post_init__(self) -> None:
        good_s = GOOD_S if self.known.live else math.inf
        self.nodes, self.gaps = Kept(self._nodes, good_s), Kept(self._gaps, good_s)

    async def _nodes(self) -> list[operator_pb2.NodeSummary]:
        names = self.known.node_names()
        found: list[operator_pb2.NodeSummary] = []
        async for start in gently(range(0, len(names), NODES_AT_ONCE)):
            found += self.known.summaries(names[start : start + NODES_AT_ONCE])
        return found

    async def _gaps(self) -> list[Gap]:
        return [gap async for part in gently(self.known.gaps_in_parts()) for gap in part]
