"""Routes worth knowing: with an MTU of their own, through a tunnel, encapsulated, or the default."""

from __future__ import annotations

from collections.abc import Mapping

from nodetell.v1 import facts_pb2 as pb

from agent.collectors import gaps
from agent.collectors.base import NETWORK_LANE
from agent.collectors.links import tell_problems
from agent.host import Failure, Host, Inventory, ReadError
from agent.network import ROUTE_PLACES
from agent.reading import Reading

MAX_ROUTES = 2_000
"""Routes reported of one host."""
_DEFAULTS = ("0.0.0.0/0", "::/0")


class RoutesCollector:
    """Items "route/TABLE/DST/IFINDEX/PRIORITY", the same objects again for a route that did not change."""

    name = "routes"
    lane = NETWORK_LANE
    interval_s = 1.0

    def __init__(self) -> None:
        self._inventory: Inventory | None = None
        self._items: dict[str, pb.Item] = {}

    def collect(self, host: Host, now: float) -> Reading:  # noqa: ARG002  # the contract of collectors
        """Everything known now. What cannot be read becomes a coverage entry."""
        reading = Reading()
        try:
            inventory = host.network.inventory()
        except ReadError as error:
            gaps.add(reading, "routes", error, lost="no interfaces, so no routes")
            return reading
        if inventory is not self._inventory:
            self._items = self._make_items(inventory)
            self._inventory = inventory
        reading.items.update(self._items)
        if inventory.has_routes:
            reading.source("routes", inventory.source)
        return reading

    def _make_items(self, inventory: Inventory) -> dict[str, pb.Item]:
        gathered = Reading()
        chosen = _chosen(inventory)
        for key, route in list(chosen.items())[:MAX_ROUTES]:
            before = self._items.get(key)
            gathered.add(before if before is not None and before.route == route else pb.Item(key=key, route=route))
        if len(chosen) > MAX_ROUTES:
            because = (
                f"{len(chosen) - MAX_ROUTES:,} of {len(chosen):,} routes with an MTU or through a tunnel are left out"
            )
            reason = f"{because}: at most {MAX_ROUTES:,} are reported"
            gathered.gap("routes", reason, detail="bound", status=pb.COVERAGE_STATUS_DEGRADED)
        problems = [problem for problem in inventory.problems if problem.place in ROUTE_PLACES]
        if not inventory.has_routes:
            _tell_unreadable(inventory, problems, gathered)
        else:
            tell_problems("routes", problems, gathered)
        return gathered.items


def _tell_unreadable(inventory: Inventory, problems: list[ReadError], reading: Reading) -> None:
    if inventory.source == "sysfs":
        because = "sysfs has no routes, and /proc/net/route does not tell a route's MTU"
        reading.gap("routes", because, remedy="run the agent with hostNetwork: true (no capability is needed)")
    elif problems:
        damaged = any(problem.failure is Failure.DAMAGED for problem in problems)
        status = pb.COVERAGE_STATUS_DAMAGED if damaged else pb.COVERAGE_STATUS_MISSING
        reading.gap("routes", "; ".join(str(problem) for problem in problems), status=status)
    else:
        reading.gap("routes", "ip-route.json: missing", remedy="record `ip -j route show table all`")


def _chosen(inventory: Inventory) -> Mapping[str, pb.Route]:
    """Routes worth knowing by key, default routes and those with an MTU first: the bound takes the others away."""
    tunnels = {index for index, link in inventory.links.items() if link.HasField("tunnel")}
    worth = [route for route in inventory.routes if _is_worth(route, tunnels)]
    worth.sort(key=_order)
    chosen: dict[str, pb.Route] = {}
    for route in worth:
        # Next hops through one device share a key; the first has the smallest MTU.
        chosen.setdefault(f"route/{route.table}/{route.destination}/{route.ifindex}/{route.priority}", route)
    return chosen


def _is_worth(route: pb.Route, tunnels: set[int]) -> bool:
    return bool(route.mtu or route.encap or route.ifindex in tunnels or route.destination in _DEFAULTS)


def _order(route: pb.Route) -> tuple[object, ...]:
    return (
        route.destination not in _DEFAULTS,
        not route.mtu,
        route.table,
        route.destination,
        route.ifindex,
        route.priority,
        route.mtu,
        route.gateway,
    )
