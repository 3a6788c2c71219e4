"""Clusters as other people run them: other clouds, other versions, other wordings, lists that are missing.

What must be said of each was judged from the field's own knowledge before it was run. The scheduler's incident is here,
the others are in test_red_storage.py and test_red_crash.py.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.lab.cluster import Lab
from tests.lab.pods import ContainerFields
from tests.lab.scenario import Scenario, Want, judge, of_module, scenario
from tests.lab.shapes import stamp

MINUTE = 60.0
ALL_LISTS = (
    "nodes pods events persistentvolumes persistentvolumeclaims storageclasses volumeattachments csinodes leases"
)
NO_PREEMPTION = "preemption: 0/{0} nodes are available: {0} No preemption victims found for incoming pod."


def gke(lab: Lab, name: str, pool: str, zone: str = "europe-west1-b", **fields: Any) -> None:
    """A node of a GKE node pool."""
    labels = {
        "cloud.google.com/gke-nodepool": pool,
        "node.kubernetes.io/instance-type": "e2-standard-4",
        "topology.gke.io/zone": zone,
        "failure-domain.beta.kubernetes.io/zone": zone,
        **fields.pop("labels", {}),
    }
    lab.node(name, zone=zone, region="europe-west1", labels=labels, **fields)


def waits(lab: Lab, key: str, says: str, *, minutes: float = 20, **fields: Any) -> None:
    """A pod that has no node yet."""
    lab.pod(key, pending_since=-minutes * MINUTE, scheduler_says=says, **fields)


def fill(lab: Lab, node: str, name: str = "busy", **requests: str) -> None:
    """Something that runs there."""
    lab.pod(f"apps/{name}-{node}", node=node, owner=("ReplicaSet", f"{name}-7c9"), requests=requests)


def old_events(lab: Lab) -> None:
    """As clusters of 1.20 send them: source and count, no eventTime."""
    for one in lab.store.objects["Event"].values():
        told = str(one.get("eventTime") or one.get("firstTimestamp"))
        one.update(
            source={"component": one.get("reportingComponent", "default-scheduler")},
            firstTimestamp=told[:19] + "Z",
            lastTimestamp=stamp(lab.now - 20),
            count=7,
            eventTime=None,
            reportingComponent="",
            reportingInstance="",
        )
        one.pop("series", None)
        one.pop("action", None)


# -- what does not fit ----------------------------------------------------------------------------------------------


@scenario
def sched_insufficient_resources__positive_memory_on_1_20_with_its_master() -> Scenario:
    lab = Lab("old")
    lab.node("m1", labels={"node-role.kubernetes.io/master": ""}, taints=["node-role.kubernetes.io/master:NoSchedule"])
    for number in range(5):
        lab.node(f"w{number}", memory="8Gi")
        fill(lab, f"w{number}", memory="8000Mi", cpu="500m")
    says = (
        "0/6 nodes are available: 1 node(s) had taint {node-role.kubernetes.io/master: }, that the pod didn't "
        "tolerate, 5 Insufficient memory."
    )
    waits(lab, "apps/report-6b5-xkz2v", says, owner=("ReplicaSet", "report-6b5"), requests={"memory": "1Gi"})
    old_events(lab)
    return Scenario(
        lab,
        why="five workers are short of memory; the master's taint is as it should be",
        expect=[
            Want("sched.insufficient_resources", objects=["Pod/apps/report-6b5-xkz2v"], severity="critical", count=1)
        ],
        forbid=["sched.taint"],
    )


@scenario
def sched_insufficient_resources__positive_the_windows_pool_is_full() -> Scenario:
    lab = Lab("aks")
    windows = {"kubernetes.io/os": "windows", "beta.kubernetes.io/os": "windows", "agentpool": "win"}
    for number in range(2):
        lab.node(f"akswin00000{number}", labels=windows, taints=["os=windows:NoSchedule"])
        fill(lab, f"akswin00000{number}", cpu="3800m")
    for number in range(6):
        lab.node(f"aks-np-{number}", labels={"agentpool": "np"})
    says = (
        "0/8 nodes are available: 2 Insufficient cpu, 6 node(s) didn't match Pod's node affinity/selector. "
        "preemption: 0/8 nodes are available: 2 No preemption victims found for incoming pod, 6 Preemption is not "
        "helpful for scheduling."
    )
    waits(
        lab,
        "legacy/iis-0",
        says,
        owner=("StatefulSet", "iis"),
        requests={"cpu": "1"},
        node_selector={"kubernetes.io/os": "windows"},
        tolerations=["os=windows:NoSchedule"],
    )
    return Scenario(
        lab,
        why="six Linux nodes do not match because they were never meant for it; both Windows nodes are full",
        expect=[Want("sched.insufficient_resources", objects=["Pod/legacy/iis-0"], severity="critical")],
        forbid=["sched.node_affinity"],
    )


@scenario
def sched_insufficient_resources__positive_gpus_are_all_taken() -> Scenario:
    lab = Lab("gpu")
    for number in range(3):
        gke(lab, f"gke-cpu-{number}", "cpu")
    for number in range(2):
        gke(
            lab,
            f"gke-gpu-{number}",
            "gpu",
            extended={"nvidia.com/gpu": "1"},
            taints=["nvidia.com/gpu=present:NoSchedule"],
        )
        lab.pod(
            f"ml/train-{number}", node=f"gke-gpu-{number}", owner=("Job", "train"), requests={"nvidia.com/gpu": "1"}
        )
    says = (
        "0/5 nodes are available: 5 Insufficient nvidia.com/gpu. preemption: 0/5 nodes are available: 5 No preemption "
        "victims found for incoming pod."
    )
    waits(
        lab,
        "ml/infer-5f-b2b2b",
        says,
        owner=("ReplicaSet", "infer-5f"),
        requests={"nvidia.com/gpu": "1", "cpu": "1"},
        tolerations=["nvidia.com/gpu:NoSchedule"],
    )
    return Scenario(
        lab,
        why="two GPUs, both in use",
        expect=[Want("sched.insufficient_resources", objects=["Pod/ml/infer-5f-b2b2b"], severity="critical")],
        forbid=["sched.taint", "sched.too_large", "sched.fragmentation"],
    )


@scenario
def sched_insufficient_resources__positive_a_daemon_has_no_room_on_full_nodes() -> Scenario:
    lab = Lab("ds")
    for number in range(12):
        lab.node(f"ip-10-0-{number}-7.ec2.internal", pool="main")
        fill(lab, f"ip-10-0-{number}-7.ec2.internal", cpu="3950m")
        name = f"logging/fluent-bit-{number:02}abc"
        says = (
            "0/12 nodes are available: 1 Insufficient cpu, 11 node(s) didn't satisfy plugin(s) [NodeAffinity]. "
            "preemption: 0/12 nodes are available: 1 No preemption victims found for incoming pod, 11 Preemption is "
            "not helpful for scheduling."
        )
        waits(lab, name, says, owner=("DaemonSet", "fluent-bit"), requests={"cpu": "200m"}, tolerations=["*"])
        term = {
            "matchFields": [{"key": "metadata.name", "operator": "In", "values": [f"ip-10-0-{number}-7.ec2.internal"]}]
        }
        required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
        lab.change(f"Pod/{name}", {"spec": {"affinity": {"nodeAffinity": required}}})
    return Scenario(
        lab,
        why="each pod of a DaemonSet is for one node, which is full: eleven of twelve not matching is no news",
        expect=[
            Want(
                "sched.insufficient_resources",
                objects=["Pod/logging/fluent-bit-00abc", "Pod/logging/fluent-bit-11abc"],
                severity="critical",
                count=1,
            )
        ],
        forbid=["sched.node_affinity"],
        allow=["sched.fragmentation"],
    )


@scenario
def sched_insufficient_resources__positive_500_pods_of_ten_deployments() -> Scenario:
    lab = Lab("many")
    for number in range(10):
        gke(lab, f"gke-{number}", "default-pool")
        fill(lab, f"gke-{number}", cpu="3950m")
    says = "0/10 nodes are available: 10 Insufficient cpu. " + NO_PREEMPTION.format(10)
    names = []
    for app in range(10):
        for pod in range(50):
            names.append(f"Pod/ns-{app}/web-{app}-{pod:03}")
            waits(
                lab,
                names[-1].removeprefix("Pod/"),
                says,
                minutes=7 + app,
                owner=("ReplicaSet", f"web-{app}"),
                requests={"cpu": f"{1000 + 50 * app}m"},
            )
    return Scenario(
        lab,
        why="one pool is full",
        expect=[Want("sched.insufficient_resources", objects=names, severity="critical", count=1)],
    )


@scenario
def sched_insufficient_resources__positive_no_events_and_one_snapshot() -> Scenario:
    lab = Lab("quiet")
    lab.node("n1", storage="40Gi")
    fill(lab, "n1", **{"ephemeral-storage": "38Gi"})
    says = "0/1 nodes are available: 1 Insufficient ephemeral-storage."
    waits(lab, "ci/build-1", says, minutes=11, requests={"ephemeral-storage": "10Gi"})
    lab.unlisted |= {"events", "csinodes", "leases", "volumeattachments"}
    return Scenario(
        lab,
        why="the condition of the pod is enough",
        expect=[Want("sched.insufficient_resources", objects=["Pod/ci/build-1"])],
    )


@scenario
def sched_insufficient_resources__positive_completed_jobs_take_nothing() -> Scenario:
    """Terminal pods that still have a node do not count, whatever they asked for; those that run do."""
    lab = Lab("jobs")
    for number in range(2):
        lab.node(f"n{number}")
        lab.pod(
            f"batch/done-{number}", node=f"n{number}", owner=("Job", "done"), phase="Succeeded", requests={"cpu": "4"}
        )
        lab.pod(f"batch/dead-{number}", node=f"n{number}", phase="Failed", reason="Evicted", requests={"cpu": "4"})
        fill(lab, f"n{number}", cpu="3500m")
    waits(lab, "batch/next-x", "0/2 nodes are available: 2 Insufficient cpu.", requests={"cpu": "2"})
    return Scenario(
        lab,
        why="half a CPU is free on each, one in sum",
        expect=[Want("sched.insufficient_resources", objects=["Pod/batch/next-x"], says=["500m CPU"])],
    )


@scenario
def sched_too_large__positive_of_every_pool() -> Scenario:
    lab = Lab("large")
    for number in range(4):
        gke(lab, f"gke-a-{number}", "a", memory="13Gi")
    for number in range(2):
        gke(lab, f"gke-b-{number}", "b", memory="29Gi", cpu="8")
    says = (
        "0/6 nodes are available: 6 Insufficient memory. preemption: 0/6 nodes are available: 6 Preemption is not "
        "helpful for scheduling."
    )
    waits(lab, "spark/driver", says, requests={"memory": "48Gi", "cpu": "2"})
    message = "pod didn't trigger scale-up: 2 Insufficient memory"
    lab.event(
        "Pod", "spark/driver", "NotTriggerScaleUp", message, component="cluster-autoscaler", type="Normal", count=9
    )
    return Scenario(
        lab,
        why="the largest node has 29 GiB, the pod asks for 48",
        expect=[Want("sched.too_large", objects=["Pod/spark/driver"], severity="critical", says=["48"])],
    )


@scenario
def sched_fragmentation__positive_within_the_pool_it_selects() -> Scenario:
    lab = Lab("frag")
    for number in range(4):
        lab.node(f"kp-db-{number}", labels={"karpenter.sh/nodepool": "db"}, taints=["dedicated=db:NoSchedule"])
        fill(lab, f"kp-db-{number}", cpu="2500m")
    for number in range(4):
        lab.node(f"kp-web-{number}", labels={"karpenter.sh/nodepool": "web"})
    says = (
        "0/8 nodes are available: 4 Insufficient cpu, 4 node(s) didn't match Pod's node affinity/selector. preemption: "
        "0/8 nodes are available: 4 No preemption victims found for incoming pod, 4 Preemption is not helpful "
        "for scheduling."
    )
    waits(
        lab,
        "db/olap-0",
        says,
        minutes=31,
        requests={"cpu": "3"},
        owner=("StatefulSet", "olap"),
        node_selector={"karpenter.sh/nodepool": "db"},
        tolerations=["dedicated=db:NoSchedule"],
    )
    return Scenario(
        lab,
        why="6 CPU are free in its pool, 1.5 on each node; the empty web nodes are not for it",
        expect=[Want("sched.fragmentation", objects=["Pod/db/olap-0"], severity="critical")],
        forbid=["sched.insufficient_resources", "sched.node_affinity"],
    )


@scenario
def sched_too_many_pods__positive_small_instances_with_ended_pods() -> Scenario:
    lab = Lab("eks")
    for number in range(2):
        lab.node(f"ip-{number}", pool="t3", pods=11)
        for pod in range(11):
            lab.pod(f"web/w-{number}-{pod}", node=f"ip-{number}", owner=("ReplicaSet", "w"), requests={"cpu": "10m"})
        for pod in range(5):
            lab.pod(f"cron/done-{number}-{pod}", node=f"ip-{number}", owner=("Job", "done"), phase="Succeeded")
    says = "0/2 nodes are available: 2 Too many pods. " + NO_PREEMPTION.format(2)
    waits(lab, "web/w-new", says, owner=("ReplicaSet", "w"), requests={"cpu": "10m"}, minutes=8)
    return Scenario(
        lab, why="eleven of eleven on each", expect=[Want("sched.too_many_pods", objects=["Pod/web/w-new"], count=1)]
    )


@scenario
def sched_too_many_pods__near_miss_ended_pods_do_not_count() -> Scenario:
    lab = Lab("cron")
    lab.node("n1", pods=20)
    for pod in range(60):
        lab.pod(f"cron/done-{pod}", node="n1", owner=("Job", "done"), phase="Succeeded", requests={"cpu": "1"})
    waits(lab, "web/new", "0/1 nodes are available: 1 Insufficient cpu.", minutes=1, requests={"cpu": "100m"})
    return Scenario(lab, why="sixty completed pods take no place; the new one is a minute old")


# -- where it may not go --------------------------------------------------------------------------------------------


@scenario
def sched_taint__positive_every_node_kept_for_others_in_the_wording_of_1_24() -> Scenario:
    lab = Lab("taints")
    for number in range(3):
        gke(lab, f"gke-{number}", "spot", taints=["cloud.google.com/gke-spot=true:NoSchedule"])
    says = (
        "0/3 nodes are available: 3 node(s) had untolerated taint {cloud.google.com/gke-spot: true}. preemption: 0/3 "
        "nodes are available: 3 Preemption is not helpful for scheduling."
    )
    waits(lab, "apps/pay-6f-aaaaa", says, owner=("ReplicaSet", "pay-6f"))
    return Scenario(
        lab,
        why="there are only spot nodes, and the pod does not tolerate them",
        expect=[Want("sched.taint", objects=["Pod/apps/pay-6f-aaaaa"], severity="critical", says=["gke-spot"])],
    )


@scenario
def sched_taint__positive_its_selector_leads_to_arm_nodes_that_it_does_not_tolerate() -> Scenario:
    lab = Lab("arm")
    for number in range(2):
        gke(
            lab,
            f"gke-arm-{number}",
            "arm",
            labels={"kubernetes.io/arch": "arm64"},
            taints=["kubernetes.io/arch=arm64:NoSchedule"],
        )
    for number in range(5):
        gke(lab, f"gke-amd-{number}", "amd")
    says = (
        "0/7 nodes are available: 2 node(s) had untolerated taint {kubernetes.io/arch: arm64}, 5 node(s) didn't match "
        "Pod's node affinity/selector. preemption: 0/7 nodes are available: 7 Preemption is not helpful for scheduling."
    )
    waits(lab, "apps/img-7d-q", says, owner=("ReplicaSet", "img-7d"), node_selector={"kubernetes.io/arch": "arm64"})
    return Scenario(
        lab,
        why="it selects the ARM nodes on purpose; what is missing is the toleration",
        expect=[Want("sched.taint", objects=["Pod/apps/img-7d-q"], severity="critical")],
        forbid=["sched.node_affinity"],
    )


@scenario
def sched_taint__positive_cilium_has_not_taken_its_taint_away() -> Scenario:
    """All nodes are new and wait for an agent that never comes up."""
    lab = Lab("cilium")
    for number in range(3):
        lab.node(f"n{number}", taints=["node.cilium.io/agent-not-ready:NoExecute"], created=-1800)
    says = (
        "0/3 nodes are available: 3 node(s) had untolerated taint(s). no new claims to deallocate, preemption: 0/3 "
        "nodes are available: 3 Preemption is not helpful for scheduling."
    )
    for number in range(4):
        waits(lab, f"apps/web-{number}", says, owner=("ReplicaSet", "web"))
    return Scenario(
        lab,
        why="1.36 does not name the taint; the nodes do",
        expect=[Want("sched.taint", objects=["Pod/apps/web-3"], severity="critical", count=1, says=["node.cilium.io"])],
    )


@scenario
def sched_node_affinity__positive_a_label_that_nobody_has_in_the_wording_of_1_19() -> Scenario:
    lab = Lab("ssd")
    for number in range(3):
        lab.node(f"n{number}", labels={"disktype": "hdd"})
    waits(
        lab,
        "apps/cache-0",
        "0/3 nodes are available: 3 node(s) didn't match node selector.",
        node_selector={"disktype": "ssd"},
        owner=("StatefulSet", "cache"),
    )
    old_events(lab)
    return Scenario(
        lab,
        why="no node has the label",
        expect=[Want("sched.node_affinity", objects=["Pod/apps/cache-0"], severity="critical", says=["disktype"])],
    )


@scenario
def sched_node_affinity__positive_karpenter_cannot_help_either() -> Scenario:
    lab = Lab("karpenter")
    for number in range(3):
        lab.node(f"n{number}", labels={"karpenter.sh/nodepool": "general", "karpenter.k8s.aws/instance-category": "m"})
    says = (
        "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector. preemption: 0/3 nodes are "
        "available: 3 Preemption is not helpful for scheduling."
    )
    waits(lab, "ml/job-x", says, affinity={"karpenter.k8s.aws/instance-category": ["p", "g"]})
    lab.event(
        "Pod",
        "ml/job-x",
        "FailedScheduling",
        'Failed to schedule pod, incompatible with nodepool "general", daemonset overhead={"cpu":"150m","pods":"4"}, '
        "incompatible requirements, key karpenter.k8s.aws/instance-category, karpenter.k8s.aws/instance-category In "
        "[g p] not in karpenter.k8s.aws/instance-category In [m]",
        component="karpenter",
        count=4,
    )
    return Scenario(
        lab,
        why="neither the nodes nor the node pool are of that category",
        expect=[Want("sched.node_affinity", objects=["Pod/ml/job-x"], severity="critical", count=1)],
    )


@scenario
def sched_pod_anti_affinity__positive_a_fourth_replica_on_three_nodes_in_the_wording_of_1_20() -> Scenario:
    lab = Lab("es")
    for number in range(3):
        lab.node(f"n{number}")
        lab.pod(
            f"es/es-{number}",
            node=f"n{number}",
            owner=("StatefulSet", "es"),
            anti_affinity=[("app=es", "kubernetes.io/hostname")],
        )
    says = (
        "0/3 nodes are available: 3 node(s) didn't match pod affinity/anti-affinity, 3 node(s) didn't match pod "
        "anti-affinity rules."
    )
    waits(lab, "es/es-3", says, owner=("StatefulSet", "es"), anti_affinity=[("app=es", "kubernetes.io/hostname")])
    return Scenario(
        lab,
        why="one to a node, and all nodes have one",
        expect=[Want("sched.pod_anti_affinity", objects=["Pod/es/es-3"], severity="critical")],
    )


@scenario
def sched_topology_spread__positive_a_zone_whose_nodes_are_cordoned() -> Scenario:
    """The empty zone counts for the skew (nodeTaintsPolicy Ignore) and takes none."""
    lab = Lab("spread")
    for zone in "abc":
        for number in range(2):
            lab.node(f"n{zone}{number}", zone=f"eu-{zone}", cordoned=zone == "c")
    for number, node in enumerate(("na0", "nb0")):
        lab.pod(f"web/w-{number}", node=node, owner=("ReplicaSet", "w"), labels={"app": "w"})
    says = (
        "0/6 nodes are available: 2 node(s) were unschedulable, 4 node(s) didn't match pod topology spread "
        "constraints. "
        "preemption: 0/6 nodes are available: 2 Preemption is not helpful for scheduling, 4 No preemption "
        "victims found for incoming pod."
    )
    waits(
        lab,
        "web/w-2",
        says,
        owner=("ReplicaSet", "w"),
        labels={"app": "w"},
        spread=[("app=w", "topology.kubernetes.io/zone", 1)],
    )
    return Scenario(
        lab,
        why="four open nodes are refused by the spread, two are cordoned",
        expect=[Want("sched.topology_spread", objects=["Pod/web/w-2"], severity="critical")],
        forbid=["sched.unknown"],
    )


@scenario
def sched_host_port__positive_a_second_ingress_on_a_single_node() -> Scenario:
    lab = Lab("k3s")
    lab.node(
        "k3s-1", labels={"node-role.kubernetes.io/control-plane": "true", "node-role.kubernetes.io/master": "true"}
    )
    lab.pod(
        "kube-system/svclb-traefik-a1b2c-x", node="k3s-1", owner=("DaemonSet", "svclb-traefik"), host_ports=[80, 443]
    )
    says = (
        "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports. preemption: 0/1 "
        "nodes are available: 1 node(s) didn't have free ports for the requested pod ports."
    )
    waits(lab, "ingress/nginx-6d-k", says, owner=("DaemonSet", "nginx"), host_ports=[80, 443])
    return Scenario(
        lab,
        why="traefik has both ports",
        expect=[Want("sched.host_port", objects=["Pod/ingress/nginx-6d-k"], severity="critical", says=["80"])],
    )


@scenario
def sched_unschedulable_cordoned__positive_maintenance_that_was_forgotten() -> Scenario:
    lab = Lab("cordon")
    lab.node("cp", role="control-plane")
    for number in range(3):
        lab.node(f"n{number}", cordoned=True)
    says = (
        "0/4 nodes are available: 1 node(s) had taint {node-role.kubernetes.io/master: }, that the pod didn't "
        "tolerate, "
        "3 node(s) were unschedulable."
    )
    waits(lab, "apps/a-1", says, owner=("ReplicaSet", "a"), minutes=90)
    return Scenario(
        lab,
        why="all three workers are cordoned",
        expect=[Want("sched.unschedulable_cordoned", objects=["Pod/apps/a-1"], severity="critical", nodes=["n0"])],
        forbid=["sched.taint"],
    )


@scenario
def sched_resource_claim__positive_dra_in_the_wording_of_1_34() -> Scenario:
    lab = Lab("dra")
    for number in range(2):
        lab.node(f"n{number}")
    lab.raw(
        "ResourceClaim",
        "ml/infer-gpu-7x",
        spec={"devices": {"requests": [{"name": "gpu", "exactly": {"deviceClassName": "gpu.nvidia.com", "count": 1}}]}},
        status={},
    )
    says = (
        "0/2 nodes are available: 2 cannot allocate all claims. no new claims to deallocate, preemption: 0/2 nodes "
        "are available: 2 Preemption is not helpful for scheduling."
    )
    waits(lab, "ml/infer", says, resource_claims=["infer-gpu-7x"])
    return Scenario(
        lab,
        why="no device is left for the claim",
        expect=[Want("sched.resource_claim", objects=["Pod/ml/infer"], severity="critical")],
    )


# -- volumes --------------------------------------------------------------------------------------------------------


@scenario
def sched_volume_zone__positive_labels_of_an_in_tree_volume_of_old() -> Scenario:
    """No node affinity on the volume, only the zone's label of before 1.17."""
    lab = Lab("intree")
    lab.storage_class("gp2", default=True)
    for number, zone in enumerate(("us-east-1b", "us-east-1c")):
        lab.node(f"n{number}", zone=zone, labels={"failure-domain.beta.kubernetes.io/zone": zone})
    source = {"awsElasticBlockStore": {"volumeID": "aws://us-east-1a/vol-0a", "fsType": "ext4"}}
    lab.disk("db/data", "pv-old", source=source, storage_class="gp2")
    labels = {
        "failure-domain.beta.kubernetes.io/region": "us-east-1",
        "failure-domain.beta.kubernetes.io/zone": "us-east-1a",
    }
    lab.change("PersistentVolume/pv-old", {"metadata": {"labels": labels}})
    says = "0/2 nodes are available: 2 node(s) had no available volume zone."
    waits(lab, "db/mysql-0", says, owner=("StatefulSet", "mysql"), claims={"data": "data"})
    return Scenario(
        lab,
        why="the volume's zone has no node",
        expect=[
            Want(
                "sched.volume_zone", objects=["Pod/db/mysql-0"], severity="critical", caused_by="storage.zone_mismatch"
            ),
            Want("storage.zone_mismatch", objects=["PersistentVolumeClaim/db/data"]),
        ],
        forbid=["sched.unknown"],
    )


