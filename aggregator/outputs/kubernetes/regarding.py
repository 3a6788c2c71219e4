"""Which of the things that a finding names are objects of the API server, and which object each of them is now."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from aggregator.cluster.objects import Owner, Workload
from aggregator.cluster.state import ClusterState
from aggregator.cluster.workloads import controller_of
from aggregator.model import Finding

MOST_OBJECTS = 10
"""Objects of one finding that Events are written on. All of them tell of the same finding, which names the rest."""

_KEPT: Mapping[str, tuple[str, str]] = {
    "Pod": ("v1", "pods"),
    "Node": ("v1", "nodes"),
    "PersistentVolumeClaim": ("v1", "persistentvolumeclaims"),
    "PersistentVolume": ("v1", "persistentvolumes"),
    "ResourceQuota": ("v1", "resourcequotas"),
    "ServiceAccount": ("v1", "serviceaccounts"),
    "Secret": ("v1", "secrets"),
    "ReplicaSet": ("apps/v1", "replicasets"),
    "StatefulSet": ("apps/v1", "statefulsets"),
    "PodDisruptionBudget": ("policy/v1", "poddisruptionbudgets"),
    "StorageClass": ("storage.k8s.io/v1", "storageclasses"),
    "VolumeAttachment": ("storage.k8s.io/v1", "volumeattachments"),
    "CSINode": ("storage.k8s.io/v1", "csinodes"),
    "Lease": ("coordination.k8s.io/v1", "leases"),
}
"""apiVersion and resource, by kind of those that the view holds."""
_OWNERS: Mapping[str, str] = {"Deployment": "apps/v1", "DaemonSet": "apps/v1", "Job": "batch/v1"}
"""apiVersion by kind of those that are known by what they own."""


@dataclass(frozen=True, slots=True)
class Regarding:
    """An object of the API server."""

    api_version: str
    kind: str
    name: str
    uid: str
    namespace: str = ""
    """Empty: it has none."""


def chosen(finding: Finding) -> list[str]:
    """The objects ("Kind/namespace/name") that Events of a finding are written on, at most MOST_OBJECTS: some of each
    kind, in the finding's order. A finding that names none of the API server's (a path, a device) is told on its nodes.
    """
    place: dict[str, int] = {}
    ranked: list[tuple[int, int, str]] = []
    for number, each in enumerate(dict.fromkeys(finding.objects)):
        kind = each.partition("/")[0]
        if kind in _KEPT or kind in _OWNERS:
            place[kind] = place.get(kind, -1) + 1
            ranked.append((place[kind], number, each))
    found = [each for _, _, each in heapq.nsmallest(MOST_OBJECTS, ranked)]
    return found or [f"Node/{node}" for node in dict.fromkeys(finding.nodes)][:MOST_OBJECTS]


def is_seen(objects: ClusterState, thing: str) -> bool:
    """What holds this kind of object is listed completely: one that is not there is gone."""
    kind = thing.partition("/")[0]
    return objects.knows(_KEPT[kind][1]) if kind in _KEPT else objects.knows("pods", "replicasets")


def resolve(objects: ClusterState, thing: str, named: Iterable[str]) -> Regarding | None:
    """The object "Kind/namespace/name" as it is now; None: it is not there, or not seen. `named`: all objects of its
    finding, among which is what a Deployment, a DaemonSet or a Job owns."""
    kind, _, key = thing.partition("/")
    namespace, _, name = key.rpartition("/")
    if kind in _KEPT:
        version, resource = _KEPT[kind]
        held = objects.get(resource, key)
        uid = held.uid if held is not None else ""
    else:
        version = _OWNERS.get(kind, "")
        uid = next((owner.uid for owner in _owners(objects, namespace, named) if _is(owner, kind, name)), "")
    return Regarding(version, kind, name, uid, namespace) if uid and version else None


def _is(owner: Owner, kind: str, name: str) -> bool:
    return (owner.kind, owner.name) == (kind, name)


def _owners(objects: ClusterState, namespace: str, named: Iterable[str]) -> Iterable[Owner]:
    """Of the pods and replica sets of one namespace among those that are named."""
    for each in named:
        kind, _, key = each.partition("/")
        if not key.startswith(f"{namespace}/"):
            continue
        if kind == "Pod" and (pod := objects.pods.get(key)) is not None:
            if (owner := controller_of(objects, pod)) is not None:
                yield owner
        elif kind == "ReplicaSet":
            held = objects.get("replicasets", key)
            if isinstance(held, Workload) and held.owner is not None:
                yield held.owner
