"""The benchmark of one evaluation, in the small: it measures what it says, of a cluster without a fault."""

from __future__ import annotations

from typing import Any

import pytest

from aggregator import engine
from bench import evaluation


@pytest.fixture(scope="module")
def result() -> dict[str, Any]:
    return evaluation.measure(20, 600, rounds=1)


def test_every_signature_is_measured_after_every_change(result: dict[str, Any]) -> None:
    assert (result["nodes"], result["pods"]) == (20, 600)
    for what, spent in result["ms"].items():
        assert {name for name, _ in engine.SIGNATURES} < set(spent), what
        assert spent["all signatures"] >= max(spent[name] for name, _ in engine.SIGNATURES)


def test_the_cluster_is_such_that_nothing_is_wrong_with_it(result: dict[str, Any]) -> None:
    """What is measured is the usual case; what would be lost with a node or a zone is no fault."""
    assert set(result["findings"]) <= {"storage.stranded_on_loss", "sched.headroom_low"}


def test_a_change_is_one_that_is_seen() -> None:
    cluster = evaluation.Cluster(3, 90)
    before, pod = cluster.hosts[0].state.revision, next(iter(cluster.objects.pods.values()))
    cluster.one_host()
    assert cluster.hosts[0].state.revision > before
    assert not list(cluster.hosts[0].state.faults(60.0))
    cluster.one_hosts_drops()
    assert list(cluster.hosts[0].state.faults(60.0)) == [("link/3", "tx_dropped")]
    cluster.one_pod()
    assert cluster.objects.pods[pod.key] != pod


def test_the_report_says_what_is_met_and_what_is_not(result: dict[str, Any]) -> None:
    text = evaluation.report(
        result | {"ms": result["ms"] | {"one pod": result["ms"]["one pod"] | {"all signatures": 21}}}
    )
    verdicts = {
        line.partition(",")[0]: line.rpartition(": ")[2] for line in text.splitlines() if line.endswith(("met", "MET"))
    }
    assert verdicts.pop("what-ifs") == "met"
    assert verdicts == {"cold": "met", "all hosts changed": "met", "one host": "met", "one pod": "NOT MET"}
