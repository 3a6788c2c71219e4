"""Records what the kernel of this machine answers, as one file per dump: run as root, from the top of the checkout.

    PYTHONPATH=.:proto python tests/agent/captures/capture.py

It makes a namespace with links, addresses and routes of many shapes, so that nothing of the machine's own gets in. The
files are the received bytes as they are, little-endian; the tests read them with nothing but this project's decoder and
compare with what iproute2 said at the same moment (the .json files).
"""

from __future__ import annotations

import platform
import socket
import struct
from pathlib import Path

from agent.netlink import addresses, links, routes, stats, wire
from tests import netns

HERE = Path(__file__).parent
_DUMPS = {
    "links": (wire.RTM_GETLINK, links.DUMP_REQUEST),
    "links-with-counters": (wire.RTM_GETLINK, links.DUMP_REQUEST_WITH_COUNTERS),
    "addresses": (wire.RTM_GETADDR, addresses.DUMP_REQUEST),
    "routes-ipv4": (wire.RTM_GETROUTE, routes.dump_request(socket.AF_INET)),
    "routes-ipv6": (wire.RTM_GETROUTE, routes.dump_request(socket.AF_INET6)),
    "stats": (wire.RTM_GETSTATS, stats.DUMP_REQUEST),
}


def furnish(inside: netns.Namespace, other: netns.Namespace) -> None:
    """Links, addresses and routes of the shapes that matter and this kernel makes without modules of rare kinds."""
    inside.sysctl("net/ipv6/conf/default/accept_dad", 0)
    inside.sysctl("net/ipv6/conf/default/addr_gen_mode", 1)
    netns.join(inside, "eth0", other, "peer0")
    inside.batch(
        [
            "addr add 10.0.0.1/24 dev eth0",
            "addr add 10.7.0.1 peer 10.7.0.2/32 dev eth0",
            "addr add fd01::1/64 dev eth0 nodad",
            "link add va type veth peer name vb",
            "link add br0 mtu 1450 type bridge",
            "link set va master br0",
            "link set br0 up",
            "link set va up",
            "link set vb up",
            "link add mv0 link eth0 type macvlan mode bridge",
            "link add vx-bound type vxlan id 1 local 10.0.0.1 dev eth0 dstport 8472 nolearning",
            "link add vx-remote type vxlan id 42 local 10.0.0.1 remote 10.0.0.2 dstport 4789 df set",
            "link add vx-group type vxlan id 6 group 239.1.1.1 dev eth0 dstport 4790 df inherit",
            "link add vx-v6 type vxlan id 5 local fd01::1 remote fd01::2 dstport 4791",
            "link add vx-group6 type vxlan id 9 group ff05::1 dev eth0 dstport 4792",
            "link add vx-ext type vxlan external dstport 4793",
            "link set vx-remote up",
            "link add zw\u00f6lf\U0001f680 type veth peer name pe\u00e9r",
            "route add default via 10.0.0.254 dev eth0 metric 50",
            "route add 10.9.0.0/24 via 10.0.0.2 mtu lock 1400",
            "route add 10.9.1.0/24 mtu 1300 nexthop via 10.0.0.2 dev eth0 weight 2 nexthop via 10.0.0.3 dev eth0",
            "route add 10.9.2.0/24 via inet6 fd01::2 dev eth0 mtu 1350 table 100",
            "route add 10.9.3.0/24 encap ip id 7 dst 10.0.0.9 dev eth0",
            "route add 10.9.5.0/24 nexthop encap ip id 7 dst 10.0.0.9 dev eth0 nexthop via 10.0.0.3 dev eth0",
            "route add 10.244.1.0/24 dev vx-remote",
            "route add 10.9.6.0/24 dev vx-remote table 70000",
            "route add blackhole 10.9.4.0/24",
            "route add default via fd01::254 dev eth0",
            "route add fd05::/64 nexthop via fd01::5 dev eth0 nexthop via fd01::6 dev eth0",
            "route add fd06::/64 encap ip6 id 3 dst fd01::9 dev eth0",
            "route add fd07::/64 dev eth0 mtu 1280",
        ]
    )


def dump(kind: int, body: bytes) -> bytes:
    """Everything the kernel of this thread's namespace answers."""
    received = b""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as connection:
        connection.bind((0, 0))
        connection.send(wire.request(kind, body))
        while True:
            datagram = connection.recv(1 << 18)
            received += datagram
            if wire.split(datagram).done:
                return received


def events(inside: netns.Namespace) -> bytes:
    """What the kernel tells of a link's life, all groups."""
    with inside.entered():
        connection = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    with connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", 0, 300_000))
        connection.bind((0, 0x551))
        inside.batch(
            [
                "link add e0 type veth peer name e1",
                "link set e0 up",
                "link set e1 up",
                "addr add 10.8.0.1/24 dev e0",
                "route add 10.8.9.0/24 via 10.8.0.2 mtu 1200",
                "link set e0 mtu 1400",
                "link set e1 master br0",
                "link set e1 nomaster",
                "addr del 10.8.0.1/24 dev e0",
                "link del e0",
            ]
        )
        received = b""
        while True:
            try:
                received += connection.recv(1 << 18)
            except BlockingIOError:
                return received


def main() -> None:
    """Record everything anew."""
    with netns.namespaces(2) as (inside, other):
        furnish(inside, other)
        with inside.entered():
            for name, (kind, body) in _DUMPS.items():
                (HERE / f"{name}.bin").write_bytes(dump(kind, body))
        (HERE / "ip-link.json").write_text(inside.ip("-j", "-d", "-s", "-s", "link", "show"))
        (HERE / "ip-addr.json").write_text(inside.ip("-j", "addr", "show"))
        (HERE / "ip-route.json").write_text(inside.ip("-j", "route", "show", "table", "all"))
        (HERE / "events.bin").write_bytes(events(inside))
    (HERE / "KERNEL").write_text(platform.release().partition("-")[0] + "\n")


if __name__ == "__main__":
    main()
