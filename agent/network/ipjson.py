"""A host's interfaces as iproute2's JSON tells them, in a bundle; and the same JSON made of what an agent knows."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from agent.host import Failure, Inventory, ReadError
from agent.netlink.stats import Counters
from agent.network.ipdocuments import Fields, PairsHook, load, objects
from agent.network.iplink import (
    ADDRESS_PLACE,
    LINK_PLACE,
    interface_names,
    parse_addresses,
    parse_counters,
    parse_link,
    render_addresses,
    render_link,
)
from agent.network.iproute import ROUTE_PLACE, parse_routes, render_route, take_pairs


class IpJsonNetwork:
    """agent.host.Network over ip-link.json, ip-addr.json and ip-route.json. `read` gives them by name.

    The files are read once. Without ip-link.json there is no inventory; the other two may be missing.
    """

    def __init__(self, read: Callable[[str], bytes]) -> None:
        self._read = read
        self._inventory: Inventory | None = None
        self._counters: dict[int, Counters] = {}
        self._closed = threading.Event()

    def inventory(self) -> Inventory:
        """Links, addresses and routes: the same object every time. Raises ReadError without a usable ip-link.json."""
        if self._inventory is None:
            self._inventory = self._parse()
        return self._inventory

    def counters(self) -> Mapping[int, Counters]:
        """Counters by ifindex: the same objects every time. Raises ReadError as inventory() does."""
        self.inventory()
        return self._counters

    def wait(self, timeout_s: float) -> bool:
        """Sleep; nothing ever changes."""
        self._closed.wait(timeout_s)
        return False

    def close(self) -> None:
        """End a wait() in another thread."""
        self._closed.set()

    def _parse(self) -> Inventory:
        inventory = Inventory(source=LINK_PLACE)
        problems = inventory.problems
        elements = self._elements(LINK_PLACE, problems)
        names = interface_names(elements)
        of_index: dict[int, Fields] = {}
        for fields in elements:
            link = parse_link(fields, names)
            if link is None:
                continue
            if link.ifindex in inventory.links:
                fields.problem("ifindex", f"{link.ifindex} is {inventory.links[link.ifindex].name!r} already")
                continue
            inventory.links[link.ifindex] = link
            of_index[link.ifindex] = fields
        self._counters = parse_counters(of_index)
        try:
            self._take_addresses(inventory, names)
        except ReadError as error:
            inventory.has_addresses = False
            _unless_absent(error, problems)
        try:
            inventory.routes = parse_routes(self._elements(ROUTE_PLACE, problems, take_pairs), names)
        except ReadError as error:
            inventory.has_routes = False
            _unless_absent(error, problems)
        return inventory

    def _elements(self, place: str, problems: list[ReadError], hook: PairsHook | None = None) -> list[Fields]:
        values, damage = load(place, self._read(place), hook)
        problems += damage
        return objects(values, place, problems)

    def _take_addresses(self, inventory: Inventory, names: Mapping[str, int]) -> None:
        for index, addresses in parse_addresses(self._elements(ADDRESS_PLACE, inventory.problems), names).items():
            link = inventory.links.get(index)
            if link is None:
                because = f"interface {index} has addresses and is not in {LINK_PLACE}"
                inventory.problems.append(ReadError(Failure.DAMAGED, ADDRESS_PLACE, because))
            else:
                link.addresses.extend(sorted(addresses))


def _unless_absent(error: ReadError, problems: list[ReadError]) -> None:
    if error.failure is not Failure.ABSENT:
        problems.append(error)


def render(inventory: Inventory, counters: Mapping[int, Counters]) -> dict[str, list[dict[str, object]]]:
    """The documents by file name in iproute2's own form, so that parsing gives the same links, routes and counters.

    Two keys are our own, for what iproute2's JSON loses: "lock" beside a route's MTU, and "encap_dst". A document that
    could not be made (no routes, no addresses known) is left out. Underlays are not written: they follow from the rest.
    """
    links = inventory.links
    documents = {LINK_PLACE: [render_link(link, links, counters.get(index)) for index, link in links.items()]}
    if inventory.has_addresses:
        documents[ADDRESS_PLACE] = [render_addresses(link) for link in links.values()]
    if inventory.has_routes:
        documents[ROUTE_PLACE] = [render_route(route, links) for route in inventory.routes]
    return documents
