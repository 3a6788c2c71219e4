"""Look-alikes by number: what is and what is not, side by side in one cluster.

See test_red_scenarios.py.
"""

from __future__ import annotations

import pytest

from tests.lab.cluster import Lab
from tests.lab.scenario import Scenario, Want, judge, of_module, scenario
from tests.lab.shapes import stamp
from tests.signatures.test_red_storage import GCE, HARMLESS, cluster, owns, says, waits

MINUTE = 60.0


@scenario
def sched_too_many_pods__positive_beside_pools_that_are_not_meant() -> Scenario:
    lab = Lab("mixed")
    for number in range(2):
        lab.node(f"small-{number}", pods=4, labels={"pool": "small"})
        for pod in range(4):
            lab.pod(f"web/w-{number}-{pod}", node=f"small-{number}", owner=("ReplicaSet", "w"), requests={"cpu": "10m"})
    for number in range(3):
        lab.node(f"big-{number}", labels={"pool": "big"})
    told = (
        "0/5 nodes are available: 2 Too many pods, 3 node(s) didn't satisfy plugin(s) [NodeAffinity]. no new claims "
        "to deallocate, preemption: 0/5 nodes are available: 2 No preemption victims found for incoming pod, 3 "
        "Preemption is not helpful for scheduling."
    )
    lab.pod(
        "web/w-x",
        pending_since=-1000,
        scheduler_says=told,
        owner=("ReplicaSet", "w"),
        node_selector={"pool": "small"},
        requests={"cpu": "10m"},
    )
    return Scenario(
        lab,
        why="its pool is full of pods",
        expect=[Want("sched.too_many_pods", objects=["Pod/web/w-x"], severity="critical")],
        forbid=["sched.node_affinity"],
    )


@scenario
def sched_node_affinity__positive_a_zone_spelt_wrong_beside_one_that_is_full() -> Scenario:
    lab = Lab("typo")
    for zone in "ab":
        lab.node(f"n-{zone}", zone=f"eu-1{zone}")
        lab.pod(f"x/busy-{zone}", node=f"n-{zone}", owner=("ReplicaSet", "busy"), requests={"cpu": "3900m"})
    one = (
        "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector. preemption: 0/2 nodes are "
        "available: 2 Preemption is not helpful for scheduling."
    )
    two = (
        "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) didn't match Pod's node affinity/selector. "
        "preemption: 0/2 nodes are available: 1 No preemption victims found for incoming pod, 1 Preemption is not "
        "helpful for scheduling."
    )
    lab.pod("x/typo", pending_since=-1000, scheduler_says=one, affinity={"topology.kubernetes.io/zone": ["eu-1-a"]})
    lab.pod(
        "x/full",
        pending_since=-1000,
        scheduler_says=two,
        affinity={"topology.kubernetes.io/zone": ["eu-1a"]},
        requests={"cpu": "1"},
    )
    return Scenario(
        lab,
        why="one zone does not exist, the other has no room",
        expect=[
            Want("sched.node_affinity", objects=["Pod/x/typo"], severity="critical", count=1),
            Want("sched.insufficient_resources", objects=["Pod/x/full"], severity="critical", count=1),
        ],
    )


@scenario
def sched_insufficient_resources__positive_a_preemption_whose_victim_does_not_go() -> Scenario:
    lab = Lab("preempt")
    lab.node("n1")
    lab.pod(
        "batch/low",
        node="n1",
        owner=("Job", "low"),
        requests={"cpu": "3"},
        deleted=-1500,
        finalizers=["example.com/hold"],
    )
    told = (
        "0/1 nodes are available: 1 Insufficient cpu. preemption: not eligible due to a terminating pod on the "
        "nominated node.."
    )
    lab.pod(
        "web/high", pending_since=-1600, scheduler_says=told, nominated_node="n1", priority=1000, requests={"cpu": "2"}
    )
    return Scenario(
        lab,
        why=("its place should have been free 25 minutes ago"),
        expect=[Want("sched.insufficient_resources", objects=["Pod/web/high"], severity="critical")],
    )


