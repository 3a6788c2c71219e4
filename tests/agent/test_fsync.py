"""fdatasync latency: the probe on real file systems, the files it must not touch, and recorded histograms."""

from __future__ import annotations

import copy
import itertools
import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nodetell.v1 import facts_pb2 as pb

from agent.collectors import fsync
from agent.collectors.fsync import FILE_NAME, FsyncCollector, Probe, ProbeError
from agent.collectors.histograms import BOUNDS_US, Histogram, counter_names, parse_fsync
from agent.hosts.live import LiveHost, live_host
from agent.reading import Reading
from tests import needs
from tests.recorded import host_of

ROOT = Path(__file__).parents[2]
ETCD = {
    "process": "etcd",
    "device": "259:3",
    "mount": "/var/lib/etcd",
    "method": "passive",
    "bounds_us": [64, 128],
    "counts": [1, 2, 3],
}


@pytest.fixture
def live(tmp_path: Path) -> LiveHost:
    return live_host("n", str(tmp_path / "proc"), str(tmp_path / "sys"))


def test_bounds_hold_etcds_edges_and_fit_one_message() -> None:
    assert {1000 * 2**power for power in range(14)} <= set(BOUNDS_US)
    assert list(BOUNDS_US) == sorted(set(BOUNDS_US))
    assert BOUNDS_US[0] == 64
    assert BOUNDS_US[-1] == 8_192_000
    assert all(high / low <= 1.27 for low, high in itertools.pairwise(BOUNDS_US))
    assert sum(len(name) + 2 for name in counter_names(BOUNDS_US)) < 900


@given(st.floats(0, 1e9))
def test_a_latency_is_counted_between_its_bounds(latency_us: float) -> None:
    histogram = Histogram("p", "", "/m", "probe")
    histogram.add(latency_us)
    index = histogram.counts.index(1)
    assert index == len(BOUNDS_US) or latency_us <= BOUNDS_US[index]
    assert index == 0 or BOUNDS_US[index - 1] < latency_us
    assert sum(histogram.counts) == 1


def test_the_probe_counts_on_a_real_directory_and_cleans_up(tmp_path: Path, live: LiveHost) -> None:
    directory = tmp_path / "wal"
    directory.mkdir()
    collector = FsyncCollector([str(directory)], 0.5)
    assert collector.interval_s == 0.5
    before = next(iter(collector.collect(live, 0).blocks.values()))
    for moment in range(1, 5):
        reading = collector.collect(live, moment)
    key = f"latency/probe/nodetell/{directory}"
    assert set(reading.items) == {key, "coverage/fsync"}
    source = reading.items[key].latency
    device = os.stat(directory).st_dev
    assert source.device == f"{os.major(device)}:{os.minor(device)}"
    assert (source.process, source.mount, source.method) == ("nodetell", str(directory), pb.LATENCY_METHOD_PROBE)
    assert tuple(source.bounds_us) == BOUNDS_US
    assert (sum(before.values), sum(reading.blocks[key].values)) == (1, 5)
    assert reading.blocks[key].names == counter_names(BOUNDS_US)
    gap = reading.items["coverage/fsync"].coverage
    assert gap.status == pb.COVERAGE_STATUS_DEGRADED
    assert "blind to throttling" in gap.because
    file = directory / FILE_NAME
    assert file.stat().st_size == 4 << 20
    collector.close()
    assert list(directory.iterdir()) == []
    after = collector.collect(live, 9)
    assert "closed" in after.items[f"coverage/fsync/{directory}"].coverage.because
    assert not file.exists()


def test_the_file_goes_when_the_collector_does(tmp_path: Path, live: LiveHost) -> None:
    collector = FsyncCollector([str(tmp_path)])
    collector.collect(live, 0)
    assert (tmp_path / FILE_NAME).exists()
    del collector
    assert not (tmp_path / FILE_NAME).exists()


def test_the_file_is_begun_anew_when_it_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fsync, "_FILE_BYTES", 1500)
    probe = Probe(str(tmp_path))
    for _ in range(12):
        probe.measure()
    assert (tmp_path / FILE_NAME).stat().st_size == 1500
    assert (tmp_path / FILE_NAME).read_bytes().startswith(b"nodetell fdatasync probe")
    assert sum(probe.histogram.counts) == 12
    probe.close()


