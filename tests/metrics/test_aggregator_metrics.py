"""What the aggregator's metrics are made of: findings, nodes, coverage, and what becomes of a listener that fails."""

from __future__ import annotations

import asyncio
import socket
import urllib.request
from collections.abc import Iterable
from typing import Any

import pytest
from nodetell.metrics import Meters, Metric, Told, one
from nodetell.v1 import agent_pb2
from nodetell.v1 import facts_pb2 as pb

from aggregator.admission import Admission
from aggregator.cluster.state import ClusterState
from aggregator.findings import FindingBook, Record
from aggregator.fleet import Fleet
from aggregator.history.keeper import History
from aggregator.known import LiveKnown
from aggregator.metrics import inside, known
from aggregator.metrics.known import KnownMetrics
from aggregator.model import Finding, Severity, Stage
from aggregator.outputs.prometheus import PrometheusSurface
from aggregator.settings import AggregatorSettings, PrometheusSettings
from aggregator.store import Store
from aggregator.surfaces import Made, SurfaceError, surfaces
from aggregator.view import Outage
from tests.metrics.exposed import parsed

NOW = 1_000_000.0


def rows(told: Iterable[Told], metric: Metric) -> dict[tuple[str, ...], Any]:
    return {labels: value for each in told if each.metric is metric for labels, value in each.rows}


def record(number: int, *, stage: Stage = Stage.ACTIVE, unconfirmed: str = "", since: float = 0.0) -> Record:
    finding = Finding(
        id=f"mtu-{number}",
        code="mtu.path_black_hole",
        incident="mtu_mismatch",
        stage=stage,
        severity=Severity.CRITICAL,
        summary="large packets vanish",
        nodes=("n1",),
        evidence=(),
        clears_when="they do not",
        since=since,
    )
    return Record(finding, "mtu_mismatch", NOW - number, NOW, unconfirmed)


def fleet_of(*records: Record) -> Fleet:
    return Fleet(Store(None), FindingBook(records), clock=lambda: NOW, monotonic=lambda: 500.0)


def known_of(fleet: Fleet) -> LiveKnown:
    return LiveKnown(fleet, History(None), "default", lambda: NOW)


def update(*coverage: pb.Coverage) -> agent_pb2.Update:
    items = [pb.Item(key=f"coverage/{each.signal}/{place}", coverage=each) for place, each in enumerate(coverage)]
    return agent_pb2.Update(at_unix_ms=round(NOW * 1000), full=True, items=items)


async def told_by(fleet: Fleet, node: str, *coverage: pb.Coverage) -> None:
    fleet.connect(agent_pb2.Hello(protocol=1, node=node, instance=node.encode()), "peer")
    taken = asyncio.ensure_future(fleet.take(node, node.encode(), 1, update(*coverage)))
    await asyncio.sleep(0)
    fleet.evaluate()
    await taken


def test_findings_are_counted_by_what_they_are() -> None:
    standing = record(1), record(2, unconfirmed="n1: silent"), record(3, stage=Stage.RISK, since=5.0)
    told = list(KnownMetrics(known_of(fleet_of(*standing))).tell())
    active = "mtu.path_black_hole", "mtu_mismatch", "active", "critical"
    risk = "mtu.path_black_hole", "mtu_mismatch", "risk", "critical"
    assert rows(told, known.FINDING) == {active: 2, risk: 1}
    assert rows(told, known.UNCONFIRMED) == {active: 1, risk: 0}
    assert rows(told, known.SINCE) == {active: NOW - 2, risk: 5.0}
    states = rows(told, known.INCIDENT)
    assert states.pop(("mtu_mismatch",)) == 2
    assert set(states.values()) == {0}
    assert {("storage_gravity",), ("crash_loop",), ("scheduler_stuck",), ("control_plane_saturation",)} <= states.keys()


def test_nodes_are_counted_by_what_of_them_is_not_read() -> None:
    async def scene() -> None:
        fleet = fleet_of()
        metrics = KnownMetrics(known_of(fleet))
        missing = pb.Coverage(signal="fsync", status=pb.COVERAGE_STATUS_MISSING)
        odd = pb.Coverage(signal="x" * 500, status=pb.COVERAGE_STATUS_DENIED)
        await told_by(fleet, "n1", missing, missing, odd)
        await told_by(fleet, "n2", missing)
        told = rows(metrics.tell(), known.MISSING)
        assert told["fsync", "missing"] == 2
        assert told["other", "denied"] == 1
        assert told["links", "missing"] == 0
        assert rows(metrics.tell(), known.MISSING) == told
        inner = list(inside.fleet_metrics(fleet))
        assert rows(inner, inside.NODES) == rows(inner, inside.CONNECTED) == rows(inner, inside.UPDATES) == {(): 2}
        assert rows(inner, inside.SILENT) == {(): 0}
        assert sum(rows(inner, inside.EVALUATION)[()].counts) == 2

    asyncio.run(scene())


