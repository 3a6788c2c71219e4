"""Latency of other processes' fsync, as the sensor counts it: which process, file, device, mount and pod."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from nodetell.v1 import sensor_pb2

from agent.collectors import gaps, sensed
from agent.collectors.histograms import Histogram
from agent.collectors.mountinfo import MountLine, parse_mountinfo
from agent.host import Host, ReadError
from agent.reading import Reading

MOST_SOURCES = 64
"""Histograms told of a host: etcd's, and then those with most calls."""
_CLASSES = {sensor_pb2.SENSOR_FILE_CLASS_WAL: "wal", sensor_pb2.SENSOR_FILE_CLASS_DATABASE: "database"}
_IN_MEMORY = frozenset(
    {"tmpfs", "devtmpfs", "ramfs", "hugetlbfs", "proc", "sysfs", "cgroup", "cgroup2", "bpf", "tracefs"}
)
_BESIDE = (
    "the devices' own flush counters are blind to throttling of control groups and to caches that write through, "
    "the agent's probe to both"
)


class PassiveFsync:
    """Adds what the sensor counted to readings; keeps the table of mounts between them."""

    def __init__(self) -> None:
        self._raw = b""
        self._mounts: list[MountLine] = []

    def put(self, reading: Reading, host: Host, report: sensor_pb2.SensorReport) -> None:
        """Items and blocks "latency/passive/...", and the coverage of the method."""
        method = sensed.tell_methods(reading, "fsync", report, _BESIDE)
        if not method:
            return
        observed = next(sensed.observed(each) for each in report.methods if each.running and each.signal == "fsync")
        reading.source("fsync", method)
        lost = {"calls of new processes": report.losses.fsync_not_counted}
        # A few calls are under way whenever a method is attached; only more than that are worth a word.
        if report.losses.fsync_unmatched * 100 > sum(sum(row.counts) for row in report.latencies):
            lost["calls whose beginning was not seen"] = report.losses.fsync_unmatched
        sensed.tell_losses(reading, "fsync", lost)
        self._read_mounts(host)
        bounds = tuple(report.bounds_us)
        if not bounds or any(low >= high for low, high in pairwise((0, *bounds))):
            gaps.damage(reading, "fsync", "the sensor's report", ["the bounds of its histograms do not ascend"])
            return
        rows = [row for row in report.latencies if len(row.counts) == len(bounds) + 1 and not self._in_memory(row)]
        rows.sort(key=lambda row: (not row.file_class, -sum(row.counts)))
        sensed.tell_left_out(reading, "fsync", len(rows) - MOST_SOURCES, "processes on devices")
        for row in rows[:MOST_SOURCES]:
            histogram = self._histogram(row, bounds)
            histogram.attached_by = method
            histogram.observed_permille = observed
            histogram.put(reading)

    def _histogram(self, row: sensor_pb2.SensorLatency, bounds: tuple[int, ...]) -> Histogram:
        device = f"{row.device_major}:{row.device_minor}"
        pod = sensed.pod_of(row.cgroup_path)
        mount = mount_of(self._mounts, device, pod)
        return Histogram(
            row.process,
            device,
            mount,
            "passive",
            bounds,
            list(row.counts),
            file_class=_CLASSES.get(row.file_class, ""),
            cgroup_id=row.cgroup_id,
            pod_uid=pod,
        )

    def _in_memory(self, row: sensor_pb2.SensorLatency) -> bool:
        """Files in memory, whose sync does nothing."""
        device = f"{row.device_major}:{row.device_minor}"
        return row.device_major == 0 and any(
            mount.fs_type in _IN_MEMORY for mount in self._mounts if mount.dev == device
        )

    def _read_mounts(self, host: Host) -> None:
        try:
            raw = host.read("proc/1/mountinfo")
        except ReadError:
            return  # the collector of volumes tells that, and why
        if raw != self._raw:
            self._raw, self._mounts = raw, parse_mountinfo(raw)[0]


def mount_of(mounts: Sequence[MountLine], device: str, pod_uid: str) -> str:
    """Where a device is mounted: for a pod, where that pod has it; else the shortest place that shows all of it."""
    places = [mount for mount in mounts if mount.dev == device]
    own = [mount for mount in places if pod_uid and f"/pods/{pod_uid}/" in f"{mount.mount_point}/"]
    return _shortest(own) or _shortest(mount for mount in places if mount.root == "/") or _shortest(places)


def _shortest(mounts: Iterable[MountLine]) -> str:
    return min((mount.mount_point for mount in mounts), key=lambda path: (len(path), path), default="")
