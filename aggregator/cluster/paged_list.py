"""A list of the API server, page by page, each handed on before the next one is asked for.

No resourceVersion is asked for, although "0" would be answered from the server's memory: with "0" older servers ignore
the limit, and 150,000 pods would come as one body of a gigabyte. It is a read from etcd, or in newer servers from a
cache that is proven to be up to date; it happens once when we start, and again only after a watch has lost its place.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

import msgspec

from aggregator.cluster.answers import ApiError, Cause
from aggregator.cluster.client import ApiClient
from aggregator.cluster.pace import Backoff, Pace
from aggregator.cluster.sink import Listing

_BATCH = 50
"""Objects that are handed on without letting others have the event loop."""
_TRIES = 6
"""Of one page, before the list is given up and later begun anew."""
_FRESH_TOKENS = 3
"""How often a list that took too long is continued where the server says it can be."""
_AGAIN = frozenset({Cause.UNREACHABLE, Cause.BUSY, Cause.FAILED, Cause.ODD})


@dataclass(slots=True)
class Counters:
    """What reading one resource has come to, since the start."""

    lists: int = 0
    watches: int = 0
    events: int = 0
    """Bookmarks not counted."""
    repeated: int = 0
    """Events that had been seen already."""
    odd: int = 0
    """Answers and events that were not what they should be."""
    failures: int = 0
    """Requests without success, and watches that broke."""
    bytes: int = 0


class _Metadata(msgspec.Struct):
    version: str = msgspec.field(name="resourceVersion", default="")
    token: str = msgspec.field(name="continue", default="")


class _List(msgspec.Struct):
    metadata: _Metadata
    items: list[msgspec.Raw] | None
    """null where it is empty, as some servers write it."""
    kind: str = ""


class _TooLargeError(Exception):
    """A page is larger than it may be."""


_decoder = msgspec.json.Decoder(_List)


class PagedList:
    """Reads one list, as often as is needed."""

    def __init__(
        self,
        api: ApiClient,
        path: str,
        *,
        accept: str,
        metadata_only: bool,
        limit: int,
        pace: Pace,
        counters: Counters,
        chance: random.Random,
    ) -> None:
        self._api, self._path, self._limit, self._pace = api, path, limit, pace
        self._accept, self._metadata_only = accept, metadata_only
        self._counters, self._chance = counters, chance

    async def read(self, listing: Listing) -> str:
        """Hand all pages on; returns the resourceVersion that a watch goes on from. Raises ApiError.

        A list that took longer than etcd keeps its past is continued with the token that the server offers. Its pages
        are then of different times; a watch from the time of the first one tells what changed since, or that it can't.
        """
        self._counters.lists += 1
        version = token = ""
        fresh = 0
        while True:
            try:
                page = await self._page(token)
            except ApiError as error:
                if error.cause is Cause.EXPIRED and token and error.token and fresh < _FRESH_TOKENS:
                    token, fresh = error.token, fresh + 1
                    continue
                raise
            version = version or page.metadata.version
            items = page.items or []
            for start in range(0, len(items), _BATCH):
                listing.page(items[start : start + _BATCH])
                await asyncio.sleep(0)
            if not page.metadata.token:
                break
            if page.metadata.token == token:
                raise ApiError(Cause.ODD, "a list that is continued at the same place")
            token = page.metadata.token
        listing.done()
        return version

    async def newest_version(self) -> str:
        """The resourceVersion that the server is at. Raises ApiError."""
        page, _ = await self._fetch({"limit": "1"})
        return page.metadata.version

    async def _page(self, token: str) -> _List:
        """One page, tried again where a moment may mend it: at the three-hundredth it would be a pity."""
        backoff = Backoff(self._pace, self._chance)
        tries = _TRIES if token else 1
        while True:
            asked = {"limit": str(self._limit)} | ({"continue": token} if token else {})
            try:
                page, size = await self._fetch(asked)
            except _TooLargeError:
                if self._limit == 1:
                    raise ApiError(Cause.ODD, f"an object of more than {self._pace.page_bytes:,} bytes") from None
                self._limit = max(1, self._limit // 4)
            except ApiError as error:
                tries -= 1
                if not tries or error.cause not in _AGAIN:
                    raise
                self._counters.failures += 1
                await asyncio.sleep(backoff.next(error.retry_after_s))
            else:
                self._counters.bytes += size
                return page

    async def _fetch(self, parameters: dict[str, str]) -> tuple[_List, int]:
        """One page, and how many bytes it was."""
        body = bytearray()  # grown as it comes: joining five megabytes at the end would take as long as reading them
        async with self._api.get(self._path, parameters, accept=self._accept) as answer:
            async for chunk in answer.aiter_bytes():
                body += chunk
                if len(body) > self._pace.page_bytes:
                    raise _TooLargeError
        try:
            page = _decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ApiError(Cause.ODD, f"the answer is no list: {' '.join(str(error).split())[:100]}") from error
        if not page.kind.endswith("List"):
            raise ApiError(Cause.ODD, f'the answer is no list, but a "{page.kind[:40]}"')
        if self._metadata_only and page.kind != "PartialObjectMetadataList":
            raise ApiError(
                Cause.ODD, f'metadata was asked for, and the answer is a "{page.kind[:40]}": it is not taken'
            )
        if not page.metadata.version:
            raise ApiError(Cause.ODD, "a list without a resourceVersion")
        return page, len(body)
