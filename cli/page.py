"""The text of one command's help, and how it is laid out below the flags."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cli.exits import statuses

_WIDTH = 79


@dataclass(frozen=True, slots=True)
class Page:
    """One command, or one part of one."""

    summary: str
    """Half a line, for the list of commands."""
    description: str
    """A paragraph."""
    examples: str
    """Command lines, each indented by two spaces; what a line is for may follow after more of them."""
    environment: Sequence[tuple[str, str]] = ()
    """(variable, meaning)."""
    see_also: Sequence[str] = ()
    """Other commands, topics of `nodetell help` and documents."""


def epilog(page: Page, command: str) -> str:
    """What stands below the flags. `command`: whose exit statuses these are."""
    sections = [f"examples:\n{page.examples.rstrip()}"]
    if page.environment:
        sections.append(f"environment:\n{definitions(page.environment)}")
    sections.append(f"exit status:\n{definitions((str(status), what) for status, what in statuses(command))}")
    if page.see_also:
        sections.append(f"see also:\n  {', '.join(page.see_also)}")
    return "\n\n".join(sections) + "\n"


def definitions(pairs: Iterable[tuple[str, str]]) -> str:
    """(term, meaning) one below the other, the meanings under each other."""
    rows = list(pairs)
    width = max((len(term) for term, _ in rows), default=0)
    lines = []
    for term, what in rows:
        indent = " " * (width + 4)
        lines += textwrap.wrap(what, _WIDTH, initial_indent=f"  {term:{width}}  ", subsequent_indent=indent)
    return "\n".join(lines)
