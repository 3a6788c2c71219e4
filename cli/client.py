"""Asking an aggregator. Each failure is one line that says which aggregator, why, and what to look at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, cast

from cli.access import Access  # isort: skip  # sets what gRPC logs, before it is imported

import grpc
from nodetell.handshake import Shown, why_unavailable
from nodetell.v1 import operator_pb2, operator_pb2_grpc

from cli.exits import NOT_FOUND, NOT_PERMITTED, UNAVAILABLE, CliError
from cli.terminal import clean

if TYPE_CHECKING:
    from cli.remote.operator import Through


@contextmanager
def operator(access: Access | Through, timeout_s: float) -> Iterator[Operator]:
    """The operators' service of an aggregator. Raises CliError for whatever goes wrong with it."""
    if not isinstance(access, Access):
        from cli.remote.operator import operator as remote  # noqa: PLC0415  # what asks the API server takes a moment

        with remote(access, timeout_s) as found:
            yield found
        return
    with access.channel() as channel:
        try:
            yield GrpcOperator(channel, timeout_s)
        except grpc.RpcError as error:
            raise as_cli_error(error, access) from error


class Operator(Protocol):
    """Calls of the operators' service. Over gRPC they end with an RpcError, through the API server with a CliError."""

    def nodes(self) -> operator_pb2.ListNodesResponse:
        """All nodes."""

    def node(self, name: str) -> operator_pb2.GetNodeResponse:
        """One node; not found where no agent ever reported for it."""

    def findings(self, *, resolved: bool) -> operator_pb2.ListFindingsResponse:
        """Standing findings, on request those that are over too."""

    def what_if(self, zones: Sequence[str], nodes: Sequence[str]) -> operator_pb2.WhatIfResponse:
        """What would follow if these were lost; not found for one that there is not."""

    def watch(self) -> Iterator[operator_pb2.FindingEvent]:
        """Standing findings, then what becomes of them, for ever."""


class GrpcOperator:
    """By gRPC, with a time limit in seconds for each but the watch."""

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


_HINTS = {
    "it does not speak TLS": "is it one that `nodetell up` has started? (--insecure)",
    "its certificate is of no authority in our file of them": "is it the one you mean, and --ca its authority?",
    "its certificate is not for this name": "--server-name says which name it has to have",
}
_WHEN_CLOSED = {
    Shown.NOTHING: "--ca FILE is for one with TLS",
    Shown.NO_CERTIFICATE: "--certificate FILE and --key FILE show one",
    Shown.CERTIFICATE: "is it of an authority that the aggregator takes (tls.client_ca)?",
}
_WHO = "show a token (--token-file) or a client certificate (--certificate, --key)"


def as_cli_error(error: grpc.RpcError, access: Access) -> CliError:
    """What a failed call means to the operator."""
    code, details = error.code(), " ".join((error.details() or "").split())
    where = f"aggregator {access.address}"
    if code == grpc.StatusCode.NOT_FOUND:
        return CliError(NOT_FOUND, clean(details) or "no such node")
    if code == grpc.StatusCode.UNAUTHENTICATED:
        return CliError(NOT_PERMITTED, f"{where}: it does not know who asks: {clean(details)}; {_WHO}")
    if code == grpc.StatusCode.PERMISSION_DENIED:
        return CliError(NOT_PERMITTED, f"{where}: it knows who asks, and that is not allowed: {clean(details)}")
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
        late = code == grpc.StatusCode.DEADLINE_EXCEEDED
        reason = "no answer in time" if late else why_unavailable(details, access.shown)
        hint = _HINTS.get(reason, "is it running, and is this its address? (--aggregator, NODETELL_AGGREGATOR)")
        hint = _WHEN_CLOSED[access.shown] if reason.startswith("it closed the connection") else hint
        return CliError(UNAVAILABLE, f"{where}: {clean(reason)}; {hint}")
    return CliError(UNAVAILABLE, f"{where}: {code.name}: {clean(details)}")
