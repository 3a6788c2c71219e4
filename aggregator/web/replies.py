"""What answers have in common: a tag by which a client need not be sent again what it has, and compression.

Both are of the whole answer, made in this process. Compression of more than a little is done in a thread, once for all
who ask for the same.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field

from aiohttp import ETag, hdrs, web
from aiohttp.typedefs import Handler, Middleware

LEAST = 1_000
"""Shorter answers are not compressed: they fit into one packet."""
AT_ONCE = 32_000
"""Longer ones are compressed in a thread."""
LEVEL = 5
KEPT_BYTES = 4 << 20
"""Compressed answers that are kept."""
_TEXT = ("text/", "application/json", "application/problem+json", "image/svg+xml", "application/openapi+json")


@dataclass(slots=True)
class Packed:
    """Compressed answers, the latest."""

    _kept: OrderedDict[str, bytes] = field(default_factory=OrderedDict)
    _size: int = 0

    async def of(self, tag: str, body: bytes) -> bytes:
        """The body, compressed; `tag`: its own."""
        known = self._kept.get(tag)
        if known is not None:
            self._kept.move_to_end(tag)
            return known
        if len(body) <= AT_ONCE:
            return _packed(body)
        packed = await asyncio.to_thread(_packed, body)
        if tag not in self._kept and len(packed) <= KEPT_BYTES:
            self._kept[tag] = packed
            self._size += len(packed)
            while self._size > KEPT_BYTES:
                self._size -= len(self._kept.popitem(last=False)[1])
        return packed


def _packed(body: bytes) -> bytes:
    return gzip.compress(body, LEVEL, mtime=0)


def tagged() -> Middleware:
    """Tags and compresses whole answers, and leaves out what the client has."""
    packed = Packed()

    @web.middleware
    async def tag(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        if not isinstance(response, web.Response) or not isinstance(response.body, bytes) or response.prepared:
            return response
        body = response.body
        text = response.content_type.startswith(_TEXT)
        if text:
            response.headers[hdrs.VARY] = "Accept-Encoding"
        if response.status == 200:
            name = hashlib.blake2b(body, digest_size=16).hexdigest()
            response.etag = ETag(name, is_weak=True)  # the same text, compressed or not
            if _has(request, name):
                kept = {key: value for key, value in response.headers.items() if key in _WITH_304}
                return web.Response(status=304, headers=kept)
            if text and len(body) >= LEAST and _takes_gzip(request) and hdrs.CONTENT_ENCODING not in response.headers:
                response.body = await packed.of(name, body)
                response.headers[hdrs.CONTENT_ENCODING] = "gzip"
        return response

    return tag


_WITH_304 = {hdrs.ETAG, hdrs.CACHE_CONTROL, hdrs.VARY, hdrs.SET_COOKIE}


def _has(request: web.Request, name: str) -> bool:
    if request.method not in (hdrs.METH_GET, hdrs.METH_HEAD):
        return False
    return any(each.value in (name, "*") for each in request.if_none_match or ())


def _takes_gzip(request: web.Request) -> bool:
    for part in request.headers.get(hdrs.ACCEPT_ENCODING, "").split(","):
        coding, _, quality = part.partition(";")
        if coding.strip().lower() in ("gzip", "*"):
            return quality.replace(" ", "").lower() not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
