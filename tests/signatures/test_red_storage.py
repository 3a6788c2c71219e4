"""Volumes of other clouds, drivers and versions: what must be said of each was judged before it was run.

See test_red_scenarios.py.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.lab.cluster import Lab
from tests.lab.scenario import Scenario, Want, judge, of_module, scenario
from tests.lab.shapes import stamp

MINUTE = 60.0
AZURE, GCE, CINDER, VSPHERE = (
    "disk.csi.azure.com",
    "pd.csi.storage.gke.io",
    "cinder.csi.openstack.org",
    "csi.vsphere.vmware.com",
)
GAVE_UP = (
    "Unable to attach or mount volumes: unmounted volumes=[data], unattached volumes=[kube-api-access-x data]: "
    "timed out "
    "waiting for the condition"
)
HARMLESS = ("storage.stranded_on_loss", "storage.immediate_binding")


def cluster(driver: str, *names: str, hosts: bool = True, zone: str = "z1", **node: Any) -> Lab:
    lab = Lab("storage", driver=driver)
    for name in names:
        lab.node(name, zone=zone, **node)
        if hosts:
            lab.host(name)
    return lab


def owns(lab: Lab, node: str, number: int = 0, **disk: Any) -> str:
    """A pod that runs with its volume; the volume's name."""
    name = f"pvc-{number}"
    lab.disk(f"db/data-{number}", name, attached_to=node, zone=disk.pop("zone", "z1"), **disk)
    lab.pod(f"db/old-{number}", node=node, owner=("ReplicaSet", "db-7f"), claims={"data": f"data-{number}"})
    return name


def waits(lab: Lab, node: str, number: int = 0, *, minutes: float = 10, key: str = "", **fields: Any) -> str:
    """A pod that waits for that volume on its node; its reference."""
    key = key or f"db/new-{number}"
    fields.setdefault("owner", ("ReplicaSet", "db-9c"))
    fields.setdefault("claims", {"data": f"data-{number}"})
    lab.pod(key, node=node, pending_since=-minutes * MINUTE, waiting="ContainerCreating", **fields)
    return f"Pod/{key}"


def says(lab: Lab, pod: str, reason: str, message: str, **fields: Any) -> None:
    """Repeatedly, of a pod."""
    given = {"count": 9, "first": -540.0, "last": -45.0, **fields}
    lab.event("Pod", pod.removeprefix("Pod/"), reason, message, **given)


# -- one writer -----------------------------------------------------------------------------------------------------


@scenario
def storage_multi_attach__positive_azure_names_the_machine() -> Scenario:
    lab = cluster(AZURE, "aks-np-vmss000000", "aks-np-vmss000001", hosts=False)
    disk = "/subscriptions/0f/resourceGroups/mc_prod/providers/Microsoft.Compute/disks/pvc-0"
    owns(lab, "aks-np-vmss000000", handle=disk, zone="westeurope-1")
    pod = waits(lab, "aks-np-vmss000001", minutes=18)
    machine = (
        "/subscriptions/0f/resourceGroups/mc_prod/providers/Microsoft.Compute/virtualMachineScaleSets/aks-np-vmss/vi"
        "rtualMachines/aks-np-vmss_0"
    )
    error = (
        f"rpc error: code = Internal desc = Attach volume {disk} to instance aks-np-vmss000001 failed with "
        f"disk({disk}) "
        f"already attached to node({machine}), could not be attached to node(aks-np-vmss000001)"
    )
    says(lab, pod, "FailedAttachVolume", f'AttachVolume.Attach failed for volume "pvc-0" : {error}')
    says(lab, pod, "FailedMount", GAVE_UP)
    lab.attachment("pvc-0", "aks-np-vmss000001", attached=False, created=-1080, attach_error=error)
    return Scenario(
        lab,
        why="the old replica runs on the other node; nothing is stale",
        expect=[Want("storage.multi_attach", nodes=["aks-np-vmss000000"], objects=[pod], severity="critical", count=1)],
        allow=HARMLESS,
        forbid=["storage.stale_attachment", "storage.attach_timeout", "storage.detach_stuck"],
    )


@scenario
def storage_multi_attach__positive_gce_without_attachments_and_hosts() -> Scenario:
    lab = cluster(GCE, "gke-a", "gke-b", hosts=False)
    handle = "projects/acme/zones/europe-west1-b/disks/pvc-0"
    owns(lab, "gke-a", handle=handle)
    pod = waits(lab, "gke-b", minutes=12)
    says(
        lab,
        pod,
        "FailedAttachVolume",
        'AttachVolume.Attach failed for volume "pvc-0" : rpc error: code = Internal desc = Failed to Attach: '
        "failed when "
        "waiting for zonal op: operation operation-1690 failed (RESOURCE_IN_USE_BY_ANOTHER_RESOURCE): The disk "
        "resource "
        f"'{handle}' is already being used by 'projects/acme/zones/europe-west1-b/instances/gke-a'",
    )
    lab.unlisted |= {"volumeattachments", "csinodes", "leases"}
    return Scenario(
        lab,
        why="the cloud and the pods tell who has it",
        expect=[Want("storage.multi_attach", nodes=["gke-a"], objects=[pod])],
        allow=HARMLESS,
    )


