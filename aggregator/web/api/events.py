"""Findings as they change, as server-sent events: for the page, and for scripts that follow.

What changed lately is kept once, made into text once, for the first who is told of it, and every client has its place
in that: a client that is slow costs nothing but its connection, and one that has lost its connection goes on where it
was.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field

import grpc
import msgspec
from aiohttp import web

from aggregator.convert import iso_time, record_to_json
from aggregator.findings import Record, Transition
from aggregator.known import Known
from aggregator.limits import OPERATOR
from aggregator.slices import gently
from aggregator.trust.caller import RefusedError
from aggregator.trust.closed import RECHECK_S
from aggregator.web.api.parameters import choice
from aggregator.web.keys import CALLER, EVENTS, KNOWN, LOGIN
from aggregator.web.who import admitted

QUIET_S = 15.0
"""After so long without an event, a comment says that the connection stands."""
TAKE_S = 20.0
"""A client that does not take what is sent for so long is let go."""
RETRY_MS = 3_000
"""A browser that lost its connection comes again after so long."""
_ID = re.compile(r"([0-9a-f]{8})-([0-9]{1,15})")
NO, YES = "no", "yes"
STANDING = choice(
    "standing",
    (YES, NO),
    "Begin with what stands (events `standing`, then `synced`); no: with what changes from now on.",
    many=False,
)


@dataclass(slots=True)
class _Change:
    """One of them."""

    transition: Transition
    id: str
    _text: bytes = b""

    @property
    def text(self) -> bytes:
        """As it is sent."""
        if not self._text:
            kind = self.transition.kind.value
            self._text = event(kind, self.id, self.transition.record, self.transition.at)
        return self._text


def event(kind: str, which: str, record: Record, at: float) -> bytes:
    """An event, as it is sent."""
    body = msgspec.json.encode({"at": iso_time(at), "finding": record_to_json(record)})
    return b"event: %s\nid: %s\ndata: %s\n\n" % (kind.encode(), which.encode(), body)


@dataclass(slots=True)
class Feed:
    """What changed lately, and those who are told of it."""

    known: Known
    most: int = OPERATOR.watch_queue
    name: str = field(default_factory=lambda: secrets.token_hex(4))
    """Of this process: ids of another's events mean nothing here."""
    count: int = 0
    """Changes since the start."""
    over: bool = False
    _changes: deque[_Change] = field(default_factory=deque)
    """The latest ones; the last one's number is `count`."""
    _waiting: set[asyncio.Event] = field(default_factory=set)

    def listen(self) -> None:
        """Begin."""
        self.known.listeners.append(self._tell)

    def close(self) -> None:
        """Tell nobody any more."""
        self.over = True
        with contextlib.suppress(ValueError):
            self.known.listeners.remove(self._tell)
        self._wake()

    def _tell(self, transition: Transition) -> None:
        self.count += 1
        self._changes.append(_Change(transition, self.id_of(self.count)))
        if len(self._changes) > self.most:
            self._changes.popleft()
        self._wake()

    def _wake(self) -> None:
        for each in self._waiting:
            each.set()

    def id_of(self, number: int) -> str:
        """Of a change."""
        return f"{self.name}-{number}"

    def place_of(self, last_id: str) -> int | None:
        """Number of the change that a client has heard last; None: what came after it is not all at hand."""
        match = _ID.fullmatch(last_id)
        if match is None or match[1] != self.name:
            return None
        number = int(match[2])
        return number if self.count - len(self._changes) <= number <= self.count else None

    def after(self, number: int) -> list[_Change] | None:
        """Changes behind that one; None: not all are at hand any more."""
        missing = self.count - number
        if missing > len(self._changes):
            return None
        return [self._changes[index] for index in range(len(self._changes) - missing, len(self._changes))]

    @contextlib.asynccontextmanager
    async def bell(self) -> AsyncIterator[asyncio.Event]:
        """Rings whenever something changed."""
        bell = asyncio.Event()
        self._waiting.add(bell)
        try:
            yield bell
        finally:
            self._waiting.discard(bell)


FEED: web.AppKey[Feed] = web.AppKey("feed", Feed)


async def events(request: web.Request) -> web.StreamResponse:
    """Until the client goes, is too slow, or may not look any more."""
    feed, wants = request.app[FEED], (STANDING.of(request) or [YES])[0]
    with request.app[EVENTS].place(request.remote):
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
        response.headers["Cache-Control"] = "no-store"
        place = feed.place_of(request.headers.get("Last-Event-ID", ""))
        standing = request.app[KNOWN].standing() if place is None and wants == YES else []
        place = feed.count if place is None else place
        await response.prepare(request)
        with contextlib.suppress(ConnectionError, TimeoutError):
            await _send(response, b"retry: %d\n\n" % RETRY_MS)
            if request.method == "HEAD":
                return response
            await _begin(response, feed, standing, place)
            await _follow(request, response, feed, place)
        return response


async def _begin(response: web.StreamResponse, feed: Feed, standing: Iterable[Record], place: int) -> None:
    """What stood when the client came, and the place from which it is told more."""
    now = feed.known.now()
    async for record in gently(standing):
        await _send(response, event("standing", feed.id_of(place), record, now))
    body = msgspec.json.encode({"at": iso_time(now)})
    await _send(response, b"event: synced\nid: %s\ndata: %s\n\n" % (feed.id_of(place).encode(), body))


async def _follow(request: web.Request, response: web.StreamResponse, feed: Feed, place: int) -> None:
    loop = asyncio.get_running_loop()
    asked_at = loop.time()
    async with feed.bell() as bell:
        while not feed.over:
            bell.clear()
            changes = feed.after(place)
            if changes is None:
                reason = f"more than {feed.most:,} changes waited for this client"
                await _send(response, b"event: missed\ndata: %s\n\n" % msgspec.json.encode({"reason": reason}))
                return
            if changes:
                place += len(changes)
                await _send(response, await _texts(changes))
                continue
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(bell.wait(), QUIET_S)
            if loop.time() - asked_at >= RECHECK_S:
                asked_at = loop.time()
                if not await _still(request):
                    return
            if not bell.is_set():
                await _send(response, b": nothing has changed\n\n")


async def _still(request: web.Request) -> bool:
    """Whoever was let in still would be: a token may have been taken out of the file, a session may be over."""
    login = request.app[LOGIN]
    if login is None:
        return True
    until = request[CALLER].until
    if until is not None and login.operators.monotonic() >= until:
        return False  # a certificate has to be shown anew
    try:
        await admitted(login, request)
    except RefusedError as refused:
        return refused.code is grpc.StatusCode.UNAVAILABLE  # the API server is away: what it said last goes on
    return True


async def _texts(changes: Iterable[_Change]) -> bytes:
    """All of them, made in pieces."""
    return b"".join([change.text async for change in gently(changes)])


async def _send(response: web.StreamResponse, text: bytes) -> None:
    async with asyncio.timeout(TAKE_S):
        await response.write(text)


def follow(app: web.Application, known: Known, register: Callable[[Feed], None] | None = None) -> Feed:
    """Have the application tell of changes while it runs."""
    feed = app[FEED] = Feed(known)
    if register is not None:
        register(feed)

    async def begin(_app: web.Application) -> None:
        feed.listen()

    async def end(_app: web.Application) -> None:
        feed.close()

    app.on_startup.append(begin)
    app.on_shutdown.append(end)
    return feed
