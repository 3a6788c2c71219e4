"""Chooses how fsync is timed: the first method that loads, attaches, and counts a scratch file's syncs.

Whether a method counts differs from build to build of the same kernel version: a function may be inlined, a file system
a module. So nothing is concluded from versions.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from agent.bpf.syscalls import BpfError
from agent.hosts.files import read_bounded
from agent.sensor.fsync_methods import Method, MethodError
from agent.sensor.fsync_programs import KEY, VALUE

_CALLS = 3


@dataclass(slots=True)
class Choice:
    """What came of trying."""

    method: Method | None = None
    """Attached and counting; None: no method works here."""
    refused: dict[str, str] = field(default_factory=dict)
    """Why, by the name of each method before it."""
    took_s: float = 0.0


def choose(methods: Sequence[Method], self_test: Callable[[Method], str]) -> Choice:
    """Try in order. `self_test` says why an attached method does not count; empty: it does."""
    choice, began = Choice(), time.monotonic()
    for method in methods:
        try:
            method.load()
            method.attach()
            reason = self_test(method)
        except MethodError as error:
            reason = str(error)
        if not reason:
            choice.method = method
            break
        method.close()
        choice.refused[method.name] = reason
    choice.took_s = time.monotonic() - began
    return choice


def counts_scratch_file(method: Method, directory: str) -> str:
    """Why the method does not count the syncs of a file in `directory`; empty: it does.

    What the test adds is taken out again.
    """
    try:
        with tempfile.TemporaryFile(dir=directory, prefix=".nodetell-") as scratch:
            before = _own_calls(method)
            for _ in range(_CALLS):
                os.pwrite(scratch.fileno(), b"nodetell", 0)
                os.fdatasync(scratch.fileno())
            counted = _own_calls(method) - before
            device = os.fstat(scratch.fileno()).st_dev
        _forget_own(method)
    except OSError as error:
        return f"scratch_directory {directory}: {error.strerror}"
    except BpfError as error:
        return str(error)
    if counted >= _CALLS:
        return ""
    where = f"{os.major(device)}:{os.minor(device)}"
    return f"it counted {counted} of {_CALLS} syncs of a scratch file in {directory} (device {where})"


def _own_name() -> bytes:
    """This process's name as the kernel has it: of its first thread, whichever asks."""
    return read_bounded("/proc/self/comm", 64).rstrip(b"\n")


def _own_keys(method: Method) -> dict[bytes, bytes]:
    name = _own_name()
    entries = method.maps.histograms.items()
    return {key: value for key, value in entries if KEY.unpack(key)[0].split(b"\0")[0] == name}


def _own_calls(method: Method) -> int:
    return sum(sum(VALUE.unpack(value)[2:]) for value in _own_keys(method).values())


def _forget_own(method: Method) -> None:
    for key in _own_keys(method):
        with contextlib.suppress(BpfError):
            method.maps.histograms.delete(key)
