"""Drops by reason and site, caused for real: a tunnel's packet that is too big, a filter, a port that nobody opened."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator

import pytest

from agent.sensor import drops, retransmits
from agent.sensor.drops import Drop
from agent.sensor.kernel import Kernel
from agent.sensor.tap import Tap
from tests import needs
from tests.netns import Namespace, namespace

pytestmark = pytest.mark.needs_root
TIMES = 20
IP_MTU_DISCOVER, IP_PMTUDISC_PROBE = 10, 3


@pytest.fixture(scope="module")
def kernel() -> Kernel:
    """The running one; drops need no tracefs."""
    return Kernel("/proc", "/sys", "/sys/kernel/tracing")


@pytest.fixture(params=[0, 1], ids=["tp_btf", "raw"])
def tap(kernel: Kernel, request: pytest.FixtureRequest) -> Iterator[Tap]:
    """Counting, by each way to attach."""
    needs.bpf()
    whole = drops.tap(kernel)
    name = list(whole._variants)[request.param]
    one = Tap(whole._make_tables, {name: whole._variants[name]})
    assert one.start(), one.refused
    yield one
    one.close()


@pytest.fixture
def host() -> Iterator[Namespace]:
    """A host with a wire to nowhere, and a tunnel over it whose MTU is as large as the wire's."""
    needs.kind("vxlan")
    with namespace() as made:
        made.ip("link", "add", "u0", "type", "veth", "peer", "name", "u1")
        made.ip("link", "set", "u0", "up")
        made.ip("link", "set", "u1", "up")
        made.ip("addr", "add", "10.9.0.1/24", "dev", "u0")
        made.ip("neigh", "add", "10.9.0.2", "lladdr", "02:00:00:00:00:02", "dev", "u0")
        made.ip(
            "link",
            "add",
            "vx0",
            "mtu",
            1500,
            "type",
            "vxlan",
            "id",
            7,
            "remote",
            "10.9.0.2",
            "dstport",
            4789,
            "df",
            "set",
        )
        made.ip("link", "set", "vx0", "up")
        made.ip("addr", "add", "10.8.0.1/24", "dev", "vx0")
        made.ip("neigh", "add", "10.8.0.2", "lladdr", "02:00:00:00:00:03", "dev", "vx0")
        yield made


def send(inside: Namespace, to: tuple[str, int], size: int) -> None:
    """Datagrams of this size that may not be fragmented, whatever was learned of the path."""
    with inside.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE)
        for _ in range(TIMES):
            try:
                sender.sendto(b"x" * size, to)
            except OSError:
                continue  # told of the drop before; it is counted all the same
    time.sleep(0.2)


def counted(tap: Tap, kernel: Kernel, inside: Namespace) -> dict[tuple[str, str], list[Drop]]:
    """By reason and function, of this namespace."""
    inode = os.stat(f"/run/netns/{inside.name}").st_ino
    rows = [row for row in drops.drops(tap, drops.reason_names(kernel.types), 0.0) if row.netns == inode]
    names = kernel.symbols(row.site for row in rows)
    found: dict[tuple[str, str], list[Drop]] = {}
    for row in rows:
        found.setdefault((row.reason, names.get(row.site, "")), []).append(row)
    return found


def test_a_tunnel_that_is_too_large_drops_in_ip_fragment(tap: Tap, kernel: Kernel, host: Namespace) -> None:
    send(host, ("10.8.0.2", 9), 1472)
    (row,) = counted(tap, kernel, host)["NOT_SPECIFIED", "ip_fragment"]
    assert row.count == TIMES
    assert row.interface in ("u0", "vx0")
    assert row.ifindex > 0


def test_a_filter_is_told_by_its_reason(tap: Tap, kernel: Kernel, host: Namespace) -> None:
    needs.nft()
    host.run(
        "nft",
        "add table ip t; add chain ip t c { type filter hook output priority 0; }; add rule ip t c udp dport 9 drop",
    )
    send(host, ("10.9.0.2", 9), 100)
    rows = [
        row for (reason, _), rows in counted(tap, kernel, host).items() if reason == "NETFILTER_DROP" for row in rows
    ]
    assert sum(row.count for row in rows) == TIMES


def test_a_port_that_nobody_opened(tap: Tap, kernel: Kernel, host: Namespace) -> None:
    send(host, ("127.0.0.1", 9), 100)
    (rows,) = [rows for (reason, _), rows in counted(tap, kernel, host).items() if reason == "NO_SOCKET"]
    assert [(row.interface, row.count) for row in rows] == [("lo", TIMES)]


def test_consumed_packets_are_no_drops(tap: Tap, kernel: Kernel, host: Namespace) -> None:
    with host.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for _ in range(TIMES):
                sender.sendto(b"x", receiver.getsockname())
                receiver.recv(10)
    time.sleep(0.1)
    assert not [rows for rows in counted(tap, kernel, host).values() if any(row.interface == "lo" for row in rows)]


def test_beyond_the_table_drops_are_counted_without_interface(kernel: Kernel, host: Namespace) -> None:
    needs.bpf()
    small = drops.tap(kernel, most_keys=1)
    assert small.start()
    try:
        before = sum(row.count for row in drops.drops(small, {}, 0.0))
        send(host, ("127.0.0.1", 9), 100)
        send(host, ("10.8.0.2", 9), 1472)
        rows = drops.drops(small, drops.reason_names(kernel.types), 0.0)
        assert sum(row.count for row in rows) >= before + 2 * TIMES
        assert len([row for row in rows if row.netns]) <= 1
        assert small.lost() == 0
    finally:
        small.close()


def test_a_peer_that_does_not_answer_is_retransmitted_to(kernel: Kernel, host: Namespace) -> None:
    """A connection whose peer goes silent: time-outs in a row, by both ways to attach, IPv4 in an IPv6 socket."""
    needs.bpf()
    needs.nft()
    whole = retransmits.tap(kernel)
    taps = [Tap(whole._make_tables, {name: variant}) for name, variant in whole._variants.items()]
    try:
        assert all(tap.start() for tap in taps)
        with host.entered():
            listener = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
            sender = socket.create_connection(("::ffff:127.0.0.1", listener.getsockname()[1]))
            receiver, _ = listener.accept()
        host.run("nft", "add table inet t; add chain inet t c { type filter hook input priority 0; policy drop; }")
        with listener, sender, receiver:
            sender.sendall(b"x" * 5000)
            inode, until = os.stat(f"/run/netns/{host.name}").st_ino, time.monotonic() + 15
            timeouts = [0]
            while min(timeouts) < 3 and time.monotonic() < until:
                time.sleep(0.2)
                found = [[row for row in retransmits.retransmissions(tap, 0.0) if row.netns == inode] for tap in taps]
                timeouts = [max((row.consecutive_timeouts for row in rows), default=0) for rows in found]
            for rows in found:
                assert [row.peer for row in rows] == ["127.0.0.1"]
                assert rows[0].consecutive_timeouts >= 3
                assert rows[0].large >= 3
                assert rows[0].cgroup_id > 0
    finally:
        for tap in taps:
            tap.close()
