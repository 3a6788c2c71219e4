"""Runs every signature over the joined view. Adding an incident: a module in signatures/ and a row in SIGNATURES.

A signature that raises takes nothing with it: the others are heard, it becomes a gap of the diagnosis with its name,
and what it had found before is neither confirmed nor over. Pure: no clock, no input or output.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from aggregator.model import Finding, Gap, Verdict, report_order
from aggregator.signatures import mtu_mismatch
from aggregator.signatures.thresholds import Thresholds
from aggregator.view import ClusterView

Signature = Callable[[ClusterView, Thresholds], Verdict]

SIGNATURES: tuple[tuple[str, Signature], ...] = (("mtu_mismatch", mtu_mismatch.evaluate),)
"""Name and function of each, in the order they run."""

_MAX_REASON = 300


@dataclass(slots=True)
class Judgement:
    """What all signatures say, and which said what."""

    verdict: Verdict = field(default_factory=Verdict)
    origins: dict[str, str] = field(default_factory=dict)
    """Name of the signature by id of the finding."""
    failed: dict[str, str] = field(default_factory=dict)
    """Why, by name of the signature that could not be evaluated."""


def evaluate(view: ClusterView, thresholds: Thresholds) -> Verdict:
    """Findings of all signatures in report order, and what limited them."""
    return judge(view, thresholds).verdict


def judge(
    view: ClusterView, thresholds: Thresholds, signatures: tuple[tuple[str, Signature], ...] = SIGNATURES
) -> Judgement:
    """The same, with the origin of each finding."""
    judgement = Judgement()
    found: dict[str, Finding] = {}
    for name, signature in signatures:
        try:
            verdict = signature(view, thresholds)
        except Exception as error:  # noqa: BLE001  # a defect of one signature must not silence the others
            judgement.failed[name] = _reason(error)
            judgement.verdict.gaps.append(
                Gap("", f"diagnosis/{name}", "damaged", f"signature {name} could not be evaluated: {_reason(error)}")
            )
            continue
        judgement.verdict.gaps.extend(verdict.gaps)
        _add(verdict.findings, name, found, judgement)
    judgement.verdict.findings = report_order(list(found.values()))
    return judgement


def _add(findings: list[Finding], origin: str, found: dict[str, Finding], judgement: Judgement) -> None:
    """Two findings of one id are a defect: the worse one stands, and the gap says so."""
    origins = judgement.origins
    for finding in findings:
        before = found.get(finding.id)
        if before is not None:
            because = f"two findings share the id {finding.id} (from {origins[finding.id]} and {origin}); one is shown"
            judgement.verdict.gaps.append(Gap("", f"diagnosis/{origin}", "degraded", because))
            if before.severity >= finding.severity:
                continue
        found[finding.id] = finding
        origins[finding.id] = origin


def _reason(error: Exception) -> str:
    """One line: what was raised, and where."""
    trace, place = error.__traceback__, ""
    while trace is not None:
        place = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
        trace = trace.tb_next
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return f"{text[:_MAX_REASON]} ({place})"
