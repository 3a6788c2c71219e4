"""Block devices: what they did (/proc/diskstats), and what they are (/sys/block)."""

from __future__ import annotations

from nodetell.v1 import facts_pb2 as pb

from agent import bounds
from agent.collectors import gaps
from agent.collectors.base import Opened
from agent.collectors.blockdevs import serial_of, text, wwid_of
from agent.collectors.diskstats import LOOP, NAMES, WIDTHS, DiskStats, parse_diskstats, whole_disk_name
from agent.collectors.filesystems import number
from agent.collectors.keep import Kept
from agent.events.uevents import BlockEvents
from agent.host import Host, ReadError
from agent.reading import Block, Reading

_ATTRIBUTES_S = 60.0


class DisksCollector:
    """Items "disk/MAJ:MIN" and their blocks."""

    name = "disks"
    lane = "disks"
    interval_s = 5.0
    safety_interval_s = interval_s
    """Counters are read this often in any case; the kernel tells of devices."""

    def __init__(self) -> None:
        self._kept = Kept()
        self._raw = b""
        self._disks: list[DiskStats] = []
        self._problems: list[str] = []
        self._left_out = 0
        self._items: dict[str, pb.Item] = {}
        self._gaps: dict[str, pb.Item] = {}
        self._sources: dict[str, str] = {}
        self._read_at = 0.0
        self._events: BlockEvents | None = None

    def sources(self, host: Host) -> Opened:  # noqa: ARG002  # the contract; uevents are nobody's directory
        """Uevents of block devices."""
        try:
            self._events = BlockEvents()
        except ReadError as error:
            return Opened([], [error])
        return Opened([self._events])

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
            reading.texts["proc/diskstats"] = raw
        anew = self._parse(raw) or bool(self._events is not None and self._events.looked_at())
        gaps.damage(reading, "disks", "/proc/diskstats", self._problems)
        bounds.tell(reading, "disks", "disks and partitions", self._left_out, len(self._disks))
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
        disks, self._problems = parse_diskstats(raw)
        self._disks, self._left_out = disks[: bounds.MOST_DISKS], len(disks[bounds.MOST_DISKS :])
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
        self._items = {key: item for key, item in reading.items.items() if not item.HasField("coverage")}
        self._gaps = {key: item for key, item in reading.items.items() if item.HasField("coverage")}
        self._sources = reading.sources


def _flush_gaps(reading: Reading, disks: list[pb.Disk]) -> None:
    """Say where a device's own flush figures are not there, or mean nothing."""
    old = [disk.name for disk in disks if disk.columns < WIDTHS[-1]]
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
    size = number(host, f"{directory}/size")
    if size is not None and size < 1 << 55:
        disk.size_bytes = size * 512  # sectors of 512 bytes, whatever the device's own are
    read_only = number(host, f"{directory}/ro")
    if read_only is not None:
        disk.read_only = read_only != 0
    disk.write_cache = text(host, f"{directory}/queue/write_cache")
    disk.serial = serial_of(host, directory)
    disk.model = text(host, f"{directory}/device/model")
    disk.wwid = wwid_of(host, directory)
    if LOOP.fullmatch(stats.name):
        disk.backing_file = text(host, f"{directory}/loop/backing_file", 4096)
    return disk
