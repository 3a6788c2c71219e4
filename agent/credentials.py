"""What the agent shows, and what it knows the aggregator by: files, read anew whenever they are needed.

They are renewed while the agent runs. A file that is damaged or away for the moment is no reason to lose what was good,
and one on a disk that hangs must not stop the stream: it is read by a thread, and waited for no longer than that takes
on a disk that works.
"""

from __future__ import annotations

import asyncio
import logging
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from nodetell.logs import event
from nodetell.pem import Pair, PemError, read, read_authorities, read_pair

from agent.settings import TlsSettings

_log = logging.getLogger("nodetell.agent")

READ_S = 2.0
MAX_TOKEN_BYTES = 16 << 10
"""A service account's token takes 1 to 2 kB."""
_TOKEN = re.compile(rb"[\x21-\x7e]+")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Certificates:
    """What TLS needs: PEM."""

    authorities: bytes
    """Of the aggregator's certificate."""
    own: Pair | None
    """What we show; None: nothing."""


def read_certificates(tls: TlsSettings) -> Certificates:
    """What the settings name. Raises PemError."""
    own = read_pair(tls.certificate, tls.key) if tls.certificate else None
    return Certificates(read_authorities(tls.ca), own)


def read_token(path: str) -> bytes:
    """The token in a file; none where there is no file to read. Raises PemError, which does not quote it."""
    if not path:
        return b""
    token = read(path).strip()
    if not _TOKEN.fullmatch(token):
        raise PemError(f"{path}: {'is no token' if token else 'is empty'}")
    if len(token) > MAX_TOKEN_BYTES:
        raise PemError(f"{path}: longer than {MAX_TOKEN_BYTES:,} bytes")
    return token


@dataclass(slots=True)
class Renewed(Generic[T]):
    """What `read` reads. One event loop asks; at most one thread reads, however long that takes."""

    read: Callable[[], T]
    """Raises PemError."""
    _good: T | None = None
    _pending: asyncio.Future[T] | None = field(default=None, repr=False)
    _told: str = ""

    async def now(self) -> T:
        """As it is on disk, or, where that can't be used, as it last could. Raises PemError while it never could."""
        if self._pending is None:
            self._pending = _in_thread(self.read)
        pending = self._pending
        try:
            async with asyncio.timeout(READ_S):
                good = await asyncio.shield(pending)
        except TimeoutError:
            return self._before(PemError(f"credentials are not read within {READ_S:g} s: the disk they are on hangs"))
        except PemError as error:
            self._done(pending)
            return self._before(error)
        self._done(pending)
        self._good, self._told = good, ""
        return good

    def _done(self, pending: asyncio.Future[T]) -> None:
        if self._pending is pending:
            self._pending = None

    def _before(self, error: PemError) -> T:
        if self._good is None:
            raise error
        if str(error) != self._told:
            self._told = str(error)
            event(_log, logging.ERROR, "credentials_not_renewed", reason=error, used="those before")
        return self._good


def _in_thread(work: Callable[[], T]) -> asyncio.Future[T]:
    """The result of `work`, done by a thread that nobody waits for at the end of the process."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: Exception | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]  # there is one where there is no error

    def run() -> None:
        try:
            done: tuple[T | None, Exception | None] = (work(), None)
        except Exception as error:  # noqa: BLE001  # it is raised where it is waited for
            done = (None, error)
        try:
            loop.call_soon_threadsafe(settle, *done)
        except RuntimeError:
            return  # the loop has been closed meanwhile

    threading.Thread(target=run, name="credentials", daemon=True).start()
    return future
