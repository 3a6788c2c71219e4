"""etcd's own latencies of fsync, from its /metrics as a bundle has them: where nobody else has timed it."""

from __future__ import annotations

import math
from itertools import pairwise

from nodetell.exposition import LineError, Lines, name_of, number, split

from agent.collectors.histograms import Histogram

FILE = "etcd.metrics"
MAX_BYTES = 64 << 20
_BUCKET = b"etcd_disk_wal_fsync_duration_seconds_bucket"
_U64 = (1 << 64) - 1


def parse_wal_fsync(raw: bytes) -> Histogram:
    """etcd_disk_wal_fsync_duration_seconds as counts since etcd began. Raises ValueError: it isn't there, or is odd."""
    lines = Lines()
    up_to: dict[float, float] = {}
    for count, line in enumerate(lines.feed(raw), 1):
        if name_of(line.strip()) != _BUCKET:
            continue
        try:
            labels, value = split(line.strip())
            bound = number(labels.get("le", "").encode())
        except LineError as error:
            raise ValueError(f"line {count} {error}") from None
        up_to[bound] = value
    if lines.rest.startswith(_BUCKET):
        raise ValueError("it ends in the middle of a line")
    if not up_to:
        raise ValueError(f"no {_BUCKET.decode()} in it")
    bounds = sorted(up_to)
    counts = [up_to[bound] for bound in bounds]
    if bounds[-1] != math.inf or len(bounds) < 2 or not 0 < bounds[0] <= bounds[-2] < 4_000:
        raise ValueError(f"the bounds of {_BUCKET.decode()} are odd")
    if not (counts[0] >= 0 and all(low <= high for low, high in pairwise(counts)) and counts[-1] <= _U64):
        raise ValueError(f"the counts of {_BUCKET.decode()} are odd")
    bounds_us = tuple(round(bound * 1e6) for bound in bounds[:-1])
    if any(low >= high for low, high in pairwise((0, *bounds_us))):
        raise ValueError(f"the bounds of {_BUCKET.decode()} are odd")
    disjoint = [round(high - low) for low, high in pairwise((0.0, *counts))]
    return Histogram("etcd", "", "", "passive", bounds_us, disjoint, file_class="wal", attached_by=FILE)
