"""What a tired eye confuses: causes that share their symptoms, several at once, clusters under repair.

See test_red_scenarios.py.
"""

from __future__ import annotations

import pytest

from tests.lab.cluster import Lab
from tests.lab.scenario import Scenario, Want, judge, of_module, scenario
from tests.lab.shapes import stamp
from tests.signatures.test_red_mixed import only_hosts
from tests.signatures.test_red_storage import AZURE, GAVE_UP, GCE, HARMLESS, VSPHERE, cluster, owns, says, waits

MINUTE = 60.0


# -- volumes --------------------------------------------------------------------------------------------------------


@scenario
def storage_detach_stuck__positive_the_old_pod_never_ends() -> Scenario:
    """A process in D state on the old node: its pod is Terminating for twenty minutes, its volume mounted."""
    lab = cluster("ebs.csi.aws.com", "ip-1", "ip-2")
    owns(lab, "ip-1")
    lab.host("ip-1").mount_csi("db/old-0", "pvc-0")
    lab.pod("db/old-0", node="ip-1", owner=("ReplicaSet", "db-7f"), claims={"data": "data-0"}, deleted=-1170)
    lab.tick(60)
    pod = waits(lab, "ip-2", minutes=19)
    says(
        lab,
        pod,
        "FailedAttachVolume",
        'Multi-Attach error for volume "pvc-0" Volume is already used by pod(s) old-0',
        count=1,
        first=-1140,
        last=-1140,
    )
    says(lab, pod, "FailedMount", GAVE_UP)
    return Scenario(
        lab,
        why="no detachment was asked for while a pod there still has it: it is in use elsewhere",
        expect=[Want("storage.multi_attach", nodes=["ip-1"], objects=[pod], severity="critical", says=["old-0"])],
        allow=HARMLESS,
        forbid=["storage.stale_attachment"],
    )


@scenario
def storage_multi_attach__near_miss_one_that_may_be_written_by_one_pod_only() -> Scenario:
    """ReadWriteOncePod is the scheduler's to refuse."""
    lab = Lab("rwop")
    for number in range(2):
        lab.node(f"n{number}", zone="z1")
    lab.disk("db/data", "pvc-0", modes=["ReadWriteOncePod"], attached_to="n0", zone="z1")
    lab.pod("db/a-0", node="n0", owner=("StatefulSet", "a"), claims={"d": "data"})
    told = (
        "0/2 nodes are available: 2 node has pod using PersistentVolumeClaim with the same name and "
        "ReadWriteOncePod access mode. preemption: 0/2 nodes are available: 2 No preemption victims found for "
        "incoming pod."
    )
    lab.pod("db/b-0", pending_since=-1000, scheduler_says=told, owner=("StatefulSet", "b"), claims={"d": "data"})
    return Scenario(
        lab,
        why="one pod at a time",
        expect=[Want("sched.volume_in_use", objects=["Pod/db/b-0"], severity="critical")],
        allow=HARMLESS,
        forbid=["storage.multi_attach", "sched.unbound_pvc"],
    )


@scenario
def storage_attach_timeout__positive_longhorn_is_not_ready_for_workloads() -> Scenario:
    lab = cluster("driver.longhorn.io", "n1", "n2", hosts=False)
    lab.disk("db/data-0", "pvc-0", handle="pvc-0")
    pod = waits(lab, "n1", minutes=11)
    error = "rpc error: code = Aborted desc = volume pvc-0 is not ready for workloads"
    lab.attachment("pvc-0", "n1", attached=False, created=-650, attach_error=error)
    says(lab, pod, "FailedAttachVolume", f'AttachVolume.Attach failed for volume "pvc-0" : {error}')
    return Scenario(
        lab,
        why="eleven minutes, and the attacher names no other node",
        expect=[Want("storage.attach_timeout", nodes=["n1"], objects=[pod])],
        allow=HARMLESS,
    )


