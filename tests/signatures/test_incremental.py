"""Signatures that keep what they have worked out of each host say what they would say from scratch, whatever happened.

From scratch means: nothing kept, and every rule run on every host, those too that no counter calls for.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st
from nodetell.v1 import agent_pb2
from nodetell.v1 import facts_pb2 as pb

from agent.delta import DeltaEncoder
from aggregator import engine
from aggregator.cluster.objects import NodeObject
from aggregator.cluster.state import ClusterState
from aggregator.model import Verdict
from aggregator.node_state import FAULT_COUNTERS, ClockOffset, NodeState
from aggregator.signatures import clock, mtu_mismatch, slow_fsync
from aggregator.signatures.host_memo import HostMemo
from aggregator.signatures.thresholds import Thresholds
from aggregator.view import ClusterView
from tests.world import PROTOCOLS, START, TestHost

HOSTS = ("a", "b", "c", "d")
BOUNDS = (1_000, 10_000, 100_000)
_LATENCY = ("le_1000us", "le_10000us", "le_100000us", "gt_100000us")
SIGNATURES = (mtu_mismatch.evaluate, slow_fsync.evaluate, clock.evaluate)


class Story:
    """Four hosts and what happens to them."""

    def __init__(self) -> None:
        self.now = START
        self.objects = ClusterState()
        self.states: dict[str, NodeState] = {}
        self.hosts: dict[str, TestHost] = {}
        self.thresholds = Thresholds()
        for name in HOSTS:
            host = self.hosts[name] = TestHost(name)
            nic = host.nic(address=f"10.0.0.{10 + ord(name)}/24")
            host.vxlan(1450, nic)
            host.bridge_with_pods(1450)
            source = pb.LatencySource(process="postgres", device="259:1", mount="/data", bounds_us=BOUNDS)
            source.method = pb.LATENCY_METHOD_PASSIVE
            host.item(pb.Item(key="latency/x", latency=source))
            host.counters["latency/x"] = dict.fromkeys(_LATENCY, 50)
            host.item(pb.Item(key="conntrack", conntrack=pb.Conntrack(count=1, max=1000)))
            self.report(name)

    @property
    def view(self) -> ClusterView:
        """As it is now."""
        return ClusterView("test", self.states, self.objects, self.now)

    def report(self, name: str, full: bool = False) -> None:
        """The agent of a host says what has changed."""
        host, state = self.hosts[name], self.states.setdefault(name, NodeState(name))
        at = round(self.now * 1000)
        whole = full or not state.at
        update = host.encoder.full(host.reading(), at) if whole else host.encoder.delta(host.reading(), at)
        if update is None:
            state.touch(self.now)
        else:
            state.apply(agent_pb2.Update.FromString(update.SerializeToString()))
        if at % 2:  # ahead of the evaluation, or with it
            engine.prepare(state, self.objects.nodes.get(name))

    def step(self, what: str, name: str, other: str, amount: int) -> None:
        """Something happens on a host, and some hosts report."""
        host = self.hosts[name]
        getattr(self, f"_{what}")(host, other, amount)
        self.now += amount % 40 + 0.001
        for each in (name, other):
            if each in self.states or amount % 2:
                self.report(each)

    def _mtu(self, host: TestHost, _other: str, amount: int) -> None:
        link = host.links[1 + amount % len(host.links)]
        link.mtu = (1400, 1450, 1500, 9000)[amount % 4]

    def _misfit(self, host: TestHost, _other: str, amount: int) -> None:
        host.links[2].mtu = (1450, 1500)[amount % 3 > 0]

    def _drops(self, host: TestHost, _other: str, amount: int) -> None:
        subject = f"link/{1 + amount // 5 % len(host.links)}"
        counter = ("tx_dropped", "rx_dropped", "rx_errors", "rx_crc_errors", "tx_errors")[amount % 5]
        host.rise(subject, **{counter: amount})

    def _too_big(self, host: TestHost, _other: str, amount: int) -> None:
        host.rise("link/2", tx_dropped=amount)
        host.rise("protocol/Ip", FragFails=amount, OutDiscards=amount % 3 * amount)
        host.rise("protocol/Icmp", OutDestUnreachs=amount, InDestUnreachs=amount % 2 * amount)

    def _cut(self, host: TestHost, other: str, amount: int) -> None:
        host.rise("protocol/Ip", FragOKs=amount, FragCreates=2 * amount)
        self.hosts[other].rise("protocol/Ip", ReasmReqds=amount % 3 * amount, ReasmFails=amount // 3 % 2 * amount)

    def _queues(self, host: TestHost, _other: str, amount: int) -> None:
        host.rise("protocol/softnet", dropped=amount)

    def _conntrack(self, host: TestHost, _other: str, amount: int) -> None:
        host.item(pb.Item(key="conntrack", conntrack=pb.Conntrack(count=900 + amount % 100, max=1000)))

    def _probe(self, host: TestHost, other: str, amount: int) -> None:
        probe = pb.PathMtu(
            peer=other,
            via=("underlay", "overlay")[amount % 2],
            interface="eth0",
            interface_mtu=1500,
            path_mtu=(1400, 1500)[amount % 3 > 0],
            icmp_seen=amount % 5 == 0,
            at_unix_ms=round((self.now - amount % 7 * 200) * 1000),
        )
        host.item(pb.Item(key=f"path/{probe.via}/{other}", path_mtu=probe))

    def _retransmits(self, host: TestHost, _other: str, amount: int) -> None:
        key = f"retransmits/{amount % 2}"
        peer = ("10.244.1.7", "10.0.0.99")[amount % 2]
        host.item(pb.Item(key=key, retransmits=pb.Retransmits(peer=peer, consecutive_timeouts=amount % 6)))
        counters = host.counters.setdefault(key, {"large": 0, "small": 0})
        counters["large"] += amount
        counters["small"] += amount % 3

    def _fsyncs(self, host: TestHost, _other: str, amount: int) -> None:
        host.rise("latency/x", **{_LATENCY[amount % 4]: amount})

    def _skew(self, host: TestHost, _other: str, amount: int) -> None:
        said = {"offset_us": (amount - 60) * 100_000} if amount % 5 else {}
        host.item(pb.Item(key="clock", clock=pb.Clock(synchronized=amount % 2 > 0, **said)))

    def _measured(self, host: TestHost, _other: str, amount: int) -> None:
        if host.name in self.states:
            offset = ClockOffset((amount - 60) / 3, amount % 4 / 2, self.now) if amount % 4 else None
            self.states[host.name].clock_offset = offset

    def _pool(self, host: TestHost, _other: str, amount: int) -> None:
        labels = {"cloud.google.com/gke-nodepool": f"pool-{amount % 2}"}
        ranges = ((), ("10.244.0.0/24",), ("172.16.0.0/24", "fd00::/64"))[amount // 4 % 3]
        node = NodeObject(host.name, labels=labels, pod_cidrs=ranges) if amount % 4 else None
        self.objects.keep("nodes", host.name, node)

    def _gone(self, host: TestHost, _other: str, amount: int) -> None:  # noqa: ARG002  # as the others
        self.states.pop(host.name, None)

    def _another_agent(self, host: TestHost, _other: str, _amount: int) -> None:
        host.encoder = DeltaEncoder()
        self.report(host.name, full=True)

    def _reset(self, host: TestHost, _other: str, amount: int) -> None:
        names = PROTOCOLS["protocol/Ip"] if amount % 2 else PROTOCOLS["protocol/softnet"]
        host.counters["protocol/Ip" if amount % 2 else "protocol/softnet"] = dict.fromkeys(names, 1)

    def _clock(self, _host: TestHost, _other: str, amount: int) -> None:
        self.now += (amount - 60) * 5

    def _quiet(self, _host: TestHost, _other: str, amount: int) -> None:
        self.now += amount * 3

    def _limits(self, _host: TestHost, _other: str, amount: int) -> None:
        self.thresholds = Thresholds(window_s=(30.0, 60.0, 300.0)[amount % 3], nic_errors_min=1 + amount % 20)


STEPS = sorted(
    name[1:]
    for name in vars(Story)
    if name.startswith("_") and not name.startswith("__") and callable(getattr(Story, name))
)


@contextmanager
def scratch(states: dict[str, NodeState]) -> Iterator[None]:
    """Nothing is kept with the hosts, and every counter calls for its rules."""
    kept = {name: state.derived for name, state in states.items()}
    for state in states.values():
        state.derived, state._kinds = {}, None
        state._by_kind.clear()

    def all_faults(state: NodeState, _window_s: float) -> Iterator[tuple[str, str]]:
        return ((subject, counter) for subject in state.counters for counter in FAULT_COUNTERS)

    try:
        with patch.object(NodeState, "faults", all_faults):
            yield
    finally:
        for name, state in states.items():
            state.derived = kept[name]


def from_scratch(story: Story) -> list[Verdict]:
    """What the signatures say who have seen none of it before."""
    objects = ClusterState()
    for name, node in story.objects.nodes.items():
        objects.keep("nodes", name, node)
    view = ClusterView("test", dict(reversed(story.states.items())), objects, story.now)
    with scratch(story.states):
        return [evaluate(view, story.thresholds) for evaluate in SIGNATURES]


STEP = st.tuples(st.sampled_from(STEPS), st.sampled_from(HOSTS), st.sampled_from(HOSTS), st.integers(1, 120))


@given(st.lists(STEP, min_size=1, max_size=25))
@settings(max_examples=60)
def test_after_any_sequence_of_updates_it_is_as_from_scratch(steps: list[tuple[str, str, str, int]]) -> None:
    story = Story()
    for what, name, other, amount in steps:
        story.step(what, name, other, amount)
        assert [evaluate(story.view, story.thresholds) for evaluate in SIGNATURES] == from_scratch(story)


def test_the_sequences_are_worth_something() -> None:
    """Every code that these signatures have comes up in them."""
    found: set[str] = set()
    choice = random.Random(7)  # noqa: S311  # no secret
    for _ in range(40):
        story = Story()
        for _ in range(25):
            what = choice.choice(STEPS)
            story.step(what, choice.choice(HOSTS), choice.choice(HOSTS), choice.randint(1, 120))
            for evaluate in SIGNATURES:
                found |= {finding.code for finding in evaluate(story.view, story.thresholds).findings}
    assert found >= {
        "disk.slow_fsync",
        "mtu.drop_fingerprint",
        "mtu.fragmenting",
        "mtu.fragments_lost",
        "mtu.icmp_blocked",
        "mtu.inconsistent_across_nodes",
        "mtu.inconsistent_on_node",
        "mtu.overlay_exceeds_underlay",
        "mtu.path_black_hole",
        "mtu.path_smaller",
        "net.conntrack_full",
        "net.nic_errors",
        "net.overlay_drops",
        "net.queue_drops",
        "node.clock_skew",
    }


def test_a_host_that_did_not_change_is_not_looked_at() -> None:
    story = Story()
    memo: HostMemo[int] = HostMemo()
    assert [name for name, _, _ in memo.changed(story.view)] == list(HOSTS)
    assert list(memo.changed(story.view)) == []
    story.step("quiet", "b", "b", 1)
    assert [name for name, _, _ in memo.changed(story.view)] == ["b"]
    story.objects.keep("nodes", "c", NodeObject("c"))
    assert [name for name, _, _ in memo.changed(story.view)] == ["c"]
    del story.states["a"]
    assert list(memo.changed(story.view)) == []
    assert memo.gone(story.view) == ["a"]
    assert memo.gone(story.view) == []


def test_what_raises_leaves_nothing_half_done_behind() -> None:
    story = Story()
    story.step("mtu", "a", "b", 5)
    judgement = engine.judge(story.view, story.thresholds)
    with patch.object(NodeState, "links", side_effect=KeyError("x")):
        story.hosts["b"].links[1].mtu = 9000
        story.now += 1
        story.report("b")
        assert engine.judge(story.view, story.thresholds).left_out
    again = engine.judge(story.view, story.thresholds)
    assert not again.left_out
    assert again.verdict != judgement.verdict
    anew = {finding.id for verdict in from_scratch(story) for finding in verdict.findings}
    assert {finding.id for finding in again.verdict.findings} >= anew
