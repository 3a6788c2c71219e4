"""What the API server's clock says, from the Date headers of its answers.

Ages of API objects are differences to times that its clock gave. Where ours is another they would be wrong by as much.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from statistics import median

_KEPT = 9
_RESOLUTION_S = 2.0
"""A Date header has seconds, and the way there takes time: below this, clocks are called alike."""
_STEP_S = 1.0
"""Our own clock has been set, or the machine has slept, if clock and monotonic clock differ by so much."""


@dataclass(frozen=True, slots=True)
class _Sample:
    offset_s: float
    drift_s: float
    """Our clock less the monotonic clock, then."""


class ServerTime:
    """The API server's clock."""

    def __init__(self, clock: Callable[[], float], monotonic: Callable[[], float]) -> None:
        self._clock, self._monotonic = clock, monotonic
        self._samples: deque[_Sample] = deque(maxlen=_KEPT)

    def heard(self, date: str | None, asked_at: float) -> None:
        """An answer with this Date header has come to what was asked at `asked_at` (seconds since the epoch)."""
        now = self._clock()
        try:
            said = parsedate_to_datetime(date or "").timestamp()
        except (ValueError, TypeError, OverflowError):
            return
        # It was said between asking and hearing, and up to a second later than the header tells.
        offset = (said + 0.5) - (asked_at + now) / 2
        self._samples.append(_Sample(offset, now - self._monotonic()))

    def known(self) -> bool:
        """It has answered since our own clock was set, and said what time it is."""
        return bool(self._offsets())

    def offset_s(self) -> float:
        """Its clock less ours; 0 where they are alike or nothing is known. The median of several answers, so that a
        single one by a proxy or from a server whose clock is wrong does not count."""
        offsets = self._offsets()
        offset = median(offsets) if offsets else 0.0
        return offset if abs(offset) > _RESOLUTION_S else 0.0

    def _offsets(self) -> list[float]:
        drift = self._clock() - self._monotonic()
        return [sample.offset_s for sample in self._samples if abs(sample.drift_s - drift) < _STEP_S]
