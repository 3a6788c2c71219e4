"""The evidence of an incident as a table: a line for each fact, the oldest first."""

from __future__ import annotations

from collections.abc import Sequence

from aggregator.model import Evidence
from aggregator.story import Story
from cli.listing import Column
from cli.render import value_text
from cli.report import iso

COLUMNS: Sequence[Column[Evidence]] = (
    Column("AT", "when it was so", lambda fact: iso(fact.at), lambda fact: fact.at),
    Column("NODE", "where; none: of the API server", lambda fact: fact.node),
    Column("SIGNAL", "what was read", lambda fact: fact.signal),
    Column("SUBJECT", "of what", lambda fact: fact.subject),
    Column("VALUE", "with its unit", value_text, right=True),
    Column("SOURCE", "what it was read from", lambda fact: fact.source),
)
"""All columns."""


def evidence(story: Story) -> list[Evidence]:
    """All facts of all findings of its chain, each once."""
    facts = dict.fromkeys(fact for step in story.chain for fact in step.finding.evidence)
    return sorted(facts, key=lambda fact: fact.at)
