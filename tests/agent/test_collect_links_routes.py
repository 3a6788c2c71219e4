"""The collectors of links and routes: what they report, what they keep, and what they say they could not see."""

from __future__ import annotations

from collections.abc import Mapping

from nodetell.v1 import facts_pb2 as pb

from agent.collectors.links import LinksCollector
from agent.collectors.routes import MAX_ROUTES, RoutesCollector
from agent.host import Failure, Host, Inventory, ReadError
from agent.netlink.stats import Counters
from agent.reading import Reading


class FakeNetwork:
    """What it is told to be."""

    def __init__(self, inventory: Inventory | ReadError, counters: Mapping[int, Counters] | ReadError) -> None:
        self.told = inventory
        self.rows = counters

    def inventory(self) -> Inventory:
        if isinstance(self.told, ReadError):
            raise self.told
        return self.told

    def counters(self) -> Mapping[int, Counters]:
        if isinstance(self.rows, ReadError):
            raise self.rows
        return self.rows


class FakeHost:
    def __init__(self, network: FakeNetwork) -> None:
        self.network = network


def host(inventory: Inventory | ReadError, counters: Mapping[int, Counters] | ReadError | None = None) -> Host:
    return FakeHost(FakeNetwork(inventory, counters or {}))  # type: ignore[return-value]  # the network is all they ask for


def coverage(reading: Reading) -> dict[str, tuple[int, str]]:
    return {
        key: (item.coverage.status, item.coverage.because)
        for key, item in reading.items.items()
        if key.startswith("coverage/")
    }


def a_host() -> Inventory:
    eth0 = pb.Link(ifindex=2, name="eth0", mtu=1500, up=True, addresses=["10.0.0.1/24"])
    vxlan = pb.Link(ifindex=9, name="vx0", kind="vxlan", mtu=1500, up=True)
    vxlan.tunnel.CopyFrom(pb.Tunnel(id=1, local="10.0.0.1"))
    return Inventory(links={2: eth0, 9: vxlan}, routes=[route("0.0.0.0/0", 2)])


def route(destination: str, ifindex: int, **fields: object) -> pb.Route:
    return pb.Route(destination=destination, ifindex=ifindex, table=254, **fields)  # type: ignore[arg-type]


def row(*values: int) -> Counters:
    return ("rx_packets", "tx_dropped"), values


def test_links_with_their_underlay_and_counters() -> None:
    inventory = a_host()
    reading = LinksCollector().collect(host(inventory, {2: row(1, 2), 9: row(3, 4)}), 0)
    assert reading.items.keys() == {"link/2", "link/9"}
    tunnel = reading.items["link/9"].link.tunnel
    assert (tunnel.underlay, tunnel.underlay_source) == (2, pb.UNDERLAY_SOURCE_LOCAL_ADDRESS)
    assert reading.blocks["link/9"].values == (3, 4)
    assert reading.blocks["link/9"].names == ("rx_packets", "tx_dropped")
    assert inventory.links[9].tunnel.underlay == 0


def test_what_did_not_change_is_the_same_object() -> None:
    collector = LinksCollector()
    inventory = a_host()
    rows = {2: row(1, 2), 9: row(3, 4)}
    first = collector.collect(host(inventory, rows), 0)
    second = collector.collect(host(inventory, {2: rows[2], 9: row(3, 5)}), 1)
    assert all(second.items[key] is first.items[key] for key in first.items)
    assert second.blocks["link/2"] is first.blocks["link/2"]
    assert second.blocks["link/9"].values == (3, 5)
    lowered = a_host()
    lowered.links[2].mtu = 1400
    third = collector.collect(host(lowered, rows), 2)
    assert third.items["link/2"].link.mtu == 1400
    assert third.items["link/9"] is first.items["link/9"]
    assert first.items["link/2"].link.mtu == 1500


def test_an_underlay_that_moves_changes_the_tunnel() -> None:
    collector = LinksCollector()
    inventory = a_host()
    first = collector.collect(host(inventory), 0)
    moved = Inventory(links=dict(inventory.links), routes=inventory.routes)
    eth1 = pb.Link(ifindex=3, name="eth1", mtu=1400, up=True, addresses=["10.0.0.1/24"])
    moved.links[2] = pb.Link(ifindex=2, name="eth0", mtu=1500, up=True)
    moved.links[3] = eth1
    second = collector.collect(host(moved), 1)
    assert second.items["link/9"] is not first.items["link/9"]
    assert second.items["link/9"].link.tunnel.underlay == 3


def test_links_that_come_and_go_take_their_counters_along() -> None:
    collector = LinksCollector()
    inventory = a_host()
    collector.collect(host(inventory, {2: row(1, 2), 9: row(3, 4)}), 0)
    without = Inventory(links={2: inventory.links[2]})
    reading = collector.collect(host(without, {2: row(1, 2), 9: row(3, 4), 11: row(0, 0)}), 1)
    assert reading.items.keys() == {"link/2"}
    assert reading.blocks.keys() == {"link/2"}


def test_without_rtnetlink_the_reason_is_told() -> None:
    denied = ReadError(Failure.DENIED, "rtnetlink", "Permission denied", "allow AF_NETLINK in the seccomp profile")
    for collector in (LinksCollector(), RoutesCollector()):
        reading = collector.collect(host(denied), 0)
        key = f"coverage/{collector.name}"
        assert reading.items.keys() == {key}
        assert reading.items[key].coverage.status == pb.COVERAGE_STATUS_DENIED
        assert "rtnetlink: Permission denied" in reading.items[key].coverage.because
        assert reading.items[key].coverage.remedy == denied.remedy


