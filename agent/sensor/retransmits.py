"""TCP segments sent again, by network namespace and peer: how many large and small ones, and time-outs in a row.

It separates a path that swallows large packets from one that loses some: random loss is repaired by duplicate
acknowledgements and has no time-outs in a row, a black hole has nothing but them, on large segments only. One program
sees all pods of the node; nothing is sent.
"""

from __future__ import annotations

import ipaddress
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass

from agent.bpf import helpers
from agent.bpf.assembler import Assembler, Reg
from agent.bpf.btf import Btf
from agent.bpf.maps import BpfMap, MapType
from agent.bpf.memory import Memory
from agent.bpf.programs import AttachType, Hook, raw_tracepoint, tracing
from agent.sensor.kernel import Kernel
from agent.sensor.losses import NOT_COUNTED, count_loss
from agent.sensor.tap import Tap

TRACEPOINT = "tcp_retransmit_skb"
LARGE_BYTES = 1200
"""Segments of so many bytes and more are large: they do not fit the smallest path MTU that tunnels leave."""
_EPOCH_SHIFT = 36
EPOCH_S = (1 << _EPOCH_SHIFT) / 1e9
"""The maximum is kept for this epoch and the one before, 69 to 137 s: about TCP's longest time-out, 120 s."""

_AF_INET, _AF_INET6 = 2, 10
_KEY = struct.Struct("<II16s")
"""Namespace, address family, peer."""
_VALUE = struct.Struct("<QQQQQQQ")
"""Large, small, maximum and epoch twice, control group."""
_LARGE, _SMALL, _MAXIMA, _GROUP = 0, 8, 16, 48

_KEY_AT = -24
_NETNS, _FAMILY, _PEER = -24, -20, -16
_SCRATCH, _EPOCH_AT = -32, -40
_VALUE_AT = _EPOCH_AT - _VALUE.size
_BPF_NOEXIST = 1


@dataclass(frozen=True, slots=True)
class Retransmissions:
    """To one peer, from one network namespace."""

    netns: int
    peer: str
    cgroup_id: int
    """Control group of the socket that sent again first; 0: unknown. It tells the pod."""
    large: int
    small: int
    consecutive_timeouts: int
    """Most of one connection within the last one to two minutes."""


def program(types: Btf, memory: Memory, table: BpfMap, losses: BpfMap) -> bytes:
    """Count one segment."""
    offset, read = types.offset, memory.read
    code = Assembler()
    code.load(8, Reg.R7, Reg.R1, 8)
    code.load(8, Reg.R6, Reg.R1, 0)
    for at in (_NETNS, _PEER, _PEER + 8):
        code.store(8, Reg.R10, at, 0)
    read(code, Reg.R8, Reg.R7, offset("sk_buff", "len"), 4)
    read(code, Reg.R9, Reg.R6, offset("sock_common", "skc_net"))
    read(code, Reg.R9, Reg.R9, offset("net", "ns") + offset("ns_common", "inum"), 4)
    code.store(4, Reg.R10, _NETNS, Reg.R9)
    read(code, Reg.R9, Reg.R6, offset("sock_common", "skc_family"), 2)
    code.store(4, Reg.R10, _FAMILY, Reg.R9)
    code.jump("==", Reg.R9, _AF_INET6, "six")
    memory.copy(code, _PEER, Reg.R6, offset("sock_common", "skc_daddr"), 4)
    code.goto("epoch")
    code.label("six")
    memory.copy(code, _PEER, Reg.R6, offset("sock_common", "skc_v6_daddr"), 16)
    code.label("epoch")
    code.call(helpers.KTIME_GET_NS)
    code.alu(">>", Reg.R0, _EPOCH_SHIFT)
    code.store(8, Reg.R10, _EPOCH_AT, Reg.R0)
    _timeouts(code, types, memory)
    _find_or_make(code, types, memory, table)
    code.move(Reg.R1, 1)
    code.jump("<", Reg.R8, LARGE_BYTES, "small")
    code.atomic_add(Reg.R0, _LARGE, Reg.R1)
    code.goto("sized")
    code.label("small")
    code.atomic_add(Reg.R0, _SMALL, Reg.R1)
    code.label("sized")
    code.load(8, Reg.R1, Reg.R10, _EPOCH_AT)
    code.move(Reg.R2, Reg.R1)
    code.alu("&", Reg.R2, 1)
    code.alu("<<", Reg.R2, 4)
    code.alu("+", Reg.R0, Reg.R2)
    code.load(8, Reg.R2, Reg.R0, _MAXIMA + 8)
    code.jump("==", Reg.R2, Reg.R1, "same epoch")
    code.store(8, Reg.R0, _MAXIMA + 8, Reg.R1)
    code.store(8, Reg.R0, _MAXIMA, 0)
    code.label("same epoch")
    code.load(8, Reg.R2, Reg.R0, _MAXIMA)
    code.jump(">=", Reg.R2, Reg.R9, "out")
    code.store(8, Reg.R0, _MAXIMA, Reg.R9)
    code.label("out")
    code.leave()
    code.label("no room")
    count_loss(code, losses, _SCRATCH, NOT_COUNTED)
    code.leave()
    return code.assemble()


