"""Findings and their life on disk, in SQLite: what was acknowledged to an agent survives a kill -9 and a power cut.

One thread owns the database. It takes all that is waiting into one transaction (WAL, synchronous=FULL), so a burst
costs one fsync. A disk that refuses is tried again and again, with growing pauses; until it takes the transitions,
`commit` does not return, and `problem` says why. Findings are served from memory all the while.

The file is moved aside, never deleted, where it is damaged, and left alone where a newer version wrote it.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nodetell.logs import event

from aggregator.convert import milliseconds, record_from_json, record_to_json
from aggregator.findings import KEPT_RESOLVED, Kind, Record, Transition

_log = logging.getLogger("nodetell.aggregator")

DATABASE = "findings.sqlite"
"""Name of the file in the state directory."""
LOCK = "lock"
"""Held while an aggregator uses the directory."""

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE findings (
            id TEXT PRIMARY KEY, origin TEXT NOT NULL, body TEXT NOT NULL
        ) WITHOUT ROWID""",
        """CREATE TABLE transitions (
            seq INTEGER PRIMARY KEY AUTOINCREMENT, at_ms INTEGER NOT NULL, kind TEXT NOT NULL, id TEXT NOT NULL,
            first_seen_ms INTEGER NOT NULL, origin TEXT NOT NULL, body TEXT NOT NULL
        )""",
        "CREATE INDEX transitions_by_finding ON transitions (id, seq)",
        "CREATE INDEX transitions_by_time ON transitions (at_ms)",
    ),
)
"""Statements that lead from each schema version (PRAGMA user_version) to the next. `findings` has those that stand;
`transitions` the life of all: one row for each step, with everything that was known then."""

CHECK_LIMIT_S = 5.0
"""The check of the file at the start goes no further than this: a start must not take minutes."""
PRUNE_INTERVAL_S = 600.0
MAX_WAITING = 10_000
"""Transitions that wait for a disk that refuses; beyond that only the last of each finding is kept."""
_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.1, 10.0
_CLOSE_S = 0.8
"""What is still waiting when the store is closed has so long to get to the disk."""


class StoreError(Exception):
    """The state directory can't be used at all, and an operator has to decide. One line."""


@dataclass(slots=True)
class _Job:
    """Transitions that go to disk together, and whom to tell."""

    transitions: list[Transition]
    done: list[Callable[[], None]] = field(default_factory=list)


class _DamagedError(Exception):
    """The file is no database, or not a whole one."""


