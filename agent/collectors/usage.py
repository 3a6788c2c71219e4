"""Utilisation of the host's CPUs and memory, so that "requested but idle" can be told without a metrics server."""

from __future__ import annotations

import contextlib
import threading
import warnings
from typing import Any

from nodetell.v1 import facts_pb2 as pb

from agent.collectors import gaps
from agent.collectors.keep import Kept, percent_steps
from agent.host import Host, ReadError
from agent.reading import Reading

_PSUTIL = threading.Lock()
"""psutil's place of /proc is a variable of the module; hosts at different places take turns."""

_IDLE = ("idle", "iowait")
_COUNTED_ELSEWHERE = ("guest", "guest_nice")
"""Contained in user and nice (kernel/sched/cputime.c)."""


class UsageCollector:
    """Item "usage". psutil is imported in the first run: an agent without this signal does not carry it."""

    name = "usage"
    lane = "usage"
    interval_s = 10.0

    def __init__(self) -> None:
        self._kept = Kept()
        self._before: dict[str, float] = {}

    def collect(self, host: Host, now: float) -> Reading:  # noqa: ARG002  # shares are of CPU time, not of the clock's
        """CPU share since the reading before, and memory now, each to 1 %."""
        reading = Reading()
        try:
            # Read once through the host: it tells why a file cannot be read, and lets none out of a bundle.
            reading.texts["proc/stat"] = host.read("proc/stat")
            reading.texts["proc/meminfo"] = host.read("proc/meminfo")
        except ReadError as error:
            gaps.add(reading, "usage", error, lost="utilisation is not known")
            return self._kept.settle(reading)
        with contextlib.suppress(ReadError):  # no signal of its own
            reading.texts["proc/loadavg"] = host.read("proc/loadavg", 256)
        try:
            times, total, available = _psutil(host.proc)
        except ImportError as error:
            reading.gap("usage", f"psutil: {error}", remedy='install the agent with its extra: "nodetell[agent]"')
            return self._kept.settle(reading)
        except Exception as error:  # noqa: BLE001  # psutil raises whatever its parsing of a damaged file happens to raise
            reason = f"{type(error).__name__}: {error}".partition("\n")[0]
            gaps.damage(reading, "usage", "/proc/stat or /proc/meminfo", [f"psutil cannot read it: {reason}"])
            return self._kept.settle(reading)
        usage = pb.Usage(
            memory_total_bytes=total, memory_available_bytes=percent_steps(available, total) * total // 10_000
        )
        busy = busy_share(self._before, times)
        self._before = times
        if busy is not None:
            usage.cpu_busy_bp = percent_steps(busy, 1)
        reading.source("usage", "/proc/stat, /proc/meminfo")
        reading.add(pb.Item(key="usage", usage=usage))
        return self._kept.settle(reading)


def busy_share(before: dict[str, float], now: dict[str, float]) -> float | None:
    """Share of CPU time between two readings that was neither idle nor waiting for I/O, 0 to 1.

    None without an earlier reading, without progress, or after a reboot. Single columns may go backwards a little
    (iowait does, by its definition in Documentation/filesystems/proc.rst), which counts as no progress.
    """
    if not before or sum(now.values()) < sum(before.values()):
        return None
    spent = {name: max(0.0, now[name] - before.get(name, 0.0)) for name in now if name not in _COUNTED_ELSEWHERE}
    whole = sum(spent.values())
    idle = sum(spent.get(name, 0.0) for name in _IDLE)
    return (whole - idle) / whole if whole > 0 else None


def _psutil(proc: str) -> tuple[dict[str, float], int, int]:
    """CPU times in seconds by kind, total and available memory in bytes, from the /proc at that place."""
    import psutil  # noqa: PLC0415  # 4 MB, only where this signal is on

    module: Any = psutil
    with _PSUTIL, warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of columns that nobody here asks for
        before = module.PROCFS_PATH
        module.PROCFS_PATH = proc
        try:
            times = psutil.cpu_times()._asdict()
            memory = psutil.virtual_memory()
        finally:
            module.PROCFS_PATH = before
    total, available = int(memory.total), int(memory.available)
    if not 0 < total < 1 << 63 or not 0 <= available <= total:
        raise ValueError(f"MemAvailable {available} of MemTotal {total}")
    return times, total, available
