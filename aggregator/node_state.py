"""What the aggregator knows of one host: its items, its counters, and how the counters moved of late.

`apply` takes an Update exactly as it came off the wire, or as a bundle's snapshot became one: there is one path. An
update is checked as a whole before anything of it is taken in, and what of it is over a limit (limits.py) is left out
and counted. Nothing here reads a clock.

Time. Windows lie on the host's own wall clock, for that is what the samples carry. Where it is set back, the state's
timeline goes on from where it was (small steps, as between a sample and the heartbeat that overtook it, are held back
instead): a window never sees time run backwards. Where it is set forward, that much time counts as passed: windows
empty early, and what they held is seen again when it goes on.

History is not kept as samples but as checkpoints: copies of all counters every few seconds, later every minute,
compressed. A rise in a window is then one subtraction, a quiet host costs nothing, and a host of 100 interfaces whose
every packet counter moves costs some tens of kilobytes.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain, islice
from operator import sub

from nodetell.limits import IMPLAUSIBLE_RISE
from nodetell.v1 import agent_pb2, facts_pb2

from aggregator import limits
from aggregator.backlog import SLACK_S, Checkpoint, RollUp, pack, recollect, roll_ups
from aggregator.limits import NodeLimits, Reached
from aggregator.node_items import Items, UpdateError

MAX_TIME_S = 253_402_300_799
"""The end of the year 9999: a clock beyond it is none."""
REBOOT_SLACK_MS = 5_000
"""Two boot times that differ by less than this are one boot whose clock was stepped or rounded."""
STEP_BACK_S = 2.0
"""A clock that goes back by more than this was set; by less, two messages overtook each other."""
FINE_S = 5.0
"""Distance between checkpoints: a window may begin so much earlier than asked, and a counter clear so much later."""
FINE_SPAN_S = 150.0
"""Checkpoints older than this are thinned out ..."""
COARSE_S = 60.0
"""... to this distance."""

GAP_S = 20.0
"""Of a longer time in which nothing could be told nobody knows when in it a counter rose. A window that begins in it
has its share: an hour's rise is not taken for a burst."""

FAULT_COUNTERS = frozenset(
    {
        "rx_errors",
        "tx_errors",
        "rx_dropped",
        "tx_dropped",
        "rx_crc_errors",
        "rx_frame_errors",
        "rx_fifo_errors",
        "rx_missed_errors",
        "rx_over_errors",
        "tx_carrier_errors",
        "tx_fifo_errors",
        "tx_heartbeat_errors",
        "tx_window_errors",
        "FragFails",
        "FragCreates",
        "ReasmFails",
        "ReasmTimeout",
        "dropped",
    }
)
"""Counters that stand still on most hosts nearly always, and without which no rule over counters has anything to say.
When each last rose is remembered, so that a host is passed over at a glance."""

_MAX_UINT64 = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Names:
    """Names of a block's counters, in order. One object for all blocks of all hosts that have the same."""

    names: tuple[str, ...]
    index: Mapping[str, int]
    faults: Mapping[int, str]
    """Those of FAULT_COUNTERS, by index."""


@lru_cache(maxsize=1024)
def _shared(names: tuple[str, ...]) -> Names:
    index = {name: index for index, name in enumerate(names)}
    return Names(names, index, {where: name for name, where in index.items() if name in FAULT_COUNTERS})


@dataclass(slots=True)
class CounterState:
    """One block: its counters now, and since when they are known.

    `first_at` and `moved_at` are on the state's timeline: the host's clock, going on where that is set back.
    """

    subject: str
    layout: Names
    first_slot: int
    values: array[int]
    base: array[int]
    """The values when it began."""
    first_at: float
    """When it began: first read, or a counter went backwards (reboot, recreation). Rises exist only after it."""
    moved_at: float
    """When a counter of it last rose."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the counters, in the order of the values."""
        return self.layout.names

    def index(self, name: str) -> int | None:
        """Index of a counter by its name; None: the source does not have it."""
        return self.layout.index.get(name)


