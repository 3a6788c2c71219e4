"""Block devices: what they did (/proc/diskstats), what they are (/sys/block), and errors that file systems counted."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from nodetell.v1 import facts_pb2 as pb

from agent.collectors import gaps
from agent.collectors.keep import Kept
from agent.host import Failure, Host, ReadError
from agent.reading import Block, Reading

_COLUMNS = [
    "reads_completed",
    "reads_merged",
    "sectors_read",
    "read_ms",
    "writes_completed",
    "writes_merged",
    "sectors_written",
    "write_ms",
    "io_in_progress",
    "io_ms",
    "weighted_io_ms",
    "discards_completed",
    "discards_merged",
    "sectors_discarded",
    "discard_ms",
    "flushes_completed",
    "flush_ms",
]
_GAUGE = _COLUMNS.index("io_in_progress")
_WIDTHS = (14, 18, 20)
"""Columns by kernel: before 4.18, before 5.5, since (Documentation/admin-guide/iostats.rst)."""
NAMES = {width: tuple(name for name in _COLUMNS[: width - 3] if name != "io_in_progress") for width in _WIDTHS}
"""Names of the counters by number of columns; the number of requests in progress is a gauge and left out."""

_MEMORY = re.compile(r"z?ram\d+")
_LOOP = re.compile(r"loop\d+")
_ATTRIBUTES_S = 60.0


@dataclass(frozen=True, slots=True)
class DiskStats:
    """One line of /proc/diskstats."""

    dev: str
    """"major:minor"."""
    name: str
    columns: int
    """14, 18 or 20: what was understood of the line."""
    values: tuple[int, ...]
    """In the order of NAMES[columns]."""


def parse_diskstats(raw: bytes) -> tuple[list[DiskStats], list[str]]:
    """Devices worth reporting, in the kernel's order: without RAM disks and loop devices that never did anything.

    A damaged line is a problem and the others are good; columns that a later kernel appends are not looked at.
    """
    disks: dict[str, DiskStats] = {}
    problems = []
    for number, line in enumerate(raw.split(b"\n"), 1):
        words = line.split()
        if not words:
            continue
        width = max((width for width in _WIDTHS if width <= len(words)), default=0)
        numbers = words[:2] + words[3:width]
        sound = width == min(len(words), _WIDTHS[-1]) and all(word.isdigit() and len(word) <= 20 for word in numbers)
        if not sound or max(map(int, numbers)) >= 1 << 64:
            problems.append(f"line {number}: not a device's statistics: {gaps.excerpt(line)}")
            continue
        dev = f"{int(words[0])}:{int(words[1])}"
        if dev in disks:
            problems.append(f"line {number}: {dev} for the second time")
            continue
        values = tuple(int(word) for column, word in enumerate(words[3:width]) if column != _GAUGE)
        disks[dev] = DiskStats(dev, words[2].decode("utf-8", "replace"), width, values)
    idle_loops = {dev for dev, disk in disks.items() if _LOOP.fullmatch(disk.name) and not any(disk.values)}
    return [d for dev, d in disks.items() if dev not in idle_loops and not _MEMORY.fullmatch(d.name)], problems


def whole_disk_name(name: str, names: Iterable[str]) -> str:
    """The disk among `names` that a partition's name says it is on; empty: none.

    The kernel names a partition after its disk and number, with a "p" between where the disk's name ends in a digit
    (block/genhd.c, block/partitions/core.c).
    """
    stem = re.fullmatch(r"(.*?\d)p\d+|(.*?\D)\d+", name)
    if stem is None:
        return ""
    candidate = stem[1] or stem[2]
    return candidate if candidate in set(names) else ""


class DisksCollector:
    """Items "disk/MAJ:MIN" and "fs/TYPE/DEVICE", blocks "disk/MAJ:MIN"."""

    name = "disks"
    lane = "disks"
    interval_s = 5.0

    def __init__(self) -> None:
        self._kept = Kept()
        self._raw = b""
        self._disks: list[DiskStats] = []
        self._problems: list[str] = []
        self._items: dict[str, pb.Item] = {}
        self._gaps: dict[str, pb.Item] = {}
        self._sources: dict[str, str] = {}
        self._read_at = 0.0

    def collect(self, host: Host, now: float) -> Reading:
        """Counters now; what a device is, at most a minute ago or since it appeared or started counting anew."""
        reading = Reading()
        try:
            raw = host.read("proc/diskstats")
        except ReadError as error:
            gaps.add(reading, "disks", error, lost="devices and their latencies are not known")
            raw = b""
        else:
            reading.source("disks", "/proc/diskstats")
        anew = self._parse(raw)
        gaps.damage(reading, "disks", "/proc/diskstats", self._problems)
        if anew or not 0 <= now - self._read_at < _ATTRIBUTES_S:
            self._attributes(host)
            self._read_at = now
        reading.items.update(self._gaps)
        reading.sources.update(self._sources)
        reading.items.update(self._items)
        for disk in self._disks:
            reading.blocks[f"disk/{disk.dev}"] = Block(NAMES[disk.columns], disk.values)
        return self._kept.settle(reading)

    def _parse(self, raw: bytes) -> bool:
        """Take in the statistics; whether a device came, went, or counts anew."""
        if raw == self._raw:
            return False
        before = {disk.dev: disk for disk in self._disks}
        self._disks, self._problems = parse_diskstats(raw)
        self._raw = raw
        return len(before) != len(self._disks) or any(
            disk.dev not in before or before[disk.dev].name != disk.name or disk.values[0] < before[disk.dev].values[0]
            for disk in self._disks
        )

    def _attributes(self, host: Host) -> None:
        reading = Reading()
        names = {disk.name for disk in self._disks}
        dev_of = {disk.name: disk.dev for disk in self._disks}
        blocks: set[str] | None = None
        try:
            blocks = set(host.entries("sys/block"))
        except ReadError as error:
            if self._disks:
                gaps.add(reading, "disk_attributes", error, lost="size, serial number and write cache are not known")
        else:
            reading.source("disk_attributes", "/sys/block")
        for disk in self._disks:
            whole = ""
            in_sysfs = disk.name.replace("/", "!")  # as sysfs writes "cciss/c0d0"
            if blocks is None or in_sysfs not in blocks:
                whole = whole_disk_name(disk.name, names)
            directory = "/".join(filter(None, ("sys/block", whole.replace("/", "!"), in_sysfs)))
            item = pb.Item(key=f"disk/{disk.dev}", disk=_disk(host, disk, directory if blocks is not None else ""))
            item.disk.whole_disk = dev_of.get(whole, "")
            reading.add(item)
        _flush_gaps(reading, [item.disk for item in reading.items.values() if item.HasField("disk")])
        for fs_type in ("ext4", "xfs"):
            _filesystems(reading, host, fs_type)
        self._items = {key: item for key, item in reading.items.items() if not item.HasField("coverage")}
        self._gaps = {key: item for key, item in reading.items.items() if item.HasField("coverage")}
        self._sources = reading.sources


def _flush_gaps(reading: Reading, disks: list[pb.Disk]) -> None:
    """Say where a device's own flush figures are not there, or mean nothing."""
    old = [disk.name for disk in disks if disk.columns < _WIDTHS[-1]]
    if old:
        because = f"{', '.join(old)}: no flush figures, which /proc/diskstats has since Linux 5.5"
        reading.gap("disks", because, detail="flush", status=pb.COVERAGE_STATUS_DEGRADED)
    through = [disk.name for disk in disks if disk.write_cache == "write through"]
    if through:
        because = f"{', '.join(through)}: flushes are not counted, the cache is write through; 0 is not fast"
        reading.gap("disks", because, detail="write_through", status=pb.COVERAGE_STATUS_DEGRADED)


