"""Writes to the API server as metrics."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

from nodetell.metrics import Kind, Metric, Told, one

WRITES = Metric(
    "nodetell_objects_writes_total",
    Kind.COUNTER,
    'Requests that write Events and conditions: "written", "failed" and made again, "denied", "refused" for good.',
    ("outcome",),
)
WAITING = Metric("nodetell_objects_waiting", Kind.GAUGE, "Events and nodes' conditions that wait for their turn.")
DROPPED = Metric("nodetell_objects_events_dropped_total", Kind.COUNTER, "Events that were too many to wait.")
METRICS = (WRITES, WAITING, DROPPED)


@dataclass(slots=True)
class Counters:
    """What was done since the start."""

    written: int = 0
    """Requests that succeeded."""
    failed: int = 0
    """Requests that did not, and are made again."""
    denied: int = 0
    """... because the right is missing."""
    refused: int = 0
    """Requests that never will be: what was sent does not fit, or the object is going."""


def metrics(counters: Counters, waiting: int, dropped: int) -> Iterable[Told]:
    """What there is to tell."""
    yield Told(WRITES, [((outcome,), count) for outcome, count in asdict(counters).items()])
    yield one(WAITING, waiting)
    yield one(DROPPED, dropped)
