"""NetlinkNetwork in real network namespaces, and against what iproute2 says of the same namespace."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from socket import socket
from typing import cast

import pytest
from nodetell.v1 import facts_pb2 as pb

from agent.host import Failure, Inventory, ReadError
from agent.netlink import wire
from agent.netlink.connection import DumpConnection, EventConnection, NetlinkError
from agent.network.ipjson import IpJsonNetwork, render
from agent.network.live import NetlinkNetwork
from tests import needs, netns
from tests.agent.captures.capture import furnish

pytestmark = pytest.mark.needs_root
ROOT = Path(__file__).parents[2]


@pytest.fixture
def inside() -> Iterator[netns.Namespace]:
    needs.root_netns()
    with netns.namespace() as made:
        yield made


@pytest.fixture
def network(inside: netns.Namespace) -> Iterator[NetlinkNetwork]:
    opened = in_namespace(inside)
    yield opened
    opened.close()


def in_namespace(inside: netns.Namespace, receive_buffer: int = 4 << 20) -> NetlinkNetwork:
    with inside.entered():
        return NetlinkNetwork(receive_buffer=receive_buffer)


def fresh(inside: netns.Namespace) -> Inventory:
    """What somebody sees who has heard no events."""
    opened = in_namespace(inside)
    try:
        return opened.inventory()
    finally:
        opened.close()


def by_name(inventory: Inventory) -> dict[str, pb.Link]:
    return {link.name: link for link in inventory.links.values()}


def iproute2(inside: netns.Namespace) -> IpJsonNetwork:
    documents = {
        "ip-link.json": inside.ip("-j", "-d", "-s", "-s", "link", "show"),
        "ip-addr.json": inside.ip("-j", "addr", "show"),
        "ip-route.json": inside.ip("-j", "route", "show", "table", "all"),
    }
    return IpJsonNetwork(lambda name: documents[name].encode(errors="surrogateescape"))


def serialized(routes: list[pb.Route]) -> list[bytes]:
    return sorted(route.SerializeToString() for route in routes)


def until(network: NetlinkNetwork, true: object, timeout_s: float = 3.0) -> Inventory:
    """The inventory once `true(inventory)` holds, woken by events alone."""
    assert callable(true)
    deadline = time.monotonic() + timeout_s
    inventory = network.inventory()
    while not true(inventory):
        left = deadline - time.monotonic()
        assert left > 0, "it did not come to pass"
        network.wait(left)
        inventory = network.inventory()
    return inventory


# -- the same namespace, seen twice ------------------------------------------------------------------------------------


def test_rtnetlink_and_iproute2_tell_the_same() -> None:
    needs.kind("vxlan")
    needs.kind("macvlan")
    with netns.namespaces(2) as (inside, other):
        furnish(inside, other)
        network = in_namespace(inside)
        earlier = network.counters()
        said = iproute2(inside)
        later = network.counters()
        ours, theirs = network.inventory(), said.inventory()
        network.close()
    assert theirs.problems == ours.problems == []
    assert ours.links == theirs.links
    for route in ours.routes:
        route.mtu_locked = False  # iproute2 leaves it out of its JSON
    assert serialized(ours.routes) == serialized(theirs.routes)
    assert len(ours.links) > 10
    assert len(ours.routes) > 15
    for index, (names, values) in said.counters().items():
        low, high = (dict(zip(*counters[index], strict=True)) for counters in (earlier, later))
        for name, value in zip(names, values, strict=True):
            assert low[name] <= value <= high[name]


def test_what_is_rendered_of_a_live_namespace_reads_back_the_same() -> None:
    needs.kind("vxlan")
    needs.kind("macvlan")
    with netns.namespaces(2) as (inside, other):
        furnish(inside, other)
        network = in_namespace(inside)
        inventory, counters = network.inventory(), network.counters()
        network.close()
    documents = {name: json.dumps(value).encode() for name, value in render(inventory, counters).items()}
    read_back = IpJsonNetwork(lambda name: documents[name])
    assert read_back.inventory().problems == []
    assert read_back.inventory().links == inventory.links
    assert read_back.inventory().routes == inventory.routes
    assert read_back.counters() == counters


def test_an_ordinary_user_sees_it_all(inside: netns.Namespace) -> None:
    program = (
        "import os\n"
        "from agent.network.live import NetlinkNetwork\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "n = NetlinkNetwork(); i = n.inventory()\n"
        "print(os.getuid(), len(i.links), len(i.links[1].addresses), len(n.counters()), i.problems); n.close()"
    )
    printed = inside.run("env", f"PYTHONPATH={ROOT}:{ROOT / 'proto'}", sys.executable, "-c", program)
    assert printed.split() == ["65534", "1", "2", "1", "[]"]


# -- events ------------------------------------------------------------------------------------------------------------


def test_nothing_happens_and_the_same_inventory_comes_back(network: NetlinkNetwork) -> None:
    first = network.inventory()
    assert not network.wait(0.05)
    assert network.inventory() is first


def test_a_change_of_mtu_arrives_by_itself(inside: netns.Namespace, network: NetlinkNetwork) -> None:
    netns.veths(inside, 2)
    before = until(network, lambda i: "p1b" in by_name(i))
    inside.ip("link", "set", "p0a", "mtu", 1400)
    started = time.monotonic()
    assert network.wait(5.0)
    assert time.monotonic() - started < 1.0
    after = network.inventory()
    assert after is not before
    assert by_name(before)["p0a"].mtu == 1500
    assert by_name(after)["p0a"].mtu == 1400
    assert by_name(after)["p1a"] is by_name(before)["p1a"]


def test_addresses_come_and_go(inside: netns.Namespace, network: NetlinkNetwork) -> None:
    netns.veths(inside, 1)
    inside.sysctl("net/ipv6/conf/p0a/addr_gen_mode", 1)
    network.inventory()
    inside.ip("addr", "add", "10.0.0.1/24", "dev", "p0a")
    inside.ip("addr", "add", "fd00::1/64", "dev", "p0a", "nodad")
    inside.ip("addr", "add", "10.1.0.1", "peer", "10.1.0.2/32", "dev", "p0a")
    inside.ip("addr", "add", "10.1.0.1", "peer", "10.1.0.3/32", "dev", "p0a")
    expected = ["10.0.0.1/24", "10.1.0.1/32", "fd00::1/64"]
    until(network, lambda i: list(by_name(i)["p0a"].addresses) == expected)
    inside.ip("addr", "del", "10.1.0.1", "peer", "10.1.0.2/32", "dev", "p0a")
    inside.ip("addr", "del", "fd00::1/64", "dev", "p0a")
    until(network, lambda i: list(by_name(i)["p0a"].addresses) == expected[:2])
    inside.ip("addr", "del", "10.1.0.1", "peer", "10.1.0.3/32", "dev", "p0a")
    until(network, lambda i: list(by_name(i)["p0a"].addresses) == expected[:1])


def test_routes_that_vanish_silently_with_their_link_are_gone(inside: netns.Namespace, network: NetlinkNetwork) -> None:
    netns.veths(inside, 1)
    inside.batch(["link set p0a up", "link set p0b up", "addr add 10.0.0.1/24 dev p0a"])
    inside.ip("route", "add", "10.9.0.0/24", "via", "10.0.0.2", "mtu", 1300)
    until(network, lambda i: [r.mtu for r in i.routes if r.destination == "10.9.0.0/24"] == [1300])
    inside.ip("link", "set", "p0a", "down")
    until(network, lambda i: not [r for r in i.routes if r.destination == "10.9.0.0/24"])
    assert serialized(network.inventory().routes) == serialized(fresh(inside).routes)


def test_a_port_that_leaves_its_bridge_is_not_a_deleted_link(inside: netns.Namespace, network: NetlinkNetwork) -> None:
    needs.kind("bridge")
    netns.veths(inside, 1)
    inside.batch(["link add br0 type bridge", "link set p0a master br0"])
    bridge = until(network, lambda i: by_name(i).get("p0a", pb.Link()).master)
    inside.ip("link", "set", "p0a", "nomaster")
    left = until(network, lambda i: by_name(i)["p0a"].master == 0)
    assert by_name(left)["p0a"].ifindex == by_name(bridge)["p0a"].ifindex
    assert left.links == fresh(inside).links


def test_an_emoji_in_a_name_and_bytes_that_are_none(inside: netns.Namespace, network: NetlinkNetwork) -> None:
    inside.ip("link", "add", "\U0001f680", "type", "veth", "peer", "name", "zw\u00f6lf")
    until(network, lambda i: {"\U0001f680", "zw\u00f6lf"} <= by_name(i).keys())
    subprocess.run(
        [b"ip", b"-n", inside.name.encode(), b"link", b"set", "zw\u00f6lf".encode(), b"name", b"bad\xff"], check=True
    )
    changed = until(network, lambda i: "bad\ufffd" in by_name(i))
    assert iproute2(inside).inventory().links == changed.links


def test_three_hundred_links_come_and_go_in_a_moment(inside: netns.Namespace, network: NetlinkNetwork) -> None:
    network.inventory()
    netns.veths(inside, 150)
    until(network, lambda i: len(i.links) == 301, timeout_s=10)
    assert network.inventory().links == fresh(inside).links
    assert len(network.counters()) == 301
    inside.batch(f"link del p{n}a" for n in range(150))
    until(network, lambda i: len(i.links) == 1, timeout_s=10)
    assert network.counters().keys() == network.inventory().links.keys()


def test_links_that_vanish_while_they_are_read(inside: netns.Namespace, network: NetlinkNetwork) -> None:
    """All churns while inventory and counters are read over and over; nothing raises, and the end is right."""
    lines = [
        f"link {verb} p{n}a {rest}"
        for n in range(40)
        for verb, rest in (("add", f"type veth peer name p{n}b"), ("del", ""))
    ]
    churn = threading.Thread(target=inside.batch, args=(lines * 4,))
    churn.start()
    seen = 0
    while churn.is_alive():
        seen = max(seen, len(network.inventory().links))
        network.counters()
    churn.join()
    assert seen > 1
    inside.ip("link", "add", "last0", "type", "veth", "peer", "name", "last1")
    until(network, lambda i: len(i.links) == 3)
    assert network.inventory().links == fresh(inside).links
    assert network.inventory().problems == []


# -- too many events ---------------------------------------------------------------------------------------------------


def test_events_that_do_not_fit_are_told_as_lost(inside: netns.Namespace) -> None:
    with inside.entered():
        events = EventConnection(receive_buffer=1)
    netns.veths(inside, 40)
    assert not events.drain(lambda _batch: None)
    inside.ip("link", "del", "p0a")
    taken: list[wire.Batch] = []
    events.drain(taken.append)
    assert taken
    events.close()


def test_lost_events_are_made_up_for_by_a_dump(inside: netns.Namespace) -> None:
    network = in_namespace(inside, receive_buffer=1)
    network.inventory()
    netns.veths(inside, 60)
    inside.batch([f"link set p{n}a mtu {1300 + n}" for n in range(60)])
    assert network.wait(1.0)
    inventory = until(network, lambda i: len(i.links) == 121)
    assert by_name(inventory)["p59a"].mtu == 1359
    assert inventory.links == fresh(inside).links
    assert not network.wait(0.05)
    network.close()


# -- counters ----------------------------------------------------------------------------------------------------------


def test_only_links_that_moved_have_a_new_tuple(inside: netns.Namespace, network: NetlinkNetwork) -> None:
    netns.veths(inside, 3)
    inside.batch(["link set p0a up", "link set p0b up", "addr add 10.0.0.1/24 dev p0a"])
    time.sleep(0.1)
    before = network.counters()
    unmoved = [index for index, link in network.inventory().links.items() if link.name.startswith("p1")]
    with inside.entered(), socket(type=2) as sender:
        sender.sendto(b"x", ("127.0.0.1", 9))
    after = network.counters()
    assert len(unmoved) == 2
    assert all(after[index] is before[index] for index in unmoved)
    gained = dict(zip(after[1][0], (n - b for n, b in zip(after[1][1], before[1][1], strict=True)), strict=True))
    assert gained["tx_packets"] == gained["rx_packets"] >= 1
    assert gained["rx_bytes"] >= 29


def test_without_getstats_links_themselves_tell(
    inside: netns.Namespace, network: NetlinkNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    netns.veths(inside, 3)
    network.inventory()
    by_getstats = dict(network.counters())
    asked: list[int] = []
    whole = DumpConnection.dump

    def old_kernel(self: DumpConnection, kind: int, *rest: object) -> bool:
        asked.append(kind)
        if kind == wire.RTM_GETSTATS:
            raise NetlinkError(errno.EOPNOTSUPP, "Operation not supported")
        return whole(self, kind, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(DumpConnection, "dump", old_kernel)
    again = in_namespace(inside)
    first = again.counters()
    assert first == by_getstats
    second = again.counters()
    assert all(second[index] is row for index, row in first.items())
    assert asked == [wire.RTM_GETSTATS, wire.RTM_GETLINK, wire.RTM_GETLINK]
    again.close()


# -- the connection ----------------------------------------------------------------------------------------------------


class ScriptedSocket:
    """Answers each request with the next of the prepared datagrams."""

    def __init__(self, answers: list[list[bytes]]) -> None:
        self.answers = answers
        self.pending: list[bytes] = []
        self.requests = 0

    def send(self, data: bytes) -> int:
        self.requests += 1
        self.pending = self.answers.pop(0)
        return len(data)

    def recv_into(self, buffer: bytearray, _size: int = 0, _flags: int = 0) -> int:
        datagram = self.pending.pop(0)
        buffer[: len(datagram)] = datagram
        return len(datagram)

    def close(self) -> None: ...


def done(flags: int = 0, error: int = 0) -> bytes:
    return wire.HEADER.pack(20, wire.NLMSG_DONE, flags, 0, 0) + (-error).to_bytes(4, "little", signed=True)


def scripted(answers: list[list[bytes]]) -> tuple[DumpConnection, ScriptedSocket]:
    connection = DumpConnection()
    connection.close()
    script = ScriptedSocket(answers)
    connection._socket = cast("socket", script)
    return connection, script


def test_an_interrupted_dump_is_asked_for_again() -> None:
    connection, script = scripted([[done(wire.NLM_F_DUMP_INTR)], [done()]])
    restarts: list[int] = []
    assert connection.dump(18, b"", wire.split, lambda: restarts.append(1))
    assert (script.requests, len(restarts)) == (2, 1)


def test_a_dump_that_is_always_interrupted_ends() -> None:
    connection, script = scripted([[done(wire.NLM_F_DUMP_INTR)] for _ in range(9)])
    assert not connection.dump(18, b"", wire.split, lambda: None)
    assert script.requests == 5


def test_the_kernels_refusal_is_raised() -> None:
    connection, _ = scripted([[done(error=errno.EPERM)]])
    with pytest.raises(NetlinkError) as caught:
        connection.dump(18, b"", wire.split, lambda: None)
    assert caught.value.errno == errno.EPERM
    assert caught.value.strerror == os.strerror(errno.EPERM)


# -- closing -----------------------------------------------------------------------------------------------------------


def test_close_wakes_a_waiting_thread_and_ends_the_rest(network: NetlinkNetwork) -> None:
    network.inventory()
    answers: list[bool] = []
    waiting = threading.Thread(target=lambda: answers.append(network.wait(30.0)))
    waiting.start()
    time.sleep(0.1)
    started = time.monotonic()
    network.close()
    waiting.join(timeout=2)
    assert answers == [False]
    assert time.monotonic() - started < 0.5
    with pytest.raises(ReadError, match="closed"):
        network.inventory()
    with pytest.raises(ReadError, match="closed"):
        network.counters()
    assert not network.wait(0.01)
    network.close()


# -- when the kernel refuses -------------------------------------------------------------------------------------------


def test_what_cannot_be_dumped_is_told_and_the_rest_is_good(
    inside: netns.Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = DumpConnection.dump
    refused: set[int] = set()

    def refusing(self: DumpConnection, kind: int, *rest: object) -> bool:
        if kind in refused:
            raise NetlinkError(errno.EPERM, "Operation not permitted")
        return whole(self, kind, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(DumpConnection, "dump", refusing)
    refused |= {wire.RTM_GETROUTE, wire.RTM_GETADDR, wire.RTM_GETSTATS}
    network = in_namespace(inside)
    inventory = network.inventory()
    assert list(by_name(inventory)) == ["lo"]
    assert (inventory.has_routes, inventory.has_addresses) == (False, False)
    assert {str(problem) for problem in inventory.problems} == {
        "rtnetlink addresses: Operation not permitted",
        "rtnetlink routes: Operation not permitted",
    }
    with pytest.raises(ReadError, match="rtnetlink counters: Operation not permitted") as caught:
        network.counters()
    assert caught.value.failure is Failure.DENIED
    refused.clear()
    mended = until(network, lambda i: i.has_routes and i.has_addresses)
    assert mended.problems == []
    assert list(by_name(mended)["lo"].addresses) == ["127.0.0.1/8", "::1/128"]
    network.close()

    refused.add(wire.RTM_GETLINK)
    without = in_namespace(inside)
    for _ in range(2):
        with pytest.raises(ReadError, match="rtnetlink links: Operation not permitted"):
            without.inventory()
    refused.clear()
    assert without.wait(3)
    assert list(by_name(without.inventory())) == ["lo"]
    without.close()


def test_a_damaged_event_is_made_up_for_by_a_dump(
    inside: netns.Namespace, network: NetlinkNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    netns.veths(inside, 1)
    before = until(network, lambda i: len(i.links) == 3)
    whole = wire.split

    def damaging(data: bytes | memoryview) -> wire.Batch:
        batch = whole(data)
        batch.messages = [wire.Message(m.type, m.flags, m.offset, m.body[:-30]) for m in batch.messages]
        return batch

    inside.ip("link", "set", "p0a", "mtu", 1400)
    with monkeypatch.context() as patch:
        patch.setattr(wire, "split", damaging)
        assert network.wait(1.0)
    after = network.inventory()
    assert by_name(after)["p0a"].mtu == 1400
    assert after.problems == []
    assert by_name(after)["p0b"] is by_name(before)["p0b"]


def test_the_resident_agent_reads_the_network_without_general_libraries() -> None:
    program = (
        "import sys, agent.network.live, agent.network.sysfs, agent.collectors.links, agent.collectors.routes\n"
        "print(sorted({'pyroute2', 'psutil', 'subprocess', 'json'} & set(sys.modules)))"
    )
    environment = {"PYTHONPATH": f"{ROOT}:{ROOT / 'proto'}"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.strip() == "[]"
