"""What keeps a pod off a node: one thing each, with what is asked, what is there, and what it is about."""

from __future__ import annotations

from msgspec import Struct

INSUFFICIENT = "sched.insufficient_resources"
TOO_LARGE = "sched.too_large"
TOO_MANY_PODS = "sched.too_many_pods"
TAINT = "sched.taint"
NODE_AFFINITY = "sched.node_affinity"
POD_AFFINITY = "sched.pod_anti_affinity"
SPREAD = "sched.topology_spread"
HOST_PORT = "sched.host_port"
VOLUME_ZONE = "sched.volume_zone"
VOLUME_LIMIT = "sched.volume_limit"
VOLUME_IN_USE = "sched.volume_in_use"
UNBOUND_CLAIM = "sched.unbound_pvc"
CORDONED = "sched.unschedulable_cordoned"
RESOURCE_CLAIM = "sched.resource_claim"

RESOURCES = (INSUFFICIENT, TOO_LARGE, TOO_MANY_PODS)
"""Codes of amounts: `asked`, `free` and `whole` of the stop are set."""


class Stop(Struct, frozen=True, gc=False):
    """One thing that keeps a pod off a node."""

    code: str
    about: str
    """Which resource, taint, requirement, port, topology key, claim (or its class), place, or CSI driver."""
    detail: str = ""
    """A clause for the operator."""
    asked: int = 0
    """In the unit of the resource (objects.Amounts); pods, volumes."""
    free: int = 0
    """What the node has left; negative where more is requested than it has."""
    whole: int = 0
    """What it would have if nothing were on it."""
    objects: tuple[str, ...] = ()
    """Objects in it ("PersistentVolumeClaim/db/data", "PersistentVolume/pv-1", "Pod/db/other")."""

    @property
    def lacks(self) -> int:
        """By how much it is short."""
        return self.asked - self.free