@scenario
def sched_volume_zone__positive_azure_with_its_own_zone_key_in_the_old_wording() -> Scenario:
    lab = Lab("aks")
    for number in (2, 3):
        zone = f"westeurope-{number}"
        lab.node(f"aks-np-{number}", zone=zone, labels={"topology.disk.csi.azure.com/zone": zone, "agentpool": "np"})
    lab.disk(
        "db/data-pg-0",
        "pvc-1f",
        driver="disk.csi.azure.com",
        handle="/subscriptions/s/resourceGroups/mc/providers/Microsoft.Compute/disks/pvc-1f",
        zone="westeurope-1",
        zone_key="topology.disk.csi.azure.com/zone",
        storage_class="managed-csi",
    )
    says = (
        "0/2 nodes are available: 2 node(s) had volume node affinity conflict. preemption: 0/2 nodes are available: 2 "
        "Preemption is not helpful for scheduling."
    )
    waits(lab, "db/pg-0", says, owner=("StatefulSet", "pg"), claims={"data": "data-pg-0"})
    return Scenario(
        lab,
        why="the disk is in zone 1, nodes are in 2 and 3",
        expect=[
            Want("sched.volume_zone", objects=["Pod/db/pg-0"], severity="critical", caused_by="storage.zone_mismatch"),
            Want("storage.zone_mismatch", objects=["PersistentVolumeClaim/db/data-pg-0"]),
        ],
    )


