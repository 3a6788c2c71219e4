"""Nodes: the list, each one whole, and what its counters and gauges did."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from typing import Any

from aiohttp import web

from aggregator.convert import iso_time
from aggregator.history.reading import HistoryError, Point
from aggregator.known import Known
from aggregator.node_json import changes_json, counters_json, item_json, plain, summary_json
from aggregator.slices import gently
from aggregator.web.api.lists import Lists
from aggregator.web.api.operation import reply
from aggregator.web.api.parameters import PathParameter, moment, text, texts, whole
from aggregator.web.keys import KNOWN
from aggregator.web.problems import ProblemError

LISTS: web.AppKey[Lists] = web.AppKey("lists", Lists)
LIMIT = whole("limit", 1, 1_000, 200, "How many at most.")
CURSOR = text("cursor", 'Where to go on: "next" of the answer before.')
ZONE = texts("zone", "Only of this zone; repeatable, any of them.")
NAME = PathParameter("name", "Name of the node.")
SINCE = moment("since", "From then on; by default the hour before `until`.")
UNTIL = moment("until", "Before then; by default now, or of a bundle its end.")
MOST_SERIES = 20
"""Series of one answer."""
SERIES = texts(
    "series",
    'Name of a series, as /nodes/{name}/series has it ("link/2/rx_dropped"); repeatable.',
    needed=True,
    most=MOST_SERIES,
)
MOST_SPAN_S = 31 * 86_400.0
"""Time that one answer is about."""
DEFAULT_SPAN_S = 3_600.0
_MINUTE_S = 60.0


async def listed(request: web.Request) -> web.Response:
    """Those of which an agent has told."""
    limit, after = (LIMIT.of(request) or [200])[0], (CURSOR.of(request) or [""])[0]
    zones = frozenset(ZONE.of(request))
    every = await request.app[LISTS].nodes.get()
    wanted = [each for each in every if each.zone in zones] if zones else every
    start = bisect_right(wanted, after, key=lambda each: each.node) if after else 0
    part = [summary_json(summary) async for summary in gently(wanted[start : start + limit])]
    end = start + limit
    return reply({"nodes": part, "total": len(wanted), "next": wanted[end - 1].node if end < len(wanted) else None})


async def one(request: web.Request) -> web.Response:
    """Everything that is known of it."""
    name = request.match_info["name"]
    answer = request.app[KNOWN].node(name)
    if answer is None:
        raise _unknown(name)
    items = [told async for item in gently(answer.facts.items) if (told := item_json(item)) is not None]
    counters = {subject: values async for subject, values in gently(counters_json(answer.facts))}
    rows = [plain(volume) async for volume in gently(answer.volumes)]
    return reply(
        {
            **summary_json(answer.summary),
            "volume_rows": rows,
            "api_unknown": list(answer.api_unknown),
            "items": items,
            "counters": counters,
            "changes": changes_json(answer.changes),
        }
    )


async def series(request: web.Request) -> web.Response:
    """What has points."""
    known, name = request.app[KNOWN], request.match_info["name"]
    since, until = _span(request, known)
    _there(known, name)
    try:
        found = await known.series(name, since=since, until=until)
    except HistoryError as error:
        raise ProblemError(503, str(error)) from error
    told = [{"name": each.name, "label": each.label, "gauge": each.gauge} for each in found]
    return reply({"since": iso_time(since), "until": iso_time(until), "series": told})


async def points(request: web.Request) -> web.Response:
    """Minute values."""
    known, name = request.app[KNOWN], request.match_info["name"]
    since, until = _span(request, known)
    wanted = list(dict.fromkeys(SERIES.of(request)))
    if not 1 <= len(wanted) <= MOST_SERIES:
        reason = f"parameter series: {len(wanted)} are named; 1 to {MOST_SERIES} may be"
        raise ProblemError(400, reason, parameter="series")
    _there(known, name)
    try:
        found = [await known.points(name, each, since=since, until=until) for each in wanted]
    except HistoryError as error:
        raise ProblemError(503, str(error)) from error
    told = {each: [_point(point) for point in its] for each, its in zip(wanted, found, strict=True)}
    await asyncio.sleep(0)
    return reply({"since": iso_time(since), "until": iso_time(until), "points": told})


def _point(point: Point) -> dict[str, Any]:
    told = {"value": point.value, "low": point.low, "high": point.high, "spread_s": point.spread_s}
    return {"at": iso_time(point.at)} | told


def _span(request: web.Request, known: Known) -> tuple[float, float]:
    # The minute that has begun is in it, too.
    until = (UNTIL.of(request) or [known.now() + _MINUTE_S])[0]
    since = (SINCE.of(request) or [max(0.0, until - DEFAULT_SPAN_S)])[0]
    if since > until:
        raise ProblemError(400, "parameter since: is later than until", parameter="since")
    if until - since > MOST_SPAN_S:
        reason = f"parameter since: is more than {MOST_SPAN_S / 86_400:g} days before until"
        raise ProblemError(400, reason, parameter="since")
    return since, until


def _there(known: Known, name: str) -> None:
    if not known.has(name):
        raise _unknown(name)


def _unknown(name: str) -> ProblemError:
    return ProblemError(404, f'there is no node "{name[:253]}"')
