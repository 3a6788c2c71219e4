"""What an operator gets told: findings with their life, and what limits the diagnosis. As data, and as JSON.

The JSON of a diagnosis is a contract (the evidence bundle's documentation); that of a live aggregator says the same and
besides how long each finding stands and when it clears.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from aggregator.convert import finding_to_json, gap_to_json, iso_time, record_to_json
from aggregator.findings import Record
from aggregator.model import Gap, Severity
from cli.exits import CRITICAL, OK, WARNING

Json = dict[str, Any]

_BESIDES_THE_CONTRACT = frozenset({"clears_when", "remedy"})
"""What the JSON of a live aggregator has and that of a diagnosis has not."""


@dataclass(slots=True)
class Report:
    """Everything that is said at one moment."""

    cluster: str
    """Empty: the source does not tell."""
    at: float
    """Seconds since the epoch."""
    records: list[Record] = field(default_factory=list)
    """Standing ones in report order, then resolved ones."""
    gaps: list[Gap] = field(default_factory=list)

    @property
    def status(self) -> int:
        """Exit status: the worst of what stands."""
        standing = (record.finding.severity for record in self.records if record.resolved is None)
        return status_of(max(standing, default=Severity.INFO))


def status_of(worst: Severity) -> int:
    """Exit status where nothing is worse than this."""
    return {Severity.INFO: OK, Severity.WARNING: WARNING, Severity.CRITICAL: CRITICAL}[worst]


def iso(at: float) -> str:
    """A time as 2026-11-22T10:01:00Z; empty for 0, which is none."""
    return iso_time(at) if at else ""


def diagnosis_json(report: Report) -> Json:
    """The object that the bundle's documentation promises, and nothing besides."""
    return {
        "cluster": report.cluster,
        "at": iso(report.at),
        "findings": [_contract(finding_to_json(record.finding)) for record in report.records],
        "coverage": [_contract(gap_to_json(gap)) for gap in report.gaps],
    }


def _contract(entry: Json) -> Json:
    return {key: value for key, value in entry.items() if key not in _BESIDES_THE_CONTRACT}


def live_json(report: Report) -> Json:
    """What a live aggregator says: the same, and how long it has been so."""
    return {
        "at": iso(report.at),
        "findings": [record_to_json(record) for record in report.records],
        "coverage": [gap_to_json(gap) for gap in report.gaps],
    }