@scenario
def storage_multi_attach__positive_two_replicas_of_one_deployment_share_a_claim() -> Scenario:
    lab = cluster(VSPHERE, "esx-1", "esx-2", "esx-3")
    owns(lab, "esx-1", handle="5c0f7f0e-1b0c-4e6e-9d2a-000000000001")
    lab.host("esx-1").mount_csi("db/old-0", "pvc-0", "sdb")
    pods = [waits(lab, f"esx-{n}", key=f"db/new-{n}", minutes=40, owner=("ReplicaSet", "db-7f")) for n in (2, 3)]
    for pod in pods:
        says(
            lab,
            pod,
            "FailedAttachVolume",
            'Multi-Attach error for volume "pvc-0" Volume is already used by pod(s) old-0',
            first=-2390,
            last=-2390,
            count=1,
        )
        says(lab, pod, "FailedMount", GAVE_UP)
    return Scenario(
        lab,
        why="three replicas, one ReadWriteOnce claim; the controller said so once, 40 minutes ago",
        expect=[Want("storage.multi_attach", nodes=["esx-1"], objects=pods, severity="critical", count=1)],
        allow=HARMLESS,
    )


@scenario
def storage_multi_attach__near_miss_a_stateful_set_moves_house() -> Scenario:
    """A drained node: the pod is made anew elsewhere, and its disk is on its way."""
    lab = cluster(GCE, "gke-a", "gke-b")
    lab.disk("db/data-pg-0", "pvc-0", handle="projects/p/zones/z/disks/pvc-0", zone="z1")
    lab.node("gke-a", zone="z1", cordoned=True)
    lab.attachment("pvc-0", "gke-a", deleted=-40)
    lab.attachment("pvc-0", "gke-b", attached=False, created=-50)
    lab.pod(
        "db/pg-0",
        node="gke-b",
        owner=("StatefulSet", "pg"),
        claims={"data": "data-pg-0"},
        pending_since=-55,
        waiting="ContainerCreating",
    )
    says(
        lab,
        "Pod/db/pg-0",
        "FailedAttachVolume",
        (
            'Multi-Attach error for volume "pvc-0" Volume is already exclusively attached to one node and can\'t be '
            "attached to another"
        ),
        count=1,
        first=-54,
        last=-54,
    )
    lab.tick(60)
    lab.attachment("pvc-0", "gke-a", deleted=-100)
    lab.attachment("pvc-0", "gke-b", attached=False, created=-110)
    return Scenario(lab, why="nearly two minutes of a move", allow=HARMLESS)


@scenario
def storage_multi_attach__near_miss_shared_file_systems_of_all_kinds() -> Scenario:
    lab = cluster("efs.csi.aws.com", "n1", "n2", "n3")
    rwx = ["ReadWriteMany"]
    lab.disk("web/efs", "pv-efs", handle="fs-0a1b2c3d::fsap-01", modes=rwx, storage_class="efs")
    lab.disk(
        "web/nfs", "pv-nfs", source={"nfs": {"server": "10.0.0.5", "path": "/export"}}, modes=rwx, storage_class=""
    )
    lab.disk(
        "web/ceph",
        "pv-ceph",
        driver="rook-ceph.cephfs.csi.ceph.com",
        handle="0001-ceph",
        modes=rwx,
        storage_class="cephfs",
    )
    lab.disk(
        "web/azf",
        "pv-azf",
        driver="file.csi.azure.com",
        handle="rg#acc#share###ns",
        modes=rwx,
        storage_class="azurefile",
    )
    claims = {name: name for name in ("efs", "nfs", "ceph", "azf")}
    for node in ("n1", "n2", "n3"):
        lab.pod(f"web/w-{node}", node=node, owner=("ReplicaSet", "w"), claims=claims)
        lab.attachment("pv-ceph", node)
        lab.host(node).mount_remote(f"web/w-{node}", "pv-nfs")
        lab.host(node).mount_csi(f"web/w-{node}", "pv-efs", fs="nfs4")
    lab.tick(60)
    return Scenario(lab, why="all three nodes have all four, as they should", allow=HARMLESS)


# -- attachments ----------------------------------------------------------------------------------------------------


@scenario
def storage_stale_attachment__positive_the_node_is_lost_on_gke() -> Scenario:
    lab = cluster(GCE, "gke-a", "gke-b", hosts=False)
    owns(lab, "gke-a", handle="projects/p/zones/z/disks/pvc-0")
    lab.lose_node("gke-a", since=-800)
    lab.pod("db/old-0", node="gke-a", owner=("ReplicaSet", "db-7f"), claims={"data": "data-0"}, deleted=-440)
    pod = waits(lab, "gke-b", minutes=7.5)
    says(
        lab,
        pod,
        "FailedAttachVolume",
        'Multi-Attach error for volume "pvc-0" Volume is already used by pod(s) old-0',
        count=1,
        first=-440,
        last=-440,
    )
    return Scenario(
        lab,
        why="the node that has it is gone silent: not a second writer",
        expect=[
            Want("storage.stale_attachment", nodes=["gke-a"], objects=[pod], says=["out-of-service"]),
            Want("node.lost", nodes=["gke-a"]),
        ],
        allow=HARMLESS,
        forbid=["storage.multi_attach"],
    )


