"""The sockets on which probes are answered. What is answered is decided elsewhere; here is only reading and writing.

Ports above 1,023 need no privilege. An answer leaves from the very address that was probed, or the prober's kernel
would not take it. A flood costs a bounded share of a core: beyond a fixed rate nothing is read for the rest of a
second, and the kernel drops what its buffer does not hold.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from agent.pathmtu.answers import Answers

READ_PER_SECOND = 2_000
"""Datagrams that are looked at in a second."""
_AT_ONCE = 64
_IP_PKTINFO = 8
_IPV6_RECVPKTINFO, _IPV6_PKTINFO = 49, 50
_LARGEST = 65_536


@dataclass(slots=True)
class _Port:
    """One bound socket."""

    socket: socket.socket
    ipv6: bool


@dataclass(slots=True)
class Responder:
    """Answers on one port of some addresses, in the event loop it was opened in."""

    answers: Answers
    account: Callable[[], contextlib.AbstractContextManager[None]]
    """What the work is done within, so that its CPU time is counted."""
    overrun: int = 0
    """Seconds in which more came than is looked at."""
    _ports: list[_Port] = field(default_factory=list)
    _second: int = 0
    _read: int = 0
    _resume: asyncio.TimerHandle | None = None

    def open(self, addresses: Sequence[str], port: int) -> None:
        """Listen on these addresses; none: on all of both families that the kernel has. Raises OSError."""
        for address in addresses or ("0.0.0.0", "::"):
            try:
                self._ports.append(_bound(address, port))
            except OSError as error:
                if not addresses and address == "::" and error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                    continue  # a kernel without IPv6
                self.close()
                raise OSError(error.errno, f"{address} port {port}: {error.strerror}") from error
        self._listen()

    def close(self) -> None:
        """Stop answering."""
        if self._resume is not None:
            self._resume.cancel()
            self._resume = None
        for port in self._ports:
            with contextlib.suppress(RuntimeError):  # no loop was running yet
                asyncio.get_running_loop().remove_reader(port.socket)
            port.socket.close()
        self._ports = []

    def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        self._resume = None
        for port in self._ports:
            loop.add_reader(port.socket, self._readable, port)

    def _pause(self) -> None:
        """Until the second is over."""
        loop = asyncio.get_running_loop()
        self.overrun += 1
        for port in self._ports:
            loop.remove_reader(port.socket)
        self._resume = loop.call_later(1 - time.monotonic() % 1, self._listen)

    def _readable(self, port: _Port) -> None:
        with self.account():
            now = time.monotonic()
            if int(now) != self._second:
                self._second, self._read = int(now), 0
            for _ in range(_AT_ONCE):
                if self._read >= READ_PER_SECOND:
                    self._pause()
                    return
                try:
                    received, ancillary, _, sender = port.socket.recvmsg(_LARGEST, 64)
                except OSError:  # nothing more, or the ICMP error of an answer that nobody took
                    return
                self._read += 1
                answer = self.answers.answer(received, now, ipv6=port.ipv6)
                if answer is not None:
                    with contextlib.suppress(OSError):  # an answer that cannot be sent is one that is lost
                        port.socket.sendmsg([answer], _from_where_it_came(ancillary), 0, sender)


def _from_where_it_came(ancillary: list[tuple[int, int, bytes]]) -> list[tuple[int, int, bytes]]:
    """The control message that makes an answer leave from the address probed, by whatever route there is."""
    for level, kind, data in ancillary:
        if level == socket.IPPROTO_IP and kind == _IP_PKTINFO and len(data) >= 12:
            return [(level, kind, bytes(4) + data[8:12] + bytes(4))]  # struct in_pktinfo: ipi_addr was probed
        if level == socket.IPPROTO_IPV6 and kind == _IPV6_PKTINFO and len(data) >= 20:
            return [(level, kind, data[:16] + bytes(4))]  # struct in6_pktinfo, any interface
    return []


def _bound(address: str, port: int) -> _Port:
    ipv6 = ":" in address
    opened = socket.socket(socket.AF_INET6 if ipv6 else socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        options: list[tuple[int, int, Any]] = [(socket.IPPROTO_IP, _IP_PKTINFO, 1)]
        if ipv6:
            options = [
                (socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1),
                (socket.IPPROTO_IPV6, _IPV6_RECVPKTINFO, 1),
            ]
        for level, option, value in options:
            opened.setsockopt(level, option, value)
        opened.bind((address, port))
    except OSError:
        opened.close()
        raise
    return _Port(opened, ipv6)
