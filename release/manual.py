"""`make man`: dist/man/nodetell*.1, the manual pages, made from the command's own parser and its pages of help.

Usage: python -m release.manual [DIRECTORY]
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from nodetell import __version__

from cli.exits import statuses
from cli.page import Page
from cli.pages import NODETELL, PAGES
from cli.parser import build
from cli.terminal import Look
from cli.topics import TOPICS

OUTPUT = Path("dist/man")
_WIDTH = 72
"""Of text that is set as it is."""


def pages() -> dict[str, str]:
    """All manual pages by the name of their file."""
    parser = build()
    made = {"nodetell.1": _page(parser, NODETELL, "nodetell", "", _topics())}
    for command, part in _parts(parser).items():
        name = f"nodetell-{command}"
        made[f"{name}.1"] = _page(part, PAGES[command], name, command)
        for inner_name, inner in _parts(part).items():
            page: Page = inner.page  # type: ignore[attr-defined]  # the command's own parser has it
            made[f"{name}-{inner_name}.1"] = _page(inner, page, f"{name}-{inner_name}", command)
    return made


def _page(parser: argparse.ArgumentParser, page: Page, name: str, command: str, more: Iterable[str] = ()) -> str:
    lines = [
        '.\\" made by `make man` from the command itself',
        f'.TH "{_text(name.upper())}" "1" "" "nodetell {_text(__version__)}" "Nodetell"',
        ".nh",
        ".ad l",
        ".SH NAME",
        f"{_text(name)} \\- {_text(page.summary)}",
        ".SH SYNOPSIS",
        *_as_it_is(_usage(parser)),
        ".SH DESCRIPTION",
        _text(page.description),
        *_options(parser),
        ".SH EXAMPLES",
        *_as_it_is(page.examples.rstrip().splitlines()),
    ]
    if page.environment:
        lines += [".SH ENVIRONMENT", *_definitions(page.environment)]
    lines += [".SH EXIT STATUS", *_definitions((str(status), meaning) for status, meaning in statuses(command)), *more]
    if page.see_also:
        lines += [".SH SEE ALSO", ",\n".join(_text(_reference(each)) for each in page.see_also)]
    return "\n".join(lines) + "\n"


def _usage(parser: argparse.ArgumentParser) -> list[str]:
    """How it is called, however wide the terminal is on which this is made."""
    formatter = argparse.HelpFormatter(prog=parser.prog, width=_WIDTH)
    formatter.add_usage(None, parser._actions, parser._mutually_exclusive_groups, prefix="")
    return formatter.format_help().rstrip().splitlines()


def _options(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Arguments by group; of commands, what each is for."""
    formatter = parser._get_formatter()  # argparse tells its actions no other way
    for group in parser._action_groups:
        told: list[tuple[str, str]] = []
        for action in group._group_actions:
            if isinstance(action, argparse._SubParsersAction):
                told += [(each.dest, each.help or "") for each in action._get_subactions()]
            elif action.help is not argparse.SUPPRESS:
                told.append((formatter._format_action_invocation(action), formatter._expand_help(action)))
        if told:
            yield f".SH {_text((group.title or 'options').upper())}"
            yield from _definitions(told)


def _topics() -> Iterator[str]:
    """What concerns several commands, as `nodetell help` has it."""
    for name, (summary, text) in TOPICS.items():
        if name not in ("environment", "statuses"):  # they have sections of their own
            yield f'.SH "{_text(f"{name}: {summary}".upper())}"'
            yield from _as_it_is(text(Look(_WIDTH)).splitlines())


def _definitions(pairs: Iterable[tuple[str, str]]) -> Iterator[str]:
    for term, meaning in pairs:
        yield ".TP"
        yield f".B {_text(term)}"
        yield _text(meaning)


def _as_it_is(lines: Iterable[str]) -> Iterator[str]:
    yield ".nf"
    yield from (_text(line) for line in lines)
    yield ".fi"


def _reference(text: str) -> str:
    """ "nodetell top --insecure" as nodetell-top(1); what is no command stays as it is."""
    found = re.match(r"nodetell (\S+)", text)
    return f"nodetell-{found[1]}(1)" if found and found[1] in PAGES and found[1] != "help" else text


def _text(text: str) -> str:
    """Text in which roff finds nothing to do."""
    escaped = (
        text.replace("\\", "\\e").replace("-", "\\-").replace('"', "\\(dq").replace("`", "\\(ga").replace("'", "\\(aq")
    )
    escaped = escaped.replace("^", "\\(ha").replace("~", "\\(ti")
    escaped = "".join(c if ord(c) < 128 else f"\\[u{ord(c):04X}]" for c in escaped)
    return f"\\&{escaped}" if escaped.startswith(".") else escaped


def _parts(parser: argparse.ArgumentParser) -> Mapping[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def main(arguments: list[str]) -> int:
    """Write them."""
    directory = Path(arguments[0]) if arguments else OUTPUT
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (directory / name).write_text(text)
    sys.stdout.write(f"{directory}: {len(pages())} manual pages; man -l {directory}/nodetell.1 shows one\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
