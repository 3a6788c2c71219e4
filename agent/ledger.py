"""What the aggregator has of this host, and what it is owed.

There is no queue. One update may be under way; whatever changes meanwhile is in the readings themselves, and the next
update says how they differ from what was sent. So an absent aggregator costs no memory, however long it is away: what
is lost is only at which moment each change happened, and that is counted. No input or output here, and no clock.
"""

from __future__ import annotations

from nodetell.v1 import agent_pb2

from agent.delta import DeltaEncoder
from agent.reading import Reading


class Ledger:
    """Makes the updates of one agent process, numbered from 1."""

    def __init__(self) -> None:
        self._encoder = DeltaEncoder()
        self._number = 0
        self._needs_full = True
        self._samples_under_way = 0
        self._seen = Reading()
        """The reading that the last update, or the last one missed, was about."""
        self.last_acknowledged = 0
        """Number of the last update that the aggregator has taken in."""
        self.under_way = False
        """An update was made and is not acknowledged yet."""
        self.owes = False
        """Something changed that no update tells yet, or everything has to be told again."""
        self.coalesced_updates = 0
        self.dropped_samples = 0

    def next(self, reading: Reading, at_unix_ms: int) -> tuple[int, agent_pb2.Update] | None:
        """The next update and its number; None: nothing changed. Only when none is under way."""
        full = self._needs_full
        update = self._encoder.full(reading, at_unix_ms) if full else self._encoder.delta(reading, at_unix_ms)
        self._seen, self.owes = reading, False
        if update is None:
            return None
        update.coalesced_updates = self.coalesced_updates
        update.dropped_samples = self.dropped_samples
        self._number += 1
        self._needs_full = False
        self.under_way, self._samples_under_way = True, len(update.samples)
        return self._number, update

    def missed(self, reading: Reading) -> None:
        """It was time for an update and none could be sent: count what it would have told."""
        before, self._seen = self._seen, reading
        moved = any(
            (known := before.blocks.get(subject)) is not None and known is not block and known.values != block.values
            for subject, block in reading.blocks.items()
        )
        if moved or before.blocks.keys() != reading.blocks.keys() or before.items != reading.items:
            self.coalesced_updates += 1
            self.dropped_samples += moved
            self.owes = True

    def acknowledged(self) -> None:
        """The update under way was taken in."""
        self.under_way = False
        self.last_acknowledged = self._number

    def lost(self) -> None:
        """What became of the update under way is not known, or it was refused: everything must be told again.

        It counts as merged into the next although the aggregator may have taken it in and only the answer was lost.
        """
        if self.under_way:
            self.under_way = False
            self.coalesced_updates += 1
            self.dropped_samples += self._samples_under_way
        self.tell_all()

    def tell_all(self) -> None:
        """The next update must be a full one."""
        self._needs_full = self.owes = True
