"""JSON of one API object to what is kept of it. One odd field does not lose an object whose rest is good.

The usual object is read in one pass into structs that name only what is used. Only when that fails is it read again as
plain JSON, and what does not fit is taken out, field by field, and named; except where a conclusion would rest on it:
then the object is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from aggregator.cluster import decode_pods, decode_rest, decode_storage, wire, wire_pod, wire_storage
from aggregator.cluster.decode_common import FieldError, Path
from aggregator.cluster.objects import ApiObject
from aggregator.cluster.sharing import Sharing

_W = TypeVar("_W")
_UNREADABLE = (msgspec.MsgspecError, UnicodeError, RecursionError)
_PLACE = re.compile(r" - at `\$((?:\.[^`]*|\[[^`]*))`$")
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")
_MOST_ODD = 64
"""Fields that are taken out of one object before it is given up."""


class DecodeError(Exception):
    """An object that cannot be used: which, where in it, and why, one line."""

    def __init__(self, text: str, key: str = "") -> None:
        super().__init__(text)
        self.key = key
        """Of the object; empty: unreadable."""


class Decoded(NamedTuple):
    """One object."""

    key: str
    thing: ApiObject
    odd: str = ""
    """What of it was left out, with the object's name, where and why; empty: nothing."""


class Version(NamedTuple):
    """Which object, and which state of it."""

    key: str
    uid: str
    version: str


@dataclass(frozen=True, slots=True)
class _Kind(Generic[_W]):
    """How the objects of one resource are read."""

    name: str
    wire: type[_W]
    convert: Callable[[_W, Sharing], ApiObject]
    essential: tuple[Path, ...] = ()
    """Fields that conclusions rest on: without them, or anything in them, the object is of no use."""
    namespaced: bool = True


_METADATA_ALONE = "PartialObjectMetadata"
"""Kind of objects of which only the metadata was asked for."""
_WHOLE: tuple[Path, ...] = ((), ("metadata",), ("spec",), ("status",))
"""Fields that are as much as the object."""
_GONE = ("metadata", "deletionTimestamp")
_KINDS: dict[str, _Kind[Any]] = {
    "nodes": _Kind(
        "Node",
        wire.Node,
        decode_rest.node,
        (("spec", "taints"), ("spec", "unschedulable"), ("status", "allocatable"), ("status", "conditions")),
        namespaced=False,
    ),
    "pods": _Kind(
        "Pod",
        wire_pod.Pod,
        decode_pods.pod,
        (_GONE, ("spec", "nodeName"), ("spec", "nodeSelector"), ("spec", "affinity"), ("status", "phase")),
    ),
    "persistentvolumeclaims": _Kind(
        "PersistentVolumeClaim",
        wire_storage.Claim,
        decode_storage.claim,
        (_GONE, ("spec", "volumeName"), ("spec", "storageClassName"), ("status", "phase")),
    ),
    "persistentvolumes": _Kind(
        "PersistentVolume",
        wire_storage.Volume,
        decode_storage.volume,
        (("spec", "claimRef"), ("spec", "nodeAffinity"), ("spec", "csi"), ("status", "phase")),
        namespaced=False,
    ),
    "storageclasses": _Kind(
        "StorageClass",
        wire_storage.StorageClass,
        decode_storage.storage_class,
        (("provisioner",), ("volumeBindingMode",)),
        namespaced=False,
    ),
    "volumeattachments": _Kind(
        "VolumeAttachment",
        wire_storage.Attachment,
        decode_storage.attachment,
        (_GONE, ("spec", "nodeName"), ("spec", "source"), ("status", "attached")),
        namespaced=False,
    ),
    "csinodes": _Kind(
        "CSINode", wire_storage.CsiNode, decode_storage.csi_node, (("spec", "drivers"),), namespaced=False
    ),
    "events": _Kind("Event", wire.Event, decode_rest.event, (("involvedObject",), ("regarding",), ("reason",))),
    "leases": _Kind("Lease", wire.Lease, decode_rest.lease, (("spec", "renewTime"), ("spec", "holderIdentity"))),
    "poddisruptionbudgets": _Kind(
        "PodDisruptionBudget",
        wire.Budget,
        decode_rest.budget,
        (("spec", "selector"), ("status", "disruptionsAllowed")),
    ),
    "resourcequotas": _Kind("ResourceQuota", wire.Quota, decode_rest.quota, (("status",), ("spec", "hard"))),
    "replicasets": _Kind("ReplicaSet", wire.Workload, decode_rest.replica_set, (("spec", "replicas"),)),
    "statefulsets": _Kind("StatefulSet", wire.Workload, decode_rest.stateful_set, (("spec", "replicas"),)),
    "serviceaccounts": _Kind("ServiceAccount", wire.ServiceAccount, decode_rest.service_account),
    "secrets": _Kind("Secret", wire.Credential, decode_rest.secret),
}
_DECODERS = {resource: msgspec.json.Decoder(kind.wire) for resource, kind in _KINDS.items()}
_PEEK = msgspec.json.Decoder(wire.Peek)
_LOOSE_PEEK = msgspec.json.Decoder(wire.Peek, strict=False)


