"""The host that collectors read from: the live one, or a directory of a bundle. Collectors do not know which.

Paths are relative and begin with one of these roots: "proc/" (/proc), "sys/" (/sys), "kubelet/" (/var/lib/kubelet),
"udev/" (/run/udev), "dev/" (/dev), "logs/" (/var/log/pods). "proc/net/..." is that of the host's network namespace,
"proc/1/..." that of the host's pid 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from nodetell.v1 import facts_pb2 as pb


class Failure(Enum):
    """Why something could not be read. Absent is not zero, and neither is denied or damaged."""

    ABSENT = "absent"
    """The kernel or the bundle does not have it."""
    DENIED = "denied"
    """It is there and this process may not read it."""
    FAILED = "failed"
    """Reading it failed in some other way."""
    DAMAGED = "damaged"
    """It was read and cannot be understood."""


class ReadError(Exception):
    """A signal could not be read: what, where and why, in one line.

    `remedy` says what would enable it; empty if nothing is known to.
    """

    def __init__(self, failure: Failure, place: str, reason: str, remedy: str = "") -> None:
        # A name or a text from a file may be in either.
        place, reason = (text if text.isprintable() else " ".join(text.split()) for text in (place, reason))
        super().__init__(f"{place}: {reason}")
        self.failure = failure
        self.place = place
        self.reason = reason
        self.remedy = remedy


@dataclass(slots=True)
class Inventory:
    """Links, addresses and routes of the host's network namespace at one moment."""

    links: dict[int, pb.Link] = field(default_factory=dict)
    """By ifindex; addresses filled in, underlay not yet."""
    routes: list[pb.Route] = field(default_factory=list)
    """All unicast routes but those of the local table."""
    has_routes: bool = True
    """False where routes could not be read at all (no rtnetlink): not the same as none."""
    has_addresses: bool = True
    """False where addresses could not be read at all."""
    has_kinds: bool = True
    """False where the kind and tunnel parameters of links are not known (sysfs)."""
    problems: list[ReadError] = field(default_factory=list)
    """What in it was damaged or missing; the rest is good."""
    source: str = "rtnetlink"
    """Where it was read, as evidence names it: "rtnetlink", "sysfs", "ip-link.json"."""


class Network(Protocol):
    """The host's interfaces, from whatever source there is."""

    def inventory(self) -> Inventory:
        """Links, addresses and routes. The same object again as long as nothing changed. Raises ReadError."""
        ...

    def counters(self) -> Mapping[int, tuple[tuple[str, ...], tuple[int, ...]]]:
        """(names, values) of the cumulative counters by ifindex; a link without counters is not in it.

        Names are those of struct rtnl_link_stats64 (include/uapi/linux/if_link.h): "rx_packets", "tx_dropped", ...
        The same tuple object again for a link whose counters did not move. Raises ReadError.
        """
        ...

    def wait(self, timeout_s: float) -> bool:
        """Sleep until the kernel tells of a change of links, addresses or routes, or the time is up. True: a change."""
        ...

    def close(self) -> None:
        """Release sockets; a wait() in another thread returns soon."""
        ...


@dataclass(frozen=True, slots=True)
class ClockState:
    """The kernel's state of its clock; None: not told."""

    synchronized: bool
    offset_us: int | None
    max_error_us: int | None


class Host(Protocol):
    """One host, live or recorded."""

    @property
    def name(self) -> str:
        """Node name."""
        ...

    @property
    def live(self) -> bool:
        """True where what is read is happening now, so that active probes make sense."""
        ...

    @property
    def proc(self) -> str:
        """Directory that holds the host's /proc, for libraries that read it themselves."""
        ...

    def read(self, path: str, limit: int = 8 << 20) -> bytes:
        """Contents of a file, at most `limit` bytes. Raises ReadError."""
        ...

    def entries(self, path: str) -> Sequence[str]:
        """Sorted names in a directory. Raises ReadError."""
        ...

    def link_target(self, path: str) -> str:
        """What a symbolic link below sys/ points to, as the link says it. Raises ReadError."""
        ...

    def descriptor(self, path: str) -> int:
        """A file, or "dev/kmsg", opened for reading without blocking: for waiting on what only the kernel can tell.

        Whoever asked closes it. Raises ReadError; always on a host that is not live.
        """
        ...

    def document(self, name: str) -> object | None:
        """A JSON document that an agent measured earlier ("fsync.json", "path-mtu.json"); None: there is none.

        Always None on a live host. Raises ReadError if it is damaged.
        """
        ...

    def clock(self) -> ClockState:
        """The kernel's clock state. Raises ReadError."""
        ...

    @property
    def network(self) -> Network:
        """The host's interfaces."""
        ...
