"""Work over thousands of nodes that shares the event loop with the agents: a few milliseconds at a time.

What many ask for is made once, and good for a while.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable
from typing import Generic, TypeVar

SLICE_S = 0.004
"""So long at a time."""
SHARE = 20.0
"""An answer is good for so many times as long as it took, at least."""

_T = TypeVar("_T")


async def gently(items: Iterable[_T]) -> AsyncIterator[_T]:
    """Each of them, with others served in between. What they belong to may change meanwhile: hand in a copy."""
    begun = time.monotonic()
    for item in items:
        yield item
        if time.monotonic() - begun > SLICE_S:
            await asyncio.sleep(0)
            begun = time.monotonic()


async def through(steps: Generator[None, None, _T]) -> _T:
    """The result of work in small steps."""
    begun = time.monotonic()
    while True:
        try:
            next(steps)
        except StopIteration as done:
            result: _T = done.value
            return result
        if time.monotonic() - begun > SLICE_S:
            await asyncio.sleep(0)
            begun = time.monotonic()


class Kept(Generic[_T]):
    """An answer that many share: made once at a time, good for a while, and the old one until the new one is there."""

    def __init__(
        self,
        make: Callable[[], Awaitable[_T]],
        good_s: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make, self._good_s, self._monotonic = make, good_s, monotonic
        self._last: tuple[float, _T] | None = None
        """(until when it is good, the answer)"""
        self._task: asyncio.Task[_T] | None = None

    async def get(self) -> _T:
        """The answer, however long it takes to make. Raises what making it raises."""
        if self._last is not None and self._monotonic() < self._last[0]:
            return self._last[1]
        return await asyncio.shield(self._running())

    async def soon(self, wait_s: float) -> _T | None:
        """The answer if it is there within that time, else the one before; None: there is none yet."""
        try:
            return await asyncio.wait_for(self.get(), wait_s)
        except TimeoutError:
            return self._last[1] if self._last is not None else None

    def _running(self) -> asyncio.Task[_T]:
        if self._task is None or self._task.done():
            self._task = asyncio.ensure_future(self._made())
        return self._task

    async def _made(self) -> _T:
        begun = self._monotonic()
        answer = await self._make()
        done = self._monotonic()
        self._last = done + max(self._good_s, SHARE * (done - begun)), answer
        return answer
