"""The kernel's own description of its types (BTF): where members of structures are, ids of functions, names of enums.

Offsets from here make a program fit every build of the kernel. The description has a hundred thousand types and is read
in one linear pass that looks only for what is wanted. Format: Documentation/bpf/btf.rst.
"""

from __future__ import annotations

import array
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain

_MAGIC = 0xEB9F
_HEADER = struct.Struct("<HBBIIIII")
_TYPE = struct.Struct("<III")
_MEMBER = struct.Struct("<III")
_ENUMERATOR = struct.Struct("<Ii")

_INT, _ARRAY, _STRUCT, _UNION, _ENUM, _TYPEDEF = 1, 3, 4, 5, 6, 8
_FUNC, _FUNC_PROTO, _VAR, _DATASEC, _DECL_TAG, _ENUM64 = 12, 13, 14, 15, 17, 19
_LAST_KIND = 19

# Bytes that follow the 12 of a type, by kind: fixed, and per member.
_FIXED = {_INT: 4, _ARRAY: 12, _VAR: 4, _DECL_TAG: 4}
_EACH = {_STRUCT: 12, _UNION: 12, _ENUM: 8, _FUNC_PROTO: 8, _DATASEC: 12, _ENUM64: 12}

_MOST_NESTING = 16
_MOST_MEMBERS = 20_000
"""Of one structure, with those of anonymous ones within: one that holds itself would have no end."""
LIMIT_BYTES = 64 << 20
"""More than any kernel's BTF has; a file above is not read."""


class BtfError(Exception):
    """The kernel's types cannot be used: why, one line."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Names to look for. What the kernel does not have is simply not found."""

    structs: frozenset[str] = frozenset()
    """Structures and unions whose members' offsets are wanted."""
    ids: frozenset[str] = frozenset()
    """Functions and typedefs whose type ids are wanted. A tracepoint X is the typedef "btf_trace_X"."""
    enums: frozenset[str] = frozenset()


@dataclass(slots=True)
class Btf:
    """What was found."""

    structs: dict[str, dict[str, int]] = field(default_factory=dict)
    """Byte offset of each member, those of anonymous structures and unions within included. Bit fields: their byte."""
    ids: dict[str, int] = field(default_factory=dict)
    enums: dict[str, dict[str, int]] = field(default_factory=dict)
    """Value by name."""

    def offset(self, struct_name: str, *members: str) -> int:
        """Offset of the first of `members` that the structure has. Raises BtfError."""
        offsets = self.structs.get(struct_name)
        if offsets is None:
            raise BtfError(f"the kernel's BTF has no struct {struct_name}")
        for member in members:
            if member in offsets:
                return offsets[member]
        raise BtfError(f"struct {struct_name} of this kernel has no member {' or '.join(members)}")

    def id(self, name: str) -> int:
        """Type id of a function or typedef. Raises BtfError."""
        if name not in self.ids:
            raise BtfError(f"the kernel's BTF has no {name}")
        return self.ids[name]


def parse(raw: bytes, wanted: Wanted) -> Btf:
    """Look for what is wanted. Raises BtfError if the description is damaged."""
    try:
        return _Pass(raw, wanted).result()
    except (struct.error, IndexError, RecursionError) as error:
        raise BtfError("the kernel's BTF is damaged: it ends within a type") from error


class _Pass:
    """One pass over a description."""

    def __init__(self, raw: bytes, wanted: Wanted) -> None:
        if len(raw) < _HEADER.size:
            raise BtfError("the kernel's BTF is damaged: it has no header")
        magic, version, _flags, header, types, types_bytes, strings, strings_bytes = _HEADER.unpack_from(raw)
        if magic != _MAGIC or version != 1:
            raise BtfError("the kernel's BTF is of a format that is not known here")
        self._raw = raw
        self._begin, self._end = header + types, header + types + types_bytes
        self._strings, self._strings_end = header + strings, header + strings + strings_bytes
        if not _HEADER.size <= header or max(self._end, self._strings_end) > len(raw):
            raise BtfError("the kernel's BTF is damaged: it is shorter than its header says")
        self._members_left = 0
        self._positions = array.array("I", [0])
        self._structs = self._name_offsets(wanted.structs)
        self._ids = self._name_offsets(wanted.ids)
        self._enums = self._name_offsets(wanted.enums)

    def _name_offsets(self, names: Iterable[str]) -> dict[int, str]:
        """Offset in the string section by name: types are then compared by number."""
        found = {}
        for name in names:
            at = self._raw.find(b"\0" + name.encode() + b"\0", self._strings, self._strings_end)
            if at >= 0:
                found[at + 1 - self._strings] = name
        return found

    def result(self) -> Btf:
        found = Btf()
        structures: dict[str, int] = {}
        at, number = self._begin, 1
        raw, unpack, add = self._raw, _TYPE.unpack_from, self._positions.append
        fixed = [_FIXED.get(kind, 0) + _TYPE.size for kind in range(32)]
        each = [_EACH.get(kind, 0) for kind in range(32)]
        named = set(chain(self._structs, self._ids, self._enums))
        while at < self._end:
            name, info, _size = unpack(raw, at)
            add(at)
            kind = info >> 24 & 0x1F
            if name in named:
                if kind in (_STRUCT, _UNION) and name in self._structs:
                    structures.setdefault(self._structs[name], at)
                elif kind in (_FUNC, _TYPEDEF) and name in self._ids:
                    found.ids.setdefault(self._ids[name], number)
                elif kind == _ENUM and name in self._enums:
                    found.enums.setdefault(self._enums[name], self._values(at, info & 0xFFFF))
            elif not 0 < kind <= _LAST_KIND:
                raise BtfError(f"the kernel's BTF has a type of kind {kind}, which is not known here")
            at += fixed[kind] + each[kind] * (info & 0xFFFF)
            number += 1
        for name, at in structures.items():
            self._members_left = _MOST_MEMBERS
            found.structs[name] = self._members(at, 0, 0)
        return found

    def _text(self, offset: int) -> str:
        begin = self._strings + offset
        if begin >= self._strings_end:
            raise BtfError("the kernel's BTF is damaged: a name lies outside its strings")
        end = self._raw.find(b"\0", begin, self._strings_end)
        return self._raw[begin : end if end >= 0 else self._strings_end].decode("utf-8", "replace")

    def _members(self, at: int, base: int, depth: int) -> dict[str, int]:
        info = _TYPE.unpack_from(self._raw, at)[1]
        self._members_left -= info & 0xFFFF
        if self._members_left < 0:
            raise BtfError(f"the kernel's BTF is damaged: a structure has more than {_MOST_MEMBERS:,} members")
        offsets: dict[str, int] = {}
        for index in range(info & 0xFFFF):
            name, kind_of, bits = _MEMBER.unpack_from(self._raw, at + _TYPE.size + _MEMBER.size * index)
            offset = base + (bits & 0xFFFFFF if info >> 31 else bits) // 8
            if name:
                offsets.setdefault(self._text(name), offset)
            elif depth < _MOST_NESTING:
                inner = self._positions[kind_of]
                if _TYPE.unpack_from(self._raw, inner)[1] >> 24 & 0x1F in (_STRUCT, _UNION):
                    for member, inner_offset in self._members(inner, offset, depth + 1).items():
                        offsets.setdefault(member, inner_offset)
        return offsets

    def _values(self, at: int, count: int) -> dict[str, int]:
        pairs = (
            _ENUMERATOR.unpack_from(self._raw, at + _TYPE.size + _ENUMERATOR.size * index) for index in range(count)
        )
        return {self._text(name): value for name, value in pairs}
