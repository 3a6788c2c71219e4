"""What etcd says of itself at its /metrics: latencies of its disk, the size of its database, its leader.

One pass over the text, of which some dozen lines are wanted. What is odd costs its own figure and no other.
Source: https://etcd.io/docs/latest/metrics/
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from nodetell.exposition import LineError, Lines, name_of, number, split

from agent.collectors.histograms import Histogram

FILE = "etcd.metrics"
MAX_BYTES = 64 << 20
WAL = "etcd_disk_wal_fsync_duration_seconds"
COMMIT = "etcd_disk_backend_commit_duration_seconds"
_U64 = (1 << 64) - 1

LEVELS = {
    "etcd_mvcc_db_total_size_in_bytes": "database_bytes",
    "etcd_debugging_mvcc_db_total_size_in_bytes": "database_bytes",
    "etcd_mvcc_db_total_size_in_use_in_bytes": "in_use_bytes",
    "etcd_server_quota_backend_bytes": "quota_bytes",
    "etcd_server_has_leader": "has_leader",
    "etcd_server_is_leader": "is_leader",
    "etcd_server_proposals_pending": "proposals_pending",
}
"""Field of the Etcd message by name of the metric; before 3.4 the size was called otherwise."""
COUNTERS = {
    "etcd_server_leader_changes_seen_total": "leader_changes",
    "etcd_server_proposals_failed_total": "proposals_failed",
    "etcd_server_heartbeat_send_failures_total": "heartbeat_failures",
}
"""Name of the counter by name of the metric."""


@dataclass(slots=True)
class EtcdText:
    """What was wanted of a text."""

    levels: dict[str, int] = field(default_factory=dict)
    """By field of the Etcd message."""
    counters: dict[str, int] = field(default_factory=dict)
    buckets: dict[str, dict[float, float]] = field(default_factory=dict)
    """Calls up to each bound in seconds, by name of the histogram."""
    problems: dict[str, str] = field(default_factory=dict)
    """Why a metric could not be read, by its name."""

    def histogram(self, name: str, file_class: str) -> Histogram:
        """Of etcd's calls. Raises ValueError: it isn't there, or is odd."""
        if name in self.problems:
            raise ValueError(self.problems[name])
        return _histogram(name, self.buckets.get(name, {}), file_class)


def parse_etcd(raw: bytes) -> EtcdText:
    """Take a text apart. It raises nothing: what is no metrics text has nothing in it."""
    found, lines = EtcdText(), Lines()
    for count, line in enumerate(lines.feed(raw), 1):
        text = line.strip()
        metric = name_of(text).decode("utf-8", "replace")
        name = metric.removesuffix("_bucket") if metric in (f"{WAL}_bucket", f"{COMMIT}_bucket") else metric
        wanted = name != metric or name in LEVELS or name in COUNTERS
        if not wanted:
            continue
        try:
            labels, value = split(text)
            if name != metric:
                found.buckets.setdefault(name, {})[number(labels.get("le", "").encode())] = value
                continue
        except LineError as error:
            found.problems.setdefault(name, f"line {count} {error}")
            continue
        if not 0 <= value <= _U64:  # not a number neither
            found.problems.setdefault(name, f"line {count}: {name} is {value:g}")
        elif name in COUNTERS:
            found.counters[COUNTERS[name]] = min(_U64, found.counters.get(COUNTERS[name], 0) + round(value))
        else:
            found.levels.setdefault(LEVELS[name], round(value))
    for name in (WAL, COMMIT):
        if lines.rest.startswith(f"{name}_bucket".encode()):
            found.problems[name] = "it ends in the middle of a line"
    return found


def parse_wal_fsync(raw: bytes) -> Histogram:
    """etcd_disk_wal_fsync_duration_seconds as counts since etcd began. Raises ValueError: it isn't there, or is odd."""
    return parse_etcd(raw).histogram(WAL, "wal")


def _histogram(name: str, up_to: Mapping[float, float], file_class: str) -> Histogram:
    if not up_to:
        raise ValueError(f"no {name}_bucket in it")
    bounds = sorted(up_to)
    counts = [up_to[bound] for bound in bounds]
    if bounds[-1] != math.inf or len(bounds) < 2 or not 0 < bounds[0] <= bounds[-2] < 4_000:
        raise ValueError(f"the bounds of {name}_bucket are odd")
    if not (counts[0] >= 0 and all(low <= high for low, high in pairwise(counts)) and counts[-1] <= _U64):
        raise ValueError(f"the counts of {name}_bucket are odd")
    bounds_us = tuple(round(bound * 1e6) for bound in bounds[:-1])
    if any(low >= high for low, high in pairwise((0, *bounds_us))):
        raise ValueError(f"the bounds of {name}_bucket are odd")
    disjoint = [round(high - low) for low, high in pairwise((0.0, *counts))]
    return Histogram("etcd", "", "", "passive", bounds_us, disjoint, file_class=file_class, attached_by=FILE)
