"""How the counters of one host moved in the window: what the rules over counters ask of it, and the evidence for it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from nodetell.v1 import facts_pb2 as pb

from aggregator.model import Evidence, RuledOut
from aggregator.signatures.mtu.observation import Moves, Witness, enough
from aggregator.signatures.mtu.topology import HostNetwork, TunnelFit
from aggregator.signatures.thresholds import Thresholds

NIC_ERRORS = "net.nic_errors"
QUEUE_DROPS = "net.queue_drops"

NIC_ERROR_COUNTERS = (
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


def devices_below(host: HostNetwork, fits: Iterable[TunnelFit]) -> list[pb.Link]:
    """Hardware, and whatever carries a tunnel."""
    carriers = {fit.carrier.ifindex for fit in fits}
    return [
        link
        for ifindex, link in host.links.items()
        if (link.kind != "veth" or ifindex in carriers)
        and (link.hardware or ifindex in carriers or (link.kind == "" and not link.loopback))
        and host.alive(link)
    ]


class HostWindow:
    """One host's counters in one window."""

    def __init__(self, host: HostNetwork, fits: list[TunnelFit], thresholds: Thresholds) -> None:
        self.host = host
        self.fits = fits
        self.limits = thresholds
        self.moves = Moves(host.state, thresholds.window_s)
        self.witness = Witness(host.state.name, host.state.at)

    @cached_property
    def families(self) -> list[TooBig]:
        """Movements of the families whose counters are known."""
        return [moved for family in FAMILIES if (moved := too_big(self.moves, family)) is not None]

    def agrees(self, one: int, other: int) -> bool:
        """Two counters that one fault moves together did so, give or take what other traffic adds."""
        slack = max(self.limits.counters_agree_slack, self.limits.counters_agree_ratio * max(one, other))
        return abs(one - other) <= slack

    def ip_rise(self, moved: TooBig, counter: str, value: int) -> Evidence:
        """Evidence: a counter of the IP header's family rose."""
        name = "Ip6" if moved.family.version == 6 else "Ip"
        return self.witness.rise(f"{name}.{counter}", value, moved.seconds, self.host.source(moved.family.file))

    def icmp_rise(self, moved: TooBig, counter: str, value: int) -> Evidence:
        """Evidence: a counter of ICMP messages rose."""
        name = "Icmp6" if moved.family.version == 6 else "Icmp"
        return self.witness.rise(
            f"{name}.{counter}", value, moved.seconds, self.host.source(moved.family.file), "messages"
        )

    def link_rise(self, link: pb.Link, counter: str) -> Evidence:
        """Evidence: an interface's counter rose."""
        subject = f"link/{link.ifindex}"
        value = self.moves.of(subject, counter) or 0
        return self.witness.rise(
            f"{link.name}.{counter}", value, self.moves.seconds(subject, counter), self.host.source("link")
        )

    def misfit_tunnels(self) -> list[TunnelFit]:
        """Tunnels that do not fit what carries them."""
        return [fit for fit in self.fits if not fit.fits]

    def overflow(self, moved: TooBig) -> bool:
        """The node told itself that its own encapsulated packets are too big: local encapsulation overflow."""
        return (
            enough(moved.frag_fails, self.limits.mtu_drops_min, moved.seconds)
            and moved.frag_fails >= self.limits.mtu_discovery_burst
            and self.agrees(moved.frag_fails, moved.told)
            and self.agrees(moved.frag_fails, moved.told_self)
        )

    def tunnels_of(self, family: Family) -> list[pb.Link]:
        """Tunnels whose outer header is of this family."""
        return [link for link in self.host.tunnels() if link.tunnel.outer_ipv6 == (family.version == 6)]

    def nic_error_sum(self, link: pb.Link) -> int:
        """Errors of a device's own making."""
        subject = f"link/{link.ifindex}"
        specific = self.moves.sum_of(subject, NIC_ERROR_COUNTERS) or 0
        if specific:
            return specific
        totals = self.moves.sum_of(subject, ("rx_errors", "tx_errors")) or 0
        return max(0, totals - (self.moves.of(subject, "rx_length_errors") or 0))

    def nic_errs(self, link: pb.Link) -> bool:
        """The device drops by its own fault, enough to be worth a finding."""
        seconds = self.moves.seconds(f"link/{link.ifindex}", "rx_errors")
        errors = self.nic_error_sum(link)
        return errors > 0 and enough(errors, self.limits.nic_errors_min, seconds)

    def nic_clean(self, tunnel: pb.Link) -> tuple[RuledOut, ...]:
        """That the device below a tunnel is clean, if it is."""
        carrier = self.host.links.get(tunnel.tunnel.underlay)
        if carrier is None or any(self.nic_errs(device) for device in self.host.below(tunnel)):
            return ()
        seconds = self.moves.seconds(f"link/{carrier.ifindex}", "rx_errors")
        if not seconds:
            return ()
        return (RuledOut(NIC_ERRORS, f"{carrier.name}: {self.nic_error_sum(carrier)} errors in {seconds:g} s"),)

    def queues_clean(self) -> tuple[RuledOut, ...]:
        """That no backlog was full, if that is known."""
        dropped = self.moves.of("protocol/softnet", "dropped")
        if dropped is None or dropped >= self.limits.softnet_drops_min:
            return ()
        seconds = self.moves.seconds("protocol/softnet", "dropped")
        return (RuledOut(QUEUE_DROPS, f"{dropped} packets dropped from CPU backlogs in {seconds:g} s"),)
