"""What the sensor reads of the kernel before it loads anything: types, symbols, ids of tracepoints, possible CPUs.

All of it is read once. What cannot be read is told with its reason and narrows what can be attached.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterable
from functools import cached_property

from agent.bpf import btf
from agent.bpf.btf import Btf, BtfError, Wanted
from agent.hosts.files import read_bounded, read_error

WANTED = Wanted(
    structs=frozenset(
        [
            # fsync: from a file to its device and name, from a file descriptor to its file
            *("file", "path", "dentry", "qstr", "inode", "super_block"),
            *("task_struct", "files_struct", "fdtable", "pt_regs"),
            # drops and retransmissions: from a packet or socket to its interface, namespace, peer, control group
            *(
                "sk_buff",
                "net_device",
                "net",
                "ns_common",
                "sock_common",
                "sock",
                "sock_cgroup_data",
                "inet_connection_sock",
            ),
            *("cgroup", "kernfs_node"),
        ]
    ),
    ids=frozenset(
        [
            "vfs_fsync_range",
            *("btf_trace_ext4_sync_file_enter", "btf_trace_ext4_sync_file_exit"),
            *("btf_trace_kfree_skb", "btf_trace_tcp_retransmit_skb"),
        ]
    ),
    enums=frozenset({"skb_drop_reason", "bpf_func_id"}),
)

_MOST_CPUS = 1 << 16
"""The kernel's own limit is 8,192."""
_MOST_SYMBOL_BYTES = 64 << 20
_FUNCTIONS = frozenset((b"t", b"T", b"w", b"W"))
_FIELD = re.compile(r"field:([^;]{1,300});\s{0,9}offset:(\d{1,9});\s{0,9}size:(\d{1,9});")


class KernelError(Exception):
    """Something of the kernel that is needed cannot be read: what and why, one line."""


def symbols_of(raw: bytes, addresses: Iterable[int]) -> dict[int, str]:
    """Name of the function that holds each address, from /proc/kallsyms; none where addresses are hidden there.

    One pass that keeps only what is asked for: the whole table would be the sensor's largest object by far.
    """
    wanted = sorted(set(addresses))
    best = [(0, b"")] * len(wanted)
    for line in raw.splitlines():
        words = line.split(None, 3)
        if len(words) < 3 or words[1] not in _FUNCTIONS:
            continue
        try:
            start = int(words[0], 16)
        except ValueError:
            continue
        index = bisect.bisect_left(wanted, start)
        # Every address from here on could be in this function; only the next one need be told: see below.
        if start and index < len(wanted) and start > best[index][0]:
            best[index] = (start, words[2])
    names = {}
    nearest = (0, b"")
    for address, found in zip(wanted, best, strict=True):
        nearest = max(nearest, found)
        if nearest[0]:
            names[address] = nearest[1].decode("utf-8", "replace").partition(".")[0]  # the compiler's ".constprop.0"
    return names


def parse_format(raw: bytes) -> dict[str, tuple[int, int]]:
    """Offset and size of each field of a tracepoint, from its "format" file in tracefs."""
    text = raw.decode("utf-8", "replace")
    return {_name(declared): (int(offset), int(size)) for declared, offset, size in _FIELD.findall(text)}


def _name(declared: str) -> str:
    """Of what is declared as in C: "unsigned char comm[16]", "__data_loc char[] name"."""
    if declared.endswith("]"):
        declared = declared.rpartition("[")[0]
    return (declared.replace("*", " ").split() or [""])[-1]


def parse_cpus(raw: bytes) -> int:
    """How many CPUs there can be, from "0-7" or "0,2-3". Raises ValueError."""
    count = 0
    for piece in raw.decode("ascii", "replace").strip().split(","):
        first, _, last = piece.partition("-")
        begin, end = int(first), int(last or first)
        if not 0 <= begin <= end < _MOST_CPUS:
            raise ValueError(f"no CPUs: {piece[:40]!r}")
        count += end - begin + 1
    return count


class Kernel:
    """The running kernel."""

    def __init__(self, proc: str, sys: str, tracefs: str) -> None:
        self._proc = proc
        self._sys = sys
        self._tracefs = tracefs

    @cached_property
    def _types(self) -> Btf | str:
        path = f"{self._sys}/kernel/btf/vmlinux"
        try:
            return btf.parse(read_bounded(path, btf.LIMIT_BYTES), WANTED)
        except BtfError as error:
            return f"{path}: {error}"
        except OSError as error:
            return str(read_error(error, path))

    @property
    def types(self) -> Btf:
        """The kernel's types. Raises KernelError."""
        if isinstance(self._types, str):
            raise KernelError(self._types)
        return self._types

    @property
    def types_if_any(self) -> Btf | None:
        """The kernel's types; None: it tells none."""
        return None if isinstance(self._types, str) else self._types

    def symbols(self, addresses: Iterable[int]) -> dict[int, str]:
        """Name of the function that holds each address; none for those that this process may not know."""
        try:
            return symbols_of(read_bounded(f"{self._proc}/kallsyms", _MOST_SYMBOL_BYTES), addresses)
        except OSError:
            return {}

    @cached_property
    def possible_cpus(self) -> int:
        """CPUs that there can be; per-CPU maps have a value for each. Raises KernelError."""
        raw = self._read(f"{self._sys}/devices/system/cpu/possible")
        try:
            return parse_cpus(raw)
        except ValueError as error:
            raise KernelError(f"{self._sys}/devices/system/cpu/possible: {raw[:40]!r}") from error

    def tracepoint_id(self, group: str, name: str) -> int:
        """Id of a tracepoint. Raises KernelError."""
        return self._number(f"{self._tracefs}/events/{group}/{name}/id")

    def tracepoint_fields(self, group: str, name: str) -> dict[str, tuple[int, int]]:
        """Offset and size of each of its fields. Raises KernelError."""
        return parse_format(self._read(f"{self._tracefs}/events/{group}/{name}/format"))

    def kprobe_type(self) -> int:
        """Type of the event source for probes. Raises KernelError."""
        return self._number(f"{self._sys}/bus/event_source/devices/kprobe/type")

    def _number(self, path: str) -> int:
        raw = self._read(path)
        try:
            return int(raw)
        except ValueError as error:
            raise KernelError(f"{path}: no number: {raw[:40]!r}") from error

    def _read(self, path: str) -> bytes:
        try:
            return read_bounded(path, 1 << 16)
        except OSError as error:
            raise KernelError(str(read_error(error, path))) from error