@scenario
def storage_stale_attachment__positive_shut_down_without_being_drained() -> Scenario:
    """Ready Unknown for half an hour; the pod of a StatefulSet is not made anew, so nobody waits elsewhere yet."""
    lab = cluster(VSPHERE, "esx-1", "esx-2", hosts=False)
    lab.disk("db/data-pg-0", "pvc-0", zone="z1", attached_to="esx-1", handle="5c0f-1")
    lab.lose_node("esx-1", since=-1800)
    lab.pod("db/pg-0", node="esx-1", owner=("StatefulSet", "pg"), claims={"d": "data-pg-0"}, deleted=-1470)
    return Scenario(
        lab,
        why="node gone, its volume still attached there, its pod Terminating for ever",
        expect=[
            Want("storage.stale_attachment", nodes=["esx-1"], stage="risk|active", severity="info"),
            Want("node.lost", nodes=["esx-1"]),
        ],
        allow=HARMLESS,
        forbid=["storage.multi_attach", "storage.detach_stuck"],
    )


@scenario
def storage_mount_failed_fs__positive_xfs_with_the_same_uuid() -> Scenario:
    lab = cluster("ebs.csi.aws.com", "ip-1")
    lab.disk("db/data-0", "pvc-0", zone="z1", attached_to="ip-1", fs="xfs")
    lab.host("ip-1").attach_volume("pvc-0")
    pod = waits(lab, "ip-1", minutes=14)
    says(
        lab,
        pod,
        "FailedMount",
        (
            'MountVolume.MountDevice failed for volume "pvc-0" : rpc error: code = Internal desc = could not format '
            '"/dev/nvme1n1" and mount it at '
            '"/var/lib/kubelet/plugins/kubernetes.io/csi/ebs.csi.aws.com/0f/globalmount": mount failed: exit status '
            "32 Output: mount: wrong fs type, bad option, bad superblock on /dev/nvme1n1"
        ),
    )
    lab.host("ip-1").kernel("XFS (nvme1n1): Filesystem has duplicate UUID 9f0a - can't mount", at=-60)
    lab.tick(60)
    return Scenario(
        lab,
        why="a clone beside its original",
        expect=[Want("storage.mount_failed_fs", nodes=["ip-1"], objects=[pod])],
        allow=HARMLESS,
        forbid=["storage.io_error_readonly"],
    )


@scenario
def storage_io_error_readonly__positive_ext4_has_given_up_on_6_18() -> Scenario:
    lab = cluster(AZURE, "aks-0")
    owns(lab, "aks-0", handle="/subscriptions/s/disks/pvc-0")
    host = lab.host("aks-0")
    host.mount_csi("db/old-0", "pvc-0", "sdc")
    host.fs_errors("sdc", 0)
    lab.tick(60)
    host.fs_errors("sdc", 4, first=-30, last=-20)
    host.read_only("sdc", "emergency_ro")
    host.kernel(
        "EXT4-fs error (device sdc): ext4_journal_check_start:84: comm postgres: Detected aborted journal", at=-30
    )
    host.kernel("EXT4-fs (sdc): Remounting filesystem read-only", at=-30)
    return Scenario(
        lab,
        why="emergency_ro behind the dash",
        expect=[Want("storage.io_error_readonly", nodes=["aks-0"], objects=["Pod/db/old-0"], count=1)],
        allow=HARMLESS,
        forbid=["node.kernel_io_error"],
    )


@scenario
def storage_io_error_readonly__near_miss_volumes_that_are_meant_to_be_read_only() -> Scenario:
    lab = cluster("ebs.csi.aws.com", "ip-1")
    lab.disk("db/ro", "pvc-0", zone="z1", attached_to="ip-1", modes=["ReadOnlyMany"])
    lab.pod("db/r-0", node="ip-1", owner=("ReplicaSet", "r"), claims={"d": "ro"})
    host = lab.host("ip-1")
    host.mount_csi("db/r-0", "pvc-0", read_only=True)
    host.read_only("nvme1n1")
    host.kernel(
        "EXT4-fs (nvme1n1): mounted filesystem 0f ro with ordered data mode. Quota mode: none.", at=-600, level=6
    )
    host.kernel("device-mapper: uevent: version 1.0.3", at=-9000, level=6)
    lab.tick(60)
    return Scenario(lab, why="nothing failed", allow=HARMLESS)


