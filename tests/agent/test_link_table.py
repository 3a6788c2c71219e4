"""Links kept current by the kernel's own events, replayed from a capture, whole and damaged."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nodetell.v1 import facts_pb2 as pb

from agent.netlink import addresses, links, wire
from agent.network.link_table import PAIRING_ATTEMPTS, LinkTable

CAPTURES = Path(__file__).parent / "captures"
EVENTS = (CAPTURES / "events.bin").read_bytes()
pytestmark = pytest.mark.skipif(sys.byteorder != "little", reason="needs: a little-endian machine, as the captures are")


def loaded() -> LinkTable:
    """The state before the events, from the dumps made just before them."""
    found_links, _ = wire.decode_all(wire.split((CAPTURES / "links.bin").read_bytes()).messages, links.decode_link)
    dump = wire.split((CAPTURES / "addresses.bin").read_bytes()).messages
    found_addresses, _ = wire.decode_all(dump, addresses.decode_address)
    table = LinkTable()
    table.replace((link for link in found_links if link), (address for address in found_addresses if address))
    table.build()
    return table


def by_name(table: LinkTable) -> dict[str, pb.Link]:
    return {link.name: link for link in table.build().values()}


def test_the_life_of_a_link() -> None:
    """veth made, up, address, route, MTU lowered, joins a bridge, leaves it, address gone, deleted: capture.py."""
    table = loaded()
    before = table.build()
    stages: list[tuple[object, ...]] = []
    for message in wire.split(EVENTS).messages:
        table.take(message)
        e0, e1 = (by_name(table).get(name, pb.Link()) for name in ("e0", "e1"))
        stage = e0.up, list(e0.addresses), e0.mtu, bool(e1.master), bool(e1.ifindex)
        if stage not in stages[-1:]:
            stages.append(stage)
    assert stages == [
        (False, [], 0, False, True),  # the end made first is announced first
        (False, [], 1500, False, True),
        (True, [], 1500, False, True),
        (True, ["10.8.0.1/24"], 1500, False, True),
        (True, ["10.8.0.1/24"], 1400, False, True),
        (True, ["10.8.0.1/24"], 1400, True, True),
        (True, ["10.8.0.1/24"], 1400, False, True),
        (True, [], 1400, False, True),
        (False, [], 1400, False, True),
        (False, [], 0, False, True),
        (False, [], 0, False, False),
    ]
    assert table.routes_touched
    after = table.build()
    assert after == before
    assert all(after[index] is before[index] for index in before)


def test_the_end_made_first_has_no_other_end_until_asked_for() -> None:
    table = loaded()
    first = next(m for m in wire.split(EVENTS).messages if m.type == wire.RTM_NEWLINK)
    table.take(first)
    assert len(table.unpaired) == 1
    (index,) = table.unpaired
    for _ in range(PAIRING_ATTEMPTS):
        assert index in table.unpaired
        table.take(first)
        table.asked_for(index)
    assert table.unpaired == {}


def test_what_tells_nothing_new_is_no_change() -> None:
    table = loaded()
    assert not table.changed
    for message in wire.split((CAPTURES / "links.bin").read_bytes()).messages:
        table.take(message)
    assert not table.changed


def test_hardware_is_asked_for_where_the_kernel_does_not_tell() -> None:
    asked: list[str] = []

    def on_bus(name: str) -> bool:
        asked.append(name)
        return name == "eth0"

    table = LinkTable(on_bus)
    table.replace([pb.Link(ifindex=2, name="eth0"), pb.Link(ifindex=3, name="br0")], [])
    assert {link.name: link.hardware for link in table.build().values()} == {"eth0": True, "br0": False}
    assert asked == ["eth0", "br0"]


@given(st.lists(st.tuples(st.integers(0, len(EVENTS) - 1), st.integers(0, 255)), min_size=1, max_size=8))
@settings(max_examples=100)
def test_damaged_events_never_raise_anything_else(flips: list[tuple[int, int]]) -> None:
    data = bytearray(EVENTS)
    for position, value in flips:
        data[position] = value
    table = loaded()
    for message in wire.split(bytes(data)).messages:
        with contextlib.suppress(wire.DecodeError):
            table.take(message)
    table.build()
