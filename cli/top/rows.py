"""The lines of the live view: findings with what follows from them below, and nodes in the order that is wanted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from nodetell.v1 import operator_pb2

from aggregator.findings import Record
from aggregator.model import Severity
from cli import nodes_table
from cli.findings_table import since
from cli.listing import Choice, Column, ordered
from cli.render import chains, some
from cli.report import iso
from cli.terminal import clean, span
from cli.top.state import Seen, matching

Node = operator_pb2.NodeSummary
ALIKE = 3
"""So many consequences of one code are shown below their cause; of the others, the number is said."""
SHOWN = (
    "NODE", "FINDINGS", "HEARD", "FSYNC P99", "DROPS/S", "PATH MTU", "CLOCK", "AGENT", "READY", "ZONE", "GAPS",
    "VERSION",
)  # fmt: skip
"""Columns of nodes, what matters most first: the left ones are all that a terminal of 80 columns shows."""
DOWNWARDS = frozenset({"FINDINGS", "HEARD", "CLOCK", "FSYNC P99", "DROPS/S", "GAPS"})
"""Columns of which the greatest is the worst: they are sorted that way at first."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the findings."""

    text: str
    style: str
    """Severity's word, "dim" for what is over, or empty."""
    id: str = ""
    """Of the finding; empty: the line is about several."""


def finding_lines(seen: Seen, here: float, *, folded: bool = True) -> list[Line]:
    """What stands, causes first, then what was resolved in the last hour. `here`: now by this host's clock."""
    now = seen.now(here)
    lines: list[Line] = []
    for root, below in chains(seen.ordered()):
        lines.append(_line(root, 0, now))
        counted: dict[str, int] = {}
        for depth, record in below:
            code = record.finding.code
            counted[code] = counted.get(code, 0) + 1
            if not folded or counted[code] <= ALIKE:
                lines.append(_line(record, depth, now))
        if folded:
            lines += [
                Line(f"{'':28}  and {n - ALIKE:,} more {clean(code)}", "") for code, n in counted.items() if n > ALIKE
            ]
    return lines + [_line(record, 0, now) for record in seen.over(here)]


def _line(record: Record, depth: int, now: float) -> Line:
    finding = record.finding
    over = record.resolved is not None
    word, stage = ("resolved", "") if over else (finding.severity.word.upper(), finding.stage.value)
    at = record.resolved if record.resolved is not None else since(record)
    nodes = f" on {some(finding.nodes)}" if finding.nodes else ""
    unsure = "cannot be confirmed at present: " if record.unconfirmed and not over else ""
    text = f"{'  ' * depth}{finding.code}{nodes}: {unsure}{finding.summary}"
    return Line(f"{word:8}  {stage:6}  {_age(now - at) if at else '':>8}  {clean(text)}", _style(record), finding.id)


def _style(record: Record) -> str:
    return "dim" if record.resolved is not None else record.finding.severity.word


def _age(seconds: float) -> str:
    """In its greatest unit: "3 min"."""
    return " ".join(span(seconds).split()[:2])


# -- nodes -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Order:
    """How nodes are sorted and which are shown."""

    column: str = ""
    """Name of a column; empty: the worst first."""
    descending: bool = False
    text: str = ""
    """Only nodes with this in their name or zone."""


def columns(now: float) -> list[Column[Node]]:
    """Those of the live view."""
    by_name = {column.name: column for column in nodes_table.columns(now)}
    return [by_name[name] for name in SHOWN]


def node_rows(seen: Seen, order: Order, here: float) -> list[Node]:
    """Nodes as they are shown."""
    nodes = matching(seen.nodes, order.text)
    if not order.column:
        worst = worst_of(seen.standing)
        return sorted(nodes, key=lambda node: (-worst.get(node.node, -1), -node.findings, node.connected, node.node))
    shown = columns(seen.now(here))
    chosen = next(column for column in shown if column.name == order.column)
    return ordered(nodes, replace(Choice(shown), sort_by=chosen, descending=order.descending))


def worst_of(standing: Mapping[str, Record]) -> dict[str, int]:
    """Severity of the worst finding that stands, by node."""
    worst: dict[str, int] = {}
    for record in standing.values():
        for node in record.finding.nodes:
            worst[node] = max(worst.get(node, Severity.INFO), record.finding.severity)
    return worst


def node_style(node: Node, worst: Mapping[str, int]) -> str:
    """Word of the severity of its worst finding; of a silent one at least a warning."""
    found = worst.get(node.node)
    if found is None:
        return "" if node.connected else "warning"
    return Severity(found if node.connected else max(found, Severity.WARNING)).word


def head_lines(seen: Seen, here: float) -> Sequence[Line]:
    """What stands above everything: who is asked, whether it answers, and how much is seen."""
    at = iso(seen.now(here))[:19].replace("T", " ")
    who = f"nodetell top   {seen.address}{f' ({seen.version})' if seen.version else ''}   {at} UTC"
    first = Line(clean(who), "bold")
    if seen.lost is not None:
        since_when = iso(seen.lost.since)[11:19]
        ago = span(here - seen.lost.since)
        told = f"connection lost since {since_when} UTC ({ago}): {seen.lost.reason}; trying again"
        first = Line(clean(told), "critical")
    return first, Line(f"{seen.nodes_line()}   {seen.counts()}   {seen.coverage_line()}", "")