@scenario
def sched_volume_zone__positive_the_class_allows_a_zone_without_nodes() -> Scenario:
    lab = Lab("topo", driver=GCE)
    for zone in "ab":
        lab.node(f"n-{zone}", zone=f"z-{zone}")
    lab.storage_class("only-c", zones=["z-c"], driver=GCE)
    lab.claim("db/data", storage_class="only-c", created=-1400)
    lab.event(
        "PersistentVolumeClaim",
        "db/data",
        "WaitForFirstConsumer",
        "waiting for first consumer to be created before binding",
        count=90,
        first=-1400,
        last=-10,
    )
    told = (
        "0/2 nodes are available: 2 node(s) didn't find available persistent volumes to bind. no new claims to "
        "deallocate, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
    )
    lab.pod("db/pg-0", pending_since=-1400, scheduler_says=told, owner=("StatefulSet", "pg"), claims={"d": "data"})
    return Scenario(
        lab,
        why="allowedTopologies names a zone where there is no node",
        expect=[Want("sched.volume_zone", objects=["Pod/db/pg-0"], severity="critical", says=["only-c"])],
        allow=[*HARMLESS, "storage.provision_failed_topology"],
    )


@scenario
def storage_provision_failed_quota_or_cloud__positive_ceph_is_full() -> Scenario:
    lab = cluster("rook-ceph.rbd.csi.ceph.com", "n1", "n2", hosts=False)
    lab.storage_class("ceph", waits=False, driver="rook-ceph.rbd.csi.ceph.com")
    lab.claim("db/data", storage_class="ceph", created=-1400)
    lab.event(
        "PersistentVolumeClaim",
        "db/data",
        "ProvisioningFailed",
        (
            'failed to provision volume with StorageClass "ceph": rpc error: code = Internal desc = rados: ret=-28, '
            "No space left on device"
        ),
        component="rook-ceph.rbd.csi.ceph.com_p-0",
        count=12,
        first=-1390,
        last=-70,
    )
    told = "0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims. not found"
    lab.pod("db/pg-0", pending_since=-1400, scheduler_says=told, owner=("StatefulSet", "pg"), claims={"d": "data"})
    return Scenario(
        lab,
        why="the storage behind it is full; the nodes are not",
        expect=[
            Want("storage.provision_failed_quota_or_cloud", objects=["PersistentVolumeClaim/db/data"]),
            Want("sched.unbound_pvc", objects=["Pod/db/pg-0"], caused_by="storage.provision_failed_quota_or_cloud"),
        ],
        allow=HARMLESS,
        forbid=["image.disk_or_snapshotter", "node.disk_pressure"],
    )


@scenario
def storage_immediate_binding__positive_in_three_zones() -> Scenario:
    lab = Lab("imm")
    for zone in "abc":
        lab.node(f"n-{zone}", zone=f"eu-1{zone}")
    lab.storage_class("gp2", waits=False, default=True)
    lab.disk("db/data", "pvc-0", zone="eu-1a", storage_class="gp2", attached_to="n-a")
    lab.pod("db/pg-0", node="n-a", owner=("StatefulSet", "pg"), claims={"d": "data"})
    return Scenario(
        lab,
        why="the zone is chosen before the pod is",
        expect=[
            Want("storage.immediate_binding", stage="risk", severity="info", objects=["PersistentVolumeClaim/db/data"])
        ],
        allow=HARMLESS,
    )


# -- places ---------------------------------------------------------------------------------------------------------


@scenario
def sched_insufficient_resources__positive_the_zone_of_its_volume_is_full() -> Scenario:
    lab = Lab("zonefull", driver=GCE)
    lab.node("a-0", zone="z-a")
    lab.pod("web/busy", node="a-0", owner=("ReplicaSet", "busy"), requests={"cpu": "3900m"})
    for number in range(4):
        lab.node(f"b-{number}", zone="z-b")
    lab.disk("db/data", "pvc-0", zone="z-a", handle="projects/p/zones/z-a/disks/pvc-0")
    told = (
        "0/5 nodes are available: 1 Insufficient cpu, 4 node(s) had volume node affinity conflict. preemption: 0/5 "
        "nodes are available: 1 No preemption victims found for incoming pod, 4 Preemption is not helpful for "
        "scheduling."
    )
    lab.pod(
        "db/pg-0",
        pending_since=-1100,
        scheduler_says=told,
        owner=("StatefulSet", "pg"),
        claims={"d": "data"},
        requests={"cpu": "1"},
    )
    return Scenario(
        lab,
        why="there is a node where the volume is, and it is full: not the zone is wrong",
        expect=[Want("sched.insufficient_resources", objects=["Pod/db/pg-0"], severity="critical")],
        allow=HARMLESS,
        forbid=["storage.zone_mismatch", "sched.volume_zone"],
    )


