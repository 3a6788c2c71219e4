"""Latency of fdatasync: by a probe in directories that the operator names, or recorded in a bundle's fsync.json.

The probe does what etcd's write-ahead log does: it appends a few hundred bytes to a preallocated file and waits for
fdatasync. It writes only where it is told to, and only to its own file.
"""

from __future__ import annotations

import bisect
import contextlib
import errno
import fcntl
import itertools
import os
import stat
import threading
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field

from nodetell.v1 import facts_pb2 as pb

from agent.collectors import documents, gaps
from agent.collectors.keep import Kept
from agent.host import Host, ReadError
from agent.reading import Block, Reading

FILE_NAME = ".nodetell-probe"
"""Name of the probe's file in each directory; removed when the probe is closed."""

_MAGIC = b"nodetell fdatasync probe; safe to delete while no agent runs\n"
_FILE_BYTES = 4 << 20
_RECORD = _MAGIC.ljust(300, b".")
_FLAGS = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


def _bounds() -> tuple[int, ...]:
    """Four to each doubling, with 1, 2, 4 ... ms among them (the edges of etcd's own histogram), 64 us to 8.2 s."""
    steps = [round(1000 * 2**power * (1 + quarter / 4)) for power in range(-4, 13) for quarter in range(4)]
    return (64, *steps[1:], 8_192_000)


BOUNDS_US = _bounds()
"""Upper bounds of the probe's histogram, microseconds."""
_MOST_BOUNDS = 512
_U32 = (1 << 32) - 1
_U64 = (1 << 64) - 1

_METHODS = {"probe": pb.LATENCY_METHOD_PROBE, "passive": pb.LATENCY_METHOD_PASSIVE}


@dataclass(slots=True)
class Histogram:
    """Latencies of one process on one device, counted since it was made."""

    process: str
    device: str
    """"major:minor"; empty: unknown."""
    mount: str
    method: str
    """"probe" or "passive"."""
    bounds_us: tuple[int, ...] = BOUNDS_US
    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_US) + 1))

    def add(self, latency_us: float) -> None:
        """Count one call."""
        self.counts[bisect.bisect_left(self.bounds_us, latency_us)] += 1

    @property
    def key(self) -> str:
        """Item key. A probe is told by its directory, others by the device: two probes may share a device."""
        where = (self.mount or self.device) if self.method == "probe" else (self.device or self.mount)
        return f"latency/{self.method}/{self.process}/{where}"

    def put(self, reading: Reading) -> None:
        """Add the item and its block of counts."""
        source = pb.LatencySource(process=self.process, device=self.device, mount=self.mount, bounds_us=self.bounds_us)
        source.method = _METHODS[self.method]
        reading.add(pb.Item(key=self.key, latency=source))
        reading.blocks[self.key] = Block(counter_names(self.bounds_us), tuple(self.counts))


def counter_names(bounds_us: Sequence[int]) -> tuple[str, ...]:
    """Names of a histogram's counters: "le_64us", ..., and "gt_" with the last bound."""
    return (*(f"le_{bound}us" for bound in bounds_us), f"gt_{bounds_us[-1]}us")


def parse_fsync(document: object) -> tuple[list[Histogram], list[str]]:
    """fsync.json; an odd entry is a problem and the others are good."""
    try:
        entries = documents.words(document, "fsync.json", 10_000)
    except documents.OddError as odd:
        return [], [str(odd)]
    found: dict[str, Histogram] = {}
    problems = []
    for number, entry in enumerate(entries):
        try:
            histogram = _histogram(documents.entry(entry))
        except documents.OddError as odd:
            problems.append(f"entry {number}: {odd}")
            continue
        if found.setdefault(histogram.key, histogram) is not histogram:
            where = histogram.device or histogram.mount
            problems.append(f"entry {number}: {histogram.process} on {where} for the second time")
    return list(found.values()), problems


def _histogram(entry: documents.Entry) -> Histogram:
    method = documents.text(entry, "method")
    if method not in _METHODS:
        raise documents.OddError('"method" is neither "passive" nor "probe"')
    bounds = [
        documents.whole(b, "bounds_us", _U32, 1)
        for b in documents.words(entry.get("bounds_us"), "bounds_us", _MOST_BOUNDS)
    ]
    counts = [
        documents.whole(c, "counts", _U64) for c in documents.words(entry.get("counts"), "counts", _MOST_BOUNDS + 1)
    ]
    if not bounds or any(low >= high for low, high in itertools.pairwise(bounds)):
        raise documents.OddError('"bounds_us" does not ascend')
    if len(counts) != len(bounds) + 1:
        raise documents.OddError(f'{len(counts)} "counts" for {len(bounds)} "bounds_us": one more is needed')
    device = documents.text(entry, "device", optional=True)
    mount = documents.text(entry, "mount", optional=True)
    return Histogram(documents.text(entry, "process"), device, mount, method, tuple(bounds), counts)


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

    def __init__(self, directories: Sequence[str] = (), interval_s: float = 1.0) -> None:
        self.interval_s = interval_s if directories else 300.0
        self._probes = [Probe(directory) for directory in dict.fromkeys(directories)]
        self._kept = Kept()
        # Also at the end of the process: whoever runs collectors need not know of this one's files.
        weakref.finalize(self, _close_all, self._probes)

    def collect(self, host: Host, now: float) -> Reading:  # noqa: ARG002  # latencies are measured on a clock of their own
        """Counts so far."""
        reading = Reading()
        if host.live:
            self._probe(reading)
        else:
            _recorded(reading, host)
        return self._kept.settle(reading)

    def close(self) -> None:
        """Remove the probe's files."""
        _close_all(self._probes)

    def _probe(self, reading: Reading) -> None:
        if not self._probes:
            reading.gap("fsync", "no directory to probe is set", remedy=_REMEDY)
            return
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
    try:
        document = host.document("fsync.json")
    except ReadError as error:
        gaps.add(reading, "fsync", error)
        return
    if document is None:
        reading.gap("fsync", "no fsync.json", remedy=f"in the agent's settings, {_REMEDY}")
        return
    histograms, problems = parse_fsync(document)
    reading.source("fsync", "fsync.json")
    for histogram in histograms:
        histogram.put(reading)
    gaps.damage(reading, "fsync", "fsync.json", problems)
