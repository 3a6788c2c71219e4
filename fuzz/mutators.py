"""Mutations that know a format: what comes out is mostly well-formed, so that the parser behind the first check is met.

Each leaves some cases to the engine's own mutation of bytes.
"""

from __future__ import annotations

import contextlib
import json
import random
import re
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from fuzz.target import Mutate, MutateBytes

NUMBERS = (
    *("0", "1", "-1", "00", "+1", "1.5", "1e3", "nan", "inf", "0x10", "٣", "²", "1_0", "", " "),
    *(str(n + d) for n in (1 << 16, 1 << 31, 1 << 32, 1 << 53, 1 << 62, 1 << 63, 1 << 64) for d in (-1, 0)),
    *("99999999999999999999", "1" * 19, "1" * 21, "9" * 400),
)
"""Numbers at which parsers and fixed widths differ."""
_NUMBER = re.compile(rb"\d+")


def lines(case: bytes, most: int, chance: random.Random, mutate_bytes: MutateBytes) -> bytes:
    """A text of lines, of words and numbers."""
    step = chance.randrange(6)
    if step == 0:
        return mutate_bytes(case, most)
    if step <= 2:
        return _renumbered(case, chance)
    parts = case.split(b"\n") if step == 3 else re.split(rb"([ \t,:=/]+)", case)
    _shuffled(parts, chance, mutate_bytes)
    return (b"\n" if step == 3 else b"").join(parts)


def _renumbered(case: bytes, chance: random.Random) -> bytes:
    found = list(_NUMBER.finditer(case))
    if not found:
        return case
    for each in sorted(chance.sample(found, min(len(found), chance.choice((1, 1, 1, 3)))), key=lambda m: -m.start()):
        case = case[: each.start()] + chance.choice(NUMBERS).encode() + case[each.end() :]
    return case


def _shuffled(parts: list[bytes], chance: random.Random, mutate_bytes: MutateBytes) -> None:
    """Take out, double, exchange or mutate one of them."""
    at, other = chance.randrange(len(parts)), chance.randrange(len(parts))
    step = chance.randrange(4)
    if step == 0:
        del parts[at]
    elif step == 1:
        parts.insert(other, parts[at])
    elif step == 2:
        parts[at], parts[other] = parts[other], parts[at]
    else:
        parts[at] = mutate_bytes(parts[at], len(parts[at]) + 32)


def document(case: bytes, most: int, chance: random.Random, mutate_bytes: MutateBytes) -> bytes:
    """A JSON document: one value of it, somewhere, is another one."""
    try:
        value = json.loads(case)
    except (ValueError, RecursionError):
        return mutate_bytes(case, most)
    if chance.randrange(8) == 0:
        return mutate_bytes(case, most)
    for _ in range(chance.choice((1, 1, 2, 4))):
        value = _changed(value, chance, mutate_bytes)
    try:
        return json.dumps(value, ensure_ascii=chance.randrange(2) == 0).encode("utf-8", "surrogatepass")
    except (ValueError, RecursionError):
        return case


def _changed(value: object, chance: random.Random, mutate_bytes: MutateBytes) -> object:
    if isinstance(value, dict) and value and chance.randrange(6):
        return _changed_object(value, chance, mutate_bytes)
    if isinstance(value, list) and value and chance.randrange(6):
        return _changed_array(value, chance, mutate_bytes)
    if isinstance(value, str) and chance.randrange(3):
        if value and chance.randrange(2):
            return mutate_bytes(value.encode("utf-8", "surrogatepass"), len(value) + 24).decode("utf-8", "replace")
        return chance.choice((*NUMBERS, "\ud800", "\0", "x" * 300, value + value, value.upper()))
    if isinstance(value, int) and chance.randrange(3):
        return chance.choice((value + 1, -value, 1 << 32, 1 << 63, 1 << 64, 10**30, (1 << 64) - 1, value * 1000))
    return chance.choice((None, True, False, 0, -1, 1.5, 1e300, 1 << 70, "", "x", [], {}, [[]], [None], {"": None}))


def _changed_object(value: dict[str, object], chance: random.Random, mutate_bytes: MutateBytes) -> object:
    key, step = chance.choice(list(value)), chance.randrange(12)
    if step == 0:
        return {name: each for name, each in value.items() if name != key}
    if step == 1:
        return value | {str(_changed(key, chance, mutate_bytes)): value[key]}
    return value | {key: _changed(value[key], chance, mutate_bytes)}


