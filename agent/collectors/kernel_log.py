"""What the kernel's log tells of trouble: counts by class and subject. The text itself stays on the node."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from nodetell.v1 import facts_pb2 as pb

from agent.collectors import gaps
from agent.collectors.base import Opened
from agent.collectors.keep import Kept
from agent.events.kmsg import KernelLog, LogRecord, parse_log
from agent.events.patterns import WORDS, Classifier, Sighting
from agent.host import Failure, Host, ReadError
from agent.reading import Reading

LOOK_BACK_S = 600.0
"""What is older than this when the agent starts is not told: whoever restarts an agent has heard of it."""
FORGET_S = 86_400.0
"""Something that was not seen for so long is not told any more."""
MAX_SUBJECTS = 16
"""Subjects of one class that are told apart."""
OTHERS = "(others)"
_BACKLOG = 100_000
"""Records read at most when the agent starts: more than the largest buffers hold in practice."""
_TEXT_BYTES = 64 << 20


@dataclass(slots=True)
class _Seen:
    """Times in seconds of the log's clock."""

    count: int
    first: float
    last: float


@dataclass(slots=True)
class _Tally:
    """All that was seen, in bounded memory."""

    seen: dict[Sighting, _Seen] = field(default_factory=dict)
    classifier: Classifier = field(default_factory=Classifier)

    def take(self, records: Iterable[LogRecord], since: float) -> None:
        """Count what the records tell, but for those from before `since`; what they tell to be over is forgotten."""
        for record in records:
            if record.at >= since:
                sighting = self.classifier.sighting(record)
                if sighting is not None:
                    self._count(sighting, record.at)
                elif (over := self.classifier.over(record)) is not None:
                    self.seen.pop(over, None)

    def forget(self, before: float) -> None:
        """Drop what was seen last before then."""
        for sighting in [sighting for sighting, seen in self.seen.items() if seen.last < before]:
            del self.seen[sighting]

    def _count(self, sighting: Sighting, at: float) -> None:
        if sighting not in self.seen:
            known = sum(other.of_class == sighting.of_class for other in self.seen)
            if known >= MAX_SUBJECTS:
                sighting = Sighting(sighting.of_class, OTHERS)
        seen = self.seen.setdefault(sighting, _Seen(0, at, at))
        seen.count += 1
        seen.first, seen.last = min(seen.first, at), max(seen.last, at)


class KernelLogCollector:
    """Items "kernel/CLASS/SUBJECT", or "kernel/CLASS/SUBJECT/POD UID"."""

    name = "kernel_log"
    lane = "kernel_log"
    interval_s = 10.0
    safety_interval_s = 300.0

    def __init__(self) -> None:
        self._kept = Kept()
        self._tally = _Tally()
        self._log: KernelLog | None = None
        self._since = 0.0

    def sources(self, host: Host) -> Opened:
        """/dev/kmsg, from where it is then read on."""
        try:
            self._log = KernelLog(host)
        except ReadError:
            return Opened([])  # each run says why; nothing would be gained by more of them
        self._since = _uptime() - LOOK_BACK_S
        return Opened([self._log])

    def collect(self, host: Host, now: float) -> Reading:
        """Counts since sources() was called; where it was not, or on a recorded host, of what the log holds now."""
        reading = Reading()
        try:
            clock_at = self._follow(self._log) if self._log is not None else self._once(reading, host, now)
        except ReadError as error:
            gaps.add(reading, "kernel_log", error, lost="I/O errors, OOM kills and the like are not known")
            return self._kept.settle(reading)
        reading.source("kernel_log", "/dev/kmsg" if host.live else "kmsg")
        if self._log is not None and self._log.lost:
            because = f"/dev/kmsg: the kernel overwrote {_at_least(self._log.lost)} messages before they were read"
            reading.gap("kernel_log", because, detail="overrun", status=pb.COVERAGE_STATUS_DEGRADED)
        for sighting, seen in self._tally.seen.items():
            reading.add(_item(sighting, seen, None if clock_at is None else now - clock_at))
        return self._kept.settle(reading)

    def _follow(self, log: KernelLog) -> float:
        """Count what is new in the log. What its clock says. Raises ReadError."""
        try:
            self._tally.take(log.records(), self._since)
        except OSError as error:
            raise ReadError(Failure.FAILED, "/dev/kmsg", error.strerror or str(error)) from error
        clock_at = _uptime()
        self._tally.forget(clock_at - FORGET_S)
        return clock_at

    def _once(self, reading: Reading, host: Host, now: float) -> float | None:
        """Count what the log holds. What its clock says at `now`; None: that is not known. Raises ReadError."""
        self._tally = _Tally()
        if host.live:
            clock_at = _uptime()
            with contextlib.closing(KernelLog(host)) as log:
                self._tally.take(log.records(_BACKLOG), 0.0)
            return clock_at
        records, strange = parse_log(host.read("kmsg", _TEXT_BYTES))
        if strange:
            because = f"kmsg: {strange} lines are no records of a kernel's log"
            reading.gap("kernel_log", because, detail="damaged", status=pb.COVERAGE_STATUS_DAMAGED)
        self._tally.take(records, 0.0)
        return _recorded_uptime(host, now)


def telling_records(host: Host) -> bytes:
    """Those records of a live host's log that tell something, as text, for a bundle. Raises ReadError."""
    classifier = Classifier()
    with contextlib.closing(KernelLog(host)) as log:
        telling = [record for record in log.records(_BACKLOG) if classifier.concerns(record)]
    return "".join(f"6,{record.seq},{round(record.at * 1e6)},-;{record.text}\n" for record in telling).encode()


def _uptime() -> float:
    return time.clock_gettime(time.CLOCK_MONOTONIC)


def _recorded_uptime(host: Host, now: float) -> float | None:
    """Seconds that the host had run at the time of its record."""
    try:
        return float(host.read("proc/uptime", 4096).split()[0])
    except (ReadError, ValueError, IndexError):
        pass
    try:
        for line in host.read("proc/stat").splitlines():
            if line.startswith(b"btime "):
                return now - int(line[6:])
    except (ReadError, ValueError):
        pass
    return None


def _item(sighting: Sighting, seen: _Seen, boot: float | None) -> pb.Item:
    """`boot`: seconds since the epoch at which the log's clock was 0."""
    parts = ["kernel", WORDS[sighting.of_class], sighting.subject, sighting.pod_uid]
    event = pb.KernelEvent(subject=sighting.subject, pod_uid=sighting.pod_uid, count=seen.count)
    setattr(event, "class", sighting.of_class)  # a keyword of Python
    if boot is not None:
        event.first_unix_ms = round((boot + seen.first) * 1000)
        event.last_unix_ms = round((boot + seen.last) * 1000)
    return pb.Item(key="/".join(filter(None, parts)), kernel_event=event)


def _at_least(count: int) -> str:
    """In powers of ten, so that a storm is told a few times and not with every message."""
    return f"at least {10 ** (len(str(count)) - 1):,}"