@scenario
def sched_unbound_pvc__positive_a_static_claim_that_no_volume_fits() -> Scenario:
    lab = Lab("static")
    lab.node("n1")
    lab.claim("db/data", storage_class="", size="100Gi", created=-1300)
    lab.volume("nfs-1", source={"nfs": {"server": "10.0.0.9", "path": "/a"}}, storage_class="", size="50Gi")
    lab.event(
        "PersistentVolumeClaim",
        "db/data",
        "FailedBinding",
        "no persistent volumes available for this claim and no storage class is set",
        component="persistentvolume-controller",
        type="Normal",
        count=70,
    )
    says = (
        "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. preemption: 0/1 nodes are "
        "available: 1 Preemption is not helpful for scheduling.."
    )
    waits(lab, "db/x-0", says, claims={"data": "data"})
    return Scenario(
        lab,
        why="it asks for 100 GiB, the one free volume has 50",
        expect=[Want("sched.unbound_pvc", objects=["Pod/db/x-0"], severity="critical")],
        allow=["storage.provision_failed_class_missing"],
    )


@scenario
def sched_unbound_pvc__positive_local_volumes_are_all_taken() -> Scenario:
    lab = Lab("local")
    lab.storage_class("local", driver="kubernetes.io/no-provisioner")
    for number in range(2):
        lab.node(f"n{number}")
        lab.disk(f"db/data-{number}", f"local-{number}", node=f"n{number}", storage_class="local")
        lab.pod(f"db/c-{number}", node=f"n{number}", owner=("StatefulSet", "c"), claims={"data": f"data-{number}"})
    lab.claim("db/data-2", storage_class="local", created=-1300)
    says = (
        "0/2 nodes are available: 2 node(s) didn't find available persistent volumes to bind. preemption: 0/2 nodes "
        "are available: 2 Preemption is not helpful for scheduling."
    )
    waits(lab, "db/c-2", says, owner=("StatefulSet", "c"), claims={"data": "data-2"})
    return Scenario(
        lab,
        why="nobody makes local volumes, and both are taken",
        expect=[Want("sched.unbound_pvc", objects=["Pod/db/c-2"], severity="critical")],
    )


