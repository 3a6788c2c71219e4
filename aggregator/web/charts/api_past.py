"""The API server's past hour as stretches of time, out of the samples of its own metrics.

Taking a sample apart takes milliseconds and there are many: so this is done sample by sample, letting others go first,
and kept until the next one comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from weakref import WeakKeyDictionary

from aggregator.cluster.metric_families import Labels
from aggregator.cluster.metrics_history import MetricsHistory
from aggregator.signatures.control_plane.past import Key, Window, window_at
from aggregator.web.charts.data import Stretch, plain

LEAST_S = 55.0
"""Windows are at least so long: a tail takes calls."""


@dataclass(frozen=True, slots=True)
class _Kept:
    revision: int
    windows: list[Window]


_kept: WeakKeyDictionary[MetricsHistory, _Kept] = WeakKeyDictionary()


async def windows(history: MetricsHistory) -> list[Window]:
    """What is known of the past hour, window after window, oldest first."""
    kept = _kept.get(history)
    if kept is not None and kept.revision == history.revision:
        return kept.windows
    revision, found = history.revision, []
    for begin, end in _edges(history):
        window = window_at(history, end, end - begin)
        if window is not None:
            found.append(window)
        await asyncio.sleep(0)
    _kept[history] = _Kept(revision, found)
    return found


def _edges(history: MetricsHistory) -> list[tuple[float, float]]:
    """Times of samples that lie far enough apart, the newest among them."""
    chosen: list[float] = []
    for at in reversed(history.times()):
        if not chosen or chosen[-1] - at >= LEAST_S:
            chosen.append(at)
    chosen.reverse()
    return list(pairwise(chosen))


async def tail(history: MetricsHistory, key: Key) -> list[Stretch]:
    """A 99th percentile in microseconds; where there were too few calls, nothing."""
    found = await windows(history)
    told = ((each, each.p99(key)) for each in found)
    return [plain(each.begin, each.end, p99 * 1e6) for each, p99 in told if p99 is not None]


async def rate(history: MetricsHistory, key: Key) -> list[Stretch]:
    """Requests per second of one API server."""
    return [plain(each.begin, each.end, each.rates[key]) for each in await windows(history) if key in each.rates]


async def calls(history: MetricsHistory, key: Key) -> list[Stretch]:
    """How often per second what has latencies was called."""
    found = []
    for each in await windows(history):
        latency = each.latencies.get(key)
        if latency is not None and latency.seconds > 0:
            found.append(plain(each.begin, each.end, latency.calls / latency.seconds))
    return found


async def rises(history: MetricsHistory, family: str, wanted: Callable[[Labels], bool]) -> list[Stretch]:
    """What the counters of a family that are wanted rose by together, per second, over all API servers."""
    found = []
    for begin, end in _edges(history):
        rates = history.rises(family, end - begin, history.at - end)
        if rates:
            seconds = max(each.seconds for each in rates.values())
            value = sum(each.per_second for labels, each in rates.items() if wanted(labels))
            found.append(plain(end - seconds, end, value))
        await asyncio.sleep(0)
    return found
