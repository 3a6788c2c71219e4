"""Controllers, quotas, budgets and events as an API server prints them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.lab.pods import HOUR
from tests.lab.shapes import (
    DAY,
    KINDS,
    Json,
    compact,
    made,
    match_labels,
    metadata,
    owner_reference,
    short_hash,
    stamp,
    uid_of,
)


@dataclass(frozen=True, kw_only=True)
class WorkloadFields:
    """A controller of pods as a test asks for it. Times are seconds relative to the lab's now."""

    replicas: int = 1
    ready: int | None = None
    """None: all."""
    made: int | None = None
    """status.replicas, pods that exist; None: all."""
    owner: tuple[str, str] | None = None
    requests: Mapping[str, str] = field(default_factory=lambda: {"cpu": "100m", "memory": "128Mi"})
    created: float = -10 * DAY
    storage_class: str = ""
    """Of a StatefulSet's volumeClaimTemplate "data"."""
    labels: Mapping[str, str] = field(default_factory=dict)


def workload(kind: str, key: str, wanted: WorkloadFields, uid: str, now: float) -> Json:
    """apps/v1 ReplicaSet, StatefulSet, Deployment, DaemonSet or batch/v1 Job."""
    namespace, _, name = key.rpartition("/")
    app = name.rpartition("-")[0] if kind == "ReplicaSet" and wanted.owner else name
    labels = {"app": app, **({"pod-template-hash": name.rpartition("-")[2]} if kind == "ReplicaSet" else {})}
    owners = []
    if wanted.owner:
        owner_kind, owner = wanted.owner
        owners = [owner_reference(owner_kind, owner, uid_of(owner_kind, f"{namespace}/{owner}"))]
    spec: Json = {
        "replicas": wanted.replicas,
        "selector": {"matchLabels": labels},
        "template": _template(wanted, labels),
    }
    exist = wanted.replicas if wanted.made is None else wanted.made
    ready = exist if wanted.ready is None else wanted.ready
    status: Json = {"observedGeneration": 1, "replicas": exist, **compact(readyReplicas=ready or None)}
    if kind == "StatefulSet":
        revision = f"{name}-{short_hash(name)}"
        spec |= {
            **compact(volumeClaimTemplates=_claim_templates(wanted)),
            "serviceName": name,
            "podManagementPolicy": "OrderedReady",
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
            "revisionHistoryLimit": 10,
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
        }
        status |= {
            "currentReplicas": exist,
            "updatedReplicas": exist,
            "currentRevision": revision,
            "updateRevision": revision,
            "collisionCount": 0,
        }
    elif kind == "ReplicaSet":
        status |= {"fullyLabeledReplicas": exist, "terminatingReplicas": 0}
    elif kind == "Deployment":
        spec |= {
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}},
            "revisionHistoryLimit": 10,
            "progressDeadlineSeconds": 600,
        }
        status |= {
            "updatedReplicas": exist,
            "terminatingReplicas": 0,
            "conditions": _deployed(now + wanted.created, available=ready >= wanted.replicas),
        }
    elif kind == "DaemonSet":
        del spec["replicas"]
        status = {
            "currentNumberScheduled": exist,
            "desiredNumberScheduled": wanted.replicas,
            "numberMisscheduled": 0,
            "numberReady": ready,
            "observedGeneration": 1,
        }
    elif kind == "Job":
        spec = {"parallelism": wanted.replicas, "completions": wanted.replicas, "backoffLimit": 6, **spec}
        del spec["replicas"]
        status = compact(active=exist, ready=ready, startTime=stamp(now + wanted.created))
    status |= {"availableReplicas": ready} if kind in ("StatefulSet", "ReplicaSet", "Deployment") else {}
    found = metadata(
        key,
        uid,
        now + wanted.created,
        labels={**labels, **wanted.labels},
        annotations=_annotations(kind, wanted),
        owners=owners,
        generation=1,
    )
    return made(kind, found, spec=spec, status=status)


