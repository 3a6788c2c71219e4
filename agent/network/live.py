"""The interfaces of this process's network namespace, by rtnetlink: read once, then kept current by its events."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from socket import AF_INET, AF_INET6

from nodetell.v1 import facts_pb2 as pb

from agent.host import Failure, Inventory, ReadError
from agent.netlink import addresses, links, routes, stats, wire
from agent.netlink.connection import DumpConnection, EventConnection
from agent.netlink.wire import Batch, DecodeError, Problem
from agent.network import dumped
from agent.network.link_table import LinkTable

MAX_ROUTES = 20_000
"""Routes held in memory. Of a larger table (a router with the Internet's) only default routes are kept beyond it."""
_ROUTE_DUMP_SHARE = 50
"""Routes are dumped again when they change, but then not before so many times the CPU time of that dump have passed."""
_RETRY_S = 1.0
"""A dump that failed, or that changes interrupted every time, is not tried again before."""
_CLOSE_PATIENCE_S = 1.0


@dataclass(slots=True)
class _Reload:
    """Whether something is to be dumped again, and when."""

    stale: bool = True
    due: float = 0.0
    """time.monotonic() before which it is not, stale as it may be."""

    def is_due(self, now: float) -> bool:
        return self.stale and now >= self.due

    def at_once(self) -> None:
        self.stale, self.due = True, 0.0

    def done(self, *, whole: bool, pause_s: float = 0.0) -> None:
        self.stale = not whole
        self.due = time.monotonic() + (pause_s if whole else max(pause_s, _RETRY_S))


class NetlinkNetwork:
    """agent.host.Network of this network namespace. Raises ReadError where rtnetlink cannot be had at all.

    Links and addresses are taken from events. Routes are dumped again after an event, for events do not tell all.
    """

    def __init__(self, *, on_bus: Callable[[str], bool] | None = None, receive_buffer: int = 4 << 20) -> None:
        """`on_bus` tells by name whether a link is hardware, for kernels before 5.14, whose rtnetlink does not.

        `receive_buffer` is room for events in bytes; what does not fit is made up for by a dump.
        """
        self._lock = threading.Lock()
        self._closed = False
        with contextlib.ExitStack() as undo:
            try:
                self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
                undo.callback(os.close, self._wake)
                self._events = EventConnection(receive_buffer=receive_buffer)
                undo.callback(self._events.close)
                self._dumps = DumpConnection()
                undo.callback(self._dumps.close)
            except OSError as error:
                raise _read_error("rtnetlink", error) from error
            self._release = undo.pop_all()
        self._poll = select.poll()
        self._poll.register(self._wake, select.POLLIN)
        self._poll.register(self._events, select.POLLIN)
        self._table = LinkTable(on_bus)
        self._routes: list[pb.Route] = []
        self._has_addresses = self._has_routes = True
        self._link_reload, self._route_reload = _Reload(), _Reload()
        self._link_error: ReadError | None = None
        """Why links could not be read last time."""
        self._link_problems: list[ReadError] = []
        self._route_problems: list[ReadError] = []
        self._counter_problems: list[ReadError] = []
        self._changed = True
        """Something besides links differs from the inventory given out."""
        self._inventory = Inventory()
        self._counters = stats.CounterTable()
        self._has_getstats = True

    # -- agent.host.Network ----------------------------------------------------------------------------------------

    def inventory(self) -> Inventory:
        """Links, addresses and routes. The same object again as long as nothing changed. Raises ReadError."""
        with self._lock:
            self._check_open()
            self._drain()
            now = time.monotonic()
            if self._link_reload.is_due(now):
                self._load_links()
            elif self._link_error is not None:
                raise self._link_error
            if self._route_reload.is_due(now):
                self._load_routes()
            if self._table.unpaired:
                self._ask_for_pairs()
            if self._changed or self._table.changed:
                self._inventory = self._build()
                self._changed = False
            return self._inventory

    def counters(self) -> Mapping[int, stats.Counters]:
        """Counters by ifindex; the same tuple again for a link whose counters did not move. Raises ReadError."""
        with self._lock:
            self._check_open()
            table = self._counters
            table.begin()
            try:
                if self._has_getstats:
                    self._has_getstats = self._sweep(table)
                if not self._has_getstats:
                    take = dumped.LinkCounters(table).take
                    self._dumps.dump(wire.RTM_GETLINK, links.DUMP_REQUEST_WITH_COUNTERS, take, _go_on)
            except OSError as error:
                raise _read_error("rtnetlink counters", error) from error
            if table.problems or self._counter_problems:
                self._counter_problems = self._renewed(
                    self._counter_problems, _read_errors("rtnetlink counters", table.problems)
                )
            return table.end()

    def wait(self, timeout_s: float) -> bool:
        """Sleep until something changed that inventory() has not told yet, or the time is up. True: a change."""
        deadline = time.monotonic() + timeout_s
        with self._lock:
            while not self._closed:
                now = time.monotonic()
                readable = self._link_error is None  # else nothing can be told before links are read again
                reloads = (self._link_reload, self._route_reload) if readable else (self._link_reload,)
                changed = readable and (self._changed or self._table.changed)
                if changed or any(reload.is_due(now) for reload in reloads):
                    return True
                if now >= deadline:
                    return False
                until = min([deadline, *(reload.due for reload in reloads if reload.stale)])
                self._poll.poll((until - now) * 1000 + 1)
                if not self._closed:
                    self._drain()
        return False

    def close(self) -> None:
        """Release sockets; a wait() in another thread returns at once."""
        if self._closed:
            return
        self._closed = True
        os.eventfd_write(self._wake, 1)
        # The thread that holds the lock may be inside the kernel; its sockets then go with the process.
        if self._lock.acquire(timeout=_CLOSE_PATIENCE_S):
            try:
                self._release.close()
            finally:
                self._lock.release()

    # -- events ----------------------------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self._closed:
            raise ReadError(Failure.FAILED, "rtnetlink", "closed")

    def _drain(self) -> None:
        """Take in the events that have come. Raises ReadError."""
        try:
            complete = self._events.drain(self._take)
        except OSError as error:
            raise _read_error("rtnetlink", error) from error
        if not complete:
            self._resync()

    def _resync(self) -> None:
        self._link_reload.at_once()
        self._route_reload.at_once()

    def _take(self, batch: Batch) -> None:
        if batch.problems:
            self._resync()
        for message in batch.messages:
            try:
                self._table.take(message)
            except DecodeError:  # a dump tells what the event should have told
                self._resync()
        if self._table.routes_touched:
            self._table.routes_touched = False
            self._route_reload.stale = True

    # -- dumps -----------------------------------------------------------------------------------------------------

    def _load_links(self) -> None:
        """Links and addresses anew. Raises ReadError where links cannot be read, and leaves what was known."""
        of_links, of_addresses = dumped.Messages(), dumped.Messages()
        try:
            whole = self._dump("rtnetlink links", wire.RTM_GETLINK, links.DUMP_REQUEST, of_links)
        except ReadError as error:
            self._link_error = error
            self._link_reload.done(whole=False)
            raise
        problems = []
        try:
            whole &= self._dump("rtnetlink addresses", wire.RTM_GETADDR, addresses.DUMP_REQUEST, of_addresses)
            self._has_addresses = True
        except ReadError as error:
            of_addresses.restart()
            problems.append(error)
            whole = self._has_addresses = False
        found_links, link_problems = wire.decode_all(of_links.messages, links.decode_link)
        found_addresses, address_problems = wire.decode_all(of_addresses.messages, addresses.decode_address)
        problems += _read_errors("rtnetlink links", of_links.problems + link_problems)
        problems += _read_errors("rtnetlink addresses", of_addresses.problems + address_problems)
        self._table.replace(
            (link for link in found_links if link is not None),
            (address for address in found_addresses if address is not None),
        )
        self._link_problems, self._link_error = problems, None
        self._link_reload.done(whole=whole)

    def _ask_for_pairs(self) -> None:
        """Ask for links that were announced before they had another end. Raises ReadError."""
        for index in list(self._table.unpaired):
            answer = dumped.Messages()
            try:
                self._dumps.ask(wire.RTM_GETLINK, links.request_one(index), answer.take)
            except OSError as error:
                if error.errno != errno.ENODEV:
                    raise _read_error("rtnetlink links", error) from error
            self._take(Batch(answer.messages, answer.problems))
            self._table.asked_for(index)

    def _load_routes(self) -> None:
        """Routes anew. Where they cannot be read, that is a problem and links are none the worse."""
        started = time.thread_time()
        found: list[pb.Route] = []
        problems: list[ReadError] = []
        left_out = 0
        whole = readable = True
        for family in (AF_INET, AF_INET6):
            taker = dumped.Routes(family, MAX_ROUTES - len(found))
            try:
                whole &= self._dump("rtnetlink routes", wire.RTM_GETROUTE, routes.dump_request(family), taker)
            except ReadError as error:
                problems.append(error)
                whole = readable = False
            found += taker.routes
            left_out += taker.left_out
            problems += _read_errors("rtnetlink routes", taker.problems)
        if left_out:
            because = f"more than {MAX_ROUTES:,} routes: {left_out:,} were left out"
            problems.append(ReadError(Failure.FAILED, "rtnetlink routes", because))
        self._route_reload.done(whole=whole, pause_s=_ROUTE_DUMP_SHARE * (time.thread_time() - started))
        if (found, readable) != (self._routes, self._has_routes):
            self._routes, self._has_routes = found, readable
            self._changed = True
        self._route_problems = self._renewed(self._route_problems, problems)

    def _dump(self, place: str, kind: int, body: bytes, taker: dumped.Messages | dumped.Routes) -> bool:
        """False: changes interrupted it every time, and something may be missing. Raises ReadError."""
        try:
            return self._dumps.dump(kind, body, taker.take, taker.restart)
        except OSError as error:
            raise _read_error(place, error) from error

    def _sweep(self, table: stats.CounterTable) -> bool:
        """Counters by RTM_GETSTATS. False: the kernel (before 4.7) has none."""
        try:
            self._dumps.dump(wire.RTM_GETSTATS, stats.DUMP_REQUEST, table.take, _go_on)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise
            return False
        return True

    def _renewed(self, before: list[ReadError], now: list[ReadError]) -> list[ReadError]:
        """The problems of now, or the same list where they are still the same."""
        if [str(problem) for problem in before] == [str(problem) for problem in now]:
            return before
        self._changed = True
        return now

    def _build(self) -> Inventory:
        return Inventory(
            links=self._table.build(),
            routes=list(self._routes),
            has_routes=self._has_routes,
            has_addresses=self._has_addresses,
            problems=[*self._link_problems, *self._route_problems, *self._counter_problems],
        )


def _go_on() -> None:
    """An interrupted sweep is made again on top of what it brought: a link that it missed may be in either."""


def _read_errors(place: str, problems: list[Problem]) -> list[ReadError]:
    return [ReadError(Failure.DAMAGED, place, str(problem)) for problem in problems]


def _read_error(place: str, error: OSError) -> ReadError:
    failure = Failure.DENIED if error.errno in (errno.EPERM, errno.EACCES) else Failure.FAILED
    return ReadError(failure, place, error.strerror or str(error))
