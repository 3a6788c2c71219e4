"""Where the API server's objects go: what reads them knows no more of what becomes of them than this."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec


class Listing(Protocol):
    """What becomes of a list."""

    def page(self, items: Sequence[msgspec.Raw]) -> None:
        """These objects are there, as given."""
        ...

    def done(self) -> None:
        """That was all: what was not listed is gone, and the resource is known completely from now on."""
        ...


class Sink(Protocol):
    """What becomes of the objects of all resources. It takes odd ones as well as good ones, and never raises."""

    def begin(self, resource: str) -> Listing:
        """A list of this resource begins. One that was begun before and is not done is given up."""
        ...

    def put(self, resource: str, item: msgspec.Raw) -> None:
        """An object is there, as given (ADDED, MODIFIED)."""
        ...

    def drop(self, resource: str, item: msgspec.Raw) -> None:
        """An object is gone; as it was last (DELETED)."""
        ...

    def forget(self, resource: str) -> None:
        """The resource may not be read, or not any more: it is not known."""
        ...
