"""Every network interface with its tunnel parameters, addresses and counters, and the device below each tunnel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from nodetell.v1 import facts_pb2 as pb

from agent import bounds, underlay
from agent.collectors import gaps
from agent.collectors.base import NETWORK_LANE
from agent.host import Failure, Host, Inventory, ReadError
from agent.netlink.stats import Counters
from agent.network import ROUTE_PLACES
from agent.reading import Block, Reading
from agent.underlay import Underlay

MAX_PROBLEMS = 20
"""Damaged elements told one by one; of more, only how many there are."""
_HOST_NETWORK = "run the agent with hostNetwork: true (no capability is needed)"
_STATUS_OF_FAILURE = {Failure.DAMAGED: pb.COVERAGE_STATUS_DAMAGED}


class LinksCollector:
    """Items and counter blocks "link/IFINDEX". Both are the same objects again for a link that did not change."""

    name = "links"
    lane = NETWORK_LANE
    interval_s = 1.0

    def __init__(self) -> None:
        self._inventory: Inventory | None = None
        self._links: dict[int, tuple[pb.Link, Underlay | None, pb.Item]] = {}
        """What each item was made of."""
        self._chosen: frozenset[int] | None = None
        """Those that are told; None: all."""
        self._items: dict[str, pb.Item] = {}
        self._blocks: dict[int, tuple[Counters, str, Block]] = {}

    def collect(self, host: Host, now: float) -> Reading:  # noqa: ARG002  # the contract of collectors
        """Everything known now. What cannot be read becomes a coverage entry."""
        reading = Reading()
        try:
            inventory = host.network.inventory()
        except ReadError as error:
            gaps.add(reading, "links", error)
            return reading
        if inventory is not self._inventory:
            self._items = self._make_items(inventory)
            self._inventory = inventory
        reading.items.update(self._items)
        reading.source("links", inventory.source)
        try:
            reading.blocks = self._make_blocks(host.network.counters(), inventory)
        except ReadError as error:
            gaps.add(reading, "link_counters", error)
        else:
            reading.source("link_counters", inventory.source)
        return reading

    def _make_items(self, inventory: Inventory) -> dict[str, pb.Item]:
        underlays = underlay.resolve(inventory)
        known = self._links
        self._links = {}
        gathered = Reading()
        self._chosen = bounds.chosen_links(inventory.links, (route.ifindex for route in inventory.routes))
        for index, link in self._told(inventory):
            below = underlays.get(index)
            entry = known.get(index)
            if entry is None or entry[1] != below or (entry[0] is not link and entry[0] != link):
                entry = link, below, _item(link, below)
            self._links[index] = entry
            gathered.items[entry[2].key] = entry[2]
        _tell_limits(inventory, gathered)
        left_out = len(inventory.links) - len(self._links)
        bounds.tell(gathered, "links", "interfaces, pods' ends first,", left_out, len(self._links))
        return gathered.items

    def _told(self, inventory: Inventory) -> Iterable[tuple[int, pb.Link]]:
        chosen = self._chosen
        links = inventory.links.items()
        return links if chosen is None else ((index, link) for index, link in links if index in chosen)

    def _make_blocks(self, counters: Mapping[int, Counters], inventory: Inventory) -> dict[str, Block]:
        known = self._blocks
        blocks: dict[str, Block] = {}
        chosen = self._chosen
        for index, row in counters.items():
            if chosen is not None and index not in chosen:
                continue
            entry = known.get(index)
            if entry is None or entry[0] is not row:
                entry = known[index] = row, f"link/{index}", Block(*row)
            blocks[entry[1]] = entry[2]
        if len(known) != len(blocks):
            for index in [index for index, entry in known.items() if entry[1] not in blocks]:
                del known[index]
        if counters.keys() != inventory.links.keys():  # a link came or went between the two readings
            for index in counters.keys() - inventory.links.keys():
                blocks.pop(f"link/{index}", None)
        return blocks


def _item(link: pb.Link, below: Underlay | None) -> pb.Item:
    item = pb.Item(key=f"link/{link.ifindex}", link=link)
    del item.link.addresses[bounds.MOST_ADDRESSES :]
    if below is not None:
        item.link.tunnel.underlay = below.ifindex
        item.link.tunnel.underlay_source = below.source  # type: ignore[assignment]  # protoc's stubs want the enum class
    return item


def _tell_limits(inventory: Inventory, reading: Reading) -> None:
    if not inventory.has_kinds:
        because = f"{inventory.source} tells neither kinds nor tunnel parameters of interfaces: MTUs cannot be compared"
        reading.gap("links", because, detail="kinds", status=pb.COVERAGE_STATUS_DEGRADED, remedy=_HOST_NETWORK)
    if not inventory.has_addresses:
        because = f"addresses of interfaces are not known: beside {inventory.source} there is no source of them"
        remedy = _HOST_NETWORK if inventory.source == "sysfs" else ""
        reading.gap("links", because, detail="addresses", status=pb.COVERAGE_STATUS_DEGRADED, remedy=remedy)
    many = [link.name for link in inventory.links.values() if len(link.addresses) > bounds.MOST_ADDRESSES]
    if many:
        because = f"{', '.join(many[:5])}: of each only {bounds.MOST_ADDRESSES} addresses are reported"
        reading.gap("links", because, detail="many-addresses", status=pb.COVERAGE_STATUS_DEGRADED)
    tell_problems("links", (p for p in inventory.problems if p.place not in ROUTE_PLACES), reading)


def tell_problems(signal: str, problems: Iterable[ReadError], reading: Reading) -> None:
    """A coverage entry for each of the first problems, and one for how many more there are."""
    told = list(problems)
    for number, problem in enumerate(told[:MAX_PROBLEMS]):
        status = _STATUS_OF_FAILURE.get(problem.failure, pb.COVERAGE_STATUS_DEGRADED)
        reading.gap(signal, str(problem), detail=f"problem-{number}", status=status, remedy=problem.remedy)
    if len(told) > MAX_PROBLEMS:
        because = f"{len(told) - MAX_PROBLEMS} more elements are damaged"
        reading.gap(signal, because, detail="more-problems", status=pb.COVERAGE_STATUS_DAMAGED)
