"""Pods as an API server prints them: defaults filled in, projected token, statuses that the kubelet writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.lab.shapes import Json, compact, made, match_labels, metadata, owner_reference, short_hash, stamp, uid_of

HOUR = 3600.0
_GRACE = 30
_DEFAULT_TOLERATIONS: list[Json] = [
    {"key": f"node.kubernetes.io/{what}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
    for what in ("not-ready", "unreachable")
]
_TOKEN_SOURCES: list[Json] = [
    {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
    {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
    {
        "downwardAPI": {
            "items": [{"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]
        }
    },
]


@dataclass(frozen=True, kw_only=True)
class ContainerFields:
    """A container beside the first one, or an init container."""

    name: str
    requests: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, str] = field(default_factory=dict)
    image: str = "registry.example.com/app:1"
    restartable: bool = False
    """An init container with restartPolicy Always."""


@dataclass(frozen=True, kw_only=True)
class PodFields:
    """A pod as a test asks for it. Times are seconds relative to the lab's now.

    Without a node it waits for one; with a node it runs, unless `waiting`, `phase` or `pending_since` say otherwise.
    """

    node: str | None = None
    owner: tuple[str, str] | None = None
    """Kind and name of its controller."""
    requests: Mapping[str, str] = field(default_factory=lambda: {"cpu": "100m", "memory": "128Mi"})
    limits: Mapping[str, str] = field(default_factory=dict)
    containers: Sequence[ContainerFields] = ()
    """Beside "app", to which `requests` and `limits` belong."""
    init_containers: Sequence[ContainerFields] = ()
    pod_resources: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """spec.resources: {"requests": {...}}."""
    overhead: Mapping[str, str] = field(default_factory=dict)
    claims: Mapping[str, str] = field(default_factory=dict)
    """Name of the claim by name of the volume."""
    block: Sequence[str] = ()
    """Those volumes of `claims` that the container has as a device."""
    ephemeral: Mapping[str, str] = field(default_factory=dict)
    """Storage class by name of a generic ephemeral volume; its claim is POD-VOLUME."""
    created: float = -2 * HOUR
    pending_since: float | None = None
    """It is as old as that and not running."""
    scheduler_says: str = ""
    """Message of the PodScheduled condition."""
    gates: Sequence[str] = ()
    waiting: tuple[str, str] | str = ""
    """Reason, or reason and message, for which its container waits."""
    phase: str = ""
    """"Succeeded", "Failed"."""
    reason: str = ""
    """status.reason: "Evicted"."""
    ready: bool = True
    """While it runs."""
    restarts: int = 0
    last_exit: tuple[str, int] | None = None
    """Reason and exit code of the run before ("OOMKilled", 137)."""
    deleted: float | None = None
    """deletionTimestamp: when it should be gone."""
    finalizers: Sequence[str] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    node_selector: Mapping[str, str] = field(default_factory=dict)
    affinity: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Required node affinity: values by label, all must hold."""
    anti_affinity: Sequence[tuple[str, str]] = ()
    """Required: labels ("app=pg") and topology key."""
    pod_affinity: Sequence[tuple[str, str]] = ()
    spread: Sequence[tuple[str, str, int]] = ()
    """Labels, topology key, maxSkew."""
    tolerations: Sequence[str] = ()
    """ "key=value:Effect", "key:Effect" (exists), "*" (everything)."""
    host_ports: Sequence[int] = ()
    host_network: bool = False
    priority: int = 0
    service_account: str = "default"
    image: str = "registry.example.com/app:1"
    scheduler: str = "default-scheduler"
    resource_claims: Sequence[str] = ()
    nominated_node: str = ""
    ip: str = ""


def pod(key: str, wanted: PodFields, uid: str, host_ip: str, now: float) -> Json:
    """v1.Pod."""
    born = now + (wanted.pending_since if wanted.pending_since is not None else wanted.created)
    spec = _spec(key, wanted, uid)
    owners = []
    if wanted.owner:
        kind, name = wanted.owner
        owned = name if kind == "Node" else f"{key.partition('/')[0]}/{name}"
        owners = [owner_reference(kind, name, uid_of(kind, owned))]
    deleted = None if wanted.deleted is None else now + wanted.deleted
    found = metadata(
        key,
        uid,
        born,
        labels=_labels(key, wanted),
        owners=owners,
        finalizers=wanted.finalizers,
        deleted=deleted,
        grace=_GRACE,
        generation=1,
    )
    return made("Pod", found, spec=spec, status=_status(wanted, spec, uid, host_ip, (now, born)))


def _labels(key: str, wanted: PodFields) -> Json:
    name = key.rpartition("/")[2]
    if wanted.owner is None:
        return {"app": name, **wanted.labels}
    kind, owner = wanted.owner
    if kind == "StatefulSet":
        index = name.rpartition("-")[2]
        return {
            "app": owner,
            "apps.kubernetes.io/pod-index": index,
            "controller-revision-hash": f"{owner}-{short_hash(owner)}",
            "statefulset.kubernetes.io/pod-name": name,
            **wanted.labels,
        }
    if kind == "ReplicaSet":
        app, _, template = owner.rpartition("-")
        return {"app": app or owner, "pod-template-hash": template, **wanted.labels}
    if kind == "Job":
        return {"batch.kubernetes.io/job-name": owner, "job-name": owner, **wanted.labels}
    return {"app": owner, **wanted.labels}


