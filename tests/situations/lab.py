"""Five network namespaces as two nodes, a pod on each, and the path between them, as a situation describes them.

    pod_a (eth0) - (v0) a (u0) - (r1) path (r2) - (u0) b (v0) - (eth0) pod_b

What a situation leaves out is healthy: everything at 1500, a routed VXLAN at 1450, pods at 1450, a path that routes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from tests.netns import Namespace, namespaces

PLACES = ("pod_a", "a", "path", "b", "pod_b")
NODES = ("a", "b")
_PRIORITY = {"output": 0, "prerouting": -450}
"""Before fragments are put together (-400), so that a rule can tell them."""

_IMPATIENT = "rto_min 20ms"
"""So that TCP runs into its time-outs ten times sooner than by itself."""


@dataclass(frozen=True, slots=True)
class Vxlan:
    """The overlay. Without `bound` the tunnel has addresses and no link, so the kernel takes any MTU."""

    mtu_a: int = 1450
    mtu_b: int = 0
    """0: as on a."""
    df: str = ""
    """Outer DF: "set", "inherit"; empty: unset, the kernel's default."""
    bound: bool = False
    external: bool = False
    """A metadata tunnel: where to is said by the routes' own encapsulation."""
    without_remote: bool = False
    """As flannel makes it: no learning, no default remote, a neighbour and an FDB entry for each peer."""
    vni_b: int = 42


@dataclass(frozen=True, slots=True)
class Rule:
    """What a place drops: an nftables expression at a hook ("output", "prerouting")."""

    place: str
    hook: str
    match: str


@dataclass(frozen=True, slots=True)
class Layout:
    """MTUs in the order in which packets meet them, and what else differs from a healthy cluster."""

    pod_a: int = 1450
    veth_a: int = 0
    """0: as the pod's."""
    nic_a: int = 1500
    hop_a: int = 1500
    hop_b: int = 1500
    nic_b: int = 1500
    veth_b: int = 0
    pod_b: int = 0
    """0: as on a."""
    overlay: Vxlan | None = Vxlan()
    bridged: bool = False
    """The overlay is a port of the pods' bridge; else packets are routed into it."""
    switch: bool = False
    """The path forwards frames, not packets."""
    bridge_filter: bool = True
    """Bridges hand packets to iptables (br_netfilter), which makes them fragment or refuse; hardware does neither."""
    ipv6_underlay: bool = False
    ipv6: bool = False
    """IPv6 is on although nobody uses it, as distributions have it."""
    segmentation_offload: bool = False
    drops: tuple[Rule, ...] = ()
    sysctls: tuple[tuple[str, str, int], ...] = ()
    """(place, key below net/, value)"""
    afterwards: tuple[tuple[str, str], ...] = ()
    """(place, command) once everything stands."""


@dataclass(frozen=True, slots=True)
class Lab:
    """A layout that stands."""

    layout: Layout
    places: dict[str, Namespace]

    @property
    def target(self) -> str:
        """Address of pod_b."""
        return "10.244.0.22" if self.layout.bridged else "10.244.2.11"


@contextlib.contextmanager
def built(layout: Layout) -> Iterator[Lab]:
    """The layout, gone afterwards. Raises CalledProcessError where the kernel refuses it."""
    with namespaces(len(PLACES)) as made:
        lab = Lab(layout, dict(zip(PLACES, made, strict=True)))
        for place in PLACES:
            _prepare(lab, place)
        _cable(lab)
        _address_underlay(lab)
        for side in NODES:
            lab.places[side].batch(_overlay(layout, side))
            lab.places[f"pod_{side}"].batch(_pod(layout, side))
            lab.places[side].batch(_node(layout, side))
        if layout.overlay is None:
            lab.places["path"].batch(f"route add 10.244.{number}.0/24 via 10.9.{number}.1" for number in (1, 2))
        elif layout.overlay.without_remote:
            for side in NODES:
                peer = _tunnel_mac(_other(side)), "dev", "vx0", "dst", _underlay_address(layout, _other(side))
                lab.places[side].run("bridge", "fdb", "add", *peer)
        for place, command in layout.afterwards:
            lab.places[place].run(*command.split())
        for rule in layout.drops:
            chain = (
                f"add chain inet lab {rule.hook} {{ type filter hook {rule.hook} priority {_PRIORITY[rule.hook]}; }}"
            )
            lab.places[rule.place].run(
                "nft", f"add table inet lab; {chain}; add rule inet lab {rule.hook} {rule.match} drop"
            )
        yield lab


def _prepare(lab: Lab, place: str) -> None:
    layout, inside = lab.layout, lab.places[place]
    on = layout.ipv6 or layout.ipv6_underlay
    with inside.entered():
        for which in ("all", "default"):
            inside.sysctl(f"net/ipv6/conf/{which}/disable_ipv6", 0 if on else 1)
        inside.sysctl("net/ipv4/ip_forward", 1)
        inside.sysctl("net/ipv6/conf/all/forwarding", 1 if on and place == "path" else 0)
        if not layout.bridge_filter:
            inside.sysctl("net/bridge/bridge-nf-call-iptables", 0)
        for where, key, value in layout.sysctls:
            if where == place:
                inside.sysctl(f"net/{key}", value)


