"""How counters moved while the aggregator was away, in bounded memory: the older, the coarser.

A roll-up is what all counters rose by over some time. Of the last minute each batch is one; older ones are merged,
adding up what they tell, so that nothing is lost but the moment. Where that is not enough for the room there is, all of
it becomes coarser. Roll-ups are held as they travel, a few bytes for each counter that moved. No clock: times are
passed in, monotonic, for the host's clock may be set during the absence.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from operator import add

from nodetell.v1 import facts_pb2

from agent.delta import moved, packed_sample
from agent.reading import Block

MAX_BYTES = 1 << 20
"""All that is held: of a host with 100 interfaces a day takes half of it, of one with 1,000 it becomes coarser."""
MAX_AGE_S = 7 * 86_400.0
"""What is older is dropped, and counted."""
PART_BYTES = 4_096
"""As much is told at once, unless a single roll-up is larger: what is new does not wait for long behind what is old."""
LEVELS = ((60.0, 0.0), (900.0, 60.0), (21_600.0, 600.0), (float("inf"), 3_600.0))
"""(up to what age, seconds that a roll-up spans)."""
_LINE_BYTES = 256
_VALUE_BYTES = 40
_COARSEST = 1 << 20


@dataclass(slots=True)
class _RollUp:
    begin: float
    end: float
    packed: bytes
    """A CounterSample, serialized."""


@dataclass(slots=True)
class _Line:
    """A block from where it began, or the absence did, to where it went, began anew, or the absence ended."""

    subject: str
    first_slot: int
    block: Block
    """As it is after the newest roll-up that is not told yet."""
    recorded: bool = False
    """Some roll-up is about it."""


class Backlog:
    """What one agent has to tell of its absences. Empty while there is none."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._rollups: list[_RollUp] = []
        """Oldest first."""
        self._live: dict[str, _Line] = {}
        self._closed: list[_Line] = []
        """In the order of their slots."""
        self._next_slot = 1
        self._at = 0.0
        self._coarseness = 1
        self._size = 0
        self._told: facts_pb2.Backlog | None = None
        """The part that was told last, as long as nobody has said that it arrived."""
        self._told_at = 0.0
        self._again = False
        """It must be told again, or has been."""
        self.merged = 0
        """Samples whose own time was lost, since the agent started."""
        self.began_anew: set[str] = set()
        """Subjects whose block went or was set back in the absence: what is there now does not go on from what was."""

    @property
    def size(self) -> int:
        """Bytes held, about; blocks that are there still are held by the reading anyway."""
        return self._size

    def __len__(self) -> int:
        """Roll-ups that have not arrived."""
        return len(self._rollups) + (len(self._told.samples) if self._told is not None else 0)

    # -- in the absence ----------------------------------------------------------------------------------------------

    def begin(self, blocks: Mapping[str, Block], at: float) -> None:
        """An absence begins: `blocks` as they were told last, at `at`."""
        for line in list(self._live.values()):
            self._close(line)
        if not self._rollups:
            self._forget_all()
        self.began_anew.clear()
        self._at = at
        for subject, block in blocks.items():
            self._open(subject, block)

    def add(self, blocks: Mapping[str, Block], at: float) -> None:
        """Blocks as they are now."""
        increments: list[tuple[int, int]] = []
        for subject, block in blocks.items():
            line = self._live.get(subject)
            if line is None:
                self._open(subject, block)
            elif line.block is not block:
                rises = moved(line.block, block, line.first_slot)
                if rises is None:
                    self.began_anew.add(subject)
                    self._close(line)
                    self._open(subject, block)
                else:
                    line.block, line.recorded = block, line.recorded or bool(rises)
                    increments.extend(rises)
        if len(self._live) != len(blocks):
            for subject in [subject for subject in self._live if subject not in blocks]:
                self.began_anew.add(subject)
                self._close(self._live[subject])
        if increments:
            self._append(_RollUp(self._at, at, packed_sample(increments).SerializeToString()))
        self._at = at
        self._thin_out(at)

    def _open(self, subject: str, block: Block) -> None:
        self._live[subject] = _Line(subject, self._next_slot, block)
        self._next_slot += len(block.values)

    def _close(self, line: _Line) -> None:
        del self._live[line.subject]
        if line.recorded:
            self._closed.append(line)
            self._size += _closed_size(line)

    def _append(self, rollup: _RollUp) -> None:
        self._rollups.append(rollup)
        self._size += len(rollup.packed)

    # -- making room -------------------------------------------------------------------------------------------------

    def _thin_out(self, now: float) -> None:
        while self._rollups and self._rollups[0].end < now - MAX_AGE_S:
            self._size -= len(self._rollups.pop(0).packed)
            self.merged += 1
        self._merge(now)
        while self._size > self._max_bytes and self._rollups:
            if self._coarseness < _COARSEST:
                self._coarseness *= 2
                self._merge(now)
            elif self._closed:
                self._forget_closed()
            else:
                self.merged += len(self._rollups)
                self._size -= sum(len(rollup.packed) for rollup in self._rollups)
                self._rollups.clear()
        if not self._rollups:
            self._coarseness = 1
            self._size -= sum(map(_closed_size, self._closed))
            self._closed.clear()

    def _merge(self, now: float) -> None:
        """Merge neighbours as far as their age allows. Across a time in which all was told only for lack of room."""
        kept: list[_RollUp] = []
        for rollup in self._rollups:
            before = kept[-1] if kept else None
            joined = before is not None and (before.end >= rollup.begin or self._coarseness > 1)
            if before is not None and joined and rollup.end - before.begin <= self._span(now - rollup.end):
                self._size -= len(before.packed) + len(rollup.packed)
                kept[-1] = _RollUp(before.begin, rollup.end, _sum(before.packed, rollup.packed))
                self._size += len(kept[-1].packed)
                self.merged += 1
            else:
                kept.append(rollup)
        self._rollups = kept

    def _span(self, age: float) -> float:
        span = next(span for limit, span in LEVELS if age < limit)
        return span * self._coarseness if span else 5.0 * (self._coarseness - 1)

    def _forget_closed(self) -> None:
        """Forget the older half of the blocks that are gone, and what they had to tell."""
        gone = self._closed[: (len(self._closed) + 1) // 2]
        del self._closed[: len(gone)]
        self._size -= sum(map(_closed_size, gone))
        self.merged += len(gone)
        slots = {line.first_slot + index for line in gone for index in range(len(line.block.values))}
        for rollup in self._rollups:
            self._size -= len(rollup.packed)
            sample = facts_pb2.CounterSample.FromString(rollup.packed)
            left = [pair for pair in _pairs(sample) if pair[0] not in slots]
            rollup.packed = packed_sample(left).SerializeToString()
            self._size += len(rollup.packed)

    def _forget_all(self) -> None:
        self._live.clear()
        self._closed.clear()
        self._size, self._next_slot, self._coarseness = 0, 1, 1

    # -- afterwards --------------------------------------------------------------------------------------------------

    def take_part(self, now: float) -> facts_pb2.Backlog | None:
        """The newest part not told yet, its times relative to `now`; None: all is told."""
        if self._told is not None and now - self._told_at > MAX_AGE_S:
            self._again = True
            self.lost()
        if self._told is not None:
            for sample in self._told.samples:
                sample.at_offset_ms -= round(1000 * (now - self._told_at))
            self._told_at = now
            return self._told
        rollups: list[_RollUp] = []
        while self._rollups and (not rollups or sum(len(one.packed) for one in rollups) < PART_BYTES):
            rollups.insert(0, self._rollups.pop())
        if not rollups:
            return None
        lines = sorted([*self._closed, *self._live.values()], key=lambda line: line.first_slot)
        part = facts_pb2.Backlog()
        totals: dict[int, int] = {}
        for rollup in rollups:
            self._size -= len(rollup.packed)
            sample = facts_pb2.CounterSample.FromString(rollup.packed)
            sample.at_offset_ms = round(1000 * (rollup.end - now))
            sample.span_ms = max(1, round(1000 * (rollup.end - rollup.begin)))
            part.samples.append(sample)
            for slot, increment in _pairs(sample):
                totals[slot] = totals.get(slot, 0) + increment
        self._tell_lines(part, lines, totals)
        if not self._rollups:
            self._forget_all()
        self._told, self._told_at = part, now
        return part

    def taken(self) -> None:
        """The part told last has arrived."""
        self._told, self._again = None, False

    def lost(self) -> None:
        """Nobody knows whether it has. It is told once again, the same, and then given up."""
        if self._told is not None and self._again:
            self.merged += len(self._told.samples)
            self.taken()
        self._again = self._told is not None

    @staticmethod
    def _tell_lines(part: facts_pb2.Backlog, lines: list[_Line], totals: dict[int, int]) -> None:
        """Add the blocks that counters in `totals` are of, and set them back to where they were before."""
        starts = [line.first_slot for line in lines]
        schemas: dict[tuple[str, ...], int] = {}
        for which in sorted({bisect_right(starts, slot) - 1 for slot in totals}):
            line = lines[which]
            block = line.block
            schema = schemas.get(block.names)
            if schema is None:
                schema = schemas[block.names] = len(schemas) + 1
                part.schemas.add(id=schema, names=block.names)
            part.blocks.add(first_slot=line.first_slot, schema=schema, subject=line.subject, values=block.values)
            before = (value - totals.get(slot, 0) for slot, value in enumerate(block.values, line.first_slot))
            line.block = Block(block.names, tuple(before))


def _closed_size(line: _Line) -> int:
    return _LINE_BYTES + _VALUE_BYTES * len(line.block.values)


def _pairs(sample: facts_pb2.CounterSample) -> Iterator[tuple[int, int]]:
    slot = 0
    for gap, increment in zip(sample.slot_gaps, sample.increments, strict=True):
        slot += gap
        yield slot, increment


def _sum(older: bytes, newer: bytes) -> bytes:
    one, other = facts_pb2.CounterSample.FromString(older), facts_pb2.CounterSample.FromString(newer)
    if one.slot_gaps == other.slot_gaps:  # mostly the same counters move
        one.increments[:] = map(add, one.increments, other.increments)
        return one.SerializeToString()
    totals = dict(_pairs(one))
    for slot, increment in _pairs(other):
        totals[slot] = totals.get(slot, 0) + increment
    return packed_sample(totals.items()).SerializeToString()
