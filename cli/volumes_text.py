"""The volumes of a node in one table: claim, pod, VolumeAttachment, device and mount, with what contradicts marked.

The aggregator joins the rows (aggregator/node_volumes.py). Where it reads no API server, they are what the host says.
"""

from __future__ import annotations

from collections.abc import Sequence

from nodetell.v1 import operator_pb2

from cli.facts import HostFacts
from cli.terminal import Look, span, table, wrap

_JOINED = frozenset({"pods", "persistentvolumeclaims", "persistentvolumes", "volumeattachments"})
"""Without any of them there is nothing to join the host with."""
_UNKNOWN = "?"
_NO_API = "no API server is read: claims, pods and attachments are not known"
_STATES = {
    operator_pb2.ATTACHMENT_STATE_NONE: "none",
    operator_pb2.ATTACHMENT_STATE_ATTACHING: "attaching",
    operator_pb2.ATTACHMENT_STATE_ATTACHED: "attached",
    operator_pb2.ATTACHMENT_STATE_DETACHING: "detaching",
    operator_pb2.ATTACHMENT_STATE_NOT_NEEDED: "not needed",
}


def volumes(facts: HostFacts, look: Look) -> list[str]:
    """The table, what contradicts in it, and what of it is not known; empty: there are no volumes."""
    if not facts.volumes or set(facts.api_unknown) >= _JOINED:
        told = _of_host(facts, look)
        return told + (wrap(_NO_API, look.width, "  ") if told and facts.api_unknown else [])
    unknown = set(facts.api_unknown)
    ordered = sorted(facts.volumes, key=lambda each: (each.claim, each.volume, each.pod))
    headers = ("CLAIM", "POD", "ATTACHMENT", "NODE STATUS", "DEVICE", "MOUNT", "VOLUME")
    lines = table(headers, [_row(volume, unknown) for volume in ordered], look.width)
    for volume in ordered:
        of = volume.claim or volume.volume
        for mismatch in volume.mismatches:
            lines += wrap(f"! {of}: {mismatch}", look.width, "  ", "    ")
        if volume.attachment_error:
            doing = _STATES.get(volume.attachment_state, "attaching")
            lines += wrap(f"{of}: {doing} fails: {volume.attachment_error}", look.width, "  ", "    ")
    if unknown:
        text = f"{_UNKNOWN} where it rests on what the API server does not tell: {', '.join(sorted(unknown))}"
        lines += wrap(text, look.width, "  ", "    ")
    return lines


def _row(volume: operator_pb2.NodeVolume, unknown: set[str]) -> Sequence[str]:
    mark = "! " if volume.mismatches else ""
    return (
        mark + (volume.claim or (_UNKNOWN if "persistentvolumes" in unknown else "none")),
        _pod(volume, unknown),
        _attachment(volume),
        _node_status(volume),
        _device(volume),
        _mount(volume),
        _volume(volume),
    )


def _pod(volume: operator_pb2.NodeVolume, unknown: set[str]) -> str:
    if volume.pod:
        return volume.pod if volume.pod_phase in ("Running", "") else f"{volume.pod} ({volume.pod_phase})"
    if "pods" in unknown:
        return volume.pod_uid or _UNKNOWN
    return f"gone ({volume.pod_uid.partition('-')[0]})" if volume.pod_uid else "none"


def _attachment(volume: operator_pb2.NodeVolume) -> str:
    word = _STATES.get(volume.attachment_state, _UNKNOWN)
    return f"{word} {span(volume.attachment_state_ms / 1000)}" if volume.attachment_state_ms else word


def _node_status(volume: operator_pb2.NodeVolume) -> str:
    if volume.attachment_state == operator_pb2.ATTACHMENT_STATE_NOT_NEEDED:
        return "-"
    if not volume.HasField("listed") and not volume.HasField("in_use"):
        return _UNKNOWN
    return ", ".join(["attached"] * volume.listed + ["in use"] * volume.in_use) or "nothing"


def _device(volume: operator_pb2.NodeVolume) -> str:
    if volume.attachment_state == operator_pb2.ATTACHMENT_STATE_NOT_NEEDED and not volume.device:
        return "-"
    if not volume.HasField("has_device"):
        return _UNKNOWN
    return (volume.device or "there") if volume.has_device else "none"


def _mount(volume: operator_pb2.NodeVolume) -> str:
    if not volume.mounted:
        if volume.staged:
            return "staged only"
        return "nothing" if volume.HasField("mounted") and volume.HasField("staged") else _UNKNOWN
    if volume.mount_read_only:
        return "ro"
    return "file system ro" if volume.fs_read_only_word else "rw"


def _volume(volume: operator_pb2.NodeVolume) -> str:
    """Its names, and where it is mounted; the JSON has each by itself."""
    names = [volume.volume, volume.handle if volume.handle != volume.volume else ""]
    if volume.serial and _letters(volume.serial) not in _letters(volume.handle):
        names.append(f"serial {volume.serial}")
    if volume.path:
        own = f"/volumes/kubernetes.io~csi/{volume.volume}/mount"  # follows from what stands there already
        names.append(f"at {volume.path.removesuffix(own)}")
    return ", ".join(name for name in names if name)


def _letters(text: str) -> str:
    return "".join(c for c in text.lower() if c.isalnum())


def _of_host(facts: HostFacts, look: Look) -> list[str]:
    """What the host alone says."""
    found = [item.volume for item in facts.of("volume")]
    rows = [
        (
            volume.volume_name,
            volume.driver or volume.plugin,
            "mounted" if volume.mounted else "not mounted",
            volume.dev,
            f"pod {volume.pod_uid}" if volume.pod_uid else "staging",
        )
        for volume in sorted(found, key=lambda each: (each.volume_name, each.path))
    ]
    return table(("NAME", "DRIVER", "STATE", "DEVICE", "FOR"), rows, look.width) if rows else []
