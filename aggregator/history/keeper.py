"""The history as the fleet sees it: updates in, an answer once they are on disk, nodes as they were after a restart.

One event loop owns it. Whether a disk takes what it is given, and when, concerns only who waits for the answer: the
state is what the updates have made of it, and where the file has not got one of them, the node's next one brings all.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from google.protobuf.message import DecodeError
from nodetell.logs import event
from nodetell.v1 import agent_pb2

from aggregator.database import NotStoredError
from aggregator.history.base import BaseError, Kept, packed, unpacked
from aggregator.history.columns import Past, past_of
from aggregator.history.journal import NEEDS_BASE, Entry, Journal, Stored
from aggregator.history.minutes import Minutes
from aggregator.history.reading import Live, Point, Series, read, series_of
from aggregator.model import Gap
from aggregator.node_items import UpdateError
from aggregator.node_state import NodeState

_log = logging.getLogger("nodetell.aggregator")

BASE_AFTER_S = 600.0
"""A node whose oldest row is older gets a base."""
BASE_AFTER_BYTES = 1 << 20
"""Or one with so much in rows."""
AT_ONCE_S = 0.01
"""Bases are made for so long at once."""
MAX_UNSTORED_BYTES = 4 << 20
"""Minute values of a node that a disk has not taken, with the oldest left out and counted beyond that."""


@dataclass(slots=True)
class _Tail:
    """A node's rows since its base."""

    since: float
    """When the first came, by the aggregator's clock."""
    size: int = 0


