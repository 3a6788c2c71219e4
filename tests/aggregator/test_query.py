"""What operators are told of nodes: both halves joined, also of a node without an agent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, NoReturn

import grpc
import pytest
from nodetell.v1 import agent_pb2, operator_pb2

from aggregator.cluster.state import ClusterState
from aggregator.engine import Judgement
from aggregator.findings import FindingBook
from aggregator.fleet import Fleet
from aggregator.model import Gap
from aggregator.node_volumes import RESOURCES
from aggregator.query import OperatorService
from aggregator.store import Store
from aggregator.view import ClusterView
from cli.facts import HostFacts
from cli.listing import usual
from cli.node_text import node_text
from cli.nodes_table import columns, nodes_text
from cli.terminal import Look
from tests.lab.cluster import Lab

Script = Callable[[OperatorService], Coroutine[Any, Any, None]]


class Api:
    """An API server that has been read."""

    def __init__(self, view: ClusterView) -> None:
        self.objects: ClusterState = view.objects
        self.metrics = view.metrics

    def current_until(self, now: float) -> float:
        return now

    def clock_offset_s(self) -> float | None:
        return None

    def outage(self, now: float) -> None:  # noqa: ARG002  # the shape that a fleet asks for
        return None

    def unread(self) -> Mapping[str, str]:
        return {}

    def gaps(self) -> list[Gap]:
        return []


class RefusedError(Exception):
    pass


class Context:
    """A call's."""

    async def abort(self, code: grpc.StatusCode, details: str) -> NoReturn:
        raise RefusedError(f"{code.name}: {details}")


def lab() -> Lab:
    """n1 has an agent, n2 has none; a volume is mounted on n1, and one is attached to n2."""
    made = Lab()
    made.node("n1", zone="eu-1a")
    made.node("n2", zone="eu-1b", cordoned=True)
    made.disk("db/data-pg-0", "pv-1", handle="vol-0abc0000000000001", attached_to="n1")
    made.pod("db/pg-0", node="n1", owner=("StatefulSet", "pg"), claims={"data": "data-pg-0"})
    made.disk("db/data-pg-1", "pv-2", attached_to="n2")
    made.host("n1").mount_csi("db/pg-0", "pv-1", "nvme1n1")
    return made


def asked(view: ClusterView, script: Script, *, api: bool = True) -> None:
    """Ask a fleet in which n1 has reported."""

    async def run() -> None:
        store = Store(None)
        standing, over = store.open()
        fleet = Fleet(
            store,
            FindingBook(standing, over),
            api=Api(view) if api else None,
            judge=lambda _view, _thresholds: Judgement(),
            clock=lambda: view.now,
        )
        judging = asyncio.create_task(fleet.run())
        try:
            fleet.connect(agent_pb2.Hello(node="n1", instance=b"i" * 16), "peer")
            items = list(view.hosts["n1"].items.values())
            update = agent_pb2.Update(at_unix_ms=round(view.now * 1000), full=True, items=items)
            await asyncio.wait_for(fleet.take("n1", b"i" * 16, 1, update), 5)
            await script(OperatorService(fleet, lambda: view.now))
        finally:
            judging.cancel()
            store.close()

    asyncio.run(run())


async def page(service: OperatorService, node: str) -> str:
    answer = await service.GetNode(operator_pb2.GetNodeRequest(node=node), Context())
    return node_text(HostFacts(answer), Look(120))


def test_a_node_with_both_halves() -> None:
    async def script(service: OperatorService) -> None:
        answer = await service.GetNode(operator_pb2.GetNodeRequest(node="n1"), Context())
        (row,) = answer.volumes
        assert (row.claim, row.pod, row.device, row.mounted) == ("db/data-pg-0", "db/pg-0", "nvme1n1", True)
        assert row.attachment_state == operator_pb2.ATTACHMENT_STATE_ATTACHED
        assert not answer.api_unknown
        text = await page(service, "n1")
        assert "db/data-pg-0  db/pg-0  attached" in text

    asked(lab().view(), script)


def test_a_node_without_an_agent_is_what_the_api_server_says() -> None:
    async def script(service: OperatorService) -> None:
        answer = await service.GetNode(operator_pb2.GetNodeRequest(node="n2"), Context())
        (row,) = answer.volumes
        assert (row.claim, row.attachment_state) == ("db/data-pg-1", operator_pb2.ATTACHMENT_STATE_ATTACHED)
        assert not row.HasField("mounted")
        text = await page(service, "n2")
        assert "no agent has reported" in text
        assert "zone eu-1b" in text
        with pytest.raises(RefusedError, match="NOT_FOUND: no agent has reported for node 'n3'"):
            await service.GetNode(operator_pb2.GetNodeRequest(node="n3"), Context())

    asked(lab().view(), script)


def test_without_an_api_server_it_says_so() -> None:
    async def script(service: OperatorService) -> None:
        answer = await service.GetNode(operator_pb2.GetNodeRequest(node="n1"), Context())
        assert list(answer.api_unknown) == list(RESOURCES)
        text = await page(service, "n1")
        assert "no API server is read" in text
        assert "pod " + answer.volumes[0].pod_uid in text

    asked(lab().view(), script, api=False)


def test_the_list_of_nodes_has_what_the_api_server_says() -> None:
    async def script(service: OperatorService) -> None:
        answer = await service.ListNodes(operator_pb2.ListNodesRequest(), Context())
        assert answer.at_unix_ms
        (node,) = answer.nodes
        assert (node.node, node.ready, node.zone, node.cordoned) == ("n1", "True", "eu-1a", False)
        header, row = nodes_text(answer.nodes, usual(columns(0.0)), Look(120)).splitlines()
        assert header.split()[:4] == ["NODE", "AGENT", "READY", "ZONE"]
        assert row.split()[:4] == ["n1", "connected", "yes", "eu-1a"]

    asked(lab().view(), script)