@scenario
def storage_stale_attachment__positive_a_terminated_machine_left_two_attachments() -> Scenario:
    lab = cluster("ebs.csi.aws.com", "ip-1", "ip-2", hosts=False)
    pods = []
    for number in range(2):
        owns(lab, "ip-1", number)
        lab.delete(f"Pod/db/old-{number}")
        pods.append(waits(lab, "ip-2", number, minutes=25))
        says(lab, pods[-1], "FailedMount", GAVE_UP)
    lab.delete("Node/ip-1")
    return Scenario(
        lab,
        why="attachments to a node that no longer exists",
        expect=[Want("storage.stale_attachment", nodes=["ip-1"], objects=pods, severity="critical", count=1)],
        allow=HARMLESS,
        forbid=["storage.multi_attach"],
    )


@scenario
def storage_orphaned_device__positive_in_one_snapshot_of_one_host() -> Scenario:
    lab = cluster("ebs.csi.aws.com", "ip-1", "ip-2", hosts=False)
    owns(lab, "ip-2")
    lab.volume("pvc-9", claim="db/data-9", phase="Released", reclaim="Retain", zone="z1")
    lab.host("ip-1").stage("pvc-9")
    return Scenario(
        lab,
        why="ip-1 still has the disk of a released volume mounted; nobody wants it there",
        expect=[Want("storage.orphaned_device", nodes=["ip-1"], stage="risk|active", severity="info")],
        allow=HARMLESS,
    )


@scenario
def storage_attach_timeout__positive_the_attacher_is_down_for_thirty_pods() -> Scenario:
    lab = cluster(CINDER, *(f"os-{n}" for n in range(3)), hosts=False)
    pods = []
    for number in range(30):
        lab.disk(f"db/data-{number}", f"pvc-{number}", zone="z1", handle=f"3a0f-{number}")
        node = f"os-{number % 3}"
        lab.attachment(f"pvc-{number}", node, attached=False, created=-620)
        pods.append(waits(lab, node, number, minutes=11))
        says(
            lab,
            pods[-1],
            "FailedAttachVolume",
            f'AttachVolume.Attach failed for volume "pvc-{number}" : timed out waiting for external-attacher of '
            f"cinder.csi.openstack.org CSI driver to attach volume 3a0f-{number}",
        )
    return Scenario(
        lab,
        why="nobody serves the driver's attachments",
        expect=[Want("storage.attach_timeout", objects=pods, severity="critical", count=1)],
        allow=HARMLESS,
    )


@scenario
def storage_attach_timeout__positive_a_driver_that_may_not_attach_on_any_node() -> Scenario:
    lab = cluster("ebs.csi.aws.com", *(f"n{number}" for number in range(12)), hosts=False)
    pods = []
    for number in range(12):
        lab.disk(f"db/data-{number}", f"pvc-{number}", zone="z1")
        error = (
            f"rpc error: code = Internal desc = Could not attach volume vol-{number} to node i-{number}: "
            "UnauthorizedOperation: You are not authorized to perform this operation"
        )
        lab.attachment(f"pvc-{number}", f"n{number}", attached=False, created=-700, attach_error=error)
        pods.append(waits(lab, f"n{number}", number, minutes=11))
    return Scenario(
        lab,
        why="its role was changed: one cause, whatever the node",
        expect=[Want("storage.attach_timeout", objects=pods, severity="critical", count=1)],
        allow=HARMLESS,
    )


@scenario
def storage_detach_stuck__positive_forty_volumes_of_one_node() -> Scenario:
    lab = cluster(VSPHERE, "esx-1", "esx-2", hosts=False)
    for number in range(40):
        lab.disk(f"db/data-{number}", f"pvc-{number}", zone="z1", handle=f"5c0f-{number}")
        lab.attachment(
            f"pvc-{number}",
            "esx-1",
            deleted=-1500,
            detach_error="rpc error: code = DeadlineExceeded desc = context deadline exceeded",
        )
    return Scenario(
        lab,
        why="one node does not let go, for 25 minutes",
        expect=[Want("storage.detach_stuck", nodes=["esx-1"], count=1)],
        allow=HARMLESS,
    )


@scenario
def storage_attach_limit__positive_azure_says_how_many() -> Scenario:
    lab = cluster(AZURE, "aks-0", "aks-1", hosts=False)
    lab.disk("db/data-0", "pvc-0", zone="z1", handle="/subscriptions/s/disks/pvc-0")
    pod = waits(lab, "aks-0", minutes=9)
    error = (
        "rpc error: code = Internal desc = Attach volume /subscriptions/s/disks/pvc-0 to instance aks-0 failed with "
        'Retriable: false, RetryAfter: 0s, HTTPStatusCode: 409, RawError: {"error": {"code": "OperationNotAllowed", '
        '"message": "The maximum number of data disks allowed to be attached to a VM of this size is 8.", '
        '"target": "dataDisks"}}'
    )
    lab.attachment("pvc-0", "aks-0", attached=False, created=-500, attach_error=error)
    says(lab, pod, "FailedAttachVolume", f'AttachVolume.Attach failed for volume "pvc-0" : {error}')
    return Scenario(
        lab,
        why="the machine takes eight disks",
        expect=[Want("storage.attach_limit", nodes=["aks-0"], objects=[pod])],
        allow=HARMLESS,
        forbid=["storage.attach_timeout"],
    )


