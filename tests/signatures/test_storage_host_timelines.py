"""Volumes that are where they belong and do not work: devices not found, disks that fail, NFS that is stale."""

from __future__ import annotations

import pytest

from tests.lab.cluster import Lab
from tests.lab.host import LabHost
from tests.lab.scenario import SCENARIOS, Scenario, Want, judge, of_module, scenario
from tests.signatures.storage_worlds import CLAIM, MINUTE, NEW, POD, VOLUME, cluster, database, refused, waits

NO_DEVICE, READ_ONLY, STALE_NFS, NODE = (
    "storage.device_not_found",
    "storage.io_error_readonly",
    "storage.stale_nfs",
    "node.kernel_io_error",
)
ALL = (NO_DEVICE, READ_ONLY, STALE_NFS, NODE, "storage.stale_attachment", "storage.attach_timeout")
OBJECTS = [f"Pod/{POD}", f"PersistentVolumeClaim/{CLAIM}", f"PersistentVolume/{VOLUME}"]


def found(lab: Lab, why: str, *wants: Want) -> Scenario:
    """These and none of the others."""
    wanted = {want.code for want in wants}
    return Scenario(lab, why=why, expect=wants, forbid=[code for code in ALL if code not in wanted])


# -- storage.device_not_found ---------------------------------------------------------------------------------------

NOT_FOUND = (
    f'MountVolume.MountDevice failed for volume "{VOLUME}" : rpc error: code = Internal desc = Failed to find device '
    "path /dev/xvdba. no device path for device found"
)


@scenario
def storage_device_not_found__positive_the_host_has_it_under_another_name() -> Scenario:
    lab = cluster()
    lab.disk(CLAIM, VOLUME, attached_to="n2")
    lab.host("n2").attach_volume(VOLUME, "nvme7n1")
    waits(lab, minutes=6)
    refused(lab, NOT_FOUND, reason="FailedMount")
    return found(
        lab, "the driver looks elsewhere", Want(NO_DEVICE, nodes=["n2"], objects=[f"Pod/{NEW}"], says=["nvme7n1"])
    )


@scenario
def storage_device_not_found__positive_iscsi_portals_that_are_not_reached() -> Scenario:
    lab = cluster(driver="iscsi.csi.k8s.io")
    lab.disk(CLAIM, VOLUME, attached_to="n2", handle="iqn-a-lun-1")
    waits(lab, minutes=6)
    text = (
        f'MountVolume.WaitForAttach failed for volume "{VOLUME}" : failed to get any path for iscsi disk, last err '
        "seen: iscsi: failed to sendtargets to portal 10.0.0.9:3260"
    )
    refused(lab, text, reason="FailedMount")
    return found(lab, "no agent can tell", Want(NO_DEVICE, nodes=["n2"], objects=[f"Pod/{NEW}"], says=["sendtargets"]))


@scenario
def storage_device_not_found__near_miss_the_host_proves_that_there_is_none() -> Scenario:
    lab = cluster()
    lab.disk(CLAIM, VOLUME, attached_to="n2")
    waits(lab, minutes=6)
    refused(lab, NOT_FOUND, reason="FailedMount")
    return found(lab, "the attachment is what lies", Want("storage.stale_attachment", nodes=["n2"]))


@scenario
def storage_device_not_found__near_miss_a_first_try() -> Scenario:
    lab = cluster()
    lab.disk(CLAIM, VOLUME, attached_to="n2")
    lab.host("n2").attach_volume(VOLUME)
    waits(lab, minutes=1)
    refused(lab, NOT_FOUND, reason="FailedMount")
    return found(lab, "udev had not made its link yet")