def test_a_file_left_by_a_killed_agent_is_taken_over(tmp_path: Path) -> None:
    first = Probe(str(tmp_path))
    first.measure()
    first._release()  # as when the process is killed: nobody removes the file
    second = Probe(str(tmp_path))
    second.measure()
    assert sum(second.histogram.counts) == 1
    second.close()
    assert list(tmp_path.iterdir()) == []


def test_two_agents_do_not_share_a_file(tmp_path: Path) -> None:
    first = Probe(str(tmp_path))
    first.measure()
    second = Probe(str(tmp_path))
    with pytest.raises(ProbeError, match="another agent probes here"):
        second.measure()
    second.close()
    assert (tmp_path / FILE_NAME).exists()
    first.close()


def foreign_file(path: Path) -> None:
    path.write_bytes(b"somebody's data")


def foreign_link(path: Path) -> None:
    target = path.parent / "target"
    target.write_bytes(b"")
    path.symlink_to(target)


def foreign_hard_link(path: Path) -> None:
    target = path.parent / "target"
    target.write_bytes(b"")
    os.link(target, path)


@pytest.mark.parametrize("make", [foreign_file, foreign_link, foreign_hard_link, os.mkfifo, os.mkdir])
def test_nobody_elses_file_is_touched(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / FILE_NAME
    make(path)
    before = path.lstat()
    probe = Probe(str(tmp_path))
    with pytest.raises(ProbeError, match="not the probe's; it is left alone"):
        probe.measure()
    probe.close()
    after = path.lstat()
    assert (before.st_ino, before.st_size, before.st_mtime_ns) == (after.st_ino, after.st_size, after.st_mtime_ns)


def test_a_directory_that_is_missing_is_told_and_found_when_it_appears(tmp_path: Path, live: LiveHost) -> None:
    directory, other = tmp_path / "later", tmp_path / "other"
    other.mkdir()
    collector = FsyncCollector([str(directory), str(other)])
    reading = collector.collect(live, 0)
    assert reading.items[f"coverage/fsync/{directory}"].coverage.because == f"{directory}: No such file or directory"
    assert f"latency/probe/nodetell/{other}" in reading.items
    directory.mkdir()
    reading = collector.collect(live, 1)
    assert f"coverage/fsync/{directory}" not in reading.items
    assert f"latency/probe/nodetell/{directory}" in reading.items
    collector.close()


def test_a_directory_in_which_nothing_can_be_made(live: LiveHost) -> None:
    collector = FsyncCollector(["/sys/kernel"])  # not even root can
    reading = collector.collect(live, 0)
    assert set(reading.items) == {"coverage/fsync//sys/kernel"}
    assert reading.items["coverage/fsync//sys/kernel"].coverage.remedy


def test_a_write_that_fails_is_told_and_the_counts_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    probe = Probe(str(tmp_path))
    probe.measure()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fail)
        with pytest.raises(ProbeError, match="Input/output error"):
            probe.measure()
    probe.measure()
    assert sum(probe.histogram.counts) == 2
    probe.close()


def fail(_descriptor: int) -> None:
    raise OSError(5, "Input/output error")


def test_a_probe_that_hangs_does_not_keep_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    probe = Probe(str(tmp_path))
    probe.measure()
    hanging, released = threading.Event(), threading.Event()

    def hang(_descriptor: int) -> None:
        hanging.set()
        released.wait(10)

    monkeypatch.setattr(os, "fdatasync", hang)
    thread = threading.Thread(target=probe.measure)
    thread.start()
    try:
        assert hanging.wait(10)
        probe.close(0.05)
        assert list(tmp_path.iterdir()) == []
    finally:
        released.set()
        thread.join(10)
    probe._release()


STATES = """
import os
import sys
from agent.collectors.fsync import FsyncCollector
from agent.hosts.live import live_host
host = live_host("n", "/nowhere", "/nowhere")
for directory in sys.argv[1:]:
    items = FsyncCollector([directory]).collect(host, 0).items
    print(*[item.coverage.because for item in items.values()], os.listdir(directory), sep="|")
"""


