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

from aggregator.trust.caller import Caller, RefusedError
from aggregator.trust.operators import OperatorTrust

_log = logging.getLogger("nodetell.aggregator")
AGENTS_OWN = frozenset({"/nodetell.v1.AgentService/Connect", "/nodetell.v1.AgentService/ProvePath"})
"""Calls that decide for themselves. ProvePath is for whoever can connect at all: it gives back what came, 16 KiB at
most, and has to work before an agent has proved who it is, for it proves the path that a token would take."""

RECHECK_S = 30.0
"""Who watches is asked about again so often."""
_END = object()

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
            caller = await self._admitted(context, method)
            checked = time.monotonic()
            answers = aiter(inner(request, context))
            coming = asyncio.ensure_future(anext(answers, _END))
            try:
                while True:
                    await asyncio.wait({coming}, timeout=max(0.0, checked + RECHECK_S - time.monotonic()))
                    if time.monotonic() >= checked + RECHECK_S:
                        await self._still(caller, context, method)
                        checked = time.monotonic()
                    if coming.done():
                        if (answer := coming.result()) is _END:
                            return
                        yield answer
                        coming = asyncio.ensure_future(anext(answers, _END))
            finally:
                coming.cancel()
                await asyncio.gather(coming, return_exceptions=True)

        return stream

    async def _still(self, caller: Caller, context: Any, method: str) -> None:
        """Whoever was admitted still would be: a token may have been taken out of the file, a right taken away."""
        if caller.until is not None and time.monotonic() >= caller.until:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "who watches has to be proved anew")
        try:
            await self._trust.admit(context.auth_context(), context.invocation_metadata() or ())
        except RefusedError as refused:
            if refused.code is not grpc.StatusCode.UNAVAILABLE:  # the API server is away: what it said last goes on
                await self._refuse(refused, context, method)

    async def _admitted(self, context: Any, method: str) -> Caller:
        """Whoever calls. The call ends here where they may not."""
        try:
            return await self._trust.admit(context.auth_context(), context.invocation_metadata() or ())
        except RefusedError as refused:
            await self._refuse(refused, context, method)
            raise

    @staticmethod
    async def _refuse(refused: RefusedError, context: Any, method: str) -> None:
        event(_log, logging.WARNING, "operator_refused", peer=unquote(context.peer()), call=method, reason=refused)
        await context.abort(refused.code, str(refused))
