"""What all JSON objects of a lab have in common: kinds, times, uids and metadata as kubectl prints them."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

Json = dict[str, Any]

KINDS = {
    "Node": ("nodes", "v1"),
    "Pod": ("pods", "v1"),
    "Event": ("events", "v1"),
    "PersistentVolume": ("persistentvolumes", "v1"),
    "PersistentVolumeClaim": ("persistentvolumeclaims", "v1"),
    "ResourceQuota": ("resourcequotas", "v1"),
    "ServiceAccount": ("serviceaccounts", "v1"),
    "Service": ("services", "v1"),
    "StorageClass": ("storageclasses", "storage.k8s.io/v1"),
    "VolumeAttachment": ("volumeattachments", "storage.k8s.io/v1"),
    "CSINode": ("csinodes", "storage.k8s.io/v1"),
    "Lease": ("leases", "coordination.k8s.io/v1"),
    "PodDisruptionBudget": ("poddisruptionbudgets", "policy/v1"),
    "ReplicaSet": ("replicasets", "apps/v1"),
    "StatefulSet": ("statefulsets", "apps/v1"),
    "Deployment": ("deployments", "apps/v1"),
    "DaemonSet": ("daemonsets", "apps/v1"),
    "Job": ("jobs", "batch/v1"),
    "ResourceClaim": ("resourceclaims", "resource.k8s.io/v1"),
    "ResourceSlice": ("resourceslices", "resource.k8s.io/v1"),
    "EndpointSlice": ("endpointslices", "discovery.k8s.io/v1"),
}
"""Resource and API version by kind."""

_UIDS = uuid.UUID("5f0c3a52-6a0e-4a1f-8a35-3a8b4a6f7c11")
DAY = 86_400.0


def stamp(at: float, *, micro: bool = False) -> str:
    """metav1.Time, or metav1.MicroTime, of seconds since the epoch."""
    moment = datetime.fromtimestamp(at, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ" if micro else "%Y-%m-%dT%H:%M:%SZ")


def uid_of(kind: str, key: str, incarnation: int = 0) -> str:
    """uid of an object; the next one of the same name has another."""
    return str(uuid.uuid5(_UIDS, f"{kind}/{key}/{incarnation}"))


def short_hash(text: str, letters: int = 10) -> str:
    """What names and labels have for an end."""
    return hashlib.sha256(text.encode()).hexdigest()[:letters]


def merge(into: Json, patch: Mapping[str, Any]) -> Json:
    """Deep merge, as a JSON merge patch: None takes away, lists are replaced. Changes `into`."""
    for key, value in patch.items():
        if value is None:
            into.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(into.get(key), dict):
            merge(into[key], value)
        else:
            into[key] = value
    return into


def compact(**fields: object) -> Json:
    """Only what is there: no None, no empty text, list or mapping."""
    return {name: value for name, value in fields.items() if value not in (None, "", [], {}, ())}


def made(kind: str, metadata: Json, **parts: object) -> Json:
    """An object in the order of its fields that kubectl prints."""
    return {"apiVersion": KINDS[kind][1], "kind": kind, "metadata": metadata, **parts}


def metadata(  # the fields of ObjectMeta
    key: str,
    uid: str,
    created: float,
    *,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    finalizers: Iterable[str] = (),
    owners: Iterable[Json] = (),
    deleted: float | None = None,
    grace: int = 0,
    generation: int = 0,
) -> Json:
    """metadata without managedFields, which kubectl does not print. The resourceVersion comes when it is frozen."""
    namespace, _, name = key.rpartition("/")
    found = compact(name=name, namespace=namespace, uid=uid)
    found["resourceVersion"] = "0"
    if generation:
        found["generation"] = generation
    found["creationTimestamp"] = stamp(created)
    if deleted is not None:
        found["deletionTimestamp"] = stamp(deleted)
        found["deletionGracePeriodSeconds"] = grace
    found |= compact(
        labels=dict(labels or {}),
        annotations=dict(annotations or {}),
        finalizers=list(finalizers),
        ownerReferences=list(owners),
    )
    return found


def owner_reference(kind: str, name: str, uid: str, *, controller: bool = True) -> Json:
    """An entry of metadata.ownerReferences."""
    reference: Json = {"apiVersion": KINDS[kind][1], "kind": kind, "name": name, "uid": uid}
    return reference | ({"controller": True, "blockOwnerDeletion": True} if controller else {})


def match_labels(text: str) -> Json:
    """A label selector of "app=web,tier=db"."""
    return {"matchLabels": dict(pair.split("=", 1) for pair in text.split(",") if pair)}
