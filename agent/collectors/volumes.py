"""What is mounted and attached: the host's side of every volume, and of every disk that nobody uses.

Only /proc, /sys and the kubelet's own directories are read. Nothing is ever asked of a mounted file system itself (no
statvfs, no stat, no listing), for one whose server or device is gone never answers.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from nodetell.redact import without_secrets
from nodetell.v1 import facts_pb2 as pb

from agent import bounds
from agent.collectors import blockdevs, gaps
from agent.collectors.base import Opened
from agent.collectors.blockdevs import Device, Devices, Uses
from agent.collectors.filesystems import read_filesystems
from agent.collectors.fs_watch import FsWatch
from agent.collectors.keep import Kept
from agent.collectors.kubelet import NO_STORAGE, ROOT, Kubelet, VolumeId, raw_volume_of, read_kubelet, volume_of
from agent.collectors.mountinfo import MountLine, parse_mountinfo
from agent.collectors.timeline import Timeline, When
from agent.events.fs_errors import FsErrors
from agent.events.mounts import MountEvents
from agent.events.storage_log import StorageTrouble
from agent.events.timer import Timer
from agent.events.uevents import BlockEvents
from agent.events.waiter import Source
from agent.host import Failure, Host, ReadError
from agent.hosts.files import printable
from agent.reading import Block, Reading

_MOUNTINFO_BYTES = 64 << 20
_LISTING_S = 60.0
_MAX_DISKS = 512
_LEAST_TOKEN = 8
"""Letters that a handle must have to be looked for in what a device says of itself."""
_ANONYMOUS = "0:"


@dataclass(slots=True)
class _State:
    """What one reading showed, as far as the next is compared with it."""

    at: float
    mounts: dict[int, MountLine] | None = None
    """By id; None: could not be read."""
    devices: Devices | None = None


@dataclass(slots=True)
class _Listened:
    """What wakes the collector; None: it could not be had."""

    mounts: MountEvents | None = None
    devices: BlockEvents | None = None
    trouble: StorageTrouble | None = None
    errors: FsWatch = field(default_factory=FsWatch)

    @property
    def of_mounts(self) -> list[MountEvents | StorageTrouble | FsErrors]:
        """Those that tell of mounts and file systems."""
        return [each for each in (self.mounts, self.trouble, self.errors.errors) if each is not None]


@dataclass(slots=True)
class _Parts:
    """What a volume is made of, read at one moment."""

    mounts: list[MountLine]
    """Those that concern us."""
    devices: Devices
    kubelet: Kubelet
    filesystems: Mapping[str, pb.Filesystem]
    swap: frozenset[str]
    """Names of devices."""
    btrfs: frozenset[str]
    by_volume: dict[VolumeId, MountLine] = field(default_factory=dict, compare=False)
    """The mount on top, of each volume that has one."""
    raw: dict[VolumeId, str] = field(default_factory=dict, compare=False)
    """Kernel name of the device of each raw block volume; empty: not told."""
    staged: dict[str, str] = field(default_factory=dict, compare=False)
    """Mount point of the global mount by device number."""
    root: str = field(default=ROOT, compare=False)
    """The kubelet's."""


