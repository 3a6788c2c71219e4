"""What samples of /metrics say over time: rates, and the latencies of one window alone.

One address may stand for several API servers: each sample is put to the process that made it, told apart by the time
it began, and what is asked is answered for all of them together. A process that began within a window counted from 0;
a counter that went backwards all the same begins anew with what it says then. Nothing here reads a clock.

A sliding hour is kept: the newest minutes sample by sample, the rest thinned out, all but the newest compressed.
"""

from __future__ import annotations

import math
import zlib
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate

from aggregator.cluster.api_metrics import Histogram, Sample
from aggregator.cluster.metric_families import STORAGE_BYTES, Labels
from aggregator.histogram import quantile

HISTORY_S = 3_900.0
"""How far back windows may reach: an hour before a window of some minutes."""
REMEMBERED = (STORAGE_BYTES,)
"""Families whose past levels are kept: it matters since when they are so high."""
FINE_SPAN_S = 600.0
"""Samples older than this are thinned out ..."""
COARSE_S = 120.0
"""... to this distance."""
MAX_PROCESSES = 16
"""API servers behind one address, dead ones among them; beyond that the one unheard for longest is forgotten."""
_MOST_UNPACKED = 8
_SAME_START_S = 0.05
"""Starts that differ by less are one: the kernel counts them in hundredths."""


@dataclass(frozen=True, slots=True)
class Rise:
    """By how much a counter rose."""

    increment: float
    seconds: float
    """Over how long it was really watched."""

    @property
    def per_second(self) -> float:
        """The rate."""
        return self.increment / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Latency:
    """The calls of a window by latency."""

    bounds: tuple[float, ...]
    """Upper bounds in seconds, ascending."""
    counts: tuple[int, ...]
    """Disjoint; the last, one more than bounds, above them all."""
    total: float
    """Seconds of all calls together; not a number where that is not known."""
    seconds: float
    """Length of the window."""

    @property
    def calls(self) -> int:
        """How many there were."""
        return sum(self.counts)

    def quantile(self, share: float) -> float | None:
        """In seconds, as aggregator.histogram has it: None with too few calls."""
        return quantile(self.bounds, self.counts, share)


