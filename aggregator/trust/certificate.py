"""Whose certificate a connection has shown: role by the organization of its subject, name by the common name.

gRPC has checked that it is signed by an authority of tls.client_ca, is valid today, and belongs to whoever shows it.
What it is about is told as a text (RFC 2253). One that would need unescaping is refused rather than understood: in a
common name that says "a,O=nodetell:operators", the comma is escaped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aggregator.trust.caller import Role, unproved

AGENTS = "nodetell:agents"
OPERATORS = "nodetell:operators"
_ROLES = {AGENTS: Role.AGENT, OPERATORS: Role.OPERATOR}
_PLAIN = re.compile(r'[^\\+"#<>;\x00-\x1f\x7f]*')
_TLS = "TLSv1.3"

Shown = Mapping[str, Sequence[bytes]]
"""What gRPC tells of a connection: `auth_context()` of a call."""


@dataclass(frozen=True, slots=True)
class Certified:
    """What a certificate says of whoever shows it."""

    role: Role
    name: str
    """An agent's node; an operator's name."""


def certified(shown: Shown) -> Certified | None:
    """Whose certificate was shown; None: none was asked for. Raises RefusedError."""
    if _one(shown, "transport_security_type") != "ssl":
        raise unproved("the connection is not encrypted, and TLS 1.3 is asked for")
    if (version := _one(shown, "ssl_tls_version") or _TLS) != _TLS:  # not every version of gRPC tells
        raise unproved(f"the connection is {version}, and TLS 1.3 is asked for")
    if not shown.get("x509_pem_cert"):
        return None
    if _one(shown, "ssl_session_reused") == "true":
        raise unproved("the connection goes on with the keys of an older one and shows no certificate anew")
    return _of_subject(_one(shown, "x509_subject"))


def _of_subject(subject: str) -> Certified:
    if not _PLAIN.fullmatch(subject):
        raise unproved("the subject of the client certificate holds characters that no name here has")
    parts = [part.partition("=") for part in subject.split(",")]
    names = [value for key, _, value in parts if key == "CN" and value]
    roles = {_ROLES[value] for key, _, value in parts if key == "O" and value in _ROLES}
    if len(names) != 1 or len(roles) != 1:
        wanted = f'one common name, and the organization "{AGENTS}" or "{OPERATORS}"'
        raise unproved(f'the client certificate is of "{subject[:200]}", which has not {wanted}')
    return Certified(roles.pop(), names[0])


def _one(shown: Shown, key: str) -> str:
    values = shown.get(key) or [b""]
    return values[0].decode("utf-8", "replace") if len(values) == 1 else ""
