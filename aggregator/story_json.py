"""An incident told as one story, as JSON: for the command and for the HTTP API alike."""

from __future__ import annotations

from typing import Any

from aggregator.convert import finding_to_json
from aggregator.model import Stage
from aggregator.story import Story


def story_json(story: Story) -> dict[str, Any]:
    """The story as one object; its findings as the diagnosis has them."""
    return {
        "asked": story.asked.id,
        "severity": story.severity.word,
        "stage": (Stage.ACTIVE if story.has_begun else Stage.RISK).value,
        "symptom": story.symptom.id,
        "cause": story.cause.id,
        "chain": [{"finding": finding_to_json(step.finding), "shared": list(step.shared)} for step in story.chain],
        "what_to_do_first": list(story.first),
        "then": list(story.then),
        "over_when": [{"code": each.code, "when": each.text} for each in story.over_when],
        "also_explained_by": [finding.id for finding in story.also_causes],
        "also_causes": [finding.id for finding in story.also_effects],
    }
