"""Minute values of one node: by how much its counters rose, and what its gauges showed.

Minutes are those of the aggregator's clock, at which an update came, so that nodes can be compared whose clocks differ.
Within a minute nothing is done per sample: when it is over, one subtraction for each block that moved. Rows add up, so
a minute may be told in several, and what was counted too late is moved by a row that takes away. The sum of all rows
is always what the counters rose by.

After a silence an agent first tells the present, by which counters rise at once, and then how they came there, roll-up
by roll-up. What was counted at once is owed until then, and goes to its minutes as the roll-ups come, each once.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from operator import sub

from nodetell.v1 import agent_pb2, facts_pb2, history_pb2

from aggregator.backlog import RollUp
from aggregator.history.gauges import AGENT_STARTED, CLOCK_OFFSET, gauges_of, label_of
from aggregator.node_state import NodeState

MINUTE_S = 60
HOUR_MINUTES = 60
MAX_COUNTERS = 20_000
"""Counters of one host whose rise in one minute is kept; what is left out is counted."""
MAX_PENDING_BYTES = 4 << 20
"""Rows of one host that wait for a disk that refuses; the oldest are left out beyond that, and counted."""
MAX_AGE_MINUTES = 7 * 1440
"""A roll-up of longer ago is put there."""
KEPT_SPANS = 2_000
"""Roll-ups told lately that are remembered, so that one that is told again is not counted again."""
KEPT_JUMPS = 4
_MOST = (1 << 62) - 1
"""No counter rises by more in a minute."""

BlockId = tuple[str, tuple[str, ...]]
"""Subject, and names of its counters."""


@dataclass(slots=True)
class Jump:
    """What was counted at once after a silence, and is not told by minutes yet."""

    minute: int
    risen: dict[BlockId, list[int]]


@dataclass(slots=True)
class _Gauge:
    last: int
    low: int
    high: int


@dataclass(slots=True)
class _Pending:
    """Rows that are not in the database yet, with the tables they refer to."""

    blocks: dict[BlockId, int] = field(default_factory=dict)
    labels: list[str] = field(default_factory=list)
    gauges: dict[str, int] = field(default_factory=dict)
    gauge_labels: list[str] = field(default_factory=list)
    rows: list[bytes] = field(default_factory=list)
    """Each a MinuteRows of a single row, serialized: put one after the other they are one of all."""
    size: int = 0


class Minutes:
    """What one node's updates add to its history. `take` is how an update gets into a NodeState that has one."""

    def __init__(self, state: NodeState) -> None:
        self.left_out = 0
        """Counters, and rows, that were left out for want of room."""
        self._state = state
        self._marks: dict[str, tuple[array[int], array[int]]] = {}
        """Each block's base, which says that it is the same block still, and its values when it was looked at last."""
        self._minute = 0
        self._hour = 0
        self._gauges: dict[str, _Gauge] = {}
        """Those told in this minute."""
        self._pending = _Pending()
        self.jumps: list[Jump] = []
        self.told: list[tuple[int, int]] = []
        """Roll-ups that were told, by their ends in milliseconds by the host's clock."""

    # -- taking in -------------------------------------------------------------------------------------------------

    def take(
        self, update: agent_pb2.Update, received: float, *, started: bool = False, clock_us: int | None = None
    ) -> None:
        """Take an update into the state, and into the history. `received` by the aggregator's clock.

        `started`: the agent is another process than the one before. `clock_us`: offset of the host's clock, where it
        is known. Raises UpdateError and changes nothing if the update does not fit.
        """
        state = self._state
        minute = int(received // MINUTE_S)
        if minute != self._minute:
            self.cut()
            self._minute = minute
        known = bool(state.at)
        reshaped = bool(update.full or update.blocks or update.removed_blocks)
        coarse = known and (update.full or any(sample.span_ms for sample in update.samples))
        if reshaped or coarse:
            self.cut()
        state.apply(update)
        if reshaped:
            self._adopt()
        if coarse and (risen := self._risen()):
            self._add(minute, risen)
            self.jumps = [*self.jumps, Jump(minute, risen)][-KEPT_JUMPS:]
        if any(sample.at_offset_ms < 0 for sample in update.samples):
            self._put_back(update.samples, received)
        if update.HasField("backlog"):
            self._place(state.rolled_up, received - update.at_unix_ms / 1000)
        self._note_gauges(update.items, started=started, clock_us=clock_us)

    def _adopt(self) -> None:
        """Blocks have come, gone or begun anew."""
        marks = {}
        for subject, block in self._state.counters.items():
            mark = self._marks.get(subject)
            same = mark is not None and mark[0] is block.base
            marks[subject] = mark if same and mark is not None else (block.base, block.base[:])
        self._marks = marks

    def resume(self) -> None:
        """The state is as it was when it was stored: everything up to here is in the database."""
        self._marks = {subject: (block.base, block.values[:]) for subject, block in self._state.counters.items()}

    # -- counters ----------------------------------------------------------------------------------------------------

    def cut(self) -> None:
        """Tell all that was counted up to now."""
        risen = self._risen()
        if risen or self._gauges:
            self._add(self._minute, risen, self._gauges)
            self._gauges = {}

    def _risen(self) -> dict[BlockId, list[int]]:
        risen: dict[BlockId, list[int]] = {}
        count = 0
        for subject, block in self._state.counters.items():
            mark = self._marks.get(subject)
            then = mark[1] if mark is not None and mark[0] is block.base else block.base
            if then == block.values:
                continue
            self._marks[subject] = block.base, block.values[:]
            count += len(block.values)
            if count > MAX_COUNTERS:
                self.left_out += len(block.values)
                continue
            rises = list(map(sub, block.values, then))
            if max(rises) > _MOST:
                rises = [min(rise, _MOST) for rise in rises]
            risen[subject, block.names] = rises
        return risen

    def _add(
        self,
        minute: int,
        risen: Mapping[BlockId, Iterable[int]],
        gauges: Mapping[str, _Gauge] | None = None,
        spread: int = 0,
    ) -> None:
        pending = self._pending
        row = history_pb2.MinuteRow(minute=minute, spread=spread)
        for series, values in risen.items():
            index = pending.blocks.get(series)
            if index is None:
                index = pending.blocks[series] = len(pending.blocks)
                pending.labels.append(label_of(self._state.items.get(series[0])))
            row.blocks.append(index)
            row.risen.extend(values)
        if gauges:
            self._tell_gauges(row, gauges)
        packed = history_pb2.MinuteRows(rows=[row]).SerializeToString()
        pending.rows.append(packed)
        pending.size += len(packed)
        while pending.size > MAX_PENDING_BYTES and len(pending.rows) > 1:
            pending.size -= len(pending.rows.pop(0))
            self.left_out += 1

    def _put_back(self, samples: Iterable[facts_pb2.CounterSample], received: float) -> None:
        """Samples of earlier minutes than this one: take what they counted to theirs."""
        slots = sorted((block.first_slot, block) for block in self._state.counters.values() if block.values)
        starts = [start for start, _ in slots]
        for sample in samples:
            minute = int((received + min(0, sample.at_offset_ms) / 1000) // MINUTE_S)
            if minute >= self._minute:
                continue
            risen: dict[BlockId, list[int]] = {}
            slot = 0
            for gap, increment in zip(sample.slot_gaps, sample.increments, strict=True):
                slot += gap
                which = bisect_right(starts, slot) - 1
                block = slots[which][1] if which >= 0 else None
                if block is not None and slot - block.first_slot < len(block.values):
                    _risen_of(risen, block.subject, block.names)[slot - block.first_slot] += increment
            self._move(risen, self._minute, max(minute, self._minute - MAX_AGE_MINUTES))

    def _move(self, risen: dict[BlockId, list[int]], since: int, to: int) -> None:
        self._add(to, risen)
        self._add(since, {series: [-value for value in values] for series, values in risen.items()})

    def spread(self, since: float) -> None:
        """What the last update counted at once rose evenly since that time (seconds since the epoch by the aggregator's
        clock), for it is known no finer: as between two snapshots of a bundle."""
        if not self.jumps or self.jumps[-1].minute != self._minute:
            return
        risen = self.jumps.pop().risen
        first = min(self._minute, max(self._minute - MAX_AGE_MINUTES, int(since // MINUTE_S)))
        self._spread(risen, first, max(first, self._minute - 1))
        self._add(self._minute, {series: [-value for value in values] for series, values in risen.items()})

    def _spread(self, risen: Mapping[BlockId, list[int]], first: int, last: int) -> None:
        minutes = last - first + 1
        for number in range(minutes):
            part = {
                series: [value * (number + 1) // minutes - value * number // minutes for value in values]
                for series, values in risen.items()
            }
            self._add(first + number, part, spread=minutes if minutes > 1 else 0)

    # -- what is told late -------------------------------------------------------------------------------------------

    def _place(self, rollups: Iterable[RollUp], ahead: float) -> None:
        """Put roll-ups where they belong. `ahead`: the aggregator's clock less the host's."""
        for rollup in rollups:
            begin_ms, end_ms = round(rollup.begin * 1000), round(rollup.end * 1000)
            middle = (begin_ms + end_ms) // 2
            if any(begin <= middle <= end for begin, end in self.told):
                continue
            self.told = [*self.told, (begin_ms, end_ms)][-KEPT_SPANS:]
            oldest = self._minute - MAX_AGE_MINUTES
            first = min(self._minute, max(oldest, int((rollup.begin + ahead) // MINUTE_S)))
            last = min(self._minute, max(first, int((rollup.end + ahead - 0.001) // MINUTE_S)))
            risen: dict[BlockId, list[int]] = {}
            for block in rollup.blocks:
                values = _risen_of(risen, block.subject, block.names)
                for index, increment in block.increments.items():
                    values[index] += increment
            self._spread(risen, first, last)
            self._settle(risen)

    def _settle(self, risen: dict[BlockId, list[int]]) -> None:
        """Take away what had been counted at once, where it was: at the latest jump that still has it."""
        for jump in reversed(self.jumps):
            away: dict[BlockId, list[int]] = {}
            for series, values in risen.items():
                owed = jump.risen.get(series)
                if owed is None:
                    continue
                for index, value in enumerate(values):
                    if (amount := min(value, owed[index])) > 0:
                        owed[index] -= amount
                        values[index] -= amount
                        _risen_of(away, *series)[index] -= amount
            if away:
                self._add(jump.minute, away)

    # -- gauges ------------------------------------------------------------------------------------------------------

    def _note_gauges(self, items: Iterable[facts_pb2.Item], *, started: bool, clock_us: int | None) -> None:
        hour = self._minute // HOUR_MINUTES
        if hour != self._hour:  # each hour's rows stand for themselves: they begin with all that stands
            self._hour, items = hour, self._state.items.values()
        for item in items:
            for name, value in gauges_of(item):
                self._note(name, value)
        if started:
            self._note(AGENT_STARTED, 1)
        if clock_us is not None:
            self._note(CLOCK_OFFSET, clock_us)

    def _note(self, name: str, value: int) -> None:
        value = max(-(1 << 63), min(value, (1 << 63) - 1))
        known = self._gauges.get(name)
        if known is None:
            self._gauges[name] = _Gauge(value, value, value)
        else:
            known.last, known.low, known.high = value, min(known.low, value), max(known.high, value)

    def _tell_gauges(self, row: history_pb2.MinuteRow, gauges: Mapping[str, _Gauge]) -> None:
        pending = self._pending
        for name, gauge in gauges.items():
            index = pending.gauges.get(name)
            if index is None:
                index = pending.gauges[name] = len(pending.gauges)
                pending.gauge_labels.append(label_of(self._state.items.get(name.rpartition("/")[0])))
            row.gauges.append(index)
            row.last.append(gauge.last)
            row.below.append(gauge.last - gauge.low)
            row.above.append(gauge.high - gauge.last)

    # -- giving away -------------------------------------------------------------------------------------------------

    def pending(self) -> bytes:
        """Everything that is not given away yet, a MinuteRows; empty: nothing."""
        self.cut()
        pending = self._pending
        if not pending.rows:
            return b""
        head = history_pb2.MinuteRows()
        schemas: dict[tuple[str, ...], int] = {}
        for (subject, names), label in zip(pending.blocks, pending.labels, strict=True):
            schema = schemas.get(names)
            if schema is None:
                schema = schemas[names] = len(schemas) + 1
                head.schemas.add(id=schema, names=names)
            head.blocks.add(subject=subject, label=label, schema=schema)
        for name, label in zip(pending.gauges, pending.gauge_labels, strict=True):
            head.gauges.add(name=name, label=label)
        return head.SerializeToString() + b"".join(pending.rows)

    def give(self) -> bytes:
        """The same, and forget it: somebody else keeps it now."""
        rows = self.pending()
        self._pending = _Pending()
        return rows


def _risen_of(risen: dict[BlockId, list[int]], subject: str, names: tuple[str, ...]) -> list[int]:
    values = risen.get((subject, names))
    if values is None:
        values = risen[subject, names] = [0] * len(names)
    return values


def blocks_of(jump: Jump) -> Iterator[tuple[BlockId, list[int]]]:
    """What is still owed of a jump."""
    return ((series, values) for series, values in jump.risen.items() if any(values))
