"""What came, went and changed: the last transitions of disks and mounts, made of one reading after another."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from nodetell.v1 import facts_pb2 as pb

from agent.collectors.blockdevs import Device, Devices
from agent.collectors.kubelet import raw_volume_of, volume_of
from agent.collectors.mountinfo import MountLine
from agent.hosts.files import printable

MAX_EVENTS = 64


@dataclass(frozen=True, slots=True)
class When:
    """When what a reading shows has happened."""

    at: float
    """Seconds since the epoch."""
    uncertain_s: float
    """It may have been so much earlier; 0: the kernel told at once."""


class Timeline:
    """Items "attach/NUMBER", the same objects as long as they are told."""

    def __init__(self) -> None:
        self._items: deque[pb.Item] = deque(maxlen=MAX_EVENTS)
        self._number = 0

    @property
    def items(self) -> Iterable[pb.Item]:
        """Oldest first."""
        return self._items

    def disks(self, before: Devices, after: Devices, when: When) -> None:
        """Note which disks came and went between two readings; one with another medium did both."""
        old = {device.name: device for device in before.by_name.values() if device.is_disk}
        new = {device.name: device for device in after.by_name.values() if device.is_disk}
        replaced = {name for name in old.keys() & new.keys() if _medium(old[name]) != _medium(new[name])}
        for name, device in old.items():
            if name not in new or name in replaced:
                self._add(pb.ATTACH_EVENT_KIND_DETACHED, when, _of_device(device))
        for name, device in new.items():
            if name not in old or name in replaced:
                self._add(pb.ATTACH_EVENT_KIND_ATTACHED, when, _of_device(device))

    def mounts(
        self, before: Mapping[int, MountLine], after: Mapping[int, MountLine], devices: Devices, when: When
    ) -> None:
        """Note what was mounted, unmounted, or became read-only or writable between two readings, by mount id."""
        for number, mount in before.items():
            if number not in after or _place(after[number]) != _place(mount):
                self._add(pb.ATTACH_EVENT_KIND_UNMOUNTED, when, _of_mount(mount, devices))
        for number, mount in after.items():
            old = before.get(number)
            if old is None or _place(old) != _place(mount):
                self._add(pb.ATTACH_EVENT_KIND_MOUNTED, when, _of_mount(mount, devices))
            elif (old.read_only, old.fs_read_only_word) != (mount.read_only, mount.fs_read_only_word):
                event = _of_mount(mount, devices)
                event.read_only_before = old.read_only or bool(old.fs_read_only_word)
                self._add(pb.ATTACH_EVENT_KIND_REMOUNTED, when, event)

    def _add(self, kind: pb.AttachEventKind, when: When, event: pb.AttachEvent) -> None:
        event.kind = kind
        event.at_unix_ms = round(when.at * 1000)
        event.uncertain_ms = min(round(when.uncertain_s * 1000), (1 << 32) - 1)
        self._number += 1
        self._items.append(pb.Item(key=f"attach/{self._number}", attach_event=event))


def _medium(device: Device) -> tuple[str, ...]:
    """A device number or name is used again; this is not."""
    return (device.dev, device.diskseq, device.serial, device.wwid, device.backing_file)


def _place(mount: MountLine) -> tuple[str, ...]:
    """Mount ids are used again; a mount that keeps its own keeps these too."""
    return (mount.dev, mount.root, mount.mount_point)


def _of_device(device: Device) -> pb.AttachEvent:
    return pb.AttachEvent(
        dev=device.dev, device=printable(device.name), serial=device.serial, read_only=device.read_only
    )


def _of_mount(mount: MountLine, devices: Devices) -> pb.AttachEvent:
    event = pb.AttachEvent(
        dev=mount.dev,
        mount_point=printable(mount.mount_point, 4096),
        fs_type=mount.fs_type,
        read_only=mount.read_only or bool(mount.fs_read_only_word),
        fs_read_only_word=mount.fs_read_only_word,
    )
    device = devices.of_mount(mount.dev, mount.source)
    if device is not None:
        disk = devices.disk_of(device.name)
        event.device, event.serial = printable(device.name), disk.serial if disk is not None else ""
    told = volume_of(mount.mount_point) or raw_volume_of(mount.mount_point)
    if told is not None:
        volume = told[1]
        event.pod_uid = printable(volume.pod_uid)
        event.volume_name = printable(volume.name) if volume.pod_uid else ""
    return event
