"""What a signature looks at: every host's state, and what the API server knows. It reads no clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from aggregator.cluster.metrics_history import MetricsHistory
from aggregator.cluster.objects import NodeObject
from aggregator.cluster.state import ClusterState
from aggregator.node_state import NodeState


@dataclass(frozen=True, slots=True)
class Outage:
    """The API server does not answer."""

    since: float
    """Seconds since the epoch, by the clock of the one who asks."""
    seconds: float
    """How long that is ago."""
    reason: str


@dataclass(frozen=True, slots=True)
class ClusterView:
    """The joined view at one moment: where hosts have changed since, there is another."""

    cluster: str
    hosts: Mapping[str, NodeState]
    """By node name."""
    objects: ClusterState = field(default_factory=ClusterState)
    """What the API server has; empty, and nothing in it known, where it is not asked."""
    now: float = 0.0
    """Up to when `objects` are current, seconds since the epoch by the API server's clock: the moment of the view, or,
    where the API server has been lost, of that loss, so that nothing ages while nobody can see."""

    metrics: MetricsHistory = field(default_factory=MetricsHistory)
    """What the API server says of itself; empty where that is not read."""
    outage: Outage | None = None
    """None: the API server answers, or is not asked."""
    gradual: bool = False
    """It is evaluated again soon: what may lag is worked out part by part (Verdict.pending). False: all of it now."""

    @property
    def nodes(self) -> Mapping[str, NodeObject]:
        """By node name; empty where the API server is not known."""
        return self.objects.nodes
