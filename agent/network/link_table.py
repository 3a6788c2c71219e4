"""Links with their addresses, as dumps and events of rtnetlink tell them. No socket here: messages in, links out."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from nodetell.v1 import facts_pb2 as pb

from agent.netlink import addresses, links, routes, wire
from agent.netlink.addresses import Address
from agent.netlink.wire import Message

PAIRING_ATTEMPTS = 5
"""A link that was announced without its other end is asked for again so many times."""


class LinkTable:
    """What is known of links. Messages of a later time come later: each simply replaces what was known."""

    def __init__(self, on_bus: Callable[[str], bool] | None = None) -> None:
        """`on_bus` tells by name whether a link is hardware, for kernels before 5.14, whose rtnetlink does not."""
        self.changed = False
        """Something differs from what build() gave out last."""
        self.routes_touched = False
        """Something happened that changes routes, or may: IPv4 routes that go with their interface vanish silently."""
        self.unpaired: dict[int, int] = {}
        """Links announced before they had another end, and how often they were asked for since."""
        self._on_bus = on_bus
        self._links: dict[int, pb.Link] = {}
        self._addresses: dict[int, dict[bytes, str]] = {}
        self._whole: dict[int, pb.Link] = {}
        """Links with their addresses filled in, as they were given out."""
        self._dirty: set[int] = set()
        """Links that may differ from what was given out."""

    def replace(self, found_links: Iterable[pb.Link], found_addresses: Iterable[Address]) -> None:
        """Take what a dump says for all there is."""
        self.unpaired.clear()
        self._links = {link.ifindex: link for link in found_links}
        for link in self._links.values():
            self._tell_hardware(link)
        self._addresses = {}
        for address in found_addresses:
            self._addresses.setdefault(address.ifindex, {})[address.identity] = address.text
        self._dirty |= self._links.keys() | self._whole.keys()
        self.changed = True

    def take(self, message: Message) -> None:
        """Take in an event. Raises DecodeError."""
        if message.type in (wire.RTM_NEWLINK, wire.RTM_DELLINK):
            family, index = links.link_family_and_index(message.body)
            if family != 0:
                return
            if message.type == wire.RTM_DELLINK:
                self._drop(index)
            elif (link := links.decode_link(message.body)) is not None:
                self._put(link)
        elif message.type in (wire.RTM_NEWADDR, wire.RTM_DELADDR):
            self._take_address(message)
        elif message.type in (wire.RTM_NEWROUTE, wire.RTM_DELROUTE) and routes.is_kept(message.body):
            self.routes_touched = True

    def asked_for(self, index: int) -> None:
        """A link was asked for again, and what came of it was taken in."""
        attempts = self.unpaired.get(index, PAIRING_ATTEMPTS) + 1
        if attempts < PAIRING_ATTEMPTS:
            self.unpaired[index] = attempts
        else:
            self.unpaired.pop(index, None)

    def build(self) -> dict[int, pb.Link]:
        """All links by ifindex, ascending. The same object again for a link that did not change."""
        whole = dict(self._whole)
        for index in self._dirty:
            link = self._links.get(index)
            if link is None:
                whole.pop(index, None)
                continue
            filled = pb.Link()
            filled.CopyFrom(link)
            filled.addresses.extend(sorted(set(self._addresses.get(index, {}).values())))
            if whole.get(index) != filled:
                whole[index] = filled
        self._dirty.clear()
        self._whole = dict(sorted(whole.items()))
        self.changed = False
        return dict(self._whole)

    def _put(self, link: pb.Link) -> None:
        self._tell_hardware(link)
        if link.kind in links.PAIR_KINDS and not link.lower and not link.HasField("peer_ifindex"):
            self.unpaired.setdefault(link.ifindex, 0)
        else:
            self.unpaired.pop(link.ifindex, None)
        before = self._links.get(link.ifindex)
        if before != link:
            self._links[link.ifindex] = link
            self._dirty.add(link.ifindex)
            self.changed = True
            self.routes_touched = self.routes_touched or (before is not None and before.up and not link.up)

    def _tell_hardware(self, link: pb.Link) -> None:
        if self._on_bus is not None and not link.hardware:
            link.hardware = self._on_bus(link.name)

    def _drop(self, index: int) -> None:
        if self._links.pop(index, None) is not None:
            self.unpaired.pop(index, None)
            self._addresses.pop(index, None)
            self._dirty.add(index)
            self.changed = self.routes_touched = True

    def _take_address(self, message: Message) -> None:
        address = addresses.decode_address(message.body)
        if address is None:
            return
        of_link = self._addresses.setdefault(address.ifindex, {})
        if message.type == wire.RTM_NEWADDR:
            changed = of_link.get(address.identity) != address.text
            of_link[address.identity] = address.text
        else:
            changed = of_link.pop(address.identity, None) is not None
            self.routes_touched = True
        if not of_link:
            del self._addresses[address.ifindex]
        if changed:
            self._dirty.add(address.ifindex)
            self.changed = True
