"""The host's interfaces as a mounted /sys shows them, for an agent without the host's network namespace.

It is the second choice: no tunnel parameters, hardly a kind, no addresses, no routes, no events, and at a
hundred times the cost of rtnetlink. Source: Documentation/ABI/testing/sysfs-class-net and sysfs-class-net-statistics.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence

from nodetell.v1 import facts_pb2 as pb

from agent.host import Failure, Inventory, ReadError
from agent.netlink.links import IFF_LOOPBACK, IFF_UP
from agent.netlink.stats import COUNTER_NAMES, Counters

_ROOT = "sys/class/net"
_REFRESH_S = 5.0
"""Attributes of known links are read again after so long; a link that comes or goes is seen at once."""
_NOT_LINKS = frozenset({"bonding_masters"})
"""Files that a driver puts beside the links."""
_OPERSTATES = ("unknown", "notpresent", "down", "lowerlayerdown", "testing", "dormant", "up")
_KINDS = frozenset({"bond", "bridge", "geneve", "macvlan", "vlan", "vxlan", "wireguard"})
"""Kinds that DEVTYPE of a link can be. It can also be no kind ("wlan")."""
_COUNTER_FILES = tuple(name for name in COUNTER_NAMES if name != "rx_otherhost_dropped")
"""sysfs has no file for that one."""


class SysfsNetwork:
    """agent.host.Network over /sys/class/net, read through functions as Host has them ("sys/..." paths, ReadError)."""

    def __init__(
        self,
        read: Callable[[str], bytes],
        entries: Callable[[str], Sequence[str]],
        link_target: Callable[[str], str],
        refresh_s: float = _REFRESH_S,
    ) -> None:
        self._read = read
        self._entries = entries
        self._link_target = link_target
        self._refresh_s = refresh_s
        self._names: tuple[str, ...] = ()
        self._read_at = float("-inf")
        self._inventory = Inventory(has_routes=False, has_addresses=False, has_kinds=False, source="sysfs")
        self._indexes: dict[str, int] = {}
        self._counters: dict[int, tuple[tuple[bytes, ...], Counters]] = {}
        self._closed = threading.Event()

    def inventory(self) -> Inventory:
        """Links, without what sysfs does not tell. The same object as long as nothing changed. Raises ReadError."""
        names = tuple(name for name in self._entries(_ROOT) if name not in _NOT_LINKS)
        now = time.monotonic()
        if names != self._names or now - self._read_at >= self._refresh_s:
            inventory = self._read_links(names)
            if _content(inventory) != _content(self._inventory):
                self._inventory = inventory
            self._names, self._read_at = names, now
        return self._inventory

    def counters(self) -> Mapping[int, Counters]:
        """Counters by ifindex; the same tuple again for a link whose counters did not move. Raises ReadError."""
        self.inventory()
        rows: dict[int, tuple[tuple[bytes, ...], Counters]] = {}
        for name, index in self._indexes.items():
            raw = self._read_counters(name)
            if raw is None:
                continue
            before = self._counters.get(index)
            row = before if before is not None and before[0] == raw else (raw, _parse_counters(raw))
            if row[1][0]:
                rows[index] = row
        self._counters = rows
        return {index: row[1] for index, row in rows.items()}

    def wait(self, timeout_s: float) -> bool:
        """Sleep; sysfs tells of nothing."""
        self._closed.wait(timeout_s)
        return False

    def close(self) -> None:
        """End a wait() in another thread."""
        self._closed.set()

    def _read_links(self, names: Sequence[str]) -> Inventory:
        inventory = Inventory(has_routes=False, has_addresses=False, has_kinds=False, source="sysfs")
        indexes: dict[str, int] = {}
        for name in names:
            try:
                link = self._read_link(name)
            except ReadError as error:
                if error.failure is not Failure.ABSENT and not self._is_gone(name):
                    inventory.problems.append(error)
                continue
            indexes[name] = link.ifindex
            inventory.links[link.ifindex] = link
        neighbours = {index: self._read_neighbours(name, indexes) for name, index in indexes.items()}
        for index, (master, _) in neighbours.items():
            inventory.links[index].master = master
        for index, (_, below) in neighbours.items():
            # A bridge or bond rests on its ports, which are not below it in our sense.
            devices = [lower for lower in below if inventory.links[lower].master != index]
            if len(devices) == 1:
                inventory.links[index].lower = devices[0]
        inventory.links = dict(sorted(inventory.links.items()))
        self._indexes = indexes
        return inventory

    def _is_gone(self, name: str) -> bool:
        """Whether a link has vanished meanwhile: its files then fail with ENOENT, ENODEV or EINVAL, as it happens."""
        try:
            return name not in self._entries(_ROOT)
        except ReadError:
            return False

    def _text(self, name: str, attribute: str) -> str:
        return self._read(f"{_ROOT}/{name}/{attribute}").decode("utf-8", "replace").strip()

    def _number(self, name: str, attribute: str, base: int = 10) -> int:
        text = self._text(name, attribute)
        try:
            value = int(text, base)
        except ValueError:
            value = -1
        if not 0 <= value <= 0xFFFFFFFF:
            place = f"{_ROOT}/{name}/{attribute}"
            raise ReadError(Failure.DAMAGED, place, f"a number is wanted, found {text[:40]!r}")
        return value

    def _read_link(self, name: str) -> pb.Link:
        flags = self._number(name, "flags", 16)
        operstate = self._text(name, "operstate")
        link = pb.Link(
            ifindex=self._number(name, "ifindex"),
            name=name.encode("utf-8", "replace").decode(),
            kind=self._device_type(name),
            mtu=self._number(name, "mtu"),
            up=bool(flags & IFF_UP),
            arp_type=self._number(name, "type"),
            loopback=bool(flags & IFF_LOOPBACK),
            hardware=self._has_device(name),
        )
        if operstate in _OPERSTATES:
            link.operstate = _OPERSTATES.index(operstate)  # type: ignore[assignment]  # protoc's stubs want the enum class
        return link

    def _device_type(self, name: str) -> str:
        """The kind, where the driver says it as DEVTYPE of the uevent."""
        for line in self._text(name, "uevent").splitlines():
            key, _, value = line.partition("=")
            if key == "DEVTYPE":
                return value if value in _KINDS else ""
        return ""

    def _has_device(self, name: str) -> bool:
        try:
            self._link_target(f"{_ROOT}/{name}/device")
        except ReadError:
            return False
        return True

    def _read_neighbours(self, name: str, indexes: Mapping[str, int]) -> tuple[int, list[int]]:
        """(ifindex of what the link is a port of, ifindexes of what it rests on), as the symbolic links say.

        `iflink` is of no use: it is an index in a namespace that is not told. So a veth's other end stays unknown.
        """
        try:
            files = self._entries(f"{_ROOT}/{name}")
            below = [indexes[file[6:]] for file in files if file.startswith("lower_") and file[6:] in indexes]
            if "master" not in files:
                return 0, below
            return indexes.get(self._link_target(f"{_ROOT}/{name}/master").rpartition("/")[2], 0), below
        except ReadError:
            return 0, []  # it vanished; the next sweep tells

    def _read_counters(self, name: str) -> tuple[bytes, ...] | None:
        """What the files of the link's counters hold, empty for one that is not there; None: the link vanished."""
        contents = []
        for file in _COUNTER_FILES:
            try:
                contents.append(self._read(f"{_ROOT}/{name}/statistics/{file}"))
            except ReadError as error:
                if error.failure is not Failure.ABSENT or not contents:
                    return None
                contents.append(b"")
        return tuple(contents)


def _parse_counters(contents: Sequence[bytes]) -> Counters:
    """Counters of the files that hold a number."""
    told = [(name, text.strip()) for name, text in zip(_COUNTER_FILES, contents, strict=True)]
    rows = [(name, int(text)) for name, text in told if text.isdigit() and len(text) <= 20]
    return tuple(name for name, _ in rows), tuple(value for _, value in rows)


def _content(inventory: Inventory) -> tuple[object, ...]:
    return inventory.links, [str(problem) for problem in inventory.problems]