def _cable(lab: Lab) -> None:
    layout, places = lab.layout, lab.places
    for side, hop, nic, here, pod in (
        ("a", "r1", layout.nic_a, layout.hop_a, layout.pod_a),
        ("b", "r2", layout.nic_b, layout.hop_b, layout.pod_b or layout.pod_a),
    ):
        veth = (layout.veth_a if side == "a" else layout.veth_b) or pod
        # A segment a packet, so that counters count what went over the wire.
        whole = "" if layout.segmentation_offload else "gso_max_segs 1"
        places[side].batch(
            (
                f"link add u0 mtu {nic} type veth peer name {hop} mtu {here} netns {places['path'].name}",
                f"link add v0 mtu {veth} type veth peer name eth0 mtu {pod} netns {places[f'pod_{side}'].name}",
                f"link set u0 up {whole}",
                f"link set v0 up {whole}",
            )
        )
        places["path"].batch([f"link set {hop} up {whole}"])
        places[f"pod_{side}"].batch([f"link set eth0 up {whole}"])


def _underlay_address(layout: Layout, side: str) -> str:
    number = NODES.index(side) + 1
    if layout.ipv6_underlay:
        return f"fd09:{number}::1"
    return f"10.9.1.{number}" if layout.switch else f"10.9.{number}.1"


def _address_underlay(lab: Lab) -> None:
    layout, places = lab.layout, lab.places
    if layout.switch:
        # br_netfilter needs no more than the bridge; its MTU goes with the smallest port.
        places["path"].batch(
            ("link add br0 type bridge", "link set r1 master br0", "link set r2 master br0", "link set br0 up")
        )
        for side, number in (("a", 1), ("b", 2)):
            gateway = f"10.9.1.{3 - number}"
            places[side].batch((f"addr add 10.9.1.{number}/24 dev u0", f"route add default via {gateway}"))
        return
    for side, number, hop in (("a", 1, "r1"), ("b", 2, "r2")):
        places["path"].batch([f"addr add 10.9.{number}.254/24 dev {hop}"])
        places[side].batch((f"addr add 10.9.{number}.1/24 dev u0", f"route add default via 10.9.{number}.254"))
        if layout.ipv6_underlay:
            places["path"].batch([f"addr add fd09:{number}::fe/64 dev {hop} nodad"])
            commands = (f"addr add fd09:{number}::1/64 dev u0 nodad", f"route add default via fd09:{number}::fe")
            places[side].batch(commands)


def _overlay(layout: Layout, side: str) -> list[str]:
    overlay = layout.overlay
    if overlay is None:
        return []
    mtu = (overlay.mtu_b if side == "b" else 0) or overlay.mtu_a
    address = f"address {_tunnel_mac(side)}"
    if overlay.external:
        return [f"link add vx0 mtu {mtu} {address} type vxlan external dstport 4789", "link set vx0 up"]
    vni = overlay.vni_b if side == "b" else 42
    words = [f"link add vx0 mtu {mtu} {address} type vxlan id {vni} dstport 4789"]
    words.append(f"local {_underlay_address(layout, side)}")
    words.append("nolearning" if overlay.without_remote else f"remote {_underlay_address(layout, _other(side))}")
    if overlay.bound:
        words.append("dev u0")
    if overlay.df:
        words.append(f"df {overlay.df}")
    limit = [] if layout.segmentation_offload else ["link set vx0 gso_max_segs 1"]
    return [" ".join(words), *limit, *([] if overlay.without_remote else ["link set vx0 up"])]


def _other(side: str) -> str:
    return "b" if side == "a" else "a"


def _tunnel_mac(side: str) -> str:
    return f"02:00:00:00:00:0{NODES.index(side) + 1}"


def _pod(layout: Layout, side: str) -> list[str]:
    number = NODES.index(side) + 1
    if layout.bridged:
        there = f"10.244.0.0/24 dev eth0 src 10.244.0.{11 * number}"
        return [f"addr add 10.244.0.{11 * number}/24 dev eth0", f"route replace {there} {_IMPATIENT}"]
    return [f"addr add 10.244.{number}.11/24 dev eth0", f"route add default via 10.244.{number}.1 {_IMPATIENT}"]


def _node(layout: Layout, side: str) -> list[str]:
    """The node's own part in pods' traffic."""
    overlay = layout.overlay
    if layout.bridged:
        return [
            "link add br0 type bridge",
            "link set v0 master br0",
            *(["link set vx0 master br0"] if overlay else []),
            "link set br0 up",
        ]
    mine, yours = NODES.index(side) + 1, NODES.index(_other(side)) + 1
    commands = [f"addr add 10.244.{mine}.1/24 dev v0"]
    if overlay is None:
        return commands  # the default route leads there, and the path knows the pods' ranges
    commands.append(f"addr add 10.244.{mine}.0/32 dev vx0")
    if overlay.without_remote:
        commands.append("link set vx0 up")
    onlink = f"via 10.244.{yours}.0 dev vx0 onlink {_IMPATIENT}"
    neighbour = f"neigh add 10.244.{yours}.0 lladdr {_tunnel_mac(_other(side))} dev vx0 nud permanent"
    if overlay.external:
        ends = f"src {_underlay_address(layout, side)} dst {_underlay_address(layout, _other(side))}"
        return [*commands, neighbour, f"route add 10.244.{yours}.0/24 encap ip id 42 {ends} {onlink}"]
    return [*commands, neighbour, f"route add 10.244.{yours}.0/24 {onlink}"]
