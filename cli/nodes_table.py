"""All nodes as a table: what each column says, and what rows are sorted by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from nodetell.v1 import operator_pb2

from cli.clock_text import duration, offset_words
from cli.listing import Choice, Column, listing
from cli.report import iso
from cli.terminal import Look, clean, span, wrap

Node = operator_pb2.NodeSummary


def columns(now: float) -> list[Column[Node]]:
    """All columns; `now`: seconds since the epoch."""
    return [
        Column("NODE", "name of the node", lambda node: node.node),
        Column("AGENT", "whether its agent is connected now", lambda node: "connected" if node.connected else "silent"),
        Column("READY", "what the API server says of it", ready),
        Column("ZONE", "its zone, by label", lambda node: node.zone),
        Column("HEARD", "when its agent was last heard", lambda node: heard(node, now), lambda node: lag_s(node, now)),
        Column("CLOCK", "its clock beside the aggregator's", offset_words, clock_key),
        Column("VERSION", "of its agent", lambda node: node.agent_version),
        Column("FSYNC P99", "worst 99th percentile of fsync, and whose", fsync, fsync_us, wide=True),
        Column("DROPS/S", "packets per second that its interfaces dropped", drops, drops_per_s, right=True, wide=True),
        Column("PATH MTU", "bytes that get through on its worst path", path_mtu, path_key, wide=True),
        _count("LINKS", "network interfaces", lambda node: node.links),
        _count("DISKS", "disks and partitions", lambda node: node.disks),
        _count("VOLUMES", "of the kubelet's", lambda node: node.volumes),
        _count("FINDINGS", "that name it", lambda node: node.findings),
        _count("GAPS", "signals that are missing, degraded or damaged", lambda node: node.coverage_gaps),
        Column("FACTS", "when they were read, by its clock", lambda node: iso(node.facts_at_unix_ms / 1000), wide=True),
        replace(_count("MERGED", "samples not told in time", lambda node: node.dropped_samples), wide=True),
        Column("LIMITS", "limits of the aggregator that it has reached", _limits, wide=True),
    ]


def _count(name: str, what: str, number: Callable[[Node], int]) -> Column[Node]:
    return Column(name, what, lambda node: str(number(node)), number, right=True)


def nodes_text(nodes: Sequence[Node], wanted: Choice[Node], look: Look) -> str:
    """All nodes, to be read."""
    if not nodes:
        return "no agent has reported yet"
    lines = listing(nodes, wanted, look)
    if coarse := [node for node in nodes if node.dropped_samples]:
        merged = sum(node.dropped_samples for node in coarse)
        of = coarse[0].node if len(coarse) == 1 else f"{len(coarse):,} nodes"
        text = f"{merged:,} samples of {of} could not be told in time and were merged into coarser ones"
        lines += ["", *wrap(clean(text), look.width, "")]
    return "\n".join(lines)


def now(answer: operator_pb2.ListNodesResponse, otherwise: float) -> float:
    """When an answer was given, by the clock that its times are of: the aggregator's, where it tells."""
    return answer.at_unix_ms / 1000 or otherwise


def ready(node: Node) -> str:
    """ "yes", "no, cordoned", ...; empty: the API server was not asked."""
    word = {"True": "yes", "False": "no", "Unknown": "unknown", "": ""}.get(node.ready, node.ready)
    return f"{word}, cordoned" if node.cordoned else word


def lag_s(node: Node, now: float) -> float | None:
    """How long ago its agent was heard; None: never."""
    return max(0.0, now - node.heard_at_unix_ms / 1000) if node.heard_at_unix_ms else None


def heard(node: Node, now: float) -> str:
    """The same in words."""
    lag = lag_s(node, now)
    return "never" if lag is None else f"{span(lag)} ago"


def clock_key(node: Node) -> int | None:
    """How far its clock may be off at most, microseconds; None: not measured."""
    return abs(node.clock_offset_us) + node.clock_bound_us if node.HasField("clock_offset_us") else None


def fsync_us(node: Node) -> int | None:
    """None: not measured, or an aggregator that does not tell."""
    return node.fsync_p99_us if node.HasField("fsync_p99_us") else None


def fsync(node: Node) -> str:
    """ "12 ms etcd"."""
    p99 = fsync_us(node)
    return "" if p99 is None else f"{duration(p99)} {node.fsync_process}".rstrip()


def drops_per_s(node: Node) -> float | None:
    """None: not known."""
    return node.drops_per_s if node.HasField("drops_per_s") else None


def drops(node: Node) -> str:
    """To three digits; what is more than nothing is never shown as 0."""
    rate = drops_per_s(node)
    return "" if rate is None else f"{rate:,.0f}" if rate >= 100 or not rate else f"{max(rate, 0.01):.2g}"


def path_mtu(node: Node) -> str:
    """ "1500", or "1400 of 1450 to node-b" where the path lacks some."""
    parts = []
    if node.HasField("path_mtu"):
        lacking = node.path_mtu < node.path_interface_mtu
        parts.append(f"{node.path_mtu}{f' of {node.path_interface_mtu} to {node.path_peer}' if lacking else ''}")
    parts += [f"{node.paths_unanswered:,} unanswered"] if node.paths_unanswered else []
    return ", ".join(parts)


def path_key(node: Node) -> tuple[int, int] | None:
    """By what the path lacks, the worst as the least; None: not measured."""
    if not node.HasField("path_mtu"):
        return (-node.paths_unanswered, 0) if node.paths_unanswered else None
    return min(0, node.path_mtu - node.path_interface_mtu) - node.paths_unanswered, node.path_mtu


def _limits(node: Node) -> str:
    return ", ".join(each.limit for each in node.limits if each.now or each.total)
