"""A large cluster's objects as raw JSON, as verbose as a real API server sends them, and the same on every run.

    python -m bench.cluster_objects --pods 150000 --nodes 5000 | ...

One page of at most 500 objects per line: {"resource": ..., "items": [...]}. A quarter of the pods belong to DaemonSets,
a tenth to StatefulSets with a claim, a volume and an attachment each, some to Jobs that have ended, the others to
Deployments. What pods of one template share is written once and filled in for each.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

PAGE = 500
_CREATED = "2026-11-20T08:30:{:02}Z"
_ZONES = "abc"
_DRIVER = "ebs.csi.aws.com"


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything."""

    pods: int
    nodes: int

    @property
    def daemons(self) -> int:
        """DaemonSets."""
        return max(1, self.pods // 4 // self.nodes)

    @property
    def stateful(self) -> int:
        """Pods of StatefulSets, with a claim each."""
        return self.pods // 10

    @property
    def namespaces(self) -> int:
        """Namespaces."""
        return max(2, self.pods // 300)

    @property
    def events(self) -> int:
        """Events, half of them warnings."""
        return self.pods // 8


def pages(size: Size, changed: float = 0.0, only: str = "") -> Iterator[bytes]:
    """All resources, page by page, as lines. `changed`: share of the pods that is not as it was in the first place."""
    for resource, objects in (
        ("nodes", nodes(size)),
        ("pods", pods(size, changed)),
        ("persistentvolumeclaims", claims(size)),
        ("persistentvolumes", volumes(size)),
        ("storageclasses", storage_classes()),
        ("volumeattachments", attachments(size)),
        ("csinodes", csi_nodes(size)),
        ("leases/kube-node-lease", leases(size)),
        ("leases/kube-system", (lease("kube-system", name) for name in ("kube-scheduler", "kube-controller-manager"))),
        ("replicasets", replica_sets(size)),
        ("statefulsets", stateful_sets(size)),
        ("events", events(size)),
    ):
        if only in ("", resource):
            yield from _paged(resource, objects)


def _paged(resource: str, objects: Iterable[str]) -> Iterator[bytes]:
    rest = iter(objects)
    while page := list(islice(rest, PAGE)):
        yield f'{{"resource":"{resource}","items":[{",".join(page)}]}}\n'.encode()


# -- nodes ---------------------------------------------------------------------------------------------------------


def node_name(number: int) -> str:
    """As a cloud names them."""
    return f"ip-10-{number >> 16 & 255}-{number >> 8 & 255}-{number & 255}.eu-central-1.compute.internal"


def nodes(size: Size) -> Iterator[str]:
    """v1.Node."""
    node: dict[str, Any] = {
        "metadata": _meta(
            "@NAME@",
            "",
            labels={
                "beta.kubernetes.io/arch": "amd64",
                "beta.kubernetes.io/os": "linux",
                "eks.amazonaws.com/capacityType": "ON_DEMAND",
                "eks.amazonaws.com/nodegroup": "workers-@ZONE@",
                "kubernetes.io/arch": "amd64",
                "kubernetes.io/hostname": "@NAME@",
                "kubernetes.io/os": "linux",
                "node.kubernetes.io/instance-type": "m6i.4xlarge",
                "topology.ebs.csi.aws.com/zone": "eu-central-1@ZONE@",
                "topology.kubernetes.io/region": "eu-central-1",
                "topology.kubernetes.io/zone": "eu-central-1@ZONE@",
            },
            annotations={
                "alpha.kubernetes.io/provided-node-ip": "10.0.0.1",
                "csi.volume.kubernetes.io/nodeid": '{"ebs.csi.aws.com":"i-@HEX@"}',
                "node.alpha.kubernetes.io/ttl": "0",
                "volumes.kubernetes.io/controller-managed-attach-detach": "true",
            },
        ),
        "spec": {
            "podCIDR": "10.244.0.0/24",
            "podCIDRs": ["10.244.0.0/24"],
            "providerID": "aws:///eu-central-1@ZONE@/i-@HEX@",
        },
        "status": {
            "capacity": {
                "cpu": "16",
                "ephemeral-storage": "104845292Ki",
                "hugepages-1Gi": "0",
                "hugepages-2Mi": "0",
                "memory": "64418944Ki",
                "pods": "110",
            },
            "allocatable": {
                "cpu": "15890m",
                "ephemeral-storage": "95551679124",
                "hugepages-1Gi": "0",
                "hugepages-2Mi": "0",
                "memory": "61378688Ki",
                "pods": "110",
            },
            "conditions": [
                _condition(kind, "False" if kind != "Ready" else "True", f"KubeletHas{kind}", "kubelet is fine")
                | {"lastHeartbeatTime": "2026-11-22T10:00:00Z"}
                for kind in ("MemoryPressure", "DiskPressure", "PIDPressure", "Ready")
            ],
            "addresses": [
                {"type": "InternalIP", "address": "10.0.0.1"},
                {"type": "Hostname", "address": "@NAME@"},
                {"type": "InternalDNS", "address": "@NAME@"},
            ],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
            "nodeInfo": {
                "machineID": "ec2@HEX@",
                "systemUUID": "ec2@HEX@",
                "bootID": "@UID@",
                "kernelVersion": "6.1.115-126.197.amzn2023.x86_64",
                "osImage": "Amazon Linux 2023.6.20241121",
                "containerRuntimeVersion": "containerd://1.7.23",
                "kubeletVersion": "v1.31.2-eks-94953ac",
                "kubeProxyVersion": "v1.31.2-eks-94953ac",
                "operatingSystem": "linux",
                "architecture": "amd64",
            },
            "images": [
                {
                    "names": [
                        f"registry.example.com/team/service-{i}@sha256:{i:064x}",
                        f"registry.example.com/team/service-{i}:v1.{i}",
                    ],
                    "sizeBytes": 10_000_000 + i,
                }
                for i in range(50)
            ],
        },
    }
    node["status"]["volumesInUse"] = node["status"]["volumesAttached"] = []
    text = _dumped(node)
    for number in range(size.nodes):
        used = [f"kubernetes.io/csi/{_DRIVER}^vol-{volume:017x}" for volume in range(number, size.stateful, size.nodes)]
        attached = [{"name": each, "devicePath": ""} for each in used]
        yield (
            _filled(
                text,
                NAME=node_name(number),
                ZONE=_ZONES[number % 3],
                HEX=f"{number:017x}",
                UID=_uid(number, 1),
                VERSION=str(10_000_000 + number),
            )
            .replace('"volumesInUse":[]', f'"volumesInUse":{json.dumps(used)}')
            .replace('"volumesAttached":[]', f'"volumesAttached":{json.dumps(attached)}')
        )


def csi_nodes(size: Size) -> Iterator[str]:
    """storage.k8s.io/v1 CSINode."""
    text = _dumped(
        {
            "metadata": _meta(
                "@NAME@", "", annotations={"storage.alpha.kubernetes.io/migrated-plugins": "kubernetes.io/aws-ebs"}
            ),
            "spec": {
                "drivers": [
                    {
                        "name": _DRIVER,
                        "nodeID": "i-@HEX@",
                        "topologyKeys": ["topology.ebs.csi.aws.com/zone"],
                        "allocatable": {"count": 26},
                    }
                ]
            },
        }
    )
    for number in range(size.nodes):
        yield _filled(text, NAME=node_name(number), HEX=f"{number:017x}", UID=_uid(number, 2), VERSION=str(number))


def leases(size: Size) -> Iterator[str]:
    """Of the nodes."""
    for number in range(size.nodes):
        yield lease("kube-node-lease", node_name(number))


def lease(namespace: str, name: str) -> str:
    """coordination.k8s.io/v1 Lease."""
    return _filled(
        _dumped(
            {
                "metadata": _meta(name, namespace),
                "spec": {
                    "holderIdentity": name,
                    "leaseDurationSeconds": 40,
                    "renewTime": "2026-11-22T10:00:03.709478Z",
                },
            }
        ),
        UID=_uid(hash_of(name), 3),
        VERSION=str(hash_of(name)),
    )


# -- pods ----------------------------------------------------------------------------------------------------------


def pods(size: Size, changed: float = 0.0) -> Iterator[str]:
    """v1.Pod, of all kinds of owners. `changed`: this share has been restarted since."""
    draw = random.Random(7)  # noqa: S311  # the same objects on every run
    for number, (text, name, node, extra) in enumerate(islice(_placed(size), size.pods)):
        again = draw.random() < changed
        yield _filled(
            text,
            NAME=name,
            NODE=node,
            UID=_uid(number, 4),
            VERSION=str(20_000_000 + number + (size.pods if again else 0)),
            RESTARTS="3" if again else "0",
            TOKEN=f"{number:05x}",
            IP=f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}",
            SECOND=f"{number % 60:02}",
            HEX=f"{number:064x}",
            ORDINAL=str(extra),
        )


def _placed(size: Size) -> Iterator[tuple[str, str, str, int]]:
    """Template, name, node, and ordinal of each pod."""
    for daemon in range(size.daemons):
        text = _pod_text(daemon, f"daemon-{daemon}", "kube-system", "DaemonSet")
        for number in range(size.nodes):
            yield text, f"daemon-{daemon}-{_suffix(number)}", node_name(number), 0
    for number in range(size.stateful):
        owner, ordinal = divmod(number, 5)
        if not ordinal:
            text = _pod_text(owner, f"db-{owner}", f"team-{owner % size.namespaces}", "StatefulSet")
        yield text, f"db-{owner}-{ordinal}", node_name(number % size.nodes), ordinal
    number = 0
    while True:
        owner, replica = divmod(number, 25)
        if not replica:
            kind = "Job" if owner % 20 == 19 else "ReplicaSet"
            name = f"batch-{owner}" if kind == "Job" else f"service-{owner}-6f64c{owner:05x}"
            text = _pod_text(owner, name, f"team-{owner % size.namespaces}", kind)
        yield text, f"{name}-{_suffix(number)}", node_name(number * 7 % size.nodes), 0
        number += 1


def _pod_text(owner: int, name: str, namespace: str, kind: str) -> str:
    labels = {
        "app.kubernetes.io/name": name,
        "app.kubernetes.io/part-of": f"product-{owner % 40}",
        "app.kubernetes.io/version": f"v1.{owner % 30}.0",
    }
    if kind == "StatefulSet":
        labels |= {
            "apps.kubernetes.io/pod-index": "@ORDINAL@",
            "controller-revision-hash": f"{name}-58b6",
            "statefulset.kubernetes.io/pod-name": "@NAME@",
        }
    elif kind == "ReplicaSet":
        labels |= {"pod-template-hash": name.rsplit("-", 1)[1]}
    elif kind == "Job":
        labels |= {
            "batch.kubernetes.io/controller-uid": _uid(owner, 5),
            "batch.kubernetes.io/job-name": name,
            "controller-uid": _uid(owner, 5),
            "job-name": name,
        }
    containers = [_container("app", owner), *([_container("proxy", owner + 1)] if owner % 3 == 0 else [])]
    volumes = [
        {"name": "config", "configMap": {"name": f"{name}-config", "defaultMode": 420}},
        {
            "name": "kube-api-access-@TOKEN@",
            "projected": {
                "defaultMode": 420,
                "sources": [
                    {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
                    {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                    {
                        "downwardAPI": {
                            "items": [
                                {
                                    "path": "namespace",
                                    "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"},
                                }
                            ]
                        }
                    },
                ],
            },
        },
    ]
    spec: dict[str, Any] = {
        "volumes": volumes,
        "containers": containers,
        "restartPolicy": "Never" if kind == "Job" else "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "serviceAccountName": name,
        "serviceAccount": name,
        "nodeName": "@NODE@",
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "fsGroup": 1000,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "imagePullSecrets": [{"name": "registry"}],
        "schedulerName": "default-scheduler",
        "tolerations": [
            {"key": f"node.kubernetes.io/{what}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
            for what in ("not-ready", "unreachable")
        ],
        "priority": 0,
        "enableServiceLinks": True,
        "preemptionPolicy": "PreemptLowerPriority",
    }
    if kind == "StatefulSet":
        volumes.insert(0, {"name": "data", "persistentVolumeClaim": {"claimName": "data-@NAME@"}})
        spec |= {"hostname": "@NAME@", "subdomain": name}
    if kind == "DaemonSet":
        spec["affinity"] = {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [
                        {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["@NODE@"]}]}
                    ]
                }
            }
        }
        spec["tolerations"] += [
            {"key": f"node.kubernetes.io/{what}", "operator": "Exists", "effect": "NoSchedule"}
            for what in ("disk-pressure", "memory-pressure", "pid-pressure", "unschedulable")
        ]
        spec |= {"hostNetwork": True, "priorityClassName": "system-node-critical", "priority": 2_000_001_000}
    else:
        spec["topologySpreadConstraints"] = [
            {
                "maxSkew": 1,
                "topologyKey": "topology.kubernetes.io/zone",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": labels},
            }
        ]
    ended = kind == "Job"
    state = (
        {
            "terminated": {
                "exitCode": 0,
                "reason": "Completed",
                "startedAt": _at(),
                "finishedAt": _at(),
                "containerID": "containerd://@HEX@",
            }
        }
        if ended
        else {"running": {"startedAt": _at()}}
    )
    status = {
        "phase": "Succeeded" if ended else "Running",
        "conditions": [
            _condition(each, "True")
            for each in ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
        ],
        "hostIP": "10.0.0.1",
        "hostIPs": [{"ip": "10.0.0.1"}],
        "podIP": "@IP@",
        "podIPs": [{"ip": "@IP@"}],
        "startTime": _at(),
        "containerStatuses": [
            {
                "name": each["name"],
                "state": state,
                "lastState": {},
                "ready": not ended,
                "restartCount": "@RESTARTS@",
                "image": each["image"],
                "imageID": each["image"] + "@sha256:" + "ab" * 32,
                "containerID": "containerd://@HEX@",
                "started": not ended,
                "volumeMounts": each["volumeMounts"],
            }
            for each in containers
        ],
        "qosClass": "Burstable",
    }
    meta = _meta(
        "@NAME@",
        namespace,
        labels=labels,
        annotations={
            "checksum/config": "ab" * 32,
            "prometheus.io/port": "8080",
            "prometheus.io/scrape": "true",
            "kubectl.kubernetes.io/restartedAt": "2026-11-20T08:30:00+01:00",
        },
    )
    meta["generateName"] = f"{name}-"
    meta["ownerReferences"] = [
        {
            "apiVersion": "apps/v1",
            "kind": kind,
            "name": name,
            "uid": _uid(owner, 5 + len(kind)),
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ]
    return _dumped({"metadata": meta, "spec": spec, "status": status}).replace('"@RESTARTS@"', "@RESTARTS@")


def _container(name: str, owner: int) -> dict[str, Any]:
    return {
        "name": name,
        "image": f"registry.example.com/team/{name}-{owner % 400}:v1.{owner % 30}.0",
        "args": ["--config=/etc/app/config.yaml", "--log-level=info"],
        "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
        "env": [
            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}},
            {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": f"{name}-{owner}", "key": "password"}}},
            *({"name": f"OPTION_{i}", "value": f"value-{i}"} for i in range(6)),
        ],
        "resources": {
            "requests": {"cpu": f"{(owner % 10 + 1) * 50}m", "memory": f"{(owner % 8 + 1) * 64}Mi"},
            "limits": {"memory": f"{(owner % 8 + 1) * 128}Mi"},
        },
        "volumeMounts": [
            {"name": "config", "mountPath": "/etc/app"},
            {
                "name": "kube-api-access-@TOKEN@",
                "readOnly": True,
                "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
            },
        ],
        "livenessProbe": {
            "httpGet": {"path": "/healthz", "port": "http", "scheme": "HTTP"},
            "timeoutSeconds": 1,
            "periodSeconds": 10,
            "successThreshold": 1,
            "failureThreshold": 3,
        },
        "readinessProbe": {
            "httpGet": {"path": "/ready", "port": "http", "scheme": "HTTP"},
            "timeoutSeconds": 1,
            "periodSeconds": 10,
            "successThreshold": 1,
            "failureThreshold": 3,
        },
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "imagePullPolicy": "IfNotPresent",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
    }


