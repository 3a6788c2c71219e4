"""The map of fsync: latency over time for each process of the nodes that are worst, or of those that are sought.

Which nodes are worst is told by what they do now and by findings about their disks; the past of those that are shown is
read from the history, several at a time, and kept for as long as it is new enough.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from aggregator.findings import Record
from aggregator.history.columns import Calls, Past
from aggregator.history.reading import HistoryError
from aggregator.known import Known
from aggregator.node_figures import figures
from aggregator.signatures.thresholds import Thresholds
from aggregator.slices import gently
from aggregator.web.charts.strip import SILENT, TOO_FEW


@dataclass(frozen=True, slots=True)
class Range:
    """How far back a map goes."""

    key: str
    title: str
    length_s: int
    step_s: int
    """Of one column."""
    nodes: int
    """On one page: the further back, the more is to be read for each."""


RANGES = (
    Range("1h", "1 hour", 3_600, 60, 20),
    Range("6h", "6 hours", 6 * 3_600, 300, 20),
    Range("24h", "24 hours", 86_400, 900, 15),
    Range("7d", "7 days", 7 * 86_400, 7_200, 6),
)
USUAL = RANGES[1]
CODES = ("cp.etcd_slow_fsync", "disk.slow_fsync", "disk.noisy_neighbour", "cp.saturation")
"""Findings that make a node worth looking at, also when its disk is quick again."""
AT_ONCE = 2
"""Nodes whose history is read at the same time: that is work for the processor, which agents need as well."""
MOST_WAITING = 64
"""Nodes whose turn has not come yet; beyond that, another one is left out."""
IN_TIME_S = 6.0
"""What is not read by then is left out, and said to be."""
_KEPT_NODES = 400
_KEPT_SHARE = 0.2
"""Of a column's length: what was read is good for so long, ..."""
_LEAST_KEPT_S = 10.0


@dataclass(frozen=True, slots=True)
class Ranked:
    """A node, by how slow its disks are now."""

    name: str
    p99_us: int | None
    """None: no process made enough calls of late, or none is seen."""
    process: str
    in_finding: bool
    """A finding of the time shown is about its disks."""


@dataclass(frozen=True, slots=True)
class Row:
    """One process on one node."""

    node: str
    label: str
    """Process and place."""
    series: str
    shades: tuple[int, ...]
    worst_us: float | None
    """None: there were too few calls everywhere."""
    worst_at: float
    """When that column began."""
    last_us: float | None
    """Of the newest column that has enough calls."""
    calls: int

    @property
    def said(self) -> str:
        """The picture in a few words."""
        silent = sum(shade == SILENT for shade in self.shades)
        return f"{self.label} on {self.node}: {len(self.shades) - silent} of {len(self.shades)} parts of the time known"


@dataclass(frozen=True, slots=True)
class Heat:
    """What is shown."""

    range: Range
    begin: float
    end: float
    rows: tuple[Row, ...]
    silent: tuple[str, ...]
    """Nodes of the page of which nothing is known in that time."""
    late: tuple[str, ...]
    """Nodes whose past could not be read in time, or at all."""


async def ranked(known: Known, codes: Sequence[str] = CODES) -> list[Ranked]:
    """All nodes with an agent, the worst first: those of findings, then by their 99th percentile now."""
    view, thresholds = known.view(), known.thresholds
    named = _named([*known.standing(), *known.resolved(1_000)], codes)
    found = []
    async for state in gently(list(view.hosts.values())):
        told = figures(state, thresholds)
        found.append(Ranked(state.name, told.fsync_p99_us, told.fsync_process, state.name in named))
    found.sort(key=lambda each: (not each.in_finding, -(each.p99_us if each.p99_us is not None else -1), each.name))
    return found


def _named(records: Iterable[Record], codes: Sequence[str]) -> set[str]:
    return {node for each in records if each.finding.code in codes for node in each.finding.nodes}


def edges_us(thresholds: Thresholds) -> list[float]:
    """Where one shade ends and the next, worse one begins, microseconds: around what is warned of."""
    warning, critical = thresholds.fsync_warning_ms * 1000, thresholds.fsync_critical_ms * 1000
    return sorted({warning / 10, warning / 2, warning, warning * 3, critical, critical * 3})


def shade_of(value_us: float, edges: Sequence[float]) -> int:
    """0 is the best."""
    return sum(value_us >= edge for edge in edges)


