"""The assembler, the histogram's arithmetic, maps and errors, against the kernel itself where that is at hand."""

from __future__ import annotations

import errno
import itertools
import os
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.bpf import helpers, programs
from agent.bpf.assembler import Assembler, AssemblyError, Reg
from agent.bpf.maps import BpfMap, MapType
from agent.bpf.programs import Program, ProgramType
from agent.bpf.syscalls import BpfError, last_words
from agent.sensor.buckets import BOUNDS_UNITS, BOUNDS_US, SLOTS, emit_slot, slot_of
from agent.sensor.kernel import parse_cpus, parse_format, symbols_of
from tests import needs


def test_labels_become_distances() -> None:
    code = Assembler()
    code.move(Reg.R6, -1)
    code.label("again")
    code.alu("+", Reg.R6, 1)
    code.jump("<", Reg.R6, 5, "again")
    code.goto("end")
    code.label("end")
    code.leave(3)
    raw = code.assemble()
    assert raw[:8] == struct.pack("<BBhi", 0xB7, 6, 0, -1)
    assert raw[16:24] == struct.pack("<BBhi", 0xA5, 6, -2, 5)
    assert raw[24:32] == struct.pack("<BBhi", 0x05, 0, 0, 0)
    assert len(raw) == 48


def test_mistakes_are_told() -> None:
    code = Assembler()
    code.label("here")
    with pytest.raises(AssemblyError, match="here"):
        code.label("here")
    code.goto("nowhere")
    with pytest.raises(AssemblyError, match="nowhere"):
        code.assemble()


def test_bounds_hold_etcds_and_are_close() -> None:
    assert {1000 * 2**power for power in range(14)} <= set(BOUNDS_US)
    assert list(BOUNDS_US) == sorted(set(BOUNDS_US))
    assert (BOUNDS_US[0], BOUNDS_US[-1], SLOTS) == (31, 8_192_000, 74)
    assert all(high / low <= 1.25 for low, high in itertools.pairwise(BOUNDS_UNITS))


@given(st.integers(0, 20_000_000_000))
def test_a_latency_lies_between_its_bounds(latency_ns: int) -> None:
    slot = slot_of(latency_ns)
    assert slot == SLOTS - 1 or latency_ns * 1024 <= BOUNDS_UNITS[slot] * 1_000_000
    assert slot == 0 or latency_ns * 1024 > BOUNDS_UNITS[slot - 1] * 1_000_000


def in_kernel(values: list[int]) -> list[int]:
    """Slots as the kernel computes them with the emitted instructions: a program is run on each value."""
    table = BpfMap(MapType.ARRAY, 4, 16, 1, name="nt_try")
    code = Assembler()
    code.store(4, Reg.R10, -8, 0)
    code.map(Reg.R1, table.descriptor)
    code.frame(Reg.R2, -8)
    code.call(helpers.MAP_LOOKUP_ELEM)
    code.jump("==", Reg.R0, 0, "out")
    code.move(Reg.R9, Reg.R0)
    code.load(8, Reg.R6, Reg.R9, 0)
    emit_slot(code, Reg.R6, Reg.R7, Reg.R1, Reg.R8)
    code.store(8, Reg.R9, 8, Reg.R7)
    code.label("out")
    code.leave()
    program = programs.load(Program(ProgramType.RAW_TRACEPOINT, code.assemble(), "nt_try"))
    link = programs.attach_raw(program, "sys_enter")
    found = []
    try:
        for value in values:
            table.update(bytes(4), struct.pack("<QQ", value, 1 << 40))
            raw = table.lookup(bytes(4))
            assert raw is not None
            found.append(struct.unpack("<QQ", raw)[1])
    finally:
        for descriptor in (link, program):
            os.close(descriptor)
        table.close()
    return found


