"""The interfaces of this process's network namespace, by rtnetlink: read once, then kept current by its events."""

from __future__ import annotations

import errno
import os
import select
import threading
import time
from collections.abc import Callable, Mapping
from socket import AF_INET, AF_INET6

from nodetell.v1 import facts_pb2 as pb

from agent.host import Failure, Inventory, ReadError
from agent.netlink import addresses, links, routes, stats, wire
from agent.netlink.connection import DumpConnection, EventConnection
from agent.netlink.wire import Batch, DecodeError, Message, Problem

MAX_ROUTES = 20_000
"""Routes held in memory. Of a larger table (a router with the Internet's) only default routes are kept beyond it."""
_ROUTE_DUMP_SHARE = 50
"""Routes are dumped again when they change, but then not before so many times the CPU time of that dump have passed."""
_INTERRUPTED_PAUSE_S = 1.0
"""A dump that changes interrupted every time serves for so long before it is tried again."""
_PAIRING_ATTEMPTS = 5
_CLOSE_PATIENCE_S = 1.0
_ADDRESS_TYPES = (wire.RTM_NEWADDR, wire.RTM_DELADDR)
_ROUTE_TYPES = (wire.RTM_NEWROUTE, wire.RTM_DELROUTE)


class NetlinkNetwork:
    """agent.host.Network of this network namespace. Raises ReadError where rtnetlink cannot be had at all.

    Links and addresses are taken from events. Routes are dumped again after an event, for events do not tell all: IPv4
    routes that go with their interface vanish silently.
    """

    def __init__(self, *, on_bus: Callable[[str], bool] | None = None, receive_buffer: int = 4 << 20) -> None:
        """`on_bus` tells by name whether a link is hardware, for kernels before 5.14, whose rtnetlink does not.

        `receive_buffer` is room for events in bytes; what does not fit is made up for by a dump.
        """
        self._on_bus = on_bus
        self._lock = threading.Lock()
        self._closed = False
        try:
            self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            self._events = EventConnection(receive_buffer=receive_buffer)
            self._dumps = DumpConnection()
        except OSError as error:
            raise _read_error("rtnetlink", error) from error
        self._poll = select.poll()
        self._poll.register(self._wake, select.POLLIN)
        self._poll.register(self._events, select.POLLIN)
        self._links: dict[int, pb.Link] = {}
        self._addresses: dict[int, dict[bytes, str]] = {}
        self._whole: dict[int, pb.Link] = {}
        """Links with their addresses filled in, as they were handed out."""
        self._routes: list[pb.Route] = []
        self._link_problems: list[ReadError] = []
        self._route_problems: list[ReadError] = []
        self._links_stale = self._routes_stale = True
        self._links_due = self._routes_due = 0.0
        """time.monotonic() before which they are not dumped again, stale as they may be."""
        self._unpaired: dict[int, int] = {}
        """Links announced before they had another end, and how often they were asked for since."""
        self._dirty: set[int] = set()
        """Links that differ from what was handed out."""
        self._changed = True
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
            if self._links_stale and now >= self._links_due:
                self._load_links()
            if self._routes_stale and now >= self._routes_due:
                self._load_routes()
            if self._unpaired:
                self._ask_again()
            if self._changed:
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
                    take = _LinkCounters(table).take
                    self._dumps.dump(wire.RTM_GETLINK, links.DUMP_REQUEST_WITH_COUNTERS, take, _go_on)
            except OSError as error:
                raise _read_error("rtnetlink counters", error) from error
            if table.problems:
                self._note_counter_problems(table.problems)
            return table.end()

    def wait(self, timeout_s: float) -> bool:
        """Sleep until something changed that inventory() has not told yet, or the time is up. True: a change."""
        deadline = time.monotonic() + timeout_s
        with self._lock:
            while not self._closed:
                now = time.monotonic()
                if self._pending(now):
                    return True
                if now >= deadline:
                    return False
                until = min([deadline, *(due for stale, due in self._reloads() if stale)])
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
                self._events.close()
                self._dumps.close()
                os.close(self._wake)
            finally:
                self._lock.release()

    # -- what changed ----------------------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self._closed:
            raise ReadError(Failure.FAILED, "rtnetlink", "closed")

    def _pending(self, now: float) -> bool:
        return self._changed or any(stale and now >= due for stale, due in self._reloads())

    def _reloads(self) -> tuple[tuple[bool, float], ...]:
        """(stale, when it may be dumped again) of links and of routes."""
        return (self._links_stale, self._links_due), (self._routes_stale, self._routes_due)

    def _drain(self) -> None:
        """Take in the events that have come. Raises ReadError."""
        try:
            complete = self._events.drain(self._take_events)
        except OSError as error:
            raise _read_error("rtnetlink", error) from error
        if not complete:
            self._resync()

    def _resync(self) -> None:
        self._links_stale = self._routes_stale = True
        self._links_due = self._routes_due = 0.0

    def _take_events(self, batch: Batch) -> None:
        if batch.problems:
            self._resync()
        for message in batch.messages:
            try:
                self._take_event(message)
            except DecodeError:  # the dump tells what the event should have told
                self._resync()

    def _take_event(self, message: Message) -> None:
        if message.type == wire.RTM_NEWLINK:
            if links.link_family_and_index(message.body)[0] == 0:
                self._put_link(links.decode_link(message.body))
        elif message.type == wire.RTM_DELLINK:
            family, index = links.link_family_and_index(message.body)
            if family == 0:
                self._drop_link(index)
        elif message.type in _ADDRESS_TYPES:
            self._take_address(message)
        elif message.type in _ROUTE_TYPES and routes.is_kept(message.body):
            self._routes_stale = True

    def _put_link(self, link: pb.Link | None) -> None:
        if link is None:
            return
        self._tell_hardware(link)
        if link.kind in links.PAIR_KINDS and not link.lower and not link.HasField("peer_ifindex"):
            self._unpaired.setdefault(link.ifindex, 0)
        else:
            self._unpaired.pop(link.ifindex, None)
        before = self._links.get(link.ifindex)
        if before != link:
            self._links[link.ifindex] = link
            self._dirty.add(link.ifindex)
            self._changed = True
            self._routes_stale = self._routes_stale or (before is not None and before.up and not link.up)

    def _tell_hardware(self, link: pb.Link) -> None:
        if self._on_bus is not None and not link.hardware:
            link.hardware = self._on_bus(link.name)

    def _drop_link(self, index: int) -> None:
        if self._links.pop(index, None) is not None:
            self._dirty.add(index)
            self._unpaired.pop(index, None)
            self._addresses.pop(index, None)
            self._changed = self._routes_stale = True

    def _take_address(self, message: Message) -> None:
        address = addresses.decode_address(message.body)
        if address is None:
            return
        of_link = self._addresses.setdefault(address.ifindex, {})
        if message.type == wire.RTM_NEWADDR:
            changed = of_link.get(address.identity) != address.text
            of_link[address.identity] = address.text
        else:
            changed = of_link.pop(address.identity, None) is not None
            self._routes_stale = True
        if changed:
            self._dirty.add(address.ifindex)
            self._changed = True

    # -- dumps -----------------------------------------------------------------------------------------------------

    def _load_links(self) -> None:
        """Links and addresses anew. Raises ReadError and leaves what was known."""
        dumped_links = _Collected()
        dumped_addresses = _Collected()
        whole = self._dump("rtnetlink links", wire.RTM_GETLINK, links.DUMP_REQUEST, dumped_links)
        whole &= self._dump("rtnetlink addresses", wire.RTM_GETADDR, addresses.DUMP_REQUEST, dumped_addresses)
        decoded, link_problems = wire.decode_all(dumped_links.messages, links.decode_link)
        found, address_problems = wire.decode_all(dumped_addresses.messages, addresses.decode_address)
        self._link_problems = [
            *_read_errors("rtnetlink links", dumped_links.problems + link_problems),
            *_read_errors("rtnetlink addresses", dumped_addresses.problems + address_problems),
        ]
        self._links = {link.ifindex: link for link in decoded if link is not None}
        for link in self._links.values():
            self._tell_hardware(link)
        self._unpaired.clear()
        self._addresses = {}
        for address in found:
            if address is not None:
                self._addresses.setdefault(address.ifindex, {})[address.identity] = address.text
        self._dirty |= self._links.keys() | self._whole.keys()
        self._links_stale = not whole
        self._links_due = 0.0 if whole else time.monotonic() + _INTERRUPTED_PAUSE_S
        self._changed = True

    def _ask_again(self) -> None:
        """Ask for links that were announced before they had another end. Raises ReadError."""
        for index, attempts in list(self._unpaired.items()):
            collected = _Collected()
            try:
                self._dumps.ask(wire.RTM_GETLINK, links.request_one(index), collected.take)
            except OSError as error:
                if error.errno != errno.ENODEV:
                    raise _read_error("rtnetlink links", error) from error
            self._take_events(Batch(collected.messages, collected.problems))
            if index in self._unpaired:
                self._unpaired[index] = attempts + 1
            if attempts + 1 >= _PAIRING_ATTEMPTS:
                self._unpaired.pop(index, None)

    def _load_routes(self) -> None:
        """Routes anew. Raises ReadError and leaves what was known."""
        started = time.thread_time()
        found: list[pb.Route] = []
        problems: list[ReadError] = []
        left_out = 0
        whole = True
        for family in (AF_INET, AF_INET6):
            collected = _Routes(family, MAX_ROUTES - len(found))
            whole &= self._dump("rtnetlink routes", wire.RTM_GETROUTE, routes.dump_request(family), collected)
            found += collected.routes
            left_out += collected.left_out
            problems += _read_errors("rtnetlink routes", collected.problems)
        if left_out:
            because = f"more than {MAX_ROUTES:,} routes: {left_out:,} were left out"
            problems.append(ReadError(Failure.FAILED, "rtnetlink routes", because))
        self._routes_stale = not whole
        pause = _ROUTE_DUMP_SHARE * (time.thread_time() - started)
        self._routes_due = time.monotonic() + (pause if whole else max(pause, _INTERRUPTED_PAUSE_S))
        if found != self._routes or len(problems) != len(self._route_problems):
            self._routes, self._route_problems = found, problems
            self._changed = True

    def _dump(self, place: str, kind: int, body: bytes, collected: _Collected | _Routes) -> bool:
        """False: changes interrupted it every time, and something may be missing."""
        try:
            return self._dumps.dump(kind, body, collected.take, collected.restart)
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

    def _note_counter_problems(self, problems: list[Problem]) -> None:
        fresh = _read_errors("rtnetlink counters", problems)
        if [str(p) for p in fresh] != [str(p) for p in self._link_problems if p.place == "rtnetlink counters"]:
            self._link_problems = [p for p in self._link_problems if p.place != "rtnetlink counters"] + fresh
            self._changed = True

    def _build(self) -> Inventory:
        whole = dict(self._whole)
        for index in self._dirty:
            link = self._links.get(index)
            if link is None:
                whole.pop(index, None)
                continue
            filled = pb.Link()
            filled.CopyFrom(link)
            filled.addresses.extend(sorted(set(self._addresses.get(index, {}).values())))
            if whole.get(index) != filled:
                whole[index] = filled
        self._dirty.clear()
        self._whole = dict(sorted(whole.items()))
        return Inventory(
            links=dict(self._whole), routes=list(self._routes), problems=[*self._link_problems, *self._route_problems]
        )