class MetricsHistory:
    """Samples of one address, over time. One owner."""

    def __init__(self, history_s: float = HISTORY_S) -> None:
        self._history_s = history_s
        self._processes: list[_Process] = []
        self.revision = 0
        """Grows with every sample: what was worked out from it holds as long as it stays."""
        self.at = -math.inf
        """When the newest sample was taken, seconds since the epoch."""

    def add(self, sample: Sample) -> None:
        """Take a sample in. One that is older than the newest of its process is left out."""
        process = next((each for each in self._processes if each.made(sample)), None)
        if process is None:
            self._processes.append(_Process(sample.started, sample))
        elif not process.add(sample, self._history_s):
            return
        self.revision += 1
        self.at = max(self.at, sample.at)
        self._processes = [each for each in self._processes if each.newest.at > self.at - self._history_s]
        if len(self._processes) > MAX_PROCESSES:
            self._processes.remove(min(self._processes, key=lambda each: each.newest.at))

    @property
    def since(self) -> float:
        """When what is known begins, seconds since the epoch; +inf: there is nothing yet."""
        return min((each.oldest for each in self._processes), default=math.inf)

    def rises(self, family: str, window_s: float, before_s: float = 0.0) -> dict[Labels, Rise]:
        """Of each counter of a family, in the window of that length that ended `before_s` ago, over all processes.

        Empty where nothing can be said: no process has two samples there. A counter that stood still is there with 0.
        """
        found: dict[Labels, Rise] = {}
        for span in self._spans(family, window_s, before_s):
            for labels, value in span.end.counters.get(family, {}).items():
                increment = value - (span.begin.counters.get(family, {}).get(labels, 0.0) if span.begin else 0.0)
                new = Rise(increment, span.seconds)
                found[labels] = _sum(found[labels], new) if labels in found else new
        return found

    def latencies(self, family: str, window_s: float, before_s: float = 0.0) -> dict[Labels, Latency]:
        """Of each histogram of a family, likewise. Where processes have different buckets, those that they share."""
        found: dict[Labels, Latency] = {}
        for span in self._spans(family, window_s, before_s):
            for labels, histogram in span.end.histograms.get(family, {}).items():
                past = span.begin.histograms.get(family, {}).get(labels) if span.begin else None
                new = _difference(histogram, past, span.seconds)
                found[labels] = _together(found[labels], new) if labels in found else new
        return found

    def heard(self, family: str, window_s: float, before_s: float = 0.0) -> int:
        """How many processes `rises` and `latencies` of that window are about."""
        return sum(1 for _ in self._spans(family, window_s, before_s))

    @property
    def processes(self) -> int:
        """How many are known, those that have ended of late among them."""
        return len(self._processes)

    def times(self) -> list[float]:
        """When the samples that are kept were taken, seconds since the epoch, oldest first."""
        kept = {each.at for process in self._processes for each in process.kept}
        return sorted(kept | {process.newest.at for process in self._processes})

    def rises_before(self, family: str) -> dict[Labels, Rise]:
        """Of each counter of a family, what processes had counted when they were first read, since they began. Those
        that do not say when they began count for no time at all."""
        found: dict[Labels, Rise] = {}
        for process in self._processes:
            first, seconds = process.first()
            for labels, value in first.counters.get(family, {}).items():
                new = Rise(value, seconds)
                found[labels] = _sum(found[labels], new) if labels in found else new
        return found

    def latencies_before(self, family: str) -> dict[Labels, Latency]:
        """Of each histogram of a family, likewise."""
        found: dict[Labels, Latency] = {}
        for process in self._processes:
            first, seconds = process.first()
            for labels, histogram in first.histograms.get(family, {}).items():
                new = _difference(histogram, None, seconds)
                found[labels] = _together(found[labels], new) if labels in found else new
        return found

    def levels(self, family: str, age_s: float) -> dict[Labels, float]:
        """Levels of a family as they were at most `age_s` before the newest sample; the highest of all processes."""
        found: dict[Labels, float] = {}
        for process in self._processes:
            if process.newest.at >= self.at - age_s:
                for labels, value in process.newest.levels.get(family, {}).items():
                    found[labels] = max(value, found.get(labels, value))
        return found

    def level_since(self, family: str, level: float) -> float:
        """Since when the highest level of a family (of REMEMBERED) has been at least so high, seconds since the epoch;
        0.0: it is not now, or has not been lower as far back as is known."""
        told: dict[float, float] = {}
        for process in self._processes:
            told |= {each.at: each.highest[family] for each in process.kept if family in each.highest}
            if process.newest.levels.get(family):
                told[process.newest.at] = _highest(process.newest, family)
        since = 0.0
        for at in sorted(told, reverse=True):
            if told[at] < level:
                return since
            since = at
        return 0.0

    def unknown(self, family: str) -> bool:
        """The newest sample could not be read as to this family, or there is none."""
        newest = self._newest()
        return newest is None or family in newest.unknown

    @property
    def problems(self) -> tuple[str, ...]:
        """What was odd in the newest text, one line each."""
        newest = self._newest()
        return newest.problems if newest is not None else ()

    def _newest(self) -> Sample | None:
        return max((each.newest for each in self._processes), key=lambda sample: sample.at, default=None)

    def _spans(self, family: str, window_s: float, before_s: float) -> Iterator[_Span]:
        end = self.at - before_s
        for process in self._processes:
            span = process.span(family, end - window_s, end)
            if span is not None:
                yield span


@dataclass(frozen=True, slots=True)
class _Span:
    """Two samples of one process. `begin` is None where its counters were all 0: it began then."""

    begin: Sample | None
    end: Sample
    seconds: float


@dataclass(frozen=True, slots=True)
class _Kept:
    """A sample that is not the newest. Of its levels, those of REMEMBERED are kept."""

    at: float
    packed: bytes
    layout: _Layout
    unknown: frozenset[str]
    highest: Mapping[str, float]
    """By family that it has."""