@scenario
def sched_unschedulable_cordoned__positive_a_gitops_upgrade_that_stopped_half_way() -> Scenario:
    lab = Lab("half")
    lab.node("cp", role="control-plane")
    lab.node("old-0", cordoned=True, labels={"pool": "gpu"})
    lab.node("old-1", cordoned=True, labels={"pool": "gpu"})
    for number in range(3):
        lab.node(f"web-{number}", labels={"pool": "web"})
    told = (
        "0/6 nodes are available: 1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }, 2 "
        "node(s) were unschedulable, 3 node(s) didn't match Pod's node affinity/selector. preemption: 0/6 nodes are "
        "available: 6 Preemption is not helpful for scheduling."
    )
    lab.pod("ml/t-0", pending_since=-4000, scheduler_says=told, node_selector={"pool": "gpu"}, owner=("Job", "t"))
    return Scenario(
        lab,
        why="both nodes of the pool that it selects are cordoned",
        expect=[
            Want("sched.unschedulable_cordoned", objects=["Pod/ml/t-0"], nodes=["old-0", "old-1"], severity="critical")
        ],
        forbid=["sched.node_affinity", "sched.taint"],
    )


@scenario
def sched_taint__positive_disk_pressure_on_all_workers() -> Scenario:
    lab = Lab("disk")
    for number in range(2):
        lab.node(
            f"n{number}",
            conditions={"DiskPressure": "True"},
            taints=["node.kubernetes.io/disk-pressure:NoSchedule"],
            ready_since=-1800,
        )
    told = (
        "0/2 nodes are available: 2 node(s) had untolerated taint {node.kubernetes.io/disk-pressure: }. preemption: "
        "0/2 nodes are available: 2 Preemption is not helpful for scheduling."
    )
    lab.pod("web/w-0", pending_since=-1100, scheduler_says=told, owner=("ReplicaSet", "w"))
    return Scenario(
        lab,
        why="the nodes are short of disk",
        expect=[
            Want("sched.taint", objects=["Pod/web/w-0"], severity="critical", caused_by="node.disk_pressure"),
            Want("node.disk_pressure", nodes=["n0"]),
            Want("node.disk_pressure", nodes=["n1"], count=2),
        ],
    )


@scenario
def sched_pod_anti_affinity__positive_a_roll_out_that_wants_one_more_than_there_are_nodes() -> Scenario:
    """maxSurge 1 with one pod to a node: the new pod can never come before an old one goes."""
    lab = Lab("surge")
    lab.deployment("web/w", replicas=3)
    for number in range(3):
        lab.node(f"n{number}")
        lab.pod(
            f"web/w-1-{number}",
            node=f"n{number}",
            owner=("ReplicaSet", "w-1"),
            labels={"app": "w"},
            anti_affinity=[("app=w", "kubernetes.io/hostname")],
        )
    told = (
        "0/3 nodes are available: 3 node(s) didn't match pod anti-affinity rules. preemption: 0/3 nodes are "
        "available: 3 No preemption victims found for incoming pod."
    )
    lab.pod(
        "web/w-2-0",
        pending_since=-1500,
        scheduler_says=told,
        owner=("ReplicaSet", "w-2"),
        labels={"app": "w"},
        anti_affinity=[("app=w", "kubernetes.io/hostname")],
    )
    return Scenario(
        lab,
        why="a roll-out that waits for itself",
        expect=[Want("sched.pod_anti_affinity", objects=["Pod/web/w-2-0"], severity="critical")],
    )


