"""The volumes of a node as a truth table: claim, volume, attachment, device, mount, and where two contradict."""

from __future__ import annotations

from dataclasses import dataclass

from nodetell.v1 import operator_pb2

from aggregator.node_volumes import unknown_resources, volumes_of_node
from aggregator.view import ClusterView
from aggregator.web.page import words

YES, NO, UNKNOWN, NONE_NEEDED = "yes", "no", "unknown", "not needed"
_STATES = {
    operator_pb2.ATTACHMENT_STATE_NONE: (NO, "none"),
    operator_pb2.ATTACHMENT_STATE_ATTACHING: (NO, "attaching"),
    operator_pb2.ATTACHMENT_STATE_ATTACHED: (YES, "attached"),
    operator_pb2.ATTACHMENT_STATE_DETACHING: (YES, "detaching"),
    operator_pb2.ATTACHMENT_STATE_NOT_NEEDED: (NONE_NEEDED, "not needed"),
}


@dataclass(frozen=True, slots=True)
class Cell:
    """One statement: whether it is so, and in words."""

    says: str
    """YES, NO, UNKNOWN or NONE_NEEDED."""
    text: str


@dataclass(frozen=True, slots=True)
class VolumeRow:
    """One volume for one pod. Cells in the order in which a volume comes to a pod."""

    name: str
    driver: str
    claim: Cell
    pod: Cell
    attachment: Cell
    listed: Cell
    """In the node's status."""
    device: Cell
    mount: Cell
    contradictions: tuple[str, ...]
    error: str


@dataclass(frozen=True, slots=True)
class Volumes:
    """Of one node."""

    rows: tuple[VolumeRow, ...]
    unknown: tuple[str, ...]
    """Resources of the API server that the rows lack."""


def volumes(view: ClusterView, node: str) -> Volumes:
    """What contradicts first, then by claim."""
    unknown = unknown_resources(view)
    found = [_row(each, frozenset(unknown)) for each in volumes_of_node(view, node)]
    found.sort(key=lambda row: (not (row.contradictions or row.error), row.claim.text, row.name, row.pod.text))
    return Volumes(tuple(found), tuple(unknown))


def _row(volume: operator_pb2.NodeVolume, unknown: frozenset[str]) -> VolumeRow:
    says, state = _STATES.get(volume.attachment_state, (UNKNOWN, "not known"))
    if volume.attachment_state_ms:
        state = f"{state} for {words.lasting(volume.attachment_state_ms / 1000)}"
    not_needed = volume.attachment_state == operator_pb2.ATTACHMENT_STATE_NOT_NEEDED
    return VolumeRow(
        name=volume.volume,
        driver=volume.driver,
        claim=_named(volume.claim, unknown, "persistentvolumes"),
        pod=_pod(volume, unknown),
        attachment=Cell(says, state),
        listed=Cell(NONE_NEEDED, "not needed") if not_needed else _listed(volume),
        device=_device(volume, not_needed=not_needed),
        mount=_mount(volume),
        contradictions=tuple(volume.mismatches),
        error=volume.attachment_error,
    )


def _named(name: str, unknown: frozenset[str], resource: str) -> Cell:
    if name:
        return Cell(YES, name)
    return Cell(UNKNOWN, "not known") if resource in unknown else Cell(NO, "none")


def _pod(volume: operator_pb2.NodeVolume, unknown: frozenset[str]) -> Cell:
    if volume.pod:
        return Cell(YES, volume.pod if volume.pod_phase in ("Running", "") else f"{volume.pod} ({volume.pod_phase})")
    if "pods" in unknown:
        return Cell(UNKNOWN, volume.pod_uid or "not known")
    return Cell(NO, f"gone ({volume.pod_uid.partition('-')[0]})" if volume.pod_uid else "none")


def _listed(volume: operator_pb2.NodeVolume) -> Cell:
    if not volume.HasField("listed") and not volume.HasField("in_use"):
        return Cell(UNKNOWN, "not known")
    said = ", ".join(["attached"] * volume.listed + ["in use"] * volume.in_use)
    return Cell(YES, said) if said else Cell(NO, "nothing")


def _device(volume: operator_pb2.NodeVolume, *, not_needed: bool) -> Cell:
    if not_needed and not volume.device:
        return Cell(NONE_NEEDED, "not needed")
    if not volume.HasField("has_device"):
        return Cell(UNKNOWN, "not known")
    return Cell(YES, volume.device or "there") if volume.has_device else Cell(NO, "none")


def _mount(volume: operator_pb2.NodeVolume) -> Cell:
    if volume.mounted:
        read_only = "the file system is read-only" if volume.fs_read_only_word else "read and write"
        return Cell(YES, "read only, as asked" if volume.mount_read_only else read_only)
    if volume.staged:
        return Cell(NO, "on the node, not in the pod")
    told = volume.HasField("mounted") and volume.HasField("staged")
    return Cell(NO, "nothing") if told else Cell(UNKNOWN, "not known")
