"""Checks of JSON documents that come from outside: a wrong type is a damaged entry, told with its place."""

from __future__ import annotations

from collections.abc import Mapping

Entry = Mapping[str, object]


class OddError(ValueError):
    """A field is not what it should be: which, and why, in one line."""


def entry(document: object) -> Entry:
    """A JSON object. Raises OddError."""
    if not isinstance(document, dict):
        raise OddError("no JSON object")
    return document


def text(fields: Entry, name: str, *, optional: bool = False) -> str:
    """A string of reasonable length; empty for an optional one that is absent or null. Raises OddError."""
    value = fields.get(name)
    if value is None and optional:
        return ""
    if not isinstance(value, str) or len(value) > 4096:
        raise OddError(f'"{name}" is no string')
    return value.encode("utf-8", "replace").decode()  # JSON can hold half a surrogate pair, a message cannot


def whole(value: object, name: str, most: int, least: int = 0) -> int:
    """A whole number within bounds. Raises OddError."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise OddError(f'"{name}" is no whole number from {least} to {most}')
    return value


def number(value: object, name: str, most: float) -> float:
    """A number from 0 to `most`. Raises OddError."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise OddError(f'"{name}" is no number from 0 to {most:g}')
    return float(value)


def words(value: object, name: str, most: int) -> list[object]:
    """A list of at most `most` entries. Raises OddError."""
    if not isinstance(value, list) or len(value) > most:
        raise OddError(f'"{name}" is no list of at most {most} entries')
    return value
