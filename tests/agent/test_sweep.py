"""All collectors at once, over live and recorded hosts, and a copy of a host that gives what the host gave."""

from __future__ import annotations

import os
import tarfile
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nodetell.v1 import facts_pb2 as pb

from agent.bundle_writer import pack, write_host
from agent.collectors.base import NETWORK_LANE
from agent.collectors.histograms import Histogram
from agent.collectors.registry import collectors
from agent.collectors.sweep import sweep
from agent.host import Failure, Host, ReadError
from agent.hosts.bundle import open_bundle
from agent.hosts.live import live_host
from agent.reading import Reading
from agent.settings import CollectorSettings
from tests.recorded import DATA, host_of, write_files

CAPTURED = {
    "proc/stat": "stat",
    "proc/meminfo": "meminfo",
    "proc/diskstats": "diskstats-20",
    "proc/1/mountinfo": "mountinfo-csi",
    "proc/1/net/snmp": "snmp",
    "proc/1/net/netstat": "netstat",
    "proc/1/net/snmp6": "snmp6",
    "proc/1/net/softnet_stat": "softnet_stat",
    "proc/pressure/io": "pressure-io",
    "proc/pressure/cpu": "pressure-cpu",
}
ORDER = [
    "host_info",
    "links",
    "routes",
    "protocols",
    "disks",
    "fsync",
    "etcd",
    "volumes",
    "kernel_log",
    "log_patterns",
    "usage",
    "clock",
    "path_mtu",
]


def test_the_registry() -> None:
    made = collectors()
    names = [each.name for each in made]
    assert names[: len(ORDER)] == ORDER
    assert len(set(names)) == len(names)
    lanes = {each.lane for each in made if each.lane != NETWORK_LANE}
    assert len(lanes) == sum(each.lane != NETWORK_LANE for each in made)
    assert {each.name for each in made if each.lane == NETWORK_LANE} == {"links", "routes", "path_mtu"}
    assert all(each.interval_s > 0 for each in made)
    probing = collectors(CollectorSettings(probe_directories=("/nowhere",), probe_interval_s=2.5))
    assert next(each.interval_s for each in probing if each.name == "fsync") == 2.5


class Fake:
    interval_s = 1.0

    def __init__(self, name: str, error: Exception | None = None) -> None:
        self.name = self.lane = name
        self._error = error

    def collect(self, host: Host, now: float) -> Reading:
        if self._error:
            raise self._error
        reading = Reading()
        reading.add(pb.Item(key=f"{self.name}/1", host=pb.HostInfo(machine=host.name, boot_time_unix_ms=int(now))))
        return reading


def test_a_collector_that_raises_costs_itself_only(tmp_path: Path) -> None:
    denied = ReadError(Failure.DENIED, "/x", "no")
    made = [Fake("a"), Fake("b", ZeroDivisionError("by\nzero")), Fake("c", denied), Fake("d")]
    reading = sweep(host_of(tmp_path, {"proc/stat": b""}), made, 7.0)
    assert set(reading.items) == {"a/1", "coverage/b", "coverage/c", "d/1"}
    assert reading.items["coverage/b"].coverage.because == "collector b failed: ZeroDivisionError: by"
    assert reading.items["coverage/b"].coverage.status == pb.COVERAGE_STATUS_DAMAGED
    assert reading.items["coverage/c"].coverage.because == "/x: no"
    assert reading.items["d/1"].host.boot_time_unix_ms == 7


def test_an_empty_host_is_all_gaps_and_no_crash(tmp_path: Path) -> None:
    reading = sweep(host_of(tmp_path, {"nothing": b""}), collectors(), 0.0)
    assert {key for key in reading.items if not key.startswith("coverage/")} == {"host"}
    assert reading.blocks == {}
    gaps = {item.coverage.signal for item in reading.items.values() if item.HasField("coverage")}
    assert {
        "links",
        "routes",
        "protocols",
        "disks",
        "fsync",
        "volumes",
        "kernel_log",
        "usage",
        "clock",
        "path_mtu",
    } <= gaps
    assert not [item for item in reading.items.values() if "failed:" in item.coverage.because]


