"""Who on the same device keeps etcd waiting: a process whose fsyncs grew before etcd's became slow, or else writes that
none of those that sync account for.

What etcd does itself is told apart: where its own calls have grown too, nobody else is blamed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from nodetell.v1 import facts_pb2 as pb

from aggregator.histogram import MIN_CALLS
from aggregator.model import Evidence
from aggregator.node_state import NodeState
from aggregator.signatures.control_plane.pieces import STEP_S, pieces, split, waited_us
from aggregator.signatures.thresholds import Thresholds

_BUSY_SHARE = 0.5
"""A device that works for less of the time keeps nobody waiting."""
_OWN_GROWTH = 1.5
_ORDER_SLACK_S = STEP_S + 5.0
"""Pieces of the past are so long; who grew by so much later may have grown first."""
_CALLS_SHARE = 0.5
_QUEUE = ("weighted_io_ms", "flush_ms")
_PAST_MIN_S = 20.0
_UNNAMED_S = 20.0
"""Whoever syncs is seen within this time; only then is it said that nobody who syncs is to blame."""


@dataclass(frozen=True, slots=True)
class Victim:
    """Whose fsyncs are slow."""

    keys: Sequence[str]
    """Its histograms on the device, the one that is slow first."""
    process: str
    device: str
    since: float


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Who is to blame."""

    process: str
    """Empty: whoever it is does not sync."""
    device: str
    """ "major:minor" of the whole disk."""
    statement: str
    since: float
    evidence: tuple[Evidence, ...]
    keys: frozenset[str] = frozenset()
    """Its histograms."""


@dataclass(slots=True)
class _Work:
    """What a process had to do with a device."""

    process: str
    keys: list[str]
    calls: int = 0
    waited_s: float = 0.0
    seconds: float = 0.0
    before: float = 0.0
    """Calls per second before."""
    since: float = 0.0
    new: bool = False
    """It was not there before."""
    mounts: set[str] = field(default_factory=set)

    @property
    def rate(self) -> float:
        return self.calls / self.seconds if self.seconds > 0 else 0.0


def find(state: NodeState, victim: Victim, thresholds: Thresholds) -> Neighbour | None:
    """Who has grown on the victim's device before it became slow; None: nobody has, or it cannot be told."""
    disk = whole_disk(state, victim.device)
    if not disk or not victim.since:
        return None
    own = _work(state, victim.process, list(victim.keys), victim.since)
    if own.before and own.rate > _OWN_GROWTH * own.before:
        return None
    queue, queue_before = _device_rate(state, disk, _QUEUE, victim.since)
    if queue is not None and queue_before is not None and queue < queue_before * 1.2:
        return None
    others = [_judged(state, work, victim, own) for work in _others(state, disk, victim)]
    grown = [
        work
        for work in others
        if work.calls >= MIN_CALLS and work.rate >= thresholds.neighbour_growth_ratio * work.before
    ]
    guilty = [
        work
        for work in grown
        if work.since <= victim.since + _ORDER_SLACK_S
        and (work.waited_s >= thresholds.neighbour_share * work.seconds or work.calls >= _CALLS_SHARE * own.calls)
    ]
    if guilty:
        worst = max(guilty, key=lambda work: (work.waited_s, work.calls, work.process))
        return _named(state, disk, worst, own, queue)
    # Of one who has grown, but later or by little, neither the writes nor that he is to blame can be told apart.
    return None if grown else _unnamed(state, disk, own, victim, thresholds)


def _others(state: NodeState, disk: str, victim: Victim) -> list[tuple[str, list[str], set[str]]]:
    found: dict[tuple[str, int], tuple[str, list[str], set[str]]] = {}
    for item in state.of("latency"):
        source = item.latency
        if (
            source.process != victim.process
            and source.method == pb.LATENCY_METHOD_PASSIVE
            and source.device
            and whole_disk(state, source.device) == disk
        ):
            entry = found.setdefault((source.process, source.cgroup_id), (source.process, [], set()))
            entry[1].append(item.key)
            entry[2].add(source.mount)
    return list(found.values())


def _judged(state: NodeState, other: tuple[str, list[str], set[str]], victim: Victim, own: _Work) -> _Work:
    process, keys, mounts = other
    work = _work(state, process, keys, victim.since)
    work.mounts = mounts
    if work.before or work.new or not work.calls:
        return work
    # Nothing is known of its rate before: by how it compared with the victim's own, for as long as both were counted.
    mine, its = _base(state, victim.keys), _base(state, keys)
    if mine and own.rate:
        work.before = its / mine * own.rate
    return work


def _work(state: NodeState, process: str, keys: list[str], since: float) -> _Work:
    """Of a process since a moment, and before."""
    work = _Work(process, keys)
    for key in keys:
        block = state.counters.get(key)
        if block is None:
            continue
        bounds = state.items[key].latency.bounds_us
        after, before = split(state, key, since)
        if block.first_at >= since - _ORDER_SLACK_S and _is_new(state, block.first_at):
            rises: Sequence[int] = block.values  # it was not there at the reading before: all of it is since
            begin, work.new = min(since, block.first_at), True
        elif after is not None:
            rises, begin = after.rises, after.begin
        else:
            continue
        work.calls += sum(rises)
        work.waited_s += waited_us(rises, bounds) / 1e6
        work.seconds = max(work.seconds, state.at - begin)
        if before is not None and before.seconds >= _PAST_MIN_S:
            work.before += before.calls / before.seconds
        grew = _grew_at(state, key) or begin
        work.since = min(work.since or grew, grew)
    return work


def _is_new(state: NodeState, first_at: float) -> bool:
    """Others have been counted for longer: the agent and its sensor have not just begun."""
    return any(each.first_at < first_at - 1.0 for key, each in state.counters.items() if key.startswith("latency/"))