@scenario
def sched_volume_limit__positive_by_the_scheduler_with_room_for_cpu() -> Scenario:
    lab = Lab("limit", attach_limit=2)
    for number in range(2):
        lab.node(f"n{number}", zone="eu-1a")
        for disk in range(2):
            name = f"{number}{disk}"
            lab.disk(f"db/d-{name}", f"pv-{name}", zone="eu-1a", attached_to=f"n{number}")
            lab.pod(f"db/p-{name}", node=f"n{number}", owner=("StatefulSet", "p"), claims={"data": f"d-{name}"})
    lab.disk("db/d-new", "pv-new", zone="eu-1a")
    says = (
        "0/2 nodes are available: 2 node(s) exceed max volume count. preemption: 0/2 nodes are available: 2 No "
        "preemption victims found for incoming pod."
    )
    waits(lab, "db/p-new", says, owner=("StatefulSet", "p"), claims={"data": "d-new"})
    return Scenario(
        lab,
        why="two of two volumes on each node",
        expect=[Want("sched.volume_limit", objects=["Pod/db/p-new"], severity="critical")],
        allow=["storage.attach_limit"],
    )


# -- quota ----------------------------------------------------------------------------------------------------------


@scenario
def sched_quota__positive_only_the_replica_sets_condition_tells() -> Scenario:
    lab = Lab("quota")
    message = (
        'pods "web-6c-vx" is forbidden: exceeded quota: compute, requested: limits.memory=2Gi, used: '
        "limits.memory=15Gi, limited: limits.memory=16Gi"
    )
    lab.deployment("shop/web", replicas=4, ready=3)
    lab.replicaset("shop/web-6c", replicas=4, made=3, owner=("Deployment", "web"))
    condition = {
        "type": "ReplicaFailure",
        "status": "True",
        "lastTransitionTime": stamp(lab.now - 3000),
        "reason": "FailedCreate",
        "message": message,
    }
    lab.change("ReplicaSet/shop/web-6c", {"status": {"conditions": [condition]}})
    lab.unlisted |= {"events", "resourcequotas"}
    return Scenario(
        lab,
        why="neither events nor quotas may be listed; the condition names the quota",
        expect=[Want("sched.quota", objects=["ReplicaSet/shop/web-6c"], says=["compute"])],
    )


