"""The aggregator over days: fleet, node states, signatures, findings, the API server's objects, and the store on disk.

Time is passed in. Agents come and go, their hosts reboot, paths break and heal, pods crash and recover, nodes leave for
good and others join; each hour the same happens to others, and each hour ends as the one before did.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import tracemalloc
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from nodetell.v1 import agent_pb2

from aggregator.cluster.intake import ClusterSink
from aggregator.cluster.metrics_history import MetricsHistory
from aggregator.cluster.state import JOURNAL, ClusterState
from aggregator.findings import FindingBook
from aggregator.fleet import Fleet, NotStoredError
from aggregator.history.keeper import History
from aggregator.model import Gap
from aggregator.settings import FleetSettings
from aggregator.store import Store
from aggregator.view import Outage
from bench.cluster_objects import Size
from bench.hosts import OVERLAY, START, Host
from bench.metrics_text import read, text
from bench.soak.meter import Sample, sample
from bench.soak.objects import Objects

STEP_S = 60.0
STEPS_AN_HOUR = 60
SIZE = Size(200, 10)
_SILENT_S = 600.0
"""A node that left is forgotten after this."""
_RETENTION_S = 4 * 3_600.0
"""What is on disk is pruned from the warm-up on."""


@dataclass(slots=True)
class Clock:
    """Seconds since the epoch, and the same since some time."""

    at: float = START

    def time(self) -> float:
        """Wall clock."""
        return self.at

    def monotonic(self) -> float:
        """Monotonic clock."""
        return self.at - START + 1_000.0


@dataclass(slots=True)
class Api:
    """aggregator.fleet.ApiView, of an API server that answers at any time."""

    objects: ClusterState = field(default_factory=ClusterState)
    metrics: MetricsHistory = field(default_factory=MetricsHistory)

    def current_until(self, now: float) -> float:
        """Always."""
        return now

    def clock_offset_s(self) -> float | None:
        """In step."""
        return 0.0

    def outage(self, now: float) -> Outage | None:  # noqa: ARG002  # the contract
        """Never."""
        return None

    def unread(self) -> Mapping[str, str]:
        """Nothing."""
        return {}

    def gaps(self) -> list[Gap]:
        """None."""
        return []


class Agent:
    """One node's agent, and the host it reports of."""

    def __init__(self, number: int, names: list[str], *, overlay_mtu: int = 1450) -> None:
        self.updates: list[agent_pb2.Update] = []
        self.host = Host(number, names, overlay_mtu=overlay_mtu, take=self.updates.append)
        self.instance = (number * 1_000_003 + id(self) % 1_000_003).to_bytes(16, "big")
        self.sent = 0
        self.oldest, self.newest = 5, 5 + 26 + number * 7 % 71

    @property
    def name(self) -> str:
        """Of its node."""
        return self.host.name

    def replace_pod(self) -> None:
        """A pod goes and another comes."""
        self.newest += 1
        self.host.replace_pod(self.oldest, self.newest)
        self.oldest += 1


