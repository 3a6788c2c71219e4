"""Connections that take a place and say nothing: a head that never ends, an answer that nobody takes.

aiohttp bounds how long a head may be and how long a connection may rest between two requests, but not how long the
first head may take to come, or an answer to go. So whoever has not finished a request for a while is let go.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from aiohttp.web_protocol import RequestHandler
from nodetell.paced_log import PacedLog

from aggregator.limits import HTTP
from aggregator.web.headers import put
from aggregator.web.problems import MEDIA_TYPE, Problem

_paced = PacedLog(logging.getLogger("nodetell.aggregator"))
MOST_S = 3_600.0
"""A connection ends with the first answer after so long: what was shown when it began has to be shown anew."""
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
    _begun: dict[RequestHandler, float] = field(default_factory=dict)
    """When each was first seen."""
    _working: Counter[RequestHandler] = field(default_factory=Counter)
    """Those of which a request is worked on."""

    def factory(self, server: web.Server, **options: Any) -> Callable[[], asyncio.BaseProtocol]:
        """What a listening socket makes of a connection. `options`: aiohttp's, for each."""
        loop = asyncio.get_running_loop()

        def made() -> asyncio.BaseProtocol:
            return _Handler(server, loop=loop, **options) if len(server.connections) < self.most else _Closed()

        return made

    def noted(self) -> Middleware:
        """Sees requests come and go."""

        @web.middleware
        async def note(request: web.Request, handler: Handler) -> web.StreamResponse:
            connection = request.protocol
            self._working[connection] += 1
            begun = self._begun.setdefault(connection, self.monotonic())
            try:
                response = await handler(request)
                if self.monotonic() - begun > MOST_S:
                    response.force_close()
                return response
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
        self._begun = {connection: self._begun.get(connection, now) for connection in there}
        for connection in there:
            if connection in self._working:
                continue
            if now - self._since[connection] > self.idle_s and connection.transport is not None:
                connection.transport.abort()


class _Handler(RequestHandler):
    """aiohttp's end of a connection, but for what it says of a request that is none: it would log and send back what
    came, be it a token, as often as somebody likes."""

    __slots__ = ()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """What is sent before the connection is closed."""
        if not 400 <= status < 500:
            return super().handle_error(request, status, exc, message)
        peer = request.remote or ""
        _paced.event(logging.INFO, "http_request_refused", peer, peer=peer, reason=type(exc).__name__)
        if request.writer.output_size > 0:
            raise ConnectionError("half an answer is sent already")
        told = Problem(HTTPStatus(status).phrase, status, "this is no HTTP request, or its head is too long")
        response = web.Response(status=status, body=msgspec.json.encode(told), content_type=MEDIA_TYPE)
        put(response)
        response.force_close()
        return response


class _Closed(asyncio.Protocol):
    """A connection for which there is no place."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Close it."""
        transport.close()