@dataclass(frozen=True, slots=True)
class Delta:
    """By how much a counter rose in a window, over how long it was really watched."""

    increment: int
    seconds: float


@dataclass(frozen=True, slots=True)
class ClockOffset:
    """What the host's clock shows beside another one, measured over the agent's stream."""

    offset_s: float
    """By how much it is ahead."""
    bound_s: float
    """The true offset differs from that by no more: half the round trip, and what clocks may drift since."""
    at: float
    """When it was measured, seconds since the epoch by the aggregator's clock."""
    from_most: bool = False
    """Beside what most hosts show, for the aggregator's clock is the wrong one; otherwise beside the aggregator's."""


@dataclass(frozen=True, slots=True)
class _Slots:
    """Blocks by their slots: `states[i]` owns the slots from `starts[i]` on."""

    starts: list[int]
    states: list[CounterState]


_OF_COUNTERS = frozenset({"series", "schemas", "counters_of_a_schema", "counter_name_bytes", "name_bytes"})
"""Limits that keep whole blocks out."""


@dataclass(frozen=True, slots=True)
class _Rises:
    """A sample, its slots resolved."""

    at: float
    span_s: float
    """Over how long before that, where updates could not be sent."""
    rises: list[tuple[CounterState, int, int]]
    """(block, index, increment)"""