@scenario
def sched_taint__positive_a_release_of_two_pools_with_one_toleration_too_few() -> Scenario:
    lab = Lab("pools")
    for number in range(3):
        lab.node(
            f"spot-{number}",
            labels={"kubernetes.azure.com/scalesetpriority": "spot", "agentpool": "spot"},
            taints=["kubernetes.azure.com/scalesetpriority=spot:NoSchedule"],
        )
    for number in range(2):
        lab.node(
            f"sys-{number}",
            labels={"agentpool": "sys", "kubernetes.azure.com/mode": "system"},
            taints=["CriticalAddonsOnly=true:NoSchedule"],
        )
    told = (
        "0/5 nodes are available: 2 node(s) had untolerated taint {CriticalAddonsOnly: true}, 3 node(s) had "
        "untolerated taint {kubernetes.azure.com/scalesetpriority: spot}. preemption: 0/5 nodes are available: 5 "
        "Preemption is not helpful for scheduling."
    )
    lab.pod("shop/api-0", pending_since=-1200, scheduler_says=told, owner=("ReplicaSet", "api"))
    return Scenario(
        lab,
        why=("AKS with a system pool and a spot pool: the spot taint is what is in the way"),
        expect=[Want("sched.taint", objects=["Pod/shop/api-0"], severity="critical", says=["scalesetpriority"])],
    )


@scenario
def sched_volume_limit__positive_in_1_36_with_one_zone_full_of_volumes() -> Scenario:
    lab = Lab("slots", driver=GCE, attach_limit=2)
    lab.node("a", zone="z-a")
    lab.node("b", zone="z-b")
    for number in range(2):
        lab.disk(
            f"db/d-{number}",
            f"pv-{number}",
            zone="z-a",
            attached_to="a",
            handle=f"projects/p/zones/z-a/disks/pv-{number}",
        )
        lab.pod(f"db/p-{number}", node="a", owner=("StatefulSet", "p"), claims={"d": f"d-{number}"})
    lab.disk("db/d-2", "pv-2", zone="z-a", handle="projects/p/zones/z-a/disks/pv-2")
    told = (
        "0/2 nodes are available: 1 node(s) didn't match PersistentVolume's node affinity, 1 node(s) exceed max "
        "volume count. no new claims to deallocate, preemption: 0/2 nodes are available: 1 No preemption victims "
        "found for incoming pod, 1 Preemption is not helpful for scheduling."
    )
    lab.pod("db/p-2", pending_since=-1200, scheduler_says=told, owner=("StatefulSet", "p"), claims={"d": "d-2"})
    return Scenario(
        lab,
        why="the one node of the volume's zone has all the volumes it can",
        expect=[Want("sched.volume_limit", objects=["Pod/db/p-2"], severity="critical")],
        allow=[*HARMLESS, "storage.attach_limit"],
        forbid=["storage.zone_mismatch", "sched.volume_zone"],
    )


@scenario
def sched_unbound_pvc__near_miss_a_claim_that_waits_and_a_pod_that_is_too_large() -> Scenario:
    lab = Lab("wffc")
    lab.node("n1", zone="z1")
    lab.storage_class("gp3", default=True)
    lab.claim("db/d", storage_class="gp3", created=-1200)
    lab.event(
        "PersistentVolumeClaim",
        "db/d",
        "WaitForFirstConsumer",
        ("waiting for first consumer to be created before binding"),
        count=80,
        first=-1200,
        last=-5,
    )
    lab.pod(
        "db/p-0",
        pending_since=-1200,
        scheduler_says=("0/1 nodes are available: 1 Insufficient memory."),
        owner=("StatefulSet", "p"),
        claims={"d": "d"},
        requests={"memory": "64Gi"},
    )
    return Scenario(
        lab,
        why=("the claim waits for the pod, and the pod for a larger node"),
        expect=[Want("sched.too_large", objects=["Pod/db/p-0"], severity="critical")],
        forbid=["sched.unbound_pvc", "storage.provision_failed_quota_or_cloud"],
    )


@scenario
def sched_stuck_waiting__positive_memory_of_a_pool_of_ten() -> Scenario:
    lab = Lab("mem")
    for number in range(10):
        name = f"ip-10-0-0-{number}"
        lab.node(name, labels={"karpenter.sh/nodepool": "general"})
        lab.pod(f"jvm/j-{number}", node=name, owner=("ReplicaSet", "j"), requests={"cpu": "1", "memory": "15800Mi"})
        lab.host(name).usage(0.4, 0.35)
    lab.tick(60)
    return Scenario(
        lab,
        why=("96 % of memory is requested, 35 % is used"),
        expect=[Want("sched.stuck_waiting", stage="risk", severity="warning", count=1, says=["memory", "general"])],
        allow=["sched.headroom_low"],
    )


