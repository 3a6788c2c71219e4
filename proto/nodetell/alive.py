"""A sign of life of a role's event loop, in a file: what an exec probe looks at (alive_check.py).

Nothing has to listen for it. The file belongs on a tmpfs, so that no disk can hold the loop up, and what stands in it
is monotonic time: a clock that jumps ends nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator

BEAT_S = 5.0
"""Seconds between two signs of life."""
STARTING, READY = "starting", "ready"


class AliveError(Exception):
    """The file can't be written: its name and why, one line."""


class Alive:
    """The file, and what it says."""

    def __init__(self, path: str) -> None:
        """Write the first sign. Raises AliveError."""
        self._path, self._state = path, STARTING
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
            self._write()
        except OSError as error:
            raise AliveError(f"alive_file: {path}: {(error.strerror or str(error)).lower()}") from error

    def ready(self) -> None:
        """It does what it is there for from now on."""
        self._state = READY
        self._beat()

    async def run(self) -> None:
        """A sign every BEAT_S, for ever."""
        while True:
            await asyncio.sleep(BEAT_S)
            self._beat()

    def close(self) -> None:
        """Take the file away: nobody is alive by what another has left."""
        os.close(self._file)
        with contextlib.suppress(OSError):
            os.unlink(self._path)

    def _beat(self) -> None:
        with contextlib.suppress(OSError):  # a tmpfs that is full: the probe will say so
            self._write()

    def _write(self) -> None:
        # Of one length, in one piece: who reads meanwhile gets this one or the last one.
        os.pwrite(self._file, f"{time.monotonic():020.3f} {self._state:<8}\n".encode(), 0)


@contextlib.asynccontextmanager
async def alive(path: str) -> AsyncIterator[Alive | None]:
    """Signs of life while this lasts; none where no path is set. Raises AliveError."""
    if not path:
        yield None
        return
    signs = Alive(path)
    beating = asyncio.create_task(signs.run(), name="alive")
    try:
        yield signs
    finally:
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)
        signs.close()
