"""Sums of counters whose parts come and go: a sum that falls when a pod leaves would pass for a restart."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence

MOST_GONE = 4_096
"""Parts that are remembered after they went, for some come back: a row that was not among the largest for a while."""
MOST_GROUPS = 2_000
"""Sums that are kept; those that nothing was added to for longest are forgotten first."""

Group = tuple[str, ...]


class Rising:
    """By group: the sum of how much each of its parts rose, from its first value on."""

    def __init__(self) -> None:
        self._parts: OrderedDict[str, tuple[float, ...]] = OrderedDict()
        """Values as they were seen last; those not seen for longest first."""
        self._sums: OrderedDict[Group, list[float]] = OrderedDict()

    def take(self, group: Group, part: str, values: Sequence[float]) -> None:
        """A part as it is now. Where any of its values fell it began anew, and counts whole."""
        sums = self._sums.get(group)
        if sums is None or len(sums) != len(values):
            sums = self._sums[group] = [0.0] * len(values)
        self._sums.move_to_end(group)
        before, now = self._parts.get(part, ()), tuple(values)
        self._parts[part] = now
        self._parts.move_to_end(part)
        if before == now:
            return
        if len(before) != len(now) or any(then > value for then, value in zip(before, now, strict=True)):
            before = (0.0,) * len(now)
        for place, value in enumerate(now):
            sums[place] += value - before[place]

    def settle(self, present: int) -> None:
        """All parts have been taken, so many; forget what went long ago."""
        while len(self._parts) > present + MOST_GONE:
            self._parts.popitem(last=False)
        while len(self._sums) > MOST_GROUPS:
            self._sums.popitem(last=False)

    @property
    def sums(self) -> Mapping[Group, Sequence[float]]:
        """By group."""
        return self._sums
