"""Rules over path-MTU probes: the size that really gets through from node to node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from nodetell.v1 import facts_pb2 as pb

from aggregator.model import Evidence, RuledOut, Stage
from aggregator.signatures.mtu.observation import Observation
from aggregator.signatures.mtu.topology import HostNetwork
from aggregator.signatures.thresholds import Thresholds
from aggregator.wording import some

PATH_BLACK_HOLE = "mtu.path_black_hole"
PATH_SMALLER = "mtu.path_smaller"


@dataclass(frozen=True)
class Probe:
    """One probe result with the node that made it. What it says is read from the message once."""

    node: str
    result: pb.PathMtu

    @cached_property
    def peer(self) -> str:
        """The node at the other end."""
        return self.result.peer

    @cached_property
    def too_small(self) -> bool:
        """Something got through, but nothing as large as the interface it was sent from."""
        return self.result.HasField("path_mtu") and self.result.path_mtu < self.result.interface_mtu

    @property
    def passed(self) -> bool:
        """Something got through, as large as the interface."""
        return self.result.HasField("path_mtu") and not self.too_small

    @cached_property
    def sort(self) -> tuple[str, bool]:
        """Which way it went, and whether ICMP came back."""
        return self.result.via, self.result.icmp_seen

    @cached_property
    def sizes(self) -> tuple[int, int]:
        """What passed, and what its interface takes; bytes."""
        return self.result.path_mtu, self.result.interface_mtu

    @cached_property
    def evidence(self) -> Evidence:
        """What it found."""
        result = self.result
        ends = f"{result.from_address} to {result.to_address} on {result.peer}"
        subject = f"{result.interface} ({result.interface_mtu}) {ends}"
        at = result.at_unix_ms / 1000
        return Evidence(self.node, "path.mtu", subject, result.path_mtu, "bytes", "path-mtu probe", at)


def probes(host: HostNetwork) -> list[Probe]:
    """Every probe of a host that says something of an interface."""
    found = (Probe(host.state.name, item.path_mtu) for item in host.state.of("path_mtu"))
    return [probe for probe in found if probe.result.interface_mtu]


def young(found: list[Probe], at: float, thresholds: Thresholds) -> list[Probe]:
    """Probes that are young enough to say something about `at`."""
    most = thresholds.probe_max_age_s
    return [probe for probe in found if at - probe.result.at_unix_ms / 1000 <= most]


def clean(own: list[Probe]) -> str:
    """That every young probe of one node passed at full size, and towards whom: no MTU fault there. Empty: not so."""
    if not own or not all(probe.sizes[0] >= probe.sizes[1] for probe in own):
        return ""
    sizes = sorted({probe.sizes[1] for probe in own})
    peers = some(sorted({probe.peer for probe in own}))
    return f"probes of {' and '.join(map(str, sizes))} bytes pass to {peers}"


def ends(probe: Probe) -> frozenset[str]:
    """The nodes between which it went."""
    return frozenset((probe.node, probe.peer))


def pair_path(one: str, other: str) -> str:
    """How findings name the path between two nodes, whichever way: "Path/NODE/NODE", in order of their names."""
    return f"Path/{'/'.join(sorted((one, other)))}"


def peer_path(node: str, address: str) -> str:
    """How findings name the path from a node to an address."""
    return f"Path/{node}/{address}"


def path_rules(too_small: list[Probe], of_node: Callable[[str], Sequence[Probe]]) -> list[Observation]:
    """Paths that pass less than the interfaces at their ends; black holes where no ICMP tells the sender.

    `too_small`: probes that found so; `of_node`: all of one node's.
    """
    observations: list[Observation] = []
    for code, silent in ((PATH_BLACK_HOLE, True), (PATH_SMALLER, False)):
        for via in ("overlay", "underlay"):
            hit = [probe for probe in too_small if probe.sort == (via, not silent)]
            observations.extend(_observe(code, via, hit, of_node))
    return observations


def _observe(code: str, via: str, hit: list[Probe], of_node: Callable[[str], Sequence[Probe]]) -> list[Observation]:
    if not hit:
        return []
    by_end: dict[str, list[Probe]] = {}
    for probe in hit:
        for end in {probe.node, probe.peer}:
            by_end.setdefault(end, []).append(probe)
    observations = []
    common = _common_nodes(hit, of_node)
    for node in sorted(common or by_end):
        own = by_end[node]
        sizes = sorted({probe.sizes[0] for probe in own})
        largest = max(probe.sizes[1] for probe in own)
        told = "with" if code == PATH_SMALLER else "without"
        peers = sorted({probe.peer if probe.node == node else probe.node for probe in own})
        observations.append(
            Observation(
                code=code,
                about=(via,),
                node=node,
                stage=Stage.RISK if code == PATH_SMALLER else Stage.ACTIVE,
                statement=f"the {via} between {node} and {some(peers)} passes {' or '.join(map(str, sizes))} bytes "
                f"where its interfaces take {largest}, {told} ICMP",
                evidence=tuple(probe.evidence for probe in own),
                paths=(*(f"Path/{each}" for each in common), *(pair_path(node, peer) for peer in peers)),
                ruled_out=(
                    RuledOut(PATH_SMALLER, 'no ICMP "fragmentation needed" came back')
                    if code == PATH_BLACK_HOLE
                    else RuledOut(PATH_BLACK_HOLE, 'ICMP "fragmentation needed" came back, so senders learn the size'),
                ),
            )
        )
    return observations


def _common_nodes(hit: list[Probe], of_node: Callable[[str], Sequence[Probe]]) -> set[str]:
    """The one node that all failing paths share while others' paths pass; empty: no such node."""
    shared = {hit[0].node, hit[0].result.peer}
    for probe in hit:
        shared &= {probe.node, probe.peer}
        if not shared:
            return set()
    if len(shared) != 1 or len({frozenset((probe.node, probe.peer)) for probe in hit}) < 2:
        return set()
    bystanders = {end for probe in hit for end in (probe.node, probe.peer)} - shared
    fine = any(probe.passed and probe.peer in bystanders for node in bystanders for probe in of_node(node))
    return shared if fine else set()