def fixture_host(tmp_path: Path) -> Host:
    files: dict[str, object] = {path: (DATA / name).read_bytes() for path, name in CAPTURED.items()}
    uid, pv = "74144af8-4695-4c2c-9d81-1aba358643c0", "pvc-ff4a9b1f-0e3f-48e8-9c45-1cf5592448df"
    files |= {
        "proc/uptime": b"100.0 1.0\n",
        "proc/sys/kernel/osrelease": b"6.18.44\n",
        "sys/block/vda/size": b"2048\n",
        "sys/block/vda/serial": b"disk-1\n",
        "sys/block/loop0/size": b"0\n",
        "sys/fs/ext4/vda/errors_count": b"0\n",
        f"kubelet/pods/{uid}/volumes/kubernetes.io~csi/{pv}/vol_data.json": {"volumeHandle": "vol-1"},
        f"kubelet/pods/{uid}/volumes/kubernetes.io~nfs/share/": b"",
        "sys/class/net/": b"",
    }
    write_files(tmp_path, files)
    places = {name: str(tmp_path / name) for name in ("proc", "sys", "kubelet", "dev", "udev")}
    return live_host("n", **places)


def facts(reading: Reading) -> dict[str, pb.Item]:
    """Without what the copy may word differently, and the clock, which is always this machine's."""
    found = {}
    for key, item in reading.items.items():
        if key != "clock" and not item.HasField("coverage"):
            found[key] = pb.Item()
            found[key].CopyFrom(item)
            found[key].host.ClearField("recorded") if key == "host" else None
    return found


def test_a_copy_gives_what_the_host_gave(tmp_path: Path) -> None:
    host = fixture_host(tmp_path / "live")
    problems = write_host(host, tmp_path / "copy" / "t0" / "nodes" / "n")
    original = sweep(host, collectors(), 1e9)
    with open_bundle(tmp_path / "copy") as bundle:
        copied = sweep(bundle.snapshots[0].hosts["n"], collectors(), 1e9)
    assert facts(copied) == facts(original)
    assert copied.blocks == original.blocks
    assert "volume/74144af8-4695-4c2c-9d81-1aba358643c0/share" in copied.items
    assert copied.items["clock"].clock.max_error_us
    assert [str(problem) for problem in problems if "sys/net" not in str(problem)] == [
        "sysfs: kinds of links and tunnels are not known"
    ]


def test_a_copy_of_a_copy_is_the_same(tmp_path: Path) -> None:
    write_host(fixture_host(tmp_path / "live"), tmp_path / "a" / "nodes" / "n")
    latency = [
        {"process": "etcd", "device": "8:0", "mount": "/", "method": "passive", "bounds_us": [1], "counts": [2, 3]}
    ]
    write_files(tmp_path / "a" / "nodes" / "n", {"fsync.json": latency})
    with open_bundle(tmp_path / "a") as first:
        write_host(first.snapshots[0].hosts["n"], tmp_path / "b" / "nodes" / "n")
        with open_bundle(tmp_path / "b") as second:
            one = sweep(first.snapshots[0].hosts["n"], collectors(), 5.0)
            two = sweep(second.snapshots[0].hosts["n"], collectors(), 5.0)
    assert "latency/passive/etcd/8:0" in one.items
    assert (one.items, one.blocks) == (two.items, two.blocks)


def test_measured_latencies_are_copied(tmp_path: Path) -> None:
    known = Reading()
    histogram = Histogram("nodetell", "8:0", "/var/lib/etcd", "probe")
    histogram.add(100)
    histogram.put(known)
    write_host(fixture_host(tmp_path / "live"), tmp_path / "copy" / "nodes" / "n", known)
    with open_bundle(tmp_path / "copy") as bundle:
        copied = sweep(bundle.snapshots[0].hosts["n"], collectors(), 0.0)
    key = "latency/probe/nodetell//var/lib/etcd"
    assert copied.items[key] == known.items[key]
    assert copied.blocks[key] == known.blocks[key]


VOLATILE = ("usage", "clock", "pressure/", "conntrack", "host", "kernel/", "device/")


