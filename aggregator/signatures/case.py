"""A rule that holds for one API object, and how cases of one cause become one finding with all its objects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from aggregator.model import Evidence, Finding, RuledOut, Severity, Stage, finding_id
from aggregator.signatures.code import Code

MOST_EVIDENCE = 24
"""Pieces of evidence in one finding; a hundred nodes with one cause need no thousand lines."""
API = "kube/"
"""Evidence whose source begins so is what the API server said. A finding that rests on such is unconfirmed while the
API server cannot be heard."""


@dataclass(frozen=True, slots=True)
class Case:
    """One rule that holds for one pod, claim, volume, node, ..."""

    code: str
    about: tuple[str, ...]
    """The cause, without numbers: cases of a code with the same `about` are one finding."""
    statement: str
    """A clause with the numbers in it, true of this case."""
    objects: tuple[str, ...]
    """"Kind/namespace/name", or "Kind/name" where the kind has no namespaces: whoever suffers first."""
    evidence: tuple[Evidence, ...]
    nodes: tuple[str, ...] = ()
    """Nodes where the trouble is, not all that were looked at."""
    stage: Stage = Stage.ACTIVE
    severity: Severity | None = None
    """Where the case decides it rather than the code (by age, for instance). The worst case of a finding holds."""
    weight: float = 0.0
    """The weightiest case speaks for its finding in the summary: age in seconds, for instance."""
    ruled_out: tuple[RuledOut, ...] = ()
    remedies: tuple[str, ...] = ()
    """Remedies that depend on this case's facts; they come before those of the code."""
    since: float = 0.0
    """When it began as far as the facts tell, seconds since the epoch; 0.0: they do not."""


def api_evidence(
    resource: str, key: str, signal: str, value: float | int | str | bool, *, at: float, unit: str = "", node: str = ""
) -> Evidence:
    """A fact of the API server about the object with this key. `at`: up to when the view is current."""
    return Evidence(node, signal, key, value, unit, API + resource, at)


def gather(cluster: str, cases: Iterable[Case], codes: Mapping[str, Code]) -> list[Finding]:
    """One finding for each cause, in order of code and cause."""
    groups: dict[tuple[str, tuple[str, ...]], list[Case]] = {}
    for case in cases:
        groups.setdefault((case.code, case.about), []).append(case)
    return [_finding(cluster, codes[code], about, group) for (code, about), group in sorted(groups.items())]


def _finding(cluster: str, code: Code, about: tuple[str, ...], group: list[Case]) -> Finding:
    group = sorted(group, key=lambda case: (case.stage is Stage.RISK, -case.weight, case.objects))
    active = [case for case in group if case.stage is Stage.ACTIVE]
    default = code.active if active else code.risk
    if code.spreads and len({node for case in active for node in case.nodes}) > 1:
        default = Severity.CRITICAL
    objects = tuple(dict.fromkeys(each for case in group for each in case.objects))
    return Finding(
        id=finding_id(code.code, cluster, *about),
        code=code.code,
        incident=code.incident,
        stage=Stage.ACTIVE if active else Stage.RISK,
        severity=max(default if case.severity is None else case.severity for case in active or group),
        summary=_summary(group),
        nodes=tuple(sorted({node for case in group for node in case.nodes})),
        evidence=fair_share([case.evidence for case in group]),
        clears_when=code.clears_when,
        objects=objects,
        ruled_out=first_of_each(rule for case in group for rule in case.ruled_out),
        remediation=(*dict.fromkeys(remedy for case in group for remedy in case.remedies), *code.remediation),
        since=min((case.since for case in group if case.since), default=0.0),
    )


def _summary(group: list[Case]) -> str:
    more = len({case.objects[:1] for case in group}) - 1
    return f"{group[0].statement}{f' (and {more:,} more for the same cause)' if more > 0 else ''}."


def fair_share(lists: Iterable[tuple[Evidence, ...]]) -> tuple[Evidence, ...]:
    """Evidence of all in order; where it is too much, whole ones first, none cut in the middle."""
    kept: dict[Evidence, None] = {}
    for evidence in lists:
        if kept and len(kept) + len(evidence) > MOST_EVIDENCE:
            break
        kept.update(dict.fromkeys(evidence))
    return tuple(kept)


def first_of_each(rules: Iterable[RuledOut]) -> tuple[RuledOut, ...]:
    """The first of each code, by code."""
    by_code: dict[str, RuledOut] = {}
    for rule in rules:
        by_code.setdefault(rule.code, rule)
    return tuple(by_code[code] for code in sorted(by_code))
