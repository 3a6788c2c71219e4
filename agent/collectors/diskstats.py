"""Parsing of /proc/diskstats: what each block device has done since boot."""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import dataclass

from agent.collectors import gaps

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
WIDTHS = (14, 18, 20)
"""Columns by kernel: before 4.18, before 5.5, since (Documentation/admin-guide/iostats.rst)."""
NAMES = {width: tuple(name for name in _COLUMNS[: width - 3] if name != "io_in_progress") for width in WIDTHS}
"""Names of the counters by number of columns; the number of requests in progress is a gauge and left out."""

_MEMORY = re.compile(r"z?ram\d+")
LOOP = re.compile(r"loop\d+")


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
        width = max((width for width in WIDTHS if width <= len(words)), default=0)
        numbers = words[:2] + words[3:width]
        sound = width == min(len(words), WIDTHS[-1]) and all(word.isdigit() and len(word) <= 20 for word in numbers)
        if not sound or max(map(int, numbers)) >= 1 << 64:
            problems.append(f"line {number}: not a device's statistics: {gaps.excerpt(line)}")
            continue
        dev = f"{int(words[0])}:{int(words[1])}"
        if dev in disks:
            problems.append(f"line {number}: {dev} for the second time")
            continue
        values = tuple(int(word) for column, word in enumerate(words[3:width]) if column != _GAUGE)
        disks[dev] = DiskStats(dev, words[2].decode("utf-8", "replace"), width, values)
    idle_loops = {dev for dev, disk in disks.items() if LOOP.fullmatch(disk.name) and not any(disk.values)}
    return [d for dev, d in disks.items() if dev not in idle_loops and not _MEMORY.fullmatch(d.name)], problems


def whole_disk_name(name: str, names: Container[str]) -> str:
    """The disk among `names` that a partition's name says it is on; empty: none.

    The kernel names a partition after its disk and number, with a "p" between where the disk's name ends in a digit
    (block/genhd.c, block/partitions/core.c).
    """
    stem = re.fullmatch(r"(.*?\d)p\d+|(.*?\D)\d+", name)
    if stem is None:
        return ""
    candidate = stem[1] or stem[2]
    return candidate if candidate in names else ""
