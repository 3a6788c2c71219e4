"""The kernel tells of errors that a file system meets: fanotify(7), FAN_FS_ERROR, since Linux 5.16.

Only ext4 is known to send them; XFS lets itself be watched and, as of 6.18, says nothing. A mark stays with a mounted
file system until it is unmounted everywhere, and keeps neither it nor its device busy.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import select
import struct
import time
from dataclasses import dataclass
from functools import cache

from agent.host import Failure, ReadError
from agent.hosts.files import read_bounded

PLACE = "fanotify"

# include/uapi/linux/fanotify.h
_INIT_FLAGS = 0x1 | 0x2 | 0x200  # FAN_CLOEXEC, FAN_NONBLOCK, FAN_REPORT_FID; the class FAN_CLASS_NOTIF is 0
_MARK_FLAGS = 0x1 | 0x100  # FAN_MARK_ADD, FAN_MARK_FILESYSTEM
_FS_ERROR = 0x8000
_OVERFLOW = 0x4000
_VERSION = 3
_INFO_FID, _INFO_ERROR = 1, 5
_AT_FDCWD = -100

_METADATA = struct.Struct("=IBBHQii")  # event_len, vers, reserved, metadata_len, mask, fd, pid
_INFO = struct.Struct("=BBH")  # info_type, pad, len
_FSID = struct.Struct("=II")
_ERROR = struct.Struct("=iI")  # error, error_count

_READ_BYTES = 16 << 10
_READS = 8
"""At once; what is beyond waits in the kernel, which adds up the errors of one file system meanwhile."""
_KEPT = 64
_FDINFO_BYTES = 1 << 20
_MARK_LINE = re.compile(rb"^fanotify sdev:([0-9a-f]{1,8}) mflags:[0-9a-f]+ mask:([0-9a-f]{1,16}) ", re.MULTILINE)

_CAPABILITY = "give the agent CAP_SYS_ADMIN, and let the container's seccomp profile pass fanotify_init"
_NEWER = "run Linux 5.16 or newer"


@dataclass(frozen=True, slots=True)
class FsError:
    """What one event tells: the first error since the event before, and how many there were."""

    fsid: str
    """Id of the file system as `stat --file-system` prints it, 16 hexadecimal digits; empty: not told."""
    error: int
    """errno; 0: not told."""
    count: int
    """0: not told."""


def parse_events(raw: bytes) -> tuple[list[FsError], bool]:
    """Errors in what read(2) of a fanotify descriptor gave, and whether the kernel says that it lost some.

    What cannot be understood ends it; an event that can be, but not all that comes with it, is still an error.
    """
    errors, lost, at = [], False, 0
    while at + _METADATA.size <= len(raw):
        length, version, _, head, mask, _, _ = _METADATA.unpack_from(raw, at)
        if version != _VERSION or not _METADATA.size <= head <= length <= len(raw) - at:
            break
        if mask & _FS_ERROR:
            errors.append(_fs_error(raw[at + head : at + length]))
        lost |= bool(mask & _OVERFLOW)
        at += length
    return errors, lost


def _fs_error(records: bytes) -> FsError:
    fsid, number, count, at = "", 0, 0, 0
    while at + _INFO.size <= len(records):
        kind, _, length = _INFO.unpack_from(records, at)
        if not _INFO.size <= length <= len(records) - at:
            break
        body = records[at + _INFO.size : at + length]
        if kind == _INFO_FID and len(body) >= _FSID.size:
            fsid = "{:08x}{:08x}".format(*_FSID.unpack_from(body))
        elif kind == _INFO_ERROR and len(body) >= _ERROR.size:
            number, count = _ERROR.unpack_from(body)
        at += length
    return FsError(fsid, abs(number), count)


def parse_marks(fdinfo: bytes) -> frozenset[str]:
    """Device numbers ("254:0") of the file systems that are watched for errors.

    Source: /proc/self/fdinfo of the fanotify descriptor (proc_pid_fdinfo(5)).
    """
    marks = [(int(line[1], 16), int(line[2], 16)) for line in _MARK_LINE.finditer(fdinfo)]
    return frozenset(f"{dev >> 20}:{dev & 0xFFFFF}" for dev, mask in marks if mask & _FS_ERROR)


class FsErrors:
    """Source of errors of the file systems that are marked. Raises ReadError."""

    mask = select.POLLIN

    def __init__(self) -> None:
        self.happened_at: float | None = None
        """When the first error not looked at yet was told, seconds since the epoch. For whoever looks to reset."""
        self._told: list[FsError] = []
        self._descriptor = _called("fanotify_init", ctypes.c_uint(_INIT_FLAGS), ctypes.c_uint(os.O_CLOEXEC))

    def fileno(self) -> int:
        """The fanotify descriptor."""
        return self._descriptor

    def mark(self, path: str) -> None:
        """Watch the file system that is mounted at `path`. The path is resolved: it may hang where that does.

        Raises ReadError.
        """
        _called(
            "fanotify_mark",
            ctypes.c_int(self._descriptor),
            ctypes.c_uint(_MARK_FLAGS),
            ctypes.c_uint64(_FS_ERROR),
            ctypes.c_int(_AT_FDCWD),
            ctypes.c_char_p(os.fsencode(path)),
        )

    def marked(self) -> frozenset[str]:
        """Device numbers of the file systems that are watched now. Raises ReadError."""
        place = f"/proc/self/fdinfo/{self._descriptor}"
        try:
            return parse_marks(read_bounded(place, _FDINFO_BYTES))
        except OSError as error:
            raise ReadError(Failure.FAILED, place, error.strerror or str(error)) from error

    def take(self) -> bool:
        """Take in what was told. True: there was an error, or some were lost. Raises OSError."""
        concerns = False
        for _ in range(_READS):
            try:
                raw = os.read(self._descriptor, _READ_BYTES)
            except BlockingIOError:
                break
            errors, lost = parse_events(raw)
            concerns |= lost or bool(errors)
            self._told = [*self._told, *errors][-_KEPT:]
        if concerns and self.happened_at is None:
            self.happened_at = time.time()
        return concerns

    def look(self) -> None:
        """Take in what nobody was woken by yet, so that it is not looked at twice. Raises OSError."""
        self.take()

    def looked_at(self) -> list[FsError]:
        """Errors told since the last call, the latest of very many."""
        told, self._told = self._told, []
        return told

    def close(self) -> None:
        """Release it, and with it all marks."""
        descriptor, self._descriptor = self._descriptor, -1
        os.close(descriptor)


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _called(name: str, *arguments: object) -> int:
    """Result of a function of the C library. Raises ReadError."""
    try:
        function = getattr(_libc(), name)
    except AttributeError:
        raise _refused(errno.ENOSYS) from None
    result: int = function(*arguments)
    if result < 0:
        raise _refused(ctypes.get_errno())
    return result


def _refused(number: int) -> ReadError:
    """Why, and what would help."""
    told = os.strerror(number)
    if number == errno.EPERM:
        return ReadError(Failure.DENIED, PLACE, told, _CAPABILITY)
    if number == errno.EACCES:
        return ReadError(Failure.DENIED, PLACE, told, "run the agent as root, or with CAP_DAC_READ_SEARCH")
    if number in (errno.EINVAL, errno.ENOSYS):
        return ReadError(Failure.FAILED, PLACE, f"the kernel does not know FAN_FS_ERROR ({told})", _NEWER)
    if number in (errno.ENOSPC, errno.EMFILE):
        return ReadError(Failure.FAILED, PLACE, told, "raise the limits in /proc/sys/fs/fanotify")
    if number in (errno.ENOENT, errno.ENOTDIR):
        return ReadError(Failure.ABSENT, PLACE, f"a mount point is not where mountinfo says ({told})")
    return ReadError(Failure.FAILED, PLACE, told)
