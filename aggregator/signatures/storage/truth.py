"""The truth table: what each side says of one volume on one node, from the pod down to the mount on the host.

One row for each (volume, node, pod). The API server and the host disagree more often than either is wrong; which cell
disagrees with which is what the rules look at. A cell says yes, no, or that nobody knows, and who says so. A match
between the two sides counts only where it is certain (storage/identity.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from nodetell.v1 import facts_pb2 as pb

from aggregator.cluster.objects import Attachment, Pod, Volume
from aggregator.signatures.storage.host_storage import Fleet, HostStorage, storage_of
from aggregator.signatures.storage.identity import (
    TELLING_DRIVERS,
    names_itself,
    same_unique_name,
    staging_hash,
    tail,
    unique_names,
)
from aggregator.view import ClusterView

_NAME = "storage/hashes"
DISK_DRIVERS = TELLING_DRIVERS | {
    "disk.csi.azure.com",
    "blockvolume.csi.oraclecloud.com",
    "vpc.block.csi.ibm.io",
    "block.csi.vultr.com",
    "csi.exoscale.com",
    "com.tencent.cloud.csi.cbs",
    "diskplugin.csi.alibabacloud.com",
}
"""Drivers whose attached volumes are disks of the host, whether they tell which or not."""
_NETWORK = frozenset({"nfs", "cephfs", "glusterfs", "azureFile", "hostPath", "local"})
"""Kinds of volumes that nothing is attached for."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What one side says."""

    says: bool | None
    """None: nobody knows."""
    source: str
    """Who says so, or why nobody does."""
    detail: str = ""
    """What was found: a name, a device, a path."""


@dataclass(frozen=True, slots=True)
class Row:
    """One volume on one node for one pod."""

    node: str
    volume: str
    """Name of the PersistentVolume, or of the volume on the host where the API server does not know it."""
    driver: str
    handle: str
    claim: str
    """ "namespace/name"; empty: none known."""
    pod: str
    """ "namespace/name"; empty: no pod of the API server's."""
    pod_uid: str
    """Of that pod, or of one that only the host knows."""
    attachment: str
    """Name of the VolumeAttachment; empty: none."""
    wanted: Cell
    """A pod on this node uses the claim (detail: the pod)."""
    attached: Cell
    """The VolumeAttachment's status.attached."""
    listed: Cell
    """It is in the node's status.volumesAttached (detail: the device path there)."""
    in_use: Cell
    """It is in the node's status.volumesInUse."""
    device: Cell
    """The host has the device (detail: its name)."""
    staged: Cell
    """The global mount (detail: its path)."""
    mounted: Cell
    """The pod's mount, or its raw device (detail: its path)."""
    host_at: float
    """When the host was read, seconds since the epoch; 0: nobody has."""


def rows_of_node(view: ClusterView, node: str) -> list[Row]:
    """Every volume that anybody connects with the node, by volume and pod."""
    objects, state = view.objects, view.hosts.get(node)
    storage = storage_of(state) if state is not None and state.at else None
    volumes: dict[str, Volume] = {}
    for attachment in objects.attachments_to(node).values():
        volumes[attachment.volume] = objects.volumes.get(attachment.volume) or Volume(name=attachment.volume)
    for pod in objects.pods_on(node).values():
        for used in pod.claims:
            claim = objects.claims.get(f"{pod.namespace}/{used.claim}")
            volume = objects.volume_of(claim) if claim is not None and not pod.terminal else None
            if volume is not None:
                volumes[volume.name] = volume
    rows, told = [], set()
    for found in storage.volumes if storage is not None else ():
        known = volume_on_host(view, found.volume)
        if known is not None:
            volumes[known.name] = known
            told.add(found.key)
    for volume in volumes.values():
        rows += rows_of(view, storage, node, volume)
    for found in storage.volumes if storage is not None else ():
        if found.key not in told and state is not None:
            rows.append(_strange(view, node, found.volume, state.at))
    return sorted(rows, key=lambda row: (row.volume, row.pod, row.pod_uid))


def rows_of_volume(view: ClusterView, fleet: Fleet, volume: Volume) -> list[Row]:
    """The volume on every node that anybody connects it with, by node and pod."""
    pods = view.objects.pods_of_claim(volume.claim) if volume.claim else {}
    nodes = {each.node for each in view.objects.attachments_of(volume.name).values()}
    nodes |= {pod.node for pod in pods.values() if pod.node and not pod.terminal}
    nodes |= set(fleet.hosts_with(volume))
    return [row for node in sorted(nodes) for row in rows_of(view, fleet.hosts.get(node), node, volume)]


