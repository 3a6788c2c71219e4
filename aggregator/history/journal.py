"""The history's file, and the one thread that writes to it.

Each update is a row; a base is a node as it is after some row, and what the rows before it counted is in the hours by
then: both in one transaction, so that nothing is in neither and nothing in both. All that waits goes into one
transaction, and between two of them there is a pause: one flush of the disk for many updates. A node whose chain has a
gap (the disk refused a row of it) gets no further row until a base has come.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import sqlite3
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nodetell.logs import event

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
from aggregator.history.hours import HOUR_S, add_rows
from aggregator.history.retention import prune
from aggregator.work import timing

_log = logging.getLogger("nodetell.aggregator")

DATABASE = "history.sqlite"
"""Name of the file in the state directory."""
MARK = "history.mark"
"""Number of the last row on disk."""
PAGE_BYTES = 8192
"""An hour of a node takes some kilobytes: several to a page."""
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE nodes (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, last_hour INTEGER NOT NULL)",
        """CREATE TABLE journal (
            seq INTEGER PRIMARY KEY, node INTEGER NOT NULL, instance BLOB NOT NULL, number INTEGER NOT NULL,
            at_ms INTEGER NOT NULL, clock_us INTEGER, packed INTEGER NOT NULL, crc INTEGER NOT NULL, body BLOB NOT NULL
        )""",
        """CREATE TABLE bases (
            node INTEGER PRIMARY KEY, upto INTEGER NOT NULL, flush INTEGER NOT NULL, at_ms INTEGER NOT NULL,
            crc INTEGER NOT NULL, body BLOB
        )""",
        "CREATE TABLE hours (key INTEGER PRIMARY KEY, body BLOB NOT NULL)",
    ),
)
"""`journal` has updates (zlib where packed is 1), `bases` a node as it is after row `upto` (no body: it is forgotten),
`hours` minute values by hour << 24 | node. `flush` is the number of the rows that came with the base."""

LOG_BYTES = 4 << 20
"""The log is taken into the file from there on."""
REST_S = 0.1
"""Least time between two transactions."""
PRUNE_S = 5.0
RETRY_S = 1.0
"""After a failure the disk is left alone for so long."""
HANGS_S = 4.0
"""A disk that takes longer than this for a transaction hangs: nothing is queued for it."""
PACK_BYTES = 4096
"""Updates above that are compressed."""
_CLOSE_S = 2.0
NEEDS_BASE = "an update before it is missing"
"""Why a row is refused that does not go on from the one before."""


@dataclass(slots=True)
class Entry:
    """Something to be written, and whom to tell."""

    node: str
    at: float
    """When it came, seconds since the epoch by the aggregator's clock."""
    done: Callable[[str], None]
    """Gets "" once it is on disk, else why it is not."""
    instance: bytes = b""
    number: int = 0
    clock_us: int | None = None
    update: bytes = b""
    """An Update."""
    base: bytes | None = None
    """A NodeBase, instead."""
    forgotten: bool = False
    """The node is not observed any more, instead."""
    begins: bool = False
    """It needs nothing before it."""
    flush: int = 0
    rows: Sequence[bytes] = ()
    """With a base or a forgotten node: minute values that were counted up to there, each a MinuteRows."""


@dataclass(slots=True)
class Row:
    """An update as it was stored."""

    instance: bytes
    number: int
    at: float
    clock_us: int | None
    packed: bool
    body: bytes

    def update(self) -> bytes:
        """An Update, serialized."""
        return zlib.decompress(self.body) if self.packed else self.body


@dataclass(slots=True)
class Stored:
    """What is stored of a node."""

    base: bytes | None = None
    """A NodeBase."""
    rows: list[Row] = field(default_factory=list)
    """Updates since then."""
    flush: int = 0
    whole: bool = True
    """Nothing is known to be missing at the end of it."""