class Store:
    """The life of findings on disk. `directory` None: nowhere, all is forgotten with the process."""

    def __init__(
        self,
        directory: Path | None,
        *,
        retention_s: float = 7 * 86400.0,
        max_bytes: int = 2 << 30,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.problem = ""
        """Why nothing can be stored at present; empty: it can."""
        self.notice = ""
        """What happened to the file at the start and stays worth knowing; empty: nothing."""
        self._directory = directory
        self._retention_s, self._max_bytes, self._clock = retention_s, max_bytes, clock
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._lock: int | None = None
        self._connection: sqlite3.Connection | None = None
        self._pruned_at = 0.0
        self._standing: dict[str, Record] = {}
        """What stands according to the file, in case it has to be made anew."""
        self._writer: threading.Thread | None = None

    # -- the owner's side ------------------------------------------------------------------------------------------

    def open(self) -> tuple[list[Record], list[Record]]:
        """Standing findings, and the latest resolved ones, oldest first. Starts the writer.

        Raises StoreError where another aggregator uses the directory or a newer version wrote it. A directory that
        can't be written is no error but a `problem`: what can be read of it is.
        """
        if self._directory is None:
            return [], []
        loaded: tuple[list[Record], list[Record]] = [], []
        try:
            self._take_lock(self._directory)
            self._connection = self._connect()
            loaded = _load(self._connection)
        except StoreError:
            self.close()
            raise
        except _DamagedError as damage:
            self._try_afresh(damage)
        except (OSError, sqlite3.Error) as error:
            self._has_problem(error)
            self._disconnect()
            loaded = self._load_read_only()
        self._standing = {record.finding.id: record for record in loaded[0]}
        self._writer = threading.Thread(target=self._write_all, name="store", daemon=True)
        self._writer.start()
        return loaded

    async def commit(self, transitions: Sequence[Transition]) -> None:
        """Returns when the transitions are on disk. They get there even if the caller is cancelled."""
        if self._writer is None or not transitions:
            return
        loop = asyncio.get_running_loop()
        stored: asyncio.Future[None] = loop.create_future()

        def told() -> None:
            if not stored.done():
                stored.set_result(None)

        def tell() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(told)

        self._jobs.put(_Job(list(transitions), [tell]))
        await stored

    def close(self) -> None:
        """Write what is waiting, if the disk takes it soon, and close the file."""
        self._closing.set()
        if self._writer is not None:
            self._jobs.put(None)
            self._writer.join()
            self._writer = None
        self._disconnect()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    # -- opening -----------------------------------------------------------------------------------------------------

    @property
    def _path(self) -> Path:
        assert self._directory is not None  # noqa: S101  # without a directory nothing here is called
        return self._directory / DATABASE

    def _take_lock(self, directory: Path) -> None:
        if self._lock is not None:
            return
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise StoreError(f"{directory}: another aggregator uses this state directory") from None
        self._lock = lock

    def _connect(self) -> sqlite3.Connection:
        """The database, checked and at the present schema. Raises StoreError, _DamagedError or sqlite3.Error."""
        connection = sqlite3.connect(self._path, timeout=1.0, isolation_level=None, check_same_thread=False)
        try:
            _check(connection, self._path)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            _migrate(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def _try_afresh(self, damage: Exception) -> None:
        try:
            self._start_afresh(damage)
        except (OSError, sqlite3.Error, _DamagedError) as error:
            self._has_problem(error)

    def _start_afresh(self, damage: Exception) -> None:
        """Move the damaged file aside, for whoever wants to look into it, and write what is known into a new one."""
        self._disconnect()
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self._clock()))
        aside = self._path.with_name(f"{DATABASE}.damaged-{stamp}")
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                self._path.with_name(DATABASE + suffix).rename(aside.with_name(aside.name + suffix))
        self.notice = (
            f"{self._path} was damaged ({damage}) and was moved to {aside.name}; the history in it is not shown"
        )
        event(_log, logging.ERROR, "store_damaged", path=self._path, reason=damage, moved_to=aside)
        self._connection = self._connect()
        with _transaction(self._connection):
            for record in self._standing.values():
                _put_standing(self._connection, record)

    def _load_read_only(self) -> tuple[list[Record], list[Record]]:
        """What can be read where nothing can be written. The second way leaves out what only the log (WAL) has."""
        for how in ("mode=ro", "immutable=1"):
            with contextlib.suppress(sqlite3.Error, _DamagedError, OSError):
                connection = sqlite3.connect(f"{self._path.absolute().as_uri()}?{how}", uri=True)
                with contextlib.closing(connection):
                    return _load(connection)
        return [], []

    # -- the writer's side -------------------------------------------------------------------------------------------

    def _write_all(self) -> None:
        while (job := self._jobs.get()) is not None:
            last = not self._gather(job)
            pause, deadline = _FIRST_PAUSE_S, None
            while not self._write(job):
                if self._closing.is_set():
                    deadline = deadline or time.monotonic() + _CLOSE_S
                    if time.monotonic() + _FIRST_PAUSE_S > deadline:
                        event(_log, logging.ERROR, "transitions_lost", count=len(job.transitions), reason=self.problem)
                        return
                    time.sleep(_FIRST_PAUSE_S)
                else:
                    self._closing.wait(pause)
                    pause = min(2 * pause, _LAST_PAUSE_S)
                last = not self._gather(job) or last
            for done in job.done:
                done()
            if last:
                return

    def _gather(self, job: _Job) -> bool:
        """Add what else is waiting. False: nothing more will come."""
        more = True
        with contextlib.suppress(queue.Empty):
            while more:
                other = self._jobs.get_nowait()
                if other is None:
                    more = False
                else:
                    job.transitions += other.transitions
                    job.done += other.done
        if len(job.transitions) > MAX_WAITING:
            last = {transition.record.finding.id: transition for transition in job.transitions}
            event(_log, logging.ERROR, "history_thinned", dropped=len(job.transitions) - len(last))
            job.transitions[:] = last.values()
        return more

    def _write(self, job: _Job) -> bool:
        """One transaction. False: the disk refused."""
        assert self._directory is not None  # noqa: S101  # without a directory there is no writer
        try:
            if self._connection is None:
                self._take_lock(self._directory)
                self._connection = self._connect()
            self._prune_if_due(self._connection)
            with _transaction(self._connection):
                for transition in job.transitions:
                    _put(self._connection, transition)
        except _DamagedError as damage:
            self._try_afresh(damage)
            return False
        except (OSError, sqlite3.Error, StoreError) as error:
            self._has_problem(error)
            self._disconnect()
            return False
        for transition in job.transitions:
            _mirror(self._standing, transition)
        if self.problem:
            event(_log, logging.WARNING, "store_works_again", path=self._path)
            self.problem = ""
        return True

    def _has_problem(self, error: Exception) -> None:
        problem = f"{self._path}: {' '.join(str(error).split())}"
        if problem != self.problem:
            event(_log, logging.ERROR, "store_refuses", reason=problem)
        self.problem = problem

    def _prune_if_due(self, connection: sqlite3.Connection) -> None:
        now = self._clock()
        if 0 <= now - self._pruned_at < PRUNE_INTERVAL_S:
            return
        self._pruned_at = now
        with _transaction(connection):
            connection.execute(
                "DELETE FROM transitions WHERE at_ms < ? AND id NOT IN (SELECT id FROM findings)",
                (milliseconds(now - self._retention_s),),
            )
        while _used_bytes(connection) > self._max_bytes:
            with _transaction(connection):
                oldest = "SELECT seq FROM transitions {} ORDER BY seq LIMIT 1000"
                over = oldest.format("WHERE id NOT IN (SELECT id FROM findings)")
                gone = connection.execute(f"DELETE FROM transitions WHERE seq IN ({over})").rowcount  # noqa: S608
                if not gone:
                    gone = connection.execute(
                        f"DELETE FROM transitions WHERE seq IN ({oldest.format('')})"  # noqa: S608  # constants
                    ).rowcount
            if not gone:
                return


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def _check(connection: sqlite3.Connection, path: Path) -> None:
    """Raise StoreError for a newer version's file, _DamagedError for a damaged one."""
    end = time.monotonic() + CHECK_LIMIT_S
    try:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > len(MIGRATIONS):
            raise StoreError(
                f"{path}: its schema version is {version}, and this nodetell knows up to {len(MIGRATIONS)}; "
                "run the newer nodetell, or name another state directory"
            )
        connection.set_progress_handler(lambda: time.monotonic() > end, 100_000)
        rows = connection.execute("PRAGMA quick_check(1)").fetchall()
        if not connection.execute("PRAGMA page_count").fetchone()[0] and path.stat().st_size:
            rows = [("less than a page of it is left",)]
    except sqlite3.OperationalError as error:
        if str(error) != "interrupted":
            raise
        rows = [("ok",)]
    except sqlite3.DatabaseError as error:
        raise _DamagedError(str(error)) from error
    finally:
        connection.set_progress_handler(None, 0)
    if rows != [("ok",)]:
        raise _DamagedError(" ".join(str(rows[0][0]).split()) if rows else "the check gave nothing")