class NodeState:
    """One host. Not thread-safe: one owner."""

    def __init__(self, name: str, history_s: float = 900.0, at_most: NodeLimits = limits.NODE) -> None:
        self.name = name
        self.history_s = history_s
        """How far back windows may reach, seconds."""
        self.at = 0.0
        """When the newest facts were read, seconds since the epoch by the host's clock; 0: none yet."""
        self.items: dict[str, facts_pb2.Item] = {}
        self.counters: dict[str, CounterState] = {}
        self.revision = 0
        """Grows with all that is taken in, were it only the time: what follows from this state holds until then."""
        self.items_revision = 0
        """Grows whenever an item may have changed."""
        self.derived: dict[str, object] = {}
        """What others have worked out from this state, each under a name of its own and with what it rests on."""
        self.clock_offset: ClockOffset | None = None
        """None: not measured, or not lately."""
        self.coalesced_updates = 0
        self.dropped_samples = 0
        self.rolled_up: Sequence[RollUp] = ()
        """What the last update told of a time in which nothing could be told."""
        self.reached: dict[str, Reached] = {}
        """What was left out, by name of the limit: since the last full update, and ever."""
        self._at_most = at_most
        self._schemas: dict[int, Names] = {}
        self._slots = _Slots([], [])
        self._all = Items()
        self._now = 0.0
        """`at` on the timeline that is never set back."""
        self._shift = 0.0
        """_now minus the host's clock."""
        self._checkpoints: list[Checkpoint] = []
        self._moved = True
        """A counter moved since the newest checkpoint."""
        self._unheard_s = 0.0
        """How long nothing could be told before the rise that no checkpoint has yet."""
        self._fault_at: dict[str, dict[str, float]] = {}
        """When each of FAULT_COUNTERS last rose, by subject and name, on the timeline."""
        self._offsets: dict[str, int] | None = None
        self._unpacked: tuple[Checkpoint, array[int]] | None = None
        self._kinds: dict[str | None, dict[str, facts_pb2.Item]] | None = None
        """Items of each kind by key, in the order they have among all; None: not put together yet."""
        self._by_kind: dict[str | None, list[facts_pb2.Item]] = {}
        self._links: tuple[Sequence[facts_pb2.Item], dict[int, facts_pb2.Link]] = (), {}

    # -- taking in -------------------------------------------------------------------------------------------------

    def apply(self, update: agent_pb2.Update) -> None:
        """Take in an update. Raises UpdateError and changes nothing if it does not fit or is not sane.

        Items of a kind that this software does not know, from a newer agent, are left out, and so is what is over a
        limit: of that, items are taken out of the update itself. Samples count on top of the update's own blocks.
        """
        if not update.full and not self.at:
            raise UpdateError("the first update is not a full one")
        if not 0 < update.at_unix_ms <= MAX_TIME_S * 1000:
            raise UpdateError(f"time {update.at_unix_ms} ms is none")
        at = update.at_unix_ms / 1000
        first = not self.at
        shift = 0.0 if first else self._shift_at(at)
        now = max(self._now, at + shift)
        left_out: Counter[str] = Counter()
        schemas = self._with_schemas(update, left_out)
        taken = self._with_items(update, left_out)
        counters, slots = self._with_blocks(update, schemas, now, left_out)
        self._check_samples(update)
        missed = self._rolled_up(update)
        partial = self._leaves_out_counters(update, left_out)
        samples = [_resolve(sample, slots, now, partial=partial) for sample in update.samples]
        _check_range(samples)

        if not first:
            self._checkpoint()
        if update.full and not first:
            self._unheard_s = now - self._now
        if counters is not self.counters:
            self.counters, self._slots, self._offsets = counters, slots, None
            self._moved = True
            self._note_faults(update, now)
        for sample in samples:
            self._now = max(self._now, sample.at)
            for state, index, increment in sample.rises:
                state.values[index] += increment
                state.moved_at = self._now
                if index in state.layout.faults:
                    self._fault_at.setdefault(state.subject, {})[state.layout.faults[index]] = self._now
            self._moved = self._moved or bool(sample.rises)
            self._unheard_s = max(self._unheard_s, sample.span_s)
            if self._now > now - self.history_s:  # no window reaches back further
                self._checkpoint()
        self._schemas, self._now, self._shift, self.at = schemas, now, shift, at
        self.revision += 1
        if _rebooted(self.items, taken.items if taken is not None else None):
            for state in self.counters.values():
                state.base, state.first_at, state.moved_at = state.values[:], now, now
        if taken is not None:
            self._sort_in(update, taken.items)
            self._all, self.items = taken, taken.items
            self.items_revision += 1
        self.rolled_up = missed
        self._recollect(missed)
        self._note_left_out(update, left_out)
        self.coalesced_updates = update.coalesced_updates
        self.dropped_samples = update.dropped_samples

    def touch(self, at: float) -> None:
        """The host is alive at `at` (seconds since the epoch by its clock) and nothing changed: windows slide."""
        if self.at and 0 < at <= MAX_TIME_S:
            self._checkpoint()
            self._shift = self._shift_at(at)
            self._now = max(self._now, at + self._shift)
            self.at = at
            self.revision += 1

    def _shift_at(self, at: float) -> float:
        back = self._now - (at + self._shift)
        return self._shift + back if back > STEP_BACK_S else self._shift

    def _with_schemas(self, update: agent_pb2.Update, left_out: Counter[str]) -> dict[int, Names]:
        if not update.schemas:
            return {} if update.full else self._schemas
        at_most = self._at_most
        schemas = {} if update.full else dict(self._schemas)
        for schema in islice(update.schemas, 2 * at_most.schemas):
            known = schemas.pop(schema.id, None)
            names = known.names if known is not None and known.names == tuple(schema.names) else None
            if names is None and len(schema.names) > at_most.counters_of_a_schema:
                left_out["counters_of_a_schema"] += 1
                continue
            if names is None:
                names = tuple(schema.names)
                if len(set(names)) != len(names):
                    raise UpdateError(f"counter schema {schema.id}: a name stands in it twice")
                if any(len(name) > at_most.counter_name_bytes for name in names):
                    left_out["counter_name_bytes"] += 1
                    continue
            if len(schemas) >= at_most.schemas:
                left_out["schemas"] += 1
                continue
            schemas[schema.id] = _shared(names)
        left_out["schemas"] += max(0, len(update.schemas) - 2 * at_most.schemas)
        return schemas

    def _with_items(self, update: agent_pb2.Update, left_out: Counter[str]) -> Items | None:
        """All items once the update is taken in; None: they stay as they are."""
        if not (update.full or update.items or update.removed_items):
            return None
        kept = Items() if update.full else self._all.copy()
        kept.take(update, self._at_most, left_out)
        return kept

    def _note_left_out(self, update: agent_pb2.Update, left_out: Counter[str]) -> None:
        if update.full:
            for each in self.reached.values():
                each.now = 0
        for name, count in left_out.items():
            if count:
                each = self.reached.setdefault(name, Reached())
                each.now += count
                each.total += count

    def _leaves_out_counters(self, update: agent_pb2.Update, left_out: Counter[str]) -> bool:
        """Blocks were left out since the last full update, so that samples may be for slots that are not known."""
        before = () if update.full else (name for name, each in self.reached.items() if each.now)
        return any(name in _OF_COUNTERS for name in (*before, *(+left_out)))

    def _check_samples(self, update: agent_pb2.Update) -> None:
        at_most = self._at_most
        count = len(update.samples) + len(update.backlog.samples)
        if count > at_most.samples:
            raise UpdateError(f"{count:,} samples: the limit samples is {at_most.samples:,}")
        increments = sum(len(sample.increments) for sample in chain(update.samples, update.backlog.samples))
        if increments > at_most.increments:
            raise UpdateError(f"{increments:,} increments: the limit increments is {at_most.increments:,}")

    def _sort_in(self, update: agent_pb2.Update, after: dict[str, facts_pb2.Item]) -> None:
        """Bring the items' order by kind up to date with an update; `after`: all of them then."""
        if update.full or self._kinds is None:
            self._kinds = None
            self._by_kind.clear()
            return
        changed = [*update.removed_items, *(item.key for item in update.items)]
        for items, place in ((self.items, False), (after, True)):
            for key in changed:
                if (item := items.get(key)) is not None:
                    kind = item.WhichOneof("fact")
                    same = self._kinds.setdefault(kind, {})
                    same.pop(key, None)
                    if place:
                        same[key] = item
                    self._by_kind.pop(kind, None)

    def _with_blocks(
        self, update: agent_pb2.Update, schemas: dict[int, Names], now: float, left_out: Counter[str]
    ) -> tuple[dict[str, CounterState], _Slots]:
        """All blocks once the update's are taken in, before its samples."""
        if not (update.full or update.blocks or update.removed_blocks):
            return self.counters, self._slots
        at_most = self._at_most
        counters = {} if update.full else dict(self.counters)
        anew = set(update.removed_blocks)
        for subject in anew:
            counters.pop(subject, None)
        series = sum(max(1, len(state.values)) for state in counters.values())
        partial = self._leaves_out_counters(update, left_out)
        for block in islice(update.blocks, 2 * at_most.series):
            if not block.subject:
                raise UpdateError("a counter block has no subject")
            before = counters.pop(block.subject, None)
            series -= max(1, len(before.values)) if before is not None else 0
            names, count = schemas.get(block.schema), max(1, len(block.values))
            if names is None and partial:
                left_out["series"] += count
                continue
            if names is None or len(names.names) != len(block.values):
                shape = f"{len(block.values)} values do not fit schema {block.schema}"
                raise UpdateError(f"counter block {block.subject[:80]!r}: {shape}")
            if len(block.subject) > at_most.name_bytes:
                left_out["name_bytes"] += 1
                continue
            if series + count > at_most.series:
                left_out["series"] += count
                continue
            known = None if block.subject in anew else self.counters.get(block.subject)
            counters[block.subject] = _taken(block, names, known, now)
            series += count
        left_out["series"] += max(0, len(update.blocks) - 2 * at_most.series)
        return counters, _slots_of(counters.values())

    def _note_faults(self, update: agent_pb2.Update, now: float) -> None:
        """Of blocks that were sent whole any counter may have risen; what is gone is forgotten."""
        for subject in [subject for subject in self._fault_at if subject not in self.counters]:
            del self._fault_at[subject]
        for block in update.blocks:
            state = self.counters.get(block.subject)
            if state is not None and state.moved_at == now and state.values != state.base:
                self._fault_at[block.subject] = dict.fromkeys(state.layout.faults.values(), now)

    # -- history ---------------------------------------------------------------------------------------------------

    def _checkpoint(self) -> None:
        """Keep the counters as they are now, if it is time to."""
        last = self._checkpoints[-1] if self._checkpoints else None
        if last is not None and not self._moved:
            last.until = self._now
            return
        if last is not None and self._now - last.at < FINE_S:
            return
        if self._offsets is None:
            self._offsets, offset = {}, 0
            for subject, state in self.counters.items():
                self._offsets[subject] = offset
                offset += len(state.values)
        packed = pack(b"".join([state.values.tobytes() for state in self.counters.values()]))
        self._checkpoints.append(Checkpoint(self._now, self._now, packed, self._offsets, self._unheard_s))
        self._moved, self._unheard_s = False, 0.0
        self._thin_out()

    def _thin_out(self) -> None:
        points = self._checkpoints
        while len(points) > 1 and points[1].at <= self._now - self.history_s:
            del points[0]  # the one after it serves the longest window
        # At most one leaves the fine span with each new checkpoint.
        old = bisect_right(points, self._now - FINE_SPAN_S, key=lambda point: point.at) - 1
        if old >= 2 and points[old].at - points[old - 2].at <= COARSE_S:
            del points[old - 1]

    def _rolled_up(self, update: agent_pb2.Update) -> list[RollUp]:
        if not update.HasField("backlog"):
            return []
        try:
            return roll_ups(update, self._at_most)
        except ValueError as error:
            raise UpdateError(str(error)) from None

    def _recollect(self, rollups: Sequence[RollUp]) -> None:
        """Take in how counters moved when nothing could be told, the newest first. What they are now has it already."""
        for rollup in rollups:
            begin, end = rollup.begin + self._shift, rollup.end + self._shift
            if begin < self._now - self.history_s:
                break
            apart = FINE_S if begin > self._now - FINE_SPAN_S else COARSE_S / 2
            recollect(self._checkpoints, rollup, self._shift, apart - SLACK_S)
            for block in rollup.blocks:
                state = self.counters.get(block.subject)
                if state is None or state.names != block.names:
                    continue
                if end <= state.first_at + SLACK_S and state.base == array("Q", block.after):
                    for index, increment in block.increments.items():
                        state.base[index] -= increment
                    state.first_at = begin
                for index in block.increments.keys() & state.layout.faults.keys():
                    risen = self._fault_at.setdefault(block.subject, {})
                    name = state.layout.faults[index]
                    risen[name] = max(end, risen.get(name, end))

    def _before(self, state: CounterState, begin: float) -> tuple[float, Sequence[int]]:
        """(from when on, the block's counters then) for a window that begins at `begin`.

        Where the block has begun later, or the history is not as long, its base serves.
        """
        which = bisect_right(self._checkpoints, begin, key=lambda point: point.at) - 1
        if which < 0 or (point := self._checkpoints[which]).at < state.first_at or state.subject not in point.offsets:
            return state.first_at, state.base
        then = self._values_at(state, point)
        if point.at == state.first_at and then != state.base:
            return state.first_at, state.base  # of the moment before the block began anew
        after = self._checkpoints[which + 1] if which + 1 < len(self._checkpoints) else None
        heard, unheard_s = (after.at, after.unheard_s) if after is not None else (self._now, self._unheard_s)
        until = max(point.until, heard - unheard_s)
        if begin <= until or heard - until <= GAP_S:
            return min(begin, point.until), then
        later = self._values_at(state, after) if after is not None else state.values
        share = (begin - until) / (heard - until)
        return begin, [past + int(share * (now - past)) for past, now in zip(then, later, strict=True)]

    def _values_at(self, state: CounterState, point: Checkpoint) -> array[int]:
        """A block's counters at a checkpoint that has them."""
        if self._unpacked is None or self._unpacked[0] is not point:
            self._unpacked = point, point.unpacked()
        offset = point.offsets[state.subject]
        return self._unpacked[1][offset : offset + len(state.values)]

    # -- looking up ------------------------------------------------------------------------------------------------

    def links(self) -> Mapping[int, facts_pb2.Link]:
        """Interfaces by ifindex."""
        items = self.of("link")
        if self._links[0] is not items:
            self._links = items, {(link := item.link).ifindex: link for item in items}
        return self._links[1]

    def routes(self) -> list[facts_pb2.Route]:
        """Routes worth knowing."""
        return [item.route for item in self.of("route")]

    def coverage(self) -> list[facts_pb2.Coverage]:
        """What could not be read, and what was left out because there is too much of it."""
        return [item.coverage for item in (*self.of("coverage"), *limits.limit_items(self.reached, self._at_most))]

    def of(self, kind: str) -> Sequence[facts_pb2.Item]:
        """Items of one kind, named as the field of Item.fact: "link", "disk", "volume", ... The same object until one
        of them changes."""
        found = self._by_kind.get(kind)
        if found is None:
            if self._kinds is None:
                self._kinds = {}
                for key, item in self.items.items():
                    self._kinds.setdefault(item.WhichOneof("fact"), {})[key] = item
            found = self._by_kind[kind] = list(self._kinds.get(kind, {}).values())
        return found

    def names(self, subject: str) -> tuple[str, ...]:
        """Names of a subject's counters; none if the subject is not known."""
        state = self.counters.get(subject)
        return state.names if state is not None else ()

    def level(self, subject: str, counter: str) -> int | None:
        """A counter's value now; None: not known, which is not 0."""
        state = self.counters.get(subject)
        index = None if state is None else state.index(counter)
        return None if state is None or index is None else state.values[index]

    def delta(self, subject: str, counter: str, window_s: float) -> Delta | None:
        """By how much a counter rose in the last `window_s` seconds before `at`, give or take FINE_S.

        None: the counter is not known, or it has been read only once since it began, so that nothing can be said.
        """
        state = self.counters.get(subject)
        index = None if state is None else state.index(counter)
        if state is None or index is None or self._now <= state.first_at:
            return None
        begin = self._now - window_s
        if state.moved_at <= begin:
            return Delta(0, window_s)
        since, before = self._before(state, begin)
        return Delta(state.values[index] - before[index], self._now - since)

    def increments(self, subject: str, window_s: float) -> dict[str, Delta] | None:
        """The same for all counters of a subject that rose; None where nothing can be said."""
        state = self.counters.get(subject)
        if state is None or self._now <= state.first_at:
            return None
        begin = self._now - window_s
        if state.moved_at <= begin:
            return {}
        since, before = self._before(state, begin)
        seconds = self._now - since
        rises = zip(state.names, before, state.values, strict=True)
        return {name: Delta(now - past, seconds) for name, past, now in rises if now != past}

    def rises(self, subject: str, window_s: float) -> tuple[Sequence[int], float] | None:
        """By how much each counter of a subject rose, in the order of their names, and over how long; likewise."""
        state = self.counters.get(subject)
        if state is None or self._now <= state.first_at:
            return None
        begin = self._now - window_s
        if state.moved_at <= begin:
            return [0] * len(state.values), window_s
        since, before = self._before(state, begin)
        return list(map(sub, state.values, before)), self._now - since

    def faults(self, window_s: float) -> Iterable[tuple[str, str]]:
        """(subject, counter) of every one of FAULT_COUNTERS that has risen in the last `window_s` seconds.

        There may be some that have not, and never one missing that `increments` has.
        """
        if not self._fault_at:
            return
        which = bisect_right(self._checkpoints, self._now - window_s, key=lambda point: point.at) - 1
        since = self._checkpoints[which].at if which >= 0 else float("-inf")
        for subject, counters in self._fault_at.items():
            for counter, at in counters.items():
                if at >= since:
                    yield subject, counter

    def has_rates(self) -> bool:
        """Some counter has been read more than once since it began: rises can be told."""
        return any(self._now > state.first_at for state in self.counters.values())

    def risen(self) -> Iterable[tuple[CounterState, int, int, float]]:
        """(block, index, increment, seconds) of each counter that rose since its block began."""
        for state in self.counters.values():
            if state.moved_at > state.first_at:
                seconds = self._now - state.first_at
                for index, (then, now) in enumerate(zip(state.base, state.values, strict=True)):
                    if now != then:
                        yield state, index, now - then, seconds


