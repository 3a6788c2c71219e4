"""The live view of the API server: all resources followed at once, and how far what they say can be relied on.

It holds no objects: those go to the sink as they come. It says what may not be read and which rule would allow it,
since when what is known may be out of date, and what time it is to the API server.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import time
from collections.abc import Callable, Mapping
from typing import Any

from nodetell.logs import event

from aggregator.cluster.answers import Cause
from aggregator.cluster.client import ApiClient, Outage
from aggregator.cluster.credentials import Source
from aggregator.cluster.date_reader import DatePace, DateReader
from aggregator.cluster.pace import Pace
from aggregator.cluster.reflector import Reflector, Standing, State
from aggregator.cluster.resources import METRICS_RULE, watched
from aggregator.cluster.scrape import MetricsReader, Scraper
from aggregator.cluster.sink import Sink
from aggregator.cluster.state import ClusterState
from aggregator.model import Gap
from aggregator.settings import KubernetesSettings

_log = logging.getLogger("nodetell.aggregator")

_LISTS_AT_A_TIME = 2
"""The pods' list, which may take a minute, and one of the others. Each holds a page."""
_NAMED = 4
"""Resources that are named in a line."""
_GIVES_UP = {Cause.UNREACHABLE: "does not answer", Cause.UNAUTHORIZED: "does not accept the credentials"}


