"""Makes one message of everything that the sensor counts."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from nodetell import __version__
from nodetell.v1 import sensor_pb2 as pb

from agent.bpf.syscalls import BpfError
from agent.sensor import drops, retransmits
from agent.sensor.buckets import BOUNDS_US
from agent.sensor.cgroups import Cgroups
from agent.sensor.chain import counts_scratch_file
from agent.sensor.fsync import FsyncSensor
from agent.sensor.fsync_methods import methods
from agent.sensor.kernel import Kernel
from agent.sensor.settings import SensorSettings
from agent.sensor.tap import Tap

_SWITCHED_OFF = "switched off by the sensor's settings"
_BLIND_DROPS = "packets that get lost beyond this host, or in hardware"
_BLIND_RETRANSMITS = "UDP and whatever else is not TCP"


class Sensor:
    """All that is attached on this host. start(), then report() at any time, then close()."""

    def __init__(self, settings: SensorSettings, fsync: FsyncSensor | None = None) -> None:
        """`fsync`: in place of the real chain of methods, for tests."""
        self._settings = settings
        self._kernel = Kernel(settings.proc, settings.sys, settings.tracefs)
        self._cgroups = Cgroups(settings.sys)
        self._fsync = fsync or FsyncSensor(
            methods(self._kernel),
            lambda method: counts_scratch_file(method, settings.scratch_directory),
            settings.syscall_duty_percent,
            settings.syscall_period_s,
        )
        self._drops = drops.tap(self._kernel)
        self._retransmits = retransmits.tap(self._kernel)
        self._sites: dict[int, str] = {}
        self._started_ms = 0
        self._netns = 0

    def start(self) -> None:
        """Attach what the settings ask for and the kernel allows; report() tells what came of it."""
        settings = self._settings
        self._netns = os.stat("/proc/self/ns/net").st_ino
        for wanted, start in (
            (settings.fsync, self._fsync.start),
            (settings.drops, self._drops.start),
            (settings.retransmits, self._retransmits.start),
        ):
            if wanted:
                start()
        self._started_ms = time.time_ns() // 1_000_000

    def close(self) -> None:
        """Detach everything."""
        for each in (self._fsync, self._drops, self._retransmits):
            each.close()

    def report(self) -> pb.SensorReport:
        """All that is known now. A table that cannot be read is empty, and its method tells why."""
        now = time.monotonic()
        report = pb.SensorReport(
            version=__version__, started_unix_ms=self._started_ms, bounds_us=BOUNDS_US, own_netns=self._netns
        )
        report.methods.extend(self._methods())
        _told(report, "fsync", lambda: self._add_fsync(report, now))
        _told(report, "drops", lambda: self._add_drops(report, now))
        _told(report, "retransmits", lambda: self._add_retransmits(report, now))
        rows: list[pb.SensorLatency | pb.SensorRetransmits] = [*report.latencies, *report.retransmits]
        paths = self._cgroups.paths({row.cgroup_id for row in rows if row.cgroup_id}, now)
        for row in rows:
            row.cgroup_path = paths.get(row.cgroup_id, "")
        report.cpu_us = time.process_time_ns() // 1000
        return report

    @property
    def running(self) -> list[str]:
        """Names of the methods at work."""
        return [method.name for method in self._methods() if method.running]

    def _methods(self) -> list[pb.SensorMethod]:
        settings, choice = self._settings, self._fsync.choice
        found = []
        if not settings.fsync:
            found.append(pb.SensorMethod(signal="fsync", refused=_SWITCHED_OFF))
        for name, why in choice.refused.items():
            found.append(pb.SensorMethod(signal="fsync", name=name, refused=why))
        if choice.method is not None and choice.method.name not in choice.refused:
            running = pb.SensorMethod(signal="fsync", name=choice.method.name, running=True, blind=choice.method.blind)
            running.observed_permille = self._fsync.observed_permille
            running.attach_us = round(choice.took_s * 1e6)
            found.append(running)
        found += _tap_methods("drops", self._drops, settings.drops, _BLIND_DROPS)
        found += _tap_methods("retransmits", self._retransmits, settings.retransmits, _BLIND_RETRANSMITS)
        return found

    def _add_fsync(self, report: pb.SensorReport, now: float) -> None:
        for row in sorted(self._fsync.latencies(now), key=lambda row: -sum(row.counts)):
            added = report.latencies.add(
                process=row.process,
                device_major=row.device[0],
                device_minor=row.device[1],
                cgroup_id=row.cgroup_id,
                counts=row.counts,
                sum_ns=row.sum_ns,
                max_ns=row.max_ns,
            )
            added.file_class = row.file_class  # type: ignore[assignment]  # numbers are the same
        report.losses.fsync_unmatched, report.losses.fsync_not_counted = self._fsync.lost()

    def _add_drops(self, report: pb.SensorReport, now: float) -> None:
        if not self._drops.name:
            return
        rows = drops.drops(self._drops, drops.reason_names(self._kernel.types), now)
        unknown = {row.site for row in rows} - self._sites.keys()
        if unknown:
            names = self._kernel.symbols(unknown)
            self._sites |= {site: names.get(site, f"{site:#x}") for site in unknown}
        totals: dict[tuple[str, str, int, int], pb.SensorDrop] = {}
        for row in sorted(rows, key=lambda row: -row.count):
            key = (row.reason, self._sites[row.site], row.ifindex, row.netns)
            if key in totals:  # one function drops at several places
                totals[key].count += row.count
            else:
                totals[key] = pb.SensorDrop(
                    reason=row.reason,
                    site=self._sites[row.site],
                    ifindex=row.ifindex,
                    interface=row.interface,
                    netns=row.netns,
                    count=row.count,
                )
        report.drops.extend(totals.values())
        report.losses.drops_not_counted = self._drops.lost()

    def _add_retransmits(self, report: pb.SensorReport, now: float) -> None:
        rows = retransmits.retransmissions(self._retransmits, now)
        for row in sorted(rows, key=lambda row: -row.large - row.small):
            report.retransmits.add(
                netns=row.netns,
                peer=row.peer,
                cgroup_id=row.cgroup_id,
                large=row.large,
                small=row.small,
                consecutive_timeouts=min(row.consecutive_timeouts, 255),
            )
        report.losses.retransmits_not_counted = self._retransmits.lost()


def _told(report: pb.SensorReport, signal: str, add: Callable[[], None]) -> None:
    """Add rows; if a table cannot be read, the signal's method says so in their place."""
    try:
        add()
    except BpfError as error:
        for method in report.methods:
            if method.signal == signal and method.running:
                method.running, method.refused = False, str(error)


def _tap_methods(signal: str, tap: Tap, wanted: bool, blind: str) -> list[pb.SensorMethod]:
    if not wanted:
        return [pb.SensorMethod(signal=signal, refused=_SWITCHED_OFF)]
    found = [pb.SensorMethod(signal=signal, name=name, refused=why) for name, why in tap.refused.items()]
    if tap.name:
        found.append(pb.SensorMethod(signal=signal, name=tap.name, running=True, blind=[blind], observed_permille=1000))
    return found
