"""The kernel tells when the mounts of a namespace change: poll(2) on an open mountinfo (proc_pid_mountinfo(5)).

It does for mount, bind, unmount and remount by an administrator; not where a file system is made read-only by an error.
"""

from __future__ import annotations

import os
import select
import time

from agent.host import Host, ReadError


class MountEvents:
    """Source of changes of the mounts of pid 1, else of this process. Raises ReadError."""

    mask = select.POLLPRI  # POLLIN is always there; the kernel adds POLLERR

    def __init__(self, host: Host) -> None:
        self._descriptor = _opened(host)
        self.happened_at: float | None = None
        """Of the first change not looked at yet, seconds since the epoch. For whoever looks to reset."""

    def fileno(self) -> int:
        """The open mountinfo."""
        return self._descriptor

    def take(self) -> bool:
        """Always True: poll(2) itself has taken note of the change."""
        self.happened_at = self.happened_at or time.time()
        return True

    def look(self) -> None:
        """Take in a change that nobody was woken by yet, so that it is not looked at twice."""
        poll = select.poll()
        poll.register(self._descriptor, self.mask)
        if poll.poll(0):
            self.take()

    def close(self) -> None:
        """Release it."""
        os.close(self._descriptor)


def _opened(host: Host) -> int:
    try:
        return host.descriptor("proc/1/mountinfo")
    except ReadError as error:
        try:
            return host.descriptor("proc/self/mountinfo")
        except ReadError:
            raise error from None