def _timeouts(code: Assembler, types: Btf, memory: Memory) -> None:
    """R9 = consecutive time-outs of the connection of the socket in R6."""
    at = types.offset("inet_connection_sock", "icsk_retransmits")
    if not memory.typed:
        memory.read(code, Reg.R9, Reg.R6, at, 1)
        return
    code.move(Reg.R1, Reg.R6)
    code.call(helpers.SKC_TO_TCP_SOCK)
    code.move(Reg.R9, 0)
    code.jump("==", Reg.R0, 0, "no connection")
    code.load(1, Reg.R9, Reg.R0, at)
    code.label("no connection")


def _find_or_make(code: Assembler, types: Btf, memory: Memory, table: BpfMap) -> None:
    """R0 = the value of the key on the stack, or the program goes on at "no room"."""
    _lookup(code, table)
    code.jump("!=", Reg.R0, 0, "found")
    for at in range(_VALUE_AT, _VALUE_AT + _VALUE.size, 8):
        code.store(8, Reg.R10, at, 0)
    _group(code, types, memory)
    code.map(Reg.R1, table.descriptor)
    code.frame(Reg.R2, _KEY_AT)
    code.frame(Reg.R3, _VALUE_AT)
    code.move(Reg.R4, _BPF_NOEXIST)
    code.call(helpers.MAP_UPDATE_ELEM)
    _lookup(code, table)
    code.jump("==", Reg.R0, 0, "no room")
    code.label("found")


def _lookup(code: Assembler, table: BpfMap) -> None:
    code.map(Reg.R1, table.descriptor)
    code.frame(Reg.R2, _KEY_AT)
    code.call(helpers.MAP_LOOKUP_ELEM)


def _group(code: Assembler, types: Btf, memory: Memory) -> None:
    """Id of the control group of the socket in R6 into the value on the stack, where the kernel keeps a pointer to it.

    Kernels before 5.16 keep a word that may be something else.
    """
    has_pointer = (
        "cgroup" in types.structs.get("sock_cgroup_data", {}) and "val" not in types.structs["sock_cgroup_data"]
    )
    if not has_pointer or "sk_cgrp_data" not in types.structs.get("sock", {}):
        return
    offset = types.offset
    memory.read(code, Reg.R7, Reg.R6, offset("sock", "sk_cgrp_data") + offset("sock_cgroup_data", "cgroup"))
    memory.read(code, Reg.R7, Reg.R7, offset("cgroup", "kn"))
    memory.read(code, Reg.R7, Reg.R7, offset("kernfs_node", "id"))
    code.store(8, Reg.R10, _VALUE_AT + _GROUP, Reg.R7)


def tap(kernel: Kernel, most_keys: int = 1024) -> Tap:
    """Counts for all network namespaces of the host; not yet started."""

    def table() -> BpfMap:
        return BpfMap(MapType.HASH, _KEY.size, _VALUE.size, most_keys, name="nt_retransmits")

    def typed(tables: Sequence[BpfMap], losses: BpfMap) -> Hook:
        types = kernel.types
        code = program(types, Memory(typed=True, scratch=_SCRATCH), tables[0], losses)
        return tracing(code, "nt_retransmits", AttachType.TRACE_RAW_TP, types.id(f"btf_trace_{TRACEPOINT}"))

    def raw(tables: Sequence[BpfMap], losses: BpfMap) -> Hook:
        code = program(kernel.types, Memory(typed=False, scratch=_SCRATCH), tables[0], losses)
        return raw_tracepoint(code, "nt_retransmits", TRACEPOINT)

    return Tap([table], {f"tp_btf {TRACEPOINT}": typed, f"raw tracepoint {TRACEPOINT}": raw})


def peer_address(family: int, raw: bytes) -> str:
    """A peer as text; an IPv4 peer of an IPv6 socket as IPv4."""
    if family == _AF_INET:
        return str(ipaddress.IPv4Address(raw[:4]))
    address = ipaddress.IPv6Address(raw)
    return str(address.ipv4_mapped or address)


def retransmissions(tap: Tap, now: float) -> list[Retransmissions]:
    """What was counted so far. Raises BpfError."""
    epoch = time.clock_gettime_ns(time.CLOCK_MONOTONIC) >> _EPOCH_SHIFT  # the clock of bpf_ktime_get_ns
    found = []
    for key, value in tap.items(now):
        netns, family, peer = _KEY.unpack(key)
        large, small, *maxima, group = _VALUE.unpack(value)
        recent = [most for most, at in (maxima[:2], maxima[2:]) if at + 1 >= epoch]
        found.append(Retransmissions(netns, peer_address(family, peer), group, large, small, max(recent, default=0)))
    return found
