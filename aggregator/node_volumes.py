"""The volumes of one node for an operator to read: API server and host side by side, and where they contradict.

The rows are those of the truth table that the storage rules judge by (signatures/storage/truth.py), with what a reader
wants beside them. A contradiction here is a fact about this moment, not a finding: a hand-over shows some on its way.
"""

from __future__ import annotations

from dataclasses import dataclass

from nodetell.v1 import facts_pb2 as pb
from nodetell.v1 import operator_pb2

from aggregator.cluster.objects import Attachment, Pod
from aggregator.convert import milliseconds
from aggregator.node_state import NodeState
from aggregator.signatures.storage.identity import TELLING_DRIVERS
from aggregator.signatures.storage.truth import Row, rows_of_node
from aggregator.view import ClusterView

RESOURCES = ("nodes", "pods", "persistentvolumeclaims", "persistentvolumes", "volumeattachments")
"""What the API server's half of a row is made of."""
_NOT_ATTACHED = frozenset(
    {"nfs", "cephfs", "glusterfs", "azureFile", "hostPath", "local", "file.csi.azure.com", "efs.csi.aws.com"}
)
"""Kinds and drivers that nothing is attached for (CSIDriver.spec.attachRequired is false)."""
_NEVER_MOUNTED = frozenset({"hostPath"})
"""Kinds that the kubelet makes no mount point of its own for."""


@dataclass(frozen=True, slots=True)
class _Sides:
    """What a row is looked at with."""

    row: Row
    pod: Pod | None
    """The row's, also one that has ended."""
    attachment: Attachment | None
    found: pb.Volume | None
    """The pod's mount on the host, else the global one."""
    attaches: bool
    """Volumes of this driver have VolumeAttachments."""
    reads_mounts: bool
    """The host's mounts could be read."""


def unknown_resources(view: ClusterView) -> list[str]:
    """Which resources of the API server are not known."""
    return [resource for resource in RESOURCES if not view.objects.knows(resource)]


def volumes_of_node(view: ClusterView, node: str) -> list[operator_pb2.NodeVolume]:
    """Every volume that anybody connects with the node: one row for each pod that has or wants it."""
    state = view.hosts.get(node)
    attachers = TELLING_DRIVERS | {each.attacher for each in view.objects.attachments.values()}
    return [_message(view, state, _sides(view, state, row, attachers)) for row in rows_of_node(view, node)]


def _sides(view: ClusterView, state: NodeState | None, row: Row, attachers: frozenset[str]) -> _Sides:
    paths = [cell.detail for cell in (row.mounted, row.staged) if cell.detail]
    volumes = {item.volume.path: item.volume for item in state.of("volume")} if state is not None else {}
    sources = state.of("signal_source") if state is not None else ()
    return _Sides(
        row,
        view.objects.pods.get(row.pod) or view.objects.pod_by_uid(row.pod_uid),
        view.objects.attachments.get(row.attachment),
        next((volumes[path] for path in paths if path in volumes), None),
        row.driver in attachers,
        any(item.signal_source.signal == "volumes" for item in sources),
    )


def _message(view: ClusterView, state: NodeState | None, sides: _Sides) -> operator_pb2.NodeVolume:
    row, pod, attachment, found = sides.row, sides.pod, sides.attachment, sides.found
    attachment_state, since = _attachment_state(sides)
    mount_path = row.mounted.detail or row.staged.detail
    message = operator_pb2.NodeVolume(
        volume=row.volume,
        driver=row.driver,
        handle=row.handle,
        claim=row.claim,
        pod=pod.key if pod is not None else row.pod,
        pod_uid=row.pod_uid,
        pod_phase=pod.phase if pod is not None else "",
        attachment=row.attachment,
        attachment_state=attachment_state,
        attachment_state_ms=milliseconds(max(0.0, view.now - since)) if since else 0,
        attachment_error=_error(attachment),
        listed=row.listed.says,
        in_use=row.in_use.says,
        has_device=row.device.says,
        device=row.device.detail if row.device.says else "",
        serial=_serial(state, sides) if row.device.says else "",
        staged=row.staged.says,
        mounted=row.mounted.says,
        path=mount_path,
        mismatches=_mismatches(sides),
    )
    if found is not None:
        message.mount_read_only, message.fs_read_only_word = found.mount_read_only, found.fs_read_only_word
    return message


