"""Signatures behind their fence: one that fails, and two that collide."""

from __future__ import annotations

import pytest

from aggregator import engine
from aggregator.cluster.objects import NodeObject
from aggregator.engine import SIGNATURES, Signature, evaluate, judge
from aggregator.model import Finding, Gap, Severity, Stage, Verdict
from aggregator.node_state import NodeState
from aggregator.signatures.thresholds import Thresholds
from aggregator.view import ClusterView

VIEW, THRESHOLDS = ClusterView("c", {}), Thresholds()


def finding(key: str, severity: Severity = Severity.WARNING, caused_by: tuple[str, ...] = ()) -> Finding:
    return Finding(key, "x.y", "node", Stage.RISK, severity, key, ("a",), (), "never", caused_by=caused_by)


def making(*findings: Finding, gap: Gap | None = None) -> Signature:
    return lambda _view, _thresholds: Verdict(list(findings), [gap] if gap else [])


def failing(_view: ClusterView, _thresholds: Thresholds) -> Verdict:
    raise KeyError("a\nkey")


def test_one_that_fails_becomes_a_gap_and_the_others_are_heard() -> None:
    gap = Gap("a", "links", "missing", "denied")
    judgement = judge(VIEW, THRESHOLDS, (("one", making(finding("f"), gap=gap)), ("two", failing)))
    assert [each.id for each in judgement.verdict.findings] == ["f"]
    assert judgement.origins == {"f": "one"}
    assert list(judgement.failed) == ["two"]
    assert judgement.verdict.gaps[0] == gap
    assert judgement.verdict.gaps[1].signal == "diagnosis/two"
    assert judgement.verdict.gaps[1].because.startswith(
        r"signature two could not be evaluated at all: KeyError: 'a\nkey' (test_"
    )


def test_hosts_that_make_one_fail_are_left_out_and_it_is_heard_about_the_rest() -> None:
    def picky(view: ClusterView, _thresholds: Thresholds) -> Verdict:
        if "bad" in view.hosts:
            raise ValueError("no")
        return Verdict([finding(name) for name in view.hosts])

    view = ClusterView("c", {name: NodeState(name) for name in ("a", "bad", "b")})
    judgement = judge(view, THRESHOLDS, (("picky", picky),))
    assert [each.id for each in judgement.verdict.findings] == ["a", "b"]
    assert judgement.failed == {}
    assert [(gap.node, gap.signal) for gap in judgement.verdict.gaps] == [("bad", "diagnosis/picky")]
    assert judgement.unjudged("picky", ["a", "b"]) == ""
    assert judgement.unjudged("picky", ["a", "bad"]).startswith(
        "bad: signature picky could not be evaluated: ValueError"
    )


def test_one_that_fails_over_several_hosts_together_fails_as_a_whole() -> None:
    def fussy(view: ClusterView, _thresholds: Thresholds) -> Verdict:
        if len(view.hosts) > 1:
            raise ValueError("too many")
        return Verdict()

    judgement = judge(ClusterView("c", {n: NodeState(n) for n in "ab"}), THRESHOLDS, (("fussy", fussy),))
    assert list(judgement.failed) == ["fussy"]
    assert judgement.left_out == {}


def counting(bad: set[str], calls: list[int]) -> Signature:
    def signature(view: ClusterView, _thresholds: Thresholds) -> Verdict:
        calls.append(len(view.hosts))
        if bad & set(view.hosts):
            raise ValueError("no")
        return Verdict([finding(name) for name in view.hosts])

    return signature


def test_a_few_bad_hosts_among_thousands_are_found_in_a_few_dozen_evaluations() -> None:
    view = ClusterView("c", {f"n{i}": NodeState(f"n{i}") for i in range(5_000)})
    calls: list[int] = []
    judgement = judge(view, THRESHOLDS, (("picky", counting({"n17", "n4999"}, calls)),), most_findings=10_000)
    assert sorted(judgement.left_out["picky"]) == ["n17", "n4999"]
    assert len(judgement.verdict.findings) == 4_998
    assert len(calls) < 60


def test_one_that_every_host_makes_fail_is_given_up_soon() -> None:
    view = ClusterView("c", {f"n{i}": NodeState(f"n{i}") for i in range(5_000)})
    calls: list[int] = []
    judgement = judge(view, THRESHOLDS, (("broken", counting(set(view.hosts), calls)),))
    assert list(judgement.failed) == ["broken"]
    assert len(calls) < 210


def test_where_no_host_is_to_blame_none_is_tried() -> None:
    calls: list[int] = []

    def by_objects(view: ClusterView, _thresholds: Thresholds) -> Verdict:
        calls.append(len(view.hosts))
        raise KeyError("an object")

    view = ClusterView("c", {f"n{i}": NodeState(f"n{i}") for i in range(5_000)})
    judgement = judge(view, THRESHOLDS, (("blind", by_objects),))
    assert list(judgement.failed) == ["blind"]
    assert calls == [5_000, 0]


def test_two_findings_of_one_id_are_told_of_and_the_worse_one_stands() -> None:
    mild, bad = finding("f", Severity.INFO), finding("f", Severity.CRITICAL)
    for order in ((mild, bad), (bad, mild)):
        judgement = judge(VIEW, THRESHOLDS, (("one", making(order[0])), ("two", making(order[1]))))
        assert judgement.verdict.findings == [bad]
        assert judgement.origins == {"f": "one" if order[0] is bad else "two"}
        assert [gap.because for gap in judgement.verdict.gaps] == [
            "two findings share the id f (from one and two); one is shown"
        ]


def test_findings_of_all_signatures_come_in_report_order() -> None:
    late = finding("a", Severity.CRITICAL, caused_by=("z",))
    judgement = judge(VIEW, THRESHOLDS, (("one", making(late, finding("b"))), ("two", making(finding("z")))))
    assert [each.id for each in judgement.verdict.findings] == ["z", "a", "b"]


def test_the_registry_says_nothing_of_nothing() -> None:
    assert evaluate(VIEW, THRESHOLDS).findings == []
    names = [name for name, _ in SIGNATURES]
    assert len(set(names)) == len(names)


def test_what_cannot_be_prepared_is_told_when_it_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    prepared: list[str] = []

    def fails(_state: NodeState, _node: NodeObject | None) -> None:
        raise KeyError("no")

    def notes(state: NodeState, _node: NodeObject | None) -> None:
        prepared.append(state.name)

    monkeypatch.setattr(engine, "PREPARATIONS", (fails, notes))
    engine.prepare(NodeState("a"), None)
    assert prepared == ["a"]
