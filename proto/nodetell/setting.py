"""One setting: its name, type, default and limits, read off a field of a settings dataclass, and the check of a value.

The dataclass gives names, types and defaults, the docstring under each field its meaning, and the field's metadata
("min", "max", "unit", "choices") its limits.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import inspect
import itertools
import json
import math
import textwrap
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nodetell.toml_lines import KeyPath

_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})


class BadValueError(ValueError):
    """A value does not fit its setting; the message is the reason."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One leaf of the settings: a value that can be given in a file, the environment or by a flag."""

    path: KeyPath
    """Tables and key: ("stream", "batch_interval_s")."""
    kind: type
    """str, int, float, bool or Path; of a list, that of its elements."""
    is_list: bool
    optional: bool
    default: Any
    doc: str
    metadata: Mapping[str, Any] = field(repr=False)

    @property
    def dotted(self) -> str:
        """Name in messages: "stream.batch_interval_s"."""
        return ".".join(self.path)

    @property
    def flag(self) -> str:
        """Name on the command line: "--stream.batch-interval-s"."""
        return "--" + self.dotted.replace("_", "-")

    def variable(self, prefix: str) -> str:
        """Name in the environment: "NODETELL_AGENT_STREAM_BATCH_INTERVAL_S" for the prefix "NODETELL_AGENT_"."""
        return prefix + "_".join(self.path).upper()

    @property
    def type_words(self) -> str:
        """What is expected, for messages and help."""
        words = {str: "a string", int: "a whole number", float: "a number", bool: "true or false", Path: "a path"}
        one = words[self.kind]
        return f"a list of {one.split(' ', 1)[1]}s" if self.is_list else one

    @property
    def limits(self) -> str:
        """Unit and bounds in words: "seconds, 0.2 to 300"; empty: none."""
        unit, low, high = (self.metadata.get(name) for name in ("unit", "min", "max"))
        parts = [str(unit)] if unit else []
        if low is not None and high is not None:
            parts.append(f"{low} to {high}")
        elif low is not None:
            parts.append(f"at least {low}")
        elif high is not None:
            parts.append(f"at most {high}")
        if choices := self.metadata.get("choices"):
            parts.append("one of " + ", ".join(str(choice) for choice in choices))
        return ", ".join(parts)


def settings_of(cls: type) -> list[Setting]:
    """All leaves of a settings dataclass, in the order of its fields, tables after their parents' own keys."""
    return list(_leaves(cls, ()))


def _leaves(cls: type, path: KeyPath) -> Iterator[Setting]:
    hints = typing.get_type_hints(cls)
    docs = _field_docs(cls)
    tables = []
    for each in dataclasses.fields(cls):
        hint = hints[each.name]
        if dataclasses.is_dataclass(hint):
            tables.append((each.name, typing.cast(type, hint)))
            continue
        kind, is_list, optional = _kind(cls, each.name, hint)
        default = each.default if each.default_factory is dataclasses.MISSING else each.default_factory()
        if default is dataclasses.MISSING:
            raise TypeError(f"{cls.__name__}.{each.name}: a setting needs a default")
        doc = docs.get(each.name, "")
        yield Setting((*path, each.name), kind, is_list, optional, default, doc, each.metadata)
    for name, table in tables:
        yield from _leaves(table, (*path, name))


def _kind(cls: type, name: str, hint: Any) -> tuple[type, bool, bool]:
    """(type of the value or element, is a list, may be unset) of a field's annotation."""
    optional = False
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        rest = [each for each in typing.get_args(hint) if each is not type(None)]
        optional = len(rest) < len(typing.get_args(hint))
        hint = rest[0] if len(rest) == 1 else hint
    is_list = typing.get_origin(hint) is tuple and typing.get_args(hint)[1:] == (Ellipsis,)
    if is_list:
        hint = typing.get_args(hint)[0]
    if hint not in (str, int, float, bool, Path):
        raise TypeError(f"{cls.__name__}.{name}: {hint} cannot be a setting")
    return hint, is_list, optional


def _field_docs(cls: type) -> dict[str, str]:
    """The string under each field. Empty where the source is not at hand."""
    try:
        body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    except (OSError, TypeError, SyntaxError):
        return {}
    docs = {}
    statements = body.body if isinstance(body, ast.ClassDef) else []
    for before, after in itertools.pairwise(statements):
        match (before, after):
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                docs[name] = " ".join(text.split())
    return docs


def parsed(setting: Setting, text: str) -> Any:
    """A text from the environment or the command line as a value; an empty one unsets what may be unset."""
    if setting.is_list:
        return [_parsed_one(setting, part.strip()) for part in text.split(",") if part.strip()]
    if not text and setting.optional:
        return None
    return _parsed_one(setting, text)


def _parsed_one(setting: Setting, text: str) -> Any:
    kind = setting.kind
    if kind is bool:
        word = text.strip().lower()
        if word in _TRUE | _FALSE:
            return word in _TRUE
    elif kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    else:
        return text
    raise BadValueError(f"expected {_one(setting).type_words}, not {shown(text)}")


def _one(setting: Setting) -> Setting:
    return dataclasses.replace(setting, is_list=False)


def checked(setting: Setting, value: Any) -> Any:
    """The value in the setting's type and within its limits. Raises BadValueError."""
    if value is None and setting.optional:
        return None
    if setting.is_list:
        if not isinstance(value, list | tuple):
            raise BadValueError(f"expected {setting.type_words}, not {shown(value)}")
        return tuple(_checked_one(setting, each) for each in value)
    return _checked_one(setting, value)


def _checked_one(setting: Setting, value: Any) -> Any:
    kind = setting.kind
    fits = (
        isinstance(value, bool)
        if kind is bool
        else isinstance(value, int | float) and not isinstance(value, bool)
        if kind is float
        else isinstance(value, int) and not isinstance(value, bool)
        if kind is int
        else isinstance(value, str | Path)
        if kind is Path
        else isinstance(value, str)
    )
    if not fits:
        raise BadValueError(f"expected {_one(setting).type_words}, not {shown(value)}")
    if kind is not bool and kind is not int:
        try:
            value = kind(value)
        except OverflowError:
            raise BadValueError(f"{shown(value)} is too large") from None
    if kind is float and not math.isfinite(value):
        raise BadValueError(f"{value} is no usable number")
    _within(setting, value)
    return value


def _within(setting: Setting, value: Any) -> None:
    metadata = setting.metadata
    unit = f" {metadata['unit']}" if metadata.get("unit") else ""
    low, high, choices = metadata.get("min"), metadata.get("max"), metadata.get("choices")
    if low is not None and value < low:
        raise BadValueError(f"{shown(value)} is below the minimum of {low}{unit}")
    if high is not None and value > high:
        raise BadValueError(f"{shown(value)} is above the maximum of {high}{unit}")
    if choices and value not in choices:
        guess = difflib.get_close_matches(str(value), [str(each) for each in choices], n=1)
        hint = f'; did you mean "{guess[0]}"?' if guess else ""
        raise BadValueError(f"{shown(value)} is none of {', '.join(str(each) for each in choices)}{hint}")


def shown(value: Any) -> str:
    """A value in a message: short, on one line."""
    if isinstance(value, dict):
        return "a table"
    text = json.dumps(value, ensure_ascii=True, default=str)
    return text if len(text) <= 60 else text[:57] + "..."
