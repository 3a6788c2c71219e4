"""An incident as one story: what suffers, what explains it link by link, on what evidence, what it is not, what to do
first, and how to see that it is over. Pure: of findings that are linked to their causes already.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from aggregator.causes import shared
from aggregator.model import Evidence, Finding, RuledOut, Severity, Stage

MOST_EVIDENCE = 16
"""Facts in one story; of each finding of the chain the first ones."""


@dataclass(frozen=True, slots=True)
class Step:
    """One finding of the chain."""

    finding: Finding
    shared: tuple[str, ...] = ()
    """What it has in common with the step before it; empty: it is the first, or a signature says so by itself."""


@dataclass(frozen=True, slots=True)
class Remark:
    """A fact, a look-alike or a condition, with the code of the finding that it is of."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Story:
    """What is told of one incident."""

    asked: Finding
    """The finding whose story it is."""
    chain: tuple[Step, ...]
    """From the cause to the symptom; the same one, where nothing explains it and it explains nothing."""
    also_causes: tuple[Finding, ...]
    """What else explains a step of the chain."""
    also_effects: tuple[Finding, ...]
    """What else follows from one."""
    evidence: tuple[Evidence, ...]
    """Of the whole chain, oldest first."""
    more_evidence: int
    """Facts that are left out."""
    ruled_out: tuple[tuple[str, RuledOut], ...]
    """Each with the code of the finding that rules it out."""
    first: tuple[str, ...]
    """What to do first: about the cause."""
    then: tuple[str, ...]
    """What to do about the symptom, should it stay when the cause is over."""
    over_when: tuple[Remark, ...]
    """How to see that it is over, the cause first."""

    @property
    def cause(self) -> Finding:
        """What explains the rest."""
        return self.chain[0].finding

    @property
    def symptom(self) -> Finding:
        """What suffers."""
        return self.chain[-1].finding

    @property
    def severity(self) -> Severity:
        """The worst of the chain."""
        return max(step.finding.severity for step in self.chain)

    @property
    def has_begun(self) -> bool:
        """Somebody suffers already."""
        return any(step.finding.stage is Stage.ACTIVE for step in self.chain)


def tell(findings: Iterable[Finding], about: str) -> Story:
    """The story of the finding with this id. Raises KeyError if there is none."""
    by_id = {finding.id: finding for finding in findings}
    asked = by_id[about]
    effects: dict[str, list[Finding]] = {}
    for finding in by_id.values():
        for cause in finding.caused_by:
            effects.setdefault(cause, []).append(finding)
    causes = {key: [by_id[cause] for cause in finding.caused_by if cause in by_id] for key, finding in by_id.items()}
    up = _walk(asked, causes)
    spine = [*reversed(up), asked, *_walk(asked, effects, without=up)]
    evidence, left_out = _evidence(spine)
    told = {each.id for each in spine}
    return Story(
        asked=asked,
        chain=tuple(Step(each, shared(spine[number - 1], each) if number else ()) for number, each in enumerate(spine)),
        also_causes=_reach(spine, causes, told),
        also_effects=_reach(spine, effects, told),
        evidence=evidence,
        more_evidence=left_out,
        ruled_out=tuple((each.code, other) for each in spine for other in each.ruled_out),
        first=spine[0].remediation,
        then=spine[-1].remediation if len(spine) > 1 else (),
        over_when=tuple(Remark(each.code, each.clears_when) for each in spine if each.clears_when),
    )


def _walk(start: Finding, ways: Mapping[str, list[Finding]], without: Iterable[Finding] = ()) -> list[Finding]:
    """From finding to finding, each time to the one that matters most, to the end."""
    passed = {start.id, *(each.id for each in without)}
    found: list[Finding] = []
    here = start
    while ahead := [each for each in ways.get(here.id, ()) if each.id not in passed]:
        here = min(ahead, key=_weight)
        passed.add(here.id)
        found.append(here)
    return found


def _weight(finding: Finding) -> tuple[bool, int, float, str, str]:
    """What is told first: who suffers, the worst, what began first."""
    return finding.stage is Stage.RISK, -finding.severity, finding.since or float("inf"), finding.code, finding.id


def _reach(spine: list[Finding], ways: Mapping[str, list[Finding]], told: set[str]) -> tuple[Finding, ...]:
    """What is reached from the chain and is not told yet; it is then."""
    ahead, reached = list(spine), []
    while ahead:
        for each in ways.get(ahead.pop().id, ()):
            if each.id not in told:
                told.add(each.id)
                reached.append(each)
                ahead.append(each)
    return tuple(sorted(reached, key=_weight))


def _evidence(spine: list[Finding]) -> tuple[tuple[Evidence, ...], int]:
    """Facts of all, oldest first, each once, and how many are left out. Of each finding the first ones are there."""
    share = max(1, MOST_EVIDENCE // len(spine))
    kept = dict.fromkeys(fact for each in spine for fact in each.evidence[:share])
    every = dict.fromkeys(fact for each in spine for fact in each.evidence)
    for fact in every:
        if len(kept) >= MOST_EVIDENCE:
            break
        kept[fact] = None
    order = {fact: number for number, fact in enumerate(every)}
    return tuple(sorted(kept, key=lambda fact: (fact.at, order[fact]))), len(every) - len(kept)
