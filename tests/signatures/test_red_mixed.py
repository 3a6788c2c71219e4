"""Harder ones: lists of another time than the hosts, several faults at once, large numbers, odd disks.

See test_red_scenarios.py.
"""

from __future__ import annotations

import pytest

from tests.lab.cluster import Lab
from tests.lab.pods import ContainerFields
from tests.lab.scenario import Scenario, Want, judge, of_module, scenario
from tests.signatures.test_red_storage import AZURE, GAVE_UP, GCE, HARMLESS, cluster, owns, says, waits

MINUTE = 60.0


def only_hosts(lab: Lab, *, first: bool) -> None:
    """The objects are in the last snapshot only (`first`: the first ones have none), as most collections have them."""
    for index, (name, at, files) in enumerate(lab.snapshots):
        if first or index:
            lab.snapshots[index] = (
                name,
                at,
                {path: text for path, text in files.items() if not path.startswith("kube/")},
            )


# -- attachments against what hosts show ----------------------------------------------------------------------------


@scenario
def storage_stale_attachment__positive_the_host_shows_its_root_disk_only() -> Scenario:
    lab = cluster("ebs.csi.aws.com", "ip-1", "ip-2")
    lab.disk("db/data-0", "pvc-0", zone="z1", attached_to="ip-2")
    pod = waits(lab, "ip-2", minutes=9)
    says(lab, pod, "FailedMount", GAVE_UP)
    lab.tick(60)
    only_hosts(lab, first=True)
    return Scenario(
        lab,
        why="attached: true for two hours, and diskstats of ip-2 name nothing but the root disk",
        expect=[Want("storage.stale_attachment", nodes=["ip-2"], objects=[pod])],
        allow=HARMLESS,
        forbid=["storage.attach_timeout", "storage.multi_attach"],
    )


@scenario
def storage_stale_attachment__positive_another_volume_is_there_and_this_is_not() -> Scenario:
    lab = cluster("ebs.csi.aws.com", "ip-1", "ip-2")
    owns(lab, "ip-2", 1)
    lab.host("ip-2").mount_csi("db/old-1", "pvc-1")
    lab.disk("db/data-0", "pvc-0", zone="z1", attached_to="ip-2")
    pod = waits(lab, "ip-2", minutes=9)
    says(lab, pod, "FailedMount", GAVE_UP)
    says(
        lab,
        pod,
        "FailedMount",
        (
            'MountVolume.MountDevice failed for volume "pvc-0" : rpc error: code = Internal desc = Failed to find '
            'device path /dev/xvdba. no device path for device "/dev/xvdba" volume "vol-0" found'
        ),
    )
    lab.tick(60)
    return Scenario(
        lab,
        why="the one disk that is there is mounted as another volume",
        expect=[Want("storage.stale_attachment", nodes=["ip-2"], objects=[pod])],
        allow=HARMLESS,
        forbid=["storage.device_not_found"],
    )


@scenario
def storage_stale_attachment__positive_on_azure_without_a_disk() -> Scenario:
    lab = cluster(AZURE, "aks-0", "aks-1")
    lab.disk("db/data-0", "pvc-0", zone="z1", attached_to="aks-1", handle="/subscriptions/s/disks/pvc-0")
    pod = waits(lab, "aks-1", minutes=9)
    says(
        lab,
        pod,
        "FailedMount",
        (
            'MountVolume.MountDevice failed for volume "pvc-0" : rpc error: code = Internal desc = failed to find disk '
            "on lun 0"
        ),
    )
    lab.tick(60)
    return Scenario(
        lab,
        why="no disk beside the root's: LUN 0 is not there",
        expect=[Want("storage.stale_attachment", nodes=["aks-1"], objects=[pod])],
        allow=[*HARMLESS],
    )


@scenario
def storage_orphaned_device__near_miss_a_data_disk_of_the_machine() -> Scenario:
    lab = cluster("ebs.csi.aws.com", "ip-1", "ip-2")
    lab.host("ip-1").attach("nvme1n1", serial="vol0123456789abcdef0", size="500Gi")
    lab.host("ip-2").attach("nvme1n1", serial="AWS1234567890", model="Amazon EC2 NVMe Instance Storage", size="900Gi")
    for _ in range(3):
        lab.tick(300)
    return Scenario(
        lab,
        why=("nothing ties either to Kubernetes: a data disk of the launch template, an instance store"),
        allow=HARMLESS,
    )


