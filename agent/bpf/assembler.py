"""Assembles BPF programs: instructions with labels in, bytecode out. Fifty lines in place of a compiler.

Encoding: Documentation/bpf/standardization/instruction-set.rst in the kernel's source.
"""

from __future__ import annotations

import struct
from enum import IntEnum


class Reg(IntEnum):
    """Registers. R1 to R5 are arguments of a call and lost by it, R6 to R9 survive it, R10 is the frame."""

    R0 = 0
    R1 = 1
    R2 = 2
    R3 = 3
    R4 = 4
    R5 = 5
    R6 = 6
    R7 = 7
    R8 = 8
    R9 = 9
    R10 = 10


_SIZES = {1: 0x10, 2: 0x08, 4: 0x00, 8: 0x18}
_JUMPS = {"always": 0x00, "==": 0x10, ">": 0x20, ">=": 0x30, "&": 0x40, "!=": 0x50, "<": 0xA0, "<=": 0xB0}
_ALU = {"+": 0x00, "-": 0x10, "*": 0x20, "/": 0x30, "|": 0x40, "&": 0x50, "<<": 0x60, ">>": 0x70, "=": 0xB0}
_REGISTER_OPERAND = 0x08
_PSEUDO_MAP_FD = 1


class AssemblyError(Exception):
    """A program that cannot be assembled: a defect of ours."""


class Assembler:
    """One program under construction. Methods append one instruction each."""

    def __init__(self) -> None:
        self._code: list[tuple[int, int, int, int, int]] = []
        self._labels: dict[str, int] = {}
        self._jumps: list[tuple[int, str]] = []
        self._fresh = 0

    def fresh(self, stem: str) -> str:
        """A label that nothing else has."""
        self._fresh += 1
        return f"{stem}.{self._fresh}"

    def label(self, name: str) -> None:
        """Name the next instruction."""
        if name in self._labels:
            raise AssemblyError(f"label {name} for the second time")
        self._labels[name] = len(self._code)

    def alu(self, operation: str, target: Reg, operand: Reg | int) -> None:
        """target = target OPERATION operand, 64 bits wide; operation "=" copies. A number is sign-extended."""
        if isinstance(operand, Reg):
            self._add(_ALU[operation] | 0x07 | _REGISTER_OPERAND, target, operand)
        else:
            self._add(_ALU[operation] | 0x07, target, immediate=operand)

    def move(self, target: Reg, operand: Reg | int) -> None:
        """target = operand."""
        self.alu("=", target, operand)

    def frame(self, target: Reg, offset: int) -> None:
        """target = address of the stack at `offset` (negative)."""
        self.move(target, Reg.R10)
        self.alu("+", target, offset)

    def load(self, size: int, target: Reg, base: Reg, offset: int) -> None:
        """target = *(base + offset), `size` bytes."""
        self._add(0x61 | _SIZES[size], target, base, offset)

    def store(self, size: int, base: Reg, offset: int, value: Reg | int) -> None:
        """*(base + offset) = value, `size` bytes."""
        if isinstance(value, Reg):
            self._add(0x63 | _SIZES[size], base, value, offset)
        else:
            self._add(0x62 | _SIZES[size], base, Reg.R0, offset, value)

    def atomic_add(self, base: Reg, offset: int, value: Reg) -> None:
        """*(base + offset) += value, 8 bytes, atomically."""
        self._add(0xC3 | _SIZES[8], base, value, offset)

    def map(self, target: Reg, descriptor: int) -> None:
        """target = the map."""
        self._add(0x18, target, Reg(_PSEUDO_MAP_FD), immediate=descriptor)
        self._add(0, Reg.R0)

    def jump(self, condition: str, target: Reg, operand: Reg | int, label: str) -> None:
        """Go to `label` if target CONDITION operand, compared unsigned, 64 bits wide."""
        self._jumps.append((len(self._code), label))
        if isinstance(operand, Reg):
            self._add(_JUMPS[condition] | 0x05 | _REGISTER_OPERAND, target, operand)
        else:
            self._add(_JUMPS[condition] | 0x05, target, immediate=operand)

    def goto(self, label: str) -> None:
        """Go to `label`."""
        self._jumps.append((len(self._code), label))
        self._add(0x05, Reg.R0)

    def call(self, helper: int) -> None:
        """R0 = helper(R1, ..., R5); see agent.bpf.helpers."""
        self._add(0x85, Reg.R0, immediate=helper)

    def leave(self, value: int = 0) -> None:
        """Return a number."""
        self.move(Reg.R0, value)
        self._add(0x95, Reg.R0)

    def assemble(self) -> bytes:
        """The bytecode. Raises AssemblyError for a jump to nowhere."""
        code = [list(instruction) for instruction in self._code]
        for at, name in self._jumps:
            if name not in self._labels:
                raise AssemblyError(f"no label {name}")
            code[at][3] = self._labels[name] - at - 1
        return b"".join(
            struct.pack("<BBhI", opcode, source << 4 | target, offset, immediate & 0xFFFFFFFF)
            for opcode, target, source, offset, immediate in code
        )

    def _add(self, opcode: int, target: Reg, source: Reg = Reg.R0, offset: int = 0, immediate: int = 0) -> None:
        self._code.append((opcode, target, source, offset, immediate))
