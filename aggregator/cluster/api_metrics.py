"""What an API server or an etcd says of itself at /metrics, read as a stream and reduced to what the diagnosis uses.

An idle API server's text is 2.6 MB, a busy one's fifty: a line whose family is not wanted is left at its name, and what
is kept is summed over the labels that do not matter. A text that is damaged in one family loses that family and no
other: half of a sum would look like a counter that went backwards, and the next whole one like a surge.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

from nodetell.exposition import LineError, Lines, name_of, names_in_quotes, number, split

from aggregator.cluster.metric_families import FAMILIES, START, Family, Kind, Labels

MAX_BYTES = 512 << 20
"""A text larger than this is refused."""
MAX_SERIES = 50_000
"""Sums that are kept of one family; where there would be more, the family is left out."""
_MAX_NAMES = 20_000
"""Names of unwanted metrics that are remembered as good."""
_SHOWN = 80


class MetricsError(Exception):
    """What came is no metrics text at all: why, one line."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """Calls by latency, since the process began."""

    bounds: tuple[float, ...]
    """Upper bounds in seconds, ascending."""
    counts: tuple[float, ...]
    """Calls between bounds[i-1] and bounds[i] (disjoint); the last, one more than bounds, above them all."""
    total: float
    """Seconds of all calls together; not a number where that is not known."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What one process said at one moment."""

    at: float
    """Seconds since the epoch, by the clock of the one who asked."""
    started: float | None
    """When the process began, by its own clock; None: it does not say."""
    counters: Mapping[str, Mapping[Labels, float]]
    """Since the process began, by family (metric_families) and labels."""
    levels: Mapping[str, Mapping[Labels, float]]
    histograms: Mapping[str, Mapping[Labels, Histogram]]
    unknown: frozenset[str] = frozenset()
    """Families that could not be read. One that is neither here nor above has nothing to count yet."""
    problems: tuple[str, ...] = ()
    """What was odd in the text, one line each."""


