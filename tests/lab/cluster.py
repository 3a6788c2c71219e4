"""A cluster in a laboratory: objects and hosts that a test sets up, frozen into snapshots, diagnosed as a bundle.

    lab = Lab()
    lab.node("n1", zone="eu-1a")
    lab.disk("db/data-pg-0", "pv-1", zone="eu-1a", attached_to="n1")
    lab.pod("db/pg-0", node="n1", owner=("StatefulSet", "pg"), claims={"data": "data-pg-0"})
    lab.host("n1").mount_csi("db/pg-0", "pv-1")
    lab.tick(60)
    assert lab.codes() == {}

What it makes has the shape of what `kubectl get -o json` prints of a 1.36 API server, and goes through the loader of
evidence bundles: a signature under test sees what it would see of a real cluster. All times that a test gives are
seconds relative to the lab's now, negative ones ago.
"""

from __future__ import annotations

import json
import os
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from agent.hosts.bundle import open_bundle
from aggregator.model import Finding
from aggregator.signatures.thresholds import Thresholds
from aggregator.view import ClusterView
from cli.diagnose import diagnose, join
from cli.report import Report
from tests.lab.host import LabHost
from tests.lab.nodes import LEASE_S, NodeFields, csinode, lease, node
from tests.lab.pods import PodFields, pod
from tests.lab.shapes import DAY, KINDS, Json, made, merge, metadata, stamp
from tests.lab.storage import (
    EBS,
    AttachmentFields,
    ClaimFields,
    VolumeFields,
    attachment,
    attachment_name,
    claim,
    storage_class,
    unique_name,
    volume,
)
from tests.lab.store import Store
from tests.lab.workloads import BudgetFields, EventFields, WorkloadFields, budget, event, quota, workload

NOW = 1_790_000_000.0
"""When the lab's time begins, seconds since the epoch."""

_ALWAYS_LISTED = (
    "Node",
    "Pod",
    "Event",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "StorageClass",
    "VolumeAttachment",
    "CSINode",
    "Lease",
    "PodDisruptionBudget",
    "ResourceQuota",
    "ReplicaSet",
    "StatefulSet",
    "Deployment",
)
"""Kinds whose lists are in the bundle, empty or not; others only with something in them."""