class VolumesCollector:
    """Items "mount/ID", "volume/POD UID or global/NAME", "device/MAJ:MIN", "fs/TYPE/DEVICE" and "attach/NUMBER"."""

    name = "volumes"
    lane = "volumes"
    interval_s = 10.0
    safety_interval_s = 60.0

    def __init__(self) -> None:
        self._kept = Kept()
        self._listened = _Listened()
        self._raw: bytes | None = None
        self._lines: dict[bytes, MountLine] = {}
        self._mounts: list[MountLine] = []
        """Those that concern us."""
        self._problems: list[str] = []
        self._kubelet = Kubelet()
        self._listed_at = -math.inf
        self._partitions: bytes | None = None
        self._devices: Devices | None = None
        self._devices_at = 0.0
        self._devices_error: ReadError | None = None
        self._parts: _Parts | None = None
        self._built = Reading()
        """What followed from those parts."""
        self._before: _State | None = None
        self._timeline = Timeline()
        self._unused_since: dict[tuple[str, str], int] = {}
        """Milliseconds since the epoch, by number and diskseq."""

    def sources(self, host: Host) -> Opened:
        """Mounts, block devices, errors of file systems, and of the kernel's log what is about storage in trouble."""
        opened: list[Source] = []
        problems: list[ReadError] = []
        listened = self._listened = _Listened()
        try:
            opened.append(mounts := MountEvents(host))
            listened.mounts = mounts
        except ReadError as error:
            problems.append(error)
        try:
            opened.append(devices := BlockEvents())
            listened.devices = devices
        except ReadError as error:
            problems.append(error)
        try:
            opened.append(trouble := StorageTrouble(host))
            listened.trouble = trouble
        except ReadError as error:
            problems.append(error)
        try:
            opened.append(errors := FsErrors())
            opened.append(timer := Timer())
            listened.errors = FsWatch(errors, timer=timer)
        except ReadError as error:  # the log tells of most of them too, so nothing is polled for it
            listened.errors.problem = error
        return Opened(opened, problems)

    def collect(self, host: Host, now: float) -> Reading:
        """Mounts and devices now; the kubelet's directories when a mount changed, else at most a minute ago."""
        reading = Reading()
        whens = self._whens(now)
        changed = self._read_mounts(reading, host)
        told_errors = self._listened.errors.follow(reading, host, self._mounts, now, changed=changed)
        self._read_devices(host, now)
        if self._devices is not None:
            reading.source("devices", "/proc/partitions, /sys/block")
        elif self._devices_error is not None and self._devices_error.failure is not Failure.ABSENT:
            lost = "which disks are attached, and which volume is on which, is not known"
            gaps.add(reading, "devices", self._devices_error, lost=lost)
        if changed or not 0 <= now - self._listed_at < _LISTING_S:
            self._kubelet = read_kubelet(host)
            self._listed_at = now
        parts = _Parts(
            self._mounts,
            self._devices or Devices(),
            self._kubelet,
            read_filesystems(reading, host),
            blockdevs.swap_devices(host),
            blockdevs.btrfs_devices(host),
        )
        self._listened.errors.settle(parts.filesystems)
        if told_errors and "fs_errors" in reading.sources:
            reading.source("fs_errors", "fanotify, /sys/fs")
        if parts != self._parts:  # where containers come and go, mounts change all the time and volumes do not
            self._parts, self._built = parts, self._build(parts, now)
        reading.items.update(self._built.items)
        reading.blocks.update(self._built.blocks)
        mounts = {mount.id: mount for mount in self._mounts} if self._raw else None
        self._compare(_State(now, mounts, self._devices), whens)
        for item in self._timeline.items:
            reading.add(item)
        return self._kept.settle(reading)

    def _build(self, parts: _Parts, now: float) -> Reading:
        """Everything that follows from what was read."""
        built = Reading()
        _find_volumes(parts)
        mounts = [mount for mount in parts.mounts if mount.is_storage]
        if len(mounts) > bounds.MOST_MOUNTS:
            mounts.sort(key=lambda mount: (mount.mount_point != "/", not _of_pods(mount.mount_point)))
        items = map(_mount_item, mounts)
        bounds.add_within(built, items, "volumes", "mounts, those of pods' volumes first,", bounds.MOST_MOUNTS)
        for fs in parts.filesystems.values():
            key = f"fs/{fs.fs_type}/{fs.device}"
            built.add(pb.Item(key=key, filesystem=fs))
            if fs.HasField("errors"):  # a counter, too: that it rose tells more than when, which not every record has
                built.blocks[key] = Block(("errors",), (fs.errors,))
        _volumes(built, parts)
        self._disks(built, parts, now)
        return built

    # -- reading ---------------------------------------------------------------------------------------------------

    def _read_mounts(self, reading: Reading, host: Host) -> bool:
        """Whether a mount changed that concerns us."""
        raw, place = _mountinfo(reading, host)
        before = self._mounts
        if raw != self._raw:
            mounts, self._problems = parse_mountinfo(raw, self._lines)
            self._mounts = [mount for mount in mounts if _concerns(mount)]
            self._raw = raw
        if raw:
            reading.source("volumes", place)
        gaps.damage(reading, "volumes", place, self._problems)
        return self._mounts != before

    def _read_devices(self, host: Host, now: float) -> None:
        """Anew if one came, went or changed, or a minute has passed."""
        events = self._listened.devices.looked_at() if self._listened.devices is not None else []
        partitions: bytes | None
        try:
            partitions = blockdevs.read_partitions(host)
        except ReadError:
            partitions = None
        fresh = partitions is not None and partitions == self._partitions and not events and self._devices is not None
        if fresh and 0 <= now - self._devices_at < _LISTING_S:
            return
        self._partitions, self._devices_at, self._devices_error = partitions, now, None
        try:
            self._devices = blockdevs.read_devices(host, partitions)
        except ReadError as error:
            self._devices, self._devices_error = None, error

    # -- the disks -------------------------------------------------------------------------------------------------

    def _disks(self, reading: Reading, parts: _Parts, now: float) -> None:
        """Every disk, and since when nothing uses those that nothing uses."""
        still_unused = {}
        found = blockdevs.attached(parts.devices, _uses(parts))
        for number, (device, use, is_root) in enumerate(found):
            if number >= _MAX_DISKS:
                because = f"more than {_MAX_DISKS} disks: the others are left out"
                reading.gap("devices", because, detail="many", status=pb.COVERAGE_STATUS_DEGRADED)
                break
            fact = pb.AttachedDevice(
                identity=device.identity,
                size_bytes=device.size_bytes,
                read_only=device.read_only,
                backing_file=printable(device.backing_file, 4096),
                use=use,
                root=is_root,
            )
            if use == pb.DEVICE_USE_UNUSED:
                medium = (device.dev, device.diskseq)
                still_unused[medium] = self._unused_since.get(medium, round(now * 1000))
                fact.unused_since_unix_ms = still_unused[medium]
            reading.add(pb.Item(key=f"device/{device.dev}", attached_device=fact))
        self._unused_since = still_unused

    # -- the timeline ----------------------------------------------------------------------------------------------

    def _whens(self, now: float) -> tuple[When, When]:
        """When what is about to be read will have happened: of mounts and of devices."""
        listened = self._listened
        for each in (*listened.of_mounts, *([listened.devices] if listened.devices is not None else [])):
            with contextlib.suppress(OSError):  # whoever waits for it finds out too
                each.look()
        age = max(0.0, now - self._before.at) if self._before is not None else 0.0
        told_mounts = [source.happened_at for source in listened.of_mounts if source.happened_at is not None]
        for source in listened.of_mounts:
            source.happened_at = None
        told = listened.devices.happened_at if listened.devices is not None else None
        return (
            When(min(told_mounts), 0.0) if told_mounts else When(now, age),
            When(told, 0.0) if told is not None else When(now, age),
        )

    def _compare(self, state: _State, whens: tuple[When, When]) -> None:
        """Note how this reading differs from the one before. What could not be read has not changed."""
        before, self._before = self._before, state
        if before is None:
            return
        if before.devices is not None and state.devices is not None and before.devices is not state.devices:
            self._timeline.disks(before.devices, state.devices, whens[1])
        if before.mounts is not None and state.mounts is not None and before.mounts != state.mounts:
            devices = _merged(before.devices, state.devices)
            self._timeline.mounts(before.mounts, state.mounts, devices, whens[0])
        state.mounts = before.mounts if state.mounts is None else state.mounts
        state.devices = before.devices if state.devices is None else state.devices