def _rebooted(before: Mapping[str, facts_pb2.Item], after: Mapping[str, facts_pb2.Item] | None) -> bool:
    if after is None or "host" not in before or "host" not in after:
        return False
    a, b = before["host"].host, after["host"].host
    if a.boot_id and b.boot_id:
        return a.boot_id != b.boot_id
    both = a.boot_time_unix_ms and b.boot_time_unix_ms
    return bool(both) and abs(a.boot_time_unix_ms - b.boot_time_unix_ms) > REBOOT_SLACK_MS


def _taken(block: facts_pb2.CounterBlock, names: Names, before: CounterState | None, now: float) -> CounterState:
    """A block as it came; it goes on from what was known unless a counter went backwards, or beyond reason."""
    values = array("Q", block.values)
    if before is None or (before.layout is not names and before.names != names.names):
        return CounterState(block.subject, names, block.first_slot, values, values[:], now, now)
    if not all(0 <= now - then < IMPLAUSIBLE_RISE for then, now in zip(before.values, values, strict=True)):
        return CounterState(block.subject, names, block.first_slot, values, values[:], now, now)
    moved_at = now if values != before.values else before.moved_at
    return replace(before, first_slot=block.first_slot, values=values, moved_at=moved_at)


def _slots_of(states: Iterable[CounterState]) -> _Slots:
    ordered = sorted(states, key=lambda state: state.first_slot)
    end = 0
    for state in ordered:
        if state.first_slot < end:
            raise UpdateError(f"counter block {state.subject[:80]!r}: slot {state.first_slot} is another block's")
        end = state.first_slot + len(state.values)
    return _Slots([state.first_slot for state in ordered], ordered)


