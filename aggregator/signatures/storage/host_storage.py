"""What one host has of volumes and disks, looked up by everything that a volume may be called.

Worked out anew only when that host's volumes or disks changed. All hosts together are an index from names to hosts, so
that "who still has it?" costs one look-up and no walk over the fleet.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from nodetell.v1 import facts_pb2 as pb

from aggregator.cluster.objects import NodeObject, Volume
from aggregator.node_state import NodeState
from aggregator.signatures.host_memo import HostMemo
from aggregator.signatures.moves import Moves
from aggregator.signatures.storage.identity import disk_tokens, letters, says, staging_hash, tail, tells_itself
from aggregator.view import ClusterView

_NAME = "storage/hosts"
_STAGED = re.compile(r"/plugins/kubernetes\.io/csi/([^/]+)/([0-9a-f]{64})/globalmount$")
_ANONYMOUS = "0:"
_IDLE = (pb.DEVICE_USE_UNUSED, pb.DEVICE_USE_UNSPECIFIED)
_NO_DISK = ("loop", "zram", "ram", "sr", "fd")


@dataclass(slots=True)
class HostStorage:
    """One host's volumes and disks. What only a volume in question needs is worked out when one is."""

    volumes: Sequence[pb.Item]
    """As NodeState has them: the same object for as long as none changed."""
    devices: Sequence[pb.Item]
    events: Sequence[pb.Item]
    """What the kernel's log tells."""
    lonely: tuple[pb.Volume, ...] = ()
    """Global mounts of block devices that no pod's mount or device shares."""
    idle: tuple[pb.AttachedDevice, ...] = ()
    """Disks that tell what they are and that nothing is known to use."""
    vanished: tuple[pb.Volume, ...] = ()
    """What is mounted, or handed to a pod, and whose device is gone."""
    troubled: bool = False
    """A volume's file system is read-only or has counted errors."""
    complete: bool = False
    """Disks are known."""
    _by_key: dict[tuple[str, str], list[pb.Volume]] | None = None
    _disks: list[pb.AttachedDevice] | None = None

    @property
    def by_key(self) -> Mapping[tuple[str, str], list[pb.Volume]]:
        """Volumes by ("name", volume name), ("handle", handle's last part) and ("hash", of the handle)."""
        if self._by_key is None:
            self._by_key = {}
            for item in self.volumes:
                for key in _keys_of(item.volume):
                    self._by_key.setdefault(key, []).append(item.volume)
        return self._by_key

    @property
    def disks(self) -> Sequence[pb.AttachedDevice]:
        """Those that can be attached, the root's left out."""
        if self._disks is None:
            self._disks = [item.attached_device for item in self.devices if _attachable(item.attached_device)]
        return self._disks

    def holds_for(self, state: NodeState) -> bool:
        """Nothing that this follows from has changed since."""
        return (
            self.volumes is state.of("volume")
            and self.devices is state.of("attached_device")
            and self.events is state.of("kernel_event")
        )

    def find(self, volume: Volume) -> list[pb.Volume]:
        """This volume's mounts (of pods and global) on the host."""
        found: dict[int, pb.Volume] = {}
        for key in _volume_keys(volume):
            for each in self.by_key.get(key, ()):
                if _is_of(volume, each):
                    found[id(each)] = each
        return list(found.values())

    def disk(self, volume: Volume) -> pb.AttachedDevice | None:
        """The one disk that says that it is this volume; None: none, or several."""
        tokens, handle = disk_tokens(volume), tail(volume.handle).lower()
        found = [disk for disk in self.disks if says(disk.identity, tokens, handle)]
        return found[0] if len(found) == 1 else None


@dataclass(slots=True)
class Fleet:
    """All hosts, and which have what."""

    hosts: dict[str, HostStorage] = field(default_factory=dict)
    """By node name; a node without an agent is not in it."""
    memo: HostMemo[None] = field(default_factory=HostMemo)
    moves: Moves = field(default_factory=Moves)
    """Hosts whose part has been made anew, turn by turn."""
    left: int = 0
    """Turn at which a host last left."""
    having: dict[tuple[str, str], tuple[str, ...]] | None = None
    """Nodes by what their hosts' volumes and disks may be called; None: nobody has asked yet."""
    with_leftovers: set[str] = field(default_factory=set)
    """Nodes whose hosts have global mounts or disks that no pod of theirs shares."""
    with_vanished: set[str] = field(default_factory=set)
    """... that have something mounted whose device is gone."""
    in_trouble: set[str] = field(default_factory=set)
    """... that have a volume whose file system is read-only or has counted errors, or whose kernel told of trouble."""

    def hosts_with(self, volume: Volume) -> list[str]:
        """Nodes whose hosts have this volume mounted, or a disk that says that it is it, in order."""
        if self.having is None:
            self.having = {}
            for node, storage in self.hosts.items():
                _enter(self.having, node, storage)
        named = {node for key in _volume_keys(volume) for node in self.having.get(key, ())}
        found = {node for node in named if self.hosts[node].find(volume)}
        for token in disk_tokens(volume):
            found |= {
                node for node in self.having.get(("disk", token), ()) if self.hosts[node].disk(volume) is not None
            }
        return sorted(found)