@scenario
def sched_quota__positive_of_storage_for_a_stateful_set() -> Scenario:
    lab = Lab("quota")
    lab.statefulset("db/pg", replicas=3, made=1, ready=1)
    message = (
        'create Claim data-pg-1 for Pod pg-1 in StatefulSet pg failed error: persistentvolumeclaims "data-pg-1" is '
        "forbidden: exceeded quota: storage, requested: requests.storage=100Gi, used: requests.storage=450Gi, limited: "
        "requests.storage=500Gi"
    )
    lab.event("StatefulSet", "db/pg", "FailedCreate", message, count=14, first=-2400, last=-200)
    lab.quota("db/storage", {"requests.storage": "500Gi"}, {"requests.storage": "450Gi"})
    return Scenario(
        lab,
        why="the claim cannot be made, so the pod is not",
        expect=[Want("sched.quota", objects=["StatefulSet/db/pg"], says=["requests.storage"])],
    )


@scenario
def sched_quota__near_miss_pod_security_refuses() -> Scenario:
    lab = Lab("psa")
    lab.replicaset("shop/web-6c", replicas=2, made=0)
    message = (
        'Error creating: pods "web-6c-x" is forbidden: violates PodSecurity "restricted:latest": '
        "allowPrivilegeEscalation != false"
    )
    lab.event("ReplicaSet", "shop/web-6c", "FailedCreate", message, count=12, first=-1800, last=-60)
    return Scenario(lab, why="admission refuses it, no quota does", forbid=["sched.quota"])


