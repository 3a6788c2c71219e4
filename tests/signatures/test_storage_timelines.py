"""Volumes that are not where their pods are: each code where it must appear, its look-alikes, and its recovery.

The last test asks that every storage code has all three, wherever its scenarios are.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

from aggregator.signatures.storage.codes import CODES
from tests.lab.cluster import Lab
from tests.lab.scenario import SCENARIOS, Scenario, Want, judge, lacking, of_module, scenario
from tests.signatures.storage_worlds import CLAIM, MINUTE, NEW, POD, VOLUME, cluster, database, refused, waits

MULTI, STALE, ORPHAN = "storage.multi_attach", "storage.stale_attachment", "storage.orphaned_device"
TIMEOUT, STUCK, LIMIT = "storage.attach_timeout", "storage.detach_stuck", "storage.attach_limit"
ATTACHING = (MULTI, STALE, ORPHAN, TIMEOUT, STUCK, LIMIT, "storage.device_not_found")
IN_USE = f'Multi-Attach error for volume "{VOLUME}" Volume is already used by pod(s) pg-0'
IMAGES = ("image.not_found", "image.unauthorized", "image.registry_unreachable", "image.unknown", "crash.app_error")
GAVE_UP = (
    "Unable to attach or mount volumes: unmounted volumes=[data], unattached volumes=[], failed to process "
    "volumes=[]: context deadline exceeded"
)
OLD, LATER = ("ReplicaSet", "pg-7d"), ("ReplicaSet", "pg-9f")
ALLOW = ("node.lost", "storage.stranded_on_loss", "sched.volume_limit")


def found(lab: Lab, why: str, *wants: Want, forbid: tuple[str, ...] = ()) -> Scenario:
    """Of the codes about attaching, these and no others."""
    wanted = {want.code for want in wants}
    others = [code for code in ATTACHING if code not in wanted]
    return Scenario(lab, why=why, expect=wants, forbid=[*others, *forbid], allow=ALLOW)


# -- storage.multi_attach -------------------------------------------------------------------------------------------


@scenario
def storage_multi_attach__positive_a_deployment_starts_the_new_pod_first() -> Scenario:
    lab = cluster()
    database(lab, owner=OLD)
    lab.tick()
    waits(lab, minutes=14, owner=LATER)
    refused(lab, IN_USE, last=-14 * MINUTE)
    refused(lab, GAVE_UP, reason="FailedMount")
    objects = [f"Pod/{NEW}", f"PersistentVolumeClaim/{CLAIM}", f"PersistentVolume/{VOLUME}"]
    says = ["mounted", f"for {POD}", "Recreate", "n1 has it"]
    return found(
        lab,
        "the old pod runs and stays until the new one is ready, which waits for its volume",
        Want(MULTI, nodes=["n1"], objects=objects, says=says, count=1),
    )


@scenario
def storage_multi_attach__positive_critical_after_a_quarter_of_an_hour() -> Scenario:
    lab = cluster()
    database(lab, owner=OLD)
    waits(lab, minutes=16, owner=OLD)
    return found(
        lab, "two replicas share one claim", Want(MULTI, nodes=["n1"], severity="critical", says=["share one claim"])
    )


@scenario
def storage_multi_attach__positive_without_any_attachment_the_host_still_has_it() -> Scenario:
    """Somebody deleted the VolumeAttachment by hand: only host n3 knows where the volume is."""
    lab = cluster()
    lab.disk(CLAIM, VOLUME, zone="eu-1a")
    lab.host("n3").attach_volume(VOLUME)
    waits(lab, minutes=8)
    lab.attachment(
        VOLUME,
        "n2",
        attached=False,
        created=-8 * MINUTE,
        attach_error="rpc error: code = Internal desc = Could not attach volume: api error VolumeInUse: vol-0 is "
        "already attached to an instance",
    )
    return found(lab, "the cloud refuses; the disk is on n3", Want(MULTI, nodes=["n3"], says=["mounted nowhere"]))


@scenario
def storage_multi_attach__positive_at_once_where_the_pod_is_no_more() -> Scenario:
    """Deleted by force: the API server has forgotten the pod, its host has not."""
    lab = cluster()
    database(lab)
    lab.tick()
    lab.delete(f"Pod/{POD}")
    waits(lab, minutes=3)
    return found(
        lab, "nobody will let go", Want(MULTI, nodes=["n1"], objects=[f"Pod/{NEW}"], says=["which is no more"])
    )


@scenario
def storage_multi_attach__positive_attachments_cannot_be_listed() -> Scenario:
    lab = cluster()
    database(lab, owner=OLD)
    waits(lab, owner=LATER)
    refused(lab, IN_USE)
    lab.unlisted.add("volumeattachments")
    return found(lab, "the event and the host are enough", Want(MULTI, nodes=["n1"], says=[f"for {POD}"]))


@scenario
def storage_detach_stuck__positive_an_image_that_is_still_mapped() -> Scenario:
    """Ceph RBD: attaching is a formality; that n1 still has the image mapped shows when n2 mounts it."""
    lab = cluster(driver="rook-ceph.rbd.csi.ceph.com")
    lab.disk(CLAIM, VOLUME, attached_to="n2", handle="0001-0009-rook-ceph-0000000000000002-7b0a4ccb")
    lab.host("n1").stage(VOLUME, "rbd0")
    waits(lab, minutes=8)
    text = f'MountVolume.MountDevice failed for volume "{VOLUME}" : rpc error: code = Internal desc = rbd image '
    refused(lab, f"{text}replicapool/csi-vol-770ef7b0 is still being used", reason="FailedMount")
    want = Want(STUCK, nodes=["n1"], objects=[f"Pod/{NEW}"], says=["still being used", "for no pod"])
    return Scenario(lab, why="n1 has not let go", expect=[want], allow=[MULTI, ORPHAN])


@scenario
def storage_multi_attach__near_miss_a_hand_over() -> Scenario:
    lab = cluster()
    database(lab)
    lab.pod(POD, node="n1", claims={"data": "data"}, deleted=-2 * MINUTE)
    waits(lab, minutes=3)
    refused(lab, IN_USE, last=-3 * MINUTE)
    return found(lab, "three minutes of a pod that ends: that is how it goes")


@scenario
def storage_multi_attach__near_miss_volumes_for_many_nodes() -> Scenario:
    lab = cluster()
    database(lab, modes=["ReadWriteMany"])
    lab.attachment(VOLUME, "n2", created=-20 * MINUTE)
    lab.host("n2").stage(VOLUME)
    waits(lab, minutes=12)
    return found(lab, "ReadWriteMany, and attached on both: whatever the pod waits for, it is not this")


@scenario
def storage_multi_attach__near_miss_two_pods_of_one_node() -> Scenario:
    lab = cluster()
    database(lab)
    waits(lab, node="n1", minutes=12)
    return found(lab, "ReadWriteOnce is for one node, not for one pod")


@scenario
def storage_multi_attach__near_miss_the_node_is_lost() -> Scenario:
    lab = cluster()
    database(lab)
    lab.tick(600)
    lab.lose_node("n1")
    waits(lab, minutes=8)
    refused(lab, IN_USE)
    return found(
        lab,
        "nobody is there to let go",
        Want(STALE, nodes=["n1"], objects=[f"Pod/{NEW}"], says=["out-of-service", "10 min ago"], caused_by="node.lost"),
    )


@scenario
def storage_multi_attach__recovery() -> Scenario:
    lab = cluster()
    host = database(lab, owner=OLD)
    waits(lab, minutes=5, owner=LATER)
    refused(lab, IN_USE)
    lab.tick(120)
    lab.tick(60)
    host.release(POD, VOLUME)
    lab.delete(f"Pod/{POD}")
    lab.detached(VOLUME, "n1")
    lab.attachment(VOLUME, "n2", created=-20)
    lab.host("n2").stage(VOLUME)
    return Scenario(lab, why="the old pod was deleted", forbid=[MULTI], at_each=[[], [MULTI], []], watched=[STALE])


# -- storage.stale_attachment ---------------------------------------------------------------------------------------


@scenario
def storage_stale_attachment__positive_the_node_is_not_heard() -> Scenario:
    lab = cluster()
    database(lab)
    lab.tick(480)
    lab.lose_node("n1", since=-480)
    lab.pod(POD, node="n1", claims={"data": "data"}, deleted=-180)
    waits(lab, minutes=3)
    return found(
        lab,
        "the finding must not advise what is safe only when the node is off",
        Want(STALE, nodes=["n1"], objects=[f"Pod/{NEW}"], says=["surely shut down", "its agent last told"]),
    )


@scenario
def storage_stale_attachment__positive_many_volumes_of_one_node_are_one_finding() -> Scenario:
    lab = cluster()
    for number in range(5):
        lab.disk(f"db/data-{number}", f"pv-{number}", attached_to="n1")
        claims = {"data": f"data-{number}"}
        lab.pod(f"db/old-{number}", node="n1", claims=claims, deleted=-200)
        lab.pod(f"db/new-{number}", node="n2", claims=claims, pending_since=-300, waiting="ContainerCreating")
    lab.lose_node("n1")
    objects = [f"Pod/db/new-{number}" for number in range(5)]
    return found(lab, "one lost node", Want(STALE, nodes=["n1"], objects=objects, severity="critical", count=1))


@scenario
def storage_stale_attachment__positive_the_node_object_is_gone() -> Scenario:
    """As Karpenter does it: the machine is terminated, the Node deleted, and the detachment never came."""
    lab = cluster()
    database(lab)
    lab.tick(600)
    lab.delete(f"Pod/{POD}")
    lab.delete("Node/n1")
    lab.host("n1").silent = True
    waits(lab, minutes=8)
    return found(
        lab, "nobody will ever let go", Want(STALE, nodes=["n1"], objects=[f"Pod/{NEW}"], says=["Node object is gone"])
    )


@scenario
def storage_stale_attachment__positive_only_its_host_s_last_words_tell() -> Scenario:
    """The VolumeAttachment was deleted by hand; the cloud still has the volume on the machine that is lost."""
    lab = cluster()
    lab.disk(CLAIM, VOLUME)
    lab.host("n1").stage(VOLUME)
    lab.tick(600)
    lab.lose_node("n1")
    error = "rpc error: code = Internal desc = api error VolumeInUse: vol-0 is already attached to an instance"
    lab.attachment(VOLUME, "n2", attached=False, created=-8 * MINUTE, attach_error=error)
    waits(lab, minutes=8)
    says = ["last told, 10 min ago", "out-of-service"]
    return found(lab, "nobody there lets go", Want(STALE, nodes=["n1"], objects=[f"Pod/{NEW}"], says=says))


@scenario
def storage_stale_attachment__near_miss_shared_volumes_wait_for_nobody() -> Scenario:
    """A lost node that has a ReadWriteMany volume keeps no one else from having it."""
    lab = cluster()
    database(lab, modes=["ReadWriteMany"])
    lab.tick(600)
    lab.lose_node("n1")
    lab.attachment(VOLUME, "n2", attached=False, created=-4 * MINUTE)
    waits(lab, minutes=4)
    return found(lab, "slow by itself", Want(TIMEOUT, nodes=["n2"], objects=[f"Pod/{NEW}"]))


@scenario
def storage_stale_attachment__near_miss_the_kubelet_got_further() -> Scenario:
    """No disk shows, and still the driver has checked the file system on it: what is shown is not all there is."""
    lab = cluster()
    lab.disk(CLAIM, VOLUME, attached_to="n2")
    waits(lab, minutes=8)
    text = "rpc error: code = Internal desc = 'fsck' found errors on device /dev/nvme1n1 but could not correct them"
    refused(lab, f'MountVolume.MountDevice failed for volume "{VOLUME}" : {text}', reason="FailedMount")
    return found(lab, "it is the file system", Want("storage.mount_failed_fs", objects=[f"Pod/{NEW}"]))


@scenario
def storage_stale_attachment__near_miss_disks_that_say_the_same() -> Scenario:
    """Persistent Disks by NVMe have one serial number for all where udev's names are not there."""
    lab = cluster(driver="pd.csi.storage.gke.io")
    handle = "projects/p/zones/europe-west1-b/disks/pvc-0d1e2f3a-4b5c"
    lab.disk(CLAIM, VOLUME, attached_to="n2", handle=handle)
    lab.host("n2").attach("nvme1n1", serial="nvme_card-pd", model="nvme_card-pd")
    waits(lab, minutes=8)
    return found(lab, "it may be this very disk")


