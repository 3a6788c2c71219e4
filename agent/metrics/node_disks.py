"""Disks and mounts, under node_exporter's names."""

from __future__ import annotations

import re
from collections.abc import Iterable

from nodetell.metrics import Kind, Metric, Told

from agent.metrics import texts
from agent.reading import Reading

_IGNORED = re.compile(r"(ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+")
"""Partitions and devices in memory: node_exporter's default (--collector.diskstats.device-exclude)."""
_MEMORY = re.compile(
    "autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|fusectl|hugetlbfs|iso9660|mqueue|nsfs|overlay|proc"
    "|procfs|pstore|rpc_pipefs|securityfs|selinuxfs|squashfs|sysfs|tracefs"
)
"""File systems that are none on a disk, by the same measure (--collector.filesystem.fs-types-exclude)."""
_PLACES = re.compile(r"/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+|var/lib/containers/storage/.+)($|/)")
"""... and where (--collector.filesystem.mount-points-exclude)."""


def _counter(name: str, told: str) -> Metric:
    return Metric(f"node_disk_{name}_total", Kind.COUNTER, told, ("device",))


_MS, _SECTOR = 1e-3, 512.0
_DISK = (
    (_counter("reads_completed", "Reads that were done."), 1.0),
    (_counter("reads_merged", "Reads that were merged into others."), 1.0),
    (_counter("read_bytes", "Bytes read."), _SECTOR),
    (_counter("read_time_seconds", "Seconds that all reads took."), _MS),
    (_counter("writes_completed", "Writes that were done."), 1.0),
    (_counter("writes_merged", "Writes that were merged into others."), 1.0),
    (_counter("written_bytes", "Bytes written."), _SECTOR),
    (_counter("write_time_seconds", "Seconds that all writes took."), _MS),
    (Metric("node_disk_io_now", Kind.GAUGE, "Requests in progress.", ("device",)), 1.0),
    (_counter("io_time_seconds", "Seconds in which requests were in progress."), _MS),
    (_counter("io_time_weighted_seconds", "The same, each second times their number."), _MS),
    (_counter("discards_completed", "Discards that were done."), 1.0),
    (_counter("discards_merged", "Discards that were merged into others."), 1.0),
    (_counter("discarded_sectors", "Sectors discarded, of 512 bytes."), 1.0),
    (_counter("discard_time_seconds", "Seconds that all discards took."), _MS),
    (_counter("flush_requests", "Flushes that were done."), 1.0),
    (_counter("flush_requests_time_seconds", "Seconds that all flushes took."), _MS),
)
"""Columns of /proc/diskstats after the name, and their unit."""
READ_ONLY = Metric(
    "node_filesystem_readonly",
    Kind.GAUGE,
    "1: the mount, or the file system itself, is read-only.",
    ("device", "fstype", "mountpoint"),
)
METRICS = (*(metric for metric, _ in _DISK), READ_ONLY)


def tell(reading: Reading) -> Iterable[Told]:
    """All of it that was read."""
    told = [Told(metric) for metric, _ in _DISK]
    for words in texts.rows(reading.texts.get("proc/diskstats", b"")):
        values = texts.numbers(words[3:])
        name = words[2].decode("utf-8", "replace") if len(words) > 2 else ""
        if values is None or not name or _IGNORED.fullmatch(name):
            continue
        for column, value, (_, unit) in zip(told, values, _DISK, strict=False):
            column.add(value * unit, name)
    yield from told
    yield _read_only(reading)


def _read_only(reading: Reading) -> Told:
    told = Told(READ_ONLY)
    seen = set()
    for item in reading.items.values():
        if not item.HasField("mount"):
            continue
        mount = item.mount
        labels = mount.source, mount.fs_type, mount.mount_point
        if labels in seen or _MEMORY.fullmatch(mount.fs_type) or _PLACES.match(mount.mount_point):
            continue
        seen.add(labels)
        told.add(mount.mount_read_only or mount.fs_read_only, *labels)
    return told
