"""Settings of a role: a frozen dataclass filled from a TOML file, the environment and flags, in rising precedence.

One description (nodetell.setting) serves everything: the checks, the flags, the names of environment variables and the
annotated configuration file, so none of them can differ from the others. All problems are reported at once, each with
its place.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
import textwrap
import tomllib
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from nodetell.setting import BadValueError, Setting, checked, parsed, settings_of, shown
from nodetell.toml_lines import KeyPath, key_lines

T = TypeVar("T")

_WIDTH = 100
_SERVICE_LINK = re.compile(
    r"(?:.{0,253}_)?(?:SERVICE_(?:HOST|PORT(?:_\w{1,63})?)|PORT(?:_\d{1,5}_(?:TCP|UDP|SCTP)(?:_\w{1,63})?)?)"
)
"""What Kubernetes puts into the environment for a Service whose name begins like our prefix; no settings of ours."""


class SettingsError(Exception):
    """The settings are not usable. `problems` has all reasons, one line each, with their places."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(slots=True)
class _Gathered:
    """Values found so far, where each was found, and what was wrong."""

    settings: Mapping[KeyPath, Setting]
    values: dict[KeyPath, Any] = field(default_factory=dict)
    places: dict[KeyPath, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def take(self, setting: Setting, value: object, place: str) -> None:
        """A value that has a type already."""
        self._take(setting, place, f"{place}: {setting.dotted}", lambda: checked(setting, value))

    def take_text(self, setting: Setting, text: str, place: str) -> None:
        """A value as a text, from the environment or the command line."""
        self._take(setting, place, place, lambda: checked(setting, parsed(setting, text)))

    def _take(self, setting: Setting, place: str, label: str, value: Callable[[], Any]) -> None:
        try:
            self.values[setting.path] = value()
            self.places[setting.path] = place
        except BadValueError as error:
            self.problems.append(f"{label}: {error}")


def load(
    cls: type[T], toml_path: Path | None, env: Mapping[str, str], flags: Mapping[str, object], env_prefix: str
) -> T:
    """The settings: defaults, overridden by the file, by the environment, by flags.

    `flags` maps a setting's dotted name to a text as it came from the command line, or to a value of the right type.
    `env_prefix` ends in "_". Raises SettingsError with all problems.
    """
    found = _Gathered({each.path: each for each in settings_of(cls)})
    if toml_path is not None:
        _from_file(toml_path, found)
    _from_environment(env, env_prefix, found)
    _from_flags(flags, found)
    result = _build(cls, (), found)
    if result is None or found.problems:
        raise SettingsError(found.problems)
    return result


def _from_file(path: Path, found: _Gathered) -> None:
    text = _read(path, found.problems)
    if text is None:
        return
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found.problems.append(_syntax_problem(path, text, str(error)))
    except RecursionError:
        found.problems.append(f"{path}: nested too deeply")
    else:
        tables = {setting[:depth] for setting in found.settings for depth in range(len(setting))}
        _walk(document, (), _File(path, key_lines(text), tables, found))


@dataclass(frozen=True, slots=True)
class _File:
    """What is needed at every level of a document, and what is gathered."""

    path: Path
    lines: Mapping[KeyPath, int]
    tables: set[KeyPath]
    found: _Gathered

    def place(self, key: KeyPath) -> str:
        return f"{self.path}:{self.lines[key]}" if key in self.lines else str(self.path)


def _walk(table: Mapping[str, Any], above: KeyPath, file: _File) -> None:
    found = file.found
    for name, value in table.items():
        key = (*above, name)
        place = file.place(key)
        if key in found.settings:
            found.take(found.settings[key], value, place)
        elif key not in file.tables:
            found.problems.append(f"{place}: unknown {_unknown(key, value, file)}")
        elif isinstance(value, dict):
            found.places[key] = place
            _walk(value, key, file)
        else:
            found.problems.append(f"{place}: {'.'.join(key)}: expected a table, not {shown(value)}")


def _unknown(key: KeyPath, value: object, file: _File) -> str:
    """The unknown name, and the known one that it may have been meant to be."""
    depth = len(key)
    known = [*file.found.settings, *file.tables]
    siblings = sorted({path[depth - 1] for path in known if len(path) >= depth and path[: depth - 1] == key[:-1]})
    close = difflib.get_close_matches(key[-1], siblings, n=1)
    close = close or sorted({".".join(path) for path in file.found.settings if path[-1] == key[-1]})
    hint = f'; did you mean "{close[0]}"?' if close else ""
    return f"{'table' if isinstance(value, dict) else 'key'} {shown('.'.join(key))}{hint}"


def _read(path: Path, problems: list[str]) -> str | None:
    try:
        data = path.read_bytes()
    except OSError as error:
        problems.append(f"{path}: {error.strerror or error}")
        return None
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        problems.append(f"{path}:{line}: not UTF-8 (byte 0x{data[error.start]:02x})")
        return None


def _syntax_problem(path: Path, text: str, message: str) -> str:
    """tomllib says "reason (at line 3, column 7)" or "reason (at end of document)"."""
    reason, _, where = message.rpartition(" (at ")
    numbers = re.fullmatch(r"line (\d+), column (\d+)\)", where)
    if numbers:
        return f"{path}:{numbers[1]}:{numbers[2]}: {reason}"
    lines = text.split("\n")
    return f"{path}:{len(lines)}:{len(lines[-1]) + 1}: {reason or message}"


def _from_environment(env: Mapping[str, str], prefix: str, found: _Gathered) -> None:
    known = {setting.variable(prefix): setting for setting in found.settings.values()}
    for name in sorted(env):
        if name in known:
            found.take_text(known[name], env[name], f"environment variable {name}")
        elif name.startswith(prefix) and not _SERVICE_LINK.fullmatch(name[len(prefix) :]):
            close = difflib.get_close_matches(name, sorted(known), n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            found.problems.append(f"environment variable {name}: there is no such setting{hint}")


def _from_flags(flags: Mapping[str, object], found: _Gathered) -> None:
    by_name = {setting.dotted: setting for setting in found.settings.values()}
    for name, value in flags.items():
        setting = by_name.get(name)
        if setting is None:
            found.problems.append(f"flag --{name.replace('_', '-')}: there is no such setting")
        elif isinstance(value, str):
            found.take_text(setting, value, f"flag {setting.flag}")
        else:
            found.take(setting, value, f"flag {setting.flag}")


def _build(cls: type[T], path: KeyPath, found: _Gathered) -> T | None:
    """The dataclass from its leaves. What its __post_init__ refuses (ValueError) is a problem of the table."""
    hints = typing.get_type_hints(cls)
    arguments: dict[str, Any] = {}
    whole = True
    for each in dataclasses.fields(cls):  # type: ignore[arg-type]  # a dataclass type, which T cannot say
        key = (*path, each.name)
        if dataclasses.is_dataclass(hints[each.name]):
            table = _build(typing.cast(type, hints[each.name]), key, found)
            whole = whole and table is not None
            arguments[each.name] = table
        elif key in found.values:
            arguments[each.name] = found.values[key]
    if not whole:
        return None
    try:
        return cls(**arguments)
    except ValueError as error:
        words = " ".join(str(error).split())
        dotted = f"{'.'.join(path)}: " if path else ""
        found.problems.append(f"{_place_of(words, path, found)}: {dotted}{words}")
        return None


def _place_of(problem: str, path: KeyPath, found: _Gathered) -> str:
    """Where the setting was given that a problem begins with the name of, else the last one given of its table."""
    named = re.match(r"[a-z_0-9.]+", problem)
    if named is not None and (place := found.places.get((*path, *named[0].split(".")))) is not None:
        return place
    given = [place for key, place in found.places.items() if key[: len(path)] == path]
    return given[-1] if given else "settings"


def render(settings: Any, env_prefix: str) -> str:
    """Settings as a TOML file in which every key is explained. Loading it gives the same settings again."""
    lines: list[str] = []
    table: KeyPath = ()
    for setting in settings_of(type(settings)):
        if setting.path[:-1] != table:
            table = setting.path[:-1]
            lines += [f"[{'.'.join(table)}]", ""]
        value = settings
        for name in setting.path:
            value = getattr(value, name)
        lines += [f"# {line}" for line in _annotation(setting, env_prefix)]
        lines += [f"# {setting.path[-1]} =" if value is None else f"{setting.path[-1]} = {_toml(value)}", ""]
    return "\n".join(lines)


def _annotation(setting: Setting, env_prefix: str) -> list[str]:
    default = "not set" if setting.default is None else _toml(setting.default)
    facts = [setting.type_words, setting.limits, f"default {default}"]
    return [
        *textwrap.wrap(setting.doc, _WIDTH, break_long_words=False, break_on_hyphens=False),
        *textwrap.wrap("(" + "; ".join(fact for fact in facts if fact) + ")", _WIDTH, break_long_words=False),
        f"{setting.variable(env_prefix)}, {setting.flag}",
    ]


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(each) for each in value) + "]"
    # JSON's string escapes are TOML's, but for the delete character, and surrogate pairs, which TOML forbids.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
