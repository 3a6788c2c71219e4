"""The API server's own metrics, read at an interval as a stream into a parser, one read at a time."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from nodetell.logs import event

from aggregator.cluster.answers import ApiError, Cause
from aggregator.cluster.client import ApiClient
from aggregator.cluster.pace import Pace
from aggregator.cluster.resources import METRICS_PATH

_log = logging.getLogger("nodetell.aggregator")

MAX_BYTES = 256 << 20
"""A text larger than this is given up."""
_SLICE = 16 << 10
"""A parser gets so many bytes at a time; between two such slices others have the event loop."""

Sample_co = TypeVar("Sample_co", covariant=True)
Taken = TypeVar("Taken")


class MetricsParser(Protocol[Sample_co]):
    """Takes a metrics text in. What either raises means that this text is not used."""

    def feed(self, chunk: bytes, /) -> None:
        """The next bytes, cut anywhere."""
        ...

    def finish(self) -> Sample_co:
        """What the text said."""
        ...


@dataclass(frozen=True, slots=True)
class MetricsReader(Generic[Taken]):
    """What reads a text and what becomes of it."""

    parser: Callable[[float], MetricsParser[Taken]]
    """Makes the parser of one text, asked for at this time (seconds since the epoch)."""
    take: Callable[[Taken], None]
    """Gets what the text said."""


class Scraper(Generic[Taken]):
    """Reads the metrics every `interval_s`."""

    def __init__(
        self,
        api: ApiClient,
        reader: MetricsReader[Taken],
        interval_s: float,
        *,
        pace: Pace,
        clock: Callable[[], float],
        chance: random.Random,
    ) -> None:
        self._api, self._reader, self._interval_s = api, reader, interval_s
        self._pace, self._clock, self._chance = pace, clock, chance
        self.reads = 0
        """Texts that were taken."""
        self.bytes = 0
        self.denied = False
        self.problem = ""
        """Why the last read failed; empty: it did not."""

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            wait_s = await self._turn()
            await asyncio.sleep(wait_s)

    async def _turn(self) -> float:
        """Read once; returns seconds to wait."""
        try:
            await self._read()
        except ApiError as error:
            self._failed(str(error), denied=error.cause is Cause.DENIED)
            if error.cause in (Cause.DENIED, Cause.ABSENT):
                return max(self._interval_s, self._pace.denied_s)
            return max(self._interval_s, error.retry_after_s or 0.0)
        except Exception as error:  # noqa: BLE001  # a text that the parser can't take must not be the last one
            self._failed(f"the metrics could not be read: {type(error).__name__}: {error}", denied=False)
            return self._interval_s
        if self.problem:
            event(_log, logging.INFO, "kube_metrics_readable")
        self.problem, self.denied = "", False
        return self._interval_s * self._chance.uniform(0.95, 1.05)

    async def _read(self) -> None:
        """Read a text and hand on what it says. Raises ApiError and what the parser raises."""
        parser = self._reader.parser(self._clock())
        size = 0
        async with self._api.get(METRICS_PATH, {}, accept="text/plain") as answer:
            async for chunk in answer.aiter_bytes():
                size += len(chunk)
                if size > MAX_BYTES:
                    raise ApiError(Cause.ODD, f"more than {MAX_BYTES:,} bytes of metrics")
                for start in range(0, len(chunk), _SLICE):
                    parser.feed(chunk[start : start + _SLICE])
                    await asyncio.sleep(0)
        self._reader.take(parser.finish())
        self.reads += 1
        self.bytes += size

    def _failed(self, problem: str, *, denied: bool) -> None:
        if not self.problem or denied != self.denied:
            event(_log, logging.WARNING, "kube_metrics_unreadable", reason=problem)
        self.problem, self.denied = problem, denied
