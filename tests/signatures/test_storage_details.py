"""Details of what is said about volumes, each by itself."""

from __future__ import annotations

import pytest
from nodetell.v1 import facts_pb2 as pb

from aggregator.signatures.storage.file_systems import _of_network as of_network
from aggregator.signatures.storage.host_storage import names_of


@pytest.mark.parametrize(
    ("kind", "package"),
    [
        ("nfs", "nfs-common or nfs-utils"),
        ("nfs4", "nfs-common or nfs-utils"),
        ("cifs", "cifs-utils"),
        ("ceph", "what brings mount.ceph"),
    ],
)
def test_what_brings_a_mount_helper(kind: str, package: str) -> None:
    fault = of_network(kind, "mount: /x: wrong fs type, bad option, bad superblock on server:/x")
    assert fault.remedies == (f"Install {package} on the nodes, and see the volume's mountOptions.",)
    assert fault.about == ("mount helper", kind)
    assert [each.code for each in fault.ruled_out] == ["storage.io_error_readonly"]
    assert f"mount.{kind} is missing" in fault.statement


@pytest.mark.parametrize("folded", ["bad option", "invalid argument", "protocol not supported"])
def test_an_option_that_is_refused(folded: str) -> None:
    assert of_network("nfs", folded).statement == "an option or version of nfs is refused"


def test_any_other_refusal_is_the_servers() -> None:
    assert of_network("nfs", "access denied by server").statement == "mounting nfs fails"


@pytest.mark.parametrize(
    ("by_id", "name"),
    [
        ("google-data-1", "data1"),
        ("scsi-0DO_Volume_data-1", "data1"),
        ("virtio-abc123", "abc123"),
        ("wwn-0x5002538d", "0x5002538d"),
        ("nvme-Amazon_EBS_vol0a1b", "nvmeAmazonEBSvol0a1b"),
    ],
)
def test_names_of_a_disk_without_what_udev_puts_before_them(by_id: str, name: str) -> None:
    assert {each.lower() for each in names_of(pb.DeviceIdentity(by_id=[by_id]))} == {name.lower()}
