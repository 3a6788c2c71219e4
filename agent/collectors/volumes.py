"""What is mounted, and what the kubelet mounts: the host's side of every attached volume.

Only /proc and the kubelet's own directories are read. Nothing is ever asked of a mounted file system itself (no
statvfs, no stat, no listing), for one whose server or device is gone never answers.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from nodetell.v1 import facts_pb2 as pb

from agent.collectors import documents, gaps
from agent.collectors.keep import Kept
from agent.collectors.mountinfo import MountLine, parse_mountinfo
from agent.host import Failure, Host, ReadError
from agent.hosts.files import printable
from agent.reading import Reading

_MOUNTINFO_BYTES = 64 << 20
_LISTING_S = 60.0
_KUBELET_ROOT = "/var/lib/kubelet"
_CSI = "kubernetes.io~csi"
_NO_STORAGE = frozenset(
    f"kubernetes.io~{kind}" for kind in ("secret", "configmap", "projected", "downward-api", "empty-dir")
)
"""Volumes that the kubelet makes from the API or the node's own disk: nothing is attached for them."""

# The kubelet's root differs between distributions; what follows it does not (pkg/kubelet/kubelet_getters.go).
_POD_PATH = re.compile(r"(/.+)/pods/([^/]+)/volumes/([^/~]+~[^/]+)/([^/]+)(?:/mount)?")
_GLOBAL_PATH = re.compile(r"(/.+)/plugins/kubernetes\.io/csi/([^/]+)/([^/]+)/globalmount")


@dataclass(frozen=True, slots=True, order=True)
class VolumeId:
    """What tells volumes apart: the parts of their path below the kubelet's root."""

    pod_uid: str
    """Empty: a global (staging) mount."""
    plugin: str
    """Volume plugin; of a global mount the CSI driver ("pv" before Kubernetes 1.24)."""
    name: str
    """PersistentVolume or volume name; of a global mount the hash of the volume's handle."""

    @property
    def directory(self) -> str:
        """Below the kubelet's root."""
        if self.pod_uid:
            return f"pods/{self.pod_uid}/volumes/{self.plugin}/{self.name}"
        return f"plugins/kubernetes.io/csi/{self.plugin}/{self.name}"

    @property
    def mount_point(self) -> str:
        """Below the kubelet's root."""
        if not self.pod_uid:
            return f"{self.directory}/globalmount"
        return f"{self.directory}/mount" if self.plugin == _CSI else self.directory


def volume_of(path: str) -> tuple[str, VolumeId] | None:
    """The kubelet's root and the volume that a mount point belongs to; None: it is no volume's."""
    pod = _POD_PATH.fullmatch(path)
    if pod:
        volume = VolumeId(pod[2], pod[3], pod[4])
    else:
        staged = _GLOBAL_PATH.fullmatch(path)
        if staged is None:
            return None
        volume = VolumeId("", staged[2], staged[3])
    root = pod[1] if pod else path[: -len(volume.mount_point) - 1]
    return (root, volume) if f"{root}/{volume.mount_point}" == path else None


def parse_vol_data(raw: bytes) -> documents.Entry:
    """vol_data.json as the kubelet's CSI plugin writes it: strings by name. Raises ValueError.

    Source: saveVolumeData() in pkg/volume/csi/csi_util.go.
    """
    try:
        fields = documents.entry(json.loads(raw))
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return {name: documents.text(fields, name, optional=True) for name in _VOL_DATA}


_VOL_DATA = ("specVolID", "driverName", "volumeHandle", "attachmentID")


class VolumesCollector:
    """Items "mount/ID" and "volume/POD UID or global/NAME"."""

    name = "volumes"
    lane = "volumes"
    interval_s = 10.0

    def __init__(self) -> None:
        self._kept = Kept()
        self._raw: bytes | None = None
        self._mounts: list[MountLine] = []
        self._problems: list[str] = []
        self._kubelet = _Kubelet()
        self._listed_at = 0.0

    def collect(self, host: Host, now: float) -> Reading:
        """Mounts now; the kubelet's directories when a mount changed, else at most a minute ago."""
        reading = Reading()
        raw, place = _mountinfo(reading, host)
        changed = raw != self._raw
        if changed:
            self._mounts, self._problems = parse_mountinfo(raw)
            self._raw = raw
        if raw:
            reading.source("volumes", place)
        gaps.damage(reading, "volumes", place, self._problems)
        if changed or not 0 <= now - self._listed_at < _LISTING_S:
            self._kubelet = _list(host)
            self._listed_at = now
        for mount in self._mounts:
            if mount.is_storage:
                reading.add(_mount_item(mount))
        _volumes(reading, self._mounts, self._kubelet)
        return self._kept.settle(reading)


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
        source=mount.source,
        mount_read_only="ro" in mount.options,
        fs_read_only=bool(word),
        fs_read_only_word=word,
    )
    return pb.Item(key=f"mount/{mount.id}", mount=fact)