# -- storage -------------------------------------------------------------------------------------------------------


def claims(size: Size) -> Iterator[str]:
    """v1.PersistentVolumeClaim of each pod of a StatefulSet."""
    text = _dumped(
        {
            "metadata": _meta(
                "@NAME@",
                "@NAMESPACE@",
                labels={"app.kubernetes.io/name": "db"},
                annotations={
                    "pv.kubernetes.io/bind-completed": "yes",
                    "pv.kubernetes.io/bound-by-controller": "yes",
                    "volume.beta.kubernetes.io/storage-provisioner": _DRIVER,
                    "volume.kubernetes.io/storage-provisioner": _DRIVER,
                    "volume.kubernetes.io/selected-node": "@NODE@",
                },
            )
            | {"finalizers": ["kubernetes.io/pvc-protection"]},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "100Gi"}},
                "volumeName": "pvc-@UID@",
                "storageClassName": "gp3",
                "volumeMode": "Filesystem",
            },
            "status": {"phase": "Bound", "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "100Gi"}},
        }
    )
    for number, name, namespace, node in _stateful(size):
        yield _filled(
            text, NAME=f"data-{name}", NAMESPACE=namespace, NODE=node, UID=_uid(number, 8), VERSION=str(number)
        )


def volumes(size: Size) -> Iterator[str]:
    """v1.PersistentVolume of each claim."""
    text = _dumped(
        {
            "metadata": _meta(
                "pvc-@UID@",
                "",
                annotations={
                    "pv.kubernetes.io/provisioned-by": _DRIVER,
                    "volume.kubernetes.io/provisioner-deletion-secret-name": "",
                    "volume.kubernetes.io/provisioner-deletion-secret-namespace": "",
                },
            )
            | {"finalizers": ["kubernetes.io/pv-protection", "external-attacher/ebs-csi-aws-com"]},
            "spec": {
                "capacity": {"storage": "100Gi"},
                "csi": {
                    "driver": _DRIVER,
                    "volumeHandle": "vol-@HEX@",
                    "fsType": "ext4",
                    "volumeAttributes": {
                        "storage.kubernetes.io/csiProvisionerIdentity": "1700000000000-1234-ebs.csi.aws.com"
                    },
                },
                "accessModes": ["ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": "Delete",
                "storageClassName": "gp3",
                "claimRef": {
                    "kind": "PersistentVolumeClaim",
                    "namespace": "@NAMESPACE@",
                    "name": "data-@NAME@",
                    "uid": "@UID@",
                    "apiVersion": "v1",
                    "resourceVersion": "1",
                },
                "volumeMode": "Filesystem",
                "nodeAffinity": {
                    "required": {
                        "nodeSelectorTerms": [
                            {
                                "matchExpressions": [
                                    {
                                        "key": "topology.kubernetes.io/zone",
                                        "operator": "In",
                                        "values": ["eu-central-1@ZONE@"],
                                    }
                                ]
                            }
                        ]
                    }
                },
            },
            "status": {"phase": "Bound", "lastPhaseTransitionTime": _at()},
        }
    )
    for number, name, namespace, _ in _stateful(size):
        yield _filled(
            text,
            NAME=name,
            NAMESPACE=namespace,
            HEX=f"{number:017x}",
            UID=_uid(number, 8),
            VERSION=str(number),
            ZONE=_ZONES[number % size.nodes % 3],
        )


def attachments(size: Size) -> Iterator[str]:
    """storage.k8s.io/v1 VolumeAttachment of each volume."""
    text = _dumped(
        {
            "metadata": _meta("csi-@HEX@", "", annotations={"csi.alpha.kubernetes.io/node-id": "i-0123"})
            | {"finalizers": ["external-attacher/ebs-csi-aws-com"]},
            "spec": {"attacher": _DRIVER, "source": {"persistentVolumeName": "pvc-@UID@"}, "nodeName": "@NODE@"},
            "status": {"attached": True, "attachmentMetadata": {"devicePath": "/dev/xvdaa"}},
        }
    )
    for number, _, _, node in _stateful(size):
        yield _filled(text, HEX=f"{number:064x}", NODE=node, UID=_uid(number, 8), VERSION=str(number))


def _stateful(size: Size) -> Iterator[tuple[int, str, str, str]]:
    for number in range(size.stateful):
        owner, ordinal = divmod(number, 5)
        yield number, f"db-{owner}-{ordinal}", f"team-{owner % size.namespaces}", node_name(number % size.nodes)


def storage_classes() -> Iterator[str]:
    """storage.k8s.io/v1 StorageClass."""
    for name in ("gp2", "gp3", "io2"):
        yield _filled(
            _dumped(
                {
                    "metadata": _meta(name, ""),
                    "provisioner": _DRIVER,
                    "reclaimPolicy": "Delete",
                    "allowVolumeExpansion": True,
                    "parameters": {"type": name},
                    "volumeBindingMode": "WaitForFirstConsumer",
                }
            ),
            UID=_uid(len(name), 9),
            VERSION="1",
        )


# -- controllers and events ----------------------------------------------------------------------------------------


def replica_sets(size: Size) -> Iterator[str]:
    """apps/v1 ReplicaSet: the present one of each Deployment, and three that are empty now."""
    deployments = max(1, (size.pods - size.stateful - size.daemons * size.nodes) // 25)
    text = _pod_text(0, "service-0-6f64c00000", "@NAMESPACE@", "ReplicaSet")
    template = json.loads(text.replace("@RESTARTS@", "0"))
    template = {"metadata": {"labels": template["metadata"]["labels"]}, "spec": template["spec"]}
    text = _dumped(
        {
            "metadata": _meta(
                "@NAME@",
                "@NAMESPACE@",
                labels={"app": "@NAME@"},
                annotations={"deployment.kubernetes.io/revision": "4"},
            )
            | {
                "ownerReferences": [
                    {
                        "apiVersion": "apps/v1",
                        "kind": "Deployment",
                        "name": "service",
                        "uid": "@UID@",
                        "controller": True,
                    }
                ]
            },
            "spec": {"replicas": 25, "selector": {"matchLabels": {"app": "@NAME@"}}, "template": template},
            "status": {
                "replicas": 25,
                "fullyLabeledReplicas": 25,
                "readyReplicas": 25,
                "availableReplicas": 25,
                "observedGeneration": 1,
            },
        }
    )
    for number in range(deployments * 4):
        yield _filled(
            text,
            NAME=f"service-{number // 4}-6f64c{number:05x}",
            NAMESPACE=f"team-{number // 4 % size.namespaces}",
            UID=_uid(number, 10),
            VERSION=str(number),
        )


def stateful_sets(size: Size) -> Iterator[str]:
    """apps/v1 StatefulSet."""
    text = _dumped(
        {
            "metadata": _meta("@NAME@", "@NAMESPACE@"),
            "spec": {"replicas": 5, "serviceName": "@NAME@", "podManagementPolicy": "OrderedReady"},
            "status": {"replicas": 5, "readyReplicas": 5, "observedGeneration": 1},
        }
    )
    for number in range(size.stateful // 5):
        yield _filled(
            text,
            NAME=f"db-{number}",
            NAMESPACE=f"team-{number % size.namespaces}",
            UID=_uid(number, 11),
            VERSION=str(number),
        )


def events(size: Size) -> Iterator[str]:
    """v1.Event: warnings, and normal ones of which few are kept."""
    text = _dumped(
        {
            "metadata": _meta("@NAME@.@TOKEN@", "@NAMESPACE@"),
            "involvedObject": {
                "kind": "Pod",
                "namespace": "@NAMESPACE@",
                "name": "@NAME@",
                "uid": "@UID@",
                "apiVersion": "v1",
                "resourceVersion": "1",
                "fieldPath": "spec.containers{app}",
            },
            "reason": "@REASON@",
            "message": "@MESSAGE@",
            "source": {"component": "kubelet", "host": "@NODE@"},
            "firstTimestamp": _at(),
            "lastTimestamp": _at(),
            "count": 3,
            "type": "@TYPE@",
            "eventTime": None,
            "reportingComponent": "kubelet",
            "reportingInstance": "@NODE@",
        }
    )
    kinds = (
        ("Warning", "Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503"),
        ("Normal", "Pulled", "Container image already present on machine"),
        ("Warning", "BackOff", "Back-off restarting failed container app in pod @NAME@"),
        ("Normal", "Created", "Created container app"),
    )
    for number in range(size.events):
        kind, reason, message = kinds[number % 4]
        yield _filled(
            text,
            MESSAGE=message,
            TYPE=kind,
            REASON=reason,
            NAME=f"service-{number // 50}-{_suffix(number)}",
            NAMESPACE=f"team-{number % size.namespaces}",
            NODE=node_name(number % size.nodes),
            TOKEN=f"{number:016x}",
            UID=_uid(number, 4),
            SECOND=f"{number % 60:02}",
            VERSION=str(number),
        )


# -- parts ---------------------------------------------------------------------------------------------------------


def _meta(name: str, namespace: str, **more: dict[str, str]) -> dict[str, Any]:
    where = {"namespace": namespace} if namespace else {}
    return {
        "name": name,
        **where,
        "uid": "@UID@",
        "resourceVersion": "@VERSION@",
        "generation": 1,
        "creationTimestamp": _CREATED.format(1),
        **more,
    }


def _at() -> str:
    return "2026-11-22T09:15:@SECOND@Z"


def _condition(kind: str, status: str, reason: str = "", message: str = "") -> dict[str, Any]:
    said = {"reason": reason, "message": message} if reason else {}
    return {"type": kind, "status": status, "lastProbeTime": None, "lastTransitionTime": "2026-11-22T09:15:00Z", **said}


def _dumped(thing: dict[str, Any]) -> str:
    """As JSON, with the managedFields that a server adds."""
    fields = [
        {
            "manager": manager,
            "operation": "Update",
            "apiVersion": "v1",
            "time": "2026-11-20T08:30:01Z",
            "fieldsType": "FieldsV1",
            "fieldsV1": _managed({part: thing[part]}),
        }
        for manager, part in (("kube-controller-manager", "spec"), ("kubelet", "status"))
        if part in thing
    ]
    return json.dumps(thing | {"metadata": thing["metadata"] | {"managedFields": fields}}, separators=(",", ":"))


def _managed(thing: Any) -> dict[str, Any]:
    if isinstance(thing, dict):
        return {f"f:{name}": _managed(value) for name, value in thing.items()}
    if isinstance(thing, list):
        return {
            f'k:{{"name":"{each["name"]}"}}': _managed(each)
            for each in thing
            if isinstance(each, dict) and "name" in each
        }
    return {}


def _filled(text: str, **values: str) -> str:
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text


def _uid(number: int, kind: int) -> str:
    return f"{number:08x}-{kind:04x}-4000-8000-{number * 2654435761 % 2**48:012x}"


def _suffix(number: int) -> str:
    return f"{number * 2654435761 % 2**25:05x}{number:x}"


def hash_of(text: str) -> int:
    """A number for a name, the same on every run."""
    return int.from_bytes(text.encode()[-8:], "big") % 2**31


def main(arguments: list[str] | None = None) -> int:
    """Write all pages to standard output."""
    parser = argparse.ArgumentParser(prog="bench.cluster_objects", description=__doc__)
    parser.add_argument("--pods", type=int, default=150_000)
    parser.add_argument("--nodes", type=int, default=5_000)
    parser.add_argument("--changed", type=float, default=0.0, help="share of the pods that has changed since")
    parser.add_argument("--only", default="", help="this resource alone")
    options = parser.parse_args(arguments)
    for page in pages(Size(options.pods, options.nodes), options.changed, options.only):
        sys.stdout.buffer.write(page)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
