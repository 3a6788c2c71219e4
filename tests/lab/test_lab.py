"""The lab itself: what it makes has the shape of the real thing, is quick, and says what a test meant to say."""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from agent.hosts.bundle import open_bundle
from aggregator.cluster.decode import Decoder
from aggregator.cluster.lists import load
from aggregator.cluster.objects import Owner
from aggregator.cluster.state import RESOURCES, ClusterState
from cli.diagnose import diagnose
from tests.lab.cluster import Lab
from tests.lab.pods import ContainerFields
from tests.lab.shapes import KINDS, Json

_SHARED = os.environ.get("NODETELL_SHARED", "")
REAL = sorted(Path(_SHARED, "scenarios").glob("*/t*/kube/*.json")) if _SHARED else []


def busy_lab() -> Lab:
    """One of everything."""
    lab = Lab("busy")
    lab.node("n1", zone="eu-1a", pool="blue")
    lab.node("n2", zone="eu-1b", taints=["dedicated=db:NoSchedule"], ready="Unknown", ready_since=-600, cordoned=True)
    lab.storage_class("gp3", default=True, zones=["eu-1a", "eu-1b"])
    lab.disk("db/data-pg-0", "pv-1", zone="eu-1a", attached_to="n1")
    lab.attachment("pv-1", "n2", deleted=-540, detach_error="rpc error: code = Internal desc = still in use")
    lab.statefulset("db/pg", replicas=2, ready=1, storage_class="gp3")
    lab.pod("db/pg-0", node="n1", owner=("StatefulSet", "pg"), claims={"data": "data-pg-0"})
    lab.pod(
        "db/pg-1",
        owner=("StatefulSet", "pg"),
        pending_since=-1200,
        scheduler_says="0/2 nodes are available: 2 Insufficient cpu.",
        init_containers=[ContainerFields(name="sidecar", requests={"cpu": "1"}, restartable=True)],
        anti_affinity=[("app=pg", "kubernetes.io/hostname")],
        affinity={"topology.kubernetes.io/zone": ["eu-1a"]},
        tolerations=["dedicated=db:NoSchedule"],
    )
    lab.pod("db/late", node="n2", pending_since=-300, deleted=-60, claims={"data": "data-pg-0"})
    lab.pod("db/done", node="n1", phase="Succeeded", owner=("Job", "load"))
    lab.pod("db/crash", node="n1", waiting=("CrashLoopBackOff", "back-off 5m0s"), restarts=7, last_exit=("Error", 1))
    lab.event("Pod", "db/late", "FailedAttachVolume", "Multi-Attach error for volume", count=5)
    lab.deployment("shop/api", replicas=3, ready=2)
    lab.replicaset("shop/api-5d76bfc5f4", replicas=3, ready=2, owner=("Deployment", "api"))
    lab.workload("DaemonSet", "kube-system/cni", replicas=2)
    lab.workload("Job", "db/load", replicas=1, made=0)
    lab.quota("shop/team", {"requests.cpu": "4", "pods": "10"}, {"requests.cpu": "4", "pods": "8"})
    lab.budget("db/pg", selector="app=pg", min_available=2)
    host = lab.host("n1", thorough=True)
    host.mount_csi("db/pg-0", "pv-1")
    host.attach("nvme9n1", serial="vol0dead", size="8Gi")
    host.kernel("EXT4-fs error (device nvme1n1): ext4_journal_check_start:83: comm postgres: Detected aborted journal")
    return lab


def listed(lab: Lab, resource: str) -> list[Json]:
    """Items of a list as it would be frozen now."""
    lab.tick(0)
    items: list[Json] = json.loads(lab.snapshots[-1][2][f"kube/{resource}.json"])["items"]
    return items


def test_a_bundle_is_read_whole_and_quickly() -> None:
    lab = busy_lab()
    lab.diagnose()  # what is imported lazily is imported
    lab.tick(60)
    before = time.process_time()
    report = lab.diagnose()
    assert time.process_time() - before < 1.0  # 0.05 on an idle machine
    assert [gap for gap in report.gaps if gap.status == "damaged"] == []
    assert report.at == lab.now


