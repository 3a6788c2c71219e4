"""The table of a node's volumes: joined, wide and narrow; and what it says where one half is not known."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from nodetell.v1 import facts_pb2 as pb
from nodetell.v1 import operator_pb2

from cli.facts import HostFacts
from cli.node_text import node_text
from cli.terminal import Look
from cli.volumes_text import volumes

Golden = Callable[[str, str], None]
ATTACHED = operator_pb2.ATTACHMENT_STATE_ATTACHED
GONE = "724de247-7adb-5af3-bd28-e0683edeee6e"
NAME = "pvc-0209f03c-9288-5ac5-b31f-8a357751b5d3"
EVERYTHING = ("nodes", "pods", "persistentvolumeclaims", "persistentvolumes", "volumeattachments")


def volume(**fields: object) -> operator_pb2.NodeVolume:
    """A volume that is attached, mounted and in use, but for what is given."""
    usual: dict[str, object] = {
        "volume": NAME,
        "driver": "ebs.csi.aws.com",
        "handle": "vol-0882004adc7da0378",
        "claim": "db/data-pg-0",
        "pod": "db/pg-0",
        "pod_phase": "Running",
        "attachment_state": ATTACHED,
        "listed": True,
        "in_use": True,
        "has_device": True,
        "device": "nvme1n1",
        "serial": "vol0882004adc7da0378",
        "staged": True,
        "mounted": True,
        "path": f"/var/lib/kubelet/pods/86730a27/volumes/kubernetes.io~csi/{NAME}/mount",
    }
    return operator_pb2.NodeVolume(**(usual | fields))  # type: ignore[arg-type]  # fields by name, for brevity


def sample() -> operator_pb2.GetNodeResponse:
    """Healthy, orphaned, detaching, attaching, remote, unknown."""
    return operator_pb2.GetNodeResponse(
        volumes=[
            volume(),
            volume(
                claim="db/data-pg-1", pod="", pod_uid=GONE, pod_phase="", handle="/subscriptions/d", serial="S1",
                mismatches=[f"the host has it mounted for pod {GONE}, which the API server does not have"],
            ),
            volume(
                claim="db/data-pg-2", pod="", pod_phase="", mounted=False, staged=False, path="", in_use=False,
                attachment_state=operator_pb2.ATTACHMENT_STATE_DETACHING, attachment_state_ms=540_000,
                attachment_error="rpc error: code = Internal desc = busy",
            ),
            volume(
                claim="shop/late", pod="shop/late-0", pod_phase="Pending", mounted=False, staged=False, path="",
                attachment_state=operator_pb2.ATTACHMENT_STATE_ATTACHING, attachment_state_ms=200_000,
                has_device=False, device="", serial="", listed=False,
            ),
            operator_pb2.NodeVolume(
                volume="pv-nfs", handle="10.0.0.5:/export", claim="web/files", pod="web/a", pod_phase="Running",
                attachment_state=operator_pb2.ATTACHMENT_STATE_NOT_NEEDED, mounted=True, mount_read_only=True,
            ),
            operator_pb2.NodeVolume(volume="data", pod="web/b", pod_phase="Running"),
        ]
    )  # fmt: skip


@pytest.mark.parametrize("width", [120, 40])
def test_the_table(golden: Golden, width: int) -> None:
    golden(f"volumes-{width}.txt", "\n".join(volumes(HostFacts(sample()), Look(width))))


def test_a_narrow_table_says_all_that_the_wide_one_does() -> None:
    wide, narrow = (" ".join(volumes(HostFacts(sample()), Look(width))) for width in (120, 60))
    for word in ("db/data-pg-1", "detaching 9 min", "attaching 3 min 20 s", "nvme1n1", "S1", "busy", "pv-nfs"):
        assert word in " ".join(wide.split())
        assert word in " ".join(narrow.split())


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({}, "rw"),
        ({"mount_read_only": True}, "ro"),
        ({"fs_read_only_word": "emergency_ro"}, "file system ro"),
        ({"mounted": False}, "staged only"),
        ({"mounted": False, "staged": False}, "nothing"),
    ],
)
def test_what_is_said_of_a_mount(fields: dict[str, object], shown: str) -> None:
    response = operator_pb2.GetNodeResponse(volumes=[volume(**fields)])
    header, row, *_ = volumes(HostFacts(response), Look(120))
    assert row[header.index("MOUNT") :].rstrip() == shown


def test_what_is_not_known_is_no_nothing() -> None:
    response = operator_pb2.GetNodeResponse(
        volumes=[operator_pb2.NodeVolume(volume="pv-1", claim="a/b", pod_uid=GONE)],
        api_unknown=["pods", "volumeattachments"],
    )
    lines = volumes(HostFacts(response), Look(120))
    assert lines[1].split()[:6] == ["a/b", GONE, "?", "?", "?", "?"]
    assert lines[-1] == "  ? where it rests on what the API server does not tell: pods, volumeattachments"


def test_without_an_api_server_the_host_alone_is_shown() -> None:
    mount = pb.Volume(pod_uid="u-1", volume_name="pvc-1", driver="ebs.csi.aws.com", mounted=True, dev="259:1")
    response = operator_pb2.GetNodeResponse(
        facts=pb.NodeFacts(items=[pb.Item(key="volume/u-1/pvc-1", volume=mount)]),
        volumes=[operator_pb2.NodeVolume(volume="pvc-1", pod_uid="u-1", mounted=True)],
        api_unknown=EVERYTHING,
    )
    lines = volumes(HostFacts(response), Look(100))
    assert lines[0].split() == ["NAME", "DRIVER", "STATE", "DEVICE", "FOR"]
    assert lines[-1] == "  no API server is read: claims, pods and attachments are not known"


def test_a_node_without_volumes_and_one_without_an_agent() -> None:
    text = node_text(HostFacts(operator_pb2.GetNodeResponse(api_unknown=EVERYTHING)), Look(100))
    assert "none of the kubelet's" in text
    assert "no agent has reported" in text
    summary = operator_pb2.NodeSummary(node="n1", ready="Unknown", zone="eu-1a", cordoned=True)
    text = node_text(HostFacts(operator_pb2.GetNodeResponse(summary=summary)), Look(100))
    assert "no agent has reported, Ready: unknown, cordoned, zone eu-1a" in text


def test_a_name_cannot_steer_the_terminal() -> None:
    evil = volume(claim="a/\x1b[31m", pod="b/\x07", attachment_error="\x1b]0;x", mismatches=["\x1b[0m"])
    for width in (120, 40):
        lines = volumes(HostFacts(operator_pb2.GetNodeResponse(volumes=[evil])), Look(width))
        assert all(line.isprintable() for line in lines)


def test_as_json_each_cell_is_by_itself_and_what_nobody_knows_is_left_out() -> None:
    document = HostFacts(sample()).as_json()
    rows = {row["claim"]: row for row in document["volume_rows"]}
    assert rows["db/data-pg-2"]["attachment_state"] == "detaching"
    assert rows["db/data-pg-2"]["attachment_state_ms"] == 540_000
    assert rows["shop/late"]["has_device"] is False
    assert "has_device" not in rows["web/files"]
    assert document["api_unknown"] == []
