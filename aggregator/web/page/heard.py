"""What the page remembers by itself: changes of findings, and answers that cost too much to make for each who asks."""

from __future__ import annotations

from collections import Counter, deque

from aggregator.findings import Kind, Transition
from aggregator.known import Known
from aggregator.web.page.models import named
from aggregator.web.page.models_nodes import Row, row_of
from aggregator.web.page.models_seen import Alike, Coverage, add, coverage, limits_of
from aggregator.web.page.slices import Kept, gently

KEPT = 500
"""Changes of findings that are kept at hand."""
ROWS_GOOD_S, COVERAGE_GOOD_S = 2.0, 5.0
TOGETHER = 50
"""Nodes that are asked about at a time."""


class Heard:
    """Of one application."""

    def __init__(self, known: Known) -> None:
        self.changed: deque[Transition] = deque(maxlen=KEPT)
        """Findings that have changed since the page is there, the oldest first."""
        self.rows: Kept[list[Row]] = Kept(lambda: _rows(known), ROWS_GOOD_S)
        """The table of nodes, by name."""
        self.coverage: Kept[Coverage] = Kept(lambda: _coverage(known), COVERAGE_GOOD_S)
        """What limits the diagnosis."""
        known.listeners.append(self._hear)

    def _hear(self, transition: Transition) -> None:
        if transition.kind is Kind.CHANGED:
            self.changed.append(transition)


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