def test_the_same_lab_from_a_directory_and_an_archive(tmp_path: Path) -> None:
    lab = busy_lab()
    lab.tick(60)
    lab.write(tmp_path / "there")
    lab.write(tmp_path / "there.tar.gz")
    for path in (tmp_path / "there", tmp_path / "there.tar.gz"):
        with open_bundle(path) as bundle:
            assert bundle.cluster == "busy"
            assert not bundle.problems
            assert [snapshot.name for snapshot in bundle.snapshots] == ["t0", "t1"]
            assert diagnose(bundle).records == lab.diagnose().records


def decoded(lab: Lab) -> ClusterState:
    """What the diagnosis keeps of the objects."""
    state, decoder = ClusterState(), Decoder()
    lab.tick(0)
    for path, content in lab.snapshots[-1][2].items():
        resource = path.removeprefix("kube/").removesuffix(".json")
        if resource in RESOURCES:
            assert load(state, resource, content, decoder) == []
    return state


def test_objects_say_what_the_test_meant() -> None:
    lab = busy_lab()
    state = decoded(lab)
    node, lost = state.nodes["n1"], state.nodes["n2"]
    assert (node.allocatable["cpu"], node.allocatable["memory"], node.ready) == (4000, 16 << 30, "True")
    assert (lost.ready, lost.unschedulable) == ("Unknown", True)
    assert {str(taint) for taint in lost.taints} >= {
        "dedicated=db:NoSchedule",
        "node.kubernetes.io/unreachable:NoExecute",
        "node.kubernetes.io/unschedulable:NoSchedule",
    }
    waiting = state.pods["db/pg-1"]
    assert (waiting.node, waiting.phase, waiting.created) == ("", "Pending", lab.now - 1200)
    assert waiting.spec.requests["cpu"] == 1100  # the sidecar's with its own
    assert waiting.spec.node_terms
    assert waiting.spec.pod_anti_affinity[0].topology_key == "kubernetes.io/hostname"
    assert waiting.owner == Owner("StatefulSet", "pg", lab.store.get("StatefulSet", "db/pg")["metadata"]["uid"])
    assert state.pods["db/done"].terminal
    assert state.pods["db/crash"].containers[0].restarts == 7
    assert state.pods["db/late"].claims[0].claim == "data-pg-0"
    claim, volume = state.claims["db/data-pg-0"], state.volumes["pv-1"]
    assert (claim.volume, claim.phase, volume.claim, volume.claim_uid) == ("pv-1", "Bound", "db/data-pg-0", claim.uid)
    leaving = state.attachments[lab.attachment_name("pv-1", "n2")]
    assert (leaving.attached, leaving.deleted, leaving.node) == (True, lab.now - 540, "n2")
    assert leaving.detach_error is not None
    assert leaving.detach_error.at == lab.now - 70
    assert state.csi_nodes["n1"].drivers[0].limit == 25
    events = {event.reason: event for event in state.events.values()}
    assert events["FailedScheduling"].count == 4
    assert events["FailedScheduling"].last == lab.now - 20
    assert (events["FailedAttachVolume"].count, events["FailedAttachVolume"].last) == (5, lab.now - 30)


def test_time_passes_for_whoever_is_alive() -> None:
    lab = busy_lab()
    first = {each["metadata"]["name"]: each["spec"]["renewTime"] for each in listed(lab, "leases")}
    lab.tick(60)
    second = {each["metadata"]["name"]: each["spec"]["renewTime"] for each in listed(lab, "leases")}
    assert {name for name in first if first[name] != second[name]} == {
        "n1",
        "kube-scheduler",
        "kube-controller-manager",
    }


def test_a_host_is_busy_as_it_is_told() -> None:
    lab = Lab()
    lab.node("n1", cpu="8", memory="32Gi")
    lab.host("n1").usage(cpu=0.25, memory=0.6)
    lab.tick(60)
    before, after = (files(lab, "proc/stat").split() for files in (_frozen_before, _frozen_now))
    spent = [int(b) - int(a) for a, b in zip(before[1:5], after[1:5], strict=True)]
    assert sum(spent) == pytest.approx(8 * 60 * 100, abs=2)
    assert spent[3] / sum(spent) == pytest.approx(0.75, abs=0.001)


def _frozen_before(lab: Lab, path: str) -> str:
    return lab.snapshots[-1][2][f"nodes/n1/{path}"].decode()


def _frozen_now(lab: Lab, path: str) -> str:
    return lab.hosts["n1"].frozen()[path].decode()


