"""Disks and file systems that fail under their pods: by mounts, by what file systems count, by the kernel's log.

Which pod suffers is a matter of joining: the mount's path has the pod's UID and the volume's name. A file system that
was mounted read-only on purpose is fine; one that turned so is not, and the mount's own options still say "rw" then.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from nodetell.v1 import facts_pb2 as pb

from aggregator.cluster.objects import Pod, Volume
from aggregator.model import Evidence, RuledOut, Severity, Stage
from aggregator.node_state import NodeState
from aggregator.signatures.case import Case
from aggregator.signatures.storage.codes import IO_ERROR_READONLY, KERNEL_IO_ERROR
from aggregator.signatures.storage.facts import Facts
from aggregator.signatures.storage.truth import volume_on_host
from aggregator.wording import span

_CLASSES = {
    pb.KERNEL_EVENT_CLASS_IO_ERROR: "failed requests",
    pb.KERNEL_EVENT_CLASS_FS_ERROR: "file system errors",
    pb.KERNEL_EVENT_CLASS_REMOUNT_READ_ONLY: "a remount as read-only",
    pb.KERNEL_EVENT_CLASS_MD_DM_ERROR: "a failing part of a device",
}
_READ_ONLY_BY_NATURE = frozenset({"squashfs", "erofs", "iso9660", "udf", "cramfs"})
_MUTE_KERNEL = re.compile(r"6\.1[2-4](\.|-|$)")
"""Linux 6.12 to 6.14 leave "rw" everywhere when ext4 stops writing; "emergency_ro" came with 6.15."""
_PARTITION = re.compile(r"(.*\d)p\d+|((?:sd|vd|xvd|hd)[a-z]+)\d+")
_CONTROLLER = re.compile(r"nvme\d+")
"""What the driver says of a controller holds for all its namespaces, which are the disks."""
_ANONYMOUS = "0:"


@dataclass(slots=True)
class _Disk:
    """A disk with volumes on it, as its host has them."""

    node: str
    name: str
    volumes: list[pb.Volume] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    """Of it, its parts and what lies on it: the kernel names any of them."""


@dataclass(frozen=True, slots=True)
class _Sign:
    text: str
    evidence: Evidence


def cases(facts: Facts) -> Iterator[Case]:
    """One for each disk with volumes in trouble, one for each node whose own disk is."""
    for node in sorted(facts.fleet.in_trouble):
        host = facts.view.hosts[node]
        if not facts.host_is_current(node):
            continue
        events = [item.kernel_event for item in host.of("kernel_event") if _is_recent(facts, host, item.kernel_event)]
        disks = _disks(host)
        for disk in disks:
            case = _of_volumes(facts, host, disk, events)
            if case is not None:
                yield case
        yield from _of_node(host, disks, events)


def _class(event: pb.KernelEvent) -> pb.KernelEventClass:
    of_class: pb.KernelEventClass = getattr(event, "class")  # a keyword of Python
    return of_class


def _disks(host: NodeState) -> list[_Disk]:
    found: dict[str, _Disk] = {}
    for item in host.of("volume"):
        volume = item.volume
        names = [*volume.devices, volume.disk.name, volume.dev]
        key = volume.disk.name or next(iter(volume.devices), volume.dev)
        if (
            key
            and not (volume.dev.startswith(_ANONYMOUS) and not volume.devices)
            and (volume.mounted or volume.raw_block)
        ):
            disk = found.setdefault(key, _Disk(host.name, key))
            disk.volumes.append(volume)
            disk.names.update(name for name in names if name)
    return [found[key] for key in sorted(found)]


# -- volumes --------------------------------------------------------------------------------------------------------


def _of_volumes(facts: Facts, host: NodeState, disk: _Disk, events: list[pb.KernelEvent]) -> Case | None:
    volumes = _known(facts, disk)
    read_only = _read_only(facts, host, disk, volumes)
    counted, old = _counted(facts, host, disk)
    told = list(_told(host, events, disk.names))
    if read_only and not counted and not told and read_only.evidence.value == "ro" and _all_mounted_so(disk):
        read_only = None
    signs = [sign for sign in (read_only, counted, *told) if sign is not None]
    stage = Stage.ACTIVE if signs else Stage.RISK
    if not signs and old is not None:
        signs = [old]
    if not signs:
        return None
    pods = _pods(facts, disk)
    claims = sorted({volume.claim for volume in volumes if volume.claim})
    whose = ", ".join(pod.key for pod in pods) or "no pod that is known"
    what = ", ".join(sorted({volume.name for volume in volumes} or {each.volume_name for each in disk.volumes} - {""}))
    mute = "" if read_only is not None or stage is Stage.RISK else _cannot_tell(host, disk)
    return Case(
        IO_ERROR_READONLY,
        (host.name, disk.name),
        f"on {host.name}, {disk.name} of {what or 'a volume'} (used by {whose}): "
        f"{'; '.join(sign.text for sign in signs)}{mute}",
        (
            *(f"Pod/{pod.key}" for pod in pods),
            *(f"PersistentVolumeClaim/{claim}" for claim in claims),
            *(f"PersistentVolume/{volume.name}" for volume in volumes),
        ),
        tuple(sign.evidence for sign in signs),
        nodes=(host.name,),
        stage=stage,
        severity=Severity.INFO if stage is Stage.RISK else None,
        weight=float(len(signs)),
        ruled_out=(RuledOut("crash.permission_fs", "it is the volume's file system, not the container's own"),)
        if read_only is not None
        else (),
    )


def _known(facts: Facts, disk: _Disk) -> list[Volume]:
    found = {}
    for each in disk.volumes:
        volume = volume_on_host(facts.view, each)
        if volume is not None:
            found[volume.name] = volume
    return [found[name] for name in sorted(found)]


def _pods(facts: Facts, disk: _Disk) -> list[Pod]:
    found = {each.pod_uid: facts.view.objects.pod_by_uid(each.pod_uid) for each in disk.volumes if each.pod_uid}
    return sorted((pod for pod in found.values() if pod is not None), key=lambda pod: pod.key)


def _read_only(facts: Facts, host: NodeState, disk: _Disk, volumes: list[Volume]) -> _Sign | None:
    """A file system that turned read-only, not one that was mounted so for its users."""
    turned = [each for each in disk.volumes if each.fs_read_only and each.fs_type not in _READ_ONLY_BY_NATURE]
    sure = [each for each in turned if each.fs_read_only_word == "emergency_ro"]
    if not sure and (not turned or _meant(facts, disk, volumes)):
        return None
    chosen = (sure or sorted(turned, key=lambda each: each.mount_read_only))[0]
    source = "proc/1/mountinfo"
    word = chosen.fs_read_only_word or "ro"
    evidence = Evidence(host.name, "mount.fs_read_only", chosen.path, word, "", source, host.at)
    text = f'its {chosen.fs_type} is read-only ("{word}")'
    return _Sign(text if chosen.mount_read_only else f"{text} although it was mounted to be written", evidence)


def _meant(facts: Facts, disk: _Disk, volumes: list[Volume]) -> bool:
    """Whoever asked for it asked for a volume that is only read."""
    if volumes and all(set(volume.access_modes) == {"ReadOnlyMany"} for volume in volumes):
        return True
    pods = _pods(facts, disk)
    keys = {volume.claim for volume in volumes}
    used = [(pod, use) for pod in pods for use in pod.claims if f"{pod.namespace}/{use.claim}" in keys]
    return bool(used) and all(use.read_only for _, use in used)


def _all_mounted_so(disk: _Disk) -> bool:
    """Every mount of it is read-only by itself, too, as one that was asked for is."""
    return all(each.mount_read_only for each in disk.volumes if each.mounted)


def _counted(facts: Facts, host: NodeState, disk: _Disk) -> tuple[_Sign | None, _Sign | None]:
    """Errors that the file system has counted: of late, and long ago."""
    worst = max(disk.volumes, key=lambda each: (each.errors, each.last_error_time))
    if not worst.errors:
        return None, None
    where = next(iter(worst.devices), disk.name)
    source = f"sys/fs/{worst.fs_type or 'ext4'}/{where}/errors_count"
    evidence = Evidence(host.name, "counter.fs_errors", where, worst.errors, "errors", source, host.at)
    rise = _rise(facts, host, f"fs/{worst.fs_type}/{where}")
    age = max(0.0, host.at - worst.last_error_time) if worst.last_error_time else None
    func = f" in {worst.last_error_func}" if worst.last_error_func else ""
    text = f"its {worst.fs_type} has counted {worst.errors} errors"
    if rise:
        return _Sign(f"{text}, {rise} of them just now{func}", evidence), None
    if age is not None and age <= facts.limits.storage_error_recent_s:
        return _Sign(f"{text}, the last {span(age)} ago{func}", evidence), None
    return None, _Sign(f"{text}, {f'the last {span(age)} ago' if age is not None else 'nobody knows when'}", evidence)


def _rise(facts: Facts, host: NodeState, subject: str) -> int:
    rises = host.increments(subject, max(facts.limits.window_s, facts.limits.storage_error_recent_s))
    return rises["errors"].increment if rises is not None and "errors" in rises else 0


def _told(host: NodeState, events: list[pb.KernelEvent], names: set[str]) -> Iterator[_Sign]:
    """What the kernel's log tells of the disk, of late."""
    for event in events:
        if not _concerns(event.subject, names):
            continue
        last = event.last_unix_ms / 1000
        age = max(0.0, host.at - last)
        what = _CLASSES[_class(event)]
        word = pb.KernelEventClass.Name(_class(event))
        signal = f"counter.kernel_{word.removeprefix('KERNEL_EVENT_CLASS_').lower()}"
        evidence = Evidence(host.name, signal, event.subject, event.count, "messages", "kmsg", last)
        yield _Sign(f"the kernel told of {what} on {event.subject} {span(age)} ago ({event.count} messages)", evidence)