@scenario
def sched_topology_spread__positive_one_zone_has_no_room() -> Scenario:
    lab = Lab("skew")
    for zone in "abc":
        lab.node(f"n-{zone}", zone=f"z-{zone}")
    lab.pod("x/hog", node="n-c", owner=("ReplicaSet", "hog"), requests={"cpu": "3900m"})
    for zone in "ab":
        lab.pod(
            f"web/w-{zone}", node=f"n-{zone}", owner=("ReplicaSet", "w"), labels={"app": "w"}, requests={"cpu": "500m"}
        )
    told = (
        "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) didn't match pod topology spread constraints. "
        "preemption: 0/3 nodes are available: 1 No preemption victims found for incoming pod, 2 Preemption is not "
        "helpful for scheduling."
    )
    lab.pod(
        "web/w-n",
        pending_since=-1500,
        scheduler_says=told,
        owner=("ReplicaSet", "w"),
        labels={"app": "w"},
        requests={"cpu": "500m"},
        spread=[("app=w", "topology.kubernetes.io/zone", 1)],
    )
    return Scenario(
        lab,
        why="the reason that stops the most is the spread; that the emptiest zone is full is told beside it",
        expect=[Want("sched.topology_spread", objects=["Pod/web/w-n"], severity="critical")],
        allow=["sched.insufficient_resources"],
    )


@scenario
def sched_host_port__positive_a_deployment_with_more_replicas_than_nodes() -> Scenario:
    lab = Lab("ports")
    for number in range(3):
        lab.node(f"n{number}")
        lab.pod(f"in/g-{number}", node=f"n{number}", owner=("ReplicaSet", "g"), host_ports=[8443])
    lab.node("cp", role="control-plane")
    told = (
        "0/4 nodes are available: 1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }, 3 "
        "node(s) didn't have free ports for the requested pod ports. preemption: 0/4 nodes are available: 1 "
        "Preemption is not helpful for scheduling, 3 No preemption victims found for incoming pod."
    )
    for number in range(5):
        lab.pod(
            f"in/g-n{number}", pending_since=-1500, scheduler_says=told, owner=("ReplicaSet", "g"), host_ports=[8443]
        )
    return Scenario(
        lab,
        why="eight replicas, three nodes, one port",
        expect=[Want("sched.host_port", objects=[f"Pod/in/g-n{n}" for n in range(5)], severity="critical", count=1)],
    )


@scenario
def sched_quota__positive_of_three_kinds_of_controllers_in_one_namespace() -> Scenario:
    lab = Lab("quota")
    lab.quota("team/compute", {"requests.cpu": "10", "pods": "50"}, {"requests.cpu": "10", "pods": "20"})
    lab.deployment("team/web", replicas=4, ready=2)
    lab.replicaset("team/web-6c", replicas=4, made=2, owner=("Deployment", "web"))
    lab.statefulset("team/db", replicas=3, made=1, ready=1)
    text = (
        "is forbidden: exceeded quota: compute, requested: requests.cpu=1, used: requests.cpu=10, limited: "
        "requests.cpu=10"
    )
    lab.event(
        "ReplicaSet",
        "team/web-6c",
        "FailedCreate",
        f'Error creating: pods "web-6c-a" {text}',
        count=20,
        first=-3000,
        last=-300,
    )
    lab.event(
        "StatefulSet",
        "team/db",
        "FailedCreate",
        f'create Pod db-1 in StatefulSet db failed error: pods "db-1" {text}',
        count=20,
        first=-3000,
        last=-200,
    )
    return Scenario(
        lab,
        why="one quota is used up",
        expect=[
            Want(
                "sched.quota",
                objects=["ReplicaSet/team/web-6c", "StatefulSet/team/db", "ResourceQuota/team/compute"],
                count=1,
            )
        ],
    )


@scenario
def sched_unknown__positive_nothing_said_for_half_an_hour() -> Scenario:
    lab = Lab("silent")
    lab.node("n1")
    for number in range(3):
        lab.pod(
            f"web/w-{number}", pending_since=-1800, owner=("ReplicaSet", "w"), patch={"status": {"conditions": None}}
        )
    lab.lease("kube-system/kube-scheduler", "cp-0_x", renewed=-1900, renews=False, seconds=15)
    return Scenario(
        lab,
        why="no condition, no event, room on the node, and the scheduler's lease is half an hour old",
        expect=[Want("sched.unknown", objects=["Pod/web/w-0", "Pod/web/w-2"], severity="critical", count=1)],
        allow=["cp.lease_renew_failed", "cp.leader_lost"],
    )