def quota(key: str, hard: Mapping[str, str], used: Mapping[str, str], uid: str, created: float) -> Json:
    """v1.ResourceQuota."""
    status = {"hard": dict(hard), "used": {name: used.get(name, "0") for name in hard}}
    return made("ResourceQuota", metadata(key, uid, created), spec={"hard": dict(hard)}, status=status)


@dataclass(frozen=True, kw_only=True)
class BudgetFields:
    """A disruption budget as a test asks for it."""

    selector: str
    """ "app=pg"."""
    min_available: int | str | None = None
    max_unavailable: int | str | None = None
    allowed: int = 0
    healthy: int = 1
    desired: int = 1
    expected: int = 1
    observed: bool = True
    """The controller has seen the budget as it is now."""


def budget(key: str, wanted: BudgetFields, uid: str, created: float) -> Json:
    """policy/v1 PodDisruptionBudget."""
    generation = 1 if wanted.observed else 2
    enough = wanted.allowed > 0
    return made(
        "PodDisruptionBudget",
        metadata(key, uid, created, generation=generation),
        spec={
            **({"minAvailable": wanted.min_available} if wanted.min_available is not None else {}),
            "selector": match_labels(wanted.selector),
            **({"maxUnavailable": wanted.max_unavailable} if wanted.max_unavailable is not None else {}),
        },
        status={
            "observedGeneration": 1,
            "disruptionsAllowed": wanted.allowed,
            "currentHealthy": wanted.healthy,
            "desiredHealthy": wanted.desired,
            "expectedPods": wanted.expected,
            "conditions": [
                {
                    "type": "DisruptionAllowed",
                    "status": str(enough),
                    "observedGeneration": 1,
                    "lastTransitionTime": stamp(created),
                    "reason": "SufficientPods" if enough else "InsufficientPods",
                    "message": "",
                }
            ],
        },
    )


_COMPONENTS = {
    "FailedScheduling": "default-scheduler",
    "Scheduled": "default-scheduler",
    "FailedAttachVolume": "attachdetach-controller",
    "SuccessfulAttachVolume": "attachdetach-controller",
    "ProvisioningFailed": "persistentvolume-controller",
    "WaitForFirstConsumer": "persistentvolume-controller",
    "ExternalProvisioning": "persistentvolume-controller",
    "ExternalExpanding": "volume_expand",
    "VolumeResizeFailed": "external-resizer",
    "NodeNotReady": "node-controller",
    "TaintManagerEviction": "taint-eviction-controller",
    "ScalingReplicaSet": "deployment-controller",
    "NoPods": "controllermanager",
}
_CREATORS = {
    "ReplicaSet": "replicaset-controller",
    "StatefulSet": "statefulset-controller",
    "DaemonSet": "daemonset-controller",
    "Job": "job-controller",
}
_NORMAL = {"Scheduled", "SuccessfulAttachVolume", "WaitForFirstConsumer", "ExternalProvisioning", "ScalingReplicaSet"}


@dataclass(frozen=True, kw_only=True)
class EventFields:
    """An event as a test asks for it. Times are seconds relative to the lab's now."""

    last: float = -30.0
    first: float | None = None
    """None: ten minutes before, if it came more than once."""
    count: int = 1
    component: str = ""
    """Empty: the one that gives this reason."""
    host: str = ""
    """Node whose kubelet sent it; empty: the pod's."""
    type: str = ""
    field: str = ""
    """involvedObject.fieldPath."""


