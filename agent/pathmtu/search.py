"""The search for the largest packet that a path passes. Pure: no sockets, no clock; it says what to send and is told.

An acknowledgement is proof: that size passed, and with it all smaller ones, however late or often it comes. Silence is
none: the probe or its acknowledgement may be lost. So silence only steers the search, and a size counts as too large
when it stayed unanswered again and again *while the largest size that passes was answered between the tries*. How
often is enough follows from the loss seen on this path. Whoever runs out of packets before that says "not certain".

What the verdict rests on: it is wrong only if every confirming try of the next larger size was lost although it could
have passed. At the loss the path has shown, that happens once in a million searches; never is it too large.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from dataclasses import dataclass

LIKELY_SIZES = (
    576, 1280, 1300, 1320, 1340, 1350, 1360, 1370, 1376, 1380, 1390, 1392, 1400, 1410, 1412, 1420, 1422, 1430, 1440,
    1442, 1446, 1450, 1454, 1460, 1472, 1476, 1480, 1492, 1500, 4352, 8500, 8896, 8900, 8930, 8950, 8951, 9000, 9001,
)  # fmt: skip
"""Sizes that networks and encapsulations give, tried before all others."""
MAX_PACKETS = 40
"""Packets that one search sends at most."""
FULL_SIZE_TRIES = 3
"""A full-size packet is sent so often before its silence starts the search."""
_REACH_VOLLEYS = (1, 2, 3)
"""The smallest packet is sent in such volleys before a peer counts as unreachable."""
_ERROR = 1e-6
"""Probability, at the loss seen, that a verdict rests on lost packets."""
_LEAST_TRIES = 6
_TRIES_AT_ONCE = 4
_MAX_LOCAL_LIMITS = 4


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a search ended."""

    size: int | None
    """The largest IP packet that was seen to arrive, in bytes; None: none."""
    top: int
    """The full size: what the sending interface passes."""
    certain: bool
    """The size is exact. Otherwise the path passes at least `size`, and loss hides how much more."""
    told: bool
    """An ICMP message about one of the packets said that it was too large."""
    packets: int
    """Sent."""


