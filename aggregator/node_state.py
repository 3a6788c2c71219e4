"""What the aggregator knows of one host: its items, its counters, and how the counters moved of late.

`apply` takes an Update exactly as it came off the wire, or as a bundle's snapshot became one: there is one path.
Nothing here reads a clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from nodetell.v1 import agent_pb2, facts_pb2

MAX_ITEMS = 50_000
"""Items of one host; an update that would hold more is refused."""
MAX_COUNTERS = 500_000
"""Counters of one host; likewise."""
MAX_NAME_BYTES = 4096
HISTORY_SAMPLES = 4096
"""Samples kept for one block at most, whatever their age."""
REBOOT_SLACK_MS = 5_000
"""Two boot times that differ by less than this are one boot whose clock was stepped or rounded."""


class UpdateError(Exception):
    """An update that does not fit what came before it, or is not sane. The reason is one line."""


@dataclass(frozen=True, slots=True)
class Sample:
    """How one block moved up to a moment."""

    at: float
    """End of the interval, seconds since the epoch by the host's clock."""
    since: float
    """Its beginning: when the block was read before."""
    increments: tuple[tuple[int, int], ...]
    """(index in the block, increment), only of counters that moved."""


@dataclass(slots=True)
class CounterState:
    """One block: its counters now, and their history."""

    names: tuple[str, ...]
    values: list[int]
    first_slot: int
    read_at: float
    """When the values were last known to be current, seconds since the epoch."""
    first_at: float
    """When this block was first read; increments exist only after it."""
    reset_at: float | None = None
    """When a counter was last seen going backwards (reboot, recreation); None: never."""
    samples: deque[Sample] = field(default_factory=lambda: deque(maxlen=HISTORY_SAMPLES))

    def index(self, name: str) -> int | None:
        """Index of a counter by its name; None: the source does not have it."""
        try:
            return self.names.index(name)
        except ValueError:
            return None


@dataclass(frozen=True, slots=True)
class Delta:
    """By how much a counter rose in a window, over how long it was really watched."""

    increment: int
    seconds: float


