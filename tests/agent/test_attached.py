"""Disks and volumes joined: what is on what, what nobody uses, what is gone, and when all that changed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nodetell.v1 import facts_pb2 as pb

from agent.collectors.blockdevs import MAX_BY_ID, parse_partitions
from agent.collectors.kubelet import VolumeId, raw_volume_of
from agent.collectors.timeline import MAX_EVENTS
from agent.collectors.volumes import VolumesCollector
from agent.hosts.bundle import BundleHost
from agent.reading import Block, Reading
from tests.recorded import host_of, write_files

UID = "74144af8-4695-4c2c-9d81-1aba358643c0"
PODS = f"/var/lib/kubelet/pods/{UID}/volumes/kubernetes.io~csi"
STAGING = "/var/lib/kubelet/plugins/kubernetes.io/csi/ebs.csi.aws.com"
DISKS = {
    "nvme0n1": "259:0", "nvme0n1p1": "259:1", "nvme1n1": "259:2", "nvme2n1": "259:3", "nvme3n1": "259:4",
    "sda": "8:0", "sdb": "8:16", "dm-0": "253:0", "dm-1": "253:1", "sdc": "8:32", "sdd": "8:48", "sr0": "11:0",
    "zram0": "252:0", "loop0": "7:0", "sde": "8:64", "sdf": "8:80",
}  # fmt: skip


def partitions(*without: str) -> bytes:
    lines = [f"{dev.replace(':', ' ')} 1048576 {name}" for name, dev in DISKS.items() if name not in without]
    return ("major minor  #blocks  name\n\n" + "\n".join(lines) + "\n").encode()


def mount(  # noqa: PLR0917  # the columns of mountinfo, in their order
    number: int, dev: str, point: str, source: str, rest: str = "rw", fs_type: str = "ext4", root: str = "/"
) -> bytes:
    return f"{number} 1 {dev} {root} {point} rw,relatime shared:1 - {fs_type} {source} {rest}\n".encode()


MOUNTS = (
    mount(1, "259:1", "/", "/dev/nvme0n1p1")
    + mount(2, "253:1", f"{STAGING}/aa/globalmount", "/dev/mapper/luks-x", "rw,errors=remount-ro,emergency_ro")
    + mount(3, "253:1", f"{PODS}/pvc-luks/mount", "/dev/mapper/luks-x", "rw,errors=remount-ro,emergency_ro")
    + mount(4, "0:41", f"{PODS}/pvc-nfs/mount", "10.0.0.5:/export", fs_type="nfs4")
    + mount(5, "0:42", "/data", "/dev/sdc", fs_type="btrfs")
    + mount(6, "259:9", f"{PODS}/pvc-gone/mount", "/dev/nvme9n1")
    + mount(
        7, "0:6", f"/var/lib/kubelet/plugins/kubernetes.io/csi/volumeDevices/publish/pvc-raw/{UID}", "devtmpfs",
        fs_type="devtmpfs", root="/nvme2n1",
    )
)  # fmt: skip
HOST: dict[str, bytes | object] = {
    "proc/partitions": partitions(),
    "proc/1/mountinfo": MOUNTS,
    "proc/swaps": b"Filename\tType\tSize\tUsed\tPriority\n/dev/sdb partition 1 0 -2\n/swap.img file 1 0 -3\n",
    **{f"sys/block/{name}/holders/": b"" for name in DISKS if name != "nvme0n1p1"},
    **{f"sys/block/{name}/diskseq": b"1\n" for name in DISKS if name != "nvme0n1p1"},
    "sys/block/nvme1n1/holders/dm-1/": b"",
    "sys/block/dm-1/slaves/nvme1n1/": b"",
    "sys/block/dm-1/dm/uuid": b"CRYPT-LUKS2-0123\n",
    "sys/block/nvme1n1/device/serial": b"vol0cafe\n",
    "sys/block/nvme1n1/wwid": b"nvme.1d0f-766f\n",
    "sys/block/sda/holders/dm-0/": b"",
    "sys/block/dm-0/slaves/sda/": b"",
    "sys/block/dm-0/dm/uuid": b"mpath-3600\n",
    "sys/block/nvme3n1/device/serial": b"vol0badcafe1234\n",
    "sys/block/sde/device/vpd_pg80": b"\0\x80\0\x08SN-0042 ",
    "sys/block/sde/device/scsi_device/3:0:0:2/": b"",
    "sys/block/sde/device/model": b"Virtual disk    \n",
    "sys/fs/btrfs/0123-uuid/devices/sdc/": b"",
    "sys/fs/btrfs/0123-uuid/devices/sdd/": b"",
    "sys/fs/btrfs/features/": b"",
    "sys/fs/ext4/dm-1/errors_count": b"3\n",
    "sys/fs/ext4/dm-1/first_error_time": b"1795341600\n",
    "sys/fs/ext4/dm-1/last_error_time": b"1795341700\n",
    "sys/fs/ext4/dm-1/last_error_func": b"ext4_lookup\n",
    "udev/data/b8:64": b"S:disk/by-path/pci-0\nS:disk/by-id/wwn-0x6000c29\nS:disk/by-id/scsi-3600\nI:123\n",
    f"kubelet/pods/{UID}/volumes/kubernetes.io~csi/pvc-late/vol_data.json": {"volumeHandle": "vol-0badcafe1234"},
    "kubelet/plugins/kubernetes.io/csi/volumeDevices/pvc-raw/data/vol_data.json": {"volumeHandle": "vol-raw"},
    f"kubelet/pods/{UID}/volumeDevices/kubernetes.io~csi/pvc-raw/": b"",
}


def volume(reading: Reading, name: str) -> pb.Volume:
    return reading.items[f"volume/{UID}/{name}"].volume


def uses(reading: Reading) -> dict[str, int]:
    found = [item.attached_device for key, item in reading.items.items() if key.startswith("device/")]
    return {each.identity.name: each.use for each in found}


@pytest.fixture
def reading(tmp_path: Path) -> Reading:
    return VolumesCollector().collect(host_of(tmp_path, HOST), 1_000.0)


def test_errors_of_a_file_system_are_counted(reading: Reading) -> None:
    assert reading.blocks["fs/ext4/dm-1"] == Block(("errors",), (3,))


def test_what_uses_each_disk(reading: Reading) -> None:
    assert uses(reading) == {
        "nvme0n1": pb.DEVICE_USE_MOUNTED,
        "nvme1n1": pb.DEVICE_USE_MOUNTED,  # below what is mounted
        "nvme2n1": pb.DEVICE_USE_RAW_BLOCK,
        "nvme3n1": pb.DEVICE_USE_UNUSED,
        "sda": pb.DEVICE_USE_HELD,
        "sdb": pb.DEVICE_USE_SWAP,
        "dm-0": pb.DEVICE_USE_UNUSED,  # a multipath disk that nobody uses
        "sdc": pb.DEVICE_USE_MOUNTED,
        "sdd": pb.DEVICE_USE_MOUNTED,  # the other half of a btrfs
        "loop0": pb.DEVICE_USE_UNUSED,
        "sde": pb.DEVICE_USE_UNUSED,
        "sdf": pb.DEVICE_USE_UNUSED,
    }
    root = [key for key, item in reading.items.items() if item.attached_device.root]
    assert root == ["device/259:0"]
    assert reading.items["device/259:4"].attached_device.unused_since_unix_ms == 1_000_000
    assert reading.items["device/8:16"].attached_device.unused_since_unix_ms == 0


def test_an_unused_disk_is_named_by_all_that_it_says_of_itself(reading: Reading) -> None:
    assert reading.items["device/8:64"].attached_device.identity == pb.DeviceIdentity(
        dev="8:64",
        name="sde",
        serial="SN-0042",
        model="Virtual disk",
        scsi_address="3:0:0:2",
        by_id=["scsi-3600", "wwn-0x6000c29"],
    )


def test_a_partitioned_disk_is_no_spare_one(tmp_path: Path) -> None:
    files = HOST | {"proc/1/mountinfo": mount(1, "253:1", "/", "/dev/dm-1")}
    found = uses(VolumesCollector().collect(host_of(tmp_path, files), 0.0))
    assert found["nvme0n1"] == pb.DEVICE_USE_PARTITIONED
    assert found["nvme1n1"] == pb.DEVICE_USE_MOUNTED


def test_what_carries_the_root_file_system_is_never_unused(tmp_path: Path) -> None:
    # Seen from within a container whose mountinfo names a device that nothing in sight is mounted from.
    files = HOST | {"proc/1/mountinfo": mount(1, "0:30", "/", "/dev/sdf", fs_type="overlay")}
    device = VolumesCollector().collect(host_of(tmp_path, files), 0.0).items["device/8:80"].attached_device
    assert (device.use, device.root) == (pb.DEVICE_USE_MOUNTED, True)


def test_where_holders_are_not_told_nothing_is_called_unused(tmp_path: Path) -> None:
    files = {path: text for path, text in HOST.items() if "holders" not in path}
    found = uses(VolumesCollector().collect(host_of(tmp_path, files), 0.0))
    assert found["sde"] == pb.DEVICE_USE_UNSPECIFIED
    assert pb.DEVICE_USE_UNUSED not in found.values()


def test_a_volume_through_an_encrypted_device(reading: Reading) -> None:
    found = volume(reading, "pvc-luks")
    assert (found.attached, list(found.devices), found.disk.serial) == (True, ["dm-1", "nvme1n1"], "vol0cafe")
    assert found.staging_path == f"{STAGING}/aa/globalmount"
    assert (found.mount_read_only, found.fs_read_only, found.fs_read_only_word) == (False, True, "emergency_ro")
    assert (found.errors, found.first_error_time, found.last_error_time) == (3, 1795341600, 1795341700)
    assert found.last_error_func == "ext4_lookup"
    staged = reading.items["volume/global/aa"].volume
    assert (staged.staging_path, staged.errors) == ("", 3)


def test_a_network_file_system_has_no_device_to_be_attached(reading: Reading) -> None:
    found = volume(reading, "pvc-nfs")
    assert (found.mounted, found.fs_type, found.HasField("attached"), found.HasField("errors")) == (
        True, "nfs4", False, False,
    )  # fmt: skip


def test_a_volume_is_still_mounted_and_its_device_is_gone(reading: Reading) -> None:
    found = volume(reading, "pvc-gone")
    assert (found.mounted, found.HasField("attached"), found.attached) == (True, True, False)


def test_a_device_is_attached_for_a_volume_that_is_not_mounted_yet(reading: Reading) -> None:
    found = volume(reading, "pvc-late")
    assert (found.mounted, found.attached, found.disk.name) == (False, True, "nvme3n1")


def test_a_handle_that_fits_two_disks_or_is_short_fits_none(tmp_path: Path) -> None:
    twice = HOST | {"sys/block/sdf/device/serial": b"vol0badcafe1234\n"}
    assert not volume(VolumesCollector().collect(host_of(tmp_path / "a", twice), 0.0), "pvc-late").HasField("attached")
    path = f"kubelet/pods/{UID}/volumes/kubernetes.io~csi/pvc-late/vol_data.json"
    short = HOST | {path: {"volumeHandle": "vol-0"}}
    assert not volume(VolumesCollector().collect(host_of(tmp_path / "b", short), 0.0), "pvc-late").HasField("attached")


def test_a_raw_block_volume(reading: Reading) -> None:
    found = volume(reading, "pvc-raw")
    assert (found.raw_block, found.mounted, found.attached, found.dev) == (True, False, True, "259:3")
    assert found.volume_handle == "vol-raw"
    assert found.path == f"/var/lib/kubelet/pods/{UID}/volumeDevices/kubernetes.io~csi/pvc-raw"


def test_the_loop_device_by_which_the_kubelet_keeps_a_raw_volume_is_its(tmp_path: Path) -> None:
    lock = f"/var/lib/kubelet/plugins/kubernetes.io/csi/volumeDevices/pvc-x/dev/{UID}"
    files = HOST | {"sys/block/loop0/loop/backing_file": lock.encode()}
    found = uses(VolumesCollector().collect(host_of(tmp_path, files), 0.0))
    assert found["loop0"] == pb.DEVICE_USE_RAW_BLOCK


RAW = VolumeId(UID, "kubernetes.io~csi", "pvc-1", raw=True)


@pytest.mark.parametrize(
    ("path", "volume_id"),
    [
        (f"/k/plugins/kubernetes.io/csi/volumeDevices/publish/pvc-1/{UID}", RAW),
        (f"/k/plugins/kubernetes.io/csi/volumeDevices/pvc-1/dev/{UID}", RAW),
        ("/k/plugins/kubernetes.io/csi/volumeDevices/staging/pvc-1", None),
        (f"/k/plugins/kubernetes.io/csi/volumeDevices/pvc-1/dev/{UID}/x", None),
    ],
)  # fmt: skip
def test_raw_volumes_by_path(path: str, volume_id: VolumeId | None) -> None:
    told = raw_volume_of(path)
    assert (told and told[1]) == volume_id


def test_a_bundle_with_statistics_alone_tells_what_it_can(tmp_path: Path) -> None:
    files: dict[str, bytes | object] = {
        "proc/1/mountinfo": mount(2, "259:2", f"{PODS}/pvc-a/mount", "/dev/nvme1n1")
        + mount(3, "259:9", f"{PODS}/pvc-b/mount", "/dev/nvme9n1"),
        "proc/diskstats": b"".join(b" 259 %d nvme%dn1 %s\n" % (n * 2, n, b"1 " * 17) for n in range(3)),
    }
    reading = VolumesCollector().collect(host_of(tmp_path, files), 0.0)
    assert (volume(reading, "pvc-a").attached, volume(reading, "pvc-b").attached) == (True, False)
    assert uses(reading) == {"nvme0n1": 0, "nvme1n1": pb.DEVICE_USE_MOUNTED, "nvme2n1": 0}


@given(st.binary(max_size=200))
def test_no_list_of_partitions_raises(noise: bytes) -> None:
    found = parse_partitions(b" 8 0 1048576 sda\n" + noise + b"\n 8 16 1 sdb\n")
    assert found["sdb"] == ("8:16", 1024)


def test_a_size_that_none_can_be_is_not_told() -> None:
    found = parse_partitions(b"8 0 9007199254740992 sda\n8 16 9007199254740991 sdb\n")
    assert found == {"sda": ("8:0", 0), "sdb": ("8:16", ((1 << 53) - 1) << 10)}


def test_very_many_names_are_bounded_and_odd_ones_made_readable(tmp_path: Path) -> None:
    names = b"".join(b"S:disk/by-id/n\x07%d\n" % n for n in range(100))
    reading = VolumesCollector().collect(host_of(tmp_path, HOST | {"udev/data/b8:64": names}), 0.0)
    by_id = reading.items["device/8:64"].attached_device.identity.by_id
    assert len(by_id) == MAX_BY_ID
    assert all(name.isprintable() for name in by_id)


# -- the timeline ------------------------------------------------------------------------------------------------------


def host_at(tmp_path: Path, number: int, **files: bytes | object) -> BundleHost:
    """The host, with some files otherwise."""
    return host_of(tmp_path / str(number), HOST | {path.replace("__", "/"): text for path, text in files.items()})


def timeline(reading: Reading) -> list[tuple[str, ...]]:
    words = pb.AttachEventKind.DESCRIPTOR.values_by_number
    events = [item.attach_event for key, item in reading.items.items() if key.startswith("attach/")]
    return [(words[e.kind].name.removeprefix("ATTACH_EVENT_KIND_").lower(), e.mount_point or e.device) for e in events]


def test_what_came_went_and_changed_between_readings(tmp_path: Path) -> None:
    collector = VolumesCollector()
    assert timeline(collector.collect(host_at(tmp_path, 0), 100.0)) == []
    lines = MOUNTS.splitlines(keepends=True)
    changed = b"".join(line for line in lines if not line.startswith((b"3 ", b"2 ")))
    changed += lines[1].replace(b",emergency_ro", b"") + mount(9, "8:64", f"{PODS}/pvc-new/mount", "/dev/sde", "ro")
    after = host_at(tmp_path, 1, proc__partitions=partitions("nvme3n1"), proc__1__mountinfo=changed)
    reading = collector.collect(after, 104.0)
    assert timeline(reading) == [
        ("detached", "nvme3n1"),
        ("unmounted", f"{PODS}/pvc-luks/mount"),
        ("remounted", f"{STAGING}/aa/globalmount"),
        ("mounted", f"{PODS}/pvc-new/mount"),
    ]
    events = [reading.items[f"attach/{number}"].attach_event for number in range(1, 5)]
    assert {(event.at_unix_ms, event.uncertain_ms) for event in events} == {(104_000, 4_000)}
    assert (events[0].serial, events[0].dev) == ("vol0badcafe1234", "259:4")
    assert (events[1].pod_uid, events[1].volume_name, events[1].device) == (UID, "pvc-luks", "dm-1")
    assert events[1].serial == "vol0cafe"
    assert (events[2].read_only_before, events[2].read_only, events[2].fs_read_only_word) == (True, False, "")
    assert (events[3].read_only, events[3].fs_read_only_word, events[3].fs_type) == (True, "ro", "ext4")
    again = collector.collect(after, 105.0)
    assert all(again.items[f"attach/{number}"] is reading.items[f"attach/{number}"] for number in range(1, 5))


def test_another_medium_under_the_same_name_went_and_came(tmp_path: Path) -> None:
    collector = VolumesCollector()
    collector.collect(host_at(tmp_path, 0), 0.0)
    other = HOST | {"proc/partitions": partitions("sdf"), "sys/block/loop0/diskseq": b"2\n"}
    reading = collector.collect(host_of(tmp_path / "1", other), 1.0)
    assert timeline(reading) == [("detached", "loop0"), ("detached", "sdf"), ("attached", "loop0")]
    assert reading.items["device/7:0"].attached_device.unused_since_unix_ms == 1_000


def test_what_could_not_be_read_has_not_gone(tmp_path: Path) -> None:
    collector = VolumesCollector()
    collector.collect(host_at(tmp_path, 0), 0.0)
    nothing = host_of(tmp_path / "1", {"proc/stat": b""})
    assert timeline(collector.collect(nothing, 1.0)) == []
    assert timeline(collector.collect(host_at(tmp_path, 2), 2.0)) == []
    gone = host_at(tmp_path, 3, proc__1__mountinfo=MOUNTS.splitlines(keepends=True)[0])
    assert len(timeline(collector.collect(gone, 3.0))) == 6


def test_the_timeline_is_bounded_and_its_numbers_go_on(tmp_path: Path) -> None:
    collector = VolumesCollector()
    directory = tmp_path / "0"
    host = host_of(directory, HOST)
    for number in range(MAX_EVENTS):
        extra = mount(50, "8:64", "/mnt/x", "/dev/sde") if number % 2 else b""
        write_files(directory / "nodes" / "n", {"proc/1/mountinfo": MOUNTS + extra})
        reading = collector.collect(host, float(number))
    write_files(directory / "nodes" / "n", {"proc/1/mountinfo": MOUNTS.splitlines(keepends=True)[0]})
    reading = collector.collect(host, 100.0)
    numbers = [int(key.partition("/")[2]) for key in reading.items if key.startswith("attach/")]
    assert len(numbers) == MAX_EVENTS
    assert numbers == list(range(numbers[0], numbers[0] + MAX_EVENTS))
    assert numbers[0] > 1


def test_a_mount_id_that_is_used_again_is_another_mount(tmp_path: Path) -> None:
    collector = VolumesCollector()
    collector.collect(host_at(tmp_path, 0, proc__1__mountinfo=MOUNTS + mount(50, "8:64", "/a", "/dev/sde")), 0.0)
    later = host_at(tmp_path, 1, proc__1__mountinfo=MOUNTS + mount(50, "8:80", "/b", "/dev/sdf"))
    assert timeline(collector.collect(later, 1.0)) == [("unmounted", "/a"), ("mounted", "/b")]


def test_containers_that_come_and_go_cost_no_look_at_the_kubelets_directories(tmp_path: Path) -> None:
    collector = VolumesCollector()
    host = host_of(tmp_path, HOST)
    first = collector.collect(host, 0.0)
    overlay = mount(
        70, "0:77", "/run/containerd/io.containerd.runtime.v2.task/k8s.io/0/rootfs", "overlay", fs_type="overlay"
    )
    token = mount(
        71, "0:78", f"/var/lib/kubelet/pods/{UID}/volumes/kubernetes.io~projected/t", "tmpfs", fs_type="tmpfs"
    )
    write_files(tmp_path / "nodes" / "n", {"proc/1/mountinfo": MOUNTS + overlay + token})
    (tmp_path / "nodes/n/kubelet").rename(tmp_path / "aside")
    after = collector.collect(host, 1.0)
    assert after.items.keys() == first.items.keys()
    assert all(after.items[key] is item for key, item in first.items.items())
    assert not collector.collect(host, 61.0).items[f"volume/{UID}/pvc-luks"].volume.volume_handle
    assert f"volume/{UID}/pvc-late" not in collector.collect(host, 61.0).items


class PendingEvents:
    """Uevents of which one waits, unseen by whoever waits for them."""

    def __init__(self) -> None:
        self.waiting = False
        self.happened_at: float | None = None

    def look(self) -> None:
        if self.waiting:
            self.waiting, self.happened_at = False, 103.5

    def looked_at(self) -> list[object]:
        self.happened_at = None
        return []


def test_what_the_kernel_has_told_and_nobody_was_woken_by_yet_is_told_with_its_time(tmp_path: Path) -> None:
    collector = VolumesCollector()
    collector._listened.devices = pending = PendingEvents()  # type: ignore[assignment]  # what it does with them
    collector.collect(host_at(tmp_path, 0), 100.0)
    pending.waiting = True
    reading = collector.collect(host_at(tmp_path, 1, proc__partitions=partitions("sdf")), 104.0)
    event = reading.items["attach/1"].attach_event
    assert (event.at_unix_ms, event.uncertain_ms) == (103_500, 0)
    reading = collector.collect(host_at(tmp_path, 2), 108.0)  # of this one it has not told
    event = reading.items["attach/2"].attach_event
    assert (event.at_unix_ms, event.uncertain_ms) == (108_000, 4_000)
