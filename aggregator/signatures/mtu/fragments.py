"""Overlays that live on fragmentation, and fragments that do not arrive."""

from __future__ import annotations

from collections.abc import Iterable

from nodetell.v1 import facts_pb2 as pb

from aggregator.model import Stage
from aggregator.signatures.mtu.configuration import OVERLAY_EXCEEDS_UNDERLAY, about_tunnel
from aggregator.signatures.mtu.observation import Observation, enough
from aggregator.signatures.mtu.window import HostWindow

FRAGMENTING = "mtu.fragmenting"
FRAGMENTS_LOST = "mtu.fragments_lost"
ON_THE_WAY = ("on the way",)
"""None of what a node sends arrives anywhere."""
ARRIVING = ("arriving",)
"""A node gets some and cannot put packets together."""


def fragments_made(window: HostWindow) -> tuple[int, int, float] | None:
    """(packets cut, fragments made, seconds) by the sender of an overlay that does not fit; None: nothing of it.

    Without a misfit the fragments may be of anybody (NFS over UDP, DNS): they say nothing of the overlay.
    """
    if not any(
        not fit.link.tunnel.outer_ipv6 and fit.link.tunnel.df != pb.OUTER_DF_SET for fit in window.misfit_tunnels()
    ):
        return None
    cut, made = window.moves.of("protocol/Ip", "FragOKs"), window.moves.of("protocol/Ip", "FragCreates")
    seconds = window.moves.seconds("protocol/Ip", "FragCreates")
    if cut is None or made is None or not enough(made, window.limits.fragments_min, seconds):
        return None
    return cut, made, seconds


def fragmenting(window: HostWindow) -> list[Observation]:
    """The overlay only works because its packets are cut in two."""
    moved = fragments_made(window)
    if moved is None:
        return []
    cut, made, seconds = moved
    source = window.host.source("proc/net/snmp")
    return [
        Observation(
            code=FRAGMENTING,
            about=about_tunnel(fit.link),
            node=window.host.state.name,
            stage=Stage.RISK,
            statement=f"{cut} packets were cut into {made} fragments in {seconds:g} s to get {fit.link.name} "
            f"through {fit.carrier.name}",
            evidence=(
                window.witness.rise("Ip.FragOKs", cut, seconds, source),
                window.witness.rise("Ip.FragCreates", made, seconds, source, "fragments"),
            ),
            causes=((OVERLAY_EXCEEDS_UNDERLAY, about_tunnel(fit.link)),),
        )
        for fit in window.misfit_tunnels()
        if not fit.link.tunnel.outer_ipv6
    ]


def fragments_unassembled(window: HostWindow) -> list[Observation]:
    """Fragments arrive, but not all of them: the receiver gives up on their packets."""
    failed = window.moves.of("protocol/Ip", "ReasmFails")
    arrived = window.moves.of("protocol/Ip", "ReasmReqds")
    timed_out = window.moves.of("protocol/Ip", "ReasmTimeout")
    seconds = window.moves.seconds("protocol/Ip", "ReasmFails")
    if failed is None or arrived is None:
        return []
    worst = max(failed, timed_out or 0)
    if not enough(worst, window.limits.reassembly_failures_min, seconds):
        return []
    if worst < window.limits.reassembly_failures_ratio * arrived:
        return []
    source = window.host.source("proc/net/snmp")
    return [
        Observation(
            code=FRAGMENTS_LOST,
            about=ARRIVING,
            node=window.host.state.name,
            stage=Stage.ACTIVE,
            statement=f"{arrived} fragments arrived in {seconds:g} s, {worst} packets could not be put together",
            evidence=(
                window.witness.rise("Ip.ReasmReqds", arrived, seconds, source, "fragments"),
                window.witness.rise("Ip.ReasmFails", failed, seconds, source),
                window.witness.rise("Ip.ReasmTimeout", timed_out or 0, seconds, source),
            ),
        )
    ]


def lost_between(hosts: Iterable[HostWindow], every_node_seen: bool) -> list[Observation]:
    """Senders cut their overlay's packets, and no other node sees a fragment arrive: all of them are lost.

    Said only where every node of the cluster is watched: the fragments may have gone to one that is not.
    """
    counters = list(hosts)
    senders = [(host, moved) for host in counters if (moved := fragments_made(host)) is not None]
    if not senders or len(counters) < 2 or not every_node_seen:
        return []
    found = []
    for host, (cut, made, seconds) in senders:
        arrivals = [other.moves.of("protocol/Ip", "ReasmReqds") for other in counters if other is not host]
        known = [arrived for arrived in arrivals if arrived is not None]
        if len(known) < len(arrivals) or sum(known) > host.limits.fragments_arrive_ratio * made:
            continue
        source = host.host.source("proc/net/snmp")
        found.append(
            Observation(
                code=FRAGMENTS_LOST,
                about=ON_THE_WAY,
                node=host.host.state.name,
                stage=Stage.ACTIVE,
                statement=f"{made} fragments of {cut} packets were sent in {seconds:g} s, and {sum(known)} arrived on "
                "all other nodes",
                evidence=(
                    host.witness.rise("Ip.FragCreates", made, seconds, source, "fragments"),
                    *(
                        other.witness.rise(
                            "Ip.ReasmReqds", arrived, seconds, other.host.source("proc/net/snmp"), "fragments"
                        )
                        for other, arrived in zip((c for c in counters if c is not host), known, strict=True)
                    ),
                ),
                causes=tuple((OVERLAY_EXCEEDS_UNDERLAY, about_tunnel(fit.link)) for fit in host.misfit_tunnels()),
            )
        )
    return found
