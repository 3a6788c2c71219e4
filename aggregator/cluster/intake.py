"""The live API server's objects into the ClusterState: only what changed is decoded, what is odd is counted and named.

What is listed again is compared by UID and resourceVersion first: after a lost watch nearly all of 150,000 pods are as
they were. An object that cannot be read is a problem until it comes right; what was known of it before stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from aggregator.cluster.decode import DecodeError, Decoder, peek
from aggregator.cluster.events import too_many, wanted
from aggregator.cluster.objects import Event
from aggregator.cluster.resources import WATCHED
from aggregator.cluster.state import ClusterState

LISTS = tuple(each.name for each in WATCHED)
"""The lists that come from a live API server."""
MOST_PROBLEMS = 100
"""Problems of one resource that are named."""


class _Problems:
    """What is odd about one resource's objects now: by key of the object, or by the text where that is unreadable."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._more = 0

    def add(self, key: str, text: str) -> None:
        """An object is odd."""
        if key in self._texts or len(self._texts) < MOST_PROBLEMS:
            self._texts[key] = text
        else:
            self._more += 1

    def heal(self, key: str) -> None:
        """An object is as it should be, or gone."""
        if self._texts:
            self._texts.pop(key, None)

    def copy(self, key: str, others: _Problems) -> None:
        """What was odd about an object still is."""
        if key in others._texts:
            self.add(key, others._texts[key])

    def lines(self) -> list[str]:
        """One line each, and how many more there were."""
        more = [f"{self._more} more objects with something odd in them"] if self._more else []
        return [*self._texts.values(), *more]


class ClusterSink:
    """Takes in what lists and watches bring. Never raises; one owner, as the state has."""

    def __init__(self, state: ClusterState, expected: Iterable[str] = LISTS) -> None:
        """`expected`: the lists that will come. Of "leases/NAMESPACE" leases are known once all of them are there."""
        self._state = state
        self._decoder = Decoder()
        self._expected = frozenset(expected)
        self._listed: set[str] = set()
        self._listings: dict[str, _Listing] = {}
        self._problems: dict[str, _Problems] = {}

    def begin(self, resource: str) -> _Listing:
        """A list of this resource begins. One that was begun before and is not done is given up."""
        listing = _Listing(self, resource)
        self._listings[resource] = listing
        return listing

    def put(self, resource: str, item: msgspec.Raw) -> None:
        """An object is there, as given (ADDED, MODIFIED)."""
        key = self._take(resource, item, self._problems.setdefault(resource, _Problems()))
        if (listing := self._listings.get(resource)) is not None:
            listing.seen.add(key)

    def drop(self, resource: str, item: msgspec.Raw) -> None:
        """An object is gone; as it was last (DELETED)."""
        problems = self._problems.setdefault(resource, _Problems())
        try:
            key = peek(_plural(resource), item).key
        except DecodeError as error:
            problems.add(str(error), f"deleted: {error}")
        else:
            self._state.keep(_plural(resource), key, None)
            problems.heal(key)

    def forget(self, resource: str) -> None:
        """The resource may not be read, or not any more: it is not known, and nothing of it is kept."""
        plural = _plural(resource)
        self._listings.pop(resource, None)
        self._problems.pop(resource, None)
        self._listed.discard(resource)
        self._state.set_known(plural, False)
        if plural == resource:
            self._state.clear(plural)
        else:
            for key in self._keys(resource):
                self._state.keep(plural, key, None)

    def problems(self, resource: str) -> list[str]:
        """What is odd about the objects of a resource at the moment, one line each."""
        found = self._problems.get(resource)
        lines = found.lines() if found is not None else []
        if resource == "events" and self._state.events_dropped:
            lines.append(too_many(self._state.events_dropped))
        return lines

    def _take(self, resource: str, item: msgspec.Raw, problems: _Problems) -> str:
        """Key of the object; empty where it cannot be told."""
        plural, key = _plural(resource), ""
        try:
            key, uid, version = peek(plural, item)
            before = self._state.get(plural, key)
            if before is not None and before.uid == uid and before.version == version and version:
                problems.copy(key, self._problems.get(resource, problems))
                return key
            decoded = self._decoder.decode(plural, item, key)
        except DecodeError as error:
            problems.add(key or str(error), str(error))
            return key
        thing = decoded.thing
        if not isinstance(thing, Event) or wanted(thing):
            self._state.keep(plural, key, thing)
        if decoded.odd:
            problems.add(key, decoded.odd)
        else:
            problems.heal(key)
        return key

    def _done(self, listing: _Listing) -> None:
        resource, plural = listing.resource, _plural(listing.resource)
        if self._listings.get(resource) is not listing:
            return  # another one has begun since
        del self._listings[resource]
        for key in self._keys(resource):
            if key not in listing.seen:
                self._state.keep(plural, key, None)
        self._problems[resource] = listing.problems
        self._listed.add(resource)
        of_this = {each for each in self._expected if _plural(each) == plural}
        self._state.set_known(plural, plural in self._listed or of_this <= self._listed)

    def _keys(self, resource: str) -> list[str]:
        """Keys of the objects that a list of this resource covers."""
        plural, _, namespace = resource.partition("/")
        keys = self._state.keys(plural)
        return [key for key in keys if key.startswith(f"{namespace}/")] if namespace else list(keys)


class _Listing:
    """One list, page by page. What is odd counts from its end."""

    def __init__(self, sink: ClusterSink, resource: str) -> None:
        self._sink = sink
        self.resource = resource
        self.seen: set[str] = set()
        self.problems = _Problems()

    def page(self, items: Sequence[msgspec.Raw]) -> None:
        """These objects are there, as given."""
        take, problems = self._sink._take, self.problems
        self.seen.update([take(self.resource, item, problems) for item in items])

    def done(self) -> None:
        """That was all: what was not listed is gone, and the resource is known completely from now on."""
        self._sink._done(self)


def _plural(resource: str) -> str:
    """The resource of a list of one namespace ("leases/kube-system")."""
    return resource.partition("/")[0]
