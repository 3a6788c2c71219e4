"""The client certificate of a connection, told as gRPC tells it (aggregator.trust.certificate): who may do what is
decided in one place."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web

from aggregator.trust.certificate import Shown

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
