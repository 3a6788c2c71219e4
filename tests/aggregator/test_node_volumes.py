"""The volumes of a node, API server and host side by side: states, contradictions, and what nobody knows."""

from __future__ import annotations

from nodetell.v1 import operator_pb2

from aggregator.node_volumes import RESOURCES, unknown_resources, volumes_of_node
from tests.lab.cluster import Lab

HANDLE = "vol-0abc0000000000001"


def database(*, thorough: bool = False) -> Lab:
    """A database on n1 with its volume attached and mounted, and a second node."""
    lab = Lab()
    lab.node("n1", zone="eu-1a")
    lab.node("n2", zone="eu-1a")
    lab.disk("db/data-pg-0", "pv-1", handle=HANDLE, zone="eu-1a", attached_to="n1")
    lab.pod("db/pg-0", node="n1", owner=("StatefulSet", "pg"), claims={"data": "data-pg-0"})
    lab.host("n1", thorough=thorough).mount_csi("db/pg-0", "pv-1", "nvme1n1")
    return lab


def rows(lab: Lab, node: str = "n1") -> list[operator_pb2.NodeVolume]:
    return volumes_of_node(lab.view(), node)


def only(lab: Lab, node: str = "n1") -> operator_pb2.NodeVolume:
    (row,) = rows(lab, node)
    return row


def test_one_row_joins_both_sides() -> None:
    lab = database()
    row = only(lab)
    assert (row.claim, row.pod, row.pod_phase, row.volume) == ("db/data-pg-0", "db/pg-0", "Running", "pv-1")
    assert (row.driver, row.handle) == ("ebs.csi.aws.com", HANDLE)
    assert row.attachment == lab.attachment_name("pv-1", "n1")
    assert row.attachment_state == operator_pb2.ATTACHMENT_STATE_ATTACHED
    assert (row.listed, row.in_use, row.has_device, row.staged, row.mounted) == (True,) * 5
    assert (row.device, row.serial) == ("nvme1n1", HANDLE.replace("-", ""))
    assert row.path.endswith("/volumes/kubernetes.io~csi/pv-1/mount")
    assert not row.mount_read_only
    assert not row.fs_read_only_word
    assert not row.mismatches
    assert unknown_resources(lab.view()) == []


def test_a_node_that_has_nothing_has_no_rows() -> None:
    assert rows(database(), "n2") == []


def test_detaching_says_for_how_long_and_why_not() -> None:
    lab = database()
    lab.delete("Pod/db/pg-0")
    lab.host("n1").mounts.clear()
    lab.host("n1").forget("kubelet/")
    lab.attachment("pv-1", "n1", deleted=-540, detach_error="rpc error: code = Internal\n desc = busy")
    row = only(lab)
    assert row.attachment_state == operator_pb2.ATTACHMENT_STATE_DETACHING
    assert row.attachment_state_ms == 540_000
    assert row.attachment_error == "rpc error: code = Internal desc = busy"
    assert not row.pod
    assert not row.mismatches


def test_attaching_is_of_the_waiting_pod() -> None:
    lab = database()
    lab.pod("db/pg-1", node="n2", claims={"data": "data-pg-0"}, pending_since=-200)
    lab.attachment("pv-1", "n2", attached=False, created=-200, attach_error="refused")
    row = only(lab, "n2")
    assert row.attachment_state == operator_pb2.ATTACHMENT_STATE_ATTACHING
    assert (row.pod, row.pod_phase, row.attachment_state_ms, row.attachment_error) == (
        "db/pg-1", "Pending", 200_000, "refused",
    )  # fmt: skip
    assert not row.HasField("mounted"), "no agent is on n2: nobody knows"
    assert not row.mismatches


def test_mounted_for_a_pod_that_is_gone() -> None:
    lab = database()
    uid = lab.store.uid("Pod", "db/pg-0")
    lab.delete("Pod/db/pg-0")
    row = only(lab)
    assert (row.pod, row.pod_uid, row.mounted) == ("", uid, True)
    assert row.mismatches == [f"the host has it mounted for pod {uid}, which the API server does not have"]


