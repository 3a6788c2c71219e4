"""Node, CSINode and node lease as a 1.36 API server and kubelet write them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.lab.shapes import DAY, Json, compact, made, metadata, owner_reference, short_hash, stamp, uid_of

ZONE = "topology.kubernetes.io/zone"
_HEALTHY = {
    "MemoryPressure": ("False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    "DiskPressure": ("False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    "PIDPressure": ("False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    "Ready": ("True", "KubeletReady", "kubelet is posting ready status"),
}
_NOT_READY = (
    "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady "
    "message:Network plugin returns error: cni plugin not initialized"
)
LEASE_S = 40


@dataclass(frozen=True, kw_only=True)
class NodeFields:
    """A node as a test asks for it. Times are seconds relative to the lab's now."""

    cpu: str = "4"
    """Allocatable; the capacity is a little more."""
    memory: str = "16Gi"
    pods: int = 110
    storage: str = "90Gi"
    """Ephemeral."""
    extended: Mapping[str, str] = field(default_factory=dict)
    """Other resources: {"nvidia.com/gpu": "4"}."""
    zone: str = ""
    region: str = "eu-1"
    pool: str = ""
    """Node group: label eks.amazonaws.com/nodegroup."""
    role: str = ""
    """"control-plane": with its label and taint."""
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: Sequence[str] = ()
    """ "key=value:Effect" or "key:Effect"."""
    ready: str = "True"
    """"True", "False" (the kubelet says so) or "Unknown" (the kubelet says nothing any more)."""
    ready_since: float = -20 * DAY
    conditions: Mapping[str, str] = field(default_factory=dict)
    """Status by type, of others than Ready: {"DiskPressure": "True"}."""
    cordoned: bool = False
    created: float = -30 * DAY
    address: str = ""
    hostname: str = ""
    """The address of that type, where it is not the node's name."""
    attached: Sequence[str] | None = None
    """PersistentVolumes in status.volumesAttached; None: those whose VolumeAttachment says attached."""
    in_use: Sequence[str] | None = None
    """PersistentVolumes in status.volumesInUse; None: those of its pods and of its host's mounts."""


def node(name: str, wanted: NodeFields, uid: str, now: float) -> Json:
    """v1.Node without the volumes of its status, which follow from the other objects when they are frozen."""
    labels = {
        "beta.kubernetes.io/arch": "amd64",
        "beta.kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/hostname": wanted.hostname or name,
        "kubernetes.io/os": "linux",
        **compact(**{"eks.amazonaws.com/nodegroup": wanted.pool}),
        **({f"node-role.kubernetes.io/{wanted.role}": ""} if wanted.role else {}),
        **({"topology.kubernetes.io/region": wanted.region, ZONE: wanted.zone} if wanted.zone else {}),
        **wanted.labels,
    }
    annotations = {
        "node.alpha.kubernetes.io/ttl": "0",
        "volumes.kubernetes.io/controller-managed-attach-detach": "true",
    }
    since = now + wanted.ready_since
    address = wanted.address or f"10.0.{int(short_hash(name, 4), 16) % 250}.{int(short_hash(name, 8), 16) % 250 + 1}"
    return made(
        "Node",
        metadata(name, uid, now + wanted.created, labels=labels, annotations=annotations),
        spec=compact(
            podCIDR="", providerID="", taints=_taints(wanted, now, since), unschedulable=wanted.cordoned or None
        ),
        status={
            **_resources(wanted),
            "conditions": _conditions(wanted, now, since),
            "addresses": [
                {"type": "InternalIP", "address": address},
                {"type": "Hostname", "address": wanted.hostname or name},
            ],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
            "nodeInfo": {
                "machineID": short_hash(f"machine {name}", 32),
                "systemUUID": uid_of("system", name),
                "bootID": uid_of("boot", name),
                "kernelVersion": "6.8.0-60-generic",
                "osImage": "Ubuntu 24.04.2 LTS",
                "containerRuntimeVersion": "containerd://2.1.4",
                "kubeletVersion": "v1.36.2",
                "kubeProxyVersion": "",
                "operatingSystem": "linux",
                "architecture": "amd64",
            },
        },
    )


def cores(text: str) -> float:
    """Of a quantity of CPU."""
    return int(text[:-1]) / 1000 if text.endswith("m") else float(text)


