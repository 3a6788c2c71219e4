"""CPU, memory, pressure, connection tracking and the clock, under node_exporter's names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from nodetell.metrics import FIELD, Kind, Metric, Told, one

from agent.collectors import host_info as collected
from agent.metrics import texts
from agent.reading import Reading

_LOAD = re.compile(rb"\d{1,9}\.\d{1,9}")
_TICKS = 100.0
"""USER_HZ: the unit of /proc/stat, the same on all of Linux' machines that are in use."""
_MODES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")

CPU = Metric("node_cpu_seconds_total", Kind.COUNTER, "Seconds that each CPU has spent in each mode.", ("cpu", "mode"))
GUEST = Metric(
    "node_cpu_guest_seconds_total",
    Kind.COUNTER,
    'Seconds of "user" and "nice" that each CPU has run guests in.',
    ("cpu", "mode"),
)
BOOT = Metric("node_boot_time_seconds", Kind.GAUGE, "When the host was booted, seconds since the epoch.")
_STAT = {
    b"ctxt": Metric("node_context_switches_total", Kind.COUNTER, "Context switches."),
    b"processes": Metric("node_forks_total", Kind.COUNTER, "Processes and threads that were made."),
    b"intr": Metric("node_intr_total", Kind.COUNTER, "Interrupts that were served."),
    b"procs_running": Metric("node_procs_running", Kind.GAUGE, "Threads that run or want to."),
    b"procs_blocked": Metric("node_procs_blocked", Kind.GAUGE, "Threads that wait for a disk."),
    b"btime": BOOT,
}
MEMORY = Metric(
    f"node_memory_{FIELD}", Kind.GAUGE, "A line of /proc/meminfo; in bytes, and its name ends so, where it has a unit."
)
_STALLS = {
    ("cpu", "some"): Metric(
        "node_pressure_cpu_waiting_seconds_total", Kind.COUNTER, "Time in which some task waited for a CPU."
    ),
    ("io", "some"): Metric(
        "node_pressure_io_waiting_seconds_total", Kind.COUNTER, "Time in which some task waited for I/O."
    ),
    ("io", "full"): Metric(
        "node_pressure_io_stalled_seconds_total", Kind.COUNTER, "Time in which all tasks waited for I/O."
    ),
    ("memory", "some"): Metric(
        "node_pressure_memory_waiting_seconds_total", Kind.COUNTER, "Time in which some task waited for memory."
    ),
    ("memory", "full"): Metric(
        "node_pressure_memory_stalled_seconds_total", Kind.COUNTER, "Time in which all tasks waited for memory."
    ),
}
_CONNTRACK = {
    "nf_conntrack_count": Metric("node_nf_conntrack_entries", Kind.GAUGE, "Connections that are tracked."),
    "nf_conntrack_max": Metric("node_nf_conntrack_entries_limit", Kind.GAUGE, "Connections that are, at most."),
}
_LOADS = tuple(
    Metric(f"node_load{minutes}", Kind.GAUGE, f"Tasks that ran or waited for a disk, mean of {minutes} minutes or so.")
    for minutes in (1, 5, 15)
)
UNAME = Metric(
    "node_uname_info",
    Kind.GAUGE,
    "What uname(2) tells; always 1.",
    ("domainname", "machine", "nodename", "release", "sysname", "version"),
)
SYNCED = Metric("node_timex_sync_status", Kind.GAUGE, "1: something keeps the clock right, as far as the kernel knows.")
MAX_ERROR = Metric(
    "node_timex_maxerror_seconds", Kind.GAUGE, "By how much the clock may be off, to two digits; read twice a minute."
)
OFFSET = Metric(
    "node_timex_offset_seconds", Kind.GAUGE, "By how much it is, by the daemon that keeps it right; to two digits."
)
METRICS = (
    CPU,
    GUEST,
    *_STAT.values(),
    MEMORY,
    *_STALLS.values(),
    *_CONNTRACK.values(),
    *_LOADS,
    UNAME,
    SYNCED,
    MAX_ERROR,
    OFFSET,
)


def tell(reading: Reading) -> Iterable[Told]:
    """All of it that was read."""
    have = reading.texts
    yield from _stat(have.get("proc/stat", b""))
    for name, value in texts.meminfo(have.get("proc/meminfo", b"")).items():
        yield one(_memory(name), value)
    for resource in ("cpu", "io", "memory"):
        stalls = texts.pressure(have.get(f"proc/pressure/{resource}", b""))
        yield from (
            one(_STALLS[resource, each], value) for each, value in stalls.items() if (resource, each) in _STALLS
        )
    for name, metric in _CONNTRACK.items():
        value_or_none = texts.number(have.get(f"proc/sys/net/netfilter/{name}", b"").strip())
        if value_or_none is not None:
            yield one(metric, value_or_none)
    for metric, word in zip(_LOADS, have.get("proc/loadavg", b"").split(), strict=False):
        if _LOAD.fullmatch(word):
            yield one(metric, float(word))
    if any(have.get(name) for name in collected.UNAME) and (host := reading.items.get("host")) is not None:
        domain, node, release, version = (have.get(name, b"").decode("utf-8", "replace") for name in collected.UNAME)
        yield one(UNAME, 1, domain, host.host.machine, node, release, "Linux", version)
    yield from _clock(reading)


@lru_cache(maxsize=256)
def _memory(name: str) -> Metric:
    return Metric(MEMORY.name.replace(FIELD, name), MEMORY.kind, MEMORY.help)


def _stat(raw: bytes) -> Iterable[Told]:
    cpu, guest = Told(CPU), Told(GUEST)
    singles = []
    for words in texts.rows(raw):
        metric = _STAT.get(words[0])
        if metric is not None and len(words) > 1 and (value := texts.number(words[1])) is not None:
            singles.append(one(metric, value))
        elif words[0].startswith(b"cpu") and words[0] != b"cpu":
            values = texts.numbers(words[1:])
            if values is None:
                continue
            number = words[0][3:].decode("ascii", "replace")
            for mode, ticks in zip(_MODES, values, strict=False):
                cpu.add(ticks / _TICKS, number, mode)
            for mode, ticks in zip(("user", "nice"), values[len(_MODES) :], strict=False):
                guest.add(ticks / _TICKS, number, mode)
    return cpu, guest, *singles


def _clock(reading: Reading) -> Iterable[Told]:
    item = reading.items.get("clock")
    if item is None:
        return
    clock = item.clock
    yield one(SYNCED, clock.synchronized)
    if clock.HasField("max_error_us"):
        yield one(MAX_ERROR, clock.max_error_us / 1e6)
    if clock.HasField("offset_us"):
        yield one(OFFSET, clock.offset_us / 1e6)
