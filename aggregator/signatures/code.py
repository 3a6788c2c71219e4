"""What a code decides of every finding that bears it. docs/findings.md must agree."""

from __future__ import annotations

from dataclasses import dataclass

from aggregator.model import Severity


@dataclass(frozen=True, slots=True)
class Code:
    """The part of a finding that its code decides."""

    code: str
    incident: str
    headline: str
    """What is wrong, without numbers."""
    clears_when: str
    remediation: tuple[str, ...]
    risk: Severity = Severity.WARNING
    active: Severity = Severity.WARNING
    spreads: bool = True
    """Active on several nodes makes it critical: the harm is proven more than once."""