def rows_of(node: str, past: Past, span: tuple[float, float], step_s: int, thresholds: Thresholds) -> list[Row]:
    """A row for each process that made a call. `span`: begin and end of what is shown."""
    begin, end = span
    edges, count = edges_us(thresholds), max(1, round((end - begin) / step_s))
    return [_row(node, calls, past, (begin, step_s, count), edges) for calls in past.latencies]


def _row(node: str, calls: Calls, past: Past, columns: tuple[float, int, int], edges: Sequence[float]) -> Row:
    begin, step_s, count = columns
    shades, worst, worst_at, last = [], None, 0.0, None
    for column in range(count):
        left = begin + column * step_s
        p99 = calls.quantile_us(column, 0.99)
        if p99 is not None:
            shades.append(shade_of(p99, edges))
            last = p99
            if worst is None or p99 > worst:
                worst, worst_at = p99, left
        else:
            known = any(start < left + step_s and left < stop for start, stop in past.heard)
            shades.append(TOO_FEW if known else SILENT)
    total = sum(calls.calls(column) for column in range(count))
    label = calls.label.strip() or calls.subject.removeprefix("latency/")
    return Row(node, label, calls.subject, tuple(shades), worst, worst_at, last, total)


class Pasts:
    """What was read of nodes' history, as long as it is new enough."""

    def __init__(self, known: Known, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._known, self._monotonic = known, monotonic
        self._kept: OrderedDict[tuple[str, str], tuple[float, float, list[Row]]] = OrderedDict()
        """(good until, end of what is shown, rows), by node and range."""
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._tasks: dict[tuple[str, str, float], asyncio.Task[list[Row]]] = {}
        """What is being read, by node, range and end."""

    async def heat(self, nodes: Sequence[str], range_: Range) -> Heat:
        """The map of these nodes. Rows stand in the nodes' order, the worst process of each first."""
        end = _up_to(self._known, range_)
        begin = end - range_.length_s
        tasks = {node: self._reading(node, range_, end) for node in dict.fromkeys(nodes)}
        if under_way := [task for task in tasks.values() if task is not None]:
            await asyncio.wait(under_way, timeout=IN_TIME_S)
        rows: list[Row] = []
        silent, late = [], []
        for node, task in tasks.items():
            if task is None or not task.done() or isinstance(task.exception(), HistoryError):
                late.append(node)
                continue
            its = task.result()
            rows += its
            if not its:
                silent.append(node)
        return Heat(range_, begin, end, tuple(rows), tuple(silent), tuple(late))

    def _reading(self, node: str, range_: Range, end: float) -> asyncio.Task[list[Row]] | None:
        """Under way, or done. What is not done in time goes on, for whoever looks again. None: there is too much."""
        key = node, range_.key, end
        task = self._tasks.get(key)
        if task is None:
            if len(self._tasks) >= MOST_WAITING:
                return None
            task = self._tasks[key] = asyncio.ensure_future(self._read(node, range_, end))
            task.add_done_callback(lambda done: self._over(key, done))
        return task

    def _over(self, key: tuple[str, str, float], task: asyncio.Task[list[Row]]) -> None:
        del self._tasks[key]
        if not task.cancelled():
            task.exception()  # whoever asked is told; nobody may be there any more

    async def _read(self, node: str, range_: Range, end: float) -> list[Row]:
        kept = self._kept.get((node, range_.key))
        if kept is not None and kept[1] == end and self._monotonic() < kept[0]:
            return kept[2]
        begin = end - range_.length_s
        async with self._turns:
            past = await self._known.past(node, since=begin, until=end, step_s=range_.step_s)
        rows = rows_of(node, past, (begin, end), range_.step_s, self._known.thresholds)
        rows.sort(key=lambda row: (-(row.worst_us or 0.0), row.label))
        good_s = max(_LEAST_KEPT_S, _KEPT_SHARE * range_.step_s)
        self._kept[node, range_.key] = self._monotonic() + good_s, end, rows
        self._kept.move_to_end((node, range_.key))
        while len(self._kept) > _KEPT_NODES:
            self._kept.popitem(last=False)
        return rows


def _up_to(known: Known, range_: Range) -> float:
    """The end of the newest column, which may not be over yet."""
    return float(-(-known.now() // range_.step_s) * range_.step_s)


def range_of(query: Mapping[str, str], known: Known) -> Range:
    """As an address asks; the usual one where it asks for none that there is, and of a recording the shortest."""
    return next((each for each in RANGES if each.key == query.get("range")), USUAL if known.live else RANGES[0])
