"""Scenarios: a cluster in the laboratory with what must be found of it, for tests and for people to look at.

    @scenario
    def storage_multi_attach__positive() -> Scenario:
        lab = Lab()
        ...
        return Scenario(lab, why="...", expect=[Want("storage.multi_attach", nodes=["n1"], objects=["Pod/db/pg-0"])])

The name is the code (a dot written as "_"), two underscores, and its kind: "positive", "near_miss" or "recovery", with
more words after it where there are several. `python -m tests.lab NAME PATH` writes any of them as a bundle.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import wraps
from pathlib import Path

from aggregator.model import Finding, Severity
from tests.lab import words
from tests.lab.cluster import Lab
from tests.lab.shapes import Json

KINDS = ("positive", "near_miss", "recovery")

Make = Callable[[], "Scenario"]
SCENARIOS: dict[str, Make] = {}
"""All that were defined so far, by the name of their function."""


@dataclass(frozen=True)
class Want:
    """A finding that must be there."""

    code: str
    nodes: Sequence[str] = ()
    """Among those that it names."""
    objects: Sequence[str] = ()
    """Among those that it names."""
    stage: str = "active"
    """"risk|active": either."""
    severity: str = "warning"
    """At least."""
    caused_by: str = ""
    """Code of a finding that must explain it."""
    count: int | None = None
    """Exactly so many findings of this code."""
    says: Sequence[str] = ()
    """Pieces of text that its summary, evidence or remediation must hold."""


@dataclass(frozen=True)
class Scenario:
    """A cluster at its present moment, and what must be said of it."""

    lab: Lab
    why: str
    """The facts, and how a hurried reader gets it wrong."""
    expect: Sequence[Want] = ()
    forbid: Sequence[str] = ()
    """Codes that must not be there at any severity; whatever is expected of no one is forbidden above info."""
    allow: Sequence[str] = ()
    at_each: Sequence[Iterable[str]] | None = None
    """For a recovery: at each snapshot in turn, the present at the end, which of the codes that are expected or
    forbidden anywhere in this scenario stand."""
    watched: Sequence[str] = field(default=())
    """Other codes that `at_each` is about."""
    name: str = ""
    """Of a registered one: its function's."""


def scenario(make: Make) -> Make:
    """Register a scenario by its function's name."""
    known = SCENARIOS.get(make.__name__)
    if known is not None and known.__module__ != make.__module__:
        raise ValueError(f"{make.__name__} is a scenario of {known.__module__} already")

    @wraps(make)
    def named() -> Scenario:
        return replace(make(), name=make.__name__)

    SCENARIOS[make.__name__] = named
    return named


def of_module(module: str) -> dict[str, Make]:
    """Scenarios that a module defines (`__name__`)."""
    return {name: make for name, make in SCENARIOS.items() if make.__module__ == module}


def judge(case: Scenario, known: Iterable[str] | None = None, *, by_word: bool = False) -> None:
    """Assert all that a scenario says; of `known` codes only, where this version does not diagnose the others yet.

    `by_word`: of a positive one, also that its findings say word for word what they did (tests/lab/words.py).
    """
    findings = case.lab.findings()
    of_interest = None if known is None else set(known)
    for want in case.expect:
        if of_interest is None or want.code in of_interest:
            _must_be_there(want, findings, case.why)
    codes = {finding.code for finding in findings}
    assert not codes & set(case.forbid), f"{sorted(codes & set(case.forbid))} must not be found: {case.why}"
    wanted = {want.code for want in case.expect} | set(case.allow)
    surplus = {found.code for found in findings if found.severity >= Severity.WARNING} - wanted
    assert not surplus, f"{sorted(surplus)} besides: {case.why}"
    if by_word and "__positive" in case.name:
        words.compare(case.name, words.told(findings, case.lab.now))
    if case.at_each is not None:
        watched = {want.code for want in case.expect} | set(case.forbid) | set(case.watched)
        watched |= {code for codes_then in case.at_each for code in codes_then}
        told = [sorted(watched & set(found)) for found in case.lab.codes_at_each_snapshot()]
        assert told == [sorted(codes_then) for codes_then in case.at_each], case.why


def lacking(codes: Iterable[str], names: Iterable[str]) -> list[str]:
    """Which of a code's three kinds of scenario no name stands for, as "CODE: KIND"."""
    all_names = list(names)
    return [
        f"{code}: {kind}"
        for code in codes
        for kind in KINDS
        if not any(name.startswith(f"{prefix_of(code)}__{kind}") for name in all_names)
    ]


def prefix_of(code: str) -> str:
    """How the names of its scenarios begin."""
    return code.replace(".", "_")


def expected_json(case: Scenario) -> Json:
    """The scenario's judgement, as recorded scenarios have it beside their bundle.json."""
    return {
        "expect": [
            {
                "code": want.code,
                "stage": want.stage,
                "min_severity": want.severity,
                "nodes": list(want.nodes),
                "objects": list(want.objects),
                **({"caused_by": want.caused_by} if want.caused_by else {}),
                **({"count": want.count} if want.count is not None else {}),
            }
            for want in case.expect
        ],
        "allow": list(case.allow),
        "forbid": list(case.forbid),
        "why": case.why,
    }


def write(case: Scenario, path: Path) -> None:
    """A bundle directory with its expected.json."""
    case.lab.write(path)
    (path / "expected.json").write_text(json.dumps(expected_json(case), indent=2) + "\n")


def _must_be_there(want: Want, findings: Sequence[Finding], why: str) -> None:
    of_code = [finding for finding in findings if finding.code == want.code]
    found = [finding for finding in of_code if _fits(want, finding)]
    shown = [(each.code, each.stage.value, each.severity.name, each.nodes, each.objects) for each in of_code]
    assert found, f"{want} is not among {shown or sorted({each.code for each in findings})}: {why}"
    if want.count is not None:
        assert len(of_code) == want.count, f"{len(of_code)} findings of {want.code}: {shown}"
    if want.caused_by:
        by_id: Mapping[str, Finding] = {finding.id: finding for finding in findings}
        causes = {by_id[cause].code for each in found for cause in each.caused_by if cause in by_id}
        assert want.caused_by in causes, f"{want.code} is explained by {sorted(causes)}: {why}"


def _fits(want: Want, finding: Finding) -> bool:
    text = "\n".join([finding.summary, *finding.remediation, *map(str, finding.evidence)])
    return (
        finding.stage.value in want.stage.split("|")
        and finding.severity >= Severity[want.severity.upper()]
        and set(want.nodes) <= set(finding.nodes)
        and set(want.objects) <= set(finding.objects)
        and all(piece in text for piece in want.says)
    )
