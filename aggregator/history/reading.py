"""Minute values by the name of their series: what a chart, a page or a command asks for. Reads, and never writes."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from nodetell.v1 import history_pb2

from aggregator.histogram import quantile
from aggregator.history.hours import HOUR_S, NODE_BITS, HourError, key_of, unpacked
from aggregator.history.minutes import HOUR_MINUTES, MINUTE_S

QUANTILES = {"p50_us": 0.5, "p99_us": 0.99}
"""Series that follow from a latency histogram ("latency/probe/nodetell//var/lib/etcd/p99_us") ..."""
CALLS = "calls"
"""... and how many calls it has, in a minute."""
_BOUND = re.compile(r"le_(\d+)us")


class HistoryError(Exception):
    """The history can't be read. One line."""


@dataclass(frozen=True, slots=True)
class Point:
    """One minute of one series."""

    at: int
    """When the minute begins, seconds since the epoch by the aggregator's clock."""
    value: float
    """By how much a counter rose in this minute; what a gauge showed last; a quantile."""
    low: float
    """The least a gauge showed; otherwise the value."""
    high: float
    """The greatest, likewise."""
    spread_s: int = MINUTE_S
    """Over how long the rise was spread evenly, because it is known no finer."""


@dataclass(frozen=True, slots=True)
class Series:
    """A series that has points."""

    name: str
    label: str
    """How an operator knows what it is about ("eth0"); empty: by its name."""
    gauge: bool


@dataclass(frozen=True, slots=True)
class Live:
    """Rows that the database may not have yet, with the number that they will have or have there."""

    flush: int
    rows: bytes


