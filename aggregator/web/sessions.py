"""Browsers that are logged in: a token was shown once, and a random name in a cookie stands for it since.

The cookie is worth nothing elsewhere, is kept from scripts, is sent to nobody but us and by no page but ours, and ends
with the token. The token itself is asked about at each request, as if it were shown again: what is taken out of the
file, or may not read any more, is out here, too. Sessions are in memory alone: a restart ends them.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import web

from aggregator.limits import HTTP

COOKIE = "nodetell_session"
MOST_S = 12 * 3600.0
"""A session ends after so long in any case."""


@dataclass(frozen=True, slots=True)
class Session:
    """One browser."""

    token: str = field(repr=False)
    until: float
    """Seconds of the monotonic clock."""


@dataclass(slots=True)
class Sessions:
    """All of them, by the digest of what is in the cookie: what is kept here opens nothing."""

    monotonic: Callable[[], float] = time.monotonic
    most: int = HTTP.http_sessions
    _known: OrderedDict[bytes, Session] = field(default_factory=OrderedDict, repr=False)

    def begin(self, token: str, until: float | None) -> tuple[str, float]:
        """The name of a new session, and for how many seconds it is good. `until`: when the token ends."""
        now = self.monotonic()
        self._forget_old(now)
        end = min(now + MOST_S, until if until is not None else now + MOST_S)
        name = secrets.token_urlsafe(32)
        self._known[_digest(name)] = Session(token, end)
        while len(self._known) > self.most:
            self._known.popitem(last=False)
        return name, max(0.0, end - now)

    def token_of(self, name: str) -> str:
        """The token that a session stands for; empty: there is no such session, or not any more."""
        session = self._known.get(_digest(name))
        if session is None:
            return ""
        if self.monotonic() >= session.until:
            self.end(name)
            return ""
        return session.token

    def end(self, name: str) -> None:
        """It is good for nothing any more."""
        self._known.pop(_digest(name), None)

    def _forget_old(self, now: float) -> None:
        for key in [key for key, session in self._known.items() if now >= session.until]:
            del self._known[key]


def _digest(name: str) -> bytes:
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()


def put(response: web.StreamResponse, name: str, seconds: float, *, secure: bool) -> None:
    """Have the browser keep it. No path: that of the page, whatever prefix it stands below."""
    response.set_cookie(
        COOKIE,
        name,
        max_age=int(seconds),
        path="",
        secure=secure,
        httponly=True,
        samesite="Strict",
    )


def drop(response: web.StreamResponse, *, secure: bool) -> None:
    """Have the browser forget it."""
    put(response, "", 0, secure=secure)
