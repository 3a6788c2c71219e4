"""One address of the API: what it answers, to whom what may be said, and how it is described. The routes and the
description are made from the same rows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import web

from aggregator.web.api.parameters import Parameter, PathParameter, only

BASE = "/api/v1"
_JSON = "application/json"
_encoder = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Operation:
    """One of them."""

    path: str
    """Below BASE, with its parts in braces."""
    name: str
    """For programs that are made from the description."""
    summary: str
    answers: Callable[[web.Request], Awaitable[web.StreamResponse]]
    """Raises ProblemError."""
    shape: Any
    """Type of the answer; None: it is described by `media` alone."""
    description: str = ""
    parts: tuple[PathParameter, ...] = ()
    parameters: tuple[Parameter[Any], ...] = ()
    failures: tuple[int, ...] = ()
    """Statuses that only this one has."""
    media: str = _JSON

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """As a handler of aiohttp."""
        only(request, self.parameters)
        return await self.answers(request)


def reply(document: Any) -> web.Response:
    """An answer."""
    return web.Response(body=_encoder.encode(document), content_type=_JSON)