@scenario
def sched_unknown__near_miss_a_cluster_that_is_being_upgraded() -> Scenario:
    lab = Lab("upgrade")
    for number in range(5):
        lab.node(f"n{number}")
    lab.node("n0", cordoned=True, ready="False", ready_since=-50)
    lab.node(
        "n5",
        ready="False",
        ready_since=-20,
        created=-25,
        taints=["node.cloudprovider.kubernetes.io/uninitialized=true:NoSchedule"],
    )
    for number in range(5):
        lab.pod(
            f"kube-system/cni-{number}",
            node=f"n{number}",
            owner=("DaemonSet", "cni"),
            tolerations=["*"],
            restarts=1,
            last_exit=("Completed", 0),
        )
        lab.pod(f"web/w-{number}", node=f"n{(number + 1) % 5}", owner=("ReplicaSet", "w"), created=-200)
    lab.pod(
        "kube-system/cni-5",
        node="n5",
        owner=("DaemonSet", "cni"),
        tolerations=["*"],
        pending_since=-20,
        waiting="PodInitializing",
    )
    lab.event(
        "Pod",
        "kube-system/cni-5",
        "FailedMount",
        (
            'MountVolume.SetUp failed for volume "kube-api-access-x" : object "kube-system"/"kube-root-ca.crt" not '
            "registered"
        ),
        last=-15,
    )
    lab.event(
        "Pod",
        "web/w-1",
        "FailedCreatePodSandBox",
        (
            'Failed to create pod sandbox: rpc error: code = Unknown desc = plugin type="cilium-cni" failed (add): '
            "unable to connect to Cilium agent"
        ),
        last=-150,
    )
    lab.event(
        "Node",
        "n0",
        "NodeNotReady",
        "Node n0 status is now: NodeNotReady",
        component="kubelet",
        type="Normal",
        last=-50,
    )
    lab.tick(60)
    lab.node("n0", cordoned=True, ready="False", ready_since=-110)
    lab.node("n5", created=-85, ready_since=-10)
    lab.pod("kube-system/cni-5", node="n5", owner=("DaemonSet", "cni"), tolerations=["*"], created=-80)
    return Scenario(
        lab, why="one node after the other, as it should be", allow=["node.not_ready", "storage.stranded_on_loss"]
    )


@scenario
def sched_pdb_deadlock__near_miss_the_autoscaler_is_only_thinking_of_it() -> Scenario:
    lab = Lab("soft")
    for number in range(3):
        lab.node(
            f"n{number}", taints=["DeletionCandidateOfClusterAutoscaler=1790:PreferNoSchedule"] if number == 0 else []
        )
    lab.pod("db/s-0", node="n0", owner=("StatefulSet", "s"), labels={"app": "s"})
    lab.budget("db/s", selector="app=s", min_available=1, allowed=0, healthy=1, desired=1, expected=1)
    for _ in range(3):
        lab.tick(300)
    return Scenario(
        lab,
        why="a candidate that nobody drains: the autoscaler respects the budget and leaves it",
        forbid=["sched.pdb_deadlock"],
    )


@scenario
def crash_dependency_unreachable__near_miss_a_migration_that_took_three_tries() -> Scenario:
    lab = Lab("init")
    lab.node("n1")
    status = {
        "name": "wait-for-db",
        "image": "x:1",
        "imageID": "",
        "ready": True,
        "restartCount": 3,
        "state": {
            "terminated": {
                "exitCode": 0,
                "reason": "Completed",
                "startedAt": stamp(lab.now - 110),
                "finishedAt": stamp(lab.now - 100),
            }
        },
        "lastState": {
            "terminated": {
                "exitCode": 1,
                "reason": "Error",
                "message": "dial tcp 10.0.0.1:5432: connect: connection refused",
                "startedAt": stamp(lab.now - 160),
                "finishedAt": stamp(lab.now - 150),
            }
        },
    }
    lab.pod(
        "web/w-0",
        node="n1",
        owner=("ReplicaSet", "w"),
        created=-300,
        patch={
            "spec": {"initContainers": [{"name": "wait-for-db", "image": "x:1"}]},
            "status": {"initContainerStatuses": [status]},
        },
    )
    return Scenario(lab, why="it waited for its database, and is up")


