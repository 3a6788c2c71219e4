"""Metrics over time: the rates and latencies of a window, whoever answers and whatever begins anew."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator.cluster import metric_families as families
from aggregator.cluster.api_metrics import Histogram, Sample, parse_metrics
from aggregator.cluster.metrics_history import HISTORY_S, MAX_PROCESSES, MetricsHistory

_SHARED = os.environ.get("NODETELL_SHARED", "")
RECORDED = sorted(Path(_SHARED, "recordings").glob("metrics-apiserver-*.prom.gz")) if _SHARED else []

BOUNDS = (0.1, 0.5, 1.0)
GETS = ("GET", "pods", "200")


def sample(
    at: float,
    requests: float,
    *,
    started: float | None = 10.0,
    counts: tuple[float, ...] | None = None,
    bounds: tuple[float, ...] = BOUNDS,
    unknown: frozenset[str] = frozenset(),
) -> Sample:
    """So many requests since the process began, all fast unless told."""
    per_bucket = counts if counts is not None else (requests, *(0.0 for _ in bounds))
    known = families.REQUESTS not in unknown
    return Sample(
        at,
        started,
        {families.REQUESTS: {GETS: requests}} if known else {},
        {families.INFLIGHT: {("mutating",): requests % 7}},
        {families.REQUEST_SECONDS: {("GET",): Histogram(bounds, per_bucket, sum(per_bucket) / 10)}},
        unknown,
    )


def increment(history: MetricsHistory, window_s: float, before_s: float = 0.0) -> float | None:
    """Of the one counter; None: not known."""
    rise = history.rises(families.REQUESTS, window_s, before_s).get(GETS)
    return rise.increment if rise is not None else None


def test_a_rate_is_that_of_the_window() -> None:
    history = MetricsHistory()
    for number in range(10):
        history.add(sample(1000 + 30 * number, 500 + 60 * number))
    (rise,) = history.rises(families.REQUESTS, 60).values()
    assert (rise.increment, rise.seconds, rise.per_second) == (120, 60, 2)
    assert increment(history, 60, before_s=120) == 120
    assert (history.at, history.since, history.revision) == (1270, 1000, 10)


def test_one_sample_is_no_rate_and_none_is_no_error() -> None:
    history = MetricsHistory()
    assert history.rises(families.REQUESTS, 60) == {}
    assert history.levels(families.INFLIGHT, 60) == {}
    assert history.unknown(families.REQUESTS)
    history.add(sample(1000, 5))
    assert history.rises(families.REQUESTS, 60) == {}
    assert history.latencies(families.REQUEST_SECONDS, 60) == {}
    assert not history.unknown(families.REQUESTS)


def test_latencies_are_those_of_the_window_alone() -> None:
    history = MetricsHistory()
    history.add(sample(1000, 0, counts=(1e6, 0, 0, 0)))
    history.add(sample(1060, 0, counts=(1e6 + 50, 40, 10, 0)))
    latency = history.latencies(families.REQUEST_SECONDS, 60)[("GET",)]
    assert latency.counts == (50, 40, 10, 0)
    assert latency.calls == 100
    assert latency.total == pytest.approx(10)
    assert latency.quantile(0.99) == pytest.approx(0.95)


def test_few_calls_say_no_number() -> None:
    history = MetricsHistory()
    history.add(sample(1000, 0))
    history.add(sample(1060, 19))
    assert history.latencies(families.REQUEST_SECONDS, 60)[("GET",)].quantile(0.99) is None


def test_a_restarted_server_counts_from_nought() -> None:
    history = MetricsHistory()
    history.add(sample(1000, 1_000_000))
    history.add(sample(1030, 1_000_300))
    history.add(sample(1060, 50, started=1050.0))
    assert increment(history, 60) == 300 + 50
    history.add(sample(1090, 250, started=1050.0))
    assert increment(history, 60) == 250
    assert increment(history, 30) == 200


def test_a_counter_that_goes_backwards_without_a_restart_begins_anew() -> None:
    history = MetricsHistory()
    history.add(sample(1000, 900, started=None))
    history.add(sample(1030, 1000, started=None))
    history.add(sample(1060, 3, started=None))
    assert increment(history, 60) is None
    history.add(sample(1090, 8, started=None))
    assert increment(history, 90) == 5
    assert history.latencies(families.REQUEST_SECONDS, 90)[("GET",)].calls == 5


def test_several_servers_behind_one_address_are_told_apart() -> None:
    history = MetricsHistory()
    for number in range(20):
        which = number % 3
        history.add(sample(1000 + 30 * number, 1e6 * which + 90 * number, started=10.0 + which))
    # Each server is heard every 90 s, and serves 3 a second.
    (rise,) = history.rises(families.REQUESTS, 180).values()
    assert rise.per_second == pytest.approx(9)
    calls = history.latencies(families.REQUEST_SECONDS, 180)[("GET",)].calls
    assert calls == pytest.approx(9 * 180, rel=0.2)


def test_servers_of_different_versions_have_the_buckets_they_share() -> None:
    history = MetricsHistory()
    for at, factor in ((1000, 1), (1060, 2)):
        history.add(sample(at, 0, counts=(10 * factor, 20 * factor, 30 * factor, 40 * factor)))
        history.add(
            sample(at + 1, 0, counts=(1 * factor, 2 * factor, 3 * factor), bounds=(0.1, 1.0), started=20.0),
        )
    latency = history.latencies(families.REQUEST_SECONDS, 60)[("GET",)]
    assert latency.bounds == (0.1, 1.0)
    assert latency.counts == (11, 52, 43)


def test_a_series_that_appears_rose_from_nought() -> None:
    history = MetricsHistory()
    history.add(sample(1000, 5))
    later = sample(1060, 6)
    history.add(
        Sample(1060, 10.0, {families.REQUESTS: {GETS: 6, ("LIST", "secrets", "200"): 25_500}}, {}, later.histograms)
    )
    rises = history.rises(families.REQUESTS, 60)
    assert {key: rise.increment for key, rise in rises.items()} == {GETS: 1, ("LIST", "secrets", "200"): 25_500}


def test_a_family_that_could_not_be_read_once_is_neither_reset_nor_surge() -> None:
    history = MetricsHistory()
    history.add(sample(1000, 1000))
    history.add(sample(1030, 0, counts=(1001.0, 0, 0, 0), unknown=frozenset({families.REQUESTS})))
    assert history.unknown(families.REQUESTS)
    history.add(sample(1060, 1010))
    assert increment(history, 30) == 10
    assert history.rises(families.REQUESTS, 30)[GETS].seconds == 60
    assert not history.unknown(families.REQUESTS)


def test_samples_out_of_order_change_nothing() -> None:
    history = MetricsHistory()
    history.add(sample(1000, 10))
    history.add(sample(1030, 20))
    history.add(sample(1010, 12))
    history.add(sample(1030, 99))
    assert history.revision == 2
    assert increment(history, 30) == 10


def test_what_was_odd_in_the_newest_text_can_be_told() -> None:
    history = MetricsHistory()
    assert not history.problems
    history.add(Sample(1000, 10.0, {}, {}, {}, problems=("line 7 cannot be read",)))
    assert history.problems == ("line 7 cannot be read",)
    history.add(Sample(1030, 10.0, {}, {}, {}))
    assert not history.problems


def test_levels_are_the_newest_and_old_ones_do_not_count() -> None:
    history = MetricsHistory()
    history.add(sample(1000, 6, started=1.0))
    history.add(sample(1300, 3, started=2.0))
    assert history.levels(families.INFLIGHT, 60) == {("mutating",): 3.0}
    assert history.levels(families.INFLIGHT, 400) == {("mutating",): 6.0}


def test_a_day_takes_no_more_than_an_hour_and_the_hour_is_still_there() -> None:
    history = MetricsHistory()
    for number in range(24 * 120):
        history.add(sample(1000 + 30 * number, 60 * number))
    (process,) = history._processes
    assert len(process.kept) < 60
    assert increment(history, 3600) == pytest.approx(7200, rel=0.05)
    assert increment(history, 300) == 600
    assert increment(history, 3600, before_s=300) == pytest.approx(7200, rel=0.05)
    assert history.at - HISTORY_S - 150 <= history.since <= history.at - HISTORY_S


def test_processes_that_are_gone_are_forgotten() -> None:
    history = MetricsHistory()
    for number in range(200):
        history.add(sample(1000 + 30 * number, 5, started=500 + 30.0 * number))
    assert len(history._processes) <= MAX_PROCESSES


@given(
    st.lists(
        st.tuples(st.integers(1, 90), st.integers(0, 2), st.integers(0, 500), st.booleans()), min_size=2, max_size=40
    ),
    st.integers(30, 600),
)
@settings(max_examples=80)
def test_no_rise_is_negative_or_larger_than_what_there_was(
    steps: list[tuple[int, int, int, bool]], window_s: int
) -> None:
    """Three servers, heard in any order and restarted at any time, against a plain list of what they served."""
    history = MetricsHistory()
    now, counts, starts = 1000.0, [7.0, 7.0, 7.0], [1.0, 2.0, 3.0]
    served = 0.0
    for seconds, which, requests, restarted in steps:
        now += seconds
        if restarted:
            counts[which], starts[which] = 0.0, now - 0.5
        counts[which] += requests
        served += requests
        history.add(sample(now, counts[which], started=starts[which]))
        found = increment(history, window_s)
        assert found is None or 0 <= found <= served
        latency = history.latencies(families.REQUEST_SECONDS, window_s).get(("GET",))
        assert (latency.calls if latency is not None else None) == found


@pytest.mark.skipif(not RECORDED, reason="NODETELL_SHARED names no directory with recordings")
def test_a_real_burst_of_twelve_thousand_requests_is_counted() -> None:
    history = MetricsHistory()
    for at, path in zip((1000, 1015, 1030, 1040, 1060), RECORDED, strict=True):
        history.add(parse_metrics(gzip.decompress(path.read_bytes()), at))
    rises = history.rises(families.REQUESTS, 45)
    assert 12_000 <= sum(rise.increment for rise in rises.values()) <= 12_200
    by_code: dict[str, float] = {}
    for (verb, _, code), rise in rises.items():
        if verb in {"POST", "DELETE"}:
            by_code[f"{verb} {code}"] = by_code.get(f"{verb} {code}", 0) + rise.increment
    assert by_code["POST 201"] == pytest.approx(2000, abs=10)
    assert by_code["DELETE 200"] == pytest.approx(2000, abs=10)
    # The client measured p99 112.6 ms over all of them.
    latencies = history.latencies(families.REQUEST_SECONDS, 45)
    slowest = max(tail for latency in latencies.values() if (tail := latency.quantile(0.99)) is not None)
    assert 0.05 < slowest < 0.2
    quiet = history.rises(families.REQUESTS, 15, before_s=45)
    assert sum(rise.increment for rise in quiet.values()) < 100


def sized(at: float, size: float | None, started: float = 10.0) -> Sample:
    """A server behind which a database has this size; None: it does not say."""
    sizes: dict[families.Labels, float] = {} if size is None else {(): size}
    return Sample(at, started, {}, {families.STORAGE_BYTES: sizes}, {})


@pytest.mark.parametrize(
    ("sizes", "since"),
    [
        ((1, 2, 7, 8, 9), 1060.0),
        ((7, 8, 9, 9, 9), 0.0),
        ((1, 9, 1, 9, 9), 1090.0),
        ((1, 1, 1, 1, 7), 1120.0),
        ((1, 9, 9, 9, 6), 0.0),
        ((1, 9, None, 9, 9), 1030.0),
        ((1, 9, 9, 9, None), 1030.0),
        ((None, None, None, None, None), 0.0),
    ],
)
def test_since_when_a_level_has_been_so_high(sizes: tuple[float | None, ...], since: float) -> None:
    history = MetricsHistory()
    for number, size in enumerate(sizes):
        history.add(sized(1000 + 30 * number, size))
    assert history.level_since(families.STORAGE_BYTES, 7) == since


def test_what_several_servers_say_of_one_level_is_taken_in_its_order() -> None:
    history = MetricsHistory()
    for number, size in enumerate((1, 2, 8, 9, 9)):
        history.add(sized(1000 + 30 * number, size, started=float(number % 2)))
    assert history.level_since(families.STORAGE_BYTES, 7) == 1060
    assert MetricsHistory().level_since(families.STORAGE_BYTES, 7) == 0
