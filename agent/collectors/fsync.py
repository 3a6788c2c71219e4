"""Latency of fsync: of other processes as the sensor sees it, and of a probe in directories that the operator names.

In a bundle both are in fsync.json; etcd's own is in its metrics, too.

The probe does what etcd's write-ahead log does: it appends a few hundred bytes to a preallocated file and waits for
fdatasync. It writes only where it is told to, and only to its own file.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import threading
import time
import weakref
from collections.abc import Sequence

from nodetell.v1 import facts_pb2 as pb

from agent.collectors import etcd_metrics, gaps
from agent.collectors.histograms import Histogram, parse_fsync
from agent.collectors.keep import Kept
from agent.collectors.passive_fsync import PassiveFsync
from agent.collectors.sensed import INTERVAL_S
from agent.host import Failure, Host, ReadError
from agent.reading import Reading
from agent.sensor.client import SensorClient

FILE_NAME = ".nodetell-probe"
"""Name of the probe's file in each directory; removed when the probe is closed."""

_MAGIC = b"nodetell fdatasync probe; safe to delete while no agent runs\n"
_FILE_BYTES = 4 << 20
_RECORD = _MAGIC.ljust(300, b".")
_FLAGS = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class ProbeError(Exception):
    """The probe cannot work in a directory: why, one line."""


class Probe:
    """A file of its own in one directory, and the latencies of fdatasync on it."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.histogram = Histogram("nodetell", "", directory, "probe")
        self._busy = threading.Lock()
        self._descriptor = -1
        self._offset = 0
        self._closed = False

    def measure(self) -> None:
        """One write and one fdatasync, counted. Raises ProbeError; the next call tries anew."""
        with self._busy:
            if self._closed:
                raise ProbeError(f"{self.directory}: the probe is closed")
            try:
                if self._descriptor < 0:
                    self._descriptor = self._open()
                self._write()
            except OSError as error:
                self._release()
                what = "no space for its 4 MiB file" if error.errno in {errno.ENOSPC, errno.EDQUOT} else error.strerror
                raise ProbeError(f"{self.directory}: {what}") from error

    def close(self, timeout_s: float = 0.5) -> None:
        """Remove the file, even while an fdatasync hangs in another thread."""
        self._closed = True
        idle = self._busy.acquire(timeout=timeout_s)
        try:
            if self._descriptor >= 0:
                with contextlib.suppress(OSError):
                    os.unlink(os.path.join(self.directory, FILE_NAME))
                if idle:
                    self._release()
        finally:
            if idle:
                self._busy.release()

    def _write(self) -> None:
        if self._offset + len(_RECORD) > _FILE_BYTES:
            # Writing over old data is cheaper than what etcd's log does: begin with blocks never written to.
            os.ftruncate(self._descriptor, len(_RECORD))
            _preallocate(self._descriptor)
            self._offset = 0
        os.pwrite(self._descriptor, _RECORD, self._offset)
        self._offset += len(_RECORD)
        start = time.perf_counter_ns()
        os.fdatasync(self._descriptor)
        self.histogram.add((time.perf_counter_ns() - start) / 1000)

    def _open(self) -> int:
        path = os.path.join(self.directory, FILE_NAME)
        try:
            descriptor = os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            descriptor = self._adopt(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise ProbeError(f"{path}: another agent probes here") from None
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, _RECORD, 0)
            _preallocate(descriptor)
            os.fsync(descriptor)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(path)
            os.close(descriptor)
            raise
        device = os.fstat(descriptor).st_dev
        self.histogram.device = f"{os.major(device)}:{os.minor(device)}"
        self._offset = len(_RECORD)
        return descriptor

    @staticmethod
    def _adopt(path: str) -> int:
        """A file that an agent left behind when it was killed; nobody else's is touched."""
        foreign = ProbeError(f"{path}: a file that is not the probe's; it is left alone")
        try:
            descriptor = os.open(path, _FLAGS)
        except OSError as error:
            if error.errno in {
                errno.ELOOP,
                errno.ENXIO,
                errno.EISDIR,
            }:  # a symbolic link, a pipe or socket, a directory
                raise foreign from None
            raise
        status = os.fstat(descriptor)
        own = stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and status.st_uid == os.geteuid()
        if not own or (status.st_size and os.pread(descriptor, len(_MAGIC), 0) != _MAGIC):
            os.close(descriptor)
            raise foreign
        return descriptor

    def _release(self) -> None:
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = -1


def _preallocate(descriptor: int) -> None:
    try:
        os.posix_fallocate(descriptor, 0, _FILE_BYTES)
    except OSError as error:
        if error.errno not in {
            errno.EOPNOTSUPP,
            errno.EINVAL,
        }:  # the file system cannot: the file grows as it is written
            raise


