"""Asking an aggregator. Each failure is one line that says which aggregator, why, and what to look at."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import cast

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its own log lines would stand between ours

import grpc
from nodetell.v1 import operator_pb2, operator_pb2_grpc

from cli.exits import NOT_FOUND, UNAVAILABLE, CliError
from cli.terminal import clean

_MAX_ANSWER_BYTES = 64 << 20
CHANNEL_OPTIONS = [
    ("grpc.max_receive_message_length", _MAX_ANSWER_BYTES),
    ("grpc.enable_http_proxy", 0),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
]


@contextmanager
def operator(address: str, timeout_s: float) -> Iterator[Operator]:
    """The operators' service of the aggregator at "host:port". Raises CliError for whatever goes wrong with it."""
    with grpc.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
        try:
            yield Operator(channel, timeout_s)
        except grpc.RpcError as error:
            raise as_cli_error(error, address) from error


class Operator:
    """Calls of the operators' service, with types and a time limit in seconds for each but the watch."""

    def __init__(self, channel: grpc.Channel, timeout_s: float) -> None:
        self._stub = operator_pb2_grpc.OperatorServiceStub(channel)  # type: ignore[no-untyped-call]  # generated
        self._timeout_s = timeout_s

    def nodes(self) -> operator_pb2.ListNodesResponse:
        """All nodes."""
        request = operator_pb2.ListNodesRequest()
        return cast(operator_pb2.ListNodesResponse, self._stub.ListNodes(request, timeout=self._timeout_s))

    def node(self, name: str) -> operator_pb2.GetNodeResponse:
        """One node; an RpcError NOT_FOUND where no agent ever reported for it."""
        request = operator_pb2.GetNodeRequest(node=name)
        return cast(operator_pb2.GetNodeResponse, self._stub.GetNode(request, timeout=self._timeout_s))

    def findings(self, *, resolved: bool) -> operator_pb2.ListFindingsResponse:
        """Standing findings, on request those that are over too."""
        request = operator_pb2.ListFindingsRequest(include_resolved=resolved)
        return cast(operator_pb2.ListFindingsResponse, self._stub.ListFindings(request, timeout=self._timeout_s))

    def what_if(self, zones: Sequence[str], nodes: Sequence[str]) -> operator_pb2.WhatIfResponse:
        """What would follow if these were lost; an RpcError NOT_FOUND for one that there is not."""
        request = operator_pb2.WhatIfRequest(lost_zones=zones, lost_nodes=nodes)
        return cast(operator_pb2.WhatIfResponse, self._stub.WhatIf(request, timeout=self._timeout_s))

    def watch(self) -> Iterator[operator_pb2.FindingEvent]:
        """Standing findings, then what becomes of them, for ever."""
        return cast(Iterator[operator_pb2.FindingEvent], self._stub.WatchFindings(operator_pb2.WatchFindingsRequest()))


def as_cli_error(error: grpc.RpcError, address: str) -> CliError:
    """What a failed call means to the operator."""
    code, details = error.code(), " ".join((error.details() or "").split())
    if code == grpc.StatusCode.NOT_FOUND:
        return CliError(NOT_FOUND, clean(details) or "no such node")
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
        reason = details.rsplit(": ", 1)[-1] if "last error" in details else details  # the rest says it twice
        reason = "no answer in time" if code == grpc.StatusCode.DEADLINE_EXCEEDED else clean(reason)
        hint = "is it running, and is this its address? (--aggregator, NODETELL_AGGREGATOR)"
        return CliError(UNAVAILABLE, f"aggregator {address}: {reason}; {hint}")
    return CliError(UNAVAILABLE, f"aggregator {address}: {code.name}: {clean(details)}")
