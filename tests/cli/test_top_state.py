"""What the live view knows and shows, without a terminal: events, order, one frame as text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nodetell.v1 import operator_pb2

from aggregator.convert import gap_to_message, record_to_message
from aggregator.findings import Record
from aggregator.model import Severity
from cli.terminal import Look
from cli.top.frame import frame
from cli.top.rows import ALIKE, Order, finding_lines, head_lines, node_rows, node_style, worst_of
from cli.top.state import Event, Seen
from tests.cli import samples
from tests.cli.test_listing import known_nodes

Golden = Callable[[str, str], None]


def record(name: str, severity: Severity = Severity.WARNING, **more: object) -> Record:
    return Record(samples.finding(name, severity, **more), "", samples.AT - 60, samples.AT)


def event(kind: int, of: Record | None = None) -> Event:
    made = Event(kind=kind, at_unix_ms=round(samples.AT * 1000))  # type: ignore[arg-type]  # the enum's numbers
    if of is not None:
        made.finding.CopyFrom(record_to_message(of))
    return made


def seen_of(*standing: Record, nodes: list[operator_pb2.NodeSummary] | None = None) -> Seen:
    seen = Seen("aggregator:7443", nodes=nodes or [])
    seen.standing = {each.finding.id: each for each in standing}
    return seen


def full() -> Seen:
    """The samples, as an aggregator tells them whose clock is 10 s ahead of this host's."""
    report = samples.report()
    seen = Seen("aggregator:7443")
    at = round((samples.AT + 10) * 1000)
    answer = operator_pb2.ListNodesResponse(nodes=known_nodes(), aggregator_version="1.0", at_unix_ms=at)
    seen.take_nodes(answer, samples.AT)
    findings = operator_pb2.ListFindingsResponse(
        findings=[record_to_message(each) for each in report.records],
        coverage=[gap_to_message(gap) for gap in report.gaps],
    )
    seen.take_findings(findings, standing=True)
    return seen


# -- bookkeeping -------------------------------------------------------------------------------------------------------


def test_what_stands_is_swapped_whole_when_it_was_told_anew() -> None:
    seen = seen_of(record("old"), record("kept"))
    seen.lose(samples.AT, "gone")
    seen.begin()
    seen.take(event(Event.KIND_STANDING, record("kept")))
    assert set(seen.standing) == {"old", "kept"}  # until all is told, nothing vanishes from the screen
    seen.take(event(Event.KIND_SYNCED))
    assert set(seen.standing) == {"kept"}
    assert seen.lost is None


def test_what_resolves_moves_to_what_is_over_and_back() -> None:
    seen = seen_of(record("a"))
    over = replace(record("a"), resolved=samples.AT, because="cleared")
    seen.take(event(Event.KIND_RESOLVED, over))
    assert (list(seen.standing), [each.finding.id for each in seen.over(samples.AT + 60)]) == ([], ["a"])
    assert seen.over(samples.AT + 3_700) == []
    seen.take(event(Event.KIND_APPEARED, record("a")))
    assert list(seen.standing) == ["a"]
    assert seen.over(samples.AT + 60) == []  # it stands again: once on the screen is enough


EVENTS = st.lists(
    st.tuples(
        st.sampled_from([Event.KIND_STANDING, Event.KIND_APPEARED, Event.KIND_CHANGED, Event.KIND_RESOLVED]),
        st.sampled_from("abcd"),
    ),
    max_size=12,
)


@settings(max_examples=80, deadline=None)
@given(EVENTS, EVENTS)
def test_after_any_events_and_a_loss_what_stands_is_what_was_told_last(
    before: list[tuple[int, str]], after: list[tuple[int, str]]
) -> None:
    seen = Seen("x")
    for told in (before, after):
        seen.begin()
        expected: set[str] = set()
        for kind, name in told:
            over = kind == Event.KIND_RESOLVED
            seen.take(event(kind, replace(record(name), resolved=samples.AT) if over else record(name)))
            expected = expected - {name} if over else expected | {name}
        seen.take(event(Event.KIND_SYNCED))
        assert set(seen.standing) == expected
        ids = [each.finding.id for each in seen.resolved]
        assert len(ids) == len(set(ids))
        seen.lose(samples.AT, "gone")


def test_a_loss_is_told_with_its_first_moment_and_nothing_ages_meanwhile() -> None:
    seen = full()
    seen.lose(samples.AT + 5, "Connection refused")
    seen.lose(samples.AT + 65, "no answer in time")
    first, _ = head_lines(seen, samples.AT + 125)
    assert first.text == "connection lost since 10:01:05 UTC (2 min): no answer in time; trying again"
    assert seen.now(samples.AT + 500) == samples.AT + 15


# -- order -------------------------------------------------------------------------------------------------------------


def test_of_many_alike_consequences_the_first_are_shown_and_the_others_counted() -> None:
    root = record("root")
    effects = [record(f"effect-{n:02}", code="pod.stuck", caused_by=("root",)) for n in range(ALIKE + 4)]
    seen = seen_of(root, *effects)
    folded = finding_lines(seen, samples.AT)
    assert len(folded) == 1 + ALIKE + 1
    assert folded[-1].text.endswith("and 4 more pod.stuck")
    whole = finding_lines(seen, samples.AT, folded=False)
    assert {line.id for line in whole} == {"root", *(each.finding.id for each in effects)}


def test_nodes_come_with_the_worst_first() -> None:
    seen = full()
    seen.standing["x"] = record("x", Severity.CRITICAL, nodes=("node-c",))
    assert [node.node for node in node_rows(seen, Order(), samples.AT)] == ["node-a", "node-c", "node-b"]
    worst = worst_of(seen.standing)
    assert [node_style(node, worst) for node in node_rows(seen, Order(), samples.AT)] == ["critical"] * 2 + ["warning"]


@pytest.mark.parametrize(("text", "found"), [("", "abc"), ("NODE-B", "b"), ("west", "c"), ("zz", "")])
def test_a_filter_takes_name_or_zone(text: str, found: str) -> None:
    rows = node_rows(full(), Order("NODE", text=text), samples.AT)
    assert "".join(node.node[-1] for node in rows) == found


def test_what_a_host_says_cannot_steer_the_terminal() -> None:
    evil = "\x1b]0;x\x07\x1b[2J\nnext"
    seen = seen_of(
        record("a", summary=evil, nodes=(evil,)), nodes=[operator_pb2.NodeSummary(node=evil, zone=evil, connected=True)]
    )
    seen.lose(samples.AT, evil)
    assert frame(seen, Order(), samples.AT, Look(80)).replace("\n", "").isprintable()


@pytest.mark.parametrize("width", [80, 120])
def test_a_frame(golden: Golden, width: int) -> None:
    golden(f"top-{width}.txt", frame(full(), Order(), samples.AT, Look(width)))


def test_a_frame_of_nothing() -> None:
    text = frame(Seen("aggregator:7443"), Order(), samples.AT, Look(80))
    assert "no findings" in text
    assert "no agent has reported yet" in text
    assert "coverage: nothing is lacking" in text
