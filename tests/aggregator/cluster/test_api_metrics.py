"""Metrics texts: whatever way they are cut or damaged, what is good of them is read and what is not is said."""

from __future__ import annotations

import gzip
import os
import time
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nodetell.exposition import MAX_LINE_BYTES

from aggregator.cluster import api_metrics
from aggregator.cluster import metric_families as families
from aggregator.cluster.api_metrics import Histogram, MetricsError, MetricsParser, Sample

_SHARED = os.environ.get("NODETELL_SHARED", "")
RECORDED = sorted(Path(_SHARED, "recordings").glob("metrics-apiserver-*.prom.gz")) if _SHARED else []

TEXT = """\
# HELP apiserver_current_inflight_requests Maximal number of requests.
# TYPE apiserver_current_inflight_requests gauge
apiserver_current_inflight_requests{request_kind="mutating"} 4
apiserver_current_inflight_requests{request_kind="readOnly"} 9
# TYPE apiserver_request_duration_seconds histogram
apiserver_request_duration_seconds_bucket{group="",resource="pods",subresource="",verb="GET",le="0.1"} 7
apiserver_request_duration_seconds_bucket{group="",resource="pods",subresource="",verb="GET",le="0.5"} 9
apiserver_request_duration_seconds_bucket{group="",resource="pods",subresource="",verb="GET",le="+Inf"} 1e+01
apiserver_request_duration_seconds_sum{group="",resource="pods",subresource="",verb="GET"} 2.5
apiserver_request_duration_seconds_count{group="",resource="pods",subresource="",verb="GET"} 10
apiserver_request_duration_seconds_bucket{group="apps",resource="deployments",subresource="",verb="GET",le="0.1"} 1
apiserver_request_duration_seconds_bucket{group="apps",resource="deployments",subresource="",verb="GET",le="0.5"} 1
apiserver_request_duration_seconds_bucket{group="apps",resource="deployments",subresource="",verb="GET",le="+Inf"} 3
apiserver_request_duration_seconds_sum{group="apps",resource="deployments",subresource="",verb="GET"} 4
apiserver_request_duration_seconds_bucket{group="",resource="pods",subresource="log",verb="GET",le="0.1"} 0
apiserver_request_duration_seconds_bucket{group="",resource="pods",subresource="log",verb="GET",le="0.5"} 0
apiserver_request_duration_seconds_bucket{group="",resource="pods",subresource="log",verb="GET",le="+Inf"} 5
apiserver_request_duration_seconds_bucket{group="",resource="",subresource="/readyz",verb="GET",le="0.1"} 8
apiserver_request_duration_seconds_bucket{group="",resource="",subresource="/readyz",verb="GET",le="0.5"} 8
apiserver_request_duration_seconds_bucket{group="",resource="",subresource="/readyz",verb="GET",le="+Inf"} 8
# TYPE apiserver_request_total counter
apiserver_request_total{code="200",group="",resource="pods",system_client="kube-scheduler",verb="GET"} 6
apiserver_request_total{code="200",group="",resource="pods",system_client="",verb="GET"} 4
apiserver_request_total{code="503",group="apps",resource="deployments",system_client="",verb="GET"} 3
# TYPE process_start_time_seconds gauge
process_start_time_seconds 1.79534509217e+09
# TYPE rest_of_it gauge
rest_of_it{text="a \\"quoted\\" \\\\ back\\nslash, and ü } {"} 3 1795345092170
rest_of_it 4 # {trace_id="abc"} 0.67 1795345092.17
""".encode()


def read(text: bytes, size: int = 1 << 16) -> Sample:
    """A text in chunks of a size."""
    parser = MetricsParser(1000.0)
    for start in range(0, len(text), size):
        parser.feed(text[start : start + size])
    return parser.finish()


def test_what_is_used_is_kept_and_summed_over_the_rest() -> None:
    sample = read(TEXT)
    assert sample.problems == ()
    assert (sample.at, sample.started) == (1000.0, 1795345092.17)
    assert sample.levels == {families.INFLIGHT: {("mutating",): 4.0, ("readOnly",): 9.0}}
    assert sample.counters == {
        families.REQUESTS: {("GET", "pods", "200"): 10.0, ("GET", "deployments.apps", "503"): 3.0},
        families.SYSTEM_CLIENTS: {("kube-scheduler",): 6.0},
    }
    assert sample.histograms == {
        families.REQUEST_SECONDS: {
            ("GET",): Histogram((0.1, 0.5), (8.0, 2.0, 3.0), 6.5),
            (families.CONNECT,): Histogram((0.1, 0.5), (0.0, 0.0, 5.0), 0.0),
            (families.NON_RESOURCE,): Histogram((0.1, 0.5), (8.0, 0.0, 0.0), 0.0),
        }
    }