def _is_recent(facts: Facts, host: NodeState, event: pb.KernelEvent) -> bool:
    last = event.last_unix_ms / 1000
    return bool(last) and _class(event) in _CLASSES and host.at - last <= facts.limits.storage_error_recent_s


def _concerns(subject: str, names: set[str]) -> bool:
    if _is_controller(subject):
        return any(name.startswith(f"{subject}n") for name in names)
    return subject in names or whole(subject) in names


@lru_cache(maxsize=4096)
def _is_controller(subject: str) -> bool:
    return _CONTROLLER.fullmatch(subject) is not None


@lru_cache(maxsize=4096)
def whole(name: str) -> str:
    """The disk that a partition is of, by its name ("nvme0n1p2", "sda1"); any other name itself."""
    match = _PARTITION.fullmatch(name)
    return (match[1] or match[2]) if match else name


def _cannot_tell(host: NodeState, disk: _Disk) -> str:
    info = host.items.get("host")
    release = info.host.kernel_release if info is not None else ""
    if _MUTE_KERNEL.match(release) and any(each.fs_type == "ext4" for each in disk.volumes):
        return f"; Linux {release} does not show whether it is still written to"
    return ""


# -- the node's own disks -------------------------------------------------------------------------------------------


def _of_node(host: NodeState, disks: list[_Disk], events: list[pb.KernelEvent]) -> Iterator[Case]:
    taken = {whole(name) for disk in disks for name in disk.names} | {name for disk in disks for name in disk.names}
    own = {
        item.attached_device.identity.name: item.attached_device
        for item in host.of("attached_device")
        if item.attached_device.root or item.attached_device.use in (pb.DEVICE_USE_MOUNTED, pb.DEVICE_USE_SWAP)
    }
    for name in sorted(own.keys() - taken):
        signs = list(_told(host, events, {name}))
        if signs:
            role = "its root disk" if own[name].root else "a disk of its own"
            yield Case(
                KERNEL_IO_ERROR,
                (host.name, name),
                f"on {host.name}, {name} ({role}): {'; '.join(sign.text for sign in signs)}",
                (f"Node/{host.name}",),
                tuple(sign.evidence for sign in signs),
                nodes=(host.name,),
                weight=float(len(signs)),
                ruled_out=(RuledOut(IO_ERROR_READONLY, "no pod's volume is on it"),),
            )
