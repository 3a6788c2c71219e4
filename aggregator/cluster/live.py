"""The API server as the fleet sees it: its objects and metrics as they come, and how far they can be relied on."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from aggregator.cluster.answers import Cause
from aggregator.cluster.api_metrics import MetricsParser, Sample
from aggregator.cluster.credentials import Source
from aggregator.cluster.date_reader import DatePace
from aggregator.cluster.intake import ClusterSink
from aggregator.cluster.metrics_history import MetricsHistory
from aggregator.cluster.pace import Pace
from aggregator.cluster.reflector import State
from aggregator.cluster.resources import watched
from aggregator.cluster.scrape import MetricsReader
from aggregator.cluster.state import ClusterState
from aggregator.cluster.watch import ClusterWatch
from aggregator.model import Gap
from aggregator.settings import KubernetesSettings
from aggregator.view import Outage


class LiveCluster:
    """Made in the event loop that it runs in."""

    def __init__(
        self,
        source: Source,
        settings: KubernetesSettings,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        *,
        pace: Pace | None = None,
        date_pace: DatePace | None = None,
    ) -> None:
        self.objects = ClusterState()
        self.metrics = MetricsHistory()
        names = [each.name for each in watched(credentials=settings.secret_metadata)]
        self._sink = ClusterSink(self.objects, names)
        reader: MetricsReader[Sample] = MetricsReader(MetricsParser, self.metrics.add)
        self._watch = ClusterWatch(
            source,
            self._sink,
            settings,
            clock,
            monotonic,
            pace=pace,
            metrics=reader,
            objects=self.objects,
            date_pace=date_pace,
        )

    async def run(self) -> None:
        """Follow the API server until cancelled."""
        await self._watch.run()

    def current_until(self, now: float) -> float:
        """Up to when the objects are current by the API server's clock, where it is `now` by the aggregator's."""
        return self._watch.api_time(self._watch.current_until(now))

    def clock_offset_s(self) -> float | None:
        """The API server's clock less the aggregator's, 0 where they differ by less than 2 s; None: not known."""
        return self._watch.clock_offset_s()

    def outage(self, now: float) -> Outage | None:
        """Since when the API server has not answered, or only with errors of its own; None: it does."""
        outage = self._watch.outage
        if outage is None or outage.cause not in (Cause.UNREACHABLE, Cause.FAILED):
            return None
        return Outage(outage.since, max(0.0, now - outage.since), outage.reason)

    def unread(self) -> Mapping[str, str]:
        """Why, by resource that is not read at present."""
        stale = self._watch.stale()
        unread: dict[str, str] = {}
        for standing in self._watch.standings():
            plural = standing.resource.plural
            if standing.state in (State.DENIED, State.ABSENT):
                unread[plural] = f"{plural} may not be read: {standing.problem}"
            elif standing.state is State.WAITING:
                unread[plural] = stale or f"not read yet: {plural}"
            elif self._watch.is_behind(standing):
                unread[plural] = stale
        if problem := self._watch.metrics_problem:
            unread["metrics"] = f"the API server's metrics cannot be read: {problem}"
        return unread

    def gaps(self) -> list[Gap]:
        """What of the API server can't be read, and why; what of it is odd."""
        gaps = self._watch.gaps()
        for resource in self._watch.resources:
            gaps += [Gap("", f"kube/{resource.name}", "damaged", line) for line in self._sink.problems(resource.name)]
        gaps += [Gap("", "kube/metrics", "damaged", line) for line in self.metrics.problems]
        return gaps