@scenario
def storage_device_not_found__recovery() -> Scenario:
    lab = cluster()
    lab.disk(CLAIM, VOLUME, attached_to="n2")
    lab.host("n2").attach_volume(VOLUME, "nvme7n1")
    waits(lab, minutes=6)
    refused(lab, NOT_FOUND, reason="FailedMount")
    lab.tick()
    lab.pod(NEW, node="n2", claims={"data": "data"})
    lab.host("n2").stage(VOLUME, "nvme7n1")
    return Scenario(lab, why="the node pod was restarted", forbid=[NO_DEVICE], at_each=[[NO_DEVICE], []])


# -- storage.io_error_readonly --------------------------------------------------------------------------------------


@scenario
def storage_io_error_readonly__positive_the_mount_says_it() -> Scenario:
    lab = cluster()
    host = database(lab)
    lab.tick()
    host.read_only("nvme1n1")
    return found(lab, '"rw" before the dash, "ro" behind it', Want(READ_ONLY, nodes=["n1"], objects=OBJECTS, count=1))


@scenario
def storage_io_error_readonly__positive_emergency_ro() -> Scenario:
    lab = cluster()
    host = database(lab)
    lab.tick()
    host.read_only("nvme1n1", "emergency_ro")
    return found(lab, "Linux 6.15 and newer", Want(READ_ONLY, nodes=["n1"], objects=OBJECTS, says=["emergency_ro"]))


@scenario
def storage_io_error_readonly__positive_only_the_count_tells() -> Scenario:
    lab = cluster()
    host = database(lab)
    host.file("proc/sys/kernel/osrelease", "6.12.8-200.fc41.x86_64\n")
    host.fs_errors("nvme1n1", 0)
    lab.tick()
    host.fs_errors("nvme1n1", 3)
    says = ["counted 3 errors", "does not show"]
    return found(lab, "Linux 6.12 to 6.14 say nothing else", Want(READ_ONLY, nodes=["n1"], objects=OBJECTS, says=says))


@scenario
def storage_io_error_readonly__positive_a_count_that_rose() -> Scenario:
    """A record that has no more than the count."""
    lab = cluster()
    host = database(lab)
    host.file("sys/fs/ext4/nvme1n1/errors_count", "4\n")
    lab.tick()
    host.file("sys/fs/ext4/nvme1n1/errors_count", "6\n")
    return found(lab, "nobody says when", Want(READ_ONLY, nodes=["n1"], objects=OBJECTS, says=["2 of them just now"]))


@scenario
def storage_io_error_readonly__positive_the_kernel_tells() -> Scenario:
    lab = cluster()
    host = database(lab)
    lab.tick()
    host.kernel("I/O error, dev nvme1n1, sector 2048 op 0x1:(WRITE) flags 0x800 phys_seg 1 prio class 2")
    return found(lab, "requests fail", Want(READ_ONLY, nodes=["n1"], objects=OBJECTS, says=["failed requests"]))


@scenario
def storage_io_error_readonly__positive_a_raw_block_volume() -> Scenario:
    lab = cluster()
    lab.disk(CLAIM, VOLUME, attached_to="n1", block=True)
    lab.pod(POD, node="n1", claims={"data": "data"}, block=["data"])
    host = lab.host("n1")
    host.block_csi(POD, VOLUME)
    host.kernel("critical medium error, dev nvme1n1, sector 9216 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2")
    return found(lab, "no file system, and errors", Want(READ_ONLY, nodes=["n1"], objects=[f"Pod/{POD}"]))


@scenario
def storage_io_error_readonly__positive_ceph_that_shuts_down_its_xfs() -> Scenario:
    lab = cluster(driver="rook-ceph.rbd.csi.ceph.com")
    lab.disk(CLAIM, VOLUME, attached_to="n1", handle="0001-0009-rook-ceph-0000000000000002-7b0a4ccb")
    lab.pod(POD, node="n1", claims={"data": "data"})
    host = lab.host("n1")
    host.mount_csi(POD, VOLUME, "rbd0", fs="xfs")
    host.kernel("XFS (rbd0): Log I/O Error Detected. Shutting down filesystem")
    host.kernel("XFS (rbd0): log I/O error -5")
    return found(lab, "XFS counts nowhere", Want(READ_ONLY, nodes=["n1"], objects=OBJECTS, says=["rbd0"]))


