"""The same questions as cli.client.Operator asks by gRPC, put to the HTTP API through the API server."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from nodetell.v1 import operator_pb2

from aggregator.cluster.credentials import Source
from cli.exits import UNAVAILABLE, CliError
from cli.remote import messages
from cli.remote.proxy import Api, Place, api

T = TypeVar("T")
KINDS = {
    "standing": operator_pb2.FindingEvent.KIND_STANDING,
    "appeared": operator_pb2.FindingEvent.KIND_APPEARED,
    "changed": operator_pb2.FindingEvent.KIND_CHANGED,
    "resolved": operator_pb2.FindingEvent.KIND_RESOLVED,
    "synced": operator_pb2.FindingEvent.KIND_SYNCED,
}
"""By the name of the event."""


@dataclass(frozen=True, slots=True)
class Through:
    """A cluster, as whom to go there, and where its aggregator is."""

    source: Source
    env: Mapping[str, str]
    place: Place


class RemoteOperator:
    """Calls of the operators' service. Each raises CliError."""

    def __init__(self, http: Api) -> None:
        self._http = http

    def nodes(self) -> operator_pb2.ListNodesResponse:
        """All nodes."""
        parts = self._http.pages("nodes", "nodes", [("limit", "1000")])
        cluster = self._http.get("cluster")
        return _understood(lambda: messages.nodes(parts, cluster))

    def node(self, name: str) -> operator_pb2.GetNodeResponse:
        """One node."""
        document = self._http.get(f"nodes/{name}")
        return _understood(lambda: messages.node(document))

    def findings(self, *, resolved: bool) -> operator_pb2.ListFindingsResponse:
        """Standing findings, on request those that are over too."""
        which = [("resolved", "include" if resolved else "exclude"), ("limit", "500")]
        found, limits = self._http.pages("findings", "findings", which), self.coverage()
        return _understood(lambda: messages.findings(found, limits))

    def coverage(self) -> list[messages.Json]:
        """What limits the diagnosis."""
        return list(self._http.pages("coverage", "coverage", [("limit", "2000")]))

    def what_if(self, zones: Sequence[str], nodes: Sequence[str]) -> operator_pb2.WhatIfResponse:
        """What would follow if these were lost."""
        lost = [*(("lose_zone", zone) for zone in zones), *(("lose_node", node) for node in nodes)]
        document = self._http.get("whatif", lost)
        return _understood(lambda: messages.what_if(document))

    def watch(self) -> Iterator[operator_pb2.FindingEvent]:
        """Standing findings, then what becomes of them, until the connection ends: then a CliError."""
        for kind, document in self._http.events("events"):
            if kind in KINDS:
                yield _understood(partial(messages.event, KINDS[kind], document))


@contextmanager
def operator(through: Through, timeout_s: float) -> Iterator[RemoteOperator]:
    """The aggregator of a cluster. Raises CliError."""
    with api(through.source, through.env, through.place, timeout_s) as http:
        yield RemoteOperator(http)


def _understood(make: Callable[[], T]) -> T:
    try:
        return make()
    except messages.NotUnderstoodError as error:
        told = f"the answer cannot be understood: {error}; versions apart? (nodetell doctor)"
        raise CliError(UNAVAILABLE, told) from error
