"""Brings one receiver what it is to be told: quietly after a start, many at once, again and again until it has it.

A task of its own for each receiver, so that one that hangs holds up nobody. What is slow by nature (the disk, a long
list turned into JSON) is done in threads; the event loop sees none of it.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Any, Protocol

from aggregator.findings import KEPT_RESOLVED, Record, Transition
from aggregator.known import Known
from aggregator.model import Gap, Severity
from aggregator.outputs.outbox import Outbox
from aggregator.outputs.receiver import NOT_UNDERSTOOD, Answer, Receiver, reason_of
from aggregator.outputs.rows import Changes, Form, Row, Rows, take
from aggregator.outputs.trouble import Trouble

GATHER_S = 1.0
"""What changes is sent so much later, with all that changed meanwhile."""
SPACE_S = 0.2
"""Between two posts."""
ROOM_S = 60.0
"""Findings for which there was no room are looked at again so often."""
MOST_REFUSED = 3
"""A notice that a receiver says it can't understand is given up after so many times."""
_NEVER = float("inf")
LOST_AFTER_S = 3600.0
"""A finding that neither stands nor is known to be over after a start, as where the findings' database was damaged, is
not told to be over before: until then its nodes may come, and it be found again."""
LOST = "not known any more after a start of the aggregator"
"""Why a finding is told to be over that neither stands nor is known to be over."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """How one kind of receiver is served."""

    most: int
    """Findings in one post."""
    kept_resolved_s: float = 0.0
    """What is over is sent again for so long, as what stands is."""


class Letters(Form, Protocol):
    """A form that can be posted."""

    @property
    def delivery(self) -> Delivery:
        """How."""

    def body(self, rows: list[Row], now: float) -> bytes:
        """Of a post. `now`: seconds since the epoch."""

    def ended(self, payload: Mapping[str, Any], at: float, because: str) -> dict[str, Any]:
        """What is sent of a finding that nothing more is known of than that it is over."""

    def headers(self, body: bytes, now: float) -> dict[str, str]:
        """Of a post. Raises OSError or ValueError, one line that holds no secret."""


@dataclass(frozen=True, slots=True)
class Manner:
    """What the settings say of all receivers of one kind."""

    name: str
    """Of the surface."""
    least: Severity
    quiet_start_s: float
    resend_s: float = 0.0
    """What stands is sent again so often; 0: it is not."""


class Courier:
    """Of one receiver. One event loop owns it."""

    def __init__(
        self,
        manner: Manner,
        receiver: Receiver,
        form: Letters,
        *,
        outbox: Outbox,
        known: Known,
        standing: dict[str, Record],
        clock: Callable[[], float],
    ) -> None:
        """`standing`: all findings that stand, kept up by whoever calls `heard`."""
        self._manner, self._receiver, self._form, self._outbox = manner, receiver, form, outbox
        self._known, self._standing, self._clock = known, standing, clock
        self._rows = Rows()
        self._touched: dict[str, Record] = {}
        self._wake = asyncio.Event()
        self._look_at = time.monotonic() + manner.quiet_start_s
        """Everything that stands is compared with what was told then, by the monotonic clock."""
        self._lost_at = time.monotonic() + LOST_AFTER_S
        self._quiet = True
        self._again: dict[str, None] = {}
        """Keys of what is sent again, though nothing happened to it."""
        self._again_at = time.monotonic() if manner.resend_s else _NEVER
        self._not_before = 0.0
        self.trouble = Trouble(manner.name, receiver, clock)
        self._most = form.delivery.most
        self._refused: dict[str, int] = {}
        self._given_up, self._gave_up_why = 0, ""
        self._left_out = 0
        self._number = 0

    def heard(self, transition: Transition) -> None:
        """Something happened to a finding."""
        self._touched[transition.record.finding.id] = transition.record
        self._wake.set()

    def gaps(self) -> list[Gap]:
        """What it can't do at present."""
        where = self._receiver.origin
        found = self.trouble.said(f"{self.waiting} findings wait to be sent")
        if self._given_up:
            found.append(f"{where}: {self._given_up} findings were given up that it does not take: {self._gave_up_why}")
        if self._left_out:
            found.append(f"{where}: {self._left_out} findings are not sent: there is no room for more")
        return [Gap("", f"output/{self._manner.name}", "degraded", because) for because in found]

    @property
    def waiting(self) -> int:
        """Findings that are to be sent."""
        return len(self._rows.due)

    async def run(self, rows: Iterable[Row]) -> None:
        """Until cancelled. `rows`: of an earlier life."""
        self._rows = Rows(rows)
        self._number = max((row.number for row in self._rows.by_key.values()), default=0)
        while True:
            try:
                await self._wait()
                await self._look()
                await self._send()
            except Exception as error:  # noqa: BLE001  # a defect: it is said, and everything is looked at anew
                self.trouble.log("output_failed", reason=repr(error))
                self.trouble.failed(Answer(0, f"a defect: {type(error).__name__}"))
                self._look_at = max(self._look_at if self._quiet else 0.0, time.monotonic() + ROOM_S)

    # -- what is to be told ------------------------------------------------------------------------------------------

    async def _wait(self) -> None:
        """Until there is something to do."""
        free = max(self._not_before, self.trouble.not_before)
        begins = [self._look_at, max(self._again_at, free)]
        if self._again or self._rows.due:
            begins.append(free)
        pause = min(begins) - time.monotonic()
        try:
            async with asyncio.timeout(None if pause == _NEVER else max(0.0, pause)):
                await self._wake.wait()
            self._wake.clear()
            await asyncio.sleep(GATHER_S)
        except TimeoutError:
            pass

    async def _look(self) -> None:
        """Compare what is so with what was told: all of it, or what has changed."""
        now = time.monotonic()
        whole = now >= self._look_at
        if not whole and (self._quiet or not self._touched):
            return
        records, self._touched = self._touched, {}
        changes: Changes = {}
        if whole:
            self._quiet, self._look_at, self._left_out = False, _NEVER, 0
            over = {record.finding.id: record for record in reversed(self._known.resolved(KEPT_RESOLVED))}
            gone = [each for each in self._rows.findings() if each not in self._standing]
            records = {each: over[each] for each in gone if each in over} | self._standing
            lost = [row for each in gone if each not in over for row in self._rows.of(each) if row.over is None]
            if now >= self._lost_at:
                changes = self._lose(lost)
            elif lost:
                self._look_at = self._lost_at
        changes |= await asyncio.to_thread(self._take, list(records.values()))
        if self._left_out:
            self._look_at = min(self._look_at, now + ROOM_S)
        for key in changes:
            self._refused.pop(key, None)
        await self._keep(changes)

    def _take(self, records: list[Record]) -> Changes:
        changes: Changes = {}
        for record in records:
            number, least = self._next_number(), self._manner.least
            changed, room = take(self._rows, record, self._form, self._standing, least=least, number=number)
            self._left_out += not room
            changes |= changed
        return changes

    def _lose(self, rows: Iterable[Row]) -> Changes:
        """Findings that neither stand nor are known to be over: the aggregator has lost its memory of them."""
        now, changes = self._clock(), {}
        for row in rows:
            payload = self._form.ended(row.payload, now, LOST)
            ended = replace(row, payload=payload, over=now, due=True, number=self._next_number())
            changes[row.key] = ended if row.told else None
            self._rows.put(row.key, changes[row.key])
        return changes

    def _next_number(self) -> int:
        self._number = max(self._number + 1, round(self._clock() * 1000))
        return self._number

    async def _keep(self, changes: Changes) -> None:
        if changes:
            await asyncio.to_thread(self._outbox.save, self._receiver.key, changes)

    # -- telling it --------------------------------------------------------------------------------------------------

    async def _send(self) -> None:
        """One post, if there is something to post and it is time."""
        now = time.monotonic()
        if now < max(self._not_before, self.trouble.not_before):
            return
        if now >= self._again_at:
            await self._all_again(now)
        batch = self._batch()
        if not batch:
            return
        answer = await self._post(batch)
        if answer.taken:
            await self._taken(batch)
        elif answer.status in NOT_UNDERSTOOD:
            await self._not_understood(batch, answer)
        else:
            self.trouble.failed(answer)

    async def _all_again(self, now: float) -> None:
        """What stands, and what has been over for a short while only."""
        self._again_at = now + self._manner.resend_s * random.uniform(0.8, 1.0)  # noqa: S311  # no secret
        before = self._clock() - self._form.delivery.kept_resolved_s
        rows = self._rows.by_key.values()
        old = [row.key for row in rows if row.over is not None and row.over < before and not row.due]
        for key in old:
            self._rows.put(key, None)
            self._again.pop(key, None)
        await self._keep(dict.fromkeys(old))
        self._again = {key: None for key in self._rows.by_key if self._refused.get(key, 0) < MOST_REFUSED}

    def _batch(self) -> list[Row]:
        """What is due, the oldest first, then what is sent again; without what it does not take."""
        rows = self._rows
        again = (key for key in self._again if key in rows.by_key and key not in rows.due)
        return [rows.by_key[key] for key in islice(chain(rows.due, again), self._most)]

    async def _post(self, batch: list[Row]) -> Answer:
        first = {row.key: replace(row, told=True) for row in batch if not row.told}
        for key, row in first.items():
            self._rows.put(key, row)
        await self._keep(dict(first))  # before it is told: whatever happens now, it may know
        now = self._clock()
        try:
            body = await asyncio.to_thread(self._form.body, batch, now)
            headers = await asyncio.to_thread(self._form.headers, body, now)
        except (OSError, ValueError) as error:
            return Answer(0, reason_of(error))
        return await self._receiver.post(body, headers)

    async def _taken(self, batch: list[Row]) -> None:
        if self.trouble.over() and self._manner.resend_s:
            self._again_at = time.monotonic()  # it may have been restarted meanwhile
        self._most = min(2 * self._most, self._form.delivery.most)
        self._not_before = time.monotonic() + SPACE_S
        changes: Changes = {}
        for row in batch:
            self._again.pop(row.key, None)
            self._refused.pop(row.key, None)
            if row.due:
                kept = row.over is None or self._form.delivery.kept_resolved_s
                changes[row.key] = replace(row, due=False, told=True) if kept else None
                self._rows.put(row.key, changes[row.key])
        await self._keep(changes)

    async def _not_understood(self, batch: list[Row], answer: Answer) -> None:
        """It may be one of many that it does not understand: they are sent in ever smaller parts, down to that one."""
        if len(batch) > 1:
            self._most = max(1, len(batch) // 2)
            self._not_before = time.monotonic() + SPACE_S
            self.trouble.refused += 1
            return
        row = batch[0]
        self._refused[row.key] = self._refused.get(row.key, 0) + 1
        if self._refused[row.key] < MOST_REFUSED:
            self.trouble.failed(answer)
            return
        self._again.pop(row.key, None)
        self._given_up, self._gave_up_why = self._given_up + 1, answer.reason
        self.trouble.log("output_given_up", id=row.finding, reason=answer.reason)
        self.trouble.over(taken=False)
        self._rows.put(row.key, replace(row, due=False, told=True))
        await self._keep({row.key: self._rows.by_key[row.key]})
