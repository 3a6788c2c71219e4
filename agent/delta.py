"""What changed since the update before: readings in, Update messages out.

Items are compared by identity first and by value second; counters by identity of their block, which a collector keeps
when nothing moved. A counter that went backwards is never sent as an increment: its block is sent again, whole, and
the receiver starts from the new values.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from operator import sub

from nodetell.limits import IMPLAUSIBLE_RISE
from nodetell.v1 import agent_pb2, facts_pb2

from agent.reading import Block, Reading


@dataclass(slots=True)
class _Sent:
    """A block as the receiver knows it."""

    block: Block
    first_slot: int


class DeltaEncoder:
    """Holds what the receiver knows once it has taken in all updates made so far."""

    def __init__(self) -> None:
        self._items: dict[str, facts_pb2.Item] = {}
        self._blocks: dict[str, _Sent] = {}
        self._schemas: dict[tuple[str, ...], int] = {}
        self._sent_schemas: set[int] = set()
        self._next_slot = 1
        self._anew: set[str] = set()

    def begin_anew(self, subjects: Iterable[str]) -> None:
        """Blocks of these subjects do not go on from what the receiver knows, though their values may look like it."""
        self._anew.update(subjects)

    def full(self, reading: Reading, at_unix_ms: int) -> agent_pb2.Update:
        """Everything, for a receiver that knows nothing."""
        self._items.clear()
        self._blocks.clear()
        self._sent_schemas.clear()
        update = self._difference(reading, at_unix_ms)
        update.full = True
        return update

    def delta(self, reading: Reading, at_unix_ms: int) -> agent_pb2.Update | None:
        """What changed since the update made before; None: nothing."""
        update = self._difference(reading, at_unix_ms)
        changed = update.items or update.removed_items or update.blocks or update.removed_blocks or update.samples
        return update if changed else None

    def _difference(self, reading: Reading, at_unix_ms: int) -> agent_pb2.Update:
        update = agent_pb2.Update(at_unix_ms=at_unix_ms)
        self._items_difference(reading.items, update)
        self._blocks_difference(reading.blocks, update)
        return update

    def _items_difference(self, items: dict[str, facts_pb2.Item], update: agent_pb2.Update) -> None:
        known = self._items
        for key, item in items.items():
            before = known.get(key)
            if before is not item:
                if before is None or before != item:
                    update.items.append(item)
                known[key] = item
        if len(known) != len(items):
            for key in [key for key in known if key not in items]:
                del known[key]
                update.removed_items.append(key)

    def _blocks_difference(self, blocks: dict[str, Block], update: agent_pb2.Update) -> None:
        known = self._blocks
        increments: list[tuple[int, int]] = []
        if self._anew:
            for subject in sorted(self._anew):
                known.pop(subject, None)
                update.removed_blocks.append(subject)
            self._anew.clear()
        for subject, block in blocks.items():
            sent = known.get(subject)
            if sent is None:
                self._send_block(subject, block, self._take_slots(len(block.values)), update)
            elif sent.block is not block:
                rises = moved(sent.block, block, sent.first_slot)
                if rises is None:
                    same_shape = sent.block.names == block.names
                    first = sent.first_slot if same_shape else self._take_slots(len(block.values))
                    self._send_block(subject, block, first, update)
                else:
                    sent.block = block
                    increments.extend(rises)
        if len(known) != len(blocks):
            for subject in [subject for subject in known if subject not in blocks]:
                del known[subject]
                update.removed_blocks.append(subject)
        if increments:
            update.samples.append(packed_sample(increments))

    def _take_slots(self, count: int) -> int:
        first = self._next_slot
        self._next_slot += count
        return first

    def _send_block(self, subject: str, block: Block, first_slot: int, update: agent_pb2.Update) -> None:
        schema = self._schemas.setdefault(block.names, len(self._schemas) + 1)
        if schema not in self._sent_schemas:
            self._sent_schemas.add(schema)
            update.schemas.add(id=schema, names=block.names)
        update.blocks.add(first_slot=first_slot, schema=schema, subject=subject, values=block.values)
        self._blocks[subject] = _Sent(block, first_slot)


def moved(before: Block, now: Block, first_slot: int) -> list[tuple[int, int]] | None:
    """(slot, increment) of each counter that rose; None where the block does not go on from what it was."""
    if before.names is not now.names and before.names != now.names:
        return None
    rises = []
    for slot, (then, value) in enumerate(zip(before.values, now.values, strict=True), first_slot):
        if value != then:
            if not 0 <= value - then < IMPLAUSIBLE_RISE:
                return None
            rises.append((slot, value - then))
    return rises


def packed_sample(increments: Iterable[tuple[int, int]]) -> facts_pb2.CounterSample:
    """(slot, increment) of counters, in any order, as they travel."""
    ordered = sorted(increments)
    slots = [slot for slot, _ in ordered]
    return facts_pb2.CounterSample(
        slot_gaps=map(sub, slots, [0, *slots]), increments=[increment for _, increment in ordered]
    )
