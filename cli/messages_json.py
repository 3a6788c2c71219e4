"""Events and messages out of JSON, one at a time: a file of 200,000 events is never held at once.

What comes: a List or EventList as `kubectl get events -o json` prints it, an Event, an array of them, or one JSON
object on each line: an Event, a watch's {type, object}, or {object, reason, exit_code, message}. What is damaged is
said with its line, and the rest is read.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from aggregator.messages import Message

CHUNK = 1 << 18
MOST = 1 << 24
"""Characters that one object may have; more is no event."""

Say = Callable[[int, str], None]
"""Takes a line number, from 1, and what is wrong there."""


class Input(Protocol):
    """Text that is read once."""

    def read(self, size: int, /) -> str:
        """At most so many characters; empty at the end."""

    def readline(self, size: int = ..., /) -> str:
        """A line with its end, or so many characters of it; empty at the end."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A message, and the object as it is shown."""

    message: Message
    shown: str


def entry_of(value: object) -> Entry | None:
    """From an Event of either API group, a watch event, or {object, reason, exit_code, message}. None: from none."""
    if not isinstance(value, Mapping):
        return None
    inner = value.get("object")
    if isinstance(inner, Mapping):  # of a watch
        value = inner
    subject = next(
        (each for key in ("involvedObject", "regarding") if isinstance(each := value.get(key), Mapping)), None
    )
    text = next((each for key in ("message", "note") if isinstance(each := value.get(key), str)), None)
    if subject is None and text is None and not isinstance(value.get("reason"), str):
        return None
    reason, code = value.get("reason"), value.get("exit_code", value.get("exitCode"))
    kind = _text(subject.get("kind")) if subject is not None else _text(value.get("object"))
    name = "/".join(part for key in ("namespace", "name") if (part := _text((subject or {}).get(key))))
    message = Message(
        object=kind,
        reason=_text(reason),
        exit_code=code if isinstance(code, int) and not isinstance(code, bool) else None,
        message=text or "",
    )
    return Entry(message, f"{kind} {name}".strip())


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


# -- one object a line ---------------------------------------------------------------------------------------------


def is_document(head: str) -> bool:
    """Whether JSON that begins so is a document, over many lines or a List on one, and not an object on each line."""
    line, _, rest = head.lstrip().partition("\n")
    goes_on = line.rstrip().endswith(("{", ",")) and not rest.lstrip("\r\n").startswith("{")
    return line.startswith("[") or goes_on or re.search(r'"items"\s*:\s*\[', line) is not None


def has_entries(head: str) -> bool:
    """Whether there are JSON lines among others."""
    return any(True for _ in read_lines(io.StringIO(head), lambda _line, _problem: None))


def read_lines(stream: Input, say: Say) -> Iterator[Entry]:
    """Entries of one JSON object a line."""
    number = 0
    while line := stream.readline(MOST):
        number += 1
        if len(line) == MOST and not line.endswith("\n"):
            say(number, f"longer than {MOST} characters")
            while (rest := stream.readline(CHUNK)) and not rest.endswith("\n"):
                pass
            continue
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            say(number, f"not JSON: {error.msg if isinstance(error, json.JSONDecodeError) else error}")
            continue
        entry = entry_of(value)
        if entry is None:
            say(number, _not_an_event(value))
        else:
            yield entry


def _not_an_event(value: object) -> str:
    kind = value.get("kind") if isinstance(value, Mapping) else None
    what = f"of kind {kind}" if isinstance(kind, str) else f"a JSON {type(value).__name__}"
    return f"neither an event nor a message: {what}"


# -- documents -----------------------------------------------------------------------------------------------------


class _End(Exception):  # noqa: N818  # no error: the input is over
    """The input ended."""


class _Bad(Exception):  # noqa: N818  # becomes a line that is said
    """What stands here is no JSON."""


