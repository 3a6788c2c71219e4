"""What is kept of waiting pods and pools says what would be said from scratch, whatever happened in between."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from aggregator.cluster.objects import (
    Attachment,
    Condition,
    HostPort,
    NodeObject,
    NodeTerm,
    Owner,
    PodSpec,
    Requirement,
    Spread,
    Volume,
)
from aggregator.cluster.state import RESOURCES, ClusterState
from aggregator.model import Evidence, Finding
from aggregator.signatures import scheduler_stuck
from aggregator.signatures.thresholds import Thresholds
from aggregator.view import ClusterView
from tests.aggregator.scheduling.shapes import EBS, GIB, Small, app, bears, taint, together

START = 1_790_000_000.0
STEP_S = 20.0
"""Longer than sums are kept for."""
SPECS = (
    PodSpec(requests={"cpu": 3000, "memory": GIB}),
    PodSpec(requests={"cpu": 500}, node_selector={"disk": "ssd"}),
    PodSpec(requests={"cpu": 700}, pod_anti_affinity=(together("web", "zone"),)),
    PodSpec(requests={"cpu": 700}, pod_affinity=(together("cache", "zone"),)),
    PodSpec(requests={"cpu": 700}, spread=(Spread("zone", 1, app("web"), honor_taints=True),)),
    PodSpec(requests={"cpu": 100}, host_ports=(HostPort(80),)),
    PodSpec(requests={"cpu": 6000}, tolerations=(bears("dedicated"),), priority=10),
    PodSpec(requests={"cpu": 100}, pod_anti_affinity=(together("api"),)),
)
LABELS = ({"app": "web"}, {"app": "cache"}, {"app": "api"})


class Story:
    """A small cluster and what happens to it. All that happens goes through ClusterState.keep."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)  # noqa: S311  # a test's dice
        self.small = Small()
        self.now = START
        for resource in RESOURCES:
            self.state.set_known(resource, True)
        self.small.storage_class()
        for number in range(6):
            self.node(number)
        for number in range(12):
            self.pod(number)

    @property
    def state(self) -> ClusterState:
        """What the API server has."""
        return self.small.state

    def node(self, number: int) -> None:
        """A node comes, or becomes another."""
        dice = self.dice
        labels = {"zone": dice.choice("ab"), "kubernetes.io/hostname": f"n{number}"}
        labels |= {"disk": "ssd"} if dice.random() < 0.3 else {}
        lost = dice.random() < 0.1
        taints = [taint("dedicated=db:NoSchedule")] if dice.random() < 0.2 else []
        taints += [taint("node.kubernetes.io/unreachable:NoSchedule")] if lost else []
        node = NodeObject(
            f"n{number}",
            labels=labels,
            taints=tuple(taints),
            unschedulable=dice.random() < 0.15,
            allocatable={"cpu": dice.choice((2000, 4000, 8000)), "memory": 8 * GIB, "pods": dice.choice((3, 20))},
            conditions=(Condition("Ready", "Unknown" if lost else "True"),),
        )
        self.state.keep("nodes", node.name, node)

    def no_node(self, number: int) -> None:
        """A node goes; its pods stay for a while."""
        self.state.keep("nodes", f"n{number % 6}", None)

    def pod(self, number: int) -> None:
        """A pod comes, or becomes another: waiting or on a node."""
        dice = self.dice
        waits = dice.random() < 0.5
        made = self.small.pod(
            f"p{number}",
            "" if waits else f"n{dice.randrange(6)}",
            spec=dice.choice(SPECS),
            labels=dice.choice(LABELS),
            claims=(f"c{dice.randrange(4)}",) if dice.random() < 0.3 else (),
        )
        says = dice.choice(("0/6 nodes are available: 6 Insufficient cpu.", "", "0/6 nodes are available: 6 odd."))
        condition = Condition("PodScheduled", "False", "Unschedulable", says, START - 1000)
        pod = replace(
            made,
            uid=f"uid-{number}-{self.state.revision}",
            created=START - 1000,
            conditions=(condition,) if waits and says else (),
            owner=Owner("ReplicaSet", "web", "uid-web") if dice.random() < 0.5 else None,
            pinned_node=f"n{dice.randrange(7)}" if waits and dice.random() < 0.1 else "",
            nominated_node=f"n{dice.randrange(6)}" if waits and dice.random() < 0.1 else "",
        )
        self.state.keep("pods", pod.key, pod)

    def no_pod(self, number: int) -> None:
        """A pod goes."""
        self.state.keep("pods", f"apps/p{number}", None)

    def ended(self, number: int) -> None:
        """A pod ends."""
        pod = self.state.pods.get(f"apps/p{number}")
        if pod is not None:
            self.state.keep("pods", pod.key, replace(pod, phase="Succeeded"))

    def volume(self, number: int) -> None:
        """A claim is bound, of one pod or one zone, or is not."""
        name, dice = f"c{number % 4}", self.dice
        if dice.random() < 0.4:
            self.small.claim(name, class_=dice.choice(("gp3", "gone")))
        else:
            modes = (dice.choice(("ReadWriteOnce", "ReadWriteOncePod")),)
            self.small.volume(name, zone=dice.choice(("", "a", "b", "c")), modes=modes)

    def no_claim(self, number: int) -> None:
        """A claim goes."""
        self.state.keep("persistentvolumeclaims", f"apps/c{number % 4}", None)

    def slots(self, number: int) -> None:
        """A node's limit of volumes is another."""
        self.small.limit(f"n{number % 6}", self.dice.randrange(3))

    def attached(self, number: int) -> None:
        """A volume is attached, or not."""
        key = f"va-{number % 3}"
        kept = self.dice.random() < 0.6
        volume, node = f"pv-c{number % 4}", f"n{self.dice.randrange(6)}"
        found = Attachment(key, attacher=EBS, node=node, volume=volume, attached=True)
        self.state.keep("volumeattachments", key, found if kept else None)

    def moved(self, number: int) -> None:
        """A volume's node affinity is another."""
        volume = self.state.volumes.get(f"pv-c{number % 4}")
        if isinstance(volume, Volume):
            terms = (NodeTerm((Requirement("zone", "In", (self.dice.choice("ab"),)),)),)
            self.state.keep("persistentvolumes", volume.name, replace(volume, node_terms=terms))

    def happens(self) -> None:
        """One to four things, and time passes."""
        steps: tuple[Callable[[int], None], ...] = (
            *(self.pod,) * 4,
            self.node,
            self.no_node,
            self.no_pod,
            self.ended,
            self.volume,
            self.no_claim,
            self.slots,
            self.attached,
            self.moved,
        )
        for _ in range(self.dice.randint(1, 4)):
            self.dice.choice(steps)(self.dice.randrange(12))
        self.now += STEP_S