@scenario
def storage_attach_limit__positive_gce_by_an_event_alone() -> Scenario:
    lab = cluster(GCE, "gke-a", "gke-b", hosts=False)
    lab.disk("db/data-0", "pvc-0", zone="z1", handle="projects/p/zones/z/disks/pvc-0")
    pod = waits(lab, "gke-a", minutes=9)
    says(
        lab,
        pod,
        "FailedAttachVolume",
        'AttachVolume.Attach failed for volume "pvc-0" : rpc error: code = Internal desc = Failed to Attach: '
        "failed cloud "
        "service attach disk call: googleapi: Error 400: Exceeded limit 'maximum_persistent_disks' on resource "
        "'gke-a'. Limit: 16.0, limitExceeded",
    )
    lab.unlisted |= {"volumeattachments", "csinodes"}
    return Scenario(
        lab,
        why="sixteen disks is what a shared-core machine takes",
        expect=[Want("storage.attach_limit", nodes=["gke-a"], objects=[pod])],
        allow=HARMLESS,
    )


# -- making volumes -------------------------------------------------------------------------------------------------


def unprovisioned(
    lab: Lab, message: str, *, key: str = "db/data-0", cls: str = "fast", pod: str = "db/pg-0", minutes: float = 20
) -> str:
    """A claim whose volume is refused, and the pod that waits for it."""
    lab.claim(key, storage_class=cls, created=-minutes * MINUTE)
    lab.event(
        "PersistentVolumeClaim",
        key,
        "ProvisioningFailed",
        message,
        component="persistentvolume-controller" if "not found" in message else f"{cls}-provisioner_pod-0",
        count=11,
        first=-minutes * MINUTE,
        last=-60,
    )
    told = (
        "0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims. preemption: 0/2 nodes are "
        "available: 2 Preemption is not helpful for scheduling."
    )
    lab.pod(
        pod,
        pending_since=-minutes * MINUTE,
        scheduler_says=told,
        owner=("StatefulSet", "pg"),
        claims={"data": key.rpartition("/")[2]},
    )
    return f"Pod/{pod}"


UNBOUND = "sched.unbound_pvc"


@scenario
def storage_provision_failed_class_missing__positive_a_class_of_another_cluster() -> Scenario:
    lab = cluster(GCE, "gke-a", "gke-b")
    lab.storage_class("standard-rwo", default=True)
    pod = unprovisioned(lab, 'storageclass.storage.k8s.io "gp3" not found', cls="gp3")
    return Scenario(
        lab,
        why="a chart brought over from AWS",
        expect=[
            Want("storage.provision_failed_class_missing", objects=["PersistentVolumeClaim/db/data-0"]),
            Want(UNBOUND, objects=[pod], severity="critical", caused_by="storage.provision_failed_class_missing"),
        ],
        allow=HARMLESS,
    )


@scenario
def storage_provision_failed_quota_or_cloud__positive_gce_is_out_of_quota() -> Scenario:
    lab = cluster(GCE, "gke-a", "gke-b")
    lab.storage_class("fast", waits=False, driver=GCE)
    pod = unprovisioned(
        lab,
        'failed to provision volume with StorageClass "fast": rpc error: code = Internal desc = CreateVolume '
        "failed to create "
        "single zonal disk pvc-1: failed to insert zonal disk: unknown Insert disk error: googleapi: Error 403: "
        "QUOTA_EXCEEDED - Quota 'SSD_TOTAL_GB' exceeded.  Limit: 500.0 in region europe-west1., quotaExceeded",
    )
    return Scenario(
        lab,
        why="the region's SSD quota",
        expect=[
            Want("storage.provision_failed_quota_or_cloud", objects=["PersistentVolumeClaim/db/data-0"]),
            Want(UNBOUND, objects=[pod], severity="critical", caused_by="storage.provision_failed_quota_or_cloud"),
        ],
        allow=HARMLESS,
    )


@scenario
def storage_provision_failed_quota_or_cloud__positive_ebs_may_not() -> Scenario:
    """WaitForFirstConsumer: the node is chosen, the cloud refuses."""
    lab = cluster("ebs.csi.aws.com", "ip-1", "ip-2")
    lab.storage_class("gp3", default=True)
    lab.claim("db/data-0", storage_class="gp3", created=-1500, selected_node="ip-1", provisioner="ebs.csi.aws.com")
    lab.event(
        "PersistentVolumeClaim",
        "db/data-0",
        "ProvisioningFailed",
        'failed to provision volume with StorageClass "gp3": rpc error: code = Internal desc = Could not create volume '
        '"pvc-ab": could not create volume in EC2: UnauthorizedOperation: You are not authorized to perform this '
        "operation. User: arn:aws:sts::111122223333:assumed-role/ebs-csi/i-0 is not authorized to perform: "
        "ec2:CreateVolume",
        component="ebs.csi.aws.com_ebs-csi-controller-0",
        count=12,
        first=-1490,
        last=-100,
    )
    lab.pod(
        "db/pg-0",
        pending_since=-1500,
        scheduler_says='running PreBind plugin "VolumeBinding": binding volumes: context deadline exceeded',
        owner=("StatefulSet", "pg"),
        claims={"data": "data-0"},
    )
    return Scenario(
        lab,
        why="the driver's role may not create volumes",
        expect=[
            Want("storage.provision_failed_quota_or_cloud", objects=["PersistentVolumeClaim/db/data-0"]),
            Want(
                UNBOUND,
                objects=["Pod/db/pg-0"],
                severity="critical",
                caused_by="storage.provision_failed_quota_or_cloud",
            ),
        ],
        allow=HARMLESS,
    )


