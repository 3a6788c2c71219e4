"""The programs that time fsync: one notes when a call began and on what, one counts how long it took.

What began is kept by thread until it ends. The histogram is keyed by process, device, control group and class of
file; etcd's write-ahead log is told from its database by the name in the directory entry, because the sensor may not
look into other processes' descriptors.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

from agent.bpf import helpers
from agent.bpf.assembler import Assembler, Reg
from agent.bpf.btf import Btf
from agent.bpf.maps import BpfMap, MapType
from agent.bpf.memory import COMM_BYTES, Memory, process_name, read_by_helper
from agent.sensor.buckets import SLOTS, emit_slot
from agent.sensor.losses import NOT_COUNTED, UNMATCHED, count_loss, losses_map

R0, R1, R2, R3, R4, R6, R7, R8, R9, R10 = (
    *(Reg.R0, Reg.R1, Reg.R2, Reg.R3, Reg.R4),
    *(Reg.R6, Reg.R7, Reg.R8, Reg.R9, Reg.R10),
)


class FileClass(IntEnum):
    """What kind of file was synced, as its name tells."""

    OTHER = 0
    WAL = 1
    """A segment of etcd's write-ahead log: "0000000000000002-0000000000000f2b.wal"."""
    DATABASE = 2
    """etcd's database: "db"."""


_WAL_NAME_BYTES = 37
_WAL_ENDS = b".wal"
_DATABASE_NAME = b"db"

KEY = struct.Struct(f"<{COMM_BYTES}sIIQ")
"""Process, device as the kernel numbers it (major << 20 | minor), class, control group."""
_SUM, _MAX, _COUNTS = 0, 8, 16
VALUE = struct.Struct(f"<QQ{SLOTS}Q")
"""Sum and maximum in nanoseconds, counts."""

_CALL_BYTES = 16  # u64 began_ns, u32 device, u32 class
_BPF_NOEXIST = 1

# The stack of both programs.
_THREAD, _SCRATCH = -8, -16
_BEGAN, _DEVICE, _CLASS = -32, -24, -20  # a call
_NAME, _KEY_DEVICE, _KEY_GROUP = -48, -32, -24  # a key


class FsyncMaps:
    """The tables of one method."""

    def __init__(self, most_calls: int = 4096, most_keys: int = 512) -> None:
        """`most_calls`: under way at a time; `most_keys`: histograms. Raises BpfError."""
        self._opened: list[BpfMap] = []
        try:
            self.calls = self._open(MapType.LRU_HASH, 8, _CALL_BYTES, most_calls, "nt_calls")
            self.histograms = self._open(MapType.HASH, KEY.size, VALUE.size, most_keys, "nt_fsync")
            self.empty = self._open(MapType.ARRAY, 4, VALUE.size, 1, "nt_empty")
            self.losses = losses_map()
            self._opened.append(self.losses)
        except BaseException:
            self.close()
            raise

    def _open(self, kind: MapType, key_bytes: int, value_bytes: int, entries: int, name: str) -> BpfMap:
        opened = BpfMap(kind, key_bytes, value_bytes, entries, name=name)
        self._opened.append(opened)
        return opened

    def close(self) -> None:
        """Free them."""
        for each in self._opened:
            each.close()


@dataclass(frozen=True, slots=True)
class FileReader:
    """How a program learns device and class of the file it is given."""

    types: Btf
    memory: Memory
    by_name: bool = True
    """Names may be read. Else etcd's log is told by the length of its name alone, 37 bytes, which no other of its
    files has."""

    def emit(self, code: Assembler) -> None:
        """Device and class of the file in R6 onto the stack. R7 to R9 are lost."""
        offset, read = self.types.offset, self.memory.read
        read(code, R7, R6, offset("file", "f_inode"))
        read(code, R7, R7, offset("inode", "i_sb"))
        read(code, R7, R7, offset("super_block", "s_dev"), 4)
        code.store(4, R10, _DEVICE, R7)
        code.store(4, R10, _CLASS, FileClass.OTHER)
        read(code, R7, R6, offset("file", "f_path") + offset("path", "dentry"))
        name = offset("dentry", "d_name")
        read(code, R8, R7, name + offset("qstr", "len"), 4)
        log, database, done = code.fresh("log"), code.fresh("database"), code.fresh("done")
        code.jump("==", R8, _WAL_NAME_BYTES, log)
        code.jump("==", R8, len(_DATABASE_NAME), database)
        code.goto(done)
        code.label(log)
        if self.by_name:
            read(code, R9, R7, name + offset("qstr", "name"))
            self._compare(code, _WAL_NAME_BYTES - len(_WAL_ENDS), _WAL_ENDS, done)
        code.store(4, R10, _CLASS, FileClass.WAL)
        code.goto(done)
        code.label(database)
        if self.by_name:
            read(code, R9, R7, name + offset("qstr", "name"))
            self._compare(code, 0, _DATABASE_NAME, done)
        else:
            read(code, R9, R7, offset("dentry", "d_iname", "d_shortname"), 2)
            code.jump("!=", R9, int.from_bytes(_DATABASE_NAME, "little"), done)
        code.store(4, R10, _CLASS, FileClass.DATABASE)
        code.label(done)

    def _compare(self, code: Assembler, at: int, expected: bytes, otherwise: str) -> None:
        """Go to `otherwise` unless the bytes at R9 + at are as expected."""
        read_by_helper(code, _SCRATCH, R9, at, len(expected))
        code.load(len(expected), R1, R10, _SCRATCH)
        code.jump("!=", R1, int.from_bytes(expected, "little"), otherwise)


