"""Where handlers of the page and of the API find what they are made from: keys of the application."""

from __future__ import annotations

from aiohttp import web

from aggregator.known import Known
from aggregator.trust.caller import Caller

KNOWN: web.AppKey[Known] = web.AppKey("known", Known)
"""Everything that is known."""
CALLER: web.RequestKey[Caller] = web.RequestKey("caller", Caller)
"""Who asks, in each request that has got as far as a handler."""
