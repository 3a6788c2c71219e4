"""/proc/PID/mountinfo."""

from __future__ import annotations

from collections.abc import Iterable

from agent.collectors.kubelet import raw_volume_of, volume_of
from agent.collectors.mountinfo import MountLine, parse_mountinfo
from fuzz import mutators
from fuzz.hosts import recorded
from fuzz.target import Target, sometimes

_GOOD = b"1 0 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro\n"
_POD = b"/var/lib/kubelet/pods/0d3ae1c2-7a1b-4c5e-9f10-0123456789ab"
_LINES = (
    b"36 25 259:3 / " + _POD + b"/volumes/kubernetes.io~csi/pvc-1/mount rw,noatime - xfs /dev/nvme1n1 rw\n"
    b"37 25 259:3 / /var/lib/kubelet/plugins/kubernetes.io/csi/e.csi/abc/globalmount ro - ext4 "
    b"/dev/nvme1n1 emergency_ro\n"
    b"38 25 0:5 /nvme2n1 /var/lib/kubelet/plugins/kubernetes.io/csi/volumeDevices/publish/pvc-2/0d3a rw - devtmpfs "
    b"udev rw\n39 25 0:60 / /mnt/a\\040b rw shared:1 master:2 - nfs4 10.0.0.9:/x rw\n"
    b"40 25 0:61 / /mnt/none rw - tmpfs  rw\n"
)


def check(case: bytes) -> None:
    """A damaged line is one problem; a good one before it stays; what is known from before changes nothing."""
    mounts, problems = parse_mountinfo(case)
    written = sum(1 for line in case.split(b"\n") if line)
    assert len(mounts) + len(problems) == written
    assert len({mount.id for mount in mounts}) == len(mounts)
    for mount in mounts:
        _sound(mount)
    if not sometimes(case, 8):
        return
    known: dict[bytes, MountLine] = {}
    parse_mountinfo(case[: len(case) // 2], known)
    assert parse_mountinfo(case, known) == (mounts, problems)
    assert parse_mountinfo(case, known) == (mounts, problems)
    assert parse_mountinfo(_GOOD + case)[0][0] == parse_mountinfo(_GOOD)[0][0]


def _sound(mount: MountLine) -> None:
    assert mount.mount_point.startswith("/")
    assert not mount.fs_read_only_word or mount.fs_read_only_word in mount.fs_options
    assert isinstance(mount.is_storage, bool)
    told = volume_of(mount.mount_point) or raw_volume_of(mount.mount_point)
    if told is not None and not told[1].raw:
        assert f"{told[0]}/{told[1].mount_point}" == mount.mount_point


def _seeds() -> Iterable[bytes]:
    yield _LINES
    for files in recorded("proc/1/mountinfo"):
        yield files["proc/1/mountinfo"]


TARGET = Target(
    check, _seeds, words=(b" - ", b"emergency_ro", b"\\040", b"kubernetes.io~"), mutate=mutators.lines, max_bytes=1_024
)