def _mountinfo(reading: Reading, host: Host) -> tuple[bytes, str]:
    """Raw mountinfo of pid 1, else of this process, and where it was read; empty if neither can be."""
    try:
        return host.read("proc/1/mountinfo", _MOUNTINFO_BYTES), "/proc/1/mountinfo"
    except ReadError as error:
        try:
            raw = host.read("proc/self/mountinfo", _MOUNTINFO_BYTES)
        except ReadError:
            gaps.add(reading, "volumes", error, lost="mounts and volumes are not known")
            return b"", error.place
        reading.gap(
            "volumes",
            f"{error}; the mounts are those of the agent's own mount namespace",
            status=pb.COVERAGE_STATUS_DEGRADED,
            remedy=error.remedy,
        )
        return raw, "/proc/self/mountinfo"


def _mount_item(mount: MountLine) -> pb.Item:
    word = mount.fs_read_only_word
    fact = pb.Mount(
        id=mount.id,
        dev=mount.dev,
        root=mount.root,
        mount_point=mount.mount_point,
        fs_type=mount.fs_type,
        source=without_secrets(mount.source),
        mount_read_only=mount.read_only,
        fs_read_only=bool(word),
        fs_read_only_word=word,
    )
    return pb.Item(key=f"mount/{mount.id}", mount=fact)


