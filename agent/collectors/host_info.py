"""The host itself: since when it runs, which kernel, how many CPUs. A reboot shows in the time of boot and boot id."""

from __future__ import annotations

import os
import re

from nodetell.v1 import facts_pb2 as pb

from agent.collectors import gaps
from agent.collectors.keep import Kept
from agent.host import Failure, Host, ReadError
from agent.reading import Reading

_BTIME = re.compile(rb"^btime (\d{1,12})\s*$", re.MULTILINE)
_CPU = re.compile(rb"^cpu\d+ ", re.MULTILINE)
_UPTIME = re.compile(rb"(\d{1,12}(?:\.\d{1,9})?)\s")
_WOBBLE_MS = 5_000
UNAME = tuple(f"proc/sys/kernel/{name}" for name in ("domainname", "hostname", "osrelease", "version"))
"""What uname(2) tells, for outputs on the node itself."""


def parse_stat(raw: bytes) -> tuple[int | None, int]:
    """Time of boot (seconds since the epoch; None: not told, or 0 as some sandboxes say) and number of online CPUs.

    Source: /proc/stat, fs/proc/stat.c.
    """
    match = _BTIME.search(raw)
    return (int(match[1]) or None) if match else None, len(_CPU.findall(raw))


def parse_uptime(raw: bytes) -> float | None:
    """Seconds since boot; None: not told. Source: /proc/uptime."""
    match = _UPTIME.match(raw)
    return float(match[1]) if match else None


class HostInfoCollector:
    """Item "host"."""

    name = "host_info"
    lane = "host_info"
    interval_s = 300.0

    def __init__(self) -> None:
        self._kept = Kept()
        self._before = pb.HostInfo()

    def collect(self, host: Host, now: float) -> Reading:
        """What is known of the host at `now`, seconds since the epoch."""
        reading = Reading()
        if host.live:
            for name in UNAME:
                reading.texts[name] = _text(host, name).encode()
        info = pb.HostInfo(
            boot_id=_text(host, "proc/sys/kernel/random/boot_id"),
            kernel_release=_text(host, "proc/sys/kernel/osrelease"),
            # /proc/sys/kernel/arch is there since Linux 6.1.
            machine=os.uname().machine if host.live else _text(host, "proc/sys/kernel/arch"),
            recorded=not host.live,
        )
        try:
            boot, info.cpus = parse_stat(host.read("proc/stat"))
            if boot is None:
                boot = self._boot_by_uptime(host, now)
            info.boot_time_unix_ms = self._steady(boot * 1000, info.boot_id)
            reading.source("host", "/proc/stat")
        except ReadError as error:
            gaps.add(reading, "host", error, lost="a reboot shows only in counters that go backwards")
        self._before = info
        reading.add(pb.Item(key="host", host=info))
        return self._kept.settle(reading)

    @staticmethod
    def _boot_by_uptime(host: Host, now: float) -> int:
        uptime = parse_uptime(host.read("proc/uptime"))
        if uptime is None:
            raise ReadError(Failure.DAMAGED, "/proc/uptime", "no number of seconds, and no btime in /proc/stat")
        return max(0, round(now - uptime))

    def _steady(self, boot_ms: int, boot_id: str) -> int:
        """btime is the wall clock less the uptime, so it moves a little whenever the clock is set: not a reboot."""
        before = self._before
        same_boot = before.boot_id == boot_id and abs(before.boot_time_unix_ms - boot_ms) <= _WOBBLE_MS
        return before.boot_time_unix_ms if same_boot and before.boot_time_unix_ms else boot_ms


def _text(host: Host, path: str) -> str:
    """First line of a file; empty if it cannot be read: none of these is a signal by itself."""
    try:
        return host.read(path, 4096).split(b"\n", 1)[0].strip().decode("utf-8", "replace")[:200]
    except ReadError:
        return ""