def rows_of(view: ClusterView, storage: HostStorage | None, node: str, volume: Volume) -> list[Row]:
    """One row for each pod that has or wants the volume there; one without a pod where none does."""
    objects = view.objects
    mounts = storage.find(volume) if storage is not None else []
    users = {
        pod.uid or pod.key: pod
        for pod in (objects.pods_of_claim(volume.claim) if volume.claim else {}).values()
        if pod.node == node and not pod.terminal
    }
    on_host = {mount.pod_uid for mount in mounts if mount.pod_uid}
    attachment = next((each for each in objects.attachments_of(volume.name).values() if each.node == node), None)
    device = device_of(storage, volume, mounts)
    uids = sorted(users.keys() | on_host) or [""]
    return [_row(view, node, volume, (users.get(uid), uid), attachment, mounts, device, storage) for uid in uids]


def _row(  # noqa: PLR0917  # the parts of one row, told apart by their types
    view: ClusterView,
    node: str,
    volume: Volume,
    pod_and_uid: tuple[Pod | None, str],
    attachment: Attachment | None,
    mounts: list[pb.Volume],
    device: Cell,
    storage: HostStorage | None,
) -> Row:
    pod, uid = pod_and_uid
    state = view.hosts.get(node)
    knows = view.objects.knows
    own = [mount for mount in mounts if mount.pod_uid and mount.pod_uid == uid]
    staged = [mount for mount in mounts if not mount.pod_uid]
    wanted = Cell(pod is not None if pod is not None or knows("pods") else None, "pods", pod.key if pod else "")
    if attachment is not None:
        attached = Cell(attachment.attached, "volumeattachments", attachment.name)
    else:
        attached = Cell(False if knows("volumeattachments") else None, "volumeattachments")
    return Row(
        node=node,
        volume=volume.name,
        driver=volume.driver or volume.source,
        handle=volume.handle,
        claim=volume.claim,
        pod=pod.key if pod is not None else "",
        pod_uid=uid if pod is None else pod.uid,
        attachment=attachment.name if attachment is not None else "",
        wanted=wanted,
        attached=attached,
        listed=_in_status(view, node, volume, attached=True),
        in_use=_in_status(view, node, volume, attached=False),
        device=device,
        staged=_mount_cell(staged, storage),
        mounted=_mount_cell(own, storage) if uid else Cell(False if storage else None, "proc/1/mountinfo"),
        host_at=state.at if state is not None else 0.0,
    )


def _in_status(view: ClusterView, node: str, volume: Volume, *, attached: bool) -> Cell:
    source = f"nodes status.{'volumesAttached' if attached else 'volumesInUse'}"
    found = view.nodes.get(node)
    if found is None:
        return Cell(False if view.objects.knows("nodes") else None, source)
    pairs: Iterable[tuple[str, str]] = found.volumes_attached if attached else ((n, "") for n in found.volumes_in_use)
    listed = [(name, path) for name, path in pairs if same_unique_name(volume, name)]
    told = bool(unique_names(volume))
    return Cell(True, source, listed[0][1]) if listed else Cell(False if told else None, source)


def _mount_cell(mounts: list[pb.Volume], storage: HostStorage | None) -> Cell:
    if storage is None:
        return Cell(None, "no agent")
    there = next((mount for mount in mounts if mount.mounted or mount.raw_block), None)
    return Cell(there is not None, "proc/1/mountinfo", there.path if there is not None else "")


def device_of(storage: HostStorage | None, volume: Volume, mounts: list[pb.Volume] | None = None) -> Cell:
    """Whether the host has the volume's device. No only where it is proved: by a mount whose device is gone, or because
    every disk there is another's."""
    if storage is None:
        return Cell(None, "no agent")
    mounts = storage.find(volume) if mounts is None else mounts
    told = [mount for mount in mounts if mount.HasField("attached")]
    there = next((mount for mount in told if mount.attached), None)
    if there is not None:
        return Cell(True, "sys/block", there.devices[0] if there.devices else there.dev)
    if told:
        return Cell(False, "proc/partitions", "what is mounted has lost its device")
    disk = storage.disk(volume)
    if disk is not None:
        return Cell(True, "sys/block", disk.identity.name)
    return _absence(storage, volume, mounted=any(mount.mounted for mount in mounts))


