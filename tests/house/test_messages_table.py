"""docs/messages.md names each cause family that a message can be told to belong to, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from aggregator.messages.families import FAMILIES
from aggregator.messages.scheduling import CODES
from tests.aggregator.messages.rules import all_rules

DOCUMENT = Path(__file__).resolve().parents[2] / "docs/messages.md"
ROW = re.compile(r"^\| `([a-z]+\.[a-z_]+)` \| (.+?) \|$", re.MULTILINE)


def test_the_table_is_the_rule_set() -> None:
    assert dict(ROW.findall(DOCUMENT.read_text())) == FAMILIES


def test_each_rule_tells_a_known_family() -> None:
    told = {code for rule in all_rules() for code in (rule.code, *rule.also) if code} | {*CODES.values()} - {""}
    assert len(all_rules()) > 80
    assert told <= set(FAMILIES)
    # What no rule tells comes from exit codes, or stands beside what the scheduler says.
    assert set(FAMILIES) - told == {"crash.exit_zero", "sched.preemption_none"}
