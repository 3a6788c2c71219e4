"""rtnetlink: whatever datagram a socket delivers."""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Iterable

from agent.netlink import addresses, links, routes, stats, wire
from agent.netlink.wire import DecodeError, Message
from agent.network import dumped
from agent.network.link_table import LinkTable
from fuzz.captures import NETLINK
from fuzz.target import MutateBytes, Target

_CAPTURES = ("links", "links-with-counters", "addresses", "routes-ipv4", "routes-ipv6", "stats", "events")
_GOOD = wire.split((NETLINK / "links.bin").read_bytes()).messages[0]
_GOOD_BYTES = (NETLINK / "links.bin").read_bytes()[: _GOOD.offset + wire.HEADER.size + len(_GOOD.body)]
_PADDED = _GOOD_BYTES + bytes(-len(_GOOD_BYTES) % 4)


def check(case: bytes) -> None:
    """Only DecodeError is raised, what came before damage stays good, and the quick way agrees with the long one."""
    batch = wire.split(case)
    assert len(batch.problems) <= 1 + sum(problem.reason.startswith("NLMSG_ERROR") for problem in batch.problems)
    assert len(batch.messages) * wire.HEADER.size <= len(case)
    assert wire.split(_PADDED + case).messages[0].body == _GOOD.body
    table = LinkTable()
    for message in batch.messages:
        _decoded(message, table)
    _links(table)
    _dumps(case)
    _counters(case, batch.messages)


def _decoded(message: Message, table: LinkTable) -> None:
    for decode in (links.decode_link, links.decode_link_counters, addresses.decode_address, routes.decode_route):
        try:
            decode(message.body)
        except DecodeError as damage:
            assert "\n" not in str(damage)
    with contextlib.suppress(DecodeError):
        table.take(message)


def _links(table: LinkTable) -> None:
    for index, link in table.build().items():
        assert index == link.ifindex > 0
        assert link.name
        link.SerializeToString()
    assert table.build() == table.build()


def _dumps(case: bytes) -> None:
    for family in (socket.AF_INET, socket.AF_INET6):
        taken = dumped.Routes(family, 4)
        taken.take(memoryview(case))
        for route in taken.routes:
            assert (":" in route.destination) == (family == socket.AF_INET6)
            route.SerializeToString()
    dumped.LinkCounters(stats.CounterTable()).take(memoryview(case))


def _counters(case: bytes, messages: list[Message]) -> None:
    """The same counters, whether by the layout that all records share or message by message."""
    if any(message.type != wire.RTM_NEWSTATS for message in messages):
        return
    quick, slow = stats.CounterTable(), stats.CounterTable()
    quick.begin()
    slow.begin()
    quick.take(memoryview(case))
    for message in messages:
        try:
            slow.put(*stats.decode_stats(message.body))
        except DecodeError:
            continue
    assert quick.end() == slow.end()


def _seeds() -> Iterable[bytes]:
    for name in _CAPTURES:
        raw = (NETLINK / f"{name}.bin").read_bytes()
        for message in wire.split(raw).messages:
            yield raw[message.offset : message.offset + wire.HEADER.size + ((len(message.body) + 3) & ~3)]
    yield (NETLINK / "stats.bin").read_bytes()[:1200]


def mutate(case: bytes, most: int, chance: random.Random, mutate_bytes: MutateBytes) -> bytes:
    """One message's attributes, or the order of messages; lengths fit again afterwards, mostly."""
    if chance.randrange(6) == 0:
        return mutate_bytes(case, most)
    messages = wire.split(case).messages
    if not messages:
        return mutate_bytes(case, most)
    at = chance.randrange(len(messages))
    packed = [(message.type, message.flags, message.body) for message in messages]
    kind, flags, body = packed[at]
    step = chance.randrange(12)
    if step == 0:
        packed.insert(chance.randrange(len(packed) + 1), packed[at])
    elif step == 1:
        del packed[at]
    elif step == 2:
        packed[at] = chance.choice((1, 2, 3, 4, 16, 17, 20, 21, 24, 25, 92)), chance.choice((0, 2, 0x10)), body
    else:
        head = chance.choice((8, 12, 12, 16, 16, 16))
        packed[at] = kind, flags, body[:head] + _mutated(body[head:], chance, mutate_bytes, 3)
    return b"".join(
        wire.HEADER.pack(wire.HEADER.size + len(body), kind, flags, 0, 0) + body + bytes(-len(body) % 4)
        for kind, flags, body in packed
    )


def _mutated(data: bytes, chance: random.Random, mutate_bytes: MutateBytes, depth: int) -> bytes:
    """Attributes, one of them changed, taken out, doubled, of another type, or changed within."""
    try:
        found = list(wire.attributes(data).items())
    except DecodeError:
        found = []
    if not found or not depth or chance.randrange(8) == 0:
        return mutate_bytes(data, len(data) + 24)
    at = chance.randrange(len(found))
    kind, payload = found[at]
    step = chance.randrange(8)
    if step == 0:
        del found[at]
    elif step == 1:
        found.append((kind, mutate_bytes(payload, len(payload) + 8)))
    elif step == 2:
        found[at] = chance.randrange(64), payload
    elif step == 3:
        found[at] = kind, bytes(chance.choice((0, 1, 2, 4, 8, 16, 192)))
    else:
        found[at] = kind, _mutated(payload, chance, mutate_bytes, depth - 1)
    return b"".join(wire.attribute(kind, payload) for kind, payload in found)


TARGET = Target(
    check, _seeds, words=(b"vxlan\0", b"geneve\0", b"ip6gre\0", b"vlan\0", b"veth\0"), mutate=mutate, max_bytes=1_024
)
