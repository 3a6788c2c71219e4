"""Mounts and volumes: what the kernel's texts say, what the kubelet left, and what must never be touched."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nodetell.v1 import facts_pb2 as pb

from agent.collectors.kubelet import VolumeId, parse_vol_data, volume_of
from agent.collectors.mountinfo import parse_mountinfo
from agent.collectors.volumes import VolumesCollector
from agent.hosts.live import live_host
from tests.recorded import DATA, host_of, write_files

UID = "74144af8-4695-4c2c-9d81-1aba358643c0"
PV = "pvc-ff4a9b1f-0e3f-48e8-9c45-1cf5592448df"
HASH = "37eba84ace78c3ef4d714588a353d59e3e8bec5f556a1fcfcf23dd565d92ff5b"
MOUNTS = (DATA / "mountinfo-csi").read_bytes()
POD_DATA = {
    "specVolID": PV,
    "driverName": "ebs.csi.aws.com",
    "volumeHandle": "vol-04",
    "attachmentID": "csi-11",
    "volumeLifecycleMode": "Persistent",
}
KUBELET = {
    f"kubelet/pods/{UID}/volumes/kubernetes.io~csi/{PV}/vol_data.json": POD_DATA,
    f"kubelet/plugins/kubernetes.io/csi/ebs.csi.aws.com/{HASH}/vol_data.json": {
        "driverName": "ebs.csi.aws.com",
        "volumeHandle": "vol-04",
    },
}


def test_mounts_of_a_real_kernel() -> None:
    mounts, problems = parse_mountinfo((DATA / "mountinfo").read_bytes())
    assert problems == []
    by_point = {mount.mount_point: mount for mount in mounts if mount.is_storage}
    assert set(by_point) == {
        "/", "/run/netns", "/mnt/with space\ttab\\back", "/mnt/old", "/mnt/bind-ro", "/mnt/nfs", "/mnt/btrfs",
        "/mnt/empty-source", "/mnt/lxcfs",
    }  # fmt: skip
    assert by_point["/run/netns"].root == "/run/netns"
    words = {point: mount.fs_read_only_word for point, mount in by_point.items() if mount.fs_read_only_word}
    assert words == {"/mnt/with space\ttab\\back": "emergency_ro", "/mnt/old": "ro"}
    assert by_point["/mnt/bind-ro"].options == ("ro", "relatime")
    assert by_point["/mnt/nfs"].source == "10.0.0.5:/export"
    assert by_point["/mnt/empty-source"].source == ""


def test_damaged_mounts_cost_themselves_only() -> None:
    mounts, problems = parse_mountinfo((DATA / "damaged/mountinfo").read_bytes())
    assert [mount.mount_point for mount in mounts] == ["/", "/good"]
    assert [problem.split(":")[0] for problem in problems] == [f"line {number}" for number in range(2, 7)]


@given(st.binary(max_size=200))
def test_no_mountinfo_raises_and_good_lines_survive(noise: bytes) -> None:
    mounts, _ = parse_mountinfo(
        b"900000001 1 8:1 / /a rw - ext4 /dev/sda1 rw\n" + noise + b"\n" + b"8 1 8:1 / /b\\040 rw - ext4 s rw"
    )
    points = {mount.id: mount.mount_point for mount in mounts}
    assert points[900000001] == "/a"
    assert 8 in points


@pytest.mark.parametrize(
    ("path", "volume"),
    [
        (f"/var/lib/kubelet/pods/{UID}/volumes/kubernetes.io~csi/{PV}/mount", VolumeId(UID, "kubernetes.io~csi", PV)),
        (f"/data/k/pods/{UID}/volumes/kubernetes.io~nfs/share", VolumeId(UID, "kubernetes.io~nfs", "share")),
        (f"/var/lib/kubelet/plugins/kubernetes.io/csi/d.io/{HASH}/globalmount", VolumeId("", "d.io", HASH)),
        (f"/var/lib/kubelet/pods/{UID}/volumes/kubernetes.io~csi/{PV}", None),
        (f"/var/lib/kubelet/pods/{UID}/volumes/kubernetes.io~nfs/share/mount", None),
        (f"/var/lib/kubelet/pods/{UID}/volumes/kubernetes.io~csi/{PV}/mount/pods/x", None),
        (f"/var/lib/kubelet/pods/{UID}/volume-subpaths/{PV}/c/0", None),
        ("/pods/volumes", None),
    ],
)
def test_volumes_by_path(path: str, volume: VolumeId | None) -> None:
    told = volume_of(path)
    assert (told and told[1]) == volume
    assert told is None or path == f"{told[0]}/{told[1].mount_point}"


@given(st.text(st.sampled_from("/abpods~volumescsimount."), max_size=80))
def test_no_path_raises(path: str) -> None:
    volume_of(path)


@given(st.binary(max_size=100))
def test_vol_data_is_read_or_refused(raw: bytes) -> None:
    try:
        fields = parse_vol_data(raw)
    except ValueError:
        return
    assert set(fields) == {"specVolID", "driverName", "volumeHandle", "attachmentID"}


def test_a_mounted_volume_is_joined_with_what_csi_says(tmp_path: Path) -> None:
    host = host_of(tmp_path, {"proc/1/mountinfo": MOUNTS, **KUBELET})
    reading = VolumesCollector().collect(host, 0)
    assert not [key for key in reading.items if key.startswith("coverage/")]
    assert reading.items[f"volume/{UID}/{PV}"].volume == pb.Volume(
        pod_uid=UID,
        volume_name=PV,
        driver="ebs.csi.aws.com",
        volume_handle="vol-04",
        attachment_id="csi-11",
        path=f"/var/lib/kubelet/pods/{UID}/volumes/kubernetes.io~csi/{PV}/mount",
        mounted=True,
        dev="259:8",
        plugin="kubernetes.io~csi",
        staging_path=f"/var/lib/kubelet/plugins/kubernetes.io/csi/ebs.csi.aws.com/{HASH}/globalmount",
        fs_type="ext4",
    )
    staged = reading.items[f"volume/global/{HASH}"].volume
    assert (staged.driver, staged.volume_handle, staged.dev, staged.mounted) == (
        "ebs.csi.aws.com",
        "vol-04",
        "259:8",
        True,
    )
    assert {key for key in reading.items if key.startswith("mount/")} == {
        "mount/22",
        "mount/35",
        "mount/400",
        "mount/407",
    }
    assert reading.items["mount/22"].mount == pb.Mount(
        id=22, dev="259:2", root="/", mount_point="/", fs_type="ext4", source="/dev/nvme0n1p2"
    )


def test_paths_alone_still_tell_pod_and_volume(tmp_path: Path) -> None:
    reading = VolumesCollector().collect(host_of(tmp_path, {"proc/1/mountinfo": MOUNTS}), 0)
    volume = reading.items[f"volume/{UID}/{PV}"].volume
    assert (volume.mounted, volume.dev, volume.volume_handle, volume.driver) == (True, "259:8", "", "")
    assert reading.items[f"volume/global/{HASH}"].volume.driver == "ebs.csi.aws.com"
    gap = reading.items["coverage/volume_data"].coverage
    assert "kubelet/pods: not in the bundle; CSI handles and attachments are not known" in gap.because


def test_no_kubelet_and_no_volumes_is_no_gap(tmp_path: Path) -> None:
    host = host_of(tmp_path, {"proc/1/mountinfo": (DATA / "mountinfo").read_bytes()})
    assert not [key for key in VolumesCollector().collect(host, 0).items if key.startswith("coverage/")]


def test_a_volume_that_is_not_mounted_any_more_or_yet(tmp_path: Path) -> None:
    collector = VolumesCollector()
    mounted = collector.collect(host_of(tmp_path / "a", {"proc/1/mountinfo": MOUNTS, **KUBELET}), 0)
    rest = b"".join(line for line in MOUNTS.splitlines(keepends=True) if b"kubelet" not in line)
    reading = collector.collect(host_of(tmp_path / "b", {"proc/1/mountinfo": rest, **KUBELET}), 10)
    assert mounted.items[f"volume/{UID}/{PV}"].volume.mounted
    volume = reading.items[f"volume/{UID}/{PV}"].volume
    assert (volume.mounted, volume.dev, volume.volume_handle) == (False, "", "vol-04")
    assert volume.path == mounted.items[f"volume/{UID}/{PV}"].volume.path


def test_secrets_and_the_like_are_no_storage(tmp_path: Path) -> None:
    files = {
        "proc/1/mountinfo": b"9 1 0:9 / /k/pods/u/volumes/kubernetes.io~projected/token rw - tmpfs tmpfs rw\n",
        "kubelet/pods/u/volumes/kubernetes.io~secret/s/": b"",
        "kubelet/pods/u/volumes/kubernetes.io~empty-dir/e/": b"",
        "kubelet/pods/u/volumes/kubernetes.io~nfs/share/": b"",
        "kubelet/pods/no-volumes/": b"",
    }
    reading = VolumesCollector().collect(host_of(tmp_path, files), 0)
    assert set(reading.items) == {"volume/u/share"}


def test_damaged_vol_data_costs_itself_only(tmp_path: Path) -> None:
    pod = f"kubelet/pods/{UID}/volumes/kubernetes.io~csi"
    files = {
        "proc/1/mountinfo": MOUNTS,
        **KUBELET,
        f"{pod}/cut/vol_data.json": b'{"driverName": "d',
        f"{pod}/list/vol_data.json": b"[]",
        f"{pod}/odd/vol_data.json": {"driverName": 7},
        f"{pod}/deep/vol_data.json": b"[" * 60_000,
    }
    reading = VolumesCollector().collect(host_of(tmp_path, files), 0)
    assert reading.items[f"volume/{UID}/{PV}"].volume.volume_handle == "vol-04"
    assert f"volume/{UID}/cut" in reading.items
    gap = reading.items["coverage/volume_data/damaged"].coverage
    assert gap.because.startswith(f"kubelet: pods/{UID}/volumes/kubernetes.io~csi/cut/vol_data.json: ")
    assert gap.because.endswith("(and 3 more)")
    assert gap.status == pb.COVERAGE_STATUS_DAMAGED


def test_the_directories_are_listed_again_when_a_mount_changes_or_a_minute_has_passed(tmp_path: Path) -> None:
    host = host_of(tmp_path, {"proc/1/mountinfo": MOUNTS, **KUBELET})
    collector = VolumesCollector()
    first = collector.collect(host, 0)
    shutil.rmtree(tmp_path / "nodes/n/kubelet/plugins")
    same = collector.collect(host, 10)
    assert all(same.items[key] is item for key, item in first.items.items())
    assert collector.collect(host, 61).items[f"volume/global/{HASH}"].volume.volume_handle == ""
    (tmp_path / "nodes/n/proc/1/mountinfo").write_bytes(MOUNTS + b"900 22 8:1 / /new rw - ext4 /dev/sda1 rw\n")
    shutil.rmtree(tmp_path / "nodes/n/kubelet/pods")
    later = collector.collect(host, 62)
    assert "mount/900" in later.items
    assert later.items[f"volume/{UID}/{PV}"].volume.volume_handle == ""


def test_hidden_pid_1_on_a_live_host_leaves_the_agents_own_mounts(tmp_path: Path) -> None:
    write_files(tmp_path, {"proc/self/mountinfo": MOUNTS, "sys/class/net/": b""})
    host = live_host("n", str(tmp_path / "proc"), str(tmp_path / "sys"), str(tmp_path / "kubelet"))
    reading = VolumesCollector().collect(host, 0)
    assert "mount/22" in reading.items
    gap = reading.items["coverage/volumes"].coverage
    assert gap.status == pb.COVERAGE_STATUS_DEGRADED
    assert "hidepid" in gap.because
    assert gap.remedy


def test_no_mountinfo_at_all(tmp_path: Path) -> None:
    reading = VolumesCollector().collect(host_of(tmp_path, {"proc/stat": b""}), 0)
    assert set(reading.items) == {"coverage/volumes"}


def test_a_damaged_mountinfo_is_told_and_the_rest_is_good(tmp_path: Path) -> None:
    host = host_of(tmp_path, {"proc/1/mountinfo": (DATA / "damaged/mountinfo").read_bytes()})
    reading = VolumesCollector().collect(host, 0)
    assert {key for key in reading.items if key.startswith("mount/")} == {"mount/27", "mount/31"}
    gap = reading.items["coverage/volumes"].coverage
    assert gap.because.startswith("/proc/1/mountinfo: line 2: not a mount")
