"""A fleet that is joined with an API server: findings about its objects, and what becomes of them when it is away."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from aggregator.cluster.metrics_history import MetricsHistory
from aggregator.cluster.state import RESOURCES, ClusterState
from aggregator.findings import FindingBook, Kind, Transition
from aggregator.fleet import Fleet
from aggregator.model import Gap
from aggregator.store import Store
from tests.lab.cluster import NOW, Lab

AWAY = "the API server at https://a does not answer since 10:00: Connection refused"


@dataclass
class Api:
    """An API server whose objects a test holds."""

    objects: ClusterState = field(default_factory=ClusterState)
    metrics: MetricsHistory = field(default_factory=MetricsHistory)
    away_since: float | None = None
    clock_offset: float | None = None

    def current_until(self, now: float) -> float:
        return now if self.away_since is None else self.away_since

    def outage(self, now: float) -> None:  # noqa: ARG002  # the shape that a fleet asks for
        return None

    def clock_offset_s(self) -> float | None:
        return self.clock_offset

    def unread(self) -> Mapping[str, str]:
        return {} if self.away_since is None else dict.fromkeys(RESOURCES, AWAY)

    def gaps(self) -> list[Gap]:
        return [Gap("", "kube/pods", "degraded", AWAY)] if self.away_since is not None else []


class Scene:
    """A fleet over a store, at a time that the test sets."""

    def __init__(self, folder: Path, api: Api | None) -> None:
        self.now = NOW
        self.store = Store(folder)
        self.told: list[Transition] = []
        self.fleet = Fleet(
            self.store, FindingBook(*self.store.open()), api=api, clock=lambda: self.now, monotonic=lambda: self.now
        )
        self.fleet.listeners.append(self.told.append)

    async def judged(self) -> list[tuple[Kind, str, str]]:
        """What is told when all is judged now."""
        self.told.clear()
        self.fleet.evaluate()
        await asyncio.gather(*self.fleet._commits)
        return [(each.kind, each.record.finding.code, each.record.unconfirmed) for each in self.told]


def waiting_for_a_taint() -> Lab:
    lab = Lab("fleet")
    lab.unlisted.add("leases")  # nobody renews these while a test lets hours go by
    lab.node("n1", taints=["dedicated=db:NoSchedule"])
    says = "0/1 nodes are available: 1 node(s) had untolerated taint(s)."
    lab.pod("db/pg-0", owner=("StatefulSet", "pg"), pending_since=-400, scheduler_says=says)
    return lab


TAINT = "sched.taint"


def test_a_finding_about_pods_appears_is_kept_while_the_server_is_away_and_resolves(tmp_path: Path) -> None:
    async def play() -> None:
        api = Api(waiting_for_a_taint().view().objects)
        scene = Scene(tmp_path, api)
        assert await scene.judged() == [(Kind.APPEARED, TAINT, "")]
        api.away_since = scene.now
        scene.now += 3600
        assert await scene.judged() == [(Kind.CHANGED, TAINT, AWAY)]
        (record,) = scene.fleet.book.ordered()
        assert record.finding.severity.word == "warning", "nothing ages while nobody can see"
        assert [gap.because for gap in scene.fleet.gaps() if gap.signal == "kube/pods"] == [AWAY]
        api.away_since = None
        api.objects.keep("pods", "db/pg-0", None)
        assert await scene.judged() == [(Kind.RESOLVED, TAINT, "")]
        assert scene.told[0].record.because == "cleared"
        scene.store.close()

    asyncio.run(play())


def test_after_a_restart_nothing_resolves_before_the_server_is_read(tmp_path: Path) -> None:
    async def play() -> None:
        scene = Scene(tmp_path, Api(waiting_for_a_taint().view().objects))
        await scene.judged()
        scene.store.close()
        api = Api(away_since=NOW)  # nothing is listed yet
        scene = Scene(tmp_path, api)
        assert await scene.judged() == [(Kind.CHANGED, TAINT, AWAY)]
        scene.fleet._objects = api.objects = waiting_for_a_taint().view().objects
        api.away_since = None
        assert await scene.judged() == [(Kind.CHANGED, TAINT, "")]
        scene.store.close()

    asyncio.run(play())


def test_without_an_api_server_its_findings_are_not_observed_any_more(tmp_path: Path) -> None:
    async def play() -> None:
        scene = Scene(tmp_path, Api(waiting_for_a_taint().view().objects))
        await scene.judged()
        scene.store.close()
        scene = Scene(tmp_path, None)
        assert await scene.judged() == [(Kind.RESOLVED, TAINT, "")]
        assert scene.told[0].record.because == "not observed any more: the API server is not asked"
        scene.store.close()

    asyncio.run(play())
