"""A finding's page: its story, what to do first at the top, each fact with a chart of its signal where there is one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from aggregator.findings import Record
from aggregator.model import Evidence, Finding, RuledOut
from aggregator.story import Story, tell
from aggregator.web.page.glossary import explained
from aggregator.web.page.models import Badge, Brief, badge_of, brief, worst

CHARTS = 8
"""Charts on one page: each reads the history."""
_NAMED = 30

Chart = Callable[[Finding, Evidence], Awaitable[Markup | None]]
"""Draws the signal of a fact over the time around it; None: there is nothing to draw."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One fact."""

    fact: Evidence
    code: str
    """Of the finding that it is of."""
    heading: Brief | None
    """That finding, before the first fact of it."""
    chart: Markup | None


@dataclass(frozen=True, slots=True)
class Link:
    """One step of the chain."""

    finding: Brief
    shared: tuple[str, ...]
    asked: bool


@dataclass(frozen=True, slots=True)
class FindingPage:
    """What is shown."""

    asked: Brief
    badge: Badge
    """Of the whole chain."""
    cause: Brief
    symptom: Brief
    chain: tuple[Link, ...]
    since: float
    """When the chain began, as far as is known; 0.0: it is not."""
    first: tuple[str, ...]
    then: tuple[str, ...]
    over_when: tuple[tuple[str, str], ...]
    """(code, condition), the cause first."""
    evidence: tuple[Shown, ...]
    more_evidence: int
    ruled_out: tuple[RuledOut, ...]
    also_causes: tuple[Brief, ...]
    also_effects: tuple[Brief, ...]
    objects: tuple[str, ...]
    nodes: tuple[str, ...]
    """Of the whole chain."""
    terms: tuple[tuple[str, str], ...]
    """(word, what it means) of those that are used."""

    @property
    def alone(self) -> bool:
        """Nothing explains it, and it explains nothing."""
        return len(self.chain) == 1


def story_of(standing: Sequence[Record], asked: Record) -> tuple[Story, dict[str, Record]]:
    """The story of a finding, and all records by id. What is over explains nothing that stands, and is explained by
    what stands."""
    known = {record.finding.id: record for record in standing}
    known.setdefault(asked.finding.id, asked)
    return tell((record.finding for record in known.values()), asked.finding.id), known


async def finding_page(standing: Sequence[Record], asked: Record, chart: Chart) -> FindingPage:
    """Of a finding that stands or is over."""
    story, known = story_of(standing, asked)
    chain = [known[step.finding.id] for step in story.chain]
    briefs = {record.finding.id: brief(record) for record in chain}
    times = [each.since for each in briefs.values() if each.since]
    return FindingPage(
        asked=briefs[asked.finding.id],
        badge=worst(chain) if asked.resolved is None else badge_of(asked.finding.severity, asked.finding.stage),
        cause=briefs[story.cause.id],
        symptom=briefs[story.symptom.id],
        chain=tuple(
            Link(briefs[step.finding.id], step.shared, step.finding.id == asked.finding.id) for step in story.chain
        ),
        since=min(times, default=0.0),
        first=story.first,
        then=story.then,
        over_when=tuple((each.code, each.text) for each in story.over_when),
        evidence=await _shown(story, briefs, chart),
        more_evidence=story.more_evidence,
        ruled_out=tuple(dict.fromkeys(other for _, other in story.ruled_out)),
        also_causes=tuple(brief(known[each.id]) for each in story.also_causes[:_NAMED]),
        also_effects=tuple(brief(known[each.id]) for each in story.also_effects[:_NAMED]),
        objects=tuple(dict.fromkeys(name for step in story.chain for name in step.finding.objects)),
        nodes=tuple(dict.fromkeys(name for step in story.chain for name in step.finding.nodes)),
        terms=explained(text for each in briefs.values() for text in (each.title, each.summary)),
    )


async def _shown(story: Story, briefs: Mapping[str, Brief], chart: Chart) -> tuple[Shown, ...]:
    """Facts in the order of the chain, the cause's first; a chart that two facts share stands beside the first."""
    told = set(story.evidence)
    shown: list[Shown] = []
    drawn = set[Markup]()
    for step in story.chain:
        for fact in step.finding.evidence:
            if fact not in told:
                continue
            told.discard(fact)
            picture = await chart(step.finding, fact) if len(drawn) < CHARTS else None
            new = picture if picture is not None and picture not in drawn else None
            drawn |= {new} if new is not None else set()
            heading = briefs[step.finding.id] if not shown or shown[-1].code != step.finding.code else None
            shown.append(Shown(fact, step.finding.code, heading, new))
    return tuple(shown)
