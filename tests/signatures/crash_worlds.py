"""Clusters with containers that end again and again, or do not start."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.lab.cluster import Lab
from tests.lab.shapes import Json, stamp

POD = "shop/web-5d4f7c9b8-abcde"
OWNER = ("ReplicaSet", "web-5d4f7c9b8")


@dataclass(frozen=True)
class End:
    """How the last run of a container ended."""

    code: int = 1
    message: str = ""
    reason: str = "Error"
    alive: float = 9.0
    """Seconds it lived."""
    ago: float = 60.0
    restarts: int = 7
    signal: int = 0


def cluster(nodes: int = 2) -> Lab:
    lab = Lab("crash")
    for number in range(1, nodes + 1):
        lab.node(f"n{number}")
        lab.host(f"n{number}")
    lab.deployment("shop/web")
    lab.replicaset("shop/web-5d4f7c9b8", owner=("Deployment", "web"))
    return lab


def crashes(
    lab: Lab, end: End, key: str = POD, node: str = "n1", *, backing_off: bool = True, name: str = "app", **fields: Any
) -> None:
    """A pod whose container ended so, again and again."""
    fields.setdefault("owner", OWNER)
    finished = lab.now - end.ago
    terminated = {
        "containerID": "containerd://0f",
        "exitCode": end.code,
        "reason": end.reason,
        "startedAt": stamp(finished - end.alive),
        "finishedAt": stamp(finished),
        **({"message": end.message} if end.message else {}),
        **({"signal": end.signal} if end.signal else {}),
    }
    waiting = {"reason": "CrashLoopBackOff", "message": "back-off 5m0s restarting failed container=app"}
    state = {"waiting": waiting} if backing_off else {"running": {"startedAt": stamp(lab.now - end.ago + 20)}}
    status = {
        "name": "app",
        "image": "registry.example.com/app:1",
        "imageID": "",
        "ready": False,
        "started": False,
        "restartCount": end.restarts,
        "state": state,
        "lastState": {"terminated": terminated},
    }
    place = "initContainerStatuses" if fields.get("init_containers") else "containerStatuses"
    patch = {"status": {place: [status | {"name": name}]}} | fields.pop("patch", {})
    lab.pod(key, node=node, ready=False, patch=patch, **fields)
    lab.event("Pod", key, "BackOff", "Back-off restarting failed container app in pod", first=-1200, last=-10, count=31)


def waits(lab: Lab, reason: str, message: str = "", *, since: float = -900, key: str = POD, **fields: Any) -> None:
    """A pod whose container waits for this reason."""
    fields.setdefault("owner", OWNER)
    lab.pod(key, node="n1", pending_since=since, waiting=(reason, message) if message else reason, **fields)


def runs(lab: Lab, key: str = POD) -> None:
    lab.delete(f"Pod/{key}")
    lab.pod(key, node="n1", owner=OWNER, created=-3000)


def pull(why: str) -> str:
    return f'Back-off pulling image "registry.example.com/app:1": ErrImagePull: {why}'


def probe_kills(lab: Lab, end: End) -> None:
    crashes(lab, end)
    timing = {"first": -1100.0, "last": -65.0, "count": 9}
    failed = "Liveness probe failed: Get http://10.244.0.7:8080/healthz: context deadline exceeded"
    lab.event("Pod", POD, "Unhealthy", failed, **timing)
    lab.event("Pod", POD, "Killing", "Container app failed liveness probe, will be restarted", type="Normal", **timing)


def secrets(lab: Lab, *known: tuple[str, float, float]) -> None:
    """Metadata of Secrets in namespace shop: name, and when it was made and last changed, relative to now."""
    items = [
        {
            "kind": "PartialObjectMetadata",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": {
                "name": name,
                "namespace": "shop",
                "uid": f"0-{name}",
                "resourceVersion": "17",
                "creationTimestamp": stamp(lab.now + made),
                "managedFields": [{"manager": "kubectl", "operation": "Update", "time": stamp(lab.now + changed)}],
            },
        }
        for name, made, changed in known
    ]
    listed = {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": {}, "items": items}
    lab.files["kube/secret-metadata.json"] = json.dumps(listed).encode()


def with_secret(name: str) -> Json:
    """A patch: the pod mounts this Secret."""
    return {"spec": {"volumes": [{"name": "credentials", "secret": {"secretName": name, "defaultMode": 420}}]}}


def workload(lab: Lab, name: str, end: End, **fields: Any) -> str:
    """A Deployment with one pod that crashes so; its pod's key."""
    lab.deployment(f"shop/{name}")
    lab.replicaset(f"shop/{name}-6f6f6f6f6", owner=("Deployment", name))
    key = f"shop/{name}-6f6f6f6f6-aaaaa"
    crashes(lab, end, key, owner=("ReplicaSet", f"{name}-6f6f6f6f6"), **fields)
    return key


def pulled(lab: Lab, key: str, node: str, image: str, **times: Any) -> None:
    """A pod on a node whose image has been pulled there."""
    lab.pod(key, node=node, image=image)
    lab.event("Pod", key, "Pulled", f'Successfully pulled image "{image}" in 1.2s (1.2s including waiting)', **times)


def failed_pods(lab: Lab, ends: Sequence[tuple[float, float]], job: str = "import", **patch: Any) -> list[str]:
    """Pods of a Job with restartPolicy Never that failed: when each began and ended, relative to now."""
    keys = []
    for number, (began, ended) in enumerate(ends):
        key = f"shop/{job}-{number}aaaa"
        state = {
            "exitCode": 1,
            "reason": "Error",
            "startedAt": stamp(lab.now + began),
            "finishedAt": stamp(lab.now + ended),
        }
        status: Mapping[str, Any] = {
            "name": "app",
            "image": "x",
            "imageID": "",
            "ready": False,
            "restartCount": 0,
            "lastState": {},
            "state": {"terminated": state},
        }
        lab.pod(
            key,
            node="n1",
            phase="Failed",
            owner=("Job", job),
            created=began - 1,
            patch={"spec": {"restartPolicy": "Never"}, "status": {"containerStatuses": [status]} | patch},
        )
        keys.append(key)
    return keys
