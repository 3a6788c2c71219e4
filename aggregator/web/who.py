"""Who asks, before any handler: by the client certificate of the connection, a token beside the request, or a session.

A token comes as "Authorization: Bearer ...", or as "X-Nodetell-Token", for the API server's own proxy takes the first
away. What either is worth is decided where gRPC's calls are decided (aggregator.trust.operators). A browser that shows
nothing gets a form (login).
"""

from __future__ import annotations

import logging

import grpc
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware
from nodetell.paced_log import PacedLog

from aggregator.trust.caller import Caller, RefusedError, unproved
from aggregator.web import sessions
from aggregator.web.certificates import shown
from aggregator.web.keys import CALLER, LOGIN
from aggregator.web.login import Login, form
from aggregator.web.problems import ProblemError, of_api

_log = logging.getLogger("nodetell.aggregator")

TOKEN_HEADER = "X-Nodetell-Token"  # noqa: S105  # a name
OPEN = frozenset({"/login", "/logout", "/assets/{name}"})
"""What anybody may have: the form, and what a browser needs to show it. No secret is there."""
_STATUS = {
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
}


def asked(login: Login) -> Middleware:
    """Lets nobody through who is no operator."""
    paced = PacedLog(_log)

    @web.middleware
    async def ask(request: web.Request, handler: Handler) -> web.StreamResponse:
        resource = request.match_info.route.resource
        if resource is not None and resource.canonical in OPEN:
            return await handler(request)
        try:
            request[CALLER] = await admitted(login, request)
        except RefusedError as refused:
            peer = request.remote or ""
            facts = {"peer": peer, "path": request.path[:200], "reason": refused}
            paced.event(logging.WARNING, "operator_refused", peer, **facts)
            return _refusal(request, refused)
        return await handler(request)

    return ask


async def admitted(login: Login, request: web.Request) -> Caller:
    """Whoever asks. Raises RefusedError."""
    beside = _beside(request)
    if not beside and (name := request.cookies.get(sessions.COOKIE, "")):
        token = login.sessions.token_of(name)
        if not token:
            raise unproved("the session is over: log in again")
        beside = [("authorization", f"Bearer {token}")]
    return await login.operators.admit(shown(request), beside)


def has_session(request: web.Request) -> bool:
    """The browser has one that it may end."""
    return request.app.get(LOGIN) is not None and sessions.COOKIE in request.cookies


def _beside(request: web.BaseRequest) -> list[tuple[str, str | bytes]]:
    """The token beside a request, as gRPC has it beside a call."""
    own = request.headers.getall(TOKEN_HEADER, [])
    if own:
        return [("authorization", f"Bearer {token}") for token in own]
    return [("authorization", value) for value in request.headers.getall(hdrs.AUTHORIZATION, [])]


def _refusal(request: web.Request, refused: RefusedError) -> web.StreamResponse:
    status = _STATUS.get(refused.code, 503)
    if status == 401 and not of_api(request) and request.method in (hdrs.METH_GET, hdrs.METH_HEAD):
        shows = sessions.COOKIE in request.cookies or hdrs.AUTHORIZATION in request.headers
        return form(request, status, str(refused) if shows else "")
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    if status in (429, 503):
        headers["Retry-After"] = "5"
    raise ProblemError(status, str(refused), headers=headers)
