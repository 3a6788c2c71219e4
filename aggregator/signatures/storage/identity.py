"""When two names mean one volume, and when a disk is a volume's: certain, or not said.

The API server, the node's status, the kubelet's directories and the disk itself each call a volume something else. What
is said here of a driver is what its disks are documented and known to tell; a driver that is not in the table may still
be recognised, but a disk of it that is not found proves nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256

from nodetell.v1 import facts_pb2 as pb

from aggregator.cluster.objects import Volume

LEAST_LETTERS = 8
"""Letters that a handle must have to be looked for in what a disk says of itself."""
CINDER_SERIAL = 20
"""A virtio disk's serial number holds so many characters (drivers/block/virtio_blk.c: VIRTIO_BLK_ID_BYTES)."""

_NAMING: Mapping[str, re.Pattern[str]] = {
    # Serial number of the volume, or of an instance store.
    "ebs.csi.aws.com": re.compile(r"vol-?[0-9a-f]{8,17}|AWS[0-9A-F]{10,}"),
    "ebs.csi.eks.amazonaws.com": re.compile(r"vol-?[0-9a-f]{8,17}|AWS[0-9A-F]{10,}"),
    # What the guest environment's udev rules make of the device name.
    "pd.csi.storage.gke.io": re.compile(r"google-.+|scsi-0Google_(PersistentDisk|EphemeralDisk)_.+"),
    # Serial number: the beginning of the UUID.
    "cinder.csi.openstack.org": re.compile(r"(virtio-)?[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-.*"),
    # World-wide id with disk.EnableUUID, which the driver asks for.
    "csi.vsphere.vmware.com": re.compile(r"(naa\.|wwn-0x|scsi-3)?6000c29.*"),
    "dobs.csi.digitalocean.com": re.compile(r"scsi-0DO_Volume_.+"),
    "csi.hetzner.cloud": re.compile(r"scsi-0HC_Volume_.+"),
    "linodebs.csi.linode.com": re.compile(r"scsi-0Linode_Volume_.+"),
    "csi.scaleway.com": re.compile(r"scsi-0SCW_.+"),
}
"""How the disks of a driver say which volume they are: the form of a serial number, world-wide id or udev's name."""
TELLING_DRIVERS = frozenset(_NAMING)
"""Drivers whose attached volumes are disks that tell which volume they are."""
CLOUD_SERIAL = re.compile(r"vol-?[0-9a-f]{8,17}")
"""Serial number of an EBS volume; no other disk's looks so."""
_IN_TREE = {
    "awsElasticBlockStore": "aws-ebs",
    "gcePersistentDisk": "gce-pd",
    "azureDisk": "azure-disk",
    "cinder": "cinder",
    "vsphereVolume": "vsphere-volume",
    "rbd": "rbd",
    "iscsi": "iscsi",
    "fc": "fc",
    "portworxVolume": "portworx-volume",
}
"""Plugin in a unique volume name by kind of in-tree volume."""


@lru_cache(maxsize=65_536)
def letters(text: str) -> str:
    """What is left when case and punctuation are ignored."""
    return re.sub(r"[^a-z0-9]", "", text.lower())


@lru_cache(maxsize=65_536)
def staging_hash(handle: str) -> str:
    """Name of the directory of a volume's global mount (makeDeviceMountPath() of pkg/volume/csi/csi_attacher.go)."""
    return sha256(handle.encode()).hexdigest()


def tail(handle: str) -> str:
    """The last part of a path-like handle ("projects/p/zones/z/disks/NAME"); the handle itself where it is no path."""
    return handle.rstrip("/").rpartition("/")[2]


def unique_names(volume: Volume) -> tuple[str, ...]:
    """What a Node's status may call the volume.

    Source: GetUniqueVolumeName() of pkg/volume/util; a migrated in-tree volume has the CSI driver's name.
    """
    names = [f"kubernetes.io/csi/{volume.driver}^{volume.handle}"] if volume.driver else []
    if volume.source in _IN_TREE:
        names.append(f"kubernetes.io/{_IN_TREE[volume.source]}/{volume.handle}")
    return tuple(names)


def same_unique_name(volume: Volume, name: str) -> bool:
    """Whether a Node's status means this volume. A migrated volume's handle differs in all but its last part."""
    if name in unique_names(volume):
        return True
    driver, found, handle = name.removeprefix("kubernetes.io/csi/").partition("^")
    return bool(found) and volume.source != "csi" and driver == volume.driver and tail(handle) == tail(volume.handle)


def disk_tokens(volume: Volume) -> tuple[str, ...]:
    """What a disk that is this volume has in its serial number, its world-wide id or its names, letters only."""
    tokens = [letters(tail(volume.handle))]
    if volume.source in ("csi", ""):
        tokens.append(letters(volume.name))
    return tuple(dict.fromkeys(token for token in tokens if len(token) >= LEAST_LETTERS))


def is_disk_of(volume: Volume, disk: pb.DeviceIdentity) -> bool:
    """What the disk says of itself holds the volume's handle or name. Where it says nothing, this is no proof."""
    return says(disk, disk_tokens(volume), tail(volume.handle).lower())


def says(disk: pb.DeviceIdentity, tokens: tuple[str, ...], handle: str) -> bool:
    """The same, for many disks and one volume, of which these are the tokens and the last part of the handle."""
    serial = disk.serial
    told = [letters(each) for each in (serial, disk.wwid, *disk.by_id) if each]
    if any(token in each for token in tokens for each in told):
        return True
    return len(serial) == CINDER_SERIAL and handle.startswith(serial.lower())  # it was cut: the UUID goes on


def names_itself(disk: pb.DeviceIdentity, driver: str) -> bool:
    """The disk says what it is as disks of this driver do: it cannot be a volume of it that it does not name."""
    form = _NAMING.get(driver)
    return form is not None and any(form.fullmatch(each) for each in (disk.serial, disk.wwid, *disk.by_id) if each)


def tells_itself(disk: pb.DeviceIdentity) -> bool:
    """The disk says anything of itself."""
    return bool(disk.serial or disk.wwid or disk.by_id)
