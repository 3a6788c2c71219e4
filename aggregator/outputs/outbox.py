"""What receivers are to be told, on disk: it outlives a kill, and a receiver that is away for days.

A file of the state directory for each kind of receiver, of the newest state of each finding, so it does not grow with
time. It is opened, checked and moved aside as the findings' own database is. A disk that refuses costs nothing but the
memory of what was sent: all goes on from memory, and is written once the disk takes it again.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from aggregator.convert import milliseconds
from aggregator.database import (
    DamagedError,
    DatabaseFile,
    Mark,
    Schema,
    StoreError,
    checksum,
    is_damage,
    transaction,
)
from aggregator.outputs.rows import Row

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE notices (
            receiver TEXT NOT NULL, key TEXT NOT NULL, finding TEXT NOT NULL, number INTEGER NOT NULL, over_ms INTEGER,
            due INTEGER NOT NULL, told INTEGER NOT NULL, digest TEXT NOT NULL, body TEXT NOT NULL, crc INTEGER NOT NULL,
            PRIMARY KEY (receiver, key)
        ) WITHOUT ROWID""",
    ),
)
"""Statements that lead from each schema version (PRAGMA user_version) to the next. `over_ms`: when the finding
resolved; NULL: it stands."""
LOG_BYTES = 1 << 20
_COLUMNS = "receiver, key, finding, number, over_ms, due, told, digest, body"
_PUT = f"REPLACE INTO notices ({_COLUMNS}, crc) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608  # constants


class Outbox:
    """Rows of all receivers of one kind. `path` None: nowhere. Each call may take as long as a disk does."""

    def __init__(self, path: Path | None, clock: Callable[[], float] = time.time) -> None:
        where = path or Path("nowhere")
        schema = Schema(MIGRATIONS, LOG_BYTES)
        self._file = DatabaseFile(where, Mark(where.with_suffix(".mark")), schema, "outbox", clock)
        self._nowhere = path is None
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, str], Row] = {}
        """All rows, in case the file has to be made anew."""
        self._unsaved: dict[tuple[str, str], Row | None] = {}

    @property
    def problem(self) -> str:
        """Why nothing can be written at present; empty: it can."""
        return self._file.problem

    @property
    def notice(self) -> str:
        """What happened to the file and stays worth knowing; empty: nothing."""
        return self._file.notice

    def open(self, receivers: Iterable[str]) -> dict[str, list[Row]]:
        """Rows by receiver; those of others are forgotten. Raises StoreError where a newer version wrote the file."""
        found: dict[str, list[Row]] = {receiver: [] for receiver in receivers}
        if self._nowhere:
            return found
        with self._lock:
            nothing: tuple[list[tuple[str, Row]], int] = [], 0
            rows, bad = self._file.load(_read, self._afresh, nothing)
            for receiver, row in rows:
                if receiver in found:
                    found[receiver].append(row)
                    self._kept[receiver, row.key] = row
                else:
                    self._unsaved[receiver, row.key] = None
            if bad:
                self._afresh(DamagedError(f"{bad} of its rows can't be understood"))
            elif not self.problem:
                self._write()
        return found

    def save(self, receiver: str, changes: Mapping[str, Row | None]) -> None:
        """Returns when they are on disk, or the disk has refused them; then they are written with the next ones."""
        if self._nowhere:
            return
        with self._lock:
            for key, row in changes.items():
                where = receiver, key
                self._unsaved[where] = row
                if row is None:
                    self._kept.pop(where, None)
                else:
                    self._kept[where] = row
            self._write()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._file.close()

    # -- with the lock held ------------------------------------------------------------------------------------------

    def _write(self, *, again: bool = True) -> None:
        try:
            connection = self._file.connected()
            with transaction(connection):
                for (receiver, key), row in self._unsaved.items():
                    if row is None:
                        connection.execute("DELETE FROM notices WHERE receiver = ? AND key = ?", (receiver, key))
                    else:
                        connection.execute(_PUT, _values(receiver, row))
        except (OSError, sqlite3.Error, StoreError, DamagedError) as error:
            if again and is_damage(error):
                self._afresh(error)
            else:
                self._file.refused(error)
                self._file.disconnect()
        else:
            self._unsaved.clear()
            self._file.took()

    def _afresh(self, damage: Exception) -> None:
        """Begin a new file with what is known."""
        lost = "receivers may be told again of what stands, and not of what is over"
        if self._file.start_afresh(damage, lost):
            self._unsaved = dict(self._kept)
            self._write(again=False)


def _read(connection: sqlite3.Connection) -> tuple[list[tuple[str, Row]], int]:
    """All rows with their receivers, the oldest first, and how many can't be understood."""
    found, bad = [], 0
    for *values, crc in connection.execute(f"SELECT {_COLUMNS}, crc FROM notices ORDER BY number"):  # noqa: S608  # constants
        row = _row(values) if crc == checksum(*map(str, values)) else None
        if row is None:
            bad += 1
        else:
            found.append((values[0], row))
    return found, bad


def _values(receiver: str, row: Row) -> tuple[Any, ...]:
    over = None if row.over is None else milliseconds(row.over)
    body = json.dumps(row.payload, ensure_ascii=False, separators=(",", ":"))
    values = (receiver, row.key, row.finding, row.number, over, int(row.due), int(row.told), row.digest, body)
    return *values, checksum(*map(str, values))


def _row(values: list[Any]) -> Row | None:
    _, key, finding, number, over, due, told, digest, body = values
    try:
        payload = json.loads(body)
    except ValueError:
        return None
    when = None if over is None else over / 1000
    return Row(key, finding, payload, digest, number, when, bool(due), bool(told))
