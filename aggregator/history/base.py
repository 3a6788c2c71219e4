"""A node as it is, in bytes and back: what the journal's updates go on from.

It has the windows in it (the checkpoints, as they are packed already), so that nothing older has to be kept and
replayed. The state is put together by its own `apply`, from an update that tells everything, and given its past
afterwards.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass

from google.protobuf.message import DecodeError
from nodetell.v1 import agent_pb2, history_pb2

from aggregator.backlog import Checkpoint
from aggregator.history.minutes import BlockId, Jump, Minutes, blocks_of
from aggregator.limits import Reached
from aggregator.node_items import UpdateError
from aggregator.node_state import NodeState


class BaseError(Exception):
    """A stored base that can't be understood. One line."""


@dataclass(slots=True)
class Kept:
    """A node, with what tells its updates apart."""

    state: NodeState
    minutes: Minutes
    instance: bytes
    number: int
    """Number of the last update that is in the state; 0: none."""
    version: str
    received: float
    """When that came, seconds since the epoch by the aggregator's clock."""


def packed(kept: Kept) -> bytes:
    """All of it. The minutes' rows are to be given away just before."""
    state = kept.state
    base = history_pb2.NodeBase(
        instance=kept.instance,
        number=kept.number,
        version=kept.version,
        received_unix_ms=round(kept.received * 1000),
        now=state._now,
        shift=state._shift,
        moved=state._moved,
        unheard=state._unheard_s,
    )
    _put_present(state, base.full)
    for block in state.counters.values():
        same = block.base == block.values
        base.past.add(base=() if same else block.base, first_at=block.first_at, moved_at=block.moved_at)
    layouts: dict[int, int] = {}
    for point in state._checkpoints:
        which = layouts.get(id(point.offsets))
        if which is None:
            which = layouts[id(point.offsets)] = len(layouts)
            base.layouts.add(subjects=point.offsets.keys(), offsets=point.offsets.values())
        base.checkpoints.add(at=point.at, until=point.until, packed=point.packed, layout=which, unheard=point.unheard_s)
    for subject, counters in state._fault_at.items():
        for counter, at in counters.items():
            base.faults.add(subject=subject, counter=counter, at=at)
    for name, reached in state.reached.items():
        base.left_out.add(limit=name, now=reached.now, ever=reached.total)
    for begin, end in kept.minutes.told:
        base.told.add(begin_unix_ms=begin, end_unix_ms=end)
    _put_owed(kept.minutes, base.owed)
    return base.SerializeToString()


def _put_present(state: NodeState, full: agent_pb2.Update) -> None:
    full.at_unix_ms, full.full = max(1, round(state.at * 1000)), True
    full.coalesced_updates, full.dropped_samples = state.coalesced_updates, state.dropped_samples
    full.items.extend(state.items.values())
    schemas: dict[tuple[str, ...], int] = {}
    for number, names in state._schemas.items():
        full.schemas.add(id=number, names=names.names)
        schemas[names.names] = number
    for block in state.counters.values():
        number = schemas.get(block.names, 0)
        if not number:  # the agent has given that number to other names since
            number = schemas[block.names] = max(schemas.values(), default=0) + 1
            full.schemas.add(id=number, names=block.names)
        full.blocks.add(first_slot=block.first_slot, schema=number, subject=block.subject, values=block.values)


def _put_owed(minutes: Minutes, owed: history_pb2.MinuteRows) -> None:
    schemas: dict[tuple[str, ...], int] = {}
    for jump in minutes.jumps:
        row = owed.rows.add(minute=jump.minute)
        for (subject, names), values in blocks_of(jump):
            schema = schemas.get(names)
            if schema is None:
                schema = schemas[names] = len(schemas) + 1
                owed.schemas.add(id=schema, names=names)
            row.blocks.append(len(owed.blocks))
            owed.blocks.add(subject=subject, schema=schema)
            row.risen.extend(values)


def unpacked(data: bytes, name: str, history_s: float) -> Kept:
    """The node again. Raises BaseError."""
    try:
        base = history_pb2.NodeBase.FromString(data)
        state = NodeState(name, history_s)
        state.apply(base.full)
        _take_past(state, base)
        minutes = Minutes(state)
        minutes.resume()
        minutes.told = [(span.begin_unix_ms, span.end_unix_ms) for span in base.told]
        minutes.jumps = _owed(base.owed)
    except (DecodeError, UpdateError, ValueError, IndexError, KeyError) as error:
        raise BaseError(f"{type(error).__name__}: {error}") from error
    return Kept(state, minutes, base.instance, base.number, base.version, base.received_unix_ms / 1000)


def _take_past(state: NodeState, base: history_pb2.NodeBase) -> None:
    for block, past in zip(base.full.blocks, base.past, strict=True):
        counters = state.counters.get(block.subject)
        if counters is not None:
            counters.base = array("Q", past.base) if past.base else counters.values[:]
            counters.first_at, counters.moved_at = past.first_at, past.moved_at
    layouts: list[Mapping[str, int]] = [
        dict(zip(layout.subjects, layout.offsets, strict=True)) for layout in base.layouts
    ]
    state._checkpoints = [
        Checkpoint(point.at, point.until, point.packed, layouts[point.layout], point.unheard)
        for point in base.checkpoints
    ]
    state._now, state._shift, state._moved, state._unheard_s = base.now, base.shift, base.moved, base.unheard
    state._fault_at = {}
    for fault in base.faults:
        state._fault_at.setdefault(fault.subject, {})[fault.counter] = fault.at
    state.reached = {each.limit: Reached(each.now, each.ever) for each in base.left_out}


def _owed(owed: history_pb2.MinuteRows) -> list[Jump]:
    names = {schema.id: tuple(schema.names) for schema in owed.schemas}
    jumps = []
    for row in owed.rows:
        risen: dict[BlockId, list[int]] = {}
        start = 0
        for which in row.blocks:
            series = owed.blocks[which].subject, names[owed.blocks[which].schema]
            risen[series] = list(row.risen[start : start + len(series[1])])
            start += len(series[1])
        jumps.append(Jump(row.minute, risen))
    return jumps