# -- hosts and lists that do not meet -------------------------------------------------------------------------------


@scenario
def storage_orphaned_device__near_miss_a_host_whose_name_no_node_has() -> Scenario:
    lab = cluster("ebs.csi.aws.com", "ip-1", "ip-2")
    owns(lab, "ip-1")
    lab.host("ip-1").mount_csi("db/old-0", "pvc-0")
    lab.hosts["ip-1.example.internal"] = lab.hosts.pop("ip-1")
    for _ in range(3):
        lab.tick(300)
    return Scenario(
        lab, why="it is ip-1 by another name, which cannot be known; so nothing of it is proven", allow=HARMLESS
    )


@scenario
def storage_multi_attach__near_miss_the_pod_moved_after_the_objects_were_listed() -> Scenario:
    lab = cluster("ebs.csi.aws.com", "ip-1", "ip-2")
    owns(lab, "ip-1")
    lab.host("ip-1").mount_csi("db/old-0", "pvc-0")
    lab.tick(600)
    lab.host("ip-1").release("db/old-0", "pvc-0")
    lab.host("ip-2").mount_csi("db/new-0", "pvc-0", pod_uid="0d6b4b1e-0000-4000-8000-000000000001")
    lab.tick(600)
    only_hosts(lab, first=False)
    lab.unlisted |= {
        path.partition("/")[2].removesuffix(".json") for path in lab.snapshots[0][2] if path.startswith("kube/")
    }
    return Scenario(lab, why="hosts of now against pods of twenty minutes ago prove nothing", allow=HARMLESS)


@scenario
def storage_orphaned_device__near_miss_no_list_of_nodes_or_claims() -> Scenario:
    lab = cluster("ebs.csi.aws.com", "ip-1", "ip-2")
    owns(lab, "ip-1")
    lab.host("ip-1").mount_csi("db/old-0", "pvc-0")
    for _ in range(3):
        lab.tick(300)
    lab.unlisted |= {"nodes", "persistentvolumeclaims"}
    for index, (name, at, files) in enumerate(lab.snapshots):
        kept = {
            path: text
            for path, text in files.items()
            if path not in ("kube/nodes.json", "kube/persistentvolumeclaims.json")
        }
        lab.snapshots[index] = (name, at, kept)
    return Scenario(lab, why="what was not listed is not absent", allow=HARMLESS)


@scenario
def storage_orphaned_device__near_miss_an_in_tree_volume_that_was_migrated() -> Scenario:
    lab = cluster("ebs.csi.aws.com", "ip-1")
    source = {"awsElasticBlockStore": {"volumeID": "aws://eu-west-1a/vol-0123456789abcdef0", "fsType": "ext4"}}
    lab.disk("db/data", "pv-old", source=source, storage_class="gp2", zone="z1")
    lab.pod("db/pg-0", node="ip-1", owner=("StatefulSet", "pg"), claims={"d": "data"})
    lab.raw(
        "VolumeAttachment",
        "csi-0f1e",
        spec={"attacher": "ebs.csi.aws.com", "nodeName": "ip-1", "source": {"persistentVolumeName": "pv-old"}},
        status={"attached": True},
    )
    lab.host("ip-1").mount_csi("db/pg-0", "pv-old", handle="vol-0123456789abcdef0")
    for _ in range(3):
        lab.tick(300)
    return Scenario(lab, why="awsElasticBlockStore on paper, served by the CSI driver", allow=HARMLESS)


@scenario
def storage_detach_stuck__near_miss_a_pod_that_was_deleted_half_a_minute_ago() -> Scenario:
    lab = cluster("ebs.csi.aws.com", "ip-1", "ip-2")
    owns(lab, "ip-1")
    host = lab.host("ip-1")
    host.mount_csi("db/old-0", "pvc-0")
    lab.tick(60)
    host.unmount("db/old-0", "pvc-0")
    lab.delete("Pod/db/old-0")
    lab.attachment("pvc-0", "ip-1", deleted=-20)
    return Scenario(lab, why="it is being let go", allow=HARMLESS)


