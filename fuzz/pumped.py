"""Strings at which a regular expression takes longest, made of the expression itself.

For each of its repetitions: what leads there, what repeats again and again, and an end that does not fit. Beside these
what an expression begins with, again and again, for one that is looked for at every place of a text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from typing import Any

_parser: Any = import_module("re._parser")  # re.sre_parse until 3.11; types do not know either
_constants: Any = import_module("re._constants")
_REPEATS = (_constants.MAX_REPEAT, _constants.MIN_REPEAT, getattr(_constants, "POSSESSIVE_REPEAT", None))
_FEW = 3
"""A repetition of fewer is none."""
_OF_CATEGORY = {
    _constants.CATEGORY_DIGIT: "7",
    _constants.CATEGORY_NOT_DIGIT: "x",
    _constants.CATEGORY_SPACE: " ",
    _constants.CATEGORY_NOT_SPACE: "x",
    _constants.CATEGORY_WORD: "x",
    _constants.CATEGORY_NOT_WORD: "-",
}
_ALPHABET = "x7 -/.:,\"'=_(){}[]\\\n\taA\0é"
_END = "\x01"
"""Fits nowhere."""


def pumped(pattern: re.Pattern[str] | re.Pattern[bytes], length: int) -> Iterator[str]:
    """Strings of about this length."""
    tree = _parser.parse(_text(pattern.pattern), pattern.flags & ~re.LOCALE & ~re.UNICODE)
    found: dict[tuple[str, str], None] = {}
    for before, repeated in _repeats(list(tree), ""):
        for each in {_shortest(repeated), *(_letters(repeated))}:
            if each:
                found[before, each] = None
    whole = _shortest(list(tree))
    for part in (whole, whole[:-1], whole[: len(whole) // 2], *(before for before, _ in list(found))):
        if part:
            found["", part] = None
    for before, each in found:
        yield before + each * (max(1, length - len(before)) // len(each)) + _END


def _text(pattern: str | bytes) -> str:
    return pattern.decode("latin-1") if isinstance(pattern, bytes) else pattern


def _repeats(items: list[Any], before: str) -> Iterator[tuple[str, list[Any]]]:
    """(what leads there, what is repeated) of each repetition."""
    for op, given in items:
        if op in _REPEATS:
            least, most, inner = given
            if most > _FEW:
                yield before, list(inner)
            yield from _repeats(list(inner), before)
            before += _shortest(list(inner)) * least
        elif op == _constants.SUBPATTERN:
            yield from _repeats(list(given[-1]), before)
            before += _shortest(list(given[-1]))
        elif op == _constants.BRANCH:
            for branch in given[1]:
                yield from _repeats(list(branch), before)
            before += _shortest(list(given[1][0]))
        else:
            before += _shortest([(op, given)])


def _shortest(items: list[Any]) -> str:
    """A string that fits, or nearly: nothing is looked up in groups, and looking around is left out."""
    text = ""
    for op, given in items:
        if op == _constants.LITERAL:
            text += chr(given)
        elif op == _constants.NOT_LITERAL:
            text += next(letter for letter in _ALPHABET if ord(letter) != given)
        elif op == _constants.ANY:
            text += "x"
        elif op == _constants.IN:
            text += next(iter(_members(given)), "x")
        elif op == _constants.SUBPATTERN:
            text += _shortest(list(given[-1]))
        elif op == _constants.BRANCH:
            text += _shortest(list(given[1][0]))
        elif op in _REPEATS:
            text += _shortest(list(given[2])) * given[0]
    return text


def _letters(items: list[Any]) -> list[str]:
    """Some single letters that a repeated class has: what comes after it may have the same."""
    if len(items) != 1:
        return []
    op, given = items[0]
    if op == _constants.ANY:
        return ["x", " ", "/", "\\"]
    return list(_members(given))[:4] if op == _constants.IN else []


def _members(given: list[Any]) -> Iterator[str]:
    """Letters of a class, some of them."""
    if given[0][0] == _constants.NEGATE:
        taken = set(_plain(given[1:]))
        yield from (letter for letter in _ALPHABET if letter not in taken and not _in_range(given[1:], letter))
    else:
        yield from _plain(given)


def _plain(given: list[Any]) -> Iterator[str]:
    for op, value in given:
        if op == _constants.LITERAL:
            yield chr(value)
        elif op == _constants.RANGE:
            yield chr(value[0])
        elif op == _constants.CATEGORY:
            yield _OF_CATEGORY[value]


def _in_range(given: list[Any], letter: str) -> bool:
    return any(op == _constants.RANGE and value[0] <= ord(letter) <= value[1] for op, value in given)
