"""The classify command: what status, event and log messages say, by the rule set that the diagnosis uses, too."""

from __future__ import annotations

import argparse
import codecs
import io
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO, TextIO

from aggregator.messages import Classification, classify
from cli import exits
from cli.documents import emit_document, wants_document
from cli.listing import Column, choice, emit_listing
from cli.messages_describe import is_kubectl_text, read_kubectl_text
from cli.messages_json import Entry, Say, has_entries, is_document, read_document, read_lines
from cli.terminal import Look, clean, complain, emit, look, pad, table, wrap

_HEAD = 1 << 16
"""Characters that tell the format, and as many of its first line."""
_WHAT_IS_READ = (
    "neither JSON nor what kubectl prints; it reads `kubectl get events -o json`, `kubectl describe` of pods, claims "
    'and nodes, and JSON lines {"object": ..., "reason": ..., "exit_code": ..., "message": ...}: put log lines into '
    '"message"'
)


def run(arguments: argparse.Namespace) -> int:
    """Classify all messages of a file or of standard input. Raises CliError if nothing in it can be read."""
    place = "standard input" if arguments.file == "-" else arguments.file
    shape = look(sys.stdout, os.environ)
    wanted = choice(arguments, COLUMNS)
    rows: list[tuple[Entry, Classification]] = []
    outcomes: Counter[str] = Counter()
    try:
        with _opened(arguments.file) as stream:
            for entry in entries(stream, place):
                answer = classify(entry.message)
                outcomes[answer.outcome] += 1
                if wants_document(arguments):
                    emit_document(as_json(entry, answer), arguments, lines=True)
                elif wanted.table:
                    rows.append((entry, answer))
                else:
                    emit(_text(entry, answer, shape))
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        raise exits.CliError(exits.UNREADABLE, f"{place}: {error.strerror or error}") from error
    if wanted.table:
        emit_listing(rows, wanted, shape)
    elif not wants_document(arguments):
        emit("\n".join(_counts(outcomes, shape)))
    return exits.OK


COLUMNS: Sequence[Column[tuple[Entry, Classification]]] = (
    Column("LABEL", "cause family, no-fault or unknown", lambda row: row[1].outcome),
    Column("OBJECT", "that the message is about", lambda row: row[0].shown),
    Column("REASON", "of the event or status", lambda row: row[0].message.reason),
    Column("PHRASE", "that decided", lambda row: row[1].phrase),
    Column("ALSO", "other families that it speaks of", lambda row: ",".join(row[1].also), wide=True),
    Column("WHY", "what the phrase means", lambda row: row[1].why, wide=True),
)
"""All columns of messages as a table."""


def as_json(entry: Entry, answer: Classification) -> dict[str, object]:
    """One line of the output."""
    return {
        "label": answer.outcome,
        "also": list(answer.also),
        "phrase": answer.phrase,
        "no_fault": answer.no_fault,
        "why": answer.why,
        "object": entry.shown,
        "reason": entry.message.reason,
    }


def entries(stream: TextIO, place: str) -> Iterator[Entry]:
    """The messages of an input, whatever its format is. What is damaged in it is said on standard error."""
    head = stream.readline(_HEAD)
    if not head.startswith(("{", "[")) or head.rstrip().endswith(("{", ",")):
        head += stream.read(_HEAD)  # a line alone tells only JSON lines, which may come slowly, from a watch
    if not head.strip():
        raise exits.CliError(exits.UNREADABLE, f"{place}: it is empty")
    whole = _Joined(head, stream)
    say: Say = partial(_say, place)
    if head.lstrip().startswith(("{", "[")):
        yield from read_document(whole, say) if is_document(head) else read_lines(whole, say)
    elif is_kubectl_text(head):
        yield from read_kubectl_text(iter(whole.readline, ""))
    elif has_entries(head):
        yield from read_lines(whole, say)
    else:
        raise exits.CliError(exits.UNREADABLE, f"{place}: unknown format: {_WHAT_IS_READ}")


def _say(place: str, line: int, problem: str) -> None:
    complain(clean(f"{place}: line {line}: {problem}"))


# -- input ---------------------------------------------------------------------------------------------------------


@contextmanager
def _opened(name: str) -> Iterator[TextIO]:
    if name == "-":
        if sys.stdin is None:
            raise exits.CliError(exits.UNREADABLE, "standard input: it is closed")
        if sys.stdin.isatty():
            complain("reading from the terminal; Ctrl-D ends it")
        yield _decoded(sys.stdin.buffer)
        return
    with Path(name).open("rb") as stream, _decoded(stream) as text:
        yield text


def _decoded(stream: BinaryIO) -> TextIO:
    """UTF-8, or UTF-16 where it says so, as PowerShell writes it. What is neither becomes replacement characters."""
    mark = stream.peek(2)[:2] if isinstance(stream, io.BufferedReader) else b""
    encoding = "utf-16" if mark in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"
    return io.TextIOWrapper(stream, encoding=encoding, errors="replace")


class _Joined:
    """What was looked at already, and then the rest."""

    def __init__(self, head: str, rest: TextIO) -> None:
        self._head = io.StringIO(head)
        self._rest = rest

    def read(self, size: int, /) -> str:
        """At most `size` characters."""
        return self._head.read(size) or self._rest.read(size)

    def readline(self, size: int = -1, /) -> str:
        """A line, or `size` characters of it."""
        line = self._head.readline(size)
        if line.endswith("\n") or len(line) == size:
            return line
        return line + self._rest.readline(size if size < 0 else size - len(line))


# -- output --------------------------------------------------------------------------------------------------------


def _text(entry: Entry, answer: Classification, shape: Look) -> str:
    about = " ".join(part for part in (entry.shown, entry.message.reason) if part)
    said = f'"{answer.phrase}"' if answer.phrase else answer.why
    also = f" (also {', '.join(answer.also)})" if answer.also else ""
    fine = " (no fault)" if answer.no_fault and answer.label else ""
    words = f"{pad(answer.outcome, 34)}  {f'{about}: ' if about else ''}{said}{also}{fine}"
    return "\n".join(wrap(words, shape.width, hanging="    "))


def _counts(outcomes: Counter[str], shape: Look) -> list[str]:
    rows = [(str(count), outcome) for outcome, count in sorted(outcomes.items(), key=lambda each: (-each[1], each[0]))]
    return ["", f"{outcomes.total()} messages", *table((">count", "outcome"), rows, shape.width)]
