"""Tables of the kernel that the sensor reads: its types (BTF), its symbols, formats of tracepoints, lists of CPUs."""

from __future__ import annotations

import contextlib
import random
import struct
from collections.abc import Iterable

from agent.bpf.btf import BtfError, parse
from agent.sensor.kernel import parse_cpus, parse_format, symbols_of
from fuzz import mutators
from fuzz.target import MutateBytes, Target
from tests.bpf.test_btf import SMALL, SMALL_WANTED

TYPES, SYMBOLS, FORMAT, CPUS = 0, 1, 2, 3
"""What the first byte of a case says that it is."""
_ADDRESSES = (0x1005, 0x2FFF, 0xFFFFFFFF81000010)
_GOOD = b"0000000000001000 T known_as_good\n0000000000001006 t next\n"
_FIELD = "\tfield:unsigned char comm[16];\toffset:8;\tsize:16;\tsigned:0;\n"


def check(case: bytes) -> None:
    """Only the declared errors; what was found lies where it can; a good line is not lost by others."""
    kind, raw = (case[0] if case else 0) % 4, case[1:]
    if kind == TYPES:
        with contextlib.suppress(BtfError):
            found = parse(raw, SMALL_WANTED)
            assert set(found.structs) <= SMALL_WANTED.structs
            assert all(offset >= 0 for members in found.structs.values() for offset in members.values())
            assert all(number > 0 for number in found.ids.values())
    elif kind == SYMBOLS:
        assert symbols_of(raw, _ADDRESSES).keys() <= set(_ADDRESSES)
        assert symbols_of(_GOOD, _ADDRESSES)[0x1005] == "known_as_good"
    elif kind == FORMAT:
        for offset, size in parse_format(raw).values():
            assert offset >= 0 <= size
        text = raw.decode("utf-8", "replace")
        assert parse_format(f"{text}\n{_FIELD}".encode())["comm"] == (8, 16) or "field:" in text
    else:
        with contextlib.suppress(ValueError):
            assert parse_cpus(raw) > 0


def _seeds() -> Iterable[bytes]:
    yield bytes([TYPES]) + SMALL
    yield bytes([SYMBOLS]) + _GOOD + b"ffffffff81000000 T _text\nffffffff81000010 t do.constprop.0\t[nf]\n"
    yield (
        bytes([FORMAT])
        + f"name: x\nID: 5\nformat:\n{_FIELD}\tfield:__data_loc char[] name;\toffset:4;\tsize:4;\n".encode()
    )
    yield bytes([CPUS]) + b"0,2-3,7\n"


def mutate(case: bytes, most: int, chance: random.Random, mutate_bytes: MutateBytes) -> bytes:
    """A text's lines, or a table's numbers of 32 bits."""
    if case[:1] != bytes([TYPES]):
        return case[:1] + mutators.lines(case[1:], most - 1, chance, mutate_bytes)
    if chance.randrange(4) == 0 or len(case) < 28:
        return mutate_bytes(case, most)
    at = 1 + 4 * chance.randrange((len(case) - 1) // 4)
    number = chance.choice((0, 1, 2, 3, 0xFFFFFFFF, 0x0400FFFF, 0x04000002, 0x0C000000, chance.randrange(1 << 32)))
    return case[:at] + struct.pack("<I", number) + case[at + 4 :]


TARGET = Target(check, _seeds, mutate=mutate, max_bytes=600)
