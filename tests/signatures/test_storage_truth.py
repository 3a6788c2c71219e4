"""The truth table: which names mean one volume, which disk is a volume's, and what nobody knows."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from nodetell.v1 import facts_pb2 as pb

from aggregator.cluster.objects import Volume
from aggregator.signatures.storage.host_storage import fleet_of
from aggregator.signatures.storage.identity import disk_tokens, is_disk_of, same_unique_name, staging_hash, unique_names
from aggregator.signatures.storage.truth import Row, rows_of_node, rows_of_volume
from aggregator.wording import quoted
from tests.lab.cluster import Lab
from tests.signatures.storage_worlds import CLAIM, POD, VOLUME, cluster, database

UUID = "8f2a1c9e-3b4d-4e5f-8a6b-7c8d9e0f1a2b"


def volume(driver: str, handle: str, *, name: str = "pvc-5c1f", source: str = "csi") -> Volume:
    return Volume(name=name, source=source, driver=driver, handle=handle)


@pytest.mark.parametrize(
    ("of", "disk"),
    [
        (volume("ebs.csi.aws.com", "vol-0aa0f2dd4c1be1001"), pb.DeviceIdentity(serial="vol0aa0f2dd4c1be1001")),
        (
            volume("ebs.csi.aws.com", "aws://eu-west-1a/vol-0aa0f2dd", source="awsElasticBlockStore"),
            pb.DeviceIdentity(serial="vol0aa0f2dd"),
        ),
        (
            volume("pd.csi.storage.gke.io", "projects/p/zones/z/disks/pvc-0d1e2f3a"),
            pb.DeviceIdentity(by_id=["google-pvc-0d1e2f3a", "scsi-0Google_PersistentDisk_pvc-0d1e2f3a"]),
        ),
        (volume("cinder.csi.openstack.org", UUID), pb.DeviceIdentity(serial=UUID[:20])),
        (volume("cinder.csi.openstack.org", UUID), pb.DeviceIdentity(by_id=[f"virtio-{UUID[:20]}"], serial=UUID[:20])),
        (volume("csi.vsphere.vmware.com", UUID), pb.DeviceIdentity(wwid=f"naa.6000c29{UUID.replace('-', '')}")),
        (
            volume("dobs.csi.digitalocean.com", "11223344-5566", name="pvc-7f6e5d4c"),
            pb.DeviceIdentity(by_id=["scsi-0DO_Volume_pvc-7f6e5d4c"]),
        ),
        (volume("csi.hetzner.cloud", "101234567"), pb.DeviceIdentity(by_id=["scsi-0HC_Volume_101234567"])),
    ],
    ids=["ebs", "in-tree ebs", "pd", "cinder", "cinder by udev", "vsphere", "digitalocean", "hetzner"],
)
def test_a_disk_that_names_its_volume(of: Volume, disk: pb.DeviceIdentity) -> None:
    assert is_disk_of(of, disk)
    assert not is_disk_of(volume(of.driver, "vol-0fffffffffffffff0", name="pvc-other-0001"), disk)


@pytest.mark.parametrize(
    ("of", "disk"),
    [
        (volume("ebs.csi.aws.com", "vol-0aa0f2dd4c1be1001"), pb.DeviceIdentity()),
        (volume("x", "1"), pb.DeviceIdentity(serial="0001")),
        (volume("cinder.csi.openstack.org", UUID), pb.DeviceIdentity(serial=UUID[:12])),
        (volume("y", "", name="data"), pb.DeviceIdentity(serial="WD-data-0042")),
    ],
    ids=["says nothing", "too short a handle", "cut elsewhere", "too short a name"],
)
def test_a_disk_that_may_be_any(of: Volume, disk: pb.DeviceIdentity) -> None:
    assert not is_disk_of(of, disk)


def test_names_in_the_status_of_a_node() -> None:
    migrated = volume("ebs.csi.aws.com", "aws://eu-west-1a/vol-0aa", source="awsElasticBlockStore")
    assert same_unique_name(migrated, "kubernetes.io/csi/ebs.csi.aws.com^vol-0aa")
    assert same_unique_name(migrated, "kubernetes.io/aws-ebs/aws://eu-west-1a/vol-0aa")
    assert not same_unique_name(migrated, "kubernetes.io/csi/ebs.csi.aws.com^vol-0ab")
    csi = volume("ebs.csi.aws.com", "a/vol-0aa")
    assert not same_unique_name(csi, "kubernetes.io/csi/ebs.csi.aws.com^b/vol-0aa"), "CSI handles are taken whole"
    assert unique_names(volume("", "10.0.0.5:/export", source="nfs")) == ()


def test_tokens_and_hashes() -> None:
    assert disk_tokens(volume("csi.hetzner.cloud", "42", name="pvc-1")) == ()
    assert staging_hash("vol-1") == hashlib.sha256(b"vol-1").hexdigest()


def row(lab: Lab, node: str = "n1") -> Row:
    """The only one of the node."""
    found = rows_of_node(lab.view(), node)
    assert len(found) == 1, found
    return found[0]


def test_all_agree() -> None:
    lab = cluster()
    database(lab)
    told = row(lab)
    assert (told.volume, told.claim, told.pod) == (VOLUME, CLAIM, POD)
    cells = (told.wanted, told.attached, told.listed, told.in_use, told.device, told.staged, told.mounted)
    assert [cell.says for cell in cells] == [True] * 7
    assert told.device.detail == "nvme1n1"


def test_without_an_agent_the_host_s_half_is_not_known() -> None:
    lab = Lab()
    lab.node("n1")
    lab.disk(CLAIM, VOLUME, attached_to="n1")
    lab.pod(POD, node="n1", claims={"data": "data"})
    told = row(lab)
    assert [told.wanted.says, told.attached.says, told.device.says, told.staged.says, told.mounted.says] == [
        *[True] * 2,
        *[None] * 3,
    ]
    assert told.host_at == 0.0


def test_what_may_not_be_listed_is_not_absent() -> None:
    lab = cluster()
    database(lab)
    lab.unlisted |= {"volumeattachments", "pods"}
    told = row(lab)
    assert (told.wanted.says, told.attached.says, told.mounted.says) == (None, None, True)


def test_a_mount_of_a_pod_that_is_no_more() -> None:
    lab = cluster()
    database(lab)
    uid = lab.store.uid("Pod", POD)
    lab.delete(f"Pod/{POD}")
    told = row(lab)
    assert (told.pod, told.pod_uid, told.wanted.says, told.mounted.says) == ("", uid, False, True)


def test_a_global_mount_that_says_nothing_but_its_hash() -> None:
    """Where the kubelet's directories may not be read."""
    lab = cluster()
    database(lab)
    lab.host("n1").forget("kubelet/")
    told = row(lab)
    assert (told.staged.says, told.mounted.says, told.device.says) == (True, True, True)
    lab.host("n1").unmount(POD, VOLUME)
    lab.delete(f"Pod/{POD}")
    assert row(lab).volume == VOLUME


