"""The life of findings as timelines: what is seen when, and what must be told when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.engine import Judgement
from aggregator.findings import CLEARED, KEPT_RESOLVED, FindingBook, Kind, Presence, Record, material
from aggregator.model import Evidence, Finding, RuledOut, Severity, Stage, Verdict


def waiting(age: int, node: str = "", *more: Evidence) -> Finding:
    """A finding about a pod, as the API server tells it."""
    told = Evidence(node, "pod.pending", "db/pg-0", age, "s", "kube/pods", 0.0)
    return replace(finding(), nodes=(node,) if node else (), objects=("Pod/db/pg-0",), evidence=(told, *more))


def evidence(node: str, value: int, signal: str = "link.mtu", at: float = 0.0) -> Evidence:
    return Evidence(node, signal, "flannel.1", value, "bytes", "rtnetlink", at)


def finding(key: str = "f", *nodes: str, mtu: int = 1500, drops: int = 0, at: float = 0.0) -> Finding:
    nodes = nodes or ("a",)
    return Finding(
        id=key,
        code="mtu.overlay_exceeds_underlay",
        incident="mtu_mismatch",
        stage=Stage.RISK,
        severity=Severity.WARNING,
        summary=f"{mtu} and {drops} drops",
        nodes=nodes,
        evidence=tuple(
            fact
            for node in nodes
            for fact in (evidence(node, mtu, at=at), evidence(node, drops, "counter.delta", at=at))
        ),
        clears_when="it fits",
        ruled_out=(RuledOut("net.nic_errors", f"{drops} errors"),),
    )


@dataclass
class Timeline:
    book: FindingBook = field(default_factory=FindingBook)
    heard: tuple[str, ...] = ("a", "b")

    def at(
        self,
        now: float,
        *found: Finding,
        silent: Mapping[str, str] | None = None,
        failed: Mapping[str, str] | None = None,
        gone: tuple[str, ...] = (),
        unread: Mapping[str, str] | None = MappingProxyType({}),
    ) -> list[tuple[Kind, str]]:
        silent = silent or {}
        judgement = Judgement(Verdict(list(found)), {each.id: "mtu" for each in found}, dict(failed or {}))
        presence = Presence({node for node in self.heard if node not in silent and node not in gone}, silent, unread)
        self.last = self.book.update(judgement, presence, now)
        assert all(transition.at == now for transition in self.last)
        return [(transition.kind, transition.record.finding.id) for transition in self.last]

    @property
    def record(self) -> Record:
        return self.last[-1].record


def test_a_finding_appears_stays_and_resolves_as_soon_as_it_is_not_made_any_more() -> None:
    time = Timeline()
    assert time.at(1, finding()) == [(Kind.APPEARED, "f")]
    assert time.at(2, finding()) == []
    assert time.at(3, finding("g"), finding()) == [(Kind.APPEARED, "g")]
    assert time.at(4, finding("g")) == [(Kind.RESOLVED, "f")]
    assert (time.record.first_seen, time.record.last_seen, time.record.resolved) == (1, 3, 4)
    assert time.record.because == CLEARED
    assert list(time.book.standing) == ["g"]
    assert [record.finding.id for record in time.book.resolved] == ["f"]


def test_a_finding_that_comes_back_begins_a_new_life_under_the_same_id() -> None:
    time = Timeline()
    time.at(1, finding())
    time.at(2)
    assert time.at(9, finding()) == [(Kind.APPEARED, "f")]
    assert time.record.first_seen == 9
    assert time.record.resolved is None
    assert [record.first_seen for record in time.book.resolved] == [1]


def test_counters_are_kept_fresh_and_are_no_news() -> None:
    time = Timeline()
    time.at(1, finding(drops=1))
    assert time.at(2, finding(drops=900, at=2)) == []
    standing = time.book.standing["f"]
    assert standing.finding.summary == "1500 and 900 drops"
    assert standing.finding.evidence[1].value == 900
    assert standing.last_seen == 2


@pytest.mark.parametrize(
    "changed",
    [
        replace(finding(), stage=Stage.ACTIVE),
        replace(finding(), severity=Severity.CRITICAL),
        replace(finding(), caused_by=("other",)),
        replace(finding(), objects=("Pod/default/web-0",)),
        finding("f", "a", "b"),
        finding(mtu=1480),
    ],
)
def test_what_an_operator_acts_on_is_news(changed: Finding) -> None:
    time = Timeline()
    time.at(1, finding())
    assert time.at(2, changed) == [(Kind.CHANGED, "f")]
    assert time.record.first_seen == 1
    assert time.at(3, changed) == []


def test_the_same_facts_in_another_order_are_no_news() -> None:
    time = Timeline()
    time.at(1, finding("f", "a", "b"))
    turned = finding("f", "b", "a")
    assert time.at(2, turned) == []


def test_a_silent_node_keeps_its_finding_unconfirmed_until_it_is_heard() -> None:
    time = Timeline()
    time.at(1, finding())
    silent = {"a": "not heard since noon"}
    assert time.at(20, finding(), silent=silent) == [(Kind.CHANGED, "f")]
    assert time.record.unconfirmed == "a: not heard since noon"
    assert time.record.last_seen == 1
    assert time.at(21, finding(), silent=silent) == []
    assert time.at(22, silent=silent) == []  # its facts are not at hand either: after a restart
    assert time.at(30, finding()) == [(Kind.CHANGED, "f")]
    assert (time.record.unconfirmed, time.record.last_seen) == ("", 30)


def test_a_silent_node_that_comes_back_mended_resolves_its_finding() -> None:
    time = Timeline()
    time.at(1, finding())
    time.at(20, silent={"a": "gone"})
    assert time.at(21) == [(Kind.RESOLVED, "f")]
    assert (time.record.because, time.record.unconfirmed) == (CLEARED, "")


def test_a_node_that_is_not_expected_any_more_resolves_its_finding_and_says_so() -> None:
    time = Timeline()
    time.at(1, finding())
    time.at(20, silent={"a": "gone"})
    assert time.at(4000, gone=("a",)) == [(Kind.RESOLVED, "f")]
    assert time.record.because == "not observed any more: a"


def test_of_several_nodes_the_silent_one_stays_listed_with_its_evidence() -> None:
    time = Timeline()
    time.at(1, finding("f", "a", "b"))
    assert time.at(2, finding("f", "a"), silent={"b": "gone"}) == [(Kind.CHANGED, "f")]
    assert time.record.finding.nodes == ("a", "b")
    assert {fact.node for fact in time.record.finding.evidence} == {"a", "b"}
    assert time.record.unconfirmed == "b: gone"
    assert time.at(3, finding("f", "a"), gone=("b",)) == [(Kind.CHANGED, "f")]
    assert set(time.record.finding.nodes) == {"a"}


def test_many_silent_nodes_are_counted_not_all_listed() -> None:
    nodes = [f"n{number}" for number in range(10)]
    time = Timeline()
    time.at(1, finding("f", *nodes))
    time.at(2, silent=dict.fromkeys(nodes, "gone"))
    assert time.record.unconfirmed == "n0: gone; n1: gone; n2: gone; and 7 more"


def test_a_signature_that_fails_resolves_nothing_of_its_own_and_holds_up_no_other() -> None:
    time = Timeline()
    time.at(1, finding())
    assert time.at(2, failed={"disk": "KeyError"}) == [(Kind.RESOLVED, "f")]
    time.at(3, finding())
    assert time.at(4, failed={"mtu": "KeyError: 'x' (paths.py:1)"}) == [(Kind.CHANGED, "f")]
    assert "KeyError" in time.record.unconfirmed
    assert time.at(5) == [(Kind.RESOLVED, "f")]


names = st.sampled_from(["a", "b", "c"])
found = st.builds(
    lambda key, nodes, mtu, drops: finding(key, *sorted(nodes), mtu=mtu, drops=drops),
    st.sampled_from(["f", "g"]),
    st.sets(names, min_size=1),
    st.sampled_from([1400, 1500]),
    st.integers(0, 3),
)
moments = st.tuples(
    st.lists(found, max_size=2, unique_by=lambda each: each.id), st.sets(names), st.sets(names), st.booleans()
)


@given(st.lists(moments, max_size=12))
def test_transitions_alone_tell_what_stands(steps: list[tuple[list[Finding], set[str], set[str], bool]]) -> None:
    time, told = Timeline(heard=("a", "b", "c")), dict[str, Record]()
    for now, (seen, silent, gone, failed) in enumerate(steps, 1):
        time.at(
            now,
            *([] if failed else seen),
            silent=dict.fromkeys(silent, "gone"),
            gone=tuple(gone),
            failed={"mtu": "a defect"} if failed else None,
        )
        for transition in time.last:
            key = transition.record.finding.id
            assert (key in told) == (transition.kind is not Kind.APPEARED)
            if transition.kind is Kind.RESOLVED:
                assert not silent & set(transition.record.finding.nodes)
                assert not failed
                del told[key]
            else:
                told[key] = transition.record
        assert told.keys() == time.book.standing.keys()
        for key, record in time.book.standing.items():
            assert material(told[key].finding) == material(record.finding)
            assert (told[key].unconfirmed, told[key].first_seen) == (record.unconfirmed, record.first_seen)
            assert bool(record.unconfirmed) or key in {each.id for each in seen}


def test_after_a_restart_findings_go_on_with_their_life() -> None:
    time = Timeline()
    time.at(1, finding())
    again = Timeline(FindingBook(time.book.standing.values(), time.book.resolved), heard=())
    assert again.at(100, silent={"a": "not heard since the start"}) == [(Kind.CHANGED, "f")]
    again.heard = ("a",)
    assert again.at(101, finding()) == [(Kind.CHANGED, "f")]
    assert again.record.first_seen == 1


def test_the_resolved_ones_at_hand_are_bounded() -> None:
    time = Timeline()
    for number in range(KEPT_RESOLVED + 5):
        time.at(number, finding(f"f{number}"))
    assert len(time.book.resolved) == KEPT_RESOLVED


def test_standing_findings_are_listed_causes_first() -> None:
    time = Timeline()
    time.at(1, replace(finding("a"), caused_by=("z",), severity=Severity.CRITICAL), finding("z"))
    assert [record.finding.id for record in time.book.ordered()] == ["z", "a"]


AWAY = {"pods": "the API server does not answer since 10:00:00: connection refused"}


def test_what_rests_on_the_api_server_stays_unconfirmed_while_that_is_away() -> None:
    time = Timeline()
    time.at(1, waiting(300))
    assert time.at(2, unread=AWAY) == [(Kind.CHANGED, "f")]
    assert time.record.unconfirmed == AWAY["pods"]
    assert time.at(3, waiting(300), unread=AWAY) == []
    assert time.at(4) == [(Kind.RESOLVED, "f")]
    assert time.record.because == CLEARED


def test_another_resource_that_is_not_read_is_no_matter() -> None:
    time = Timeline()
    time.at(1, waiting(300))
    assert time.at(2, unread={"events": "denied"}) == [(Kind.RESOLVED, "f")]


def test_where_the_api_server_is_not_asked_any_more_that_is_why() -> None:
    time = Timeline()
    time.at(1, waiting(300))
    assert time.at(2, unread=None) == [(Kind.RESOLVED, "f")]
    assert time.record.because == "not observed any more: the API server is not asked"


def test_a_silent_node_does_not_silence_what_the_api_server_says_of_it() -> None:
    time = Timeline()
    time.at(1, waiting(300, "a"))
    assert time.at(2, waiting(301, "a"), silent={"a": "not heard"}) == []
    assert time.at(3, silent={"a": "not heard"}) == [(Kind.RESOLVED, "f")]
    time.at(4, waiting(300, "a", evidence("a", 1)))
    assert time.at(5, silent={"a": "not heard"}) == [(Kind.CHANGED, "f")]
    assert time.record.unconfirmed == "a: not heard"


def test_ages_are_no_news() -> None:
    time = Timeline()
    time.at(1, waiting(300))
    assert time.at(2, waiting(301)) == []


def test_a_finding_that_has_not_had_its_turn_stays_as_it_is() -> None:
    time = Timeline()
    time.at(1, finding())
    unfinished = Judgement(Verdict(pending={finding().code}))
    heard = Presence({"a"}, {})
    assert time.book.update(unfinished, heard, 2) == []
    assert (time.book.standing["f"].last_seen, time.book.standing["f"].unconfirmed) == (1, "")
    assert time.book.update(unfinished, Presence(set(), {"a": "not heard"}), 3)[0].record.unconfirmed == "a: not heard"
    others = Judgement(Verdict(pending={"storage.stranded_on_loss"}))
    assert [each.kind for each in time.book.update(others, heard, 4)] == [Kind.RESOLVED]
