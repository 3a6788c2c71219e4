"""Who asks, before any handler: the client certificate of the connection, or a token beside the request.

A token comes as "Authorization: Bearer ...", or as "X-Nodetell-Token", for the API server's own proxy takes the first
away. What they are worth is decided where gRPC's calls are decided (aggregator.trust.operators).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import grpc
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from aggregator.trust.caller import RefusedError
from aggregator.trust.certificate import Shown
from aggregator.trust.operators import OperatorTrust
from aggregator.web.keys import CALLER

TOKEN_HEADER = "X-Nodetell-Token"  # noqa: S105  # a name
_SPECIAL = re.compile(r'([\\,+"#<>;=])')
_SHORT = {"commonName": "CN", "organizationName": "O"}


def shown(request: web.BaseRequest) -> Shown:
    """What the connection has shown, as gRPC tells it."""
    transport = request.transport
    connection = transport.get_extra_info("ssl_object") if transport is not None else None
    if connection is None:
        return {}
    told: dict[str, Sequence[bytes]] = {
        "transport_security_type": [b"ssl"],
        "ssl_tls_version": [(connection.version() or "").encode()],
    }
    certificate: Mapping[str, Any] | None = connection.getpeercert()
    if certificate:
        told["x509_pem_cert"] = [b"checked"]
        told["x509_subject"] = [_subject(certificate.get("subject", ())).encode()]
    return told


def _subject(names: Sequence[Sequence[tuple[str, str]]]) -> str:
    """As a text (RFC 2253), so that a comma in a name separates nothing."""
    return ",".join("+".join(_part(kind, value) for kind, value in together) for together in names)


def _part(kind: str, value: str) -> str:
    escaped = _SPECIAL.sub(r"\\\1", value)
    return f"{_SHORT.get(kind, kind)}={escaped}"


def beside(request: web.BaseRequest) -> list[tuple[str, str | bytes]]:
    """The token beside a request, as gRPC has it beside a call."""
    own = request.headers.getall(TOKEN_HEADER, [])
    if own:
        return [("authorization", f"Bearer {token}") for token in own]
    return [("authorization", value) for value in request.headers.getall(hdrs.AUTHORIZATION, [])]


def asked(operators: OperatorTrust) -> Middleware:
    """Lets nobody through who is no operator."""

    @web.middleware
    async def ask(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            request[CALLER] = await operators.admit(shown(request), beside(request))
        except RefusedError as refused:
            unproved = refused.code is grpc.StatusCode.UNAUTHENTICATED
            kind: type[web.HTTPException] = web.HTTPUnauthorized if unproved else web.HTTPForbidden
            raise kind(text=str(refused)) from None
        return await handler(request)

    return ask
