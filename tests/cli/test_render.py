"""What operators read: reports and host pages, wide and narrow, against small golden files."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
from nodetell.v1 import operator_pb2

from aggregator.findings import Record
from aggregator.histogram import quantile
from aggregator.model import Evidence, Severity, report_order
from cli.facts import HostFacts
from cli.listing import usual
from cli.node_text import node_text
from cli.nodes_table import columns, nodes_text
from cli.render import event_text, report_text
from cli.report import Report, diagnosis_json, live_json
from cli.terminal import Look
from tests.cli import samples

Golden = Callable[[str, str], None]


@pytest.mark.parametrize("width", [100, 40])
def test_a_report(golden: Golden, width: int) -> None:
    golden(f"report-{width}.txt", report_text(samples.report(), Look(width)))


def test_a_verbose_report_has_the_facts_of_consequences_too(golden: Golden) -> None:
    golden("report-verbose.txt", report_text(samples.report(), Look(100), verbose=True))


def test_a_report_in_colour_says_the_same() -> None:
    text = report_text(samples.report(), Look(100, colour=True))
    assert "\x1b[1;33mWARNING\x1b[0m" in text
    assert re.sub(r"\x1b\[[0-9;]*m", "", text) == report_text(samples.report(), Look(100))


@pytest.mark.parametrize("width", [100, 40])
def test_a_host(golden: Golden, width: int) -> None:
    golden(f"host-{width}.txt", node_text(HostFacts(samples.host()), Look(width)))


def test_what_a_host_says_cannot_steer_the_terminal() -> None:
    for text in (node_text(HostFacts(samples.host()), Look(100)), report_text(samples.report(), Look(100))):
        assert text.replace("\n", "").isprintable()


def test_nodes(golden: Golden) -> None:
    known = [samples.host().summary, operator_pb2.NodeSummary(node="node-b", heard_at_unix_ms=round(samples.AT * 1000))]
    golden("nodes.txt", nodes_text(known, usual(columns(samples.AT + 75)), Look(100)))
    assert nodes_text([], usual(columns(samples.AT)), Look(100)) == "no agent has reported yet"


def test_what_was_merged_in_an_absence_is_said_below_the_nodes() -> None:
    away = [operator_pb2.NodeSummary(node=f"n{number}", dropped_samples=number * 600) for number in range(3)]
    assert nodes_text(away, usual(columns(samples.AT)), Look(100)).endswith(
        "\n\n1,800 samples of 2 nodes could not be told in time and were merged into coarser ones"
    )
    assert (
        nodes_text(away[:2], usual(columns(samples.AT)), Look(100))
        .splitlines()[-1]
        .startswith("600 samples of n1 could")
    )
    assert "samples" not in nodes_text(away[:1], usual(columns(samples.AT)), Look(100))


def test_no_findings() -> None:
    assert report_text(Report("c", samples.AT), Look(100)) == "cluster c, 2026-11-22T10:01:00Z: no findings"
    assert Report("c", samples.AT).status == 0


def test_the_exit_status_is_the_worst_of_what_stands() -> None:
    assert samples.report().status == 2
    warning = Record(samples.finding("x"), "", 0, 0)
    over = Record(samples.finding("y", Severity.CRITICAL), "", 0, 0, resolved=1.0)
    assert Report("", 1.0, [warning, over]).status == 1
    assert Report("", 1.0, [over]).status == 0


def test_findings_that_name_each_other_are_all_shown() -> None:
    ring = [
        samples.finding(name, caused_by=(cause,)) for name, cause in (("a", "c"), ("b", "a"), ("c", "b"), ("d", "gone"))
    ]
    ring.append(samples.finding("self", caused_by=("self",)))
    text = report_text(Report("", 1.0, [Record(each, "", 0, 0) for each in report_order(ring)]), Look(100))
    for each in ring:
        assert text.count(f"The summary of {each.id}.") == 1


def test_many_facts_are_folded_unless_asked_for() -> None:
    facts = tuple(Evidence(f"n{i}", "s", "x", i, "", "src", samples.AT) for i in range(100))
    many = Report("", 1.0, [Record(samples.finding("a", evidence=facts), "", 0, 0)])
    assert "and 76 more facts: --verbose shows them" in report_text(many, Look(100))
    assert "n99" in report_text(many, Look(100), verbose=True)


@pytest.mark.parametrize("kind", ["appeared", "changed", "resolved"])
def test_events(golden: Golden, kind: str) -> None:
    golden(f"event-{kind}.txt", event_text(kind, samples.AT, samples.report().records[0], Look(100)))


def test_the_json_of_a_diagnosis_is_the_contract_exactly() -> None:
    document = json.loads(json.dumps(diagnosis_json(samples.report())))
    assert list(document) == ["cluster", "at", "findings", "coverage"]
    first = document["findings"][0]
    assert set(first) == {
        "id", "code", "incident", "stage", "severity", "summary", "nodes", "objects", "evidence", "ruled_out",
        "caused_by", "remediation",
    }  # fmt: skip
    assert set(first["evidence"][0]) == {"node", "signal", "subject", "value", "unit", "source", "at"}
    assert set(document["coverage"][0]) == {"node", "signal", "status", "because"}
    assert document["at"] == "2026-11-22T10:01:00Z"
    assert first["evidence"][1]["at"] == "2026-11-22T10:00:58.500Z"


def test_the_json_of_a_live_aggregator_says_how_long_and_until_when() -> None:
    document = live_json(samples.report())
    assert document["findings"][0]["clears_when"] == "it is over"
    assert document["findings"][3]["resolved"] == "2026-11-22T09:59:30Z"


def test_a_host_as_json() -> None:
    document = json.loads(json.dumps(HostFacts(samples.host()).as_json()))
    assert document["node"] == "node-a"
    assert document["facts_at"] == "2026-11-22T10:01:00Z"
    by_key = {item["key"]: item for item in document["items"]}
    assert by_key["link/3"]["tunnel"]["underlay_source"] == "link"
    assert by_key["link/2"]["operstate"] == "up"
    assert "tunnel" not in by_key["link/2"]
    assert by_key["coverage/kubelet"]["status"] == "degraded"
    assert document["counters"]["link/3"]["tx_dropped"] == 20
    assert document["changes"]["link/3"]["tx_dropped"] == {"increment": 20, "over_s": 60.0}


@pytest.mark.parametrize(
    ("counts", "share", "expected"),
    [
        ([0, 100, 0, 0], 0.5, 1500.0),
        ([10, 10, 0, 0], 0.5, 1000.0),
        ([0, 0, 0, 20], 0.99, 4000.0),
        ([19, 0, 0, 0], 0.5, None),
        ([20, 0], 0.5, None),
    ],
)
def test_quantiles(counts: list[int], share: float, expected: float | None) -> None:
    assert quantile([1000, 2000, 4000], counts, share) == expected