def _absence(storage: HostStorage, volume: Volume, *, mounted: bool) -> Cell:
    """No disk says that it is the volume: whether that proves anything."""
    if volume.source in _NETWORK or mounted:
        return Cell(None, "no device of this host is behind it")
    if not storage.complete or volume.driver not in DISK_DRIVERS or not volume.handle:
        return Cell(None, "disks of this driver do not tell what they are")
    nameless = [disk.identity.name for disk in storage.disks if not _another(disk, volume)]
    if nameless:
        return Cell(None, f"{', '.join(nameless[:4])} may be it: nothing tells what that is")
    return Cell(False, "sys/block", f"disks beside the root's: {len(storage.disks)}, and none is this volume")


def _another(disk: pb.AttachedDevice, volume: Volume) -> bool:
    """The disk is surely not the volume: it is mounted as another, or tells what it is and that is something else."""
    if disk.use in (pb.DEVICE_USE_MOUNTED, pb.DEVICE_USE_SWAP, pb.DEVICE_USE_RAW_BLOCK):
        return True
    return names_itself(disk.identity, volume.driver)


def volume_on_host(view: ClusterView, found: pb.Volume) -> Volume | None:
    """The PersistentVolume that a mount on a host is of; None: none, or not certain."""
    objects = view.objects
    if found.volume_handle:
        same = [each for each in objects.volumes_by_handle(found.volume_handle).values() if _driver_fits(each, found)]
        if len(same) == 1:
            return same[0]
    if found.volume_name in objects.volumes:
        named = objects.volumes[found.volume_name]
        return named if _driver_fits(named, found) else None
    if found.volume_handle and found.driver:  # an in-tree volume that was migrated: only the last part is the same
        return None
    return _by_hash(view, found)


def _by_hash(view: ClusterView, found: pb.Volume) -> Volume | None:
    directory = found.path.removesuffix("/globalmount").rpartition("/")[2]
    if found.pod_uid or len(directory) != 64:
        return None
    volume = view.objects.volumes.get(_hashes(view).get(directory, ""))
    return volume if volume is not None and _driver_fits(volume, found) else None


@dataclass(frozen=True, slots=True)
class _Hashes:
    """Names of volumes by the hash of their handle."""

    revision: int
    names: Mapping[str, str]


def _hashes(view: ClusterView) -> Mapping[str, str]:
    """Kept until a volume changes: global mounts that say nothing but their hash are rare."""
    revision = view.objects.revisions["persistentvolumes"]
    known = view.objects.derived.get(_NAME)
    if not isinstance(known, _Hashes) or known.revision != revision:
        volumes = view.objects.volumes.items()
        known = _Hashes(revision, {staging_hash(volume.handle): name for name, volume in volumes if volume.handle})
        view.objects.derived[_NAME] = known
    return known.names


def _driver_fits(volume: Volume, found: pb.Volume) -> bool:
    return not (found.driver and volume.driver) or found.driver == volume.driver


def _strange(view: ClusterView, node: str, found: pb.Volume, at: float) -> Row:
    """A volume of the host that the API server has no PersistentVolume for: inline, ephemeral, or forgotten."""
    pod = view.objects.pod_by_uid(found.pod_uid) if found.pod_uid else None
    nothing = Cell(None, "no PersistentVolume of this name or handle")
    device = next(iter(found.devices), found.dev)
    return Row(
        node=node,
        volume=found.volume_name or tail(found.volume_handle),
        driver=found.driver or found.plugin,
        handle=found.volume_handle,
        claim="",
        pod=pod.key if pod is not None else "",
        pod_uid=found.pod_uid,
        attachment="",
        wanted=Cell(pod is not None if pod is not None or view.objects.knows("pods") else None, "pods"),
        attached=nothing,
        listed=nothing,
        in_use=nothing,
        device=Cell(found.attached if found.HasField("attached") else None, "sys/block", device),
        staged=Cell(found.mounted and not found.pod_uid, "proc/1/mountinfo", "" if found.pod_uid else found.path),
        mounted=Cell(found.mounted and bool(found.pod_uid), "proc/1/mountinfo", found.path if found.pod_uid else ""),
        host_at=at,
    )