@scenario
def storage_stale_attachment__positive_the_machine_runs_on_without_its_kubelet() -> Scenario:
    lab = cluster()
    database(lab)
    lab.tick()
    lab.lose_node("n1")
    lab.hosts["n1"].silent = False
    waits(lab, minutes=8)
    says = ["may write", f"for {POD}"]
    return found(lab, "the agent reports: it may write", Want(STALE, nodes=["n1"], says=says))


@scenario
def storage_stale_attachment__positive_the_host_has_no_such_device() -> Scenario:
    lab = cluster()
    lab.disk(CLAIM, VOLUME, attached_to="n2")
    lab.host("n2").attach("nvme5n1", serial="vol0aaaabbbbccccdddd")
    lab.tick()
    waits(lab, minutes=8)
    refused(lab, GAVE_UP, reason="FailedMount")
    refused(lab, f'MountVolume.MountDevice failed for volume "{VOLUME}" : no device path found', reason="FailedMount")
    return found(lab, "attached: true, and no such disk", Want(STALE, nodes=["n2"], objects=[f"Pod/{NEW}"]))


@scenario
def storage_stale_attachment__positive_left_over_where_nothing_is_and_wanted_elsewhere() -> Scenario:
    lab = cluster()
    lab.disk(CLAIM, VOLUME, attached_to="n1")
    waits(lab, minutes=5)
    refused(lab, f'Multi-Attach error for volume "{VOLUME}" Volume is already exclusively attached to one node')
    return found(lab, "n1 has no such disk: nobody has it", Want(STALE, nodes=["n1"], objects=[f"Pod/{NEW}"]))