def typed_reader(types: Btf, *, by_name: bool) -> FileReader:
    """For programs that get a pointer to a file whose type the verifier knows."""
    return FileReader(types, Memory(typed=True, scratch=_SCRATCH), by_name)


def probing_reader(types: Btf) -> FileReader:
    """For programs that get an address."""
    return FileReader(types, Memory(typed=False, scratch=_SCRATCH))


def begin_with_file(maps: FsyncMaps, reader: FileReader, argument: int) -> bytes:
    """A call begins; the file is at `argument` of the program's context."""
    code = Assembler()
    code.load(8, R6, R1, argument)
    reader.emit(code)
    return _begin(code, maps)


def begin_with_descriptor(maps: FsyncMaps, reader: FileReader, argument: int) -> bytes:
    """A system call begins; its file descriptor is at `argument` of the program's context."""
    code = Assembler()
    code.load(8, R6, R1, argument)
    offset, read = reader.types.offset, reader.memory.read
    code.call(helpers.GET_CURRENT_TASK)
    code.move(R7, R0)
    read(code, R7, R7, offset("task_struct", "files"))
    read(code, R7, R7, offset("files_struct", "fdt"))
    read(code, R8, R7, offset("fdtable", "max_fds"), 4)
    none = code.fresh("none")
    code.alu("<<", R6, 32)
    code.alu(">>", R6, 32)
    code.jump(">=", R6, R8, none)
    read(code, R7, R7, offset("fdtable", "fd"))
    code.alu("<<", R6, 3)
    code.alu("+", R7, R6)
    read(code, R6, R7, 0)
    code.jump("==", R6, 0, none)
    reader.emit(code)
    return _begin(code, maps, none)


def begin_with_device(maps: FsyncMaps, device: int) -> bytes:
    """A call begins; its context tells the device only, at this offset."""
    code = Assembler()
    code.load(4, R6, R1, device)
    code.store(4, R10, _DEVICE, R6)
    code.store(4, R10, _CLASS, FileClass.OTHER)
    return _begin(code, maps)


def _begin(code: Assembler, maps: FsyncMaps, otherwise: str = "") -> bytes:
    code.call(helpers.GET_CURRENT_PID_TGID)
    code.store(8, R10, _THREAD, R0)
    code.call(helpers.KTIME_GET_NS)
    code.store(8, R10, _BEGAN, R0)
    code.map(R1, maps.calls.descriptor)
    code.frame(R2, _THREAD)
    code.frame(R3, _BEGAN)
    code.move(R4, 0)
    code.call(helpers.MAP_UPDATE_ELEM)
    if otherwise:
        code.label(otherwise)
    code.leave()
    return code.assemble()


def end(maps: FsyncMaps, types: Btf | None, memory: Memory) -> bytes:
    """A call ends: count how long it took."""
    code = Assembler()
    code.call(helpers.KTIME_GET_NS)
    code.move(R6, R0)
    code.call(helpers.GET_CURRENT_PID_TGID)
    code.store(8, R10, _THREAD, R0)
    _lookup(code, maps.calls, _THREAD)
    code.jump("==", R0, 0, "unmatched")
    code.load(8, R1, R0, 0)
    code.alu("-", R6, R1)
    code.load(8, R7, R0, _DEVICE - _BEGAN)  # device and class, together as in the key
    code.map(R1, maps.calls.descriptor)
    code.frame(R2, _THREAD)
    code.call(helpers.MAP_DELETE_ELEM)
    code.store(8, R10, _KEY_DEVICE, R7)
    code.call(helpers.GET_CURRENT_CGROUP_ID)
    code.store(8, R10, _KEY_GROUP, R0)
    process_name(code, types, memory, _NAME)
    _find_or_make(code, maps)
    code.move(R9, R0)
    code.load(8, R1, R9, _MAX)
    code.jump(">=", R1, R6, "not longest")
    code.store(8, R9, _MAX, R6)
    code.label("not longest")
    code.atomic_add(R9, _SUM, R6)
    emit_slot(code, R6, R7, R1, R8)
    code.jump(">=", R7, SLOTS, "done")  # it never is; the verifier wants to see that
    code.alu("<<", R7, 3)
    code.alu("+", R9, R7)
    code.move(R1, 1)
    code.atomic_add(R9, _COUNTS, R1)
    code.label("done")
    code.leave()
    code.label("unmatched")
    count_loss(code, maps.losses, _SCRATCH, UNMATCHED)
    code.leave()
    code.label("no room")
    count_loss(code, maps.losses, _SCRATCH, NOT_COUNTED)
    code.leave()
    return code.assemble()


def _lookup(code: Assembler, table: BpfMap, key: int) -> None:
    code.map(R1, table.descriptor)
    code.frame(R2, key)
    code.call(helpers.MAP_LOOKUP_ELEM)


def _find_or_make(code: Assembler, maps: FsyncMaps) -> None:
    """R0 = the histogram of the key on the stack, or the program goes on at "no room"."""
    _lookup(code, maps.histograms, _NAME)
    code.jump("!=", R0, 0, "found")
    code.store(4, R10, _SCRATCH, 0)
    _lookup(code, maps.empty, _SCRATCH)
    code.jump("==", R0, 0, "no room")
    code.move(R3, R0)
    code.map(R1, maps.histograms.descriptor)
    code.frame(R2, _NAME)
    code.move(R4, _BPF_NOEXIST)
    code.call(helpers.MAP_UPDATE_ELEM)
    _lookup(code, maps.histograms, _NAME)
    code.jump("==", R0, 0, "no room")
    code.label("found")
