"""Who probes whom: every node and every sort of path, evenly, and without a stir when a node comes or goes."""

from __future__ import annotations

from collections import Counter
from itertools import combinations_with_replacement

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nodetell.limits import MAX_MESSAGE_BYTES, MAX_PROBE_TARGETS
from nodetell.v1 import agent_pb2, facts_pb2

from agent.pathmtu.plan import Assembly, Plan
from aggregator import probing
from aggregator.cluster.objects import NodeObject
from aggregator.node_state import NodeState
from aggregator.probing import Class, Director, Member

UNDERLAY, OVERLAY = ("underlay", "", "10.0.0.{}"), ("overlay", "vxlan/42", "10.244.{}.0")
SECRET = b"s" * 32


def names(count: int) -> list[str]:
    return [f"node-{number}" for number in range(count)]


def node(number: int, *networks: tuple[str, str, str], port: int = 7446) -> Member:
    addresses = tuple((via, network, address.format(number)) for via, network, address in networks or (UNDERLAY,))
    return Member(f"node-{number}", bytes([number]) * 16, port, addresses)


def members(*each: Member) -> dict[str, Member]:
    return {member.name: member for member in each}


# -- who with whom -------------------------------------------------------------------------------------------------


@given(st.integers(2, 200), st.integers(1, 8))
@settings(max_examples=60)
def test_each_node_is_in_enough_pairs_and_in_few_more(count: int, peers: int) -> None:
    found = probing.pairs(names(count), {}, peers)
    load = Counter(name for pair in found for name in pair)
    assert all(one < other for one, other in found)
    assert len(found) <= count * peers
    assert min(load.values()) >= min(peers, count - 1)
    assert max(load.values()) <= 2 * peers + 3


def test_few_nodes_all_probe_each_other() -> None:
    assert len(probing.pairs(names(4), {}, 3)) == 6
    assert probing.pairs(names(1), {}, 3) == set()
    assert probing.pairs([], {}, 3) == set()


@given(st.integers(2, 150), st.integers(1, 5), st.integers(0, 1000))
@settings(max_examples=60)
def test_one_node_more_or_less_changes_little(count: int, peers: int, extra: int) -> None:
    nodes = names(count)
    before = probing.pairs(nodes, {}, peers)
    after = probing.pairs([*nodes, f"late-{extra}"], {}, peers)
    with_new = {pair for pair in after if f"late-{extra}" in pair}
    assert len(with_new) <= 2 * peers + 3
    # On each ring the newcomer stands between two that were neighbours; who skips a neighbour it has already may shift.
    assert len(before - after) <= 2 * peers
    assert len(after - before - with_new) <= 2 * peers


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz")), min_size=2, max_size=120),
    st.integers(1, 4),
)
@settings(max_examples=80)
def test_every_pair_of_classes_is_covered(sorts: list[tuple[str, str]], peers: int) -> None:
    classes = {f"node-{number}": Class(*sort) for number, sort in enumerate(sorts)}
    found = probing.pairs(classes, classes, peers)
    assert len(found) <= 2 * len(classes) * peers
    sizes = Counter(classes.values())
    if len(sizes) * (len(sizes) + 1) // 2 > len(classes) * peers:
        return  # covered by zone or by pool, or not at all: the load comes first
    covered = {frozenset((classes[one], classes[other])) for one, other in found}
    for one, other in combinations_with_replacement(sizes, 2):
        if one != other or sizes[one] > 1:
            assert frozenset((one, other)) in covered


def test_too_many_classes_are_made_coarser_and_the_load_stays_bounded() -> None:
    classes = {f"node-{number}": Class(f"zone-{number % 3}", f"pool-{number}") for number in range(90)}
    found = probing.pairs(classes, classes, 3)
    assert len(found) <= 90 * 3 + 6
    zones = {frozenset((classes[one].zone, classes[other].zone)) for one, other in found}
    assert len(zones) == 6


def test_a_newcomer_seldom_moves_the_pairs_of_classes() -> None:
    classes = {f"node-{number}": Class(f"zone-{number % 3}", f"pool-{number % 2}") for number in range(60)}
    before = probing.pairs(classes, classes, 1)
    classes["late"] = Class("zone-1", "pool-1")
    after = probing.pairs(classes, classes, 1)
    assert len(before - after) <= 2 + 6  # its neighbours', and at most those of its class with each class


# -- what each is told ---------------------------------------------------------------------------------------------


