"""What a process costs: CPU to the nanosecond and memory in the three ways that people quote."""

from __future__ import annotations

import contextlib
import os
import secrets
import statistics
import time
from collections.abc import Iterable, Iterator, Sequence
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
    return Memory(_field(status, "VmRSS:") / 1024, pss, _charged(group))


def _charged(group: Path | None) -> float | None:
    if group is not None:
        for name in ("memory.current", "memory.usage_in_bytes"):
            with contextlib.suppress(OSError):
                return int((group / name).read_text()) / 2**20
    return None


def _field(text: str, name: str) -> float:
    for line in text.splitlines():
        if line.startswith(name):
            return float(line.split()[1])
    raise ValueError(f"no {name} in it")


def tree(roots: Iterable[int]) -> list[int]:
    """These processes and all that descend from them, of those that are there."""
    children: dict[int, list[int]] = {}
    alive = set()
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (fields := _stat(int(entry))):
            children.setdefault(int(fields[_PPID]), []).append(int(entry))
            alive.add(int(entry))
    found: list[int] = []
    waiting = [pid for pid in roots if pid in alive]
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting += children.get(pid, [])
    return found


def tree_cpu_seconds(roots: Iterable[int]) -> float:
    """CPU time of processes and all that descend from them, seconds.

    Of those that live by their CPU clocks; of those that have ended and were waited for, what their parents were
    charged with (cutime and cstime, proc_pid_stat(5)), which is in ticks of 10 ms.
    """
    total = 0.0
    for pid in tree(roots):
        if fields := _stat(pid):
            with contextlib.suppress(OSError):
                total += cpu_seconds(pid)
            total += (int(fields[_CUTIME]) + int(fields[_CUTIME + 1])) / os.sysconf("SC_CLK_TCK")
    return total


def tree_memory(roots: Iterable[int], group: Path | None) -> Memory:
    """Sums of processes and all that descend from them, and what their control group is charged with.

    In the sum of RSS, pages that two of them share count twice.
    """
    parts = []
    for pid in tree(roots):
        with contextlib.suppress(OSError, ValueError):
            parts.append(memory(pid, None))
    told = [part.pss for part in parts if part.pss is not None]
    pss = sum(told) if len(told) == len(parts) else None
    return Memory(sum(part.rss for part in parts), pss, _charged(group))


_STATE, _PPID, _CUTIME = 0, 1, 13
"""Places in /proc/PID/stat after the name."""


def alive(pid: int) -> bool:
    """Whether a process is there and has not ended."""
    fields = _stat(pid)
    return bool(fields) and fields[_STATE] not in ("Z", "X")


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat after the name, which may hold anything; empty: there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


@contextlib.contextmanager
def memory_group(name: str) -> Iterator[Path | None]:
    """A control group of its own for one process; None where the memory controller cannot be used."""
    for parent in (Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")):
        group = parent / f"nodetell-bench-{secrets.token_hex(4)}-{name}"
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