@scenario
def sched_pdb_deadlock__near_miss_a_budget_for_pods_that_are_gone() -> Scenario:
    lab = Lab("zero")
    lab.node("n0", cordoned=True)
    lab.node("n1")
    lab.pod("web/other", node="n0", labels={"app": "other"})
    lab.budget("web/none", selector="app=none", min_available=1, allowed=0, healthy=0, desired=1, expected=0)
    lab.tick(600)
    return Scenario(lab, why="it covers nobody on that node")


@scenario
def storage_multi_attach__positive_openstack_with_hosts() -> Scenario:
    lab = cluster("cinder.csi.openstack.org", "os-1", "os-2")
    owns(lab, "os-1", handle="3a0f1b2c-9f0e-4f3a-8a55-000000000001")
    lab.host("os-1").mount_csi("db/old-0", "pvc-0", "vdb", serial="3a0f1b2c-9f0e-4f3a-8")
    lab.tick(60)
    pod = waits(lab, "os-2", minutes=8)
    error = (
        "rpc error: code = Internal desc = [ControllerPublishVolume] Attach Volume failed with error failed to "
        "attach 3a0f1b2c volume to 7d compute: Bad request with: [POST "
        "https://nova/servers/7d/os-volume_attachments], error message: Invalid volume: volume 3a0f1b2c already "
        "attached to instance 5c"
    )
    lab.attachment("pvc-0", "os-2", attached=False, created=-450, attach_error=error)
    says(lab, pod, "FailedAttachVolume", f'AttachVolume.Attach failed for volume "pvc-0" : {error}')
    return Scenario(
        lab,
        why=("os-1 has it, mounted, by db/old-0"),
        expect=[Want("storage.multi_attach", nodes=["os-1"], objects=[pod], says=["db/old-0"])],
        allow=HARMLESS,
    )


@scenario
def storage_stale_attachment__positive_the_node_came_back_under_the_same_name() -> Scenario:
    """A machine was replaced (same name, other machine): the old attachment holds, the new host has no disk."""
    lab = cluster("ebs.csi.aws.com", "ip-1", "ip-2")
    lab.disk("db/data-0", "pvc-0", zone="z1", attached_to="ip-1")
    lab.node("ip-1", zone="z1", created=-1500, ready_since=-1450)
    pod = waits(lab, "ip-2", minutes=12)
    says(
        lab,
        pod,
        "FailedAttachVolume",
        (
            'Multi-Attach error for volume "pvc-0" Volume is already exclusively attached to one node and can\'t be '
            "attached to another"
        ),
        count=1,
        first=-719,
        last=-719,
    )
    lab.tick(60)
    return Scenario(
        lab,
        why="the API server says attached to ip-1, whose host has no such device and no pod that wants it",
        expect=[Want("storage.stale_attachment", nodes=["ip-1"], objects=[pod])],
        allow=HARMLESS,
        forbid=["storage.multi_attach"],
    )


@scenario
def storage_attach_timeout__positive_no_attachment_and_no_controller() -> Scenario:
    lab = cluster(GCE, "gke-a", "gke-b")
    owns(lab, "gke-b", 7, handle="projects/p/zones/z1/disks/pvc-7")
    lab.disk("db/data-0", "pvc-0", zone="z1", handle="projects/p/zones/z1/disks/pvc-0")
    pod = waits(lab, "gke-a", minutes=12)
    says(
        lab,
        pod,
        "FailedMount",
        (
            "Unable to attach or mount volumes: unmounted volumes=[data], unattached volumes=[data], failed to process "
            "volumes=[]: context deadline exceeded"
        ),
    )
    return Scenario(
        lab,
        why=("nobody has begun to attach it"),
        expect=[Want("storage.attach_timeout", nodes=["gke-a"], objects=[pod])],
        allow=HARMLESS,
    )