@scenario
def storage_provision_failed_topology__positive_nodes_without_the_drivers_key() -> Scenario:
    lab = cluster("ebs.csi.aws.com", "ip-1", "ip-2")
    lab.storage_class("fast", waits=False, driver="ebs.csi.aws.com")
    for name in ("ip-1", "ip-2"):
        lab.csinode(name, {})
    pod = unprovisioned(
        lab,
        (
            'failed to provision volume with StorageClass "fast": error generating accessibility requirements: no '
            "available topology found"
        ),
    )
    return Scenario(
        lab,
        why="the node part of the driver has registered nowhere",
        expect=[
            Want("storage.provision_failed_topology", objects=["PersistentVolumeClaim/db/data-0"]),
            Want(UNBOUND, objects=[pod], severity="critical", caused_by="storage.provision_failed_topology"),
        ],
        allow=[*HARMLESS, "storage.driver_not_registered"],
    )


@scenario
def storage_resize_failed__positive_too_often_within_six_hours() -> Scenario:
    lab = cluster("ebs.csi.aws.com", "ip-1")
    owns(lab, "ip-1")
    lab.claim(
        "db/data-0",
        volume="pvc-0",
        resize_to="200Gi",
        conditions=[
            {"type": "Resizing", "status": "True", "lastTransitionTime": stamp(lab.now - 1800), "lastProbeTime": None}
        ],
    )
    lab.event(
        "PersistentVolumeClaim",
        "db/data-0",
        "VolumeResizeFailed",
        'resize volume "pvc-0" by resizer "ebs.csi.aws.com" failed: rpc error: code = Internal desc = Could not resize '
        'volume "vol-0": VolumeModificationRateExceeded: You\'ve reached the maximum modification rate per '
        "volume limit. "
        "Wait at least 6 hours between modifications per EBS volume.",
        component="external-resizer ebs.csi.aws.com",
        count=9,
        first=-1800,
        last=-90,
    )
    return Scenario(
        lab,
        why="EBS takes one change in six hours",
        expect=[Want("storage.resize_failed", objects=["PersistentVolumeClaim/db/data-0"], says=["several hours"])],
        allow=HARMLESS,
    )


@scenario
def storage_resize_failed__positive_twenty_claims_of_a_driver_that_may_not() -> Scenario:
    lab = cluster("ebs.csi.aws.com", "ip-1", hosts=False)
    claims = []
    for number in range(20):
        owns(lab, "ip-1", number)
        key = f"db/data-{number}"
        claims.append(f"PersistentVolumeClaim/{key}")
        lab.claim(key, volume=f"pvc-{number}", resize_to="200Gi")
        lab.event(
            "PersistentVolumeClaim",
            key,
            "VolumeResizeFailed",
            f'resize volume "pvc-{number}" by resizer "ebs.csi.aws.com" failed: rpc error: code = Internal desc '
            f"= Could "
            f'not resize volume "vol-{number}": UnauthorizedOperation: not authorized to perform: ec2:ModifyVolume',
            component="external-resizer ebs.csi.aws.com",
            count=9,
            first=-1800,
            last=-90,
        )
    return Scenario(
        lab,
        why="the driver's role may not change volumes: one cause",
        expect=[Want("storage.resize_failed", objects=claims, count=1)],
        allow=HARMLESS,
    )


@scenario
def storage_resize_failed__near_miss_waits_for_the_file_system() -> Scenario:
    lab = cluster(GCE, "gke-a")
    lab.claim(
        "db/data-9",
        volume="pvc-9",
        resize_to="200Gi",
        created=-90000,
        conditions=[
            {
                "type": "FileSystemResizePending",
                "status": "True",
                "lastTransitionTime": stamp(lab.now - 7200),
                "message": "Waiting for user to (re-)start a pod to finish file system resize of volume on node.",
                "lastProbeTime": None,
            }
        ],
    )
    lab.volume("pvc-9", claim="db/data-9", size="200Gi")
    lab.event(
        "PersistentVolumeClaim",
        "db/data-9",
        "FileSystemResizeRequired",
        "Require file system resize of volume on node",
        type="Normal",
        component="external-resizer pd.csi.storage.gke.io",
        last=-7200,
    )
    return Scenario(lab, why="no pod uses it; the file system grows when one does", allow=HARMLESS)


# -- mounting -------------------------------------------------------------------------------------------------------


@scenario
def storage_mount_failed_fs__positive_damage_on_a_persistent_disk() -> Scenario:
    lab = cluster(GCE, "gke-a")
    lab.disk("db/data-0", "pvc-0", attached_to="gke-a", zone="z1", handle="projects/p/zones/z/disks/pvc-0")
    pod = waits(lab, "gke-a", minutes=14)
    says(
        lab,
        pod,
        "FailedMount",
        'MountVolume.MountDevice failed for volume "pvc-0" : rpc error: code = Internal desc = Failed to format '
        "and mount "
        'device from ("/dev/disk/by-id/google-pvc-0") to '
        '("/var/lib/kubelet/plugins/kubernetes.io/csi/pd.csi.storage.gke.io/0f/globalmount") '
        'with fstype ("ext4") and options ([]): mount failed: exit status 32\nMounting command: mount\nOutput: mount: '
        "wrong fs type, bad option, bad superblock on /dev/sdb, missing codepage or helper program, or other error.",
    )
    lab.host("gke-a").kernel("EXT4-fs (sdb): VFS: Can't find ext4 filesystem", at=-100)
    return Scenario(
        lab,
        why="the kernel finds no ext4 on it, for fourteen minutes",
        expect=[Want("storage.mount_failed_fs", nodes=["gke-a"], objects=[pod])],
        allow=HARMLESS,
    )


