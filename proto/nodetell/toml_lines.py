"""Where each key of a TOML document stands, which tomllib does not tell.

Only for a document that tomllib has accepted: what is found here is used to say "file:line" in an error, never to read
a value. Grammar: https://toml.io/en/v1.0.0.
"""

from __future__ import annotations

import tomllib

KeyPath = tuple[str, ...]

_BARE_END = frozenset(" \t\r\n=.]#,}")
_SCALAR_END = frozenset(",]}#\n")


def key_lines(text: str) -> dict[KeyPath, int]:
    """Line (from 1) of each table and key of a valid TOML document, of one that stands in several places the first."""
    scanner = _Scanner(text)
    scanner.document()
    return scanner.lines


class _Scanner:
    """One pass over the text. `at` is the index of the next character."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.line = 1
        self.lines: dict[KeyPath, int] = {}

    def document(self) -> None:
        table: KeyPath = ()
        while self._skip_blank(newlines=True):
            if self.text[self.at] == "[":
                table = self._header()
            else:
                self._assignment(table)

    def _header(self) -> KeyPath:
        while self.text[self.at] == "[":
            self._advance()
        path = self._key(())
        while self.at < len(self.text) and self.text[self.at] == "]":
            self._advance()
        return path

    def _assignment(self, table: KeyPath) -> None:
        path = self._key(table)
        self._advance()  # the equals sign
        self._skip_blank(newlines=False)
        self._value(path)

    def _key(self, table: KeyPath) -> KeyPath:
        """A dotted key; leaves `at` on what ends it."""
        path = table
        while self._skip_blank(newlines=False):
            path = (*path, self._key_part())
            self.lines.setdefault(path, self.line)
            self._skip_blank(newlines=False)
            if self.text[self.at] != ".":
                break
            self._advance()
        return path

    def _key_part(self) -> str:
        if self.text[self.at] in "\"'":
            begin = self.at
            self._string()
            (name,) = tomllib.loads(self.text[begin : self.at] + " = 0")
            return name
        begin = self.at
        while self.at < len(self.text) and self.text[self.at] not in _BARE_END:
            self._advance()
        return self.text[begin : self.at]

    def _value(self, path: KeyPath) -> None:
        first = self.text[self.at]
        if first in "\"'":
            self._string()
        elif first == "[":
            self._array(path)
        elif first == "{":
            self._inline_table(path)
        else:
            while self.at < len(self.text) and self.text[self.at] not in _SCALAR_END:
                self._advance()

    def _array(self, path: KeyPath) -> None:
        self._advance()
        while self._skip_blank(newlines=True) and self.text[self.at] != "]":
            if self.text[self.at] == ",":
                self._advance()
            else:
                self._value(path)
        self._advance()

    def _inline_table(self, path: KeyPath) -> None:
        self._advance()
        while self._skip_blank(newlines=True) and self.text[self.at] != "}":
            if self.text[self.at] == ",":
                self._advance()
            else:
                self._assignment(path)
        self._advance()

    def _string(self) -> None:
        quote = self.text[self.at]
        mark = quote * 3 if self.text.startswith(quote * 3, self.at) else quote
        self._advance(len(mark))
        while not self.text.startswith(mark, self.at):
            self._advance(2 if quote == '"' and self.text[self.at] == "\\" else 1)
        self._advance(len(mark))
        if len(mark) == 3:  # up to two quotes may stand right before the closing three
            while self.at < len(self.text) and self.text[self.at] == quote:
                self._advance()

    def _skip_blank(self, *, newlines: bool) -> bool:
        """Skip spaces and, between statements, comments and line ends. False: nothing is left."""
        blank = " \t\r\n" if newlines else " \t"
        while self.at < len(self.text):
            character = self.text[self.at]
            if character in blank:
                self._advance()
            elif newlines and character == "#":
                while self.at < len(self.text) and self.text[self.at] != "\n":
                    self._advance()
            else:
                return True
        return False

    def _advance(self, count: int = 1) -> None:
        self.line += self.text.count("\n", self.at, self.at + count)
        self.at += count
