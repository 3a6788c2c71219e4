"""What is kept of pods in trouble says what would be said from scratch, whatever happened in between."""

from __future__ import annotations

import random

import pytest

from aggregator.cluster.objects import Container, ContainerState, ContainerStatus, Event, Owner, Pod, PodSpec
from aggregator.cluster.state import RESOURCES, ClusterState
from aggregator.model import Finding
from aggregator.signatures import crash_loop
from aggregator.signatures.thresholds import Thresholds
from aggregator.view import ClusterView

START = 1_790_000_000.0
IMAGES = ("ghcr.io/acme/api:1", "quay.io/acme/worker:2", "redis:7")
ENDS = (
    (137, "OOMKilled", ""),
    (1, "Error", ""),
    (1, "Error", "dial tcp 10.0.0.9:5432: connect: connection refused"),
    (1, "Error", "password authentication failed for user app"),
    (0, "Completed", ""),
)
PULLS = ("dial tcp: lookup ghcr.io: no such host", "401 Unauthorized", "manifest unknown", "no space left on device")


class Story:
    """Pods and events that come, change and go."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)  # noqa: S311  # a test's dice
        self.state = ClusterState()
        self.now = START
        for resource in RESOURCES:
            self.state.set_known(resource, True)

    def step(self) -> None:
        """One thing happens."""
        self.now += self.dice.uniform(1, 30)
        self.dice.choice((self.pod, self.pod, self.pod, self.event, self.event, self.gone))()

    def gone(self) -> None:
        """Something is no more."""
        resource = self.dice.choice(("pods", "events"))
        if keys := sorted(self.state.keys(resource)):
            self.state.keep(resource, self.dice.choice(keys), None)

    def pod(self) -> None:
        """A pod comes, or becomes another."""
        dice, number = self.dice, self.dice.randrange(12)
        image = dice.choice(IMAGES)
        kind = "Job" if number % 3 == 0 else "StatefulSet"
        spec = PodSpec(
            containers=(Container("app", image),),
            service_account=f"account-{number % 2}",
            restart_policy="Never" if kind == "Job" else "Always",
        )
        phase = dice.choice(("Running", "Pending", "Failed" if kind == "Job" else "Running", "Succeeded"))
        pod = Pod(
            "shop",
            f"p-{number}",
            spec,
            uid=f"u-{number}",
            created=self.now - dice.choice((30, 700, 9000)),
            owner=Owner(kind, f"w-{number % 4}", f"o-{number % 4}"),
            node=f"n{number % 3}",
            phase=phase,
            containers=(self.status(phase),),
        )
        self.state.keep("pods", pod.key, pod)

    def status(self, phase: str) -> ContainerStatus:
        """Of the pod's container."""
        dice = self.dice
        code, reason, message = dice.choice(ENDS)
        end = ContainerState("terminated", reason, message, code, 0, self.now - 60, self.now - dice.choice((20, 55)))
        if phase in ("Failed", "Succeeded"):
            return ContainerStatus("app", state=end)
        if phase == "Pending":
            waits = dice.choice(("ContainerCreating", "ImagePullBackOff", "CreateContainerConfigError"))
            return ContainerStatus("app", state=ContainerState("waiting", waits, dice.choice(PULLS)))
        waiting = ContainerState("waiting", "CrashLoopBackOff", "back-off")
        state = dice.choice((waiting, ContainerState("running", started=self.now - 10)))
        return ContainerStatus("app", restarts=dice.choice((0, 2, 8)), state=state, last=end)

    def event(self) -> None:
        """Somebody says something of a pod."""
        dice, number = self.dice, self.dice.randrange(12)
        reason, message = dice.choice(
            (
                ("FailedMount", 'MountVolume.SetUp failed for volume "c" : secret "db" not found'),
                ("Pulled", f'Successfully pulled image "{dice.choice(IMAGES)}" in 1s'),
                ("BackOff", "Back-off restarting failed container"),
            )
        )
        event = Event(
            "shop",
            f"e-{dice.randrange(20)}",
            "Pod",
            f"shop/p-{number}",
            reason,
            message,
            host=f"n{dice.randrange(3)}",
            first=self.now - 400,
            last=self.now,
        )
        self.state.keep("events", event.key, event)

    def found(self, state: ClusterState) -> list[Finding]:
        """What is said now."""
        found = crash_loop.evaluate(ClusterView("c", {}, state, self.now), Thresholds()).findings
        return sorted(found, key=lambda each: each.id)

    def from_scratch(self) -> ClusterState:
        """The same objects, in the same order, each taken in once."""
        fresh = ClusterState()
        for resource in RESOURCES:
            fresh.set_known(resource, True)
            for key in self.state.keys(resource):
                fresh.keep(resource, key, self.state.get(resource, key))
        return fresh


@pytest.mark.parametrize("seed", range(12))
def test_kept_and_from_scratch_say_the_same(seed: int) -> None:
    story = Story(seed)
    codes: set[str] = set()
    for number in range(150):
        story.step()
        if number % 5 == 0:
            kept = story.found(story.state)
            assert kept == story.found(story.from_scratch())
            codes.update(each.code for each in kept)
    assert len(codes) > 5, "the stories are of trouble"
