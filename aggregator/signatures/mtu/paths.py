"""Rules over path-MTU probes: the size that really gets through from node to node."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from nodetell.v1 import facts_pb2 as pb

from aggregator.model import Evidence, RuledOut, Stage
from aggregator.signatures.mtu.observation import Observation, listed
from aggregator.signatures.mtu.topology import HostNetwork
from aggregator.signatures.thresholds import Thresholds

PATH_BLACK_HOLE = "mtu.path_black_hole"
PATH_SMALLER = "mtu.path_smaller"


@dataclass(frozen=True, slots=True)
class Probe:
    """One probe result with the node that made it."""

    node: str
    result: pb.PathMtu

    @property
    def too_small(self) -> bool:
        """Something got through, but nothing as large as the interface it was sent from."""
        return self.result.HasField("path_mtu") and self.result.path_mtu < self.result.interface_mtu


def probes(hosts: Iterable[HostNetwork], thresholds: Thresholds) -> list[Probe]:
    """Every host's probes that are young enough to say something about now."""
    found = []
    for host in hosts:
        for item in host.state.of("path_mtu"):
            age = host.state.at - item.path_mtu.at_unix_ms / 1000
            if item.path_mtu.interface_mtu and age <= thresholds.probe_max_age_s:
                found.append(Probe(host.state.name, item.path_mtu))
    return found


def clean(found: list[Probe]) -> dict[str, str]:
    """By node, that every young probe of it passed at full size, and towards whom: MTU is ruled out there."""
    nodes = {probe.node for probe in found}
    said = {}
    for node in nodes:
        own = [probe for probe in found if probe.node == node]
        if all(probe.result.path_mtu >= probe.result.interface_mtu for probe in own):
            sizes = sorted({probe.result.interface_mtu for probe in own})
            peers = listed(sorted({probe.result.peer for probe in own}))
            said[node] = f"probes of {' and '.join(map(str, sizes))} bytes pass to {peers}"
    return said


def path_rules(found: list[Probe]) -> list[Observation]:
    """Paths that pass less than the interfaces at their ends; black holes where no ICMP tells the sender."""
    observations: list[Observation] = []
    for code, silent in ((PATH_BLACK_HOLE, True), (PATH_SMALLER, False)):
        for via in ("overlay", "underlay"):
            hit = [
                probe
                for probe in found
                if probe.too_small and probe.result.via == via and probe.result.icmp_seen != silent
            ]
            passed = [probe for probe in found if not probe.too_small and probe.result.HasField("path_mtu")]
            observations.extend(_observe(code, via, hit, passed))
    return observations


def _observe(code: str, via: str, hit: list[Probe], passed: list[Probe]) -> list[Observation]:
    if not hit:
        return []
    culprits = _common_nodes(hit, passed)
    observations = []
    for node in sorted(culprits or _ends(hit)):
        own = [probe for probe in hit if node in {probe.node, probe.result.peer}]
        sizes = sorted({probe.result.path_mtu for probe in own})
        largest = max(probe.result.interface_mtu for probe in own)
        told = "with" if code == PATH_SMALLER else "without"
        peers = sorted({probe.result.peer if probe.node == node else probe.node for probe in own})
        observations.append(
            Observation(
                code=code,
                about=(via,),
                node=node,
                stage=Stage.RISK if code == PATH_SMALLER else Stage.ACTIVE,
                statement=f"the {via} between {node} and {listed(peers)} passes {' or '.join(map(str, sizes))} bytes "
                f"where its interfaces take {largest}, {told} ICMP",
                evidence=tuple(_evidence(probe) for probe in own),
                ruled_out=(
                    RuledOut(PATH_SMALLER, 'no ICMP "fragmentation needed" came back')
                    if code == PATH_BLACK_HOLE
                    else RuledOut(PATH_BLACK_HOLE, 'ICMP "fragmentation needed" came back, so senders learn the size'),
                ),
            )
        )
    return observations


def _common_nodes(hit: list[Probe], passed: list[Probe]) -> set[str]:
    """The one node that all failing paths share while others' paths pass; empty: no such node."""
    if len({frozenset((probe.node, probe.result.peer)) for probe in hit}) < 2:
        return set()
    shared = set.intersection(*({probe.node, probe.result.peer} for probe in hit))
    bystanders = _ends(hit) - shared
    fine = any({probe.node, probe.result.peer} <= bystanders for probe in passed)
    return shared if len(shared) == 1 and fine else set()


def _ends(found: list[Probe]) -> set[str]:
    return {node for probe in found for node in (probe.node, probe.result.peer)}


def _evidence(probe: Probe) -> Evidence:
    result = probe.result
    return Evidence(
        probe.node,
        "path.mtu",
        f"{result.interface} ({result.interface_mtu}) {result.from_address} to {result.to_address} on {result.peer}",
        result.path_mtu,
        "bytes",
        "path-mtu probe",
        result.at_unix_ms / 1000,
    )