@scenario
def storage_stale_attachment__positive_before_anybody_wants_it() -> Scenario:
    lab = cluster()
    lab.disk(CLAIM, VOLUME, attached_to="n1")
    lab.tick()
    return found(lab, "nobody suffers yet", Want(STALE, nodes=["n1"], stage="risk", severity="info", count=1))


@scenario
def storage_stale_attachment__positive_the_device_went_away_under_the_mount() -> Scenario:
    lab = cluster()
    host = database(lab)
    lab.tick()
    host.detach("nvme1n1")
    return found(lab, "mounted on nothing", Want(STALE, nodes=["n1"], objects=[f"Pod/{POD}"], says=["lost its device"]))


@scenario
def storage_stale_attachment__near_miss_disks_that_do_not_tell() -> Scenario:
    """Azure disks say nothing of themselves: sdc may be the one."""
    lab = cluster(driver="disk.csi.azure.com")
    handle = "/subscriptions/s/resourceGroups/r/providers/Microsoft.Compute/disks/pvc-0a0a"
    lab.disk(CLAIM, VOLUME, attached_to="n2", handle=handle)
    lab.host("n2").attach("sdc", serial="6002248000000000000000000000abcd")
    waits(lab, minutes=8)
    return found(lab, "nobody knows whether sdc is it")


