"""Objects of every kind that is kept, as a real API server sends them."""

from __future__ import annotations

import copy
import json
from typing import Any

CREATED = "2026-11-22T10:58:30Z"
CREATED_S = 1_795_345_110.0


def meta(name: str, namespace: str = "", **more: Any) -> dict[str, Any]:
    """metadata."""
    where = {"namespace": namespace} if namespace else {}
    managed = [
        {"manager": "kubelet", "operation": "Update", "time": CREATED, "fieldsV1": {"f:status": {"f:phase": {}}}}
    ]
    base = {"uid": f"uid-{name}", "resourceVersion": "398", "generation": 1, "creationTimestamp": CREATED}
    return {"name": name, **where, **base, "managedFields": managed, **more}


def condition(kind: str, status: str = "True", **more: Any) -> dict[str, Any]:
    """An entry of status.conditions."""
    return {"type": kind, "status": status, "lastProbeTime": None, "lastTransitionTime": CREATED, **more}


def controller(kind: str, name: str) -> list[dict[str, Any]]:
    """metadata.ownerReferences."""
    reference = {"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": f"uid-{name}", "blockOwnerDeletion": True}
    return [{"apiVersion": "v1", "kind": "Other", "name": "o", "uid": "o"}, reference | {"controller": True}]


def container(name: str = "app", requests: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    """spec.containers."""
    resources = {"requests": requests, "limits": {"memory": "256Mi"}} if requests is not None else {}
    mounts = [{"name": "kube-api-access-gzccr", "readOnly": True, "mountPath": "/var/run/secrets/kubernetes.io"}]
    base = {"name": name, "image": "registry.example.com/web:1", "resources": resources, "volumeMounts": mounts}
    return {**base, "terminationMessagePath": "/dev/termination-log", "imagePullPolicy": "IfNotPresent", **more}


def token_volume(suffix: str = "gzccr") -> dict[str, Any]:
    """The volume with the service account's token, whose name is another for each pod."""
    sources = [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
    ]
    return {"name": f"kube-api-access-{suffix}", "projected": {"sources": sources, "defaultMode": 420}}


def pod(name: str = "web-6f64c76458-bgwkj", **spec: Any) -> dict[str, Any]:
    """A pod of a Deployment that runs."""
    base = {
        "volumes": [token_volume()],
        "containers": [container("web", {"cpu": "500m", "memory": "256Mi"})],
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "serviceAccountName": "default",
        "serviceAccount": "default",
        "nodeName": "node-c",
        "securityContext": {},
        "schedulerName": "default-scheduler",
        "tolerations": [
            {
                "key": "node.kubernetes.io/not-ready",
                "operator": "Exists",
                "effect": "NoExecute",
                "tolerationSeconds": 300,
            }
        ],
        "priority": 0,
        "enableServiceLinks": True,
        "preemptionPolicy": "PreemptLowerPriority",
    }
    status = {
        "phase": "Running",
        "conditions": [condition("Ready"), condition("PodScheduled")],
        "podIP": "10.244.9.13",
        "podIPs": [{"ip": "10.244.9.13"}],
        "startTime": CREATED,
        "containerStatuses": [
            {
                "name": "web",
                "state": {"running": {"startedAt": CREATED}},
                "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled", "finishedAt": CREATED}},
                "ready": True,
                "restartCount": 2,
                "image": "registry.example.com/web:1",
                "imageID": "registry.example.com/web:1",
                "containerID": "containerd://000013",
                "started": True,
            }
        ],
        "qosClass": "Burstable",
    }
    labels = {"app": "web", "pod-template-hash": "6f64c76458"}
    metadata = meta(
        name, "demo", labels=labels, annotations={"a": "b"}, ownerReferences=controller("ReplicaSet", "web-6f64c76458")
    )
    return {"metadata": metadata, "spec": base | spec, "status": status}


