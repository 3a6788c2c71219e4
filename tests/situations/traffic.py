"""What is sent through a lab: small packets, full-size ones with and without DF, and bulk TCP. All sockets are here.

A socket stays in the namespace it was made in, so one thread is every pod.
"""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from tests.netns import Namespace

PACKETS = 20
_IP_MTU_DISCOVER = 10
_PMTUDISC_DONT, _PMTUDISC_PROBE = 0, 3
_SO_RCVBUFFORCE = 33
_PORT = 7001
_HEADERS = 28
"""IPv4 and UDP."""
_BULK = 300_000
_PATIENCE_S = 3.0
"""For what should arrive; on a busy machine that takes a while."""
_SILENCE_S = 0.2
"""After which what has not arrived will not: everything is on one machine."""
_RECOVERY_S = 20.0
"""For a transfer that should flow, though its sender may have to find out first that the path is smaller."""
_STALL_S = 0.8
"""So long no byte of a bulk transfer arrives before it counts as stalled: two retransmissions."""


class Fate(StrEnum):
    """What became of packets of one kind."""

    ARRIVE = "arrive"
    LOST = "lost"
    TOLD = "told"
    """Lost, and the sender was told that they are too big."""


class Bulk(StrEnum):
    """What became of a bulk TCP transfer."""

    FLOWS = "flows"
    STALLS = "stalls"


@dataclass(frozen=True, slots=True)
class Fates:
    """What became of each kind of traffic; None: not sent."""

    small: Fate | None = Fate.ARRIVE
    whole: Fate | None = Fate.ARRIVE
    """Full-size packets with DF."""
    cuttable: Fate | None = Fate.ARRIVE
    """Full-size packets without DF."""
    bulk: Bulk | None = None


class Traffic:
    """From one namespace to a receiver in another."""

    def __init__(self, sender: Namespace, receiver: Namespace, target: str) -> None:
        self._sender, self._target = sender, target
        with contextlib.ExitStack() as undo:
            with receiver.entered():
                self._inbox = undo.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                self._listener = undo.enter_context(socket.socket())
            self._inbox.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 4 << 20)
            self._inbox.bind(("", _PORT))
            self._listener.bind(("", _PORT))
            self._listener.listen()
            self._listener.settimeout(_PATIENCE_S)
            self.close = undo.pop_all().close

    def warm_up(self, *, passes: bool) -> None:
        """Let neighbours be resolved, so that no later packet waits for that. `passes`: small packets arrive."""
        self._send(3, 50, _PMTUDISC_DONT)
        self._arrived(3 if passes else 0)

    def exchange(self, expected: Fates, largest: int) -> Fates:
        """Send what is expected to have a fate; which it had. `largest`: bytes of a full-size IP packet."""
        return Fates(
            expected.small and self._packets(expected.small, 100, _PMTUDISC_PROBE),
            expected.whole and self._packets(expected.whole, largest - _HEADERS, _PMTUDISC_PROBE),
            expected.cuttable and self._packets(expected.cuttable, largest - _HEADERS, _PMTUDISC_DONT),
            expected.bulk and self._bulk(expected.bulk),
        )

    def flood(self, count: int, target: str, size: int) -> None:
        """Packets to another address, whatever becomes of them."""
        with self._datagrams(_PMTUDISC_DONT) as way:
            for _ in range(count):
                with contextlib.suppress(OSError):
                    way.sendto(bytes(size), (target, _PORT))

    @contextlib.contextmanager
    def _datagrams(self, discover: int) -> Iterator[socket.socket]:
        with self._sender.entered():
            way = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with way:
            way.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, discover)
            yield way

    def _packets(self, expected: Fate, size: int, discover: int) -> Fate:
        told = self._send(PACKETS, size, discover)
        arrived = self._arrived(PACKETS if expected is Fate.ARRIVE else 0)
        if arrived:
            assert arrived == PACKETS, f"{arrived} of {PACKETS} packets of {size} bytes arrived"
            return Fate.ARRIVE
        return Fate.TOLD if told else Fate.LOST

    def _send(self, count: int, size: int, discover: int) -> bool:
        """True: the sender was told that they are too big."""
        told = False
        with self._datagrams(discover) as way:
            way.connect((self._target, _PORT))
            for _ in range(count):
                try:
                    way.send(bytes(size))
                except OSError as error:
                    told |= error.errno == errno.EMSGSIZE
                time.sleep(0.002)  # an answer of the path may come in between
        return told

    def _arrived(self, expected: int) -> int:
        """Packets that arrived: until the expected number is there, or none came for as long as one would take."""
        count = 0
        self._inbox.settimeout(_PATIENCE_S if expected else _SILENCE_S)
        with contextlib.suppress(TimeoutError):
            while count < expected or not expected:
                self._inbox.recv(1 << 16)
                count += 1
        return count

    def _bulk(self, expected: Bulk) -> Bulk:
        with self._sender.entered():
            way = socket.socket()
        with way:
            way.settimeout(_PATIENCE_S)
            way.connect((self._target, _PORT))
            # Reset at the end, so that nothing of it is sent again into what comes next.
            way.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            end, _ = self._listener.accept()
            with end:
                return _pumped(way, end, _STALL_S if expected is Bulk.STALLS else _RECOVERY_S)


def _pumped(way: socket.socket, end: socket.socket, patience_s: float) -> Bulk:
    """Stalls if not a byte arrives in time; what flows, flows to its end."""
    way.setblocking(False)
    end.setblocking(False)
    sent = received = 0
    deadline = time.monotonic() + patience_s
    while received < _BULK and time.monotonic() < deadline:
        readable, writable, _ = select.select([end], [way] if sent < _BULK else [], [], 0.05)
        if writable:
            with contextlib.suppress(BlockingIOError):
                sent += way.send(bytes(min(1 << 16, _BULK - sent)))
        if readable:
            received += len(end.recv(1 << 18))
    assert received in {0, _BULK}, f"{received} of {_BULK} bytes arrived in {patience_s:g} s"
    return Bulk.FLOWS if received else Bulk.STALLS
