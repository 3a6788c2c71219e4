"""The situations: how each is built, what becomes of traffic, what moves on the nodes, and what must be said of it.

The names are those under which they were first measured: S1 to S16 with variants, and four kinds of noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from aggregator.model import Stage
from aggregator.signatures.thresholds import Thresholds
from tests.situations.lab import NODES, Layout, Rule, Vxlan
from tests.situations.traffic import Bulk, Fate, Fates

MOVES_BY = 5
"""A counter that rises by less during 20 packets of each kind is not worth mention."""


@dataclass(frozen=True, slots=True, order=True)
class Said:
    """A finding, as far as a situation decides it."""

    code: str
    stage: Stage
    nodes: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.code} ({self.stage.value}: {', '.join(self.nodes)})"


@dataclass(frozen=True, slots=True)
class Noise:
    """Traffic that has nothing to do with sizes: `count` packets to an address; none: it is left alone."""

    count: int = 0
    target: str = ""
    to: str = ""
    """Who that is."""
    size: int = 1


@dataclass(frozen=True, slots=True)
class Situation:
    """A layout, and all that must be true of it."""

    name: str
    what: str
    layout: Layout
    fates: Fates
    before: tuple[Said, ...] = ()
    """All that is said from the configuration alone, before any traffic."""
    after: tuple[Said, ...] = ()
    """All that is said once the traffic was sent."""
    moves: Mapping[str, str] = field(default_factory=dict)
    """All counters of each node that the traffic moves, of those that something too big may move ..."""
    moves_by: int = MOVES_BY
    """... by so many at least."""
    silent: str = ""
    """Packets vanish and no counter of a watched node proves it; what would. Empty: not so."""
    watched: tuple[str, ...] = NODES
    sender: str = "pod_a"
    pods_seen: bool = False
    """The MTU of pods' own interfaces is known too."""
    noise: Noise | None = None
    needs: tuple[str, ...] = ()
    """What of the kernel, beyond VXLAN: "br_netfilter", "tbf"."""


def _exceeds(stage: Stage, *nodes: str) -> Said:
    return Said("mtu.overlay_exceeds_underlay", stage, nodes)


def _on_node(stage: Stage, *nodes: str) -> Said:
    return Said("mtu.inconsistent_on_node", stage, nodes)


_RISK, _ACTIVE = Stage.RISK, Stage.ACTIVE
_TOO_LARGE = _exceeds(_RISK, "a", "b")
_TOO_LARGE_HARMS = _exceeds(_ACTIVE, "a", "b")
_ACROSS = Said("mtu.inconsistent_across_nodes", _RISK, ("a", "b"))
_FINGERPRINT = Said("mtu.drop_fingerprint", _ACTIVE, ("a",))
_FRAGMENTING = Said("mtu.fragmenting", _RISK, ("a",))
_OVERLAY_DROPS = Said("net.overlay_drops", _ACTIVE, ("a",))


def _lost_fragments(node: str) -> Said:
    return Said("mtu.fragments_lost", _ACTIVE, (node,))


def _blocked(node: str) -> Said:
    return Said("mtu.icmp_blocked", _ACTIVE, (node,))


_CUTS = "Ip.FragOKs Ip.FragCreates"
_JOINS = "Ip.ReasmReqds Ip.ReasmOKs"
_OVERFLOWS = "vx0.tx_dropped Ip.FragFails Icmp.OutDestUnreachs Icmp.InDestUnreachs"
_TELLS = "Ip.FragFails Icmp.OutDestUnreachs"

SENSOR = "retransmissions as the sensor counts them"
_PROBES = f"path probes, or {SENSOR}"

_NO_ICMP = "icmp type destination-unreachable"
_PATH_HIDES = Rule("path", "output", _NO_ICMP)
_ANY_FRAGMENT = Rule("path", "prerouting", "ip frag-off & 0x3fff != 0")
_LATER_FRAGMENTS = Rule("path", "prerouting", "ip frag-off & 0x1fff != 0")

_FLOWS = Fates(bulk=Bulk.FLOWS)
_VANISH = Fates(whole=Fate.LOST, cuttable=Fate.LOST, bulk=Bulk.STALLS)
_DF_VANISHES = Fates(whole=Fate.LOST, bulk=Bulk.STALLS)
_TOLD = Fates(whole=Fate.TOLD, bulk=Bulk.FLOWS)

