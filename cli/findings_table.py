"""Findings as a table: a line each, for those who want to count, sort or cut them."""

from __future__ import annotations

from collections.abc import Sequence

from aggregator.findings import Record
from cli.listing import Column
from cli.render import some
from cli.report import iso


def since(record: Record) -> float:
    """When it began by the evidence, or else when it was first seen; 0: not known, in a bundle."""
    return record.finding.since or record.first_seen


def state(record: Record) -> str:
    """One word on its life."""
    if record.resolved is not None:
        return "resolved"
    return "unconfirmed" if record.unconfirmed else "standing"


def _severity(record: Record) -> str:
    return record.finding.severity.word


COLUMNS: Sequence[Column[Record]] = (
    Column("SEVERITY", "critical, warning or info", _severity, lambda record: -record.finding.severity),
    Column("CODE", "what it is", lambda record: record.finding.code),
    Column("STAGE", "risk: nobody suffers yet; active: it harms", lambda record: record.finding.stage.value),
    Column("NODES", "concerned", lambda record: some(record.finding.nodes)),
    Column(
        "SINCE",
        "when it began, or was first seen",
        lambda record: iso(since(record)),
        lambda record: since(record) or None,
    ),
    Column("STATE", "standing, unconfirmed or resolved", state),
    Column("ID", "for `nodetell explain`", lambda record: record.finding.id),
    Column("INCIDENT", "what the code belongs to", lambda record: record.finding.incident, wide=True),
    Column("RESOLVED", "when it was over", lambda record: iso(record.resolved or 0.0), wide=True),
    Column("CAUSED BY", "findings that explain it", lambda record: ",".join(record.finding.caused_by), wide=True),
    Column("OBJECTS", "concerned", lambda record: some(record.finding.objects), wide=True),
    Column("SUMMARY", "one sentence", lambda record: record.finding.summary, wide=True),
)
"""All columns of a table of findings."""
