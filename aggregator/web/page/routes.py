"""The page's addresses."""

from __future__ import annotations

from aiohttp import web

from aggregator.web.keys import KNOWN


def add_page(app: web.Application) -> None:
    """Have the application answer them."""
    app.router.add_get("/", overview)


async def overview(request: web.Request) -> web.Response:
    """What stands, in a line."""
    known = request.app[KNOWN]
    text = f"cluster {known.cluster}: {len(known.standing())} findings\n"
    return web.Response(text=text)