def fleet_of(view: ClusterView) -> Fleet:
    """What all hosts have. Each host's part is made anew only when its volumes, disks or kernel events changed; it is
    kept beside the objects, and one call for each evaluation is enough."""
    # Taken out while it is worked on: what raises leaves nothing half done behind.
    kept = view.objects.derived.pop(_NAME, None)
    fleet = kept if isinstance(kept, Fleet) else Fleet()
    fleet.moves.begin()
    for node, state, _ in fleet.memo.changed(view):
        before = fleet.hosts.get(node)
        if before is None or not before.holds_for(state):
            _forget(fleet, node)
            _learn(fleet, node, _prepared(state))
    for node in fleet.memo.gone(view):
        _forget(fleet, node)
        fleet.left = fleet.moves.turn
    view.objects.derived[_NAME] = fleet
    return fleet


def prepare(state: NodeState, _: NodeObject | None) -> None:
    """Work out what a host has as its facts come, ahead of the evaluation that asks for it."""
    _prepared(state)


def _prepared(state: NodeState) -> HostStorage:
    known = state.derived.get(_NAME)
    if not isinstance(known, HostStorage) or not known.holds_for(state):
        known = state.derived[_NAME] = storage_of(state)
    return known


def _learn(fleet: Fleet, node: str, storage: HostStorage) -> None:
    fleet.hosts[node] = storage
    fleet.moves.note(node)
    if fleet.having is not None:
        _enter(fleet.having, node, storage)
    if storage.lonely or storage.idle:
        fleet.with_leftovers.add(node)
    if storage.vanished:
        fleet.with_vanished.add(node)
    if storage.troubled or storage.events:
        fleet.in_trouble.add(node)


def _forget(fleet: Fleet, node: str) -> None:
    before = fleet.hosts.pop(node, None)
    fleet.moves.forget(node)
    for names in (fleet.with_leftovers, fleet.with_vanished, fleet.in_trouble):
        names.discard(node)
    if before is None or fleet.having is None:
        return
    for key in _keys(before):
        rest = tuple(each for each in fleet.having.get(key, ()) if each != node)
        if rest:
            fleet.having[key] = rest
        else:
            fleet.having.pop(key, None)


def _enter(having: dict[tuple[str, str], tuple[str, ...]], node: str, storage: HostStorage) -> None:
    for key in _keys(storage):
        having[key] = (*having.get(key, ()), node)


def _keys(storage: HostStorage) -> set[tuple[str, str]]:
    return {*storage.by_key, *(("disk", told) for disk in storage.disks for told in names_of(disk.identity))}


def storage_of(state: NodeState) -> HostStorage:
    """What one host has."""
    volumes, devices, events = state.of("volume"), state.of("attached_device"), state.of("kernel_event")
    in_use: set[str] = set()
    of_volumes: set[str] = set()
    staged: list[pb.Volume] = []
    vanished: list[pb.Volume] = []
    troubled = False
    for item in volumes:
        volume = item.volume
        dev, mounted = volume.dev, volume.mounted
        of_volumes.add(dev)
        if volume.HasField("disk"):
            of_volumes.add(volume.disk.dev)
        if not volume.pod_uid:
            if mounted and not dev.startswith(_ANONYMOUS):
                staged.append(volume)
        elif mounted or volume.raw_block:
            in_use.update((dev, volume.staging_path))
        if volume.HasField("attached") and not volume.attached:
            vanished.append(volume)
        troubled = troubled or volume.fs_read_only or bool(volume.errors)
    lonely = tuple(each for each in staged if each.dev not in in_use and each.path not in in_use)
    free = (item.attached_device for item in devices if item.attached_device.use in _IDLE)
    idle = tuple(
        disk
        for disk in free
        if _attachable(disk) and tells_itself(disk.identity) and disk.identity.dev not in of_volumes
    )
    complete = any(item.signal_source.signal == "devices" for item in state.of("signal_source"))
    return HostStorage(volumes, devices, events, lonely, idle, tuple(vanished), troubled, complete)


def names_of(disk: pb.DeviceIdentity) -> set[str]:
    """All that a disk says of itself, letters only."""
    return {letters(each) for each in (disk.serial, disk.wwid, *map(_bare, disk.by_id)) if each}


def _bare(by_id: str) -> str:
    """udev's name without what stands before the volume's own ("google-", "scsi-0DO_Volume_", "virtio-")."""
    return by_id.rpartition("_Volume_")[2].removeprefix("google-").removeprefix("virtio-").removeprefix("wwn-")


def _attachable(disk: pb.AttachedDevice) -> bool:
    return not disk.root and not disk.backing_file and not disk.identity.name.startswith(_NO_DISK)


def _keys_of(volume: pb.Volume) -> list[tuple[str, str]]:
    keys = []
    if volume.volume_name:
        keys.append(("name", volume.volume_name))
    if volume.volume_handle:
        keys.append(("handle", tail(volume.volume_handle)))
    staged = _STAGED.search(volume.staging_path or volume.path)
    if staged:
        keys.append(("hash", staged[2]))
    return keys


def _volume_keys(volume: Volume) -> list[tuple[str, str]]:
    keys = [("name", volume.name)]
    if volume.handle:
        keys += [("handle", tail(volume.handle)), ("hash", staging_hash(volume.handle))]
    return keys


def _is_of(volume: Volume, found: pb.Volume) -> bool:
    """Handle and driver decide where both sides tell them; else the name or the hash that led here."""
    if found.driver and volume.driver and found.driver != volume.driver:
        return False
    if found.volume_handle and volume.handle and volume.source == "csi":
        return found.volume_handle == volume.handle
    return True
