"""Sockets to rtnetlink: dumps, and the multicast groups that tell of changes. Source: rtnetlink(7), netlink(7).

No capability is needed for either. A socket belongs to the network namespace it was made in.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from struct import Struct

from agent.netlink import wire
from agent.netlink.wire import Batch

GROUP_LINK, GROUP_IPV4_ADDRESS, GROUP_IPV4_ROUTE, GROUP_IPV6_ADDRESS, GROUP_IPV6_ROUTE = 0x1, 0x10, 0x40, 0x100, 0x400
"""Bits of sockaddr_nl.nl_groups: 1 << (RTNLGRP_X - 1)."""
ALL_GROUPS = GROUP_LINK | GROUP_IPV4_ADDRESS | GROUP_IPV4_ROUTE | GROUP_IPV6_ADDRESS | GROUP_IPV6_ROUTE

_SOL_NETLINK, _NETLINK_GET_STRICT_CHK = 270, 12
_SO_RCVBUFFORCE = 33
_BUFFER_BYTES = 256 << 10
"""The kernel fills at most 32 KiB with small messages; one message alone can be larger (a NIC with many functions)."""
_SILENCE_S = 30
"""The kernel answers a dump at once; only a lock held for so long (or a defect) makes it silent."""
_ATTEMPTS = 5
"""A dump that was interrupted by changes is asked for again so many times."""
_MAX_DATAGRAMS_PER_DRAIN = 20_000
"""Events come faster than they are taken in: go on with a dump instead."""


class NetlinkError(OSError):
    """rtnetlink refused or failed; errno and strerror say how."""


def _open(groups: int, receive_buffer: int) -> socket.socket:
    opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    try:
        if receive_buffer:
            try:  # beyond net.core.rmem_max, which CAP_NET_ADMIN may pass
                opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, receive_buffer)
            except PermissionError:
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        opened.bind((0, groups))
    except OSError:
        opened.close()
        raise
    return opened


def _open_for_dumps() -> socket.socket:
    opened = _open(0, 0)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, Struct("@ll").pack(_SILENCE_S, 0))
        opened.setsockopt(_SOL_NETLINK, _NETLINK_GET_STRICT_CHK, 1)  # filters in requests, since 4.20
    except OSError as error:
        if error.errno != errno.ENOPROTOOPT:
            opened.close()
            raise
    return opened


class DumpConnection:
    """Asks for dumps, one at a time."""

    def __init__(self) -> None:
        self._buffer = bytearray(_BUFFER_BYTES)
        self._socket = _open_for_dumps()

    def dump(self, kind: int, body: bytes, take: Callable[[memoryview], Batch], restart: Callable[[], None]) -> bool:
        """Ask for a dump and hand each datagram to `take`. Raises NetlinkError.

        Where changes interrupted the dump it is asked for again, after `restart`, which may forget what was taken in.
        False: it was interrupted every time.
        """
        for attempt in range(_ATTEMPTS):
            if attempt:
                restart()
            try:
                if self._ask(wire.request(kind, body), take):
                    return True
            except NetlinkError:  # the kernel's own answer, which ends the dump
                raise
            except OSError as error:
                self._reopen()
                if error.errno == errno.EAGAIN:
                    raise NetlinkError(errno.ETIMEDOUT, f"the kernel did not answer within {_SILENCE_S} s") from error
                if error.errno != errno.ENOBUFS or attempt == _ATTEMPTS - 1:
                    raise NetlinkError(error.errno, error.strerror or str(error)) from error
        return False

    def ask(self, kind: int, body: bytes, take: Callable[[memoryview], Batch]) -> None:
        """Ask for the one thing that `body` names. Raises NetlinkError; ENODEV: there is no such thing."""
        try:
            self._ask(wire.request(kind, body, wire.NLM_F_ACK), take)
        except NetlinkError:
            raise
        except OSError as error:
            self._reopen()
            raise NetlinkError(error.errno, error.strerror or str(error)) from error

    def _reopen(self) -> None:
        """What is left of one answer must not be taken for the next one's."""
        self._socket.close()
        self._socket = _open_for_dumps()

    def _ask(self, request: bytes, take: Callable[[memoryview], Batch]) -> bool:
        self._socket.send(request)
        view = memoryview(self._buffer)
        whole = True
        while True:
            length = self._socket.recv_into(self._buffer, 0, socket.MSG_TRUNC)
            if length > len(self._buffer):
                raise OSError(errno.EMSGSIZE, f"a message of {length} bytes")
            batch = take(view[:length])
            whole = whole and not batch.interrupted and not batch.overrun
            if batch.done:
                if batch.error:
                    raise NetlinkError(batch.error, wire.error_text(batch.error))
                return whole

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


class EventConnection:
    """Hears of changes."""

    def __init__(self, groups: int = ALL_GROUPS, receive_buffer: int = 4 << 20) -> None:
        self._socket = _open(groups, receive_buffer)
        self._socket.setblocking(False)
        self._buffer = bytearray(_BUFFER_BYTES)

    def fileno(self) -> int:
        """For poll(2): readable when there are events."""
        return self._socket.fileno()

    def drain(self, take: Callable[[Batch], None]) -> bool:
        """Hand over all events that have come. False: some were lost (ENOBUFS): dump. Raises NetlinkError."""
        view = memoryview(self._buffer)
        complete = True
        for _ in range(_MAX_DATAGRAMS_PER_DRAIN):
            try:
                length = self._socket.recv_into(self._buffer)
            except BlockingIOError:
                return complete
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise NetlinkError(error.errno, error.strerror or str(error)) from error
                complete = False
                continue
            batch = wire.split(view[:length])
            complete = complete and not batch.overrun
            take(batch)
        return False

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