@scenario
def storage_io_error_readonly__positive_a_mount_that_meets_it() -> Scenario:
    lab = cluster()
    lab.disk(CLAIM, VOLUME, attached_to="n2")
    lab.host("n2").attach_volume(VOLUME)
    waits(lab, minutes=4)
    text = f'MountVolume.SetUp failed for volume "{VOLUME}" : stat /var/lib/kubelet/globalmount: input/output error'
    refused(lab, text, reason="FailedMount")
    return found(lab, "told by the kubelet", Want(READ_ONLY, nodes=["n2"], objects=[f"Pod/{NEW}"]))


@scenario
def storage_io_error_readonly__near_miss_mounted_to_be_read() -> Scenario:
    lab = cluster()
    lab.disk(CLAIM, VOLUME, attached_to="n1", modes=["ReadOnlyMany"])
    lab.pod(POD, node="n1", claims={"data": "data"})
    host = lab.host("n1")
    host.stage(VOLUME)
    host.read_only("nvme1n1")
    host.mount_csi(POD, VOLUME, read_only=True)
    return found(lab, "ReadOnlyMany: as it should be")


@scenario
def storage_io_error_readonly__near_miss_every_mount_of_it_is_read_only() -> Scenario:
    lab = cluster()
    lab.disk(CLAIM, VOLUME, attached_to="n1")
    lab.pod(POD, node="n1", claims={"data": "data"})
    host = lab.host("n1")
    host.mount_csi(POD, VOLUME, read_only=True)
    host.read_only("nvme1n1")
    host.mounts = [
        type(each)(**{**vars(each), "options": "ro,relatime"}) if "nvme1n1" in each.source else each
        for each in host.mounts
    ]
    return found(lab, "mountOptions: [ro] gives both words")


@scenario
def storage_io_error_readonly__near_miss_an_old_error() -> Scenario:
    lab = cluster()
    host = database(lab)
    host.fs_errors("nvme1n1", 2, first=-30 * 86_400, last=-20 * 86_400)
    lab.tick()
    lab.tick()
    return Scenario(
        lab,
        why="counted three weeks ago and not since: no more than a note",
        expect=[Want(READ_ONLY, nodes=["n1"], stage="risk", severity="info")],
        forbid=[NODE],
    )


@scenario
def storage_io_error_readonly__near_miss_the_nodes_own_disk() -> Scenario:
    lab = cluster()
    host = database(lab)
    host.kernel("I/O error, dev nvme0n1, sector 2048 op 0x1:(WRITE) flags 0x800 phys_seg 1 prio class 2")
    return found(lab, "the volume is on another", Want(NODE, nodes=["n1"], objects=["Node/n1"]))


@scenario
def storage_io_error_readonly__recovery() -> Scenario:
    lab = cluster()
    host = database(lab)
    host.kernel("EXT4-fs error (device nvme1n1): ext4_journal_check_start:83: Detected aborted journal")
    host.read_only("nvme1n1")
    lab.tick(1200)
    host.release(POD, VOLUME)
    host.mount_csi(POD, VOLUME)
    return Scenario(lab, why="checked and mounted anew", forbid=[READ_ONLY], at_each=[[READ_ONLY], []])


# -- storage.stale_nfs ----------------------------------------------------------------------------------------------


def shared(lab: Lab) -> LabHost:
    """A pod on n1 with an export of 10.0.0.5."""
    source = {"nfs": {"server": "10.0.0.5", "path": "/export"}}
    lab.claim(CLAIM, volume=VOLUME, modes=["ReadWriteMany"])
    lab.volume(VOLUME, claim=CLAIM, source=source, modes=["ReadWriteMany"])
    lab.pod(POD, node="n1", claims={"data": "data"})
    host = lab.host("n1")
    host.mount_remote(POD, VOLUME)
    return host


