"""The kernel's log: records of /dev/kmsg as they come, or the text of one recorded earlier.

Source: Documentation/ABI/testing/dev-kmsg, kernel/printk/printk.c; dmesg(1) for --raw.
"""

from __future__ import annotations

import errno
import os
import re
import select
from dataclasses import dataclass

from agent.host import Failure, Host, ReadError

_RECORD_BYTES = 16 << 10
"""More than the kernel's longest record (CONSOLE_EXT_LOG_MAX)."""
_TEXT_BYTES = 4 << 10
"""What is looked at of a record; all that is recognised stands at the beginning."""
_RECORDS = 1_000
"""Read at once; what is beyond waits in the kernel."""

_KMSG = re.compile(rb"(\d{1,5}),(\d{1,19}),(\d{1,19}),[^;\n]{0,200};")
_DMESG = re.compile(rb"(?:<(\d{1,5})>)?\[ {0,12}(\d{1,12})\.(\d{6})\](?:\[[ \w]{1,24}\])? ?")


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One record."""

    at: float
    """Seconds since boot, by the clock of the log: monotonic, and near to CLOCK_MONOTONIC."""
    from_kernel: bool
    """False: a process wrote it to /dev/kmsg."""
    text: str
    """First line."""
    seq: int = 0


def parse_record(raw: bytes) -> LogRecord | None:
    """A record as read(2) of /dev/kmsg gives it; None: it is none."""
    head = _KMSG.match(raw)
    if head is None:
        return None
    text = raw[head.end() : head.end() + _TEXT_BYTES].split(b"\n", 1)[0]
    return LogRecord(int(head[3]) / 1e6, int(head[1]) >> 3 == 0, text.decode("utf-8", "replace"), int(head[2]))


def parse_log(raw: bytes) -> tuple[list[LogRecord], int]:
    """Records of a log as text, of /dev/kmsg or of `dmesg --raw`, and the number of lines that are no part of any.

    A record's further lines are indented in the former, and lack the time stamp in the latter.
    """
    records, strange = [], 0
    for line in raw.split(b"\n"):
        record = parse_record(line) or _dmesg_record(line)
        if record is not None:
            records.append(record)
        elif line and not line.startswith(b" "):
            strange += 1
    return records, strange


def _dmesg_record(line: bytes) -> LogRecord | None:
    head = _DMESG.match(line)
    if head is None:
        return None
    text = line[head.end() : head.end() + _TEXT_BYTES]
    at = int(head[2]) + int(head[3]) / 1e6
    return LogRecord(at, int(head[1] or 0) >> 3 == 0, text.decode("utf-8", "replace"))


class KernelLog:
    """Source of new records, from the oldest that the kernel still has. Raises ReadError."""

    mask = select.POLLIN

    def __init__(self, host: Host) -> None:
        self._descriptor = host.descriptor("dev/kmsg")
        self._next_seq: int | None = None
        self._failure: OSError | None = None
        self.lost = 0
        """Records that the kernel has overwritten before they were read."""
        try:
            # Some kernels let it be opened and refuse the first read.
            self._first = self._read()
        except OSError as error:
            os.close(self._descriptor)
            raise ReadError(Failure.DENIED, "/dev/kmsg", error.strerror or str(error)) from error

    def fileno(self) -> int:
        """The open /dev/kmsg."""
        return self._descriptor

    def take(self) -> bool:
        """True: reading is for whoever is woken by it, whose time it is then. Raises OSError where that failed."""
        if self._failure is not None:
            raise self._failure
        return True

    def skip_to_end(self) -> None:
        """Leave out what is there already."""
        self._first = None
        os.lseek(self._descriptor, 0, os.SEEK_END)

    def records(self, most: int = _RECORDS) -> list[LogRecord]:
        """New records, as many at most. Raises OSError if the log cannot be read any more."""
        found = []
        for _ in range(most):
            raw, self._first = self._first or self._read(), None
            if raw is None:
                break
            record = parse_record(raw)
            if record is not None:
                if self._next_seq is not None:
                    self.lost += max(0, record.seq - self._next_seq)
                self._next_seq = record.seq + 1
                found.append(record)
        return found

    def close(self) -> None:
        """Release it; reading fails from now on."""
        descriptor, self._descriptor = self._descriptor, -1
        os.close(descriptor)

    def _read(self) -> bytes | None:
        """A record; None: there is no more. Raises OSError."""
        while True:
            try:
                return os.read(self._descriptor, _RECORD_BYTES) or None
            except BlockingIOError:
                return None
            except OSError as error:
                if error.errno != errno.EPIPE:  # overwritten: the next read gives the oldest there is
                    self._failure = error
                    raise
