"""The cluster in one look, what limits the diagnosis, and what would follow from a loss."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from aiohttp import web
from nodetell import __version__

from aggregator.convert import gap_to_json, iso_time
from aggregator.findings import Record
from aggregator.limits import OPERATOR
from aggregator.model import Gap, Severity, Stage
from aggregator.signatures.catalog import CODES
from aggregator.slices import through
from aggregator.web.api.nodes import LISTS
from aggregator.web.api.operation import reply
from aggregator.web.api.parameters import choice, like, texts, whole
from aggregator.web.keys import KNOWN
from aggregator.web.problems import ProblemError
from aggregator.web.slots import Slots
from aggregator.whatif import Loss, WhatIfError, WhatIfUnknownError, lose_in_steps, nodes_of
from aggregator.whatif.document import loss_json

INCIDENTS = tuple(dict.fromkeys(code.incident for code in CODES.values()))
STATUSES = ("missing", "degraded", "damaged")
LIMIT = whole("limit", 1, 2_000, 500, "How many at most.")
CURSOR = like("cursor", r"[0-9]{1,9}", "cursor of an answer", 'Where to go on: "next" of the answer before.')
NODE = texts("node", "Only of this node; repeatable, any of them. Empty: of none.")
SIGNAL = texts("signal", 'Only of this signal ("kube/pods"), or those below it; repeatable, any of them.')
STATUS = choice("status", STATUSES, "Only these; repeatable, any of them.")
LOSE_ZONE = texts("lose_zone", "A zone that would be lost, with all its nodes; repeatable.")
LOSE_NODE = texts("lose_node", "A node that would be lost; repeatable.")
QUESTIONS: web.AppKey[Slots] = web.AppKey("questions", Slots)


def places() -> Slots:
    """For questions of what would follow from a loss."""
    return Slots("questions of what would follow a loss", "questions", OPERATOR.questions, OPERATOR.questions)


async def overview(request: web.Request) -> web.Response:
    """In one look."""
    known = request.app[KNOWN]
    nodes, gaps = await request.app[LISTS].nodes.get(), await request.app[LISTS].gaps.get()
    view, standing = known.view(), known.standing()
    severities = Counter(record.finding.severity.word for record in standing)
    statuses = Counter(gap.status for gap in gaps)
    outage = view.outage
    return reply(
        {
            "cluster": known.cluster,
            "at": iso_time(known.now()),
            "live": known.live,
            "version": __version__,
            "incidents": incidents(standing),
            "findings": {"standing": len(standing), **{each.word: severities[each.word] for each in Severity}},
            "nodes": {
                "with_agent": len(nodes),
                "connected": sum(each.connected for each in nodes),
                "of_api_server": len(view.nodes) if view.objects.knows("nodes") else None,
            },
            "coverage": {status: statuses[status] for status in STATUSES},
            "api_outage": None if outage is None else {"since": iso_time(outage.since), "reason": outage.reason},
        }
    )


def incidents(standing: Sequence[Record]) -> list[dict[str, Any]]:
    """How it stands with each kind of incident: those that are known, then an operator's own."""
    found: dict[str, list[Record]] = {incident: [] for incident in INCIDENTS}
    for record in standing:
        found.setdefault(record.finding.incident, []).append(record)
    return [_incident(incident, records) for incident, records in found.items()]


def _incident(incident: str, records: Sequence[Record]) -> dict[str, Any]:
    active = any(record.finding.stage is Stage.ACTIVE for record in records)
    worst = max((record.finding.severity for record in records), default=None)
    return {
        "incident": incident,
        "state": "active" if active else "risk" if records else "quiet",
        "severity": None if worst is None else worst.word,
        "findings": len(records),
    }


async def coverage(request: web.Request) -> web.Response:
    """What could not be compared or read, and why."""
    limit, start = (LIMIT.of(request) or [500])[0], int((CURSOR.of(request) or ["0"])[0])
    nodes, signals, statuses = NODE.of(request), SIGNAL.of(request), STATUS.of(request)
    wanted = [
        gap
        for gap in await request.app[LISTS].gaps.get()
        if (not nodes or gap.node in nodes)
        and (not statuses or gap.status in statuses)
        and (not signals or _below(gap, signals))
    ]
    end = start + limit
    told = [gap_to_json(gap) for gap in wanted[start:end]]
    return reply({"coverage": told, "total": len(wanted), "next": str(end) if end < len(wanted) else None})


def _below(gap: Gap, signals: Sequence[str]) -> bool:
    return any(gap.signal == signal or gap.signal.startswith(f"{signal}/") for signal in signals)


async def whatif(request: web.Request) -> web.Response:
    """An estimate."""
    known, zones, nodes = request.app[KNOWN], LOSE_ZONE.of(request), LOSE_NODE.of(request)
    if not zones and not nodes:
        raise ProblemError(400, "what would be lost? parameters lose_zone and lose_node say it", parameter="lose_zone")
    gaps = await request.app[LISTS].gaps.get()
    with request.app[QUESTIONS].place(request.remote):
        try:
            view = known.view()
            loss = await through(lose_in_steps(view, nodes_of(view, zones, nodes)))
        except WhatIfUnknownError as error:
            raise ProblemError(409, str(error)) from error
        except WhatIfError as error:
            raise ProblemError(404, str(error)) from error
    limits = dict.fromkeys(gap.because for gap in gaps if gap.signal.startswith(("kube/", "bundle")))
    whole_loss = Loss(
        loss.nodes, loss.stranded, loss.returning, loss.going_with_it, tuple(dict.fromkeys((*loss.unknown, *limits)))
    )
    return reply(loss_json(known.cluster, view.now, zones, whole_loss))
