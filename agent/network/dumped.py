"""What takes in the datagrams of a dump."""

from __future__ import annotations

from nodetell.v1 import facts_pb2 as pb

from agent.netlink import links, routes, wire
from agent.netlink.stats import CounterTable
from agent.netlink.wire import Batch, DecodeError, Message, Problem


class Messages:
    """The messages as they are."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.problems: list[Problem] = []

    def restart(self) -> None:
        """Forget what came: the dump begins anew."""
        self.messages.clear()
        self.problems.clear()

    def take(self, data: memoryview) -> Batch:
        """Take in one datagram."""
        batch = wire.split(data)
        self.messages += batch.messages
        self.problems += batch.problems
        return batch


class Routes:
    """One family's routes, decoded; at most `room` of them, and beyond that only default routes."""

    def __init__(self, family: int, room: int) -> None:
        self._family = family
        self._room = room
        self.restart()

    def restart(self) -> None:
        """Forget what came: the dump begins anew."""
        self.routes: list[pb.Route] = []
        self.problems: list[Problem] = []
        self.left_out = 0

    def take(self, data: memoryview) -> Batch:
        """Take in one datagram."""
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


class LinkCounters:
    """Counters out of a dump of links, for kernels without RTM_GETSTATS."""

    def __init__(self, table: CounterTable) -> None:
        self._table = table

    def take(self, data: memoryview) -> Batch:
        """Take in one datagram."""
        batch = wire.split(data)
        found, problems = wire.decode_all(batch.messages, links.decode_link_counters)
        for counters in found:
            if counters is not None:
                self._table.put(*counters)
        self._table.problems += batch.problems + problems
        return batch
