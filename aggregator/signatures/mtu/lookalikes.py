"""What imitates an MTU fault: devices that err, overlays that drop for other reasons, full queues and tables."""

from __future__ import annotations

from nodetell.v1 import facts_pb2 as pb

from aggregator.model import Gap, RuledOut, Stage
from aggregator.signatures.mtu.configuration import about_tunnel
from aggregator.signatures.mtu.observation import Observation, enough
from aggregator.signatures.mtu.too_big import DROP_FINGERPRINT
from aggregator.signatures.mtu.topology import HostNetwork
from aggregator.signatures.mtu.window import NIC_ERROR_COUNTERS, NIC_ERRORS, QUEUE_DROPS, HostWindow, devices_below

OVERLAY_DROPS = "net.overlay_drops"
CONNTRACK_FULL = "net.conntrack_full"


def nic_errors(window: HostWindow) -> list[Observation]:
    """Ring overruns, CRC, carrier: the device below drops by itwindow."""
    found = []
    for link in devices_below(window.host, window.fits):
        if not window.nic_errs(link):
            continue
        errors = window.nic_error_sum(link)
        seconds = window.moves.seconds(f"link/{link.ifindex}", "rx_errors")
        subject = f"link/{link.ifindex}"
        moved = [
            counter for counter in ("rx_errors", "tx_errors", *NIC_ERROR_COUNTERS) if window.moves.of(subject, counter)
        ]
        found.append(
            Observation(
                code=NIC_ERRORS,
                about=("device", link.name),
                node=window.host.state.name,
                stage=Stage.ACTIVE,
                statement=f"{link.name} counted {errors} errors of its own in {seconds:g} s ({', '.join(moved)})",
                evidence=tuple(window.link_rise(link, counter) for counter in moved),
            )
        )
    return found


def overlay_drops(window: HostWindow) -> list[Observation]:
    """Drops on an overlay whose device below is clean, beyond what the exact rule explains: not proven MTU."""
    found = []
    for link in window.host.tunnels():
        if any(window.nic_errs(device) for device in window.host.below(link)):
            continue
        subject = f"link/{link.ifindex}"
        moved = {
            counter: rise
            for counter in ("tx_dropped", "tx_errors", "rx_dropped", "rx_errors")
            if (rise := window.moves.of(subject, counter))
        }
        seconds = window.moves.seconds(subject, "tx_dropped")
        rest = sum(moved.values()) - _explained(window, link, moved)
        sent = window.moves.of(subject, "tx_packets") or 0
        if (
            not enough(rest, window.limits.overlay_drops_min, seconds)
            or rest < window.limits.overlay_drops_ratio * sent
        ):
            continue
        fails = sum(moved_.frag_fails for moved_ in window.families)
        found.append(
            Observation(
                code=OVERLAY_DROPS,
                about=about_tunnel(link),
                node=window.host.state.name,
                stage=Stage.ACTIVE,
                statement=f"{link.name} dropped {rest} packets in {seconds:g} s "
                f"({', '.join(f'{counter} {rise}' for counter, rise in moved.items())}), the device below is clean",
                evidence=tuple(window.link_rise(link, counter) for counter in moved),
                ruled_out=(
                    *_fingerprint_excluded(window, fails, seconds),
                    *window.nic_clean(link),
                    *window.queues_clean(),
                ),
            )
        )
    return found


def _fingerprint_excluded(window: HostWindow, fails: int, seconds: float) -> tuple[RuledOut, ...]:
    if not window.families:
        return ()
    return (
        RuledOut(DROP_FINGERPRINT, f"FragFails rose by {fails} in {seconds:g} s, which does not go with the drops"),
    )


def _explained(window: HostWindow, link: pb.Link, moved: dict[str, int]) -> int:
    """Drops of a tunnel that the too-big counters account for."""
    for family in window.families:
        if family.family.version == (6 if link.tunnel.outer_ipv6 else 4) and window.overflow(family):
            drops = moved.get("tx_dropped", 0) + moved.get("tx_errors", 0)
            return drops if window.agrees(drops, min(drops, family.frag_fails)) else min(drops, family.frag_fails)
    return 0


def queue_drops(window: HostWindow) -> list[Observation]:
    """Packets dropped because a CPU's input backlog was full."""
    dropped = window.moves.of("protocol/softnet", "dropped")
    seconds = window.moves.seconds("protocol/softnet", "dropped")
    if dropped is None or not enough(dropped, window.limits.softnet_drops_min, seconds):
        return []
    squeezed = window.moves.of("protocol/softnet", "time_squeeze")
    source = window.host.source("proc/net/softnet_stat")
    evidence = [window.witness.rise("softnet.dropped", dropped, seconds, source)]
    if squeezed is not None:
        evidence.append(window.witness.rise("softnet.time_squeeze", squeezed, seconds, source, "times"))
    return [
        Observation(
            code=QUEUE_DROPS,
            about=("softnet",),
            node=window.host.state.name,
            stage=Stage.ACTIVE,
            statement=f"{dropped} packets were dropped from full CPU backlogs in {seconds:g} s",
            evidence=tuple(evidence),
        )
    ]


def conntrack_full(window: HostWindow) -> list[Observation]:
    """The connection tracking table is full: new connections are dropped. A level, so one reading is enough."""
    item = window.host.state.items.get("conntrack")
    if item is None or not item.conntrack.max:
        return []
    count, most = item.conntrack.count, item.conntrack.max
    if count < window.limits.conntrack_full_ratio * most:
        return []
    source = window.host.source("proc/sys/net/netfilter/nf_conntrack_count")
    return [
        Observation(
            code=CONNTRACK_FULL,
            about=("conntrack",),
            node=window.host.state.name,
            stage=Stage.ACTIVE,
            statement=f"{count} of {most} connection tracking entries are in use",
            evidence=(
                window.witness.level("conntrack.count", "nf_conntrack", count, "entries", source),
                window.witness.level("conntrack.max", "nf_conntrack", most, "entries", source),
            ),
        )
    ]


def unwatched(host: HostNetwork) -> list[Gap]:
    """Say so where every counter was read only once since it began: levels, no rates, so no finding rests on them."""
    state = host.state
    if not state.counters or state.has_rates():
        return []
    because = "counters were read only once since they began: levels and no rates, so no finding rests on them"
    return [Gap(state.name, "counters", "degraded", because)]