@scenario
def storage_multi_attach__near_miss_the_network_plug_in_is_out_of_addresses() -> Scenario:
    lab = cluster("ebs.csi.aws.com", "ip-1", "ip-2")
    lab.disk("db/data-0", "pvc-0", zone="z1", attached_to="ip-2")
    pod = waits(lab, "ip-2", minutes=12)
    lab.host("ip-2").mount_csi(pod.removeprefix("Pod/"), "pvc-0")
    says(
        lab,
        pod,
        "FailedCreatePodSandBox",
        (
            'Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox "0f": '
            'plugin type="aws-cni" name="aws-cni" failed (add): add cmd: failed to assign an IP address to container'
        ),
    )
    lab.tick(60)
    return Scenario(
        lab,
        why="its volume is mounted",
        allow=[*HARMLESS, "net.ip_exhausted", "net.sandbox_cni_failed"],
        forbid=["storage.attach_timeout", "storage.stale_attachment", "storage.multi_attach"],
    )


@scenario
def storage_attach_timeout__near_miss_a_secret_store_that_refuses() -> Scenario:
    lab = cluster("ebs.csi.aws.com", "ip-1", hosts=False)
    lab.pod(
        "pay/api-7c-0",
        node="ip-1",
        owner=("ReplicaSet", "api-7c"),
        pending_since=-700,
        waiting="ContainerCreating",
        patch={
            "spec": {
                "volumes": [
                    {
                        "name": "secrets",
                        "csi": {
                            "driver": "secrets-store.csi.k8s.io",
                            "readOnly": True,
                            "volumeAttributes": {"secretProviderClass": "pay"},
                        },
                    }
                ]
            }
        },
    )
    says(
        lab,
        "Pod/pay/api-7c-0",
        "FailedMount",
        (
            'MountVolume.SetUp failed for volume "secrets" : rpc error: code = Unknown desc = failed to mount secrets '
            "store objects for pod pay/api-7c-0, err: rpc error: code = Unknown desc = us-east-1: Failed to fetch "
            "secret from all regions. Verify secret exists and required permissions are granted for: prod/pay: "
            "AccessDeniedException: User: arn:aws:sts::1:assumed-role/x is not authorized to perform: "
            "secretsmanager:GetSecretValue"
        ),
    )
    return Scenario(
        lab,
        why="rights are wanting for a volume that nothing is attached for",
        expect=[Want("storage.mount_permission_or_auth", objects=["Pod/pay/api-7c-0"])],
        allow=HARMLESS,
    )


@scenario
def storage_detach_stuck__positive_and_its_new_pod_on_a_mixed_cluster() -> Scenario:
    """Two faults of storage and one of the scheduler, none of which has to do with another."""
    lab = cluster(AZURE, "aks-0", "aks-1", "aks-2", hosts=False)
    lab.disk("db/data-0", "pvc-0", zone="z1", handle="/subscriptions/s/disks/pvc-0")
    lab.attachment(
        "pvc-0",
        "aks-0",
        deleted=-800,
        detach_error=("rpc error: code = Internal desc = could not detach: context deadline exceeded"),
    )
    one = waits(lab, "aks-1", minutes=13)
    lab.claim("ci/cache", storage_class="fast", created=-1500)
    lab.event(
        "PersistentVolumeClaim",
        "ci/cache",
        "ProvisioningFailed",
        ('storageclass.storage.k8s.io "fast" not found'),
        count=90,
        first=-1500,
        last=-20,
    )
    told = (
        "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims. preemption: 0/3 nodes are "
        "available: 3 Preemption is not helpful for scheduling."
    )
    lab.pod("ci/run-0", pending_since=-1500, scheduler_says=told, claims={"c": "cache"})
    lab.pod(
        "ml/big-0",
        pending_since=-2000,
        scheduler_says=("0/3 nodes are available: 3 Insufficient cpu."),
        requests={"cpu": "32"},
    )
    return Scenario(
        lab,
        why="three causes, three findings and what follows from one of them",
        expect=[
            Want("storage.detach_stuck", nodes=["aks-0"], objects=[one], count=1),
            Want("storage.provision_failed_class_missing", objects=["PersistentVolumeClaim/ci/cache"], count=1),
            Want(
                "sched.unbound_pvc",
                objects=["Pod/ci/run-0"],
                caused_by="storage.provision_failed_class_missing",
                count=1,
            ),
            Want("sched.too_large", objects=["Pod/ml/big-0"], count=1),
        ],
        allow=HARMLESS,
        forbid=["storage.multi_attach", "sched.unknown"],
    )


# -- lists and hosts of different times -----------------------------------------------------------------------------