class Search:
    """One search between `floor`, the smallest packet, and `top`, the largest; sizes are of IP packets, in bytes.

    The owner asks `volley()` for the sizes to send next, tells what becomes of each try, and asks again once each is
    answered or given up; an empty volley means that `verdict()` stands. Answers may come at any time and twice.
    """

    def __init__(self, top: int, floor: int, *, max_packets: int = MAX_PACKETS) -> None:
        if not 0 < floor <= top:
            raise ValueError(f"no sizes between {floor} and {top}")
        self._top = top
        self._floor = floor
        self._max_packets = max_packets
        self._passed = 0
        """Largest size answered: proof."""
        self._silent: dict[int, int] = {}
        """Tries of larger sizes that stayed unanswered."""
        self._confirmed: dict[int, int] = {}
        """Those of them that were sent in a volley whose control was answered."""
        self._answered = 0
        """Tries that were answered."""
        self._lost = 0
        """Tries that stayed unanswered though their size passes."""
        self._hint = 0
        """Size that an ICMP message named."""
        self._told = False
        self._sent = 0
        self._reached = 0
        """Volleys of the smallest size sent."""
        self._local_limits = 0
        self._volley_silent: dict[int, int] = {}
        self._control = 0
        """Size of the volley's control; 0: the volley has none, or it is answered."""
        self._confirming = False

    # -- what happens --------------------------------------------------------------------------------------------------

    def answered(self, size: int, *, late: bool = False) -> None:
        """A try of `size` arrived there and the answer here. `late`: a try of an earlier volley, already given up."""
        self._answered += 1
        if size == self._control and not late:
            self._control = 0
        if size > self._passed:
            self._passed = size
            for smaller in [other for other in self._silent if other <= size]:
                self._lost += self._silent.pop(smaller)
                self._confirmed.pop(smaller, None)
                self._volley_silent.pop(smaller, None)

    def silent(self, size: int) -> None:
        """A try of `size` is given up; nothing came of it yet."""
        if size <= self._passed:
            self._lost += 1
        else:
            self._silent[size] = self._silent.get(size, 0) + 1
            self._volley_silent[size] = self._volley_silent.get(size, 0) + 1

    def refused(self, size: int, limit: int) -> None:
        """An ICMP message answers a try of `size`: too large, `limit` would pass (0: it does not say)."""
        self._told = True
        if self._floor <= limit < size:
            self._hint = limit
        self.silent(size)

    def too_large_here(self, size: int, limit: int) -> None:
        """The own host's kernel did not send `size`: its interface takes `limit` (0: it does not say)."""
        self._sent -= 1
        self._local_limits += 1
        known = self._floor <= limit < size
        self._top = max(self._floor, limit if known else size - 1)
        for larger in [other for other in self._silent if other > self._top]:
            del self._silent[larger]
            self._confirmed.pop(larger, None)

    # -- what to do next ---------------------------------------------------------------------------------------------

    def volley(self) -> list[int]:
        """Sizes of the next tries, in order; all of the volley before are answered or given up. Empty: the end."""
        self._book_volley()
        sizes = self._next()[: max(0, self._max_packets - self._sent)]
        self._sent += len(sizes)
        return sizes

    def verdict(self) -> Verdict:
        """What is known now; final once a volley was empty."""
        size = min(self._passed, self._top) or None
        certain = self._passed >= self._top or self._proven_limit() or (size is None and self._unreachable())
        return Verdict(size, self._top, certain, self._told, self._sent)

    def _book_volley(self) -> None:
        """A volley is over: what stayed silent counts if the path was seen alive meanwhile."""
        if self._confirming and not self._control:
            for size, tries in self._volley_silent.items():
                self._confirmed[size] = self._confirmed.get(size, 0) + tries
        self._volley_silent, self._control, self._confirming = {}, 0, False

    def _next(self) -> list[int]:
        if self._local_limits > _MAX_LOCAL_LIMITS or self.verdict().certain:
            return []
        if not self._passed:
            self._reached += 1
            return [self._floor] * _REACH_VOLLEYS[self._reached - 1]
        full = self._silent.get(self._top, 0)
        if full < FULL_SIZE_TRIES and not (full and self._hint):
            return [self._top] * (FULL_SIZE_TRIES - 1 if full else 1)
        ceiling = min(self._silent)
        if ceiling > self._passed + 1:
            return [self._between(ceiling)]
        return self._confirm(ceiling)

    def _unreachable(self) -> bool:
        return not self._passed and self._reached >= len(_REACH_VOLLEYS)

    def _between(self, ceiling: int) -> int:
        """A size between what passes and what seems not to: a likely one, else the middle."""
        passed = self._passed
        if passed < self._hint < ceiling:
            return self._hint
        if passed == self._hint:
            return passed + 1  # likely to be the very limit: one byte more says so
        first, last = bisect_right(LIKELY_SIZES, passed), bisect_left(LIKELY_SIZES, ceiling)
        if first < last:
            return LIKELY_SIZES[(first + last) // 2]
        if passed in LIKELY_SIZES:
            return passed + 1  # likewise
        return (passed + ceiling) // 2

    def _confirm(self, size: int) -> list[int]:
        """Tries of the size above the limit, and a control that the path is alive."""
        missing = self._needed() - self._confirmed.get(size, 0)
        self._control, self._confirming = self._passed, True
        return [*[size] * min(missing, _TRIES_AT_ONCE), self._passed]

    def _proven_limit(self) -> bool:
        return bool(self._passed) and self._confirmed.get(self._passed + 1, 0) >= self._needed()

    def _needed(self) -> int:
        """Unanswered tries that cannot well be loss, at the loss seen."""
        loss = (self._lost + 0.5) / (self._lost + self._answered + 1)
        return max(_LEAST_TRIES, math.ceil(math.log(_ERROR) / math.log(min(loss, 0.9))))
