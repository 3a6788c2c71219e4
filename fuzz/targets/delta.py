"""What agents send: pieces put together, updates taken in; beside it, in the plainest way, what should come of them."""

from __future__ import annotations

import math
import random
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from google.protobuf.message import DecodeError
from nodetell.v1 import agent_pb2
from nodetell.v1 import facts_pb2 as pb

from agent.delta import DeltaEncoder
from agent.pieces import pieces
from agent.reading import Block, Reading
from aggregator import limits
from aggregator.node_items import UpdateError
from aggregator.node_state import FAULT_COUNTERS, NodeState
from aggregator.reassembly import ProtocolError, Reassembler
from fuzz import mutators, records
from fuzz.target import MutateBytes, Target, sometimes

UPDATE, CHUNK, TIME, FEW = 0, 1, 2, 3
"""Kinds of records: an update in one piece, a piece as it travels, a heartbeat's time in milliseconds; and that little
of this host is kept, at the beginning of a case."""
_ROOMY = replace(limits.NODE, name_bytes=1 << 16, counter_name_bytes=1 << 16, fact_bytes=1 << 20)
"""No case is long enough to reach these."""
_FEW = replace(
    limits.NODE, facts=4, facts_of_a_kind=2, interfaces=2, facts_bytes=400, name_bytes=32, series=6, schemas=3
)
_MOST_BYTES = 1 << 16
"""Of an update in these cases; the software's own limit would make each bomb cost seconds."""
_WINDOWS = (1.0, 30.0, 300.0)


@dataclass(slots=True)
class _Plain:
    """What a host's state should be."""

    items: dict[str, pb.Item] = field(default_factory=dict)
    blocks: dict[str, tuple[int, tuple[str, ...], list[int]]] = field(default_factory=dict)
    """First slot, names and values by subject."""
    schemas: dict[int, tuple[str, ...]] = field(default_factory=dict)

    def take(self, update: agent_pb2.Update) -> None:
        """Take in an update that is good."""
        if update.full:
            self.items, self.blocks, self.schemas = {}, {}, {}
        self.schemas |= {schema.id: tuple(schema.names) for schema in update.schemas}
        for key in update.removed_items:
            self.items.pop(key, None)
        for item in update.items:
            self.items.pop(item.key, None)
            if item.WhichOneof("fact") is not None:
                self.items[item.key] = item
        for subject in update.removed_blocks:
            self.blocks.pop(subject, None)
        for block in update.blocks:
            self.blocks[block.subject] = block.first_slot, self.schemas[block.schema], list(block.values)
        for sample in update.samples:
            slot = 0
            for gap, increment in zip(sample.slot_gaps, sample.increments, strict=True):
                slot += gap
                owners = [each for each in self.blocks.values() if each[0] <= slot < each[0] + len(each[2])]
                assert len(owners) == 1
                owners[0][2][slot - owners[0][0]] += increment


def check(case: bytes) -> None:
    """An update is taken in as a whole or not at all, whatever came before; then all answers agree with each other."""
    few = case[:1] == bytes([FEW])
    state = NodeState("node-1", at_most=_FEW if few else _ROOMY)
    plain, together = _Plain(), Reassembler(_MOST_BYTES)
    for kind, data in records.unpacked(case):
        update: agent_pb2.Update | None = None
        try:
            update = _update_of(kind, data, state, together)
            if update is not None:
                state.apply(update)
        except ProtocolError as error:
            assert "\n" not in str(error)
            together = Reassembler(_MOST_BYTES)
        except UpdateError as error:
            assert "\n" not in str(error)
        except DecodeError:
            continue
        else:
            if update is not None and not few:
                plain.take(update)
        if few:
            _few(state)
        else:
            _same(state, plain)
    if sometimes(case, 4):
        _sound(state)


def _update_of(kind: int, data: bytes, state: NodeState, together: Reassembler) -> agent_pb2.Update | None:
    """The update that a record is, or completes."""
    if kind == TIME:
        state.touch(int.from_bytes(data[:8], "little", signed=True) / 1000)
    if kind in (TIME, FEW):
        return None
    if kind == CHUNK:
        came = together.take(agent_pb2.Chunk.FromString(data))
        return came[1] if came is not None else None
    return agent_pb2.Update.FromString(data)


def _few(state: NodeState) -> None:
    assert len(state.items) <= _FEW.facts
    assert len(state.of("link")) <= _FEW.interfaces
    assert sum(item.ByteSize() for item in state.items.values()) <= _FEW.facts_bytes
    assert sum(len(counters.values) for counters in state.counters.values()) <= _FEW.series
    assert all(len(key) <= _FEW.name_bytes for key in (*state.items, *state.counters))


def _same(state: NodeState, plain: _Plain) -> None:
    assert state.items == plain.items
    assert state.counters.keys() == plain.blocks.keys()
    for subject, (slot, names, values) in plain.blocks.items():
        counters = state.counters[subject]
        assert (counters.first_slot, counters.names, list(counters.values)) == (slot, names, values)


