"""A sink that holds names and versions only, to compare with what is true."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec


class Held:
    """Versions by name, by resource; what a sink of objects amounts to."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, str]] = {}
        self.complete: set[str] = set()
        """Resources that are known."""
        self.forgotten: list[str] = []
        self.items = 0

    def begin(self, resource: str) -> _Listing:
        return _Listing(self, resource)

    def put(self, resource: str, item: msgspec.Raw) -> None:
        self.items += 1
        name, version = self.key(item)
        self.objects.setdefault(resource, {})[name] = version

    def drop(self, resource: str, item: msgspec.Raw) -> None:
        self.objects.setdefault(resource, {}).pop(self.key(item)[0], None)

    def forget(self, resource: str) -> None:
        self.forgotten.append(resource)
        self.objects.pop(resource, None)
        self.complete.discard(resource)

    @staticmethod
    def key(item: msgspec.Raw) -> tuple[str, str]:
        """Namespace and name, and version."""
        metadata: dict[str, Any] = json.loads(bytes(item))["metadata"]
        return "/".join(filter(None, (metadata.get("namespace"), metadata["name"]))), metadata["resourceVersion"]


class _Listing:
    def __init__(self, held: Held, resource: str) -> None:
        self._held, self._resource = held, resource
        self._names: set[str] = set()

    def page(self, items: Sequence[msgspec.Raw]) -> None:
        for item in items:
            self._held.put(self._resource, item)
            self._names.add(self._held.key(item)[0])

    def done(self) -> None:
        known = self._held.objects.setdefault(self._resource, {})
        for name in known.keys() - self._names:
            del known[name]
        self._held.complete.add(self._resource)
