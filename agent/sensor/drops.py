"""Packets that the kernel dropped: its own reason, the function that dropped, interface and network namespace.

The reason alone does not tell an MTU fault: a tunnel's packet that is too big is NOT_SPECIFIED in ip_fragment, so the
call site is part of the key. Per-CPU counts keep the cost of a flood at a look-up and an addition.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
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

TRACEPOINT = "kfree_skb"
_PREFIX = "SKB_DROP_REASON_"
_NO_DROPS = ("SKB_NOT_DROPPED_YET", "SKB_CONSUMED")
UNKNOWN_REASON = "NOT_SPECIFIED"

_KEY = struct.Struct("<IIIIQ")
"""Reason, interface index, namespace, nothing, call site."""
_NAME_BYTES = 16
_VALUE = struct.Struct(f"<Q{_NAME_BYTES}s")
"""Count and interface name, for each CPU."""

_KEY_AT = -24
_REASON, _IFINDEX, _NETNS, _NOTHING, _SITE = -24, -20, -16, -12, -8
_SCRATCH = -32
_VALUE_AT = -56
_BPF_NOEXIST = 1


@dataclass(frozen=True, slots=True)
class Drop:
    """Packets dropped for one reason at one place."""

    reason: str
    site: int
    """Address in the kernel."""
    ifindex: int
    """Interface of the packet; 0: none, or there was no room to count by interface."""
    interface: str
    netns: int
    """Inode number of the network namespace; 0: unknown."""
    count: int


def reason_names(types: Btf) -> dict[int, str]:
    """Names of the running kernel's drop reasons by number, without their prefix; empty before 5.17."""
    reasons = types.enums.get("skb_drop_reason", {})
    return {value: name.removeprefix(_PREFIX) for name, value in reasons.items() if name not in _NO_DROPS}


def program(types: Btf, memory: Memory, tables: Sequence[BpfMap], losses: BpfMap) -> bytes:
    """Count one packet: by interface and namespace in the first table, without them in the second if it is full."""
    code = Assembler()
    code.move(Reg.R6, Reg.R1)
    for at in (_REASON, _NETNS, _SITE):
        code.store(8, Reg.R10, at, 0)
    _reason_and_site(code, types)
    _place(code, types, memory)
    by_interface, by_site = tables
    _count_known(code, by_interface)
    for at in (0, 8, 16):
        code.store(8, Reg.R10, _VALUE_AT + at, 0)
    code.jump("==", Reg.R8, 0, "nameless")
    memory.copy(code, _VALUE_AT + 8, Reg.R8, types.offset("net_device", "name"), _NAME_BYTES)
    code.label("nameless")
    _count_new(code, by_interface)
    # No room: under no interface and no namespace, which hundreds of pods cannot fill.
    code.store(4, Reg.R10, _IFINDEX, 0)
    code.store(4, Reg.R10, _NETNS, 0)
    for at in (8, 16):
        code.store(8, Reg.R10, _VALUE_AT + at, 0)
    _count_known(code, by_site)
    _count_new(code, by_site)
    count_loss(code, losses, _SCRATCH, NOT_COUNTED)
    code.label("out")
    code.leave()
    return code.assemble()


def _reason_and_site(code: Assembler, types: Btf) -> None:
    """Reason and call site from the context in R6 into the key; packets that were not dropped go to "out"."""
    reasons = types.enums.get("skb_drop_reason", {})
    if reasons:
        code.load(8, Reg.R7, Reg.R6, 16)
        code.alu("<<", Reg.R7, 32)
        code.alu(">>", Reg.R7, 32)
        for name in _NO_DROPS:
            if name in reasons:
                code.jump("==", Reg.R7, reasons[name], "out")
        code.store(4, Reg.R10, _REASON, Reg.R7)
    code.load(8, Reg.R7, Reg.R6, 8)
    code.store(8, Reg.R10, _SITE, Reg.R7)


