"""How much is under way at once, in all and of one address: agents come first, and a script in a loop is nobody else's
trouble. What was refused lately is told under coverage."""

from __future__ import annotations

import contextlib
import ipaddress
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from aggregator.model import Gap
from aggregator.web.problems import busy

TOLD_S = 120.0
"""A refusal stands under coverage for so long."""


@dataclass(slots=True)
class Slots:
    """Places for one kind of work."""

    what: str
    """ "requests"."""
    limit: str
    """Name of the limit on all (aggregator.limits); that on one address is NAME_of_one."""
    most: int
    of_one: int
    monotonic: Callable[[], float] = time.monotonic
    taken: int = 0
    refused: int = 0
    """Of late."""
    _by_address: Counter[str] = field(default_factory=Counter)
    _refused_at: float = float("-inf")

    @contextlib.contextmanager
    def place(self, address: str | None) -> Iterator[None]:
        """Have one meanwhile. Raises ProblemError: there is none."""
        counted = "" if _own(address) else address or ""
        if self.taken >= self.most:
            self._refuse()
            raise busy(503, f"{self.most} {self.what} are being worked on already ({self.limit})")
        if counted and self._by_address[counted] >= self.of_one:
            self._refuse()
            reason = f"{self.of_one} {self.what} of {counted} are being worked on already ({self.limit}_of_one)"
            raise busy(429, reason)
        self.taken += 1
        self._by_address[counted] += 1
        try:
            yield
        finally:
            self.taken -= 1
            self._by_address[counted] -= 1
            if not self._by_address[counted]:
                del self._by_address[counted]

    def gap(self) -> Gap | None:
        """What was refused lately."""
        if self.monotonic() - self._refused_at > TOLD_S:
            return None
        because = f"too much at a time: {self.refused:,} {self.what} beyond the limit {self.limit} were refused lately"
        return Gap("", "output/http", "degraded", because)

    def _refuse(self) -> None:
        now = self.monotonic()
        self.refused = self.refused + 1 if now - self._refused_at <= TOLD_S else 1
        self._refused_at = now


def _own(address: str | None) -> bool:
    try:
        return ipaddress.ip_address(address or "").is_loopback
    except ValueError:
        return False


def bounded(requests: Slots, streams: frozenset[str]) -> Middleware:
    """Gives each request a place, but those to `streams`, which have places of their own."""

    @web.middleware
    async def bound(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path in streams:
            return await handler(request)
        with requests.place(request.remote):
            return await handler(request)

    return bound