@pytest.mark.needs_root
def test_the_kernel_finds_the_same_slots() -> None:
    needs.bpf()
    edges = [units * 1_000_000 // 1024 + more for units in BOUNDS_UNITS for more in (-1, 0, 1, 500)]
    values = [0, 1, 2, 1 << 50, *edges]
    assert in_kernel(values) == [slot_of(value) for value in values]


@pytest.mark.needs_root
@pytest.mark.parametrize("batches", [True, False])
def test_a_map_is_read_whole(batches: bool) -> None:
    needs.bpf()
    table = BpfMap(MapType.HASH, 8, 16, 3000, name="nt_try")
    try:
        table._has_batch = batches
        expected = {struct.pack("<Q", number): struct.pack("<QQ", number, number**2) for number in range(2500)}
        for key, value in expected.items():
            table.update(key, value)
        assert dict(table.items()) == expected
        table.delete(struct.pack("<Q", 7))
        table.delete(struct.pack("<Q", 7))
        assert table.lookup(struct.pack("<Q", 7)) is None
        assert len(table.items()) == 2499
        table.clear()
        assert table.items() == []
    finally:
        table.close()


@pytest.mark.needs_root
def test_the_verifiers_last_words_come_once_and_in_one_line() -> None:
    needs.bpf()
    code = Assembler()
    code.load(8, Reg.R1, Reg.R3, 0)
    code.leave()
    with pytest.raises(BpfError) as caught:
        programs.load(Program(ProgramType.RAW_TRACEPOINT, code.assemble(), "nt_wrong"))
    text = str(caught.value)
    assert caught.value.errno in (errno.EACCES, errno.EINVAL)
    assert "PROG_LOAD of program nt_wrong" in text
    assert text.count("R3 !read_ok") == 1
    assert "\n" not in text


def test_last_words_leave_statistics_out() -> None:
    log = "0: R1=ctx() R10=fp0\n0: (79) r1 = *(u64 *)(r3 +0)\nR3 !read_ok\nprocessed 1 insns (limit 1000000)\n\n"
    assert last_words(log) == "0: R1=ctx() R10=fp0 | 0: (79) r1 = *(u64 *)(r3 +0) | R3 !read_ok"
    assert len(last_words("x" * 5000)) == 400


KALLSYMS = b"""0000000000000000 A fixed_percpu_data
ffffffff81000000 T _text
ffffffff81000100 t ip_fragment.constprop.0
ffffffff81000200 D a_variable
ffffffff81000300 T br_dev_queue_push_xmit\t[bridge]
not a line
"""


def test_a_call_site_lies_in_the_function_before_it() -> None:
    sites = [0xFFFFFFFF81000150, 0xFFFFFFFF81000250, 0xFFFFFFFF81000300, 0xFFFFFFFF81000009, 0x10]
    assert symbols_of(KALLSYMS, sites) == {
        0xFFFFFFFF81000150: "ip_fragment",
        0xFFFFFFFF81000250: "ip_fragment",
        0xFFFFFFFF81000300: "br_dev_queue_push_xmit",
        0xFFFFFFFF81000009: "_text",
    }
    assert symbols_of(b"0000000000000000 T hidden\n", sites) == {}


def test_fields_of_a_tracepoint() -> None:
    text = b"name: ext4_sync_file_enter\nformat:\n\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n"
    text += b"\n\tfield:dev_t dev;\toffset:8;\tsize:4;\tsigned:0;\n"
    text += b"\tfield:char comm[16];\toffset:12;\tsize:16;\tsigned:0;\n"
    assert parse_format(text) == {"common_type": (0, 2), "dev": (8, 4), "comm": (12, 16)}


@pytest.mark.parametrize(("text", "count"), [(b"0-1\n", 2), (b"0\n", 1), (b"0,2-5,9\n", 6)])
def test_possible_cpus(text: bytes, count: int) -> None:
    assert parse_cpus(text) == count


@pytest.mark.parametrize("text", [b"", b"\n", b"5-2\n", b"-1\n", b"0-99999999\n", b"0,x\n"])
def test_no_list_of_cpus(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_cpus(text)
