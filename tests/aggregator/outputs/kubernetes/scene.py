"""What tests of Events and conditions share: findings that come and go, a view of objects, time that is passed in, and
an API server that takes writes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from nodetell.metrics import Meters

from aggregator.cluster.objects import Claim, Condition, NodeObject, Owner, Pod, PodSpec, Workload
from aggregator.cluster.state import ClusterState
from aggregator.findings import Kind, Record, Transition
from aggregator.known import Known
from aggregator.model import Finding, Severity, Stage, finding_id
from aggregator.node_state import NodeState
from aggregator.outputs.kubernetes.surface import ObjectsSurface
from aggregator.settings import AggregatorSettings, ObjectsSettings
from aggregator.surfaces import Made
from aggregator.view import ClusterView
from tests.api_writes import Writes
from tests.apiserver import serving
from tests.entrance import kubeconfig

START = 1_795_341_600.0
"""2026-11-22T10:00:00Z."""


def finding(about: str = "a", **more: Any) -> Finding:
    """One of a path between nodes, if not told otherwise."""
    base = Finding(
        id=finding_id("mtu.overlay_exceeds_underlay", about),
        code="mtu.overlay_exceeds_underlay",
        incident="mtu_mismatch",
        stage=Stage.ACTIVE,
        severity=Severity.WARNING,
        summary="flannel.1 of n1 lets packets through that eth0 drops",
        nodes=("n1",),
        evidence=(),
        clears_when="it fits",
    )
    return replace(base, **more)


def record(of: Finding, at: float = START, unconfirmed: str = "") -> Record:
    """Its life so far."""
    return Record(of, "test", at, at, unconfirmed)


@dataclass
class Cluster:
    """What is known."""

    objects: ClusterState = field(default_factory=ClusterState)
    hosts: dict[str, NodeState] = field(default_factory=dict)
    records: dict[str, Record] = field(default_factory=dict)
    listeners: list[Callable[[Transition], None]] = field(default_factory=list)
    now: float = START

    def standing(self) -> list[Record]:
        """As Known has it."""
        return list(self.records.values())

    def view(self) -> ClusterView:
        """As Known has it."""
        return ClusterView("test", self.hosts, self.objects, self.now)

    def node(self, name: str, *conditions: Condition, heard: bool = True) -> None:
        """A Node is there, and its agent."""
        version = str(self.objects.revision + 1)
        self.objects.keep("nodes", name, NodeObject(name, uid=f"uid-{name}", version=version, conditions=conditions))
        self.objects.set_known("nodes", True)
        if heard:
            self.hosts[name] = NodeState(name)

    def pod(self, name: str, owner: Owner | None = None, namespace: str = "shop") -> str:
        """A Pod is there; as findings name it."""
        pod = Pod(namespace, name, PodSpec(), uid=f"uid-{name}", owner=owner)
        self.objects.keep("pods", pod.key, pod)
        self.objects.set_known("pods", True)
        return f"Pod/{pod.key}"

    def claim(self, name: str, namespace: str = "shop") -> str:
        """A PersistentVolumeClaim is there."""
        claim = Claim(namespace, name, uid=f"uid-{name}")
        self.objects.keep("persistentvolumeclaims", claim.key, claim)
        self.objects.set_known("persistentvolumeclaims", True)
        return f"PersistentVolumeClaim/{claim.key}"

    def replica_set(self, name: str, deployment: str, namespace: str = "shop") -> Owner:
        """A ReplicaSet of a Deployment is there, for pods to be of."""
        above = Owner("Deployment", deployment, f"uid-{deployment}")
        held = Workload("ReplicaSet", namespace, name, uid=f"uid-{name}", owner=above)
        self.objects.keep("replicasets", held.key, held)
        self.objects.set_known("replicasets", True)
        return Owner("ReplicaSet", name, held.uid)

    def happens(self, of: Finding, unconfirmed: str = "") -> None:
        """A finding appears or changes."""
        before = self.records.get(of.id)
        first = before.first_seen if before is not None else self.now
        self.records[of.id] = Record(of, "test", first, self.now, unconfirmed)
        self._tell(Kind.APPEARED if before is None else Kind.CHANGED, self.records[of.id])

    def ends(self, of: Finding) -> None:
        """It is over."""
        last = self.records.pop(of.id)
        self._tell(Kind.RESOLVED, replace(last, unconfirmed="", resolved=self.now, because="the condition is over"))

    def _tell(self, kind: Kind, of: Record) -> None:
        for listener in self.listeners:
            listener(Transition(kind, of, self.now))


class Time:
    """Of the cluster and of whoever sleeps: it goes on as fast as they do, up to where it is allowed to."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._until = 0.0
        self.now = 0.0
        self._wake, self._there = asyncio.Event(), asyncio.Event()

    def monotonic(self) -> float:
        """Seconds since the start."""
        return self.now

    def clock(self) -> float:
        """Seconds since the epoch."""
        return START + self.now

    async def sleep(self, seconds: float) -> None:
        """As asyncio.sleep."""
        end = self.now + seconds
        while self._until < end:
            self._there.set()
            self._wake.clear()
            await self._wake.wait()
        self.now = end
        self._cluster.now = self.clock()
        await asyncio.sleep(0)

    async def until(self, seconds: float) -> None:
        """Let it go on up to then, and wait for that."""
        self._until = seconds
        self._there.clear()
        self._wake.set()
        async with asyncio.timeout(50):
            await self._there.wait()


@dataclass
class Scene:
    """A surface at work."""

    surface: ObjectsSurface
    cluster: Cluster
    server: Writes
    time: Time
    meters: Meters

    def shown(self, node: str) -> None:
        """The watch brings the Node as it is now."""
        held = self.server.conditions[node].values()
        at = self.time.clock()
        found = (Condition(each["type"], each["status"], each["reason"], each["message"], at) for each in held)
        self.cluster.node(node, *found, heard=node in self.cluster.hosts)


def play(
    folder: Path,
    acts: Callable[[Scene], Coroutine[Any, Any, None]],
    cluster: Cluster | None = None,
    **settings: Any,
) -> None:
    """Run a scene."""

    async def run() -> None:
        known = cluster or Cluster()
        passing = Time(known)
        server = Writes(passing.monotonic)
        server.conditions = {
            name: {
                each.type: {"type": each.type, "status": each.status, "reason": each.reason, "message": each.message}
                for each in node.conditions
            }
            for name, node in known.objects.nodes.items()
        }
        async with serving(server.answer) as listening:
            chosen = ObjectsSettings(**({"events": True, "node_conditions": True} | settings))
            made = Made(
                settings=AggregatorSettings(objects=chosen),
                known=cast("Known", known),
                operators=None,
                api=kubeconfig(folder, listening.url),
                directory=None,
                clock=passing.clock,
            )
            surface = ObjectsSurface(made, env={}, monotonic=passing.monotonic, sleep=passing.sleep)
            scene = Scene(surface, known, server, passing, made.meters)
            server.patched = scene.shown
            assert await surface.start() == ""
            try:
                await acts(scene)
            finally:
                await surface.aclose()
                assert not known.listeners

    asyncio.run(run())