def test_both_directions_over_every_network_both_are_on() -> None:
    ipv6 = ("overlay", "vxlan/42", "fd00::{}")
    other_network = ("underlay", "10.20.0.0/24", "10.20.0.{}")
    plans = probing.assignments(
        members(node(1, UNDERLAY, OVERLAY, ipv6), node(2, UNDERLAY, OVERLAY, ipv6, other_network)), {}, 3, SECRET
    )
    told = {name: [(t.peer, t.via, t.address, t.port) for t in plan.targets] for name, plan in plans.items()}
    assert told["node-1"] == [
        ("node-2", "underlay", "10.0.0.2", 7446),
        ("node-2", "overlay", "10.244.2.0", 7446),
        ("node-2", "overlay", "fd00::2", 7446),
    ]
    assert [address for _, _, address, _ in told["node-2"]] == ["10.0.0.1", "10.244.1.0", "fd00::1"]
    for one, other in (("node-1", "node-2"), ("node-2", "node-1")):
        assert {t.key.SerializeToString() for t in plans[one].targets} == {
            grant.SerializeToString() for grant in plans[other].grants
        }
    assert plans["node-1"].grants != plans["node-2"].grants


def test_who_answers_nothing_is_not_probed_and_may_probe() -> None:
    plans = probing.assignments(members(node(1, port=0), node(2)), {}, 3, SECRET)
    assert [target.peer for target in plans["node-1"].targets] == ["node-2"]
    assert not plans["node-1"].grants
    assert not plans["node-2"].targets
    assert len(plans["node-2"].grants) == 1


def test_keys_change_with_an_agents_life_and_with_the_aggregators() -> None:
    def key(instance: bytes = b"i" * 16, secret: bytes = SECRET) -> bytes:
        other = Member("node-2", instance, 7446, node(2).addresses)
        plans = probing.assignments(members(node(1), other), {}, 3, secret)
        return bytes(plans["node-1"].targets[0].key.key)

    assert len({key(), key(b"j" * 16), key(secret=b"t" * 32)}) == 3
    assert key() == key()


@given(st.lists(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2)), max_size=12), min_size=1, max_size=5))
@settings(max_examples=40)
def test_what_is_kept_of_who_probes_whom_changes_nothing(rounds: list[list[tuple[int, int]]]) -> None:
    """Agents come, go and are born again; each time the plan is that of one who has never made any."""
    known: probing.Ways = {}
    for there in rounds:
        current = {
            f"node-{number}": Member(f"node-{number}", bytes([life]) * 16, 7446, node(number).addresses)
            for number, life in there
        }
        assert probing.assignments(current, {}, 3, SECRET, known) == probing.assignments(current, {}, 3, SECRET)


def test_the_roster_has_who_takes_part_as_they_are_now() -> None:
    roster, state = probing.Roster(), NodeState("n")
    assert roster.members([(state, b"1")]) == []
    endpoint = facts_pb2.ProbeEndpoint(port=7446)
    endpoint.addresses.add(via="underlay", address="10.0.0.1")
    update = agent_pb2.Update(full=True, at_unix_ms=1000)
    update.items.add(key="probe_endpoint", probe_endpoint=endpoint)
    state.apply(update)
    (first,) = roster.members([(state, b"1")])
    assert first == probing.member("n", b"1", endpoint)
    assert roster.members([(state, b"1")])[0] is first
    assert roster.members([(state, b"2")]) == [probing.member("n", b"2", endpoint)]
    endpoint.port = 7447
    update.items[0].probe_endpoint.CopyFrom(endpoint)
    state.apply(update)
    assert roster.members([(state, b"2")]) == [probing.member("n", b"2", endpoint)]
    assert roster.members([]) == []
    zoned = NodeObject("n", labels={"topology.kubernetes.io/zone": "z"})
    assert roster.classes({"n": NodeObject("n")})["n"].zone == ""
    assert roster.classes({"n": zoned}) == {"n": probing.class_of(zoned)}
    assert roster.classes({}) == {}


def test_nobody_is_told_to_probe_without_bound() -> None:
    networks = [("overlay", f"vxlan/{number}", f"10.{number}.0.{{}}") for number in range(1, 33)]
    plans = probing.assignments(members(*(node(n, *networks) for n in range(60))), {}, 16, SECRET)
    assert max(len(plan.targets) for plan in plans.values()) <= MAX_PROBE_TARGETS


@pytest.mark.parametrize(
    ("address", "via", "network"),
    [
        ("127.0.0.1", "underlay", ""),
        ("fe80::1", "underlay", ""),
        ("224.0.0.5", "overlay", "x"),
        ("node-b", "underlay", ""),
        ("10.0.0.1", "moon", ""),
        ("10.0.0.1", "overlay", "x" * 65),
    ],
)
def test_what_an_agent_says_of_itself_is_not_believed_blindly(address: str, via: str, network: str) -> None:
    endpoint = facts_pb2.ProbeEndpoint(port=99_999)
    endpoint.addresses.add(address=address, via=via, network=network)
    endpoint.addresses.add(address="10.0.0.9", via="underlay")
    known = probing.member("node-1", b"i" * 16, endpoint)
    assert known.addresses == (("underlay", "", "10.0.0.9"),)
    assert known.port == 0


