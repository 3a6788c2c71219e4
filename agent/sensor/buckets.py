"""The histogram of latencies: its bounds, and the instructions that find a latency's place in it.

Four buckets to each doubling. The unit is 1/1024 ms, so that 1, 2, 4 ... ms, which are the bounds of etcd's own
histograms, are bounds here to the nanosecond.
"""

from __future__ import annotations

from agent.bpf.assembler import Assembler, Reg

_FIRST, _LAST = 5, 23
"""Powers of two of the first and the last bound, in units: 31.25 us and 8.192 s."""
_UNITS_PER_MS = 1024
_NS_PER_MS = 1_000_000

BOUNDS_UNITS = (
    1 << _FIRST,
    *((1 << power) * (5 + quarter) // 4 for power in range(_FIRST, _LAST) for quarter in range(4)),
)
BOUNDS_US = tuple(round(units * 1000 / _UNITS_PER_MS) for units in BOUNDS_UNITS)
"""Upper bounds, microseconds; those below 1 ms rounded."""
SLOTS = len(BOUNDS_US) + 1
"""One for each bound and one for what is above the last."""


def slot_of(latency_ns: int) -> int:
    """Where a latency is counted: bounds[slot - 1] < latency <= bounds[slot]. What emit_slot does, for tests."""
    value = (max(latency_ns, 1) * _UNITS_PER_MS - 1) // _NS_PER_MS
    if value < 1 << _FIRST:
        return 0
    if value >= 1 << _LAST:
        return SLOTS - 1
    power = value.bit_length() - 1
    return 1 + 4 * (power - _FIRST) + (value >> (power - 2)) - 4


def emit_slot(code: Assembler, latency_ns: Reg, slot: Reg, value: Reg, power: Reg) -> None:
    """slot = place of `latency_ns`, which stays; `value` and `power` are lost."""
    small, large, done = code.fresh("small"), code.fresh("large"), code.fresh("done")
    code.move(value, latency_ns)
    code.alu("*", value, _UNITS_PER_MS)
    code.move(slot, 0)
    code.jump("==", value, 0, done)
    code.alu("-", value, 1)
    code.alu("/", value, _NS_PER_MS)
    code.jump("<", value, 1 << _FIRST, small)
    code.jump(">=", value, 1 << _LAST, large)
    _emit_power(code, value, power, slot)
    code.move(slot, power)
    code.alu("-", power, 2)
    code.alu(">>", value, power)
    code.alu("-", slot, _FIRST)
    code.alu("<<", slot, 2)
    code.alu("+", slot, value)
    code.alu("-", slot, 3)
    code.goto(done)
    code.label(large)
    code.move(slot, SLOTS - 1)
    code.label(small)
    code.label(done)


def _emit_power(code: Assembler, value: Reg, power: Reg, rest: Reg) -> None:
    """power = floor(log2(value)); `rest` is lost."""
    code.move(power, 0)
    code.move(rest, value)
    for step in (16, 8, 4, 2, 1):
        below = code.fresh("below")
        code.jump("<", rest, 1 << step, below)
        code.alu(">>", rest, step)
        code.alu("+", power, step)
        code.label(below)
