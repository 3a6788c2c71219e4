"""The page's addresses: what each shows, gathered from what is known and made into HTML."""

from __future__ import annotations

from aiohttp import hdrs, web

from aggregator.findings import Record
from aggregator.model import Stage
from aggregator.web.charts.evidence import each_once
from aggregator.web.keys import KNOWN
from aggregator.web.page import incidents as kinds
from aggregator.web.page.heard import Heard
from aggregator.web.page.maps import add_maps
from aggregator.web.page.models import brief, named
from aggregator.web.page.models_finding import finding_page
from aggregator.web.page.models_node import node_page
from aggregator.web.page.models_nodes import asked, nodes_page
from aggregator.web.page.models_overview import overview
from aggregator.web.page.models_seen import Seen, seen
from aggregator.web.page.rendering import Place, assets, render
from aggregator.web.who import has_session

HEARD: web.AppKey[Heard] = web.AppKey("heard", Heard)
LIST = 100
"""Findings on one page of a list."""
RESOLVED = 1_000
"""Findings that are over, at most."""
_LONG = "private, max-age=31536000, immutable"


def add_page(app: web.Application) -> None:
    """Have the application answer them."""
    app[HEARD] = Heard(app[KNOWN])
    get = app.router.add_get
    get("/", show_overview)
    get("/findings", show_findings)
    get("/findings/{id}", show_finding)
    get("/nodes", show_nodes)
    get("/nodes/{name}", show_node)
    add_maps(app)
    get("/coverage", show_coverage)
    get("/history", show_history)
    get("/assets/{name}", send_asset)


async def show_overview(request: web.Request) -> web.Response:
    """Five states, causes first."""
    known, heard = request.app[KNOWN], request.app[HEARD]
    model = overview(
        known.view(),
        known.standing(),
        known.resolved(RESOLVED),
        heard.changed,
        seen=await _seen(request),
        now=known.now(),
    )
    return _page("overview.html", Place("overview", "Overview"), request, model=model)


async def show_findings(request: web.Request) -> web.Response:
    """All that stand, or those of an incident, a stage or a node."""
    known, query = request.app[KNOWN], request.query
    incident, stage, node = query.get("incident", ""), query.get("stage", ""), query.get("node", "")
    found = [
        record
        for record in known.standing()
        if (not incident or record.finding.incident == incident)
        and (stage not in tuple(Stage) or record.finding.stage == stage)
        and (not node or node in named(record))
    ]
    page, pages, part = _part(found, query.get("page", ""))
    return _page(
        "findings.html",
        Place("findings", "Findings"),
        request,
        findings=[brief(record) for record in part],
        count=len(found),
        every=len(known.standing()),
        incident=kinds.named(incident) if incident else None,
        incidents=(*kinds.FIVE, *kinds.BESIDE),
        stage=stage,
        node=node,
        page=page,
        pages=pages,
    )


async def show_finding(request: web.Request) -> web.Response:
    """One, with its story."""
    known, wanted = request.app[KNOWN], request.match_info["id"]
    standing = known.standing()
    record = next((each for each in standing if each.finding.id == wanted), None)
    if record is None:
        record = next((each for each in known.resolved(RESOLVED) if each.finding.id == wanted), None)
    if record is None:
        return _missing(request, "finding", wanted)
    model = await finding_page(standing, record, each_once(known))
    return _page("finding.html", Place("findings", model.asked.title, 1), request, model=model)


async def show_nodes(request: web.Request) -> web.Response:
    """The table."""
    model = nodes_page(await request.app[HEARD].rows(), asked(request.query))
    return _page("nodes.html", Place("nodes", "Nodes"), request, model=model)


async def show_node(request: web.Request) -> web.Response:
    """One."""
    known, name = request.app[KNOWN], request.match_info["name"]
    row = next((each for each in await request.app[HEARD].rows() if each.name == name), None)
    if row is None:
        return _missing(request, "node", name)
    model = node_page(known.view(), row, known.standing(), known.thresholds)
    return _page("node.html", Place("nodes", name, 1), request, model=model)


async def show_coverage(request: web.Request) -> web.Response:
    """How much is seen, and how well."""
    model = await request.app[HEARD].coverage()
    return _page(
        "coverage.html",
        Place("coverage", "Coverage"),
        request,
        seen=await _seen(request),
        model=model,
    )


async def show_history(request: web.Request) -> web.Response:
    """What is over."""
    known = request.app[KNOWN]
    resolved = known.resolved(RESOLVED)
    page, pages, part = _part(resolved, request.query.get("page", ""))
    return _page(
        "history.html",
        Place("history", "What is over"),
        request,
        findings=[brief(record) for record in part],
        count=len(resolved),
        page=page,
        pages=pages,
    )


async def send_asset(request: web.Request) -> web.Response:
    """A style sheet or a script. Asked for by its version, it is good for ever."""
    asset = assets().get(request.match_info["name"])
    if asset is None:
        raise web.HTTPNotFound
    headers = {hdrs.CACHE_CONTROL: _LONG} if request.query.get("v") == asset.version else {}
    return web.Response(body=asset.content, content_type=asset.content_type, charset="utf-8", headers=headers)


async def _seen(request: web.Request) -> Seen:
    rows, told = await request.app[HEARD].rows(), await request.app[HEARD].coverage()
    connected = {row.name: row.agent == "connected" for row in rows if row.agent != "none"}
    return seen(request.app[KNOWN].view(), connected, told.signals_limited if told is not None else None)


def _part(records: list[Record], asked_page: str) -> tuple[int, int, list[Record]]:
    """(page, pages, its records); a page that there is not is the nearest that there is."""
    pages = max(1, -(-len(records) // LIST))
    page = min(pages, max(1, int(asked_page))) if asked_page.isdecimal() and len(asked_page) < 7 else 1
    return page, pages, records[(page - 1) * LIST : page * LIST]


def _missing(request: web.Request, kind: str, wanted: str) -> web.Response:
    place = Place("", f"No such {kind}", 1)
    return _page("missing.html", place, request, status=404, kind=kind, wanted=wanted[:253])


def _page(template: str, place: Place, request: web.Request, *, status: int = 200, **model: object) -> web.Response:
    text = render(template, place, request.app[KNOWN], session=has_session(request), **model)
    return web.Response(text=text, content_type="text/html", status=status)
