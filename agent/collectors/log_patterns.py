"""Whether the last lines of a restarted container's log tell of a refused identity. Opt-in; no line leaves the node.

A container that crashes has mostly written why, and mostly not to where Kubernetes would show it. Of a log no more is
read than its end, and of that no more is kept than the name of what was found (nodetell.log_patterns).
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from nodetell.log_patterns import LOG_PATTERNS
from nodetell.v1 import facts_pb2 as pb

from agent.collectors import gaps
from agent.collectors.keep import Kept
from agent.host import Failure, Host, ReadError
from agent.reading import Reading

ROOT = "logs"
TAIL_BYTES = 8 << 10
TAIL_LINES = 30
RECENT_S = 900.0
"""A log that nobody has written to for longer is of a container that does not crash any more."""
MOST_ITEMS = 256
"""Patterns of one node that are told."""
_POD = re.compile(r"[a-z0-9-]{1,63}_[a-z0-9.-]{1,253}_([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})")
"""Name of a pod's directory: namespace, name and UID (pkg/kubelet/kuberuntime/helpers.go, BuildPodLogsDirectory)."""
_CONTAINER = re.compile(r"[a-z0-9-]{1,63}")
_RUN = re.compile(r"(\d{1,9})\.log")
"""The log of one run of a container: how often it had been restarted before. Rotated ones have more to their name."""
_REMEDY = "mount the host's /var/log/pods read-only and let the agent read it, or set log_patterns = false"


@dataclass(frozen=True, slots=True)
class _Tail:
    """The end of a log, as it was when its file had this size and time."""

    version: tuple[int, int, int]
    patterns: tuple[str, ...]


class LogPatternsCollector:
    """Items "log_pattern/POD UID/CONTAINER/PATTERN"."""

    name = "log_patterns"
    lane = "log_patterns"

    def __init__(self, enabled: bool = False) -> None:
        """`enabled`: the operator allows it."""
        self.interval_s = 30.0 if enabled else 300.0
        self._enabled = enabled
        self._kept = Kept()
        self._tails: dict[str, _Tail] = {}

    def collect(self, host: Host, now: float) -> Reading:
        """What the ends of logs say now; nothing at all where nobody asked for it."""
        reading = Reading()
        if not (self._enabled and host.live):
            return self._kept.settle(reading)
        before, self._tails = self._tails, {}
        denied: ReadError | None = None
        try:
            pods = host.entries(ROOT)
        except ReadError as error:
            gaps.add(
                reading, "log_patterns", error, lost="what crashing containers wrote is not looked at", remedy=_REMEDY
            )
            return self._kept.settle(reading)
        reading.source("log_patterns", "/var/log/pods")
        for pod in pods:
            match = _POD.fullmatch(pod)
            for container, run, path in _logs(host, pod) if match is not None else ():
                try:
                    tail, written = self._tail(host, path, before.get(path), now)
                except ReadError as error:
                    denied = error if error.failure is Failure.DENIED else denied
                    continue  # it was rotated or removed while we looked
                if tail is not None and match is not None:
                    _put(reading, tail, pb.LogPattern(pod_uid=match[1], container=container, run=run), written)
        if denied is not None:
            gaps.add(reading, "log_patterns", denied, detail="denied", lost="its log is not looked at", remedy=_REMEDY)
        return self._kept.settle(reading)

    def _tail(self, host: Host, path: str, known: _Tail | None, now: float) -> tuple[_Tail | None, float]:
        """What the end of a log says, and when it was written, seconds since the epoch. Raises ReadError."""
        descriptor = host.descriptor(path)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or now - status.st_mtime > RECENT_S:
                return None, 0.0
            version = (status.st_ino, status.st_size, status.st_mtime_ns)
            if known is None or known.version != version:
                begin = max(0, status.st_size - TAIL_BYTES)
                known = _Tail(version, patterns_in(os.pread(descriptor, TAIL_BYTES, begin), cut=begin > 0))
        except OSError as error:
            raise ReadError(Failure.FAILED, path, error.strerror or str(error)) from error
        finally:
            os.close(descriptor)
        self._tails[path] = known
        return known, status.st_mtime


def patterns_in(raw: bytes, *, cut: bool = False) -> tuple[str, ...]:
    """Names of the patterns that the last lines of a log have, in their order. `cut`: the first line is not whole."""
    lines = raw.decode("utf-8", "replace").lower().splitlines()[1 if cut else 0 :][-TAIL_LINES:]
    text = "\n".join(lines)
    return tuple(name for name, pattern in LOG_PATTERNS.items() if any(phrase in text for phrase in pattern.phrases))


def _logs(host: Host, pod: str) -> Iterator[tuple[str, int, str]]:
    """Container, run and path of the last two runs of each container of a pod that has been restarted."""
    for container in _entries(host, f"{ROOT}/{pod}"):
        if _CONTAINER.fullmatch(container) is None:
            continue
        place = f"{ROOT}/{pod}/{container}"
        runs = sorted(int(match[1]) for name in _entries(host, place) if (match := _RUN.fullmatch(name)) is not None)
        if runs and runs[-1] > 0:
            yield from ((container, run, f"{place}/{run}.log") for run in runs[-2:])


def _entries(host: Host, path: str) -> list[str]:
    try:
        return list(host.entries(path))
    except ReadError:
        return []  # it went while we looked, or is no directory


def _put(reading: Reading, tail: _Tail, found: pb.LogPattern, written: float) -> None:
    for name in tail.patterns:
        key = f"log_pattern/{found.pod_uid}/{found.container}/{name}"
        if len(reading.items) < MOST_ITEMS:
            item = pb.LogPattern(pattern=name, at_unix_ms=round(written * 1000))
            item.MergeFrom(found)
            reading.add(pb.Item(key=key, log_pattern=item))