@dataclass(slots=True)
class _Process:
    """One process's samples."""

    started: float | None
    newest: Sample
    kept: list[_Kept] = field(default_factory=list)
    """All but the newest, by time."""
    begun: dict[str, float] = field(default_factory=dict)
    """By family that went backwards: when it began anew."""
    layout: _Layout | None = None
    unpacked: dict[float, Sample] = field(default_factory=dict)
    """By time, those that were asked for since the newest came."""

    def made(self, sample: Sample) -> bool:
        """The sample is of this process."""
        if sample.started is None or self.started is None:
            return sample.started is self.started
        return abs(sample.started - self.started) < _SAME_START_S

    @property
    def oldest(self) -> float:
        return self.kept[0].at if self.kept else self.newest.at

    def first(self) -> tuple[Sample, float]:
        """The oldest sample that is kept, and for how long the process had been counting then; 0: it does not say."""
        sample = self._sample(self.kept[0]) if self.kept else self.newest
        return sample, max(0.0, sample.at - self.started) if self.started is not None else 0.0

    def add(self, sample: Sample, history_s: float) -> bool:
        """False: it is older than what is known."""
        if sample.at <= self.newest.at:
            return False
        for name in _backwards(self.newest, sample):
            self.begun[name] = sample.at
        self.layout = _layout(self.newest, self.layout)
        packed = zlib.compress(_numbers(self.newest, self.layout).tobytes(), 1)
        highest = {name: _highest(self.newest, name) for name in REMEMBERED if self.newest.levels.get(name)}
        self.kept.append(_Kept(self.newest.at, packed, self.layout, self.newest.unknown, highest))
        self.newest = sample
        self.unpacked.clear()
        self._thin_out(history_s)
        return True

    def _thin_out(self, history_s: float) -> None:
        now, kept = self.newest.at, self.kept
        while len(kept) > 1 and kept[1].at <= now - history_s:
            del kept[0]  # the one after it serves the longest window
        old = bisect_right(kept, now - FINE_SPAN_S, key=lambda each: each.at) - 1
        while old >= 2 and kept[old].at - kept[old - 2].at <= COARSE_S:
            del kept[old - 1]
            old -= 1

    def span(self, family: str, begin: float, end: float) -> _Span | None:
        """The samples that a window lies between, as far as they are known; None: nothing can be said of it."""
        first = self.begun.get(family, -math.inf)
        times = [each.at for each in self.kept]
        last = self._known(family, bisect_right([*times, self.newest.at], end) - 1, first)
        if last is None or last.at <= begin:
            return None
        past = self._known(family, bisect_right(times, begin) - 1, first)
        if past is None and self.started is not None and begin <= self.started < last.at and first == -math.inf:
            return _Span(None, last, last.at - self.started)
        past = past or self._after(family, max(begin, first))
        return _Span(past, last, last.at - past.at) if past is not None and past.at < last.at else None

    def _known(self, family: str, index: int, first: float) -> Sample | None:
        """The newest sample up to an index that knows a family and is not from before it began anew."""
        for which in range(index, -1, -1):
            each = self.newest if which == len(self.kept) else self.kept[which]
            if each.at < first:
                return None
            if family not in each.unknown:
                return self._sample(each)
        return None

    def _after(self, family: str, begin: float) -> Sample | None:
        """The oldest sample since `begin` that knows a family."""
        found = next((each for each in self.kept if each.at >= begin and family not in each.unknown), None)
        return self._sample(found) if found is not None else None

    def _sample(self, kept: Sample | _Kept) -> Sample:
        if isinstance(kept, Sample):
            return kept
        if kept.at not in self.unpacked:
            if len(self.unpacked) >= _MOST_UNPACKED:
                self.unpacked.clear()
            self.unpacked[kept.at] = _unpacked(kept)
        return self.unpacked[kept.at]


