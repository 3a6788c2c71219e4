"""Packets too big for their way, by the exact counter rules: on the node itself, and at a bridge.

Measured fact behind them: "drops on the overlay, NIC clean" is neither necessary nor sufficient for an MTU fault. A
full qdisc, a peer without FDB entry or multicast without a destination drop on the overlay too; and most black holes
move no interface counter at all. What is specific is which SNMP counters of the same namespace move with the drops.
"""

from __future__ import annotations

from aggregator.model import Evidence, Stage
from aggregator.signatures.mtu.configuration import OVERLAY_EXCEEDS_UNDERLAY, Misfit, about_tunnel
from aggregator.signatures.mtu.observation import Observation, enough
from aggregator.signatures.mtu.window import HostWindow, TooBig

DROP_FINGERPRINT = "mtu.drop_fingerprint"
ICMP_BLOCKED = "mtu.icmp_blocked"


def drop_fingerprint(window: HostWindow) -> list[Observation]:
    """The node itself cannot send what its overlay accepts: the exact counter rule, per tunnel."""
    found = []
    for moved in window.families:
        if not window.overflow(moved):
            continue
        for link in window.tunnels_of(moved.family):
            drops = window.moves.of(f"link/{link.ifindex}", moved.family.tunnel_drops) or 0
            if not drops:
                continue
            found.append(
                Observation(
                    code=DROP_FINGERPRINT,
                    about=about_tunnel(link),
                    node=window.host.state.name,
                    stage=Stage.ACTIVE,
                    statement=f"{link.name} dropped {min(drops, moved.frag_fails)} packets in {moved.seconds:g} s, "
                    f"and FragFails, {moved.family.out_too_big} and {moved.family.in_too_big} rose by "
                    f"{moved.frag_fails}, {moved.told} and {moved.told_self}: its encapsulated packets are too "
                    "big for this node's own way out",
                    evidence=(
                        window.link_rise(link, moved.family.tunnel_drops),
                        window.ip_rise(moved, "FragFails", moved.frag_fails),
                        window.icmp_rise(moved, moved.family.out_too_big, moved.told),
                        window.icmp_rise(moved, moved.family.in_too_big, moved.told_self),
                    ),
                    ruled_out=(*window.nic_clean(link), *window.queues_clean()),
                    causes=((OVERLAY_EXCEEDS_UNDERLAY, about_tunnel(link)),),
                )
            )
    return found


def icmp_blocked(window: HostWindow) -> list[Observation]:
    """Forwarded packets were too big, and the ICMP that would tell their senders was thrown away on this node."""
    found = []
    for moved in window.families:
        if (
            not enough(moved.frag_fails, window.limits.mtu_drops_min, moved.seconds)
            or not window.agrees(moved.frag_fails, moved.told)
            or window.agrees(moved.frag_fails, moved.told_self)
            or not window.agrees(moved.frag_fails, min(moved.discarded, moved.frag_fails))
        ):
            continue
        found.append(
            Observation(
                code=ICMP_BLOCKED,
                about=(f"ipv{moved.family.version}",),
                node=window.host.state.name,
                stage=Stage.ACTIVE,
                statement=f"{moved.frag_fails} forwarded packets were too big in {moved.seconds:g} s, and the node "
                f"discarded {moved.discarded} outgoing packets at the same time: its own ICMP does not get out",
                evidence=(
                    window.ip_rise(moved, "FragFails", moved.frag_fails),
                    window.icmp_rise(moved, moved.family.out_too_big, moved.told),
                    window.icmp_rise(moved, moved.family.in_too_big, moved.told_self),
                    window.ip_rise(moved, "OutDiscards", moved.discarded),
                ),
            )
        )
    return found


def silent_bridge_drops(window: HostWindow) -> TooBig | None:
    """FragFails without ICMP: a bridge dropped packets and nobody was told. None: it did not."""
    for moved in window.families:
        if (
            enough(moved.frag_fails, window.limits.mtu_drops_min, moved.seconds)
            and moved.told <= window.limits.counters_agree_ratio * moved.frag_fails
        ):
            return moved
    return None


def misfit_harm(window: HostWindow, misfit: Misfit) -> tuple[Evidence, ...]:
    """Evidence that packets die at an interface that is smaller than the one before it; empty: none."""
    ways = [(veth, "rx_dropped") for veth in misfit.veths] + [(veth, "tx_dropped") for veth in misfit.receivers]
    harm = [
        window.link_rise(veth, counter)
        for veth, counter in ways
        if window.moves.reaches(f"link/{veth.ifindex}", counter, window.limits.mtu_drops_min)
    ]
    silent = silent_bridge_drops(window)
    if silent is not None and misfit.about[0] in {"members", "pods above"}:
        harm.append(window.ip_rise(silent, "FragFails", silent.frag_fails))
        harm.append(window.icmp_rise(silent, silent.family.out_too_big, silent.told))
    return tuple(harm)
