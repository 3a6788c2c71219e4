"""What a process costs: CPU to the nanosecond and memory in the three ways that people quote."""

from __future__ import annotations

import contextlib
import os
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_SCHED_CLOCK = 2
"""CPUCLOCK_SCHED (include/linux/posix-timers.h): user and system time of all threads, those that ended too."""


def cpu_seconds(pid: int) -> float:
    """CPU time of a process so far, seconds.

    By its CPU clock (clock_getcpuclockid(3)), which counts nanoseconds. /proc/PID/stat counts ticks of 10 ms: a hundred
    times what is to be measured here.
    """
    return time.clock_gettime((~pid << 3) | _SCHED_CLOCK)


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, least and greatest of several measurements, in one unit."""

    median: float
    least: float
    greatest: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least one value."""
        return cls(statistics.median(values), min(values), max(values), len(values))


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of one process in MiB; None: the system does not tell."""

    rss: float
    """Resident, pages shared with others included."""
    pss: float | None
    """Shared pages divided among those who share them: flattered by other Python processes."""
    cgroup: float | None
    """Charged to its control group, the kernel's own memory included."""


def memory(pid: int, group: Path | None) -> Memory:
    """Of a process, and of the control group it is alone in."""
    status = Path(f"/proc/{pid}/status").read_text()
    pss = None
    with contextlib.suppress(OSError):
        pss = _field(Path(f"/proc/{pid}/smaps_rollup").read_text(), "Pss:") / 1024
    charged = None
    if group is not None:
        for name in ("memory.current", "memory.usage_in_bytes"):
            with contextlib.suppress(OSError):
                charged = int((group / name).read_text()) / 2**20
    return Memory(_field(status, "VmRSS:") / 1024, pss, charged)


def _field(text: str, name: str) -> float:
    for line in text.splitlines():
        if line.startswith(name):
            return float(line.split()[1])
    raise ValueError(f"no {name} in it")


@contextlib.contextmanager
def memory_group(name: str) -> Iterator[Path | None]:
    """A control group of its own for one process; None where the memory controller cannot be used."""
    for parent in (Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")):
        group = parent / f"nodetell-bench-{os.getpid()}-{name}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            usable = any((group / file).exists() for file in ("memory.current", "memory.usage_in_bytes"))
            yield group if usable else None
        finally:
            _remove(group)
        return
    yield None


def _remove(group: Path) -> None:
    """A group can be removed once its last process is gone, which takes the kernel a moment."""
    for _ in range(50):
        try:
            group.rmdir()
        except OSError:
            time.sleep(0.02)
        else:
            return