def _spec(key: str, wanted: PodFields, uid: str) -> Json:
    name = key.rpartition("/")[2]
    token = f"kube-api-access-{short_hash(uid, 5)}"
    volumes: list[Json] = [
        {"name": volume, "persistentVolumeClaim": {"claimName": claim}} for volume, claim in wanted.claims.items()
    ]
    volumes += [
        {
            "name": volume,
            "ephemeral": {
                "volumeClaimTemplate": {
                    "metadata": {},
                    "spec": {
                        "accessModes": ["ReadWriteOnce"],
                        "resources": {"requests": {"storage": "20Gi"}},
                        "storageClassName": storage_class,
                        "volumeMode": "Filesystem",
                    },
                }
            },
        }
        for volume, storage_class in wanted.ephemeral.items()
    ]
    volumes.append({"name": token, "projected": {"sources": _TOKEN_SOURCES, "defaultMode": 420}})
    own = ContainerFields(name="app", requests=wanted.requests, limits=wanted.limits, image=wanted.image)
    containers = [_container(each, token) for each in (own, *wanted.containers)]
    mounted = [*wanted.claims, *wanted.ephemeral]
    containers[0]["volumeMounts"][:0] = [
        {"name": volume, "mountPath": f"/{volume}"} for volume in mounted if volume not in wanted.block
    ]
    if wanted.block:
        containers[0]["volumeDevices"] = [{"name": volume, "devicePath": f"/dev/{volume}"} for volume in wanted.block]
    if wanted.host_ports:
        containers[0]["ports"] = [
            {"containerPort": port, "hostPort": port, "protocol": "TCP"} for port in wanted.host_ports
        ]
    spec: Json = {"volumes": volumes}
    if wanted.init_containers:
        spec["initContainers"] = [_container(each, token) for each in wanted.init_containers]
    spec |= {
        "containers": containers,
        "restartPolicy": "OnFailure" if wanted.owner and wanted.owner[0] == "Job" else "Always",
        "terminationGracePeriodSeconds": _GRACE,
        "dnsPolicy": "ClusterFirst",
        **compact(nodeSelector=dict(wanted.node_selector)),
        "serviceAccountName": wanted.service_account,
        "serviceAccount": wanted.service_account,
        **compact(nodeName=wanted.node, hostNetwork=wanted.host_network or None),
        "securityContext": {},
        **compact(
            hostname=name if wanted.owner and wanted.owner[0] == "StatefulSet" else "",
            affinity=_affinity(wanted),
        ),
        "schedulerName": wanted.scheduler,
        "tolerations": [_toleration(text) for text in wanted.tolerations] + _DEFAULT_TOLERATIONS,
        "priority": wanted.priority,
        "enableServiceLinks": True,
        "preemptionPolicy": "PreemptLowerPriority",
        **compact(
            overhead=dict(wanted.overhead),
            resources={name: dict(amounts) for name, amounts in wanted.pod_resources.items()},
            topologySpreadConstraints=[
                {
                    "maxSkew": skew,
                    "topologyKey": topology,
                    "whenUnsatisfiable": "DoNotSchedule",
                    "labelSelector": match_labels(labels),
                }
                for labels, topology, skew in wanted.spread
            ],
            schedulingGates=[{"name": gate} for gate in wanted.gates],
            resourceClaims=[{"name": claim, "resourceClaimName": claim} for claim in wanted.resource_claims],
        ),
    }
    return spec


def _container(wanted: ContainerFields, token: str) -> Json:
    return {
        "name": wanted.name,
        "image": wanted.image,
        "resources": compact(limits=dict(wanted.limits), requests=dict(wanted.requests)),
        **({"restartPolicy": "Always"} if wanted.restartable else {}),
        "volumeMounts": [
            {"name": token, "readOnly": True, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}
        ],
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "imagePullPolicy": "IfNotPresent",
    }


def _toleration(text: str) -> Json:
    if text == "*":
        return {"operator": "Exists"}
    pair, _, effect = text.rpartition(":")
    key, said, value = pair.partition("=")
    return compact(key=key, operator="Equal" if said else "Exists", value=value, effect=effect)


def _affinity(wanted: PodFields) -> Json:
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    nodes = [{"key": label, "operator": "In", "values": list(values)} for label, values in wanted.affinity.items()]

    def terms(of: Sequence[tuple[str, str]]) -> Json:
        found = [{"labelSelector": match_labels(labels), "topologyKey": topology} for labels, topology in of]
        return {required: found} if found else {}

    return compact(
        nodeAffinity={required: {"nodeSelectorTerms": [{"matchExpressions": nodes}]}} if nodes else {},
        podAffinity=terms(wanted.pod_affinity),
        podAntiAffinity=terms(wanted.anti_affinity),
    )


# -- status --------------------------------------------------------------------------------------------------------