def _migrate(connection: sqlite3.Connection) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    for number, statements in enumerate(MIGRATIONS[version:], version + 1):
        with _transaction(connection):
            for statement in statements:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")


def _load(connection: sqlite3.Connection) -> tuple[list[Record], list[Record]]:
    resolved = "SELECT origin, body FROM transitions WHERE kind = ? ORDER BY seq DESC LIMIT ?"
    try:
        standing = connection.execute("SELECT origin, body FROM findings").fetchall()
        over = connection.execute(resolved, (Kind.RESOLVED.value, KEPT_RESOLVED)).fetchall()
        return _records(standing), _records(reversed(over))
    except sqlite3.OperationalError:
        raise
    except (sqlite3.DatabaseError, ValueError, KeyError, TypeError) as error:
        raise _DamagedError(f"a row can't be understood: {type(error).__name__}: {error}") from error


def _records(rows: Iterable[tuple[str, str]]) -> list[Record]:
    return [record_from_json(json.loads(body), origin) for origin, body in rows]


def _put(connection: sqlite3.Connection, transition: Transition) -> None:
    record = transition.record
    key, first_seen = record.finding.id, milliseconds(record.first_seen)
    connection.execute(
        "INSERT INTO transitions (at_ms, kind, id, first_seen_ms, origin, body) VALUES (?, ?, ?, ?, ?, ?)",
        (milliseconds(transition.at), transition.kind.value, key, first_seen, record.origin, _body(record)),
    )
    if transition.kind is Kind.RESOLVED:
        connection.execute("DELETE FROM findings WHERE id = ?", (key,))
    else:
        _put_standing(connection, record)


def _put_standing(connection: sqlite3.Connection, record: Record) -> None:
    row = record.finding.id, record.origin, _body(record)
    connection.execute("REPLACE INTO findings (id, origin, body) VALUES (?, ?, ?)", row)


def _mirror(standing: dict[str, Record], transition: Transition) -> None:
    if transition.kind is Kind.RESOLVED:
        standing.pop(transition.record.finding.id, None)
    else:
        standing[transition.record.finding.id] = transition.record


def _body(record: Record) -> str:
    return json.dumps(record_to_json(record), ensure_ascii=False, separators=(",", ":"))


def _used_bytes(connection: sqlite3.Connection) -> int:
    """Bytes in use: pages that were freed are used again before the file grows."""
    pages, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)