def _concerns(mount: MountLine) -> bool:
    """Storage, volumes of pods and devices given to them; the root, which tells the root's device."""
    return mount.is_storage or mount.mount_point == "/" or _of_pods(mount.mount_point)


@lru_cache(maxsize=8192)
def _of_pods(path: str) -> bool:
    told = volume_of(path) or raw_volume_of(path)
    return told is not None and told[1].plugin not in NO_STORAGE


def _merged(before: Devices | None, after: Devices | None) -> Devices:
    """All devices of two readings, for what was unmounted was often detached in the same moment."""
    both = Devices()
    for devices in (before, after):
        for device in devices.by_name.values() if devices is not None else ():
            both.add(device)
    return both


def _uses(parts: _Parts) -> Uses:
    mounted, root = set(parts.btrfs), ""
    for mount in parts.mounts:
        device = parts.devices.of_mount(mount.dev, mount.source)
        if device is not None:
            mounted.add(device.name)
            if mount.mount_point == "/":
                root = device.name
    # The kubelet keeps a loop device on each raw block volume's node for as long as a pod has it (volumepathhandler).
    locks = {device.name for device in parts.devices.by_name.values() if raw_volume_of(device.backing_file)}
    raw = {name for name in parts.raw.values() if name} | locks
    return Uses(frozenset(mounted), parts.swap, frozenset(raw), root)


def _find_volumes(parts: _Parts) -> None:
    """Which volumes there are, by mounts and by the kubelet's directories."""
    parts.raw = {volume: parts.kubelet.raw_devices.get(volume, "") for volume in parts.kubelet.volumes if volume.raw}
    for mount in parts.mounts:
        told = volume_of(mount.mount_point)
        raw = raw_volume_of(mount.mount_point) if told is None else None
        if told is not None and told[1].plugin not in NO_STORAGE:
            parts.root, parts.by_volume[told[1]] = told[0], mount  # the last of several is on top
            if not told[1].pod_uid:
                parts.staged[mount.dev] = mount.mount_point
        elif raw is not None:  # a device node: the root of the mount is its name in /dev
            parts.root, parts.raw[raw[1]] = raw[0], mount.root.removeprefix("/")


def _volumes(reading: Reading, parts: _Parts) -> None:
    kubelet = parts.kubelet
    bounds.add_within(reading, _volume_items(parts), "volumes", "volumes", bounds.MOST_VOLUMES, detail="many")
    if kubelet.volumes or kubelet.error is None:
        reading.source("volume_data", "vol_data.json")
    lacks_some = bool(parts.by_volume) and not kubelet.volumes
    if kubelet.error is not None and (lacks_some or kubelet.error.failure is not Failure.ABSENT):
        lost = "CSI handles and attachments are not known, and volumes only by the paths of their mounts"
        gaps.add(reading, "volume_data", kubelet.error, lost=lost)
    gaps.damage(reading, "volume_data", "kubelet", kubelet.damaged, detail="damaged")


