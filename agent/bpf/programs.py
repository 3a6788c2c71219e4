"""Loads BPF programs and attaches them; each attachment is a descriptor that detaches when it is closed."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from agent.bpf.syscalls import (
    BpfError,
    Buffer,
    Command,
    attributes_buffer,
    buffer_of,
    call,
    last_words,
    perf_event_open,
)

_LICENSE = b"GPL\0"  # the licence of the bytecode: helpers that read kernel memory ask for it
_LOG_BYTES = 1 << 18
_LOAD = struct.Struct("<IIQQIIQII16sIIIIQIIQII")

_PERF_TYPE_TRACEPOINT = 2
_PERF_ATTR_BYTES = 72
"""PERF_ATTR_SIZE_VER1, the first with config2."""
_PERF_EVENT_IOC_ENABLE = 0x2400
_PERF_EVENT_IOC_SET_BPF = 0x40042408


class ProgramType(IntEnum):
    """enum bpf_prog_type."""

    KPROBE = 2
    TRACEPOINT = 5
    RAW_TRACEPOINT = 17
    TRACING = 26


class AttachType(IntEnum):
    """enum bpf_attach_type, of programs of type TRACING."""

    NONE = 0
    TRACE_RAW_TP = 23
    TRACE_FENTRY = 24
    TRACE_FEXIT = 25


@dataclass(frozen=True, slots=True)
class Program:
    """A program to be loaded."""

    kind: ProgramType
    code: bytes
    name: str
    attach_type: AttachType = AttachType.NONE
    attach_btf_id: int = 0
    """Type id of what a TRACING program is attached to, in the kernel's BTF."""


@dataclass(frozen=True, slots=True)
class Hook:
    """A program and how it is attached, given its descriptor."""

    program: Program
    attach: Callable[[int], int]


@dataclass(frozen=True, slots=True)
class Cost:
    """What a program has cost since it was loaded, while statistics are enabled (enable_statistics)."""

    run_time_ns: int
    runs: int


def load(program: Program) -> int:
    """Load a program; returns its descriptor. Raises BpfError with the verifier's last words."""
    try:
        return _load(program, None)
    except BpfError as error:
        if error.errno == errno.EPERM:  # refused before the verifier has a say
            raise
    log = ctypes.create_string_buffer(_LOG_BYTES)
    try:
        return _load(program, log)
    except BpfError as error:
        raise BpfError(error.what, error.errno, last_words(log.value.decode("utf-8", "replace"))) from None


def _load(program: Program, log: Buffer | None) -> int:
    instructions, instructions_at = buffer_of(program.code)
    license_, license_at = buffer_of(_LICENSE)
    attributes = _LOAD.pack(
        program.kind,
        len(program.code) // 8,
        instructions_at,
        license_at,
        0 if log is None else 1,
        0 if log is None else len(log),
        0 if log is None else ctypes.addressof(log),
        0,  # kernel version, checked no more
        0,  # flags
        program.name.encode()[:15],
        0,  # ifindex
        program.attach_type,
        *(0,) * 7,  # BTF of the program itself: none
        program.attach_btf_id,
    )
    try:
        return call(Command.PROG_LOAD, attributes, f"program {program.name}")
    finally:
        del instructions, license_


def tracing(code: bytes, name: str, attach_type: AttachType, target: int) -> Hook:
    """A program of type TRACING, which knows itself what it is attached to."""
    return Hook(Program(ProgramType.TRACING, code, name, attach_type, target), attach_raw)


def raw_tracepoint(code: bytes, name: str, tracepoint: str) -> Hook:
    """A program on a tracepoint by name, which gets the tracepoint's arguments as they are."""
    return Hook(Program(ProgramType.RAW_TRACEPOINT, code, name), lambda program: attach_raw(program, tracepoint))


def attach_raw(program: int, tracepoint: str = "") -> int:
    """Attach to a raw tracepoint; without a name, to what the program was loaded for. Raises BpfError."""
    name, address = buffer_of(tracepoint.encode() + b"\0")
    attributes = struct.pack("<QI", address if tracepoint else 0, program)
    try:
        return call(Command.RAW_TRACEPOINT_OPEN, attributes, tracepoint or "the program's own target")
    finally:
        del name


def attach_tracepoint(program: int, event_id: int, what: str) -> int:
    """Attach to a tracepoint by its id in tracefs. Raises BpfError."""
    return _attach_perf(program, _perf_attributes(_PERF_TYPE_TRACEPOINT, event_id), what)


def attach_kprobe(program: int, pmu_type: int, function: str, *, at_return: bool) -> int:
    """Attach to entry or return of a kernel function.

    `pmu_type`: contents of /sys/bus/event_source/devices/kprobe/type. Raises BpfError.
    """
    name, address = buffer_of(function.encode() + b"\0")
    try:
        # Bit 0 of config: the function's return (format/retprobe of the PMU).
        return _attach_perf(program, _perf_attributes(pmu_type, int(at_return), address), function)
    finally:
        del name


def _perf_attributes(kind: int, config: int, config1: int = 0) -> bytes:
    # struct perf_event_attr: type, size, config, sample_period = 1, ..., config1 at 56, config2 at 64.
    head = struct.pack("<IIQQ", kind, _PERF_ATTR_BYTES, config, 1)
    return head.ljust(56, b"\0") + struct.pack("<QQ", config1, 0)


def _attach_perf(program: int, attributes: bytes, what: str) -> int:
    descriptor = perf_event_open(attributes, what)
    try:
        fcntl.ioctl(descriptor, _PERF_EVENT_IOC_SET_BPF, program)
        fcntl.ioctl(descriptor, _PERF_EVENT_IOC_ENABLE, 0)
    except OSError as error:
        os.close(descriptor)
        raise BpfError(f"attaching to {what}", error.errno or errno.EIO) from error
    return descriptor


def enable_statistics() -> int:
    """Count run time of all programs until the descriptor is closed; needs CAP_SYS_ADMIN. Raises BpfError."""
    return call(Command.ENABLE_STATS, struct.pack("<I", 0), "run-time statistics")


def cost(program: int) -> Cost:
    """Run time and number of runs of a program. Raises BpfError."""
    information = ctypes.create_string_buffer(232)
    attributes = struct.pack("<IIQ", program, len(information), ctypes.addressof(information))
    call(Command.OBJ_GET_INFO_BY_FD, attributes_buffer(attributes), "a program")
    # struct bpf_prog_info: run_time_ns at 192, run_cnt at 200.
    return Cost(*struct.unpack_from("<QQ", information.raw, 192))