class MetricsParser:
    """Takes a text in, in chunks cut anywhere; `finish` gives what it says."""

    def __init__(self, at: float, families: Iterable[Family] = FAMILIES) -> None:
        """`at`: when the text was asked for, seconds since the epoch."""
        self._at = at
        self._families = tuple(families)
        self._lines = Lines()
        self._bytes = self._count = self._samples = self._garbage = 0
        self._first_garbage = ""
        self._readers: dict[bytes, _Reader] = {START.encode(): _Start()}
        """By name of the metric."""
        self._unwanted: set[bytes] = set()
        """Names of metrics that are left at that."""
        self._by_source: dict[str, list[_Values | _Buckets]] = {}
        for family in self._families:
            for source in family.sources:
                self._by_source.setdefault(source, []).append(self._reader(family, source))
        self._within: list[_Values | _Buckets] = []
        """What reads the family that the text is in: a line that cannot be read may have been one of it."""
        self._open: _Buckets | None = None
        """A histogram in the middle of its buckets."""

    def _reader(self, family: Family, source: str) -> _Values | _Buckets:
        if family.kind is Kind.HISTOGRAM:
            buckets = _Buckets(family)
            self._readers[f"{source}_bucket".encode()] = buckets
            self._readers[f"{source}_sum".encode()] = buckets.totals
            self._unwanted.add(f"{source}_count".encode())
            return buckets
        values = _Values(family)
        before = self._readers.get(source.encode())
        self._readers[source.encode()] = _Both(before, values) if isinstance(before, _Values) else values
        return values

    def feed(self, chunk: bytes) -> None:
        """Take in what has come. Raises MetricsError if it is too much altogether."""
        self._bytes += len(chunk)
        if self._bytes > MAX_BYTES:
            raise MetricsError(f"more than {MAX_BYTES >> 20} MiB of metrics")
        for line in self._lines.feed(chunk):
            self._count += 1
            if line[: line.find(b"{")] in self._unwanted:
                self._samples += 1
            elif self._open is None or not self._open.goes_on(line):
                self._line(line.strip())

    def finish(self) -> Sample:
        """What the text says. Raises MetricsError if it is none."""
        problems = []
        cut = bool(rest := self._lines.rest.strip())
        if cut:
            problems.append(f"cut off in line {self._count + 1}: {_shown(rest)}")
        if not self._samples:
            raise MetricsError(self._no_metrics(rest))
        self._close()
        if self._garbage:
            more = f", and {self._garbage - 1} more that cannot be read" if self._garbage > 1 else ""
            problems.append(f"{self._first_garbage}{more}")
        if cut:
            _damage(self._within, "cut off")
        taken, unknown = self._taken(cut)
        problems += [f"{name} is left out: {reason}" for name, reason in sorted(unknown.items()) if reason]
        start = self._readers[START.encode()]
        return Sample(
            at=self._at,
            started=start.value if isinstance(start, _Start) else None,
            counters={r.family.name: r.sums for r in taken if r.family.kind is Kind.COUNTER and isinstance(r, _Values)},
            levels={r.family.name: r.sums for r in taken if r.family.kind in _LEVELS and isinstance(r, _Values)},
            histograms={r.family.name: r.histograms() for r in taken if isinstance(r, _Buckets)},
            unknown=frozenset(unknown),
            problems=tuple(problems),
        )

    def _taken(self, cut: bool) -> tuple[list[_Values | _Buckets], dict[str, str]]:
        """The reader of each family that counts, and why each other is not known; empty where the text just ended."""
        taken: list[_Values | _Buckets] = []
        unknown: dict[str, str] = {}
        for family in self._families:
            readers = [reader for source in family.sources for reader in self._by_source[source]]
            used = [reader for reader in readers if reader.family is family and (reader.sums or reader.damage)]
            if used and not used[0].damage:
                taken.append(used[0])
            elif used or cut:
                unknown[family.name] = used[0].damage if used else ""
        return taken, unknown

    def _no_metrics(self, rest: bytes) -> str:
        if self._first_garbage:
            return f"no metrics in it: {self._first_garbage}"
        return f"no metrics in it, but {_shown(rest)}" if rest else "no metrics in it: nothing but blanks and comments"

    def _line(self, line: bytes) -> None:
        """A line that is not simply the next bucket."""
        if not line:
            return
        if line.startswith(b"#"):
            self._comment(line)
            return
        name = name_of(line)
        reader = self._readers.get(name)
        if name in self._unwanted or (reader is None and names_in_quotes(line)):
            self._samples += 1
            return
        try:
            labels, value = split(line)
        except LineError as error:
            self._bad(line, str(error))
            return
        self._samples += 1
        if reader is None:
            if len(self._unwanted) < _MAX_NAMES:
                self._unwanted.add(name)
            return
        if isinstance(reader, _Buckets):
            if self._open is not reader:
                self._close()
            self._open = reader
            reader.begins(line, labels, value)
        else:
            self._close()
            reader.take(labels, value)

    def _comment(self, line: bytes) -> None:
        words = line.split(None, 3)
        if len(words) >= 3 and words[1] in (b"HELP", b"TYPE"):
            self._close()
            self._within = self._by_source.get(words[2].decode("utf-8", "replace"), [])

    def _bad(self, line: bytes, reason: str) -> None:
        self._garbage += 1
        self._first_garbage = self._first_garbage or f"line {self._count} {reason}: {_shown(line)}"
        _damage(self._within, f"line {self._count} cannot be read")
        for source, readers in self._by_source.items():
            if line.startswith(source.encode()):
                _damage(readers, f"line {self._count} cannot be read")

    def _close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None


def parse_metrics(data: bytes, at: float) -> Sample:
    """A text that is there whole, as a bundle has it. Raises MetricsError."""
    parser = MetricsParser(at)
    parser.feed(data)
    return parser.finish()


# -- what reads the lines of one metric ----------------------------------------------------------------------------


class _Start:
    """The time the process began."""

    value: float | None = None

    def take(self, labels: Mapping[str, str], value: float) -> None:  # noqa: ARG002  # as the others
        """Take a sample in."""
        self.value = value if math.isfinite(value) and value > 0 else None


class _Values:
    """The series of a counter or a level, added up."""

    def __init__(self, family: Family) -> None:
        self.family = family
        self.sums: dict[Labels, float] = {}
        self.damage = ""

    def take(self, labels: Mapping[str, str], value: float) -> None:
        """Take a sample in."""
        key = self.family.key(labels)
        if key is None:
            return
        if not math.isfinite(value):
            # A level that is none at present is left out; a counter cannot be.
            self.damage = self.damage or ("" if self.family.kind in _LEVELS else f"a counter of {value}")
            return
        if key not in self.sums:
            if len(self.sums) >= MAX_SERIES:
                self.damage = self.damage or f"more than {MAX_SERIES:,} of it"
                return
            self.sums[tuple(map(sys.intern, key))] = value
        elif self.family.kind is Kind.MAX:
            self.sums[key] = max(self.sums[key], value)
        else:
            self.sums[key] += value