@scenario
def storage_resize_failed__positive_by_its_condition_of_1_32() -> Scenario:
    lab = cluster(GCE, "gke-a")
    owns(lab, "gke-a", handle="projects/p/zones/z1/disks/pvc-0")
    error = {
        "type": "ControllerResizeError",
        "status": "True",
        "lastProbeTime": None,
        "lastTransitionTime": stamp(lab.now - 2000),
        "message": "failed to expand pvc with rpc error: code = ResourceExhausted desc = quota exceeded",
    }
    lab.claim(
        "db/data-0", volume="pvc-0", resize_to="2Ti", resize_status="ControllerResizeInfeasible", conditions=[error]
    )
    lab.unlisted.add("events")
    return Scenario(
        lab,
        why=("no events, the condition tells"),
        expect=[Want("storage.resize_failed", objects=["PersistentVolumeClaim/db/data-0"])],
        allow=HARMLESS,
    )


@scenario
def storage_driver_not_registered__near_miss_a_node_that_has_just_come_up() -> Scenario:
    lab = cluster("ebs.csi.aws.com", "ip-1", hosts=False)
    lab.node("ip-2", zone="z1", created=-150, ready_since=-90)
    lab.csinode("ip-2", {})
    lab.disk("db/data-0", "pvc-0", zone="z1", attached_to="ip-2")
    pod = waits(lab, "ip-2", minutes=1.3)
    says(
        lab,
        pod,
        "FailedMount",
        (
            'MountVolume.MountDevice failed for volume "pvc-0" : kubernetes.io/csi: attacher.MountDevice failed to '
            "create newCsiDriverClient: driver name ebs.csi.aws.com not found in "
            "the list of registered CSI drivers"
        ),
        count=3,
        first=-70,
        last=-10,
    )
    return Scenario(lab, why="its driver is coming up", allow=HARMLESS)


@scenario
def storage_provision_failed_quota_or_cloud__near_miss_throttled_and_then_made() -> Scenario:
    lab = cluster("ebs.csi.aws.com", "ip-1")
    owns(lab, "ip-1")
    lab.event(
        "PersistentVolumeClaim",
        "db/data-0",
        "ProvisioningFailed",
        (
            'failed to provision volume with StorageClass "gp3": rpc error: code = Internal desc = '
            "RequestLimitExceeded: Request limit exceeded."
        ),
        component="ebs.csi.aws.com_x",
        count=6,
        first=-900,
        last=-500,
    )
    lab.event(
        "PersistentVolumeClaim",
        "db/data-0",
        "ProvisioningSucceeded",
        ("Successfully provisioned volume pvc-0"),
        component="ebs.csi.aws.com_x",
        type="Normal",
        last=-480,
    )
    return Scenario(lab, why="it is bound", allow=HARMLESS)


@scenario
def node_lost__near_miss_a_kubelet_that_restarts() -> Scenario:
    lab = Lab("blip")
    lab.storage_class("gp3", default=True)
    for number in range(3):
        lab.node(f"n{number}", zone="z1")
    lab.node("n0", zone="z1", ready="Unknown", ready_since=-15)
    lab.disk("db/data", "pvc-0", zone="z1", attached_to="n0")
    lab.pod("db/pg-0", node="n0", owner=("StatefulSet", "pg"), claims={"d": "data"})
    return Scenario(lab, why="fifteen seconds of silence", allow=[*HARMLESS, "node.lost"])


@scenario
def sched_pdb_deadlock__positive_cordoned_a_minute_ago_and_no_pod_may_ever_go() -> Scenario:
    lab = Lab("never")
    for number in range(3):
        lab.node(f"n{number}")
    lab.node(
        "n0",
        patch={
            "spec": {
                "unschedulable": True,
                "taints": [
                    {
                        "key": "node.kubernetes.io/unschedulable",
                        "effect": "NoSchedule",
                        "timeAdded": stamp(lab.now - 60),
                    }
                ],
            }
        },
    )
    lab.pod("db/s-0", node="n0", owner=("StatefulSet", "s"), labels={"app": "s"})
    lab.budget("db/s", selector="app=s", max_unavailable=0, allowed=0, healthy=1, desired=1, expected=1)
    return Scenario(
        lab,
        why="maxUnavailable 0: no drain can pass, however long it waits",
        expect=[
            Want(
                "sched.pdb_deadlock",
                stage="risk",
                nodes=["n0"],
                objects=["PodDisruptionBudget/db/s"],
                says=["no drain can ever pass"],
            )
        ],
    )


@pytest.mark.parametrize("name", of_module(__name__))
def test_scenario(name: str) -> None:
    judge(of_module(__name__)[name]())
