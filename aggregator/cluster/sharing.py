"""One copy of what repeats in a cluster's objects: names, reasons, images, label sets, templates.

A table of shared things must not outlive their use. Strings and mappings cannot be referred to weakly, so a table that
has doubled drops the entries that nothing else refers to: reference counts tell. Sweeping 130,000 of them at once would
take 80 ms; each addition does a little of it.
"""

from __future__ import annotations

import sys
from collections.abc import Hashable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

if TYPE_CHECKING:
    from aggregator.cluster.objects import PodSpec

_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V")
_H = TypeVar("_H", bound=Hashable)

_SMALL = 4096
"""Entries below which a table is not swept."""
_AT_A_TIME = 4
"""Entries that are swept for each that is added."""
_NOTHING: Mapping[str, str] = {}
_NO_AMOUNTS: Mapping[str, int] = {}


class Table(Generic[_K, _V]):
    """Shared values by key. It is swept little by little, so that no addition takes long."""

    def __init__(self) -> None:
        self._values: dict[_K, _V] = {}
        self._unswept: dict[_K, _V] = {}
        self._limit = _SMALL

    def __len__(self) -> int:
        return len(self._values) + len(self._unswept)

    def get(self, key: _K) -> _V | None:
        """The shared value, if there is one."""
        found = self._values.get(key)
        if found is None and self._unswept:
            found = self._unswept.pop(key, None)
            if found is not None:
                self._values[key] = found
        return found

    def add(self, key: _K, value: _V) -> _V:
        """Share this value under the key."""
        if self._unswept:
            self._sweep(_AT_A_TIME)
        elif len(self._values) >= self._limit:
            self._values, self._unswept = {}, self._values
        self._values[key] = value
        return value

    def sweep(self) -> None:
        """Drop all that this table alone refers to."""
        self._sweep(len(self._unswept))
        self._values, self._unswept = {}, self._values
        self._sweep(len(self._unswept))

    def _sweep(self, most: int) -> None:
        for key, value, users in islice(_users(self._unswept), most):
            if users > (_ALONE_AS_KEY if key is value else _ALONE):
                self._values.setdefault(key, value)
        if not self._unswept:
            self._limit = max(_SMALL, 2 * len(self._values))


def _users(values: dict[_K, _V]) -> Iterator[tuple[_K, _V, int]]:
    """Empties the table: with each entry its reference count outside of it."""
    while values:
        key, value = values.popitem()
        yield key, value, sys.getrefcount(value)


def _itself() -> dict[object, object]:
    thing = object()
    return {thing: thing}


_ALONE = next(_users({0: object()}))[2]
"""The reference count of a value that only the sweep itself refers to."""
_ALONE_AS_KEY = next(_users(_itself()))[2]
"""The same of one that is its own key."""


class Sharing:
    """The tables of one decoder."""

    def __init__(self) -> None:
        self.templates: Table[bytes, PodSpec] = Table()
        """By digest of the wire form."""
        self._texts: Table[str, str] = Table()
        self._things: Table[Hashable, Hashable] = Table()
        self._mappings: Table[int, Mapping[str, str]] = Table()
        self._amounts: Table[int, Mapping[str, int]] = Table()

    def __len__(self) -> int:
        return sum(map(len, self._tables()))

    def text(self, text: str | None) -> str:
        """The shared string of this value; empty for None."""
        if not text:
            return ""
        return self._texts.get(text) or self._texts.add(text, text)

    def value(self, thing: _H) -> _H:
        """The shared one of equal things (of one type)."""
        found = self._things.get(thing)
        return cast("_H", found) if found is not None else cast("_H", self._things.add(thing, thing))

    def mapping(self, mapping: Mapping[str, str | None] | None) -> Mapping[str, str]:
        """The shared mapping with these entries; nulls are empty strings."""
        if not mapping:
            return _NOTHING
        key = hash(tuple(mapping.items()))
        found = self._mappings.get(key)
        if found is not None and found == mapping:
            return found
        text = self.text
        return self._mappings.add(key, {text(name): text(value) for name, value in mapping.items()})

    def amounts(self, amounts: Mapping[str, int]) -> Mapping[str, int]:
        """The shared amounts with these entries."""
        if not amounts:
            return _NO_AMOUNTS
        key = hash(tuple(amounts.items()))
        found = self._amounts.get(key)
        if found is not None and found == amounts:
            return found
        text = self.text
        return self._amounts.add(key, {text(name): amount for name, amount in amounts.items()})

    def sweep(self) -> None:
        """Drop whatever nobody uses any more; what uses others first."""
        for table in self._tables():
            table.sweep()

    def _tables(self) -> tuple[Table[Any, Any], ...]:
        return self.templates, self._amounts, self._mappings, self._things, self._texts
