"""A collector's own wish to run again soon, as one more source of what wakes it: timerfd_create(2)."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import time
from functools import cache

from agent.host import Failure, ReadError


class Timer:
    """Source that wakes once each time it is set. Raises ReadError."""

    mask = select.POLLIN

    def __init__(self) -> None:
        flags = ctypes.c_int(os.O_NONBLOCK | os.O_CLOEXEC)
        self._descriptor = _checked(_libc().timerfd_create(ctypes.c_int(time.CLOCK_MONOTONIC), flags))

    def fileno(self) -> int:
        """The timer's descriptor."""
        return self._descriptor

    def set(self, after_s: float) -> None:
        """Wake that much later; what was set before does not count any more. Raises ReadError."""
        seconds, nanoseconds = divmod(max(1, round(after_s * 1e9)), 10**9)
        once = (ctypes.c_long * 4)(0, 0, seconds, nanoseconds)  # struct itimerspec: interval, value
        _checked(_libc().timerfd_settime(ctypes.c_int(self._descriptor), ctypes.c_int(0), once, None))

    def take(self) -> bool:
        """True: the time is up."""
        with contextlib.suppress(BlockingIOError):
            return bool(os.read(self._descriptor, 8))
        return False

    def close(self) -> None:
        """Release it."""
        descriptor, self._descriptor = self._descriptor, -1
        os.close(descriptor)


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int) -> int:
    if result < 0:
        raise ReadError(Failure.FAILED, "timerfd", os.strerror(ctypes.get_errno()))
    return result