class Life:
    """One aggregator, step by step."""

    def __init__(self, fleet: Fleet, history: History, api: Api, clock: Clock, size: Size) -> None:
        self.fleet, self._history, self._api, self._clock = fleet, history, api, clock
        self.objects = Objects(size, ClusterSink(api.objects))
        self._names = self.objects.nodes
        self.agents = [Agent(number, self._names) for number in range(size.nodes)]
        self._metrics = read(text(4))
        self._crashed: list[str] = []
        self._broken: Agent | None = None
        self.transitions = 0
        fleet.listeners.append(self._count)
        for agent in self.agents:
            self._connect(agent)

    def _count(self, _transition: object) -> None:
        self.transitions += 1

    async def step(self, number: int) -> None:
        """STEP_S pass."""
        self._clock.at = self.objects.at = START + number * STEP_S
        hour, minute = divmod(number, STEPS_AN_HOUR)
        self._happens(hour, minute)
        self._api.metrics.add(replace(self._metrics, at=self._clock.at))
        for agent in self.agents:
            agent.replace_pod()
            drops = {"tx_dropped": 500} if agent is self._broken else {}
            agent.host.traffic(self._clock.at, (OVERLAY,) if drops else (), **drops)
        await self._deliver()
        self._history.step()
        if minute % 10 == 0:
            self.fleet.summaries()
            self.fleet.gaps()

    def fill(self) -> None:
        """What is bounded, and would take days to get there, is as full as it gets: the journal of changes, and the
        list of resolved findings, with copies of those there."""
        while self._api.objects.revision < JOURNAL:
            self.objects.renew_leases()
            self.objects.replace_pods(6)
        resolved = self.fleet.book.resolved
        there = list(resolved)
        resolved.extend(
            copy.deepcopy(there[place % len(there)]) for place in range((resolved.maxlen or 0) - len(there))
        )

    def _happens(self, hour: int, minute: int) -> None:
        objects, count = self.objects, len(self.agents)
        objects.renew_leases()
        objects.replace_pods(6)
        objects.warn(4)
        unlucky = hour % count
        if minute == 10:
            self._broken = self._reboot(unlucky, overlay_mtu=1500)
        elif minute == 30:
            self._broken = None
            self._reboot(unlucky)
        elif minute % 15 == 1:
            self._crashed = objects.crash(10)
        elif minute % 15 == 12:
            objects.recover(self._crashed)
        elif minute == 25:
            objects.ready(self._names[(unlucky + 3) % count], False)
        elif minute == 38:
            objects.ready(self._names[(unlucky + 3) % count], True)
        elif minute == 40:
            objects.list_all()
        elif minute == 43:
            self._replace_node((unlucky + 5) % count, f"soak-node-{hour}")
        elif minute % 5 == 0:
            self._reconnect(self.agents[(unlucky + minute) % count], fresh=minute % 2 == 0)

    def _connect(self, agent: Agent) -> None:
        hello = agent_pb2.Hello(protocol=1, node=agent.name, instance=agent.instance, version="soak")
        hello.last_update = agent.sent
        if not self.fleet.connect(hello, "127.0.0.1"):
            agent.updates.clear()
            agent.host.report(self._clock.at)

    def _reconnect(self, agent: Agent, *, fresh: bool) -> None:
        self.fleet.disconnect(agent.name, agent.instance)
        if fresh:
            agent.instance, agent.sent = bytes(reversed(agent.instance)), 0
        self._connect(agent)

    def _reboot(self, number: int, *, overlay_mtu: int = 1450) -> Agent:
        before = self.agents[number]
        self.fleet.disconnect(before.name, before.instance)
        agent = self.agents[number] = Agent(number, self._names, overlay_mtu=overlay_mtu)
        self._connect(agent)
        return agent

    def _replace_node(self, number: int, by: str) -> None:
        self.objects.replace_node(self._names[number], by)
        self.fleet.disconnect(self.agents[number].name, self.agents[number].instance)
        self._names[number] = by
        agent = self.agents[number] = Agent(number, self._names)
        self._connect(agent)

    async def _deliver(self) -> None:
        """Every agent says what it has to say; what came of it is on disk afterwards."""
        given = []
        for agent in self.agents:
            if agent.updates:
                for update in agent.updates:
                    agent.sent += 1
                    take = self.fleet.take(agent.name, agent.instance, agent.sent, update)
                    given.append(asyncio.ensure_future(take))
                agent.updates.clear()
            else:
                self.fleet.heard(agent.name, round(self._clock.at * 1000))
        waiting = set(given)
        while waiting:
            await asyncio.sleep(0)
            self.fleet.evaluate()
            _, waiting = await asyncio.wait(waiting, timeout=1.0)
        for each in given:
            with contextlib.suppress(NotStoredError):  # on a busy machine it comes late; the update was taken in
                each.result()


@asynccontextmanager
async def living(directory: Path, size: Size) -> AsyncIterator[Life]:
    """An aggregator whose store is in that directory."""
    clock, api = Clock(), Api()
    settings = FleetSettings(forget_after_s=_SILENT_S)
    store = Store(directory, retention_s=_RETENTION_S, clock=clock.time)
    history = History(directory, retention_s=_RETENTION_S, history_s=settings.history_s, clock=clock.time)
    standing, resolved = await asyncio.to_thread(store.open)
    await asyncio.to_thread(history.open)
    book = FindingBook(standing, resolved)
    fleet = Fleet(store, book, history=history, settings=settings, api=api, clock=clock.time, monotonic=clock.monotonic)
    try:
        yield Life(fleet, history, api, clock, size)
        await fleet.close()
    finally:
        await asyncio.to_thread(history.close)
        await asyncio.to_thread(store.close)


async def soak(hours: int, directory: Path, *, traced: bool = False, size: Size = SIZE) -> AsyncIterator[Sample]:
    """A sample at the end of each hour."""
    if traced:
        tracemalloc.start()
    async with living(directory, size) as life:
        for hour in range(hours):
            for number in range(hour * STEPS_AN_HOUR, (hour + 1) * STEPS_AN_HOUR):
                await life.step(number + 1)
            if hour == 1:
                life.fill()
            yield sample(hour + 1)