class _Both:
    """One metric that two families are made of."""

    def __init__(self, *values: _Values) -> None:
        self._values = values

    def take(self, labels: Mapping[str, str], value: float) -> None:
        """Take a sample in."""
        for each in self._values:
            each.take(labels, value)


class _Buckets:
    """The series of a histogram, added up. Their lines come series by series, `le` nearly always last."""

    def __init__(self, family: Family) -> None:
        self.family = family
        self.sums: dict[Labels, tuple[tuple[float, ...], list[float]]] = {}
        """(upper bounds, counts up to them) by labels."""
        self.totals = _Values(family)
        self.damage = ""
        self._key: Labels = ()
        self._series: Mapping[str, str] | None = None
        """Labels of the series that is being read; None: none is."""
        self._prefix = b"\n"
        """How its next line begins, up to the bound; a line break where that cannot be told."""
        self._bounds: list[float] = []
        self._counts: list[float] = []
        self._le: dict[bytes, float] = {}

    def goes_on(self, line: bytes) -> bool:
        """Take in the next bucket of the series that is being read; False: it is something else, or odd."""
        if not line.startswith(self._prefix):
            return False
        le, _, value = line[len(self._prefix) :].partition(b'"} ')
        bound = self._le.get(le)
        if bound is None:
            return False
        try:
            count = number(value)
        except LineError:
            return False
        self._bounds.append(bound)
        self._counts.append(count)
        return True

    def begins(self, line: bytes, labels: dict[str, str], value: float) -> None:
        """Take in a bucket of whatever series."""
        text = labels.pop("le", "")
        try:
            bound = number(text.encode())
        except LineError:
            self.damage = self.damage or f"a bucket le={text[:_SHOWN]!r}"
            return
        if labels != self._series:
            self.close()
            self._series, self._key = labels, self.family.key(labels) or ()
        self._bounds.append(bound)
        self._counts.append(value)
        prefix, found, rest = line.rpartition(b'le="')
        if rest.startswith(text.encode() + b'"} ') and prefix.endswith((b"{", b",", b" ")):
            self._prefix = prefix + found
            self._le[text.encode()] = bound

    def close(self) -> None:
        """The series that is being read is complete."""
        if self._series is None:
            return
        bounds, counts = self._bounds, self._counts
        if any(low >= high for low, high in pairwise(bounds)):
            pairs = sorted(zip(bounds, counts, strict=True))
            bounds, counts = [bound for bound, _ in pairs], [count for _, count in pairs]
        if not bounds or bounds[-1] != math.inf or not all(low < high for low, high in pairwise(bounds)):
            self.damage = self.damage or "a series whose buckets are not complete"
        elif not (counts[0] >= 0 and all(low <= high for low, high in pairwise(counts)) and math.isfinite(counts[-1])):
            self.damage = self.damage or "a series whose buckets do not add up"
        else:
            self._add(tuple(bounds[:-1]), counts)
        self._series, self._prefix, self._bounds, self._counts = None, b"\n", [], []

    def _add(self, bounds: tuple[float, ...], counts: list[float]) -> None:
        before = self.sums.get(self._key)
        if before is None:
            if len(self.sums) >= MAX_SERIES:
                self.damage = self.damage or f"more than {MAX_SERIES:,} of it"
                return
            self.sums[tuple(map(sys.intern, self._key))] = bounds, counts
        elif before[0] == bounds:
            before[1][:] = [one + other for one, other in zip(before[1], counts, strict=True)]
        else:
            self.damage = self.damage or "series with different buckets"

    def histograms(self) -> dict[Labels, Histogram]:
        """Disjoint counts."""
        return {
            key: Histogram(
                bounds,
                tuple(count - below for below, count in pairwise([0.0, *counts])),
                math.nan if self.totals.damage else self.totals.sums.get(key, 0.0),
            )
            for key, (bounds, counts) in self.sums.items()
        }


_Reader = _Start | _Values | _Both | _Buckets
_LEVELS = frozenset({Kind.SUM, Kind.MAX})


def _damage(readers: Iterable[_Values | _Buckets], reason: str) -> None:
    for reader in readers:
        reader.damage = reader.damage or reason


def _shown(text: bytes) -> str:
    return repr(text[:_SHOWN].decode("utf-8", "replace"))
