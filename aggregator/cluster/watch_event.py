"""One line of a watch, taken apart as far as following it needs; the object itself stays as it came."""

from __future__ import annotations

import re
from dataclasses import dataclass

import msgspec

from aggregator.cluster.answers import ApiError, Cause, error_event

_NUMBER = re.compile(r"[0-9]{1,20}")
CHANGES = ("ADDED", "MODIFIED", "DELETED")


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """What a watch says."""

    type: str
    """One of CHANGES, "BOOKMARK", or what a newer server has."""
    item: msgspec.Raw
    version: str
    """The object's resourceVersion; empty: it has none."""


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


class _Metadata(msgspec.Struct):
    version: str = msgspec.field(name="resourceVersion", default="")


class _Object(msgspec.Struct):
    metadata: _Metadata


_events = msgspec.json.Decoder(_Event)
_objects = msgspec.json.Decoder(_Object)


def parse(line: bytes) -> WatchEvent:
    """The event of a line. Raises ApiError, also for what an ERROR event says."""
    try:
        came = _events.decode(line)
        if came.type == "ERROR":
            raise error_event(came.object)
        return WatchEvent(came.type, came.object, _objects.decode(came.object).metadata.version)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ApiError(Cause.ODD, f"an event that is none: {' '.join(str(error).split())[:100]}") from error


def order(version: str, other: str) -> int:
    """Below 0, 0, above 0: `version` is older than, the same as, newer than the other. What is no number is newer."""
    if not (_NUMBER.fullmatch(version) and _NUMBER.fullmatch(other)):
        return 1
    return (int(version) > int(other)) - (int(version) < int(other))