STALE = f"Error: failed to stat /var/lib/kubelet/pods/u/volumes/kubernetes.io~nfs/{VOLUME}: stale NFS file handle"


@scenario
def storage_stale_nfs__positive_a_stale_handle() -> Scenario:
    lab = cluster()
    shared(lab)
    lab.event("Pod", POD, "Failed", STALE, count=3)
    return found(lab, "the export was made anew", Want(STALE_NFS, nodes=["n1"], objects=OBJECTS, says=["10.0.0.5"]))


@scenario
def storage_stale_nfs__positive_the_server_is_silent() -> Scenario:
    lab = cluster()
    host = shared(lab)
    host.kernel("nfs: server 10.0.0.5 not responding, still trying", at=-50)
    lab.event("Pod", POD, "Failed", STALE, count=3)
    return found(lab, "kernel and kubelet: one", Want(STALE_NFS, nodes=["n1"], objects=[f"Pod/{POD}"], count=1))


@scenario
def storage_stale_nfs__near_miss_long_over() -> Scenario:
    lab = cluster()
    host = shared(lab)
    host.kernel("nfs: server 10.0.0.5 not responding, still trying", at=-1800)
    lab.event("Pod", POD, "Failed", STALE, last=-1800)
    return found(lab, "half an hour ago")


@scenario
def storage_stale_nfs__near_miss_it_answers_again() -> Scenario:
    lab = cluster()
    host = shared(lab)
    host.kernel("nfs: server 10.0.0.5 not responding, still trying", at=-90)
    host.kernel("nfs: server 10.0.0.5 OK", at=-40)
    return found(lab, "a minute of silence, and over")


@scenario
def storage_stale_nfs__near_miss_a_server_of_nobody() -> Scenario:
    lab = cluster()
    host = shared(lab)
    host.kernel("nfs: server 10.9.9.9 not responding, still trying", at=-50)
    return found(lab, "nothing of that server is mounted")


@scenario
def storage_stale_nfs__recovery() -> Scenario:
    lab = cluster()
    host = shared(lab)
    host.kernel("nfs: server 10.0.0.5 not responding, timed out", at=-20)
    lab.tick(400)
    return Scenario(lab, why="it answers again", forbid=[STALE_NFS], at_each=[[STALE_NFS], []])


# -- node.kernel_io_error -------------------------------------------------------------------------------------------


@scenario
def node_kernel_io_error__positive() -> Scenario:
    lab = cluster()
    host = lab.host("n3")
    host.kernel(
        "blk_update_request: I/O error, dev nvme0n1, sector 7 op 0x1:(WRITE) flags 0x800 phys_seg 1 prio class 0"
    )
    host.kernel("EXT4-fs (nvme0n1p2): Remounting filesystem read-only")
    return found(lab, "its root disk", Want(NODE, nodes=["n3"], objects=["Node/n3"], says=["its root disk", "remount"]))


@scenario
def node_kernel_io_error__near_miss_a_device_of_nobody() -> Scenario:
    lab = cluster()
    lab.host("n3").kernel("Buffer I/O error on dev sr0, logical block 0, async page read")
    return found(lab, "an empty drive")


@scenario
def node_kernel_io_error__recovery() -> Scenario:
    lab = cluster()
    lab.host("n3").kernel("I/O error, dev nvme0n1, sector 7 op 0x1:(WRITE) flags 0x800 phys_seg 1 prio class 0")
    lab.tick(20 * MINUTE)
    return Scenario(lab, why="a single one, long ago", forbid=[NODE], at_each=[[NODE], []])


@pytest.mark.parametrize("name", of_module(__name__))
def test_scenario(name: str) -> None:
    judge(SCENARIOS[name](), by_word=True)
