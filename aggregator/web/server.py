"""The HTTP server: the application that answers, and the surface that listens and stops.

It runs in the aggregator's own event loop, beside what agents wait for. So nothing here may take long at a time, and
how much is under way at once is bounded.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from dataclasses import dataclass, field

from aiohttp import web
from nodetell.pem import PemError

from aggregator.known import Known
from aggregator.limits import HTTP
from aggregator.model import Gap
from aggregator.segments import limit_segments
from aggregator.surfaces import Made, SurfaceError
from aggregator.trust.operators import OperatorTrust
from aggregator.trust.token import MAX_TOKEN_BYTES
from aggregator.web.api.routes import STREAMS, add_api
from aggregator.web.connections import Connections
from aggregator.web.headers import secure
from aggregator.web.host import own_names
from aggregator.web.keys import EVENTS, KNOWN, LOGIN
from aggregator.web.login import Login
from aggregator.web.problems import told
from aggregator.web.replies import tagged
from aggregator.web.sessions import Sessions
from aggregator.web.slots import Slots, bounded
from aggregator.web.tls import Contexts
from aggregator.web.who import asked

HANDSHAKE_S = 10.0
"""A TLS handshake that takes longer is given up."""
STOP_S = 0.3
"""Requests that are under way have so long to end."""
MAX_BODY = 2 * MAX_TOKEN_BYTES
"""Of a request, bytes: nothing but a token is ever sent."""
MAX_FIELD = MAX_TOKEN_BYTES + 1_024
"""Of a line of its head: a token may stand in one."""


class ListenError(Exception):
    """Nothing can listen there: where, and the kernel's reason."""


@dataclass(slots=True)
class Site:
    """An application, and what is bounded of it."""

    app: web.Application
    connections: Connections = field(default_factory=Connections)
    requests: Slots = field(
        default_factory=lambda: Slots("requests", "http_requests", HTTP.http_requests, HTTP.http_requests_of_one)
    )
    events: Slots = field(
        default_factory=lambda: Slots("streams of events", "http_events", HTTP.http_events, HTTP.http_events_of_one)
    )


def make_site(known: Known, operators: OperatorTrust | None, *, page: bool = True) -> Site:
    """What answers. `operators`: who may ask; None: nobody is asked who they are, on loopback only."""
    app = web.Application(client_max_size=MAX_BODY)
    site = Site(app)
    app[KNOWN], app[EVENTS] = known, site.events
    login = Login(operators, Sessions()) if operators is not None else None
    app[LOGIN] = login
    who = own_names if login is None else asked(login)
    # Who asks is found out first: whoever has to wait for that takes nobody's place.
    app.middlewares.extend([site.connections.noted(), told, who, bounded(site.requests, STREAMS), tagged()])
    app.on_response_prepare.append(secure)
    add_api(app)
    if login is not None:
        login.add_to(app)
    if page:
        from aggregator.web.page.routes import add_page  # noqa: PLC0415  # the API alone needs no templates

        add_page(app)
    return site


def make_app(known: Known, operators: OperatorTrust | None, *, page: bool = True) -> web.Application:
    """The same application by itself."""
    return make_site(known, operators, page=page).app


@dataclass(slots=True)
class HttpServer:
    """A site on one address, from start to stop."""

    site: Site
    listen: str
    """ "host:port"."""
    tls: Contexts | None = None
    """None: plain HTTP."""
    _runner: web.AppRunner | None = None
    _server: asyncio.Server | None = None
    _watch: asyncio.Task[None] | None = None

    async def start(self) -> str:
        """Listen; where that is, as an address for browsers. Raises ListenError."""
        options = {
            "access_log": None,
            "keepalive_timeout": self.site.connections.idle_s,
            "max_field_size": MAX_FIELD,
        }
        runner = self._runner = web.AppRunner(self.site.app, shutdown_timeout=STOP_S, access_log=None)
        await runner.setup()
        assert runner.server is not None  # noqa: S101  # setup() has made it
        host, _, port = self.listen.rpartition(":")
        context = self.tls.listening() if self.tls is not None else None
        try:
            self._server = await asyncio.get_running_loop().create_server(
                self.site.connections.factory(runner.server, **options),
                host.strip("[]"),
                int(port),
                ssl=context,
                ssl_handshake_timeout=HANDSHAKE_S if context is not None else None,
            )
        except (OSError, OverflowError) as error:
            raise ListenError(f"{self.listen}: can't listen there: {_reason(error)}") from error
        self._watch = asyncio.create_task(self.site.connections.watch(runner.server), name="http-connections")
        bound = self._server.sockets[0].getsockname()[1]
        limit_segments(bound)  # a page about packets that vanish has to come through
        return f"{'http' if context is None else 'https'}://{host}:{bound}"

    async def aclose(self) -> None:
        """Stop, within half a second."""
        if self._watch is not None:
            self._watch.cancel()
        if self._server is not None:
            self._server.close()
        if self._runner is not None:
            await self._runner.cleanup()


def _reason(error: Exception) -> str:
    """The kernel's own words; asyncio puts others around them."""
    if isinstance(error, OSError) and not isinstance(error, socket.gaierror) and error.errno:
        return os.strerror(error.errno).lower()
    return (getattr(error, "strerror", None) or str(error)).lower()


class HttpSurface:
    """The page and the API of a running aggregator (aggregator.surfaces.Surface)."""

    name = "http"

    def __init__(self, made: Made) -> None:
        """Raises SurfaceError."""
        http, tls = made.settings.http, made.settings.tls
        try:
            contexts = Contexts(tls, made.clock) if made.operators is not None else None
        except PemError as error:
            raise SurfaceError(f"http: {error}") from error
        self._site = make_site(made.known, made.operators, page=http.page)
        self._server = HttpServer(self._site, http.listen, contexts)

    async def start(self) -> str:
        """Listen."""
        try:
            return await self._server.start()
        except ListenError as error:
            raise SurfaceError(f"http.listen: {error}") from error

    async def aclose(self) -> None:
        """Stop."""
        with contextlib.suppress(Exception):
            await self._server.aclose()

    def gaps(self) -> list[Gap]:
        """What was too much at a time."""
        return [gap for gap in (self._site.requests.gap(), self._site.events.gap()) if gap is not None]