def _sound(state: NodeState) -> None:
    """Windows, levels and what has risen."""
    for subject, counters in state.counters.items():
        assert len(counters.base) == len(counters.values) == len(counters.names)
        assert all(before <= now for before, now in zip(counters.base, counters.values, strict=True))
        for window in _WINDOWS:
            risen = state.increments(subject, window)
            faults = set(state.faults(window))
            for name in counters.names:
                delta = state.delta(subject, name, window)
                assert (delta is None) == (risen is None)
                if delta is not None and risen is not None:
                    assert delta.increment >= 0 <= delta.seconds < math.inf
                    assert delta.increment == (risen[name].increment if name in risen else 0)
                    assert name not in FAULT_COUNTERS or not delta.increment or (subject, name) in faults
    for kind in {item.WhichOneof("fact") for item in state.items.values()}:
        assert {item.key for item in state.of(kind or "")} == {
            key for key, item in state.items.items() if item.WhichOneof("fact") == kind
        }
    for counters, index, increment, seconds in state.risen():
        assert increment > 0 <= seconds
        assert index < len(counters.values)


def _seeds() -> Iterable[bytes]:
    names, at = ("rx_packets", "rx_dropped"), 1_790_000_000_000
    one = Reading(items={"link/2": pb.Item(key="link/2", link=pb.Link(ifindex=2, name="eth0", mtu=1500))})
    one.items["host"] = pb.Item(key="host", host=pb.HostInfo(boot_id="a", boot_time_unix_ms=5))
    one.blocks = {"link/2": Block(names, (5, 0)), "disk/8:0": Block(("reads_completed",), (7,))}
    two = Reading(items={**one.items, "host": pb.Item(key="host", host=pb.HostInfo(boot_id="b"))})
    two.blocks = {**one.blocks, "link/2": Block(names, (9, 3))}
    three = Reading(blocks={"link/2": Block(names, (1, 1)), "new": Block(("x",), ((1 << 64) - 1,))})
    encoder = DeltaEncoder()
    updates = [encoder.full(one, at)]
    updates += [
        each for n, r in enumerate((two, three, one), 1) if (each := encoder.delta(r, at + 6_000 * n)) is not None
    ]
    whole = [(UPDATE, update.SerializeToString()) for update in updates]
    yield records.packed(whole)
    yield records.packed([(FEW, b""), *whole])
    yield records.packed([whole[0], (TIME, (at + 90_000).to_bytes(8, "little")), *whole[1:2]])
    yield records.packed([*whole[:2], (UPDATE, updates[0].SerializeToString())])
    yield records.packed([whole[0], (UPDATE, _after_an_outage(one, at).SerializeToString())])
    for update in updates[:2]:
        yield records.packed((CHUNK, chunk.SerializeToString()) for chunk in pieces(1, update))
    squeezed = zlib.compress(whole[0][1])
    chunk = agent_pb2.Chunk(
        update=1, data=squeezed, last=True, total_bytes=len(squeezed), encoding=agent_pb2.ENCODING_ZLIB
    )
    yield records.packed([(CHUNK, chunk.SerializeToString())])
    bomb = zlib.compress(bytes(_MOST_BYTES * 2))
    chunk = agent_pb2.Chunk(update=1, data=bomb, last=True, total_bytes=len(bomb), encoding=agent_pb2.ENCODING_ZLIB)
    yield records.packed([(CHUNK, chunk.SerializeToString())])


def _after_an_outage(reading: Reading, at: int) -> agent_pb2.Update:
    """Everything, and how counters moved while nothing could be told."""
    update = DeltaEncoder().full(reading, at + 120_000)
    update.backlog.schemas.add(id=1, names=["rx_packets", "rx_dropped"])
    update.backlog.blocks.add(first_slot=1, schema=1, subject="link/2", values=[9, 3])
    update.backlog.samples.add(at_offset_ms=-60_000, span_ms=60_000, slot_gaps=[1], increments=[2])
    update.backlog.samples.add(at_offset_ms=0, span_ms=60_000, slot_gaps=[1, 1], increments=[2, 3])
    return update


def mutate(case: bytes, most: int, chance: random.Random, mutate_bytes: MutateBytes) -> bytes:
    """One record's message field by field, the order of records, or bytes."""
    found = list(records.unpacked(case))
    if not found or chance.randrange(10) == 0:
        return mutate_bytes(case, most)
    at, step = chance.randrange(len(found)), chance.randrange(12)
    kind, data = found[at]
    if step == 0:
        del found[at]
    elif step == 1:
        found.insert(chance.randrange(len(found) + 1), found[at])
    elif step == 2:
        found.append((TIME, chance.randrange(1_790_000_300_000).to_bytes(8, "little")))
    elif kind == TIME:
        found[at] = kind, mutate_bytes(data, 8)
    else:
        of: agent_pb2.Update | agent_pb2.Chunk = agent_pb2.Chunk() if kind == CHUNK else agent_pb2.Update()
        try:
            of.MergeFromString(data)
        except DecodeError:
            return mutate_bytes(case, most)
        for _ in range(chance.choice((1, 1, 2, 4))):
            mutators.message(of, chance)
        found[at] = kind, of.SerializeToString()
    return records.packed(found)


TARGET = Target(check, _seeds, mutate=mutate, max_bytes=1_200)