@scenario
def storage_stale_attachment__near_miss_volumes_that_are_mapped_when_they_are_mounted() -> Scenario:
    """An RBD image is attached by name only; its device is made by NodeStageVolume."""
    lab = cluster(driver="rook-ceph.rbd.csi.ceph.com")
    lab.disk(CLAIM, VOLUME, attached_to="n2", handle="0001-0009-rook-ceph-0000000000000002-7b0a4ccb")
    waits(lab, minutes=8)
    return found(lab, "no device is no news")


@scenario
def storage_stale_attachment__near_miss_all_kinds_of_volumes_and_a_slow_registry() -> Scenario:
    """Pods that wait for their images, with volumes that no disk of the host stands for, attached or never so."""
    lab = cluster()
    kinds: dict[str, dict[str, Any]] = {
        "cephfs": {"driver": "rook-ceph.cephfs.csi.ceph.com", "handle": "0001-0009-rook-ceph-1"},
        "longhorn": {"driver": "driver.longhorn.io", "handle": "pvc-7a6b5c4d"},
        "efs": {"driver": "efs.csi.aws.com", "handle": "fs-0a1b2c3d", "modes": ["ReadWriteMany"]},
        "files": {"driver": "file.csi.azure.com", "handle": "rg#acct#share", "modes": ["ReadWriteMany"]},
        "nfs": {"source": {"nfs": {"server": "10.0.0.5", "path": "/e"}}, "modes": ["ReadWriteMany"]},
        "local": {"node": "n2"},
        "path": {"source": {"hostPath": {"path": "/srv/data"}}},
    }
    lab.csinode("n2", {str(fields["driver"]): None for fields in kinds.values() if "driver" in fields})
    for name, fields in kinds.items():
        lab.disk(f"db/{name}", f"pv-{name}", **fields)
        if name in {"cephfs", "longhorn"}:
            lab.attachment(f"pv-{name}", "n2", created=-20 * MINUTE)
        claims = {"data": name}
        waiting = ("ImagePullBackOff", 'Back-off pulling image "registry.example.com/app:1"')
        lab.pod(f"db/{name}", node="n2", claims=claims, pending_since=-20 * MINUTE, waiting=waiting)
    lab.tick()
    return Scenario(lab, why="none of this is about volumes", forbid=ATTACHING, allow=IMAGES)


@scenario
def storage_stale_attachment__near_miss_a_kubelet_that_is_not_heard_and_a_detachment_of_late() -> Scenario:
    lab = cluster()
    lab.disk(CLAIM, VOLUME)
    lab.attachment(VOLUME, "n1", deleted=-3 * MINUTE)
    lab.tick(600)
    lab.lose_node("n1")
    lab.attachment(VOLUME, "n1", deleted=-3 * MINUTE)
    return found(lab, "Kubernetes itself detaches after six minutes")


@scenario
def storage_stale_attachment__near_miss_another_name_after_a_reboot() -> Scenario:
    lab = cluster()
    host = database(lab)
    lab.tick()
    host.release(POD, VOLUME)
    host.booted = lab.now - 30
    host.mount_csi(POD, VOLUME, "nvme4n1")
    return found(lab, "the serial number is the same")


@scenario
def storage_stale_attachment__near_miss_the_kubelet_answers() -> Scenario:
    lab = cluster()
    database(lab)
    lab.node("n1", zone="eu-1a", ready="False", ready_since=-400)
    return found(lab, "Ready False: it is there, and nobody waits")


@scenario
def storage_stale_attachment__near_miss_the_node_was_just_removed() -> Scenario:
    lab = cluster()
    database(lab)
    lab.tick()
    lab.delete(f"Pod/{POD}")
    lab.delete("Node/n1")
    lab.host("n1").silent = True
    return found(lab, "what follows a removal takes its minutes, and nobody waits")


