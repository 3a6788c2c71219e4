"""Two hosts and a router between them, VXLANs over it, and what the router drops: where paths are probed in tests."""

from __future__ import annotations

import json
from dataclasses import dataclass

from tests.netns import Namespace, join

PORT = "7446"
"""UDP port of the probes that are counted."""
PATHS = {
    "10.78.{}.2": 0,
    "fd78:{}::2": 0,
    "10.244.0.{}": 50,
    "fd44::{}": 50,
    "10.245.0.{}": 70,
}
"""Addresses of a host by its number, and how much smaller than the underlay's the path to it is."""


@dataclass(frozen=True)
class Lab:
    """Host a, router, host b; VXLANs between a and b over IPv4 and over IPv6."""

    a: Namespace
    router: Namespace
    b: Namespace

    def build(self) -> None:
        for host, side, me, other in ((self.a, "to-a", 1, 2), (self.b, "to-b", 2, 1)):
            join(self.router, side, host, "eth0")
            for where, name, last in ((self.router, side, 1), (host, "eth0", 2)):
                where.ip("addr", "add", f"10.78.{me}.{last}/24", "dev", name)
                where.ip("addr", "add", f"fd78:{me}::{last}/64", "dev", name, "nodad")
            host.ip("route", "add", "default", "via", f"10.78.{me}.1")
            host.ip("route", "add", "default", "via", f"fd78:{me}::1")
            for name, mtu, options in (
                ("vx0", 1450, f"id 42 dstport 4789 local 10.78.{me}.2 remote 10.78.{other}.2"),
                ("vx6", 1430, f"id 66 dstport 4790 local fd78:{me}::2 remote fd78:{other}::2"),
            ):
                host.ip("link", "add", name, "mtu", mtu, "type", "vxlan", *options.split())
                host.ip("link", "set", name, "up")
            host.ip("addr", "add", f"10.244.0.{me}/24", "dev", "vx0")
            host.ip("addr", "add", f"fd44::{me}/64", "dev", "vx0", "nodad")
            host.ip("addr", "add", f"10.245.0.{me}/24", "dev", "vx6")
            self._count_probes(host, other)
        self.router.sysctl("net/ipv4/ip_forward", 1)
        self.router.sysctl("net/ipv6/conf/all/forwarding", 1)
        nft(self.router, "add table inet hole", "add chain inet hole forward { type filter hook forward priority 0 ; }")

    @staticmethod
    def _count_probes(host: Namespace, other: int) -> None:
        chain = "add chain inet count out { type filter hook output priority 0 ; }"
        nft(host, "add table inet count", chain)
        for path in PATHS:
            address = path.format(other)
            nft(host, f"add rule inet count out {family(address)} daddr {address} udp dport {PORT} counter")

    def probes(self, host: Namespace) -> dict[str, int]:
        """Probes that a host has sent since they were forgotten, by address."""
        listing = json.loads(host.run("nft", "-j", "list", "chain", "inet", "count", "out"))
        found = {}
        for rule in (each["rule"]["expr"] for each in listing["nftables"] if "rule" in each):
            counter = next(part["counter"]["packets"] for part in rule if "counter" in part)
            found[str(rule[0]["match"]["right"])] = int(counter)
        return found

    def drop(self, rule: str) -> None:
        """The router drops, silently, what the rule says."""
        nft(self.router, f"add rule inet hole forward {rule} drop")

    def mend(self) -> None:
        """The router lets everything pass."""
        nft(self.router, "flush chain inet hole forward")

    def tell(self, mtu: int | None) -> None:
        """The router has routes of this MTU, over which it sends ICMP; None: of the interfaces' MTU again."""
        told = ("mtu", mtu) if mtu is not None else ()
        for net, side in ((1, "to-a"), (2, "to-b")):
            self.router.ip("route", "replace", f"10.78.{net}.0/24", "dev", side, *told)
            self.router.ip("-6", "route", "replace", f"fd78:{net}::/64", "dev", side, "metric", 256, *told)
        if mtu is None:
            for host in (self.a, self.b):  # or they go on cutting the VXLANs' packets to what they have learned
                host.ip("route", "flush", "cache")
                host.ip("-6", "route", "flush", "cache")


def nft(where: Namespace, *lines: str) -> None:
    for line in lines:
        where.run("nft", *line.split())


def family(address: str) -> str:
    return "ip6" if ":" in address else "ip"