def test_a_volume_that_the_api_server_does_not_know() -> None:
    lab = cluster()
    lab.host("n1").stage("gone", handle="vol-0123456789abcdef0")
    told = row(lab)
    assert (told.handle, told.claim, told.attached.says, told.device.says) == (
        "vol-0123456789abcdef0",
        "",
        None,
        True,
    )


def test_every_node_that_anybody_connects_a_volume_with() -> None:
    lab = cluster()
    database(lab)
    lab.pod("db/next", node="n2", claims={"data": "data"}, pending_since=-60)
    lab.host("n3").attach_volume(VOLUME)
    view = lab.view()
    rows = rows_of_volume(view, fleet_of(view), view.objects.volumes[VOLUME])
    assert [(each.node, each.pod, each.device.says) for each in rows] == [
        ("n1", POD, True),
        ("n2", "db/next", False),
        ("n3", "", True),
    ]


def test_an_index_forgets_what_is_gone() -> None:
    lab = cluster()
    database(lab)
    view = lab.view()
    known = view.objects.volumes[VOLUME]
    fleet = fleet_of(view)
    assert fleet.hosts_with(known) == ["n1"]
    later = replace(view, hosts={name: host for name, host in view.hosts.items() if name != "n1"})
    assert fleet_of(later) is fleet
    assert fleet.hosts_with(known) == []
    assert sorted(fleet.hosts) == ["n2", "n3"]


def test_the_same_refusal_is_quoted_the_same() -> None:
    refusals = [
        f"api error VolumeInUse, https response error StatusCode: 400, RequestID: {request}, vol-0 is attached"
        for request in ("0a1b2c3d-1111-2222-3333-444455556666", "ffffffff-0000-2222-3333-444455556666")
    ]
    assert len({quoted(each) for each in refusals}) == 1
    assert "VolumeInUse" in quoted(refusals[0])
    assert quoted("x" * 5000).endswith("x...")
    assert len(quoted("x" * 5000)) < 300
