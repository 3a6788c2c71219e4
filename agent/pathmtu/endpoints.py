"""Which addresses of this node lie on which network, so that the aggregator can pair them with other nodes'. Pure.

The underlay is what carries the tunnels, else the default route; other hardware with addresses is an underlay of its
own, named by its prefix. An overlay is named by its tunnels' kind and id. Some networks keep the node's overlay address
on an interface beside a tunnel in metadata mode; these few are known by name.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from nodetell.v1 import facts_pb2 as pb

from agent import underlay
from agent.host import Inventory
from agent.netlink.routes import RT_TABLE_DEFAULT, RT_TABLE_MAIN

_BESIDE_TUNNEL = {"cilium_host": "cilium", "ovn-k8s-mp0": "ovn", "antrea-gw0": "antrea"}
"""Interfaces that hold the node's address on the pods' network, by the network's name."""
_MAX_ADDRESSES = 16


def endpoint(inventory: Inventory, port: int, *, host_network: bool) -> pb.Item:
    """The item "probe_endpoint". `port` is 0 where nothing is answered; `host_network`: the interfaces are the node's.

    In a pod's own network namespace all addresses are the pods' network's.
    """
    found = _of_node(inventory) if host_network else _of_pod(inventory)
    addresses: list[pb.ProbeAddress] = []
    taken: set[tuple[str, str, bool]] = set()
    for address in found:
        network = (address.via, address.network, ":" in address.address)
        if network not in taken and len(addresses) < _MAX_ADDRESSES:
            taken.add(network)
            addresses.append(address)
    return pb.Item(key="probe_endpoint", probe_endpoint=pb.ProbeEndpoint(port=port, addresses=addresses))


def _of_node(inventory: Inventory) -> Iterator[pb.ProbeAddress]:
    links = inventory.links
    tunnels = {index for index, link in links.items() if link.HasField("tunnel")}
    carried = {below.ifindex for below in underlay.resolve(inventory).values()} - tunnels - {0}
    main = {
        route.ifindex
        for route in inventory.routes
        if route.destination.endswith("/0") and route.table in (RT_TABLE_MAIN, RT_TABLE_DEFAULT)
    }
    primary = [*sorted(carried & links.keys()), *sorted(main & links.keys() - tunnels - carried)]
    named: dict[bool, int] = {}
    for index in primary:
        for interface in _addresses(links[index]):
            first = named.setdefault(interface.version == 6, index)
            network = "" if first == index else str(interface.network)
            yield pb.ProbeAddress(address=str(interface.ip), via="underlay", network=network)
    for index in sorted(tunnels):
        link = links[index]
        network = f"{link.kind}/{link.tunnel.id}" if link.tunnel.id else link.kind
        for interface in _addresses(link):
            yield pb.ProbeAddress(address=str(interface.ip), via="overlay", network=network)
    for index in sorted(links.keys() - set(primary) - tunnels):
        link = links[index]
        for interface in _addresses(link):
            if link.name in _BESIDE_TUNNEL:
                network = _BESIDE_TUNNEL[link.name]
                yield pb.ProbeAddress(address=str(interface.ip), via="overlay", network=network)
            elif _is_underlay(link):
                network = str(interface.network)
                yield pb.ProbeAddress(address=str(interface.ip), via="underlay", network=network)


def _of_pod(inventory: Inventory) -> Iterator[pb.ProbeAddress]:
    for index in sorted(inventory.links):
        for interface in _addresses(inventory.links[index]):
            yield pb.ProbeAddress(address=str(interface.ip), via="overlay", network="pods")


def _is_underlay(link: pb.Link) -> bool:
    """Hardware, or what is commonly put on it; not a bridge, which may be the pods'."""
    return link.hardware or link.kind in ("bond", "vlan", "team")


def _addresses(link: pb.Link) -> Iterator[ipaddress.IPv4Interface | ipaddress.IPv6Interface]:
    """Addresses that other nodes may reach."""
    if not link.up or link.loopback:
        return
    for text in link.addresses:
        try:
            interface = ipaddress.ip_interface(text)
        except ValueError:
            continue
        if not (interface.ip.is_link_local or interface.ip.is_loopback or interface.ip.is_multicast):
            yield interface
