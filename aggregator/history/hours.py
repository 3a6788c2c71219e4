"""Minute values as they are stored: the rows of one node and one hour in one compressed piece.

Keyed by hour and then node: what is written together lies together, and what is old goes together.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable

from google.protobuf.message import DecodeError
from nodetell.v1 import history_pb2

from aggregator.history.minutes import HOUR_MINUTES, MINUTE_S

HOUR_S = MINUTE_S * HOUR_MINUTES
NODE_BITS = 24
_LEVEL = 6


class HourError(Exception):
    """A stored hour that can't be understood. One line."""


def key_of(hour: int, node: int) -> int:
    """Of the table `hours`."""
    return hour << NODE_BITS | node


def merge(rows: Iterable[history_pb2.MinuteRows]) -> history_pb2.MinuteRows:
    """All rows with one set of tables."""
    merged = history_pb2.MinuteRows()
    schemas: dict[tuple[str, ...], int] = {}
    blocks: dict[tuple[str, int], int] = {}
    gauges: dict[str, int] = {}
    for each in rows:
        names = {schema.id: tuple(schema.names) for schema in each.schemas}
        block_at, gauge_at = [], []
        for block in each.blocks:
            schema = schemas.get(names[block.schema])
            if schema is None:
                schema = schemas[names[block.schema]] = len(schemas) + 1
                merged.schemas.add(id=schema, names=names[block.schema])
            which = blocks.get((block.subject, schema))
            if which is None:
                which = blocks[block.subject, schema] = len(blocks)
                merged.blocks.add(subject=block.subject, label=block.label, schema=schema)
            block_at.append(which)
        for gauge in each.gauges:
            place = gauges.get(gauge.name)
            if place is None:
                place = gauges[gauge.name] = len(gauges)
                merged.gauges.append(gauge)
            gauge_at.append(place)
        for row in each.rows:
            added = merged.rows.add()
            added.CopyFrom(row)
            added.blocks[:] = [block_at[index] for index in row.blocks]
            added.gauges[:] = [gauge_at[index] for index in row.gauges]
    return merged


def add_rows(connection: sqlite3.Connection, node: str, number: int, pieces: Iterable[bytes]) -> list[str]:
    """Put rows (each a MinuteRows) to what is stored of their hours; within the caller's transaction.

    Gives what was there and could not be understood: it is replaced.
    """
    by_hour: dict[int, list[history_pb2.MinuteRows]] = {}
    for piece in pieces:
        rows = history_pb2.MinuteRows.FromString(piece)
        for hour in sorted({row.minute // HOUR_MINUTES for row in rows.rows}):
            part = history_pb2.MinuteRows(schemas=rows.schemas, blocks=rows.blocks, gauges=rows.gauges)
            part.rows.extend(row for row in rows.rows if row.minute // HOUR_MINUTES == hour)
            by_hour.setdefault(hour, []).append(part)
    damaged = []
    for hour, parts in by_hour.items():
        key = key_of(hour, number)
        found = connection.execute("SELECT body FROM hours WHERE key = ?", (key,)).fetchone()
        if found is not None:
            try:
                parts.insert(0, unpacked(found[0], node, hour))
            except HourError as error:
                damaged.append(str(error))
        stored = merge(parts)
        stored.node, stored.hour = node, hour
        body = zlib.compress(stored.SerializeToString(), _LEVEL)
        connection.execute("REPLACE INTO hours (key, body) VALUES (?, ?)", (key, body))
    return damaged


def unpacked(body: bytes, node: str, hour: int) -> history_pb2.MinuteRows:
    """What is stored of an hour. Raises HourError; the compressed data have a checksum of their own."""
    try:
        rows = history_pb2.MinuteRows.FromString(zlib.decompress(body))
    except (zlib.error, DecodeError, TypeError) as error:
        raise HourError(f"hour {hour} of node {node} is damaged: {error}") from error
    if (rows.node, rows.hour) != (node, hour):
        raise HourError(f"hour {hour} of node {node} is damaged: it is hour {rows.hour} of node {rows.node[:80]}")
    return rows