def _disk(host: Host, stats: DiskStats, directory: str) -> pb.Disk:
    """The item of a device whose directory in sysfs is this one; empty: sysfs cannot be read."""
    disk = pb.Disk(dev=stats.dev, name=stats.name, columns=stats.columns)
    if not directory:
        return disk
    size = _number(host, f"{directory}/size")
    if size is not None and size < 1 << 55:
        disk.size_bytes = size * 512  # sectors of 512 bytes, whatever the device's own are
    read_only = _number(host, f"{directory}/ro")
    if read_only is not None:
        disk.read_only = read_only != 0
    disk.write_cache = _text(host, f"{directory}/queue/write_cache")
    disk.serial = _text(host, f"{directory}/device/serial") or _text(host, f"{directory}/serial")  # NVMe, SCSI; virtio
    disk.model = _text(host, f"{directory}/device/model")
    disk.wwid = _text(host, f"{directory}/wwid") or _text(host, f"{directory}/device/wwid")
    if _LOOP.fullmatch(stats.name):
        disk.backing_file = _text(host, f"{directory}/loop/backing_file", 4096)
    return disk


def _filesystems(reading: Reading, host: Host, fs_type: str) -> None:
    """Mounted file systems of a type. xfs counts its errors nowhere that can be read; ext4 in its superblock."""
    try:
        devices = host.entries(f"sys/fs/{fs_type}")
    except ReadError as error:
        if error.failure is not Failure.ABSENT:  # absent: the type is not in use
            gaps.add(reading, "fs_errors", error, detail=fs_type)
        return
    reading.source("fs_errors", "/sys/fs")
    for device in devices:
        directory = f"sys/fs/{fs_type}/{device}"
        fs = pb.Filesystem(device=device.encode("utf-8", "replace").decode(), fs_type=fs_type)
        if fs_type == "xfs":
            if device == "stats":  # the only entry that is no device
                continue
        else:
            errors = _number(host, f"{directory}/errors_count")
            if errors is None:  # "features", or not to be read
                continue
            fs.errors = errors
            fs.last_error_time = _number(host, f"{directory}/last_error_time") or 0
            fs.last_error_func = _text(host, f"{directory}/last_error_func")
        reading.add(pb.Item(key=f"fs/{fs_type}/{fs.device}", filesystem=fs))


def _text(host: Host, path: str, limit: int = 300) -> str:
    """First line of an attribute; empty if the device has none: most lack most."""
    try:
        line = host.read(path, 1 << 16).split(b"\n", 1)[0]
    except ReadError:
        return ""
    return line.strip(b" \0\t\r").decode("utf-8", "replace")[:limit]


def _number(host: Host, path: str) -> int | None:
    text = _text(host, path)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None
