"""TCP segments small enough for every path, whatever TLS and gRPC put into them.

Agents get through a path that silently drops large packets because their messages are small. TLS has no such messages:
its first one alone is 1.4 kB since gRPC offers a key exchange that no quantum computer breaks, and certificates are as
long as they are. TCP cuts all that into what both ends have agreed on in their first packets. So the aggregator offers
less than its links carry, which holds for both directions, and no agent needs a setting for it.

gRPC has no option for that in Python. But the option of a listening socket goes on to the connections it takes, and a
listening socket of our own process is found among its files.
"""

from __future__ import annotations

import os
import socket
import stat

MAX_PACKET = 1_280
"""Bytes of an IP packet: what every link must carry (RFC 8200, section 5)."""
SEGMENT = MAX_PACKET - 40 - 20
"""... without the headers of IPv6 and TCP. Over IPv4 packets are 20 bytes shorter."""


def limit_segments(port: int, segment: int = SEGMENT) -> int:
    """Bound the segments of all connections that this process takes on a port, from now on.

    Returns on how many sockets. Linux gives accepted sockets the option (tcp(7), TCP_MAXSEG) and offers it in SYN-ACK.
    """
    limited = 0
    for name in os.listdir("/proc/self/fd"):
        copy = _socket(int(name))
        if copy is None:
            continue
        with copy:
            listens = copy.family in (socket.AF_INET, socket.AF_INET6) and copy.type == socket.SOCK_STREAM
            if listens and copy.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) and copy.getsockname()[1] == port:
                copy.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, segment)
                limited += 1
    return limited


def _socket(descriptor: int) -> socket.socket | None:
    """Another name for a socket of this process; None: it is none, or gone by now.

    Of a file no other name may be made: closing it takes all locks that the process has on that file (fcntl(2)), and
    SQLite's databases are locked so. Without its lock, whoever else looks into a database takes its log (WAL) away.
    """
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return None
        copy = os.dup(descriptor)
    except OSError:
        return None
    try:
        return socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        return None