@scenario
def storage_mount_permission_or_auth__positive_one_nfs_server_refuses_a_hundred_pods() -> Scenario:
    lab = cluster("nfs.csi.k8s.io", *(f"n{n}" for n in range(10)), hosts=False)
    lab.disk(
        "web/share",
        "pv-share",
        source={"nfs": {"server": "10.9.0.4", "path": "/srv/share"}},
        modes=["ReadWriteMany"],
        storage_class="",
    )
    pods = []
    for number in range(100):
        pods.append(waits(lab, f"n{number % 10}", key=f"web/w-{number}", minutes=9, claims={"data": "share"}))
        says(
            lab,
            pods[-1],
            "FailedMount",
            'MountVolume.SetUp failed for volume "pv-share" : mount failed: exit status 32\nMounting command: '
            "mount\nMounting "
            f"arguments: -t nfs 10.9.0.4:/srv/share "
            f"/var/lib/kubelet/pods/{number}/volumes/kubernetes.io~nfs/pv-share\nOutput: "
            "mount.nfs: access denied by server while mounting 10.9.0.4:/srv/share",
        )
    return Scenario(
        lab,
        why="the export does not name these nodes: one cause",
        expect=[Want("storage.mount_permission_or_auth", objects=pods, severity="critical", count=1)],
        allow=HARMLESS,
    )


@scenario
def storage_mount_permission_or_auth__positive_smb_with_a_wrong_password() -> Scenario:
    lab = cluster("smb.csi.k8s.io", "n1", hosts=False)
    lab.disk(
        "web/share", "pv-smb", driver="smb.csi.k8s.io", handle="smb-1", modes=["ReadWriteMany"], storage_class="smb"
    )
    pod = waits(lab, "n1", key="web/w-0", minutes=9, claims={"data": "share"})
    says(
        lab,
        pod,
        "FailedMount",
        'MountVolume.MountDevice failed for volume "pv-smb" : rpc error: code = Internal desc = volume(smb-1) mount '
        '"//10.9.0.4/share" on "/var/lib/kubelet/plugins/kubernetes.io/csi/smb.csi.k8s.io/0f/globalmount" '
        "failed with mount "
        "failed: exit status 32\nOutput: mount error(13): Permission denied",
    )
    return Scenario(
        lab,
        why="error 13 of cifs is the password",
        expect=[Want("storage.mount_permission_or_auth", objects=[pod])],
        allow=HARMLESS,
    )


@scenario
def storage_driver_not_registered__positive_its_daemon_crashes_on_one_node() -> Scenario:
    lab = cluster("ebs.csi.aws.com", "ip-1", "ip-2", hosts=False)
    lab.csinode("ip-2", {})
    lab.disk("db/data-0", "pvc-0", attached_to="ip-2", zone="z1")
    pod = waits(lab, "ip-2", minutes=12)
    says(
        lab,
        pod,
        "FailedMount",
        'MountVolume.MountDevice failed for volume "pvc-0" : kubernetes.io/csi: attacher.MountDevice failed to create '
        "newCsiDriverClient: driver name ebs.csi.aws.com not found in the list of registered CSI drivers",
    )
    says(lab, pod, "FailedMount", GAVE_UP)
    return Scenario(
        lab,
        why="the kubelet of ip-2 knows no such driver",
        expect=[Want("storage.driver_not_registered", nodes=["ip-2"], objects=[pod])],
        allow=HARMLESS,
    )


@scenario
def storage_device_not_found__positive_in_tree_azure_of_1_22() -> Scenario:
    lab = cluster(AZURE, "aks-0", hosts=False)
    source = {
        "azureDisk": {
            "diskName": "kubernetes-dynamic-pvc-0",
            "diskURI": "/subscriptions/s/disks/pvc-0",
            "kind": "Managed",
        }
    }
    lab.disk("db/data-0", "pvc-0", source=source, storage_class="default")
    pod = waits(lab, "aks-0", minutes=9)
    says(
        lab,
        pod,
        "FailedMount",
        'MountVolume.WaitForAttach failed for volume "pvc-0" : Cannot find Lun for disk kubernetes-dynamic-pvc-0',
    )
    lab.unlisted |= {"volumeattachments", "csinodes"}
    return Scenario(
        lab,
        why="the kubelet finds no LUN",
        expect=[Want("storage.device_not_found", nodes=["aks-0"], objects=[pod])],
        allow=HARMLESS,
    )


