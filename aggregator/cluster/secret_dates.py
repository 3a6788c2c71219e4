"""Until when what a Secret holds is good, and nothing else of it.

A Secret comes in as bytes and leaves as dates: no value, no part of one, and no name of a key is in what this returns,
and nothing is raised that could hold one (an exception keeps the frames that it went through). What has no date in it,
as a password, has none here.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from aggregator.cluster.certificates import validity_of_pem
from aggregator.cluster.objects import Expiry, SecretDates

_UNREADABLE = (msgspec.MsgspecError, UnicodeError, RecursionError, binascii.Error, ValueError)
_DOCKER = {"kubernetes.io/dockerconfigjson": ".dockerconfigjson", "kubernetes.io/dockercfg": ".dockercfg"}
_TLS, _CERTIFICATE = "kubernetes.io/tls", "tls.crt"
_KEY = b"PRIVATE KEY-----"
_HUB = frozenset({"index.docker.io", "registry-1.docker.io"})
_LONGEST_TOKEN = 64 << 10
_LATEST = 253_402_300_799.0
"""The end of the year 9999: certificates that never expire have it."""


class _Meta(msgspec.Struct):
    version: str = msgspec.field(name="resourceVersion", default="")


class _Secret(msgspec.Struct):
    metadata: _Meta
    type: str | None = None
    data: dict[str, str | None] | None = None


class _Login(msgspec.Struct):
    """What is shown to one registry."""

    auth: str | None = None
    password: str | None = None
    identity_token: str | None = msgspec.field(name="identitytoken", default=None)
    registry_token: str | None = msgspec.field(name="registrytoken", default=None)


class _DockerConfig(msgspec.Struct):
    auths: dict[str, _Login | None] | None = None


class _Claims(msgspec.Struct):
    """Of a JSON web token; whose it is stays undecoded."""

    expires: float | None = msgspec.field(name="exp", default=None)
    issued: float | None = msgspec.field(name="iat", default=None)
    valid_since: float | None = msgspec.field(name="nbf", default=None)


class _DataKey(msgspec.Struct):
    """What Amazon ECR gives as a password: JSON with an encrypted token and a date."""

    expiration: float
    payload: msgspec.Raw
    """It tells an authorization token from any other JSON."""


_secret = msgspec.json.Decoder(_Secret)
_config = msgspec.json.Decoder(_DockerConfig)
_logins = msgspec.json.Decoder(dict[str, _Login | None])
_claims = msgspec.json.Decoder(_Claims)
_data_key = msgspec.json.Decoder(_DataKey)


def dates_of(document: bytes | bytearray) -> SecretDates | None:
    """Of a Secret as the API server gives it, in JSON; None: it is none."""
    try:
        secret = _secret.decode(document)
    except _UNREADABLE:
        return None
    data = {key: content for key, text in (secret.data or {}).items() if (content := _decoded(text))}
    kind = secret.type or ""
    if kind in _DOCKER:
        found = _of_logins(kind, data.get(_DOCKER[kind], b""))
    elif kind == _TLS:
        found = _of_certificate(data.get(_CERTIFICATE, b""))
    else:
        found = _of_others(data)
    return SecretDates(secret.metadata.version, tuple(sorted(set(found), key=lambda each: (each.at, each.registry))))


def registry_name(text: str) -> str:
    """The registry that a login is for, as images name it ("https://index.docker.io/v1/": "docker.io")."""
    host = text.partition("://")[2] or text
    host = host.partition("/")[0]
    name = "docker.io" if host in _HUB else host
    return name if name.isprintable() and len(name) <= 300 else ""


def _of_logins(kind: str, content: bytes) -> Iterator[Expiry]:
    try:
        logins = _logins.decode(content) if kind.endswith("dockercfg") else _config.decode(content).auths or {}
    except _UNREADABLE:
        return
    for address, login in logins.items():
        dates = _of_token(_shown(login)) if login is not None else None
        if dates is not None:
            yield Expiry("login", dates[1], dates[0], registry_name(address))


def _shown(login: _Login) -> bytes:
    """What is shown, as the kubelet has it: the password of `auth` goes before that of `password`."""
    password = _decoded(login.auth).partition(b":")[2]
    return password or (login.password or login.identity_token or login.registry_token or "").encode()


def _of_certificate(content: bytes) -> Iterator[Expiry]:
    found = validity_of_pem(content)
    if found is not None and 0 < found.until < _LATEST:
        yield Expiry("certificate", found.until, found.since)


def _of_others(data: Mapping[str, bytes]) -> Iterator[Expiry]:
    """Tokens; certificates only where their key is there too: others are to be trusted, not to be shown."""
    for content in data.values():
        dates = _of_token(content.strip())
        if dates is not None:
            yield Expiry("token", dates[1], dates[0])
    if any(_KEY in content for content in data.values()):
        yield from _shortest(each for content in data.values() for each in _of_certificate(content))


def _shortest(found: Iterable[Expiry]) -> list[Expiry]:
    """The first to expire: the others beside it are those of authorities, which live longer."""
    return sorted(found, key=lambda each: each.at)[:1]


def _of_token(token: bytes) -> tuple[float, float] | None:
    """When a token was issued (0.0: it does not say) and expires; None: it has no date that can be read."""
    if not 0 < len(token) <= _LONGEST_TOKEN:
        return None
    parts = token.split(b".")
    try:
        if len(parts) == 3 and token.startswith(b"eyJ"):  # {" in base64
            claims = _claims.decode(base64.urlsafe_b64decode(parts[1] + b"=" * (-len(parts[1]) % 4)))
            issued, expires = claims.issued or claims.valid_since or 0.0, claims.expires or 0.0
        else:
            issued, expires = 0.0, _data_key.decode(base64.b64decode(token, validate=True)).expiration
    except _UNREADABLE:
        return None
    return (issued if 0 < issued < expires else 0.0, expires) if 0 < expires < _LATEST else None


def _decoded(text: str | None) -> bytes:
    try:
        return base64.b64decode(text or "", validate=False)
    except _UNREADABLE:
        return b""
