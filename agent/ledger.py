"""What the aggregator has of this host, and what it is owed.

There is no queue. One update may be under way; whatever changes meanwhile is in the readings themselves, and the next
update says how they differ from what was sent. While no stream stands, how the counters moved is kept beside that, in
bounded memory, and told after the present state. No input or output here, and no clock: times named `at` are passed in,
in seconds, monotonic.
"""

from __future__ import annotations

from nodetell.v1 import agent_pb2

from agent.backlog import Backlog
from agent.delta import DeltaEncoder
from agent.reading import Reading

PART_GAP_S = 30.0
"""Least time between two parts of what was kept, and between the first of them and the state itself: an aggregator
takes 6 ms for one, and all of its agents come back together."""
MAX_SPAN_MS = (1 << 32) - 1


class Ledger:
    """Makes the updates of one agent process, numbered from 1."""

    def __init__(self) -> None:
        self._encoder = DeltaEncoder()
        self._number = 0
        self._needs_full = True
        self._samples_under_way = 0
        self._part_under_way = False
        self._seen = Reading()
        """The reading that the last update, or the last one missed, was about."""
        self._seen_at = 0.0
        self._made_at = 0.0
        """When an update was made last, or there was nothing to tell."""
        self._merging = False
        """Since then some could not be made."""
        self._away = False
        """No stream stands, and what moves is kept."""
        self._part_due = 0.0
        self._anew: set[str] = set()
        """Blocks that the aggregator must not take to go on from what it knows, and has not been told so."""
        self._merged_samples = 0
        self.backlog = Backlog()
        self.last_acknowledged = 0
        """Number of the last update that the aggregator has taken in."""
        self.under_way = False
        """An update was made and is not acknowledged yet."""
        self.owes = False
        """Something changed that no update tells yet, or everything has to be told again."""
        self.coalesced_updates = 0

    @property
    def dropped_samples(self) -> int:
        """Samples whose own time was lost."""
        return self._merged_samples + self.backlog.merged

    @property
    def seen(self) -> Reading:
        """The reading that was looked at last."""
        return self._seen

    def next(self, reading: Reading, at_unix_ms: int, at: float) -> tuple[int, agent_pb2.Update] | None:
        """The next update and its number; None: nothing to tell. Only when none is under way.

        What was kept while no stream stood comes in parts with updates after the first one, at most one in PART_GAP_S.
        """
        if self._away:
            self._come_back(reading, at)
        full = self._needs_full
        self._encoder.begin_anew(self._anew)
        update = self._encoder.full(reading, at_unix_ms) if full else self._encoder.delta(reading, at_unix_ms)
        if update is not None and self._merging:
            for sample in update.samples:
                sample.span_ms = min(max(1, round(1000 * (at - self._made_at))), MAX_SPAN_MS)
        update = self._with_part(update, at_unix_ms, at)
        self._seen, self._seen_at, self._made_at, self._merging, self.owes = reading, at, at, False, False
        if update is None:
            return None
        update.coalesced_updates = self.coalesced_updates
        update.dropped_samples = self.dropped_samples
        self._number += 1
        self._needs_full = False
        self.under_way = True
        self._samples_under_way, self._part_under_way = len(update.samples), update.HasField("backlog")
        return self._number, update

    def _with_part(self, update: agent_pb2.Update | None, at_unix_ms: int, at: float) -> agent_pb2.Update | None:
        if self._needs_full or at < self._part_due or (part := self.backlog.take_part(at)) is None:
            return update
        self._part_due = at + PART_GAP_S
        update = update or agent_pb2.Update(at_unix_ms=at_unix_ms)
        update.backlog.CopyFrom(part)
        return update

    def _come_back(self, reading: Reading, at: float) -> None:
        self.backlog.add(reading.blocks, at)
        self._anew |= self.backlog.began_anew
        self._away, self._part_due = False, at + PART_GAP_S

    def away(self, reading: Reading, at: float) -> None:
        """It was time for an update and no stream stands: keep how the counters moved."""
        if not self._away:
            self._away = True
            self.backlog.begin(self._seen.blocks, self._seen_at)
        self.backlog.add(reading.blocks, at)
        self._miss(reading, at)

    def missed(self, reading: Reading, at: float) -> None:
        """It was time for an update and one is under way still: count what it would have told."""
        self._merged_samples += self._miss(reading, at)

    def _miss(self, reading: Reading, at: float) -> bool:
        """Note that this reading is merged into a later one. True: its counters moved."""
        before, self._seen, self._seen_at, self._merging = self._seen, reading, at, True
        moved = any(
            (known := before.blocks.get(subject)) is not None and known is not block and known.values != block.values
            for subject, block in reading.blocks.items()
        )
        if moved or before.blocks.keys() != reading.blocks.keys() or before.items != reading.items:
            self.coalesced_updates += 1
            self.owes = True
        return moved

    def acknowledged(self) -> None:
        """The update under way was taken in."""
        self.under_way = False
        self.last_acknowledged = self._number
        self._anew.clear()
        if self._part_under_way:
            self.backlog.taken()

    def lost(self) -> None:
        """What became of the update under way is not known, or it was refused: everything must be told again.

        It counts as merged into the next although the aggregator may have taken it in and only the answer was lost.
        """
        if self.under_way:
            self.under_way = False
            self.coalesced_updates += 1
            self._merged_samples += self._samples_under_way
            if self._part_under_way:
                self.backlog.lost()
        self.tell_all()

    def tell_all(self) -> None:
        """The next update must be a full one."""
        self._needs_full = self.owes = True
