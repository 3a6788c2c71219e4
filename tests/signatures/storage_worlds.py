"""Clusters with one database and its volume, as the storage scenarios begin."""

from __future__ import annotations

from typing import Any

from tests.lab.cluster import Lab
from tests.lab.host import LabHost

POD, NEW, CLAIM, VOLUME = "db/pg-0", "db/pg-1", "db/data", "pv-1"
MINUTE = 60.0


def cluster(name: str = "storage", nodes: int = 3, **lab: Any) -> Lab:
    """Nodes n1, n2, ... of one zone, each with a host that tells all."""
    made = Lab(name, **lab)
    for number in range(1, nodes + 1):
        made.node(f"n{number}", zone="eu-1a")
        made.host(f"n{number}", thorough=True)
    return made


def database(
    lab: Lab, node: str = "n1", *, pod: str = POD, owner: tuple[str, str] | None = None, **disk: Any
) -> LabHost:
    """A pod that runs there with its volume attached and mounted."""
    lab.disk(CLAIM, VOLUME, attached_to=node, zone="eu-1a", **disk)
    lab.pod(pod, node=node, claims={"data": "data"}, owner=owner)
    host = lab.host(node)
    host.mount_csi(pod, VOLUME)
    return host


def waits(lab: Lab, key: str = NEW, node: str = "n2", *, minutes: float = 10, **fields: Any) -> None:
    """A pod that has its node and not its volume."""
    lab.pod(
        key,
        node=node,
        claims={"data": "data"},
        pending_since=-minutes * MINUTE,
        waiting="ContainerCreating",
        **fields,
    )


def refused(lab: Lab, message: str, key: str = NEW, *, reason: str = "FailedAttachVolume", last: float = -40.0) -> None:
    """What the controller or the kubelet says of the pod's volume, several times."""
    lab.event("Pod", key, reason, message, count=5, last=last)