def _resolve(sample: facts_pb2.CounterSample, slots: _Slots, now: float, *, partial: bool) -> _Rises:
    """A sample with its slots resolved; `now` is the update's time, and no sample of it is later.

    `partial`: blocks were left out, and so is what is of their slots.
    """
    if len(sample.slot_gaps) != len(sample.increments):
        raise UpdateError(f"sample with {len(sample.slot_gaps)} slots and {len(sample.increments)} increments")
    rises = []
    slot = start = end = 0
    for gap, increment in zip(sample.slot_gaps, sample.increments, strict=True):
        slot += gap
        if not start <= slot < end:
            which = bisect_right(slots.starts, slot) - 1
            if which < 0 or slot >= slots.starts[which] + len(slots.states[which].values):
                if partial:
                    continue
                raise UpdateError(f"sample for slot {slot}, which no block has")
            state = slots.states[which]
            start, end = state.first_slot, state.first_slot + len(state.values)
        rises.append((state, slot - start, increment))
    return _Rises(min(now, now + sample.at_offset_ms / 1000), sample.span_ms / 1000, rises)


def _check_range(samples: list[_Rises]) -> None:
    totals: dict[tuple[int, int], int] = {}
    for sample in samples:
        for state, index, increment in sample.rises:
            which = state.first_slot, index
            totals[which] = total = totals.get(which, state.values[index]) + increment
            if total > _MAX_UINT64:
                raise UpdateError(f"counter {state.names[index]} of {state.subject[:80]!r} would exceed 64 bits")
