"""Every call but the agents' is closed to whoever is no operator: before its handler, whichever service it is of.

So nothing that is added later is open because somebody forgot to ask.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import unquote

import grpc
import grpc.aio
from nodetell.logs import event

from aggregator.trust.caller import RefusedError
from aggregator.trust.operators import OperatorTrust

_log = logging.getLogger("nodetell.aggregator")
AGENTS_OWN = frozenset({"/nodetell.v1.AgentService/Connect", "/nodetell.v1.AgentService/ProvePath"})
"""Calls that decide for themselves. ProvePath is for whoever can connect at all: it gives back what came, 16 KiB at
most, and has to work before an agent has proved who it is, for it proves the path that a token would take."""

Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[Any]]


class Closed(grpc.aio.ServerInterceptor):
    """Stands before all handlers."""

    def __init__(self, trust: OperatorTrust) -> None:
        self._trust = trust

    async def intercept_service(self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """The handler of a call, behind the question who calls."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or method in AGENTS_OWN:
            return handler
        making: Callable[..., Any]
        if handler.request_streaming:
            return None  # no service has one: unknown calls are refused, and so is this
        if handler.response_streaming:
            making, behaviour = grpc.unary_stream_rpc_method_handler, self._stream(handler.unary_stream, method)
        else:
            making, behaviour = grpc.unary_unary_rpc_method_handler, self._unary(handler.unary_unary, method)
        return making(behaviour, handler.request_deserializer, handler.response_serializer)

    def _unary(self, inner: Callable[[Any, Any], Awaitable[Any]], method: str) -> Any:
        async def unary(request: Any, context: Any) -> Any:
            await self._admitted(context, method)
            return await inner(request, context)

        return unary

    def _stream(self, inner: Callable[[Any, Any], AsyncIterator[Any]], method: str) -> Any:
        async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
            left = await self._admitted(context, method)
            try:
                async with asyncio.timeout(left) as limit:
                    async for each in inner(request, context):
                        yield each
            except TimeoutError:
                if not limit.expired():
                    raise
                await context.abort(grpc.StatusCode.UNAUTHENTICATED, "who watches has to be proved anew")

        return stream

    async def _admitted(self, context: Any, method: str) -> float | None:
        """How long the caller may go on, in seconds. The call ends here where it may not."""
        try:
            caller = await self._trust.admit(context.auth_context(), context.invocation_metadata() or ())
        except RefusedError as refused:
            peer = unquote(context.peer())
            event(_log, logging.WARNING, "operator_refused", peer=peer, call=method, reason=refused)
            await context.abort(refused.code, str(refused))
            raise
        return None if caller.until is None else max(0.0, caller.until - time.monotonic())