def test_changes_are_counted_by_code() -> None:
    async def scene() -> None:
        fleet = fleet_of(record(1))
        metrics = KnownMetrics(known_of(fleet))
        fleet.evaluate()  # nobody makes the finding any more, and its node is expected: it stays, unconfirmed
        assert rows(metrics.tell(), known.STEPS) == {("mtu.path_black_hole", "changed"): 1}
        assert rows(inside.fleet_metrics(fleet), inside.SILENT) == {(): 1}

    asyncio.run(scene())


class Api:
    """An API server that does not answer, as far as metrics ask."""

    objects = ClusterState()

    def outage(self, now: float) -> Outage | None:
        return Outage(now - 5, 5.0, "connection refused")

    def unread(self) -> dict[str, str]:
        return {"pods": "connection refused"}


def test_an_api_server_that_does_not_answer() -> None:
    told = list(inside.api_metrics(Api(), lambda: NOW))
    assert rows(told, inside.API_UP) == {(): 0}
    assert rows(told, inside.API_UNREAD) == {("pods",): 1}
    assert rows(told, inside.API_OBJECTS)["pods",] == 0
    assert rows(told, inside.API_CHANGES) == {(): 0}


def test_a_disk_that_refuses_and_agents_that_wait() -> None:
    async def scene() -> None:
        history = History(None)
        told = list(inside.store_metrics(history, lambda: "no space"))
        assert rows(told, inside.STORED) == {("findings",): 0}
        admission = Admission()
        await admission.enter("n1")
        told = list(inside.admission_metrics(admission))
        assert rows(told, inside.ADMISSION) == {("taken",): 1, ("waiting",): 0}
        assert rows(told, inside.REFUSED) == {(): 0}

    asyncio.run(scene())


def surface(meters: Meters, listen: str = "127.0.0.1:0") -> PrometheusSurface:
    settings = AggregatorSettings(insecure=True, prometheus=PrometheusSettings(listen))
    made = Made(settings, known_of(fleet_of(record(1))), None, None, None, lambda: NOW, meters)
    (only,) = surfaces(made)
    assert isinstance(only, PrometheusSurface)
    return only


def test_a_surface_adds_its_own_and_all_are_asked_on_the_loop() -> None:
    asked = Metric("some_total", inside.UPDATES.kind, "Asked.")

    async def scene() -> None:
        loop, meters = asyncio.get_running_loop(), Meters()

        def meter() -> Iterable[Told]:
            assert asyncio.get_running_loop() is loop
            return [one(asked, 7)]

        meters.add("mine", meter)
        outlet = surface(meters)
        address = await outlet.start()
        try:
            text = await asyncio.to_thread(lambda: urllib.request.urlopen(address, timeout=30).read().decode())  # noqa: S310  # its own
        finally:
            await outlet.aclose()
        assert parsed(text)["some_total"].rows == {frozenset(): 7}
        assert "nodetell_finding" in parsed(text)

    asyncio.run(scene())


def test_an_address_that_is_taken_is_one_line() -> None:
    async def scene() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            outlet = surface(Meters(), f"127.0.0.1:{taken.getsockname()[1]}")
            with pytest.raises(
                SurfaceError, match=r"^prometheus\.listen: 127\.0\.0\.1:\d+: can't listen there: address"
            ):
                await outlet.start()
            await outlet.aclose()

    asyncio.run(scene())


@pytest.mark.parametrize("listen", ["0.0.0.0:9102", "[::]:9102", "10.0.0.1:9102", "metrics:9102"])
def test_only_loopback_unless_told(listen: str) -> None:
    with pytest.raises(ValueError, match="expose"):
        PrometheusSettings(listen)
    assert PrometheusSettings(listen, expose=True).listen == listen


@pytest.mark.parametrize("listen", ["9102", "localhost:99999", "a b:1"])
def test_an_address_that_is_none_is_refused(listen: str) -> None:
    with pytest.raises(ValueError, match="host:port"):
        PrometheusSettings(listen, expose=True)
