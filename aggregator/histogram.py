"""Quantiles of latency histograms: disjoint counts between ascending bounds, the last count above the last bound."""

from __future__ import annotations

from collections.abc import Sequence

MIN_CALLS = 20
"""Fewer calls say nothing of a tail."""


def quantile(bounds: Sequence[float], counts: Sequence[int], share: float) -> float | None:
    """A quantile in the bounds' unit, interpolated in its bucket; None: fewer than MIN_CALLS calls, or odd counts.

    In the last, open, bucket its lower bound is the answer: at least that.
    """
    total = sum(counts)
    if total < MIN_CALLS or len(counts) != len(bounds) + 1:
        return None
    rank, below = share * total, 0
    for index, count in enumerate(counts):
        if count and below + count >= rank:
            low = bounds[index - 1] if index else 0
            high = bounds[index] if index < len(bounds) else low
            return low + (high - low) * (rank - below) / count
        below += count
    return float(bounds[-1])
