"""What Prometheus is told, before it is text: metrics, their rows, and whom to ask for them.

A metric is declared once, with its help and its labels; docs/prometheus.md is held to these declarations. Whoever has
something to tell adds a meter: a function that gives the rows of now. Nothing here knows Prometheus' own library.
"""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from nodetell.paced_log import PacedLog

Labels = tuple[str, ...]
FIELD = "FIELD"
"""Stands in a metric's name for what differs: node_memory_FIELD_bytes is one for each line of /proc/meminfo."""
_log = logging.getLogger("nodetell.metrics")


class Kind(StrEnum):
    """Types of metrics, as Prometheus names them."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    UNTYPED = "untyped"


@dataclass(frozen=True, slots=True)
class Metric:
    """A declaration."""

    name: str
    """As it is exposed: a counter's ends in "_total"."""
    kind: Kind
    help: str
    labels: Labels = ()


@dataclass(frozen=True, slots=True)
class Distribution:
    """A histogram's value."""

    bounds: Sequence[float]
    """Upper bounds, ascending, without the infinite one."""
    counts: Sequence[float]
    """Of each bucket by itself, not cumulative; one more than bounds."""
    sum: float | None = None
    """Of all that was counted; None: not known, and not told."""


Row = tuple[Labels, "float | Distribution"]


@dataclass(slots=True)
class Told:
    """A metric's rows: values of its labels, in their order, and the value. No labels twice."""

    metric: Metric
    rows: list[Row] = field(default_factory=list)

    def add(self, value: float | Distribution, *labels: str) -> None:
        """One more row."""
        self.rows.append((labels, value))


Meter = Callable[[], Iterable[Told]]


def one(metric: Metric, value: float, *labels: str) -> Told:
    """A metric with one row."""
    return Told(metric, [(labels, value)])


class Meters:
    """All meters of a process. A meter that fails is left out, and the log says so."""

    def __init__(self) -> None:
        self._meters: dict[str, Meter] = {}
        self._paced_log = PacedLog(_log)

    def add(self, name: str, meter: Meter) -> None:
        """Ask this one, too. `name` is for the log."""
        self._meters[name] = meter

    def told(self) -> list[Told]:
        """What all of them tell now, in the order in which they were added."""
        found: list[Told] = []
        for name, meter in self._meters.items():
            try:
                found += meter()
            except Exception as error:  # noqa: BLE001  # a defect of one must not cost the others
                reason = f"{type(error).__name__}: {error}"
                self._paced_log.event(logging.ERROR, "meter_failed", name, meter=name, reason=reason)
        return found


@dataclass(slots=True)
class Timing:
    """How long something took, each time."""

    bounds: Sequence[float]
    """Upper bounds, seconds, ascending."""
    counts: list[int] = field(init=False)
    sum_s: float = 0.0

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def note(self, took_s: float) -> None:
        """Once more."""
        self.counts[bisect_left(self.bounds, took_s)] += 1
        self.sum_s += took_s

    def value(self) -> Distribution:
        """As it is told."""
        return Distribution(self.bounds, tuple(self.counts), self.sum_s)
