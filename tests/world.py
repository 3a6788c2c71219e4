"""A small cluster for tests of signatures: hosts whose links, routes and counters are set, then read as an agent would.

What it makes goes through the agent's own encoder and the aggregator's own state, so a rule under test sees what it
would see in production.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from nodetell.v1 import agent_pb2
from nodetell.v1 import facts_pb2 as pb

from agent.delta import DeltaEncoder
from agent.netlink.stats import COUNTER_NAMES
from agent.reading import Block, Reading
from aggregator.cluster.objects import NodeObject
from aggregator.cluster.state import ClusterState
from aggregator.model import Finding, Verdict
from aggregator.node_state import NodeState
from aggregator.signatures import mtu_mismatch
from aggregator.signatures.thresholds import Thresholds
from aggregator.view import ClusterView

START = 1_790_000_000.0
"""When the tests' time begins, seconds since the epoch."""

LINK_COUNTERS = list(COUNTER_NAMES[:21])
PROTOCOLS = {
    "protocol/Ip": [
        "OutDiscards",
        "ReasmTimeout",
        "ReasmReqds",
        "ReasmOKs",
        "ReasmFails",
        "FragOKs",
        "FragFails",
        "FragCreates",
    ],
    "protocol/Icmp": ["InDestUnreachs", "OutDestUnreachs"],
    "protocol/Ip6": ["OutDiscards", "FragFails"],
    "protocol/Icmp6": ["InPktTooBigs", "OutPktTooBigs"],
    "protocol/softnet": ["processed", "dropped", "time_squeeze"],
}


@dataclass
class TestHost:
    """One host: set what it is, then let the world read it."""

    __test__ = False
    name: str
    links: dict[int, pb.Link] = field(default_factory=dict)
    routes: list[pb.Route] = field(default_factory=list)
    extra: dict[str, pb.Item] = field(default_factory=dict)
    counters: dict[str, dict[str, int]] = field(
        default_factory=lambda: {s: dict.fromkeys(n, 7) for s, n in PROTOCOLS.items()}
    )
    encoder: DeltaEncoder = field(default_factory=DeltaEncoder)
    known: bool = False

    def link(self, name: str, mtu: int, **fields: object) -> pb.Link:
        """Add an interface that is up; its ifindex is the next free one."""
        tunnel = fields.pop("tunnel", None)
        link = pb.Link(ifindex=len(self.links) + 1, name=name, mtu=mtu, up=True, operstate=pb.OPER_STATE_UP, **fields)  # type: ignore[arg-type]
        if isinstance(tunnel, pb.Tunnel):
            link.operstate = pb.OPER_STATE_UNKNOWN
            link.tunnel.CopyFrom(tunnel)
        self.links[link.ifindex] = link
        self.counters[f"link/{link.ifindex}"] = dict.fromkeys(LINK_COUNTERS, 1000)
        return link

    def nic(self, mtu: int = 1500, name: str = "eth0", address: str = "") -> pb.Link:
        """Hardware with the default route and an address of its own."""
        link = self.link(
            name, mtu, hardware=True, arp_type=1, addresses=[address or f"10.0.0.{10 + len(self.name)}/24"]
        )
        self.route("0.0.0.0/0", link)
        return link

    def vxlan(self, mtu: int, below: pb.Link, **tunnel: object) -> pb.Link:
        """An overlay that carries pods of other nodes."""
        parameters = pb.Tunnel(id=1, port=8472, local="10.0.0.11", underlay=below.ifindex, df=pb.OUTER_DF_UNSET)
        parameters.MergeFrom(pb.Tunnel(**tunnel))  # type: ignore[arg-type]
        link = self.link("flannel.1", mtu, kind="vxlan", tunnel=parameters, addresses=["10.244.0.0/32"])
        self.route("10.244.1.0/24", link)
        return link

    def bridge_with_pods(
        self, mtu: int, pods: int = 2, veth_mtu: int | None = None, name: str = "cni0", address: str = "10.244.0.1/24"
    ) -> tuple[pb.Link, list[pb.Link]]:
        """A pod bridge with veths."""
        bridge = self.link(name, mtu, kind="bridge", addresses=[address])
        return bridge, [
            self.pod_veth(veth_mtu or mtu, f"{name}veth{number}", master=bridge.ifindex) for number in range(pods)
        ]

    def pod_veth(self, mtu: int, name: str, **fields: object) -> pb.Link:
        """Host-side end of a pod's veth."""
        return self.link(name, mtu, kind="veth", peer_ifindex=2, peer_netnsid=3, **fields)

    def route(self, destination: str, through: pb.Link, mtu: int = 0) -> None:
        """Add a route of the main table."""
        self.routes.append(pb.Route(destination=destination, ifindex=through.ifindex, mtu=mtu, table=254))

    def rise(self, subject: str, **increments: int) -> None:
        """Let counters of a subject rise."""
        for counter, increment in increments.items():
            self.counters[subject][counter] += increment

    def item(self, item: pb.Item) -> None:
        """Add any other fact."""
        self.extra[item.key] = item

    def reading(self) -> Reading:
        """Everything, as its collectors would hand it over."""
        reading = Reading(items=dict(self.extra))
        for link in self.links.values():
            item = pb.Item(key=f"link/{link.ifindex}")
            item.link.CopyFrom(link)
            reading.add(item)
        for number, route in enumerate(self.routes):
            reading.add(pb.Item(key=f"route/{number}", route=route))
        for subject, counters in self.counters.items():
            if not subject.startswith("link/") or int(subject[5:]) in self.links:
                reading.blocks[subject] = Block(tuple(counters), tuple(counters.values()))
        return reading


@dataclass
class World:
    """Hosts, what the API server says of them, and the time."""

    hosts: dict[str, TestHost] = field(default_factory=dict)
    objects: ClusterState = field(default_factory=ClusterState)
    states: dict[str, NodeState] = field(default_factory=dict)
    now: float = START
    thresholds: Thresholds = field(default_factory=Thresholds)

    def host(self, name: str, pool: str = "") -> TestHost:
        """Add a host; with a pool, the API server knows it."""
        self.hosts[name] = TestHost(name)
        self.states[name] = NodeState(name)
        if pool:
            self.objects.keep("nodes", name, NodeObject(name, labels={"cloud.google.com/gke-nodepool": pool}))
        return self.hosts[name]

    def pass_time(self, seconds: float) -> Verdict:
        """Let time pass, read every host, and evaluate."""
        self.now += seconds
        for name, host in self.hosts.items():
            at = round(self.now * 1000)
            update = host.encoder.delta(host.reading(), at) if host.known else host.encoder.full(host.reading(), at)
            host.known = True
            if update is None:
                self.states[name].touch(self.now)
            else:
                self.states[name].apply(agent_pb2.Update.FromString(update.SerializeToString()))
        return self.verdict()

    def verdict(self) -> Verdict:
        """What the signature says now."""
        return mtu_mismatch.evaluate(ClusterView("test", self.states, self.objects, self.now), self.thresholds)

    def codes(self, seconds: float = 0.0) -> dict[str, Finding]:
        """Findings by code after some time."""
        found = self.pass_time(seconds).findings if seconds else self.verdict().findings
        return {finding.code: finding for finding in found}


def codes_of(findings: Iterable[Finding]) -> list[str]:
    """Codes in order."""
    return [finding.code for finding in findings]
