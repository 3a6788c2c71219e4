"""What is on the wire, what is answered, and which plans are followed: with honest, damaged and hostile input."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nodetell.limits import MAX_PROBE_TARGETS
from nodetell.v1 import agent_pb2

from agent.pathmtu import datagram
from agent.pathmtu.answers import BURST_PER_KEY, RATE_PER_KEY, Answers
from agent.pathmtu.datagram import Key
from agent.pathmtu.plan import Assembly, PlanError

KEY = Key(b"\x01" * 8, b"k" * 16)
OTHER = Key(b"\x02" * 8, b"o" * 16)
PADDING = os.urandom(9000)
FAMILIES = st.booleans()


def granted(*keys: Key) -> Answers:
    answers = Answers()
    answers.grant(keys or (KEY,), 0.0)
    return answers


def probe(number: int, size: int = 1500, key: Key = KEY, *, ipv6: bool = False) -> bytes:
    return datagram.probe(key, number, size, PADDING, ipv6=ipv6)


# -- datagrams -----------------------------------------------------------------------------------------------------


@given(st.integers(0, 2**64 - 1), st.integers(80, 9000), FAMILIES)
def test_a_probe_and_its_answer(number: int, size: int, ipv6: bool) -> None:
    sent = probe(number, size, ipv6=ipv6)
    assert len(sent) == size - (48 if ipv6 else 28)
    assert datagram.read_probe(sent, KEY, ipv6=ipv6) == (number, size)
    assert datagram.read_probe(sent, Key(KEY.id, OTHER.secret), ipv6=ipv6) is None
    back = datagram.answer(KEY, number, size)
    assert len(back) == datagram.HEADER_BYTES <= len(sent)
    assert datagram.read_answer(back, KEY) == (number, size)
    assert datagram.read_answer(back, OTHER) is None
    assert datagram.read_probe(back, KEY, ipv6=ipv6) is None
    assert datagram.read_answer(sent[: datagram.HEADER_BYTES], KEY) is None


@given(st.integers(32, 1471))
def test_a_probe_that_was_cut_is_none(length: int) -> None:
    assert datagram.read_probe(probe(1)[:length], KEY, ipv6=False) is None


@given(st.integers(0, 31), st.integers(1, 255))
def test_every_byte_of_the_header_is_signed(place: int, change: int) -> None:
    damaged = bytearray(probe(7, 1400))
    damaged[place] ^= change
    assert datagram.read_probe(bytes(damaged), KEY, ipv6=False) is None
    answer = bytearray(datagram.answer(KEY, 7, 1400))
    answer[place] ^= change
    assert datagram.read_answer(bytes(answer), KEY) is None


@given(st.binary(max_size=100))
def test_bytes_of_any_sort_are_read(received: bytes) -> None:
    assert datagram.read_probe(received, KEY, ipv6=False) is None
    assert datagram.read_answer(received, KEY) is None
    datagram.read_quote(received, KEY)
    datagram.key_id(received)


@given(st.integers(0, 1472))
def test_a_quote_tells_which_probe_it_was_if_it_is_long_enough(length: int) -> None:
    quote = probe(99)[:length]
    assert datagram.read_quote(quote, KEY) == (99 if length >= 24 else None)
    assert datagram.read_quote(quote, OTHER) is None


# -- answers -------------------------------------------------------------------------------------------------------


def test_only_granted_probes_are_answered_and_each_once() -> None:
    answers = granted()
    first = probe(5)
    assert answers.answer(first, 1.0, ipv6=False) == datagram.answer(KEY, 5, 1500)
    assert answers.answer(first, 1.1, ipv6=False) is None  # replayed
    assert answers.answer(probe(6, key=OTHER), 1.2, ipv6=False) is None  # of a key nobody granted
    assert answers.answer(probe(6), 1.3, ipv6=True) is None  # its size is not what it says
    assert answers.answer(probe(3), 1.4, ipv6=False) is not None  # overtaken on the way
    assert answers.answer(probe(3), 1.5, ipv6=False) is None
    assert answers.answer(probe(5000), 1.6, ipv6=False) is not None
    assert answers.answer(probe(4), 1.7, ipv6=False) is None  # too far behind to say whether it was seen
    assert (answers.tally.answered, answers.tally.repeated, answers.tally.foreign) == (3, 3, 2)


@given(st.lists(st.integers(0, 2000), max_size=200))
def test_no_number_is_answered_twice(numbers: list[int]) -> None:
    answers = granted()
    answered = [n for n in numbers if answers.answer(probe(n, 100), 0.0, ipv6=False) is not None]
    assert len(answered) == len(set(answered))


@given(st.lists(st.binary(max_size=200) | st.integers(0, 300).map(lambda n: probe(n, 60 + n)), max_size=60), FAMILIES)
@settings(max_examples=100)
def test_an_answer_is_never_larger_than_what_came(received: list[bytes], ipv6: bool) -> None:
    answers = granted()
    for each in received:
        back = answers.answer(each, 0.0, ipv6=ipv6)
        assert back is None or len(back) <= len(each)
    tally = answers.tally
    assert tally.answered + tally.foreign + tally.repeated + tally.limited == len(received)


def test_a_flood_of_good_probes_is_held_to_the_rate() -> None:
    answers = granted(KEY, OTHER)
    count = 0
    for n in range(20_000):  # 2,000 a second for ten seconds
        count += answers.answer(probe(n + 1, 100), n / 2000, ipv6=False) is not None
    assert BURST_PER_KEY + 10 * RATE_PER_KEY - 2 <= count <= BURST_PER_KEY + 10 * RATE_PER_KEY + 2
    assert answers.answer(probe(1, 100, key=OTHER), 10.0, ipv6=False) is not None  # the other prober is still served
    assert answers.tally.limited == 20_000 - count


def test_the_keys_before_are_good_for_one_more_plan() -> None:
    answers = granted(KEY)
    assert answers.answer(probe(1), 0.0, ipv6=False)
    answers.grant([OTHER], 1.0)
    assert answers.answer(probe(2), 1.0, ipv6=False)
    assert answers.answer(probe(2, key=OTHER), 1.0, ipv6=False)
    answers.grant([OTHER], 2.0)
    assert answers.answer(probe(3), 2.0, ipv6=False) is None
    assert answers.answer(probe(2, key=OTHER), 2.0, ipv6=False) is None  # what was seen stays known
    assert answers.keys == 1


# -- plans ---------------------------------------------------------------------------------------------------------


def part(number: int = 0, parts: int = 1, version: int = 1, **more: object) -> agent_pb2.ProbePlan:
    made = agent_pb2.ProbePlan(version=version, part=number, parts=parts, interval_ms=60_000)
    key = agent_pb2.ProbeGrant(id=b"i" * 8, key=b"k" * 16)
    fields = {"peer": "node-b", "via": "underlay", "address": "10.0.0.2", "port": 7446, "key": key}
    made.targets.add(**{**fields, **more})  # some are wrong on purpose
    return made


def test_a_plan_is_followed_once_it_is_whole() -> None:
    assembly = Assembly()
    assert assembly.take(part(0, 3)) is None
    assert assembly.take(part(1, 3)) is None
    plan = assembly.take(part(2, 3, address="2001:db8::2", via="overlay"))
    assert plan is not None
    assert [(t.peer, t.via, t.address, t.ipv6) for t in plan.targets] == [
        ("node-b", "underlay", "10.0.0.2", False),
        ("node-b", "underlay", "10.0.0.2", False),
        ("node-b", "overlay", "2001:db8::2", True),
    ]
    assert plan.interval_s == 60
    assert assembly.take(part(2, 3)) is None  # its beginning is not known any more


def test_parts_of_two_plans_are_not_mixed() -> None:
    assembly = Assembly()
    assert assembly.take(part(0, 2)) is None
    assert assembly.take(part(1, 2, version=2)) is None
    assert assembly.take(part(0, 2, version=2)) is None
    plan = assembly.take(part(1, 2, version=2))
    assert plan is not None
    assert plan.version == 2


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"peer": "No Node"}, "a path to no node"),
        ({"via": "moon"}, "neither underlay nor overlay"),
        ({"address": "node-b"}, "no IP address"),
        ({"address": "127.0.0.1"}, "at 127.0.0.1"),
        ({"address": "224.0.0.1"}, "at 224.0.0.1"),
        ({"address": "::"}, "at ::"),
        ({"address": "fe80::1"}, "at fe80::1"),
        ({"port": 0}, "port 0"),
        ({"port": 70_000}, "port 70000"),
        ({"key": agent_pb2.ProbeGrant(id=b"i", key=b"k" * 16)}, "a key of 1 and 16 bytes"),
    ],
)
def test_plans_that_are_not_followed(change: dict[str, object], why: str) -> None:
    assembly = Assembly()
    with pytest.raises(PlanError, match=why):
        assembly.take(part(**change))  # type: ignore[arg-type]
    assert assembly.take(part()) is not None


def test_plans_beyond_the_bounds() -> None:
    def many() -> agent_pb2.ProbePlan:
        made = part()
        made.targets.extend([made.targets[0]] * MAX_PROBE_TARGETS)
        return made

    def hasty() -> agent_pb2.ProbePlan:
        made = part()
        made.interval_ms = 10
        return made

    makers: list[Callable[[], agent_pb2.ProbePlan]] = [many, hasty, lambda: part(0, 0), lambda: part(0, 5_000)]
    for make in makers:
        with pytest.raises(PlanError):
            Assembly().take(make())


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 3)), max_size=30))
def test_parts_in_any_order_never_make_a_plan_that_was_not_sent(parts: list[tuple[int, int, int]]) -> None:
    assembly = Assembly()
    for number, count, version in parts:
        try:
            plan = assembly.take(part(number, count, version))
        except PlanError:
            continue
        if plan is not None:
            assert len(plan.targets) == count
            assert plan.version == version
