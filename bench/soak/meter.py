"""How much of everything a process holds, and whether that stays as it is."""

from __future__ import annotations

import gc
import os
import threading
import tracemalloc
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from agent.hosts.own import rss_bytes

TOLERANCE = 0.05
"""Memory may differ by this share after the warm-up."""
_CONSTANT = ("descriptors", "threads")


@dataclass(frozen=True, slots=True)
class Sample:
    """A process at one moment. `hours`: of simulated time since it began."""

    hours: float
    rss_bytes: int
    traced_bytes: int
    """What Python has allocated; 0 where that is not traced, because tracing takes memory itself."""
    objects: int
    """That the garbage collector knows of."""
    descriptors: int
    threads: int


def sample(hours: float) -> Sample:
    """This process now, without what nobody refers to any more."""
    gc.collect()
    return Sample(
        hours,
        rss_bytes(),
        tracemalloc.get_traced_memory()[0] if tracemalloc.is_tracing() else 0,
        len(gc.get_objects()),
        len(os.listdir("/proc/self/fd")),
        threading.active_count(),
    )


def spread(values: Sequence[float]) -> float:
    """By which share of the least the greatest is more."""
    return max(values) / min(values) - 1 if values and min(values) else 0.0


def problems(samples: Sequence[Sample]) -> list[str]:
    """What did not stay as it was over these samples, one line each; empty: all did."""
    if len(samples) < 2:
        return ["fewer than two samples after the warm-up: nothing can be said"]
    found = []
    table: list[dict[str, Any]] = [asdict(each) for each in samples]
    for name in ("rss_bytes", "traced_bytes", "objects"):
        values = [row[name] for row in table]
        if spread(values) > TOLERANCE:
            found.append(f"{name} differs by {spread(values):.1%}: from {min(values):,} to {max(values):,}")
    for name in _CONSTANT:
        values = [row[name] for row in table]
        if spread(values):
            found.append(f"{name} is not constant: from {min(values)} to {max(values)}")
    return found
