"""What the page remembers by itself: changes of findings, and answers that cost too much to make for each who asks."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Generic, TypeVar

from aggregator.findings import Kind, Transition
from aggregator.known import Known
from aggregator.slices import Kept, gently
from aggregator.web.page.models import named
from aggregator.web.page.models_nodes import Row, row_of
from aggregator.web.page.models_seen import Alike, Coverage, add, coverage, limits_of

KEPT = 500
"""Changes of findings that are kept at hand."""
ROWS_GOOD_S, COVERAGE_GOOD_S = 2.0, 5.0
WAIT_S, OLD_S = 0.25, 60.0
"""So long anybody waits for what is newer than what is there, and so old that may be."""
TOGETHER = 50
"""Nodes that are asked about at a time."""

_T = TypeVar("_T")


class Heard:
    """Of one application."""

    def __init__(self, known: Known) -> None:
        self.changed: deque[Transition] = deque(maxlen=KEPT)
        """Findings that have changed since the page is there, the oldest first."""
        self._rows: Kept[_Made[list[Row]]] = Kept(lambda: _at(_rows(known)), ROWS_GOOD_S)
        self._coverage: Kept[_Made[Coverage]] = Kept(lambda: _at(_coverage(known)), COVERAGE_GOOD_S)
        known.listeners.append(self._hear)

    async def rows(self) -> list[Row]:
        """The table of nodes, by name, not older than OLD_S."""
        return await _soon(self._rows) or (await self._rows.get()).answer

    async def coverage(self) -> Coverage | None:
        """What limits the diagnosis, likewise; None: it is being gathered, and takes longer than anybody waits."""
        return await _soon(self._coverage)

    def _hear(self, transition: Transition) -> None:
        if transition.kind is Kind.CHANGED:
            self.changed.append(transition)


@dataclass(frozen=True, slots=True)
class _Made(Generic[_T]):
    at: float
    """By the monotonic clock."""
    answer: _T


async def _at(work: Awaitable[_T]) -> _Made[_T]:
    return _Made(time.monotonic(), await work)


async def _soon(kept: Kept[_Made[_T]]) -> _T | None:
    """The answer if it is there in a moment, else the one before, unless that is too old."""
    made = await kept.soon(WAIT_S)
    return made.answer if made is not None and time.monotonic() - made.at < OLD_S else None


async def _rows(known: Known) -> list[Row]:
    with_agent = set(known.node_names())
    names = sorted(with_agent.union(known.view().nodes))
    found: list[Row] = []
    findings = Counter(name for record in known.standing() for name in named(record))
    async for first in gently(range(0, len(names), TOGETHER)):
        some = names[first : first + TOGETHER]
        told = {summary.node: summary for summary in known.summaries([name for name in some if name in with_agent])}
        view, now = known.view(), known.now()
        found += [row_of(name, told.get(name), view, findings[name], now) for name in some]
    return found


async def _coverage(known: Known) -> Coverage:
    alike: Alike = {}
    async for part in gently(known.gaps_in_parts()):
        for gap in part:
            add(alike, gap)
    hosts = list(known.view().hosts.values())
    read: Counter[str] = Counter()
    async for state in gently(hosts):
        read.update(item.signal_source.signal for item in state.of("signal_source"))
    return coverage(limits_of(alike), read, len(hosts))
