"""The incidents by the names and in the order of the page, each with a hint for whoever has not met it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Incident:
    """One of the five, or what stands beside them."""

    key: str
    """As findings have it."""
    title: str
    hint: str
    """What suffers, in plain words."""


FIVE = (
    Incident("crash_loop", "Crash loops", "containers that end again and again, images that do not come"),
    Incident("scheduler_stuck", "Scheduling", "pods that no node takes"),
    Incident("mtu_mismatch", "Packet sizes (MTU)", "large packets that vanish between nodes while small ones pass"),
    Incident("storage_gravity", "Storage", "volumes that cannot follow their pods"),
    Incident("control_plane_saturation", "Control plane", "an API server that slows down, etcd waiting for its disk"),
)
BESIDE = (
    Incident("node", "Nodes", "nodes that are lost, full, or show the wrong time"),
    Incident("network", "Network devices", "packets lost below the pods for other reasons than their size"),
)


def named(key: str) -> Incident:
    """By key; of one that is an operator's own, its name is all there is."""
    found = next((each for each in (*FIVE, *BESIDE) if each.key == key), None)
    return found or Incident(key, key.replace("_", " ").capitalize(), "from a signature of your own")