class _Kubelet:
    """What its directories say: volumes with their vol_data.json, and what could not be read."""

    def __init__(self) -> None:
        self.volumes: dict[VolumeId, documents.Entry] = {}
        self.error: ReadError | None = None
        self.damaged: list[str] = []


def _list(host: Host) -> _Kubelet:
    found = _Kubelet()
    for pod_uid in _entries(host, "kubelet/pods", found):
        for plugin in _entries(host, f"kubelet/pods/{pod_uid}/volumes", found):
            if plugin not in _NO_STORAGE:
                for name in _entries(host, f"kubelet/pods/{pod_uid}/volumes/{plugin}", found):
                    _take(host, VolumeId(pod_uid, plugin, name), found)
    for driver in _entries(host, "kubelet/plugins/kubernetes.io/csi", found):
        if driver != "volumeDevices":  # raw block volumes: links to devices, no mounts
            for name in _entries(host, f"kubelet/plugins/kubernetes.io/csi/{driver}", found):
                _take(host, VolumeId("", driver, name), found)
    return found


def _entries(host: Host, path: str, found: _Kubelet) -> list[str]:
    try:
        return list(host.entries(path))
    except ReadError as error:
        _note(error, found, root=path == "kubelet/pods")
        return []


def _note(error: ReadError, found: _Kubelet, *, root: bool) -> None:
    """Keep the first error that costs something. What is absent deeper down went away between two reads."""
    if found.error is None and (root or error.failure is not Failure.ABSENT):
        found.error = error


def _take(host: Host, volume: VolumeId, found: _Kubelet) -> None:
    """The file lies beside the mount point, never in it. Only CSI volumes have one."""
    found.volumes[volume] = {}
    if volume.pod_uid and volume.plugin != _CSI:
        return
    path = f"kubelet/{volume.directory}/vol_data.json"
    try:
        found.volumes[volume] = parse_vol_data(host.read(path, 1 << 16))
    except ReadError as error:
        _note(error, found, root=False)
    except ValueError as error:
        found.damaged.append(f"{path.removeprefix('kubelet/')}: {error}")


def _volumes(reading: Reading, mounts: list[MountLine], kubelet: _Kubelet) -> None:
    mounted: dict[VolumeId, MountLine] = {}
    roots: dict[VolumeId, str] = {}
    for mount in mounts:
        told = volume_of(mount.mount_point)
        if told is not None and told[1].plugin not in _NO_STORAGE:
            roots[told[1]], mounted[told[1]] = told[0], mount  # the last of several is on top
    root = next(iter(roots.values()), _KUBELET_ROOT)
    for volume in sorted(mounted.keys() | kubelet.volumes.keys()):
        path = f"{roots.get(volume, root)}/{volume.mount_point}"
        item = _volume_item(volume, path, mounted.get(volume), kubelet.volumes.get(volume, {}))
        if item.key in reading.items:  # the same name under two plugins
            item.key += f"/{printable(volume.plugin)}"
        reading.add(item)
    if kubelet.volumes or kubelet.error is None:
        reading.source("volume_data", "vol_data.json")
    lacks_some = bool(mounted) and not kubelet.volumes
    if kubelet.error is not None and (lacks_some or kubelet.error.failure is not Failure.ABSENT):
        lost = "CSI handles and attachments are not known, and volumes only by the paths of their mounts"
        gaps.add(reading, "volume_data", kubelet.error, lost=lost)
    gaps.damage(reading, "volume_data", "kubelet", kubelet.damaged, detail="damaged")


def _volume_item(volume: VolumeId, path: str, mount: MountLine | None, data: documents.Entry) -> pb.Item:
    staged, plugin = not volume.pod_uid, printable(volume.plugin)
    spec = str(data.get("specVolID", ""))
    by_path = volume.name if not staged or volume.plugin == "pv" else ""
    fact = pb.Volume(
        pod_uid=printable(volume.pod_uid),
        volume_name=printable((spec or by_path) if staged else by_path),
        driver=str(data.get("driverName", "")) or (plugin if staged and plugin != "pv" else ""),
        volume_handle=str(data.get("volumeHandle", "")),
        attachment_id=str(data.get("attachmentID", "")),
        path=printable(path, 4096),
        mounted=mount is not None,
        dev=mount.dev if mount is not None else "",
        plugin="" if staged else plugin,
    )
    return pb.Item(key=f"volume/{fact.pod_uid or 'global'}/{printable(volume.name)}", volume=fact)