def test_class_of_a_node() -> None:
    labels = {"topology.kubernetes.io/zone": "eu-1a", "eks.amazonaws.com/nodegroup": "blue"}
    assert probing.class_of(NodeObject("n", labels)) == Class("eu-1a", "blue")
    assert probing.class_of(NodeObject("n")).zone == ""


# -- as it travels -------------------------------------------------------------------------------------------------


@given(st.integers(0, 60), st.integers(0, 60), st.integers(1, 253))
@settings(max_examples=40)
def test_a_plan_travels_in_small_parts_and_arrives_whole(targets: int, grants: int, length: int) -> None:
    key = agent_pb2.ProbeGrant(id=b"i" * 8, key=b"k" * 16)
    peer = "n" * length
    assignment = probing.Assignment(
        tuple(
            agent_pb2.ProbeTarget(peer=peer, via="overlay", address=f"fd00:1:2:3:4:5:6:{n}", port=65_535, key=key)
            for n in range(targets)
        ),
        (key,) * grants,
    )
    parts = probing.parts(assignment, 1 << 40, 3600)
    assembly, plan = Assembly(), None
    for number, part in enumerate(parts):
        message = agent_pb2.AggregatorMessage(instruction=agent_pb2.Instruction(probe_plan=part))
        # An acknowledgement goes with it in one segment, with its own framing.
        assert message.ByteSize() + 14 + 40 < MAX_MESSAGE_BYTES
        plan = assembly.take(part)
        assert (plan is not None) == (number == len(parts) - 1)
    assert isinstance(plan, Plan)
    assert (len(plan.targets), len(plan.grants)) == (targets, grants)


def all_of(director: Director, member: Member) -> list[agent_pb2.ProbePlan]:
    found = []
    while (part := director.next_part(member.name, member.instance)) is not None:
        found.append(part)
    return found


def test_agents_are_told_what_is_new_to_them_and_once() -> None:
    one, two, three = node(1), node(2), node(3)
    director = Director(peers=3, interval_s=60, secret=SECRET)
    for member in (one, two, three):
        director.connected(member.name, member.instance)
    director.arrange([one])
    assert [len(part.targets) for part in all_of(director, one)] == [0]
    assert not all_of(director, two)
    director.arrange([one, two])
    assert [len(part.targets) for part in all_of(director, one)] == [1]
    assert not all_of(director, one)
    director.arrange([two, one])
    assert not all_of(director, one)
    assert [len(part.targets) for part in all_of(director, two)] == [1]

    director.connected(one.name, one.instance)  # a new stream: it is told again, under a new version
    (again,) = all_of(director, one)
    assert len(again.targets) == 1
    assert director.next_part(one.name, b"another") is None

    director.arrange([one])
    (left_alone,) = all_of(director, one)
    assert (len(left_alone.targets), len(left_alone.grants)) == (0, 0)
    assert left_alone.version > again.version
    (dismissed,) = all_of(director, two)  # its facts are not current any more: it stops
    assert not dismissed.targets
    director.gone("node-1")
    assert not all_of(director, one)


def test_a_plan_that_changes_while_it_is_told_begins_anew() -> None:
    many = [node(n, UNDERLAY, OVERLAY) for n in range(1, 30)]
    director = Director(peers=16, interval_s=60, secret=SECRET)
    director.connected(many[0].name, many[0].instance)
    director.arrange(many)
    first = director.next_part(many[0].name, many[0].instance)
    assert first is not None
    assert first.parts > 1
    director.arrange(many[:2])
    parts = all_of(director, many[0])
    assert [part.part for part in parts] == list(range(len(parts)))
    assert parts[0].version > first.version


def test_an_arrangement_in_steps_is_the_same_and_holds_only_when_it_is_done() -> None:
    there = [node(number) for number in range(200)]
    classes = {each.name: Class(f"zone-{number % 3}", "") for number, each in enumerate(there)}
    at_once, in_steps = (
        Director(peers=3, interval_s=60.0, secret=SECRET),
        Director(peers=3, interval_s=60.0, secret=SECRET),
    )
    at_once.arrange(there, classes)
    steps = in_steps.arranging(there, classes)
    for director in (at_once, in_steps):
        for each in there:
            director.connected(each.name, each.instance)
    for _ in range(3):
        next(steps)
        assert in_steps.next_part(there[0].name, there[0].instance) is None
    assert list(steps)
    for each in there:
        part = in_steps.next_part(each.name, each.instance)
        whole = at_once.next_part(each.name, each.instance)
        assert part is not None
        assert whole is not None
        assert (part.grants, part.targets) == (whole.grants, whole.targets)