@scenario
def storage_stale_attachment__recovery() -> Scenario:
    lab = cluster()
    database(lab)
    lab.tick(300)
    lab.lose_node("n1", since=-300)
    waits(lab, minutes=4)
    lab.tick(60)
    lab.delete(f"Pod/{POD}")
    lab.detached(VOLUME, "n1")
    lab.attachment(VOLUME, "n2", created=-30)
    lab.host("n2").stage(VOLUME)
    return Scenario(
        lab, why="the taint let the volume go", forbid=[STALE], at_each=[[], [STALE], []], watched=[MULTI], allow=ALLOW
    )


# -- storage.orphaned_device ----------------------------------------------------------------------------------------


@scenario
def storage_orphaned_device__positive_a_global_mount_for_nobody() -> Scenario:
    lab = cluster()
    lab.disk(CLAIM, VOLUME)
    lab.host("n2").stage(VOLUME)
    lab.tick()
    return found(
        lab, "API objects alone look clean", Want(ORPHAN, nodes=["n2"], stage="risk", severity="info", count=1)
    )


@scenario
def storage_orphaned_device__positive_long_seen_and_its_claim_still_bound() -> Scenario:
    lab = cluster()
    lab.disk(CLAIM, VOLUME)
    lab.host("n2").stage(VOLUME)
    lab.tick(300)
    lab.tick(300)
    return found(lab, "ten minutes: no detachment takes so long", Want(ORPHAN, nodes=["n2"], stage="risk"))


@scenario
def storage_orphaned_device__positive_a_disk_that_names_a_volume() -> Scenario:
    lab = cluster()
    lab.disk(CLAIM, VOLUME)
    lab.host("n3").attach_volume(VOLUME)
    lab.tick()
    lab.tick()
    objects = [f"PersistentVolume/{VOLUME}"]
    return found(lab, "attached there", Want(ORPHAN, nodes=["n3"], objects=objects, stage="risk", severity="info"))


@scenario
def storage_orphaned_device__positive_of_a_volume_that_is_no_more() -> Scenario:
    lab = cluster()
    lab.host("n2").stage("gone", handle="vol-0123456789abcdef0")
    lab.tick()
    lab.tick()
    says = ["vol-0123456789abcdef0", "no PersistentVolume"]
    return found(lab, "the claim was deleted", Want(ORPHAN, nodes=["n2"], stage="risk", severity="info", says=says))


@scenario
def storage_orphaned_device__positive_two_hosts_may_write() -> Scenario:
    """Detached by force, deleted by force: the API server has moved on, and n1 still has it mounted."""
    lab = cluster()
    database(lab)
    lab.tick()
    lab.delete(f"Pod/{POD}")
    lab.detached(VOLUME, "n1")
    lab.attachment(VOLUME, "n2", created=-50)
    lab.pod(NEW, node="n2", claims={"data": "data"})
    lab.host("n2").mount_csi(NEW, VOLUME)
    lab.tick()
    says = ["which is no more", "attached to n2 as well"]
    return found(lab, "mounted twice", Want(ORPHAN, nodes=["n1"], stage="risk", says=says, count=1))


@scenario
def storage_orphaned_device__near_miss_pods_cannot_be_listed() -> Scenario:
    lab = cluster()
    database(lab)
    lab.unlisted.add("pods")
    lab.tick()
    return found(lab, "a pod that is not known is not gone")


@scenario
def storage_orphaned_device__near_miss_disks_of_the_machine() -> Scenario:
    lab = cluster()
    host = lab.host("n1")
    host.attach("nvme1n1", serial="AWS0123456789ABCDEF0", model="Amazon EC2 NVMe Instance Storage")
    host.attach("nvme2n1", serial="vol0fffffffffffffff0")
    host.attach("sdc")
    lab.tick()
    lab.tick()
    return found(lab, "instance storage, a data disk that no one has mounted yet, a disk without a name")


@scenario
def storage_orphaned_device__near_miss_attachments_are_not_known() -> Scenario:
    lab = cluster()
    lab.disk(CLAIM, VOLUME)
    lab.host("n2").stage(VOLUME)
    lab.unlisted.add("volumeattachments")
    lab.tick()
    return found(lab, "unknown is not absent")


@scenario
def storage_orphaned_device__near_miss_being_attached_for_a_pod() -> Scenario:
    lab = cluster()
    lab.disk(CLAIM, VOLUME)
    lab.attachment(VOLUME, "n2", attached=False, created=-20)
    lab.host("n2").attach_volume(VOLUME)
    waits(lab, minutes=0.5)
    lab.tick()
    return found(lab, "the device is there before the API server hears of it")


@scenario
def storage_orphaned_device__near_miss_a_raw_block_volume_and_a_local_one() -> Scenario:
    lab = cluster()
    lab.disk(CLAIM, VOLUME, attached_to="n1", block=True)
    lab.pod(POD, node="n1", claims={"data": "data"}, block=["data"])
    lab.host("n1").block_csi(POD, VOLUME)
    lab.claim("db/scratch", volume="pv-local", storage_class="local")
    lab.volume("pv-local", claim="db/scratch", node="n1")
    lab.tick()
    lab.tick()
    return found(lab, "a pod has the device itself")


