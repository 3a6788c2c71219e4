"""What one node, one peer and one operator may take of the aggregator: all of it in this one place.

A node can be hostile, or run away: ten thousand interfaces, a message a microsecond. What it sends beyond a limit is
left out, or waits, or is refused; what was good before is kept, nobody else is concerned, and the count of what was
left out stands in the node's coverage and summary under the limit's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from nodetell.limits import MAX_MESSAGE_BYTES
from nodetell.v1 import facts_pb2, operator_pb2

_ROW = "stream"
"""Signal that a limit's coverage entry is about where it is none of the agent's own: the way to the aggregator."""


@dataclass(frozen=True, slots=True)
class NodeLimits:
    """How much of one node is kept. Agents keep to less by themselves, and say what they leave out."""

    interfaces: int = field(default=4_000, metadata={"signal": "links", "what": "interfaces"})
    """Interfaces of a node that are no tunnels."""
    tunnels: int = field(default=1_000, metadata={"signal": "links", "what": "tunnel interfaces"})
    """Interfaces that are: some networks have one to each other node."""
    mounts: int = field(default=4_000, metadata={"signal": "volumes", "what": "mounts"})
    """Mounts of a node."""
    coverage_entries: int = field(default=500, metadata={"signal": _ROW, "what": "coverage entries"})
    """Coverage entries of a node."""
    routes: int = field(default=2_500, metadata={"signal": "routes", "what": "routes"})
    """Routes of a node, of those worth knowing."""
    volumes: int = field(default=2_500, metadata={"signal": "volumes", "what": "volumes"})
    """Volumes of a node that its kubelet manages."""
    disks: int = field(default=1_500, metadata={"signal": "disks", "what": "disks and partitions"})
    """Disks and partitions of a node."""
    pod_interfaces: int = field(default=2_500, metadata={"signal": "pod_links", "what": "interfaces of pods"})
    """Pods' own interfaces."""
    kernel_events: int = field(default=200, metadata={"signal": "kernel_log", "what": "events of the kernel's log"})
    """What the kernel's log told, by class and subject: an agent tells at most 153."""
    facts_of_a_kind: int = field(default=600, metadata={"signal": _ROW, "what": "facts of one kind"})
    """Facts of any other kind: attached devices, probed paths, drops by reason, ..."""
    facts: int = field(default=15_000, metadata={"signal": _ROW, "what": "facts"})
    """All facts of a node."""
    fact_bytes: int = field(default=65_536, metadata={"signal": _ROW, "what": "facts that are too long"})
    """One fact as it travels, bytes."""
    facts_bytes: int = field(default=8 << 20, metadata={"signal": _ROW, "what": "facts for want of room"})
    """All facts of a node as they travel, bytes."""
    name_bytes: int = field(default=1_024, metadata={"signal": _ROW, "what": "names that are too long"})
    """The key of a fact, the subject of counters, characters."""
    series: int = field(default=100_000, metadata={"signal": "link_counters", "what": "counters"})
    """Counters of a node. Each takes 16 bytes, and what it adds to some forty checkpoints."""
    schemas: int = field(default=500, metadata={"signal": _ROW, "what": "rows of counter names"})
    """Different rows of counter names."""
    counters_of_a_schema: int = field(default=600, metadata={"signal": _ROW, "what": "rows of too many counter names"})
    """Names in one row: a histogram has at most 513."""
    counter_name_bytes: int = field(default=128, metadata={"signal": _ROW, "what": "counter names that are too long"})
    """One counter's name, characters."""
    samples: int = field(default=1_000, metadata={"signal": _ROW, "what": "samples of counters"})
    """Samples in one update. One of more is refused: the agent then tells everything."""
    increments: int = field(default=1_000_000, metadata={"signal": _ROW, "what": "increments of counters"})
    """Increments in all samples of one update; likewise."""
    findings: int = field(default=200, metadata={"signal": _ROW, "what": "findings"})
    """Findings that rest on what this one node's agent says and on nothing else. The least severe are left out."""

    def fact_limit(self, kind: str) -> str:
        """Name of the limit on facts of a kind (a field of Item.fact)."""
        return _OF_KIND.get(kind, "facts_of_a_kind")

    def at_most(self, name: str) -> int:
        """A limit by its name."""
        value: int = getattr(self, name)
        return value


_OF_KIND = {
    "link": "interfaces",
    "tunnel": "tunnels",
    "mount": "mounts",
    "coverage": "coverage_entries",
    "route": "routes",
    "volume": "volumes",
    "disk": "disks",
    "pod_link": "pod_interfaces",
    "kernel_event": "kernel_events",
}


