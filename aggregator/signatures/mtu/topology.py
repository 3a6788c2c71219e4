"""What a host's network is made of, as far as MTUs go: tunnels and what carries them, pods' veths and what they pass.

Derived from the host's items alone. Interface names decide nothing where kinds, routes or addresses can.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass
from functools import cached_property, lru_cache
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network, ip_interface, ip_network

from nodetell.v1 import facts_pb2 as pb

from aggregator.cluster.objects import NodeObject
from aggregator.node_state import NodeState
from aggregator.signatures.mtu.encapsulation import OVN_GENEVE_OPTIONS, TUNNEL_KINDS, overhead

_NOT_A_POD = frozenset({"cilium_host", "cilium_net"})
"""A veth pair whose both ends belong to the host: Cilium's router. Nothing but its name tells it from a pod's."""
_OVN_DEVICES = frozenset({"ovn-k8s-mp0", "ovn0", "br-int"})
_CNI_WIREGUARD = frozenset({"cilium_wg0", "wireguard.cali", "wg-v6.cali", "flannel-wg", "flannel-wg-v6"})
"""WireGuard devices that carry pods though no route of the main table says so (Calico uses its own table)."""
_CONTAINER_ENGINE_BRIDGE = re.compile(r"docker\d+|podman\d+|lxcbr\d+|lxdbr\d+|virbr\d+|br-[0-9a-f]{12}")
"""Bridges of container engines beside Kubernetes; asked only where no overlay's routes tell whose a bridge is."""
_POD_SUPERNET = {4: 16, 6: 48}
"""Prefix lengths within which one cluster's pod ranges lie: allocators cut a /16 or smaller into node ranges."""

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class TunnelFit:
    """A tunnel, the largest packet it is given, and whether what carries it can take that packet encapsulated."""

    link: pb.Link
    inner_mtu: int
    inner_source: str
    """Where the inner MTU comes from: "own MTU", "routes", "pod veths"."""
    overhead: int
    carrier: pb.Link
    carrier_mtu: int

    @property
    def needs(self) -> int:
        """Bytes of the largest encapsulated packet."""
        return self.inner_mtu + self.overhead

    @property
    def fits(self) -> bool:
        """The carrier can send it in one piece."""
        return self.needs <= self.carrier_mtu


@dataclass(frozen=True, slots=True)
class Incomparable:
    """A tunnel about which nothing can be said, and why."""

    link: pb.Link
    because: str


