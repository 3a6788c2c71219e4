"""The maps' addresses: paths between nodes, fsync over time, storage by zone. What they show is gathered once for all
who look, and every choice is in the address: nothing needs a script."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from aiohttp import web
from markupsafe import Markup

from aggregator.known import Known
from aggregator.signatures.thresholds import Thresholds
from aggregator.slices import Kept
from aggregator.web.charts.asked import HostChart, HostLine, How
from aggregator.web.charts.evidence import chart_of
from aggregator.web.charts.strip import SILENT, TOO_FEW, Strip, class_of, strip, time_axis
from aggregator.web.charts.timeline import Limit
from aggregator.web.charts.units import LATENCY, latency
from aggregator.web.keys import KNOWN
from aggregator.web.page import maps_matrix, maps_storage
from aggregator.web.page.maps_fsync import RANGES, Heat, Pasts, Ranked, edges_us, range_of, ranked
from aggregator.web.page.maps_matrix import By, Matrix
from aggregator.web.page.maps_paths import Fleet, State, gathered
from aggregator.web.page.maps_storage import Storage, Strand
from aggregator.web.page.rendering import Place, render
from aggregator.web.who import has_session
from aggregator.whatif import WhatIfError

PATHS_GOOD_S, RANKED_GOOD_S, STORAGE_GOOD_S, LOSS_GOOD_S = 10.0, 10.0, 30.0, 120.0
WAIT_S = 0.25
"""What a loss would strand takes longer in a large cluster: the page does not wait for it."""
MOST_TEXT = 253


class Maps:
    """What the maps of one application are made from."""

    def __init__(self, known: Known) -> None:
        self.fleet: Kept[Fleet] = Kept(lambda: gathered(known.view(), known.thresholds), PATHS_GOOD_S)
        self.ranked: Kept[list[Ranked]] = Kept(lambda: ranked(known), RANKED_GOOD_S)
        self.pasts = Pasts(known)
        self.storage: Kept[Storage] = Kept(lambda: maps_storage.gathered(known.view()), STORAGE_GOOD_S)
        self.strands: Kept[dict[str, Strand]] = Kept(lambda: maps_storage.stranded(known.view()), LOSS_GOOD_S)


MAPS: web.AppKey[Maps] = web.AppKey("maps", Maps)


def add_maps(app: web.Application) -> None:
    """Have the application answer them."""
    app[MAPS] = Maps(app[KNOWN])
    get = app.router.add_get
    get("/maps", show_maps)
    get("/maps/paths", show_paths)
    get("/maps/fsync", show_fsync)
    get("/maps/storage", show_storage)


async def show_maps(request: web.Request) -> web.Response:
    """Which maps there are."""
    return _page("maps.html", Place("maps", "Maps"), request)


# -- paths -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PathsAsked:
    """What somebody wants to see of the paths, as the address has it."""

    by: By
    via: str
    from_: tuple[str, str] | None
    """Zone and pool; None: all."""
    to: tuple[str, str] | None
    page: int

    def link(self, **changes: object) -> str:
        """The address of the same with something changed."""
        has: dict[str, object] = {name: getattr(self, name) for name in ("by", "via", "from_", "to", "page")}
        has |= changes
        words = {"by": has["by"] if has["by"] != By.BOTH else "", "via": has["via"]}
        for name, key in (("from", "from_"), ("to", "to")):
            if isinstance(group := has[key], tuple):
                words |= {f"{name}_zone": group[0], f"{name}_pool": group[1], name: "1"}
        words["page"] = has["page"] if has["page"] != 1 else ""
        return "?" + urlencode({name: str(word) for name, word in words.items() if word})


def paths_asked(query: Mapping[str, str]) -> PathsAsked:
    """What makes no sense in an address is left out."""
    by = By(query["by"]) if query.get("by") in tuple(By) else By.BOTH
    ends = [
        (query.get(f"{end}_zone", "")[:MOST_TEXT], query.get(f"{end}_pool", "")[:MOST_TEXT]) if end in query else None
        for end in ("from", "to")
    ]
    return PathsAsked(by, query.get("via", "")[:20], ends[0], ends[1], page_of(query))


async def show_paths(request: web.Request) -> web.Response:
    """A matrix of groups, or of the nodes of one of its cells."""
    known, asked = request.app[KNOWN], paths_asked(request.query)
    fleet = await request.app[MAPS].fleet.get()
    if asked.via not in maps_matrix.ways(fleet):
        asked = replace(asked, via="")
    inside: Matrix | None = None
    paths, pages, page = [], 1, 1
    if asked.from_ is not None and asked.to is not None:
        rows, columns, found = await maps_matrix.between(fleet, asked.from_, asked.to, asked.by, asked.via)
        inside = maps_matrix.of_nodes(rows, columns, found)
        pages = max(1, -(-len(found) // maps_matrix.PAGE))
        page = min(asked.page, pages)
        paths = found[(page - 1) * maps_matrix.PAGE : page * maps_matrix.PAGE]
    return _page(
        "maps_paths.html",
        Place("maps", "Paths between nodes", 1),
        request,
        asked=asked,
        matrix=inside or await maps_matrix.of_groups(fleet, asked.by, asked.via),
        inside=inside is not None,
        ends=[maps_matrix.label(end, asked.by) if end else "" for end in (asked.from_, asked.to)],
        paths=paths,
        page=page,
        pages=pages,
        ways=maps_matrix.ways(fleet),
        states=sorted(State, reverse=True),
        fleet=fleet,
        nodes=sum(len(names) for names in fleet.members.values()),
        max_age_s=known.thresholds.probe_max_age_s,
    )


# -- fsync -------------------------------------------------------------------------------------------------------------


async def show_fsync(request: web.Request) -> web.Response:
    """A heat map of the worst nodes, or charts of one."""
    known, maps, query = request.app[KNOWN], request.app[MAPS], request.query
    if name := query.get("node", "")[:MOST_TEXT]:
        return await _show_node(request, name)
    range_, text = range_of(query, known), query.get("q", "")[:MOST_TEXT].strip()
    every = await maps.ranked.get()
    found = [each for each in every if text.lower() in each.name.lower() or text.lower() in each.process.lower()]
    pages = max(1, -(-len(found) // range_.nodes))
    page = min(page_of(query), pages)
    part = found[(page - 1) * range_.nodes : page * range_.nodes]
    heat = await maps.pasts.heat([each.name for each in part], range_)
    return _page(
        "maps_fsync.html",
        Place("maps", "fsync over time", 1),
        request,
        heat=heat,
        strips={(row.node, row.series): strip(Strip(row.said, row.shades)) for row in heat.rows},
        axis=time_axis(heat.begin, heat.end),
        legend=legend(known.thresholds),
        latency=latency,
        ranges=RANGES,
        text=text,
        found=len(found),
        every=len(every),
        named={each.name for each in part if each.in_finding},
        page=page,
        pages=pages,
        link=lambda **changes: _fsync_link({"range": range_.key, "q": text} | changes),
    )


def _fsync_link(has: Mapping[str, object]) -> str:
    return "?" + urlencode({key: str(word) for key, word in has.items() if word and (key, word) != ("page", 1)})


def legend(thresholds: Thresholds) -> list[tuple[str, str]]:
    """(class, words) of each shade."""
    edges = edges_us(thresholds)
    meanings = {thresholds.fsync_warning_ms * 1000: " (warning)", thresholds.fsync_critical_ms * 1000: " (critical)"}
    told = [(class_of(0), f"below {latency(edges[0])}")]
    told += [(class_of(shade), f"from {latency(edge)}{meanings.get(edge, '')}") for shade, edge in enumerate(edges, 1)]
    return [*told, (class_of(TOO_FEW), "fewer than 20 calls"), (class_of(SILENT), "not heard")]


async def _show_node(request: web.Request, name: str) -> web.Response:
    known = request.app[KNOWN]
    range_ = range_of(request.query, known)
    heat = await request.app[MAPS].pasts.heat([name], range_)
    charts = [await _chart(known, heat, row.series, row.label) for row in heat.rows]
    return _page(
        "maps_fsync_node.html",
        Place("maps", f"fsync on {name}", 1),
        request,
        name=name,
        is_known=name in known.view().hosts,
        heat=heat,
        charts=[chart for chart in charts if chart is not None],
        ranges=RANGES,
        link=lambda **changes: _fsync_link({"range": range_.key, "node": name} | changes),
    )


async def _chart(known: Known, heat: Heat, series: str, label: str) -> Markup | None:
    lines = (
        HostLine("99th percentile", f"{series}/p99_us", How.TOLD),
        HostLine("median", f"{series}/p50_us", How.TOLD),
    )
    limits = (
        Limit(known.thresholds.fsync_warning_ms * 1000, "warning"),
        Limit(known.thresholds.fsync_critical_ms * 1000, "critical"),
    )
    remark = "A minute with fewer than 20 calls has no figure."
    node = heat.rows[0].node
    chart = HostChart(f"fsync of {label}", LATENCY, node, lines, limits, remark)
    return await chart_of(known, chart, (heat.begin, min(heat.end, known.now() + 60)))


# -- storage -----------------------------------------------------------------------------------------------------------


async def show_storage(request: web.Request) -> web.Response:
    """Zones, what the loss of each would strand, and volumes."""
    maps, query = request.app[MAPS], request.query
    storage = await maps.storage.get()
    zone = query["zone"][:MOST_TEXT] if "zone" in query else None
    text = query.get("q", "")[:MOST_TEXT].strip()
    reason, strands = "", None
    try:
        strands = await maps.strands.soon(WAIT_S)
    except WhatIfError as error:
        reason = str(error)
    found = maps_storage.filtered(storage, zone, text)
    pages = max(1, -(-len(found) // maps_storage.PAGE))
    page = min(page_of(query), pages)
    has = {"zone": zone, "q": text}
    return _page(
        "maps_storage.html",
        Place("maps", "Storage by zone", 1),
        request,
        storage=storage,
        strands=strands,
        reason=reason,
        zone=zone,
        chosen=strands.get(zone) if strands and zone else None,
        most_stranded=maps_storage.MOST_STRANDED,
        why=maps_storage.WHY,
        text=text,
        found=len(found),
        rows=found[(page - 1) * maps_storage.PAGE : page * maps_storage.PAGE],
        page=page,
        pages=pages,
        link=lambda **changes: _storage_link(has | changes),
    )


def _storage_link(has: Mapping[str, object]) -> str:
    told = {key: str(word) for key, word in has.items() if word is not None and (key == "zone" or word)}
    if told.get("page") == "1":
        del told["page"]
    return "?" + urlencode(told)


# -- all ---------------------------------------------------------------------------------------------------------------


def page_of(query: Mapping[str, str]) -> int:
    """Number of a page, from 1; what is none is the first."""
    page = query.get("page", "")
    return max(1, int(page)) if page.isdecimal() and len(page) < 7 else 1


def _page(template: str, place: Place, request: web.Request, **model: object) -> web.Response:
    text = render(template, place, request.app[KNOWN], session=has_session(request), **model)
    return web.Response(text=text, content_type="text/html")
