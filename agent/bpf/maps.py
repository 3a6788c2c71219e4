"""BPF maps: tables that programs in the kernel fill and we read."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterator
from enum import IntEnum

from agent.bpf.syscalls import BpfError, Command, attributes_buffer, buffer_of, call

_BATCH = 256
_ELEMENT = struct.Struct("<IxxxxQQQ")
_LOOKUP_BATCH = struct.Struct("<QQQQIIQQ")
_COUNT_AT = 32
_ENOTSUPP = 524  # the kernel's own, unknown to errno
_NO_BATCH = {errno.EINVAL, errno.EOPNOTSUPP, _ENOTSUPP}


class MapType(IntEnum):
    """enum bpf_map_type."""

    HASH = 1
    ARRAY = 2
    PERCPU_HASH = 5
    LRU_HASH = 9


class BpfMap:
    """One map; its memory in the kernel goes when it is closed and no program holds it any more."""

    def __init__(
        self, kind: MapType, key_bytes: int, value_bytes: int, entries: int, *, name: str, cpus: int = 1
    ) -> None:
        """`cpus`: possible CPUs, for a per-CPU map; a value as read is then that many values. Raises BpfError."""
        attributes = struct.pack("<IIIIIII16s", kind, key_bytes, value_bytes, entries, 0, 0, 0, name.encode()[:15])
        self.descriptor = call(Command.MAP_CREATE, attributes, f"map {name}")
        self.name = name
        self.entries = entries
        self.key_bytes = key_bytes
        self.value_bytes = value_bytes if kind is not MapType.PERCPU_HASH else (value_bytes + 7) // 8 * 8 * cpus
        self._has_batch = True

    def close(self) -> None:
        """Let go of it."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def lookup(self, key: bytes) -> bytes | None:
        """The value under a key; None: there is none. Raises BpfError."""
        value = ctypes.create_string_buffer(self.value_bytes)
        try:
            self._element(Command.MAP_LOOKUP_ELEM, key, ctypes.addressof(value))
        except BpfError as error:
            if error.errno == errno.ENOENT:
                return None
            raise
        return value.raw

    def update(self, key: bytes, value: bytes) -> None:
        """Set the value under a key. Raises BpfError."""
        held, address = buffer_of(value)
        self._element(Command.MAP_UPDATE_ELEM, key, address)
        del held

    def delete(self, key: bytes) -> None:
        """Remove a key; nothing happens if it is not there. Raises BpfError."""
        try:
            self._element(Command.MAP_DELETE_ELEM, key, 0)
        except BpfError as error:
            if error.errno != errno.ENOENT:
                raise

    def items(self) -> list[tuple[bytes, bytes]]:
        """All entries, while programs go on changing them. Raises BpfError."""
        if self._has_batch:
            try:
                return self._by_batch()
            except BpfError as error:
                if error.errno not in _NO_BATCH:  # batches of hashes since 5.6
                    raise
                self._has_batch = False
        return list(self._one_by_one())

    def clear(self) -> None:
        """Remove all entries. Raises BpfError."""
        for key in list(self._keys()):
            self.delete(key)

    def _element(self, command: Command, key: bytes, value_address: int) -> None:
        held, address = buffer_of(key)
        call(command, _ELEMENT.pack(self.descriptor, address, value_address, 0), f"map {self.name}")
        del held

    def _by_batch(self) -> list[tuple[bytes, bytes]]:
        count = min(_BATCH, self.entries)
        while True:
            try:
                return self._batches(count)
            except BpfError as error:
                # A bucket of the hash is given whole or not at all: one with more entries than asked for is ENOSPC.
                if error.errno != errno.ENOSPC or count >= self.entries:
                    raise
                count = min(count * 4, self.entries)

    def _batches(self, count: int) -> list[tuple[bytes, bytes]]:
        keys = ctypes.create_string_buffer(self.key_bytes * count)
        values = ctypes.create_string_buffer(self.value_bytes * count)
        position = ctypes.create_string_buffer(max(8, self.key_bytes))
        pointers = (ctypes.addressof(position), ctypes.addressof(keys), ctypes.addressof(values))
        found: dict[bytes, bytes] = {}
        begun, more = 0, True
        while more and len(found) <= 2 * self.entries:
            attributes = _LOOKUP_BATCH.pack(begun, *pointers, count, self.descriptor, 0, 0)
            got, more = self._batch(attributes)
            all_keys, all_values = keys.raw, values.raw
            for index in range(got):
                key = all_keys[index * self.key_bytes : (index + 1) * self.key_bytes]
                found[key] = all_values[index * self.value_bytes : (index + 1) * self.value_bytes]
            begun = ctypes.addressof(position)
        return list(found.items())

    def _batch(self, attributes: bytes) -> tuple[int, bool]:
        """How many entries one batch gave, and whether there may be more."""
        buffer = attributes_buffer(attributes)
        more = True
        try:
            call(Command.MAP_LOOKUP_BATCH, buffer, f"map {self.name}")
        except BpfError as error:
            if error.errno != errno.ENOENT:  # the end of the map; what was found last is there
                raise
            more = False
        return struct.unpack_from("<I", buffer.raw, _COUNT_AT)[0], more

    def _keys(self) -> Iterator[bytes]:
        following = ctypes.create_string_buffer(self.key_bytes)
        held, address = None, 0
        for _ in range(2 * self.entries):
            attributes = _ELEMENT.pack(self.descriptor, address, ctypes.addressof(following), 0)
            try:
                call(Command.MAP_GET_NEXT_KEY, attributes, f"map {self.name}")
            except BpfError as error:
                if error.errno == errno.ENOENT:
                    return
                raise
            held, address = buffer_of(following.raw)
            yield held.raw

    def _one_by_one(self) -> Iterator[tuple[bytes, bytes]]:
        seen = set()
        for key in self._keys():
            value = None if key in seen else self.lookup(key)
            seen.add(key)
            if value is not None:
                yield key, value
