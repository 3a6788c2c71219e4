"""The objects of a lab by reference ("Pod/db/pg-0"), with uids and versions as an API server would give them."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.lab.shapes import KINDS, Json, merge, uid_of


@dataclass
class Store:
    """What the API server knows now."""

    now: float
    """Seconds since the epoch."""
    objects: dict[str, dict[str, Json]] = field(default_factory=lambda: {kind: {} for kind in KINDS})
    """By kind and key ("namespace/name", or the name)."""
    incarnations: dict[tuple[str, str], int] = field(default_factory=dict)
    version: int = 1000

    def uid(self, kind: str, key: str) -> str:
        """Of the object that has this name now, or would have it."""
        return uid_of(kind, key, self.incarnations.get((kind, key), 0))

    def put(self, kind: str, key: str, made: Json, patch: Mapping[str, Any] | None = None) -> Json:
        """Take an object in; the same name again is the same object, changed."""
        self.version += 7
        merge(made, patch or {})
        made["metadata"]["resourceVersion"] = str(self.version)
        self.objects[kind][key] = made
        return made

    def get(self, kind: str, key: str) -> Json:
        """An object that must be there. Raises KeyError with its reference."""
        if key not in self.objects[kind]:
            raise KeyError(f"{kind}/{key}")
        return self.objects[kind][key]

    def change(self, reference: str, patch: Mapping[str, Any]) -> Json:
        """Merge into an object that is there."""
        kind, _, key = reference.partition("/")
        return self.put(kind, key, self.get(kind, key), patch)

    def delete(self, reference: str) -> Json:
        """Take an object away. The next one of that name has another uid."""
        kind, _, key = reference.partition("/")
        gone = self.get(kind, key)
        del self.objects[kind][key]
        self.incarnations[kind, key] = self.incarnations.get((kind, key), 0) + 1
        self.version += 7
        return gone

    def all(self, kind: str) -> Iterator[Json]:
        """Copies, in the order in which kubectl lists them."""
        for key in sorted(self.objects[kind]):
            yield copy.deepcopy(self.objects[kind][key])
