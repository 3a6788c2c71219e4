"""The block devices of a host as things: which there are, what tells each from all others, and what lies on what."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from nodetell.v1 import facts_pb2 as pb

from agent.collectors.diskstats import parse_diskstats, whole_disk_name
from agent.host import Host, ReadError
from agent.hosts.files import printable

MAX_BY_ID = 16
_NO_DISK = re.compile(r"z?ram\d+|sr\d+|fd\d+|md.*|dm-\d+")
"""Memory, readers of removable media, and what is made of disks on this host; but a multipath device is a disk."""
_MULTIPATH = "mpath-"
_BY_ID = "disk/by-id/"
_MOST_BLOCKS = 1 << 53
"""Of 1 KiB: the kernel counts sectors of 512 bytes in 64 bits, and whole devices in bytes."""


@dataclass(frozen=True, slots=True)
class Device:
    """A block device or partition that has a size now."""

    dev: str
    """"major:minor"."""
    name: str
    size_bytes: int
    """0: not told."""
    whole: str = ""
    """Name of the disk, of a partition; empty otherwise."""
    below: tuple[str, ...] = ()
    """Names of the devices that it is made of (device mapper, md)."""
    holders: tuple[str, ...] | None = None
    """Names of the devices on top of it; None: not told."""
    is_disk: bool = True
    """What can be attached and detached: no partition, and nothing that is made on this host."""
    serial: str = ""
    model: str = ""
    wwid: str = ""
    scsi_address: str = ""
    read_only: bool = False
    backing_file: str = ""
    diskseq: str = ""
    """Number of the medium, never used twice in a boot; empty before Linux 5.15."""
    by_id: tuple[str, ...] = ()

    @property
    def identity(self) -> pb.DeviceIdentity:
        """What tells it from others."""
        return pb.DeviceIdentity(
            dev=self.dev,
            name=self.name,
            serial=self.serial,
            model=self.model,
            wwid=self.wwid,
            scsi_address=self.scsi_address,
            by_id=self.by_id,
        )


@dataclass(slots=True)
class Devices:
    """All of them, by name."""

    by_name: dict[str, Device] = field(default_factory=dict)
    by_dev: dict[str, Device] = field(default_factory=dict)
    complete: bool = False
    """False: what uses what is not known in full (no /proc/partitions or /sys/block)."""

    def add(self, device: Device) -> None:
        """Take one in."""
        self.by_name[device.name] = self.by_dev[device.dev] = device

    def of_mount(self, dev: str, source: str) -> Device | None:
        """The device that is mounted: by number, or by name where the file system hides it (btrfs); None: none."""
        return self.by_dev.get(dev) or (self.by_name.get(source[5:]) if source.startswith("/dev/") else None)

    def chain(self, name: str) -> list[Device]:
        """A device and all below it, topmost first."""
        found: dict[str, Device] = {}
        queue = [name]
        while queue:
            device = self.by_name.get(queue.pop(0))
            if device is not None and device.name not in found:
                found[device.name] = device
                queue += [device.whole] if device.whole else device.below
        return list(found.values())

    def disk_of(self, name: str) -> Device | None:
        """The first disk below a device, or itself; None: there is none."""
        return next((device for device in self.chain(name) if device.is_disk), None)

    def partitions(self, name: str) -> list[Device]:
        """Of a disk."""
        return [device for device in self.by_name.values() if device.whole == name]


def parse_partitions(raw: bytes) -> dict[str, tuple[str, int]]:
    """ "major:minor" and size in bytes by name: every device that has a size. Lines that are none are left out; a size
    that none can be is 0.

    Source: /proc/partitions, show_partition() in block/genhd.c.
    """
    found = {}
    for line in raw.split(b"\n"):
        words = line.split(maxsplit=3)
        if len(words) == 4 and all(word.isdigit() and len(word) < 20 for word in words[:3]):
            blocks = int(words[2])
            size = blocks << 10 if blocks < _MOST_BLOCKS else 0
            found[words[3].decode("utf-8", "replace")] = (f"{int(words[0])}:{int(words[1])}", size)
    return found


def read_partitions(host: Host) -> bytes:
    """Cheap to read, and different whenever a device came, went or has another size. Raises ReadError."""
    return host.read("proc/partitions")


def read_devices(host: Host, partitions: bytes | None) -> Devices:
    """All devices with what sysfs and udev say of them; `partitions` as read_partitions gave it, None: it could not.

    The devices are then those with statistics. Raises ReadError if those cannot be read either.
    """
    if partitions is not None:
        listed = parse_partitions(partitions)
    else:
        listed = {disk.name: (disk.dev, 0) for disk in parse_diskstats(host.read("proc/diskstats"))[0]}
    try:
        in_sysfs: set[str] | None = set(host.entries("sys/block"))
    except ReadError:
        in_sysfs = None
    found = Devices(complete=partitions is not None and in_sysfs is not None)
    links = _by_id_links(host)
    for name, (dev, size) in listed.items():
        slashless = name.replace("/", "!")  # as sysfs writes "cciss/c0d0"
        whole = whole_disk_name(name, listed) if in_sysfs is None or slashless not in in_sysfs else ""
        by_id = _by_id(host, dev) or links.get(name, ())
        found.add(_device(host, dev, name, size=size, whole=whole, by_id=by_id))
    return found


def _device(host: Host, dev: str, name: str, *, size: int, whole: str, by_id: tuple[str, ...]) -> Device:
    if whole:
        return Device(dev, name, size, whole, is_disk=False, by_id=by_id)
    directory = f"sys/block/{name.replace('/', '!')}"
    is_disk = _NO_DISK.fullmatch(name) is None or (
        name.startswith("dm-") and text(host, f"{directory}/dm/uuid").startswith(_MULTIPATH)
    )
    return Device(
        dev,
        name,
        size,
        below=_names(host, f"{directory}/slaves") or (),
        holders=_names(host, f"{directory}/holders"),
        is_disk=is_disk,
        serial=serial_of(host, directory),
        model=text(host, f"{directory}/device/model"),
        wwid=wwid_of(host, directory),
        scsi_address=next(iter(_names(host, f"{directory}/device/scsi_device") or ()), ""),
        read_only=text(host, f"{directory}/ro") == "1",
        backing_file=text(host, f"{directory}/loop/backing_file", 4096) if name.startswith("loop") else "",
        diskseq=text(host, f"{directory}/diskseq"),
        by_id=by_id,
    )


def serial_of(host: Host, directory: str) -> str:
    """Serial number of the device whose directory in sysfs this is; empty: none."""
    told = text(host, f"{directory}/device/serial") or text(host, f"{directory}/serial")  # NVMe; virtio
    return told or _unit_serial(host, directory)


def wwid_of(host: Host, directory: str) -> str:
    """World-wide id of the device whose directory in sysfs this is; empty: none."""
    return text(host, f"{directory}/wwid") or text(host, f"{directory}/device/wwid")


def text(host: Host, path: str, limit: int = 300) -> str:
    """First line of an attribute; empty if the device has none: most lack most."""
    try:
        line = host.read(path, 1 << 16).split(b"\n", 1)[0]
    except ReadError:
        return ""
    return line.strip(b" \0\t\r").decode("utf-8", "replace")[:limit]


def _unit_serial(host: Host, directory: str) -> str:
    """A SCSI disk's: vital product data page 0x80, a header of four bytes and then text (SPC-4, 7.8.13)."""
    try:
        raw = host.read(f"{directory}/device/vpd_pg80", 4096)
    except ReadError:
        return ""
    return printable(raw[4:].strip(b" \0").decode("ascii", "replace"), 100)


