"""Which address answers what: the one table that the routes and their description are made from."""

from __future__ import annotations

from aiohttp import web

from aggregator.convert import iso_time, record_to_json
from aggregator.web.keys import KNOWN


def add_api(app: web.Application) -> None:
    """Have the application answer the API's addresses."""
    app.router.add_get("/api/v1/findings", findings)


async def findings(request: web.Request) -> web.Response:
    """What stands."""
    known = request.app[KNOWN]
    records = [record_to_json(record) for record in known.standing()]
    return web.json_response({"at": iso_time(known.now()), "findings": records})