# -- several at once ------------------------------------------------------------------------------------------------


@scenario
def sched_taint__positive_beside_an_independent_shortage() -> Scenario:
    lab = Lab("two")
    for number in range(3):
        gke(lab, f"gke-a-{number}", "a")
        fill(lab, f"gke-a-{number}", cpu="3900m")
    for number in range(2):
        gke(lab, f"gke-db-{number}", "db", taints=["dedicated=db:NoSchedule"])
    full = (
        "0/5 nodes are available: 2 node(s) had untolerated taint {dedicated: db}, 3 Insufficient cpu. preemption: 0/5 "
        "nodes are available: 2 Preemption is not helpful for scheduling, 3 No preemption victims found for "
        "incoming pod."
    )
    for number in range(6):
        waits(lab, f"web/w-{number}", full, owner=("ReplicaSet", "w"), requests={"cpu": "500m"})
    says = (
        "0/5 nodes are available: 2 node(s) had untolerated taint {dedicated: db}, 3 node(s) didn't match Pod's node "
        "affinity/selector. preemption: 0/5 nodes are available: 5 Preemption is not helpful for scheduling."
    )
    waits(
        lab, "db/redis-0", says, node_selector={"cloud.google.com/gke-nodepool": "db"}, owner=("StatefulSet", "redis")
    )
    return Scenario(
        lab,
        why="web is short of CPU; redis selects the db pool and lacks its toleration",
        expect=[
            Want("sched.insufficient_resources", objects=[f"Pod/web/w-{n}" for n in range(6)], count=1),
            Want("sched.taint", objects=["Pod/db/redis-0"], count=1),
        ],
        forbid=["sched.node_affinity"],
    )


# -- risks ----------------------------------------------------------------------------------------------------------


@scenario
def sched_stuck_waiting__positive_one_of_two_pools_of_openshift() -> Scenario:
    lab = Lab("ocp")
    for number in range(3):
        name = f"ocp-worker-{number}"
        lab.node(
            name, labels={"node-role.kubernetes.io/worker": "", "machine.openshift.io/cluster-api-machineset": "w"}
        )
        fill(lab, name, cpu="3900m", memory="2Gi")
        lab.host(name).usage(0.12, 0.3)
        infra = f"ocp-infra-{number}"
        lab.node(infra, role="infra", taints=["node-role.kubernetes.io/infra:NoSchedule"])
        fill(lab, infra, cpu="500m")
        lab.host(infra).usage(0.12, 0.3)
    lab.tick(60)
    return Scenario(
        lab,
        why="97 % of the workers' CPU is requested, an eighth of it used",
        expect=[Want("sched.stuck_waiting", stage="risk", severity="warning", says=["pool worker"], count=1)],
        allow=["sched.headroom_low"],
    )


