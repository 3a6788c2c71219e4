"""Which address answers what: the one table that the routes and their description are made from."""

from __future__ import annotations

from functools import partial

from aiohttp import web

from aggregator.web.api import cluster, events, findings, nodes, shapes
from aggregator.web.api.lists import Lists
from aggregator.web.api.openapi import described
from aggregator.web.api.operation import BASE, Operation, reply
from aggregator.web.keys import KNOWN

OPERATIONS = (
    Operation("/cluster", "cluster", "The cluster in one look.", cluster.overview, shapes.Cluster),
    Operation(
        "/findings",
        "listFindings",
        "Findings, in report order: causes before what they cause.",
        findings.listed,
        shapes.Findings,
        parameters=(*findings.FILTERS, findings.LIMIT, findings.CURSOR),
    ),
    Operation(
        "/findings/{id}",
        "getFinding",
        "One finding.",
        findings.one,
        shapes.Finding,
        parts=(findings.ID,),
        failures=(404,),
    ),
    Operation(
        "/findings/{id}/story",
        "getStory",
        "The incident that a finding belongs to, as one story.",
        findings.story,
        shapes.Story,
        parts=(findings.ID,),
        failures=(404,),
    ),
    Operation(
        "/nodes",
        "listNodes",
        "Nodes of which an agent has told, by name.",
        nodes.listed,
        shapes.Nodes,
        parameters=(nodes.ZONE, nodes.LIMIT, nodes.CURSOR),
    ),
    Operation(
        "/nodes/{name}",
        "getNode",
        "Everything that is known of a node.",
        nodes.one,
        shapes.NodeWhole,
        parts=(nodes.NAME,),
        failures=(404,),
    ),
    Operation(
        "/nodes/{name}/series",
        "listSeries",
        "Counters and gauges of a node that have points.",
        nodes.series,
        shapes.NodeSeries,
        parts=(nodes.NAME,),
        parameters=(nodes.SINCE, nodes.UNTIL),
        failures=(404,),
    ),
    Operation(
        "/nodes/{name}/points",
        "getPoints",
        "What some of them did, minute by minute.",
        nodes.points,
        shapes.NodePoints,
        "A counter that did not rise in a minute has no point there; a gauge has one where it was told.",
        parts=(nodes.NAME,),
        parameters=(nodes.SERIES, nodes.SINCE, nodes.UNTIL),
        failures=(404,),
    ),
    Operation(
        "/coverage",
        "listCoverage",
        "What limits the diagnosis: what could not be compared or read, and why.",
        cluster.coverage,
        shapes.Coverage,
        parameters=(cluster.NODE, cluster.SIGNAL, cluster.STATUS, cluster.LIMIT, cluster.CURSOR),
    ),
    Operation(
        "/whatif",
        "whatIf",
        "Which pods could not come back if nodes or zones were lost.",
        cluster.whatif,
        shapes.WhatIf,
        "An estimate: pods are placed one after the other, the most urgent and the most constrained first, without "
        "preemption.",
        parameters=(cluster.LOSE_ZONE, cluster.LOSE_NODE),
        failures=(404, 409),
    ),
    Operation(
        "/events",
        "followFindings",
        "Findings as they change, as server-sent events.",
        events.events,
        None,
        "Events: `standing` for each finding that stands, `synced` after them, then `appeared`, `changed`, `resolved`; "
        'their data is {"at": TIME, "finding": FINDING}. `missed`: the client was too slow, and the stream ends. A '
        "client that comes again with Last-Event-ID goes on where it was, where that is at hand; else it is told what "
        "stands. A comment every 15 s says that the connection stands.",
        parameters=(events.STANDING,),
        media="text/event-stream",
    ),
)
STREAMS = frozenset({f"{BASE}/events"})
"""Addresses whose answers have no end."""


def add_api(app: web.Application) -> None:
    """Have the application answer the API's addresses."""
    app[nodes.LISTS] = Lists(app[KNOWN])
    app[cluster.QUESTIONS] = cluster.places()
    events.follow(app, app[KNOWN])
    document = described(OPERATIONS)
    own = Operation("/openapi.json", "openapi", "This description.", partial(_described, document), None)
    for operation in (*OPERATIONS, own):
        app.router.add_get(BASE + operation.path, operation.handle)


async def _described(document: object, request: web.Request) -> web.StreamResponse:  # noqa: ARG001  # a handler's
    return reply(document)