@scenario
def sched_insufficient_resources__near_miss_the_objects_are_of_ten_minutes_ago() -> Scenario:
    lab = Lab("early")
    for number in range(2):
        lab.node(f"n{number}")
        lab.host(f"n{number}")
        lab.pod(f"web/busy-{number}", node=f"n{number}", owner=("ReplicaSet", "busy"), requests={"cpu": "3900m"})
    lab.pod(
        "web/new-0",
        pending_since=-20,
        scheduler_says=("0/2 nodes are available: 2 Insufficient cpu."),
        owner=("ReplicaSet", "new"),
        requests={"cpu": "1"},
    )
    lab.pod(
        "web/new-1",
        node="n0",
        pending_since=-20,
        waiting="ContainerCreating",
        owner=("ReplicaSet", "new"),
        requests={"cpu": "1m"},
    )
    for _ in range(2):
        lab.tick(300)
    only_hosts(lab, first=False)
    lab.unlisted |= {
        path.partition("/")[2].removesuffix(".json") for path in lab.snapshots[0][2] if path.startswith("kube/")
    }
    return Scenario(
        lab,
        why="twenty seconds old when they were listed; of what became of them nobody has told",
        allow=["sched.stuck_waiting", "sched.headroom_low"],
    )


@scenario
def storage_stale_attachment__near_miss_nodes_whose_lists_are_of_ten_minutes_ago() -> Scenario:
    lab = cluster("ebs.csi.aws.com", "ip-1", "ip-2")
    owns(lab, "ip-1")
    lab.host("ip-1").mount_csi("db/old-0", "pvc-0")
    for _ in range(2):
        lab.tick(300)
    only_hosts(lab, first=False)
    lab.unlisted |= {
        path.partition("/")[2].removesuffix(".json") for path in lab.snapshots[0][2] if path.startswith("kube/")
    }
    return Scenario(lab, why="leases of ten minutes ago are as old as the list is", allow=HARMLESS)


# -- arithmetic -----------------------------------------------------------------------------------------------------


@scenario
def sched_fragmentation__positive_cpu_here_and_memory_there() -> Scenario:
    lab = Lab("shape")
    for number in range(2):
        lab.node(f"cpu-{number}", cpu="8", memory="8Gi")
        lab.pod(
            f"a/mem-{number}",
            node=f"cpu-{number}",
            owner=("ReplicaSet", "mem"),
            requests={"cpu": "100m", "memory": "7Gi"},
        )
        lab.node(f"mem-{number}", cpu="4", memory="32Gi")
        lab.pod(
            f"a/cpu-{number}",
            node=f"mem-{number}",
            owner=("ReplicaSet", "cpu"),
            requests={"cpu": "3800m", "memory": "1Gi"},
        )
    told = (
        "0/4 nodes are available: 2 Insufficient cpu, 2 Insufficient memory. preemption: 0/4 nodes are available: 4 "
        "No preemption victims found for incoming pod."
    )
    lab.pod(
        "a/want-0",
        pending_since=-1000,
        scheduler_says=told,
        owner=("ReplicaSet", "want"),
        requests={"cpu": "2", "memory": "6Gi"},
    )
    return Scenario(
        lab,
        why="CPU and memory are both free, and never on the same node",
        expect=[
            Want(
                "sched.fragmentation",
                objects=["Pod/a/want-0"],
                severity="critical",
                count=1,
                says=["2 CPU, which 2 nodes lack, and 6 GiB memory, which 2 nodes lack"],
            )
        ],
        forbid=["sched.too_large", "sched.insufficient_resources"],
        allow=["sched.headroom_low"],
    )


@scenario
def sched_too_large__positive_what_daemons_take_is_not_counted_but_overhead_is() -> Scenario:
    lab = Lab("kata")
    lab.node("n1", cpu="3920m", memory="14Gi")
    told = "0/1 nodes are available: 1 Insufficient cpu."
    lab.pod("a/kata-0", pending_since=-1000, scheduler_says=told, requests={"cpu": "3800m"}, overhead={"cpu": "250m"})
    return Scenario(
        lab,
        why="3.8 and 0.25 for the runtime are more than 3.92",
        expect=[Want("sched.too_large", objects=["Pod/a/kata-0"], severity="critical")],
    )


@scenario
def sched_insufficient_resources__positive_an_init_container_and_a_sidecar() -> Scenario:
    lab = Lab("init")
    lab.node("n1")
    lab.pod("a/busy", node="n1", requests={"cpu": "1500m"})
    told = (
        "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1 nodes are "
        "available: 1 No preemption victims found for incoming pod."
    )
    init = [
        ContainerFields(name="sidecar", requests={"cpu": "500m"}, restartable=True),
        ContainerFields(name="migrate", requests={"cpu": "2500m"}),
    ]
    lab.pod("a/web", pending_since=-1000, scheduler_says=told, requests={"cpu": "500m"}, init_containers=init)
    return Scenario(
        lab,
        why="the init container runs beside the sidecar: 3 CPU, of which 2.5 are free",
        expect=[Want("sched.insufficient_resources", objects=["Pod/a/web"], says=["3 CPU"])],
    )


