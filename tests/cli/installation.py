"""An installation that is well, as the API server and the aggregator tell of it: the manifests, and what runs."""

from __future__ import annotations

import copy
import datetime
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding

from cli.authority import Role, issue, new_authority
from cli.doctor.calls import calls
from cli.doctor.model import Aggregator, Known, Object, Objects, Reading
from cli.install.objects import Choice, chosen

NOW = datetime.datetime(2026, 11, 20, 12, 0, tzinfo=datetime.UTC)
NAMESPACE = "nodetell"
AUTHORITY = new_authority("test", 3650, NOW)
NAMES = ("nodetell-aggregator", "nodetell-aggregator.nodetell", "nodetell-aggregator.nodetell.svc")
CERTIFICATE = issue(AUTHORITY, Role.AGGREGATOR, "aggregator", NAMES, days=365, now=NOW)
DER = CERTIFICATE.certificate.public_bytes(Encoding.DER)
NODES = ("node-a", "node-b", "node-c")
_PLURALS = {
    "Namespace": "namespaces",
    "DaemonSet": "daemonsets",
    "Deployment": "deployments",
    "Service": "services",
    "ServiceAccount": "serviceaccounts",
    "PersistentVolumeClaim": "persistentvolumeclaims",
    "NetworkPolicy": "networkpolicies",
    "ClusterRole": "clusterroles",
    "ClusterRoleBinding": "clusterrolebindings",
    "Role": "roles",
    "RoleBinding": "rolebindings",
}


def node(name: str, **labels: str) -> Object:
    """A node for Linux that is ready."""
    return {"metadata": {"name": name, "labels": {"kubernetes.io/os": "linux"} | labels}, "spec": {}, "status": {}}


def pod(workload: Object, name: str, at_node: str) -> Object:
    """A pod of a workload, running and ready."""
    template = workload["spec"]["template"]
    container = template["spec"]["containers"][0]["name"]
    state = {"name": container, "ready": True, "state": {"running": {}}, "image": "nodetell:1.0"}
    return {
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": template["metadata"]["labels"]},
        "spec": {**template["spec"], "nodeName": at_node},
        "status": {"phase": "Running", "containerStatuses": [state]},
    }


def lists(tier: int = 1, version: str = "1.0") -> dict[str, Objects]:
    """What the API server has."""
    found: dict[str, list[Object]] = {plural: [] for plural in _PLURALS.values() if not plural.startswith("role")}
    for item in chosen(Choice(tier=tier), version):
        if (plural := _PLURALS.get(item["kind"])) is not None:
            where = f"/{item['metadata']['namespace']}" if plural.startswith("role") else ""
            found.setdefault(plural + where, []).append(copy.deepcopy(item))
    (daemons,), (deployment,) = found["daemonsets"], found["deployments"]
    daemons["status"] = {"desiredNumberScheduled": len(NODES), "numberReady": len(NODES)}
    found["nodes"] = [node(name) for name in NODES]
    found["pods"] = [pod(daemons, f"nodetell-agent-{name}", name) for name in NODES]
    found["pods"].append(pod(deployment, "nodetell-aggregator-7d-x", "node-a"))
    for claim in found["persistentvolumeclaims"]:
        claim["status"] = {"phase": "Bound"}
    pem = AUTHORITY.certificate_pem().decode()
    found["configmaps"] = [{"metadata": {"name": "nodetell-ca"}, "data": {"ca.crt": pem}}]
    found["secrets"] = [{"metadata": {"name": "nodetell-aggregator-tls"}}]
    found["events"] = []
    return {plural: tuple(items) for plural, items in found.items()}


def reading(**changed: Any) -> Reading:
    """All of it."""
    known = tuple(Known(name, version="1.0", heard_at=NOW.timestamp(), offset_s=0.01, bound_s=0.02) for name in NODES)
    given: dict[str, Any] = {
        "lists": lists(),
        "rights": dict.fromkeys(calls(), True),
        "server_ahead": (0.2, 0.5),
        "aggregator": Aggregator("1.0", known),
        "certificate": DER,
    }
    return Reading(NAMESPACE, NOW.timestamp(), "1.0", **(given | changed))
