"""Connections that take a place and say nothing: a head that never ends, an answer that nobody takes.

aiohttp bounds how long a head may be and how long a connection may rest between two requests, but not how long the
first head may take to come, or an answer to go. So whoever has not finished a request for a while is let go.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from aiohttp.web_protocol import RequestHandler

from aggregator.limits import HTTP

LOOK_SHARE = 0.2
"""Connections are looked at so often, as a share of what they may rest."""


@dataclass(slots=True)
class Connections:
    """Those of one server."""

    most: int = HTTP.http_connections
    idle_s: float = HTTP.http_idle_s
    monotonic: Callable[[], float] = time.monotonic
    _since: dict[RequestHandler, float] = field(default_factory=dict)
    """Since when each has said nothing."""
    _working: Counter[RequestHandler] = field(default_factory=Counter)
    """Those of which a request is worked on."""

    def factory(self, server: web.Server) -> Callable[[], asyncio.BaseProtocol]:
        """What a listening socket makes of a connection."""

        def made() -> asyncio.BaseProtocol:
            return server() if len(server.connections) < self.most else _Closed()

        return made

    def noted(self) -> Middleware:
        """Sees requests come and go."""

        @web.middleware
        async def note(request: web.Request, handler: Handler) -> web.StreamResponse:
            connection = request.protocol
            self._working[connection] += 1
            try:
                return await handler(request)
            finally:
                self._working[connection] -= 1
                if not self._working[connection]:
                    del self._working[connection]
                self._since[connection] = self.monotonic()

        return note

    async def watch(self, server: web.Server) -> None:
        """Let go of those that rest for too long, until cancelled."""
        while True:
            self.look(server)
            await asyncio.sleep(LOOK_SHARE * self.idle_s)

    def look(self, server: web.Server) -> None:
        """Let go of those that have."""
        now, there = self.monotonic(), server.connections
        self._since = {connection: self._since.get(connection, now) for connection in there}
        for connection in there:
            if connection in self._working:
                continue
            if now - self._since[connection] > self.idle_s and connection.transport is not None:
                connection.transport.abort()


class _Closed(asyncio.Protocol):
    """A connection for which there is no place."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Close it."""
        transport.close()
