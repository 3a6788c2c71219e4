"""A SQLite file that outlives a kill, says so where it does not, and never deletes what it cannot read.

What both databases of the state directory have in common: how a file is opened, checked and brought to the present
schema (WAL, synchronous=FULL: what a commit returned for is on the medium, as far as the medium keeps its word); how a
damaged one is moved aside; and the mark beside it. SQLite ends its log at the first frame that is not whole, and says
nothing of what stood behind it. The mark has the number of the last commit, so that what is missing is noticed.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import struct
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from nodetell.logs import event

_log = logging.getLogger("nodetell.aggregator")
T = TypeVar("T")

CHECK_LIMIT_S = 5.0
"""The check of a file at the start goes no further than this: a start must not take minutes."""
_MARK = struct.Struct("<QI")


class StoreError(Exception):
    """The state directory can't be used at all, and an operator has to decide. One line."""


class NotStoredError(Exception):
    """What an update brought could not be stored in time. The update itself was taken in. One line."""


class DamagedError(Exception):
    """The file is no database, or not a whole one."""


@dataclass(frozen=True, slots=True)
class Schema:
    """How a database is made."""

    migrations: Sequence[Sequence[str]]
    """Statements that lead from each version (PRAGMA user_version) to the next."""
    log_bytes: int
    """The log (WAL) is taken into the file from there on."""
    pragmas: Sequence[str] = ()
    """For a new file, before it is written to."""
    tables: Sequence[str] = ("",)
    """Those that are checked at the start; all of them by default."""


def connect(path: Path, schema: Schema) -> sqlite3.Connection:
    """The database, checked and at the present schema. Raises StoreError, DamagedError or sqlite3.Error."""
    connection = sqlite3.connect(path, timeout=1.0, isolation_level=None, check_same_thread=False)
    try:
        if not path.stat().st_size:
            for pragma in schema.pragmas:
                connection.execute(f"PRAGMA {pragma}")
        _check(connection, path, len(schema.migrations), schema.tables)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        _migrate(connection, schema.migrations)
        pages = max(20, schema.log_bytes // int(connection.execute("PRAGMA page_size").fetchone()[0]))
        connection.execute(f"PRAGMA wal_autocheckpoint={pages}")
        connection.execute(f"PRAGMA journal_size_limit={schema.log_bytes}")
    except BaseException:
        connection.close()
        raise
    return connection


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def is_damage(error: BaseException) -> bool:
    """The file is at fault, and not the disk or a lock: what sqlite3 raises for SQLITE_CORRUPT and SQLITE_NOTADB."""
    if isinstance(error, DamagedError):
        return True
    return isinstance(error, sqlite3.DatabaseError) and getattr(error, "sqlite_errorcode", 0) & 0xFF in (
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
    )


def move_aside(path: Path, now: float) -> Path:
    """Move a damaged file and its log aside, for whoever wants to look into it; gives its new place. Raises OSError."""
    aside = path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(now))}")
    number = 1
    while aside.exists():
        number += 1
        aside = aside.with_name(f"{aside.name.partition('Z')[0]}Z-{number}")
    for suffix in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
    return aside


def used_bytes(connection: sqlite3.Connection) -> int:
    """Bytes in use: pages that were freed are used again before the file grows."""
    pages, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


def checksum(*parts: bytes | str | int) -> int:
    """Of a row. SQLite finds pages that are torn, not a byte that changed within one."""
    total = 0
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode()
        total = zlib.crc32(data, zlib.crc32(len(data).to_bytes(4, "little"), total))
    return total


class Mark:
    """The number of the last commit of a database, in a file of 12 bytes beside it.

    It is written without a flush of its own: after a kill it is exact, after a power cut it may be behind, never ahead.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def read(self) -> int | None:
        """None: there is none, or it can't be read."""
        try:
            number, check = _MARK.unpack(self._path.read_bytes())
        except (OSError, struct.error):
            return None
        return number if check == checksum(number) else None

    def open(self) -> None:
        """To write to it. Raises OSError, which says more of a directory that can't be written than SQLite does."""
        if self._file is None:
            self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def write(self, number: int) -> None:
        """After the commit, before anybody is told of it. A disk that refuses it refuses the next commit, too."""
        with contextlib.suppress(OSError):
            self.open()
            assert self._file is not None  # noqa: S101  # it is open now
            os.pwrite(self._file, _MARK.pack(number, checksum(number)), 0)

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


