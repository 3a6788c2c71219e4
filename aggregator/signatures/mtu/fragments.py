"""Overlays that live on fragmentation, and fragments that do not arrive."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice

from nodetell.v1 import facts_pb2 as pb

from aggregator.model import Evidence, Stage
from aggregator.signatures.mtu.configuration import OVERLAY_EXCEEDS_UNDERLAY, about_tunnel
from aggregator.signatures.mtu.observation import Observation, enough
from aggregator.signatures.mtu.window import HostWindow

FRAGMENTING = "mtu.fragmenting"
FRAGMENTS_LOST = "mtu.fragments_lost"
ON_THE_WAY = ("on the way",)
"""None of what a node sends arrives anywhere."""
ARRIVING = ("arriving",)
"""A node gets some and cannot put packets together."""
_MOST_WITNESSES = 20
"""Other nodes that are quoted for what did not arrive; all are counted."""


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


def arrived(window: HostWindow) -> int | None:
    """Fragments that arrived on a host; None: not known."""
    return window.moves.of("protocol/Ip", "ReasmReqds")


def lost_between(
    senders: Mapping[str, tuple[HostWindow, tuple[int, int, float]]],
    arrivals: Callable[[], Mapping[str, tuple[HostWindow, int | None]]],
    every_node_seen: Callable[[], bool],
) -> list[Observation]:
    """Senders cut their overlay's packets, and no other node sees a fragment arrive: all of them are lost.

    Said only where every node of the cluster is watched: the fragments may have gone to one that is not. `senders` have
    what fragments_made says, `arrivals` what arrived on every host, by name and in order.
    """
    if not senders or not every_node_seen():
        return []
    everywhere = arrivals()
    unknown = sum(count is None for _, count in everywhere.values())
    total = sum(count or 0 for _, count in everywhere.values())
    witnesses: dict[tuple[str, float], Evidence] = {}

    def witness(name: str, seconds: float) -> Evidence:
        if (name, seconds) not in witnesses:
            window, count = everywhere[name]
            source = window.host.source("proc/net/snmp")
            witnesses[name, seconds] = window.witness.rise("Ip.ReasmReqds", count or 0, seconds, source, "fragments")
        return witnesses[name, seconds]

    found = []
    for name, (host, (cut, made, seconds)) in sorted(senders.items()):
        own = everywhere[name][1]
        if len(everywhere) < 2 or unknown - (own is None):
            continue
        elsewhere = total - (own or 0)
        if elsewhere > host.limits.fragments_arrive_ratio * made:
            continue
        others = islice((other for other in everywhere if other != name), _MOST_WITNESSES)
        found.append(
            Observation(
                code=FRAGMENTS_LOST,
                about=ON_THE_WAY,
                node=name,
                stage=Stage.ACTIVE,
                statement=f"{made} fragments of {cut} packets were sent in {seconds:g} s, and {elsewhere} arrived on "
                "all other nodes",
                evidence=(
                    host.witness.rise("Ip.FragCreates", made, seconds, host.host.source("proc/net/snmp"), "fragments"),
                    *(witness(other, seconds) for other in others),
                ),
                causes=tuple((OVERLAY_EXCEEDS_UNDERLAY, about_tunnel(fit.link)) for fit in host.misfit_tunnels()),
            )
        )
    return found
