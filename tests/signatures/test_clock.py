"""Clocks as measured over the stream, beside what the kernel says of them."""

from __future__ import annotations

import pytest
from nodetell.v1 import agent_pb2
from nodetell.v1 import facts_pb2 as pb

from aggregator.cluster.state import ClusterState
from aggregator.model import Evidence, Finding, Severity, Stage, finding_id
from aggregator.node_state import ClockOffset, NodeState
from aggregator.signatures import clock
from aggregator.signatures.clock import CLOCK_SKEW, evaluate, skew_of, suffered, wrong_clock
from aggregator.signatures.thresholds import Thresholds
from aggregator.view import ClusterView

AT = 1_800_000_000.0
LIMITS = Thresholds()
SURE = "(measured to within 0.1 s)"


def host(
    name: str = "n1",
    *,
    measured: float | None = None,
    bound: float = 0.001,
    kernel: float | None = None,
    synchronized: bool | None = None,
    from_most: bool = False,
) -> NodeState:
    state = NodeState(name)
    update = agent_pb2.Update(at_unix_ms=round(AT * 1000), full=True)
    if synchronized is not None:
        clock = pb.Clock(synchronized=synchronized)
        if kernel is not None:
            clock.offset_us = round(kernel * 1e6)
        update.items.append(pb.Item(key="clock", clock=clock))
    state.apply(update)
    if measured is not None:
        state.clock_offset = ClockOffset(measured, bound, AT - 7, from_most=from_most)
    return state


def findings(*hosts: NodeState) -> list[Finding]:
    return evaluate(ClusterView("c", {each.name: each for each in hosts}, now=AT), LIMITS).findings


@pytest.mark.parametrize(
    ("state", "clause"),
    [
        (host(measured=12.5), "is 12 s fast beside the aggregator's (measured to within 0.1 s)"),
        (
            host(measured=-47.9, bound=0.31, synchronized=True, kernel=0.001),
            "is 48 s slow beside the aggregator's (measured to within 0.4 s); its kernel calls it synchronized",
        ),
        (
            host(measured=47.9, synchronized=False),
            "is 48 s fast beside the aggregator's (measured to within 0.1 s); its kernel calls it not synchronized",
        ),
        (
            host(measured=47.9, synchronized=False, kernel=46.0, from_most=True),
            f"is 48 s fast beside what most nodes show {SURE}, 46 s fast by its kernel's own estimate",
        ),
        (
            host(measured=0.15, bound=0.1, synchronized=False, kernel=-46.0),
            f"is 46 s slow by its kernel's own estimate, and right to within 0.3 s beside the aggregator's {SURE}",
        ),
        (
            host(measured=-1234.5, bound=1.0, synchronized=True, kernel=5.0),
            "is 1,234 s slow beside the aggregator's (measured to within 1.0 s); its kernel calls it synchronized",
        ),
        (host(synchronized=False, kernel=5.000003), "is 5 s fast by its kernel's own estimate"),
    ],
)
def test_both_sources_are_told(state: NodeState, clause: str) -> None:
    skew = skew_of("n1", state, LIMITS)
    assert skew is not None
    assert skew.clause == clause
    assert wrong_clock(state, LIMITS) == clause
    (finding,) = findings(state)
    harm = "tokens and certificates are refused as not yet valid or out of date"
    assert finding.summary == f"the clock of n1 {clause}: {harm}."
    assert (finding.code, finding.stage, finding.severity) == (CLOCK_SKEW, Stage.RISK, Severity.WARNING)
    assert finding.nodes == ("n1",)


@pytest.mark.parametrize(
    "state",
    [
        host(),
        host(measured=5.0, bound=0.0),
        host(measured=5.9, bound=0.9),
        host(measured=-5.9, bound=0.9),
        host(synchronized=False),
        host(synchronized=False, kernel=5.0),
        host(synchronized=True, kernel=-5.0, measured=0.1),
    ],
)
def test_what_is_not_certain_is_no_finding(state: NodeState) -> None:
    assert skew_of("n1", state, LIMITS) is None
    assert not findings(state)


def test_more_than_the_bound_beyond_the_threshold_is_one() -> None:
    assert findings(host(measured=5.91, bound=0.9))
    assert findings(host(measured=-5.91, bound=0.9))
    assert findings(host(synchronized=True, kernel=-5.01))
    (small,) = evaluate(ClusterView("c", {"n1": host(measured=0.9)}, now=AT), Thresholds(clock_offset_s=0.5)).findings
    assert "is 1 s fast" in small.summary


