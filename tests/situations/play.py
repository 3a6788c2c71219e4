"""A situation on its stage: built, its nodes watched, its traffic ready. The test, and whoever measures, direct it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from nodetell.v1 import facts_pb2 as pb

from agent.network.live import NetlinkNetwork
from agent.sensor.report import Sensor
from aggregator.model import Verdict
from tests import needs
from tests.situations.catalogue import Said, Situation
from tests.situations.lab import NODES, Lab, built
from tests.situations.reading import Nodes
from tests.situations.sensing import NodeSensor
from tests.situations.traffic import Bulk, Fate, Fates, Traffic

_LATE_S = 12.0
"""For what the kernel counts late: fragments that it waits for, multicast of an idle interface."""


@dataclass(slots=True)
class Stage:
    """A situation that stands."""

    situation: Situation
    lab: Lab
    nodes: Nodes
    traffic: Traffic

    def send(self) -> Fates:
        """All traffic of the situation; what became of it."""
        fates = self.traffic.exchange(self.situation.fates, self._largest)
        if (noise := self.situation.noise) is not None and noise.count:
            self.traffic.flood(noise.count, noise.target, noise.size)
        return fates

    def send_bulk(self) -> Bulk | None:
        """The situation's TCP transfer alone; what became of it."""
        return self.traffic.exchange(Fates(None, None, None, self.situation.fates.bulk), self._largest).bulk

    def settle(self) -> Verdict:
        """Read and judge, again until the counters that should move have moved, or it is too late for them."""
        wanted = words(self.situation.moves)
        deadline = time.monotonic() + _LATE_S
        while True:
            verdict = self.nodes.read()
            moved = self.moved()
            if all(wanted[node] <= moved.get(node, set()) for node in wanted) or time.monotonic() > deadline:
                return verdict
            time.sleep(0.1)

    def moved(self) -> dict[str, set[str]]:
        """Counters that moved, by node."""
        return words(self.nodes.moved(self.situation.moves_by))

    @property
    def _largest(self) -> int:
        """Bytes of the sender's largest packet."""
        layout = self.situation.layout
        from_node = self.situation.sender in NODES and layout.overlay is not None
        return layout.overlay.mtu_a if from_node and layout.overlay else layout.pod_a


@contextlib.contextmanager
def staged(situation: Situation, sensor: Sensor | None = None) -> Iterator[Stage]:
    """Build a situation, its nodes with a sensor if there is one. Skips the test where the kernel cannot make it."""
    _need(situation)
    with built(situation.layout) as lab, contextlib.ExitStack() as undo:
        sensors = {
            node: NodeSensor(sensor, lab.places[node], lab.places[f"pod_{node}"])
            for node in NODES
            if sensor is not None
        }
        nodes = Nodes({node: lab.places[node] for node in situation.watched}, NODES, sensors)
        undo.callback(nodes.close)
        if situation.pods_seen:
            for node in NODES:
                nodes.add(node, _pod_link(lab, node))
        traffic = Traffic(lab.places[situation.sender], lab.places["pod_b"], lab.target)
        undo.callback(traffic.close)
        if situation.noise is None:
            traffic.warm_up(passes=situation.fates.small is not Fate.LOST)
        yield Stage(situation, lab, nodes, traffic)


def said(verdict: Verdict) -> list[Said]:
    """Findings, as far as a situation decides them."""
    return sorted(Said(finding.code, finding.stage, finding.nodes) for finding in verdict.findings)


def words(moves: Mapping[str, str]) -> dict[str, set[str]]:
    """Counters by node, of nodes where any moved."""
    return {node: set(counters.split()) for node, counters in moves.items() if counters}


def _need(situation: Situation) -> None:
    needs.kind("vxlan")
    if situation.layout.drops:
        needs.nft()
    if "br_netfilter" in situation.needs:
        needs.bridge_filter()
    if "tbf" in situation.needs:
        needs.qdisc("tbf")


def _pod_link(lab: Lab, node: str) -> pb.Item:
    """A pod's own interface as it is: read where it lives."""
    with lab.places[f"pod_{node}"].entered():
        network = NetlinkNetwork()
    with contextlib.closing(network):
        (link,) = (link for link in network.inventory().links.values() if link.kind == "veth")
    uid = f"pod-{node}"
    found = pb.PodLink(pod_uid=uid, interface=link.name, mtu=link.mtu, host_interface="v0")
    return pb.Item(key=f"pod_link/{uid}/{link.name}", pod_link=found)
