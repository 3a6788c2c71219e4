"""A measured clock as the cause of refused identities: the whole judgement over a cluster."""

from __future__ import annotations

import pytest

from aggregator.engine import judge
from aggregator.model import Finding, Stage
from aggregator.node_state import ClockOffset
from aggregator.signatures.thresholds import Thresholds
from tests.lab.cluster import Lab
from tests.signatures.crash_worlds import OWNER, End, cluster, crashes

SKEW, IDENTITY = "node.clock_skew", "crash.identity"
SYNCHRONIZED = '{"synchronized": true, "offset_seconds": 0.001}'


def found(lab: Lab, **offsets: float) -> dict[str, Finding]:
    """What is said where hosts' clocks were measured so many seconds ahead."""
    view = lab.view()
    for name, offset in offsets.items():
        view.hosts[name].clock_offset = ClockOffset(offset, 0.01, lab.now)
        view.hosts[name].revision += 1
    return {each.code: each for each in judge(view, Thresholds()).verdict.findings}


def world(clock: str) -> Lab:
    lab = cluster(2)
    for name in ("n1", "n2"):
        lab.host(name).file("clock.json", clock)
    lab.pod("shop/web-5d4f7c9b8-good2", node="n2", owner=OWNER)
    crashes(lab, End(1, "oidc: verify token: token used before issued"))
    return lab


@pytest.mark.parametrize("clock", [SYNCHRONIZED, '{"synchronized": false}'])
def test_a_measured_clock_explains_refusals_whatever_the_kernel_calls_it(clock: str) -> None:
    codes = found(world(clock), n1=-47.9, n2=0.001)
    assert codes[SKEW].nodes == ("n1",)
    assert codes[SKEW].stage is Stage.ACTIVE
    assert codes[IDENTITY].caused_by == (codes[SKEW].id,)
    assert "48 s slow beside the aggregator's" in codes[IDENTITY].summary


def test_it_explains_nothing_where_the_same_workload_runs_on_a_clock_as_wrong() -> None:
    codes = found(world(SYNCHRONIZED), n1=-47.9, n2=-47.9)
    assert codes[SKEW].stage is Stage.RISK
    assert not codes[IDENTITY].caused_by


def test_an_undisciplined_clock_that_was_measured_and_is_right_is_no_suspect() -> None:
    undisciplined = world(SYNCHRONIZED)
    undisciplined.host("n1").file("clock.json", '{"synchronized": false}')
    assert "the clock of n1 is not synchronized" in found(undisciplined)[IDENTITY].summary
    codes = found(undisciplined, n1=0.2)
    assert "the clock" not in codes[IDENTITY].summary
    assert SKEW not in codes


def test_measured_clocks_suffice_where_no_kernel_tells() -> None:
    lab = cluster(2)
    lab.pod("shop/web-5d4f7c9b8-good2", node="n2", owner=OWNER)
    for name in ("n1", "n2"):
        lab.host(name).forget("clock.json")
    crashes(lab, End(1, "oidc: verify token: token used before issued"))
    codes = found(lab, n1=30.0, n2=0.0)
    assert codes[IDENTITY].caused_by == (codes[SKEW].id,)
    assert "those where it runs well are right" in codes[IDENTITY].summary
