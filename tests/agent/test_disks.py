"""Block devices: statistics of old and new kernels, what sysfs adds, and file systems that counted errors."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nodetell.v1 import facts_pb2 as pb

from agent.collectors.disks import DisksCollector
from agent.collectors.diskstats import NAMES, parse_diskstats, whole_disk_name
from tests.recorded import DATA, host_of

LINE = b" 259 0 nvme0n1 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17\n"


@pytest.mark.parametrize("width", [14, 18, 20])
def test_kernels_of_all_ages(width: int) -> None:
    raw = (DATA / f"diskstats-{width}").read_bytes()
    disks, problems = parse_diskstats(raw)
    assert problems == []
    assert [(disk.dev, disk.name, disk.columns) for disk in disks] == [
        ("254:0", "vda", width)
    ]  # no zram, no idle loops
    words = next(line.split() for line in raw.splitlines() if b" vda " in line)
    told = dict(zip(NAMES[width], disks[0].values, strict=True))
    assert told["reads_completed"] == int(words[3])
    assert told["weighted_io_ms"] == int(words[13])
    assert told.get("flush_ms") == (int(words[19]) if width == 20 else None)
    assert told.get("discard_ms") == (int(words[17]) if width >= 18 else None)


def test_requests_in_progress_are_no_counter() -> None:
    assert parse_diskstats(LINE)[0][0].values == (1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15, 16, 17)
    assert "io_in_progress" not in NAMES[20]
    assert sum(len(name) + 2 for name in NAMES[20]) < 900


def test_a_loop_device_with_io_is_kept() -> None:
    idle = b"7 0 loop0 0 0 0 0 0 0 0 0 0 0 0\n"
    used = b"7 1 loop1 1 0 0 0 0 0 0 0 0 0 0\n"
    assert [disk.name for disk in parse_diskstats(idle + used + b"1 0 ram0 1 0 0 0 0 0 0 0 0 0 0\n")[0]] == ["loop1"]


def test_damaged_lines_cost_themselves_only() -> None:
    disks, problems = parse_diskstats((DATA / "damaged/diskstats").read_bytes())
    # A later kernel's columns are left aside; 19 of them are none of any kernel's.
    assert [(disk.dev, disk.columns) for disk in disks] == [("254:0", 20), ("8:16", 20)]
    assert [problem.split(":")[0] for problem in problems] == ["line 2", "line 3", "line 4", "line 5", "line 7"]


@given(st.binary(max_size=200))
def test_no_statistics_raise_and_good_lines_survive(noise: bytes) -> None:
    disks, _ = parse_diskstats(LINE + noise + b"\n8 0 sda 1 2 3 4 5 6 7 8 9 10 11\n")
    names = {disk.dev: disk.name for disk in disks}
    assert names["259:0"] == "nvme0n1"
    assert "8:0" in names


@pytest.mark.parametrize(
    ("name", "whole"),
    [
        ("nvme0n1p1", "nvme0n1"),
        ("sda12", "sda"),
        ("mmcblk0p2", "mmcblk0"),
        ("md127p1", "md127"),
        ("nvme0n1", ""),
        ("sda", ""),
        ("dm-12", ""),
        ("md127", ""),
        ("sdb1", ""),
    ],
)
def test_partitions_by_name(name: str, whole: str) -> None:
    assert whole_disk_name(name, ["nvme0n1", "sda", "mmcblk0", "md127", "md1", "dm-1", name]) == whole


SYSFS = {
    "proc/diskstats": LINE + b" 259 1 nvme0n1p1 1 2 3 4 5 6 7 8 9 10 11\n 7 0 loop0 1 0 0 0 0 0 0 0 0 0 0\n",
    "sys/block/nvme0n1/size": b"2048\n",
    "sys/block/nvme0n1/ro": b"0\n",
    "sys/block/nvme0n1/wwid": b"nvme.1d0f-766f6c\n",
    "sys/block/nvme0n1/queue/write_cache": b"write back\n",
    "sys/block/nvme0n1/device/serial": b"vol0cafe000000000004  \n",
    "sys/block/nvme0n1/device/model": b"Amazon Elastic Block Store              \n",
    "sys/block/nvme0n1/nvme0n1p1/size": b"1024\n",
    "sys/block/nvme0n1/nvme0n1p1/ro": b"1\n",
    "sys/block/loop0/loop/backing_file": b"/srv/disk image\n",
}


def test_what_sysfs_tells(tmp_path: Path) -> None:
    reading = DisksCollector().collect(host_of(tmp_path, SYSFS), 0)
    assert reading.items["disk/259:0"].disk == pb.Disk(
        dev="259:0",
        name="nvme0n1",
        size_bytes=1 << 20,
        read_only=False,
        write_cache="write back",
        serial="vol0cafe000000000004",
        model="Amazon Elastic Block Store",
        columns=20,
        wwid="nvme.1d0f-766f6c",
    )
    partition = reading.items["disk/259:1"].disk
    assert (partition.whole_disk, partition.size_bytes, partition.read_only) == ("259:0", 1 << 19, True)
    assert (partition.columns, len(reading.blocks["disk/259:1"].values)) == (14, 10)
    assert reading.items["disk/7:0"].disk.backing_file == "/srv/disk image"
    assert {key for key in reading.items if not key.startswith("disk/")} == {
        "coverage/disks/flush",
    }
    assert reading.items["coverage/disks/flush"].coverage.because.startswith("nvme0n1p1, loop0: no flush figures")


def test_without_sysfs_partitions_are_still_known(tmp_path: Path) -> None:
    reading = DisksCollector().collect(host_of(tmp_path, {"proc/diskstats": SYSFS["proc/diskstats"]}), 0)
    disk = reading.items["disk/259:0"].disk
    assert not disk.HasField("size_bytes")
    assert not disk.HasField("read_only")
    assert reading.items["disk/259:1"].disk.whole_disk == "259:0"
    assert "sys/block: not in the bundle" in reading.items["coverage/disk_attributes"].coverage.because


def test_attributes_are_read_again_after_a_minute_or_when_a_device_starts_anew(tmp_path: Path) -> None:
    collector = DisksCollector()
    host = host_of(tmp_path, SYSFS)
    first = collector.collect(host, 0)
    same = collector.collect(host, 5)
    assert all(same.items[key] is item for key, item in first.items.items())
    assert all(same.blocks[key] is block for key, block in first.blocks.items())

    serial = tmp_path / "nodes/n/sys/block/nvme0n1/device/serial"
    serial.write_bytes(b"another\n")
    assert collector.collect(host, 10).items["disk/259:0"].disk.serial == "vol0cafe000000000004"
    assert collector.collect(host, 61).items["disk/259:0"].disk.serial == "another"

    serial.write_bytes(b"replaced\n")
    stats = tmp_path / "nodes/n/proc/diskstats"
    stats.write_bytes(SYSFS["proc/diskstats"].replace(b"nvme0n1 1 2", b"nvme0n1 0 2"))
    assert collector.collect(host, 62).items["disk/259:0"].disk.serial == "replaced"

    stats.write_bytes(LINE)
    assert {key for key in collector.collect(host, 63).items if key.startswith("disk/")} == {"disk/259:0"}


def test_no_statistics_at_all(tmp_path: Path) -> None:
    reading = DisksCollector().collect(host_of(tmp_path, {"proc/stat": b""}), 0)
    assert set(reading.items) == {"coverage/disks"}
    assert reading.blocks == {}
