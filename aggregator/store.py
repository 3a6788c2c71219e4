"""Findings and their life on disk, in SQLite: what was acknowledged to an agent survives a kill -9 and a power cut.

One thread owns the database. It takes all that is waiting into one transaction (WAL, synchronous=FULL), so a burst
costs one fsync. A disk that refuses is tried again and again, with growing pauses; until it takes the transitions,
`commit` does not return, and `problem` says why. Findings are served from memory all the while.

The file is moved aside, never deleted, where it is damaged, and left alone where a newer version wrote it. Commits that
the mark beside it tells of and that are not in it are said to be missing.
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
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nodetell.logs import event

from aggregator.convert import milliseconds, record_from_json, record_to_json
from aggregator.database import (
    DamagedError,
    DatabaseFile,
    Mark,
    Schema,
    StoreError,
    checksum,
    is_damage,
    transaction,
    used_bytes,
)
from aggregator.findings import KEPT_RESOLVED, Kind, Record, Transition

_log = logging.getLogger("nodetell.aggregator")

DATABASE = "findings.sqlite"
"""Name of the file in the state directory."""
MARK = "findings.mark"
"""Number of the last transition on disk."""
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
    (
        "ALTER TABLE findings ADD COLUMN crc INTEGER",
        "ALTER TABLE transitions ADD COLUMN crc INTEGER",
    ),
)
"""Statements that lead from each schema version (PRAGMA user_version) to the next. `findings` has those that stand;
`transitions` the life of all: one row for each step, with everything that was known then. `crc` is over the row;
rows of the first version have none."""

PRUNE_INTERVAL_S = 600.0
LOG_BYTES = 4 << 20
"""The log (WAL) is taken into the file from there on."""
MAX_WAITING = 10_000
"""Transitions that wait for a disk that refuses; beyond that only the last of each finding is kept."""
_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.1, 10.0
_CLOSE_S = 0.8
"""What is still waiting when the store is closed has so long to get to the disk."""


@dataclass(slots=True)
class _Job:
    """Transitions that go to disk together, and whom to tell."""

    transitions: list[Transition]
    done: list[Callable[[], None]] = field(default_factory=list)


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
        self._directory = directory
        self._retention_s, self._max_bytes, self._clock = retention_s, max_bytes, clock
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._lock: int | None = None
        where = directory or Path()
        schema = Schema(MIGRATIONS, min(LOG_BYTES, max_bytes // 4))
        self._file = DatabaseFile(where / DATABASE, Mark(where / MARK), schema, "store", clock)
        self._pruned_at = 0.0
        self._standing: dict[str, Record] = {}
        """What stands according to the file, in case it has to be made anew."""
        self._writer: threading.Thread | None = None

    @property
    def problem(self) -> str:
        """Why nothing can be stored at present; empty: it can."""
        return self._file.problem

    @property
    def notice(self) -> str:
        """What happened to the file at the start and stays worth knowing; empty: nothing."""
        return self._file.notice

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
        except OSError as error:
            self._file.refused(error)
        try:
            loaded = self._file.load(_load, self._start_afresh, loaded)
        except StoreError:
            self.close()
            raise
        if self._file.connection is not None:
            self._look_for_missing(self._file.connection)
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
        self._file.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    # -- opening -----------------------------------------------------------------------------------------------------

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

    def _look_for_missing(self, connection: sqlite3.Connection) -> None:
        """Say what was committed and is not in the file any more."""
        marked = self._file.mark.read()
        last = _last_number(connection)
        if marked is not None and marked > last:
            self._file.notice = (
                f"{self._file.path}: its last {marked - last} transitions of findings, which were on disk, are "
                "missing: its log was damaged, or an older copy stands in its place"
            )
            event(_log, logging.ERROR, "transitions_missing", path=self._file.path, count=marked - last)

    def _start_afresh(self, damage: Exception) -> None:
        """Begin a new file with what is known."""
        if not self._file.start_afresh(damage, "the history in it is not shown"):
            return
        try:
            connection = self._file.connected()
            with transaction(connection):
                for record in self._standing.values():
                    _put_standing(connection, record)
        except (OSError, sqlite3.Error, StoreError, DamagedError) as error:
            self._file.refused(error)

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
            self._take_lock(self._directory)
            connection = self._file.connected()
            self._prune_if_due(connection)
            with transaction(connection):
                number = 0
                for transition in job.transitions:
                    number = _put(connection, transition)
        except (OSError, sqlite3.Error, StoreError, DamagedError) as error:
            if is_damage(error):
                self._start_afresh(error)
            else:
                self._file.refused(error)
                self._file.disconnect()
            return False
        self._file.mark.write(number)
        for transition in job.transitions:
            _mirror(self._standing, transition)
        self._file.took()
        return True

    def _prune_if_due(self, connection: sqlite3.Connection) -> None:
        now = self._clock()
        if not 0 <= now - self._pruned_at < PRUNE_INTERVAL_S:
            self._pruned_at = now
            with transaction(connection):
                connection.execute(
                    "DELETE FROM transitions WHERE at_ms < ? AND id NOT IN (SELECT id FROM findings)",
                    (milliseconds(now - self._retention_s),),
                )
        while used_bytes(connection) > self._max_bytes:
            with transaction(connection):
                oldest = "SELECT seq FROM transitions {} ORDER BY seq LIMIT 1000"
                over = oldest.format("WHERE id NOT IN (SELECT id FROM findings)")
                gone = connection.execute(f"DELETE FROM transitions WHERE seq IN ({over})").rowcount  # noqa: S608
                if not gone:
                    gone = connection.execute(
                        f"DELETE FROM transitions WHERE seq IN ({oldest.format('')})"  # noqa: S608  # constants
                    ).rowcount
            if not gone:
                return


def _load(connection: sqlite3.Connection) -> tuple[list[Record], list[Record]]:
    has_crc = connection.execute("PRAGMA user_version").fetchone()[0] > 1
    crc = "crc" if has_crc else "NULL"  # of the first version, where it could not be written to
    step = "at_ms, kind, id, first_seen_ms, origin, body"
    resolved = f"SELECT {step}, {crc} FROM transitions WHERE kind = ? ORDER BY seq DESC LIMIT ?"  # noqa: S608  # constants
    try:
        standing = connection.execute(f"SELECT id, origin, body, {crc} FROM findings").fetchall()  # noqa: S608
        over = connection.execute(resolved, (Kind.RESOLVED.value, KEPT_RESOLVED)).fetchall()
        return _records(standing), _records(reversed(over))
    except sqlite3.OperationalError:
        raise
    except (sqlite3.DatabaseError, ValueError, KeyError, TypeError) as error:
        raise DamagedError(f"a row can't be understood: {type(error).__name__}: {error}") from error


def _records(rows: Iterable[tuple[Any, ...]]) -> list[Record]:
    """Of rows that end with origin, body and checksum. Raises ValueError, KeyError or TypeError."""
    records = []
    for *row, crc in rows:
        if crc is not None and crc != checksum(*row):
            raise ValueError("its checksum does not fit")
        records.append(record_from_json(json.loads(row[-1]), row[-2]))
    return records


def _last_number(connection: sqlite3.Connection) -> int:
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'transitions'").fetchone()
    return int(row[0]) if row is not None else 0


def _put(connection: sqlite3.Connection, transition: Transition) -> int:
    """Gives the transition's number."""
    record = transition.record
    key, first_seen = record.finding.id, milliseconds(record.first_seen)
    row = milliseconds(transition.at), transition.kind.value, key, first_seen, record.origin, _body(record)
    number = connection.execute(
        "INSERT INTO transitions (at_ms, kind, id, first_seen_ms, origin, body, crc) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (*row, checksum(*row)),
    ).lastrowid
    if transition.kind is Kind.RESOLVED:
        connection.execute("DELETE FROM findings WHERE id = ?", (key,))
    else:
        _put_standing(connection, record)
    return number or 0


def _put_standing(connection: sqlite3.Connection, record: Record) -> None:
    row = record.finding.id, record.origin, _body(record)
    connection.execute("REPLACE INTO findings (id, origin, body, crc) VALUES (?, ?, ?, ?)", (*row, checksum(*row)))


def _mirror(standing: dict[str, Record], transition: Transition) -> None:
    if transition.kind is Kind.RESOLVED:
        standing.pop(transition.record.finding.id, None)
    else:
        standing[transition.record.finding.id] = transition.record


def _body(record: Record) -> str:
    return json.dumps(record_to_json(record), ensure_ascii=False, separators=(",", ":"))
