"""Which interface carries packets to an address, and what size they may have there.

The kernel is asked for the route as it is configured (RTM_F_FIB_MATCH), not for what path-MTU discovery has made of it:
a size learned from ICMP is what a probe is to find, not where it is to begin. Source: rtnetlink(7).
"""

from __future__ import annotations

import socket
from dataclasses import dataclass

from nodetell.v1 import facts_pb2 as pb

from agent.host import Inventory
from agent.netlink import routes, wire
from agent.netlink.connection import DumpConnection
from agent.netlink.wire import Batch, DecodeError

_RTM_F_FIB_MATCH = 0x2000


@dataclass(frozen=True, slots=True)
class Carrier:
    """The interface that packets leave by."""

    interface: str
    full_size: int
    """The largest IP packet in bytes that ordinary traffic sends that way."""


class RouteTable:
    """The kernel's routing decision, asked for by rtnetlink. Of the network namespace it was made in."""

    def __init__(self) -> None:
        """Raises OSError."""
        self._connection = DumpConnection()

    def route_to(self, address: str) -> list[pb.Route]:
        """The route's next hops, usually one; empty: there is none, or the kernel cannot be asked so."""
        found: list[pb.Route] = []

        def take(data: memoryview) -> Batch:
            batch = wire.split(data)
            for message in batch.messages:
                if message.type == wire.RTM_NEWROUTE:
                    found.extend(routes.decode_route(message.body))
            return batch

        try:
            self._connection.ask(wire.RTM_GETROUTE, request(address), take)
        except (OSError, DecodeError):
            return []
        return found

    def close(self) -> None:
        """Close the socket."""
        self._connection.close()


def request(address: str) -> bytes:
    """Body of RTM_GETROUTE for the configured route to an address."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    packed = socket.inet_pton(family, address)
    header = routes.RTMSG.pack(family, 8 * len(packed), 0, 0, 0, 0, 0, 0, _RTM_F_FIB_MATCH)
    return header + wire.attribute(routes.RTA_DST, packed)


def carrier(inventory: Inventory, hops: list[pb.Route], local_address: str) -> Carrier | None:
    """The interface towards an address, by the route's next hops, else by the address that packets leave from.

    None where it cannot be told what size is full there: a tunnel in metadata mode says nothing by its own MTU.
    """
    owners = [index for index, link in inventory.links.items() if _owns(link, local_address)]
    several = {route.ifindex: route for route in hops if route.ifindex in inventory.links}
    chosen = next((index for index in owners if index in several), next(iter(several), None))
    index = chosen if chosen is not None else next(iter(owners), None)
    if index is None:
        return None
    link = inventory.links[index]
    route = several.get(index)
    if link.loopback or not link.mtu:
        return None
    full_size = link.mtu
    if route is not None and route.mtu:
        full_size = min(full_size, route.mtu)
    elif link.tunnel.external or (route is not None and route.encap):
        # Ordinary traffic comes from pods there, and is no larger than their interfaces.
        pods = [other.mtu for other in inventory.links.values() if other.kind == "veth" and other.up and other.mtu]
        if not pods:
            return None
        full_size = min(full_size, *pods)
    return Carrier(link.name, full_size)


def _owns(link: pb.Link, address: str) -> bool:
    return link.up and any(own.partition("/")[0] == address for own in link.addresses)
