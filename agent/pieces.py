"""Updates cut into messages that cross a path which drops large packets. Pure."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from nodetell.limits import CHUNK_BYTES, MAX_UPDATE_BYTES
from nodetell.v1 import agent_pb2

COMPRESS_FROM_BYTES = 2_000
"""Below this, zlib saves less than one message."""


class UpdateTooLargeError(Exception):
    """An update is larger than any aggregator takes."""


def pieces(number: int, update: agent_pb2.Update) -> Iterator[agent_pb2.Chunk]:
    """The update, serialized and compressed where that pays, in pieces of at most CHUNK_BYTES.

    Raises UpdateTooLargeError before the first piece.
    """
    data = update.SerializeToString()
    if len(data) > MAX_UPDATE_BYTES:
        raise UpdateTooLargeError(
            f"update {number} has {len(data):,} bytes ({len(update.items):,} items, {len(update.blocks):,} blocks of "
            f"counters), and at most {MAX_UPDATE_BYTES:,} can be sent"
        )
    encoding = agent_pb2.ENCODING_PLAIN
    if len(data) > COMPRESS_FROM_BYTES:
        compressed = zlib.compress(data, 6)
        if len(compressed) < len(data):
            data, encoding = compressed, agent_pb2.ENCODING_ZLIB
    total = len(data)
    for begin in range(0, max(total, 1), CHUNK_BYTES):
        chunk = agent_pb2.Chunk(
            update=number, data=data[begin : begin + CHUNK_BYTES], last=begin + CHUNK_BYTES >= total
        )
        if begin == 0:
            chunk.total_bytes, chunk.encoding = total, encoding
        yield chunk
