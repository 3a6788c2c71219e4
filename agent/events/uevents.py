"""The kernel tells when block devices come, go and change: uevents by netlink (NETLINK_KOBJECT_UEVENT, group 1).

They arrive in every network namespace of the initial user namespace, so the host's is not needed.
Source: lib/kobject_uevent.c, block/genhd.c.
"""

from __future__ import annotations

import errno
import select
import socket
import time
from dataclasses import dataclass

from agent.host import Failure, ReadError
from agent.hosts.files import printable

_PROTOCOL = 15
"""NETLINK_KOBJECT_UEVENT."""
_KERNEL_GROUP = 1
"""Group 2 is udev's, and whoever may write to it could say anything."""
_MESSAGE_BYTES = 16 << 10
"""The kernel's own limit is 2 KiB of variables and a path (UEVENT_BUFFER_SIZE)."""
_AT_ONCE = 256
"""Messages taken in at once; what is beyond waits in the socket."""
_KEPT = 256
_ACTIONS = frozenset({"add", "remove", "change", "move", "online", "offline"})


@dataclass(frozen=True, slots=True)
class Uevent:
    """What happened to a block device."""

    action: str
    """"add", "remove", "change", ..."""
    name: str
    """Kernel name ("nvme1n1", "loop0")."""
    dev: str
    """"major:minor"."""
    whole_disk: bool
    """False: a partition."""
    media_change: bool
    """A medium or a backing file came or went."""
    diskseq: int
    """Number of the medium, never used twice in a boot; 0: not told (before Linux 5.15)."""


def parse_uevent(raw: bytes) -> Uevent | None:
    """A message of the kernel's about a block device; None: about something else, or not to be understood."""
    head, *rest = raw.split(b"\0")
    if b"@" not in head:
        return None  # udev's own begin with "libudev"
    fields = dict(field.split(b"=", 1) for field in rest if b"=" in field)
    action = fields.get(b"ACTION", b"").decode("ascii", "replace")
    if fields.get(b"SUBSYSTEM") != b"block" or action not in _ACTIONS:
        return None
    major, minor = _number(fields.get(b"MAJOR")), _number(fields.get(b"MINOR"))
    name = fields.get(b"DEVNAME", b"").removeprefix(b"/dev/")
    if major is None or minor is None or not name:
        return None
    return Uevent(
        action=action,
        name=printable(name.decode("utf-8", "replace"), 64),
        dev=f"{major}:{minor}",
        whole_disk=fields.get(b"DEVTYPE") != b"partition",
        media_change=fields.get(b"DISK_MEDIA_CHANGE") == b"1",
        diskseq=_number(fields.get(b"DISKSEQ")) or 0,
    )


def _number(word: bytes | None) -> int | None:
    return int(word) if word is not None and word.isdigit() and len(word) < 20 else None


class BlockEvents:
    """Source of changes of block devices. Raises ReadError."""

    mask = select.POLLIN

    def __init__(self, receive_buffer: int = 1 << 20) -> None:
        """`receive_buffer` is room in bytes for what comes while nobody looks."""
        self.happened_at: float | None = None
        """Of the first event not looked at yet, seconds since the epoch."""
        self.overruns = 0
        """How often the socket's buffer was full; what was lost then, only a look at the devices tells."""
        self._events: list[Uevent] = []
        try:
            self._socket = socket.socket(
                socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, _PROTOCOL
            )
        except OSError as error:
            raise _refused(error) from error
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            self._socket.bind((0, _KERNEL_GROUP))
        except OSError as error:
            self._socket.close()
            raise _refused(error) from error

    def fileno(self) -> int:
        """The socket."""
        return self._socket.fileno()

    def take(self) -> bool:
        """Take in what has come. True: something of it is about a block device, or something was lost."""
        concerns = False
        for _ in range(_AT_ONCE):
            try:
                raw, _, flags, sender = self._socket.recvmsg(_MESSAGE_BYTES)
            except BlockingIOError:
                break
            except InterruptedError:
                continue
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self.overruns += 1
                concerns = True
                continue
            concerns |= self._take_one(raw, flags, sender)
        if concerns and self.happened_at is None:
            self.happened_at = time.time()
        return concerns

    def look(self) -> None:
        """Take in what nobody was woken by yet, so that it is not looked at twice. Raises OSError."""
        self.take()

    def looked_at(self) -> list[Uevent]:
        """Events since the last call, the latest of very many; whoever calls looks at the devices next."""
        events, self._events, self.happened_at = self._events, [], None
        return events

    def close(self) -> None:
        """Release the socket."""
        self._socket.close()

    def _take_one(self, raw: bytes, flags: int, sender: tuple[int, int]) -> bool:
        if sender[0] != 0:  # another process may send to the group too, if it is privileged; the kernel is 0
            return False
        if flags & socket.MSG_TRUNC:
            return True
        event = parse_uevent(raw)
        if event is None:
            return False
        self._events = [*self._events[1 - _KEPT :], event]
        return True


def _refused(error: OSError) -> ReadError:
    denied = error.errno in (errno.EPERM, errno.EACCES)
    return ReadError(
        Failure.DENIED if denied else Failure.FAILED,
        "uevents",
        error.strerror or str(error),
        "let the container's seccomp profile pass netlink sockets" if denied else "",
    )
