"""What is kept, and for how long: the oldest goes first, in small steps, and never what live state is rebuilt from.

Of a node whose minutes take many times the room that others' take, they go before anybody else's: a host gone wild, or
an agent in hostile hands, shortens its own past and no other's.

The limit is on all files of the state directory together: findings, history, their logs, and files that were moved
aside because they were damaged.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from pathlib import Path

from nodetell.logs import event

from aggregator.database import transaction
from aggregator.history.hours import HOUR_S, NODE_BITS, key_of

_log = logging.getLogger("nodetell.aggregator")

STEP = 200
"""Rows that are deleted at once ..."""
STEPS = 20
"""... so many times in a row at most."""
GREEDY = 4.0
"""A node may take so many times what the median of them takes before its own go first."""
RESERVE, RESERVE_BYTES = 16, 2 << 20
"""The files are kept below the limit by this part of it, or a quarter but no more than so many bytes: they grow between
two looks, and a log is as long as what is written at once."""
_ASIDE = ".damaged-"


def directory_bytes(directory: Path) -> int:
    """All files."""
    total = 0
    with contextlib.suppress(OSError):
        for path in directory.iterdir():
            with contextlib.suppress(OSError):
                total += path.stat().st_size
    return total


def prune(connection: sqlite3.Connection, directory: Path, *, now: float, retention_s: float, max_bytes: int) -> str:
    """A few steps. Gives why the limit can't be kept; empty: it can. Raises sqlite3.Error."""
    first = connection.execute("SELECT min(key) FROM hours").fetchone()[0]
    too_old = key_of(max(0, int((now - retention_s) // HOUR_S)), 0)
    if first is not None and first < too_old:
        _delete_hours(connection, too_old)
    _forget_nodes(connection)
    _remove_aside(directory, before=now - retention_s)
    limit = max_bytes - max(max_bytes // RESERVE, min(max_bytes // 4, RESERVE_BYTES))
    for _ in range(STEPS):
        over = directory_bytes(directory) - limit
        if over <= 0:
            break
        if problem := _give_back(connection, directory, over):
            return problem
    return ""


def _give_back(connection: sqlite3.Connection, directory: Path, over: int) -> str:
    """Make the files smaller, the oldest first, by some of what they are over the limit."""
    size, free = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_size", "freelist_count"))
    first = connection.execute("SELECT min(key) FROM hours").fetchone()[0]
    oldest = (first >> NODE_BITS) * HOUR_S if first is not None else float("inf")
    if _remove_aside(directory, before=oldest, at_most=1):
        return ""
    if free * size < over and first is not None and not _delete_of_the_greediest(connection):
        _delete_hours(connection, 1 << 62)
    elif not free:
        return f"{directory}: what is needed takes {over >> 20} MiB more than store.max_mib allows"
    connection.execute(f"PRAGMA incremental_vacuum({min(10 * STEP, over // size + 1)})").fetchall()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return ""


def _delete_hours(connection: sqlite3.Connection, below: int) -> None:
    with transaction(connection):
        oldest = "SELECT key FROM hours WHERE key < ? ORDER BY key LIMIT ?"
        connection.execute(f"DELETE FROM hours WHERE key IN ({oldest})", (below, STEP))  # noqa: S608  # constants


def _delete_of_the_greediest(connection: sqlite3.Connection) -> bool:
    """Delete an eighth of what there is of the node that takes most. False: none takes much more than others."""
    mask = (1 << NODE_BITS) - 1
    taken = "SELECT key & ?, count(*), sum(length(body)) AS bytes FROM hours GROUP BY 1 ORDER BY bytes"
    rows = connection.execute(taken, (mask,)).fetchall()
    if len(rows) < 3 or rows[-1][2] <= GREEDY * rows[(len(rows) - 1) // 2][2]:
        return False
    node, hours, _ = rows[-1]
    with transaction(connection):
        oldest = "SELECT key FROM hours WHERE key & ? = ? ORDER BY key LIMIT ?"
        connection.execute(f"DELETE FROM hours WHERE key IN ({oldest})", (mask, node, hours // 8 + 1))  # noqa: S608  # constants
    return True


def _forget_nodes(connection: sqlite3.Connection) -> None:
    """Nodes of which nothing is left."""
    first = connection.execute("SELECT min(key) FROM hours").fetchone()[0]
    with transaction(connection):
        connection.execute(
            "DELETE FROM nodes WHERE last_hour < ? AND id NOT IN (SELECT node FROM bases)"
            " AND id NOT IN (SELECT node FROM journal)",
            ((first >> NODE_BITS) if first is not None else 0,),
        )


def _remove_aside(directory: Path, before: float, at_most: int = 100) -> bool:
    """Remove files that were moved aside before that time. True: there were some."""
    found = []
    with contextlib.suppress(OSError):
        for path in directory.iterdir():
            with contextlib.suppress(OSError):
                if _ASIDE in path.name and (changed := path.stat().st_mtime) < before:
                    found.append((changed, path))
    for _, path in sorted(found)[:at_most]:
        with contextlib.suppress(OSError):
            path.unlink()
            event(_log, logging.WARNING, "damaged_file_removed", path=path)
    return bool(found)