def peek(resource: str, data: bytes | msgspec.Raw) -> Version:
    """Which object this is, and which state of it. Raises DecodeError where that cannot be told."""
    kind = _KINDS[resource]
    try:
        found = _PEEK.decode(data)
    except _UNREADABLE:
        try:
            found = _LOOSE_PEEK.decode(data)
        except _UNREADABLE as error:
            raise DecodeError(_line(kind.name, "", error)) from error
    meta = found.metadata
    if found.kind is not None and found.kind not in (kind.name, _METADATA_ALONE):
        raise DecodeError(f"{kind.name}: kind: it is a {_short(found.kind)}")
    name = meta.name if meta else None
    if meta is None or not name:
        raise DecodeError(f"{kind.name}: metadata.name: missing")
    if not kind.namespaced:
        return Version(name, meta.uid or "", meta.resource_version or "")
    if not meta.namespace:
        raise DecodeError(f"{kind.name} {_short(name)}: metadata.namespace: missing")
    return Version(f"{meta.namespace}/{name}", meta.uid or "", meta.resource_version or "")


class Decoder:
    """Decodes objects of all resources, and lets them share what they have in common."""

    def __init__(self) -> None:
        self.sharing = Sharing()

    def decode(self, resource: str, data: bytes | msgspec.Raw, key: str = "") -> Decoded:
        """One object of a resource (aggregator.cluster.state.RESOURCES). Raises DecodeError.

        `key`: where `peek` has told it already.
        """
        kind = _KINDS[resource]
        key = key or peek(resource, data).key
        try:
            return Decoded(key, kind.convert(_DECODERS[resource].decode(data), self.sharing))
        except (*_UNREADABLE, FieldError) as error:
            try:
                document = msgspec.json.decode(data)
            except _UNREADABLE:
                raise DecodeError(_line(kind.name, key, error), key) from error
        return self._repaired(kind, document, key)

    def _repaired(self, kind: _Kind[Any], document: Any, key: str) -> Decoded:
        """The object without what does not fit."""
        odd = ""
        for _ in range(_MOST_ODD):
            try:
                thing = kind.convert(msgspec.convert(document, kind.wire, strict=False), self.sharing)
            except (*_UNREADABLE, FieldError) as error:
                path, text = _path(error), _line(kind.name, key, error)
            else:
                return Decoded(key, thing, odd)
            refused = path in _WHOLE or any(path[: len(each)] == each for each in kind.essential)
            if refused or not _remove(document, path):
                raise DecodeError(text, key)
            odd = odd or text
        raise DecodeError(f"{kind.name} {_short(key)}: over {_MOST_ODD} fields that cannot be read", key)


def _path(error: Exception) -> Path:
    if isinstance(error, FieldError):
        return error.path
    place = _PLACE.search(str(error))
    if place is None:
        return ()
    steps = _STEP.findall(place[1])
    return tuple(name or (int(number) if number != "..." else "...") for name, number in steps)


def _remove(document: Any, path: Path) -> bool:
    """Take out what is there: null stands for it in a list. "..." stands for any value of a mapping."""
    *above, last = path
    for step in above:
        try:
            document = document[step]
        except (LookupError, TypeError):
            return False
    if isinstance(document, list) and isinstance(last, int) and last < len(document):
        document[last] = None
        return True
    if not isinstance(document, dict):
        return False
    if last != "...":
        return document.pop(last, None) is not None
    surplus = [name for name, value in document.items() if isinstance(value, dict | list | bool)]
    surplus = surplus or [name for name, value in document.items() if not isinstance(value, str)]
    for name in surplus:
        del document[name]
    return bool(surplus)


def _dotted(path: Path) -> str:
    text = "".join(f"[{step}]" if isinstance(step, int) or step == "..." else f".{step}" for step in path)
    return text.removeprefix(".") or "the object"


def _line(kind: str, key: str, error: Exception) -> str:
    where = f"{kind} {_short(key)}" if key else kind
    reason = _PLACE.sub("", str(error))
    return f"{where}: {_dotted(_path(error))}: {_short(reason, 120)}"


def _short(text: str, most: int = 300) -> str:
    """One line, printable, and not too long."""
    line = " ".join(text.split())
    line = "".join(each if each.isprintable() else "?" for each in line)
    return line if len(line) <= most else line[: most - 1] + "…"