def test_names_of_other_versions_are_the_same_family_and_the_newest_counts() -> None:
    text = b"""
etcd_object_counts{resource="pods"} 5
apiserver_storage_objects{resource="pods"} 6
apiserver_storage_db_total_size_in_bytes{endpoint="https://10.0.0.1:2379"} 7
apiserver_storage_db_total_size_in_bytes{endpoint="https://10.0.0.2:2379"} 9
apiserver_flowcontrol_rejected_requests_total{flowSchema="a",priorityLevel="low",reason="queue-full"} 2
apiserver_flowcontrol_request_concurrency_limit{priority_level="low"} 30
"""
    sample = read(text)
    assert sample.levels[families.OBJECTS] == {("pods",): 6.0}
    assert sample.levels[families.STORAGE_BYTES] == {(): 9.0}
    assert sample.levels[families.APF_SEATS_LIMIT] == {("low",): 30.0}
    assert sample.counters[families.APF_REJECTED] == {("low", "a", "queue-full"): 2.0}


def test_an_etcd_says_its_own() -> None:
    sample = read(
        b"""\
etcd_disk_wal_fsync_duration_seconds_bucket{le="0.001"} 5
etcd_disk_wal_fsync_duration_seconds_bucket{le="+Inf"} 6
etcd_disk_wal_fsync_duration_seconds_sum 0.5
etcd_server_quota_backend_bytes 8.589934592e+09
etcd_server_leader_changes_seen_total 3
"""
    )
    assert sample.histograms == {families.WAL_FSYNC_SECONDS: {(): Histogram((0.001,), (5.0, 1.0), 0.5)}}
    assert sample.levels == {families.QUOTA_BYTES: {(): 8589934592.0}}
    assert sample.counters == {families.LEADER_CHANGES: {(): 3.0}}


@given(st.lists(st.integers(0, len(TEXT)), max_size=30))
@settings(max_examples=60)
def test_however_the_text_is_cut_into_chunks_it_says_the_same(cuts: list[int]) -> None:
    parser = MetricsParser(1000.0)
    ends = [0, *sorted(cuts), len(TEXT)]
    for start, end in pairwise(ends):
        parser.feed(TEXT[start:end])
    assert parser.finish() == read(TEXT)


def test_byte_by_byte() -> None:
    assert read(TEXT, size=1) == read(TEXT)


@given(st.integers(0, len(TEXT)), st.binary(min_size=1, max_size=12), st.integers(0, 12))
@settings(max_examples=150)
def test_damage_never_crashes_nor_makes_half_a_sum(place: int, put: bytes, over: int) -> None:
    damaged = TEXT[:place] + put + TEXT[place + over :]
    try:
        sample = read(damaged, size=100)
    except MetricsError:
        return
    assert sample == read(damaged, size=7)
    assert not any("\n" in problem for problem in sample.problems)
    for histograms in sample.histograms.values():
        for histogram in histograms.values():
            assert all(count >= 0 for count in histogram.counts)


@pytest.mark.parametrize(
    "bad",
    [
        b'apiserver_request_total{code="200",verb="GET" 7',
        b'apiserver_request_total{code="200"} seven',
        b'apiserver_request_total{code="200"} 1_000',
        b'apiserver_request_total{code="200"}',
        b'apiserver_request_total{code="200"} NaN',
        b'apiserver_request_total{code="200"} +Inf',
        b"\x00\xff\xfe",
    ],
)
def test_a_family_with_a_bad_line_is_left_out_and_the_others_stay(bad: bytes) -> None:
    before, after = TEXT.split(b"# TYPE apiserver_request_total counter\n")
    sample = read(before + b"# TYPE apiserver_request_total counter\n" + bad + b"\n" + after)
    assert sample.unknown == {families.REQUESTS, families.SYSTEM_CLIENTS} or (b"NaN" in bad or b"Inf" in bad), (
        sample.unknown
    )
    assert families.REQUESTS in sample.unknown
    assert families.REQUESTS not in sample.counters
    assert sample.histograms == read(TEXT).histograms
    assert any(families.REQUESTS in problem for problem in sample.problems)


def test_garbage_is_counted_and_the_first_is_named() -> None:
    sample = read(b"what is this?\n<<<<\n" + TEXT)
    assert len(sample.problems) == 1
    assert sample.problems[0].startswith("line 1 ")
    assert "what is this?" in sample.problems[0]
    assert "and 1 more" in sample.problems[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "nothing but blanks and comments"),
        (b"\n\n# EOF\n", "nothing but blanks and comments"),
        (b"<!DOCTYPE html>\n<html><body>504 Gateway Time-out</body></html>\n", "<!DOCTYPE html>"),
        (b'{"kind":"Status","apiVersion":"v1","status":"Failure","code":403}', '"kind":"Status"'),
        (b"404 page not found\n", "404 page not found"),
        (b"Unauthorized\n", "Unauthorized"),
        (gzip.compress(b"up 1\n", mtime=0), "no metrics"),
    ],
)
def test_what_is_no_metrics_at_all_is_an_error_that_shows_it(text: bytes, words: str) -> None:
    with pytest.raises(MetricsError, match="no metrics") as error:
        read(text)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_of_a_text_that_was_cut_off_the_families_before_the_cut_stay() -> None:
    cut = TEXT[: TEXT.index(b'subresource="log"')]
    sample = read(cut)
    assert families.INFLIGHT in sample.levels
    assert {families.REQUEST_SECONDS, families.REQUESTS} <= sample.unknown
    assert sample.histograms == {}
    assert any("cut off in line" in problem for problem in sample.problems)


