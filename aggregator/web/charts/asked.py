"""What a chart of a piece of evidence is asked for, and what it would draw: names of series, and no figures yet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from aggregator.model import Evidence, Finding
from aggregator.node_state import NodeState
from aggregator.signatures.control_plane.past import Key
from aggregator.signatures.thresholds import Thresholds
from aggregator.view import ClusterView
from aggregator.web.charts.timeline import Limit
from aggregator.web.charts.units import Unit


class How(Enum):
    """How the points of a series become stretches."""

    HELD = auto()
    """A gauge: each value holds until the next."""
    RISEN = auto()
    """A counter, by how much it rises."""
    TOLD = auto()
    """A quantile: nothing where it is not told."""


@dataclass(frozen=True, slots=True)
class HostLine:
    """A series of one node's history."""

    name: str
    series: str
    how: How
    factor: float = 1.0
    """From its unit to that of the chart."""


@dataclass(frozen=True, slots=True)
class HostChart:
    """Series of one node."""

    title: str
    unit: Unit
    node: str
    lines: tuple[HostLine, ...]
    limits: tuple[Limit, ...] = ()
    remark: str = ""


class Figure(Enum):
    """What of an API server's own metrics is drawn."""

    TAIL = auto()
    RATE = auto()
    CALLS = auto()
    RISE = auto()


@dataclass(frozen=True, slots=True)
class ApiChart:
    """A figure of the API server's."""

    title: str
    unit: Unit
    figure: Figure
    lines: tuple[tuple[str, Key], ...]
    """Name and key of each. Of RISE: the family, and labels of which the first ones are given; empty ones are any."""
    limits: tuple[Limit, ...] = ()


@dataclass(frozen=True, slots=True)
class RunsChart:
    """When the containers of a pod ran."""

    pod: str
    """ "namespace/name"."""


Shown = HostChart | ApiChart | RunsChart


@dataclass(frozen=True, slots=True)
class Asked:
    """A piece of evidence, with what is known."""

    view: ClusterView
    finding: Finding
    evidence: Evidence
    thresholds: Thresholds

    @property
    def host(self) -> NodeState | None:
        """The node it is of."""
        return self.view.hosts.get(self.evidence.node)


Maker = Callable[[Asked], Shown | None]
"""Says what to draw; None: what it is about is not there any more."""