@scenario
def storage_stale_nfs__positive_by_an_event_alone() -> Scenario:
    lab = cluster("nfs.csi.k8s.io", "n1", hosts=False)
    lab.disk(
        "web/share",
        "pv-nfs",
        source={"nfs": {"server": "10.0.0.5", "path": "/export"}},
        modes=["ReadWriteMany"],
        storage_class="",
    )
    pod = waits(lab, "n1", key="web/w-0", minutes=9, claims={"data": "share"})
    says(
        lab,
        pod,
        "Failed",
        'Error: failed to generate container "0f" spec: failed to generate spec: failed to stat '
        '"/var/lib/kubelet/pods/aded/volumes/kubernetes.io~nfs/pv-nfs": stat '
        "/var/lib/kubelet/pods/aded/volumes/kubernetes.io~nfs/pv-nfs: stale NFS file handle",
    )
    return Scenario(
        lab,
        why="the export was made anew under the mount",
        expect=[Want("storage.stale_nfs", nodes=["n1"], objects=[pod])],
        allow=HARMLESS,
    )


@scenario
def storage_io_error_readonly__positive_xfs_shuts_down_under_a_running_pod() -> Scenario:
    lab = cluster("ebs.csi.aws.com", "ip-1")
    owns(lab, "ip-1", fs="xfs")
    lab.host("ip-1").mount_csi("db/old-0", "pvc-0", "nvme1n1", fs="xfs")
    lab.tick(60)
    lab.host("ip-1").kernel(
        "nvme1n1: I/O error, dev nvme1n1, sector 104857 op 0x1:(WRITE) flags 0x800 phys_seg 1", at=-40
    )
    lab.host("ip-1").kernel("XFS (nvme1n1): log I/O error -5", at=-39)
    lab.host("ip-1").kernel("XFS (nvme1n1): Filesystem has been shut down due to log error (0x2).", at=-39, level=1)
    return Scenario(
        lab,
        why="mountinfo shows nothing of it; the kernel's log does",
        expect=[Want("storage.io_error_readonly", nodes=["ip-1"], objects=["Pod/db/old-0"], count=1)],
        allow=HARMLESS,
    )


@scenario
def storage_io_error_readonly__positive_in_a_folder_named_by_the_hosts_address() -> Scenario:
    lab = cluster("ebs.csi.aws.com", hosts=False)
    lab.node("i-0abc", zone="z1", hostname="ip-10-1-2-3.ec2.internal")
    owns(lab, "i-0abc")
    lab.host("i-0abc").mount_csi("db/old-0", "pvc-0")
    lab.host("i-0abc").read_only("nvme1n1")
    lab.hosts["ip-10-1-2-3.ec2.internal"] = lab.hosts.pop("i-0abc")
    return Scenario(
        lab,
        why="the host's folder has the Hostname address of the node; one snapshot shows the level",
        expect=[Want("storage.io_error_readonly", nodes=["i-0abc"], objects=["Pod/db/old-0"])],
        allow=HARMLESS,
    )


@scenario
def storage_zone_mismatch__positive_the_class_binds_at_once_and_the_pod_has_gpus_elsewhere() -> Scenario:
    """Immediate binding chose zone c; the pod's selector leads to zone a."""
    lab = Lab("imm", driver=GCE)
    for zone in "abc":
        lab.node(f"cpu-{zone}", zone=f"z-{zone}")
    lab.node("gpu-a", zone="z-a", labels={"accelerator": "l4"})
    lab.storage_class("standard", waits=False, driver=GCE, default=True)
    lab.disk("ml/data", "pvc-0", zone="z-c", handle="projects/p/zones/z-c/disks/pvc-0", storage_class="standard")
    says_ = (
        "0/4 nodes are available: 1 node(s) had volume node affinity conflict, 3 node(s) didn't match Pod's node "
        "affinity/selector. preemption: 0/4 nodes are available: 4 Preemption is not helpful for scheduling."
    )
    lab.pod(
        "ml/nb-0",
        pending_since=-1900,
        scheduler_says=says_,
        owner=("StatefulSet", "nb"),
        node_selector={"accelerator": "l4"},
        claims={"d": "data"},
    )
    return Scenario(
        lab,
        why="the only node that it may use is in zone a, the volume in zone c",
        expect=[
            Want("storage.zone_mismatch", objects=["PersistentVolumeClaim/ml/data"]),
            Want("sched.volume_zone", objects=["Pod/ml/nb-0"], severity="critical", caused_by="storage.zone_mismatch"),
        ],
        allow=HARMLESS,
        forbid=["sched.node_affinity"],
    )


# -- nothing is wrong -----------------------------------------------------------------------------------------------


@scenario
def storage_provision_failed_quota_or_cloud__near_miss_volumes_and_claims_in_all_phases() -> Scenario:
    lab = cluster("ebs.csi.aws.com", "ip-1", "ip-2")
    lab.storage_class("gp3", default=True)
    lab.volume("pv-free", zone="z1")
    lab.volume("pv-released", claim="old/data", phase="Released", reclaim="Retain", zone="z1")
    lab.volume(
        "pv-failed",
        claim="old/data2",
        phase="Failed",
        zone="z1",
        patch={"status": {"message": "error deleting EBS volume: VolumeInUse"}},
    )
    lab.event(
        "PersistentVolume",
        "pv-failed",
        "VolumeFailedDelete",
        'rpc error: code = Internal desc = Could not delete volume ID "vol-0": VolumeInUse',
        count=5,
    )
    for number in range(10):
        lab.claim(f"db/wait-{number}", storage_class="gp3", created=-86400 * number - 100)
        lab.event(
            "PersistentVolumeClaim",
            f"db/wait-{number}",
            "WaitForFirstConsumer",
            "waiting for first consumer to be created before binding",
            count=4000,
        )
        lab.disk(f"db/left-{number}", f"pv-left-{number}", zone="z1")
    lab.claim("gone/data", volume="pv-gone", deleted=-86400)
    lab.volume("pv-gone", claim="gone/data")
    lab.tick(60)
    return Scenario(lab, why="nobody waits for any of them", allow=HARMLESS)


