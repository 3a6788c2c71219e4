"""What a node says of volumes: mounts, the kubelet's directories, vol_data.json, devices of sysfs, udev and /proc."""

from __future__ import annotations

from collections.abc import Iterable

from agent.collectors.blockdevs import parse_partitions
from agent.collectors.documents import OddError
from agent.collectors.kubelet import parse_vol_data
from agent.collectors.volumes import VolumesCollector
from fuzz import mutators
from fuzz.hosts import LATER, LINK, collected, recorded, times_of
from fuzz.target import Target, sometimes

_UID = "0d3ae1c2-7a1b-4c5e-9f10-0123456789ab"
_CSI = "kubelet/plugins/kubernetes.io/csi"
_MOUNTS = (
    f"25 1 259:0 / / rw - ext4 /dev/nvme0n1 rw\n"
    f"36 25 259:3 / /var/lib/kubelet/pods/{_UID}/volumes/kubernetes.io~csi/pvc-1/mount rw - xfs /dev/nvme1n1 rw\n"
    f"37 25 259:3 / /var/lib/{_CSI}/ebs.csi.aws.com/abc/globalmount rw - xfs /dev/nvme1n1 rw\n"
    f"38 25 0:5 /nvme2n1 /var/lib/{_CSI}/volumeDevices/publish/pvc-2/{_UID} rw - devtmpfs udev rw\n"
)
_FILES = {
    "proc/1/mountinfo": _MOUNTS.encode(),
    "proc/partitions": b"major minor  #blocks  name\n\n 259 0 104857600 nvme0n1\n 259 1 1024 nvme0n1p1\n"
    b" 259 3 8 nvme1n1\n 7 0 4 loop0\n 253 0 4 dm-0\n",
    "proc/swaps": b"Filename Type Size Used Priority\n/dev/nvme0n1p1 partition 1 0 -2\n",
    "sys/block/nvme0n1/size": b"1",
    "sys/block/nvme1n1/device/serial": b"vol04abcdef0123\n",
    "sys/block/nvme1n1/ro": b"1\n",
    "sys/block/dm-0/slaves/nvme1n1/dev": b"259:3",
    "sys/block/dm-0/dm/uuid": b"mpath-1\n",
    "sys/block/loop0/loop/backing_file": f"/var/lib/{_CSI}/volumeDevices/pvc-2/dev/{_UID}\n".encode(),
    "sys/block/nvme1n1/holders/dm-0/dev": b"253:0",
    "udev/data/b259:3": b"S:disk/by-id/nvme-vol04\nS:disk/by-path/pci\nE:ID_SERIAL=x\n",
    f"kubelet/pods/{_UID}/volumes/kubernetes.io~csi/pvc-1/vol_data.json": b'{"specVolID":"pvc-1","driverName":'
    b'"ebs.csi.aws.com","volumeHandle":"vol-04abcdef0123","attachmentID":"csi-1"}',
    f"{_CSI}/ebs.csi.aws.com/abc/vol_data.json": b'{"volumeHandle":"vol-04abcdef0123"}',
    f"{_CSI}/volumeDevices/pvc-2/data/vol_data.json": b'{"specVolID":"pvc-2"}',
    LINK + f"kubelet/pods/{_UID}/volumeDevices/kubernetes.io~csi/pvc-2": b"/dev/nvme2n1",
    LINK + "dev/disk/by-id/scsi-1": b"../../nvme0n1",
    "sys/fs/ext4/nvme0n1/errors_count": b"3\n",
    "sys/fs/ext4/nvme0n1/first_error_time": b"1790000000\n",
    "sys/fs/ext4/nvme0n1/last_error_func": b"ext4_lookup\n",
    "sys/fs/btrfs/u/devices/nvme1n1/size": b"1",
}


def check(case: bytes) -> None:
    """Whatever the files say it can be told, and a volume that is known from one place is not lost by another."""
    files = mutators.files_of(case)
    for path, contents in files.items():
        if path.endswith("vol_data.json"):
            try:
                parse_vol_data(contents)
            except (OddError, ValueError) as odd:
                assert "\n" not in str(odd)
    for dev, size in parse_partitions(files.get("proc/partitions", b"")).values():
        assert dev.count(":") == 1
        assert size >= 0
    if sometimes(case, 4):
        collected([VolumesCollector()], *times_of(files))


def _seeds() -> Iterable[bytes]:
    yield mutators.case_of(_FILES)
    parts = [
        ("proc/1", "proc/part", "sys/block", "udev", "dev"),
        ("proc/1", "kubelet", LINK),
        ("proc/1", "sys/fs", "proc/"),
    ]
    for part in parts:
        yield mutators.case_of({path: each for path, each in _FILES.items() if path.startswith(part)})
    gone = {LATER + "proc/1/mountinfo": _MOUNTS[:50].encode(), LATER + "proc/partitions": b" 259 0 104857600 nvme0n1\n"}
    yield mutators.case_of({path: each for path, each in _FILES.items() if path.startswith("proc/")} | gone)
    for files in recorded("proc/1/mountinfo", "kubelet/", "sys/block", "udev/", "sys/fs"):
        if (case := mutators.case_of(files)) and len(case) < TARGET.max_bytes:
            yield case


TARGET = Target(check, _seeds, words=(LATER.encode(), LINK.encode()), mutate=mutators.files, max_bytes=2_500)
