"""Where handlers of the page and of the API find what they are made from: keys of the application, and of a request."""

from __future__ import annotations

from aiohttp import web

from aggregator.known import Known
from aggregator.trust.caller import Caller
from aggregator.web.login import Login
from aggregator.web.slots import Slots

KNOWN: web.AppKey[Known] = web.AppKey("known", Known)
"""Everything that is known."""
EVENTS: web.AppKey[Slots] = web.AppKey("events", Slots)
"""Places for those who are told of findings as they change."""
LOGIN: web.AppKey[Login | None] = web.AppKey("login", Login)
"""How browsers log in; None: nobody is asked who they are. The page offers to log out where it is not None and the
request has a cookie of a session (sessions.COOKIE)."""
CALLER: web.RequestKey[Caller] = web.RequestKey("caller", Caller)
"""Who asks, in each request that has got as far as a handler; none where nobody is asked."""