NODE: dict[str, Any] = {
    "metadata": meta("node-a", labels={"topology.kubernetes.io/zone": "zone-a"}, annotations={"x": "y"}),
    "spec": {
        "podCIDR": "10.244.1.0/24",
        "podCIDRs": ["10.244.1.0/24"],
        "providerID": "fake:///zone-a/node-a",
        "unschedulable": True,
        "taints": [
            {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule", "timeAdded": CREATED},
            {"key": "dedicated", "value": "db", "effect": "NoExecute"},
        ],
    },
    "status": {
        "capacity": {"cpu": "4", "ephemeral-storage": "100Gi", "memory": "16Gi", "pods": "110", "nvidia.com/gpu": "2"},
        "allocatable": {"cpu": "3800m", "ephemeral-storage": "90Gi", "memory": "15Gi", "pods": "110"},
        "conditions": [condition("Ready", reason="KubeletReady", message="kubelet is posting ready status")],
        "addresses": [
            {"type": "InternalIP", "address": "10.0.0.11"},
            {"type": "InternalIP", "address": "fd00::11"},
            {"type": "Hostname", "address": "node-a"},
        ],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 0}},
        "nodeInfo": {"machineID": "node-a", "kubeletVersion": "v1.36.0"},
        "images": [{"names": ["a"], "sizeBytes": 1}],
        "volumesAttached": [{"name": "kubernetes.io/csi/ebs.csi.aws.com^vol-1", "devicePath": "/dev/xvdba"}],
        "volumesInUse": ["kubernetes.io/csi/ebs.csi.aws.com^vol-1"],
    },
}
CLAIM: dict[str, Any] = {
    "metadata": meta(
        "data-web-0",
        "demo",
        annotations={
            "volume.kubernetes.io/selected-node": "node-a",
            "volume.kubernetes.io/storage-provisioner": "ebs.csi.aws.com",
        },
        finalizers=["kubernetes.io/pvc-protection"],
    ),
    "spec": {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "10Gi"}},
        "volumeName": "pvc-1",
        "storageClassName": "gp3",
        "volumeMode": "Filesystem",
    },
    "status": {
        "phase": "Bound",
        "accessModes": ["ReadWriteOnce"],
        "capacity": {"storage": "8Gi"},
        "conditions": [condition("FileSystemResizePending")],
        "allocatedResourceStatuses": {"storage": "NodeResizePending"},
    },
}
VOLUME: dict[str, Any] = {
    "metadata": meta("pvc-1", annotations={"pv.kubernetes.io/provisioned-by": "ebs.csi.aws.com"}),
    "spec": {
        "capacity": {"storage": "10Gi"},
        "csi": {"driver": "ebs.csi.aws.com", "volumeHandle": "vol-1", "volumeAttributes": {"a": "b"}},
        "accessModes": ["ReadWriteOnce"],
        "claimRef": {
            "kind": "PersistentVolumeClaim",
            "namespace": "demo",
            "name": "data-web-0",
            "uid": "uid-data-web-0",
        },
        "persistentVolumeReclaimPolicy": "Delete",
        "storageClassName": "gp3",
        "volumeMode": "Filesystem",
        "nodeAffinity": {
            "required": {
                "nodeSelectorTerms": [
                    {"matchExpressions": [{"key": "topology.ebs.csi.aws.com/zone", "operator": "In", "values": ["a"]}]}
                ]
            }
        },
    },
    "status": {"phase": "Bound", "lastPhaseTransitionTime": CREATED},
}
CLASS: dict[str, Any] = {
    "metadata": meta("gp3", annotations={"storageclass.kubernetes.io/is-default-class": "true"}),
    "provisioner": "ebs.csi.aws.com",
    "parameters": {"type": "gp3"},
    "reclaimPolicy": "Delete",
    "allowVolumeExpansion": True,
    "volumeBindingMode": "WaitForFirstConsumer",
    "allowedTopologies": [{"matchLabelExpressions": [{"key": "topology.kubernetes.io/zone", "values": ["a", "b"]}]}],
}
ATTACHMENT: dict[str, Any] = {
    "metadata": meta("csi-4194", finalizers=["external-attacher/ebs-csi-aws-com"], deletionTimestamp=CREATED),
    "spec": {"attacher": "ebs.csi.aws.com", "source": {"persistentVolumeName": "pvc-1"}, "nodeName": "node-a"},
    "status": {
        "attached": True,
        "attachmentMetadata": {"devicePath": "/dev/xvdba"},
        "detachError": {"time": CREATED, "message": "rpc error: code = DeadlineExceeded"},
    },
}
CSI_NODE: dict[str, Any] = {
    "metadata": meta("node-a", ownerReferences=[{"kind": "Node", "name": "node-a", "uid": "uid-node-a"}]),
    "spec": {
        "drivers": [
            {"name": "ebs.csi.aws.com", "nodeID": "i-1", "topologyKeys": ["zone"], "allocatable": {"count": 25}},
            {"name": "efs.csi.aws.com", "nodeID": "i-1", "topologyKeys": None},
        ]
    },
}
EVENT: dict[str, Any] = {
    "metadata": meta("bad-taint.18ea58ddb869cd8d", "demo"),
    "involvedObject": {"kind": "Pod", "namespace": "demo", "name": "bad-taint", "uid": "uid-bad-taint"},
    "reason": "FailedScheduling",
    "message": "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector.",
    "source": {},
    "firstTimestamp": None,
    "lastTimestamp": None,
    "type": "Warning",
    "eventTime": "2026-11-22T10:58:30.765514Z",
    "series": {"count": 4, "lastObservedTime": "2026-11-22T10:59:30.5Z"},
    "action": "Scheduling",
    "reportingComponent": "default-scheduler",
    "reportingInstance": "default-scheduler-vm",
}
OLD_EVENT: dict[str, Any] = {
    "metadata": meta("web.18ea58ddb869cd8e", "demo"),
    "involvedObject": {"kind": "Pod", "namespace": "demo", "name": "web", "fieldPath": "spec.containers{app}"},
    "reason": "BackOff",
    "message": "Back-off restarting failed container",
    "source": {"component": "kubelet", "host": "node-a"},
    "firstTimestamp": "2026-11-22T10:58:31Z",
    "lastTimestamp": "2026-11-22T11:08:31Z",
    "count": 41,
    "type": "Warning",
    "eventTime": None,
    "reportingComponent": "",
    "reportingInstance": "",
}
NEW_EVENT: dict[str, Any] = {
    "metadata": meta("web.18ea58ddb869cd8e", "demo"),
    "eventTime": None,
    "reportingController": "kubelet",
    "reportingInstance": "node-a",
    "reason": "BackOff",
    "regarding": {"kind": "Pod", "namespace": "demo", "name": "web", "fieldPath": "spec.containers{app}"},
    "note": "Back-off restarting failed container",
    "type": "Warning",
    "deprecatedSource": {"component": "kubelet", "host": "node-a"},
    "deprecatedFirstTimestamp": "2026-11-22T10:58:31Z",
    "deprecatedLastTimestamp": "2026-11-22T11:08:31Z",
    "deprecatedCount": 41,
}
LEASE: dict[str, Any] = {
    "metadata": meta("node-a", "kube-node-lease"),
    "spec": {
        "holderIdentity": "node-a",
        "leaseDurationSeconds": 40,
        "renewTime": "2026-11-22T10:58:30.709478Z",
        "leaseTransitions": 3,
        "acquireTime": "2026-11-22T10:58:30.000000Z",
    },
}
BUDGET: dict[str, Any] = {
    "metadata": meta("web", "demo"),
    "spec": {"selector": {"matchLabels": {"app": "web"}}, "maxUnavailable": 0, "minAvailable": "50%"},
    "status": {
        "observedGeneration": 1,
        "disruptionsAllowed": 0,
        "currentHealthy": 1,
        "desiredHealthy": 2,
        "expectedPods": 3,
        "conditions": [condition("DisruptionAllowed", "False", reason="InsufficientPods", message="")],
    },
}
QUOTA: dict[str, Any] = {
    "metadata": meta("compute", "demo"),
    "spec": {"hard": {"requests.cpu": "4", "pods": "10"}, "scopes": ["NotTerminating"]},
    "status": {"hard": {"requests.cpu": "4", "pods": "10"}, "used": {"requests.cpu": "3500m", "pods": "7"}},
}
WORKLOAD: dict[str, Any] = {
    "metadata": meta("web-6f64c76458", "demo", generation=3, ownerReferences=controller("Deployment", "web")),
    "spec": {"replicas": 4, "podManagementPolicy": "Parallel", "selector": {"matchLabels": {"app": "web"}}},
    "status": {"replicas": 3, "readyReplicas": 2, "observedGeneration": 2},
}
CREDENTIAL = {
    "metadata": {
        **meta("db-credentials", "demo"),
        "managedFields": [
            {"manager": "helm", "operation": "Update", "time": "2026-08-01T12:00:00Z"},
            {"manager": "external-secrets", "operation": "Apply", "time": "2026-08-02T12:00:00Z"},
        ],
    }
}
SAMPLES: dict[str, dict[str, Any]] = {
    "nodes": NODE,
    "pods": pod(),
    "persistentvolumeclaims": CLAIM,
    "persistentvolumes": VOLUME,
    "storageclasses": CLASS,
    "volumeattachments": ATTACHMENT,
    "csinodes": CSI_NODE,
    "events": EVENT,
    "leases": LEASE,
    "poddisruptionbudgets": BUDGET,
    "resourcequotas": QUOTA,
    "replicasets": WORKLOAD,
    "statefulsets": WORKLOAD,
    "serviceaccounts": CREDENTIAL,
    "secrets": CREDENTIAL | {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"},
}
"""One object by resource; not to be changed."""


def sample(resource: str) -> dict[str, Any]:
    """A copy to change."""
    return copy.deepcopy(SAMPLES[resource])


def raw(thing: object) -> bytes:
    """As it comes."""
    return json.dumps(thing).encode()
