"""Path probing as the agent's part: follows the plan it is given, answers others, and keeps what it found.

Two threads meet here. The event loop's sends, receives and searches; the network lane's collector tells what interfaces
there are and takes along what is known. They hand over whole objects only.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from nodetell.logs import event
from nodetell.v1 import agent_pb2
from nodetell.v1 import facts_pb2 as pb

from agent.host import Inventory
from agent.pathmtu import datagram
from agent.pathmtu.answers import Answers
from agent.pathmtu.endpoints import endpoint
from agent.pathmtu.plan import Assembly, Plan, PlanError, Target
from agent.pathmtu.prober import Numbers, Outcome, Run
from agent.pathmtu.responder import Responder
from agent.pathmtu.route import RouteTable, carrier
from agent.pathmtu.search import Search
from agent.pathmtu.way import Way
from agent.reading import Block, Reading
from agent.settings import PathMtuSettings

_log = logging.getLogger("nodetell.agent")

AT_ONCE = 4
"""Searches that run side by side."""
FIRST_WITHIN_S = 1.0
"""A new path is probed at a random time within this."""
AFTER_CHANGE_S = 2.0
"""After a change of the interfaces, all paths are probed within this ..."""
CHANGE_GAP_S = 10.0
"""... but not more often."""
UNREACHABLE_AFTER = 3
"""Searches without any answer before a peer counts as unreachable: it may not have its plan yet."""
UNCERTAIN_RETRY_S = 5.0
"""A path whose loss hides its size is probed again after this, then after twice as long, and so on."""
KEEP_S = 240.0
"""A result that stays the same is told again after this."""
LEAVE_S = 60.0
"""A result stands for so long after its path has left the plan: an aggregator just restarted knows few nodes yet."""
_JITTER = 0.2
_OPEN_RETRY_S = 30.0
_COUNTERS = (
    "searches", "uncertain", "probes_sent", "probe_bytes_sent", "answers_received", "probes_answered",
    "foreign_ignored", "repeated_ignored", "rate_limited", "floods", "cpu_us",
)  # fmt: skip
_ENABLE = "set path_mtu.port (NODETELL_AGENT_PATH_MTU_PORT) to a UDP port that other nodes reach, on two nodes or more"


@dataclass(slots=True)
class _Job:
    """A path, and what has become of it."""

    target: Target
    due: float
    """Event loop's time."""
    busy: bool = False
    silent: int = 0
    """Searches in a row that nothing came of."""
    uncertain: int = 0
    """Searches in a row in which loss hid the size."""
    problem: str = ""
    """Why this path cannot be probed."""
    item: pb.Item | None = None
    """The last good result."""


