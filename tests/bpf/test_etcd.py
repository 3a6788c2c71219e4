"""The sensor against etcd's own histogram, on disks of three speeds: the same syncs, counted twice."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from agent.sensor.buckets import BOUNDS_UNITS
from agent.sensor.fsync import Latency
from agent.sensor.fsync_programs import FileClass
from tests import needs
from tests.bpf import methods as m
from tests.bpf.etcd import Syncs, etcd
from tests.bpf.slow_disk import slow_disk

pytestmark = [pytest.mark.needs_root, pytest.mark.timeout(170)]
_WRITERS = 6


@pytest.fixture(autouse=True)
def _machine() -> None:
    needs.bpf()
    needs.fuse()
    needs.file_system("ext4")
    needs.tool("etcd")


def quantile(bounds: Sequence[float], counts: Sequence[int], share: float) -> float:
    """Interpolated in its bucket, as Prometheus does it; the last bound for what is above it."""
    rank, below = share * sum(counts), 0
    for index, count in enumerate(counts):
        if count and below + count >= rank and index < len(bounds):
            low = bounds[index - 1] if index else 0.0
            return low + (bounds[index] - low) * (rank - below) / count
        below += count
    return bounds[-1]


def merged(rows: Sequence[Latency]) -> list[int]:
    """Counts of all rows as one."""
    return [sum(column) for column in zip(*(row.counts for row in rows), strict=True)]


def coarse(counts: Sequence[int], bounds_ms: Sequence[float]) -> list[int]:
    """Counts in etcd's buckets, whose bounds are among ours."""
    ours = [units / 1024 for units in BOUNDS_UNITS]
    edges = [0, *(ours.index(bound) + 1 for bound in bounds_ms), len(counts)]
    return [sum(counts[low:high]) for low, high in itertools.pairwise(edges)]


def bucket(syncs: Syncs, value_ms: float) -> int:
    """Which of etcd's buckets a value lies in."""
    return sum(bound < value_ms for bound in syncs.bounds_ms)


# Each flush of the disk takes so long, and most of etcd's syncs flush once or twice. The bounds are for p99.
@pytest.mark.parametrize(
    ("delay_ms", "least_ms", "most_ms"), [(0.0, 0.0, 10.0), (12.0, 10.0, 100.0), (70.0, 100.0, 2000.0)]
)
def test_the_write_ahead_log_is_counted_as_etcd_counts_it(
    tmp_path: Path, delay_ms: float, least_ms: float, most_ms: float
) -> None:
    with (
        m.kernel() as kernel,
        m.counting(kernel, m.EXT4_BTF, m.SYSCALLS) as sensors,
        slow_disk(tmp_path, delay_ms) as disk,
        etcd(disk) as running,
    ):
        running.load(7.0, _WRITERS)
        time.sleep(0.5)
        own = running.syncs()
        device = os.stat(disk).st_dev
        place = os.major(device), os.minor(device)
        seen = [[row for row in m.of_process(sensor, "etcd") if row.device == place] for sensor in sensors]
    own_p50, own_p99 = (quantile(own.bounds_ms, own.counts, share) for share in (0.5, 0.99))
    for rows in seen:
        logs = [row for row in rows if row.file_class is FileClass.WAL]
        assert any(row.file_class is FileClass.DATABASE for row in rows)
        counts = merged(logs)
        # One sync is made while the log is being created, of a file that does not have its name yet.
        assert sum(counts) == pytest.approx(own.total, rel=0.01, abs=1)
        ours = coarse(counts, own.bounds_ms)
        p50, p99 = (quantile(own.bounds_ms, ours, share) for share in (0.5, 0.99))
        fine = quantile([units / 1024 for units in BOUNDS_UNITS], counts, 0.99)
        assert p50 == pytest.approx(own_p50, rel=0.1)
        # Right at an edge one call in a hundred decides for one bucket or the other: etcd's include its own scheduling.
        assert bucket(own, p99) == bucket(own, own_p99) or p99 == pytest.approx(own_p99, rel=0.1)
        # A machine that is busy with other things slows the disk without delay too; etcd then says so as well.
        assert least_ms <= fine <= most_ms or not least_ms <= own_p99 <= most_ms
        assert fine >= least_ms