@scenario
def storage_stale_attachment__near_miss_k3s_with_local_paths_and_a_regional_disk() -> Scenario:
    lab = cluster(GCE, "a1", hosts=True, zone="z-a")
    lab.node("b1", zone="z-b")
    lab.host("b1")
    lab.disk("db/reg", "pvc-r", handle="projects/p/regions/r/disks/pvc-r", zone=["z-a", "z-b"], attached_to="a1")
    lab.pod("db/r-0", node="a1", owner=("StatefulSet", "r"), claims={"d": "reg"})
    lab.disk(
        "db/lp",
        "pvc-l",
        source={"local": {"path": "/var/lib/rancher/k3s/storage/pvc-l"}},
        node="b1",
        storage_class="local-path",
    )
    lab.pod("db/l-0", node="b1", owner=("StatefulSet", "l"), claims={"d": "lp"})
    lab.host("a1").mount_csi("db/r-0", "pvc-r", "sdb")
    lab.tick(60)
    return Scenario(lab, why="each is where it should be", allow=HARMLESS)


@scenario
def storage_mount_failed_fs__near_miss_old_events_of_pods_that_run() -> Scenario:
    lab = cluster("ebs.csi.aws.com", "ip-1")
    for number in range(4):
        owns(lab, "ip-1", number)
        lab.host("ip-1").mount_csi(f"db/old-{number}", f"pvc-{number}")
        pod = f"Pod/db/old-{number}"
        says(
            lab,
            pod,
            "FailedMount",
            (
                f'MountVolume.MountDevice failed for volume "pvc-{number}" : rpc error: code = Internal desc = '
                f"wrong fs type, bad option, bad superblock on /dev/nvme1n1"
            ),
            last=-3000,
            first=-3100,
        )
        says(
            lab,
            pod,
            "FailedAttachVolume",
            (
                f'Multi-Attach error for volume "pvc-{number}" Volume is already exclusively attached to one node '
                f"and can't be attached to another"
            ),
            last=-3200,
            first=-3200,
            count=1,
        )
        says(lab, pod, "FailedMount", GAVE_UP, last=-3050, first=-3050, count=1)
        says(
            lab,
            pod,
            "SuccessfulAttachVolume",
            f'AttachVolume.Attach succeeded for volume "pvc-{number}"',
            last=-3190,
            count=1,
        )
    lab.tick(60)
    return Scenario(lab, why="it took them a few minutes, an hour ago", allow=HARMLESS)


@scenario
def storage_detach_stuck__near_miss_a_node_being_drained_and_removed() -> Scenario:
    lab = cluster("ebs.csi.aws.com", "ip-1", "ip-2", "ip-3", hosts=False)
    for number in range(5):
        owns(lab, "ip-1", number)
        lab.pod(
            f"db/old-{number}", node="ip-1", owner=("StatefulSet", "db"), claims={"data": f"data-{number}"}, deleted=-20
        )
    lab.node("ip-1", zone="z1", cordoned=True, taints=["ToBeDeletedByClusterAutoscaler=1790:NoSchedule"])
    lab.attachment("pvc-0", "ip-1", deleted=-45)
    lab.delete("Pod/db/old-0")
    lab.pod(
        "db/old-0",
        node="ip-2",
        owner=("StatefulSet", "db"),
        claims={"data": "data-0"},
        pending_since=-40,
        waiting="ContainerCreating",
    )
    says(
        lab,
        "Pod/db/old-0",
        "FailedAttachVolume",
        (
            'Multi-Attach error for volume "pvc-0" Volume is already exclusively attached to one node and can\'t be '
            "attached to another"
        ),
        count=1,
        first=-40,
        last=-40,
    )
    return Scenario(lab, why="a node goes, one pod after the other", allow=HARMLESS)


@scenario
def storage_attach_timeout__near_miss_a_slow_image_and_an_init_container() -> Scenario:
    lab = cluster("ebs.csi.aws.com", "ip-1")
    owns(lab, "ip-1")
    lab.delete("Pod/db/old-0")
    lab.pod(
        "db/big-0",
        node="ip-1",
        owner=("StatefulSet", "big"),
        claims={"data": "data-0"},
        pending_since=-500,
        waiting="ContainerCreating",
    )
    lab.event("Pod", "db/big-0", "Pulling", 'Pulling image "registry.example.com/huge:9"', type="Normal", last=-480)
    lab.host("ip-1").mount_csi("db/big-0", "pvc-0")
    lab.tick(60)
    return Scenario(lab, why="the volume is mounted; a large image is on its way", allow=HARMLESS)


@pytest.mark.parametrize("name", of_module(__name__))
def test_scenario(name: str) -> None:
    judge(of_module(__name__)[name]())