@scenario
def sched_stuck_waiting__near_miss_one_pod_to_a_node() -> Scenario:
    """Fargate makes a node for each pod: all of it is requested, that is the point."""
    lab = Lab("fargate")
    for number in range(6):
        name = f"fargate-ip-10-0-{number}-9.ec2.internal"
        lab.node(
            name,
            cpu="1",
            memory="2Gi",
            pods=1,
            labels={"eks.amazonaws.com/compute-type": "fargate"},
            taints=["eks.amazonaws.com/compute-type=fargate:NoSchedule"],
        )
        lab.pod(f"web/w-{number}", node=name, owner=("ReplicaSet", "w"), requests={"cpu": "1", "memory": "2Gi"})
    lab.tick(60)
    return Scenario(
        lab, why="there is no pool that could run full", forbid=["sched.stuck_waiting", "sched.headroom_low"]
    )


@scenario
def sched_pdb_deadlock__positive_karpenter_wants_the_node() -> Scenario:
    lab = Lab("pdb")
    for number in range(3):
        lab.node(f"n{number}", taints=["karpenter.sh/disrupted:NoSchedule"] if number == 1 else [])
    lab.pod("db/single-0", node="n1", owner=("StatefulSet", "single"), labels={"app": "single"})
    lab.budget("db/single", selector="app=single", min_available=1, allowed=0, healthy=1, desired=1, expected=1)
    for _ in range(8):
        lab.tick(60)
    return Scenario(
        lab,
        why="one replica of which one must be there",
        expect=[
            Want(
                "sched.pdb_deadlock",
                stage="risk",
                severity="warning",
                nodes=["n1"],
                objects=["PodDisruptionBudget/db/single"],
            )
        ],
    )


# -- nothing is wrong -----------------------------------------------------------------------------------------------


@scenario
def sched_insufficient_resources__near_miss_an_autoscaler_in_its_third_minute() -> Scenario:
    lab = Lab("scale")
    for number in range(3):
        gke(lab, f"gke-{number}", "p")
        fill(lab, f"gke-{number}", cpu="3900m")
    says = "0/3 nodes are available: 3 Insufficient cpu. " + NO_PREEMPTION.format(3)
    for number in range(80):
        waits(lab, f"web/w-{number}", says, minutes=3, owner=("ReplicaSet", "w"), requests={"cpu": "2"})
        lab.event(
            "Pod",
            f"web/w-{number}",
            "TriggeredScaleUp",
            (
                "pod triggered scale-up: "
                "[{https://www.googleapis.com/compute/v1/projects/p/zones/z/instanceGroups/g 3->40 (max: 50)}]"
            ),
            component="cluster-autoscaler",
            type="Normal",
            last=-150,
        )
    gke(lab, "gke-new", "p", ready="False", ready_since=-30, created=-40)
    return Scenario(lab, why="80 pods wait for nodes that are on their way")


@scenario
def sched_unknown__near_miss_a_large_roll_out() -> Scenario:
    lab = Lab("rollout")
    for number in range(5):
        gke(lab, f"gke-{number}", "p")
        for pod in range(20):
            node = f"gke-{number}"
            lab.pod(f"web/old-{number}-{pod}", node=node, owner=("ReplicaSet", "old"), deleted=-15, ready=False)
            lab.pod(
                f"web/new-{number}-{pod}",
                node=node,
                owner=("ReplicaSet", "new"),
                pending_since=-45,
                waiting="ContainerCreating",
            )
            lab.event("Pod", f"web/old-{number}-{pod}", "Killing", "Stopping container app", type="Normal", last=-20)
            lab.event(
                "Pod",
                f"web/old-{number}-{pod}",
                "Unhealthy",
                "Readiness probe failed: HTTP probe failed with statuscode: 503",
                count=2,
            )
    for pod in range(30):
        waits(
            lab,
            f"web/new-p-{pod}",
            "0/5 nodes are available: 5 Insufficient cpu.",
            minutes=0.5,
            owner=("ReplicaSet", "new"),
        )
    return Scenario(lab, why="a roll-out of 100 pods")


@scenario
def sched_pdb_deadlock__near_miss_a_drain_that_goes_on() -> Scenario:
    lab = Lab("drain")
    for number in range(4):
        lab.node(f"n{number}", cordoned=number == 0)
    lab.pod("kube-system/proxy-a", node="n0", owner=("DaemonSet", "proxy"), tolerations=["*"], labels={"app": "proxy"})
    lab.pod("web/w-0", node="n0", owner=("ReplicaSet", "w"), labels={"app": "w"}, deleted=-10)
    for number in (1, 2, 3):
        lab.pod(f"web/w-{number}", node=f"n{number}", owner=("ReplicaSet", "w"), labels={"app": "w"})
    waits(lab, "web/w-4", "0/4 nodes are available: 1 node(s) were unschedulable, 3 Insufficient cpu.", minutes=0.3)
    lab.budget("web/w", selector="app=w", max_unavailable=1, allowed=0, healthy=3, desired=3, expected=4)
    lab.tick(60)
    return Scenario(lab, why="the budget lets one go at a time, and one is going")