def _attachment_state(sides: _Sides) -> tuple[operator_pb2.AttachmentState, float]:
    """And since when, seconds since the epoch; 0: not said, or of no interest."""
    attachment = sides.attachment
    if attachment is None:
        if sides.row.driver in _NOT_ATTACHED:
            return operator_pb2.ATTACHMENT_STATE_NOT_NEEDED, 0.0
        known = sides.row.attached.says is False
        return operator_pb2.ATTACHMENT_STATE_NONE if known else operator_pb2.ATTACHMENT_STATE_UNSPECIFIED, 0.0
    if attachment.deleted:
        return operator_pb2.ATTACHMENT_STATE_DETACHING, attachment.deleted
    if attachment.attached:
        return operator_pb2.ATTACHMENT_STATE_ATTACHED, 0.0
    return operator_pb2.ATTACHMENT_STATE_ATTACHING, attachment.created


def _error(attachment: Attachment | None) -> str:
    """The one that concerns what goes on now."""
    if attachment is None:
        return ""
    error = attachment.detach_error if attachment.deleted else attachment.attach_error
    return " ".join(error.message.split()) if error is not None else ""


def _serial(state: NodeState | None, sides: _Sides) -> str:
    if sides.found is not None and sides.found.disk.serial:
        return sides.found.disk.serial
    disks = state.of("attached_device") if state is not None else ()
    identities = (item.attached_device.identity for item in disks)
    return next((each.serial for each in identities if each.name == sides.row.device.detail), "")


def _mismatches(sides: _Sides) -> list[str]:
    """Where two sides say what can't both be so, the API server's first."""
    row, leaving = sides.row, sides.attachment is not None and bool(sides.attachment.deleted)
    nothing_attached = row.attached.says is False and sides.attachment is None and sides.attaches
    held = bool(row.mounted.says or row.staged.says)
    told = []
    if row.attached.says and not leaving and row.device.says is False:
        told.append("the VolumeAttachment says attached, and the host has no such device")
    if row.attached.says and not leaving and row.listed.says is False:
        told.append("the VolumeAttachment says attached, and the node's status does not list it")
    if nothing_attached and row.device.says:
        told.append("the host has the device, and there is no VolumeAttachment")
    elif nothing_attached and row.listed.says:
        told.append("the node's status lists it as attached, and there is no VolumeAttachment")
    if leaving and held:
        told.append("it is being detached, and the host has it mounted")
    return told + _of_pod(sides) + _of_file_system(sides)


def _of_pod(sides: _Sides) -> list[str]:
    row, pod = sides.row, sides.pod
    if row.mounted.says and row.wanted.says is False and row.pod_uid:
        if pod is None:
            return [f"the host has it mounted for pod {row.pod_uid}, which the API server does not have"]
        return [f"the host has it mounted for pod {pod.key}, which has ended ({pod.phase})"] if pod.terminal else []
    runs = row.wanted.says and pod is not None and pod.phase == "Running"
    if runs and row.mounted.says is False and sides.reads_mounts and row.driver not in _NEVER_MOUNTED:
        return ["its pod runs, and the host does not have it mounted"]
    return []


def _of_file_system(sides: _Sides) -> list[str]:
    found = sides.found
    if found is None or not found.fs_read_only_word:
        return []
    if found.fs_read_only_word != "ro" or not found.mount_read_only:
        return [f"the file system is read-only ({found.fs_read_only_word}), the mount is not"]
    return []
