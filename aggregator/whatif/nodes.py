"""What a node is by itself, whoever runs there. Pure."""

from __future__ import annotations

from aggregator.cluster.objects import NodeObject
from aggregator.cluster.state import ClusterState
from aggregator.scheduling.cluster import Cluster

NOBODY = Cluster(ClusterState())
"""A cluster without pods: what a node is by itself is asked of it, not who runs there."""


def reachable(node: NodeObject) -> bool:
    """Pods may be placed there and run: it is not lost already."""
    ready = node.condition("Ready")
    return ready is None or ready.status == "True"
