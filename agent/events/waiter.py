"""Sleeping until the kernel tells of something, or somebody in another thread says to stop."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import threading
import time
from typing import Protocol

PAUSE_S = 0.1
"""After a source woke us for nothing we look again this much later: what is much and of no interest costs little."""


class Source(Protocol):
    """A file descriptor by which the kernel tells of one sort of change."""

    @property
    def mask(self) -> int:
        """What to poll(2) for."""
        ...

    def fileno(self) -> int:
        """The descriptor."""
        ...

    def take(self) -> bool:
        """Take in what is there, a bounded amount of it. True: it concerns us.

        Raises OSError if the source will tell nothing any more.
        """
        ...

    def close(self) -> None:
        """Release the descriptor."""
        ...


class Waiter:
    """Waits for any of its sources. All but wake() is for one thread."""

    def __init__(self) -> None:
        """Raises OSError."""
        self._sources: dict[int, Source] = {}
        self._poll = select.poll()
        self._lock = threading.Lock()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._open = True
        self._poll.register(self._wake, select.POLLIN)

    def add(self, source: Source) -> None:
        """Wait for this source too; it is closed with the waiter."""
        self._sources[source.fileno()] = source
        self._poll.register(source.fileno(), source.mask)

    def wait(self, timeout_s: float) -> bool:
        """Sleep until a source has something that concerns us (True), or until the time is up or wake() (False).

        Raises OSError if a source failed for good. It is then closed, and the others go on.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            ready = self._poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
            if any(descriptor == self._wake for descriptor, _ in ready):
                return False
            concerns = False
            for descriptor, state in ready:
                concerns |= self._take(descriptor, state)
            if concerns:
                return True
            left = deadline - time.monotonic()
            if left <= 0 or self._woken_within(min(PAUSE_S, left) if ready else 0):
                return False

    def wake(self) -> None:
        """Let wait() return, now and from now on. From any thread."""
        with self._lock:
            if self._open:
                os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        """Release everything."""
        for source in self._sources.values():
            source.close()
        self._sources.clear()
        with self._lock:
            if self._open:
                self._open = False
                os.close(self._wake)

    def _take(self, descriptor: int, state: int) -> bool:
        source = self._sources[descriptor]
        try:
            if not state & select.POLLNVAL:
                return source.take()
        except OSError:
            self._drop(descriptor)
            raise
        self._drop(descriptor)
        raise OSError(errno.EBADF, "an event source was closed")

    def _drop(self, descriptor: int) -> None:
        self._poll.unregister(descriptor)
        with contextlib.suppress(OSError):
            self._sources.pop(descriptor).close()

    def _woken_within(self, seconds: float) -> bool:
        if not seconds:
            return False
        only_wake = select.poll()
        only_wake.register(self._wake, select.POLLIN)
        return bool(only_wake.poll(seconds * 1000))
