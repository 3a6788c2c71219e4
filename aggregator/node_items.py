"""A host's items as updates come in, within limits: what is over one is left out, and what was good stays."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import islice

from nodetell.v1 import agent_pb2, facts_pb2

from aggregator.limits import NodeLimits


class UpdateError(Exception):
    """An update that does not fit what came before it, or is not sane. The reason is one line."""


@dataclass(slots=True)
class Items:
    """Items by key, and what they come to."""

    items: dict[str, facts_pb2.Item] = field(default_factory=dict)
    size: int = 0
    """As they travel, bytes."""
    of_kind: Counter[str] = field(default_factory=Counter)
    """How many of each kind."""

    def copy(self) -> Items:
        """The same items, to be changed apart from these."""
        return Items(dict(self.items), self.size, self.of_kind.copy())

    def take(self, update: agent_pb2.Update, at_most: NodeLimits, left_out: Counter[str]) -> None:
        """Take in an update's items, and count in `left_out` which limits kept how many out. Raises UpdateError.

        An item that has grown too long goes: what it said before is not true any more. What is left out is taken out of
        the update, too, so that nobody after this one has to do with it.
        """
        for key in update.removed_items:
            self._remove(key)
        looked_at = at_most.facts + at_most.interfaces  # too many of one kind keep no other out
        left_out["facts"] += max(0, len(update.items) - looked_at)
        taken, gone = [], list[str]()
        for item in islice(update.items, looked_at):
            if not item.key:
                raise UpdateError("an item has no key")
            known = self._remove(item.key)
            kind = _kind(item)
            if not kind:
                gone += [item.key] if known else []
                continue
            size = item.ByteSize()
            if limit := self._over(item.key, kind, size, at_most):
                left_out[limit] += 1
                gone += [item.key] if known else []
                continue
            own = facts_pb2.Item()  # a reference into the update would keep all of it in memory
            own.CopyFrom(item)
            taken.append(own)
            self.items[item.key] = own
            self.size += size
            self.of_kind[kind] += 1
        if left_out.total():
            del update.items[:]
            update.items.extend(taken)
            update.removed_items.extend(gone)

    def _remove(self, key: str) -> bool:
        """Take an item out; whether it was there."""
        gone = self.items.pop(key, None)
        if gone is not None:
            self.size -= gone.ByteSize()
            self.of_kind[_kind(gone)] -= 1
        return gone is not None

    def _over(self, key: str, kind: str, size: int, at_most: NodeLimits) -> str:
        """Name of the limit that keeps an item out; empty: it is taken."""
        if len(key) > at_most.name_bytes:
            return "name_bytes"
        if size > at_most.fact_bytes:
            return "fact_bytes"
        limit = at_most.fact_limit(kind)
        if self.of_kind[kind] >= at_most.at_most(limit):
            return limit
        if len(self.items) >= at_most.facts:
            return "facts"
        return "facts_bytes" if self.size + size > at_most.facts_bytes else ""


def _kind(item: facts_pb2.Item) -> str:
    """Field of Item.fact, or "tunnel", of which there is a limit of its own; empty: none that this software knows."""
    kind = item.WhichOneof("fact") or ""
    return "tunnel" if kind == "link" and item.link.HasField("tunnel") else kind