@scenario
def storage_orphaned_device__recovery() -> Scenario:
    lab = cluster()
    lab.disk(CLAIM, VOLUME)
    host = lab.host("n2")
    device = host.stage(VOLUME)
    lab.tick()
    host.unstage(VOLUME)
    host.detach(device)
    lab.tick()
    return Scenario(lab, why="it was detached by hand", forbid=[ORPHAN], at_each=[[ORPHAN], [], []])


# -- storage.attach_timeout -----------------------------------------------------------------------------------------


@scenario
def storage_attach_timeout__positive_the_attacher_says_nothing() -> Scenario:
    lab = cluster()
    lab.disk(CLAIM, VOLUME)
    lab.attachment(VOLUME, "n2", attached=False, created=-5 * MINUTE)
    waits(lab, minutes=5)
    refused(lab, GAVE_UP, reason="FailedMount")
    objects = [f"Pod/{NEW}", f"PersistentVolume/{VOLUME}"]
    return found(lab, "five minutes", Want(TIMEOUT, nodes=["n2"], objects=objects, says=["says nothing"]))


@scenario
def storage_attach_timeout__positive_one_attacher_that_is_down_is_one_finding() -> Scenario:
    lab = cluster()
    for number in range(6):
        lab.disk(f"db/data-{number}", f"pv-{number}")
        node = f"n{number % 3 + 1}"
        lab.attachment(f"pv-{number}", node, attached=False, created=-4 * MINUTE)
        claims = {"data": f"data-{number}"}
        lab.pod(f"db/p-{number}", node=node, claims=claims, pending_since=-250, waiting="ContainerCreating")
    objects = [f"Pod/db/p-{number}" for number in range(6)]
    return found(
        lab, "one cause", Want(TIMEOUT, nodes=["n1", "n2", "n3"], objects=objects, severity="critical", count=1)
    )


@scenario
def storage_attach_timeout__positive_with_the_attachers_error() -> Scenario:
    lab = cluster()
    lab.disk(CLAIM, VOLUME)
    error = "rpc error: code = DeadlineExceeded desc = context deadline exceeded"
    lab.attachment(VOLUME, "n2", attached=False, created=-5 * MINUTE, attach_error=error)
    waits(lab, minutes=5)
    return found(lab, "the cloud does not answer", Want(TIMEOUT, nodes=["n2"], says=["DeadlineExceeded"]))


@scenario
def storage_attach_timeout__positive_nobody_has_begun() -> Scenario:
    lab = cluster()
    database(lab, "n1")
    lab.disk("db/other", "pv-2")
    lab.pod(NEW, node="n2", claims={"data": "other"}, pending_since=-600, waiting="ContainerCreating")
    refused(lab, GAVE_UP, reason="FailedMount")
    says = ["no VolumeAttachment", "kube-controller-manager"]
    return found(lab, "the controller sleeps", Want(TIMEOUT, nodes=["n2"], says=says))


@scenario
def storage_attach_timeout__near_miss_a_minute_is_nothing() -> Scenario:
    lab = cluster()
    lab.disk(CLAIM, VOLUME)
    lab.attachment(VOLUME, "n2", attached=False, created=-70)
    waits(lab, minutes=1.5)
    return found(lab, "clouds need their time")


@scenario
def storage_attach_timeout__near_miss_a_volume_that_is_never_attached() -> Scenario:
    lab = cluster()
    lab.claim(CLAIM, volume=VOLUME, modes=["ReadWriteMany"])
    source = {"nfs": {"server": "10.0.0.5", "path": "/export"}}
    lab.volume(VOLUME, claim=CLAIM, source=source, modes=["ReadWriteMany"])
    waits(lab, minutes=8)
    refused(lab, GAVE_UP, reason="FailedMount")
    return found(lab, "NFS: nothing is attached")


@scenario
def storage_attach_timeout__near_miss_another_node_has_it() -> Scenario:
    lab = cluster()
    database(lab, owner=OLD)
    waits(lab, minutes=8, owner=LATER)
    refused(lab, GAVE_UP, reason="FailedMount")
    return found(lab, "one cause, one finding", Want(MULTI, nodes=["n1"]))


@scenario
def storage_attach_timeout__recovery() -> Scenario:
    lab = cluster()
    lab.disk(CLAIM, VOLUME)
    lab.attachment(VOLUME, "n2", attached=False, created=-100)
    waits(lab, minutes=1.7)
    lab.tick()
    lab.tick()
    lab.attachment(VOLUME, "n2", created=-220)
    lab.host("n2").stage(VOLUME)
    return Scenario(lab, why="it was slow, and came", forbid=[TIMEOUT], at_each=[[], [TIMEOUT], []])


