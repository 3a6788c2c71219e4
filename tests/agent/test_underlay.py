"""Which device carries a tunnel, as a table of situations."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from nodetell.v1 import facts_pb2 as pb

from agent.host import Inventory
from agent.underlay import UNKNOWN, Underlay, resolve

LINK, LOCAL, ROUTE, DEFAULT = (
    pb.UNDERLAY_SOURCE_LINK,
    pb.UNDERLAY_SOURCE_LOCAL_ADDRESS,
    pb.UNDERLAY_SOURCE_REMOTE_ROUTE,
    pb.UNDERLAY_SOURCE_DEFAULT_ROUTE,
)


def link(ifindex: int, *addresses: str, up: bool = True, **fields: object) -> pb.Link:
    return pb.Link(ifindex=ifindex, name=f"if{ifindex}", mtu=1500, up=up, addresses=addresses, **fields)  # type: ignore[arg-type]


def tunnel(
    ifindex: int, kind: str = "vxlan", lower: int = 0, master: int = 0, own: str = "", **parameters: object
) -> pb.Link:
    """A tunnel device; `own` is its own address, the rest are its parameters."""
    made = link(ifindex, *([own] if own else []), kind=kind, lower=lower, master=master)
    made.tunnel.CopyFrom(pb.Tunnel(**parameters))  # type: ignore[arg-type]
    return made


def moved(made: pb.Link) -> pb.Link:
    """The same, made in another namespace."""
    made.peer_netnsid = 0
    return made


def route(destination: str, ifindex: int, priority: int = 0, table: int = 254) -> pb.Route:
    return pb.Route(destination=destination, ifindex=ifindex, priority=priority, table=table)


ETH0, ETH1 = link(2, "10.0.0.1/24"), link(3, "10.1.0.1/24", "fd01::1/64")
DEFAULTS = [route("0.0.0.0/0", 2, 100), route("::/0", 3, 1024)]


@dataclass(frozen=True)
class Case:
    links: list[pb.Link]
    expected: dict[int, Underlay]
    routes: list[pb.Route] = field(default_factory=lambda: list(DEFAULTS))


CASES = {
    "its link before all else": Case([tunnel(9, lower=3, local="10.0.0.1")], {9: Underlay(3, LINK)}),
    "a link that is not there is none": Case([tunnel(9, lower=77, local="10.0.0.1")], {9: Underlay(2, LOCAL)}),
    "the owner of its local address": Case([tunnel(9, local="10.1.0.1", remote="10.0.0.9")], {9: Underlay(3, LOCAL)}),
    "an owner that is up before one that is not": Case(
        [link(1, "10.1.0.1/32", up=False), tunnel(9, local="10.1.0.1")], {9: Underlay(3, LOCAL)}
    ),
    "the longest prefix to its remote": Case(
        [tunnel(9, remote="10.8.1.7")],
        {9: Underlay(3, ROUTE)},
        [route("10.8.0.0/16", 2), route("10.8.1.0/24", 3), route("10.8.2.0/24", 2), *DEFAULTS],
    ),
    "of equal prefixes the lowest metric": Case(
        [tunnel(9, remote="10.8.1.7")],
        {9: Underlay(2, ROUTE)},
        [route("10.8.0.0/16", 3, 20), route("10.8.0.0/16", 2, 10)],
    ),
    "not a route of a table with rules of its own": Case(
        [tunnel(9, remote="10.8.1.7")], {9: Underlay(2, DEFAULT)}, [route("10.8.1.0/24", 3, table=100), *DEFAULTS]
    ),
    "not a route over a device that is down": Case(
        [link(4, up=False), tunnel(9, remote="10.8.1.7")],
        {9: Underlay(2, DEFAULT)},
        [route("10.8.1.0/24", 4), *DEFAULTS],
    ),
    "a remote of IPv6": Case(
        [tunnel(9, remote="fd08::7", outer_ipv6=True)],
        {9: Underlay(3, ROUTE)},
        [route("fd08::/64", 3), route("10.8.0.0/16", 2), *DEFAULTS],
    ),
    "the default route of the right family": Case(
        [tunnel(9, remote="fd08::7", outer_ipv6=True)], {9: Underlay(3, DEFAULT)}
    ),
    "no default route of the family at all": Case(
        [tunnel(9, remote="fd08::7", outer_ipv6=True)], {9: UNKNOWN}, [route("0.0.0.0/0", 2)]
    ),
    "the default route with the lowest metric": Case(
        [tunnel(9, external=True)], {9: Underlay(3, DEFAULT)}, [route("0.0.0.0/0", 2, 200), route("0.0.0.0/0", 3, 100)]
    ),
    "WireGuard says nothing: IPv4's default route, else IPv6's": Case(
        [tunnel(9, "wireguard")], {9: Underlay(3, DEFAULT)}, [route("::/0", 3, 1024)]
    ),
    "a kind that is IPv6 outside": Case([tunnel(9, "ip6tnl", outer_ipv6=True)], {9: Underlay(3, DEFAULT)}),
    "not itself, though the default route leads through it": Case(
        [tunnel(9, "wireguard")], {9: Underlay(2, DEFAULT)}, [route("0.0.0.0/0", 9, 0), route("0.0.0.0/0", 2, 100)]
    ),
    "not itself, though it owns its local address": Case(
        [tunnel(9, local="10.5.0.1", own="10.5.0.1/32")], {9: Underlay(2, DEFAULT)}
    ),
    "not the bridge it is a port of": Case(
        [link(5, "10.5.0.1/24", kind="bridge"), tunnel(9, master=5, local="10.5.0.1")], {9: Underlay(2, DEFAULT)}
    ),
    "not a VLAN on top of that bridge": Case(
        [link(5, kind="bridge"), link(6, "10.5.0.1/24", kind="vlan", lower=5), tunnel(9, master=5, local="10.5.0.1")],
        {9: Underlay(2, DEFAULT)},
    ),
    "a tunnel within a tunnel": Case(
        [tunnel(8, "wireguard", own="10.6.0.1/24"), tunnel(9, local="10.6.0.1")],
        {8: Underlay(2, DEFAULT), 9: Underlay(8, LOCAL)},
    ),
    "two tunnels that name each other do not carry each other": Case(
        [
            tunnel(8, local="10.6.0.2", own="10.6.0.1/24"),
            tunnel(9, local="10.6.0.1", own="10.6.0.2/24"),
        ],
        {8: Underlay(9, LOCAL), 9: Underlay(2, DEFAULT)},
    ),
    "the other end of a veth is beside it": Case(
        [
            link(5, "10.5.0.1/24", kind="veth", lower=6),
            link(6, kind="veth", lower=5, master=7),
            link(7, kind="bridge"),
            tunnel(9, master=7, local="10.5.0.1"),
        ],
        {9: Underlay(5, LOCAL)},
    ),
    "a tunnel made in another namespace": Case(
        [tunnel(9, local="10.0.0.1"), moved(tunnel(8, local="10.0.0.1"))],
        {9: Underlay(2, LOCAL), 8: UNKNOWN},
    ),
    "no tunnel at all": Case([], {}),
    "no routes are known": Case([tunnel(9, remote="10.8.1.7")], {9: UNKNOWN}, []),
}


@pytest.mark.parametrize("name", CASES)
def test_the_device_below(name: str) -> None:
    case = CASES[name]
    links = {made.ifindex: made for made in (ETH0, ETH1, *case.links)}
    assert resolve(Inventory(links=links, routes=case.routes)) == case.expected


def test_many_tunnels_and_routes_are_no_burden() -> None:
    links = {
        made.ifindex: made for made in (ETH0, *(tunnel(n, "gre", remote=f"10.8.{n % 256}.7") for n in range(10, 510)))
    }
    routes = [route(f"10.{n // 256}.{n % 256}.0/24", 2) for n in range(8 * 256, 8 * 256 + 2000)]
    found = resolve(Inventory(links=links, routes=routes))
    assert set(found.values()) == {Underlay(2, ROUTE)}