def _names(host: Host, path: str) -> tuple[str, ...] | None:
    try:
        return tuple(printable(name) for name in host.entries(path))
    except ReadError:
        return None


def _by_id(host: Host, dev: str) -> tuple[str, ...]:
    """From udev's own record: lines "S:" and a path below /dev (udev's device-private data base)."""
    try:
        raw = host.read(f"udev/data/b{dev}", 1 << 16)
    except ReadError:
        return ()
    lines = raw.decode("utf-8", "replace").split("\n")
    return _bounded(line[2:].removeprefix(_BY_ID) for line in lines if line.startswith(f"S:{_BY_ID}"))


def _by_id_links(host: Host) -> dict[str, tuple[str, ...]]:
    """Names by device, of the links that udev made; none where it did not."""
    names: dict[str, list[str]] = {}
    try:
        for link in host.entries("dev/disk/by-id"):
            names.setdefault(host.link_target(f"dev/disk/by-id/{link}").rpartition("/")[2], []).append(link)
    except ReadError:
        pass
    return {device: _bounded(links) for device, links in names.items()}


def _bounded(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(printable(name) for name in names))[:MAX_BY_ID]


@dataclass(frozen=True, slots=True)
class Uses:
    """Names of devices that are in use, by what."""

    mounted: frozenset[str]
    swap: frozenset[str]
    raw_block: frozenset[str]
    root: str
    """Name of the device that carries the root file system; empty: none, or not told."""


def swap_devices(host: Host) -> frozenset[str]:
    """Names of the devices in /proc/swaps; none where it cannot be read."""
    try:
        lines = host.read("proc/swaps").decode("utf-8", "replace").split("\n")[1:]
    except ReadError:
        return frozenset()
    return frozenset(line.split()[0].removeprefix("/dev/") for line in lines if line.startswith("/dev/"))


def btrfs_devices(host: Host) -> frozenset[str]:
    """Names of all devices of all mounted btrfs, of which mountinfo names one each."""
    found: set[str] = set()
    for uuid in _names(host, "sys/fs/btrfs") or ():
        found.update(_names(host, f"sys/fs/btrfs/{uuid}/devices") or ())
    return frozenset(found)


def attached(devices: Devices, uses: Uses) -> Iterator[tuple[Device, pb.DeviceUse, bool]]:
    """Every disk, what uses it, and whether it carries the root file system."""
    under = {
        use: {below.name for name in names for below in devices.chain(name)}
        for use, names in (
            (pb.DEVICE_USE_MOUNTED, uses.mounted),
            (pb.DEVICE_USE_SWAP, uses.swap),
            (pb.DEVICE_USE_RAW_BLOCK, uses.raw_block),
        )
    }
    root = {device.name for device in devices.chain(uses.root)}
    for device in devices.by_name.values():
        if not device.is_disk:
            continue
        known = next((use for use, names in under.items() if device.name in names), None)
        is_root = device.name in root
        yield device, _other_use(devices, device, is_root) if known is None else known, is_root


def _other_use(devices: Devices, device: Device, is_root: bool) -> pb.DeviceUse:
    if device.holders:
        return pb.DEVICE_USE_HELD
    if devices.partitions(device.name):
        return pb.DEVICE_USE_PARTITIONED
    told = devices.complete and device.holders is not None and not is_root
    return pb.DEVICE_USE_UNUSED if told else pb.DEVICE_USE_UNSPECIFIED