class History:
    """What agents have told. `directory` None: nowhere, all is forgotten with the process."""

    def __init__(
        self,
        directory: Path | None,
        *,
        retention_s: float = 7 * 86_400.0,
        max_bytes: int = 2 << 30,
        history_s: float = 900.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._history_s, self._clock = history_s, clock
        self._journal = (
            Journal(directory, retention_s=retention_s, max_bytes=max_bytes, deliver=self._deliver, clock=clock)
            if directory is not None
            else None
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stored: dict[str, Stored] = {}
        """Nodes that are not rebuilt yet."""
        self._kept: dict[str, Kept] = {}
        self._tails: dict[str, _Tail] = {}
        """The oldest first."""
        self._long: set[str] = set()
        """Those with BASE_AFTER_BYTES in rows."""
        self._gaps: set[str] = set()
        """Nodes of which the file has not got everything: the next update brings all."""
        self._flush: dict[str, int] = {}
        """Number of the last rows given away, by node."""
        self._unstored: dict[str, list[Live]] = {}
        """Rows given away that are not known to be on disk."""
        self._leaving: set[str] = set()
        """Nodes to be forgotten by the file."""
        self._lost: dict[str, int] = {}
        self._left_out = 0

    def open(self) -> None:
        """Read what is stored of live nodes. Raises StoreError where a newer version wrote the file."""
        if self._journal is not None:
            self._stored = self._journal.open()

    def close(self) -> None:
        """Write what is waiting, if the disk takes it soon."""
        if self._journal is not None:
            self._journal.close()

    @property
    def journal(self) -> Journal | None:
        """The file; None: nothing is kept."""
        return self._journal

    # -- after a restart ---------------------------------------------------------------------------------------------

    def waiting(self) -> str | None:
        """A node that is not rebuilt yet; None: all are."""
        return next(iter(self._stored), None)

    @property
    def not_rebuilt(self) -> int:
        """How many are not."""
        return len(self._stored)

    def rebuilt(self, name: str) -> Kept | None:
        """A node as its last stored update left it; None: nothing is stored of it, or it is known already."""
        stored = self._stored.pop(name, None)
        if stored is None:
            return None
        self._flush[name] = stored.flush
        kept, whole = self._replayed(name, stored)
        if not whole or not stored.whole:
            self._gaps.add(name)
            kept.number = 0
        if not kept.state.at:
            self._leaving.add(name)
            return None
        self._kept[name] = kept
        if stored.rows:
            self._tails[name] = _Tail(stored.rows[0].at, sum(len(row.body) for row in stored.rows))
        return kept

    def _replayed(self, name: str, stored: Stored) -> tuple[Kept, bool]:
        kept = self.fresh(name)
        try:
            if stored.base is not None:
                kept = unpacked(stored.base, name, self._history_s)
            for row in stored.rows:
                update = agent_pb2.Update.FromString(row.update())
                started = row.instance != kept.instance
                kept.minutes.take(update, row.at, started=started, clock_us=row.clock_us)
                kept.instance, kept.number, kept.received = row.instance, row.number, row.at
        except (BaseError, UpdateError, DecodeError) as error:
            event(_log, logging.ERROR, "history_incomplete", node=name, reason=error)
            return kept, False
        return kept, True

    def fresh(self, name: str) -> Kept:
        """A node of which nothing is known."""
        state = NodeState(name, self._history_s)
        return Kept(state, Minutes(state), b"", 0, "", 0.0)

    # -- taking in -------------------------------------------------------------------------------------------------

    def take(self, kept: Kept, instance: bytes, number: int, update: agent_pb2.Update) -> asyncio.Future[None] | None:
        """Take an update into the state. The answer comes when it is on disk; None: there is nothing to wait for.

        Raises UpdateError and changes nothing if it does not fit. The answer is NotStoredError where it could not be
        stored: the state has it, and the node's next update brings what the file lacks.
        """
        name, now = kept.state.name, self._clock()
        if self._journal is None:
            kept.state.apply(update)
            kept.instance, kept.number, kept.received = instance, number, now
            return None
        offset = kept.state.clock_offset
        clock_us = round(offset.offset_s * 1e6) if offset is not None else None
        begins = not kept.state.at
        kept.minutes.take(update, now, started=instance != kept.instance, clock_us=clock_us)
        kept.instance, kept.number, kept.received = instance, number, now
        self._kept[name] = kept
        self._leaving.discard(name)
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        answer.add_done_callback(_heard)
        if name in self._gaps:
            self._put_base(kept, answer)
            return answer
        data = update.SerializeToString()
        entry = Entry(name, now, self._teller(kept, answer), instance, number, clock_us, data, begins=begins)
        if self._put(entry, answer):
            tail = self._tails.setdefault(name, _Tail(now))
            tail.size += len(data)
            if tail.size > BASE_AFTER_BYTES:
                self._long.add(name)
        return answer

    def _put(self, entry: Entry, answer: asyncio.Future[None]) -> bool:
        assert self._journal is not None  # noqa: S101  # without a directory nothing is put
        if reason := self._journal.refuses():
            self._gaps.add(entry.node)
            if not answer.done():
                answer.set_exception(NotStoredError(reason))
            return False
        self._journal.put(entry)
        return True

    def _put_base(self, kept: Kept, answer: asyncio.Future[None]) -> None:
        assert self._journal is not None  # noqa: S101  # without a directory nothing is put
        name = kept.state.name
        self._tails.pop(name, None)
        if reason := self._journal.refuses():
            self._gaps.add(name)
            if not answer.done():
                answer.set_exception(NotStoredError(reason))
            return
        flush, rows = self._give(kept)
        done = self._teller(kept, answer, flush)
        self._gaps.discard(name)
        self._journal.put(Entry(name, kept.received, done, base=packed(kept), begins=True, flush=flush, rows=rows))

    def _give(self, kept: Kept) -> tuple[int, list[bytes]]:
        name = kept.state.name
        flush = self._flush[name] = self._flush.get(name, 0) + 1
        unstored = self._unstored.setdefault(name, [])
        if rows := kept.minutes.give():
            unstored.append(Live(flush, rows))
        while len(unstored) > 1 and sum(len(each.rows) for each in unstored) > MAX_UNSTORED_BYTES:
            del unstored[0]
            self._left_out += 1
        return flush, [each.rows for each in unstored]

    def _deliver(self, told: list[tuple[Entry, str]]) -> None:
        """In the writer's thread: have all told in the loop's."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(_tell, told)

    def _teller(self, kept: Kept, answer: asyncio.Future[None], flush: int = 0) -> Callable[[str], None]:
        self._loop = asyncio.get_running_loop()
        return partial(self._told, kept, answer, flush)

    def _told(self, kept: Kept, answer: asyncio.Future[None], flush: int, reason: str) -> None:
        name = kept.state.name
        if not reason:
            self._settled(name, flush)
            if not answer.done():
                answer.set_result(None)
            return
        self._gaps.add(name)
        if answer.done():
            return
        if reason == NEEDS_BASE and self._kept.get(name) is kept:
            self._put_base(kept, answer)
        else:
            answer.set_exception(NotStoredError(reason))

    def _settled(self, name: str, flush: int) -> None:
        """Rows up to that number are on disk."""
        left = [each for each in self._unstored.pop(name, ()) if each.flush > flush]
        if left:
            self._unstored[name] = left

    # -- from time to time -------------------------------------------------------------------------------------------

    def step(self) -> None:
        """Write bases of those nodes that have the oldest rows, or most; for AT_ONCE_S at most."""
        if self._journal is None:
            return
        now, begun = self._clock(), time.monotonic()
        for gone in list(self._leaving) if not self._journal.refuses() else ():
            self._leave(gone)
        while not self._journal.refuses() and (name := self._due(now)):
            kept = self._kept.get(name)
            if kept is None:
                self._tails.pop(name, None)
                continue
            answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            answer.add_done_callback(_heard)
            self._put_base(kept, answer)
            if time.monotonic() - begun > AT_ONCE_S:
                return

    def _due(self, now: float) -> str | None:
        if self._long:
            return self._long.pop()
        name, tail = next(iter(self._tails.items()), ("", None))
        return name if tail is not None and not 0 <= now - tail.since < BASE_AFTER_S else None

    def forget(self, name: str) -> None:
        """A node is not observed any more: its minute values stay, and nothing is rebuilt of it."""
        kept = self._kept.pop(name, None)
        self._tails.pop(name, None)
        self._gaps.discard(name)
        self._lost.pop(name, None)
        if kept is not None and self._journal is not None:
            self._give(kept)
            self._leaving.add(name)

    def _leave(self, name: str) -> None:
        assert self._journal is not None  # noqa: S101  # without a directory nothing is put
        self._loop = asyncio.get_running_loop()
        flush, rows = self._flush.get(name, 0), [each.rows for each in self._unstored.get(name, ())]

        def left(reason: str) -> None:
            if not reason:
                self._settled(name, flush)
            elif name not in self._kept:
                self._leaving.add(name)

        self._leaving.discard(name)
        self._journal.put(Entry(name, self._clock(), left, forgotten=True, flush=flush, rows=rows))

    def missing(self, name: str, count: int) -> None:
        """An agent says that so many more updates were acknowledged to it than are known here."""
        event(_log, logging.ERROR, "acknowledged_missing", node=name, count=count)
        self._lost[name] = self._lost.get(name, 0) + count

    # -- asking ------------------------------------------------------------------------------------------------------

    async def read(self, node: str, series: str, since: float, until: float) -> list[Point]:
        """Minute values of a node's series ("link/5/rx_dropped") in [since, until), seconds since the epoch by the
        aggregator's clock, up to this moment. Raises HistoryError."""
        return await asyncio.to_thread(read, self._path(), self._live(node), node, series, since=since, until=until)

    async def series(self, node: str, since: float, until: float) -> list[Series]:
        """Which series of a node have values then. Raises HistoryError."""
        return await asyncio.to_thread(series_of, self._path(), self._live(node), node, since=since, until=until)

    async def past(self, node: str, since: float, until: float, step_s: float) -> Past:
        """When a node was heard then, and its latencies by columns of `step_s`. Raises HistoryError."""
        return await asyncio.to_thread(
            past_of, self._path(), self._live(node), node, since=since, until=until, step_s=step_s
        )

    def _path(self) -> Path | None:
        return self._journal.path if self._journal is not None and self._journal.path.exists() else None

    def _live(self, node: str) -> list[Live]:
        if node in self._stored:
            self.rebuilt(node)
        live = list(self._unstored.get(node, ()))
        if (kept := self._kept.get(node)) is not None:
            live.append(Live(self._flush.get(node, 0) + 1, kept.minutes.pending()))
        return live

    def gaps(self) -> list[Gap]:
        """What is not stored, or is lost."""
        gaps = []
        if self._journal is not None:
            if self._journal.problem:
                reason = f"what agents tell can't be stored, and is not acknowledged: {self._journal.problem}"
                gaps.append(Gap("", "history", "missing", reason))
            elif hangs := self._journal.refuses():
                gaps.append(Gap("", "history", "missing", f"what agents tell is not acknowledged: {hangs}"))
            if self._journal.notice:
                gaps.append(Gap("", "history", "damaged", self._journal.notice))
            if self._journal.over:
                gaps.append(Gap("", "history", "degraded", self._journal.over))
        for name, count in sorted(self._lost.items()):
            reason = f"{count} updates that had been acknowledged are missing: the file was damaged, or an older one"
            gaps.append(Gap(name, "history", "damaged", reason))
        if left_out := self._left_out + sum(kept.minutes.left_out for kept in self._kept.values()):
            gaps.append(Gap("", "history", "degraded", f"{left_out} values were left out for want of room"))
        return gaps


def _tell(told: list[tuple[Entry, str]]) -> None:
    for entry, reason in told:
        entry.done(reason)


def _heard(answer: asyncio.Future[None]) -> None:
    """Nobody may be waiting any more."""
    if not answer.cancelled():
        answer.exception()
