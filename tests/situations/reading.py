"""The nodes of a lab, read by the collectors of production and judged by its engine, as agents and aggregator would.

What else an agent may report of a node joins here: a signal as a collector in `COLLECTORS`, what a sensor sees as
`sensors`, any fact of one situation (a probe's result) by `Nodes.add`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from nodetell.v1 import agent_pb2
from nodetell.v1 import facts_pb2 as pb

from agent.collectors.base import Collector
from agent.collectors.links import LinksCollector
from agent.collectors.protocols import ProtocolsCollector
from agent.collectors.retransmits import RetransmitsCollector
from agent.collectors.routes import RoutesCollector
from agent.collectors.sweep import sweep
from agent.delta import DeltaEncoder
from agent.hosts.live import LiveHost, live_host
from aggregator import engine
from aggregator.cluster.objects import NodeObject
from aggregator.cluster.state import ClusterState
from aggregator.model import Verdict
from aggregator.node_state import NodeState
from aggregator.signatures.thresholds import Thresholds
from aggregator.view import ClusterView
from tests.netns import Namespace
from tests.situations.sensing import NodeSensor

COLLECTORS: tuple[Callable[[], Collector], ...] = (LinksCollector, RoutesCollector, ProtocolsCollector)
"""What of a node its network decides. The others read the machine, which the nodes of a lab share."""

_WATCHED = {
    "protocol/Ip": "FragOKs FragFails FragCreates ReasmReqds ReasmOKs ReasmFails ReasmTimeout OutDiscards",
    "protocol/Icmp": "InDestUnreachs OutDestUnreachs",
    "protocol/Ip6": "FragOKs FragFails FragCreates ReasmReqds ReasmFails OutDiscards",
    "protocol/Icmp6": "InPktTooBigs OutPktTooBigs",
    "link": "rx_dropped tx_dropped rx_errors tx_errors tx_aborted_errors tx_carrier_errors",
}
"""Counters that something too big may move."""


@dataclass(slots=True)
class _Node:
    host: LiveHost
    inside: Namespace
    collectors: list[Collector]
    state: NodeState
    encoder: DeltaEncoder = field(default_factory=DeltaEncoder)
    extra: list[pb.Item] = field(default_factory=list)


class Nodes:
    """The watched nodes of one cluster. Every node of it is known to the API server, watched or not."""

    def __init__(
        self, watched: dict[str, Namespace], known: Iterable[str], sensors: Mapping[str, NodeSensor] | None = None
    ) -> None:
        """`sensors`: of nodes that have one."""
        self._known = ClusterState()
        for name in known:
            self._known.keep("nodes", name, NodeObject(name))
        self._nodes: dict[str, _Node] = {}
        with contextlib.ExitStack() as undo:
            for name, inside in watched.items():
                with inside.entered():
                    host = live_host(name)  # its sockets stay in the namespace they are made in
                undo.callback(host.network.close)
                collectors = [make() for make in COLLECTORS]
                if sensors is not None and name in sensors:
                    collectors.append(RetransmitsCollector(sensors[name]))  # type: ignore[arg-type]  # answers like one
                self._nodes[name] = _Node(host, inside, collectors, NodeState(name))
            self.close = undo.pop_all().close

    def add(self, name: str, *items: pb.Item) -> None:
        """Further facts of a node, from its next reading on; of one that is not watched they are lost."""
        if name in self._nodes:
            self._nodes[name].extra.extend(items)

    def read(self) -> Verdict:
        """Read every watched node, and judge."""
        for node in self._nodes.values():
            now = time.time()
            with node.inside.entered():
                reading = sweep(node.host, node.collectors, now)
            reading.blocks.pop("protocol/softnet", None)  # of the machine's CPUs, whoever else keeps them busy
            for item in node.extra:
                reading.add(item)
            at = round(now * 1000)
            update = node.encoder.delta(reading, at) if node.state.at else node.encoder.full(reading, at)
            if update is None:
                node.state.touch(now)
            else:
                node.state.apply(agent_pb2.Update.FromString(update.SerializeToString()))
        view = ClusterView("lab", {name: node.state for name, node in self._nodes.items()}, self._known)
        return engine.evaluate(view, Thresholds())

    def state(self, name: str) -> NodeState:
        """What is known of a watched node."""
        return self._nodes[name].state

    def moved(self, at_least: int) -> dict[str, str]:
        """Counters that rose by so many in the window, by node, as /proc and `ip -s link` name them."""
        return {name: " ".join(_moved(node.state, at_least)) for name, node in self._nodes.items()}


def _moved(state: NodeState, at_least: int) -> Iterator[str]:
    names = {f"link/{ifindex}": link.name for ifindex, link in state.links().items()}
    for subject in sorted(state.counters):
        kind, _, rest = subject.partition("/")
        watched = _WATCHED.get("link" if kind == "link" else subject, "").split()
        rises = state.increments(subject, Thresholds().window_s) or {}
        for counter in watched:
            if counter in rises and rises[counter].increment >= at_least:
                yield f"{names.get(subject, rest)}.{counter}"
