"""A counter's recent past in pieces, newest first: since when something is as it is, and what it was before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from aggregator.histogram import quantile
from aggregator.node_state import NodeState

STEP_S = 10.0
"""Length of a piece, as far as the history is that fine."""
_COARSE_S = 60.0
_FINE_SPAN_S = 150.0
_LIKE_NOW = 1 / 3


@dataclass(frozen=True, slots=True)
class Piece:
    """By how much the counters of a subject rose in a stretch of time, in the order of their names."""

    begin: float
    end: float
    """Seconds since the epoch by the host's clock."""
    rises: Sequence[int]

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.end - self.begin

    @property
    def calls(self) -> int:
        """Of a histogram."""
        return sum(self.rises)


def pieces(state: NodeState, subject: str) -> Iterator[Piece]:
    """As far back as the history goes; none where nothing can be said."""
    reach, last_s, last = STEP_S, 0.0, None
    while reach <= state.history_s:
        found = state.rises(subject, reach)
        if found is None:
            return
        rises, seconds = found
        if seconds > last_s + 1.0:
            new = rises if last is None else [now - then for now, then in zip(rises, last, strict=True)]
            yield Piece(state.at - seconds, state.at - last_s, new)
            last_s, last = seconds, rises
        elif reach > last_s + 2 * _COARSE_S:
            return  # the history ends here
        reach = max(reach, last_s) + (STEP_S if reach < _FINE_SPAN_S else _COARSE_S)


def slow_since(state: NodeState, subject: str, bounds: Sequence[float], limit: float) -> float:
    """Since when the 99th percentile of a histogram has been above a limit, in microseconds as its bounds; 0.0: it is
    not.

    Pieces with too few calls for a tail are taken together with the one before. One whose calls took much less time on
    average than now had a few slow ones, and is not where it began.
    """
    since, mean_now, held = 0.0, 0.0, [0] * (len(bounds) + 1)
    for piece in pieces(state, subject):
        held = [one + other for one, other in zip(held, piece.rises, strict=True)]
        p99 = quantile(bounds, held, 0.99)
        if p99 is None:
            continue
        mean = waited_us(held, bounds) / sum(held)
        mean_now = mean_now or mean
        if p99 <= limit or mean < mean_now * _LIKE_NOW:
            break
        since, held = piece.begin, [0] * len(held)
    return since


def waited_us(counts: Sequence[int], bounds: Sequence[float]) -> float:
    """Microseconds of all calls together: each as long as the middle of its bucket."""
    middles = [(low + high) / 2 for low, high in zip([0, *bounds], bounds, strict=False)]
    return sum(count * us for count, us in zip(counts, [*middles, bounds[-1]], strict=False))


def split(state: NodeState, subject: str, at: float) -> tuple[Piece | None, Piece | None]:
    """What rose after a moment and what before, as far as is known."""
    after: list[Piece] = []
    before: list[Piece] = []
    for piece in pieces(state, subject):
        (after if piece.begin >= at - 1.0 else before).append(piece)
    return _joined(after), _joined(before)


def _joined(parts: Sequence[Piece]) -> Piece | None:
    if not parts:
        return None
    rises = [sum(column) for column in zip(*(part.rises for part in parts), strict=True)]
    return Piece(min(part.begin for part in parts), max(part.end for part in parts), rises)
