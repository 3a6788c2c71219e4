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
from aggregator.histogram import quantile
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


def by_class(rows: Sequence[Latency]) -> dict[FileClass, list[int]]:
    """Counts of all rows of one class of files as one."""
    return {
        each: [sum(column) for column in zip(*(row.counts for row in rows if row.file_class is each), strict=True)]
        for each in {row.file_class for row in rows}
    }


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
    ("delay_ms", "seconds", "least_ms", "most_ms"),
    [(0.0, 7.0, 0.0, 10.0), (16.0, 12.0, 10.0, 100.0), (90.0, 25.0, 100.0, 2000.0)],
)
def test_the_write_ahead_log_is_counted_as_etcd_counts_it(
    tmp_path: Path, delay_ms: float, seconds: float, least_ms: float, most_ms: float
) -> None:
    with (
        m.kernel() as kernel,
        m.counting(kernel, m.EXT4_BTF, m.SYSCALLS) as sensors,
        slow_disk(tmp_path, delay_ms) as disk,
        etcd(disk) as running,
    ):
        place = (os.major(disk.stat().st_dev), os.minor(disk.stat().st_dev))

        def seen() -> list[dict[FileClass, list[int]]]:
            return [by_class([row for row in m.of_process(each, "etcd") if row.device == place]) for each in sensors]

        # From a moment when etcd is at rest to another: the log that it is creating does not have its name yet.
        own_before, before = running.syncs(), seen()
        running.load(seconds, _WRITERS)
        time.sleep(0.5)
        own, after = running.syncs().since(own_before), seen()
    own_p50, own_p99 = (quantile(own.bounds_ms, own.counts, share) for share in (0.5, 0.99))
    assert own_p50 is not None
    assert own_p99 is not None
    for then, now in zip(before, after, strict=True):
        assert FileClass.DATABASE in now
        counts = [b - a for a, b in zip(then.get(FileClass.WAL, itertools.repeat(0)), now[FileClass.WAL], strict=False)]
        assert sum(counts) == pytest.approx(own.total, rel=0.01)
        ours = coarse(counts, own.bounds_ms)
        p50, p99 = (quantile(own.bounds_ms, ours, share) for share in (0.5, 0.99))
        fine = quantile([units / 1024 for units in BOUNDS_UNITS], counts, 0.99)
        assert p99 is not None
        assert fine is not None
        assert p50 == pytest.approx(own_p50, rel=0.1)
        # The same bucket, give or take one call: right at an edge a single one decides.
        call = 1.5 / own.total
        around = [quantile(own.bounds_ms, own.counts, share) for share in (0.99 - call, 0.99, min(1.0, 0.99 + call))]
        assert bucket(own, p99) in {bucket(own, each) for each in around if each is not None}
        # A machine that is busy with other things slows the disk without delay too; etcd then says so as well.
        assert least_ms <= fine <= most_ms or not least_ms <= own_p99 <= most_ms
        assert fine >= least_ms