class Journal:
    """The file. `put` and `close` are the owner's, everything else the writer's."""

    def __init__(
        self,
        directory: Path,
        *,
        retention_s: float,
        max_bytes: int,
        deliver: Callable[[list[tuple[Entry, str]]], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`deliver` gets entries with what their `done` is to be called with, in the writer's thread."""
        schema = Schema(
            MIGRATIONS,
            min(LOG_BYTES, max_bytes // 16),
            pragmas=(f"page_size={PAGE_BYTES}", "auto_vacuum=INCREMENTAL"),
            tables=("nodes", "journal", "bases"),
        )
        self._file = DatabaseFile(directory / DATABASE, Mark(directory / MARK), schema, "history", clock)
        self.over = ""
        """Why the limit of space can't be kept."""
        self.writing_since: float | None = None
        """Since when the disk has been at it, by the monotonic clock; None: it is not."""
        self.written = 0
        """Entries that are on disk."""
        self.writes = timing()
        """How long transactions took."""
        self._directory, self._retention_s, self._max_bytes, self._clock = directory, retention_s, max_bytes, clock
        self._deliver = deliver
        self._queue: queue.SimpleQueue[Entry | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._writer: threading.Thread | None = None
        self._seq = 0
        self._nodes: dict[str, int] = {}
        self._whole: set[str] = set()
        """Nodes that the next row of goes on from what is in the file."""
        self._oldest: dict[str, int] = {}
        """Number of the first row since its base, by node, the lowest first."""
        self._written_at = self._pruned_at = self._failed_at = float("-inf")

    @property
    def path(self) -> Path:
        """Of the database."""
        return self._file.path

    @property
    def problem(self) -> str:
        """Why nothing can be stored at present; empty: it can."""
        return self._file.problem

    @property
    def notice(self) -> str:
        """What happened to the file and stays worth knowing; empty: nothing."""
        return self._file.notice

    # -- the owner's side ------------------------------------------------------------------------------------------

    def open(self) -> dict[str, Stored]:
        """What is stored of live nodes. Starts the writer. Raises StoreError where a newer version wrote the file."""
        nothing: dict[str, Stored] = {}
        stored = self._file.load(self._load, self._start_afresh, nothing)
        self._writer = threading.Thread(target=self._write_all, name="history", daemon=True)
        self._writer.start()
        return stored

    def put(self, entry: Entry) -> None:
        """Have it written."""
        self._queue.put(entry)

    def refuses(self) -> str:
        """Why nothing need be put now: the disk has just refused, or does not answer. Empty: it may take it."""
        now, since = time.monotonic(), self.writing_since
        if since is not None and now - since > HANGS_S:
            return f"{self.path}: the disk has not answered for {now - since:.0f} s"
        return self.problem if now < self._failed_at + RETRY_S else ""

    def close(self) -> None:
        """Write what is waiting, if the disk takes it soon, and close the file."""
        self._closing.set()
        if self._writer is not None:
            self._queue.put(None)
            self._writer.join(_CLOSE_S)
            if self._writer.is_alive():  # a disk that hangs; the thread ends with the process
                return
            self._writer = None
        self._file.close()

    # -- opening -----------------------------------------------------------------------------------------------------

    def _start_afresh(self, damage: Exception) -> None:
        """Nodes begin anew with a base, in a new file."""
        self._nodes.clear()
        self._whole.clear()
        self._oldest.clear()
        self._file.start_afresh(damage, "the history begins anew")

    def _load(self, connection: sqlite3.Connection) -> dict[str, Stored]:
        """Live nodes. Rows that are damaged end what is known of their node there."""
        names = dict(connection.execute("SELECT id, name FROM nodes"))
        self._nodes = {name: number for number, name in names.items()}
        stored: dict[int, Stored] = {}
        upto: dict[int, int] = {}
        damaged: dict[int, int] = {}
        for node, last, flush, at_ms, crc, body in connection.execute(
            "SELECT node, upto, flush, at_ms, crc, body FROM bases"
        ):
            self._seq, upto[node] = max(self._seq, last), last
            if crc != checksum(node, last, flush, at_ms, body or b""):
                damaged[node] = 1
            elif body is not None:
                stored[node] = Stored(zlib.decompress(body), flush=flush)
        for seq, node, instance, number, at_ms, clock_us, packed, crc, body in connection.execute(
            "SELECT seq, node, instance, number, at_ms, clock_us, packed, crc, body FROM journal ORDER BY seq"
        ):
            self._seq = max(self._seq, seq)
            if seq <= upto.get(node, 0):
                continue
            if node in damaged:
                damaged[node] += 1
            elif node not in names or crc != _row_checksum(seq, node, instance, number, at_ms, clock_us, packed, body):
                damaged[node] = 1
                stored.setdefault(node, Stored()).whole = False
            else:
                row = Row(instance, number, at_ms / 1000, clock_us, bool(packed), body)
                stored.setdefault(node, Stored()).rows.append(row)
                self._oldest.setdefault(names[node], seq)
        found = {names[node]: each for node, each in stored.items() if node in names}
        self._whole = {name for name, each in found.items() if each.whole}
        self._say_missing(damaged, names)
        return found

    def _say_missing(self, damaged: dict[int, int], names: dict[int, str]) -> None:
        said = []
        if damaged:
            nodes = sorted(names.get(node, f"number {node}") for node in damaged)
            more = f" and {len(nodes) - 3} more" if len(nodes) > 3 else ""
            said.append(f"{sum(damaged.values())} updates of {', '.join(nodes[:3])}{more} are damaged and left out")
        marked = self._file.mark.read()
        if marked is not None and marked > self._seq:
            said.append(
                f"its last {marked - self._seq} updates, which were on disk, are missing: its log was damaged, or an "
                "older copy stands in its place"
            )
            self._seq = marked
        if said:
            self._file.notice = f"{self.path}: {'; '.join(said)}"
            event(_log, logging.ERROR, "history_incomplete", path=self.path, reason="; ".join(said))

    # -- the writer's side -------------------------------------------------------------------------------------------

    def _write_all(self) -> None:
        while (entry := self._queue.get()) is not None:
            self._closing.wait(max(0.0, self._written_at + REST_S - time.monotonic()))
            batch, more = self._gather(entry)
            self._written_at = self.writing_since = time.monotonic()
            told = self._write(batch)
            self.writes.note(time.monotonic() - self._written_at)
            self.written += sum(not reason for _, reason in told)
            self.writing_since = None
            self._deliver(told)
            if not more:
                return

    def _gather(self, first: Entry) -> tuple[list[Entry], bool]:
        """All that waits. False: nothing more will come."""
        batch = [first]
        with contextlib.suppress(queue.Empty):
            while True:
                entry = self._queue.get_nowait()
                if entry is None:
                    return batch, False
                batch.append(entry)
        return batch, True

    def _write(self, batch: list[Entry]) -> list[tuple[Entry, str]]:
        """One transaction. Gives what to tell each."""
        nodes = {entry.node for entry in batch}
        if time.monotonic() < self._failed_at + RETRY_S:
            self._whole -= nodes
            return [(entry, self.problem) for entry in batch]
        oldest, whole = dict(self._oldest), set(self._whole)
        try:
            known = self._file.connection is not None
            connection = self._file.connected()
            if not known:
                self._nodes = self._known_nodes()
            with transaction(connection):
                told = [(entry, self._put(connection, entry)) for entry in batch]
            self._file.mark.write(self._seq)
        except (OSError, sqlite3.Error, StoreError, DamagedError) as error:
            # Numbers of rows are not used again: the commit may have gone through for all that is known.
            self._oldest, self._whole = oldest, whole - nodes
            reason = self._fail(error)
            return [(entry, reason) for entry in batch]
        self._file.took()
        try:
            self._tidy_up(connection)
        except (OSError, sqlite3.Error) as error:
            self._fail(error)
        return told

    def _fail(self, error: Exception) -> str:
        """Why nothing came of it."""
        if is_damage(error):
            self._start_afresh(error)
        else:
            self._file.refused(error)
            self._file.disconnect()
            self._failed_at = time.monotonic()
        self._nodes = self._known_nodes()
        return self.problem or self.notice

    def _known_nodes(self) -> dict[str, int]:
        """Those in the file: what a transaction that failed has given is not to be used. Empty: the file will tell."""
        if self._file.connection is not None:
            with contextlib.suppress(sqlite3.Error):
                return {name: number for number, name in self._file.connection.execute("SELECT id, name FROM nodes")}
        return {}

    def _put(self, connection: sqlite3.Connection, entry: Entry) -> str:
        if not entry.begins and not entry.forgotten and entry.node not in self._whole:
            return NEEDS_BASE
        node = self._number_of(connection, entry.node, entry.at)
        self._seq += 1
        at_ms = round(entry.at * 1000)
        if entry.base is None and not entry.forgotten:
            packed = len(entry.update) > PACK_BYTES
            body = zlib.compress(entry.update, 1) if packed else entry.update
            row = self._seq, node, entry.instance, entry.number, at_ms, entry.clock_us, int(packed)
            connection.execute(
                "INSERT INTO journal (seq, node, instance, number, at_ms, clock_us, packed, crc, body)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*row, _row_checksum(*row, body), body),
            )
            self._oldest.setdefault(entry.node, self._seq)
            self._whole.add(entry.node)
            return ""
        body = zlib.compress(entry.base, 1) if entry.base is not None else b""
        check = checksum(node, self._seq, entry.flush, at_ms, body)
        connection.execute(
            "REPLACE INTO bases (node, upto, flush, at_ms, crc, body) VALUES (?, ?, ?, ?, ?, ?)",
            (node, self._seq, entry.flush, at_ms, check, body or None),
        )
        for problem in add_rows(connection, entry.node, node, entry.rows):
            self._file.notice = f"{self.path}: {problem}"
            event(_log, logging.ERROR, "history_incomplete", path=self.path, reason=problem)
        hour = int(entry.at // HOUR_S)
        connection.execute("UPDATE nodes SET last_hour = ? WHERE id = ? AND last_hour < ?", (hour, node, hour))
        self._oldest.pop(entry.node, None)
        if entry.forgotten:
            self._whole.discard(entry.node)
        else:
            self._whole.add(entry.node)
        return ""

    def _number_of(self, connection: sqlite3.Connection, name: str, at: float) -> int:
        number = self._nodes.get(name)
        if number is None:
            hour = int(at // HOUR_S)
            cursor = connection.execute("INSERT INTO nodes (name, last_hour) VALUES (?, ?)", (name, hour))
            number = self._nodes[name] = cursor.lastrowid or 0
        return number

    def _tidy_up(self, connection: sqlite3.Connection) -> None:
        """Delete what is not needed any more: rows before the first that some node needs, and what is too old."""
        now = time.monotonic()
        if now - self._pruned_at < PRUNE_S:
            return
        self._pruned_at = now
        needed = min(self._oldest.values(), default=self._seq + 1)
        with transaction(connection):
            connection.execute("DELETE FROM journal WHERE seq < ?", (needed,))
            connection.execute("DELETE FROM bases WHERE body IS NULL AND upto < ?", (needed,))
        over = prune(
            connection,
            self._directory,
            now=self._clock(),
            retention_s=self._retention_s,
            max_bytes=self._max_bytes,
        )
        if over and not self.over:
            event(_log, logging.WARNING, "store_over_limit", reason=over)
        self.over = over
        gone = self._nodes.keys() - {name for (name,) in connection.execute("SELECT name FROM nodes")}
        for name in gone:
            del self._nodes[name]


def _row_checksum(*row: bytes | int | None) -> int:
    return checksum(*("" if each is None else each for each in row))
