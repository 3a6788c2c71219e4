"""Following an aggregator from within an event loop: the host's first report, then findings as they come."""

from __future__ import annotations

import argparse
import asyncio

import grpc
from nodetell.v1 import operator_pb2, operator_pb2_grpc

from cli.access import Access
from cli.client import as_cli_error
from cli.commands import show_event
from cli.facts import HostFacts
from cli.terminal import Look

_CALL_S = 10.0


async def first_host(access: Access, poll_s: float) -> HostFacts:
    """The first host that has reported. Raises CliError."""
    async with access.aio_channel() as channel:
        stub = operator_pb2_grpc.OperatorServiceStub(channel)  # type: ignore[no-untyped-call]  # generated
        try:
            while True:
                answer = await stub.ListNodes(operator_pb2.ListNodesRequest(), timeout=_CALL_S)
                reported = [node.node for node in answer.nodes if node.facts_at_unix_ms]
                if reported:
                    request = operator_pb2.GetNodeRequest(node=reported[0])
                    return HostFacts(await stub.GetNode(request, timeout=_CALL_S))
                await asyncio.sleep(poll_s)
        except grpc.RpcError as error:
            raise as_cli_error(error, access) from error


async def follow(access: Access, shape: Look, arguments: argparse.Namespace) -> None:
    """Print standing findings, then what becomes of them, for ever. Raises CliError."""
    async with access.aio_channel() as channel:
        stub = operator_pb2_grpc.OperatorServiceStub(channel)  # type: ignore[no-untyped-call]  # generated
        try:
            async for event in stub.WatchFindings(operator_pb2.WatchFindingsRequest()):
                show_event(event, shape, arguments)
        except grpc.RpcError as error:
            raise as_cli_error(error, access) from error