def _place(code: Assembler, types: Btf, memory: Memory) -> None:
    """Interface and namespace of the packet of the context in R6 into the key; R8 = interface, or 0."""
    offset, read = types.offset, memory.read
    code.load(8, Reg.R6, Reg.R6, 0)
    read(code, Reg.R8, Reg.R6, offset("sk_buff", "dev"))
    code.jump("==", Reg.R8, 0, "no device")
    read(code, Reg.R7, Reg.R8, offset("net_device", "ifindex"), 4)
    code.store(4, Reg.R10, _IFINDEX, Reg.R7)
    read(code, Reg.R7, Reg.R8, offset("net_device", "nd_net"))
    code.goto("namespace")
    code.label("no device")
    read(code, Reg.R7, Reg.R6, offset("sk_buff", "sk"))
    code.jump("==", Reg.R7, 0, "count")
    read(code, Reg.R7, Reg.R7, offset("sock", "__sk_common") + offset("sock_common", "skc_net"))
    code.label("namespace")
    read(code, Reg.R7, Reg.R7, offset("net", "ns") + offset("ns_common", "inum"), 4)
    code.store(4, Reg.R10, _NETNS, Reg.R7)
    code.label("count")


def _count_known(code: Assembler, table: BpfMap) -> None:
    """Add one under the key on the stack and leave; go on if there is no such key."""
    unknown = code.fresh("unknown")
    code.map(Reg.R1, table.descriptor)
    code.frame(Reg.R2, _KEY_AT)
    code.call(helpers.MAP_LOOKUP_ELEM)
    code.jump("==", Reg.R0, 0, unknown)
    code.move(Reg.R1, 1)
    code.atomic_add(Reg.R0, 0, Reg.R1)
    code.leave()
    code.label(unknown)


def _count_new(code: Assembler, table: BpfMap) -> None:
    """Make the key on the stack and leave through _count_known; go on if there is no room."""
    code.map(Reg.R1, table.descriptor)
    code.frame(Reg.R2, _KEY_AT)
    code.frame(Reg.R3, _VALUE_AT)
    code.move(Reg.R4, _BPF_NOEXIST)
    code.call(helpers.MAP_UPDATE_ELEM)
    _count_known(code, table)  # also where another CPU was faster


def tap(kernel: Kernel, most_keys: int = 2048) -> Tap:
    """Counts drops of all network namespaces of the host; not yet started."""

    def by_interface() -> BpfMap:
        cpus = kernel.possible_cpus
        return BpfMap(MapType.PERCPU_HASH, _KEY.size, _VALUE.size, most_keys, name="nt_drops", cpus=cpus)

    def by_site() -> BpfMap:
        cpus = kernel.possible_cpus
        return BpfMap(MapType.PERCPU_HASH, _KEY.size, _VALUE.size, 512, name="nt_drop_sites", cpus=cpus)

    def typed(tables: Sequence[BpfMap], losses: BpfMap) -> Hook:
        types = kernel.types
        code = program(types, Memory(typed=True, scratch=_SCRATCH), tables, losses)
        return tracing(code, "nt_drops", AttachType.TRACE_RAW_TP, types.id(f"btf_trace_{TRACEPOINT}"))

    def raw(tables: Sequence[BpfMap], losses: BpfMap) -> Hook:
        code = program(kernel.types, Memory(typed=False, scratch=_SCRATCH), tables, losses)
        return raw_tracepoint(code, "nt_drops", TRACEPOINT)

    return Tap([by_interface, by_site], {f"tp_btf {TRACEPOINT}": typed, f"raw tracepoint {TRACEPOINT}": raw})


def drops(tap: Tap, reasons: Mapping[int, str], now: float) -> list[Drop]:
    """What was counted so far. Raises BpfError."""
    found = []
    for key, value in tap.items(now):
        reason, ifindex, netns, _, site = _KEY.unpack(key)
        counts, names = zip(*_VALUE.iter_unpack(value), strict=True)
        name = max(names).split(b"\0")[0].decode("utf-8", "replace")
        label = reasons.get(reason, UNKNOWN_REASON if not reasons else f"reason {reason}")
        found.append(Drop(label, site, ifindex, name, netns, sum(counts)))
    return found
