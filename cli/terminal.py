"""Standard output and error as they really are: a terminal or not, with colour or not, closed, full, or of 40 columns.

Whatever came from a host is made harmless by `clean` before it gets here.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO

from cli.exits import OUTPUT, CliError

MIN_WIDTH = 30
MAX_WIDTH = 120
"""Longer lines are hard to read, however wide the terminal is."""

_STYLES = {"critical": "1;31", "warning": "1;33", "info": "1;36", "good": "32", "bold": "1", "dim": "2"}


@dataclass(frozen=True, slots=True)
class Look:
    """How text is laid out: columns, and whether colours are wanted."""

    width: int = 80
    colour: bool = False

    def style(self, text: str, name: str) -> str:
        """The text in a style ("critical", "warning", "info", "good", "bold", "dim"), where colours are wanted."""
        return f"\x1b[{_STYLES[name]}m{text}\x1b[0m" if self.colour and text else text


def look(stream: TextIO | None, env: Mapping[str, str]) -> Look:
    """The look for a stream. Colour only on a terminal that has it, and not with NO_COLOR (https://no-color.org)."""
    is_terminal = stream is not None and not stream.closed and stream.isatty()
    colour = is_terminal and not env.get("NO_COLOR") and env.get("TERM", "") not in ("dumb", "")
    columns = shutil.get_terminal_size((80, 24)).columns if is_terminal or env.get("COLUMNS", "").isdigit() else 100
    return Look(min(max(columns, MIN_WIDTH), MAX_WIDTH), colour)


def prepare() -> None:
    """Make both streams write what they can't encode as escapes, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def emit(text: str) -> None:
    """Print text and a line end on standard output, now. BrokenPipeError passes; any other failure is a CliError."""
    try:
        if sys.stdout is None:
            raise CliError(OUTPUT, "standard output: it is closed")
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise CliError(OUTPUT, f"standard output: {reason}") from error


def emit_json(document: object, *, lines: bool = False) -> None:
    """Print a JSON document, indented, or on one line as part of a stream of them. Only ASCII: safe on any terminal."""
    emit(json.dumps(document, indent=None if lines else 2, allow_nan=False))


def complain(text: str) -> None:
    """Print lines on standard error; where that is gone, there is nobody to tell."""
    with contextlib.suppress(OSError, ValueError):
        if sys.stderr is not None:
            sys.stderr.write("".join(f"nodetell: {line}\n" for line in text.splitlines() or [""]))
            sys.stderr.flush()


def abandon_output() -> None:
    """Point standard output at nothing, so that the interpreter's own flush at exit cannot fail."""
    with contextlib.suppress(OSError, ValueError):
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, 1)
        os.close(nothing)


# -- text ----------------------------------------------------------------------------------------------------------


def clean(text: str) -> str:
    """Text from a host, with everything that could steer a terminal (control, format, bidi characters) escaped."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def columns(text: str) -> int:
    """Columns that clean text takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def pad(text: str, width: int, *, right: bool = False) -> str:
    """Text filled up with spaces to so many columns."""
    space = " " * max(0, width - columns(text))
    return space + text if right else text + space


def wrap(text: str, width: int, indent: str = "", hanging: str | None = None) -> list[str]:
    """A paragraph in lines of at most `width` columns; only a word longer than that is cut."""
    return textwrap.wrap(
        clean(text),
        max(width, len(indent) + 10),
        initial_indent=indent,
        subsequent_indent=indent if hanging is None else hanging,
        break_on_hyphens=False,
    )


def table(
    headers: Sequence[str],
    rows: Iterable[Sequence[str]],
    width: int,
    indent: str = "  ",
    otherwise: Callable[[], list[str]] | None = None,
) -> list[str]:
    """Rows under headers, without columns that are empty. A header that begins with ">": aligned to the right.

    Where they do not fit into `width`, the last column goes below its row; where that does not help, what `otherwise`
    makes stands in their place, or each row becomes a wrapped paragraph.
    """
    cells = [[clean(cell) for cell in row] for row in rows]
    names = [header.lstrip(">") for header in headers]
    used = [i for i in range(len(names)) if any(row[i] for row in cells)]
    widths = [max(columns(row[i]) for row in [names, *cells]) for i in range(len(names))]

    def fits(which: Sequence[int]) -> bool:
        return columns(indent) + sum(widths[i] for i in which) + 2 * (len(which) - 1) <= width

    def line(row: Sequence[str], which: Sequence[int]) -> str:
        padded = (pad(row[i], widths[i], right=headers[i].startswith(">")) for i in which)
        return (indent + "  ".join(padded)).rstrip()

    if fits(used):
        return [line(row, used) for row in [names, *cells]]
    lines = []
    if len(used) > 2 and fits(used[:-1]):
        lines.append(line(names, used[:-1]))
        for row in cells:
            lines.append(line(row, used[:-1]))
            if last := row[used[-1]]:
                lines += wrap(f"{names[used[-1]].lower()} {last}", width, indent + "    ", indent + "      ")
        return lines
    if otherwise is not None:
        return otherwise()
    for row in cells:
        facts = ", ".join(f"{names[i].lower()} {row[i]}" for i in used[1:] if row[i])
        lines += wrap(f"{row[used[0]]}: {facts}" if facts else row[used[0]], width, indent, indent + "  ")
    return lines


def span(seconds: float) -> str:
    """A length of time in its two greatest units: "3 d 4 h", "12 s"."""
    seconds = max(0.0, seconds)
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 and seconds % 1 else f"{seconds:.0f} s"
    units = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
    rest = int(seconds)
    parts: list[str] = []
    for name, length in units:
        count, rest = divmod(rest, length)
        if count or parts:
            parts.append(f"{count} {name}" if count else "")
        if len(parts) == 2:
            break
    return " ".join(part for part in parts if part)
