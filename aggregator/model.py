"""Findings as signatures make them and operators read them. The shape is a contract: docs/bundle.md."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum


class Stage(StrEnum):
    """Whether anybody suffers yet."""

    RISK = "risk"
    ACTIVE = "active"


class Severity(IntEnum):
    """How much it matters; greater is worse."""

    INFO = 0
    WARNING = 1
    CRITICAL = 2

    @property
    def word(self) -> str:
        """As it is printed: "info", "warning", "critical"."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Evidence:
    """One fact a finding rests on."""

    node: str
    signal: str
    subject: str
    value: float | int | str | bool
    unit: str
    source: str
    at: float
    """When it was read, seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class RuledOut:
    """A look-alike, and the fact that excludes it."""

    code: str
    because: str


@dataclass(frozen=True, slots=True)
class Finding:
    """A cause named. `id` is stable while the same cause stands: make it with `finding_id`."""

    id: str
    code: str
    incident: str
    stage: Stage
    severity: Severity
    summary: str
    nodes: tuple[str, ...]
    evidence: tuple[Evidence, ...]
    clears_when: str
    objects: tuple[str, ...] = ()
    ruled_out: tuple[RuledOut, ...] = ()
    caused_by: tuple[str, ...] = ()
    remediation: tuple[str, ...] = ()
    since: float = 0.0
    """When what it names began as far as the facts tell, seconds since the epoch; 0.0: they do not."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A limit of the diagnosis itself: what could not be compared or read, and why."""

    node: str
    signal: str
    status: str
    """"missing", "degraded" or "damaged"."""
    because: str
    remedy: str = ""


@dataclass(slots=True)
class Verdict:
    """What a signature says."""

    findings: list[Finding] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    pending: set[str] = field(default_factory=set)
    """Codes of which not everything has been looked at yet (ClusterView.gradual): findings of them that stand are not
    over because they are not made again."""


def finding_id(code: str, *subject: str) -> str:
    """Identity of a finding: its code and what it is about, never its numbers, so that it survives a change of them."""
    digest = hashlib.sha256("\x1f".join((code, *subject)).encode()).hexdigest()
    return f"{code.replace('.', '-').replace('_', '-')}-{digest[:8]}"


def report_order(findings: list[Finding]) -> list[Finding]:
    """Causes before what they cause, then critical before warning before info, then code, then id."""
    by_id = {finding.id: finding for finding in findings}
    ordered: list[Finding] = []
    placed: set[str] = set()

    def place(finding: Finding, above: frozenset[str]) -> None:
        if finding.id in placed:
            return
        for cause in sorted(finding.caused_by):
            if cause in by_id and cause not in above:
                place(by_id[cause], above | {finding.id})
        if finding.id not in placed:
            placed.add(finding.id)
            ordered.append(finding)

    for finding in sorted(findings, key=lambda f: (-f.severity, f.code, f.id)):
        place(finding, frozenset({finding.id}))
    return ordered
