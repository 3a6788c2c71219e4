"""Rules over MTUs as they are configured: they need no traffic, so they are the warning before the outage."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from nodetell.v1 import facts_pb2 as pb

from aggregator.model import Gap, Stage
from aggregator.signatures.mtu.observation import Observation, Witness
from aggregator.signatures.mtu.topology import HostNetwork, Incomparable, TunnelFit
from aggregator.wording import some

OVERLAY_EXCEEDS_UNDERLAY = "mtu.overlay_exceeds_underlay"
INCONSISTENT_ON_NODE = "mtu.inconsistent_on_node"

_AGGREGATES = {"bridge": "bridge", "bond": "bond", "team": "team"}


@dataclass(frozen=True, slots=True)
class Misfit:
    """Interfaces of one host that must agree and do not."""

    about: tuple[str, ...]
    statement: str
    links: tuple[pb.Link, ...]
    veths: tuple[pb.Link, ...] = ()
    """Host-side veths through which too large packets would come in."""
    receivers: tuple[pb.Link, ...] = ()
    """Host-side veths through which too large packets would go to a smaller pod."""


def overlays(host: HostNetwork) -> tuple[list[TunnelFit], list[Gap]]:
    """Every tunnel that can be compared with what carries it, and those that cannot."""
    fits: list[TunnelFit] = []
    gaps: list[Gap] = []
    for tunnel in sorted(host.tunnels(), key=lambda link: link.ifindex):
        if host.idle(tunnel):
            continue
        match host.fit(tunnel):
            case TunnelFit() as fit:
                fits.append(fit)
            case Incomparable(because=because):
                gaps.append(Gap(host.state.name, "mtu.underlay", "degraded", f"could not compare: {because}"))
    return fits, gaps


def about_tunnel(link: pb.Link) -> tuple[str, ...]:
    """Identity of a tunnel across hosts."""
    return ("tunnel", link.kind, link.name)


def overlay_exceeds_underlay(host: HostNetwork, fits: Iterable[TunnelFit]) -> list[Observation]:
    """inner MTU + encapsulation > MTU of the device that carries the tunnel."""
    witness = Witness(host.state.name, host.state.at)
    source = host.source("link")
    found = []
    for fit in fits:
        if fit.fits:
            continue
        link = fit.link
        most = fit.carrier_mtu - fit.overhead
        evidence = [
            witness.level("link.mtu", fit.carrier.name, fit.carrier_mtu, "bytes", source),
            witness.level("tunnel.overhead", f"{link.name} ({link.kind})", fit.overhead, "bytes", source),
        ]
        if fit.inner_source == "routes":
            evidence.insert(0, witness.level("route.mtu", link.name, fit.inner_mtu, "bytes", host.source("route")))
        elif fit.inner_source == "pod veths":
            evidence.insert(0, witness.level("veth.mtu", "pods' veths", fit.inner_mtu, "bytes", source))
        else:
            evidence.insert(0, witness.level("link.mtu", link.name, link.mtu, "bytes", source))
        found.append(
            Observation(
                code=OVERLAY_EXCEEDS_UNDERLAY,
                about=about_tunnel(link),
                node=host.state.name,
                stage=Stage.RISK,
                statement=f"{link.name} is given packets of {fit.inner_mtu} ({fit.inner_source}), with "
                f"{fit.overhead} of {link.kind} they need {fit.needs}, {fit.carrier.name} carries {fit.carrier_mtu}",
                evidence=tuple(evidence),
                remedies=(
                    f"Set the MTU of {link.name} and the pods on it to {most} or less in the CNI's configuration.",
                    f"Or raise {fit.carrier.name} and every hop between the nodes to {fit.needs} or more.",
                ),
            )
        )
    return found


def misfits_on_node(host: HostNetwork, fits: Iterable[TunnelFit]) -> list[Misfit]:
    """Interfaces of one host that must agree on their MTU and do not."""
    return [
        *_members(host),
        *_pairs(host),
        *_stacked(host),
        *_pods_above_overlay(host, fits),
        *_pods_above_veth(host),
    ]


def _members(host: HostNetwork) -> list[Misfit]:
    """A bridge or bond and its members. Open vSwitch is left out: its own device's MTU says nothing of its ports."""
    found = []
    for ifindex, ports in sorted(host.ports.items()):
        top = host.links.get(ifindex)
        if top is None or top.kind not in _AGGREGATES or not host.alive(top):
            continue
        mtu = top.mtu
        differing = [port for port in ports if port.mtu != mtu and host.alive(port) and not port.tunnel.external]
        odd = sorted(differing, key=lambda port: port.ifindex)
        if odd:
            named = some(f"{port.name} {port.mtu}" for port in odd)
            found.append(
                Misfit(
                    about=("members", top.kind, top.name),
                    statement=f"{_AGGREGATES[top.kind]} {top.name} has MTU {top.mtu}, its port{_s(odd)} {named}",
                    links=(top, *odd),
                    veths=tuple(
                        port for port in (*ports,) if port.kind == "veth" and port.mtu > min(p.mtu for p in ports)
                    ),
                )
            )
    return found