_EXCEEDING = Vxlan(1500)
_EXCEEDING_DF = Vxlan(1500, df="set")


def _jumbo(**differences: object) -> Layout:
    """Nodes at 9000, an overlay that fits them, and a hop of 1500 on the way."""
    overlay = Vxlan(8950, df=str(differences.pop("df", "")))
    return Layout(nic_a=9000, nic_b=9000, hop_a=9000, hop_b=1500, pod_a=8950, overlay=overlay, **differences)  # type: ignore[arg-type]


def _larger(**differences: object) -> Layout:
    """Everything at 1600 where b and its cable to the path, or only a port of the path, are at 1500."""
    return Layout(**{"nic_a": 1600, "hop_a": 1600, "hop_b": 1600, "nic_b": 1600, "pod_a": 1550, **differences})  # type: ignore[arg-type]


SITUATIONS = (
    Situation("S0", "healthy: overlay 1450 over 1500", Layout(), _FLOWS),
    Situation(
        "S1",
        "overlay 1500 over 1500, outer DF unset (the default)",
        Layout(pod_a=1500, overlay=_EXCEEDING),
        _FLOWS,
        (_TOO_LARGE,),
        (_TOO_LARGE, _FRAGMENTING),
        moves={"a": _CUTS, "b": _JOINS},
    ),
    Situation(
        "S2",
        "S1, and the path drops fragments",
        Layout(pod_a=1500, overlay=_EXCEEDING, drops=(_ANY_FRAGMENT,)),
        _VANISH,
        (_TOO_LARGE,),
        (_TOO_LARGE_HARMS, _lost_fragments("a")),
        moves={"a": _CUTS},
    ),
    Situation(
        "S2 one node",
        "S2, and only a is watched: it sends as if all were well",
        Layout(pod_a=1500, overlay=_EXCEEDING, drops=(_ANY_FRAGMENT,)),
        _VANISH,
        (_exceeds(_RISK, "a"),),
        (_exceeds(_RISK, "a"), _FRAGMENTING),
        silent="b's counters, " + _PROBES,
        watched=("a",),
        moves={"a": _CUTS},
    ),
    Situation(
        "S2b",
        "S1, and the path drops all fragments but the first",
        Layout(pod_a=1500, overlay=_EXCEEDING, drops=(_LATER_FRAGMENTS,), sysctls=(("b", "ipv4/ipfrag_time", 1),)),
        _VANISH,
        (_TOO_LARGE,),
        (_TOO_LARGE_HARMS, _FRAGMENTING, _lost_fragments("b")),
        moves={"a": _CUTS, "b": "Ip.ReasmReqds Ip.ReasmFails Ip.ReasmTimeout"},
    ),
    Situation(
        "S3",
        "overlay 1500 over 1500, outer DF set",
        Layout(pod_a=1500, overlay=_EXCEEDING_DF),
        _VANISH,
        (_TOO_LARGE,),
        (_TOO_LARGE_HARMS, _FINGERPRINT),
        moves={"a": _OVERFLOWS},
    ),
    Situation(
        "S3b",
        "overlay 1500 over 1500, outer DF inherited",
        Layout(pod_a=1500, overlay=Vxlan(1500, df="inherit")),
        _DF_VANISHES,
        (_TOO_LARGE,),
        (_TOO_LARGE_HARMS, _FINGERPRINT, _FRAGMENTING),
        moves={"a": f"{_OVERFLOWS} {_CUTS}", "b": _JOINS},
    ),
    Situation(
        "S3c",
        "an overlay bound to a device of 9000 that is lowered to 1500 later",
        Layout(
            nic_a=9000,
            nic_b=9000,
            pod_a=1500,
            overlay=Vxlan(1500, df="set", bound=True),
            afterwards=(("a", "ip link set u0 mtu 1500"), ("b", "ip link set u0 mtu 1500")),
        ),
        _VANISH,
        (_TOO_LARGE,),
        (_TOO_LARGE_HARMS, _FINGERPRINT),
        moves={"a": _OVERFLOWS},
    ),
    Situation(
        "S3d",
        "S3 with segmentation offload",
        Layout(pod_a=1500, overlay=_EXCEEDING_DF, segmentation_offload=True),
        _VANISH,
        (_TOO_LARGE,),
        (_TOO_LARGE_HARMS, _FINGERPRINT),
        moves={"a": _OVERFLOWS},
    ),
    Situation(
        "S3e",
        "S1 with segmentation offload",
        Layout(pod_a=1500, overlay=_EXCEEDING, segmentation_offload=True),
        _FLOWS,
        (_TOO_LARGE,),
        (_TOO_LARGE, _FRAGMENTING),
        moves={"a": _CUTS, "b": _JOINS},
    ),
    Situation(
        "S4",
        "nodes at 9000, a hop of 1500 that says so by ICMP, outer DF set: learned, and the pod not told",
        _jumbo(df="set"),
        _VANISH,
        (),
        (_FINGERPRINT,),
        moves={"a": _OVERFLOWS},
    ),
    Situation(
        "S4b",
        "the same, and the hop's ICMP is lost: the classic black hole",
        _jumbo(df="set", drops=(_PATH_HIDES,)),
        _VANISH,
        silent=_PROBES,
    ),
    Situation(
        "S4c",
        "the same, outer DF unset: the hop cuts packets",
        _jumbo(),
        _FLOWS,
        moves={"b": _JOINS},
    ),
    Situation(
        "S4d",
        "the same, and fragments are lost behind the hop",
        _jumbo(drops=(Rule("b", "prerouting", "ip frag-off & 0x3fff != 0"),)),
        _VANISH,
        silent=_PROBES,
    ),
    Situation(
        "S5",
        "b's device is lowered to 1500, all else is at 1600, outer DF unset",
        _larger(nic_b=1500, overlay=Vxlan(1550)),
        _VANISH,
        (_ACROSS, _exceeds(_RISK, "b")),
        (_ACROSS, _exceeds(_RISK, "b")),
        silent=_PROBES,
        moves={"b": "u0.rx_dropped"},
    ),
    Situation(
        "S5b",
        "the same, outer DF set",
        _larger(nic_b=1500, overlay=Vxlan(1550, df="set")),
        _VANISH,
        (_ACROSS, _exceeds(_RISK, "b")),
        (_ACROSS, _exceeds(_RISK, "b")),
        silent=_PROBES,
        moves={"b": "u0.rx_dropped"},
    ),
    Situation(
        "S6",
        "a switch with a port of 1500 that cuts packets, nodes at 1600, outer DF unset",
        _larger(switch=True, hop_b=1500, overlay=Vxlan(1550)),
        _FLOWS,
        needs=("br_netfilter",),
        moves={"b": _JOINS},
    ),
    Situation(
        "S6b",
        "the same, outer DF set",
        _larger(switch=True, hop_b=1500, overlay=Vxlan(1550, df="set")),
        _VANISH,
        silent=_PROBES,
        needs=("br_netfilter",),
    ),
    Situation(
        "S6n",
        "a switch with a port of 1500 that cuts nothing, nodes at 1600, outer DF unset",
        _larger(switch=True, hop_b=1500, overlay=Vxlan(1550), bridge_filter=False),
        _VANISH,
        silent=_PROBES,
    ),
    Situation(
        "S7",
        "pods of 1500 routed into an overlay of 1450: the node tells them (healthy path-MTU discovery)",
        Layout(pod_a=1500),
        Fates(whole=Fate.TOLD, bulk=Bulk.FLOWS),
        (_on_node(_RISK, "a", "b"),),
        (_on_node(_RISK, "a", "b"),),
        moves={"a": _TELLS},
    ),
    Situation(
        "S7b",
        "the same, and the node drops its own ICMP",
        Layout(pod_a=1500, drops=(Rule("a", "output", _NO_ICMP),)),
        _DF_VANISHES,
        (_on_node(_RISK, "a", "b"),),
        (_on_node(_RISK, "a", "b"), _blocked("a")),
        moves={"a": f"{_TELLS} Ip.OutDiscards {_CUTS}"},
    ),
    Situation(
        "S8",
        "pods of 1500 and an overlay of 1450 on one bridge, with br_netfilter",
        Layout(pod_a=1500, bridged=True),
        _DF_VANISHES,
        (_on_node(_RISK, "a", "b"),),
        (_on_node(_ACTIVE, "a", "b"),),
        needs=("br_netfilter",),
        moves={"a": f"Ip.FragFails {_CUTS}"},
    ),
    Situation(
        "S8n",
        "pods of 1500 and an overlay of 1450 on one bridge, without br_netfilter",
        Layout(pod_a=1500, bridged=True, bridge_filter=False),
        _VANISH,
        (_on_node(_RISK, "a", "b"),),
        (_on_node(_RISK, "a", "b"),),
        silent=_PROBES,
    ),
    Situation(
        "S8b",
        "a bridged overlay of 1500 over 1500, outer DF unset: the tunnel itself tells the pod",
        Layout(pod_a=1500, bridged=True, overlay=_EXCEEDING),
        _TOLD,
        (_TOO_LARGE,),
        (_TOO_LARGE,),
    ),
    Situation(
        "S8c",
        "the same, outer DF set",
        Layout(pod_a=1500, bridged=True, overlay=_EXCEEDING_DF),
        Fates(whole=Fate.TOLD, cuttable=None, bulk=Bulk.FLOWS),
        (_TOO_LARGE,),
        (_TOO_LARGE,),
    ),
    Situation(
        "S9",
        "the receiver's overlay is smaller, 1400 to the sender's 1450: it takes what comes",
        Layout(overlay=Vxlan(1450, 1400)),
        _FLOWS,
        (_ACROSS, _on_node(_RISK, "b")),
        (_ACROSS, _on_node(_RISK, "b")),
    ),
    Situation(
        "S9b",
        "the receiving pod and its veth are at 1400, the overlay at 1450: b tells the sender",
        Layout(pod_b=1400),
        _TOLD,
        moves={"b": _TELLS},
    ),
    Situation(
        "S9c",
        "the same, and b drops its own ICMP",
        Layout(pod_b=1400, drops=(Rule("b", "output", _NO_ICMP),)),
        Fates(whole=Fate.LOST, bulk=Bulk.FLOWS),
        (),
        (_blocked("b"),),
        moves={"b": f"{_TELLS} Ip.OutDiscards {_CUTS}"},
    ),
    Situation(
        "S10",
        "overlay 1500 over an IPv6 underlay of 1500, which has no DF to unset",
        Layout(pod_a=1500, overlay=_EXCEEDING, ipv6_underlay=True),
        _VANISH,
        (_TOO_LARGE,),
        (_TOO_LARGE_HARMS, _FINGERPRINT),
        moves={"a": "vx0.tx_errors vx0.tx_aborted_errors Ip6.FragFails Icmp6.OutPktTooBigs Icmp6.InPktTooBigs"},
    ),
    Situation(
        "S11",
        "no overlay, pods of 1500, a hop of 1400 that tells them",
        Layout(pod_a=1500, hop_b=1400, overlay=None),
        _TOLD,
    ),
    Situation(
        "S11b",
        "the same, and the hop's ICMP is lost",
        Layout(pod_a=1500, hop_b=1400, overlay=None, drops=(_PATH_HIDES,)),
        _DF_VANISHES,
        silent=_PROBES,
    ),
    Situation(
        "S11c",
        "the same, and the pod's TCP finds out by itself (tcp_mtu_probing)",
        Layout(
            pod_a=1500,
            hop_b=1400,
            overlay=None,
            drops=(_PATH_HIDES,),
            sysctls=(("pod_a", "ipv4/tcp_mtu_probing", 1), ("pod_a", "ipv4/tcp_retries1", 1)),
        ),
        Fates(whole=Fate.LOST, bulk=Bulk.FLOWS),
        silent=_PROBES,
    ),
    Situation(
        "S12",
        "a pod's interface is at 1500 and its host side at 1400, and nobody looks into the pod",
        Layout(pod_a=1500, veth_a=1400, overlay=None),
        _VANISH,
        silent="the MTU of the pod's own interface",
        moves={"a": "v0.rx_dropped"},
    ),
    Situation(
        "S12 seen",
        "the same, and the pod's own MTU is known",
        Layout(pod_a=1500, veth_a=1400, overlay=None),
        _VANISH,
        (_on_node(_RISK, "a"),),
        (_on_node(_ACTIVE, "a"),),
        pods_seen=True,
        moves={"a": "v0.rx_dropped"},
    ),
    Situation(
        "S12r",
        "the receiving pod's interface is at 1400 and its host side at 1500, and the pod's own MTU is known",
        Layout(pod_a=1500, pod_b=1400, veth_b=1500, overlay=None),
        Fates(whole=Fate.LOST, cuttable=Fate.LOST, bulk=Bulk.FLOWS),
        (_on_node(_RISK, "b"),),
        (_on_node(_ACTIVE, "b"),),
        pods_seen=True,
        moves={"b": "v0.tx_dropped"},
    ),
    Situation(
        "S13",
        "the two ends of the overlay have different VNIs",
        Layout(overlay=Vxlan(vni_b=43)),
        Fates(Fate.LOST, Fate.LOST, Fate.LOST),
    ),
    Situation(
        "S15",
        "S3, and the sender is the node itself",
        Layout(pod_a=1500, overlay=_EXCEEDING_DF),
        Fates(whole=Fate.LOST, cuttable=None, bulk=Bulk.FLOWS),
        (_TOO_LARGE,),
        (_TOO_LARGE_HARMS, _FINGERPRINT),
        sender="a",
        moves={"a": _OVERFLOWS},
    ),
    Situation(
        "S15 recovery",
        "S15 with TCP alone, which learns the size and goes on",
        Layout(pod_a=1500, overlay=_EXCEEDING_DF),
        Fates(whole=None, cuttable=None, bulk=Bulk.FLOWS),
        (_TOO_LARGE,),
        (_TOO_LARGE,),
        sender="a",
        moves_by=Thresholds().mtu_discovery_burst,
    ),
    Situation(
        "S15b",
        "S4b, and the sender is the node itself",
        _jumbo(df="set", drops=(_PATH_HIDES,)),
        _VANISH,
        silent=_PROBES,
        sender="a",
    ),
    Situation(
        "S16",
        "S1 with a metadata tunnel: the routes say where to",
        Layout(pod_a=1500, overlay=Vxlan(1500, external=True)),
        _FLOWS,
        (_TOO_LARGE,),
        (_TOO_LARGE, _FRAGMENTING),
        moves={"a": _CUTS, "b": _JOINS},
    ),
    Situation(
        "noise a",
        "an idle overlay without default remote, IPv6 on: multicast has nowhere to go",
        Layout(overlay=Vxlan(without_remote=True), ipv6=True),
        Fates(whole=None, cuttable=None),
        noise=Noise(),
        moves_by=2,
        moves={"a": "vx0.tx_dropped", "b": "vx0.tx_dropped"},
    ),
    Situation(
        "noise b",
        "a node was removed: its neighbour entry and route are still there, its FDB entry is not",
        Layout(
            overlay=Vxlan(without_remote=True),
            afterwards=(
                ("a", "ip neigh add 10.244.3.0 lladdr 02:00:00:00:00:33 dev vx0 nud permanent"),
                ("a", "ip route add 10.244.3.0/24 via 10.244.3.0 dev vx0 onlink"),
            ),
        ),
        _FLOWS,
        (),
        (_OVERLAY_DROPS,),
        noise=Noise(80, "10.244.3.5", "the removed node's pods"),
        moves={"a": "vx0.tx_dropped"},
    ),
    Situation(
        "noise c",
        "a peer's address that no route leads to",
        Layout(
            overlay=Vxlan(without_remote=True),
            afterwards=(
                ("a", "ip route del default"),
                ("a", "ip route add 10.9.2.0/24 via 10.9.1.254"),
                ("a", "ip neigh add 10.244.3.0 lladdr 02:00:00:00:00:33 dev vx0 nud permanent"),
                ("a", "ip route add 10.244.3.0/24 via 10.244.3.0 dev vx0 onlink"),
                ("a", "bridge fdb add 02:00:00:00:00:33 dev vx0 dst 10.77.0.1"),
            ),
        ),
        _FLOWS,
        (),
        (_OVERLAY_DROPS,),
        noise=Noise(80, "10.244.3.5", "pods behind that peer"),
        moves={"a": "vx0.tx_errors vx0.tx_carrier_errors"},
    ),
    Situation(
        "noise d",
        "the queue of the device below is full",
        Layout(
            afterwards=(("a", "tc qdisc add dev u0 root tbf rate 64kbit burst 2000 limit 4000"),),
        ),
        Fates(small=None, whole=None, cuttable=None),
        (),
        (_OVERLAY_DROPS,),
        noise=Noise(80, "10.244.2.11", "pod_b, at once", 1000),
        needs=("tbf",),
        moves={"a": "vx0.tx_dropped"},
    ),
)
