"""Rules over counters of one host and window: what too large packets move, and what imitates them.

Measured fact behind them: "drops on the overlay, NIC clean" is neither necessary nor sufficient for an MTU fault. A
full qdisc, a peer without FDB entry or multicast without a destination drop on the overlay too; and most black holes
move no interface counter at all. What is specific is which SNMP counters of the same namespace move with the drops.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from nodetell.v1 import facts_pb2 as pb

from aggregator.model import Evidence, Gap, RuledOut, Stage
from aggregator.signatures.mtu.configuration import (
    OVERLAY_EXCEEDS_UNDERLAY,
    Misfit,
    about_tunnel,
)
from aggregator.signatures.mtu.observation import Moves, Observation, Witness
from aggregator.signatures.mtu.topology import HostNetwork, TunnelFit
from aggregator.signatures.thresholds import Thresholds

DROP_FINGERPRINT = "mtu.drop_fingerprint"
ICMP_BLOCKED = "mtu.icmp_blocked"
FRAGMENTING = "mtu.fragmenting"
FRAGMENTS_LOST = "mtu.fragments_lost"
NIC_ERRORS = "net.nic_errors"
OVERLAY_DROPS = "net.overlay_drops"
QUEUE_DROPS = "net.queue_drops"
CONNTRACK_FULL = "net.conntrack_full"

_NIC_ERROR_COUNTERS = (
    "rx_crc_errors",
    "rx_frame_errors",
    "rx_fifo_errors",
    "rx_missed_errors",
    "rx_over_errors",
    "tx_carrier_errors",
    "tx_fifo_errors",
    "tx_heartbeat_errors",
    "tx_window_errors",
)
"""What a device below drops by its own fault. rx_dropped is not among them (it counts unknown protocols too), nor
rx_length_errors (a peer that sends larger frames than this side takes: an MTU matter)."""


@dataclass(frozen=True, slots=True)
class Family:
    """The SNMP counters of one IP version that a packet too large for its way moves."""

    version: int
    ip: str
    icmp: str
    out_too_big: str
    in_too_big: str
    tunnel_drops: str
    file: str


FAMILIES = (
    Family(4, "protocol/Ip", "protocol/Icmp", "OutDestUnreachs", "InDestUnreachs", "tx_dropped", "proc/net/snmp"),
    Family(6, "protocol/Ip6", "protocol/Icmp6", "OutPktTooBigs", "InPktTooBigs", "tx_aborted_errors", "proc/net/snmp6"),
)


@dataclass(frozen=True, slots=True)
class TooBig:
    """How the too-big counters of one family moved in the window. None: not known."""

    family: Family
    frag_fails: int
    told: int
    """ICMP "too big" messages made."""
    told_self: int
    """... and received: the node told itself, for its own encapsulation."""
    discarded: int
    """Outgoing packets that the node itself threw away (Ip.OutDiscards)."""
    seconds: float


def too_big(moves: Moves, family: Family) -> TooBig | None:
    """The movement of one family; None where any of its counters is not known."""
    values = (
        moves.of(family.ip, "FragFails"),
        moves.of(family.icmp, family.out_too_big),
        moves.of(family.icmp, family.in_too_big),
        moves.of(family.ip, "OutDiscards"),
    )
    fails, told, told_self, discarded = values
    if fails is None or told is None or told_self is None:
        return None
    return TooBig(family, fails, told, told_self, discarded or 0, moves.seconds(family.ip, "FragFails"))


class HostCounters:
    """The counter rules of one host in one window."""

    def __init__(self, host: HostNetwork, fits: list[TunnelFit], misfits: list[Misfit], thresholds: Thresholds) -> None:
        self.host = host
        self.fits = fits
        self.misfits = misfits
        self.limits = thresholds
        self.moves = Moves(host.state, thresholds.window_s)
        self.witness = Witness(host.state.name, host.state.at)
        self.families = [moved for family in FAMILIES if (moved := too_big(self.moves, family)) is not None]
        self.dirty_nics = {seen.about[-1] for seen in self.nic_errors()}

    # -- helpers -------------------------------------------------------------------------------------------------------

    def agrees(self, one: int, other: int) -> bool:
        """Two counters that one fault moves together did so, give or take what other traffic adds."""
        slack = max(self.limits.counters_agree_slack, self.limits.counters_agree_ratio * max(one, other))
        return abs(one - other) <= slack

    def enough(self, increment: int, per_minute: int, seconds: float) -> bool:
        """An increment of at least `per_minute`, over as long as was watched."""
        return increment >= per_minute * max(1.0, seconds / 60.0)

    def _ip(self, moved: TooBig, counter: str, value: int) -> Evidence:
        name = "Ip6" if moved.family.version == 6 else "Ip"
        return self.witness.rise(f"{name}.{counter}", value, moved.seconds, self.host.source(moved.family.file))

    def _icmp(self, moved: TooBig, counter: str, value: int) -> Evidence:
        name = "Icmp6" if moved.family.version == 6 else "Icmp"
        return self.witness.rise(
            f"{name}.{counter}", value, moved.seconds, self.host.source(moved.family.file), "messages"
        )

    def _link_rise(self, link: pb.Link, counter: str) -> Evidence:
        subject = f"link/{link.ifindex}"
        value = self.moves.of(subject, counter) or 0
        return self.witness.rise(
            f"{link.name}.{counter}", value, self.moves.seconds(subject, counter), self.host.source("link")
        )

    def _misfit_tunnels(self) -> list[TunnelFit]:
        return [fit for fit in self.fits if not fit.fits]

    # -- MTU -----------------------------------------------------------------------------------------------------------

    def _overflow(self, moved: TooBig) -> bool:
        """The node told itself that its own encapsulated packets are too big: local encapsulation overflow."""
        return (
            self.enough(moved.frag_fails, self.limits.mtu_drops_min, moved.seconds)
            and self.agrees(moved.frag_fails, moved.told)
            and self.agrees(moved.frag_fails, moved.told_self)
        )

    def drop_fingerprint(self) -> list[Observation]:
        """The node itself cannot send what its overlay accepts: the exact counter rule, per tunnel."""
        found = []
        for moved in self.families:
            if not self._overflow(moved):
                continue
            for link in self._tunnels_of(moved.family):
                drops = self.moves.of(f"link/{link.ifindex}", moved.family.tunnel_drops) or 0
                if not drops:
                    continue
                found.append(
                    Observation(
                        code=DROP_FINGERPRINT,
                        about=about_tunnel(link),
                        node=self.host.state.name,
                        stage=Stage.ACTIVE,
                        statement=f"{link.name} dropped {min(drops, moved.frag_fails)} packets in {moved.seconds:g} s, "
                        f"and FragFails, {moved.family.out_too_big} and {moved.family.in_too_big} rose by "
                        f"{moved.frag_fails}, {moved.told} and {moved.told_self}: its encapsulated packets are too "
                        "big for this node's own way out",
                        evidence=(
                            self._link_rise(link, moved.family.tunnel_drops),
                            self._ip(moved, "FragFails", moved.frag_fails),
                            self._icmp(moved, moved.family.out_too_big, moved.told),
                            self._icmp(moved, moved.family.in_too_big, moved.told_self),
                        ),
                        ruled_out=(*self._nic_clean(link), *self._queues_clean()),
                        causes=((OVERLAY_EXCEEDS_UNDERLAY, about_tunnel(link)),),
                    )
                )
        return found

    def _tunnels_of(self, family: Family) -> list[pb.Link]:
        return [link for link in self.host.tunnels() if link.tunnel.outer_ipv6 == (family.version == 6)]

    def icmp_blocked(self) -> list[Observation]:
        """Forwarded packets were too big, and the ICMP that would tell their senders was thrown away on this node."""
        found = []
        for moved in self.families:
            if (
                not self.enough(moved.frag_fails, self.limits.mtu_drops_min, moved.seconds)
                or not self.agrees(moved.frag_fails, moved.told)
                or self.agrees(moved.frag_fails, moved.told_self)
                or not self.agrees(moved.frag_fails, min(moved.discarded, moved.frag_fails))
            ):
                continue
            found.append(
                Observation(
                    code=ICMP_BLOCKED,
                    about=(f"ipv{moved.family.version}",),
                    node=self.host.state.name,
                    stage=Stage.ACTIVE,
                    statement=f"{moved.frag_fails} forwarded packets were too big in {moved.seconds:g} s, and the node "
                    f"discarded {moved.discarded} outgoing packets at the same time: its own ICMP does not get out",
                    evidence=(
                        self._ip(moved, "FragFails", moved.frag_fails),
                        self._icmp(moved, moved.family.out_too_big, moved.told),
                        self._icmp(moved, moved.family.in_too_big, moved.told_self),
                        self._ip(moved, "OutDiscards", moved.discarded),
                    ),
                )
            )
        return found

    def silent_bridge_drops(self) -> TooBig | None:
        """FragFails without ICMP: a bridge dropped packets and nobody was told. None: it did not."""
        for moved in self.families:
            if (
                self.enough(moved.frag_fails, self.limits.mtu_drops_min, moved.seconds)
                and moved.told <= self.limits.counters_agree_ratio * moved.frag_fails
            ):
                return moved
        return None

    def misfit_harm(self, misfit: Misfit) -> tuple[Evidence, ...]:
        """Evidence that packets die at an interface that is smaller than the one before it; empty: none."""
        harm = []
        for veth in misfit.veths:
            subject = f"link/{veth.ifindex}"
            if self.moves.reaches(subject, "rx_dropped", self.limits.mtu_drops_min):
                harm.append(self._link_rise(veth, "rx_dropped"))
        silent = self.silent_bridge_drops()
        if silent is not None and misfit.about[0] in {"members", "pods above"}:
            harm.append(self._ip(silent, "FragFails", silent.frag_fails))
            harm.append(self._icmp(silent, silent.family.out_too_big, silent.told))
        return tuple(harm)

    def fragments_made(self) -> tuple[int, int, float] | None:
        """(packets cut, fragments made, seconds) by the sender of an overlay that does not fit; None: nothing of it.

        Without a misfit the fragments may be of anybody (NFS over UDP, DNS): they say nothing of the overlay.
        """
        if not any(
            not fit.link.tunnel.outer_ipv6 and fit.link.tunnel.df != pb.OUTER_DF_SET for fit in self._misfit_tunnels()
        ):
            return None
        cut, made = self.moves.of("protocol/Ip", "FragOKs"), self.moves.of("protocol/Ip", "FragCreates")
        seconds = self.moves.seconds("protocol/Ip", "FragCreates")
        if cut is None or made is None or not self.enough(made, self.limits.fragments_min, seconds):
            return None
        return cut, made, seconds

    def fragmenting(self) -> list[Observation]:
        """The overlay only works because its packets are cut in two."""
        moved = self.fragments_made()
        if moved is None:
            return []
        cut, made, seconds = moved
        source = self.host.source("proc/net/snmp")
        return [
            Observation(
                code=FRAGMENTING,
                about=about_tunnel(fit.link),
                node=self.host.state.name,
                stage=Stage.RISK,
                statement=f"{cut} packets were cut into {made} fragments in {seconds:g} s to get {fit.link.name} "
                f"through {fit.carrier.name}",
                evidence=(
                    self.witness.rise("Ip.FragOKs", cut, seconds, source),
                    self.witness.rise("Ip.FragCreates", made, seconds, source, "fragments"),
                ),
                causes=((OVERLAY_EXCEEDS_UNDERLAY, about_tunnel(fit.link)),),
            )
            for fit in self._misfit_tunnels()
            if not fit.link.tunnel.outer_ipv6
        ]

    def fragments_unassembled(self) -> list[Observation]:
        """Fragments arrive, but not all of them: the receiver gives up on their packets."""
        failed = self.moves.of("protocol/Ip", "ReasmFails")
        arrived = self.moves.of("protocol/Ip", "ReasmReqds")
        timed_out = self.moves.of("protocol/Ip", "ReasmTimeout")
        seconds = self.moves.seconds("protocol/Ip", "ReasmFails")
        if failed is None or arrived is None:
            return []
        worst = max(failed, timed_out or 0)
        if not self.enough(worst, self.limits.reassembly_failures_min, seconds):
            return []
        if worst < self.limits.reassembly_failures_ratio * arrived:
            return []
        source = self.host.source("proc/net/snmp")
        return [
            Observation(
                code=FRAGMENTS_LOST,
                about=("arriving",),
                node=self.host.state.name,
                stage=Stage.ACTIVE,
                statement=f"{arrived} fragments arrived in {seconds:g} s, {worst} packets could not be put together",
                evidence=(
                    self.witness.rise("Ip.ReasmReqds", arrived, seconds, source, "fragments"),
                    self.witness.rise("Ip.ReasmFails", failed, seconds, source),
                    self.witness.rise("Ip.ReasmTimeout", timed_out or 0, seconds, source),
                ),
            )
        ]

    # -- not MTU -------------------------------------------------------------------------------------------------------

    def _devices_below(self) -> list[pb.Link]:
        """Hardware, and whatever carries a tunnel."""
        carriers = {fit.carrier.ifindex for fit in self.fits}
        return [
            link
            for link in self.host.links.values()
            if (link.hardware or link.ifindex in carriers or (link.kind == "" and not link.loopback))
            and self.host.alive(link)
        ]

    def _nic_error_sum(self, link: pb.Link) -> int:
        subject = f"link/{link.ifindex}"
        specific = self.moves.sum_of(subject, _NIC_ERROR_COUNTERS) or 0
        if specific:
            return specific
        totals = self.moves.sum_of(subject, ("rx_errors", "tx_errors")) or 0
        return max(0, totals - (self.moves.of(subject, "rx_length_errors") or 0))

    def nic_errors(self) -> list[Observation]:
        """Ring overruns, CRC, carrier: the device below drops by itself."""
        found = []
        for link in self._devices_below():
            errors = self._nic_error_sum(link)
            seconds = self.moves.seconds(f"link/{link.ifindex}", "rx_errors")
            if not errors or not self.enough(errors, self.limits.nic_errors_min, seconds):
                continue
            subject = f"link/{link.ifindex}"
            moved = [
                counter
                for counter in ("rx_errors", "tx_errors", *_NIC_ERROR_COUNTERS)
                if self.moves.of(subject, counter)
            ]
            found.append(
                Observation(
                    code=NIC_ERRORS,
                    about=("device", link.name),
                    node=self.host.state.name,
                    stage=Stage.ACTIVE,
                    statement=f"{link.name} counted {errors} errors of its own in {seconds:g} s ({', '.join(moved)})",
                    evidence=tuple(self._link_rise(link, counter) for counter in moved),
                )
            )
        return found

    def _nic_clean(self, tunnel: pb.Link) -> tuple[RuledOut, ...]:
        carrier = self.host.links.get(tunnel.tunnel.underlay)
        if carrier is None or carrier.name in self.dirty_nics:
            return ()
        seconds = self.moves.seconds(f"link/{carrier.ifindex}", "rx_errors")
        if not seconds:
            return ()
        return (RuledOut(NIC_ERRORS, f"{carrier.name}: {self._nic_error_sum(carrier)} errors in {seconds:g} s"),)

    def _queues_clean(self) -> tuple[RuledOut, ...]:
        dropped = self.moves.of("protocol/softnet", "dropped")
        if dropped is None or dropped >= self.limits.softnet_drops_min:
            return ()
        seconds = self.moves.seconds("protocol/softnet", "dropped")
        return (RuledOut(QUEUE_DROPS, f"{dropped} packets dropped from CPU backlogs in {seconds:g} s"),)

    def overlay_drops(self) -> list[Observation]:
        """Drops on an overlay whose device below is clean, beyond what the exact rule explains: not proven MTU."""
        found = []
        for link in self.host.tunnels():
            carrier = self.host.links.get(link.tunnel.underlay)
            if carrier is not None and carrier.name in self.dirty_nics:
                continue
            subject = f"link/{link.ifindex}"
            moved = {
                counter: rise
                for counter in ("tx_dropped", "tx_errors", "rx_dropped", "rx_errors")
                if (rise := self.moves.of(subject, counter))
            }
            seconds = self.moves.seconds(subject, "tx_dropped")
            rest = sum(moved.values()) - self._explained(link, moved)
            sent = self.moves.of(subject, "tx_packets") or 0
            if (
                not self.enough(rest, self.limits.overlay_drops_min, seconds)
                or rest < self.limits.overlay_drops_ratio * sent
            ):
                continue
            fails = sum(moved_.frag_fails for moved_ in self.families)
            found.append(
                Observation(
                    code=OVERLAY_DROPS,
                    about=about_tunnel(link),
                    node=self.host.state.name,
                    stage=Stage.ACTIVE,
                    statement=f"{link.name} dropped {rest} packets in {seconds:g} s "
                    f"({', '.join(f'{counter} {rise}' for counter, rise in moved.items())}), the device below is clean",
                    evidence=tuple(self._link_rise(link, counter) for counter in moved),
                    ruled_out=(
                        *self._fingerprint_excluded(fails, seconds),
                        *self._nic_clean(link),
                        *self._queues_clean(),
                    ),
                )
            )
        return found

    def _fingerprint_excluded(self, fails: int, seconds: float) -> tuple[RuledOut, ...]:
        if not self.families:
            return ()
        return (
            RuledOut(DROP_FINGERPRINT, f"FragFails rose by {fails} in {seconds:g} s, which does not go with the drops"),
        )

    def _explained(self, link: pb.Link, moved: dict[str, int]) -> int:
        """Drops of a tunnel that the too-big counters account for."""
        for family in self.families:
            if family.family.version == (6 if link.tunnel.outer_ipv6 else 4) and self._overflow(family):
                drops = moved.get("tx_dropped", 0) + moved.get("tx_errors", 0)
                return drops if self.agrees(drops, min(drops, family.frag_fails)) else min(drops, family.frag_fails)
        return 0

    def queue_drops(self) -> list[Observation]:
        """Packets dropped because a CPU's input backlog was full."""
        dropped = self.moves.of("protocol/softnet", "dropped")
        seconds = self.moves.seconds("protocol/softnet", "dropped")
        if dropped is None or not self.enough(dropped, self.limits.softnet_drops_min, seconds):
            return []
        squeezed = self.moves.of("protocol/softnet", "time_squeeze")
        source = self.host.source("proc/net/softnet_stat")
        evidence = [self.witness.rise("softnet.dropped", dropped, seconds, source)]
        if squeezed is not None:
            evidence.append(self.witness.rise("softnet.time_squeeze", squeezed, seconds, source, "times"))
        return [
            Observation(
                code=QUEUE_DROPS,
                about=("softnet",),
                node=self.host.state.name,
                stage=Stage.ACTIVE,
                statement=f"{dropped} packets were dropped from full CPU backlogs in {seconds:g} s",
                evidence=tuple(evidence),
            )
        ]

    def conntrack_full(self) -> list[Observation]:
        """The connection tracking table is full: new connections are dropped. A level, so one reading is enough."""
        item = self.host.state.items.get("conntrack")
        if item is None or not item.conntrack.max:
            return []
        count, most = item.conntrack.count, item.conntrack.max
        if count < self.limits.conntrack_full_ratio * most:
            return []
        source = self.host.source("proc/sys/net/netfilter/nf_conntrack_count")
        return [
            Observation(
                code=CONNTRACK_FULL,
                about=("conntrack",),
                node=self.host.state.name,
                stage=Stage.ACTIVE,
                statement=f"{count} of {most} connection tracking entries are in use",
                evidence=(
                    self.witness.level("conntrack.count", "nf_conntrack", count, "entries", source),
                    self.witness.level("conntrack.max", "nf_conntrack", most, "entries", source),
                ),
            )
        ]


def lost_between(hosts: Iterable[HostCounters], every_node_seen: bool) -> list[Observation]:
    """Senders cut their overlay's packets, and no other node sees a fragment arrive: all of them are lost.

    Said only where every node of the cluster is watched: the fragments may have gone to one that is not.
    """
    counters = list(hosts)
    senders = [(host, moved) for host in counters if (moved := host.fragments_made()) is not None]
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
                about=("on the way",),
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
                causes=tuple((OVERLAY_EXCEEDS_UNDERLAY, about_tunnel(fit.link)) for fit in host._misfit_tunnels()),
            )
        )
    return found


def unwatched(host: HostNetwork, thresholds: Thresholds) -> list[Gap]:
    """Say so where every counter was read only once since it began: levels, no rates, so no finding rests on them."""
    state = host.state
    if not state.counters or any(
        state.increments(subject, thresholds.window_s) is not None for subject in state.counters
    ):
        return []
    because = "counters were read only once since they began: levels and no rates, so no finding rests on them"
    return [Gap(state.name, "counters", "degraded", because)]
