"""The socket a path is probed through: full-size packets that nobody may cut, and what ICMP says about them.

No privilege is needed. Source: ip(7), ipv6(7), include/uapi/linux/errqueue.h, include/uapi/linux/in.h, in6.h.
"""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass
from struct import Struct

_IP_MTU_DISCOVER, _IP_RECVERR, _IP_PMTUDISC_PROBE = 10, 11, 3
_IPV6_MTU_DISCOVER, _IPV6_RECVERR, _IPV6_PMTUDISC_PROBE = 23, 25, 3
_ERROR = Struct("=IBBBxII")
"""struct sock_extended_err: errno, origin, type, code, padding, info, data."""
_ORIGIN_LOCAL, _ORIGIN_ICMP, _ORIGIN_ICMP6 = 1, 2, 3
_TOO_LARGE = {(_ORIGIN_ICMP, 3, 4), (_ORIGIN_ICMP6, 2, 0)}
"""ICMP "fragmentation needed", ICMPv6 "packet too big"."""
_SEND_ATTEMPTS = 4
_ERRORS_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class TooLarge:
    """An ICMP message: a packet of ours was too large on the way."""

    quote: bytes
    """What it quotes of our datagram; some routers quote nothing of it."""
    limit: int
    """MTU of the next hop in bytes; 0: not told."""


class TooLargeHereError(Exception):
    """The own interface does not take this size; `limit` in bytes is what it takes, 0: not told."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"the interface takes {limit} bytes")
        self.limit = limit


class Way:
    """A UDP socket towards one address, DF always set, the kernel's own idea of the path's MTU ignored."""

    def __init__(self, address: str, port: int) -> None:
        """Raises OSError where there is no way to the address."""
        self.ipv6 = ":" in address
        self._socket = socket.socket(
            socket.AF_INET6 if self.ipv6 else socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
        )
        try:
            if self.ipv6:
                self._socket.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _IPV6_PMTUDISC_PROBE)
                self._socket.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
            else:
                self._socket.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_PROBE)
                self._socket.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
            self._socket.connect((address, port))
            self.local_address: str = self._socket.getsockname()[0]
        except OSError:
            self._socket.close()
            raise
        self._too_large: list[TooLarge] = []
        self._local_limit: int | None = None

    def fileno(self) -> int:
        """For poll(2): readable when an answer or an error has come."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def send(self, datagram: bytes) -> bool:
        """Send it. False: the kernel would not for now (no buffer, no route, a firewall of the host's own).

        Raises TooLargeHereError.
        """
        for _ in range(_SEND_ATTEMPTS):
            self._local_limit = None
            try:
                self._socket.send(datagram)
            except OSError as error:
                # The kernel also tells of an earlier packet's ICMP here; then this one was not sent yet.
                self._drain_errors()
                if self._local_limit is not None:
                    raise TooLargeHereError(self._local_limit) from None
                if error.errno in (errno.EMSGSIZE, errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.EPROTO, errno.EACCES):
                    continue
                return False
            return True
        return False

    def received(self) -> list[bytes]:
        """The datagrams that have come."""
        datagrams = []
        for _ in range(_ERRORS_AT_ONCE):
            try:
                datagrams.append(self._socket.recv(2048))
            except BlockingIOError:
                break
            except OSError:  # a pending ICMP error, which is in the error queue as well
                continue
        return datagrams

    def too_large(self) -> list[TooLarge]:
        """The ICMP messages that have come since this was asked last."""
        self._drain_errors()
        found, self._too_large = self._too_large, []
        return found

    def _drain_errors(self) -> None:
        for _ in range(_ERRORS_AT_ONCE):
            try:
                quote, ancillary, _, _ = self._socket.recvmsg(2048, 512, socket.MSG_ERRQUEUE)
            except OSError:
                return
            for level, kind, data in ancillary:
                if (level, kind) in ((socket.IPPROTO_IP, _IP_RECVERR), (socket.IPPROTO_IPV6, _IPV6_RECVERR)):
                    self._take_error(quote, data)

    def _take_error(self, quote: bytes, data: bytes) -> None:
        if len(data) < _ERROR.size:
            return
        number, origin, kind, code, info, _ = _ERROR.unpack_from(data)
        if number != errno.EMSGSIZE:
            return
        if origin == _ORIGIN_LOCAL:
            self._local_limit = info
        elif (origin, kind, code) in _TOO_LARGE:
            self._too_large.append(TooLarge(quote, info))
