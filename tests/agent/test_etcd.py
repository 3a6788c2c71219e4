"""etcd's own metrics as the agent reads them: from a server on loopback that may do anything, and from a bundle."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.collectors.etcd import EtcdCollector, fetch
from agent.collectors.etcd_metrics import parse_etcd
from agent.host import Failure, Host, ReadError
from agent.reading import Reading
from agent.settings import CollectorSettings
from tests.recorded import host_of

TEXT = b"""# TYPE etcd_disk_backend_commit_duration_seconds histogram
etcd_disk_backend_commit_duration_seconds_bucket{le="0.001"} 4
etcd_disk_backend_commit_duration_seconds_bucket{le="0.002"} 9
etcd_disk_backend_commit_duration_seconds_bucket{le="+Inf"} 10
etcd_disk_wal_fsync_duration_seconds_bucket{le="0.001"} 100
etcd_disk_wal_fsync_duration_seconds_bucket{le="0.002"} 150
etcd_disk_wal_fsync_duration_seconds_bucket{le="+Inf"} 151
etcd_mvcc_db_total_size_in_bytes 1.8031e+08
etcd_mvcc_db_total_size_in_use_in_bytes 1.2e+08
etcd_server_has_leader 1
etcd_server_is_leader 0
etcd_server_leader_changes_seen_total 2
etcd_server_heartbeat_send_failures_total 7
etcd_server_proposals_failed_total 3
etcd_server_proposals_pending 0
etcd_server_quota_backend_bytes 2.147483648e+09
"""


@contextlib.contextmanager
def serving(answer: bytes, *, pause_s: float = 0.0, pieces: int = 1) -> Iterator[str]:
    """A server on loopback that sends these bytes, in pieces with a pause before each."""
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)

        def serve() -> None:
            while not stop.is_set():
                try:
                    client, _ = listener.accept()
                except TimeoutError:
                    continue
                with client, contextlib.suppress(OSError):
                    client.recv(4096)
                    step = -(-len(answer) // pieces) or 1
                    for start in range(0, len(answer), step):
                        if stop.wait(pause_s):
                            return
                        client.sendall(answer[start : start + step])

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/metrics"
        finally:
            stop.set()
            thread.join()


def ok(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def live(url: str) -> Reading:
    return EtcdCollector(url).collect(cast(Host, SimpleNamespace(live=True)), 0.0)


def test_a_live_etcd_tells_its_database_its_leader_and_its_latencies() -> None:
    with serving(ok(TEXT)) as url:
        reading = live(url)
    told = reading.items["etcd"].etcd
    assert (told.database_bytes, told.in_use_bytes, told.quota_bytes) == (180_000_000, 120_000_000, 2 << 30)
    assert told.has_leader
    assert told.HasField("is_leader")
    assert not told.is_leader
    assert dict(zip(reading.blocks["etcd"].names, reading.blocks["etcd"].values, strict=True)) == {
        "leader_changes": 2,
        "proposals_failed": 3,
        "heartbeat_failures": 7,
    }
    latencies = {item.latency.file_class: key for key, item in reading.items.items() if item.HasField("latency")}
    assert reading.blocks[latencies["wal"]].values == (100, 50, 1)
    assert reading.blocks[latencies["commit"]].values == (4, 5, 1)
    assert reading.sources["etcd"] == url


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "HTTP status 403"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n", "HTTP status 302"),
        (b"\x15\x03\x01\x00\x02\x02\x16", "metrics"),
        (b"", "closed connection"),
        (ok(b"<html>hello</html>\n"), "no metrics of an etcd"),
    ],
)
def test_what_is_no_etcd_is_a_gap_that_says_why(answer: bytes, words: str) -> None:
    with serving(answer) as url:
        reading = live(url)
    (gap,) = [item.coverage for item in reading.items.values()]
    assert gap.signal == "etcd"
    assert words in gap.because
    assert "\n" not in gap.because


def test_nobody_who_listens_is_a_gap_with_the_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    (item,) = live(f"http://127.0.0.1:{port}/metrics").items.values()
    assert "nothing listens there" in item.coverage.because
    assert "--listen-metrics-urls" in item.coverage.remedy


def test_one_that_hangs_or_drips_is_left_in_time() -> None:
    begun = time.monotonic()
    for answer, pieces in ((ok(TEXT), 1), (ok(TEXT * 50), 200)):
        with serving(answer, pause_s=0.3, pieces=pieces) as url, pytest.raises(ReadError) as error:
            fetch(url, timeout_s=0.25 if pieces == 1 else 0.7)
        assert error.value.failure is Failure.ABSENT
    assert time.monotonic() - begun < 4


def test_one_that_never_ends_is_left() -> None:
    with serving(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100_000) as url, pytest.raises(ReadError, match="more than"):
        fetch(url, most=50_000)


def test_not_asked_nothing_is_said() -> None:
    assert not live("").items


@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("", True),
        ("http://127.0.0.1:2381/metrics", True),
        ("https://[::1]:2379/metrics", True),
        ("http://localhost:2381", True),
        ("http://10.0.0.4:2381/metrics", False),
        ("http://localhost.example.com:2381", False),
        ("http://root:secret@127.0.0.1:2381", False),
        ("ftp://127.0.0.1/etc", False),
        ("http://127.0.0.1:99999/", False),
        ("127.0.0.1:2381", False),
    ],
)
def test_only_loopback_may_be_named(url: str, good: bool) -> None:
    if good:
        assert CollectorSettings(etcd_metrics_url=url).etcd_metrics_url == url
    else:
        with pytest.raises(ValueError, match="etcd_metrics_url"):
            CollectorSettings(etcd_metrics_url=url)


def test_a_bundle_has_it_as_a_file(tmp_path: Path) -> None:
    reading = EtcdCollector().collect(host_of(tmp_path, {"etcd.metrics": TEXT}), 0.0)
    assert reading.items["etcd"].etcd.quota_bytes == 2 << 30
    # The log's own latency is the fsync collector's there, which knows whether anybody else has timed it.
    assert {item.latency.file_class for item in reading.items.values() if item.HasField("latency")} == {"commit"}


def test_an_odd_figure_costs_itself_only(tmp_path: Path) -> None:
    text = TEXT.replace(b"has_leader 1", b"has_leader many").replace(b"in_use_in_bytes 1.2e+08", b"in_use_in_bytes NaN")
    reading = EtcdCollector().collect(host_of(tmp_path, {"etcd.metrics": text}), 0.0)
    told = reading.items["etcd"].etcd
    assert told.database_bytes == 180_000_000
    assert not told.HasField("in_use_bytes")
    assert not told.HasField("has_leader")
    (gap,) = [item.coverage for item in reading.items.values() if item.HasField("coverage")]
    assert "1 more" in gap.because


@given(st.integers(0, len(TEXT)), st.binary(max_size=9), st.integers(0, 9))
def test_damage_raises_nothing(place: int, put: bytes, over: int) -> None:
    found = parse_etcd(TEXT[:place] + put + TEXT[place + over :])
    for name in (*found.buckets, *found.problems):
        with contextlib.suppress(ValueError):
            found.histogram(name, "wal")
    assert all(value >= 0 for value in (*found.levels.values(), *found.counters.values()))