_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""Where bundles lie while they are diagnosed; None: with other temporary files."""


class Lab:
    """The cluster now, and its snapshots so far.

    Fields of the objects are those of NodeFields, PodFields and so on; `patch` is merged deeply into the JSON, None
    taking a field away. To say an object again replaces it; after `delete` the next one of that name is a new one.
    """

    def __init__(self, name: str = "lab", *, driver: str = EBS, attach_limit: int | None = 25) -> None:
        self.name = name
        self.store = Store(NOW)
        self.hosts: dict[str, LabHost] = {}
        self.snapshots: list[tuple[str, float, dict[str, bytes]]] = []
        """Name, time and files of those frozen."""
        self.unlisted: set[str] = set()
        """Resources whose list is not in the bundle ("pods"), as where it is denied."""
        self.files: dict[str, bytes] = {}
        """Other files of a snapshot, as they are, by path ("kube/apiserver.metrics"); they go over generated ones."""
        self._driver = (driver, attach_limit)
        self._nodes: dict[str, NodeFields] = {}
        self._pods: dict[str, PodFields] = {}
        self._leases: dict[str, float] = {}
        """By key: how long ago its holder renews it, again and again."""
        for component in ("kube-scheduler", "kube-controller-manager"):
            self.lease(f"kube-system/{component}", f"cp-0_{component}", renewed=-1.0)

    @property
    def now(self) -> float:
        """Seconds since the epoch."""
        return self.store.now

    # -- objects ---------------------------------------------------------------------------------------------------

    def node(self, name: str, *, patch: Mapping[str, Any] | None = None, **fields: Any) -> Json:
        """A Node (see NodeFields) with its CSINode and its lease."""
        wanted = self._nodes[name] = NodeFields(**fields)
        uid = self.store.uid("Node", name)
        found = self.store.put("Node", name, node(name, wanted, uid, self.now), patch)
        if name not in self.store.objects["CSINode"]:
            self.csinode(name, dict([self._driver]))
        self.lease(
            f"kube-node-lease/{name}",
            name,
            renewed=wanted.ready_since - 50 if wanted.ready == "Unknown" else -4.0,
            renews=wanted.ready != "Unknown",
        )
        return found

    def lose_node(self, name: str, since: float = -600.0) -> None:
        """Its kubelet fell silent, and its host with it: Ready Unknown, tainted, lease not renewed."""
        patch = {"metadata": {"creationTimestamp": self.store.get("Node", name)["metadata"]["creationTimestamp"]}}
        self.node(name, patch=patch, **vars(replace(self._nodes[name], ready="Unknown", ready_since=since)))
        if name in self.hosts:
            self.hosts[name].silent = True

    def csinode(self, name: str, drivers: Mapping[str, int | None]) -> Json:
        """Which CSI drivers are registered on a node, with their limits of volumes (None: none said)."""
        uids = self.store.uid("CSINode", name), self.store.uid("Node", name)
        return self.store.put("CSINode", name, csinode(name, drivers, *uids, self.now - 30 * DAY))

    def lease(
        self,
        key: str,
        holder: str,
        *,
        renewed: float = -4.0,
        renews: bool = True,
        seconds: int = LEASE_S,
        transitions: int = 1,
    ) -> Json:
        """A Lease; `renews`: its holder goes on renewing it, so it is always as fresh as that."""
        self._leases.pop(key, None)
        if renews:
            self._leases[key] = renewed
        uid = self.store.uid("Lease", key)
        times = self.now - 30 * DAY, self.now + renewed
        return self.store.put("Lease", key, lease(key, holder, uid, *times, seconds=seconds, transitions=transitions))

    def pod(self, key: str, *, patch: Mapping[str, Any] | None = None, **fields: Any) -> Json:
        """A Pod (see PodFields); what the scheduler says of it is an Event too."""
        wanted = self._pods[key] = PodFields(**fields)
        uid = self.store.uid("Pod", key)
        host = self.store.objects["Node"].get(wanted.node or "", {})
        address = host["status"]["addresses"][0]["address"] if host else "10.0.0.254"
        found = self.store.put("Pod", key, pod(key, wanted, uid, address, self.now), patch)
        if wanted.scheduler_says and not wanted.gates:
            waited = wanted.pending_since if wanted.pending_since is not None else wanted.created
            times = {"first": waited, "last": max(waited, -20.0), "count": max(1, int(-waited / 300))}
            self.event("Pod", key, "FailedScheduling", wanted.scheduler_says, component=wanted.scheduler, **times)
        return found

    def change_pod(self, key: str, **fields: Any) -> Json:
        """The same pod with some of its PodFields changed; its age stays."""
        born = self.store.get("Pod", key)["metadata"]["creationTimestamp"]
        wanted = vars(replace(self._pods[key], **fields))
        return self.pod(key, patch={"metadata": {"creationTimestamp": born}}, **wanted)

    def claim(self, key: str, *, patch: Mapping[str, Any] | None = None, **fields: Any) -> Json:
        """A PersistentVolumeClaim (see ClaimFields)."""
        uid = self.store.uid("PersistentVolumeClaim", key)
        made_ = claim(key, ClaimFields(**fields), uid, self.now)
        return self.store.put("PersistentVolumeClaim", key, made_, patch)

    def volume(self, name: str, *, patch: Mapping[str, Any] | None = None, **fields: Any) -> Json:
        """A PersistentVolume (see VolumeFields)."""
        uid = self.store.uid("PersistentVolume", name)
        fields.setdefault("driver", self._driver[0])
        return self.store.put("PersistentVolume", name, volume(name, VolumeFields(**fields), uid, self.now), patch)

    def disk(self, claim_key: str, volume_name: str, *, attached_to: str = "", **fields: Any) -> None:
        """A claim bound to a volume (see VolumeFields), and its VolumeAttachment where a node has it."""
        shared = {name: fields[name] for name in ("storage_class", "size", "modes", "block") if name in fields}
        self.claim(claim_key, volume=volume_name, **shared)
        self.volume(volume_name, claim=claim_key, **fields)
        if attached_to:
            self.attachment(volume_name, attached_to)

    def storage_class(self, name: str, *, created: float = -30 * DAY, **fields: Any) -> Json:
        """A StorageClass (see tests.lab.storage.storage_class)."""
        uid = self.store.uid("StorageClass", name)
        fields.setdefault("driver", self._driver[0])
        return self.store.put("StorageClass", name, storage_class(name, uid, self.now + created, **fields))

    def attachment(
        self, volume_name: str, node_name: str, *, patch: Mapping[str, Any] | None = None, **fields: Any
    ) -> Json:
        """A VolumeAttachment (see AttachmentFields) of a CSI volume."""
        pv = self.store.get("PersistentVolume", volume_name)
        name = self.attachment_name(volume_name, node_name)
        uid = self.store.uid("VolumeAttachment", name)
        made_ = attachment(pv, node_name, AttachmentFields(**fields), uid, self.now)
        return self.store.put("VolumeAttachment", name, made_, patch)

    def attachment_name(self, volume_name: str, node_name: str) -> str:
        """Name of a VolumeAttachment."""
        csi = self.store.get("PersistentVolume", volume_name)["spec"]["csi"]
        return attachment_name(csi["volumeHandle"], csi["driver"], node_name)

    def detached(self, volume_name: str, node_name: str) -> None:
        """The VolumeAttachment is gone."""
        self.delete(f"VolumeAttachment/{self.attachment_name(volume_name, node_name)}")

    def event(self, kind: str, key: str, reason: str, message: str, **fields: Any) -> Json:
        """An Event about an object (see EventFields)."""
        wanted = EventFields(**fields)
        if kind == "Pod" and not wanted.host and key in self._pods:
            wanted = replace(wanted, host=self._pods[key].node or "")
        made_ = event((kind, key, self.store.uid(kind, key)), reason, message, wanted, self.now)
        return self.store.put("Event", f"{made_['metadata']['namespace']}/{made_['metadata']['name']}", made_)

    def workload(self, kind: str, key: str, *, patch: Mapping[str, Any] | None = None, **fields: Any) -> Json:
        """A ReplicaSet, StatefulSet, Deployment, DaemonSet or Job (see WorkloadFields)."""
        made_ = workload(kind, key, WorkloadFields(**fields), self.store.uid(kind, key), self.now)
        return self.store.put(kind, key, made_, patch)

    def replicaset(self, key: str, **fields: Any) -> Json:
        """See WorkloadFields."""
        return self.workload("ReplicaSet", key, **fields)

    def statefulset(self, key: str, **fields: Any) -> Json:
        """See WorkloadFields."""
        return self.workload("StatefulSet", key, **fields)

    def deployment(self, key: str, **fields: Any) -> Json:
        """See WorkloadFields."""
        return self.workload("Deployment", key, **fields)

    def quota(self, key: str, hard: Mapping[str, str], used: Mapping[str, str]) -> Json:
        """A ResourceQuota."""
        made_ = quota(key, hard, used, self.store.uid("ResourceQuota", key), self.now - 10 * DAY)
        return self.store.put("ResourceQuota", key, made_)

    def budget(self, key: str, *, patch: Mapping[str, Any] | None = None, **fields: Any) -> Json:
        """A PodDisruptionBudget (see BudgetFields)."""
        uid = self.store.uid("PodDisruptionBudget", key)
        made_ = budget(key, BudgetFields(**fields), uid, self.now - 10 * DAY)
        return self.store.put("PodDisruptionBudget", key, made_, patch)

    def raw(self, kind: str, key: str, *, created: float = -DAY, **parts: Any) -> Json:
        """Any other kind: its spec and status as they are."""
        uid = self.store.uid(kind, key)
        return self.store.put(kind, key, made(kind, metadata(key, uid, self.now + created), **parts))

    def change(self, reference: str, patch: Mapping[str, Any]) -> Json:
        """Merge into an object's JSON: change("Pod/db/pg-0", {"status": {"phase": "Failed"}})."""
        return self.store.change(reference, patch)

    def delete(self, reference: str) -> None:
        """An object is gone: delete("Pod/db/pg-0")."""
        self.store.delete(reference)
        kind, _, key = reference.partition("/")
        if kind == "Node":
            for other in (f"CSINode/{key}", f"Lease/kube-node-lease/{key}"):
                self.store.delete(other)
            self._leases.pop(f"kube-node-lease/{key}", None)

    # -- hosts -----------------------------------------------------------------------------------------------------

    def host(self, name: str, *, thorough: bool = False) -> LabHost:
        """The host of a node, made at the first call; without it there is no agent on that node."""
        if name not in self.hosts:
            self.hosts[name] = LabHost(name, self.store, thorough)
        return self.hosts[name]

    # -- time, and what is said of it ------------------------------------------------------------------------------

    def tick(self, seconds: float = 60.0) -> None:
        """Freeze a snapshot of everything, then let time pass."""
        self.snapshots.append(self._present())
        self.store.now += seconds
        for host in self.hosts.values():
            host.pass_time(seconds)

    def diagnose(self, thresholds: Thresholds | None = None) -> Report:
        """Of all snapshots so far and the present."""
        with tempfile.TemporaryDirectory(dir=_MEMORY) as folder:
            self.write(Path(folder), readable=False)
            return _report(Path(folder), thresholds)

    def view(self) -> ClusterView:
        """What a signature looks at, of all snapshots so far and the present; for tests of parts of one."""
        with tempfile.TemporaryDirectory(dir=_MEMORY) as folder:
            self.write(Path(folder), readable=False)
            with open_bundle(Path(folder)) as bundle:
                return join(bundle).view

    def findings(self, thresholds: Thresholds | None = None) -> list[Finding]:
        """Of all snapshots so far and the present, in the report's order."""
        return [record.finding for record in self.diagnose(thresholds).records]

    def codes(self, thresholds: Thresholds | None = None) -> dict[str, Finding]:
        """The first finding of each code, of all snapshots so far and the present."""
        return first_of_each(self.findings(thresholds))

    def codes_at_each_snapshot(self) -> list[dict[str, Finding]]:
        """What was found when the last snapshot was each one in its turn, the present at the end."""
        told = []
        with tempfile.TemporaryDirectory(dir=_MEMORY) as folder:
            self.write(Path(folder), readable=False)
            manifest = json.loads(Path(folder, "bundle.json").read_text())
            for until in range(len(manifest["snapshots"])):
                shown = {**manifest, "snapshots": manifest["snapshots"][: until + 1]}
                Path(folder, "bundle.json").write_text(json.dumps(shown))
                told.append(first_of_each([record.finding for record in _report(Path(folder)).records]))
        return told

    def write(self, path: Path, *, readable: bool = True) -> None:
        """A bundle: a directory, or an archive if the name ends in .tar.gz. `readable`: indented, as kubectl does."""
        if path.name.endswith(".tar.gz"):
            with tempfile.TemporaryDirectory() as folder:
                self.write(Path(folder), readable=readable)
                with tarfile.open(path, "w:gz") as archive:
                    archive.add(folder, arcname=path.name.removesuffix(".tar.gz"))
            return
        shown = [*self.snapshots, self._present()]
        manifest = {
            "format": 1,
            "cluster": self.name,
            "snapshots": [{"name": name, "at": stamp(at, micro=at != int(at))} for name, at, _ in shown],
        }
        path.mkdir(parents=True, exist_ok=True)
        (path / "bundle.json").write_text(json.dumps(manifest, indent=2) + "\n")
        for name, _, files in shown:
            for place, content in files.items():
                target = path / name / place
                if place.endswith("/"):
                    target.mkdir(parents=True, exist_ok=True)
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                indent = readable and place.startswith("kube/") and place.endswith(".json") and place not in self.files
                target.write_bytes(json.dumps(json.loads(content), indent=4).encode() + b"\n" if indent else content)

    # -- freezing --------------------------------------------------------------------------------------------------

    def _present(self) -> tuple[str, float, dict[str, bytes]]:
        files: dict[str, bytes] = {}
        for kind, (resource, _) in KINDS.items():
            if resource in self.unlisted:
                continue
            items = [self._as_listed(kind, item) for item in self.store.all(kind)]
            if items or kind in _ALWAYS_LISTED:
                listed = {"apiVersion": "v1", "items": items, "kind": "List", "metadata": {"resourceVersion": ""}}
                files[f"kube/{resource}.json"] = json.dumps(listed).encode()
        for name, host in self.hosts.items():
            if not host.silent:
                files |= {f"nodes/{name}/{path}": content for path, content in host.frozen().items()}
        return f"t{len(self.snapshots)}", self.now, files | self.files

    def _as_listed(self, kind: str, item: Json) -> Json:
        """What goes on by itself: heartbeats, leases, and the volumes that a node's status names."""
        if kind == "Lease":
            key = f"{item['metadata']['namespace']}/{item['metadata']['name']}"
            if key in self._leases:
                item["spec"]["renewTime"] = stamp(self.now + self._leases[key], micro=True)
        elif kind == "Node":
            wanted = self._nodes[item["metadata"]["name"]]
            for condition in item["status"]["conditions"] if wanted.ready != "Unknown" else ():
                condition["lastHeartbeatTime"] = stamp(self.now - 14)
            merge(item, {"status": self._volumes_of(item["metadata"]["name"], wanted)})
        return item

    def _volumes_of(self, name: str, wanted: NodeFields) -> Json:
        volumes, store = self.store.objects["PersistentVolume"], self.store.objects
        attached = wanted.attached
        if attached is None:
            attached = [
                each["spec"]["source"]["persistentVolumeName"]
                for each in store["VolumeAttachment"].values()
                if each["spec"]["nodeName"] == name and each["status"]["attached"]
            ]
        in_use = wanted.in_use
        if in_use is None:
            in_use = self._of_pods(name) + self._staged(name)
        unique = {pv: unique_name(volumes[pv]) for pv in {*attached, *in_use} if pv in volumes}
        found: Json = {}
        if names := sorted({unique[pv] for pv in in_use if unique.get(pv)}):
            found["volumesInUse"] = names
        if names := sorted({unique[pv] for pv in attached if unique.get(pv)}):
            found["volumesAttached"] = [{"name": each, "devicePath": ""} for each in names]
        return found

    def _of_pods(self, node_name: str) -> list[str]:
        """Volumes of the pods that are bound to a node and have not ended."""
        found = []
        for key, each in self.store.objects["Pod"].items():
            if each["spec"].get("nodeName") == node_name and each["status"]["phase"] in ("Pending", "Running"):
                for part in each["spec"]["volumes"]:
                    name = part.get("persistentVolumeClaim", {}).get("claimName", "")
                    claimed = self.store.objects["PersistentVolumeClaim"].get(f"{key.partition('/')[0]}/{name}", {})
                    found.append(claimed.get("spec", {}).get("volumeName", ""))
        return found

    def _staged(self, node_name: str) -> list[str]:
        """Volumes whose disk is mounted on a host."""
        host = self.hosts.get(node_name)
        if host is None:
            return []
        points = [mount.point for mount in host.mounts]
        return [name for name in self.store.objects["PersistentVolume"] if any(f"/{name}/" in each for each in points)]


def _report(folder: Path, thresholds: Thresholds | None = None) -> Report:
    """A signature that failed found nothing: no test may take that for health."""
    with open_bundle(folder) as bundle:
        report = diagnose(bundle, thresholds)
    failed = [gap.because for gap in report.gaps if gap.signal.startswith("diagnosis/")]
    assert not failed, failed
    return report


def first_of_each(findings: Sequence[Finding]) -> dict[str, Finding]:
    """By code, the first of each."""
    found: dict[str, Finding] = {}
    for finding in findings:
        found.setdefault(finding.code, finding)
    return found
