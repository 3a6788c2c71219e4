"""Clocks that are wrong: positive, near miss and recovery."""

from __future__ import annotations

import pytest

from aggregator.signatures.clock import CODES
from tests.lab.cluster import Lab
from tests.lab.scenario import Scenario, Want, judge, lacking, of_module, scenario


def cluster(nodes: int = 2) -> Lab:
    lab = Lab("clock")
    for number in range(1, nodes + 1):
        lab.node(f"n{number}")
        lab.host(f"n{number}")
    return lab


@scenario
def node_clock_skew__positive() -> Scenario:
    lab = cluster()
    lab.host("n1").file("clock.json", '{"synchronized": false, "offset_seconds": 12.5}')
    return Scenario(
        lab, why="nobody suffers yet", expect=[Want("node.clock_skew", nodes=["n1"], stage="risk", says=["fast"])]
    )


@scenario
def node_clock_skew__near_miss() -> Scenario:
    lab = cluster()
    lab.host("n1").file("clock.json", '{"synchronized": false, "offset_seconds": 0.2}')
    return Scenario(lab, why="nobody disciplines it, and it is right", forbid=["node.clock_skew"])


@scenario
def node_clock_skew__recovery() -> Scenario:
    lab = cluster()
    lab.host("n1").file("clock.json", '{"synchronized": false, "offset_seconds": 12.5}')
    lab.tick(60)
    lab.host("n1").file("clock.json", '{"synchronized": true, "offset_seconds": 0.01}')
    return Scenario(lab, why="chrony stepped it", at_each=[["node.clock_skew"], []], watched=["node.clock_skew"])


SCENARIOS = of_module(__name__)


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(name: str) -> None:
    judge(SCENARIOS[name](), by_word=True)


def test_each_code_has_all_three() -> None:
    assert not lacking(CODES, SCENARIOS)
