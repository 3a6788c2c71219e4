"""Real messages with labels, where the environment names the folder that has them."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from aggregator.messages import UNKNOWN, classify
from tests.aggregator.messages.test_classify import message_of

SHARED = os.environ.get("NODETELL_SHARED", "")
FOLDER = Path(SHARED) / "messages"
needs_messages = pytest.mark.skipif(not SHARED or not FOLDER.is_dir(), reason="NODETELL_SHARED has no messages")


def table(name: str) -> list[dict[str, object]]:
    """The lines of a file there."""
    return [json.loads(line) for line in (FOLDER / name).read_text().splitlines()]


@needs_messages
def test_nine_of_ten_are_right_and_wrong_ones_are_rarer_than_one_in_thirty() -> None:
    outcomes: Counter[str] = Counter()
    for case in table("messages.jsonl"):
        outcome = classify(message_of(case)).outcome
        outcomes["right" if outcome == case["label"] else "unknown" if outcome == UNKNOWN else "wrong"] += 1
    assert outcomes["right"] >= 0.9 * outcomes.total()
    assert outcomes["wrong"] <= outcomes.total() / 30


@needs_messages
def test_what_is_no_fault_gets_no_cause() -> None:
    for case in table("not_a_fault.jsonl"):
        assert not classify(message_of(case)).label, case