def test_evidence_names_each_source() -> None:
    (finding,) = findings(host(measured=12.49, synchronized=True, kernel=0.26))
    assert finding.evidence == (
        Evidence("n1", "clock.measured", "n1", 12.5, "s", "agent stream", AT - 7),
        Evidence("n1", "clock.offset", "n1", 0.3, "s", "adjtimex", AT),
    )


@pytest.mark.parametrize(
    ("state", "wrong"),
    [
        (None, ""),
        (host(), ""),
        (host(synchronized=True), ""),
        (host(synchronized=False), "is not synchronized"),
        (host(synchronized=False, kernel=0.2), "is not synchronized"),
        (host(synchronized=False, measured=4.0, bound=1.0), ""),
        (host(synchronized=False, measured=-4.0, bound=1.0), ""),
        (host(synchronized=False, measured=4.5, bound=1.0), "is not synchronized"),
    ],
)
def test_a_clock_that_was_measured_and_is_right_need_not_be_disciplined(state: NodeState | None, wrong: str) -> None:
    assert wrong_clock(state, LIMITS) == wrong


def test_clocks_that_are_most_of_all_and_wrong_alike_are_one_finding() -> None:
    odd = [host(f"n{number}", measured=60 + number / 10) for number in range(4)]
    alone = host("x", measured=-300.0)
    right = [host(f"r{number}", measured=0.0) for number in range(2)]
    single, together = sorted(findings(*odd, alone, *right), key=lambda each: len(each.nodes))
    assert single.nodes == ("x",)
    assert together.nodes == ("n0", "n1", "n2", "n3")
    assert "the clocks of 4 of 7 nodes are off alike: that of n0 is 60 s fast" in together.summary
    assert len(findings(*odd, alone, *right, host("r9", measured=0.0))) == 5
    assert len(findings(*odd[:2])) == 2
    assert len(findings(*odd[:3])) == 1
    (edge,) = findings(host("a", measured=60.0), host("b", measured=60.0), host("c", measured=65.0))
    assert edge.id == finding_id(CLOCK_SKEW, "c", "most nodes")
    (alone_id,) = [each.id for each in findings(alone)]
    assert alone_id == finding_id(CLOCK_SKEW, "c", "x")


def finding(code: str, stage: Stage, *, caused_by: tuple[str, ...] = ()) -> Finding:
    return Finding(f"id-{code}", code, "i", stage, Severity.INFO, "s", (), (), "c", caused_by=caused_by)


def test_a_clock_that_somebody_suffers_from_is_a_risk_no_more() -> None:
    clock, other = finding(CLOCK_SKEW, Stage.RISK), finding("a.b", Stage.RISK)
    suffers = finding("crash.identity", Stage.ACTIVE, caused_by=(clock.id, other.id))
    first, second, third = suffered([clock, other, suffers])
    assert (first.stage, first.severity) == (Stage.ACTIVE, Severity.WARNING)
    assert (second, third) == (other, suffers)
    fears = finding("crash.identity", Stage.RISK, caused_by=(clock.id,))
    assert suffered([clock, fears]) == [clock, fears]
    assert suffered([clock]) == [clock]


def test_what_is_kept_of_hosts_is_what_each_says_now() -> None:
    hosts = {
        each.name: each for each in (host("a", measured=60.0), host("b"), host("c", synchronized=True, kernel=9.0))
    }
    view = ClusterView("c", hosts, now=AT)

    def wrong(thresholds: Thresholds = LIMITS) -> list[str]:
        again = ClusterView("c", hosts, view.objects, AT)
        return [node for each in evaluate(again, thresholds).findings for node in each.nodes]

    assert sorted(wrong()) == ["a", "c"]
    hosts["b"].clock_offset = ClockOffset(-30.0, 0.1, AT)
    hosts["b"].revision += 1
    hosts["a"].clock_offset = None
    hosts["a"].revision += 1
    assert sorted(wrong()) == ["b", "c"]
    assert wrong(Thresholds(clock_offset_s=20.0)) == ["b"]
    assert sorted(wrong()) == ["b", "c"]
    del hosts["c"]
    assert wrong() == ["b"]


def test_a_host_of_which_nothing_is_new_is_not_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []

    def counted(name: str, state: NodeState, limits: Thresholds) -> clock.Skew | None:
        looked.append(name)
        return skew_of(name, state, limits)

    monkeypatch.setattr(clock, "skew_of", counted)
    hosts = {each.name: each for each in (host("a", measured=60.0), host("b"))}
    objects = ClusterState()
    for expected in (["a", "b"], [], ["b"]):
        if expected == ["b"]:
            hosts["b"].revision += 1
        assert [each.nodes for each in evaluate(ClusterView("c", hosts, objects, AT), LIMITS).findings] == [("a",)]
        assert looked == expected
        looked.clear()
