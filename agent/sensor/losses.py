"""What a program could not count, counted: every table is bounded, and a full one must not pass for a quiet host."""

from __future__ import annotations

import struct

from agent.bpf import helpers
from agent.bpf.assembler import Assembler, Reg
from agent.bpf.maps import BpfMap, MapType

UNMATCHED, NOT_COUNTED = 0, 1
"""Slots: ends of calls whose beginning is not known; what there was no room for."""


def losses_map() -> BpfMap:
    """A map of losses. Raises BpfError."""
    return BpfMap(MapType.ARRAY, 4, 8, 2, name="nt_losses")


def loss(losses: BpfMap, slot: int) -> int:
    """A count of losses. Raises BpfError."""
    return int.from_bytes(losses.lookup(struct.pack("<I", slot)) or b"", "little")


def count_loss(code: Assembler, losses: BpfMap, scratch: int, slot: int) -> None:
    """Add one; uses 4 bytes of stack at `scratch`, loses R0 to R5."""
    counted = code.fresh("counted")
    code.store(4, Reg.R10, scratch, slot)
    code.map(Reg.R1, losses.descriptor)
    code.frame(Reg.R2, scratch)
    code.call(helpers.MAP_LOOKUP_ELEM)
    code.jump("==", Reg.R0, 0, counted)
    code.move(Reg.R1, 1)
    code.atomic_add(Reg.R0, 0, Reg.R1)
    code.label(counted)