def _volume_items(parts: _Parts) -> Iterator[pb.Item]:
    known = set()
    for volume in sorted(parts.by_volume.keys() | parts.kubelet.volumes.keys() | parts.raw.keys()):
        item = _volume_item(volume, parts)
        if item.key in known:  # the same name under two plugins
            item.key += f"/{printable(volume.plugin)}"
        known.add(item.key)
        yield item


def _volume_item(volume: VolumeId, parts: _Parts) -> pb.Item:
    staged, plugin = not volume.pod_uid, printable(volume.plugin)
    mount, data = parts.by_volume.get(volume), parts.kubelet.volumes.get(volume, {})
    spec = str(data.get("specVolID", ""))
    by_path = volume.name if not staged or volume.plugin == "pv" else ""
    fact = pb.Volume(
        pod_uid=printable(volume.pod_uid),
        volume_name=printable((spec or by_path) if staged else by_path),
        driver=str(data.get("driverName", "")) or (plugin if staged and plugin != "pv" else ""),
        volume_handle=str(data.get("volumeHandle", "")),
        attachment_id=str(data.get("attachmentID", "")),
        path=printable(f"{parts.root}/{volume.mount_point}", 4096),
        mounted=mount is not None,
        plugin="" if staged else plugin,
        raw_block=volume.raw,
    )
    if mount is not None:
        _tell_mount(fact, mount, parts)
    _tell_device(fact, volume, mount, parts)
    return pb.Item(key=f"volume/{fact.pod_uid or 'global'}/{printable(volume.name)}", volume=fact)


def _tell_mount(fact: pb.Volume, mount: MountLine, parts: _Parts) -> None:
    fact.dev = mount.dev
    fact.fs_type = mount.fs_type
    fact.mount_read_only = mount.read_only
    fact.fs_read_only_word = mount.fs_read_only_word
    fact.fs_read_only = bool(mount.fs_read_only_word)
    if fact.pod_uid:
        fact.staging_path = printable(parts.staged.get(mount.dev, ""), 4096)


def _tell_device(fact: pb.Volume, volume: VolumeId, mount: MountLine | None, parts: _Parts) -> None:
    """The device behind a volume: the one that is mounted, the one given to the pod, or the one that says it is it."""
    devices = parts.devices
    device: Device | None = None
    expected = False
    if mount is not None:
        device = devices.of_mount(mount.dev, mount.source)
        expected = not mount.dev.startswith(_ANONYMOUS)
    elif volume.raw and parts.raw.get(volume):
        device, expected = devices.by_name.get(parts.raw[volume]), True
    if device is None and not expected and mount is None:
        device = _by_identity(fact, devices)
    if device is None:
        if expected and devices.by_name:
            fact.attached = False
        return
    fact.attached = True
    chain = devices.chain(device.name)
    fact.devices.extend(printable(each.name) for each in chain)
    if volume.raw:
        fact.dev = device.dev
    disk = devices.disk_of(device.name)
    if disk is not None:
        fact.disk.CopyFrom(disk.identity)
    fs = parts.filesystems.get(device.name)
    if mount is not None and fs is not None and fs.HasField("errors"):
        fact.errors = fs.errors
        fact.first_error_time, fact.last_error_time = fs.first_error_time, fs.last_error_time
        fact.last_error_func = fs.last_error_func


def _by_identity(fact: pb.Volume, devices: Devices) -> Device | None:
    """The one disk whose serial number, world-wide id or names hold the volume's handle or name; None: none or several.

    An EBS volume "vol-04..." has the serial "vol04..."; other drivers put the handle's last part, or the name of the
    PersistentVolume, into the names that udev makes.
    """
    tokens = {_letters(fact.volume_handle.rpartition("/")[2]), _letters(fact.volume_name)}
    wanted = [token for token in tokens if len(token) >= _LEAST_TOKEN]
    found = [
        device
        for device in devices.by_name.values()
        if device.is_disk and any(token in told for told in _told_names(device) for token in wanted)
    ]
    return found[0] if len(found) == 1 else None


def _told_names(device: Device) -> Iterator[str]:
    for told in (device.serial, device.wwid, *device.by_id):
        yield _letters(told)


def _letters(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())
