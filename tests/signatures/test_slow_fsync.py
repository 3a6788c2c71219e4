"""Slow fsyncs as timelines: where a finding must appear, near misses, and its recovery."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from nodetell.v1 import facts_pb2 as pb

from aggregator.histogram import MIN_CALLS, quantile
from aggregator.model import Finding, Severity, Stage, Verdict
from aggregator.signatures import slow_fsync
from aggregator.view import ClusterView
from tests.world import TestHost, World

BOUNDS = [2**power for power in range(6, 24)]
NAMES = [*(f"le_{bound}us" for bound in BOUNDS), f"gt_{BOUNDS[-1]}us"]


class Disk:
    """One process that fsyncs on one host."""

    def __init__(
        self, process: str = "postgres", method: int = pb.LATENCY_METHOD_PASSIVE, mount: str = "/data"
    ) -> None:
        self.world = World()
        self.host: TestHost = self.world.host("n1")
        self.key = f"latency/x/{process}/259:1"
        source = pb.LatencySource(process=process, device="259:1", mount=mount, bounds_us=BOUNDS)
        source.method = method  # type: ignore[assignment]  # protoc's stubs want the enum class
        self.host.item(pb.Item(key=self.key, latency=source))
        self.host.item(pb.Item(key="disk/259:1", disk=pb.Disk(dev="259:1", name="nvme1n1")))
        self.host.counters[self.key] = dict.fromkeys(NAMES, 100_000)
        self.world.pass_time(1)

    def fsyncs(self, count: int, ms: float) -> None:
        """So many calls of this latency."""
        index = next((i for i, bound in enumerate(BOUNDS) if ms * 1000 <= bound), len(BOUNDS))
        self.host.rise(self.key, **{NAMES[index]: count})

    def judged(self, seconds: float) -> Verdict:
        """What the signature says after some time."""
        self.world.pass_time(seconds)
        return slow_fsync.evaluate(ClusterView("test", self.world.states), self.world.thresholds)

    def finding(self, seconds: float) -> Finding:
        """The one finding."""
        (found,) = self.judged(seconds).findings
        return found


def test_a_slow_tail_names_process_device_and_mount_within_ten_seconds() -> None:
    disk = Disk()
    disk.fsyncs(970, 1.5)
    disk.fsyncs(30, 30)
    found = disk.finding(10)
    assert (found.code, found.stage, found.severity) == ("disk.slow_fsync", Stage.RISK, Severity.WARNING)
    for words in ("postgres", "nvme1n1", "/data", "1000 calls"):
        assert words in found.summary


def test_etcd_is_told_from_others_and_critical_beyond_its_heartbeat() -> None:
    disk = Disk("etcd", mount="/var/lib/etcd")
    disk.fsyncs(1000, 220)
    found = disk.finding(10)
    assert (found.code, found.severity) == ("cp.etcd_slow_fsync", Severity.CRITICAL)
    inside = Disk("k3s-server", mount="/var/lib/rancher/k3s/server/db/etcd/member/wal")
    inside.fsyncs(1000, 30)
    assert inside.finding(10).code == "cp.etcd_slow_fsync"


def test_the_log_of_an_embedded_etcd_is_etcd_and_its_other_files_are_not_told_again() -> None:
    disk = Disk("k3s-server", mount="/var/lib/rancher")
    for file_class in ("wal", "database"):
        source = pb.LatencySource(process="k3s-server", device="259:1", bounds_us=BOUNDS, file_class=file_class)
        source.method = pb.LATENCY_METHOD_PASSIVE
        disk.host.item(pb.Item(key=f"latency/{file_class}", latency=source))
        disk.host.counters[f"latency/{file_class}"] = dict.fromkeys(NAMES, 0)
    disk.world.pass_time(1)
    for key in (disk.key, "latency/wal", "latency/database"):
        disk.host.rise(key, le_65536us=1000)
    assert disk.finding(5).code == "cp.etcd_slow_fsync"


def test_several_processes_on_one_slow_device_are_one_finding() -> None:
    disk = Disk()
    source = pb.LatencySource(process="mysqld", device="259:1", mount="/data", bounds_us=BOUNDS)
    source.method = pb.LATENCY_METHOD_PASSIVE
    disk.host.item(pb.Item(key="latency/mysqld", latency=source))
    disk.host.counters["latency/mysqld"] = dict.fromkeys(NAMES, 0)
    disk.world.pass_time(1)
    disk.fsyncs(1000, 30)
    disk.host.rise("latency/mysqld", le_65536us=1000)
    found = disk.finding(5)
    assert "mysqld" in found.summary
    assert "1 more" in found.summary
    assert {evidence.subject.split()[0] for evidence in found.evidence} == {"mysqld", "postgres"}


def test_near_miss_a_fast_disk_with_one_slow_call() -> None:
    disk = Disk()
    disk.fsyncs(995, 4)
    disk.fsyncs(5, 500)
    assert disk.judged(10).findings == []


def test_near_miss_too_few_calls_give_no_number() -> None:
    disk = Disk("etcd")
    disk.fsyncs(13, 200)
    verdict = disk.judged(10)
    assert verdict.findings == []
    assert "not enough calls: 13" in verdict.gaps[0].because


def test_near_miss_no_calls_are_no_gap() -> None:
    verdict = Disk().judged(10)
    assert (verdict.findings, verdict.gaps) == ([], [])


def test_near_miss_slow_calls_before_the_window_are_not_now() -> None:
    disk = Disk()
    disk.fsyncs(1000, 200)
    assert disk.judged(1).findings
    for _ in range(15):
        disk.fsyncs(100, 1)
        verdict = disk.judged(5)
    assert verdict.findings == []


def test_recovery_is_a_whole_window_without() -> None:
    disk = Disk()
    disk.fsyncs(1000, 30)
    assert disk.judged(5).findings
    for _ in range(14):
        last = disk.judged(5)
    assert last.findings == []


def test_the_probe_is_judged_over_a_longer_window() -> None:
    disk = Disk("nodetell", pb.LATENCY_METHOD_PROBE)
    for _ in range(40):
        disk.fsyncs(5, 30)
        verdict = disk.judged(5)
    assert "200 calls" in verdict.findings[0].summary


@given(st.lists(st.integers(0, 1000), min_size=len(NAMES), max_size=len(NAMES)), st.floats(0.01, 1))
def test_a_quantile_lies_in_the_bucket_where_its_rank_falls(counts: list[int], share: float) -> None:
    found = quantile(BOUNDS, counts, share)
    if sum(counts) < MIN_CALLS:
        assert found is None
        return
    assert found is not None
    at_most = sum(count for count, bound in zip(counts, BOUNDS, strict=False) if bound <= found)
    below = sum(count for count, bound in zip(counts, [*BOUNDS, float("inf")], strict=True) if bound < found)
    assert at_most <= share * sum(counts) + max(counts)
    assert below <= share * sum(counts) + 1e-6
