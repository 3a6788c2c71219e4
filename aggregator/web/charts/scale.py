"""Where figures and times lie on a chart, and which of them its axes name. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from aggregator.node_state import MAX_TIME_S
from aggregator.web.charts.units import Unit

_STEPS_S = (60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800)
DAY_S = 86_400
_LEAST = 1e-9
"""Nothing is drawn smaller where figures lie decades apart."""
_ROOM = 0.08
"""Of the range, above and below where the axis does not begin with nothing."""


@dataclass(frozen=True, slots=True)
class Scale:
    """From figures to [0, 1]."""

    low: float
    high: float
    ticks: tuple[float, ...]
    logarithmic: bool = False

    def at(self, value: float) -> float:
        """Where a figure lies; what is beyond an end lies there."""
        if self.logarithmic:
            share = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return min(1.0, max(0.0, share))


def scale_of(values: Iterable[float], unit: Unit) -> Scale:
    """For these figures, all of them finite."""
    every = list(values)
    low, high = min(every, default=0.0), max(every, default=0.0)
    if unit.logarithmic:
        return _decades([max(each, _LEAST) for each in every if each > 0])
    if unit.from_zero:
        low, high = min(0.0, low), max(0.0, high)
    if high - low < 1e-9 * max(1.0, abs(high)):
        room = max(abs(high) * 0.05, 1.0)
        low, high = (low, high + room) if unit.from_zero else (low - room, high + room)
    elif not unit.from_zero:
        low, high = low - _ROOM * (high - low), high + _ROOM * (high - low)
    ticks = tuple(_round_figures(low, high, unit.base))
    return Scale(min((low, *ticks[:1])) if unit.from_zero else low, max((high, *ticks[-1:])), ticks)


def _decades(values: list[float]) -> Scale:
    low, high = min(values, default=1.0), max(values, default=1.0)
    first = math.floor(math.log10(low) + 1e-9)
    last = max(first + 1, math.ceil(math.log10(high) - 1e-9))
    every = max(1, math.ceil((last - first) / 4))
    ticks = tuple(10.0**power for power in range(first, last + 1, every))
    return Scale(10.0**first, 10.0**last, ticks, logarithmic=True)


def _round_figures(low: float, high: float, base: int) -> Iterable[float]:
    """Three to five of them."""
    if base == 2:  # bytes
        step = 2.0 ** math.ceil(math.log2((high - low) / 4))
    else:
        power = 10.0 ** math.floor(math.log10((high - low) / 4))
        step = next(power * each for each in (1, 2, 2.5, 5, 10) if power * each * 4 >= (high - low) * 0.999)
        if high - low >= 4:  # parts of one where no more than that is drawn
            step = max(1.0, step)
    first = math.ceil(low / step - 1e-9)
    for index in range(first, first + 6):
        if index * step <= high + step * 1e-6:
            yield index * step


def times(begin: float, end: float, most: int = 5) -> list[tuple[float, str]]:
    """Round moments between two, in UTC, with what they are called."""
    step = next((each for each in _STEPS_S if (end - begin) / each <= most), None)
    if step is None:
        step = math.ceil((end - begin) / most / DAY_S) * DAY_S
    called: Callable[[datetime], str] = _day if step >= DAY_S else _clock
    first = math.ceil(begin / step)
    return [
        (index * step, called(moment(index * step)))
        for index in range(first, first + most + 1)
        if begin <= index * step <= end
    ]


def moment(at: float) -> datetime:
    """A time that there is."""
    return datetime.fromtimestamp(min(max(0.0, at), float(MAX_TIME_S)), UTC)


def _clock(at: datetime) -> str:
    return _day(at) if not (at.hour or at.minute) else f"{at:%H:%M}"


def _day(at: datetime) -> str:
    return f"{at:%b} {at.day}"