@scenario
def sched_unbound_pvc__positive_a_volume_that_somebody_deleted() -> Scenario:
    lab = Lab("lost")
    lab.node("n1")
    lab.claim("db/data", volume="pvc-gone", phase="Lost")
    lab.event(
        "PersistentVolumeClaim",
        "db/data",
        "ClaimLost",
        ("Bound claim has lost its PersistentVolume. Data on the volume is lost!"),
        component="persistentvolume-controller",
        last=-3000,
    )
    told = (
        '0/1 nodes are available: 1 persistentvolumeclaim "data" bound to non-existent persistentvolume "pvc-gone". '
        "preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
    )
    lab.pod("db/pg-0", pending_since=-1000, scheduler_says=told, owner=("StatefulSet", "pg"), claims={"data": "data"})
    return Scenario(
        lab,
        why="the claim is lost",
        expect=[Want("sched.unbound_pvc", objects=["Pod/db/pg-0"], severity="critical")],
        allow=HARMLESS,
    )


@scenario
def sched_unbound_pvc__positive_a_hundred_pods_of_one_missing_class() -> Scenario:
    lab = Lab("many")
    lab.node("n1")
    told = (
        "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. preemption: 0/1 nodes are "
        "available: 1 Preemption is not helpful for scheduling."
    )
    pods, claims = [], []
    for number in range(100):
        key = f"t-{number % 7}/data-{number}"
        claims.append(f"PersistentVolumeClaim/{key}")
        lab.claim(key, storage_class="fast", created=-1000)
        lab.event(
            "PersistentVolumeClaim",
            key,
            "ProvisioningFailed",
            ('storageclass.storage.k8s.io "fast" not found'),
            count=60,
            first=-1000,
            last=-10,
        )
        pods.append(f"Pod/t-{number % 7}/p-{number}")
        lab.pod(pods[-1].removeprefix("Pod/"), pending_since=-1000, scheduler_says=told, claims={"d": f"data-{number}"})
    return Scenario(
        lab,
        why="one class is missing",
        expect=[
            Want("storage.provision_failed_class_missing", objects=claims, count=1),
            Want("sched.unbound_pvc", objects=pods, count=1, caused_by="storage.provision_failed_class_missing"),
        ],
        allow=HARMLESS,
    )


@scenario
def node_lost__positive_a_zone_of_forty_nodes_and_its_volumes() -> Scenario:
    lab = Lab("zone", driver=GCE)
    for number in range(40):
        lab.node(f"a-{number}", zone="z-a")
        lab.node(f"b-{number}", zone="z-b")
    pods = []
    for number in range(10):
        lab.disk(
            f"db/data-{number}",
            f"pvc-{number}",
            zone="z-a",
            attached_to=f"a-{number}",
            handle=f"projects/p/zones/z-a/disks/pvc-{number}",
        )
        told = (
            "0/80 nodes are available: 40 node(s) didn't match PersistentVolume's node affinity, 40 node(s) had "
            "untolerated taint(s). no new claims to deallocate, preemption: 0/80 nodes are available: 80 Preemption "
            "is not helpful for scheduling."
        )
        pods.append(f"Pod/db/pg-{number}")
        lab.pod(
            f"db/pg-{number}",
            pending_since=-1300,
            scheduler_says=told,
            owner=("StatefulSet", "pg"),
            claims={"d": f"data-{number}"},
        )
    for number in range(40):
        lab.lose_node(f"a-{number}", since=-1900)
    return Scenario(
        lab,
        why="a zone is gone, and ten volumes with it",
        expect=[
            Want("storage.zone_mismatch", caused_by="node.lost", count=1),
            Want("sched.volume_zone", objects=pods, severity="critical", count=1, caused_by="storage.zone_mismatch"),
            Want("node.lost", nodes=["a-0", "a-39"], count=1),
        ],
        allow=[*HARMLESS, "storage.stale_attachment", "sched.taint", "cp.lease_renew_failed"],
        forbid=["storage.multi_attach", "sched.insufficient_resources"],
    )


