"""bpf(2) and perf_event_open(2), which no library of Python's has. By ctypes, so that nothing is compiled or shipped.

Layouts are those of include/uapi/linux/bpf.h and perf_event.h, little-endian; numbers those of the two machines that
Kubernetes nodes are.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
from dataclasses import dataclass
from enum import IntEnum
from functools import cache

_NUMBERS = {"x86_64": (321, 298), "aarch64": (280, 241)}
"""bpf and perf_event_open by machine."""

_ATTR_BYTES = 152
"""A union bpf_attr longer than an old kernel's is taken as long as its unknown tail is zero."""

_LOG_LINES = 3
_PERF_FLAG_FD_CLOEXEC = 8


class Command(IntEnum):
    """enum bpf_cmd."""

    MAP_CREATE = 0
    MAP_LOOKUP_ELEM = 1
    MAP_UPDATE_ELEM = 2
    MAP_DELETE_ELEM = 3
    MAP_GET_NEXT_KEY = 4
    PROG_LOAD = 5
    OBJ_GET_INFO_BY_FD = 15
    RAW_TRACEPOINT_OPEN = 17
    MAP_LOOKUP_BATCH = 24
    ENABLE_STATS = 32


@dataclass(frozen=True, slots=True)
class Machine:
    """What differs between processors."""

    bpf: int
    perf_event_open: int


@cache
def machine() -> Machine:
    """System call numbers of this machine. Raises BpfError where they are not known."""
    name = platform.machine()
    if name not in _NUMBERS:
        raise BpfError("bpf(2)", errno.ENOSYS, f"no system call numbers for {name}")
    return Machine(*_NUMBERS[name])


class BpfError(Exception):
    """The kernel refused something: what, why, and the verifier's last words, in one line."""

    def __init__(self, what: str, number: int, detail: str = "") -> None:
        self.what = what
        self.errno = number
        self.detail = detail
        name = errno.errorcode.get(number, str(number))
        super().__init__(f"{what}: {name} ({os.strerror(number)}){f': {detail}' if detail else ''}")


def last_words(log: str) -> str:
    """The last lines of a verifier's log that say something, in one."""
    lines = [line.strip() for line in log.splitlines() if line.strip() and not line.startswith("processed ")]
    return " | ".join(lines[-_LOG_LINES:])[-400:]


@cache
def _libc() -> ctypes.CDLL:
    library = ctypes.CDLL(None, use_errno=True)
    library.syscall.restype = ctypes.c_long
    return library


Buffer = ctypes.Array[ctypes.c_char]


def attributes_buffer(attributes: bytes) -> Buffer:
    """A union bpf_attr, in memory that the kernel writes its answers into."""
    size = max(_ATTR_BYTES, len(attributes))
    return ctypes.create_string_buffer(attributes.ljust(size, b"\0"), size)


def call(command: Command, attributes: bytes | Buffer, what: str) -> int:
    """bpf(2). Raises BpfError."""
    buffer = attributes_buffer(attributes) if isinstance(attributes, bytes) else attributes
    result: int = _libc().syscall(machine().bpf, ctypes.c_long(command), buffer, ctypes.c_long(len(buffer)))
    if result < 0:
        raise BpfError(f"{command.name} of {what}", ctypes.get_errno())
    return result


def perf_event_open(attributes: bytes, what: str) -> int:
    """perf_event_open(2) for all processes, on CPU 0: programs on a tracepoint or probe run on every CPU anyway.

    Returns a descriptor. Raises BpfError.
    """
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    numbers = (ctypes.c_long(each) for each in (-1, 0, -1, _PERF_FLAG_FD_CLOEXEC))
    result: int = _libc().syscall(machine().perf_event_open, buffer, *numbers)
    if result < 0:
        raise BpfError(f"perf_event_open of {what}", ctypes.get_errno())
    return result


def buffer_of(contents: bytes) -> tuple[Buffer, int]:
    """Memory that the kernel can be pointed to, and its address. It lives as long as the first is held."""
    buffer = ctypes.create_string_buffer(contents, len(contents))
    return buffer, ctypes.addressof(buffer)