def _grew_at(state: NodeState, key: str) -> float:
    """Since when a process has been calling at more than half of its present rate; 0.0: not known."""
    since, rate = 0.0, -1.0
    for piece in pieces(state, key):
        now = piece.calls / piece.seconds
        if rate < 0:
            rate = now
        elif now < rate / 2:
            break
        since = piece.begin
    return since


def _base(state: NodeState, keys: Sequence[str]) -> int:
    """Calls that had been counted when they were first read."""
    return sum(sum(block.base) for key in keys if (block := state.counters.get(key)) is not None)


def whole_disk(state: NodeState, device: str) -> str:
    """ "major:minor" of the disk that a partition is on; a disk's own, as far as that can be told."""
    item = state.items.get(f"disk/{device}")
    return item.disk.whole_disk or device if item is not None else device


def _device_rate(state: NodeState, disk: str, names: Sequence[str], since: float) -> tuple[float | None, float | None]:
    """Of a device's counters together, per second: since a moment and before. None: not known."""
    subject = f"disk/{disk}"
    block = state.counters.get(subject)
    if block is None:
        return None, None
    which = [index for name in names if (index := block.index(name)) is not None]
    after, before = split(state, subject, since)
    now = sum(after.rises[index] for index in which) / after.seconds if after is not None else None
    if before is not None and before.seconds >= _PAST_MIN_S:
        return now, sum(before.rises[index] for index in which) / before.seconds
    host = state.items.get("host")
    boot = host.host.boot_time_unix_ms / 1000 if host is not None else 0.0
    if not boot or block.first_at - boot < _PAST_MIN_S:
        return now, None
    return now, sum(block.base[index] for index in which) / (block.first_at - boot)


def _rate_at(state: NodeState, disk: str, name: str, since: float) -> float:
    """Of a device's counter, per second, in the stretch that began then; 0.0: not known."""
    subject, rate = f"disk/{disk}", 0.0
    index = state.counters[subject].index(name)
    for piece in pieces(state, subject):
        if index is None or piece.begin < since - _ORDER_SLACK_S:
            break
        rate = piece.rises[index] / piece.seconds
    return rate


def _named(state: NodeState, disk: str, work: _Work, own: _Work, queue: float | None) -> Neighbour:
    mounts = ", ".join(sorted(filter(None, work.mounts)))
    before = f"before {work.before:.1f}/s" if work.before >= 0.05 else "before none"
    told = [
        Evidence(state.name, "fsync.rate", work.process, round(work.rate, 1), "calls/s", "passive", state.at),
        Evidence(state.name, "fsync.rate.before", work.process, round(work.before, 1), "calls/s", "passive", state.at),
        Evidence(state.name, "fsync.waited", work.process, round(work.waited_s, 2), "s", "passive", state.at),
        Evidence(state.name, "fsync.rate", own.process, round(own.rate, 1), "calls/s", "passive", state.at),
        *_queue(state, disk, queue),
    ]
    return Neighbour(
        work.process,
        disk,
        f"{work.process} syncs {work.rate:.1f} times a second ({before}){f' in {mounts}' if mounts else ''} and waited "
        f"{work.waited_s:.1f} s in {work.seconds:.0f} s for it, while {own.process} does no more than it did",
        work.since,
        tuple(told),
        frozenset(work.keys),
    )


def _unnamed(state: NodeState, disk: str, own: _Work, victim: Victim, thresholds: Thresholds) -> Neighbour | None:
    """Writes that nobody who syncs accounts for."""
    if state.at - victim.since < _UNNAMED_S:
        return None
    writes, writes_before = _device_rate(state, disk, ("writes_completed",), victim.since)
    queue, queue_before = _device_rate(state, disk, _QUEUE, victim.since)
    busy, _ = _device_rate(state, disk, ("io_ms",), victim.since)
    ratio = thresholds.neighbour_growth_ratio
    if writes is None or queue is None or busy is None or writes_before is None or queue_before is None:
        return None
    if writes < ratio * writes_before or queue < ratio * queue_before or busy < 1000 * _BUSY_SHARE:
        return None
    if _rate_at(state, disk, "writes_completed", victim.since) < ratio * writes_before:
        return None  # they grew later than it became slow
    if own.rate > _CALLS_SHARE * writes:
        return None  # a call is a write or two: they may all be its own
    told = [
        Evidence(state.name, "counter.disk.writes", _name(state, disk), round(writes, 1), "writes/s", "/proc/diskstats",
                 state.at),
        Evidence(state.name, "counter.disk.writes.before", _name(state, disk), round(writes_before, 1), "writes/s",
                 "/proc/diskstats", state.at),
        Evidence(state.name, "fsync.rate", own.process, round(own.rate, 1), "calls/s", "passive", state.at),
        *_queue(state, disk, queue),
    ]  # fmt: skip
    return Neighbour(
        "",
        disk,
        f"{writes:.0f} writes a second (before {writes_before:.0f}) keep the device busy {busy / 10:.0f} % of the "
        f"time, of which {own.process} makes {own.rate:.0f} syncs; who else writes is not told",
        victim.since,
        tuple(told),
    )


def _queue(state: NodeState, disk: str, queue: float | None) -> list[Evidence]:
    if queue is None:
        return []
    name = _name(state, disk)
    return [
        Evidence(
            state.name, "counter.disk.queue", name, round(queue / 1000, 2), "requests", "/proc/diskstats", state.at
        )
    ]


def _name(state: NodeState, disk: str) -> str:
    item = state.items.get(f"disk/{disk}")
    return item.disk.name if item is not None and item.disk.name else disk