class NodeState:
    """One host. Not thread-safe: one owner."""

    def __init__(self, name: str, history_s: float = 900.0) -> None:
        self.name = name
        self.history_s = history_s
        self.items: dict[str, facts_pb2.Item] = {}
        self.counters: dict[str, CounterState] = {}
        self.schemas: dict[int, tuple[str, ...]] = {}
        self.slots: dict[int, str] = {}
        """Subject of a block by its first slot."""
        self._slot_starts: list[int] = []
        self.at = 0.0
        """When the newest facts were read, seconds since the epoch by the host's clock; 0: none yet."""
        self.coalesced_updates = 0
        self.dropped_samples = 0

    # -- taking in -------------------------------------------------------------------------------------------------

    def apply(self, update: agent_pb2.Update) -> None:
        """Take in an update. Raises UpdateError and changes nothing if it does not fit or is not sane."""
        _check(update, self)
        at = update.at_unix_ms / 1000
        rebooted = self._rebooted(update)
        self.schemas.update((schema.id, tuple(schema.names)) for schema in update.schemas)
        if update.full:
            self._replace(update, at, rebooted)
        else:
            self._amend(update, at)
        self.at = at
        self.coalesced_updates = update.coalesced_updates
        self.dropped_samples = update.dropped_samples
        self._forget(at - self.history_s)

    def _rebooted(self, update: agent_pb2.Update) -> bool:
        before = self.items.get("host")
        now = next((item for item in update.items if item.key == "host"), None)
        if before is None or now is None:
            return False
        a, b = before.host, now.host
        if a.boot_id and b.boot_id:
            return a.boot_id != b.boot_id
        both = a.boot_time_unix_ms and b.boot_time_unix_ms
        return bool(both) and abs(a.boot_time_unix_ms - b.boot_time_unix_ms) > REBOOT_SLACK_MS

    def _replace(self, update: agent_pb2.Update, at: float, rebooted: bool) -> None:
        self.items = {item.key: item for item in update.items}
        blocks = {block.subject: block for block in update.blocks}
        self.counters = {subject: state for subject, state in self.counters.items() if subject in blocks}
        for block in update.blocks:
            self._take_block(block, at, fresh=rebooted)
        for sample in update.samples:
            self._take_sample(sample, at)

    def _amend(self, update: agent_pb2.Update, at: float) -> None:
        for key in update.removed_items:
            self.items.pop(key, None)
        for item in update.items:
            self.items[item.key] = item
        for subject in update.removed_blocks:
            self.counters.pop(subject, None)
        for block in update.blocks:
            self._take_block(block, at, fresh=False)
        for sample in update.samples:
            self._take_sample(sample, at + sample.at_offset_ms / 1000)
        for state in self.counters.values():
            state.read_at = at

    def _take_block(self, block: facts_pb2.CounterBlock, at: float, fresh: bool) -> None:
        names = self.schemas[block.schema]
        values = list(block.values)
        before = self.counters.get(block.subject)
        if before is None or before.names != names:
            self.counters[block.subject] = CounterState(names, values, block.first_slot, at, at)
            return
        backwards = fresh or any(now < then for then, now in zip(before.values, values, strict=True))
        if backwards:
            before.reset_at = before.first_at = at
            before.samples.clear()
        else:
            moved = tuple(
                (index, now - then)
                for index, (then, now) in enumerate(zip(before.values, values, strict=True))
                if now != then
            )
            if moved:
                before.samples.append(Sample(at, before.read_at, moved))
        before.values, before.first_slot, before.read_at = values, block.first_slot, at

    def _take_sample(self, sample: facts_pb2.CounterSample, at: float) -> None:
        by_state: dict[int, list[tuple[int, int]]] = {}
        states: dict[int, CounterState] = {}
        starts = sorted((state.first_slot, subject) for subject, state in self.counters.items())
        position = slot = 0
        for gap, increment in zip(sample.slot_gaps, sample.increments, strict=True):
            slot += gap
            while position + 1 < len(starts) and starts[position + 1][0] <= slot:
                position += 1
            state = self.counters[starts[position][1]]
            index = slot - state.first_slot
            state.values[index] += increment
            by_state.setdefault(state.first_slot, []).append((index, increment))
            states[state.first_slot] = state
        for first_slot, moved in by_state.items():
            state = states[first_slot]
            state.samples.append(Sample(at, state.read_at, tuple(moved)))

    def _forget(self, before: float) -> None:
        for state in self.counters.values():
            while state.samples and state.samples[0].at < before:
                state.samples.popleft()

    # -- looking up ------------------------------------------------------------------------------------------------

    def links(self) -> dict[int, facts_pb2.Link]:
        """Interfaces by ifindex."""
        return {item.link.ifindex: item.link for item in self._of("link")}

    def routes(self) -> list[facts_pb2.Route]:
        """Routes worth knowing."""
        return [item.route for item in self._of("route")]

    def coverage(self) -> list[facts_pb2.Coverage]:
        """What could not be read."""
        return [item.coverage for item in self._of("coverage")]

    def _of(self, kind: str) -> Iterator[facts_pb2.Item]:
        return (item for item in self.items.values() if item.WhichOneof("fact") == kind)

    def level(self, subject: str, counter: str) -> int | None:
        """A counter's value now; None: not known, which is not 0."""
        state = self.counters.get(subject)
        index = None if state is None else state.index(counter)
        return None if state is None or index is None else state.values[index]

    def delta(self, subject: str, counter: str, window_s: float) -> Delta | None:
        """By how much a counter rose in the last `window_s` seconds before `at`.

        None: the counter is not known, or it has been read only once since it began, so that nothing can be said.
        """
        state = self.counters.get(subject)
        index = None if state is None else state.index(counter)
        if state is None or index is None or state.read_at <= state.first_at:
            return None
        begin = self.at - window_s
        increment = sum(
            rise for sample in state.samples if sample.at > begin for which, rise in sample.increments if which == index
        )
        return Delta(increment, min(window_s, state.read_at - state.first_at))


def _check(update: agent_pb2.Update, state: NodeState) -> None:
    """Raise UpdateError unless the update is sane and fits the state."""
    schemas = {} if update.full else dict(state.schemas)
    for schema in update.schemas:
        if len(set(schema.names)) != len(schema.names):
            raise UpdateError(f"counter schema {schema.id}: a name stands in it twice")
        schemas[schema.id] = tuple(schema.names)
    if update.full and len(update.items) > MAX_ITEMS or len(state.items) + len(update.items) > 2 * MAX_ITEMS:
        raise UpdateError(f"more than {MAX_ITEMS:,} items")
    for item in update.items:
        if not item.key or len(item.key) > MAX_NAME_BYTES:
            raise UpdateError(f"item {item.key[:80]!r}: no key, or too long a key")
    slots = {} if update.full else {s.first_slot: len(s.values) for name, s in state.counters.items() if name not in update.removed_blocks}
    for block in update.blocks:
        names = schemas.get(block.schema)
        if names is None or len(names) != len(block.values):
            raise UpdateError(f"counter block {block.subject[:80]!r}: {len(block.values)} values do not fit schema {block.schema}")
        slots[block.first_slot] = len(block.values)
    if sum(slots.values()) > MAX_COUNTERS:
        raise UpdateError(f"more than {MAX_COUNTERS:,} counters")
    for sample in update.samples:
        _check_sample(sample, slots)


def _check_sample(sample: facts_pb2.CounterSample, slots: dict[int, int]) -> None:
    if len(sample.slot_gaps) != len(sample.increments):
        raise UpdateError(f"sample with {len(sample.slot_gaps)} slots and {len(sample.increments)} increments")
    starts: Sequence[int] = sorted(slots)
    position, slot = 0, 0
    for gap in sample.slot_gaps:
        slot += gap
        while position + 1 < len(starts) and starts[position + 1] <= slot:
            position += 1
        if not starts or not starts[position] <= slot < starts[position] + slots[starts[position]]:
            raise UpdateError(f"sample for slot {slot}, which no block has")
