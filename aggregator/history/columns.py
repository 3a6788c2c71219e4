"""One node's past by columns of time: when it was heard at all, and its latency histograms, all of them in one reading.

A chart needs the first to tell a counter that stood still from one that nobody could read; a heat map the second, for
it shows days of every process that syncs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import add
from pathlib import Path

from aggregator.histogram import quantile
from aggregator.history.minutes import MINUTE_S
from aggregator.history.reading import Live, bounds_of, rows_of

SILENCE_MINUTES = 3
"""An agent tells something in nearly every minute: nothing for fewer minutes than so many is no silence."""

Span = tuple[float, float]
"""[begin, end), seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Calls:
    """The calls of one latency histogram, by column."""

    subject: str
    """Key of the item ("latency/probe/nodetell//var/lib/etcd")."""
    label: str
    """Process and place, as an operator knows them."""
    bounds_us: tuple[int, ...]
    counts: dict[int, list[int]] = field(default_factory=dict)
    """By number of the column, counted from `since`: calls by bucket. Columns without calls have none."""

    def quantile_us(self, column: int, share: float) -> float | None:
        """Of one column, microseconds; None: no calls, or too few of them."""
        return quantile(self.bounds_us, [max(0, count) for count in self.counts.get(column, ())], share)

    def calls(self, column: int) -> int:
        """How many there were."""
        return sum(max(0, count) for count in self.counts.get(column, ()))


@dataclass(frozen=True, slots=True)
class Past:
    """What a node's history says of [since, until)."""

    heard: tuple[Span, ...]
    """When anything was told of it."""
    latencies: tuple[Calls, ...]
    """By subject."""


def past_of(
    path: Path | None, live: Sequence[Live], node: str, *, since: float, until: float, step_s: float = MINUTE_S
) -> Past:
    """What is known of a node in [since, until); columns are `step_s` long, at least a minute. Raises HistoryError."""
    first, last = int(-(-since // MINUTE_S)), int(-(-until // MINUTE_S))
    minutes: set[int] = set()
    found: dict[tuple[str, tuple[str, ...]], Calls] = {}
    for rows in rows_of(path, live, node, since, until):
        names = {schema.id: tuple(schema.names) for schema in rows.schemas}
        sizes = [len(names[block.schema]) for block in rows.blocks]
        wanted: dict[int, Calls] = {}
        layouts: dict[tuple[int, ...], list[tuple[Calls, int, int]]] = {}
        for which, block in enumerate(rows.blocks):
            columns = names[block.schema]
            if block.subject.startswith("latency/") and (bounds := bounds_of(columns)):
                key = block.subject, columns
                wanted[which] = found.setdefault(key, Calls(block.subject, block.label, bounds))
        for row in rows.rows:
            if not first <= row.minute < last:
                continue
            minutes.add(row.minute)
            if not wanted:
                continue
            column = int((row.minute * MINUTE_S - since) // max(step_s, MINUTE_S))
            blocks = tuple(row.blocks)
            places = layouts.get(blocks)
            if places is None:
                places = layouts[blocks] = _places(blocks, sizes, wanted)
            for calls, start, end in places:
                risen, have = row.risen[start:end], calls.counts.get(column)
                calls.counts[column] = list(map(add, have, risen)) if have else list(risen)
    told = sorted((each for each in found.values() if each.counts), key=lambda each: (each.subject, each.bounds_us))
    return Past(tuple(spans(minutes)), tuple(told))


def _places(blocks: tuple[int, ...], sizes: list[int], wanted: dict[int, Calls]) -> list[tuple[Calls, int, int]]:
    """Where the counters of those that are wanted stand in a row of these blocks: mostly the same row after row."""
    found, start = [], 0
    for which in blocks:
        if which in wanted:
            found.append((wanted[which], start, start + sizes[which]))
        start += sizes[which]
    return found


def spans(minutes: set[int]) -> list[Span]:
    """Minutes in which something was told, as stretches of time without a silence in them."""
    found: list[Span] = []
    for minute in sorted(minutes):
        begin, end = minute * MINUTE_S, (minute + 1) * MINUTE_S
        if found and begin - found[-1][1] < SILENCE_MINUTES * MINUTE_S:
            found[-1] = found[-1][0], float(end)
        else:
            found.append((float(begin), float(end)))
    return found
