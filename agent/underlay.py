"""Which device carries a tunnel's packets. Pure: it looks at links and routes and asks nobody.

In this order: the tunnel's own `link`; the device that owns its local address; the device of the route to its remote
address; the device of the default route. A tunnel is never carried by itself or by a device above it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from socket import AF_INET, AF_INET6, inet_pton

from nodetell.v1 import facts_pb2 as pb

from agent.host import Inventory
from agent.netlink.routes import RT_TABLE_DEFAULT, RT_TABLE_MAIN


@dataclass(frozen=True, slots=True)
class Underlay:
    """The device below a tunnel."""

    ifindex: int
    """0: it cannot be told, or is in another network namespace."""
    source: int
    """An UnderlaySource."""


UNKNOWN = Underlay(0, pb.UNDERLAY_SOURCE_UNKNOWN)


def resolve(inventory: Inventory) -> dict[int, Underlay]:
    """The underlay of each tunnel, by the tunnel's ifindex."""
    tunnels = sorted(index for index, link in inventory.links.items() if link.HasField("tunnel"))
    if not tunnels:
        return {}
    stack = _Stack(inventory.links)
    owners = _owners(inventory.links)
    routes = _RouteTable(inventory.routes, inventory.links)
    found: dict[int, Underlay] = {}
    for index in tunnels:
        link = inventory.links[index]
        found[index] = UNKNOWN
        if link.HasField("peer_netnsid"):
            continue  # its packets leave in the namespace it was made in
        for candidate in _candidates(link, inventory.links, owners, routes):
            if not stack.rests_on(candidate.ifindex, index):
                found[index] = candidate
                stack.put(index, candidate.ifindex)
                break
    return found


def _candidates(
    link: pb.Link, links: Mapping[int, pb.Link], owners: Mapping[str, list[int]], routes: _RouteTable
) -> Iterator[Underlay]:
    """Devices that may carry a tunnel, the likeliest first."""
    tunnel = link.tunnel
    if link.lower in links:
        yield Underlay(link.lower, pb.UNDERLAY_SOURCE_LINK)
    for owner in owners.get(tunnel.local, ()):
        yield Underlay(owner, pb.UNDERLAY_SOURCE_LOCAL_ADDRESS)
    if tunnel.remote:
        for ifindex in routes.towards(tunnel.remote):
            yield Underlay(ifindex, pb.UNDERLAY_SOURCE_REMOTE_ROUTE)
    families = (tunnel.outer_ipv6,) if tunnel.local or tunnel.remote or tunnel.outer_ipv6 else (False, True)
    for ipv6 in families:
        for ifindex in routes.defaults(ipv6):
            yield Underlay(ifindex, pb.UNDERLAY_SOURCE_DEFAULT_ROUTE)


class _Stack:
    """Which device rests on which: ports under their bridge, VLANs on their parent, tunnels on their underlay."""

    def __init__(self, links: Mapping[int, pb.Link]) -> None:
        self._below: dict[int, set[int]] = {}
        for index, link in links.items():
            # A veth's other end is beside it, not below.
            if link.lower and link.kind != "veth":
                self.put(index, link.lower)
            if link.master:
                self.put(link.master, index)

    def put(self, above: int, below: int) -> None:
        self._below.setdefault(above, set()).add(below)

    def rests_on(self, ifindex: int, base: int) -> bool:
        """Whether a device is `base` or above it."""
        seen: set[int] = set()
        to_visit = [ifindex]
        while to_visit:
            current = to_visit.pop()
            if current == base:
                return True
            if current not in seen:
                seen.add(current)
                to_visit.extend(self._below.get(current, ()))
        return False


def _owners(links: Mapping[int, pb.Link]) -> dict[str, list[int]]:
    """Devices by the addresses they own, those that are up first."""
    owners: dict[str, list[int]] = {}
    for index in sorted(links, key=lambda index: (not links[index].up, index)):
        for address in links[index].addresses:
            owners.setdefault(address.partition("/")[0], []).append(index)
    return owners


class _RouteTable:
    """Routes of the tables that traffic without a rule of its own takes, by prefix."""

    def __init__(self, routes: Iterable[pb.Route], links: Mapping[int, pb.Link]) -> None:
        self._by_prefix: dict[tuple[bool, int, int], list[pb.Route]] = {}
        self._lengths: dict[bool, set[int]] = {False: set(), True: set()}
        for route in routes:
            link = links.get(route.ifindex)
            if link is None or not link.up or route.table not in (RT_TABLE_MAIN, RT_TABLE_DEFAULT):
                continue
            network, _, length = route.destination.partition("/")
            ipv6 = ":" in network
            self._lengths[ipv6].add(int(length))
            key = ipv6, int(length), _number(network) >> ((128 if ipv6 else 32) - int(length))
            self._by_prefix.setdefault(key, []).append(route)

    def _of(self, ipv6: bool, length: int, prefix: int) -> list[int]:
        """Devices of the routes for one prefix, the preferred one first."""
        routes = self._by_prefix.get((ipv6, length, prefix), [])
        order = sorted(routes, key=lambda r: (r.table != RT_TABLE_MAIN, r.priority, r.ifindex))
        return [route.ifindex for route in order]

    def towards(self, address: str) -> Iterator[int]:
        """Devices of the routes to an address, longest prefix first; not those of the default route."""
        ipv6 = ":" in address
        number, width = _number(address), 128 if ipv6 else 32
        for length in sorted(self._lengths[ipv6] - {0}, reverse=True):
            yield from self._of(ipv6, length, number >> (width - length))

    def defaults(self, ipv6: bool) -> list[int]:
        """Devices of the default routes of a family."""
        return self._of(ipv6, 0, 0)


def _number(address: str) -> int:
    return int.from_bytes(inet_pton(AF_INET6 if ":" in address else AF_INET, address), "big")
