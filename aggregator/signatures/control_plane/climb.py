"""What of the API server's figures has climbed against its own past, worked out once for each sample of its metrics."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

from aggregator.cluster.metric_families import (
    APF_WAIT_SECONDS,
    ETCD_SECONDS,
    REQUEST_SECONDS,
    REQUESTS,
    WEBHOOK_SECONDS,
)
from aggregator.cluster.metrics_history import Latency, MetricsHistory
from aggregator.histogram import MIN_CALLS
from aggregator.signatures.control_plane.baseline import Usual
from aggregator.signatures.control_plane.past import Comparison, Key, Past, Window, compare, mean, window_at
from aggregator.signatures.thresholds import Thresholds
from aggregator.view import ClusterView

_NAME = "control_plane/climb"
_SLOW_CALLS_MIN = 5
"""Fewer calls above the usual 99th percentile are an accident."""
_MEAN_SHARE = 0.75
"""A mean climbs less than a tail: by this share of it."""
_FLAT = 1.5
"""A tail that is less than so many times what is usual is flat."""
_DEVIATIONS = 3.0
"""Of a number of calls, by chance alone: so many square roots of it are more."""


@dataclass(frozen=True, slots=True)
class Climb:
    """A 99th percentile that has climbed."""

    name: str
    """The verb, operation, webhook or priority level."""
    latency: Latency
    p99_ms: float
    past_ms: float


@dataclass(frozen=True, slots=True)
class Traffic:
    """Requests per second of an API server, without watches and health checks."""

    now: float
    past: float
    climbed: bool
    servers: int = 1
    """How many were heard: the rates are their average."""

    @property
    def said(self) -> str:
        """How it compares, in words."""
        each = f" for each of {self.servers} API servers" if self.servers > 1 else ""
        if not self.past:
            return f"{self.now:.1f} requests/s{each}"
        change = round(100 * (self.now / self.past - 1))
        return f"{self.now:.1f} requests/s{each}, {abs(change)} % {'more' if change > 0 else 'fewer'} than usual"


@dataclass(frozen=True, slots=True)
class Api:
    """What the newest window says."""

    window: Window | None = None
    """None: there are no two samples."""
    verbs: Sequence[Climb] = ()
    etcd: Sequence[Climb] = ()
    webhooks: Sequence[Climb] = ()
    queues: Sequence[Climb] = ()
    """Of priority and fairness."""
    traffic: Traffic | None = None
    """None: its past is not known."""
    too_few: Sequence[tuple[str, int]] = ()
    """Verbs with too few calls for a tail, and how many."""
    compared: int = 0
    """Verbs that could be compared with their past."""
    etcd_flat: bool = False
    """Calls of etcd could be compared with their past, and none takes noticeably longer."""
    since: float = 0.0
    """When the first window began in which a verb had climbed and not come down since; 0.0: none has."""


@dataclass(slots=True)
class _Book:
    history: MetricsHistory
    judged_by: Thresholds
    past: Past = field(default_factory=Past)
    until: float = -math.inf
    since: float = 0.0
    revision: int = -1
    api: Api = field(default_factory=Api)


def api_of(view: ClusterView, thresholds: Thresholds) -> Api:
    """What has climbed. Costs nothing while no new sample has come."""
    derived = view.objects.derived
    kept = derived.pop(_NAME, None)  # what raises leaves nothing half done behind
    book = kept if isinstance(kept, _Book) else None
    if book is None or book.history is not view.metrics or book.judged_by != thresholds:
        book = _Book(view.metrics, thresholds)
    if book.revision != view.metrics.revision:
        for end in view.metrics.times():
            if end > book.until:
                _judge(book, end)
        book.revision = view.metrics.revision
    derived[_NAME] = book
    return book.api


def _judge(book: _Book, end: float) -> None:
    book.until = end
    window = window_at(book.history, end, book.judged_by.window_s)
    if window is None:
        return
    if book.past.outlived(end):
        book.past = Past()
    compared = compare(book.past, window, book.history, book.judged_by)
    verbs = _climbed(REQUEST_SECONDS, window, compared, book.judged_by)
    if not verbs:
        book.since = 0.0
        book.past.note(window, book.judged_by)
    elif not book.since:
        book.since = window.begin
    keys = [key for key in window.latencies if key[0] == REQUEST_SECONDS]
    book.api = Api(
        window,
        verbs,
        _climbed(ETCD_SECONDS, window, compared, book.judged_by),
        _climbed(WEBHOOK_SECONDS, window, compared, book.judged_by),
        _climbed(APF_WAIT_SECONDS, window, compared, book.judged_by),
        _traffic(window, compared, verbs, book.judged_by),
        [(key[1][0], calls) for key in keys if 0 < (calls := window.latencies[key].calls) < MIN_CALLS],
        sum(1 for key in keys if window.p99(key) is not None and compared.p99(key) is not None),
        _flat(ETCD_SECONDS, window, compared),
        book.since,
    )


def _flat(family: str, window: Window, compared: Comparison) -> bool:
    pairs = [(window.p99(key), compared.p99(key)) for key in window.latencies if key[0] == family]
    known = [now / past.value for now, past in pairs if now is not None and past is not None and past.value > 0]
    return bool(known) and max(known) < _FLAT


def _climbed(family: str, window: Window, compared: Comparison, thresholds: Thresholds) -> list[Climb]:
    """The worst first."""
    found = []
    least_ms = thresholds.apf_wait_min_ms if family == APF_WAIT_SECONDS else thresholds.api_slow_min_ms
    for key, latency in window.latencies.items():
        now = window.p99(key) if key[0] == family else None
        if now is None or now * 1000 < least_ms:
            continue
        past = compared.p99(key)
        if past is None or not past.exceeded(now, thresholds.api_slower_ratio):
            continue
        climb = Climb(key[1][0] if key[1] else "", latency, now * 1000, past.value * 1000)
        if calls_above(latency, past.value) >= _SLOW_CALLS_MIN and _surely(climb, compared.mean(key), thresholds):
            found.append(climb)
    return sorted(found, key=lambda climb: (-climb.p99_ms, climb.name))


def _surely(climb: Climb, usual_mean: float | None, thresholds: Thresholds) -> bool:
    """Wherever in its bucket the percentile really is, it has climbed; where that is open, the mean has to tell."""
    least_ms = 1000 * max((bound for bound in climb.latency.bounds if bound * 1000 < climb.p99_ms), default=0.0)
    if least_ms >= thresholds.api_slower_ratio * climb.past_ms:
        return True
    mean_now = mean(climb.latency)
    if usual_mean is None or mean_now is None:
        return True
    return mean_now >= _MEAN_SHARE * thresholds.api_slower_ratio * usual_mean


def _traffic(window: Window, compared: Comparison, verbs: Sequence[Climb], thresholds: Thresholds) -> Traffic | None:
    """All of it; it has climbed, too, where that of each verb that is slow has."""
    everything: Key = (REQUESTS, ())
    past = compared.rate(everything)
    if past is None or everything not in window.rates:
        return None
    climbed = _more(window, everything, past, thresholds)
    if not climbed and verbs:
        own = [(REQUESTS, (climb.name,)) for climb in verbs]
        usual = [(key, compared.rate(key)) for key in own]
        climbed = all(each is not None and _more(window, key, each, thresholds) for key, each in usual)
    return Traffic(window.rates[everything], past.value, climbed, window.servers)


def _more(window: Window, key: Key, past: Usual, thresholds: Thresholds) -> bool:
    seconds = window.end - window.begin
    expected, calls = past.value * seconds, window.rates.get(key, 0.0) * seconds
    return calls >= thresholds.api_traffic_ratio * expected and calls > expected + _DEVIATIONS * math.sqrt(expected)


def calls_above(latency: Latency, seconds: float) -> float:
    """How many calls took longer, as far as the buckets tell: spread evenly within theirs."""
    which = bisect_right(latency.bounds, seconds)
    above = float(sum(latency.counts[which + 1 :]))
    if which == len(latency.bounds):
        return float(latency.counts[which]) if seconds <= latency.bounds[-1] else 0.0
    low = latency.bounds[which - 1] if which else 0.0
    high = latency.bounds[which]
    return above + latency.counts[which] * (high - seconds) / (high - low)
