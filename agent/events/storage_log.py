"""The kernel's log as what wakes whoever watches volumes.

Nothing else tells of a file system that an error has made read-only: poll(2) on mountinfo does not.
"""

from __future__ import annotations

import time

from agent.events.kmsg import KernelLog
from agent.events.patterns import FS_ERROR, IO_ERROR, MD_DM_ERROR, REMOUNT_READ_ONLY, Classifier
from agent.host import Host

_AT_ONCE = 200
_CLASSES = frozenset({IO_ERROR, FS_ERROR, MD_DM_ERROR, REMOUNT_READ_ONLY})


class StorageTrouble:
    """Source of new messages about devices and file systems in trouble. Raises ReadError."""

    def __init__(self, host: Host) -> None:
        self._log = KernelLog(host)
        self._log.skip_to_end()
        self._classifier = Classifier()
        self.mask = self._log.mask
        self.happened_at: float | None = None
        """Of the first one not looked at yet, seconds since the epoch. For whoever looks to reset."""

    def fileno(self) -> int:
        """The open /dev/kmsg."""
        return self._log.fileno()

    def take(self) -> bool:
        """Take in what was logged. True: something of it is about storage in trouble, or something was lost."""
        lost = self._log.lost
        found = [self._classifier.sighting(record) for record in self._log.records(_AT_ONCE)]
        concerns = self._log.lost > lost or any(each is not None and each.of_class in _CLASSES for each in found)
        if concerns and self.happened_at is None:
            self.happened_at = time.time()
        return concerns

    def look(self) -> None:
        """Take in what nobody was woken by yet, so that it is not looked at twice. Raises OSError."""
        self.take()

    def close(self) -> None:
        """Release it."""
        self._log.close()