@pytest.mark.needs_root
def test_a_full_and_a_read_only_file_system(tmp_path: Path) -> None:
    needs.root_netns()
    full, read_only = tmp_path / "full", tmp_path / "ro"
    full.mkdir()
    read_only.mkdir()
    script = (
        f"mount -t tmpfs -o size=1m none {full} && mount -t tmpfs -o ro none {read_only} && "
        f"exec {shlex.join([sys.executable, '-c', STATES, str(full), str(read_only)])}"
    )
    path = os.pathsep.join([str(ROOT), str(ROOT / "proto")])
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert done.stdout.splitlines() == [
        f"{full}: no space for its 4 MiB file|[]",
        f"{read_only}: Read-only file system|[]",
    ], done.stderr


def test_without_a_directory_it_says_how_to_get_one(live: LiveHost) -> None:
    collector = FsyncCollector()
    assert collector.interval_s > 60
    reading = collector.collect(live, 0)
    assert set(reading.items) == {"coverage/fsync"}
    assert "probe_directories" in reading.items["coverage/fsync"].coverage.remedy


def test_recorded_histograms(tmp_path: Path) -> None:
    reading = FsyncCollector(["/ignored/in/bundles"]).collect(host_of(tmp_path, {"fsync.json": [ETCD]}), 0)
    assert reading.items["latency/passive/etcd/259:3"].latency == pb.LatencySource(
        process="etcd", device="259:3", mount="/var/lib/etcd", method=pb.LATENCY_METHOD_PASSIVE, bounds_us=[64, 128]
    )
    block = reading.blocks["latency/passive/etcd/259:3"]
    assert (block.names, block.values) == (("le_64us", "le_128us", "gt_128us"), (1, 2, 3))
    assert set(reading.items) == {"latency/passive/etcd/259:3"}


def test_a_bundle_without_histograms(tmp_path: Path) -> None:
    reading = FsyncCollector().collect(host_of(tmp_path, {"proc/stat": b""}), 0)
    assert reading.items["coverage/fsync"].coverage.because == "no fsync.json and no etcd.metrics"


@pytest.mark.parametrize(
    "change",
    [
        {"method": "guessed"},
        {"bounds_us": []},
        {"bounds_us": [128, 64]},
        {"bounds_us": [64, 64]},
        {"bounds_us": [0, 64]},
        {"bounds_us": [64, 1 << 32]},
        {"bounds_us": "64"},
        {"counts": [1, 2]},
        {"counts": [1, 2, -3]},
        {"counts": [1, 2, 1 << 64]},
        {"counts": [1, 2, True]},
        {"counts": [1, 2, 3.0]},
        {"counts": None},
        {"process": None},
        {"device": 7},
        {"bounds_us": list(range(1, 600)), "counts": [0] * 600},
    ],
)
def test_odd_entries_cost_themselves_only(change: dict[str, object]) -> None:
    histograms, problems = parse_fsync([{**ETCD, **change}, {**ETCD, "process": "postgres"}, 7])
    assert [histogram.process for histogram in histograms] == ["postgres"]
    assert [problem.split(":")[0] for problem in problems] == ["entry 0", "entry 2"]


def test_the_same_source_twice_is_told() -> None:
    histograms, problems = parse_fsync([ETCD, copy.deepcopy(ETCD)])
    assert len(histograms) == 1
    assert problems == ["entry 1: etcd on 259:3 for the second time"]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(sorted(ETCD)), inner),
    )
)
def test_no_document_raises(document: object) -> None:
    histograms, _ = parse_fsync([document, ETCD])
    assert [histogram.key for histogram in histograms][-1:] == ["latency/passive/etcd/259:3"]
    parse_fsync(document)


def test_a_damaged_document_is_told(tmp_path: Path) -> None:
    reading: Reading = FsyncCollector().collect(host_of(tmp_path, {"fsync.json": b"[{"}), 0)
    assert reading.items["coverage/fsync"].coverage.status == pb.COVERAGE_STATUS_DAMAGED
    assert "nodes/n/fsync.json: no JSON" in reading.items["coverage/fsync"].coverage.because