def test_this_machine_and_its_packed_copy(tmp_path: Path) -> None:
    host = live_host("here")
    try:
        write_host(host, tmp_path / "b" / "t0" / "nodes" / "here")
        live = sweep(host, collectors(), time.time())
    finally:
        host.network.close()
    pack(tmp_path / "b", tmp_path / "b.tar.gz")
    with open_bundle(tmp_path / "b.tar.gz") as bundle:
        assert bundle.problems == []
        assert abs(bundle.snapshots[0].at - time.time()) < 60
        copy = sweep(bundle.snapshots[0].hosts["here"], collectors(), bundle.snapshots[0].at)

    def steady(reading: Reading) -> dict[str, pb.Item]:
        items = {key: item for key, item in reading.items.items() if not key.startswith(VOLATILE)}
        return {key: item for key, item in items.items() if not item.HasField("coverage")}

    assert steady(copy) == steady(live)
    assert "link/1" in steady(copy)
    assert {key: block.names for key, block in copy.blocks.items()} == {
        k: block.names for k, block in live.blocks.items()
    }
    assert all(key in copy.items for key in live.items if key.startswith(VOLATILE))
    assert copy.items["host"].host.boot_id == live.items["host"].host.boot_id
    assert copy.items["host"].host.machine == os.uname().machine


def test_archives_are_the_same_for_the_same_files_and_there_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path / "dir", {"t0/b": b"1", "t0/a": b"2", "t0/empty/": b""})
    (tmp_path / "dir" / "t0" / "link").symlink_to("/etc/passwd")
    archives = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        archives.append(tmp_path / name / "case.tar.gz")
        pack(tmp_path / "dir", archives[-1])
        os.utime(tmp_path / "dir" / "t0" / "a", (1, 1))
    assert archives[0].read_bytes() == archives[1].read_bytes()
    with tarfile.open(archives[0]) as tar:
        assert tar.getnames() == ["case", "case/t0", "case/t0/a", "case/t0/b", "case/t0/empty"]

    def refuse(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="No space"):
        pack(tmp_path / "dir", tmp_path / "one" / "other.tar.gz")
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["case.tar.gz"]


@given(
    path=st.sampled_from(
        sorted({path.replace("/1/net/", "/net/") for path in CAPTURED} | {"clock.json", "fsync.json"})
    ),
    start=st.integers(0, 5000),
    length=st.integers(0, 5000),
    noise=st.binary(max_size=60),
)
def test_whatever_is_written_over_a_file_no_collector_fails(
    tmp_path_factory: pytest.TempPathFactory, path: str, start: int, length: int, noise: bytes
) -> None:
    files = {path.replace("/1/net/", "/net/"): (DATA / name).read_bytes() for path, name in CAPTURED.items()}
    whole = files.get(path, b"")
    files[path] = whole[:start] + noise + whole[start + length :]
    reading = sweep(host_of(tmp_path_factory.mktemp("noise"), files), collectors(), 0.0)
    assert not [item for item in reading.items.values() if "failed:" in item.coverage.because]
    kept = {"proc/diskstats": "disk/254:0", "proc/1/mountinfo": "mount/407", "proc/pressure/io": "pressure/io"}
    assert {key for other, key in kept.items() if other != path} <= set(reading.items)


def test_names_that_are_no_text_cost_nothing(tmp_path: Path) -> None:
    host = fixture_host(tmp_path)
    for directory in (b"kubelet/pods", b"sys/fs/ext4", b"sys/block", b"sys/class/net"):
        odd = os.fsencode(tmp_path) + b"/" + directory + b"/\xff\n\xf0\x9f\x90\xb3"
        os.makedirs(odd + b"/volumes/kubernetes.io~csi/\xfe/vol_data.json")
        Path(os.fsdecode(odd + b"/errors_count")).write_bytes(b"1\n")
    reading = sweep(host, collectors(), 0.0)
    assert not [item.coverage.because for item in reading.items.values() if "failed:" in item.coverage.because]
    assert "volume/74144af8-4695-4c2c-9d81-1aba358643c0/share" in reading.items
    assert "fs/ext4/vda" in reading.items
    for item in reading.items.values():
        item.SerializeToString()