class Probing:
    """One agent's probing. `run` works in the event loop; `observe` and `reading` are the network lane's."""

    def __init__(self, settings: PathMtuSettings, *, uniform: Callable[[float, float], float] = random.uniform) -> None:
        self._settings = settings
        self._uniform = uniform
        self._cpu_s = 0.0
        self._answers = Answers()
        self._responder = Responder(self._answers, self._account)
        self._numbers = Numbers()
        self._assembly = Assembly()
        self._plan = Plan()
        self._jobs: dict[Target, _Job] = {}
        self._left: dict[str, tuple[float, pb.Item]] = {}
        """Results of paths that are in the plan no more, and until when they stand (monotonic). Replaced as a whole."""
        self._wake = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._routes: RouteTable | None = None
        self._answering = False
        self._not_answering = ""
        """Why the port is not open although it should be."""
        self._counts = dict.fromkeys(_COUNTERS, 0)
        self._changed_at = float("-inf")
        # Handed from one thread to the other, as whole objects:
        self._inventory = Inventory()
        self._host_network = True
        self._shape: object = None
        self._placed: tuple[Inventory, bool, int, pb.Item] | None = None
        """The network lane's own: what it has told of where this node can be probed, and of what."""

    # -- the network lane ----------------------------------------------------------------------------------------------

    def observe(self, inventory: Inventory, *, host_network: bool) -> None:
        """These are the interfaces of the agent's network namespace. `host_network`: they are the node's."""
        if inventory is self._inventory:
            return
        self._inventory, self._host_network = inventory, host_network
        shape, before = _shape(inventory), self._shape
        self._shape = shape
        if before is not None and shape != before and self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has just been closed
                self._loop.call_soon_threadsafe(self._probe_soon)

    def reading(self) -> Reading:
        """All that is known by probing."""
        reading = Reading()
        if not self._settings.enabled:
            reading.gap("path_mtu", "path probing is switched off", remedy="set path_mtu.enabled to true")
            return reading
        reading.add(self._place())
        jobs, now = list(self._jobs.values()), time.monotonic()
        for until, item in self._left.values():
            if now < until:
                reading.add(item)
        for job in jobs:
            if job.item is not None:
                reading.add(job.item)
        self._tell_gaps(reading, jobs)
        reading.blocks["path_mtu"] = Block(_COUNTERS, tuple(self._totals().values()))
        return reading

    def _place(self) -> pb.Item:
        """The item "probe_endpoint", worked out anew only when something of it may have changed."""
        of = (self._inventory, self._host_network, self._settings.port if self._answering else 0)
        if self._placed is None or self._placed[0] is not of[0] or self._placed[1:3] != of[1:]:
            inventory, host_network, port = of
            self._placed = (*of, endpoint(inventory, port, host_network=host_network))
        return self._placed[3]

    def _tell_gaps(self, reading: Reading, jobs: list[_Job]) -> None:
        silent = self._not_answering or ("" if self._settings.port else "this node answers none (path_mtu.port is 0)")
        if not jobs:
            none = "no node that answers path probes is known" + (f", and {silent}" if silent else "")
            reading.gap("path_mtu", f"{none}: MTUs are judged by configuration and counters", remedy=_ENABLE)
        elif silent:
            because = f"paths towards this node are not probed: {silent}"
            reading.gap("path_mtu", because, detail="answers", status=pb.COVERAGE_STATUS_DEGRADED, remedy=_ENABLE)
        for detail, because, paths in (
            ("loss", "so many packets are lost that size cannot be told from loss", [j for j in jobs if j.uncertain]),
            ("silent", "nothing comes back", [j for j in jobs if j.silent >= UNREACHABLE_AFTER]),
            ("local", jobs_problem(jobs), [j for j in jobs if j.problem]),
        ):
            if paths:
                first = paths[0].target
                some = f"{len(paths)} of {len(jobs)} paths, the first to {first.peer} at {first.address}"
                reading.gap("path_mtu", f"{some}: {because}", detail=detail, status=pb.COVERAGE_STATUS_DEGRADED)

    def _totals(self) -> Mapping[str, int]:
        tally = self._answers.tally
        return {
            **self._counts,
            "probes_answered": tally.answered,
            "foreign_ignored": tally.foreign,
            "repeated_ignored": tally.repeated,
            "rate_limited": tally.limited,
            "floods": self._responder.overrun,
            "cpu_us": round(self._cpu_s * 1e6),
        }

    # -- the event loop ------------------------------------------------------------------------------------------------

    def instruct(self, part: agent_pb2.ProbePlan) -> None:
        """A part of a plan has come."""
        try:
            plan = self._assembly.take(part)
        except PlanError as error:
            event(_log, logging.WARNING, "probe_plan_refused", version=part.version, reason=error)
            return
        if plan is not None and self._settings.enabled:
            self._follow(plan)

    async def run(self, stop: asyncio.Event) -> None:
        """Probe and answer until `stop` is set."""
        if not self._settings.enabled:
            return
        self._loop = asyncio.get_running_loop()
        try:
            self._routes = RouteTable()
        except OSError as error:
            event(_log, logging.WARNING, "routes_not_asked", reason=error)
        tasks = [asyncio.create_task(self._work(), name=f"path-mtu-{number}") for number in range(AT_ONCE)]
        tasks.append(asyncio.create_task(self._open(), name="path-mtu-open"))
        try:
            await stop.wait()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._loop = None
            self._responder.close()
            if self._routes is not None:
                self._routes.close()

    async def _open(self) -> None:
        """Open the port, if there is to be one; again later where it cannot be."""
        port = self._settings.port
        while port and not self._answering:
            try:
                self._responder.open(self._settings.addresses, port)
            except OSError as error:
                if not self._not_answering:
                    event(_log, logging.WARNING, "probes_not_answered", reason=error.strerror)
                self._not_answering = f"this node answers none: {error.strerror}"
                await asyncio.sleep(_OPEN_RETRY_S)
            else:
                self._answering, self._not_answering = True, ""
                event(_log, logging.INFO, "probes_answered", port=port)

    def _follow(self, plan: Plan) -> None:
        now = asyncio.get_running_loop().time()
        self._answers.grant(plan.grants, time.monotonic())
        first = min(FIRST_WITHIN_S, plan.interval_s)
        by_path = {_path(target): job for target, job in self._jobs.items()}
        jobs = {}
        for target in plan.targets:
            job = self._jobs.get(target) or by_path.get(_path(target))
            if job is None:
                job = _Job(target, now + self._uniform(0, first))
            elif job.target != target:  # the other end has a new key or port
                job.target, job.due = target, min(job.due, now + self._uniform(0, plan.interval_s))
            job.due = min(job.due, now + plan.interval_s)
            jobs[target] = job
        self._left = self._leaving(jobs)
        self._plan, self._jobs = plan, jobs
        event(_log, logging.INFO, "probe_plan", version=plan.version, paths=len(jobs), answers_to=self._answers.keys)
        self._wake_workers()

    def _leaving(self, jobs: Mapping[Target, _Job]) -> dict[str, tuple[float, pb.Item]]:
        """Results that no job of a new plan goes on with."""
        now, kept = time.monotonic(), {id(job) for job in jobs.values()}
        left = {key: (until, item) for key, (until, item) in self._left.items() if now < until}
        for job in self._jobs.values():
            if job.item is not None and id(job) not in kept:
                left[job.item.key] = (now + LEAVE_S, job.item)
        return left

    def _probe_soon(self) -> None:
        """The interfaces have changed."""
        now = asyncio.get_running_loop().time()
        begin = max(now, self._changed_at + CHANGE_GAP_S)
        self._changed_at = begin
        for job in self._jobs.values():
            job.due = min(job.due, begin + self._uniform(0, AFTER_CHANGE_S))
        self._wake_workers()

    def _wake_workers(self) -> None:
        self._wake.set()
        self._wake = asyncio.Event()

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            wake = self._wake
            idle = [job for job in self._jobs.values() if not job.busy]
            job = min(idle, key=lambda job: job.due, default=None)
            if job is None or job.due > loop.time():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(job.due if job is not None else None):
                        await wake.wait()
                continue
            job.busy = True
            try:
                job.due = loop.time() + await self._probe(job)
            except Exception as error:  # noqa: BLE001  # a defect met on one path must not end the others
                event(_log, logging.ERROR, "probe_failed", peer=job.target.peer, error=repr(error))
                job.problem = f"the probe failed: {error!r}"[:300]
                job.due = loop.time() + self._plan.interval_s
            finally:
                job.busy = False

    async def _probe(self, job: _Job) -> float:
        """Probe a path; returns the seconds until it is to be probed again."""
        target, interval_s = job.target, self._plan.interval_s
        regular = interval_s * self._uniform(1 - _JITTER, 1 + _JITTER)
        with self._account():
            try:
                way = Way(target.address, target.port)
            except OSError as error:
                job.problem = error.strerror or str(error)
                return regular
        with contextlib.closing(way):
            with self._account():
                hops = self._routes.route_to(target.address) if self._routes is not None else []
                carried = carrier(self._inventory, hops, way.local_address)
            if carried is None:
                job.problem = "which interface it leaves by, and what size is full there, cannot be told"
                return regular
            job.problem = ""
            floor = datagram.smallest(target.ipv6)
            top = max(floor, min(carried.full_size, datagram.MAX_SIZE))
            run = Run(Search(top, floor), way, target.key, self._numbers, self._account)
            outcome = await run.go()
        self._count(outcome)
        return self._book(job, carried.interface, way.local_address, outcome) or regular

    def _count(self, outcome: Outcome) -> None:
        self._counts["searches"] += 1
        self._counts["uncertain"] += not outcome.verdict.certain
        self._counts["probes_sent"] += outcome.sent
        self._counts["probe_bytes_sent"] += outcome.sent_bytes
        self._counts["answers_received"] += outcome.answers

    def _book(self, job: _Job, interface: str, local_address: str, outcome: Outcome) -> float:
        """Keep what was found. Seconds until the next search; 0: the regular time."""
        verdict, interval_s = outcome.verdict, self._plan.interval_s
        if not verdict.certain:
            job.silent, job.uncertain = 0, job.uncertain + 1
            return float(min(interval_s, UNCERTAIN_RETRY_S * 2 ** min(job.uncertain - 1, 10)))
        job.uncertain = 0
        job.silent = job.silent + 1 if verdict.size is None else 0
        if 0 < job.silent < UNREACHABLE_AFTER:
            return float(min(interval_s, 2.0**job.silent))
        item = _item(job.target, interface, local_address, outcome)
        if job.item is None or _differs(job.item.path_mtu, item.path_mtu):
            if job.item is None or job.item.path_mtu.path_mtu != item.path_mtu.path_mtu:
                event(
                    _log,
                    logging.INFO,
                    "path_mtu",
                    peer=job.target.peer,
                    via=job.target.via,
                    to=job.target.address,
                    path_mtu=verdict.size or "nothing arrives",
                    full_size=verdict.top,
                    packets=outcome.sent,
                    took_s=round(outcome.took_s, 2),
                )
            job.item = item
        return 0.0

    @contextlib.contextmanager
    def _account(self) -> Iterator[None]:
        """Counts the CPU time of what is done within."""
        began = time.thread_time()
        try:
            yield
        finally:
            self._cpu_s += time.thread_time() - began


