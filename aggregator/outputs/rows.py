"""What a receiver is to be told of each finding: the newest state, and whether it knows of it already.

It is made from how findings stand, not from the steps that led there: after a start, or after a receiver was away, what
it believes is compared with what is so, and only what differs is told. Pure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol, cast

from aggregator.findings import Record, material

MOST_ROWS = 10_000
"""Findings that are kept for one receiver."""


@dataclass(frozen=True, slots=True)
class Row:
    """One finding, for one receiver."""

    key: str
    finding: str
    """Its id."""
    payload: Mapping[str, Any]
    """What is sent of it, as JSON has it."""
    digest: str
    """Of what is news when it changes."""
    number: int
    """Rises with each change."""
    over: float | None = None
    """When it resolved, seconds since the epoch; None: it stands."""
    due: bool = True
    """It is to be sent."""
    told: bool = False
    """It was sent once, and may have arrived even where no answer did."""


class Form(Protocol):
    """How one kind of receiver wants to be told."""

    def key(self, payload: Mapping[str, Any]) -> str:
        """Of what is sent: what has another key is another thing to the receiver."""

    def payload(self, record: Record, standing: Mapping[str, Record], before: Row | None) -> dict[str, Any]:
        """What is sent of a finding. `standing`: what its causes are found in. `before`: what was last sent of it."""


class Rows:
    """All rows of one receiver."""

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self.by_key: dict[str, Row] = {}
        self.due: dict[str, None] = {}
        """Keys of those that are to be sent, in the order in which they became so."""
        self._of: dict[str, dict[str, None]] = {}
        for row in rows:
            self.put(row.key, row)

    def of(self, finding: str) -> list[Row]:
        """Those of one finding: one that stands at most, and what of it is over."""
        return [self.by_key[key] for key in self._of.get(finding, ())]

    def findings(self) -> list[str]:
        """Ids of all."""
        return list(self._of)

    def put(self, key: str, row: Row | None) -> None:
        """Keep a row; None: forget it."""
        before = self.by_key.pop(key, None)
        if before is not None:
            keys = self._of[before.finding]
            del keys[key]
            if not keys:
                del self._of[before.finding]
        if row is None or not row.due:
            self.due.pop(key, None)
        else:
            self.due[key] = None
        if row is not None:
            self.by_key[key] = row
            self._of.setdefault(row.finding, {})[key] = None


Changes = dict[str, Row | None]
"""Rows that are new or different, by key; None: the row is gone."""


def take(
    rows: Rows, record: Record, form: Form, standing: Mapping[str, Record], *, least: int, number: int
) -> tuple[Changes, bool]:
    """Take in how a finding stands, or that it is over. Gives what changed, and whether there was room for it.

    `least`: its severity at least, unless the receiver knows of it already: that is followed to its end.
    """
    mine = rows.of(record.finding.id)
    current = _current(mine)
    if record.resolved is not None:
        changes = _end(current, record, form, standing, number)
    elif current is None and record.finding.severity < least:
        changes = {}
    elif current is None and len(rows.by_key) >= MOST_ROWS:
        return {}, False
    else:
        changes = _stand(mine, record, form, standing, number)
    for key, row in changes.items():
        rows.put(key, row)
    return changes, True


def _end(current: Row | None, record: Record, form: Form, standing: Mapping[str, Record], number: int) -> Changes:
    if current is None:
        return {}
    if not current.told:
        return {current.key: None}  # it came and went unseen
    payload = form.payload(record, standing, current)
    return {current.key: replace(current, payload=payload, over=record.resolved, due=True, number=number)}


def _current(mine: list[Row]) -> Row | None:
    return next((row for row in mine if row.over is None), None)


def _stand(mine: list[Row], record: Record, form: Form, standing: Mapping[str, Record], number: int) -> Changes:
    current, digest = _current(mine), news(record)
    if current is not None and current.digest == digest:
        return {}
    payload = form.payload(record, standing, current)
    key = form.key(payload)
    told = any(row.told for row in mine if row.key == key)
    changes: Changes = {key: Row(key, record.finding.id, payload, digest, number, told=told)}
    if current is not None and current.key != key:
        changes[current.key] = (
            replace(current, over=record.last_seen, due=True, number=number) if current.told else None
        )
    return changes


def news(record: Record) -> str:
    """The same for two states of a finding that an operator would not tell apart."""
    parts = [
        repr(sorted(map(repr, part))) if isinstance(part, frozenset) else repr(part)
        for part in cast("tuple[object, ...]", material(record.finding))
    ]
    return hashlib.sha256("\x1f".join([*parts, repr(bool(record.unconfirmed))]).encode()).hexdigest()[:32]