@given(st.integers(0, len(TEXT)))
@settings(max_examples=150)
def test_wherever_a_line_is_cut_off_what_is_kept_is_whole(cut: int) -> None:
    if TEXT[:cut].endswith(b"\n"):
        return  # a text that ends with a line's end looks complete: whoever fetched it knows its length
    try:
        sample = read(TEXT[:cut])
    except MetricsError:
        return
    whole = read(TEXT)
    for part, all_ in (
        (sample.counters, whole.counters),
        (sample.levels, whole.levels),
        (sample.histograms, whole.histograms),
    ):
        for name in part:
            assert part[name] == all_[name]


def test_a_text_without_a_family_is_no_loss_of_it() -> None:
    assert read(b"process_start_time_seconds 5\n").unknown == frozenset()


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        (b'deployments",subresource="",verb="GET",le="+Inf"} 3\n', b""),
        (b'deployments",subresource="",verb="GET",le="0.5"} 1\n', b""),
        (b'deployments",subresource="",verb="GET",le="0.5"} 1', b'deployments",subresource="",verb="GET",le="0.5"} 4'),
        (b'deployments",subresource="",verb="GET",le="0.5"} 1', b'deployments",subresource="",verb="GET",le="x"} 1'),
    ],
)
def test_a_series_whose_buckets_are_not_right_spoils_its_family(good: bytes, bad: bytes) -> None:
    begin = b'apiserver_request_duration_seconds_bucket{group="apps",resource="'
    assert begin + good in TEXT
    sample = read(TEXT.replace(begin + good, begin + bad if bad else b""))
    assert families.REQUEST_SECONDS in sample.unknown
    assert families.REQUESTS in sample.counters


def test_unusual_but_right_writing() -> None:
    sample = read(
        b' apiserver_request_total { code = "200" , verb="GET",resource="pods", }  5  1795345092170\r\n'
        b'{"http.server.requests",code="200"} 5\n'
        b'etcd_request_duration_seconds_bucket{le="+Inf",operation="get"} 9\n'
        b'etcd_request_duration_seconds_bucket{le="0.1",operation="get"} 4\n'
        b'etcd_request_duration_seconds_bucket{operation="put",role="0.1",le="0.1"} 1\n'
        b'etcd_request_duration_seconds_bucket{operation="put",role="0.1",le="+Inf"} 2\n'
    )
    assert sample.problems == ()
    assert sample.counters[families.REQUESTS] == {("GET", "pods", "200"): 5.0}
    assert sample.histograms[families.ETCD_SECONDS] == {
        ("get",): Histogram((0.1,), (4.0, 5.0), 0.0),
        ("put",): Histogram((0.1,), (1.0, 1.0), 0.0),
    }


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    parser = MetricsParser(0.0)
    for _ in range(64):
        parser.feed(b"x" * MAX_LINE_BYTES)
    assert len(parser._lines.rest) == MAX_LINE_BYTES
    monkeypatch.setattr(api_metrics, "MAX_SERIES", 3)
    many = "".join(f'apiserver_request_total{{verb="GET",resource="r{i}"}} 1\n' for i in range(9)).encode()
    sample = read(many)
    assert families.REQUESTS in sample.unknown
    assert any("more than 3 of it" in problem for problem in sample.problems)
    monkeypatch.setattr(api_metrics, "MAX_BYTES", 100)
    with pytest.raises(MetricsError, match="more than"):
        read(many)


@pytest.mark.skipif(not RECORDED, reason="NODETELL_SHARED names no directory with recordings")
@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.name)
def test_a_real_api_server_is_read_without_a_problem_and_fast(path: Path) -> None:
    text = gzip.decompress(path.read_bytes())
    begun = time.process_time()
    sample = read(text)
    spent = time.process_time() - begun
    assert sample.problems == ()
    assert sample.unknown == frozenset()
    assert sample.started == 1795345092.17
    by_verb = {key[0]: sum(h.counts) for key, h in sample.histograms[families.REQUEST_SECONDS].items()}
    assert {"GET", "LIST", "PUT", "PATCH", families.NON_RESOURCE} <= set(by_verb)
    totals: dict[str, float] = {}
    for (verb, _, _), count in sample.counters[families.REQUESTS].items():
        totals[verb] = totals.get(verb, 0.0) + count
    assert totals["PATCH"] == by_verb["PATCH"]
    assert len(text) / spent > 5e6