_REMEDY = "name a directory on the disk to be watched, etcd's for instance: probe_directories in [collectors]"


class FsyncCollector:
    """Items and blocks "latency/METHOD/PROCESS/WHERE".

    On a live host each run is one call in every directory. All share a thread, so a directory that hangs delays the
    others of this collector, and nothing else.
    """

    name = "fsync"
    lane = "fsync"

    def __init__(
        self, directories: Sequence[str] = (), interval_s: float = 1.0, sensor: SensorClient | None = None
    ) -> None:
        """`interval_s`: between two probes. `sensor`: none is asked without."""
        self.interval_s = interval_s if directories else INTERVAL_S if sensor is not None else 300.0
        self._sensor = sensor
        self._passive = PassiveFsync()
        self._probes = [Probe(directory) for directory in dict.fromkeys(directories)]
        self._kept = Kept()
        # Also at the end of the process: whoever runs collectors need not know of this one's files.
        weakref.finalize(self, _close_all, self._probes)

    def collect(self, host: Host, now: float) -> Reading:  # noqa: ARG002  # latencies are measured on a clock of their own
        """Counts so far."""
        reading = Reading()
        if host.live:
            self._live(reading, host)
        else:
            _recorded(reading, host)
        return self._kept.settle(reading)

    def close(self) -> None:
        """Remove the probe's files."""
        _close_all(self._probes)

    def _live(self, reading: Reading, host: Host) -> None:
        unseen = self._observe(reading, host)
        if self._probes:
            self._probe(reading)
            if unseen is not None:
                gaps.add(reading, "fsync", unseen, detail="sensor")
        elif self._sensor is None:
            reading.gap("fsync", "no directory to probe is set", remedy=_REMEDY)
        elif unseen is not None:
            gaps.add(reading, "fsync", unseen, lost="and no directory to probe is set")

    def _observe(self, reading: Reading, host: Host) -> ReadError | None:
        """Add what the sensor counted; why it could not, if so."""
        if self._sensor is None:
            return None
        try:
            report = self._sensor.report()
        except ReadError as error:
            return error
        self._passive.put(reading, host, report)
        return None

    def _probe(self, reading: Reading) -> None:
        working = []
        for probe in self._probes:
            try:
                probe.measure()
                working.append(probe.directory)
            except ProbeError as error:
                reading.gap("fsync", str(error), detail=probe.directory, remedy="name one that the agent can write to")
            if any(probe.histogram.counts):
                probe.histogram.put(reading)
        if working:
            reading.source("fsync", "probe")
            because = (
                f"only the agent's own probe in {', '.join(working)}: it does not see what other processes wait for, "
                "and is blind to throttling of their cgroups"
            )
            reading.gap("fsync", because, status=pb.COVERAGE_STATUS_DEGRADED)


def _close_all(probes: Sequence[Probe]) -> None:
    for probe in probes:
        probe.close()


def _recorded(reading: Reading, host: Host) -> None:
    """fsync.json, and etcd's own histogram where that has none of etcd."""
    try:
        document = host.document("fsync.json")
    except ReadError as error:
        gaps.add(reading, "fsync", error)
        document = []
    else:
        if document is not None:
            reading.source("fsync", "fsync.json")
    histograms, problems = parse_fsync(document) if document is not None else ([], [])
    own = _of_etcd(reading, host) if not any(_is_etcd(histogram) for histogram in histograms) else None
    for histogram in [*histograms, *([own] if own is not None else [])]:
        histogram.put(reading)
    gaps.damage(reading, "fsync", "fsync.json", problems)
    if document is None and own is None:
        because = f"no fsync.json and no {etcd_metrics.FILE}"
        reading.gap("fsync", because, remedy=f"in the agent's settings, {_REMEDY}")


def _is_etcd(histogram: Histogram) -> bool:
    return histogram.process == "etcd" or histogram.file_class == "wal"


def _of_etcd(reading: Reading, host: Host) -> Histogram | None:
    try:
        histogram = etcd_metrics.parse_wal_fsync(host.read(etcd_metrics.FILE, etcd_metrics.MAX_BYTES))
    except ReadError as error:
        if error.failure is not Failure.ABSENT:
            gaps.add(reading, "fsync", error, detail=etcd_metrics.FILE)
        return None
    except ValueError as error:
        gaps.damage(reading, "fsync", etcd_metrics.FILE, [str(error)], detail=etcd_metrics.FILE)
        return None
    reading.source("fsync", etcd_metrics.FILE)
    return histogram