def _pairs(host: HostNetwork) -> list[Misfit]:
    """The two ends of a veth, both in this namespace."""
    found = []
    for link in host.veths:
        lower = link.lower
        other = host.links.get(lower) if lower else None
        if other is None or other.kind != "veth" or other.lower != link.ifindex:
            continue
        if link.HasField("peer_netnsid") or other.HasField("peer_netnsid") or link.ifindex > other.ifindex:
            continue
        if host.alive(link) and host.alive(other) and link.mtu != other.mtu:
            found.append(
                Misfit(
                    about=("pair", *sorted((link.name, other.name))),
                    statement=f"the two ends of one veth differ: {link.name} {link.mtu}, {other.name} {other.mtu}",
                    links=(link, other),
                    veths=(min(link, other, key=lambda end: end.mtu),),
                )
            )
    return found


def _stacked(host: HostNetwork) -> list[Misfit]:
    """A VLAN or macvlan larger than the device below it; smaller is how they may be."""
    found = []
    for link in host.others:
        below = host.links.get(link.lower)
        if (
            link.kind in {"vlan", "macvlan", "macvtap", "ipvlan"}
            and below is not None
            and host.alive(link)
            and link.mtu > below.mtu
        ):
            found.append(
                Misfit(
                    about=("stacked", link.kind, link.name),
                    statement=f"{link.kind} {link.name} ({link.mtu}) is larger than {below.name} ({below.mtu})",
                    links=(link, below),
                )
            )
    return found


def _pods_above_overlay(host: HostNetwork, fits: Iterable[TunnelFit]) -> list[Misfit]:
    """Pods' veths larger than the overlay that their packets to other nodes are sent through."""
    veths = host.pod_veths
    found = []
    for fit in fits:
        link = fit.link
        if link.tunnel.external or not host.carries_pods(link) or link.master:
            continue  # on a bridge, it is compared as a port of it
        if host.pods_are_told(link, fit.inner_mtu):
            continue
        above = sorted((veth for veth in veths if veth.mtu > fit.inner_mtu), key=lambda veth: veth.ifindex)
        if above:
            largest = max(veth.mtu for veth in above)
            found.append(
                Misfit(
                    about=("pods above", link.kind, link.name),
                    statement=f"{len(above)} pod veth{_s(above)} of up to {largest} bytes send through {link.name}, "
                    f"which takes {fit.inner_mtu}",
                    links=(link, *above[:3]),
                    veths=tuple(above),
                )
            )
    return found


def _pods_above_veth(host: HostNetwork) -> list[Misfit]:
    """A pod's own interface larger or smaller than its host-side end."""
    by_name = {link.name: link for link in host.links.values()}
    odd: list[tuple[pb.PodLink, pb.Link]] = []
    for item in host.state.of("pod_link"):
        inner = item.pod_link
        veth = by_name.get(inner.host_interface)
        if veth is not None and (mtu := inner.mtu) and mtu != veth.mtu and host.alive(veth):
            odd.append((inner, veth))
    if not odd:
        return []
    odd.sort(key=lambda pair: pair[1].ifindex)
    named = some(f"{inner.interface} of pod {inner.pod_uid} {inner.mtu}, {veth.name} {veth.mtu}" for inner, veth in odd)
    return [
        Misfit(
            about=("pod interface",),
            statement=f"{len(odd)} pod interface{_s(odd)} and host-side veth{_s(odd)} differ: {named}",
            links=tuple(veth for _, veth in odd),
            veths=tuple(veth for inner, veth in odd if inner.mtu > veth.mtu),
            receivers=tuple(veth for inner, veth in odd if inner.mtu < veth.mtu),
        )
    ]


def inconsistent_on_node(host: HostNetwork, misfits: Iterable[Misfit]) -> list[Observation]:
    """A bridge or bond and its members, the two ends of a veth, or pods and their overlay disagree."""
    witness = Witness(host.state.name, host.state.at)
    source = host.source("link")
    return [
        Observation(
            code=INCONSISTENT_ON_NODE,
            about=misfit.about,
            node=host.state.name,
            stage=Stage.RISK,
            statement=misfit.statement,
            evidence=tuple(
                witness.level("link.mtu", link.name, link.mtu, "bytes", source) for link in misfit.links[:_MOST_LINKS]
            ),
        )
        for misfit in misfits
    ]


_MOST_LINKS = 8
"""Interfaces named as evidence of one misfit; a bridge with a thousand odd ports needs no thousand lines."""


def _s(things: object) -> str:
    return "" if isinstance(things, list | tuple) and len(things) == 1 else "s"