def _changed_array(value: list[object], chance: random.Random, mutate_bytes: MutateBytes) -> object:
    at, step = chance.randrange(len(value)), chance.randrange(8)
    if step == 0:
        return value[:at] + value[at + 1 :]
    if step == 1:
        return [*value, value[at]]
    return [*value[:at], _changed(value[at], chance, mutate_bytes), *value[at + 1 :]]


SECTION = b"@@ "
"""How a section of a case of several files begins, at the beginning of a line; its path follows."""


def files_of(case: bytes) -> dict[str, bytes]:
    """Contents by path of a case of several files; of two with the same path the first. Paths are UTF-8, or skipped."""
    found: dict[str, bytes] = {}
    for part in (b"\n" + case).split(b"\n" + SECTION)[1:]:
        path, _, contents = part.partition(b"\n")
        try:
            found.setdefault(path.decode(), contents)
        except UnicodeDecodeError:
            continue
    return found


def case_of(files: dict[str, bytes]) -> bytes:
    """The case of these files."""
    return b"\n".join(SECTION + path.encode() + b"\n" + contents for path, contents in files.items())


def files(case: bytes, most: int, chance: random.Random, mutate_bytes: MutateBytes) -> bytes:
    """A case of several files: one of them mutated by what it holds, or taken out."""
    found = files_of(case)
    if not found or chance.randrange(12) == 0:
        return mutate_bytes(case, most)
    path = chance.choice(list(found))
    contents = found[path]
    if chance.randrange(10) == 0:
        del found[path]
    elif contents[:1] in (b"{", b"["):
        found[path] = document(contents, most, chance, mutate_bytes)
    else:
        found[path] = lines(contents, most, chance, mutate_bytes)
    return case_of(found)


def either(one: Mutate, other: Mutate) -> Mutate:
    """One or the other, as it happens."""

    def mutate(case: bytes, most: int, chance: random.Random, mutate_bytes: MutateBytes) -> bytes:
        return (one if chance.randrange(2) else other)(case, most, chance, mutate_bytes)

    return mutate


_SCALARS: dict[int, tuple[object, ...]] = {
    1: (0.0, -1.0, 1e308, float("inf"), float("nan")),
    8: (True, False),
    9: ("", "x", "host", "link/2", "x" * 300, "\0", "é/ /"),
    12: (b"", b"\0", b"x" * 300),
}
"""Values by the type of a field (google.protobuf.FieldDescriptor.TYPE_*); all others are whole numbers."""
_WHOLE = (0, 1, 2, 3, 5, 1000, (1 << 31) - 1, (1 << 32) - 1, (1 << 62) - 1, (1 << 63) - 1, (1 << 64) - 1, -1, -5000)


def message(into: Message, chance: random.Random) -> None:
    """Change one field of a protobuf message, or of one within it."""
    fields: list[Any] = list(into.DESCRIPTOR.fields)
    field: FieldDescriptor = (
        chance.choice([each for each, _ in into.ListFields()] or fields)
        if chance.randrange(4)
        else chance.choice(fields)
    )
    name, nested = field.name, field.type == field.TYPE_MESSAGE
    if chance.randrange(10) == 0:
        into.ClearField(name)
    elif field.is_repeated:
        _repeated(getattr(into, name), field, chance)
    elif nested:
        message(getattr(into, name), chance)
    else:
        with contextlib.suppress(ValueError, TypeError):  # a number that its type has no room for
            setattr(into, name, _scalar(field, getattr(into, name), chance))


def _repeated(values: Any, field: FieldDescriptor, chance: random.Random) -> None:
    at = chance.randrange(len(values)) if len(values) else 0
    step = chance.randrange(6)
    if step == 0 and len(values):
        del values[at]
    elif step == 1 and len(values) and len(values) < 40:
        values.append(values[at])
    elif step == 2 and len(values) > 1:
        values.append(values.pop(0))
    elif field.type != field.TYPE_MESSAGE:
        with contextlib.suppress(ValueError, TypeError):
            if len(values) and step > 3:
                values[at] = _scalar(field, values[at], chance)
            else:
                values.append(_scalar(field, 0, chance))
    elif len(values) and step > 2:
        message(values[at], chance)
    else:
        message(values.add(), chance)


def _scalar(field: FieldDescriptor, before: object, chance: random.Random) -> object:
    if field.type in _SCALARS:
        return chance.choice(_SCALARS[field.type])
    if field.enum_type is not None:
        return chance.randrange(-1, len(field.enum_type.values) + 2)
    near = int(before) + chance.choice((-2, -1, 1, 2, 1000)) if isinstance(before, int) else 0
    return chance.choice((near, near, *_WHOLE))