# -- storage.detach_stuck -------------------------------------------------------------------------------------------


@scenario
def storage_detach_stuck__positive_and_a_pod_waits_elsewhere() -> Scenario:
    lab = cluster()
    lab.disk(CLAIM, VOLUME)
    lab.attachment(VOLUME, "n1", deleted=-9 * MINUTE, detach_error="rpc error: code = Unknown desc = 409")
    lab.attachment(VOLUME, "n2", attached=False, created=-9 * MINUTE)
    lab.host("n1").attach_volume(VOLUME)
    waits(lab, minutes=9)
    refused(lab, f'AttachVolume.Attach failed for volume "{VOLUME}" : volume attachment is being deleted')
    says = ["mounted nowhere", "409"]
    return found(lab, "the trouble is on n1", Want(STUCK, nodes=["n1"], objects=[f"Pod/{NEW}"], says=says, count=1))


@scenario
def storage_detach_stuck__positive_while_it_is_still_mounted() -> Scenario:
    lab = cluster()
    database(lab)
    lab.attachment(VOLUME, "n1", deleted=-4 * MINUTE)
    return found(lab, "deleted by hand under a running pod", Want(STUCK, nodes=["n1"], says=[f"for {POD}"]))


@scenario
def storage_detach_stuck__positive_the_host_has_let_go() -> Scenario:
    lab = cluster()
    lab.disk(CLAIM, VOLUME)
    lab.attachment(VOLUME, "n1", deleted=-4 * MINUTE)
    return found(lab, "only the API server is not told", Want(STUCK, nodes=["n1"], says=["does not have the device"]))


@scenario
def storage_detach_stuck__positive_a_volume_that_a_pod_describes_itself() -> Scenario:
    lab = cluster()
    lab.disk(CLAIM, VOLUME)
    source = {"persistentVolumeName": "", "inlineVolumeSpec": {"accessModes": ["ReadWriteOnce"]}}
    lab.attachment(VOLUME, "n1", deleted=-4 * MINUTE, patch={"spec": {"source": source}})
    objects = [f"VolumeAttachment/{lab.attachment_name(VOLUME, 'n1')}"]
    return found(lab, "no PersistentVolume is behind it", Want(STUCK, nodes=["n1"], objects=objects))


@scenario
def storage_detach_stuck__near_miss_a_minute_is_nothing() -> Scenario:
    lab = cluster()
    lab.disk(CLAIM, VOLUME)
    lab.attachment(VOLUME, "n1", deleted=-60)
    lab.host("n1").attach_volume(VOLUME)
    waits(lab, minutes=4)
    return found(lab, "it is being detached")


@scenario
def storage_detach_stuck__near_miss_nobody_asked_for_it() -> Scenario:
    lab = cluster()
    database(lab)
    lab.tick(600)
    return found(lab, "attached, mounted, used")


@scenario
def storage_detach_stuck__recovery() -> Scenario:
    lab = cluster()
    lab.disk(CLAIM, VOLUME)
    lab.attachment(VOLUME, "n1", deleted=-100)
    device = lab.host("n1").attach_volume(VOLUME)
    lab.tick()
    lab.tick()
    lab.detached(VOLUME, "n1")
    lab.host("n1").detach(device)
    return Scenario(lab, why="the attacher got through", forbid=[STUCK], at_each=[[], [STUCK], []], watched=[ORPHAN])


# -- storage.attach_limit -------------------------------------------------------------------------------------------


def full(lab: Lab, volumes: int, node: str = "n2") -> None:
    """So many volumes are attached to it and mounted there."""
    for number in range(volumes):
        lab.disk(f"db/full-{number}", f"pv-full-{number}", attached_to=node)
        lab.pod(f"db/full-{number}", node=node, claims={"data": f"full-{number}"})
        lab.host(node).mount_csi(f"db/full-{number}", f"pv-full-{number}")


REFUSED = "rpc error: code = ResourceExhausted desc = Attachment limit exceeded"


@scenario
def storage_attach_limit__positive_the_attacher_refuses() -> Scenario:
    lab = cluster(attach_limit=39)
    full(lab, 3)
    lab.disk(CLAIM, VOLUME)
    lab.attachment(VOLUME, "n2", attached=False, created=-4 * MINUTE, attach_error=REFUSED)
    waits(lab, minutes=4)
    says = ["3 of the 39", "Attachment limit exceeded"]
    return found(lab, "CSINode overstates it", Want(LIMIT, nodes=["n2"], objects=[f"Pod/{NEW}"], says=says))


