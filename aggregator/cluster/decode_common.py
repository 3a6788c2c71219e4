"""What the decoders of all kinds of objects have in common: times, amounts, conditions, selectors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TypeVar

from aggregator.cluster import wire
from aggregator.cluster.objects import NOTHING, Amounts, Condition, NodeTerm, Owner, Requirement, Selector
from aggregator.cluster.quantity import QuantityError, amount
from aggregator.cluster.sharing import Sharing

_T = TypeVar("_T")


Path = tuple[str | int, ...]
"""Where a field is: names, and numbers of entries of lists."""


class FieldError(ValueError):
    """A field that cannot be understood: where, and why."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(reason)
        self.path = path


def present(entries: Iterable[_T | None] | None) -> Iterator[_T]:
    """The entries of a list that may be null, and may have nulls in it."""
    return (entry for entry in entries or () if entry is not None)


def seconds(at: datetime | None) -> float:
    """Seconds since the epoch; 0.0 for none, and for Go's zero time. One without an offset is UTC."""
    if at is None:
        return 0.0
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return max(at.timestamp(), 0.0)


def amounts(quantities: wire.Quantities | None, path: Path, share: Sharing) -> Amounts:
    """Amounts by resource. Raises FieldError for what is no quantity."""
    if not quantities:
        return NOTHING
    found = {}
    for name, quantity in quantities.items():
        if quantity is not None:
            try:
                found[name] = amount(name, quantity)
            except QuantityError as error:
                raise FieldError((*path, name), str(error)) from error
    return share.amounts(found)


def conditions(entries: Sequence[wire.Condition | None] | None, share: Sharing) -> tuple[Condition, ...]:
    """status.conditions; entries without a type say nothing."""
    if not entries:
        return ()
    text = share.text
    return tuple(
        Condition(
            text(each.type),
            text(each.status),
            text(each.reason),
            text(each.message),
            seconds(each.last_transition_time),
        )
        for each in entries
        if each is not None and each.type
    )


def texts(entries: Iterable[str | None] | None, share: Sharing) -> tuple[str, ...]:
    """A list of strings."""
    return tuple(share.text(entry) for entry in entries if entry) if entries else ()


def controller(references: Sequence[wire.Owner | None] | None, share: Sharing) -> Owner | None:
    """The controller among the owner references."""
    for each in references or ():
        if each is not None and each.controller and each.uid:
            return share.value(Owner(share.text(each.kind), share.text(each.name), share.text(each.uid)))
    return None


def requirements(entries: Sequence[wire.Expression | None] | None, share: Sharing) -> tuple[Requirement, ...]:
    """Expressions in their order."""
    return tuple(
        Requirement(
            share.text(each.key),
            share.text(each.operator),
            tuple(share.text(value) for value in each.values or () if value is not None),
        )
        for each in present(entries)
        if each.key
    )


def selector(given: wire.Selector | None, share: Sharing) -> Selector | None:
    """A label selector; None selects nothing."""
    if given is None:
        return None
    pairs = tuple(
        Requirement(share.text(key), "In", (share.text(value),))
        for key, value in sorted((given.match_labels or {}).items())
    )
    return Selector(pairs + requirements(given.match_expressions, share))


def node_terms(given: wire.NodeSelector | None, share: Sharing) -> tuple[NodeTerm, ...] | None:
    """Terms of which one must hold; None: nothing is asked for."""
    if given is None:
        return None
    return tuple(
        NodeTerm(requirements(each.match_expressions, share), requirements(each.match_fields, share))
        for each in present(given.node_selector_terms)
    )
