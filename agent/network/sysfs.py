"""The host's interfaces as a mounted /sys shows them, for an agent without the host's network namespace.

It is the second choice: no tunnel parameters, hardly a kind, no addresses, no routes, no events.
Source: Documentation/ABI/testing/sysfs-class-net.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from nodetell.v1 import facts_pb2 as pb

from agent.host import Failure, Inventory, ReadError
from agent.netlink.links import IFF_LOOPBACK, IFF_UP
from agent.netlink.stats import Counters
from agent.network.sysfs_counters import SysfsCounters

_ROOT = "sys/class/net"
_REFRESH_S = 5.0
"""Attributes of known links are read again after so long; a link that comes or goes is seen at once."""
_NOT_LINKS = frozenset({"bonding_masters"})
"""Files that a driver puts beside the links."""
_OPERSTATES = ("unknown", "notpresent", "down", "lowerlayerdown", "testing", "dormant", "up")
_KINDS = frozenset({"bond", "bridge", "geneve", "macvlan", "vlan", "vxlan", "wireguard"})
"""Kinds that DEVTYPE of a link can be. It can also be no kind ("wlan")."""


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
        self._fixed: dict[tuple[str, int], tuple[str, int, bool]] = {}
        """Kind, ARPHRD_ type and whether it is hardware: what does not change while a link exists."""
        self._counters = SysfsCounters(read)
        self._counted_at = float("-inf")
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
        thorough = self._counted_at != self._read_at
        self._counted_at = self._read_at
        return self._counters.sweep(self._indexes, thorough)

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
        self._fixed = {key: fixed for key, fixed in self._fixed.items() if indexes.get(key[0]) == key[1]}
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
        ifindex = self._number(name, "ifindex")
        flags = self._number(name, "flags", 16)
        operstate = self._text(name, "operstate")
        fixed = self._fixed.get((name, ifindex))
        if fixed is None:
            fixed = self._device_type(name), self._number(name, "type"), self._has_device(name)
            self._fixed[name, ifindex] = fixed
        kind, arp_type, hardware = fixed
        link = pb.Link(
            ifindex=ifindex,
            name=os.fsencode(name).decode("utf-8", "replace"),
            kind=kind,
            mtu=self._number(name, "mtu"),
            up=bool(flags & IFF_UP),
            arp_type=arp_type,
            loopback=bool(flags & IFF_LOOPBACK),
            hardware=hardware,
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


def _content(inventory: Inventory) -> tuple[object, ...]:
    return inventory.links, [str(problem) for problem in inventory.problems]
