"""Following an aggregator for the live view: findings as they come, nodes from time to time, again after each loss."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from cli.access import Access, access  # isort: skip  # sets what gRPC logs, before it is imported

import grpc
from nodetell.v1 import operator_pb2, operator_pb2_grpc

from cli.client import as_cli_error
from cli.exits import UNAVAILABLE, CliError
from cli.facts import HostFacts
from cli.top.state import Seen

COVERAGE_S = 30.0
"""What limits the diagnosis is asked for this often: of thousands of nodes it is a long answer."""
REST = 10.0
"""Nodes are asked for again after so many times as long as an answer took: slow lines and large clusters are spared."""
RETRY_S, MOST_RETRY_S = 1.0, 15.0
"""A lost connection is tried again after so long, and then twice as long each time, up to the latter."""


class Follower:
    """Keeps what is seen up to date, until cancelled."""

    def __init__(self, arguments: argparse.Namespace, seen: Seen, changed: Callable[[], None]) -> None:
        self._arguments, self._seen, self._changed = arguments, seen, changed

    async def run(self) -> None:
        """Follow; a connection that is lost is made anew, with what is in the files of tokens and certificates then."""
        wait = RETRY_S / 2
        while True:
            begun = time.monotonic()
            try:
                way = access(self._arguments)
                async with way.aio_channel() as channel:
                    await self._with(way, _stub(channel))
            except* CliError as group:
                short = time.monotonic() - begun < MOST_RETRY_S
                wait = min(2 * wait, MOST_RETRY_S) if short else RETRY_S
                self._seen.lose(time.time(), _one_line(group.exceptions[0]))
                self._changed()
            await asyncio.sleep(wait)

    async def node(self, name: str) -> HostFacts:
        """Everything known of one node. Raises CliError."""
        way = access(self._arguments)
        async with way.aio_channel() as channel:
            request = operator_pb2.GetNodeRequest(node=name)
            return HostFacts(await _told(way, _stub(channel).GetNode(request, timeout=self._arguments.timeout)))

    async def _with(self, way: Access, stub: operator_pb2_grpc.OperatorServiceStub) -> None:
        async with asyncio.TaskGroup() as tasks:
            for each in (self._watch(way, stub), self._poll(way, stub), self._cover(way, stub)):
                tasks.create_task(each)

    async def _watch(self, way: Access, stub: operator_pb2_grpc.OperatorServiceStub) -> None:
        self._seen.begin()
        call = stub.WatchFindings(operator_pb2.WatchFindingsRequest())
        while (event := await _told(way, call.read())) is not grpc.aio.EOF:
            self._seen.take(event)
            self._changed()
        raise CliError(UNAVAILABLE, f"aggregator {way.address}: it ended the watch")

    async def _poll(self, way: Access, stub: operator_pb2_grpc.OperatorServiceStub) -> None:
        while True:
            begun = time.monotonic()
            answer = await _told(way, stub.ListNodes(operator_pb2.ListNodesRequest(), timeout=self._arguments.timeout))
            self._seen.take_nodes(answer, time.time())
            self._changed()
            await asyncio.sleep(max(self._arguments.interval, REST * (time.monotonic() - begun)))

    async def _cover(self, way: Access, stub: operator_pb2_grpc.OperatorServiceStub) -> None:
        while True:
            begun = time.monotonic()
            request = operator_pb2.ListFindingsRequest(include_resolved=True)
            answer = await _told(way, stub.ListFindings(request, timeout=self._arguments.timeout))
            self._seen.take_findings(answer, standing=False)
            self._changed()
            await asyncio.sleep(max(COVERAGE_S, REST * (time.monotonic() - begun)))


def _stub(channel: grpc.aio.Channel) -> operator_pb2_grpc.OperatorServiceStub:
    return operator_pb2_grpc.OperatorServiceStub(channel)  # type: ignore[no-untyped-call]  # generated


async def _told(way: Access, call: Awaitable[Any]) -> Any:
    """An answer. Raises CliError."""
    try:
        return await call
    except grpc.RpcError as error:
        raise as_cli_error(error, way) from error


def _one_line(error: BaseException) -> str:
    """Why, without what to look at: there is little room."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error).splitlines()[0].partition("; ")[0]
