"""/proc/diskstats, and what /sys/block says of each device."""

from __future__ import annotations

from collections.abc import Iterable

from agent.collectors.disks import DisksCollector
from agent.collectors.diskstats import NAMES, parse_diskstats
from fuzz import mutators
from fuzz.hosts import LATER, collected, recorded, times_of
from fuzz.target import Target, sometimes

_PATH = "proc/diskstats"
_GOOD = b"8 0 sda 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17\n"
_STATS = (
    b" 259       0 nvme0n1 9 0 72 4 5 1 48 3 0 8 7 0 0 0 0 2 1\n 259 1 nvme0n1p1 9 0 72 4 5 1 48 3 0 8 7 0 0 0 0\n"
    b"   7       0 loop0 1 0 2 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n 253 0 dm-0 9 0 72 4 5 1 48 3 0 8 7\n"
    b" 104 0 cciss/c0d0 9 0 72 4 5 1 48 3 0 8 7\n   1 0 ram0 0 0 0 0 0 0 0 0 0 0 0\n"
)
_SYSFS = {
    "sys/block/nvme0n1/size": b"2048\n",
    "sys/block/nvme0n1/ro": b"0\n",
    "sys/block/nvme0n1/queue/write_cache": b"write back\n",
    "sys/block/nvme0n1/device/serial": b"S4EV   \n",
    "sys/block/nvme0n1/wwid": b"eui.0025\n",
    "sys/block/loop0/loop/backing_file": b"/a\xff\n",
    "sys/block/cciss!c0d0/device/vpd_pg80": b"\0\x80\0\x04abcd",
    "sys/block/cciss!c0d0/device/model": b"X\n",
}


def check(case: bytes) -> None:
    """Each line is a device or a problem; a good one stays; what is made of it can be told."""
    files = mutators.files_of(case)
    raw = files.get(_PATH, b"")
    disks, problems = parse_diskstats(raw)
    assert len(disks) + len(problems) <= sum(1 for line in raw.split(b"\n") if line.split())
    for disk in disks:
        assert len(disk.values) == len(NAMES[disk.columns])
        assert all(0 <= value < 1 << 64 for value in disk.values)
    if not sometimes(case, 8):
        return
    assert parse_diskstats(_GOOD + raw)[0][:1] == parse_diskstats(_GOOD)[0]
    collected([DisksCollector()], *times_of(files))


def _seeds() -> Iterable[bytes]:
    yield mutators.case_of({_PATH: _STATS, **_SYSFS})
    yield mutators.case_of({_PATH: _STATS, LATER + _PATH: _STATS.replace(b" 9 ", b" 11 ")})
    for files in recorded(_PATH, "sys/block"):
        if _PATH in files:
            yield mutators.case_of(files)


TARGET = Target(check, _seeds, mutate=mutators.files, max_bytes=1_200)
