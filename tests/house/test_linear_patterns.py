"""No regular expression of ours takes more than linear time: each is tried at the strings that are worst for it.

Time is CPU time of this thread, and compared with that for a shorter text: neither how fast the machine is nor what
else it does matters.
"""

from __future__ import annotations

import ast
import importlib
import re
import time
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

from aggregator.messages.rules import Rule
from aggregator.messages.text import phrase
from fuzz.pumped import pumped

TOP = Path(__file__).parents[2]
PACKAGES = ("agent", "aggregator", "cli", "proto/nodetell")
ANYWHERE = frozenset({"search", "finditer", "findall", "sub", "subn", "split"})
METHODS = ANYWHERE | {"match", "fullmatch"}
LENGTH = 8_192
MOST = 8.0
QUADRATIC_S, EXPONENTIAL_S = 0.004, 0.002
"""What takes less CPU time than that is not looked at closer."""
Found = tuple[str, "re.Pattern[str] | re.Pattern[bytes]", frozenset[str]]


def modules() -> Iterator[tuple[str, Path]]:
    for package in PACKAGES:
        for place in sorted((TOP / package).rglob("*.py")):
            name = str(place.relative_to(TOP).with_suffix("")).removeprefix("proto/").replace("/", ".")
            if "_pb2" not in name and not name.endswith("__main__"):
                yield name.removesuffix(".__init__"), place


def within(value: object, depth: int = 4) -> Iterator[re.Pattern[str] | re.Pattern[bytes]]:
    """Expressions in a module's variable, its tables included."""
    if isinstance(value, re.Pattern):
        yield value
    elif isinstance(value, Rule):
        for written in (*value.phrases, *value.needs, *value.unless):
            if (ready := phrase(written).pattern) is not None:
                yield ready
    elif depth and isinstance(value, dict):
        for each in (*value.keys(), *value.values()):
            yield from within(each, depth - 1)
    elif depth and isinstance(value, tuple | list | set | frozenset):
        for each in value:
            yield from within(each, depth - 1)
    elif depth and is_dataclass(value) and not isinstance(value, type):
        for each in fields(value):
            yield from within(getattr(value, each.name, None), depth - 1)


def calls(source: str) -> tuple[dict[str, set[str]], set[str], list[tuple[str, str | bytes]]]:
    """Methods called on each name, all methods of expressions that are called, and (method, expression) in place."""
    of_name: dict[str, set[str]] = {}
    all_of_them: set[str] = set()
    in_place: list[tuple[str, str | bytes]] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr in METHODS and isinstance(node.value, ast.Name):
            of_name.setdefault(node.value.id, set()).add(node.attr)
            if node.value.id != "re":
                all_of_them.add(node.attr)
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
        ):
            first = node.args[0] if node.args else None
            literal = first.value if isinstance(first, ast.Constant) else None
            if node.func.value.id == "re" and isinstance(literal, str | bytes) and node.func.attr in METHODS:
                in_place.append((node.func.attr, literal))
    return of_name, all_of_them, in_place


@cache
def patterns() -> list[Found]:
    """(where, expression, how it is used) of all of them, each once."""
    found: dict[tuple[str | bytes, int, bool], Found] = {}
    for name, place in modules():
        module: ModuleType = importlib.import_module(name)
        of_name, all_of_them, in_place = calls(place.read_text())
        mine = [
            (f"{name}.{variable}", each, frozenset(of_name.get(variable) or all_of_them or {"search"}))
            for variable, value in vars(module).items()
            for each in within(value)
        ]
        mine += [(name, re.compile(written), frozenset({method})) for method, written in in_place]
        for where, each, methods in mine:
            found.setdefault((each.pattern, each.flags, bool(methods & ANYWHERE)), (where, each, methods))
    return list(found.values())


def seconds(pattern: re.Pattern[str] | re.Pattern[bytes], text: str, *, anywhere: bool, tries: int = 3) -> float:
    """CPU time of the best of some tries."""
    subject = text if isinstance(pattern.pattern, str) else text.encode("latin-1", "replace")
    call = pattern.search if anywhere else pattern.fullmatch
    best = float("inf")
    for _ in range(tries):
        begun = time.thread_time()
        call(subject)  # type: ignore[arg-type]  # bytes for bytes
        best = min(best, time.thread_time() - begun)
    return best


def slowness(pattern: re.Pattern[str] | re.Pattern[bytes], *, anywhere: bool) -> str:
    """What shows that it takes more than linear time; empty: nothing does.

    Whatever takes long enough to be measured is measured at two lengths: a quadratic expression takes sixteen times as
    long for a text four times as long, a linear one four times.
    """
    for short, long, least in (
        (14, 18, EXPONENTIAL_S),
        (20, 24, EXPONENTIAL_S),
        (128, 512, QUADRATIC_S),
        (LENGTH // 4, LENGTH, QUADRATIC_S),
    ):
        for less, more in zip(pumped(pattern, short), pumped(pattern, long), strict=True):
            if seconds(pattern, more, anywhere=anywhere, tries=1) < least:
                continue
            growth = seconds(pattern, more, anywhere=anywhere) / seconds(pattern, less, anywhere=anywhere)
            if growth > MOST:
                return f"{growth:.1f} times as long for {long} letters as for {short}: {more[:60]!r}"
    return ""


@pytest.mark.parametrize(
    ("expression", "anywhere"),
    [
        (r"a+b+c", True),
        (r"(?:ab)*y", True),
        (r"key: *[a-z ]*;", True),
        (r"(?:foo )+bar|[0-9]+-", True),
        (r"(x+)+y", False),
        (r"\s*,\s*x", True),
        (r"name=.*?;.*?end", True),
    ],
)
def test_what_is_slow_is_found(expression: str, anywhere: bool) -> None:
    assert slowness(re.compile(expression), anywhere=anywhere)


@pytest.mark.parametrize("expression", [r"a{1,240}b", r"x(?:ab){0,9}y", r"^key: *[a-z]*;", r"(?:foo ){1,50}bar|[0-9]-"])
def test_what_is_linear_is_not(expression: str) -> None:
    assert slowness(re.compile(expression), anywhere=True) == ""


def test_there_are_expressions_of_all_packages() -> None:
    where = {name.partition(".")[0] for name, _, _ in patterns()}
    assert {"agent", "aggregator", "nodetell"} <= where
    assert len(patterns()) > 150


@pytest.mark.parametrize("part", range(4))
def test_every_expression_takes_linear_time_at_its_worst(part: int) -> None:
    slow = []
    for where, pattern, methods in patterns()[part::4]:
        if found := slowness(pattern, anywhere=bool(methods & ANYWHERE)):
            slow.append(f"{where}: {pattern.pattern!r:.200}: {found}")
    assert not slow, "\n".join(slow)
