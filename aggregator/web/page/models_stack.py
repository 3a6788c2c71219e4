"""A node's interfaces as the stack that a packet goes down: pods, their bridge, the tunnel, the device, with each MTU.

Whether layers fit is what the signatures say of it (signatures/mtu): the page and a finding never disagree. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from nodetell.v1 import facts_pb2 as pb

from aggregator.cluster.objects import NodeObject
from aggregator.node_state import NodeState
from aggregator.signatures.mtu.host import configure
from aggregator.signatures.mtu.topology import HostNetwork, TunnelFit
from aggregator.web.page import words

_DROPS = ("rx_dropped", "tx_dropped", "rx_missed_errors", "rx_errors", "tx_errors")
_WAYS_OUT = ("0.0.0.0/0", "::/0")


@dataclass(frozen=True, slots=True)
class Box:
    """An interface, or several that are alike."""

    name: str
    kind: str
    mtu: int
    note: str
    """What else is to be known of it, one clause; may be empty."""
    lost: str
    """What it dropped of late; empty: nothing, or that is not known."""
    misfit: bool
    down: bool = False


@dataclass(frozen=True, slots=True)
class Layer:
    """Interfaces that do the same."""

    title: str
    hint: str
    boxes: tuple[Box, ...]
    below: tuple[tuple[bool, str], ...] = ()
    """(fits, why) of each thing that is said about it and what comes below it."""


@dataclass(frozen=True, slots=True)
class Stack:
    """From pods down to the devices."""

    layers: tuple[Layer, ...]
    misfits: tuple[str, ...]
    """What does not fit, one sentence each."""
    others: tuple[Box, ...]
    """Interfaces that are none of it."""


def stack(state: NodeState, node: NodeObject | None, window_s: float) -> Stack:
    """Of one host. `window_s`: over how long drops are told."""
    known = configure(state, node)
    network = known.network
    odd = {link.ifindex for misfit in known.misfits for link in (*misfit.links, *misfit.veths, *misfit.receivers)}
    odd |= {each.ifindex for fit in known.fits if not fit.fits for each in (fit.link, fit.carrier)}
    draw = _Drawing(state, network, odd, window_s)
    tunnels = [link for link in network.tunnels() if not network.idle(link)]
    bridges = _masters(network)
    devices = _devices(network, tunnels)
    layers = [
        Layer("Pods", "the host's ends of the cables that lead into pods (veth)", draw.pods()),
        Layer("Bridge", "joins the pods of this node", tuple(map(draw.box, bridges))),
        Layer(
            "Tunnel",
            "wraps packets to pods of other nodes in packets of its own",
            tuple(draw.tunnel(link, known.fits) for link in tunnels),
            tuple((fit.fits, _fit(fit)) for fit in known.fits),
        ),
        Layer("Device", "what goes out on the wire, and what it rests on", tuple(map(draw.box, devices))),
    ]
    drawn = {link.ifindex for link in (*network.pod_veths, *tunnels, *bridges, *devices)}
    others = [link for link in network.links.values() if link.ifindex not in drawn]
    return Stack(
        tuple(layer for layer in layers if layer.boxes),
        tuple(words_of for words_of in _misfits(known.fits, (misfit.statement for misfit in known.misfits))),
        tuple(draw.box(link) for link in sorted(others, key=lambda link: link.ifindex)),
    )


def _misfits(fits: Iterable[TunnelFit], statements: Iterable[str]) -> list[str]:
    return [*(_fit(fit) for fit in fits if not fit.fits), *statements]


def _fit(fit: TunnelFit) -> str:
    """The sum, as one would write it down."""
    sign = "fits" if fit.fits else "does not fit"
    return (
        f"{fit.inner_mtu:,} into {fit.link.name} + {fit.overhead} for {fit.link.kind} = {fit.needs:,}: "
        f"{sign} the {fit.carrier_mtu:,} of {fit.carrier.name}"
    )


def _masters(network: HostNetwork) -> list[pb.Link]:
    found = {veth.master for veth in network.pod_veths if veth.master in network.links}
    return [network.links[ifindex] for ifindex in sorted(found)]


def _devices(network: HostNetwork, tunnels: Iterable[pb.Link]) -> list[pb.Link]:
    """What carries the tunnels, or the default route, and what that rests on."""
    found: dict[int, pb.Link] = {}
    for tunnel in tunnels:
        found.update({link.ifindex: link for link in network.below(tunnel)})
    for route in network.routes:
        link = network.links.get(route.ifindex)
        if route.destination in _WAYS_OUT and link is not None and not link.HasField("tunnel"):
            found.setdefault(link.ifindex, link)
    return [found[ifindex] for ifindex in sorted(found)]


@dataclass(frozen=True, slots=True)
class _Drawing:
    state: NodeState
    network: HostNetwork
    odd: set[int]
    """Interfaces that do not fit something."""
    window_s: float

    def box(self, link: pb.Link) -> Box:
        """One interface."""
        notes = [", ".join(link.addresses[:3])]
        if (master := self.network.links.get(link.master)) is not None:
            notes.append(f"port of {master.name}")
        return Box(
            name=link.name,
            kind=link.kind or ("loopback" if link.loopback else "hardware" if link.hardware else "device"),
            mtu=link.mtu,
            note=", ".join(note for note in notes if note),
            lost=self._lost([link]),
            misfit=link.ifindex in self.odd,
            down=not link.up or link.operstate in (pb.OPER_STATE_DOWN, pb.OPER_STATE_LOWER_LAYER_DOWN),
        )

    def tunnel(self, link: pb.Link, fits: Iterable[TunnelFit]) -> Box:
        """With what it is given where its own MTU means nothing."""
        box = self.box(link)
        fit = next((each for each in fits if each.link.ifindex == link.ifindex), None)
        if not link.tunnel.external:
            return box
        given = f"given packets of {fit.inner_mtu:,} by {fit.inner_source}" if fit is not None else ""
        note = ", ".join(part for part in ("its own MTU means nothing", given, box.note) if part)
        return Box(box.name, box.kind, box.mtu, note, box.lost, box.misfit, box.down)

    def pods(self) -> tuple[Box, ...]:
        """Pods' veths, those alike together."""
        inside = {item.pod_link.host_interface: item.pod_link.mtu for item in self.state.of("pod_link")}
        groups: dict[tuple[int, int, int, bool], list[pb.Link]] = {}
        for veth in self.network.pod_veths:
            odd = veth.ifindex in self.odd
            groups.setdefault((veth.mtu, inside.get(veth.name, 0), veth.master, odd), []).append(veth)
        return tuple(self._pods(key, alike) for key, alike in sorted(groups.items()))

    def _pods(self, key: tuple[int, int, int, bool], alike: list[pb.Link]) -> Box:
        mtu, inner, master, odd = key
        bridge = self.network.links.get(master)
        notes = [f"{inner:,} inside the pod" if inner and inner != mtu else ""]
        notes.append(f"on {bridge.name}" if bridge is not None else "routed")
        name = alike[0].name if len(alike) == 1 else f"{len(alike):,} pods"
        return Box(name, "veth", mtu, ", ".join(note for note in notes if note), self._lost(alike), odd)

    def _lost(self, links: Iterable[pb.Link]) -> str:
        """Of several, the one that lost most: a sum would hide which."""
        worst = (0, "")
        for link in links:
            for name, delta in (self.state.increments(f"link/{link.ifindex}", self.window_s) or {}).items():
                if name in _DROPS and delta.increment > worst[0]:
                    worst = delta.increment, f"{delta.increment:,} {name} in {words.lasting(delta.seconds)}"
        return worst[1]