@dataclass(slots=True)
class DatabaseFile:
    """One of the databases with its mark, and what is wrong with it at present. One thread at a time uses it."""

    path: Path
    mark: Mark
    schema: Schema
    kind: str
    """Names its events in the log: KIND_damaged, KIND_refuses, KIND_works_again."""
    clock: Callable[[], float]
    problem: str = ""
    """Why nothing can be stored at present; empty: it can."""
    notice: str = ""
    """What happened to the file and stays worth knowing; empty: nothing."""
    connection: sqlite3.Connection | None = None
    """None: there is none at present."""

    def connected(self) -> sqlite3.Connection:
        """The connection, made where there is none. Raises OSError, and what `connect` raises."""
        if self.connection is None:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.mark.open()
            self.connection = connect(self.path, self.schema)
        return self.connection

    def disconnect(self) -> None:
        """Let go of the connection."""
        connection, self.connection = self.connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def close(self) -> None:
        """Let go of both files."""
        self.disconnect()
        self.mark.close()

    def load(self, read: Callable[[sqlite3.Connection], T], afresh: Callable[[Exception], None], nothing: T) -> T:
        """What `read` finds in it, or can find where nothing can be written, or `nothing`. Of damage `afresh` is told.

        Raises StoreError.
        """
        try:
            return read(self.connected())
        except (OSError, sqlite3.Error, DamagedError) as error:
            if is_damage(error):
                afresh(error)
                return nothing
            self.refused(error)
            self.disconnect()
        # The second way leaves out what only the log (WAL) has.
        for how in ("mode=ro", "immutable=1"):
            with contextlib.suppress(sqlite3.Error, DamagedError, OSError):
                connection = sqlite3.connect(f"{self.path.absolute().as_uri()}?{how}", uri=True)
                with contextlib.closing(connection):
                    return read(connection)
        return nothing

    def start_afresh(self, damage: Exception, lost: str) -> bool:
        """Move the damaged file aside and begin a new one; False: the disk refused. `lost` is what that means."""
        self.disconnect()
        try:
            aside = move_aside(self.path, self.clock())
            self.notice = f"{self.path} was damaged ({damage}) and was moved to {aside.name}; {lost}"
            event(_log, logging.ERROR, f"{self.kind}_damaged", path=self.path, reason=damage, moved_to=aside)
            self.mark.write(0)
            self.connected()
        except (OSError, sqlite3.Error, DamagedError, StoreError) as error:
            self.refused(error)
            return False
        return True

    def refused(self, error: Exception) -> None:
        """The disk did not take something: said once."""
        problem = f"{self.path}: {' '.join(str(error).split())}"
        if problem != self.problem:
            event(_log, logging.ERROR, f"{self.kind}_refuses", reason=problem)
        self.problem = problem

    def took(self) -> None:
        """The disk took something."""
        if self.problem:
            event(_log, logging.WARNING, f"{self.kind}_works_again", path=self.path)
            self.problem = ""


def _check(connection: sqlite3.Connection, path: Path, newest: int, tables: Sequence[str]) -> None:
    """Raise StoreError for a newer version's file, DamagedError for a damaged one."""
    end = time.monotonic() + CHECK_LIMIT_S
    rows: list[tuple[str]] = []
    try:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > newest:
            raise StoreError(
                f"{path}: its schema version is {version}, and this nodetell knows up to {newest}; "
                "run the newer nodetell, or name another state directory"
            )
        connection.set_progress_handler(lambda: time.monotonic() > end, 100_000)
        known = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        for table in tables:
            if not table or table in known:
                rows += connection.execute(f"PRAGMA quick_check({table or 1})").fetchall()
        if not connection.execute("PRAGMA page_count").fetchone()[0] and path.stat().st_size:
            rows = [("less than a page of it is left",)]
    except sqlite3.OperationalError as error:
        if str(error) != "interrupted":
            raise
    except sqlite3.DatabaseError as error:
        raise DamagedError(str(error)) from error
    finally:
        connection.set_progress_handler(None, 0)
    if bad := [" ".join(str(text).split()) for (text,) in rows if text != "ok"]:
        raise DamagedError(bad[0])


def _migrate(connection: sqlite3.Connection, migrations: Sequence[Sequence[str]]) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    for number, statements in enumerate(migrations[version:], version + 1):
        with transaction(connection):
            for statement in statements:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")
