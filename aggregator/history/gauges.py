"""Which facts about a host have a history: values that go up and down, by kind of item. The one visible place.

Counters need no table: by how much each rises is kept for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from nodetell.v1 import facts_pb2

CLOCK_OFFSET = "clock/offset_us"
"""By how much the host's clock is ahead, microseconds, as measured over its agent's stream."""
AGENT_STARTED = "agent/started"
"""1 in the minute in which another agent process began to report."""


def _fields(*names: str) -> Callable[[Any], Iterator[tuple[str, int]]]:
    def told(fact: Any) -> Iterator[tuple[str, int]]:
        for name in names:
            if not fact.DESCRIPTOR.fields_by_name[name].has_presence or fact.HasField(name):
                yield name, int(getattr(fact, name))

    return told


GAUGES: dict[str, Callable[[Any], Iterable[tuple[str, int]]]] = {
    "host": _fields("boot_time_unix_ms"),
    "link": _fields("mtu", "up"),
    "path_mtu": _fields("path_mtu", "rtt_us", "icmp_seen"),
    "volume": _fields("mounted", "fs_read_only"),
    "pressure": _fields("some_avg10_bp", "full_avg10_bp"),
    "usage": _fields("cpu_busy_bp", "memory_available_bytes"),
    "conntrack": _fields("count", "max"),
    "clock": _fields("synchronized", "max_error_us"),
    "etcd": _fields("database_bytes", "in_use_bytes", "quota_bytes", "has_leader", "is_leader", "proposals_pending"),
    "retransmits": _fields("consecutive_timeouts"),
    "kernel_event": _fields("count"),
    "agent": _fields("cpu_mpercent", "rss_bytes"),
}
"""By field of Item.fact: names and values of what it shows. Units are the fields' own."""


def gauges_of(item: facts_pb2.Item) -> Iterator[tuple[str, int]]:
    """(series, value) of an item."""
    kind = item.WhichOneof("fact")
    told = GAUGES.get(kind) if kind is not None else None
    if told is not None:
        for name, value in told(getattr(item, str(kind))):
            yield f"{item.key}/{name}", value


def label_of(item: facts_pb2.Item | None) -> str:
    """How an operator knows what the item is about; empty: by its key."""
    kind = item.WhichOneof("fact") if item is not None else None
    if item is None or kind is None:
        return ""
    if kind == "link":
        return item.link.name
    if kind == "latency":
        return f"{item.latency.process} {item.latency.mount or item.latency.device}"
    if kind == "volume":
        return item.volume.volume_name
    if kind == "path_mtu":
        return f"{item.path_mtu.peer} {item.path_mtu.via}"
    return ""
