"""What an agent tells of the time it could not tell anything: how counters moved, roll-up by roll-up.

Nothing of the present follows from it, so that it changes no level. It is put where it belongs in time: between the
checkpoints that windows are made of, and, for whoever keeps history, as roll-ups with a beginning and an end. Pure.
"""

from __future__ import annotations

import zlib
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nodetell.v1 import agent_pb2, facts_pb2

from aggregator.limits import NodeLimits

SLACK_S = 0.002
"""Times of a backlog are rounded to milliseconds, each by itself."""


@dataclass(frozen=True, slots=True)
class Moved:
    """A block in one roll-up."""

    subject: str
    names: tuple[str, ...]
    increments: Mapping[int, int]
    """By index of the counter's name; those that rose."""
    after: Sequence[int]
    """All values at the roll-up's end."""


@dataclass(frozen=True, slots=True)
class RollUp:
    """How counters moved between two moments, seconds since the epoch by the host's clock."""

    begin: float
    end: float
    blocks: list[Moved]
    """Those of which some counter rose. A subject may stand here twice where it began anew meanwhile."""


@dataclass(slots=True)
class Checkpoint:
    """All counters of a host as they were from `at` to `until`, on its timeline."""

    at: float
    until: float
    packed: bytes
    offsets: Mapping[str, int]
    """Where a subject's counters begin among the unpacked ones. Shared between checkpoints of the same blocks."""
    unheard_s: float = 0.0
    """How long before `at` the last rise may have come: nothing could be told meanwhile. 0: since the one before."""

    def unpacked(self) -> array[int]:
        """All counters, one block after the other."""
        return array("Q", zlib.decompress(self.packed))


def pack(counters: bytes) -> bytes:
    """What Checkpoint.packed has, of the counters' own bytes."""
    return zlib.compress(counters, 1)


def roll_ups(update: agent_pb2.Update, at_most: NodeLimits) -> list[RollUp]:
    """What the update's backlog tells, the newest first. Raises ValueError, one line, if it is not sane."""
    backlog = update.backlog
    if len(backlog.blocks) > at_most.series or sum(len(block.values) for block in backlog.blocks) > at_most.series:
        raise ValueError(f"backlog of more counters than the limit series, {at_most.series:,}, allows")
    schemas = {schema.id: tuple(schema.names) for schema in backlog.schemas}
    blocks = sorted(backlog.blocks, key=lambda block: block.first_slot)
    end = 0
    for block in blocks:
        names = schemas.get(block.schema)
        if names is None or len(names) != len(block.values) or not block.values:
            raise ValueError(f"backlog of {block.subject[:80]!r}: {len(block.values)} values do not fit their schema")
        longest = max(map(len, names))
        if len(block.subject) > at_most.name_bytes or longest > at_most.counter_name_bytes or not block.subject:
            raise ValueError(f"backlog of {block.subject[:80]!r}: no name, or too long a one")
        if block.first_slot < end:
            raise ValueError(f"backlog of {block.subject[:80]!r}: slot {block.first_slot} is another block's")
        end = block.first_slot + len(block.values)
    starts = [block.first_slot for block in blocks]
    values = [list(block.values) for block in blocks]
    found, later = [], update.at_unix_ms + 1
    for sample in reversed(backlog.samples):
        until = update.at_unix_ms + sample.at_offset_ms
        if not 0 < until - sample.span_ms < until or until > later + 1000 * SLACK_S:
            raise ValueError(f"backlog: a sample over {sample.span_ms} ms until {until} ms is out of order")
        later = until - sample.span_ms
        rises = _by_block(sample, starts, blocks)
        moved = []
        for which, increments in rises.items():
            after, block = tuple(values[which]), blocks[which]
            for index, increment in increments.items():
                values[which][index] -= increment
                if values[which][index] < 0:
                    raise ValueError(f"backlog of {block.subject[:80]!r}: a counter rose by more than it is")
            moved.append(Moved(block.subject, schemas[block.schema], increments, after))
        found.append(RollUp(later / 1000, until / 1000, moved))
    return found


def _by_block(
    sample: facts_pb2.CounterSample, starts: list[int], blocks: list[facts_pb2.CounterBlock]
) -> dict[int, dict[int, int]]:
    """Increments by block and index."""
    if len(sample.slot_gaps) != len(sample.increments):
        raise ValueError(f"backlog with {len(sample.slot_gaps)} slots and {len(sample.increments)} increments")
    found: dict[int, dict[int, int]] = {}
    slot, which, end = 0, -1, 0
    for gap, increment in zip(sample.slot_gaps, sample.increments, strict=True):
        slot += gap
        if not (which >= 0 and starts[which] <= slot < end):
            which = bisect_right(starts, slot) - 1
            end = starts[which] + len(blocks[which].values) if which >= 0 else 0
            if slot >= end:
                raise ValueError(f"backlog for slot {slot}, which no block of it has")
        rises = found.setdefault(which, {})
        index = slot - starts[which]
        rises[index] = rises.get(index, 0) + increment
    return found


def recollect(points: list[Checkpoint], rollup: RollUp, shift: float, apart: float) -> None:
    """Put a checkpoint where a roll-up began, unless there is one closer than `apart`. The newest comes first.

    A block that the roll-up does not name stood still. `shift` is what the timeline is ahead of the host's clock.
    """
    at, end = rollup.begin + shift, rollup.end + shift
    which = bisect_left(points, end - SLACK_S, key=lambda point: point.at)
    if which == len(points) or points[which].at - at < apart or (which and points[which - 1].until > at - apart):
        return
    after = points[which]
    values, same = after.unpacked(), True
    for block in rollup.blocks:
        offset, count = after.offsets.get(block.subject), len(block.after)
        if offset is not None and _goes_on(known := values[offset : offset + count], block.after):
            before = array("Q", block.after)
            same = same and known == before
            for index, increment in block.increments.items():
                before[index] -= increment
            values[offset : offset + count] = before
    if same:
        after.at = min(after.at, end)
    after.unheard_s = after.at - at
    unheard_s = at - points[which - 1].until if which else 0.0
    points.insert(which, Checkpoint(at, at, pack(values.tobytes()), after.offsets, unheard_s))


def _goes_on(later: Sequence[int], before: Sequence[int]) -> bool:
    return len(later) == len(before) and all(now >= then for now, then in zip(later, before, strict=True))
