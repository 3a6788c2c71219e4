"""The HTTP server: the application that answers, and the surface that listens and stops.

It runs in the aggregator's own event loop, beside what agents wait for. So nothing here may take long at a time, and
how much is under way at once is bounded.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

from aiohttp import web
from nodetell.pem import PemError

from aggregator.known import Known
from aggregator.model import Gap
from aggregator.surfaces import Made, SurfaceError
from aggregator.trust.operators import OperatorTrust
from aggregator.trust.token import MAX_TOKEN_BYTES
from aggregator.web.api.routes import add_api
from aggregator.web.headers import secure
from aggregator.web.keys import KNOWN
from aggregator.web.tls import Contexts
from aggregator.web.who import asked

HANDSHAKE_S = 10.0
"""A TLS handshake that takes longer is given up."""
KEEP_S = 30.0
"""A connection on which nothing is asked for so long is closed."""
STOP_S = 0.3
"""Requests that are under way have so long to end."""
MAX_BODY = 2 * MAX_TOKEN_BYTES
"""Of a request: nothing but a token is ever sent."""


def make_app(
    known: Known,
    operators: OperatorTrust | None,
    *,
    page: bool = True,
) -> web.Application:
    """What answers. `operators`: who may ask; None: nobody is asked who they are, on loopback only."""
    app = web.Application(client_max_size=MAX_BODY, middlewares=[asked(operators)] if operators is not None else [])
    app[KNOWN] = known
    app.on_response_prepare.append(secure)
    add_api(app)
    if page:
        from aggregator.web.page.routes import add_page  # noqa: PLC0415  # the API alone needs no templates

        add_page(app)
    return app


@dataclass(slots=True)
class HttpServer:
    """An application on one address, from start to stop."""

    app: web.Application
    listen: str
    """ "host:port". """
    tls: Contexts | None = None
    """None: plain HTTP."""
    _runner: web.AppRunner | None = None
    _server: asyncio.Server | None = None

    async def start(self) -> str:
        """Listen; where that is, as an address for browsers. Raises OSError."""
        runner = self._runner = web.AppRunner(
            self.app,
            access_log=None,
            shutdown_timeout=STOP_S,
            keepalive_timeout=KEEP_S,
            max_field_size=2 * MAX_TOKEN_BYTES,
        )
        await runner.setup()
        host, _, port = self.listen.rpartition(":")
        context = self.tls.listening() if self.tls is not None else None
        self._server = await asyncio.get_running_loop().create_server(
            runner.server,  # type: ignore[arg-type]  # set by setup()
            host.strip("[]"),
            int(port),
            ssl=context,
            ssl_handshake_timeout=HANDSHAKE_S if context is not None else None,
        )
        bound = self._server.sockets[0].getsockname()[1]
        return f"{'http' if context is None else 'https'}://{host}:{bound}"

    async def aclose(self) -> None:
        """Stop, within half a second."""
        if self._server is not None:
            self._server.close()
        if self._runner is not None:
            await self._runner.cleanup()


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
        app = make_app(made.known, made.operators, page=http.page)
        self._server = HttpServer(app, http.listen, contexts)

    async def start(self) -> str:
        """Listen."""
        try:
            return await self._server.start()
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise SurfaceError(f"http.listen: {self._server.listen}: can't listen there: {reason}") from error

    async def aclose(self) -> None:
        """Stop."""
        with contextlib.suppress(Exception):
            await self._server.aclose()

    def gaps(self) -> list[Gap]:
        """It serves, or there is no aggregator."""
        return []
