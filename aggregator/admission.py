"""How many agents may be coming back at the same time: all of a cluster's do when the aggregator was away.

An agent that comes has a place from its Hello until its first update is taken in. Who finds none free waits in a queue
for a few seconds, and where that is full, or it takes too long, is told when to come again. Those who have asked first
go first, also when they come again: nobody is overtaken for ever. So proving who calls, full updates and what follows
from them are never under way for more agents at once than there are places, and the one event loop gets to judge
between them.
"""

from __future__ import annotations

import asyncio
import random
import time
from bisect import insort
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from aggregator import limits
from aggregator.limits import PeerLimits

WAIT_S = 4.0
"""Nobody waits longer in the queue: agents give up a connection after 10 s without an answer."""
HOLD_S = 5.0
"""Nobody has a place for longer: an agent on a slow path goes on without."""
RETRY_MIN_S = 1.0
RETRY_MAX_S = 15.0
REMEMBERED_S = 120.0
"""Who was sent away and does not come for so long has lost its turn."""
_LEAST_RATE = 20.0
_RATE_OF = 256


class BusyError(Exception):
    """No place is free, nor will be soon."""

    def __init__(self, retry_s: float) -> None:
        super().__init__("too many agents come at the same time; come again later")
        self.retry_s = retry_s
        """When to come again."""


class Place:
    """One agent's. Whoever has it leaves it, once or more often."""

    def __init__(self, admission: Admission) -> None:
        self._admission: Admission | None = admission
        self._timer = asyncio.get_running_loop().call_later(HOLD_S, self.leave)

    def leave(self) -> None:
        """The next one may have it."""
        admission, self._admission = self._admission, None
        if admission is not None:
            self._timer.cancel()
            admission.left()


@dataclass(slots=True, order=True)
class _Waiting:
    asked: float
    number: int
    who: str = field(compare=False)
    called: asyncio.Future[None] = field(compare=False)


class Admission:
    """The places of one server."""

    def __init__(
        self,
        at_most: PeerLimits = limits.PEER,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._places, self._most_waiting = at_most.arrivals_at_once, at_most.arrivals_waiting
        self._remembered = at_most.remembered
        self._monotonic, self._uniform = monotonic, uniform
        self._queue: list[_Waiting] = []
        """Those who asked first, first."""
        self._number = 0
        self._sent_away: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """(when they asked first, when they were sent away) by name: who was told to come again and has not yet."""
        self._left: deque[float] = deque(maxlen=_RATE_OF)
        """When places became free."""
        self.taken = 0
        """Places that are taken."""
        self.refused = 0
        """How often somebody was told to come again."""

    @property
    def waiting(self) -> int:
        """How many stand in the queue."""
        return len(self._queue)

    async def enter(self, who: str) -> Place:
        """A place for `who`, as soon as there is one. Raises BusyError."""
        now = self._monotonic()
        asked, sent = self._sent_away.pop(who, (now, now))
        if sent < now - REMEMBERED_S:
            asked = now
        if self.taken < self._places and not self._queue:
            self.taken += 1
            return Place(self)
        self._number += 1
        mine = _Waiting(asked, self._number, who, asyncio.get_running_loop().create_future())
        insort(self._queue, mine)
        if len(self._queue) > self._most_waiting:
            self._send_away(self._queue.pop())
        try:
            await asyncio.wait({mine.called}, timeout=WAIT_S)
        except asyncio.CancelledError:
            self._forget(mine)
            raise
        if not mine.called.done():
            self._queue.remove(mine)
            self._send_away(mine)
        mine.called.result()
        return Place(self)

    def left(self) -> None:
        """A place is free."""
        self._left.append(self._monotonic())
        self.taken -= 1
        while self._queue and self.taken < self._places:
            self.taken += 1
            self._queue.pop(0).called.set_result(None)

    def _forget(self, mine: _Waiting) -> None:
        """Its stream has ended while it waited."""
        if not mine.called.done():
            self._queue.remove(mine)
        elif mine.called.exception() is None:
            self.left()

    def _send_away(self, waiting: _Waiting) -> None:
        self.refused += 1
        now = self._monotonic()
        while self._sent_away and next(iter(self._sent_away.values()))[1] < now - REMEMBERED_S:
            self._sent_away.popitem(last=False)
        self._sent_away[waiting.who] = waiting.asked, now
        while len(self._sent_away) > self._remembered:
            self._sent_away.popitem(last=False)
        waiting.called.set_exception(BusyError(self._retry_s(now)))

    def _retry_s(self, now: float) -> float:
        """When those before it will probably have been in, spread so that not all of them come at once."""
        recent = [at for at in self._left if at > now - WAIT_S]
        rate = max(_LEAST_RATE, len(recent) / max(0.5, now - recent[0]) if recent else 0.0)
        before = (len(self._queue) + len(self._sent_away)) / rate
        return min(max(self._uniform(0.5 * before, 1.5 * before), RETRY_MIN_S), RETRY_MAX_S)
