"""The service that operators' clients speak to: nodes, facts, findings, and a watch over findings."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any
from urllib.parse import unquote

import grpc.aio
from nodetell import __version__
from nodetell.v1 import operator_pb2, operator_pb2_grpc

from aggregator.convert import gap_to_message, milliseconds, record_to_message
from aggregator.findings import Kind, Transition
from aggregator.fleet import Fleet
from aggregator.limits import OPERATOR
from aggregator.node_summary import with_api
from aggregator.pacing import address_of
from aggregator.slices import gently, through
from aggregator.whatif import WhatIfError, WhatIfUnknownError, lose_in_steps, nodes_of
from aggregator.whatif.messages import loss_to_message

DEFAULT_LIMIT = 100
"""Resolved findings in an answer unless asked otherwise."""

_TOGETHER = 50
"""Nodes that are summed up at a time."""
_KINDS = {
    Kind.APPEARED: operator_pb2.FindingEvent.KIND_APPEARED,
    Kind.CHANGED: operator_pb2.FindingEvent.KIND_CHANGED,
    Kind.RESOLVED: operator_pb2.FindingEvent.KIND_RESOLVED,
}


def add_operator_service(server: grpc.aio.Server, fleet: Fleet, clock: Callable[[], float]) -> None:
    """Serve operators on `server`. `clock` gives seconds since the epoch."""
    service = OperatorService(fleet, clock)
    operator_pb2_grpc.add_OperatorServiceServicer_to_server(service, server)  # type: ignore[no-untyped-call]  # generated


@dataclass(slots=True, eq=False)
class _Watch:
    """One client that watches."""

    events: asyncio.Queue[Transition] = field(default_factory=lambda: asyncio.Queue(OPERATOR.watch_queue))
    address: str = ""
    """Empty: this host's own."""
    missed: bool = False
    """It was too slow: an event found no place."""


class OperatorService(operator_pb2_grpc.OperatorServiceServicer):
    """The calls of OperatorService."""

    def __init__(self, fleet: Fleet, clock: Callable[[], float]) -> None:
        self._fleet = fleet
        self._clock = clock
        self._watches: set[_Watch] = set()
        self._questions = 0
        """Being worked on."""
        fleet.listeners.append(self._tell)

    async def ListNodes(  # noqa: N802  # the contract's name
        self,
        request: operator_pb2.ListNodesRequest,  # noqa: ARG002
        context: Any,  # noqa: ARG002
    ) -> operator_pb2.ListNodesResponse:
        """All nodes that are known."""
        names, nodes = sorted(self._fleet.nodes), []
        async for first in gently(range(0, len(names), _TOGETHER)):
            view = self._fleet.view()
            nodes += [with_api(each, view) for each in self._fleet.summaries(names[first : first + _TOGETHER])]
        return operator_pb2.ListNodesResponse(
            nodes=nodes, aggregator_version=__version__, at_unix_ms=milliseconds(self._clock())
        )

    async def GetNode(  # noqa: N802
        self, request: operator_pb2.GetNodeRequest, context: Any
    ) -> operator_pb2.GetNodeResponse:
        """Everything known of one node; of one without an agent, what the API server says."""
        answer = self._fleet.answer(request.node)
        if answer is None:
            reason = f"no agent has reported for node {request.node[:253]!r}"
            await context.abort(grpc.StatusCode.NOT_FOUND, reason)
            raise LookupError(reason)  # abort has raised already; this is for the type checker
        return answer

    async def ListFindings(  # noqa: N802
        self,
        request: operator_pb2.ListFindingsRequest,
        context: Any,  # noqa: ARG002
    ) -> operator_pb2.ListFindingsResponse:
        """Findings that stand in report order, then those that are over, newest first."""
        records = self._fleet.book.ordered()
        if request.include_resolved:
            records += islice(reversed(self._fleet.book.resolved), request.limit or DEFAULT_LIMIT)
        return operator_pb2.ListFindingsResponse(
            findings=[record_to_message(record) for record in records],
            coverage=[gap_to_message(gap) for gap in self._fleet.gaps()],
        )

    async def WhatIf(  # noqa: N802
        self, request: operator_pb2.WhatIfRequest, context: Any
    ) -> operator_pb2.WhatIfResponse:
        """What would follow if nodes or zones were lost now."""
        view = self._fleet.view()
        if self._questions >= OPERATOR.questions:
            await self._refuse(context, "questions", f"{OPERATOR.questions} such questions are being worked on already")
        self._questions += 1
        try:
            loss = await through(lose_in_steps(view, nodes_of(view, request.lost_zones, request.lost_nodes)))
            return loss_to_message(view, loss)
        except WhatIfUnknownError as error:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
            raise
        except WhatIfError as error:
            await context.abort(grpc.StatusCode.NOT_FOUND, str(error))
            raise
        finally:
            self._questions -= 1

    async def _refuse(self, context: Any, limit: str, reason: str) -> None:
        self._fleet.paces.of("").note(limit, time.monotonic())
        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, reason)

    async def WatchFindings(  # noqa: N802
        self,
        request: operator_pb2.WatchFindingsRequest,  # noqa: ARG002
        context: Any,
    ) -> AsyncIterator[operator_pb2.FindingEvent]:
        """Findings that stand, then each that appears, changes or resolves."""
        watch = _Watch(address=address_of(unquote(context.peer())))
        if len(self._watches) >= OPERATOR.watches:
            await self._refuse(context, "watches", f"{OPERATOR.watches} clients are watching already")
        if watch.address and sum(each.address == watch.address for each in self._watches) >= OPERATOR.watches_of_one:
            reason = f"{OPERATOR.watches_of_one} clients of {watch.address} are watching already"
            await self._refuse(context, "watches_of_one", reason)
        standing = self._fleet.book.ordered()
        self._watches.add(watch)
        try:
            now = milliseconds(self._clock())
            for record in standing:
                kind = operator_pb2.FindingEvent.KIND_STANDING
                yield operator_pb2.FindingEvent(kind=kind, finding=record_to_message(record), at_unix_ms=now)
            yield operator_pb2.FindingEvent(kind=operator_pb2.FindingEvent.KIND_SYNCED, at_unix_ms=now)
            while not watch.missed:
                transition = await watch.events.get()
                yield operator_pb2.FindingEvent(
                    kind=_KINDS[transition.kind],
                    finding=record_to_message(transition.record),
                    at_unix_ms=milliseconds(transition.at),
                )
        finally:
            self._watches.discard(watch)
        reason = f"more than {OPERATOR.watch_queue:,} events waited for this client; watch again to see what stands"
        await self._refuse(context, "watch_queue", reason)

    def _tell(self, transition: Transition) -> None:
        for watch in list(self._watches):
            try:
                watch.events.put_nowait(transition)
            except asyncio.QueueFull:
                watch.missed = True
                self._watches.discard(watch)
