"""A message as the areas look at it: where it stood, in lower case, and its text made ready."""

from __future__ import annotations

import re
from dataclasses import dataclass

from aggregator.messages.model import Classification, Message
from aggregator.messages.rules import Rule, first
from aggregator.messages.text import NAME, Text, find_any, text_of


@dataclass(frozen=True, slots=True)
class Said:
    """A message made ready for rules."""

    object: str
    """In lower case, as the reason is."""
    reason: str
    exit_code: int | None
    text: Text
    written: Message

    def has(self, *phrases: str) -> bool:
        """Whether one of these phrases stands in it."""
        return find_any(phrases, self.text) is not None


# A state block of `kubectl describe` that was pasted as the message.
_EXIT_CODE = re.compile(r"(?:exit code|exitcode|exit_code)[\"':= ]{1,4}([0-9]{1,3})(?![0-9])")

_STATE_REASON = re.compile(r"(?:last state|state): {0,3}terminated reason: {0,3}([a-z]{1,40})")


def said_of(message: Message) -> Said:
    """The message made ready: a state block in its text stands for reason and exit code that are not given."""
    text = text_of(message.message)
    reason = message.reason[:NAME].strip().lower()
    exit_code = message.exit_code
    if exit_code is None and (found := _EXIT_CODE.search(text.folded)) is not None:
        exit_code = int(found[1])
    if (found := _STATE_REASON.search(text.folded)) is not None and reason in (
        "",
        "error",
        "crashloopbackoff",
        "backoff",
    ):
        reason = found[1]
    return Said(message.object[:NAME].strip().lower(), reason, exit_code, text, message)


def by(rules: tuple[Rule, ...], said: Said, because: str) -> Classification:
    """What an area's rules say; where they say nothing, that is final: no other area's words apply."""
    return first(rules, said.text) or Classification("", why=because)