@scenario
def storage_attach_limit__positive_by_an_event() -> Scenario:
    lab = cluster()
    lab.disk(CLAIM, VOLUME)
    lab.attachment(VOLUME, "n2", attached=False, created=-4 * MINUTE)
    waits(lab, minutes=4)
    text = "The maximum number of data disks allowed to be attached to a VM of this size is 4."
    refused(lab, f'AttachVolume.Attach failed for volume "{VOLUME}" : rpc error: code = Internal desc = {text}')
    return found(lab, "Azure's words", Want(LIMIT, nodes=["n2"], says=["data disks"]))


@scenario
def storage_attach_limit__positive_pods_that_find_no_place() -> Scenario:
    lab = cluster(nodes=1, attach_limit=2)
    full(lab, 2, "n1")
    lab.storage_class("gp3")
    lab.claim(CLAIM)
    lab.pod(
        NEW,
        claims={"data": "data"},
        pending_since=-600,
        scheduler_says="0/1 nodes are available: 1 node(s) exceed max volume count. no new claims to deallocate, "
        "preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.",
    )
    return found(lab, "for the chain's sake", Want(LIMIT, nodes=["n1"], severity="info", says=["n1 has 2 of 2"]))


@scenario
def storage_attach_limit__positive_by_the_numbers() -> Scenario:
    """A pod that was put on the node by name: no scheduler has counted, and the attacher says nothing."""
    lab = cluster(attach_limit=3)
    full(lab, 3)
    lab.disk(CLAIM, VOLUME)
    lab.attachment(VOLUME, "n2", attached=False, created=-4 * MINUTE)
    waits(lab, minutes=4)
    return found(lab, "three of three", Want(LIMIT, nodes=["n2"], says=["3 of the 3"]))


@scenario
def storage_attach_limit__near_miss_full_and_nobody_waits() -> Scenario:
    lab = cluster(attach_limit=2)
    full(lab, 2)
    lab.tick()
    return found(lab, "that is what limits are for")


@scenario
def storage_attach_limit__near_miss_another_refusal() -> Scenario:
    lab = cluster(attach_limit=2)
    full(lab, 1)
    lab.disk(CLAIM, VOLUME)
    error = "rpc error: code = Internal desc = UnauthorizedOperation: You are not authorized to perform this operation"
    lab.attachment(VOLUME, "n2", attached=False, created=-4 * MINUTE, attach_error=error)
    waits(lab, minutes=4)
    return found(lab, "a matter of rights", Want(TIMEOUT, nodes=["n2"], says=["not authorized"]))


@scenario
def storage_attach_limit__recovery() -> Scenario:
    lab = cluster(attach_limit=3)
    full(lab, 3)
    lab.disk(CLAIM, VOLUME)
    lab.attachment(VOLUME, "n2", attached=False, created=-4 * MINUTE, attach_error=REFUSED)
    waits(lab, minutes=4)
    lab.tick()
    lab.host("n2").release("db/full-0", "pv-full-0")
    lab.delete("Pod/db/full-0")
    lab.detached("pv-full-0", "n2")
    lab.attachment(VOLUME, "n2", created=-300)
    lab.host("n2").stage(VOLUME)
    return Scenario(lab, why="one went", forbid=[LIMIT], at_each=[[LIMIT], []])


# -- all of them ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", of_module(__name__))
def test_scenario(name: str) -> None:
    judge(SCENARIOS[name](), by_word=True)


@pytest.mark.parametrize(
    ("name", "condition"),
    [
        ("storage_stale_attachment__positive_the_node_is_not_heard", "Only when it is surely shut down"),
        ("storage_stale_attachment__positive_the_node_object_is_gone", "while it may run, nothing is safe"),
        ("storage_stale_attachment__positive_the_machine_runs_on_without_its_kubelet", "nothing may be detached"),
        ("storage_stale_attachment__positive_the_host_has_no_such_device", "no process on that host has it open"),
        ("storage_multi_attach__positive_at_once_where_the_pod_is_no_more", "Do not detach it by force"),
        ("storage_detach_stuck__positive_while_it_is_still_mounted", "Do not remove the VolumeAttachment's finalizer"),
    ],
)
def test_what_must_be_true_first_is_said(name: str, condition: str) -> None:
    text = "\n".join(remedy for finding in SCENARIOS[name]().lab.findings() for remedy in finding.remediation)
    assert condition in text
    assert "--force" not in text
    assert "--grace-period" not in text


def test_a_lost_node_s_finding_rests_on_the_api_server_alone() -> None:
    """Or else it would stand, unconfirmed, for as long as the agent is silent, whatever becomes of the volume."""
    lab = SCENARIOS["storage_stale_attachment__positive_the_node_is_not_heard"]().lab
    (stale,) = [finding for finding in lab.findings() if finding.code == STALE]
    assert {fact.source for fact in stale.evidence if fact.node == "n1"} == {"kube/volumeattachments", "kube/nodes"}


def test_every_code_has_all_three() -> None:
    for path in Path(__file__).parent.glob("test_storage*.py"):
        importlib.import_module(f"tests.signatures.{path.stem}")
    assert lacking(CODES, SCENARIOS) == []
