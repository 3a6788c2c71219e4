"""etcd's own histogram of fsync in a bundle: used where nobody else timed etcd, and told where it is damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nodetell.v1 import facts_pb2 as pb

from agent.collectors.etcd_metrics import parse_etcd, parse_wal_fsync
from agent.collectors.fsync import FsyncCollector
from agent.hosts.bundle import open_bundle
from cli.diagnose import diagnose
from tests.recorded import host_of, write_files

NAME = "etcd_disk_wal_fsync_duration_seconds"


def text(*counts: float) -> bytes:
    """Calls of at most 1, 2, ... 8192 ms, counted up."""
    bounds = [0.001 * 2**power for power in range(14)]
    lines = [f"# TYPE {NAME} histogram"]
    lines += [f'{NAME}_bucket{{le="{bound:g}"}} {count:g}' for bound, count in zip(bounds, counts, strict=False)]
    lines += [f'{NAME}_bucket{{le="+Inf"}} {counts[-1]:g}', f"{NAME}_sum 5", f"{NAME}_count {counts[-1]:g}"]
    return "\n".join(["etcd_server_has_leader 1", *lines, "process_start_time_seconds 1.78e+09", ""]).encode()


def test_it_is_counted_between_bounds_in_microseconds() -> None:
    histogram = parse_wal_fsync(text(10, 15, 15, 40))
    assert histogram.bounds_us == (1000, 2000, 4000, 8000)
    assert histogram.counts == [10, 5, 0, 25, 0]
    assert (histogram.process, histogram.file_class, histogram.attached_by) == ("etcd", "wal", "etcd.metrics")


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "no etcd_disk_wal_fsync"),
        (b"up 1\n", "no etcd_disk_wal_fsync"),
        (b"<html>\n", "no etcd_disk_wal_fsync"),
        (text(10, 5), "counts"),
        (text(10, 15).replace(b'"+Inf"', b'"9"'), "bounds"),
        (text(10, 15).replace(b'"0.001"', b'"x"'), "line 3 has a value that is no number"),
        (text(10, 15).replace(b"} 10", b"} many"), "line 3 has a value that is no number"),
        (text(10, 15).replace(b"} 10", b"} NaN"), "counts"),
        (text(10, 15)[: text(10, 15).index(b'"0.002"')], "ends in the middle"),
    ],
)
def test_what_is_odd_is_told(raw: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words) as error:
        parse_wal_fsync(raw)
    assert "\n" not in str(error.value)


def test_series_that_add_up_to_more_than_a_counter_holds_are_the_most_it_does() -> None:
    line = 'etcd_server_proposals_failed_total{{member="{}"}} 1.8e19\n'
    found = parse_etcd("".join(line.format(member) for member in "ab").encode())
    assert found.counters == {"proposals_failed": (1 << 64) - 1}


@given(st.integers(0, 400), st.binary(max_size=9), st.integers(0, 9))
def test_damage_is_an_error_or_harmless(place: int, put: bytes, over: int) -> None:
    whole = text(10, 15, 30)
    try:
        histogram = parse_wal_fsync(whole[:place] + put + whole[place + over :])
    except ValueError:
        return
    assert len(histogram.counts) == len(histogram.bounds_us) + 1
    assert min(histogram.counts) >= 0


def test_a_bundle_that_has_nothing_else_of_etcd_has_this(tmp_path: Path) -> None:
    postgres = {"process": "postgres", "device": "8:0", "mount": "/", "method": "passive", "bounds_us": [9]}
    postgres["counts"] = [1, 2]
    reading = FsyncCollector().collect(host_of(tmp_path, {"fsync.json": [postgres], "etcd.metrics": text(10, 15)}), 0)
    assert sorted(reading.blocks) == ["latency/passive/etcd//wal", "latency/passive/postgres/8:0"]
    assert not any(item.HasField("coverage") for item in reading.items.values())


def test_what_an_agent_timed_itself_comes_first(tmp_path: Path) -> None:
    etcd = {"process": "etcd", "device": "8:0", "mount": "/", "method": "passive", "bounds_us": [9], "counts": [1, 2]}
    reading = FsyncCollector().collect(host_of(tmp_path, {"fsync.json": [etcd], "etcd.metrics": text(10, 15)}), 0)
    assert list(reading.blocks) == ["latency/passive/etcd/8:0"]


def test_a_damaged_one_is_a_coverage_entry_and_the_rest_is_good(tmp_path: Path) -> None:
    etcd = {"process": "kubelet", "device": "8:0", "mount": "/", "method": "passive", "bounds_us": [9]}
    etcd["counts"] = [1, 2]
    reading = FsyncCollector().collect(host_of(tmp_path, {"fsync.json": [etcd], "etcd.metrics": b"<html>\n"}), 0)
    assert list(reading.blocks) == ["latency/passive/kubelet/8:0"]
    coverage = reading.items["coverage/fsync/etcd.metrics"].coverage
    assert coverage.status == pb.COVERAGE_STATUS_DAMAGED
    assert coverage.because.startswith("etcd.metrics: no etcd_disk_wal_fsync")


@pytest.mark.parametrize(("slow", "codes"), [(40, ["cp.etcd_slow_fsync"]), (0, [])])
def test_a_slow_tail_between_two_snapshots_is_a_finding(tmp_path: Path, slow: int, codes: list[str]) -> None:
    snapshots = [{"name": "t0", "at": "2026-11-22T10:00:00Z"}, {"name": "t1", "at": "2026-11-22T10:01:00Z"}]
    (tmp_path / "bundle.json").write_text(json.dumps({"format": 1, "cluster": "c", "snapshots": snapshots}))
    before = [900_000.0] * 8
    after = [900_960.0] * 6 + [900_960.0 + slow] * 2
    for name, counts in (("t0", before), ("t1", after)):
        write_files(tmp_path / name / "nodes" / "cp1", {"etcd.metrics": text(*counts)})
    with open_bundle(tmp_path) as bundle:
        report = diagnose(bundle)
    assert [record.finding.code for record in report.records] == codes
    for record in report.records:
        assert record.finding.evidence[0].source == "etcd.metrics"
        assert record.finding.nodes == ("cp1",)
