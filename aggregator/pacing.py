"""How fast each node's agent is heard, whatever it sends: one that floods waits, and nobody else does.

What is over a node's pace is not read, so that HTTP/2's flow control stops it at its own end; nothing is dropped and
nothing piles up here. The pace is the node's and not a stream's: whoever opens a new stream comes no faster. Work is
counted as CPU time of this thread, which others' work and a busy machine do not make longer. No clock is read here but
that one.
"""

from __future__ import annotations

import time
import types
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass
from typing import Any, TypeVar

from nodetell.bucket import Bucket

from aggregator import limits
from aggregator.limits import PeerLimits, Reached

_T = TypeVar("_T")
MOST_WAIT_S = 5.0
"""One message waits no longer: its agent, which gives up a connection after 10 s without an answer, may be no enemy.
What is owed beyond that, the next ones wait for."""
_LATELY_S = 60.0


@dataclass(slots=True)
class Lately:
    """How often something happened: in the last minute or two, and ever."""

    current: int = 0
    before: int = 0
    began: float = 0.0
    total: int = 0

    def note(self, now: float) -> None:
        """It happens once more."""
        self._roll(now)
        self.current += 1
        self.total += 1

    def reached(self, now: float) -> Reached:
        """As it is told."""
        self._roll(now)
        return Reached(self.current + self.before, self.total)

    def _roll(self, now: float) -> None:
        passed = now - self.began
        if passed >= _LATELY_S:
            self.before = self.current if passed < 2 * _LATELY_S else 0
            self.current, self.began = 0, now


class Pace:
    """One node's, or one address's."""

    def __init__(self, at_most: PeerLimits) -> None:
        self._messages = Bucket(at_most.messages_per_s, at_most.messages_at_once)
        self._updates = Bucket(at_most.updates_per_s, at_most.updates_at_once)
        self._bytes = Bucket(at_most.bytes_per_s, at_most.bytes_at_once)
        self._work = Bucket(at_most.work_share, at_most.work_at_once_s)
        self._streams = Bucket(at_most.streams_per_s, at_most.streams_at_once)
        self._proofs = Bucket(at_most.proofs_per_s, at_most.proofs_at_once)
        self.open_streams = 0
        """Of an address."""
        self._held: dict[str, Lately] = {}

    def message(self, now: float) -> None:
        """A message was read."""
        self._messages.spend(1.0, now)

    def update(self, size: int, now: float) -> None:
        """... and completed an update of so many bytes."""
        self._updates.spend(1.0, now)
        self._bytes.spend(size, now)

    def work(self, cpu_s: float, now: float) -> None:
        """What it cost."""
        self._work.spend(cpu_s, now)

    def wait_s(self, now: float) -> float:
        """Seconds to wait before the next message is read; what it is for is counted."""
        owed = (
            ("messages_per_s", self._messages.owed_s(now)),
            ("updates_per_s", self._updates.owed_s(now)),
            ("bytes_per_s", self._bytes.owed_s(now)),
            ("work_share", self._work.owed_s(now)),
        )
        name, longest = max(owed, key=lambda each: each[1])
        if longest:
            self.note(name, now)
        return min(longest, MOST_WAIT_S)

    def may_open(self, now: float) -> bool:
        """A stream may be opened now. One that may not be is counted, and costs nothing."""
        return self._may(self._streams, "streams_per_s", now)

    def may_prove(self, now: float) -> bool:
        """Likewise a path proof."""
        return self._may(self._proofs, "proofs_per_s", now)

    def _may(self, bucket: Bucket, name: str, now: float) -> bool:
        may = bucket.take(now)
        if not may:
            self.note(name, now)
        return may

    def note(self, limit: str, now: float) -> None:
        """A limit held something back."""
        self._held.setdefault(limit, Lately(began=now)).note(now)

    def reached(self, now: float) -> dict[str, Reached]:
        """What was held back, by name of the limit."""
        return {name: held.reached(now) for name, held in self._held.items()}


class Paces:
    """Those of all nodes, or of all addresses: the latest ones that were heard."""

    def __init__(self, at_most: PeerLimits = limits.PEER) -> None:
        self.at_most = at_most
        self._of: OrderedDict[str, Pace] = OrderedDict()

    def of(self, name: str) -> Pace:
        """A node's or an address's."""
        pace = self._of.get(name)
        if pace is None:
            pace = self._of[name] = Pace(self.at_most)
            if len(self._of) > self.at_most.remembered:
                idle = next((each for each, its in self._of.items() if not its.open_streams), None)
                if idle is not None:
                    del self._of[idle]
        else:
            self._of.move_to_end(name)
        return pace

    def reached(self, name: str, now: float) -> dict[str, Reached]:
        """What was held back of a node, by name of the limit."""
        pace = self._of.get(name)
        return pace.reached(now) if pace is not None else {}


def address_of(peer: str) -> str:
    """The address of a gRPC peer ("ipv4:10.0.0.5:4711", "ipv6:[fd00::5]:4711"); empty where it is this host's own."""
    kind, _, rest = peer.partition(":")
    if kind not in ("ipv4", "ipv6"):
        return ""
    address = rest.rpartition(":")[0].strip("[]")
    return "" if address.startswith("127.") or address in ("::1", "") else address


@types.coroutine
def timed(work: Coroutine[Any, Any, _T], book: Callable[[float], None]) -> Generator[Any, Any, _T]:
    """Await `work`, and book the CPU seconds of each of its steps: its own, not those it waits for."""
    sent: BaseException | None = None
    while True:
        begun = time.thread_time()
        try:
            awaits = work.send(None) if sent is None else work.throw(sent)
        except StopIteration as done:
            result: _T = done.value
            return result
        finally:
            book(time.thread_time() - begun)
        sent = None
        try:
            yield awaits
        except BaseException as error:  # noqa: BLE001  # it is the work's to deal with, CancelledError included
            sent = error