def test_node_status_follows_attachments_and_pods() -> None:
    lab = Lab()
    lab.node("n1")
    lab.disk("db/data", "pv-1", handle="vol-0abc", attached_to="n1")
    lab.pod("db/pg", node="n1", claims={"data": "data"})
    (node,) = listed(lab, "nodes")
    name = "kubernetes.io/csi/ebs.csi.aws.com^vol-0abc"
    assert node["status"]["volumesAttached"] == [{"name": name, "devicePath": ""}]
    assert node["status"]["volumesInUse"] == [name]
    lab.delete("Pod/db/pg")
    lab.detached("pv-1", "n1")
    (node,) = listed(lab, "nodes")
    assert "volumesInUse" not in node["status"]
    assert "volumesAttached" not in node["status"]


def test_a_name_used_again_after_a_deletion_is_another_object() -> None:
    lab = Lab()
    first = lab.pod("db/pg-0")["metadata"]["uid"]
    assert lab.pod("db/pg-0", node="n1")["metadata"]["uid"] == first
    lab.delete("Pod/db/pg-0")
    assert lab.pod("db/pg-0")["metadata"]["uid"] != first


def test_a_patch_goes_deep_and_none_takes_away() -> None:
    lab = Lab()
    pod = lab.pod("a/b", patch={"spec": {"schedulerName": None, "hostPID": True}})
    assert "schedulerName" not in pod["spec"]
    assert pod["spec"]["hostPID"] is True
    assert pod["spec"]["containers"]


def test_unlisted_resources_are_in_no_snapshot() -> None:
    lab = busy_lab()
    lab.unlisted.add("pods")
    lab.tick(60)
    assert "kube/pods.json" not in lab.snapshots[0][2]


def test_a_misspelt_field_is_refused() -> None:
    with pytest.raises(TypeError, match="pending_sinse"):
        Lab().pod("a/b", pending_sinse=-3)


@pytest.mark.skipif(not REAL, reason="NODETELL_SHARED names no directory with scenarios")
def test_the_shape_is_that_of_real_objects() -> None:
    """Each field that the lab writes some real object of that kind has, and what all real ones have the lab's have."""
    some: dict[str, set[str]] = {}
    every: dict[str, set[str]] = {}
    for path in REAL:
        with contextlib.suppress(ValueError):  # a damaged one is among them
            for item in json.loads(path.read_text())["items"]:
                fields = _paths(item)
                some.setdefault(item["kind"], set()).update(fields)
                every[item["kind"]] = every.get(item["kind"], fields) & fields
    lab = busy_lab()
    lab.tick(0)
    odd, lacking = set(), set()
    for kind, (resource, _) in KINDS.items():
        if kind in some and f"kube/{resource}.json" in lab.snapshots[0][2]:
            for item in json.loads(lab.snapshots[0][2][f"kube/{resource}.json"])["items"]:
                odd |= {f"{kind}{path}" for path in _paths(item) - some[kind]}
                lacking |= {f"{kind}{path}" for path in every[kind] - _paths(item)}
    assert {path for path in odd if not path.startswith(_NOT_AMONG_THE_RECORDED)} == set()
    assert lacking == set()


_NOT_AMONG_THE_RECORDED = (
    "Node.spec.taints[].value",
    "Node.spec.unschedulable",
    "Pod.spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[].matchExpression",
    "Pod.spec.affinity.podAntiAffinity",
    "Pod.spec.initContainers",
    "Pod.spec.tolerations[].value",
    "Pod.status.containerStatuses[].state.terminated",
    "StatefulSet.status.readyReplicas",
    "StorageClass.allowedTopologies",
    "VolumeAttachment.metadata.annotations",
)
"""Fields of Kubernetes 1.36 (its API reference; the annotation is the external attacher's) that no scenario shows."""

_OPEN = {"labels", "annotations", "matchLabels", "requests", "limits", "hard", "used", "capacity", "allocatable"}
"""Mappings whose keys are the user's."""


def _paths(value: Any, at: str = "") -> set[str]:
    if isinstance(value, list):
        return {path for each in value for path in _paths(each, f"{at}[]")}
    if isinstance(value, dict):
        found = set()
        for name, each in value.items():
            found |= {f"{at}.{name}"} if at.rpartition(".")[2] not in _OPEN else {at}
            found |= _paths(each, f"{at}.{name}") if at.rpartition(".")[2] not in _OPEN else set()
        return found
    return set()
