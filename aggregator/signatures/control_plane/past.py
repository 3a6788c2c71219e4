"""The API server's figures, window by window, over a sliding hour: what each is compared with.

A window in which something had climbed does not count as usual: else an incident of half an hour would become what is
usual. After GIVE_UP_S of nothing else the new state is what is usual, and the past begins anew.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from aggregator.cluster.metric_families import (
    APF_WAIT_SECONDS,
    CONNECT,
    ETCD_SECONDS,
    NON_RESOURCE,
    REQUEST_SECONDS,
    REQUESTS,
    WATCH,
    WEBHOOK_SECONDS,
    Labels,
)
from aggregator.cluster.metrics_history import Latency, MetricsHistory
from aggregator.signatures.control_plane.baseline import Usual, usual
from aggregator.signatures.thresholds import Thresholds

LATENCIES = (REQUEST_SECONDS, ETCD_SECONDS, WEBHOOK_SECONDS, APF_WAIT_SECONDS)
"""Families whose 99th percentiles are compared with their past."""
LASTING = frozenset({WATCH, CONNECT, NON_RESOURCE})
"""Verbs that last as long as somebody listens, and health checks: neither says how fast the server is."""
GIVE_UP_S = 14_400.0
_SLACK_S = 1.0

Key = tuple[str, Labels]
"""Family and labels; rates of requests are under REQUESTS, by (verb,) and, all together, by ()."""


@dataclass(frozen=True, slots=True)
class Window:
    """Figures of one window."""

    begin: float
    end: float
    """Seconds since the epoch."""
    latencies: Mapping[Key, Latency]
    rates: Mapping[Key, float]
    """Requests per second of each API server on average: of several behind one address, not all are heard at a time."""
    servers: int = 1
    """How many were heard."""

    def p99(self, key: Key) -> float | None:
        """In seconds; None: too few calls."""
        latency = self.latencies.get(key)
        return latency.quantile(0.99) if latency is not None else None


@dataclass(slots=True)
class _Good:
    """What is kept of a window in which nothing had climbed."""

    begin: float
    end: float
    p99: Mapping[Key, float]
    means: Mapping[Key, float]
    rates: Mapping[Key, float]


@dataclass(slots=True)
class Past:
    """Windows in which nothing had climbed, oldest first."""

    good: deque[_Good] = field(default_factory=deque)

    def note(self, window: Window, thresholds: Thresholds) -> None:
        """Take in a window in which nothing had climbed."""
        p99 = {key: value for key in window.latencies if (value := window.p99(key)) is not None}
        means = {key: value for key in p99 if (value := mean(window.latencies[key])) is not None}
        self.good.append(_Good(window.begin, window.end, p99, means, window.rates))
        while self.good and self.good[0].begin < window.begin - thresholds.api_past_s:
            self.good.popleft()

    def outlived(self, now: float) -> bool:
        """Nothing has been as it was for so long that the past is none any more."""
        return bool(self.good) and self.good[-1].end < now - GIVE_UP_S

    def before(self, window: Window) -> list[_Good]:
        """Windows that were over when this one began."""
        return [each for each in self.good if each.end <= window.begin + _SLACK_S]


@dataclass(frozen=True, slots=True)
class Comparison:
    """A window's own past: windows before it and, where these are too short a time, what counters said of the time
    before the first sample."""

    windows: list[_Good]
    covered_s: float
    least_s: float
    history: MetricsHistory

    def p99(self, key: Key) -> Usual | None:
        """What is usual of a 99th percentile, in seconds; None: too little is known of its past."""
        values = [each.p99[key] for each in self.windows if key in each.p99]
        seconds = self.covered_s
        if seconds < self.least_s or not values:
            family, labels = key
            earlier = self.history.latencies_before(family).get(labels)
            value = earlier.quantile(0.99) if earlier is not None else None
            if earlier is not None and value is not None:
                values.append(value)
                seconds += earlier.seconds
        return usual(values, seconds) if seconds >= self.least_s else None

    def mean(self, key: Key) -> float | None:
        """What is usual of a mean, in seconds, over the same past."""
        values = [each.means[key] for each in self.windows if key in each.means]
        if self.covered_s < self.least_s or not values:
            family, labels = key
            earlier = self.history.latencies_before(family).get(labels)
            value = mean(earlier) if earlier is not None else None
            values += [value] if value is not None else []
        found = usual(values, self.covered_s)
        return found.value if found is not None else None

    def rate(self, key: Key) -> Usual | None:
        """What is usual of a rate, likewise."""
        values = [each.rates[key] for each in self.windows if key in each.rates]
        seconds = self.covered_s
        if seconds < self.least_s or not values:
            rises = {k: r.per_second for k, r in self.history.rises_before(REQUESTS).items() if r.seconds}
            before = _rates(rises, self.history.processes)
            earlier_s = max((r.seconds for r in self.history.rises_before(REQUESTS).values()), default=0.0)
            if key in before:
                values.append(before[key])
                seconds += earlier_s
        return usual(values, seconds) if seconds >= self.least_s else None


def compare(past: Past, window: Window, history: MetricsHistory, thresholds: Thresholds) -> Comparison:
    """What a window is to be compared with."""
    windows = past.before(window)
    covered, until = 0.0, -math.inf
    for each in windows:
        covered += each.end - max(each.begin, until)
        until = max(until, each.end)
    return Comparison(windows, covered, thresholds.api_past_min_s, history)


def mean(latency: Latency) -> float | None:
    """In seconds; None: not known."""
    return latency.total / latency.calls if latency.calls and math.isfinite(latency.total) else None


def window_at(history: MetricsHistory, end: float, window_s: float) -> Window | None:
    """The window that ended then; None: nothing can be said of it."""
    before_s = history.at - end
    latencies: dict[Key, Latency] = {}
    for family in LATENCIES:
        for labels, latency in history.latencies(family, window_s, before_s).items():
            if not (family == REQUEST_SECONDS and labels[0] in LASTING):
                latencies[family, labels] = latency
    rises = history.rises(REQUESTS, window_s, before_s)
    if not latencies and not rises:
        return None
    seconds = max([*(each.seconds for each in latencies.values()), *(each.seconds for each in rises.values())])
    servers = max(1, history.heard(REQUESTS, window_s, before_s))
    rates = _rates({labels: rise.per_second for labels, rise in rises.items()}, servers)
    return Window(end - seconds, end, latencies, rates, servers)


def _rates(of_each: Mapping[Labels, float], servers: int) -> dict[Key, float]:
    """By verb and altogether, of rates by (verb, resource, code)."""
    found: dict[Key, float] = {}
    for (verb, *_), rate in of_each.items():
        if verb not in LASTING:
            for key in ((REQUESTS, ()), (REQUESTS, (verb,))):
                found[key] = found.get(key, 0.0) + rate / servers
    return found
