"""The Prometheus text format, as it comes off the wire: lines cut out of chunks, and one line taken apart.

Both ends read such texts: the aggregator an API server's, the agent an etcd's. The texts are megabytes, and a fraction
of them is used: whoever reads asks for the name of a line first and takes it apart only if it is wanted.
Source: https://prometheus.io/docs/instrumenting/exposition_formats/ (text format 0.0.4, and OpenMetrics' exemplars).
"""

from __future__ import annotations

import re

MAX_LINE_BYTES = 64 << 10
"""A longer line is none of a metrics text: all beyond is left out."""

_QUOTED_NAME = re.compile(rb'\{[ \t]*"(?:[^"\\]|\\.)*"[ \t]*[,}]')
_NAME = re.compile(rb"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(
    rb'[ \t]*(?:([a-zA-Z_][a-zA-Z0-9_]*)|"((?:[^"\\]|\\.)*)")[ \t]*=[ \t]*"((?:[^"\\]|\\.)*)"[ \t]*(,?)'
)
_NUMBER = re.compile(rb"[+-]?(?:[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?|\.[0-9]+(?:[eE][+-]?[0-9]+)?|[Ii]nf|[Nn]a[Nn])")
_STAMP = re.compile(rb"[+-]?[0-9]+(?:\.[0-9]+)?")
_ESCAPES = {b"\\\\": b"\\", b'\\"': b'"', b"\\n": b"\n"}


class LineError(ValueError):
    """A line that is none of the format: why, in a few words."""


class Lines:
    """Cuts a text that comes in chunks into lines. Holds at most MAX_LINE_BYTES between two chunks."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that are complete now, without their ends; of one that is too long its beginning."""
        *lines, rest = (self._rest + chunk).split(b"\n")
        if lines and max(map(len, lines)) > MAX_LINE_BYTES:
            lines = [line[:MAX_LINE_BYTES] for line in lines]
        self._rest = rest[:MAX_LINE_BYTES]
        return lines

    @property
    def rest(self) -> bytes:
        """What came after the last end of a line: the format ends each line, so a text with a rest was cut off."""
        return self._rest


def name_of(line: bytes) -> bytes:
    """The name at the beginning of a sample's line, unchecked; empty where it is given in quotes within the braces."""
    brace, space = line.find(b"{"), line.find(b" ")
    if brace >= 0 and (space < 0 or brace < space):
        return line[:brace]
    return line[:space] if space >= 0 else line.partition(b"\t")[0]


def names_in_quotes(line: bytes) -> bool:
    """A sample whose metric has a name of any characters, within the braces: {"http.server", ...}."""
    return _QUOTED_NAME.match(line) is not None


def split(line: bytes) -> tuple[dict[str, str], float]:
    """Labels and value of a sample's line; a time and an exemplar after them are left out. Raises LineError.

    Text that is not UTF-8 has U+FFFD in its place.
    """
    match = _NAME.match(line)
    if match is None:
        raise LineError("does not begin with a name")
    labels, end = _labels(line, match.end())
    fields = line[end:].partition(b" # ")[0].split()
    if not 1 <= len(fields) <= 2 or (len(fields) == 2 and not _STAMP.fullmatch(fields[1])):
        raise LineError("does not end with a value")
    return labels, number(fields[0])


def number(text: bytes) -> float:
    """A sample's value. Raises LineError."""
    if _NUMBER.fullmatch(text) is None:
        raise LineError("has a value that is no number")
    return float(text)


def _labels(line: bytes, at: int) -> tuple[dict[str, str], int]:
    """Labels that begin at a position, if any, and where they end."""
    labels: dict[str, str] = {}
    while line[at : at + 1] in (b" ", b"\t"):
        at += 1
    if line[at : at + 1] != b"{":
        return labels, at
    at += 1
    while match := _LABEL.match(line, at):
        plain, quoted, value, comma = match.groups()
        labels[_text(quoted if plain is None else plain)] = _text(value)
        at = match.end()
        if not comma:
            break
    while line[at : at + 1] in (b" ", b"\t"):
        at += 1
    if line[at : at + 1] != b"}":
        raise LineError("has labels that do not end")
    return labels, at + 1


def _text(raw: bytes) -> str:
    if b"\\" in raw:
        raw = re.sub(rb"\\.", lambda match: _ESCAPES.get(match[0], match[0]), raw)
    return raw.decode("utf-8", "replace")