class HostNetwork:
    """One host's links and routes with the questions that the rules ask of them."""

    def __init__(self, state: NodeState, node: NodeObject | None = None) -> None:
        self.state = state
        self.node = node
        self.links = state.links()
        self.routes = state.routes()
        self.ports: dict[int, list[pb.Link]] = {}
        self.veths: list[pb.Link] = []
        """Most of a host's interfaces. They are told apart once: reading a field of a message takes its time."""
        self.others: list[pb.Link] = []
        """All that are no veths."""
        self._alive: set[int] = set()
        for ifindex, link in self.links.items():
            if master := link.master:
                self.ports.setdefault(master, []).append(link)
            (self.veths if link.kind == "veth" else self.others).append(link)
            if link.up and not link.loopback and link.operstate not in _DEAD:
                self._alive.add(ifindex)
        self._pod_bridges: dict[int, bool] = {}
        info = state.items.get("host")
        self.recorded = info is not None and info.host.recorded

    def of_node(self, node: NodeObject | None) -> HostNetwork:
        """The same host with another Node: what does not rest on the Node is not worked out again."""
        other = copy(self)
        other.node = node
        for name in ("local_pod_ranges", "local_pod_supernets"):
            other.__dict__.pop(name, None)
        return other

    # -- what is there -------------------------------------------------------------------------------------------------

    def alive(self, link: pb.Link) -> bool:
        """Somebody's path: up, not loopback, not without carrier (tunnels tell of none: their state is unknown)."""
        return link.ifindex in self._alive

    def tunnels(self) -> Iterator[pb.Link]:
        """Tunnels that are up."""
        return (link for link in self.others if link.kind in TUNNEL_KINDS and self.alive(link))

    @cached_property
    def pod_veths(self) -> list[pb.Link]:
        """Host-side ends of veth pairs whose other end is in another namespace, and that no container bridge owns.

        Where the node itself is a container (kind, for one), its way out is a veth too: no pod's.
        """
        ways_out = {link.tunnel.underlay for link in self.others if link.kind in TUNNEL_KINDS}
        ways_out |= {route.ifindex for route in self.routes if route.destination in {"0.0.0.0/0", "::/0"}}
        unfit = {ifindex for ifindex in self.links if ifindex in ways_out or ifindex not in self._alive}
        return [link for link in self.veths if link.ifindex not in unfit and self._is_pod_veth(link)]

    def _is_pod_veth(self, link: pb.Link) -> bool:
        if not link.HasField("peer_netnsid") or link.name in _NOT_A_POD:
            return False
        ifindex = link.master
        if ifindex not in self._pod_bridges:
            master = self.links.get(ifindex)
            # Routed, or on Open vSwitch, where it is no port of a bridge.
            self._pod_bridges[ifindex] = master is None or master.kind != "bridge" or self._is_pod_bridge(master)
        return self._pod_bridges[ifindex]

    def _is_pod_bridge(self, bridge: pb.Link) -> bool:
        """A bridge that an overlay's routes belong to, or that an overlay is a port of. docker0 is neither."""
        if any(port.kind in TUNNEL_KINDS for port in self.ports.get(bridge.ifindex, ())):
            return True
        if not self.overlay_ranges:
            return _CONTAINER_ENGINE_BRIDGE.fullmatch(bridge.name) is None
        found = (_network(address) for address in bridge.addresses)
        return any(there is not None and _supernet(there) in self._overlay_supernets for there in found)

    @cached_property
    def overlay_ranges(self) -> list[Network]:
        """Destinations of the routes through tunnels that are no VPNs: other nodes' pod ranges."""
        return [
            destination
            for route in self.routes
            if (link := self.links.get(route.ifindex)) is not None
            and link.kind in TUNNEL_KINDS
            and (link.kind != "wireguard" or link.name in _CNI_WIREGUARD)
            and (destination := _network(route.destination)) is not None
            and destination.prefixlen > 0
        ]

    @cached_property
    def local_pod_ranges(self) -> list[Network]:
        """Where this host's own pods live: the node's podCIDRs, pod bridges' and routed CNI devices' addresses."""
        ranges = [_network(cidr) for cidr in (self.node.pod_cidrs if self.node else ())]
        for link in self.links.values():
            bridge_of_veths = link.kind == "bridge" and any(p.kind == "veth" for p in self.ports.get(link.ifindex, ()))
            cni_device = link.kind == "veth" or (link.kind in TUNNEL_KINDS and link.kind != "wireguard")
            if bridge_of_veths or cni_device:
                ranges.extend(_network(address) for address in link.addresses)
        return [range_ for range_ in ranges if range_ is not None and not range_.is_link_local]

    @cached_property
    def local_pod_supernets(self) -> frozenset[Network]:
        """All that their being near others depends on."""
        return frozenset(map(_supernet, self.local_pod_ranges))

    def is_pod_address(self, address: str) -> bool:
        """An address behind an overlay, or of the range that this host's own pods are of."""
        there = _network(address)
        return there is not None and _supernet(there) in self._pod_supernets

    @cached_property
    def _overlay_supernets(self) -> frozenset[Network]:
        return frozenset(map(_supernet, self.overlay_ranges))

    @cached_property
    def _pod_supernets(self) -> frozenset[Network]:
        return self._overlay_supernets | self.local_pod_supernets

    @cached_property
    def _routes_of(self) -> Mapping[int, list[pb.Route]]:
        """Routes by the device that they leave through."""
        found: dict[int, list[pb.Route]] = {}
        for route in self.routes:
            found.setdefault(route.ifindex, []).append(route)
        return found

    def carries_pods(self, tunnel: pb.Link) -> bool:
        """Pods' packets to other nodes go through this tunnel, as far as routes, bridges and addresses tell."""
        if tunnel.name in _CNI_WIREGUARD:
            return True
        master = self.links.get(tunnel.master)
        if master is not None and any(port.kind == "veth" for port in self.ports.get(master.ifindex, ())):
            return True
        through = [_network(route.destination) for route in self._routes_of.get(tunnel.ifindex, ())]
        destinations = [there for there in through if there is not None and not there.is_link_local]
        if tunnel.kind in {"vxlan", "geneve"} and any(there.prefixlen > 0 for there in destinations):
            return True
        return any(_supernet(there) in self.local_pod_supernets for there in destinations)

    def idle(self, tunnel: pb.Link) -> bool:
        """Nobody's path: the kernel's fallback devices (tunl0, gre0, sit0), even up, and VPNs that nothing enters."""
        if tunnel.tunnel.external or tunnel.master or self.carries_pods(tunnel):
            return False
        if not tunnel.tunnel.underlay:
            return True
        placed = tunnel.tunnel.remote or tunnel.tunnel.underlay_source != pb.UNDERLAY_SOURCE_DEFAULT_ROUTE
        return not placed and not any(self._entered_by(tunnel))

    def _entered_by(self, tunnel: pb.Link) -> Iterator[pb.Route]:
        """Routes into a tunnel other than those that every device that is up has for its own link."""
        for route in self._routes_of.get(tunnel.ifindex, ()):
            there = _network(route.destination)
            if there is not None and not there.is_link_local and not there.is_multicast:
                yield route

    def below(self, tunnel: pb.Link) -> list[pb.Link]:
        """What carries a tunnel, and what that rests on: a VLAN's parent, a bond's members, a bridge's NIC."""
        found: dict[int, pb.Link] = {}
        to_visit = [tunnel.tunnel.underlay]
        while to_visit:
            link = self.links.get(to_visit.pop())
            if link is None or link.ifindex in found or link.ifindex == tunnel.ifindex:
                continue
            found[link.ifindex] = link
            if link.kind != "veth":
                to_visit.append(link.lower)
            to_visit += [port.ifindex for port in self.ports.get(link.ifindex, ()) if _carries(port)]
        return list(found.values())

    # -- does it fit ---------------------------------------------------------------------------------------------------

    def fit(self, tunnel: pb.Link) -> TunnelFit | Incomparable:
        """Compare a tunnel with what carries it."""
        carrier = self.links.get(tunnel.tunnel.underlay)
        if carrier is None:
            return Incomparable(tunnel, f"{tunnel.name}: the device that carries it could not be told")
        extra = overhead(tunnel, geneve_options=self._geneve_options(tunnel))
        if extra is None:
            return Incomparable(tunnel, f"{tunnel.name}: overhead of kind {tunnel.kind} is not known")
        inner = self._metadata_inner(tunnel, carrier) if tunnel.tunnel.external else self._inner(tunnel)
        if inner is None:
            return Incomparable(
                tunnel,
                f"{tunnel.name} is a metadata tunnel whose own MTU means nothing, no route gives an MTU towards pods, "
                f"and the pods' veths are as large as {carrier.name} ({carrier.mtu})",
            )
        mtu, source = inner
        fit = TunnelFit(tunnel, mtu, source, extra, carrier, self._carrier_mtu(tunnel, carrier))
        if not fit.fits and tunnel.tunnel.underlay_source == pb.UNDERLAY_SOURCE_DEFAULT_ROUTE:
            other = next((link for link in self._other_networks(carrier) if fit.needs <= link.mtu), None)
            if other is not None:
                return Incomparable(
                    tunnel,
                    f"{tunnel.name} names neither link nor address, and fits {other.name} ({other.mtu}) "
                    f"though not the default route's {carrier.name} ({carrier.mtu})",
                )
        return fit

    def _inner(self, tunnel: pb.Link) -> tuple[int, str]:
        """The largest packet that is sent into a tunnel: a route's own MTU beats its device's."""
        through = [route.mtu for route in self._routes_of.get(tunnel.ifindex, ())]
        if through and all(through) and max(through) < tunnel.mtu:
            return max(through), "routes"
        return tunnel.mtu, "own MTU"

    def _metadata_inner(self, tunnel: pb.Link, carrier: pb.Link) -> tuple[int, str] | None:
        mtus = self._pod_route_mtus(tunnel)
        if mtus:
            return min(mtus), "routes"
        veths = [veth.mtu for veth in self.pod_veths]
        if veths and max(veths) < carrier.mtu:
            return max(veths), "pod veths"
        if veths and any(route.encap for route in self._routes_of.get(tunnel.ifindex, ())):
            # The IP stack itself sends into it, by routes that say where to: there its MTU holds, as any device's.
            return min((tunnel.mtu, "own MTU"), (max(veths), "pod veths"))
        return None

    def pods_are_told(self, tunnel: pb.Link, most: int) -> bool:
        """The routes to other nodes' pods keep what pods send at `most` bytes, however large their veths: Cilium's way.

        Those routes leave by another device than the tunnel; what goes through the tunnel itself is its inner MTU.
        """
        mtus = self._routed_beside(tunnel)
        return bool(mtus) and min(mtus) <= most

    def _pod_route_mtus(self, tunnel: pb.Link) -> list[int]:
        """MTUs of routes through the tunnel, or else towards pod ranges by whatever virtual device."""
        through = [route.mtu for route in self._routes_of.get(tunnel.ifindex, ()) if route.mtu]
        return through or self._routed_beside(tunnel)

    def _routed_beside(self, tunnel: pb.Link) -> list[int]:
        """MTUs of routes towards pod ranges by virtual devices other than the tunnel."""
        return [mtu for ifindex, mtu in self._routed_virtually if ifindex != tunnel.ifindex]

    @cached_property
    def _routed_virtually(self) -> list[tuple[int, int]]:
        """(ifindex, MTU) of routes towards pod ranges by virtual devices, one for each that differ."""
        found = (
            (route.ifindex, route.mtu)
            for route in self.routes
            if route.mtu
            and (device := self.links.get(route.ifindex)) is not None
            and device.kind in {"veth", "bridge", "openvswitch", "dummy"}
            and (destination := _network(route.destination)) is not None
            and destination.prefixlen > 0
        )
        return list(dict.fromkeys(found))

    def _carrier_mtu(self, tunnel: pb.Link, carrier: pb.Link) -> int:
        """The carrier's MTU, or that of the route that the encapsulated packets take where it has one of its own."""
        remote = _network(tunnel.tunnel.remote)
        best: tuple[int, int] | None = None
        for route in self._routes_of.get(carrier.ifindex, ()):
            destination = _network(route.destination)
            if destination is None:
                continue
            wanted = remote is not None and remote.version == destination.version
            if (wanted and remote is not None and remote.network_address in destination) or (
                remote is None and destination.prefixlen == 0 and (destination.version == 6) == tunnel.tunnel.outer_ipv6
            ):
                candidate = (destination.prefixlen, route.mtu)
                best = candidate if best is None or candidate[0] > best[0] else best
        return min(carrier.mtu, best[1]) if best is not None and best[1] else carrier.mtu

    def _other_networks(self, carrier: pb.Link) -> list[pb.Link]:
        return [
            link
            for link in self.links.values()
            if link.ifindex != carrier.ifindex
            and self.alive(link)
            and link.addresses
            and (link.hardware or link.kind in {"", "bond", "vlan", "team"})
        ]

    def _geneve_options(self, tunnel: pb.Link) -> int:
        """OVN's option where OVN is: Open vSwitch names the device genev_sys_PORT, OVN adds devices of its own."""
        if not tunnel.name.startswith("genev_sys_") or not tunnel.tunnel.external:
            return 0
        return OVN_GENEVE_OPTIONS if any(link.name in _OVN_DEVICES for link in self.links.values()) else 0

    def source(self, kind: str) -> str:
        """Where evidence of a kind was read: "link" and "route", or a file below /proc."""
        if kind == "link":
            return "ip-link.json" if self.recorded else "rtnetlink"
        if kind == "route":
            return "ip-route.json" if self.recorded else "rtnetlink"
        return kind if self.recorded else f"/{kind}"


def _carries(port: pb.Link) -> bool:
    """A port that leads out of the host, not to a pod or into a tunnel."""
    return port.hardware or port.kind in {"", "bond", "vlan", "team"}


_DEAD = frozenset({pb.OPER_STATE_DOWN, pb.OPER_STATE_NOT_PRESENT, pb.OPER_STATE_LOWER_LAYER_DOWN})


@lru_cache(maxsize=100_000)
def _network(text: str) -> Network | None:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None


def subnet(address: str) -> Network | None:
    """Network of an interface address that others can share; None for host addresses, link-local and garbage."""
    try:
        interface: IPv4Interface | IPv6Interface = ip_interface(address)
    except ValueError:
        return None
    network = interface.network
    if network.prefixlen >= network.max_prefixlen - 1 or network.is_link_local or network.is_loopback:
        return None
    return network


def _supernet(network: Network) -> Network:
    """The range that a cluster's pods would share: networks with the same one are near each other."""
    return _shortened(network, _POD_SUPERNET[network.version])


def _shortened(network: Network, length: int) -> Network:
    return network.supernet(new_prefix=length) if network.prefixlen > length else network