def _highest(sample: Sample, family: str) -> float:
    return max(sample.levels[family].values())


def _backwards(before: Sample, after: Sample) -> Iterator[str]:
    """Families of which something counts less than before."""
    for name, sums in before.counters.items():
        now = after.counters.get(name)
        if name not in after.unknown and (now is None or any(now.get(key, -1) < value for key, value in sums.items())):
            yield name
    for name, histograms in before.histograms.items():
        later = after.histograms.get(name)
        if name not in after.unknown and (
            later is None or any(_less(later.get(key), histogram) for key, histogram in histograms.items())
        ):
            yield name


def _less(now: Histogram | None, before: Histogram) -> bool:
    return (
        now is None
        or now.bounds != before.bounds
        or any(late < early for late, early in zip(now.counts, before.counts, strict=True))
    )


# -- differences -----------------------------------------------------------------------------------------------------


def _sum(one: Rise, other: Rise) -> Rise:
    """Rises of two processes, watched for different times: their rates add up."""
    increment, rate = one.increment + other.increment, one.per_second + other.per_second
    return Rise(increment, increment / rate if rate > 0 else max(one.seconds, other.seconds))


def _difference(end: Histogram, begin: Histogram | None, seconds: float) -> Latency:
    past = begin.counts if begin is not None and begin.bounds == end.bounds else (0.0,) * len(end.counts)
    counts = tuple(max(0, round(now - then)) for now, then in zip(end.counts, past, strict=True))
    return Latency(end.bounds, counts, end.total - (begin.total if begin is not None else 0.0), seconds)


def _together(one: Latency, other: Latency) -> Latency:
    bounds = tuple(sorted(set(one.bounds) & set(other.bounds)))
    counts = zip(_coarser(one, bounds), _coarser(other, bounds), strict=True)
    total, seconds = one.total + other.total, max(one.seconds, other.seconds)
    return Latency(bounds, tuple(a + b for a, b in counts), total, seconds)


def _coarser(latency: Latency, bounds: tuple[float, ...]) -> list[int]:
    """The same calls between fewer bounds, all of which it has."""
    if bounds == latency.bounds:
        return list(latency.counts)
    up_to = dict(zip((*latency.bounds, math.inf), accumulate(latency.counts), strict=True))
    ends = [up_to[bound] for bound in (*bounds, math.inf)]
    return [end - begin for begin, end in zip([0, *ends], ends, strict=False)]


# -- packing -----------------------------------------------------------------------------------------------------------

_Layout = tuple[tuple[str, Labels, tuple[float, ...] | None], ...]
"""(family, labels, bounds) of what stands in a packed sample, in order; without bounds a single counter."""


def _layout(sample: Sample, before: _Layout | None) -> _Layout:
    """What stands in a sample; the very object as before where it is the same."""
    counters = ((name, key, None) for name, sums in sample.counters.items() for key in sums)
    histograms = ((name, key, h.bounds) for name, all_ in sample.histograms.items() for key, h in all_.items())
    made = (*counters, *histograms)
    return before if made == before else made


def _numbers(sample: Sample, layout: _Layout) -> array[float]:
    numbers = array("d")
    for name, key, bounds in layout:
        if bounds is None:
            numbers.append(sample.counters[name][key])
        else:
            histogram = sample.histograms[name][key]
            numbers.extend(histogram.counts)
            numbers.append(histogram.total)
    return numbers


def _unpacked(kept: _Kept) -> Sample:
    numbers = array("d", zlib.decompress(kept.packed))
    counters: dict[str, dict[Labels, float]] = {}
    histograms: dict[str, dict[Labels, Histogram]] = {}
    index = 0
    for name, key, bounds in kept.layout:
        if bounds is None:
            counters.setdefault(name, {})[key] = numbers[index]
            index += 1
        else:
            end = index + len(bounds) + 1
            histograms.setdefault(name, {})[key] = Histogram(bounds, tuple(numbers[index:end]), numbers[end])
            index = end + 1
    return Sample(kept.at, None, counters, {}, histograms, kept.unknown)