def test_counters_that_fail_leave_the_links() -> None:
    failed = ReadError(Failure.FAILED, "rtnetlink counters", "No buffer space available")
    reading = LinksCollector().collect(host(a_host(), failed), 0)
    assert {"link/2", "link/9", "coverage/link_counters"} == reading.items.keys()
    assert reading.blocks == {}


def test_sysfs_says_what_it_lacks() -> None:
    inventory = a_host()
    inventory.has_kinds = inventory.has_routes = inventory.has_addresses = False
    inventory.source = "sysfs"
    links = LinksCollector().collect(host(inventory), 0)
    assert coverage(links).keys() == {"coverage/links/kinds", "coverage/links/addresses"}
    assert all("hostNetwork" in item.coverage.remedy for key, item in links.items.items() if "coverage" in key)
    routes = RoutesCollector().collect(host(inventory), 0)
    assert routes.items["coverage/routes"].coverage.status == pb.COVERAGE_STATUS_MISSING
    assert "hostNetwork" in routes.items["coverage/routes"].coverage.remedy


def test_problems_go_to_the_signal_they_are_of_and_are_bounded() -> None:
    inventory = a_host()
    inventory.problems = [
        *(ReadError(Failure.DAMAGED, "ip-link.json", f"[{n}]: mtu: missing") for n in range(25)),
        ReadError(Failure.DAMAGED, "ip-route.json", "[0]: dst: missing"),
    ]
    links = coverage(LinksCollector().collect(host(inventory), 0))
    assert len(links) == 21
    assert links["coverage/links/problem-0"] == (pb.COVERAGE_STATUS_DAMAGED, "ip-link.json: [0]: mtu: missing")
    assert links["coverage/links/more-problems"] == (pb.COVERAGE_STATUS_DAMAGED, "5 more elements are damaged")
    routes = coverage(RoutesCollector().collect(host(inventory), 0))
    assert routes == {
        "coverage/routes/problem-0": (pb.COVERAGE_STATUS_DAMAGED, "ip-route.json: [0]: dst: missing"),
    }


def test_routes_worth_knowing() -> None:
    inventory = a_host()
    inventory.routes = [
        route("0.0.0.0/0", 2, priority=100),
        route("::/0", 2),
        route("10.0.0.0/24", 2),
        route("10.1.0.0/24", 2, mtu=1400),
        route("10.2.0.0/24", 9),
        route("10.3.0.0/24", 2, encap="ip", encap_remote="10.0.0.9"),
    ]
    collector = RoutesCollector()
    reading = collector.collect(host(inventory), 0)
    assert reading.items.keys() == {
        "route/254/0.0.0.0/0/2/100",
        "route/254/::/0/2/0",
        "route/254/10.1.0.0/24/2/0",
        "route/254/10.2.0.0/24/9/0",
        "route/254/10.3.0.0/24/2/0",
    }
    changed = a_host()
    changed.routes = [*inventory.routes[:3], route("10.1.0.0/24", 2, mtu=1300), *inventory.routes[4:]]
    again = collector.collect(host(changed), 1)
    fresh = {key for key in reading.items if again.items[key] is not reading.items[key]}
    assert fresh == {"route/254/10.1.0.0/24/2/0"}


def test_next_hops_through_one_device_are_one_item_with_the_smallest_mtu() -> None:
    inventory = a_host()
    inventory.routes = [
        route("10.1.0.0/24", 2, mtu=0, encap="ip", gateway="10.0.0.3"),
        route("10.1.0.0/24", 2, mtu=1400, gateway="10.0.0.4"),
        route("10.1.0.0/24", 2, mtu=1300, gateway="10.0.0.5"),
    ]
    for routes in (inventory.routes, inventory.routes[::-1]):
        reading = RoutesCollector().collect(host(Inventory(links=inventory.links, routes=routes)), 0)
        assert [item.route.mtu for item in reading.items.values()] == [1300]


def test_too_many_routes_are_bounded_and_counted_and_the_default_route_stays() -> None:
    inventory = a_host()
    many = [route(f"10.{n // 250}.{n % 250}.0/24", 9) for n in range(MAX_ROUTES + 10)]
    inventory.routes = [*many, route("10.255.0.0/16", 2, mtu=1400), route("0.0.0.0/0", 2)]
    reading = RoutesCollector().collect(host(inventory), 0)
    assert len([key for key in reading.items if key.startswith("route/")]) == MAX_ROUTES
    assert {"route/254/0.0.0.0/0/2/0", "route/254/10.255.0.0/16/2/0"} <= reading.items.keys()
    status, because = coverage(reading)["coverage/routes/bound"]
    assert status == pb.COVERAGE_STATUS_DEGRADED
    assert because.startswith("12 of 2,012 routes")


def test_a_bundle_without_routes_says_how_to_record_them() -> None:
    inventory = a_host()
    inventory.has_routes, inventory.source = False, "ip-link.json"
    missing = RoutesCollector().collect(host(inventory), 0).items["coverage/routes"].coverage
    assert (missing.status, missing.because) == (pb.COVERAGE_STATUS_MISSING, "ip-route.json: missing")
    assert "ip -j route" in missing.remedy
    inventory.problems = [ReadError(Failure.DAMAGED, "ip-route.json", "not JSON: line 1 column 1: nothing")]
    damaged = RoutesCollector().collect(host(inventory), 0).items["coverage/routes"].coverage
    assert damaged.status == pb.COVERAGE_STATUS_DAMAGED