class _Source:
    """Text in front of a reading position, refilled from a stream. What was read is dropped."""

    def __init__(self, stream: Input) -> None:
        self._stream = stream
        self._text = ""
        self._at = 0
        self._line = 1
        self._counted = 0
        self._decoder = json.JSONDecoder()

    @property
    def line(self) -> int:
        """Line of the reading position."""
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line

    def peek(self) -> str:
        """The next character that is no white space. Raises _End."""
        while True:
            found = _SOLID.search(self._text, self._at)
            if found is not None:
                self._at = found.start()
                return found[0]
            self._at = len(self._text)
            if not self._refill():
                raise _End

    def skip(self) -> None:
        """Pass one character."""
        self._at += 1

    def value(self) -> object:
        """The value that begins here. Raises _End if the input ends within it, _Bad if it is none."""
        self.peek()
        while True:
            try:
                value, self._at = self._decoder.raw_decode(self._text, self._at)
            except RecursionError as error:
                raise _Bad("nested too deep") from error
            except json.JSONDecodeError as error:
                cut = error.msg.startswith("Unterminated string") or error.pos >= len(self._text) - 12
                if not cut or len(self._text) - self._at > MOST:
                    raise _Bad(error.msg) from error
                if not self._refill():
                    raise _End from error
            else:
                # A number at the end of what is there may go on; nothing that is read here is one.
                return value

    def name(self) -> str:
        """The name of a field, and pass the colon behind it. Raises as value() does."""
        name = self.value()
        if not isinstance(name, str) or self.peek() != ":":
            raise _Bad("Expecting a name and ':'")
        self.skip()
        return name

    def pass_by(self, beginning: re.Pattern[str]) -> bool:
        """Go to where the next item begins, behind this position. False: there is none."""
        self._at += 1
        while True:
            found = beginning.search(self._text, self._at)
            if found is not None:
                self._at = found.end() - 1
                return True
            self._at = max(self._at, len(self._text) - _LONGEST_BEGINNING)
            if not self._refill():
                return False

    @property
    def indent(self) -> str:
        """White space before the position on its line."""
        start = self._text.rfind("\n", 0, self._at) + 1
        before = self._text[start : self._at]
        return before if before.isspace() else ""

    def _refill(self) -> bool:
        self._line = self.line
        kept = max(self._at - _LONGEST_BEGINNING, 0)
        # At least as much as is there: a long value is not decoded anew for each chunk.
        more = self._stream.read(max(CHUNK, len(self._text) - kept))
        self._text = self._text[kept:] + more
        self._at -= kept
        self._counted = self._at
        return bool(more)


_SOLID = re.compile(r"\S")
_LONGEST_BEGINNING = 64


def read_document(stream: Input, say: Say) -> Iterator[Entry]:
    """Entries of a List, an array or an Event, or of several, one after the other."""
    source = _Source(stream)
    try:
        while True:
            opening = source.peek()
            if opening == "[":
                source.skip()
                yield from _items(source, say)
            elif opening == "{":
                yield from _object(source, say)
            else:
                say(source.line, "no JSON object begins here: the rest is not read")
                return
    except _End:
        return


def _object(source: _Source, say: Say) -> Iterator[Entry]:
    """A List's items as they come; anything else when it is complete."""
    begins = source.line
    source.skip()
    fields: dict[str, object] = {}
    listed = False
    try:
        while source.peek() != "}":
            if source.peek() == ",":
                source.skip()
                continue
            key = source.name()
            if key == "items" and source.peek() == "[":
                source.skip()
                listed = True
                yield from _items(source, say)
            else:
                fields[key] = source.value()
        source.skip()
    except _Bad as error:
        say(source.line, f"not JSON: {error}: the rest is not read")
        raise _End from error
    except _End:
        say(source.line, f"the input ends within what begins on line {begins}")
        raise
    if listed:
        return
    entry = entry_of(fields)
    if entry is None:
        say(begins, _not_an_event(fields))
    else:
        yield entry


def _items(source: _Source, say: Say) -> Iterator[Entry]:
    """What stands in an array, up to its end."""
    while (sign := source.peek()) != "]":
        if sign == ",":
            source.skip()
            continue
        begins, indent = source.line, source.indent
        try:
            value = source.value()
        except _Bad as error:
            say(begins, f"an item that is not JSON: {error}")
            beginning = f"\n{indent}\\{{" if indent else r"\},\s{0,8}\{(?=\")"
            if not source.pass_by(re.compile(beginning)):
                raise _End from error
            continue
        except _End:
            say(begins, "the input ends within the item that begins here")
            raise
        entry = entry_of(value)
        if entry is None:
            say(begins, _not_an_event(value))
        else:
            yield entry
    source.skip()