def kibibytes(text: str) -> int:
    """Of a quantity of memory."""
    amount, unit = re.fullmatch(r"(\d+(?:\.\d+)?)(Ki|Mi|Gi|Ti|)", text).groups()  # type: ignore[union-attr]
    return int(float(amount) * {"Ki": 1, "Mi": 1 << 10, "Gi": 1 << 20, "Ti": 1 << 30, "": 1 / 1024}[unit])


def csinode(name: str, drivers: Mapping[str, int | None], uid: str, node_uid: str, at: float) -> Json:
    """storage.k8s.io/v1 CSINode: limit by driver; None: it says none."""
    entries = [
        {
            "name": driver,
            "nodeID": f"i-{short_hash(name, 17)}",
            "topologyKeys": [ZONE],
            **({"allocatable": {"count": limit}} if limit is not None else {}),
        }
        for driver, limit in drivers.items()
    ]
    owners = [owner_reference("Node", name, node_uid, controller=False)]
    return made("CSINode", metadata(name, uid, at, owners=owners), spec={"drivers": entries})


def lease(key: str, holder: str, uid: str, created: float, renewed: float, *, seconds: int, transitions: int) -> Json:
    """coordination.k8s.io/v1 Lease. Leaders' leases count transitions, the kubelets' do not."""
    spec: Json = {"holderIdentity": holder, "leaseDurationSeconds": seconds, "renewTime": stamp(renewed, micro=True)}
    if not key.startswith("kube-node-lease/"):
        spec |= {"acquireTime": stamp(created, micro=True), "leaseTransitions": transitions}
        return made("Lease", metadata(key, uid, created), spec=spec)
    name = key.rpartition("/")[2]
    return made(
        "Lease",
        metadata(key, uid, created, owners=[owner_reference("Node", name, uid_of("Node", name), controller=False)]),
        spec=spec,
    )


def _resources(wanted: NodeFields) -> Json:
    shared = {"hugepages-1Gi": "0", "hugepages-2Mi": "0", "pods": str(wanted.pods), **wanted.extended}
    return {
        "capacity": {
            "cpu": str(math.ceil(cores(wanted.cpu))),
            "ephemeral-storage": f"{kibibytes(wanted.storage) + (8 << 20)}Ki",
            "memory": f"{kibibytes(wanted.memory) + 614_400}Ki",
            **shared,
        },
        "allocatable": {
            "cpu": wanted.cpu,
            "ephemeral-storage": wanted.storage,
            "memory": f"{kibibytes(wanted.memory)}Ki",
            **shared,
        },
    }


def _conditions(wanted: NodeFields, now: float, since: float) -> list[Json]:
    found = []
    for kind, told in _HEALTHY.items():
        status, reason, message = told
        changed = since if kind == "Ready" else now + wanted.created
        if wanted.ready == "Unknown":
            status, reason, message = "Unknown", "NodeStatusUnknown", "Kubelet stopped posting node status."
            changed = since
        elif kind == "Ready" and wanted.ready == "False":
            status, reason, message = "False", "KubeletNotReady", _NOT_READY
        elif wanted.conditions.get(kind) == "True":
            status, reason, message = "True", f"KubeletHas{kind}", f"kubelet has {kind}"
            changed = since
        found.append(
            {
                "type": kind,
                "status": status,
                "lastHeartbeatTime": stamp(since - 50 if wanted.ready == "Unknown" else now),
                "lastTransitionTime": stamp(changed),
                "reason": reason,
                "message": message,
            }
        )
    return found


def _taints(wanted: NodeFields, now: float, since: float) -> list[Json]:
    found = [_taint(text) for text in wanted.taints]
    if wanted.role == "control-plane":
        found.append({"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"})
    if wanted.cordoned:
        found.append({"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule", "timeAdded": stamp(now - 600)})
    ill = {"False": "node.kubernetes.io/not-ready", "Unknown": "node.kubernetes.io/unreachable"}.get(wanted.ready)
    if ill:
        found.append({"key": ill, "effect": "NoSchedule", "timeAdded": stamp(since)})
        found.append({"key": ill, "effect": "NoExecute", "timeAdded": stamp(since + 1)})
    return found


def _taint(text: str) -> Json:
    pair, _, effect = text.rpartition(":")
    key, _, value = pair.partition("=")
    return compact(key=key, value=value, effect=effect)
