"""The aggregator's metrics, for Prometheus to scrape.

The answer is made in a thread of the server's. What it is made of belongs to the event loop, so that is taken there:
all meters at one moment, and the text of it elsewhere.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Sequence

from nodetell.metrics import Meters, Told
from nodetell.scrape import NotNowError, ScrapeServer

from aggregator.metrics.known import KnownMetrics
from aggregator.model import Gap
from aggregator.surfaces import Made, SurfaceError

BUSY_S = 8.0
"""A loop that does not get to it within this time is too busy for metrics."""


class PrometheusSurface:
    """The listener of [prometheus]."""

    name = "prometheus"

    def __init__(self, made: Made) -> None:
        self._listen = made.settings.prometheus.listen
        self._meters: Meters = made.meters
        self._meters.add("known", KnownMetrics(made.known).tell)
        self._server = ScrapeServer(self._told, "aggregator")
        self._loop: asyncio.AbstractEventLoop | None = None

    async def start(self) -> str:
        """Listen. Raises SurfaceError."""
        self._loop = asyncio.get_running_loop()
        try:
            return await asyncio.to_thread(self._server.start, self._listen)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise SurfaceError(f"prometheus.listen: {self._listen}: can't listen there: {reason}") from error

    async def aclose(self) -> None:
        """Stop listening; an answer under way is not waited for."""
        self._server.close()

    def gaps(self) -> list[Gap]:
        """None: who cannot scrape notices."""
        return []

    def _told(self) -> Sequence[Told]:
        """In the server's thread: what all meters tell, taken on the loop. Raises NotNowError."""
        assert self._loop is not None  # noqa: S101  # who is asked has been started
        try:
            return asyncio.run_coroutine_threadsafe(self._taken(), self._loop).result(BUSY_S)
        except (concurrent.futures.TimeoutError, concurrent.futures.CancelledError, RuntimeError) as error:
            raise NotNowError("the aggregator is too busy, or stops") from error

    async def _taken(self) -> Sequence[Told]:
        return self._meters.told()
