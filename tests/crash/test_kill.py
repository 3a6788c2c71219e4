"""The short form of tests/crash/harness.py; `make crash` is the long one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.crash.harness import LostError, killed_again_and_again


@pytest.mark.timeout(180)
def test_nothing_acknowledged_is_lost_by_kill_9_under_load(tmp_path: Path) -> None:
    outcome = asyncio.run(killed_again_and_again(tmp_path, kills=8, agents=5, seed=7))
    assert outcome.kills == 8
    assert outcome.acknowledged > 40
    assert outcome.transitions
    assert outcome.resumed


FORGETFUL = """
put = journal.Journal.put
def hasty(self, entry):
    put(self, entry)
    entry.done("")
journal.Journal.put, journal.REST_S = hasty, 2.0
"""


@pytest.mark.timeout(180)
def test_an_aggregator_that_acknowledges_before_it_stores_is_found_out(tmp_path: Path) -> None:
    with pytest.raises(LostError, match="is on disk; acknowledged was"):
        asyncio.run(killed_again_and_again(tmp_path, kills=3, agents=3, seed=7, sabotage=FORGETFUL))
