"""Findings: those that stand, those that are over, and the story of each."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from aggregator.convert import record_to_json
from aggregator.findings import KEPT_RESOLVED, Record
from aggregator.known import Known
from aggregator.model import Severity, Stage
from aggregator.slices import gently
from aggregator.story import tell
from aggregator.story_json import story_json
from aggregator.web.api.operation import reply
from aggregator.web.api.parameters import PathParameter, choice, like, texts, whole
from aggregator.web.keys import KNOWN
from aggregator.web.problems import ProblemError

EXCLUDE, INCLUDE, ONLY = "exclude", "include", "only"
LIMIT = whole("limit", 1, 500, 100, "How many at most.")
CURSOR = like(
    "cursor",
    r"[0-9]{1,6}(\.[A-Za-z0-9._-]{1,120})?",
    "cursor of an answer",
    'Where to go on: "next" of the answer before.',
)
INCIDENT = texts("incident", "Only of this kind of incident; repeatable, any of them.")
CODE = texts("code", 'Only with this code ("mtu.path_below_link"), or one that begins so; repeatable, any of them.')
SEVERITY = choice("severity", (each.word for each in Severity), "Only so severe; repeatable, any of them.")
STAGE = choice("stage", (each.value for each in Stage), "Only at this stage; repeatable, any of them.")
NODE = texts("node", "Only about this node; repeatable, any of them.")
RESOLVED = choice(
    "resolved",
    (EXCLUDE, INCLUDE, ONLY),
    f"Those that are over: left out (the default), told after those that stand, or told alone. The latest "
    f"{KEPT_RESOLVED:,} are at hand.",
    many=False,
)
FILTERS = (INCIDENT, CODE, SEVERITY, STAGE, NODE, RESOLVED)
ID = PathParameter("id", "Id of the finding.")


async def listed(request: web.Request) -> web.Response:
    """Those that the filters let through, in report order; then those that are over, the newest first."""
    wanted = _wanted(request)
    limit = (LIMIT.of(request) or [100])[0]
    start = _start(wanted, (CURSOR.of(request) or ["0"])[0])
    part = [record_to_json(record) async for record in gently(wanted[start : start + limit])]
    end = start + limit
    onward = f"{end}.{wanted[end - 1].finding.id}" if end < len(wanted) else None
    return reply({"findings": part, "total": len(wanted), "next": onward})


def _wanted(request: web.Request) -> list[Record]:
    known = request.app[KNOWN]
    resolved = (RESOLVED.of(request) or [EXCLUDE])[0]
    records = [] if resolved == ONLY else known.standing()
    records += [] if resolved == EXCLUDE else known.resolved(KEPT_RESOLVED)
    incidents, codes, nodes = INCIDENT.of(request), tuple(CODE.of(request)), frozenset(NODE.of(request))
    severities, stages = SEVERITY.of(request), STAGE.of(request)
    return [
        record
        for record in records
        if (not incidents or record.finding.incident in incidents)
        and (not codes or record.finding.code.startswith(codes))
        and (not severities or record.finding.severity.word in severities)
        and (not stages or record.finding.stage.value in stages)
        and (not nodes or not nodes.isdisjoint(record.finding.nodes))
    ]


def _start(wanted: Sequence[Record], cursor: str) -> int:
    """Behind the finding that the cursor names, wherever it is now; where it is gone, at the place it had."""
    place, _, last = cursor.partition(".")
    behind = next((index for index, record in enumerate(wanted, 1) if record.finding.id == last), None)
    return behind if behind is not None else int(place)


async def one(request: web.Request) -> web.Response:
    """By its id."""
    return reply(record_to_json(_named(request)))


async def story(request: web.Request) -> web.Response:
    """Its story, as `nodetell explain` tells it."""
    asked = _named(request)
    # What is over explains nothing that stands, and is explained by what was there with it.
    known = [record.finding for record in request.app[KNOWN].standing()]
    return reply(story_json(tell([*known, asked.finding] if asked.resolved is not None else known, asked.finding.id)))


def _named(request: web.Request) -> Record:
    known: Known = request.app[KNOWN]
    wanted = request.match_info["id"]
    for records in (known.standing(), known.resolved(KEPT_RESOLVED)):
        for record in records:
            if record.finding.id == wanted:
                return record
    raise ProblemError(404, f'there is no finding "{wanted[:120]}"')
