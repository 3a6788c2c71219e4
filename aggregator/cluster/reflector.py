"""One resource of the API server, followed for ever: listed, then watched from where the list was.

A watch that ends is taken up where it was; only one that has lost its place (410, versions that went back) costs a list
again. Nothing that the server does ends the loop, and nothing makes it a tight one.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import msgspec
from nodetell.logs import event

from aggregator.cluster.answers import ApiError, Cause
from aggregator.cluster.client import ApiClient
from aggregator.cluster.lines import LineSplitter, LineTooLongError
from aggregator.cluster.pace import Backoff, Pace
from aggregator.cluster.paged_list import Counters, PagedList
from aggregator.cluster.resources import Resource
from aggregator.cluster.sink import Sink
from aggregator.cluster.watch_event import CHANGES, order, parse

_log = logging.getLogger("nodetell.aggregator")

_LASTED_S = 10.0
"""A watch that lasted so long worked, even if it had nothing to say."""
_CALLED_BACK = frozenset({Cause.UNREACHABLE, Cause.UNAUTHORIZED, Cause.CREDENTIALS, Cause.FAILED})
"""Failures that probably are over for all when they are for one."""


class State(StrEnum):
    """How well a resource is known."""

    WAITING = "waiting"
    """Not listed yet."""
    CURRENT = "current"
    STALE = "stale"
    """Known as it was at some time."""
    DENIED = "denied"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Standing:
    """How well one resource is known, and why not better."""

    resource: Resource
    state: State
    since: float | None
    """When what is known may have begun to be out of date, seconds since the epoch; only where it is stale."""
    problem: str
    """What went wrong last; empty: nothing, or it is over."""
    counters: Counters


class Reflector:
    """Follows one resource. `lists` is held while it is listed: it bounds how many are at a time."""

    def __init__(
        self,
        resource: Resource,
        api: ApiClient,
        sink: Sink,
        lists: asyncio.Semaphore,
        *,
        limit: int,
        pace: Pace,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        chance: random.Random,
    ) -> None:
        self.resource = resource
        self.counters = Counters()
        self._api, self._sink, self._lists, self._pace = api, sink, lists, pace
        self._clock, self._monotonic, self._chance = clock, monotonic, chance
        self._path = next(resource.paths())
        self._list = PagedList(
            api,
            self._path,
            accept=resource.accept,
            metadata_only=resource.metadata_only,
            limit=limit,
            pace=pace,
            counters=self.counters,
            chance=chance,
        )
        self._backoff = Backoff(pace, chance)
        self._version = ""
        """Where a watch goes on; empty: a list is needed."""
        self._listed = False
        self._refused = State.CURRENT
        """DENIED or ABSENT while it is."""
        self._refusals = 0
        """In a row."""
        self._lost_at: float | None = None
        self._opened: float | None = None
        """When the watch was opened that is open, by the monotonic clock."""
        self._heard = 0.0
        """When something last came, seconds since the epoch."""
        self._silent_since: float | None = None
        """A watch fell silent then; if it cannot be taken up, it was lost then."""
        self._moves = 0
        """Of the connection, when the list was begun."""
        self._doubtful = False
        """The connection broke: the server may come back with an older etcd."""
        self._marked = False
        """It has bookmarks."""
        self._odd = 0
        """In a row, without anything good between them."""
        self._compared = False
        """The version of this watch has been compared with the server's."""
        self._problem = ""
        self._told = ""

    def standing(self) -> Standing:
        """How well the resource is known now."""
        self._settle()
        state = self._refused
        if state is State.CURRENT:
            state = State.WAITING if not self._listed else State.STALE if self._lost_at is not None else State.CURRENT
        since = self._lost_at if state is State.STALE else None
        return Standing(self.resource, state, since, self._problem, self.counters)

    async def run(self) -> None:
        """Follow it until cancelled."""
        while True:
            try:
                called_back = False
                delay = await self._turn()
            except ApiError as error:
                delay = self._failed(error)
                called_back = error.cause in _CALLED_BACK and error.retry_after_s is None
            except Exception as error:  # noqa: BLE001  # a fault of ours in one resource must not end the others
                self._version = ""
                delay = self._failed(ApiError(Cause.ODD, f"{type(error).__name__}: {error}"))
                _log.debug("event=kube_watch_failed resource=%s", self.resource.name, exc_info=True)
            if not called_back:
                await asyncio.sleep(delay)
            elif await self._api.wait_for_return(delay):
                await asyncio.sleep(self._chance.uniform(0.0, self._pace.recall_s))

    async def _turn(self) -> float:
        """List if needed, then watch until that ends; returns how long to wait before the next. Raises ApiError."""
        if not self._version:
            async with self._lists:
                self._moves = self._api.moves
                self._version = await self._list.read(self._sink.begin(self.resource.name))
            self._listed, self._doubtful = True, False
            self._lost_at = self._silent_since = None
        elif self._doubtful and self._listed:
            await self._compare()
            self._doubtful = False
        began, version = self._monotonic(), self._version
        self._compared = worked = False
        try:
            await self._watch()
        except ApiError as error:
            if not error.silent or self._opened is None:
                raise
            self._settle()
            self._opened = None
            # Silence alone is no loss: it is one if the watch cannot be taken up again.
            self._silent_since, self._doubtful = self._silent_since or self._heard, True
            return 0.0
        finally:
            self._settle()
            self._opened = None
            worked = self._version != version or self._monotonic() - began >= _LASTED_S
            if worked:
                self._backoff.reset()
                self._odd = 0
        if not self._version:
            return 0.0
        self._lost_at = self._lost_at or self._clock()
        return self._chance.uniform(0.0, self._pace.first_retry_s / 5) if worked else self._backoff.next()

    async def _watch(self) -> None:
        """Hand events on until the watch ends. Raises ApiError."""
        pace = self._pace
        asked = {
            "watch": "1",
            "resourceVersion": self._version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(max(1, round(self._chance.uniform(*pace.watch_s)))),
        }
        self.counters.watches += 1
        splitter = LineSplitter(pace.line_bytes)
        silent_s = pace.silent_s if self._marked else pace.silent_unmarked_s
        async with self._api.get(self._path, asked, accept=self.resource.accept_events, silent_s=silent_s) as answer:
            self._allowed()
            if not self._listed or self._api.moves != self._moves:
                self._version = ""  # it was forgotten while it was denied, or is another server's
                return
            self._opened, self._heard = self._monotonic(), self._clock()
            async for chunk in answer.aiter_bytes():
                self._heard = self._clock()
                self.counters.bytes += len(chunk)
                try:
                    lines = splitter.feed(chunk)
                except LineTooLongError as error:
                    raise ApiError(Cause.ODD, f"an event that is too long: {error}") from error
                await self._take(lines)

    async def _take(self, lines: Sequence[bytes]) -> None:
        held = self._monotonic()
        for line in lines:
            if self._event(line) and not self._compared:
                self._compared = True
                await self._compare()
            if self._monotonic() - held > self._pace.hold_s:
                await asyncio.sleep(0)
                held = self._monotonic()

    def _event(self, line: bytes) -> bool:
        """Hand one event on; True if its version is lower than it could be. Raises ApiError."""
        came = parse(line)
        newer = order(came.version, self._version)
        if came.type == "BOOKMARK":
            self._marked = True
            if newer > 0:
                self._version = came.version
            return False
        if came.type not in CHANGES:
            self.counters.odd += 1
            self._tell("event_odd", f'an event of type "{came.type[:40]}"')
            return False
        self.counters.events += 1
        if newer <= 0:  # seen already: what came since is newer than this
            self.counters.repeated += 1
            return newer < 0
        self._hand_on(self._sink.drop if came.type == "DELETED" else self._sink.put, came.item)
        self._version = came.version or self._version
        return False

    def _hand_on(self, take: Callable[[str, msgspec.Raw], None], item: msgspec.Raw) -> None:
        try:
            take(self.resource.name, item)
        except Exception as error:  # noqa: BLE001  # one object that cannot be taken must not cost the others
            self.counters.odd += 1
            self._tell("object_failed", f"{type(error).__name__}: {error}")

    async def _compare(self) -> None:
        """Raise ApiError if the server is at a lower version than we are: its etcd was restored, and a watch from our
        version would say nothing until it got there again."""
        newest = await self._list.newest_version()
        if order(newest, self._version) < 0:
            raise ApiError(Cause.AHEAD, f"versions went back from {self._version} to {newest}")

    def _failed(self, error: ApiError) -> float:
        """Take note of it; returns seconds until the next attempt."""
        self.counters.failures += 1
        self._problem = str(error)
        if error.cause in (Cause.DENIED, Cause.ABSENT):
            return self._turned_away(error)
        if self._listed:
            self._lost_at = self._lost_at or self._silent_since or self._clock()
        if error.cause in (Cause.EXPIRED, Cause.INVALID, Cause.AHEAD):
            self._version = ""
        elif error.cause is Cause.ODD:
            self.counters.odd += 1
            self._odd += 1
            if self._odd > 1:  # taken up where it was, it was no better
                self._version = ""
        elif error.cause in (Cause.UNREACHABLE, Cause.FAILED):
            self._doubtful = True
        if error.cause is Cause.ODD:
            self._tell("answer_odd", self._problem)
        return self._backoff.next(error.retry_after_s)

    def _turned_away(self, error: ApiError) -> float:
        """It may not be read, or is not there. What was held is forgotten, once that is certain."""
        self._refusals += 1
        if self._listed and self._refusals == 1:
            self._lost_at = self._lost_at or self._clock()
            return self._pace.denied_check_s
        state = State.DENIED if error.cause is Cause.DENIED else State.ABSENT
        if self._listed or self._refused is not state:
            self._sink.forget(self.resource.name)
        if self._refused is not state:
            self._refused = state
            rule = self.resource.rule("list", "watch") if state is State.DENIED else None
            event(_log, logging.WARNING, f"kube_{state}", resource=self.resource.name, reason=error, rule=rule)
        self._listed, self._lost_at = False, None
        wait_s = self._pace.denied_s if state is State.DENIED else self._pace.absent_s
        return wait_s * self._chance.uniform(0.8, 1.2)

    def _allowed(self) -> None:
        """It may be watched."""
        self._refusals = 0
        if self._refused is not State.CURRENT:
            self._refused = State.CURRENT
            event(_log, logging.INFO, "kube_readable", resource=self.resource.name)

    def _settle(self) -> None:
        """A watch that has been open for a moment is current."""
        if self._opened is not None and self._monotonic() - self._opened >= self._pace.settled_s:
            self._lost_at = self._silent_since = None
            self._problem = self._told = ""

    def _tell(self, what: str, reason: str) -> None:
        """Log it, but not again and again."""
        if self._told != what:
            self._told = what
            event(_log, logging.WARNING, f"kube_{what}", resource=self.resource.name, reason=reason)