@dataclass(frozen=True, slots=True)
class PeerLimits:
    """How fast one node's agent is heard, whatever it sends: what is over it is not read until its turn comes, so that
    HTTP/2's own flow control holds it back. An agent that works has 2 to 12 messages a second, and a full update in
    some hundred messages when it connects.
    """

    message_bytes: int = field(default=MAX_MESSAGE_BYTES, metadata={"what": "messages that are too long"})
    """One message, bytes. A longer one ends the stream."""
    messages_per_s: float = field(default=200.0, metadata={"what": "messages"})
    """Messages of a node's streams, in the long run. Each has at most 1,000 bytes."""
    messages_at_once: float = 4_000.0
    """... and after a quiet time, at once: a full update of 3 MB."""
    updates_per_s: float = field(default=6.0, metadata={"what": "updates"})
    """Whole updates. Agents make at most five a second."""
    updates_at_once: float = 30.0
    """... and after a quiet time."""
    bytes_per_s: float = field(default=100_000.0, metadata={"what": "bytes of updates"})
    """Bytes of updates, decompressed. An agent of a large node has some thousand."""
    bytes_at_once: float = 16_777_216.0
    """... and after a quiet time."""
    work_share: float = field(default=0.02, metadata={"what": "work"})
    """Share of the aggregator's time that one node's messages may take."""
    work_at_once_s: float = 0.5
    """... and after a quiet time, seconds: what a full update of a large node takes, several times."""
    streams_per_s: float = field(default=0.2, metadata={"what": "streams"})
    """Streams that a node's agent opens, in the long run. Of more it is told to come again later."""
    streams_at_once: float = 20.0
    """... and after a quiet time."""
    streams_per_address: int = field(default=512, metadata={"what": "streams of one address"})
    """Streams at a time from one IP address; one more is told to come again later. Loopback is excepted: a proxy of the
    aggregator's own pod is everybody's address."""
    proofs_per_s: float = field(default=50.0, metadata={"what": "path proofs"})
    """Path proofs from one IP address, in the long run. Of more it is told to come again later; likewise."""
    proofs_at_once: float = 1_000.0
    """... and after a quiet time."""
    arrivals_at_once: int = 64
    """Agents of which each has said Hello and not got its first update in. More wait in the order they came."""
    arrivals_waiting: int = field(default=1_000, metadata={"what": "agents that came back all at once"})
    """Agents that wait for that. Of more the latest are told when to come again; those that were go first then."""
    remembered: int = 20_000
    """Nodes and addresses whose pace is remembered, the latest ones."""


@dataclass(frozen=True, slots=True)
class OperatorLimits:
    """What operators' clients may take."""

    watches: int = field(default=200, metadata={"what": "watches"})
    """Watches at a time; one more is refused."""
    watches_of_one: int = field(default=50, metadata={"what": "watches of one address"})
    """... of one address, but for loopback's."""
    watch_queue: int = field(default=1_000, metadata={"what": "watches that were too slow"})
    """Events that wait for one watcher; with more it is too slow, and is told so."""
    questions: int = field(default=4, metadata={"what": "questions of what would follow a loss"})
    """Questions of what would follow a loss (WhatIf) that are worked on at a time; one more is refused."""


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """What those may take who look at the page or use the HTTP API."""

    http_connections: int = field(default=600, metadata={"what": "connections of browsers and scripts"})
    """HTTP connections at a time; one more is closed."""
    http_requests: int = field(default=64, metadata={"what": "requests of browsers and scripts"})
    """HTTP requests that are worked on at a time; of more, some are told to come again (503)."""
    http_requests_of_one: int = field(default=24, metadata={"what": "requests of one address"})
    """... of one address, but for loopback's (429)."""
    http_events: int = field(default=200, metadata={"what": "streams of events"})
    """Clients at a time that are told of findings as they change (/api/v1/events); one more is refused."""
    http_events_of_one: int = field(default=50, metadata={"what": "streams of events of one address"})
    """... of one address, but for loopback's."""
    http_sessions: int = field(default=1_000, metadata={"what": "sessions of browsers"})
    """Browsers that are logged in; of more, the oldest are logged out."""
    http_idle_s: float = field(default=30.0, metadata={"what": "connections that say nothing"})
    """Seconds after which an HTTP connection is closed on which no whole request came, or an answer was not taken."""


NODE = NodeLimits()
PEER = PeerLimits()
OPERATOR = OperatorLimits()
HTTP = HttpLimits()

_SIGNALS: Mapping[str, str] = {each.name: each.metadata["signal"] for each in fields(NodeLimits)}
_WHAT: Mapping[str, str] = {
    each.name: each.metadata["what"]
    for limits in (NodeLimits, PeerLimits, OperatorLimits, HttpLimits)
    for each in fields(limits)
    if "what" in each.metadata
}


@dataclass(slots=True)
class Reached:
    """A limit that a node has reached."""

    now: int = 0
    """What is left out of what is known now, or was held back lately."""
    total: int = 0
    """Since the aggregator knows the node."""


def limit_items(reached: Mapping[str, Reached], limits: NodeLimits = NODE) -> list[facts_pb2.Item]:
    """Coverage entries for what a node's limits keep out now, as facts of the node."""
    items = []
    for name, each in reached.items():
        if each.now:
            signal = _SIGNALS[name]
            limit = f"its limit {name} is {limits.at_most(name):,} a node"
            because = f"the aggregator leaves out {each.now:,} {_WHAT[name]}: {limit}"
            items.append(_item(signal, name, because))
    return items


def pace_items(reached: Mapping[str, Reached]) -> list[facts_pb2.Item]:
    """The same for what was held back lately because it was too much at a time."""
    items = []
    for name, each in reached.items():
        if each.now:
            held = f"{_WHAT[name]} beyond the aggregator's limit {name} waited or were refused"
            because = f"too much at a time: {held} {each.now:,} times in the last minute or two"
            items.append(_item(_ROW, name, because))
    return items


def limits_reached(reached: Mapping[str, Reached]) -> list[operator_pb2.LimitReached]:
    """The counters, as operators' clients get them."""
    return [
        operator_pb2.LimitReached(limit=name, now=each.now, total=each.total) for name, each in sorted(reached.items())
    ]


def _item(signal: str, name: str, because: str) -> facts_pb2.Item:
    coverage = facts_pb2.Coverage(signal=signal, because=because, status=facts_pb2.COVERAGE_STATUS_DEGRADED)
    return facts_pb2.Item(key=f"coverage/{signal}/limit-{name}", coverage=coverage)
