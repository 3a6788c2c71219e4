"""How a browser shows a token: a form, which works without JavaScript, and from then on a session (sessions).

Nothing here changes anything else. Still, nobody else's page may log a browser in or out: browsers say where a form was
sent from, and what they say is checked. Who guesses is made to wait.
"""

from __future__ import annotations

import asyncio
import html
import logging
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from aiohttp import hdrs, web
from nodetell.bucket import Bucket
from nodetell.logs import event
from nodetell.paced_log import PacedLog

from aggregator.trust.caller import RefusedError
from aggregator.trust.operators import OperatorTrust
from aggregator.trust.token import MAX_TOKEN_BYTES
from aggregator.web import sessions
from aggregator.web.certificates import shown
from aggregator.web.problems import ProblemError, busy, root_of
from aggregator.web.sessions import Sessions

_log = logging.getLogger("nodetell.aggregator")

GUESSES_PER_S, GUESSES_AT_ONCE = 0.1, 5.0
"""Wrong tokens of one address, in the long run and at once."""
ALL_PER_S, ALL_AT_ONCE = 2.0, 50.0
"""... of all addresses together."""
_REMEMBERED = 4_096
_FORM_S = 10.0
"""A form has so long to arrive."""
_NEXT = re.compile(r"[A-Za-z0-9_.~%-]+(/[A-Za-z0-9_.~%-]+)*(\?[A-Za-z0-9_.~%&=+:/-]*)?")
"""What may follow a login: an address below the page's own beginning."""


@dataclass(slots=True)
class Guesses:
    """How often wrong tokens came, and whether one more is listened to."""

    monotonic: Callable[[], float] = time.monotonic
    _of_one: OrderedDict[str, Bucket] = field(default_factory=OrderedDict)
    _all: Bucket = field(default_factory=lambda: Bucket(ALL_PER_S, ALL_AT_ONCE))

    def wait_s(self, address: str) -> float:
        """Seconds until one more is listened to; 0.0: now."""
        now = self.monotonic()
        of_one = self._of_one.get(address)
        return max(0.0 if of_one is None else of_one.owed_s(now), self._all.owed_s(now))

    def wrong(self, address: str) -> None:
        """One came."""
        now = self.monotonic()
        of_one = self._of_one.setdefault(address, Bucket(GUESSES_PER_S, GUESSES_AT_ONCE))
        self._of_one.move_to_end(address)
        for bucket in (of_one, self._all):
            bucket.spend(1.0, now)
        while len(self._of_one) > _REMEMBERED:
            self._of_one.popitem(last=False)


@dataclass(slots=True)
class Login:
    """The form, and what it leads to."""

    operators: OperatorTrust
    sessions: Sessions
    guesses: Guesses = field(default_factory=Guesses)
    paced: PacedLog = field(default_factory=lambda: PacedLog(_log))

    def add_to(self, app: web.Application) -> None:
        """Have the application answer its addresses."""
        app.router.add_get("/login", self.form)
        app.router.add_post("/login", self.enter)
        app.router.add_post("/logout", self.leave)

    async def form(self, request: web.Request) -> web.Response:
        """The form by itself."""
        return form(request, 200, "")

    async def enter(self, request: web.Request) -> web.Response:
        """A token has come."""
        from_us(request)
        address = request.remote or ""
        if (wait := self.guesses.wait_s(address)) > 0:
            raise busy(429, "too many wrong tokens: try again a little later", wait)
        token, onward = await self._sent(request)
        try:
            caller = await self.operators.admit(shown(request), [("authorization", f"Bearer {token}")])
        except RefusedError as refused:
            self.guesses.wrong(address)
            facts = {"peer": address, "path": "/login", "reason": refused}
            self.paced.event(logging.WARNING, "operator_refused", address, **facts)
            return form(request, 401, str(refused), onward)
        name, seconds = self.sessions.begin(token, caller.until)
        event(_log, logging.INFO, "operator_logged_in", operator=caller.name, peer=address)
        response = web.Response(status=303, headers={hdrs.LOCATION: f"./{onward}"})
        sessions.put(response, name, seconds, secure=request.secure)
        return response

    async def leave(self, request: web.Request) -> web.Response:
        """The session ends."""
        from_us(request)
        self.sessions.end(request.cookies.get(sessions.COOKIE, ""))
        response = web.Response(status=303, headers={hdrs.LOCATION: "./login"})
        sessions.drop(response, secure=request.secure)
        return response

    @staticmethod
    async def _sent(request: web.Request) -> tuple[str, str]:
        """Token, and where to go with it."""
        if request.content_type != "application/x-www-form-urlencoded":
            raise ProblemError(415, "a form is expected: application/x-www-form-urlencoded")
        try:
            async with asyncio.timeout(_FORM_S):
                sent = await request.post()
        except TimeoutError:
            raise ProblemError(408, "the form did not arrive in time") from None
        except ValueError:
            raise ProblemError(400, "the form is damaged") from None
        token, onward = sent.get("token", ""), sent.get("next", "")
        if not isinstance(token, str) or not isinstance(onward, str):
            raise ProblemError(400, "token: a text is expected", parameter="token")
        token = token.strip()
        if not token or len(token) > MAX_TOKEN_BYTES or not token.isascii() or not token.isprintable():
            token = "-"  # noqa: S105  # of nobody
        return token, onward if _is_below(onward) else ""


def _is_below(onward: str) -> bool:
    """An address of ours, and no way out of it."""
    return bool(_NEXT.fullmatch(onward)) and ".." not in onward and "%2e" not in onward.lower()


def from_us(request: web.Request) -> None:
    """Refuse what another site's page has sent (CSRF). What says nothing of where it comes from is no browser's."""
    site = request.headers.get("Sec-Fetch-Site", "")
    if site:
        if site in ("same-origin", "none"):
            return
    elif (origin := request.headers.get(hdrs.ORIGIN)) is None or urlsplit(origin).netloc == request.host:
        return
    raise ProblemError(403, "another site's page has sent this form")


def form(request: web.Request, status: int, why: str, onward: str | None = None) -> web.Response:
    """The form; `why`: what is wrong with the token before, or that none is shown."""
    here = request.path_qs.lstrip("/") if onward is None else onward
    said = f'<p class="refused" role="alert">{html.escape(why)}</p>' if why else ""
    kept = here if _is_below(here) and not here.startswith(("login", "logout")) else ""
    text = _FORM.format(root=html.escape(root_of(request.path)), said=said, onward=html.escape(kept))
    headers = {hdrs.WWW_AUTHENTICATE: "Bearer"} if status == 401 else None
    return web.Response(status=status, text=text, content_type="text/html", headers=headers)


_FORM = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Log in - Nodetell</title>
<link rel="stylesheet" href="{root}assets/page.css">
</head>
<body>
<main class="login">
<h1>Nodetell</h1>
{said}
<form method="post" action="{root}login">
<p><label for="token">Token of an operator</label></p>
<p><input id="token" name="token" type="password" autocomplete="off" required autofocus></p>
<input type="hidden" name="next" value="{onward}">
<p><button type="submit">Log in</button></p>
</form>
<p>One that the aggregator knows (access.operator_tokens_file), or that of a service account that may read findings:
<code>kubectl create token nodetell-operator --namespace nodetell --audience nodetell</code></p>
</main>
</body>
</html>
"""
