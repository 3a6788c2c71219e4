"""What the aggregator has and is owed: whatever is lost on the way, it ends up with what the host says."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from nodetell.v1 import facts_pb2 as pb

from agent.ledger import Ledger
from agent.reading import Block, Reading
from aggregator.node_state import NodeState
from tests.wire import host_with

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
    st.lists(st.tuples(states, st.sampled_from(["taken", "taken", "lost", "lost after taken", "missed", "forgotten"])))
)
def test_the_receiver_ends_up_with_what_the_host_says(story: list[tuple[Reading, str]]) -> None:
    ledger, node = Ledger(), NodeState("node")
    for at, (state, fate) in enumerate(story, 1):
        if fate == "missed":
            ledger.missed(state)
            continue
        if fate == "forgotten":
            node = NodeState("node")
            ledger.tell_all()
        made = ledger.next(state, at * 1000)
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
    made = ledger.next(final, 10**6)
    assert made is not None
    node.apply(made[1])
    assert node.items == final.items
    assert [(key, block.names, list(block.values)) for key, block in node.counters.items()] == [("x", ("a",), [9])]


def test_numbers_rise_and_only_changes_are_told() -> None:
    ledger = Ledger()
    first = ledger.next(host_with(2), 1)
    assert first is not None
    assert (first[0], first[1].full, ledger.under_way) == (1, True, True)
    ledger.acknowledged()
    assert ledger.next(host_with(2), 2) is None
    assert not ledger.under_way
    second = ledger.next(host_with(3), 3)
    assert second is not None
    assert (second[0], second[1].full, len(second[1].items)) == (2, False, 1)


def test_what_is_missed_is_counted_honestly() -> None:
    ledger = Ledger()
    ledger.missed(Reading())
    assert (ledger.coalesced_updates, ledger.owes) == (0, False)  # there was nothing to tell
    made = ledger.next(host_with(2), 1)
    ledger.acknowledged()
    ledger.missed(host_with(2))
    assert (ledger.coalesced_updates, ledger.owes) == (0, False)
    ledger.missed(host_with(3))  # a link more, no counter moved
    assert (ledger.coalesced_updates, ledger.dropped_samples, ledger.owes) == (1, 0, True)
    ledger.missed(host_with(3, salt=1))
    ledger.missed(host_with(3, salt=2))
    assert (ledger.coalesced_updates, ledger.dropped_samples) == (3, 2)
    made = ledger.next(host_with(3, salt=2), 2)
    assert made is not None
    assert (made[1].coalesced_updates, made[1].dropped_samples, len(made[1].samples)) == (3, 2, 1)
    assert not ledger.owes
    ledger.lost()
    assert (ledger.coalesced_updates, ledger.dropped_samples, ledger.owes) == (4, 3, True)
    made = ledger.next(host_with(3, salt=2), 3)
    assert made is not None
    assert made[1].full


def test_a_long_absence_takes_no_memory() -> None:
    ledger = Ledger()
    assert ledger.next(host_with(50), 1) is not None
    ledger.lost()
    for salt in range(300):
        ledger.missed(host_with(50, salt))
    made = ledger.next(host_with(50, 1000), 2)
    assert made is not None
    assert made[1].ByteSize() <= 1.2 * host_size()


def host_size() -> int:
    made = Ledger().next(host_with(50, 1000), 1)
    assert made is not None
    return made[1].ByteSize()
