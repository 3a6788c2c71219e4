"""The reader of the kernel's types: right on the running kernel, and never more than a BtfError on damage."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.bpf.btf import Btf, BtfError, Wanted, parse
from agent.sensor.kernel import WANTED

VMLINUX = Path("/sys/kernel/btf/vmlinux")
STRUCT, ENUM, FUNC, TYPEDEF, INT = 4, 6, 12, 8, 1


def build(types: list[bytes], strings: bytes) -> bytes:
    """A description with these types and strings."""
    body = b"".join(types)
    return struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(body), len(body), len(strings)) + body + strings


STRINGS = b"\0outer\0first\0second\0inner\0reason\0NONE\0TOO_BIG\0do_it\0"


def name(text: str) -> int:
    """Offset of a string."""
    return STRINGS.index(b"\0" + text.encode() + b"\0") + 1


def a_type(text: str, kind: int, members: int = 0, size: int = 0, flag: bool = False) -> bytes:
    """The head of a type."""
    return struct.pack("<III", name(text) if text else 0, kind << 24 | members | flag << 31, size)


SMALL = build(
    [
        a_type("", STRUCT, 1, 8) + struct.pack("<III", name("second"), 2, 32),
        a_type("", INT, size=4) + bytes(4),
        a_type("outer", STRUCT, 2, 24) + struct.pack("<III", name("first"), 2, 0) + struct.pack("<III", 0, 1, 64),
        a_type("reason", ENUM, 2, 4) + struct.pack("<Ii", name("NONE"), 0) + struct.pack("<Ii", name("TOO_BIG"), -7),
        a_type("do_it", FUNC, size=1),
    ],
    STRINGS,
)
SMALL_WANTED = Wanted(frozenset({"outer", "absent"}), frozenset({"do_it"}), frozenset({"reason"}))


def test_what_is_wanted_is_found() -> None:
    found = parse(SMALL, SMALL_WANTED)
    assert found.structs == {"outer": {"first": 0, "second": 12}}
    assert found.ids == {"do_it": 5}
    assert found.enums == {"reason": {"NONE": 0, "TOO_BIG": -7}}
    assert found.offset("outer", "gone", "second") == 12


def test_a_structure_that_holds_itself_has_an_end() -> None:
    itself = struct.pack("<III", 0, 1, 0)
    with pytest.raises(BtfError, match="more than 20,000 members"):
        parse(build([a_type("outer", STRUCT, 40, 24) + itself * 40], STRINGS), SMALL_WANTED)


def test_what_is_absent_is_named() -> None:
    found = parse(SMALL, SMALL_WANTED)
    with pytest.raises(BtfError, match="struct absent"):
        found.offset("absent", "x")
    with pytest.raises(BtfError, match="struct outer of this kernel has no member x or y"):
        found.offset("outer", "x", "y")
    with pytest.raises(BtfError, match="no vfs_fsync_range"):
        found.id("vfs_fsync_range")


def read(raw: bytes) -> Btf | None:
    """None: damaged, and said so in one line."""
    try:
        return parse(raw, SMALL_WANTED)
    except BtfError as error:
        if "\n" in str(error):
            raise
        return None


@given(st.integers(0, len(SMALL) - 1))
def test_a_description_that_ends_early_is_damaged(length: int) -> None:
    assert read(SMALL[:length]) is None


@given(st.lists(st.tuples(st.integers(0, len(SMALL) - 1), st.integers(0, 255)), min_size=1, max_size=8))
@settings(max_examples=300)
def test_no_damage_raises_anything_else(changes: list[tuple[int, int]]) -> None:
    damaged = bytearray(SMALL)
    for at, value in changes:
        damaged[at] = value
    read(bytes(damaged))


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(raw: bytes) -> None:
    read(raw)


def test_anonymous_structures_within_themselves_end() -> None:
    loop = build([a_type("outer", STRUCT, 1, 8) + struct.pack("<III", 0, 1, 0)], STRINGS)
    assert parse(loop, SMALL_WANTED).structs == {"outer": {}}


def test_the_running_kernel() -> None:
    if not VMLINUX.exists():
        pytest.skip("needs: bpf: the kernel has no /sys/kernel/btf/vmlinux")
    found = parse(VMLINUX.read_bytes(), WANTED)
    assert found.offset("task_struct", "comm") > 0
    assert found.offset("qstr", "len") == 4
    assert found.offset("sock_common", "skc_daddr") == 0
    assert {"vfs_fsync_range", "btf_trace_kfree_skb", "btf_trace_tcp_retransmit_skb"} <= set(found.ids)
    assert found.enums["bpf_func_id"]["BPF_FUNC_map_lookup_elem"] == 1
