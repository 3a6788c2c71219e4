"""What a signature looks at: every host's state, and what the API server knows of the nodes. It reads no clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from aggregator.node_state import NodeState


@dataclass(frozen=True, slots=True)
class NodeObject:
    """What the API server says of a node, as far as it is used. Source: v1.Node."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[str, ...] = ()
    """"key=value:effect", sorted."""
    addresses: Mapping[str, str] = field(default_factory=dict)
    """status.addresses by type ("InternalIP", "Hostname")."""
    pod_cidrs: tuple[str, ...] = ()
    """spec.podCIDRs."""


@dataclass(frozen=True, slots=True)
class ClusterView:
    """The joined view at one moment."""

    cluster: str
    hosts: Mapping[str, NodeState]
    """By node name."""
    nodes: Mapping[str, NodeObject] = field(default_factory=dict)
    """By node name; empty where the API server is not known."""
