"""What a chart draws: figures that hold for stretches of time. Where there is none, nothing is known. Pure.

A counter has no point in a minute in which it did not rise, a gauge none while it stays as it is, a quantile none where
there were too few calls: what is missing means something else each time, and nowhere is it made a zero of.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from aggregator.history.columns import Span
from aggregator.history.minutes import MINUTE_S
from aggregator.history.reading import Point

HOUR_S = 3_600
RETOLD_S = 600.0
"""All gauges that stand are told anew when an hour begins; one that is not by then may not stand any more."""
_GREATEST = 1e18


@dataclass(frozen=True, slots=True)
class Stretch:
    """A figure that holds in [begin, end), seconds since the epoch."""

    begin: float
    end: float
    value: float
    low: float
    high: float


def plain(begin: float, end: float, value: float) -> Stretch:
    """One that did not vary."""
    return Stretch(begin, end, value, value, value)


def held(points: Sequence[Point], heard: Sequence[Span], until: float) -> list[Stretch]:
    """Of a gauge: each value until the next one, as long as its node was heard."""
    found = []
    for index, point in enumerate(points):
        following = points[index + 1].at if index + 1 < len(points) else math.inf
        hour_end = (point.at // HOUR_S + 1) * HOUR_S
        end = min(following, until) if min(following, until) <= hour_end + RETOLD_S else float(hour_end)
        whole = Stretch(point.at, end, point.value, point.low, point.high)
        found += list(_within(whole, heard))
    return found


def _within(stretch: Stretch, spans: Sequence[Span]) -> Iterable[Stretch]:
    for begin, end in spans[max(0, bisect_right(spans, (stretch.begin, math.inf)) - 1) :]:
        if begin >= stretch.end:
            return
        if max(begin, stretch.begin) < min(end, stretch.end):
            yield replace(stretch, begin=max(begin, stretch.begin), end=min(end, stretch.end))


def risen(points: Sequence[Point], heard: Sequence[Span], now: float) -> list[Stretch]:
    """Of a counter: by how much it rose in each minute that is over, and 0 where its node was heard and it did not."""
    over = now // MINUTE_S * MINUTE_S
    points = [point for point in points if point.at < over]
    heard = [(begin, min(end, over)) for begin, end in heard if begin < over]
    found = [plain(point.at, point.at + MINUTE_S, point.value) for point in points]
    starts = [point.at for point in points]
    for begin, end in heard:
        at = begin
        for start in starts[bisect_left(starts, begin) : bisect_left(starts, end)]:
            if start > at:
                found.append(plain(at, start, 0.0))
            at = start + MINUTE_S
        if at < end:
            found.append(plain(at, end, 0.0))
    return sorted(found, key=lambda each: each.begin)


def told(points: Iterable[Point]) -> list[Stretch]:
    """Of a quantile: minute by minute, as far as there were calls enough."""
    return [Stretch(point.at, point.at + MINUTE_S, point.value, point.low, point.high) for point in points]


def drawable(stretches: Iterable[Stretch], begin: float, end: float) -> list[Stretch]:
    """Those in [begin, end), by time, without what is no number and without what overlaps the one before."""
    found: list[Stretch] = []
    for each in sorted((each for each in stretches if _is_sane(each)), key=lambda each: (each.begin, each.end)):
        start = max(each.begin, begin, found[-1].end if found else begin)
        if start < min(each.end, end):
            value = min(max(each.value, -_GREATEST), _GREATEST)
            low, high = (
                min(max(x, -_GREATEST), _GREATEST) if math.isfinite(x) else value for x in (each.low, each.high)
            )
            found.append(Stretch(start, min(each.end, end), value, min(low, value), max(high, value)))
    return found


def _is_sane(each: Stretch) -> bool:
    return math.isfinite(each.begin) and math.isfinite(each.end) and math.isfinite(each.value)


def condensed(stretches: Sequence[Stretch], begin: float, end: float, most: int, *, last: bool) -> list[Stretch]:
    """At most so many, of equal length: what a gauge showed last, else the mean, with the least and the greatest.

    As they are where they are not more. A part of which half or more is not known stays unknown.
    """
    if len(stretches) <= most or end <= begin:
        return list(stretches)
    length = math.ceil((end - begin) / most / MINUTE_S) * MINUTE_S
    parts: dict[int, list[Stretch]] = {}
    for each in stretches:
        for index in range(int((each.begin - begin) // length), math.ceil((each.end - begin) / length)):
            left, right = begin + index * length, begin + (index + 1) * length
            inside = replace(each, begin=max(each.begin, left), end=min(each.end, right))
            if inside.begin < inside.end:
                parts.setdefault(index, []).append(inside)
    found = []
    for index, inside_it in sorted(parts.items()):
        left, right = begin + index * length, min(end, begin + (index + 1) * length)
        known = sum(each.end - each.begin for each in inside_it)
        if known * 2 <= right - left:
            continue
        low, high = min(each.low for each in inside_it), max(each.high for each in inside_it)
        value = inside_it[-1].value if last else min(max(mean(inside_it, left, right) or 0.0, low), high)
        found.append(Stretch(left, right, value, low, high))
    return found


def middle(stretches: Iterable[Stretch], begin: float, end: float) -> float | None:
    """The median of what is known in [begin, end), by how long it held; None: nothing."""
    held_for = sorted((value, length) for value, length in _lengths(stretches, begin, end))
    half = sum(length for _, length in held_for) / 2
    for value, length in held_for:
        half -= length
        if half <= 0:
            return value
    return None


def mean(stretches: Iterable[Stretch], begin: float, end: float) -> float | None:
    """The mean, likewise."""
    held_for = list(_lengths(stretches, begin, end))
    total = sum(length for _, length in held_for)
    return sum(value * (length / total) for value, length in held_for) if total > 0 else None


def _lengths(stretches: Iterable[Stretch], begin: float, end: float) -> Iterable[tuple[float, float]]:
    for each in stretches:
        length = min(each.end, end) - max(each.begin, begin)
        if length > 0:
            yield each.value, length
