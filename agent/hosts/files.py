"""Reads of files and directories that cannot hang on a pipe, grow without bound, or fail without saying why."""

from __future__ import annotations

import errno
import os
import stat
import threading

from agent.host import Failure, ReadError

_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_PIECE = 1 << 16

# What errno says of a missing thing and of a forbidden one; all others (ENODEV and EINVAL of a device that is going
# away, EIO of a device that fails, EISDIR where a driver has a directory) are failures of the read itself.
_ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.EOPNOTSUPP, errno.ELOOP}
_DENIED = {errno.EACCES, errno.EPERM}


def read_bounded(path: str, limit: int) -> bytes:
    """Contents of a regular file (those of proc and sysfs are).

    Raises OSError; EFBIG if there are more than `limit` bytes, EINVAL if it is not a regular file.
    """
    descriptor = os.open(path, _FLAGS)
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "not a regular file", path)
        pieces: list[bytes] = []
        left = limit + 1
        while left > 0:
            piece = os.read(descriptor, min(left, _PIECE))
            if not piece:
                return b"".join(pieces)
            pieces.append(piece)
            left -= len(piece)
        raise OSError(errno.EFBIG, f"more than {limit} bytes", path)
    finally:
        os.close(descriptor)


class KeptFiles:
    """Files of proc that are read again and again: opened once, which is most of what reading one of them costs.

    Such a file shows the present whenever it is read from its beginning. From any thread; those that read the same file
    take turns.
    """

    def __init__(self) -> None:
        self._files: dict[str, _Kept] = {}

    def read(self, path: str, limit: int) -> bytes:
        """As read_bounded. Raises OSError."""
        file = self._files.get(path) or self._files.setdefault(path, _Kept(path))
        return file.read(limit)


class _Kept:
    """One of them."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._descriptor: int | None = None

    def __del__(self) -> None:
        self._close()

    def read(self, limit: int) -> bytes:
        with self._lock:
            if self._descriptor is not None:
                try:
                    return _read_from_start(self._descriptor, self._path, limit)
                except OSError as error:
                    self._close()  # what it was of is gone, as a sysctl with its module; or it is too large
                    if error.errno == errno.EFBIG:
                        raise
            contents = read_bounded(self._path, limit)  # says what is wrong with it, if anything is
            self._descriptor = os.open(self._path, _FLAGS)
            return contents

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _read_from_start(descriptor: int, path: str, limit: int) -> bytes:
    pieces: list[bytes] = []
    length = 0
    while length <= limit:
        piece = os.pread(descriptor, min(limit + 1 - length, _PIECE), length)
        if not piece:
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.append(piece)
        length += len(piece)
    raise OSError(errno.EFBIG, f"more than {limit} bytes", path)


def failure_of(error: OSError) -> Failure:
    """What an errno means for a signal."""
    if error.errno in _ABSENT:
        return Failure.ABSENT
    return Failure.DENIED if error.errno in _DENIED else Failure.FAILED


def printable(text: str, limit: int = 200) -> str:
    """A name from outside as part of a line: valid UTF-8, no control characters, not endless."""
    clean = text.encode("utf-8", "replace").decode()
    if not clean.isprintable():
        clean = "".join(character if character.isprintable() else "?" for character in clean)
    return clean if len(clean) <= limit else f"{clean[: limit - 3]}..."


def read_error(error: OSError, place: str, remedy: str = "") -> ReadError:
    """The error as a collector gets it, one line."""
    reason = error.strerror or str(error) or type(error).__name__
    return ReadError(failure_of(error), printable(place, 500), reason[:1].lower() + reason[1:], remedy)


def components(path: str) -> list[str]:
    """Parts of a host path. Raises ReadError for one that could leave its root.

    Names in it come from the host's own files, and from bundles of strangers.
    """
    parts = path.split("/")
    if not all(part not in {"", ".", ".."} and "\0" not in part for part in parts):
        raise ReadError(Failure.FAILED, path, "not a path below its root")
    return parts
