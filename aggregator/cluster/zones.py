"""Where nodes and volumes are: zones by whatever label says so, and what a volume's node affinity pins it to.

Drivers have topology keys of their own beside the well-known one ("topology.ebs.csi.aws.com/zone",
"topology.gke.io/zone", "topology.disk.csi.azure.com/zone", the last with an empty value where a disk is in no zone).
So a key is known by its end, and what a volume excludes is decided by the nodes' labels, never by a driver's name.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from aggregator.cluster.objects import NodeObject, NodeTerm

ZONE = "topology.kubernetes.io/zone"
ZONE_BETA = "failure-domain.beta.kubernetes.io/zone"
REGION = "topology.kubernetes.io/region"
REGION_BETA = "failure-domain.beta.kubernetes.io/region"
HOSTNAME = "kubernetes.io/hostname"
_NODE_ENDS = ("/hostname", "/node", "/nodename", "/node-name", "/nodeid", "/node-id", "/host")
"""Keys by which drivers pin a volume to one node: "topology.hostpath.csi/node", "topology.topolvm.io/node",
"openebs.io/nodename", ..."""
_NAMED = 4


class Kind(StrEnum):
    """What a volume's node affinity names."""

    ANYWHERE = "anywhere"
    ZONE = "zone"
    NODE = "node"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a volume can be used, as its own node affinity has it."""

    kind: Kind
    values: tuple[str, ...] = ()
    """Names of zones or nodes; else "key=value"."""

    def __str__(self) -> str:
        """ "zone a", "zones a or b", "node n1", "nodes with rack=r1"."""
        if self.kind is Kind.ANYWHERE:
            return "any node"
        more = len(self.values) - _NAMED
        named = " or ".join(self.values[:_NAMED]) + (f" or {more} more" if more > 0 else "")
        if self.kind is Kind.OTHER:
            return f"nodes with {named}" if named else "nodes of its own choice"
        return f"{self.kind}{'s' if len(self.values) > 1 else ''} {named}"


def zone_of(node: NodeObject) -> str:
    """The node's zone; empty: no label says one."""
    for key in (ZONE, ZONE_BETA):
        if value := node.labels.get(key):
            return value
    return next((value for key, value in sorted(node.labels.items()) if value and is_zone_key(key)), "")


def is_zone_key(key: str) -> bool:
    """A topology key whose values are zones."""
    return key in (ZONE, ZONE_BETA) or (key.endswith("/zone") and "topology" in key)


def is_node_key(key: str) -> bool:
    """A topology key whose values are single nodes."""
    return key.endswith(_NODE_ENDS)


def place_of(terms: tuple[NodeTerm, ...] | None) -> Place:
    """What the terms of a volume's node affinity pin it to; the narrowest kind of key decides."""
    if terms is None:
        return Place(Kind.ANYWHERE)
    nodes: dict[str, None] = {}
    zones: dict[str, None] = {}
    others: dict[str, None] = {}
    for term in terms:
        nodes.update(dict.fromkeys(value for each in term.fields for value in each.values))
        for each in term.labels:
            if each.operator != "In":
                continue
            if is_node_key(each.key):
                nodes.update(dict.fromkeys(each.values))
            elif is_zone_key(each.key):
                zones.update(dict.fromkeys(value for value in each.values if value))
            else:
                others.update(dict.fromkeys(f"{each.key}={value}" for value in each.values))
    for kind, values in ((Kind.NODE, nodes), (Kind.ZONE, zones), (Kind.OTHER, others)):
        if values:
            return Place(kind, tuple(sorted(values)))
    return Place(Kind.OTHER)


def asked_keys(terms: Iterable[NodeTerm]) -> frozenset[str]:
    """Keys of the labels that the terms ask for."""
    return frozenset(each.key for term in terms for each in term.labels)
