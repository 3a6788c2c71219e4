"""Reading JSON that another program wrote: what is odd, missing or ill-typed is one problem, and the rest is good."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import cast

from agent.host import Failure, ReadError

PairsHook = Callable[[list[tuple[str, object]]], dict[str, object]]

MAX_U32 = (1 << 32) - 1
MAX_U64 = (1 << 64) - 1
_MAX_PROBLEMS = 200
"""Problems told of one document; a file of garbage needs no more."""
_SURROGATES = re.compile("[\ud800-\udfff]")
_SHOWN = 40


def load(place: str, data: bytes, hook: PairsHook | None = None) -> tuple[list[object], list[ReadError]]:
    """The elements of a JSON array; of a damaged one those before the damage. Raises ReadError if there is no array."""
    text = data.decode("utf-8-sig", "replace")
    decoder = json.JSONDecoder(object_pairs_hook=hook, strict=False)
    try:
        value = decoder.decode(text)
    except (ValueError, RecursionError) as error:
        elements = _elements_before_damage(decoder, text)
        problem = ReadError(Failure.DAMAGED, place, f"not JSON: {_one_line(error)}")
        if not elements:
            raise problem from error
        return elements, [problem]
    if not isinstance(value, list):
        raise ReadError(Failure.DAMAGED, place, f"an array is wanted, found {_shown(value)}")
    return value, []


def _one_line(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"line {error.lineno} column {error.colno}: {error.msg}"
    return "nested too deeply" if isinstance(error, RecursionError) else str(error).partition("\n")[0]


def _elements_before_damage(decoder: json.JSONDecoder, text: str) -> list[object]:
    elements: list[object] = []
    position = _skip(text, 0, "[")
    while position is not None:
        try:
            element, end = decoder.raw_decode(text, position)
        except (ValueError, RecursionError):
            break
        elements.append(element)
        position = _skip(text, end, ",")
    return elements


def _skip(text: str, position: int, wanted: str) -> int | None:
    """Position of what follows `wanted` and white space; None: something else is there."""
    match = re.compile(r"\s*" + re.escape(wanted) + r"\s*").match(text, position)
    return None if match is None else match.end()


def _shown(value: object) -> str:
    try:
        text = json.dumps(value, ensure_ascii=True)
    except (TypeError, ValueError, RecursionError):
        text = type(value).__name__
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


class Fields:
    """One JSON object, read field by field. A field that is not as it should be is a problem and counts as missing."""

    def __init__(self, value: Mapping[str, object], where: str, place: str, problems: list[ReadError]) -> None:
        self._value = value
        self._where = where
        self._place = place
        self._problems = problems

    @property
    def raw(self) -> Mapping[str, object]:
        """The object as it came."""
        return self._value

    def name(self, name: str) -> None:
        """Call the object by its name in problems from now on."""
        self._where += f" ({name})"

    def is_number(self, key: str) -> bool:
        """Whether a field that may be of several types is a whole number."""
        return isinstance(self._value.get(key), int)

    def problem(self, key: str, reason: str) -> None:
        """Note what is wrong with a field."""
        if len(self._problems) < _MAX_PROBLEMS:
            self._problems.append(ReadError(Failure.DAMAGED, self._place, f"{self._where}: {key}: {reason}"))

    def __contains__(self, key: str) -> bool:
        return self._value.get(key) is not None

    def _typed(self, key: str, kind: type | tuple[type, ...], wanted: str) -> object | None:
        value = self._value.get(key)
        if value is None:
            return None
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            self.problem(key, f"{wanted} is wanted, found {_shown(value)}")
            return None
        return value

    def text(self, key: str) -> str:
        """A string; empty: missing."""
        value = cast("str | None", self._typed(key, str, "a string"))
        return "" if value is None else _SURROGATES.sub("\ufffd", value)

    def number(self, key: str, lowest: int = 0, highest: int = MAX_U32) -> int | None:
        """A whole number in a range; None: missing."""
        value = cast("int | None", self._typed(key, int, "a whole number"))
        if value is not None and not lowest <= value <= highest:
            self.problem(key, f"{_shown(value)} is not between {lowest} and {highest}")
            return None
        return value

    def flag(self, key: str) -> bool | None:
        """True or false; None: missing."""
        return cast("bool | None", self._typed(key, bool, "true or false"))

    def texts(self, key: str) -> list[str]:
        """A list of strings; empty: missing."""
        values = cast("list[object] | None", self._typed(key, list, "a list"))
        return [value for value in values or [] if isinstance(value, str)]

    def object(self, key: str) -> Fields:
        """An object; an empty one: missing."""
        value = cast("dict[str, object] | None", self._typed(key, dict, "an object"))
        return Fields(value or {}, f"{self._where}: {key}", self._place, self._problems)

    def objects(self, key: str) -> list[Fields]:
        """A list of objects; empty: missing."""
        values = cast("list[object] | None", self._typed(key, list, "a list"))
        return objects(values or [], self._place, self._problems, f"{self._where}: {key}")

    def address(self, key: str) -> str:
        """An IP address in its usual spelling; empty: missing, "any", or all zero."""
        value = self.text(key)
        if value in ("", "any", "all"):
            return ""
        packed = pack_address(value)
        if packed is None:
            self.problem(key, f"an IP address is wanted, found {_shown(value)}")
            return ""
        return "" if not any(packed) else inet_ntop(AF_INET if len(packed) == 4 else AF_INET6, packed)


def objects(values: list[object], place: str, problems: list[ReadError], where: str = "") -> list[Fields]:
    """The objects of a list, named by number from 0; without the empty ones that iproute2 leaves of what it filters."""
    found: list[Fields] = []
    for number, value in enumerate(values):
        fields = Fields(value if isinstance(value, dict) else {}, f"{where}[{number}]", place, problems)
        if not isinstance(value, dict):
            fields.problem("element", f"an object is wanted, found {_shown(value)}")
        elif value:
            found.append(fields)
    return found


def pack_address(text: str) -> bytes | None:
    """4 or 16 bytes of an IP address; None: it is none."""
    try:
        return inet_pton(AF_INET6 if ":" in text else AF_INET, text)
    except (OSError, ValueError):  # ValueError: a zero byte within
        return None
