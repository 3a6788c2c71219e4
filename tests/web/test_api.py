"""HTTP API v1: what it answers, in which shape, part by part, and how it says no."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from aggregator.convert import record_to_json
from aggregator.findings import Record
from aggregator.known import Known
from aggregator.model import Gap, Severity, Stage
from aggregator.signatures.thresholds import Thresholds
from aggregator.view import ClusterView
from aggregator.web.api import shapes
from aggregator.web.api.nodes import MOST_SERIES
from aggregator.web.api.routes import OPERATIONS, STREAMS
from cli.bundle_known import BundleKnown
from cli.report import Report
from tests.aggregator.test_whatif import cluster
from tests.web.site import AT, Running, bundle, finding, made_up, running

MANY = 25


def asking(known: Known, scene: Callable[[Running], Awaitable[None]]) -> None:
    """Run a scene at a server of what is known."""

    async def run() -> None:
        async with running(known, page=False) as at:
            await scene(at)

    asyncio.run(run())


def test_each_answer_has_the_shape_that_is_described() -> None:
    known = bundle()
    (standing, *_), (node, *_) = known.standing(), known.node_names()

    async def scene(at: Running) -> None:
        series = (await at.api(f"/nodes/{node}/series"))["series"]
        assert "link/2/mtu" in [each["name"] for each in series]
        for path, shape in (
            ("/cluster", shapes.Cluster),
            ("/findings", shapes.Findings),
            (f"/findings/{standing.finding.id}", shapes.Finding),
            (f"/findings/{standing.finding.id}/story", shapes.Story),
            ("/nodes", shapes.Nodes),
            (f"/nodes/{node}", shapes.NodeWhole),
            (f"/nodes/{node}/series", shapes.NodeSeries),
            (f"/nodes/{node}/points?series=link/2/mtu&series=none", shapes.NodePoints),
            ("/coverage", shapes.Coverage),
        ):
            answer = await at.api(path)
            # Nothing that is answered is left out of the description, either.
            assert msgspec.to_builtins(msgspec.convert(answer, shape)) == answer, path
        points = (await at.api(f"/nodes/{node}/points?series=link/2/mtu&series=none"))["points"]
        assert points["none"] == []
        assert points["link/2/mtu"][-1]["value"] > 1000

    asking(known, scene)


def test_the_description_names_all_addresses_and_each_is_answered() -> None:
    async def scene(at: Running) -> None:
        document = await at.api("/openapi.json")
        assert document["openapi"] == "3.1.0"
        assert set(document["paths"]) == {each.path for each in OPERATIONS}
        names = [path["get"]["operationId"] for path in document["paths"].values()]
        assert len(set(names)) == len(names)
        for path, told in document["paths"].items():
            parts = [each["name"] for each in told["get"]["parameters"] if each["in"] == "path"]
            assert [f"{{{part}}}" in path for part in parts] == [True] * len(parts)
            if f"/api/v1{path}" not in STREAMS:
                assert (await at.get(f"/api/v1{path.format(id='x', name='x')}")).status in (200, 400, 404)

    asking(bundle(), scene)


def test_filters_let_through_what_they_name() -> None:
    findings = [
        finding(0, severity=Severity.CRITICAL, stage=Stage.ACTIVE, nodes=("a", "b")),
        finding(1, code="storage.zone_mismatch", incident="storage_gravity"),
        finding(2, code="mtu.overlay_exceeds_underlay", nodes=("b",)),
    ]
    known = made_up(findings)
    over = replace(known.standing()[2], resolved=AT, because="cleared")
    whole = _with_resolved(known, [replace(over, finding=finding(3)), over])

    async def scene(at: Running) -> None:
        async def ids(query: str) -> list[int]:
            answer = await at.api(f"/findings?{query}")
            assert answer["total"] == len(answer["findings"])
            return [int(each["id"][-1]) for each in answer["findings"]]

        assert await ids("") == [0, 1, 2]
        assert await ids("severity=critical") == [0]
        assert await ids("severity=critical&severity=warning") == [0, 1, 2]
        assert await ids("stage=risk&incident=mtu_mismatch") == [2]
        assert await ids("code=storage.zone_mismatch&code=mtu.o") == [1, 2]
        assert await ids("node=b") == [0, 2]
        assert await ids("node=b&severity=warning") == [2]
        assert await ids("node=none") == []
        assert await ids("resolved=only") == [3, 2]
        assert await ids("resolved=include&node=n1") == [1]
        assert (await at.api("/findings/mtu-00003"))["resolved_because"] == "cleared"

    asking(whole, scene)


class _with_resolved:  # noqa: N801  # reads as a function
    """What is known, and what is over besides."""

    def __init__(self, known: BundleKnown, over: list[Record]) -> None:
        self._known, self._over = known, over

    def resolved(self, limit: int) -> list[Record]:
        return self._over[:limit]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._known, name)


def test_a_list_comes_in_parts_and_loses_nothing_when_it_changes() -> None:
    known = made_up([finding(number) for number in range(MANY)], [Gap("", f"s{n}", "missing", "x") for n in range(7)])

    async def scene(at: Running) -> None:
        async def parts(path: str, of: str, limit: int) -> list[Any]:
            found, cursor = [], ""
            while True:
                answer = await at.api(f"{path}?limit={limit}{cursor}")
                assert len(answer[of]) <= limit
                found += answer[of]
                if answer["next"] is None:
                    assert len(found) == answer["total"]
                    return found
                cursor = f"&cursor={answer['next']}"

        assert [each["id"] for each in await parts("/findings", "findings", 10)] == [f"mtu-{n:05}" for n in range(MANY)]
        assert [each["signal"] for each in await parts("/coverage", "coverage", 3)] == [f"s{n}" for n in range(7)]
        onward = (await at.api("/findings?limit=10"))["next"]
        del known.report.records[:5]  # resolved meanwhile: the next part begins where it would have
        assert (await at.api(f"/findings?limit=10&cursor={onward}"))["findings"][0]["id"] == "mtu-00010"
        del known.report.records[4]  # the very one that the cursor names
        assert (await at.api(f"/findings?limit=5&cursor={onward}"))["findings"] != []
        assert (await at.api("/findings?cursor=999999.gone"))["findings"] == []

    asking(known, scene)


def test_thousands_of_nodes_come_in_parts_by_name_while_others_are_answered() -> None:
    known = _nodes(5_000)

    async def scene(at: Running) -> None:
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += at.site.requests.taken  # turns that others had while it was worked on

        others = asyncio.create_task(other())
        first = await at.api("/nodes?limit=1000")
        others.cancel()
        assert turns > 2  # a quarter of a second at once gave none; how many, the machine decides
        assert (first["total"], first["next"]) == (5_000, "n00999")
        last = await at.api("/nodes?limit=1000&cursor=n04500")
        assert (last["nodes"][0]["node"], last["next"]) == ("n04501", None)
        assert (await at.api("/cluster"))["nodes"] == {"with_agent": 5_000, "connected": 5_000, "of_api_server": None}

    asking(known, scene)


def _nodes(count: int) -> BundleKnown:
    source = bundle()
    state = next(iter(source.view().hosts.values()))
    hosts = {}
    for number in range(count):
        name = f"n{number:05}"
        hosts[name] = _Named(state, name)
    view = ClusterView("c", hosts)  # type: ignore[arg-type]  # as much of a host as a summary needs
    return BundleKnown(Report("c", state.at, [], []), view, Thresholds(), {})


class _Named:
    """A host under another name."""

    def __init__(self, state: Any, name: str) -> None:
        self._state, self.name = state, name

    def __getattr__(self, name: str) -> Any:
        return getattr(self._state, name)


@pytest.mark.parametrize(
    ("path", "parameter", "detail"),
    [
        ("/findings?limit=0", "limit", 'parameter limit: "0" is no whole number of 1 to 500'),
        ("/findings?limit=1&limit=2", "limit", "parameter limit: stands 2 times, and may once at most"),
        ("/findings?severity=bad", "severity", 'parameter severity: "bad" is none of info, warning, critical'),
        ("/findings?cursor=x", "cursor", 'parameter cursor: "x" is no cursor of an answer'),
        ("/cluster?x=y", "x", 'parameter "x": is not known; there are none here'),
        ("/nodes?zon=a", "zon", 'parameter "zon": is not known; there are zone, limit, cursor'),
        (
            "/nodes/n/points?since=x",
            "since",
            'parameter since: "x" is neither an ISO 8601 time with its zone nor seconds since the epoch',
        ),
        ("/nodes/n/series?since=10&until=5", "since", "parameter since: is later than until"),
        ("/nodes/n/series?since=0&until=99999999", "since", "parameter since: is more than 31 days before until"),
        ("/nodes/n/points", "series", f"parameter series: 0 are named; 1 to {MOST_SERIES} may be"),
        ("/whatif", "lose_zone", "what would be lost? parameters lose_zone and lose_node say it"),
        (f"/findings?code={'x' * 2000}", "code", "parameter code: is of 2,000 characters, and 1,000 are allowed"),
        (f"/nodes?{'x' * 80}=1", "x" * 60, f'parameter "{"x" * 60}": is not known; there are zone, limit, cursor'),
    ],
)
def test_what_is_wrong_is_named(path: str, parameter: str, detail: str) -> None:
    async def scene(at: Running) -> None:
        answer = await at.get(f"/api/v1{path}")
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json == {"title": "Bad Request", "status": 400, "detail": detail, "parameter": parameter}

    asking(made_up([]), scene)


def test_what_is_not_there_and_what_may_not_be_done() -> None:
    async def scene(at: Running) -> None:
        for path, detail in (
            ("/findings/x", 'there is no finding "x"'),
            ("/findings/x/story", 'there is no finding "x"'),
            ("/nodes/x", 'there is no node "x"'),
            ("/nodes/x/series", 'there is no node "x"'),
            ("/nodes/x/points?series=a", 'there is no node "x"'),
            ("/x", "/api/v1/x: there is nothing here"),
        ):
            answer = await at.get(f"/api/v1{path}")
            assert (answer.status, answer.json["detail"]) == (404, detail)
        unknown = await at.get("/api/v1/whatif?lose_zone=a")
        assert (unknown.status, unknown.json["detail"]) == (
            409,
            "nodes and pods of the API server are not known: nothing can be said",
        )
        for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
            answer = await at.get("/api/v1/findings", method=method)
            assert (answer.status, answer.headers["Allow"]) == (405, "GET,HEAD")
        whole, head = await at.get("/api/v1/findings"), await at.get("/api/v1/findings", method="HEAD")
        assert (head.status, head.body) == (200, b"")
        assert [head.headers[name] for name in ("Content-Length", "ETag")] == [
            whole.headers[name] for name in ("Content-Length", "ETag")
        ]

    asking(made_up([]), scene)


def test_a_defect_is_logged_and_not_told(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(_with_resolved):
        def standing(self) -> list[Record]:
            raise RuntimeError("the inside")

    async def scene(at: Running) -> None:
        answer = await at.get("/api/v1/findings")
        assert (answer.status, answer.json["detail"]) == (
            500,
            "the answer could not be made; the aggregator's log says more",
        )

    asking(Broken(made_up([]), []), scene)
    (logged,) = [each for each in caplog.records if "request_failed" in each.getMessage()]
    assert logged.exc_info is not None


def test_an_answer_is_tagged_and_compressed_and_not_sent_twice() -> None:
    known = made_up([finding(number) for number in range(400)])

    async def scene(at: Running) -> None:
        path = "/api/v1/findings?limit=400"
        plain = await at.get(path, headers={"Accept-Encoding": "identity"})
        tag = plain.headers["ETag"]
        assert len(plain.body) > 100_000
        assert plain.headers["Vary"] == "Accept-Encoding"
        for accepts, packs in (("gzip", True), ("br;q=1, GZIP ; q=0.5", True), ("*", True), ("gzip;q=0", False)):
            packed = await at.get(path, headers={"Accept-Encoding": accepts})
            assert packed.headers["ETag"] == tag
            assert ("Content-Encoding" in packed.headers) == packs
            assert (gzip.decompress(packed.body) if packs else packed.body) == plain.body
        for has in (tag, f'"other", {tag}', tag.removeprefix("W/"), "*"):
            same = await at.get(path, headers={"If-None-Match": has})
            assert (same.status, same.body, same.headers["ETag"]) == (304, b"", tag)
        known.report.records.pop()
        assert (await at.get(path, headers={"If-None-Match": tag})).status == 200
        assert (
            "Content-Encoding" not in (await at.get("/api/v1/findings/x", headers={"Accept-Encoding": "gzip"})).headers
        )

    asking(known, scene)


def test_what_if_answers_and_says_what_limits_it() -> None:
    lab = cluster("a", "a", "b")

    async def scene(at: Running) -> None:
        answer = await at.api("/whatif?lose_zone=a")
        assert msgspec.to_builtins(msgspec.convert(answer, shapes.WhatIf)) == answer
        assert answer["lost"] == {"zones": ["a"], "nodes": ["n1", "n2"]}
        assert "half of it" in answer["unknown"]
        missing = await at.get("/api/v1/whatif?lose_node=none")
        assert (missing.status, missing.json["detail"].partition(";")[0]) == (404, "there is no node none")

    asking(made_up([], [Gap("", "kube/pods", "damaged", "half of it")], lab.view()), scene)


def test_json_is_the_same_as_the_command_s() -> None:
    known = bundle()

    async def scene(at: Running) -> None:
        told = (await at.api("/findings"))["findings"]
        assert told == json.loads(json.dumps([record_to_json(record) for record in known.standing()]))

    asking(known, scene)