@scenario
def storage_stale_attachment__near_miss_raw_blocks_of_a_virtual_machine_that_moves() -> Scenario:
    lab = cluster("rook-ceph.rbd.csi.ceph.com", "n1", "n2")
    lab.disk("vm/disk", "pvc-0", handle="0001-9", modes=["ReadWriteMany"], block=True)
    for node in ("n1", "n2"):
        lab.attachment("pvc-0", node)
        lab.pod(f"vm/virt-launcher-{node}", node=node, claims={"d": "disk"}, block=["d"])
        lab.host(node).block_csi(f"vm/virt-launcher-{node}", "pvc-0", "rbd0", serial="")
    lab.tick(60)
    return Scenario(lab, why="KubeVirt's live migration has it on both nodes", allow=HARMLESS)


@scenario
def storage_io_error_readonly__near_miss_errors_of_last_year() -> Scenario:
    lab = cluster("ebs.csi.aws.com", "ip-1", "ip-2")
    for number, node in enumerate(("ip-1", "ip-2")):
        owns(lab, node, number)
        lab.host(node).mount_csi(f"db/old-{number}", f"pvc-{number}")
    lab.host("ip-1").fs_errors("nvme1n1", 3, first=-3e7, last=-2.9e7)
    lab.host("ip-2").file("sys/fs/ext4/nvme1n1/errors_count", "2\n")
    lab.host("ip-2").kernel("blk_update_request: I/O error, dev fd0, sector 0 op 0x0:(READ)", at=-86400 * 3)
    lab.host("ip-2").kernel("nfs: server 10.0.0.5 not responding, still trying", at=-7200)
    lab.host("ip-2").kernel("nfs: server 10.0.0.5 OK", at=-7190)
    lab.tick(60)
    return Scenario(lab, why="counts since the file system was made, that do not move", allow=HARMLESS)


@scenario
def sched_insufficient_resources__positive_out_of_service_after_a_node_was_lost() -> Scenario:
    """Somebody has put the taint that lets volumes go; the pod comes up elsewhere and waits for nothing but CPU."""
    lab = Lab("oos", driver=GCE)
    for number in range(3):
        lab.node(f"n{number}", zone="z1")
    lab.lose_node("n0", since=-1500)
    for number in (1, 2):
        lab.pod(f"web/busy-{number}", node=f"n{number}", owner=("ReplicaSet", "busy"), requests={"cpu": "3800m"})
    lab.disk("db/data", "pvc-0", zone="z1", handle="projects/p/zones/z1/disks/pvc-0")
    told = (
        "0/3 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/unreachable: }, 2 "
        "Insufficient cpu. preemption: 0/3 nodes are available: 1 Preemption is not helpful for scheduling, 2 No "
        "preemption victims found for incoming pod."
    )
    lab.pod(
        "db/pg-0",
        pending_since=-1000,
        scheduler_says=told,
        owner=("StatefulSet", "pg"),
        claims={"d": "data"},
        requests={"cpu": "1"},
    )
    return Scenario(
        lab,
        why="two are full, one is lost: the reason that stops the most is CPU",
        expect=[
            Want("sched.insufficient_resources", objects=["Pod/db/pg-0"], severity="critical"),
            Want("node.lost", nodes=["n0"]),
        ],
        allow=HARMLESS,
        forbid=["sched.taint"],
    )


@scenario
def sched_node_affinity__positive_in_the_words_of_1_9() -> Scenario:
    lab = Lab("ancient")
    for number in range(2):
        lab.node(f"n{number}")
    told = "No nodes are available that match all of the following predicates:: MatchNodeSelector (2)."
    lab.pod("web/w", pending_since=-1000, scheduler_says=told, node_selector={"disk": "ssd"})
    return Scenario(
        lab,
        why="nobody has the label",
        expect=[Want("sched.node_affinity", objects=["Pod/web/w"], severity="critical")],
    )


@pytest.mark.parametrize("name", of_module(__name__))
def test_scenario(name: str) -> None:
    judge(of_module(__name__)[name]())