def told(state: ClusterState, now: float) -> list[tuple[Finding, frozenset[Evidence]]]:
    """All findings, without the times of their evidence: what is kept was read when it last changed."""
    verdict = scheduler_stuck.evaluate(ClusterView("test", {}, state, now), Thresholds())
    return [
        (dataclasses.replace(each, evidence=()), frozenset(dataclasses.replace(fact, at=0.0) for fact in each.evidence))
        for each in verdict.findings
    ]


def copied(state: ClusterState) -> ClusterState:
    """The same objects in the same order, and nothing kept."""
    fresh = ClusterState()
    for resource in RESOURCES:
        for key, thing in state._objects[resource].items():
            fresh.keep(resource, key, thing)
        fresh.set_known(resource, True)
    return fresh


@pytest.mark.parametrize("seed", range(12))
def test_kept_and_from_scratch_say_the_same(seed: int) -> None:
    story = Story(seed)
    codes = set()
    for _ in range(25):
        story.happens()
        for _ in range(13):  # sums that are not urgent are made for one kind of pod in one evaluation
            kept = told(story.state, story.now)
        assert kept == told(copied(story.state), story.now)
        codes |= {finding.code for finding, _ in kept}
    assert len(codes) > 1


def test_a_thousand_pods_of_one_template_are_asked_about_once() -> None:
    small = Small()
    small.node("n1")
    spec = PodSpec(requests={"cpu": 9000})
    pods = [replace(small.pod(f"p{number}", spec=spec), created=START - 1000) for number in range(1000)]
    for pod in pods:
        small.state.keep("pods", pod.key, pod)
    scheduler_stuck.evaluate(ClusterView("test", {}, small.state, START), Thresholds())
    kept = small.state.derived["scheduler.surveys"]
    assert len(getattr(kept, "_kept")) == 1  # noqa: B009  # private, and what this is about
