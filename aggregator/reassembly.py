"""Updates put together again from their pieces, within limits. Pure: it trusts nothing that a peer says of itself."""

from __future__ import annotations

import zlib

from google.protobuf.message import DecodeError
from nodetell.limits import MAX_UPDATE_BYTES
from nodetell.v1 import agent_pb2

from aggregator.node_items import UpdateError


class ProtocolError(Exception):
    """A peer breaks the protocol, so that nothing more it says on this stream can be trusted. One line."""


class Reassembler:
    """The update that is arriving on one stream."""

    def __init__(self, max_bytes: int = MAX_UPDATE_BYTES) -> None:
        self._max_bytes = max_bytes
        self._number: int | None = None
        self._encoding = 0
        self._total = 0
        self._data = bytearray()

    def take(self, chunk: agent_pb2.Chunk) -> tuple[int, agent_pb2.Update] | None:
        """Take a piece; the update and its number once it is whole.

        Raises ProtocolError for pieces that do not fit, UpdateError for a whole that cannot be understood; after the
        latter the next update may come.
        """
        if self._number is None:
            self._begin(chunk)
        elif chunk.update != self._number or chunk.total_bytes:
            raise ProtocolError(f"a piece of update {chunk.update} within update {self._number}")
        self._data += chunk.data
        if not chunk.data:
            raise ProtocolError(f"update {chunk.update}: an empty piece")
        if len(self._data) > self._total:
            raise ProtocolError(f"update {chunk.update}: more than the {self._total:,} bytes announced")
        if chunk.last != (len(self._data) == self._total):
            raise ProtocolError(
                f"update {chunk.update}: {len(self._data):,} of {self._total:,} announced bytes, "
                f"and this is {'' if chunk.last else 'not '}the last piece"
            )
        if not chunk.last:
            return None
        number, data = chunk.update, bytes(self._data)
        self._number, self._data = None, bytearray()
        return number, self._decode(number, data)

    def _begin(self, chunk: agent_pb2.Chunk) -> None:
        if not chunk.update:
            raise ProtocolError("a piece without the number of its update")
        if not 0 < chunk.total_bytes <= self._max_bytes:
            raise ProtocolError(
                f"update {chunk.update}: {chunk.total_bytes:,} bytes announced, 1 to {self._max_bytes:,} are allowed"
            )
        if chunk.encoding not in (agent_pb2.ENCODING_PLAIN, agent_pb2.ENCODING_ZLIB):
            raise ProtocolError(f"update {chunk.update}: encoding {chunk.encoding} is not known here")
        self._number, self._total, self._encoding = chunk.update, chunk.total_bytes, chunk.encoding

    def _decode(self, number: int, data: bytes) -> agent_pb2.Update:
        if self._encoding == agent_pb2.ENCODING_ZLIB:
            data = self._decompress(number, data)
        try:
            return agent_pb2.Update.FromString(data)
        except DecodeError as error:
            raise UpdateError(f"update {number}: not a protobuf message: {error}") from None

    def _decompress(self, number: int, data: bytes) -> bytes:
        unpacker = zlib.decompressobj()
        try:
            plain = unpacker.decompress(data, self._max_bytes + 1)
        except zlib.error as error:
            raise UpdateError(f"update {number}: damaged: {error}") from None
        if len(plain) > self._max_bytes:
            raise ProtocolError(f"update {number}: more than {self._max_bytes:,} bytes when decompressed")
        if not unpacker.eof or unpacker.unused_data:
            raise UpdateError(f"update {number}: damaged: the compressed data do not end where they should")
        return plain
