"""What may stand behind the "?" of an address: each parameter says what it takes, reads it, and describes itself.

What is wrong is answered with the parameter's name, what it was and what it may be. One that nobody knows is wrong,
too: a filter with a typing error in its name must not look as if it had filtered.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

from aiohttp import web

from aggregator.node_state import MAX_TIME_S
from aggregator.web.problems import ProblemError
from aggregator.wording import some

T = TypeVar("T")

MOST_VALUES = 100
"""Of one parameter, where it may stand several times."""
MOST_CHARACTERS = 1_000
"""Of one value."""
_SHOWN = 60
_TEXT = {"type": "string", "maxLength": MOST_CHARACTERS}
_NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,9})?")


@dataclass(frozen=True, slots=True)
class Parameter(Generic[T]):
    """One of them."""

    name: str
    description: str
    schema: Mapping[str, Any]
    """JSON Schema of its value; of all its values, where it may stand several times."""
    read: Callable[[str], T]
    """Takes one value. Raises ValueError: what it may be."""
    many: bool = False
    needed: bool = False

    def of(self, request: web.Request) -> list[T]:
        """Its values in a request, in their order. Raises ProblemError."""
        given = request.query.getall(self.name, [])
        if len(given) > (MOST_VALUES if self.many else 1):
            most = f"{MOST_VALUES} times at most" if self.many else "once at most"
            raise self._wrong(f"stands {len(given)} times, and may {most}")
        return [self._read(value) for value in given]

    def _read(self, value: str) -> T:
        if len(value) > MOST_CHARACTERS:
            raise self._wrong(f"is of {len(value):,} characters, and {MOST_CHARACTERS:,} are allowed")
        try:
            return self.read(value)
        except ValueError as error:
            shown = value if len(value) <= _SHOWN else f"{value[:_SHOWN]}..."
            raise self._wrong(f'"{shown}" {error}') from None

    def _wrong(self, why: str) -> ProblemError:
        return ProblemError(400, f"parameter {self.name}: {why}", parameter=self.name)


@dataclass(frozen=True, slots=True)
class PathParameter:
    """A part of an address."""

    name: str
    description: str
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string", "minLength": 1})


def choice(name: str, among: Iterable[str], description: str, *, many: bool = True) -> Parameter[str]:
    """One of a few words."""
    words = list(among)

    def read(value: str) -> str:
        if value not in words:
            raise ValueError(f"is none of {some(words, len(words))}")
        return value

    one = {"type": "string", "enum": words}
    return Parameter(name, description, _several(one) if many else one, read, many)


def text(name: str, description: str) -> Parameter[str]:
    """Any text."""
    return Parameter(name, description, _TEXT, str)


def texts(name: str, description: str, *, needed: bool = False, most: int = MOST_VALUES) -> Parameter[str]:
    """Any texts."""
    schema = _several(_TEXT, most) | ({"minItems": 1} if needed else {})
    return Parameter(name, description, schema, str, True, needed)


def like(name: str, pattern: str, what: str, description: str) -> Parameter[str]:
    """A text of a certain shape; `what`: its name."""
    shape = re.compile(pattern)

    def read(value: str) -> str:
        if not shape.fullmatch(value):
            raise ValueError(f"is no {what}")
        return value

    return Parameter(name, description, {"type": "string", "pattern": f"^{pattern}$"}, read)


def whole(name: str, least: int, most: int, default: int, description: str) -> Parameter[int]:
    """A whole number."""

    def read(value: str) -> int:
        number = int(value) if re.fullmatch(r"[0-9]{1,9}", value) else least - 1
        if not least <= number <= most:
            raise ValueError(f"is no whole number of {least:,} to {most:,}")
        return number

    schema = {"type": "integer", "minimum": least, "maximum": most, "default": default}
    return Parameter(name, description, schema, read)


def moment(name: str, description: str) -> Parameter[float]:
    """A time, seconds since the epoch."""

    def read(value: str) -> float:
        try:
            at = float(value) if _NUMBER.fullmatch(value) else max(0.0, _of_iso(value))
        except (ValueError, OverflowError):
            at = -1.0
        if not 0 <= at <= MAX_TIME_S:
            raise ValueError("is neither an ISO 8601 time with its zone nor seconds since the epoch")
        return at

    number = {"type": "integer", "minimum": 0, "maximum": MAX_TIME_S}
    return Parameter(name, description, {"anyOf": [number, {"type": "string", "format": "date-time"}]}, read)


def _of_iso(value: str) -> float:
    at = datetime.fromisoformat(value.upper())
    if at.tzinfo is None:
        raise ValueError
    return at.timestamp()


def _several(one: Mapping[str, Any], most: int = MOST_VALUES) -> dict[str, Any]:
    return {"type": "array", "items": dict(one), "maxItems": most}


def only(request: web.Request, known: Sequence[Parameter[Any]]) -> None:
    """Refuse parameters that nobody knows. Raises ProblemError."""
    names = [each.name for each in known]
    for name in request.query:
        if name not in names:
            there = f"there are {some(names, len(names))}" if names else "there are none here"
            raise ProblemError(400, f'parameter "{name[:_SHOWN]}": is not known; {there}', parameter=name[:_SHOWN])