def event(about: tuple[str, str, str], reason: str, message: str, wanted: EventFields, now: float) -> Json:
    """v1.Event about (kind, key, uid); the scheduler's are of the new kind, with eventTime and series."""
    kind, key, uid = about
    namespace, _, name = key.rpartition("/")
    component = wanted.component or _COMPONENTS.get(reason) or _CREATORS.get(kind) or "kubelet"
    host = wanted.host if component == "kubelet" else ""
    last = now + wanted.last
    first = last - 600 * (wanted.count > 1) if wanted.first is None else now + wanted.first
    identity = short_hash(f"{kind} {key} {uid} {reason} {message}", 16)
    involved = compact(
        kind=kind,
        namespace=namespace,
        name=name,
        uid=uid,
        apiVersion=KINDS[kind][1],
        resourceVersion="1" if component != "kubelet" else "",
        fieldPath=wanted.field,
    )
    told: Json = {
        "metadata": metadata(
            f"{namespace or 'default'}/{name}.{identity}", uid_of("Event", f"{namespace}/{name}.{identity}"), first
        ),
        "involvedObject": involved,
        "reason": reason,
        "message": message,
    }
    kind_of = wanted.type or ("Normal" if reason in _NORMAL else "Warning")
    if component.endswith("-scheduler"):
        series = {"count": wanted.count, "lastObservedTime": stamp(last, micro=True)} if wanted.count > 1 else None
        told |= {"source": {}, "firstTimestamp": None, "lastTimestamp": None, "type": kind_of}
        told |= {"eventTime": stamp(first, micro=True), **compact(series=series), "action": "Scheduling"}
        told |= {"reportingComponent": component, "reportingInstance": f"{component}-cp-0"}
    else:
        told |= {"source": compact(component=component, host=host)}
        told |= {"firstTimestamp": stamp(first), "lastTimestamp": stamp(last), "count": wanted.count, "type": kind_of}
        told |= {"eventTime": None, "reportingComponent": component, "reportingInstance": host}
    return {"apiVersion": "v1", "kind": "Event", **told}


def _annotations(kind: str, wanted: WorkloadFields) -> Json:
    """What the deployment controller writes on a Deployment and on its ReplicaSets."""
    if kind == "Deployment":
        return {"deployment.kubernetes.io/revision": "1"}
    if kind == "ReplicaSet" and wanted.owner:
        return {
            "deployment.kubernetes.io/desired-replicas": str(wanted.replicas),
            "deployment.kubernetes.io/max-replicas": str(wanted.replicas + 1),
            "deployment.kubernetes.io/revision": "1",
        }
    return {}


def _deployed(at: float, *, available: bool) -> list[Json]:
    reason = "MinimumReplicasAvailable" if available else "MinimumReplicasUnavailable"
    told = f"Deployment {'has' if available else 'does not have'} minimum availability."
    conditions = [("Available", available, reason, told)]
    conditions.append(("Progressing", True, "NewReplicaSetAvailable", "ReplicaSet has successfully progressed."))
    return [
        {
            "type": kind,
            "status": str(true),
            "lastUpdateTime": stamp(at),
            "lastTransitionTime": stamp(at),
            "reason": why,
            "message": message,
        }
        for kind, true, why, message in conditions
    ]


def _template(wanted: WorkloadFields, labels: Json) -> Json:
    volumes = [{"name": "data", "mountPath": "/data"}] if wanted.storage_class else []
    container = {
        "name": "app",
        "image": "registry.example.com/app:1",
        "resources": compact(requests=dict(wanted.requests)),
        **compact(volumeMounts=volumes),
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "imagePullPolicy": "IfNotPresent",
    }
    spec = {
        "containers": [container],
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "securityContext": {},
        "schedulerName": "default-scheduler",
    }
    return {"metadata": {"labels": labels}, "spec": spec}


def _claim_templates(wanted: WorkloadFields) -> list[Json]:
    if not wanted.storage_class:
        return []
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "20Gi"}},
        "storageClassName": wanted.storage_class,
        "volumeMode": "Filesystem",
    }
    return [
        {
            "kind": "PersistentVolumeClaim",
            "apiVersion": "v1",
            "metadata": {"name": "data"},
            "spec": spec,
            "status": {"phase": "Pending"},
        }
    ]


__all__ = ["HOUR", "BudgetFields", "EventFields", "WorkloadFields", "budget", "event", "quota", "workload"]