class ClusterWatch:
    """Follows the API server. Made in the event loop that it runs in; only `run` waits for anything."""

    def __init__(
        self,
        source: Source,
        sink: Sink,
        settings: KubernetesSettings,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        *,
        env: Mapping[str, str] = os.environ,
        pace: Pace | None = None,
        metrics: MetricsReader[Any] | None = None,
        objects: ClusterState | None = None,
        date_pace: DatePace | None = None,
        chance: random.Random | None = None,
    ) -> None:
        """`objects`: what the sink makes of it all; where dates of Secrets are read, it tells which, and gets them."""
        self._clock, self._pace, self._chance = clock, pace or Pace(), chance or random.Random()  # noqa: S311  # jitter
        self._began = clock()
        self._api = ApiClient(source, env, self._pace, clock=clock, monotonic=monotonic)
        self.resources = watched(credentials=settings.secret_metadata)
        """What is followed."""
        lists = asyncio.Semaphore(_LISTS_AT_A_TIME)
        self._reflectors = [
            Reflector(
                resource,
                self._api,
                sink,
                lists,
                limit=settings.page_size,
                pace=self._pace,
                clock=clock,
                monotonic=monotonic,
                chance=self._chance,
            )
            for resource in self.resources
        ]
        self._scraper: Scraper[Any] | None = None
        if metrics is not None and settings.metrics_interval_s > 0:
            self._scraper = Scraper(
                self._api, metrics, settings.metrics_interval_s, pace=self._pace, clock=clock, chance=self._chance
            )

        self._dates: DateReader | None = None
        if objects is not None and settings.credential_expiry:
            self._dates = DateReader(
                self._api, objects, clock=clock, monotonic=monotonic, pace=date_pace, chance=self._chance
            )

    async def run(self) -> None:
        """Follow all resources until cancelled; all connections are closed then."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for number, reflector in enumerate(self._reflectors):
                    tasks.create_task(self._begin(reflector, number), name=f"kube/{reflector.resource.name}")
                if self._scraper is not None:
                    tasks.create_task(self._scraper.run(), name="kube/metrics")
                if self._dates is not None:
                    tasks.create_task(self._dates.run(), name="kube/dates")
                tasks.create_task(self._tell(), name="kube/state")
        finally:
            with contextlib.suppress(Exception):  # what can go wrong in closing a connection is of no use to anybody
                await self._api.aclose()

    async def _begin(self, reflector: Reflector, number: int) -> None:
        await asyncio.sleep(number * self._pace.stagger_s)
        await reflector.run()

    @property
    def server(self) -> str:
        """URL of the API server; until credentials could be read, the file where they should be."""
        return self._api.server

    @property
    def outage(self) -> Outage | None:
        """Since when nothing has succeeded; None: the last request did."""
        return self._api.outage

    @property
    def metrics_problem(self) -> str:
        """Why its metrics could not be read last; empty: they could, or are not asked for."""
        return self._scraper.problem if self._scraper is not None else ""

    @property
    def synced(self) -> bool:
        """Every resource that may be read has been listed."""
        return all(standing.state is not State.WAITING for standing in self.standings())

    def standings(self) -> list[Standing]:
        """How well each resource is known."""
        return [reflector.standing() for reflector in self._reflectors]

    def stale(self) -> str:
        """Empty while everything that may be read is current; else why not, and since when, in one line."""
        standings = self.standings()
        waiting = [each for each in standings if each.state is State.WAITING]
        behind = [each for each in standings if self.is_behind(each)]
        readable = [each for each in standings if each.state not in (State.DENIED, State.ABSENT)]
        outage = self._api.outage
        if not waiting and not behind:
            return ""
        if outage is not None and all(each.state is not State.CURRENT for each in readable):
            since = min([outage.since, *(each.since for each in behind if each.since is not None)])
            what = _GIVES_UP.get(outage.cause)
            if what is None:
                return f"{self.server} cannot be read since {_at(since)}: {outage.reason}"
            return f"the API server at {self.server} {what} since {_at(since)}: {outage.reason}"
        if behind:
            since = min(each.since for each in behind if each.since is not None)
            problem = next((each.problem for each in behind if each.problem), "the watch ended")
            return f"{_names(behind)} may be out of date since {_at(since)}: {problem}"
        problem = next((f": {each.problem}" for each in waiting if each.problem), "")
        return f"not read yet: {_names(waiting)}{problem}"

    def current_until(self, now: float) -> float:
        """The time up to which the objects are known to be as they are held: `now`, or when a watch was lost."""
        return min([now, *(each.since for each in self.standings() if each.since is not None and self.is_behind(each))])

    def api_time(self, now: float) -> float:
        """What the API server's clock shows at `now` by ours; the same where they differ by less than 2 s."""
        return now + self._api.time.offset_s()

    def clock_offset_s(self) -> float | None:
        """The API server's clock less ours, as `api_time` has it; None: it has not been heard."""
        return self._api.time.offset_s() if self._api.time.known() else None

    def gaps(self) -> list[Gap]:
        """What may not be read with the rule that allows it, and what cannot be, and why."""
        gaps = [gap for standing in self.standings() if (gap := self._gap(standing)) is not None]
        scraper = self._scraper
        if scraper is not None and scraper.problem:
            remedy = f"allow it: {METRICS_RULE} (a ClusterRole)" if scraper.denied else ""
            gaps.append(Gap("", "kube/metrics", "missing", f"the API server's metrics: {scraper.problem}", remedy))
        if self._dates is not None:
            gaps += self._dates.gaps()
        if self._api.problem:
            gaps.append(Gap("", "kube/credentials", "degraded", f"the former ones are used on: {self._api.problem}"))
        return gaps

    def _gap(self, standing: Standing) -> Gap | None:
        resource, problem = standing.resource, standing.problem
        signal = f"kube/{resource.name}"
        if standing.state is State.DENIED:
            return Gap("", signal, "missing", f"denied: {problem}", f"allow it: {resource.rule('list', 'watch')}")
        if standing.state is State.ABSENT:
            return Gap("", signal, "missing", f"the API server does not have it: {problem}")
        if standing.state is State.WAITING and problem:
            return Gap("", signal, "missing", f"not read yet: {problem}")
        if self.is_behind(standing):
            return Gap("", signal, "degraded", f"may be out of date since {_at(standing.since or 0.0)}: {problem}")
        return None

    def is_behind(self, standing: Standing) -> bool:
        """What is known of the resource has not been known to be current for longer than a reconnection takes."""
        return standing.since is not None and self._clock() - standing.since > self._pace.grace_s

    async def _tell(self) -> None:
        """Log when the view becomes current and when it no longer is: once, not for each resource and retry."""
        was_current: bool | None = None
        while True:
            stale = self.stale()
            if not stale and not was_current:
                took = f"{self._clock() - self._began:.1f}" if was_current is None else None
                event(_log, logging.INFO, "kube_current", server=self.server, seconds=took)
                was_current = True
            elif stale and was_current is not False and (was_current or self._api.outage is not None):
                event(_log, logging.WARNING, "kube_stale", reason=stale)
                was_current = False
            await asyncio.sleep(self._pace.look_s)


def _names(standings: list[Standing]) -> str:
    names = [each.resource.name for each in standings]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _at(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
