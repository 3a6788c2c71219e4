"""Whether a node is lost: nobody hears it any more. What it may still be doing, nobody knows."""

from __future__ import annotations

from dataclasses import dataclass

from aggregator.cluster.objects import Lease, NodeObject
from aggregator.view import ClusterView

LEASE_S = 40.0
"""A kubelet's lease lasts so long where it does not say itself, and is renewed every quarter of that."""


@dataclass(frozen=True, slots=True)
class Lost:
    """A node that is lost, and what tells so."""

    node: NodeObject
    since: float
    """When it was last heard of, seconds since the epoch, as far as can be told."""
    lease: Lease | None
    """Its lease, where that is known."""
    agent_at: float | None
    """The time of its agent's newest facts; None: no agent has reported for it."""


def lost(view: ClusterView, name: str, silent_s: float) -> Lost | None:
    """How the node is lost; None: it is not, or is not known. An agent whose facts are `silent_s` old is silent.

    The API server must say that its kubelet is not heard (Ready Unknown), its lease must have run out where leases are
    known, and its agent must be silent: a node whose agent still reports runs, whatever its kubelet does.
    """
    node = view.nodes.get(name)
    ready = node.condition("Ready") if node is not None else None
    if node is None or ready is None or ready.status != "Unknown":
        return None
    lease = view.objects.leases.get(f"kube-node-lease/{name}")
    if lease is not None and view.now - lease.renewed <= (lease.duration_s or LEASE_S):
        return None
    host = view.hosts.get(name)
    if host is not None and view.now - host.at < silent_s:
        return None
    heard = [ready.since, lease.renewed if lease is not None else 0.0]
    return Lost(node, min((at for at in heard if at), default=0.0), lease, host.at if host is not None else None)