def test_mounted_for_a_pod_that_has_ended() -> None:
    lab = database()
    lab.pod("db/pg-0", node="n1", claims={"data": "data-pg-0"}, phase="Failed")
    row = only(lab)
    assert row.pod == "db/pg-0"
    assert row.mismatches == ["the host has it mounted for pod db/pg-0, which has ended (Failed)"]


def test_a_forced_detachment_under_a_mount() -> None:
    lab = database()
    lab.attachment("pv-1", "n1", deleted=-60)
    assert only(lab).mismatches == ["it is being detached, and the host has it mounted"]


def test_a_device_that_the_api_server_only_believes_in() -> None:
    lab = database(thorough=True)
    lab.host("n1").detach("nvme1n1")
    row = only(lab)
    assert row.has_device is False
    assert not row.device
    assert row.mismatches == ["the VolumeAttachment says attached, and the host has no such device"]


def test_a_device_that_the_api_server_knows_nothing_of() -> None:
    lab = database()
    lab.detached("pv-1", "n1")
    row = only(lab)
    assert row.attachment_state == operator_pb2.ATTACHMENT_STATE_NONE
    assert "the host has the device, and there is no VolumeAttachment" in row.mismatches


def test_the_nodes_status_beside_the_attachment() -> None:
    lab = database()
    lab.node("n1", attached=[])
    wanted = ["the VolumeAttachment says attached, and the node's status does not list it"]
    assert only(lab).mismatches == wanted
    lab.host("n1").release("db/pg-0", "pv-1")
    lab.delete("Pod/db/pg-0")
    lab.detached("pv-1", "n1")
    lab.node("n1", attached=["pv-1"])
    assert rows(lab) == [], "a name in the status alone connects nothing that a reader could look up"


def test_a_running_pod_without_its_mount() -> None:
    lab = database()
    lab.host("n1").unmount("db/pg-0", "pv-1")
    assert only(lab).mismatches == ["its pod runs, and the host does not have it mounted"]
    lab.pod("db/pg-0", node="n1", claims={"data": "data-pg-0"}, pending_since=-30)
    assert not only(lab).mismatches, "a pod that starts has no mount yet"


def test_a_file_system_that_turned_read_only() -> None:
    lab = database()
    lab.host("n1").read_only("nvme1n1", "emergency_ro")
    row = only(lab)
    assert row.fs_read_only_word == "emergency_ro"
    assert row.mismatches == ["the file system is read-only (emergency_ro), the mount is not"]


def test_a_mount_that_is_read_only_as_the_pod_wants_it() -> None:
    lab = database()
    lab.host("n1").release("db/pg-0", "pv-1")
    lab.host("n1").mount_csi("db/pg-0", "pv-1", "nvme1n1", read_only=True)
    row = only(lab)
    assert row.mount_read_only
    assert not row.mismatches


def test_a_network_file_system_needs_no_attachment() -> None:
    lab = Lab()
    lab.node("n1")
    lab.disk("web/files", "pv-nfs", source={"nfs": {"server": "10.0.0.5", "path": "/export"}}, modes=["ReadWriteMany"])
    lab.pod("web/a", node="n1", claims={"files": "files"})
    lab.host("n1").mount_remote("web/a", "pv-nfs")
    row = only(lab)
    assert row.attachment_state == operator_pb2.ATTACHMENT_STATE_NOT_NEEDED
    assert row.mounted
    assert not row.mismatches


def test_without_an_api_server_there_is_the_host() -> None:
    lab = database()
    lab.unlisted |= {"nodes", "pods", *RESOURCES}
    view = lab.view()
    assert set(unknown_resources(view)) == set(RESOURCES)
    found = {row.path.rpartition("/")[2]: row for row in volumes_of_node(view, "n1")}
    row = found["mount"]
    assert (row.volume, row.claim, row.pod, row.mounted) == ("pv-1", "", "", True)
    assert row.attachment_state == operator_pb2.ATTACHMENT_STATE_UNSPECIFIED
    assert not row.HasField("listed")
    assert not row.mismatches


def test_what_is_denied_is_not_taken_for_absent() -> None:
    lab = database()
    lab.unlisted |= {"volumeattachments", "pods"}
    row = only(lab)
    assert row.attachment_state == operator_pb2.ATTACHMENT_STATE_UNSPECIFIED
    assert not row.mismatches
    assert unknown_resources(lab.view()) == ["pods", "volumeattachments"]