def _status(wanted: PodFields, spec: Json, uid: str, host_ip: str, times: tuple[float, float]) -> Json:
    now, born = times
    qos = _qos(spec)
    if wanted.node is None:
        unbound: Json = {
            "phase": wanted.phase or "Pending",
            "conditions": [_unscheduled(wanted, born)],
            "qosClass": qos,
        }
        return unbound | compact(nominatedNodeName=wanted.nominated_node, reason=wanted.reason)
    waits = wanted.waiting or ("ContainerCreating" if wanted.pending_since is not None else "")
    phase = wanted.phase or ("Pending" if waits and not wanted.restarts else "Running")
    ready = phase == "Running" and wanted.ready and not waits
    ended = phase in ("Succeeded", "Failed")
    names = [each["name"] for each in spec["containers"]]
    status: Json = {
        "observedGeneration": 1,
        "phase": phase,
        "conditions": _conditions(names, born, ready=ready, ended=phase == "Succeeded", sandbox=phase != "Pending"),
        "hostIP": host_ip,
        "hostIPs": [{"ip": host_ip}],
    }
    if phase == "Running":
        ip = wanted.ip or f"10.244.{int(short_hash(uid, 2), 16)}.{int(short_hash(uid, 4), 16) % 250 + 2}"
        status |= {"podIP": ip, "podIPs": [{"ip": ip}]}
    status["startTime"] = stamp(born + 1)
    if spec.get("initContainers"):
        status["initContainerStatuses"] = [
            _container_status(each["name"], each["image"], wanted, times, waits="PodInitializing" if waits else "")
            for each in spec["initContainers"]
        ]
    status["containerStatuses"] = [
        _container_status(each["name"], each["image"], wanted, (now, born), waits=waits, ended=phase if ended else "")
        for each in spec["containers"]
    ]
    return status | {"qosClass": qos} | compact(reason=wanted.reason)


def _unscheduled(wanted: PodFields, born: float) -> Json:
    reason, message = "Unschedulable", wanted.scheduler_says
    if wanted.gates:
        reason, message = "SchedulingGated", "Scheduling is blocked due to non-empty scheduling gates"
    return {
        "type": "PodScheduled",
        "observedGeneration": 1,
        "status": "False",
        "lastProbeTime": None,
        "lastTransitionTime": stamp(born),
        "reason": reason,
        "message": message,
    }


def _conditions(names: list[str], at: float, *, ready: bool, ended: bool, sandbox: bool) -> list[Json]:
    def condition(kind: str, status: bool, reason: str = "", message: str = "") -> Json:
        told = {"type": kind, "observedGeneration": 1, "status": str(status), "lastProbeTime": None}
        return told | {"lastTransitionTime": stamp(at)} | compact(reason=reason, message=message)

    why = ("", "") if ready else ("ContainersNotReady", f"containers with unready status: [{' '.join(names)}]")
    if ended:
        why = ("PodCompleted", "")
    return [
        condition("PodReadyToStartContainers", sandbox),
        condition("Initialized", True),
        condition("Ready", ready, *why),
        condition("ContainersReady", ready, *why),
        condition("PodScheduled", True),
    ]


def _container_status(
    name: str,
    image: str,
    wanted: PodFields,
    times: tuple[float, float],
    *,
    waits: tuple[str, str] | str,
    ended: str = "",
) -> Json:
    now, born = times
    digest = f"{image.rpartition(':')[0]}@sha256:{short_hash(image, 64)}"
    identity = f"containerd://{short_hash(f'{name} {born}', 64)}"
    last: Json = {}
    if wanted.last_exit is not None:
        last = {"terminated": _terminated(*wanted.last_exit, (born, now - 60), identity)}
    if ended:
        code = 0 if ended == "Succeeded" else 1
        reason = "Completed" if ended == "Succeeded" else "Error"
        state: Json = {"terminated": _terminated(reason, code, (born + 2, now - 60), identity)}
    elif waits:
        reason, message = (waits, "") if isinstance(waits, str) else waits
        state = {"waiting": compact(reason=reason, message=message)}
    else:
        state = {"running": {"startedAt": stamp(born + 2)}}
    running = "running" in state
    return {
        "name": name,
        "state": state,
        "lastState": last,
        "ready": running and wanted.ready,
        "restartCount": wanted.restarts,
        "image": image,
        "imageID": "" if waits and not wanted.restarts else digest,
        **({} if waits and not wanted.restarts else {"containerID": identity}),
        "started": running,
    }


def _terminated(reason: str, code: int, between: tuple[float, float], identity: str) -> Json:
    began, finished = between
    return {
        "exitCode": code,
        "reason": reason,
        "startedAt": stamp(began),
        "finishedAt": stamp(finished),
        "containerID": identity,
    }


def _qos(spec: Json) -> str:
    resources = [each["resources"] for each in [*spec["containers"], *spec.get("initContainers", [])]]
    if not any(resources):
        return "BestEffort"
    whole = all(
        each.get("limits", {}).get(name) and each["limits"][name] == each.get("requests", each["limits"]).get(name)
        for each in resources
        for name in ("cpu", "memory")
    )
    return "Guaranteed" if whole else "Burstable"
