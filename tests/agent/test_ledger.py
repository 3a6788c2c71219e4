"""What the aggregator has and is owed: whatever is lost on the way, it ends up with what the host says."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nodetell.v1 import facts_pb2 as pb

from agent import ledger as ledger_module
from agent.ledger import Ledger
from agent.reading import Block, Reading
from aggregator.node_state import Delta, NodeState
from tests.wire import host_with


@pytest.fixture(autouse=True)
def _told_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "PART_GAP_S", 5.0)


small = st.integers(0, 3)
states = st.builds(
    lambda items, blocks: Reading(
        {key: pb.Item(key=key, link=pb.Link(mtu=mtu)) for key, mtu in items.items()},
        {key: Block(("a", "b")[: len(row)], tuple(row)) for key, row in blocks.items()},
    ),
    st.dictionaries(st.sampled_from("abcd"), small),
    st.dictionaries(st.sampled_from("wxyz"), st.lists(small, min_size=1, max_size=2)),
)


@settings(max_examples=200)
@given(
    st.lists(
        st.tuples(
            states, st.sampled_from(["taken", "taken", "lost", "lost after taken", "missed", "away", "forgotten"])
        )
    )
)
def test_the_receiver_ends_up_with_what_the_host_says(story: list[tuple[Reading, str]]) -> None:
    ledger, node = Ledger(), NodeState("node")
    for at, (state, fate) in enumerate(story, 1):
        if fate == "missed":
            ledger.missed(state, at)
            continue
        if fate == "away":
            ledger.away(state, at)
            continue
        if fate == "forgotten":
            node = NodeState("node")
            ledger.tell_all()
        made = ledger.next(state, at * 1000, at)
        if made is None:
            continue
        if fate != "lost":
            node.apply(made[1])
        if fate.startswith("lost"):
            ledger.lost()
        else:
            ledger.acknowledged()
            assert ledger.last_acknowledged == made[0]
    final = Reading({"z": pb.Item(key="z", link=pb.Link(mtu=1))}, {"x": Block(("a",), (9,))})
    made = ledger.next(final, 10**6, 1000.0)
    assert made is not None
    node.apply(made[1])
    assert node.items == final.items
    assert [(key, block.names, list(block.values)) for key, block in node.counters.items()] == [("x", ("a",), [9])]


def test_numbers_rise_and_only_changes_are_told() -> None:
    ledger = Ledger()
    first = ledger.next(host_with(2), 1, 0.0)
    assert first is not None
    assert (first[0], first[1].full, ledger.under_way) == (1, True, True)
    ledger.acknowledged()
    assert ledger.next(host_with(2), 2, 5.0) is None
    assert not ledger.under_way
    second = ledger.next(host_with(3), 3, 10.0)
    assert second is not None
    assert (second[0], second[1].full, len(second[1].items)) == (2, False, 1)


def test_what_is_missed_is_counted_honestly() -> None:
    ledger = Ledger()
    ledger.missed(Reading(), 0.0)
    assert (ledger.coalesced_updates, ledger.owes) == (0, False)  # there was nothing to tell
    made = ledger.next(host_with(2), 1, 1.0)
    ledger.acknowledged()
    ledger.missed(host_with(2), 2.0)
    assert (ledger.coalesced_updates, ledger.owes) == (0, False)
    ledger.missed(host_with(3), 3.0)  # a link more, no counter moved
    assert (ledger.coalesced_updates, ledger.dropped_samples, ledger.owes) == (1, 0, True)
    ledger.missed(host_with(3, salt=1), 4.0)
    ledger.missed(host_with(3, salt=2), 5.0)
    assert (ledger.coalesced_updates, ledger.dropped_samples) == (3, 2)
    made = ledger.next(host_with(3, salt=2), 2, 6.0)
    assert made is not None
    assert (made[1].coalesced_updates, made[1].dropped_samples, len(made[1].samples)) == (3, 2, 1)
    assert made[1].samples[0].span_ms == 5_000
    assert not ledger.owes
    ledger.lost()
    assert (ledger.coalesced_updates, ledger.dropped_samples, ledger.owes) == (4, 3, True)
    made = ledger.next(host_with(3, salt=2), 3, 7.0)
    assert made is not None
    assert made[1].full


def test_after_an_absence_the_present_state_comes_first_and_what_moved_meanwhile_in_parts_after_it() -> None:
    ledger, at = Ledger(), 0.0
    assert ledger.next(host_with(20), 1, at) is not None
    ledger.acknowledged()
    for salt in range(1, 13):
        at += 5.0
        ledger.away(host_with(20, salt), at)
    assert (ledger.coalesced_updates, ledger.dropped_samples) == (12, 0)
    at += 5.0
    made = ledger.next(host_with(20, 13), 100_000, at)
    assert made is not None
    assert not made[1].full
    assert not made[1].HasField("backlog")
    (sample,) = made[1].samples
    assert (sample.span_ms, set(sample.increments)) == (65_000, {13})
    ledger.acknowledged()
    assert ledger.next(host_with(20, 13), 101_000, at + 1) is None  # not at once
    told: list[tuple[int, int]] = []
    while (made := ledger.next(host_with(20, 13), 105_000, at := at + 5.0)) is not None:
        ledger.acknowledged()
        samples = made[1].backlog.samples
        assert not made[1].samples
        assert made[1].ByteSize() < 8_000
        told = [(round(at * 1000) + one.at_offset_ms, one.span_ms) for one in samples] + told
    assert told == [(after * 1000, 5_000) for after in range(5, 66, 5)]
    assert len(ledger.backlog) == ledger.backlog.size == 0


def test_a_part_on_its_way_when_the_stream_ends_is_told_once_again_and_then_counted_as_lost() -> None:
    ledger = Ledger()
    ledger.next(host_with(5), 1, 0.0)
    ledger.acknowledged()
    ledger.away(host_with(5, 1), 5.0)
    ledger.next(host_with(5, 2), 2, 10.0)
    ledger.acknowledged()
    for at in (20.0, 40.0):
        made = ledger.next(host_with(5, 2), 3, at)
        assert made is not None
        assert [1000 * at + sample.at_offset_ms for sample in made[1].backlog.samples] == [5_000, 10_000]
        assert len(ledger.backlog) == 2
        ledger.lost()
        made = ledger.next(host_with(5, 2), 3, at + 1)
        assert made is not None
        assert made[1].full
        assert not made[1].HasField("backlog")
        ledger.acknowledged()
        assert ledger.dropped_samples == (0 if at == 20.0 else 2)
    assert len(ledger.backlog) == 0
    assert ledger.next(host_with(5, 2), 4, 60.0) is None


def test_a_block_that_began_anew_unseen_is_said_to_have() -> None:
    def one(value: int) -> Reading:
        return Reading({}, {"x": Block(("a",), (value,))})

    for lost in (False, True):
        ledger, node = Ledger(), NodeState("node")
        at = 0.0
        for value in (3, 5):
            made = ledger.next(one(value), round(1000 * (at := at + 5.0)), at)
            assert made is not None
            node.apply(made[1])
            ledger.acknowledged()
        ledger.away(one(1), 15.0)
        ledger.away(one(9), 20.0)
        made = ledger.next(one(12), 25_000, 25.0)
        assert made is not None
        if lost:
            ledger.lost()
            made = ledger.next(one(12), 26_000, 26.0)
            assert made is not None
        node.apply(made[1])
        assert node.level("x", "a") == 12
        assert node.delta("x", "a", 900.0) is None  # that it rose from 5 to 12 is not so
        ledger.acknowledged()
        made = ledger.next(one(13), 30_000, 30.0)
        assert made is not None
        node.apply(made[1])
        assert node.delta("x", "a", 900.0) == Delta(12, 15.0)  # since it was seen to have begun anew


def test_before_the_first_stream_what_moves_is_kept_as_well() -> None:
    ledger = Ledger()
    for salt in range(4):
        ledger.away(host_with(3, salt), 5.0 * salt)
    made = ledger.next(host_with(3, 3), 20_000, 20.0)
    assert made is not None
    assert made[1].full
    assert not made[1].removed_blocks
    assert len(ledger.backlog) == 3
