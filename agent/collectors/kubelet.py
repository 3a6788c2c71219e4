"""What the kubelet's directories say of volumes: which pod has which, and what the CSI driver calls it.

Nothing is asked of anything mounted below them: only directories and files of the kubelet's own are read.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field

from agent.collectors import documents
from agent.host import Failure, Host, ReadError

ROOT = "/var/lib/kubelet"
CSI = "kubernetes.io~csi"
NO_STORAGE = frozenset(
    f"kubernetes.io~{kind}" for kind in ("secret", "configmap", "projected", "downward-api", "empty-dir")
)
"""Volumes that the kubelet makes from the API or the node's own disk: nothing is attached for them."""

# The kubelet's root differs between distributions; what follows it does not (pkg/kubelet/kubelet_getters.go).
_POD_PATH = re.compile(r"(/.+)/pods/([^/]+)/volumes/([^/~]+~[^/]+)/([^/]+)(?:/mount)?")
_GLOBAL_PATH = re.compile(r"(/.+)/plugins/kubernetes\.io/csi/([^/]+)/([^/]+)/globalmount")
# A raw block volume's device node is bound to both (pkg/volume/csi/csi_block.go, pkg/volume/util/volumepathhandler).
_RAW_PATH = re.compile(
    r"(/.+)/plugins/kubernetes\.io/csi/volumeDevices/(?:publish/([^/]+)/([^/]+)|([^/]+)/dev/([^/]+))"
)
_VOL_DATA = ("specVolID", "driverName", "volumeHandle", "attachmentID")
_DEVICE_LINK = re.compile(r"/dev/([^/]+)")


@dataclass(frozen=True, slots=True, order=True)
class VolumeId:
    """What tells volumes apart: the parts of their path below the kubelet's root."""

    pod_uid: str
    """Empty: a global (staging) mount."""
    plugin: str
    """Volume plugin; of a global mount the CSI driver ("pv" before Kubernetes 1.24)."""
    name: str
    """PersistentVolume or volume name; of a global mount the hash of the volume's handle."""
    raw: bool = False
    """A raw block volume: a device, nothing mounted."""

    @property
    def directory(self) -> str:
        """Below the kubelet's root."""
        if self.raw:
            return f"pods/{self.pod_uid}/volumeDevices/{self.plugin}/{self.name}"
        if self.pod_uid:
            return f"pods/{self.pod_uid}/volumes/{self.plugin}/{self.name}"
        return f"plugins/kubernetes.io/csi/{self.plugin}/{self.name}"

    @property
    def mount_point(self) -> str:
        """Below the kubelet's root; of a raw block volume its link to the device."""
        if not self.pod_uid:
            return f"{self.directory}/globalmount"
        return f"{self.directory}/mount" if self.plugin == CSI and not self.raw else self.directory

    @property
    def vol_data(self) -> str:
        """Where the CSI plugin keeps what it knows, below the kubelet's root; empty: it is no volume of CSI's."""
        if self.raw:
            return (
                f"plugins/kubernetes.io/csi/volumeDevices/{self.name}/data/vol_data.json" if self.plugin == CSI else ""
            )
        return f"{self.directory}/vol_data.json" if not self.pod_uid or self.plugin == CSI else ""


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


def raw_volume_of(path: str) -> tuple[str, VolumeId] | None:
    """The kubelet's root and the raw block volume for which a device node is bound to this path; None: none."""
    match = _RAW_PATH.fullmatch(path)
    if match is None:
        return None
    return match[1], VolumeId(match[3] or match[5], CSI, match[2] or match[4], raw=True)


def parse_vol_data(raw: bytes) -> documents.Entry:
    """vol_data.json as the kubelet's CSI plugin writes it: strings by name. Raises ValueError.

    Source: saveVolumeData() in pkg/volume/csi/csi_util.go.
    """
    try:
        fields = documents.entry(json.loads(raw))
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return {name: documents.text(fields, name, optional=True) for name in _VOL_DATA}


@dataclass(slots=True)
class Kubelet:
    """What its directories say: volumes with their vol_data.json, and what could not be read."""

    volumes: dict[VolumeId, documents.Entry] = field(default_factory=dict)
    raw_devices: dict[VolumeId, str] = field(default_factory=dict)
    """Kernel name of a raw block volume's device, where the link to it says so."""
    error: ReadError | None = None
    """The first that costs something."""
    damaged: list[str] = field(default_factory=list)


def read_kubelet(host: Host) -> Kubelet:
    """All volumes that it has directories for."""
    found = Kubelet()
    for pod_uid in _entries(host, "kubelet/pods", found):
        for plugin in _entries(host, f"kubelet/pods/{pod_uid}/volumes", found):
            if plugin not in NO_STORAGE:
                for name in _entries(host, f"kubelet/pods/{pod_uid}/volumes/{plugin}", found):
                    _take(host, VolumeId(pod_uid, plugin, name), found)
        for plugin in _entries(host, f"kubelet/pods/{pod_uid}/volumeDevices", found):
            for name in _entries(host, f"kubelet/pods/{pod_uid}/volumeDevices/{plugin}", found):
                _take_raw(host, VolumeId(pod_uid, plugin, name, raw=True), found)
    for driver in _entries(host, "kubelet/plugins/kubernetes.io/csi", found):
        if driver != "volumeDevices":  # raw block volumes
            for name in _entries(host, f"kubelet/plugins/kubernetes.io/csi/{driver}", found):
                _take(host, VolumeId("", driver, name), found)
    return found


def _entries(host: Host, path: str, found: Kubelet) -> list[str]:
    try:
        return list(host.entries(path))
    except ReadError as error:
        _note(error, found, root=path == "kubelet/pods")
        return []


def _note(error: ReadError, found: Kubelet, *, root: bool) -> None:
    """Keep the first error that costs something. What is absent deeper down went away between two reads."""
    if found.error is None and (root or error.failure is not Failure.ABSENT):
        found.error = error


def _take(host: Host, volume: VolumeId, found: Kubelet) -> None:
    """The file lies beside the mount point, never in it."""
    found.volumes[volume] = {}
    if not volume.vol_data:
        return
    try:
        found.volumes[volume] = parse_vol_data(host.read(f"kubelet/{volume.vol_data}", 1 << 16))
    except ReadError as error:
        _note(error, found, root=False)
    except ValueError as error:
        found.damaged.append(f"{volume.vol_data}: {error}")


def _take_raw(host: Host, volume: VolumeId, found: Kubelet) -> None:
    _take(host, volume, found)
    try:
        link = _DEVICE_LINK.fullmatch(host.link_target(f"kubelet/{volume.directory}"))
    except ReadError:  # a device node bound there, or a copy without links: mountinfo tells then
        return
    if link is not None:
        found.raw_devices[volume] = link[1]
