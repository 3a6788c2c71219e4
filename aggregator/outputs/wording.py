"""What is said of a finding where it is told to others: what explains it, what to do first, where to read on.

Whatever is sent is bounded, however many nodes an incident has. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aggregator.convert import record_to_json
from aggregator.findings import Record
from aggregator.model import Finding, Stage
from aggregator.settings import AggregatorSettings, is_loopback
from aggregator.story import tell
from aggregator.wording import some

MOST_NAMES = 50
"""Nodes, objects and facts that are named; more are counted."""
_MOST_CAUSES = 200

Links = Callable[[str], str]
"""The address of a finding's page by its id; empty where there is none."""


@dataclass(frozen=True, slots=True)
class Explained:
    """What a finding is a part of."""

    root: str
    """Id of what explains it in the end; its own where nothing does."""
    cause: str
    """The chain from the cause to the finding in words; empty where nothing explains it."""
    first: tuple[str, ...]
    """What to do first: about the cause."""


def explained(finding: Finding, standing: Mapping[str, Record]) -> Explained:
    """Why it is so, by what else stands."""
    above: dict[str, Finding] = {finding.id: finding}
    ahead = [finding]
    while ahead and len(above) < _MOST_CAUSES:
        for cause in ahead.pop().caused_by:
            if cause in standing and cause not in above:
                above[cause] = standing[cause].finding
                ahead.append(above[cause])
    story = tell(above.values(), finding.id)
    chain = [step.finding for step in story.chain]
    if chain[-1].id != finding.id:  # a cause of it is explained by it: it is told from itself on
        chain = chain[: [each.id for each in chain].index(finding.id) + 1]
    cause = " → ".join(f"{each.code}: {each.summary}" for each in chain[:-1])
    return Explained(chain[0].id, cause, story.first)


def bounded(record: Record) -> dict[str, Any]:
    """The finding as JSON has it everywhere, with its first nodes, objects and facts, and how many there are."""
    found = record_to_json(record)
    totals = {}
    for name in ("nodes", "objects", "evidence", "caused_by"):
        totals[f"{name}_total"] = len(found[name])
        found[name] = found[name][:MOST_NAMES]
    return found | totals


def names(every: tuple[str, ...]) -> str:
    """In one line."""
    return some(every, MOST_NAMES) if every else ""


def stage_words(stage: Stage) -> str:
    """What a stage means to whoever is woken by it."""
    return "somebody suffers from it now" if stage is Stage.ACTIVE else "nobody suffers from it yet"


def links(settings: AggregatorSettings) -> Links:
    """Where findings' pages are, as far as the settings tell."""
    base = _base(settings)
    return lambda finding: f"{base}findings/{finding}" if base else ""


def _base(settings: AggregatorSettings) -> str:
    http = settings.http
    if not http.listen or not http.page:
        return ""
    if http.url:
        return http.url.rstrip("/") + "/"
    host, _, port = http.listen.rpartition(":")
    if port == "0" or host in ("0.0.0.0", "[::]"):
        return ""
    scheme = "http" if settings.insecure and is_loopback(http.listen) else "https"
    return f"{scheme}://{http.listen}/"
