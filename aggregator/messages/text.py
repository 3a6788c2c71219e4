"""The text of a message as rules look at it, in bounded time: capped, in one case, white space as single spaces.

A rule's phrase is plain text in lower case with four signs: "…" stands for up to 160 characters, "*" for one word of up
to 240, a name or a path mostly, "#" for a number, and "|" at either end for a word's border. At most one "…" or "*" in
a phrase, and not at its beginning, so that matching takes time linear in the text; what must stand elsewhere in the
message is a phrase of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

HEAD = 6_144
TAIL = 2_048
"""Characters looked at, from the beginning and before the end: events begin with the cause, logs end with it."""
NAME = 1_024
"""Characters looked at of a reason, or of an object's kind: no API lets either be longer."""
GAP = 160
WORD = 240
_EXCERPT = 200
_PLAIN = {0x2018: "'", 0x2019: "'", 0x201C: '"', 0x201D: '"', 0xA0: " "}
"""Typographic quotes and spaces, as pages and chats turn plain ones into."""


@dataclass(frozen=True, slots=True)
class Text:
    """Verbatim, and the same length in lower case."""

    verbatim: str
    folded: str

    def excerpt(self, start: int, end: int) -> str:
        """What stands there, at most 200 characters of it."""
        return cut(self.verbatim[start:end])


def cut(piece: str) -> str:
    """As long as a piece of a message is told: at most 200 characters."""
    return piece if len(piece) <= _EXCERPT else piece[: _EXCERPT - 1] + "…"


def text_of(message: str) -> Text:
    """The part of a message that is looked at."""
    if len(message) > HEAD + TAIL:
        message = f"{message[:HEAD]} {message[-TAIL:]}"
    verbatim = plain(message)
    folded = verbatim.lower()
    if len(folded) != len(verbatim):  # a few letters become two in lower case
        folded = "".join(lower if len(lower := letter.lower()) == 1 else letter for letter in verbatim)
    return Text(verbatim, folded)


def plain(text: str) -> str:
    """The text with plain quotes, and single spaces for all white space."""
    return " ".join(text.translate(_PLAIN).split())


@dataclass(frozen=True, slots=True)
class Phrase:
    """A phrase ready to be looked for."""

    literal: str
    """Its longest fixed part: a text without that needs no closer look."""
    pattern: re.Pattern[str] | None
    """None: the literal is all of it."""

    def find(self, text: Text) -> tuple[int, int] | None:
        """Where it stands first."""
        start = text.folded.find(self.literal)
        if start < 0:
            return None
        if self.pattern is None:
            return start, start + len(self.literal)
        found = self.pattern.search(text.folded)
        return found.span() if found else None


@cache
def phrase(written: str) -> Phrase:
    """A phrase from how it is written (see above)."""
    inner = written.removeprefix("|").removesuffix("|")
    parts = re.split("([…*#])", inner)
    literal = max((part for part in parts if part not in ("…", "*", "#")), key=len)
    if literal == written:
        return Phrase(literal, None)
    signs = {"…": f".{{0,{GAP}}}?", "*": rf"\S{{1,{WORD}}}", "#": r"[0-9]{1,18}"}
    pattern = "".join(signs.get(part) or re.escape(part) for part in parts)
    before = r"(?<![a-z0-9_])" if written.startswith("|") else ""
    after = r"(?![a-z0-9_])" if written.endswith("|") else ""
    return Phrase(literal, re.compile(before + pattern + after, re.DOTALL))


@cache
def _ready(phrases: tuple[str, ...]) -> tuple[tuple[str, Phrase], ...]:
    return tuple((ready.literal, ready) for ready in map(phrase, phrases))


def find_any(phrases: tuple[str, ...], text: Text) -> tuple[int, int] | None:
    """Where the first of these phrases, in their order, stands."""
    folded = text.folded
    for literal, ready in _ready(phrases):
        if literal in folded and (span := ready.find(text)) is not None:  # nearly all literals are not: the quick way
            return span
    return None
