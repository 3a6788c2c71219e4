"""The state of one host: whatever an agent sends, in whatever order its readings came, the state is the source's."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nodetell.v1 import agent_pb2
from nodetell.v1 import facts_pb2 as pb

from agent.delta import DeltaEncoder
from agent.reading import Block, Reading
from aggregator.node_items import UpdateError
from aggregator.node_state import FINE_S, GAP_S, Delta, NodeState

EPOCH = 1_800_000_000
SHAPES = [("rx_packets", "tx_packets", "tx_dropped"), ("FragFails", "FragCreates"), ("one",)]


def link(ifindex: int, mtu: int = 1500) -> pb.Item:
    return pb.Item(key=f"link/{ifindex}", link=pb.Link(ifindex=ifindex, name=f"if{ifindex}", mtu=mtu))


def host(boot_id: str, boot_time_unix_ms: int = 0) -> pb.Item:
    return pb.Item(key="host", host=pb.HostInfo(boot_id=boot_id, boot_time_unix_ms=boot_time_unix_ms))


def reading(*items: pb.Item, **blocks: Block) -> Reading:
    return Reading({item.key: item for item in items}, {key.replace("_", "/"): block for key, block in blocks.items()})


@dataclass
class Source:
    """A host whose readings are encoded, sent as bytes and taken in."""

    state: NodeState = field(default_factory=lambda: NodeState("a"))
    encoder: DeltaEncoder = field(default_factory=DeltaEncoder)

    def send(self, at: float, now: Reading, *, full: bool = False) -> None:
        at_ms = round((EPOCH + at) * 1000)
        update = self.encoder.full(now, at_ms) if full or not self.state.at else self.encoder.delta(now, at_ms)
        if update is None:
            self.state.touch(EPOCH + at)
        else:
            self.state.apply(agent_pb2.Update.FromString(update.SerializeToString()))

    def count(self, at: float, value: int, *, full: bool = False) -> None:
        self.send(at, reading(link_1=Block(("drops",), (value,))), full=full)

    def rise(self, window_s: float) -> int | None:
        delta = self.state.delta("link/1", "drops", window_s)
        return delta.increment if delta else None


# -- what an agent sends is what the state is --------------------------------------------------------------------------

values = st.integers(0, 2**64 - 1) | st.integers(0, 50)
block = st.sampled_from(SHAPES).flatmap(
    lambda names: st.tuples(*[values] * len(names)).map(lambda numbers: Block(names, numbers))
)
readings = st.builds(
    Reading,
    st.dictionaries(st.integers(1, 6), st.integers(1280, 1283)).map(
        lambda mtus: {f"link/{index}": link(index, mtu) for index, mtu in mtus.items()}
    ),
    st.dictionaries(st.sampled_from(["link/1", "link/2", "link/3", "protocol/Ip"]), block),
)


@settings(max_examples=150)
@given(st.lists(st.tuples(readings, st.booleans(), st.floats(0, 40)), min_size=1, max_size=12))
def test_the_state_equals_the_source_after_any_sequence_of_readings(steps: list[tuple[Reading, bool, float]]) -> None:
    source, at = Source(), 0.0
    for now, full, wait in steps:
        at += wait
        source.send(at, now, full=full)
        assert source.state.items == now.items
        assert {
            subject: Block(block.names, tuple(block.values)) for subject, block in source.state.counters.items()
        } == now.blocks
        assert set(source.state.links()) == {item.link.ifindex for item in now.items.values()}
        for kind in ("link", "route"):
            assert source.state.of(kind) == [i for i in source.state.items.values() if i.WhichOneof("fact") == kind]
            assert source.state.of(kind) is source.state.of(kind)


@settings(max_examples=150)
@given(
    st.lists(
        st.tuples(st.floats(0.1, 45), st.integers(-3, 9), st.booleans(), st.sampled_from(["update", "full", "gone"])),
        max_size=40,
    ),
    st.floats(1, 900),
)
def test_the_rise_in_a_window_is_the_true_one_since_the_last_reset(
    steps: list[tuple[float, int, bool, str]], window: float
) -> None:
    source, at, value = Source(), 0.0, 5
    source.count(0, value)
    truth = [(0.0, value)]  # since the last reset
    for wait, change, other, how in steps:
        at += wait
        if how == "gone":
            source.send(at, Reading())
            truth = []
            continue
        before, value = value, max(0, value + change)
        if value < before:
            truth = []
        truth.append((at, value))
        blocks = {"link/1": Block(("drops",), (value,))}
        if other:
            blocks["link/2"] = Block(("drops",), (int(at),))
        source.send(at, Reading({}, blocks), full=how == "full" and wait <= GAP_S)
    delta = source.state.delta("link/1", "drops", window)
    if len(truth) < 2:
        assert delta is None
        return
    assert delta is not None

    def risen_since(begin: float) -> int:
        earlier = [then for moment, then in truth if moment <= begin + 1e-3]
        return value - (earlier[-1] if earlier else truth[0][1])

    # Windows begin at a checkpoint: no later than asked, and `seconds` says when.
    assert delta.seconds >= min(window, at - truth[0][0]) - 1e-3
    assert delta.increment == risen_since(at - delta.seconds)
    assert delta.increment >= risen_since(at - window)


def test_windows_within_the_last_minutes_are_exact_to_the_distance_of_checkpoints() -> None:
    source = Source()
    for second in range(600):
        source.count(second, second)
    for window in (10, 30, 60, 140):
        delta = source.state.delta("link/1", "drops", window)
        assert delta is not None
        assert window <= delta.seconds <= window + FINE_S
        assert delta.increment == delta.seconds
    long = source.state.delta("link/1", "drops", 400)
    assert long is not None
    assert 400 <= long.seconds <= 465
    assert source.state.delta("link/1", "drops", 10_000) == Delta(599, 599)


# -- time --------------------------------------------------------------------------------------------------------------


def test_heartbeats_let_a_window_slide_until_it_is_clean() -> None:
    source = Source()
    source.count(0, 1)
    source.count(100, 8)
    assert source.rise(60) == 7
    for second in range(101, 100 + 61 + int(FINE_S) + 1):
        source.state.touch(EPOCH + second)
    assert source.rise(60) == 0
    assert source.rise(600) == 7


def test_a_clock_set_back_neither_hides_nor_repeats_what_is_in_the_window() -> None:
    source = Source()
    source.count(0, 1)
    source.count(10, 4)
    source.count(-3590, 5)
    assert source.state.at == EPOCH - 3590
    assert source.rise(60) == 4
    for second in range(1, 70):
        source.state.touch(EPOCH - 3590 + second)
    assert source.rise(60) == 0


def test_a_clock_set_forward_empties_the_window_and_counting_goes_on() -> None:
    source = Source()
    source.count(0, 1)
    source.count(10, 4)
    source.state.touch(EPOCH + 7200)
    assert source.rise(60) == 0
    source.count(7205, 6)
    assert source.rise(60) == 2


def test_messages_that_overtook_each_other_do_not_speed_time_up() -> None:
    source = Source()
    source.count(0, 0)
    for second in range(1, 50):
        source.count(second, second)
        source.state.touch(EPOCH + second + 0.9)
    delta = source.state.delta("link/1", "drops", 900)
    assert delta is not None
    assert delta.seconds == pytest.approx(49.9)


def test_a_sample_counts_at_its_own_time() -> None:
    source = Source()
    source.count(0, 1)
    source.state.touch(EPOCH + 300)
    late = agent_pb2.Update(at_unix_ms=(EPOCH + 600) * 1000)
    late.samples.add(at_offset_ms=-200_000, slot_gaps=[1], increments=[5])
    late.samples.add(at_offset_ms=-10_000, slot_gaps=[1], increments=[2])
    source.state.apply(late)
    assert source.rise(60) == 2
    assert source.rise(250) == 7


# -- beginnings --------------------------------------------------------------------------------------------------------


def test_one_reading_alone_says_nothing_of_a_rise() -> None:
    source = Source()
    source.count(0, 9)
    assert source.state.delta("link/1", "drops", 60) is None
    assert source.state.increments("link/1", 60) is None
    assert source.state.level("link/1", "drops") == 9
    assert source.state.level("link/1", "other") is None
    assert source.state.delta("link/2", "drops", 60) is None


@pytest.mark.parametrize(
    ("before", "after", "begins_anew"),
    [
        (host("x"), host("y"), True),
        (host("x", 5_000_000), host("x", 9_000_000), False),  # the clock was set, the boot is the same
        (host("", 5_000_000), host("", 9_000_000), True),
        (host("", 5_000_000), host("", 5_000_900), False),
    ],
)
@pytest.mark.parametrize("full", [True, False])
def test_a_reboot_begins_anew_even_where_counters_are_higher_than_before(
    before: pb.Item, after: pb.Item, begins_anew: bool, full: bool
) -> None:
    source = Source()
    source.send(0, reading(before, link_1=Block(("drops",), (5,))))
    source.send(1, reading(before, link_1=Block(("drops",), (7,))))
    source.send(10, reading(after, link_1=Block(("drops",), (50,))), full=full)
    assert source.rise(60) == (None if begins_anew else 45)
    source.send(20, reading(after, link_1=Block(("drops",), (51,))))
    assert source.rise(60) == (1 if begins_anew else 46)


def test_increments_names_every_counter_that_rose() -> None:
    source = Source()
    source.send(0, reading(link_1=Block(SHAPES[0], (1, 1, 1))))
    source.send(1, reading(link_1=Block(SHAPES[0], (1, 3, 2))))
    assert source.state.increments("link/1", 60) == {"tx_packets": Delta(2, 1), "tx_dropped": Delta(1, 1)}
    assert source.state.names("link/1") == SHAPES[0]
    assert source.state.names("link/9") == ()
    assert [(s.subject, i, n) for s, i, n, _ in source.state.risen()] == [("link/1", 1, 2), ("link/1", 2, 1)]


# -- what does not fit -------------------------------------------------------------------------------------------------


@settings(max_examples=100)
@given(
    st.lists(
        st.tuples(
            st.floats(0.0, 45),
            st.integers(0, 9),
            st.integers(-1, 2),
            st.sampled_from(["update", "full", "back", "gone"]),
        ),
        max_size=40,
    )
)
def test_no_fault_counter_that_rose_in_a_window_is_missing_among_those_that_may_have(
    steps: list[tuple[float, int, int, str]],
) -> None:
    source, at, packets, drops = Source(), 0.0, 5, 5
    names = ("rx_packets", "tx_dropped")
    for wait, more, dropped, how in steps:
        at += -wait * 3 if how == "back" else wait
        packets, drops = packets + more, max(0, drops + dropped)
        blocks = {} if how == "gone" else {"link/1": Block(names, (packets, drops)), "link/2": Block(names, (1, 1))}
        source.send(at, Reading({}, blocks), full=how == "full")
        for window in (5.0, 60.0, 300.0, 900.0):
            said = set(source.state.faults(window))
            assert said <= {("link/1", "tx_dropped"), ("link/2", "tx_dropped")}
            for subject in ("link/1", "link/2"):
                rises = source.state.increments(subject, window) or {}
                assert ("tx_dropped" not in rises) or (subject, "tx_dropped") in said
                plain = source.state.rises(subject, window)
                if plain is not None:
                    assert [rises[name].increment if name in rises else 0 for name in names] == list(plain[0])


def test_a_fault_counter_that_stood_still_for_a_window_is_not_among_those_that_rose() -> None:
    source, names = Source(), ("rx_packets", "tx_dropped")
    for second in range(0, 200, 5):
        source.send(second, Reading({}, {"link/1": Block(names, (second, min(second, 20)))}))
        if second == 20:
            assert list(source.state.faults(60.0)) == [("link/1", "tx_dropped")]
    assert list(source.state.faults(60.0)) == []
    assert list(source.state.faults(900.0)) == [("link/1", "tx_dropped")]


def test_items_of_a_kind_are_the_same_object_until_one_of_them_changes() -> None:
    source = Source()
    route = pb.Item(key="route/1", route=pb.Route(destination="0.0.0.0/0"))
    source.send(0, reading(link(1), link(2), route))
    links, routes = source.state.of("link"), source.state.of("route")
    source.send(1, reading(link(1), link(2), route, host("b")))
    assert source.state.of("link") is links
    source.send(2, reading(link(1, 9000), link(2), route, host("b")))
    assert source.state.of("route") is routes
    assert [item.link.mtu for item in source.state.of("link")] == [1500, 9000]
    source.send(3, reading(link(2), pb.Item(key="route/1", link=pb.Link(ifindex=7))))
    assert [item.link.ifindex for item in source.state.of("link")] == [2, 7]
    assert source.state.of("route") == []
    assert source.state.of("host") == []


def full_update(**changes: object) -> agent_pb2.Update:
    update = agent_pb2.Update(at_unix_ms=EPOCH * 1000, full=True)
    update.schemas.add(id=1, names=["a", "b"])
    update.blocks.add(first_slot=1, schema=1, subject="s", values=[1, 2])
    update.items.append(link(1))
    for name, value in changes.items():
        setattr(update, name, value)
    return update


def later(**changes: object) -> agent_pb2.Update:
    update = agent_pb2.Update(at_unix_ms=(EPOCH + 1) * 1000)
    update.items.append(link(2))
    update.samples.add(slot_gaps=[1], increments=[5])
    for name, value in changes.items():
        setattr(update, name, value)
    return update


def with_sample(gaps: list[int], increments: list[int]) -> agent_pb2.Update:
    update = later()
    update.samples.add(slot_gaps=gaps, increments=increments)
    return update


def with_block(first_slot: int, schema: int, values: list[int], subject: str = "t") -> agent_pb2.Update:
    update = later()
    update.blocks.add(first_slot=first_slot, schema=schema, subject=subject, values=values)
    return update


def with_schema(names: list[str]) -> agent_pb2.Update:
    update = later()
    update.schemas.add(id=9, names=names)
    return update


def with_items(*items: pb.Item) -> agent_pb2.Update:
    update = later()
    update.items.extend(items)
    return update


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (with_sample([3], [1]), "slot 3, which no block has"),
        (with_sample([0], [1]), "slot 0, which no block has"),
        (with_sample([1, 1], [1]), "2 slots and 1 increments"),
        (with_sample([1], [2**64 - 5]), "counter a of 's' would exceed 64 bits"),
        (with_block(9, 1, [1]), "1 values do not fit schema 1"),
        (with_block(9, 7, [1]), "do not fit schema 7"),
        (with_block(2, 1, [1, 2]), "slot 2 is another block's"),
        (with_block(9, 1, [1, 2], subject=""), "has no subject"),
        (with_schema(["x", "x"]), "a name stands in it twice"),
        (with_items(link(3), pb.Item(link=pb.Link())), "no key"),
        (later(at_unix_ms=0), "time 0 ms is none"),
    ],
)
def test_an_update_that_does_not_fit_is_refused_and_changes_nothing(bad: agent_pb2.Update, reason: str) -> None:
    state = NodeState("a")
    state.apply(full_update())
    with pytest.raises(UpdateError, match=reason):
        state.apply(bad)
    assert state.level("s", "a") == 1
    assert set(state.items) == {"link/1"}
    assert state.at == EPOCH
    state.apply(later())
    assert state.level("s", "a") == 6
    assert set(state.links()) == {1, 2}


def test_a_delta_cannot_come_first() -> None:
    with pytest.raises(UpdateError, match="not a full one"):
        NodeState("a").apply(later())


def test_a_kind_of_fact_from_a_newer_agent_is_left_out_and_the_rest_is_taken() -> None:
    newer = pb.Item(key="gadget/1").SerializeToString() + b"\xa2\x06\x02\x08\x07"  # field 100, a message
    state = NodeState("a")
    update = full_update()
    update.items.append(pb.Item.FromString(newer))
    state.apply(update)
    assert set(state.items) == {"link/1"}


def test_a_host_that_stays_busy_for_a_day_keeps_a_bounded_history() -> None:
    source = Source()
    for minute in range(24 * 60):
        for second in (0, 5, 10, 30):
            source.count(minute * 60 + second, minute * 60 + second)
    assert len(source.state._checkpoints) < 80


def test_a_block_that_begins_anew_in_the_moment_of_a_checkpoint_is_not_measured_by_what_it_was() -> None:
    source = Source()
    source.count(0, 9)
    source.count(0, 1)  # the counter went backwards, and the host's clock says the same moment
    source.count(60, 5)
    assert source.rise(1) == 4
    assert source.rise(300) == 4


def test_a_block_that_begins_anew_within_the_moment_of_a_checkpoint_keeps_what_came_after_it() -> None:
    source = Source()
    for at, value in ((0, 9), (100, 20), (100, 3), (105, 7), (200, 7)):
        source.count(at, value)
    assert source.rise(100) == 4
    assert source.rise(50) == 0
