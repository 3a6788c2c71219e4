"""Methods for tests: which there are, on a kernel with tracefs at hand, and what they counted."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator

from agent.sensor.fsync import FsyncSensor, Latency
from agent.sensor.fsync_methods import Method, methods
from agent.sensor.kernel import Kernel

FENTRY = "fentry vfs_fsync_range"
KPROBE = "kprobe vfs_fsync_range"
EXT4_BTF = "tp_btf ext4_sync_file"
EXT4_RAW = "raw tracepoint ext4_sync_file"
EXT4_PERF = "tracepoint ext4_sync_file"
SYSCALLS = "tracepoints of system calls"
NAMES = (FENTRY, KPROBE, EXT4_BTF, EXT4_RAW, EXT4_PERF, SYSCALLS)


@contextlib.contextmanager
def kernel() -> Iterator[Kernel]:
    """The running kernel, with a tracefs that is mounted for it alone."""
    with tempfile.TemporaryDirectory() as place:
        mounted = subprocess.run(["mount", "-t", "tracefs", "nodev", place], check=False, capture_output=True)
        try:
            yield Kernel("/proc", "/sys", place)
        finally:
            if mounted.returncode == 0:
                subprocess.run(["umount", place], check=False, capture_output=True)


def method(of: Kernel, name: str) -> Method:
    """One of them."""
    return next(each for each in methods(of) if each.name == name)


@contextlib.contextmanager
def counting(of: Kernel, *names: str, duty_percent: float = 100.0) -> Iterator[list[FsyncSensor]]:
    """Sensors with one method each, all at work at once."""
    sensors = [FsyncSensor([method(of, name)], lambda _: "", duty_percent) for name in names]
    try:
        for sensor in sensors:
            assert sensor.start(), sensor.choice.refused
        yield sensors
    finally:
        for sensor in sensors:
            sensor.close()


def of_process(sensor: FsyncSensor, process: str) -> list[Latency]:
    """What was counted of a process."""
    return [row for row in sensor.latencies(0.0) if row.process == process]