class _Collected:
    """Takes in the messages of a dump as they are."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.problems: list[Problem] = []

    def restart(self) -> None:
        self.messages.clear()
        self.problems.clear()

    def take(self, data: memoryview) -> Batch:
        batch = wire.split(data)
        self.messages += batch.messages
        self.problems += batch.problems
        return batch


class _Routes:
    """Takes in a dump of one family's routes and decodes at most so many."""

    def __init__(self, family: int, room: int) -> None:
        self._family = family
        self._room = room
        self.restart()

    def restart(self) -> None:
        self.routes: list[pb.Route] = []
        self.problems: list[Problem] = []
        self.left_out = 0

    def take(self, data: memoryview) -> Batch:
        batch = wire.split(data)
        self.problems += batch.problems
        for message in batch.messages:
            body = message.body
            # A kernel without IPv6 answers a request for its routes with all families'.
            if not routes.is_kept(body) or body[:1] != bytes([self._family]):
                continue
            if len(self.routes) >= self._room and not routes.is_default(body):
                self.left_out += 1
                continue
            try:
                self.routes += routes.decode_route(body)
            except DecodeError as damage:
                self.problems.append(Problem(message.offset, f"{message.name}: {damage}"))
        return batch


class _LinkCounters:
    """Takes counters out of a dump of links, for kernels without RTM_GETSTATS."""

    def __init__(self, table: stats.CounterTable) -> None:
        self._table = table

    def take(self, data: memoryview) -> Batch:
        batch = wire.split(data)
        found, problems = wire.decode_all(batch.messages, links.decode_link_counters)
        for counters in found:
            if counters is not None:
                self._table.put(*counters)
        self._table.problems += batch.problems + problems
        return batch


def _go_on() -> None:
    """An interrupted sweep is made again on top of what it brought: a link that it missed may be in either."""


def _read_errors(place: str, problems: list[Problem]) -> list[ReadError]:
    return [ReadError(Failure.DAMAGED, place, str(problem)) for problem in problems]


def _read_error(place: str, error: OSError) -> ReadError:
    failure = Failure.DENIED if error.errno in (errno.EPERM, errno.EACCES) else Failure.FAILED
    return ReadError(failure, place, error.strerror or str(error))
