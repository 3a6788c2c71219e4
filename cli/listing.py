"""Lists as tables, one way for all commands: which columns, in what order, with or without headers.

A command says once which columns its rows have; --columns, --sort-by, --no-headers and --format wide then work alike
everywhere. Where one of them asks for a table, a row is one line and no cell is empty, so that awk(1) and cut(1) can
read it; otherwise the terminal's width decides (terminal.table).
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any, Generic, TypeVar

from cli.exits import USAGE, CliError
from cli.terminal import Look, clean, columns, emit, pad, table

_T = TypeVar("_T")
NOTHING = "-"
"""Stands in a line's cell of which nothing is known."""


@dataclass(frozen=True, slots=True)
class Column(Generic[_T]):
    """One column of a table of rows of a kind."""

    name: str
    """Its header; as an argument "PATH MTU", "path-mtu" and "path_mtu" are the same."""
    what: str
    """What it says, for `nodetell help columns`."""
    text: Callable[[_T], str]
    key: Callable[[_T], Any] | None = None
    """What rows are sorted by; None: by the text. A row whose key is None comes last, whatever the direction."""
    right: bool = False
    """Aligned to the right, as numbers are."""
    wide: bool = False
    """Shown only with --format wide, or where it is named."""


@dataclass(frozen=True, slots=True)
class Choice(Generic[_T]):
    """What of a table is wanted. As made: its usual columns, as they come."""

    columns: Sequence[Column[_T]]
    sort_by: Column[_T] | None = None
    descending: bool = False
    headers: bool = True
    table: bool = False
    """One was asked for: every row is one line."""


def choice(arguments: argparse.Namespace, known: Sequence[Column[_T]]) -> Choice[_T]:
    """What the flags ask for. Raises CliError (USAGE) for a column that there is not."""
    wide = arguments.format == "wide"
    shown = [column for column in known if wide or not column.wide]
    named = [_found(name, known, "--columns") for name in (arguments.columns or "").split(",") if name.strip()]
    if arguments.columns is not None and not named:
        raise CliError(USAGE, f"--columns: which? {_there_are(known)}")
    asked = wide or bool(named) or arguments.no_headers
    made = Choice(named or shown, headers=not arguments.no_headers, table=asked)
    if arguments.sort_by is not None:
        column, descending = find(arguments.sort_by, known)
        made = replace(made, sort_by=column, descending=descending, table=True)
    if made.table and arguments.format not in ("text", "wide"):
        flag = "--columns, --sort-by and --no-headers"
        raise CliError(USAGE, f"{flag} are for tables (--format text or wide): {arguments.format} has everything")
    return made


def find(sort_by: str, known: Sequence[Column[_T]]) -> tuple[Column[_T], bool]:
    """The column of COLUMN[:desc], and whether downwards. Raises CliError (USAGE)."""
    name, _, direction = sort_by.partition(":")
    if direction not in ("", "asc", "desc"):
        raise CliError(USAGE, f'--sort-by: "{clean(direction[:40])}" is neither asc nor desc')
    return _found(name, known, "--sort-by"), direction == "desc"


def usual(known: Sequence[Column[_T]]) -> Choice[_T]:
    """What is shown where nobody asks for anything else."""
    return Choice([column for column in known if not column.wide])


def _found(name: str, known: Sequence[Column[_T]], flag: str) -> Column[_T]:
    by_name = {_plain(column.name): column for column in known}
    wanted = _plain(name)
    if wanted in by_name:
        return by_name[wanted]
    near = get_close_matches(wanted, by_name, 1)
    hint = f"; did you mean {by_name[near[0]].name}?" if near else ""
    raise CliError(USAGE, f'{flag}: there is no column "{clean(name.strip()[:40])}"{hint} {_there_are(known)}'.strip())


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name.strip()).upper()


def _there_are(known: Sequence[Column[_T]]) -> str:
    return f"(there are: {', '.join(column.name.replace(' ', '-') for column in known)})"


def ordered(rows: Iterable[_T], wanted: Choice[_T]) -> list[_T]:
    """Rows in the order that is wanted; those of equal rank stay as they come."""
    found = list(rows)
    column = wanted.sort_by
    if column is None:
        return found
    keys = [column.key(row) if column.key is not None else column.text(row) for row in found]
    told = [(key, row) for key, row in zip(keys, found, strict=True) if key is not None]
    told.sort(key=lambda each: each[0], reverse=wanted.descending)
    return [row for _, row in told] + [row for key, row in zip(keys, found, strict=True) if key is None]


def listing(rows: Iterable[_T], wanted: Choice[_T], look: Look, indent: str = "") -> list[str]:
    """The table's lines."""
    cells = [[column.text(row) for column in wanted.columns] for row in ordered(rows, wanted)]
    headers = [f">{column.name}" if column.right else column.name for column in wanted.columns]
    if not wanted.table:
        return table(headers, cells, look.width, indent) if cells else []
    lines = [[clean(cell) or NOTHING for cell in row] for row in cells]
    if wanted.headers:
        lines.insert(0, [column.name for column in wanted.columns])
    widths = [max(map(columns, column), default=0) for column in zip(*lines, strict=True)]
    return [
        indent
        + "  ".join(
            pad(cell, width, right=column.right)
            for cell, width, column in zip(row, widths, wanted.columns, strict=True)
        ).rstrip()
        for row in lines
    ]


def emit_listing(rows: Iterable[_T], wanted: Choice[_T], look: Look, nothing: str = "") -> None:
    """Print the table; where there are no rows, `nothing` for people to read, and no line for programs."""
    if lines := listing(rows, wanted, look):
        emit("\n".join(lines))
    elif nothing and not wanted.table:
        emit(nothing)
