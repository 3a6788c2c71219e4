"""Why a file system was not mounted. "wrong fs type, bad option, bad superblock" is four causes: the host decides.

mount(8) prints these words for a damaged superblock, for another file system than was asked for, for a bad option, and
where the helper that mounts a network file system (mount.nfs, mount.cifs) is not installed on the node.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from nodetell.v1 import facts_pb2 as pb

from aggregator.cluster.objects import Volume
from aggregator.model import Evidence, RuledOut
from aggregator.signatures.storage.host_storage import fleet_of
from aggregator.view import ClusterView

_NETWORK = re.compile(r"-t (nfs4?|cifs|smb3?|ceph|glusterfs|lustre|beegfs|gpfs|9p)\b")
_NETWORK_SOURCES = {"nfs": "nfs", "cephfs": "ceph", "glusterfs": "glusterfs"}
_NETWORK_DRIVERS = {"nfs": "nfs", "smb": "cifs", "efs": "nfs", "cephfs": "ceph", "filestore": "nfs"}
_HELPER = ("helper program", "executable file not found", "command not found", "unknown filesystem type")
_DAMAGE = (
    "fsck",
    "structure needs cleaning",
    "can't read superblock",
    "file system with errors",
    "unexpected inconsistency",
    "xfs_repair",
    "e2fsck",
    "corrupt",
)
_AMBIGUOUS = ("wrong fs type", "bad superblock", "bad option")
_TELLING = (pb.KERNEL_EVENT_CLASS_FS_ERROR, pb.KERNEL_EVENT_CLASS_IO_ERROR)
_BACK_UP = "Take a snapshot of the volume before anything is repaired."


@dataclass(frozen=True, slots=True)
class Fault:
    """What keeps a file system from being mounted."""

    statement: str
    remedies: tuple[str, ...]
    about: tuple[str, ...] = ()
    """The cause, where it is not the volume's own: what all volumes of that kind meet."""
    evidence: tuple[Evidence, ...] = ()
    ruled_out: tuple[RuledOut, ...] = ()


_DAMAGED = Fault(
    "its file system is damaged",
    (_BACK_UP, "Then check it unmounted (e2fsck -f, xfs_repair), and see what the storage says of the volume."),
)
_UNCLEAR = Fault(
    "the mount itself fails", ("Read the message to its end; then the log of the driver's pod on the node.",)
)
_SAID: tuple[tuple[tuple[str, ...], Fault], ...] = (
    (
        ("apparently in use", "already mounted or", "busy"),
        Fault(
            "its device is in use by something else on the node",
            (
                "See on the node who holds the device (lsblk, dmsetup ls, fuser -vm).",
                "multipathd takes what it is not told to leave: blacklist it in multipath.conf.",
            ),
        ),
    ),
    (
        ("duplicate uuid", "filesystem has duplicate"),
        Fault(
            "another file system with the same UUID is mounted there: one is a copy of the other",
            ("Give the copy a UUID of its own (xfs_admin -U generate), or mount it on another node.",),
        ),
    ),
    (_DAMAGE, _DAMAGED),
    (
        ("already contains unexpected data", "requested fstype", "formatted with", "already contains"),
        Fault(
            "it holds another file system than the volume asks for",
            ("Compare fsType of the PersistentVolume or class with what is on the device (blkid).",),
        ),
    ),
    (
        ("unknown filesystem type", "unknown file system type"),
        Fault(
            "the node's kernel does not know the file system",
            ("Load the module on the node, or use another fsType.",),
        ),
    ),
)
"""What is said plainly."""


def fault_of(view: ClusterView, node: str, volume: Volume | None, message: str) -> Fault:
    """What the message and the host together say."""
    folded = message.lower()
    network = _network_type(volume, message)
    if network:
        return _of_network(network, folded)
    said = next((fault for phrases, fault in _SAID if any(phrase in folded for phrase in phrases)), None)
    if said is not None and said is not _DAMAGED:
        return said
    errors = _errors(view, node, volume)
    if said is not None or errors:
        return replace(_DAMAGED, evidence=errors)
    return _ambiguous(view, node) if any(phrase in folded for phrase in _AMBIGUOUS) else _UNCLEAR


def _network_type(volume: Volume | None, message: str) -> str:
    if (found := _NETWORK.search(message)) is not None:
        return found[1]
    if volume is None:
        return ""
    driver = next((kind for part, kind in _NETWORK_DRIVERS.items() if part in volume.driver.lower()), "")
    return _NETWORK_SOURCES.get(volume.source) or driver


def _of_network(kind: str, folded: str) -> Fault:
    """No superblock is in play: the helper, an option, or the server."""
    helper = any(phrase in folded for phrase in _HELPER)
    if helper or "wrong fs type" in folded:
        package = {"nfs": "nfs-common or nfs-utils", "nfs4": "nfs-common or nfs-utils", "cifs": "cifs-utils"}.get(kind)
        return Fault(
            f"the node cannot mount {kind}: most likely its helper mount.{kind} is missing, else an option is bad",
            (f"Install {package or f'what brings mount.{kind}'} on the nodes, and see the volume's mountOptions.",),
            about=("mount helper", kind),
            ruled_out=(RuledOut("storage.io_error_readonly", f"{kind} has no superblock on the node to be damaged"),),
        )
    if "bad option" in folded or "invalid argument" in folded or "protocol not supported" in folded:
        return Fault(
            f"an option or version of {kind} is refused", ("Compare mountOptions with what the server speaks (vers=).",)
        )
    return Fault(
        f"mounting {kind} fails", ("See whether the server is up and exports this path, from the node itself.",)
    )


def _ambiguous(view: ClusterView, node: str) -> Fault:
    if node in view.hosts:
        seen = "the kernel of the node tells of no damage, so a bad option or another file system is as likely"
    else:
        seen = "no agent tells what the node's kernel says of it"
    return Fault(
        f"either its file system is damaged, or it is another than asked for, or a mount option is bad ({seen})",
        (
            f"On {node}, ask what is on the device (blkid, dmesg | tail) before anything else.",
            "If that is another file system than fsType, correct fsType; if there is none, it was never formatted.",
            f"If it is damaged: {_BACK_UP[0].lower()}{_BACK_UP[1:]}",
        ),
    )


def _errors(view: ClusterView, node: str, volume: Volume | None) -> tuple[Evidence, ...]:
    """What the host's kernel tells of errors on the volume's device."""
    host = view.hosts.get(node)
    if host is None or volume is None:
        return ()
    storage = fleet_of(view).hosts.get(node)
    disk = storage.disk(volume) if storage is not None else None
    if disk is None:
        return ()
    name = disk.identity.name
    told = [
        Evidence(
            node, "kernel.event", f"{name}: {_word(each.kernel_event)}", each.kernel_event.count, "messages", "kmsg", at
        )
        for each in host.of("kernel_event")
        if each.kernel_event.subject == name and getattr(each.kernel_event, "class") in _TELLING
        for at in (each.kernel_event.last_unix_ms / 1000,)
    ]
    told += [
        Evidence(node, "filesystem.errors", name, each.filesystem.errors, "errors", "errors_count", host.at)
        for each in host.of("filesystem")
        if each.filesystem.device == name and each.filesystem.errors
    ]
    return tuple(told)


def _word(event: pb.KernelEvent) -> str:
    kind = getattr(event, "class")
    return "file system damaged" if kind == pb.KERNEL_EVENT_CLASS_FS_ERROR else "request failed"