def read(path: Path | None, live: Sequence[Live], node: str, series: str, *, since: float, until: float) -> list[Point]:
    """Points of minutes that begin in [since, until), oldest first; none where nothing was told. Raises HistoryError.

    A counter that did not rise in a minute has no point there; a gauge has one where it was told, and in the first
    minute of each hour.
    """
    minutes = range(int(-(-since // MINUTE_S)), int(-(-until // MINUTE_S)))
    subject, _, name = series.rpartition("/")
    gauges: dict[int, Point] = {}
    rises: dict[int, Point] = {}
    calls: dict[tuple[int, tuple[int, ...]], list[int]] = {}
    for rows in rows_of(path, live, node, since, until):
        wanted = {which for which, gauge in enumerate(rows.gauges) if gauge.name == series}
        names = {schema.id: tuple(schema.names) for schema in rows.schemas}
        for row in rows.rows:
            if row.minute not in minutes:
                continue
            for which, last, below, above in zip(row.gauges, row.last, row.below, row.above, strict=True):
                if which in wanted:
                    _add_gauge(gauges, row.minute, last, below, above)
            for columns, risen in _blocks_of(rows, names, row, subject):
                if name in columns:
                    _add_rise(rises, row, risen[columns.index(name)])
                elif name == CALLS and bounds_of(columns):
                    _add_rise(rises, row, sum(risen))
                elif name in QUANTILES and (bounds := bounds_of(columns)):
                    before = calls.get((row.minute, bounds), [0] * len(columns))
                    calls[row.minute, bounds] = [have + more for have, more in zip(before, risen, strict=True)]
    for (minute, bounds), counts in calls.items():
        if (value := quantile(bounds, counts, QUANTILES[name])) is not None:
            gauges[minute] = Point(minute * MINUTE_S, value, value, value)
    found = gauges | {minute: point for minute, point in rises.items() if point.value}
    return [found[minute] for minute in sorted(found)]


def _blocks_of(
    rows: history_pb2.MinuteRows, names: Mapping[int, tuple[str, ...]], row: history_pb2.MinuteRow, subject: str
) -> Iterator[tuple[tuple[str, ...], Sequence[int]]]:
    """(names, rises) of a subject's blocks in a row."""
    start = 0
    for which in row.blocks:
        columns = names[rows.blocks[which].schema]
        if rows.blocks[which].subject == subject:
            yield columns, row.risen[start : start + len(columns)]
        start += len(columns)


def series_of(path: Path | None, live: Sequence[Live], node: str, *, since: float, until: float) -> list[Series]:
    """Series that have points in [since, until), by name. Raises HistoryError."""
    found: dict[str, Series] = {}
    for rows in rows_of(path, live, node, since, until):
        names = {schema.id: tuple(schema.names) for schema in rows.schemas}
        for gauge in rows.gauges:
            found[gauge.name] = Series(gauge.name, gauge.label, gauge=True)
        for block in rows.blocks:
            columns = names[block.schema]
            for name in (*columns, *((*QUANTILES, CALLS) if bounds_of(columns) else ())):
                found[f"{block.subject}/{name}"] = Series(f"{block.subject}/{name}", block.label, name in QUANTILES)
    return [found[name] for name in sorted(found)]


def bounds_of(names: Sequence[str]) -> tuple[int, ...]:
    """Upper bounds of a latency histogram in microseconds, by its counters' names; none: it is no histogram."""
    matches = [_BOUND.fullmatch(name) for name in names[:-1]]
    return tuple(int(match[1]) for match in matches if match) if matches and all(matches) else ()


def _add_rise(found: dict[int, Point], row: history_pb2.MinuteRow, rise: int) -> None:
    before = found.get(row.minute, Point(row.minute * MINUTE_S, 0, 0, 0))
    value, spread = before.value + rise, max(row.spread * MINUTE_S, before.spread_s)
    found[row.minute] = Point(before.at, value, value, value, spread)


def _add_gauge(found: dict[int, Point], minute: int, last: int, below: int, above: int) -> None:
    before = found.get(minute)
    low, high = last - below, last + above
    if before is not None:
        low, high = min(low, int(before.low)), max(high, int(before.high))
    found[minute] = Point(minute * MINUTE_S, last, low, high)


def rows_of(
    path: Path | None, live: Sequence[Live], node: str, since: float, until: float
) -> Iterator[history_pb2.MinuteRows]:
    """Rows of the hours that [since, until) touches; stored ones first, and each once: what is live and in the database
    already is told from there. Raises HistoryError."""
    stored_flush = 0
    if path is not None:
        try:
            with contextlib.closing(_opened(path)) as connection:
                stored_flush, bodies = _stored(connection, node, since, until)
        except sqlite3.Error as error:
            raise HistoryError(f"{path}: {' '.join(str(error).split())}") from error
        for hour, body in bodies:
            try:
                yield unpacked(body, node, hour)
            except HourError as error:
                raise HistoryError(f"{path}: {error}") from error
    for each in live:
        if each.flush > stored_flush and each.rows:
            yield history_pb2.MinuteRows.FromString(each.rows)


def _opened(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=1.0, isolation_level=None)
    connection.execute("BEGIN")  # one moment for all that is read
    return connection


def _stored(
    connection: sqlite3.Connection, node: str, since: float, until: float
) -> tuple[int, list[tuple[int, bytes]]]:
    found = connection.execute("SELECT id FROM nodes WHERE name = ?", (node,)).fetchone()
    if found is None:
        return 0, []
    base = connection.execute("SELECT flush FROM bases WHERE node = ?", found).fetchone()
    hours: Iterable[int] = range(max(0, int(since // HOUR_S)), int(until // HOUR_S) + 1)
    first, last = connection.execute("SELECT min(key), max(key) FROM hours").fetchone()
    bodies = []
    if first is not None:
        span = range(first >> NODE_BITS, (last >> NODE_BITS) + 1)
        for hour in islice((hour for hour in span if hour in hours), 24 * HOUR_MINUTES):
            row = connection.execute("SELECT body FROM hours WHERE key = ?", (key_of(hour, found[0]),)).fetchone()
            if row is not None:
                bodies.append((hour, row[0]))
    return base[0] if base is not None else 0, bodies