def jobs_problem(jobs: list[_Job]) -> str:
    """The first path's problem."""
    return next((job.problem for job in jobs if job.problem), "")


def _path(target: Target) -> tuple[str, str, str]:
    return target.peer, target.via, target.address


def _item(target: Target, interface: str, local_address: str, outcome: Outcome) -> pb.Item:
    verdict = outcome.verdict
    result = pb.PathMtu(
        peer=target.peer,
        via=target.via,
        from_address=local_address,
        to_address=target.address,
        interface=interface,
        interface_mtu=verdict.top,
        icmp_seen=verdict.told,
        at_unix_ms=int(time.time() * 1000),
        rtt_us=round(outcome.rtt_s * 1e6),
    )
    if verdict.size is not None:
        result.path_mtu = verdict.size
    return pb.Item(key=f"path_mtu/{target.via}/{target.peer}/{local_address}/{target.address}", path_mtu=result)


def _differs(before: pb.PathMtu, now: pb.PathMtu) -> bool:
    """More than the time and the round trip, or it is time to say it again."""
    told = pb.PathMtu()
    told.CopyFrom(now)
    told.at_unix_ms, told.rtt_us = before.at_unix_ms, before.rtt_us
    return told != before or now.at_unix_ms - before.at_unix_ms >= KEEP_S * 1000


def _shape(inventory: Inventory) -> object:
    """What of the interfaces and routes decides over paths to other nodes; pods' come and go without notice."""
    links = [
        (link.name, link.mtu, link.up, tuple(link.addresses), link.tunnel.SerializeToString(deterministic=True))
        for link in inventory.links.values()
        if link.kind != "veth" or link.addresses
    ]
    pods = {index for index, link in inventory.links.items() if link.kind == "veth" and not link.addresses}
    routes = [
        (route.destination, route.ifindex, route.gateway, route.mtu)
        for route in inventory.routes
        if route.ifindex not in pods
    ]
    return links, routes
