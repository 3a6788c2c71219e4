"""What is usual: the median and the spread of a figure over windows of the past.

A median does not move for a few bad windows, and the spread says how far the figure strays healthily.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

_TO_DEVIATION = 1.4826
"""Of the median distance from the median, so that it is a standard deviation where values are spread normally."""
_STRAYS = 4.0
"""So many deviations above the median are no accident."""


@dataclass(frozen=True, slots=True)
class Usual:
    """A figure's own past."""

    value: float
    """The median."""
    deviation: float
    """Robust: of the median distance from the median; 0 for a single window."""
    seconds: float
    """Of the past that it rests on."""

    def exceeded(self, now: float, ratio: float) -> bool:
        """`now` is at least so many times as large, and beyond where it strays."""
        return now >= ratio * self.value and now > self.value + _STRAYS * self.deviation


def usual(values: Sequence[float], seconds: float) -> Usual | None:
    """Of these windows; None: there are none."""
    if not values:
        return None
    middle = median(values)
    spread = median(abs(value - middle) for value in values)
    return Usual(middle, _TO_DEVIATION * spread, seconds)