@scenario
def sched_taint__near_miss_daemons_virtual_kubelets_and_static_pods() -> Scenario:
    lab = Lab("odd")
    lab.node("cp-1", role="control-plane")
    for name in ("etcd", "kube-apiserver", "kube-scheduler", "kube-controller-manager"):
        lab.pod(
            f"kube-system/{name}-cp-1",
            node="cp-1",
            owner=("Node", "cp-1"),
            tolerations=[":NoExecute"],
            host_network=True,
        )
    lab.node(
        "vk",
        labels={"type": "virtual-kubelet"},
        taints=["virtual-kubelet.io/provider=azure:NoSchedule"],
        cpu="800",
        pods=1000,
    )
    lab.change("Node/vk", {"status": {"nodeInfo": {"kernelVersion": "", "osImage": "", "containerRuntimeVersion": ""}}})
    lab.node("w1")
    lab.node(
        "gpu", extended={"nvidia.com/gpu": "8"}, taints=["nvidia.com/gpu=true:NoSchedule", "spot=true:PreferNoSchedule"]
    )
    for node in ("cp-1", "w1", "gpu"):
        lab.pod(f"kube-system/cni-{node}", node=node, owner=("DaemonSet", "cni"), tolerations=["*"], host_network=True)
    lab.tick(60)
    return Scenario(lab, why="a cluster of odd nodes in which all is well")


@scenario
def sched_unknown__near_miss_ended_evicted_and_shut_down_pods() -> Scenario:
    lab = Lab("ended")
    for number in range(2):
        lab.node(f"n{number}")
    for number in range(40):
        lab.pod(f"cron/ok-{number}", node="n0", owner=("Job", f"ok-{number}"), phase="Succeeded")
        lab.pod(
            f"cron/no-{number}", node="n0", owner=("Job", f"no-{number}"), phase="Failed", reason="DeadlineExceeded"
        )
        message = "The node was low on resource: memory. Threshold quantity: 100Mi, available: 51232Ki."
        lab.pod(
            f"web/ev-{number}",
            node="n1",
            owner=("ReplicaSet", "ev"),
            phase="Failed",
            reason="Evicted",
            patch={"status": {"message": message, "containerStatuses": None}},
        )
    lab.pod(
        "web/shut",
        node="n1",
        owner=("ReplicaSet", "w"),
        phase="Failed",
        reason="Terminated",
        patch={"status": {"message": "Pod was terminated in response to imminent node shutdown."}},
    )
    lab.pod(
        "web/aff",
        node="n1",
        owner=("ReplicaSet", "w"),
        phase="Failed",
        reason="NodeAffinity",
        patch={"status": {"message": "Pod was rejected: Predicate NodeAffinity failed"}},
    )
    lab.pod(
        "web/oo",
        node="n1",
        owner=("ReplicaSet", "w"),
        phase="Failed",
        reason="OutOfcpu",
        patch={
            "status": {
                "message": "Pod Node didn't have enough resource: cpu, requested: 100, used: 3990, capacity: 4000"
            }
        },
    )
    lab.pod("web/un", phase="Failed", reason="Evicted", created=-90000)
    return Scenario(lab, why="what has ended waits for nothing")


@scenario
def sched_unknown__near_miss_gates_quotas_and_kueue() -> Scenario:
    lab = Lab("kueue")
    lab.node("n1")
    for number in range(5):
        lab.pod(f"batch/j-{number}", pending_since=-90000, gates=["kueue.x-k8s.io/admission"], owner=("Job", "j"))
    lab.workload("Job", "batch/suspended", replicas=4, made=0, patch={"spec": {"suspend": True}})
    lab.quota("batch/q", {"pods": "5"}, {"pods": "5"})
    return Scenario(lab, why="they wait their turn")


@scenario
def sched_headroom_low__near_miss_a_single_node_of_kind() -> Scenario:
    lab = Lab("kind")
    lab.node("kind-control-plane", labels={"node-role.kubernetes.io/control-plane": ""}, cpu="2", memory="4Gi")
    for name in ("etcd", "kube-apiserver", "kube-scheduler", "kube-controller-manager"):
        lab.pod(
            f"kube-system/{name}-kind-control-plane",
            node="kind-control-plane",
            owner=("Node", "kind-control-plane"),
            containers=[ContainerFields(name="side")],
        )
    lab.storage_class("standard", driver="rancher.io/local-path", default=True)
    lab.disk(
        "default/data",
        "pvc-77",
        source={"hostPath": {"path": "/var/local-path-provisioner/pvc-77", "type": "DirectoryOrCreate"}},
        node="kind-control-plane",
        storage_class="standard",
        attached_to="",
    )
    lab.pod("default/pg-0", node="kind-control-plane", owner=("StatefulSet", "pg"), claims={"data": "data"})
    lab.host("kind-control-plane")
    lab.tick(60)
    return Scenario(lab, why="a laptop's cluster")


@scenario
def sched_insufficient_resources__near_miss_events_of_pods_that_run_since() -> Scenario:
    lab = Lab("since")
    lab.node("n1")
    for number in range(20):
        lab.pod(f"web/w-{number}", node="n1", owner=("ReplicaSet", "w"), created=-1500)
        lab.event(
            "Pod",
            f"web/w-{number}",
            "FailedScheduling",
            "0/1 nodes are available: 1 Insufficient cpu.",
            first=-1500,
            last=-700,
            count=3,
        )
    lab.event("Pod", "web/gone", "FailedScheduling", "skip schedule deleting pod: web/gone", last=-100)
    return Scenario(lab, why="events outlive what they tell of")


@scenario
def sched_insufficient_resources__recovery_kube_only_in_the_last_snapshot() -> Scenario:
    lab = Lab("late")
    for number in range(2):
        lab.node(f"n{number}")
        lab.host(f"n{number}")
        fill(lab, f"n{number}", cpu="3900m")
    lab.tick(60)
    name, at, files = lab.snapshots[-1]
    lab.snapshots[-1] = (name, at, {path: text for path, text in files.items() if not path.startswith("kube/")})
    waits(lab, "web/w-1", "0/2 nodes are available: 2 Insufficient cpu.", minutes=16, requests={"cpu": "1"})
    return Scenario(
        lab,
        why="the objects of the second snapshot hold for the first",
        expect=[Want("sched.insufficient_resources", objects=["Pod/web/w-1"], severity="critical")],
        allow=["sched.stuck_waiting"],
    )


@pytest.mark.parametrize("name", of_module(__name__))
def test_scenario(name: str) -> None:
    judge(of_module(__name__)[name]())
