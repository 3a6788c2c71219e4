"""Runs one search over a socket: sends what the search asks for, tells it what comes back and when to give a try up."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from agent.pathmtu import datagram
from agent.pathmtu.datagram import Key
from agent.pathmtu.search import Search, Verdict
from agent.pathmtu.way import TooLarge, TooLargeHereError, Way

GAP_S = 0.01
"""Between the packets of a volley, so that a full queue does not take all of them."""
FIRST_TIMEOUT_S = 1.0
"""How long an answer may take while no round-trip time is known."""
LEAST_TIMEOUT_S = 0.1
"""Less would take a busy machine for a lossy path."""
MOST_TIMEOUT_S = 1.0
_RTT_FACTOR = 6


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a search found."""

    verdict: Verdict
    rtt_s: float
    """The shortest round trip of all; 0: none."""
    sent: int
    """Packets that really left."""
    sent_bytes: int
    answers: int
    took_s: float


class Numbers:
    """Numbers of probes: rising in the life of a process, and above those of the process before."""

    def __init__(self, first: int | None = None) -> None:
        self._last = time.time_ns() if first is None else first

    def next(self) -> int:
        """The next one."""
        self._last += 1
        return self._last


@dataclass(slots=True)
class _Try:
    size: int
    sent_at: float
    volley: int
    answered: bool = False


@dataclass(slots=True)
class Run:
    """One search under way."""

    search: Search
    way: Way
    key: Key
    numbers: Numbers
    account: Callable[[], contextlib.AbstractContextManager[None]]
    _tries: dict[int, _Try] = field(default_factory=dict)
    _open: set[int] = field(default_factory=set)
    """Numbers of this volley's tries of which nothing has come yet."""
    _volley: int = 0
    _rtt_s: float = 0.0
    _slowest_s: float = 0.0
    _sent: int = 0
    _sent_bytes: int = 0
    _answers: int = 0
    _padding: bytes = b""
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._padding = os.urandom(self.search.verdict().top)

    async def go(self) -> Outcome:
        """Search to the end."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        loop.add_reader(self.way.fileno(), self._readable)
        try:
            while sizes := self.search.volley():
                self._volley += 1
                for number, size in enumerate(sizes):
                    if number:
                        await asyncio.sleep(GAP_S)
                    with self.account():
                        self._send(size)
                await self._wait(loop.time() + self._timeout_s())
                with self.account():
                    for number in self._open:
                        self.search.silent(self._tries[number].size)
                    self._open.clear()
        finally:
            loop.remove_reader(self.way.fileno())
        took_s = loop.time() - began
        return Outcome(self.search.verdict(), self._rtt_s, self._sent, self._sent_bytes, self._answers, took_s)

    async def _wait(self, until: float) -> None:
        """Until nothing is open any more, or the time is up."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                while self._open:
                    self._news.clear()
                    await self._news.wait()

    def _timeout_s(self) -> float:
        if not self._rtt_s:
            return FIRST_TIMEOUT_S
        return min(MOST_TIMEOUT_S, max(LEAST_TIMEOUT_S, _RTT_FACTOR * self._slowest_s))

    def _send(self, size: int) -> None:
        number = self.numbers.next()
        probe = datagram.probe(self.key, number, size, self._padding, ipv6=self.way.ipv6)
        self._tries[number] = _Try(size, time.monotonic(), self._volley)
        try:
            sent = self.way.send(probe)
        except TooLargeHereError as error:
            self.search.too_large_here(size, error.limit)
            return
        self._open.add(number)
        if sent:
            self._sent += 1
            self._sent_bytes += size

    def _readable(self) -> None:
        with self.account():
            for message in self.way.too_large():
                self._take_too_large(message)
            for received in self.way.received():
                self._take_answer(received)
            self._news.set()

    def _take_answer(self, received: bytes) -> None:
        found = datagram.read_answer(received, self.key)
        if found is None:
            return
        number, size = found
        tried = self._tries.get(number)
        if tried is None or tried.size != size or tried.answered:
            return
        tried.answered = True
        self._answers += 1
        took = time.monotonic() - tried.sent_at
        self._rtt_s = min(self._rtt_s or took, took)
        self._slowest_s = max(self._slowest_s, took)
        self._open.discard(number)
        self.search.answered(size, late=tried.volley != self._volley)

    def _take_too_large(self, message: TooLarge) -> None:
        """Only of a probe that is under way and larger than the limit; a quote too short to tell means the latest."""
        number = datagram.read_quote(message.quote, self.key)
        if number is None:
            if len(message.quote) >= datagram.HEADER_BYTES or not message.limit:
                return
            number = next((each for each in sorted(self._open, reverse=True) if self._larger(each, message)), None)
        if number is None or number not in self._open or not self._larger(number, message):
            return
        self._open.discard(number)
        self.search.refused(self._tries[number].size, message.limit)

    def _larger(self, number: int, message: TooLarge) -> bool:
        return self._tries[number].size > message.limit
