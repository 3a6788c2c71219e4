"""A rule: phrases that tell a cause. A table of rules is read from the top, the first that fits decides."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from aggregator.messages.model import Classification
from aggregator.messages.text import Text, find_any


@dataclass(frozen=True, slots=True)
class Rule:
    """One of `phrases` must be there, one of `needs` too where there are any, and none of `unless`.

    How a phrase is written: aggregator/messages/text.py.
    """

    code: str
    """Code of the cause family; empty: this phrase is known and tells no cause."""
    phrases: tuple[str, ...]
    needs: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    """Codes that always fit beside it."""
    why: str = ""
    no_fault: bool = False
    last_resort: bool = False
    """It tells something only where no other rule does: never beside another."""

    def find(self, text: Text) -> tuple[int, int] | None:
        """Where the phrase that decides stands."""
        span = find_any(self.phrases, text)
        if span is None or (self.needs and find_any(self.needs, text) is None):
            return None
        return None if self.unless and find_any(self.unless, text) is not None else span


_NOT_ABLE = (
    "could not",
    "couldn't",
    "couldnt",
    "cannot",
    "can't",
    "can not",
    "failed to",
    "fail to",
    "unable to",
    "not able to",
    "failure to",
)


def not_able(*verbs: str) -> tuple[str, ...]:
    """That something was not possible, in all the ways that programs say it: a phrase for each way and verb."""
    return tuple(f"{way} {verb}" for verb in verbs for way in _NOT_ABLE)


def first(rules: Sequence[Rule], text: Text) -> Classification | None:
    """What the first rule that fits says; the codes of later ones that fit stand beside it."""
    for position, rule in enumerate(rules):
        span = rule.find(text)
        if span is not None:
            after = (each for each in rules[position + 1 :] if each.code and not each.last_resort)
            later = (each.code for each in after if each.find(text) is not None)
            also = beside(rule.code, (*rule.also, *(later if rule.code else ())))
            return Classification(rule.code, also, text.excerpt(*span), rule.no_fault, rule.why)
    return None


def beside(label: str, codes: Iterable[str]) -> tuple[str, ...]:
    """Each code once, in order, without the label itself."""
    return tuple(dict.fromkeys(code for code in codes if code and code != label))