@scenario
def sched_taint__positive_all_workers_wait_for_their_network() -> Scenario:
    lab = Lab("cni")
    lab.node("cp", role="control-plane")
    for number in range(3):
        lab.node(f"w{number}", ready="False", ready_since=-2400, created=-2500)
    told = (
        "0/4 nodes are available: 1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }, 3 "
        "node(s) had untolerated taint {node.kubernetes.io/not-ready: }. preemption: 0/4 nodes are available: 4 "
        "Preemption is not helpful for scheduling."
    )
    lab.pod("web/w-0", pending_since=-2300, scheduler_says=told, owner=("ReplicaSet", "w"))
    return Scenario(
        lab,
        why="nodes that are not ready take nothing",
        expect=[Want("sched.taint", objects=["Pod/web/w-0"], severity="critical")],
        allow=["node.not_ready", "node.lost", "net.sandbox_cni_failed"],
    )


@scenario
def sched_stuck_waiting__near_miss_busy_machines_and_a_full_control_plane() -> Scenario:
    lab = Lab("busy")
    lab.node("cp", role="control-plane", cpu="2")
    lab.pod("kube-system/etcd-cp", node="cp", owner=("Node", "cp"), requests={"cpu": "1950m"})
    lab.host("cp").usage(0.1, 0.2)
    for number in range(3):
        lab.node(f"w{number}")
        lab.pod(f"web/w-{number}", node=f"w{number}", owner=("ReplicaSet", "w"), requests={"cpu": "3900m"})
        lab.host(f"w{number}").usage(0.82, 0.6)
    lab.tick(60)
    return Scenario(
        lab, why=("what is requested is used; the control plane is no pool for others"), forbid=["sched.stuck_waiting"]
    )


@scenario
def sched_pdb_deadlock__positive_a_drain_that_hangs_since_an_hour() -> Scenario:
    lab = Lab("drain")
    for number in range(3):
        lab.node(f"n{number}", cordoned=number == 0)
    for number in range(3):
        lab.pod(
            f"zk/zk-{number}", node=f"n{number}", owner=("StatefulSet", "zk"), labels={"app": "zk"}, ready=number != 2
        )
    lab.budget("zk/zk", selector="app=zk", max_unavailable=1, allowed=0, healthy=2, desired=2, expected=3)
    lab.tick(400)
    return Scenario(
        lab,
        why="zk-2 is not ready, so zk-0 may not go",
        expect=[Want("sched.pdb_deadlock", stage="risk", nodes=["n0"], objects=["PodDisruptionBudget/zk/zk"])],
    )


@scenario
def sched_insufficient_resources__near_miss_old_and_young_ones() -> Scenario:
    """Most of the pods are new, one has waited: it is about that one."""
    lab = Lab("ages")
    lab.node("n1")
    lab.pod("web/busy", node="n1", requests={"cpu": "3900m"})
    told = "0/1 nodes are available: 1 Insufficient cpu."
    for number in range(30):
        lab.pod(
            f"web/new-{number}",
            pending_since=-40,
            scheduler_says=told,
            owner=("ReplicaSet", "new"),
            requests={"cpu": "1"},
        )
    lab.pod("web/old", pending_since=-1201, scheduler_says=told, owner=("ReplicaSet", "new"), requests={"cpu": "1"})
    return Scenario(
        lab,
        why="one of thirty-one",
        expect=[Want("sched.insufficient_resources", objects=["Pod/web/old"], severity="critical", count=1)],
    )


@scenario
def storage_zone_mismatch__positive_the_selector_names_another_zone() -> Scenario:
    lab = Lab("moved", driver=GCE)
    for zone in "ab":
        lab.node(f"n-{zone}", zone=f"z-{zone}")
    lab.disk("db/data", "pvc-0", zone="z-a", handle="projects/p/zones/z-a/disks/pvc-0")
    told = (
        "0/2 nodes are available: 1 node(s) didn't match PersistentVolume's node affinity, 1 node(s) didn't match "
        "Pod's node affinity/selector. no new claims to deallocate, preemption: 0/2 nodes are available: 2 "
        "Preemption is not helpful for scheduling."
    )
    lab.pod(
        "db/pg-0",
        pending_since=-1300,
        scheduler_says=told,
        owner=("StatefulSet", "pg"),
        claims={"d": "data"},
        node_selector={"topology.kubernetes.io/zone": "z-b"},
    )
    return Scenario(
        lab,
        why="the pod may use zone b, the volume is in zone a",
        expect=[
            Want("storage.zone_mismatch", objects=["PersistentVolumeClaim/db/data"]),
            Want("sched.volume_zone", objects=["Pod/db/pg-0"], severity="critical", caused_by="storage.zone_mismatch"),
        ],
        allow=HARMLESS,
    )


@pytest.mark.parametrize("name", of_module(__name__))
def test_scenario(name: str) -> None:
    judge(of_module(__name__)[name]())
