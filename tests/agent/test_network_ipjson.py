"""iproute2's JSON, read and written: whatever is odd in it, and what comes back of what was written."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from socket import AF_INET6, inet_ntop

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nodetell.v1 import facts_pb2 as pb

from agent.host import Failure, Inventory, ReadError
from agent.netlink.stats import COUNTER_NAMES, Counters
from agent.netlink.tunnels import IPV6_KINDS, TUNNEL_KINDS, finish, outer_df_of_ip_tunnel
from agent.network.ipjson import IpJsonNetwork, render

CAPTURES = Path(__file__).parent / "captures"


def network(link: object = None, addr: object = None, route: object = None) -> IpJsonNetwork:
    """Of documents: bytes as they are, None for a missing one, anything else as JSON."""
    documents = {"ip-link.json": link, "ip-addr.json": addr, "ip-route.json": route}

    def read(name: str) -> bytes:
        value = documents[name]
        if value is None:
            raise ReadError(Failure.ABSENT, name, "missing")
        return value if isinstance(value, bytes) else json.dumps(value).encode()

    return IpJsonNetwork(read)


def problems(of: IpJsonNetwork) -> list[str]:
    return [str(problem) for problem in of.inventory().problems]


ETH0: dict[str, object] = {
    "ifindex": 2, "ifname": "eth0", "flags": ["BROADCAST", "UP"], "mtu": 1500, "operstate": "UP", "link_type": "ether",
}  # fmt: skip


def with_info(kind: str, data: dict[str, object], **more: object) -> dict[str, object]:
    return {**ETH0, "ifindex": 9, "ifname": "t0", "linkinfo": {"info_kind": kind, "info_data": data}, **more}


# -- odd input ---------------------------------------------------------------------------------------------------------

ODD_LINKS: dict[str, tuple[object, list[str]]] = {
    "not an object": (7, ["ip-link.json: [1]: element: an object is wanted, found 7"]),
    "an empty object, as iproute2 leaves of what it filters": ({}, []),
    "no ifindex": ({"ifname": "x"}, ["ip-link.json: [1]: ifindex: missing"]),
    "a name that is a number": (
        {**ETH0, "ifindex": 9, "ifname": 5},
        ["ip-link.json: [1]: ifname: a string is wanted, found 5"],
    ),
    "ifindex true": (
        {**ETH0, "ifindex": True},
        ["ip-link.json: [1]: ifindex: a whole number is wanted, found true"],
    ),
    "an ifindex that is taken": (
        {**ETH0, "ifname": "again"},
        ["ip-link.json: [1] (again): ifindex: 2 is 'eth0' already"],
    ),
    "mtu is text": (
        {**ETH0, "ifindex": 9, "ifname": "x", "mtu": "1500"},
        ['ip-link.json: [1] (x): mtu: a whole number is wanted, found "1500"'],
    ),
    "mtu is too large": (
        {**ETH0, "ifindex": 9, "ifname": "x", "mtu": 1 << 32},
        ["ip-link.json: [1] (x): mtu: 4294967296 is not between 0 and 4294967295"],
    ),
    "no mtu": ({"ifindex": 9, "ifname": "x"}, ["ip-link.json: [1] (x): mtu: missing"]),
    "flags are text": (
        {**ETH0, "ifindex": 9, "ifname": "x", "flags": "UP"},
        ['ip-link.json: [1] (x): flags: a list is wanted, found "UP"'],
    ),
    "a state of its own": (
        {**ETH0, "ifindex": 9, "ifname": "x", "operstate": "SLEEPY"},
        ["ip-link.json: [1] (x): operstate: 'SLEEPY' is not known"],
    ),
    "a master nobody knows": (
        {**ETH0, "ifindex": 9, "ifname": "x", "master": "gone"},
        ["ip-link.json: [1] (x): master: no interface is named 'gone'"],
    ),
    "linkinfo is a list": (
        {**ETH0, "ifindex": 9, "ifname": "x", "linkinfo": []},
        ["ip-link.json: [1] (x): linkinfo: an object is wanted, found []"],
    ),
    "a VNI that is text": (
        with_info("vxlan", {"id": "one"}),
        ['ip-link.json: [1] (t0): linkinfo: info_data: id: a whole number is wanted, found "one"'],
    ),
    "a remote that is no address": (
        with_info("geneve", {"id": 1, "remote": "10.0.0.300"}),
        ['ip-link.json: [1] (t0): linkinfo: info_data: remote: an IP address is wanted, found "10.0.0.300"'],
    ),
    "a DF nobody knows": (
        with_info("vxlan", {"id": 1, "df": "maybe"}),
        ["ip-link.json: [1] (t0): linkinfo: info_data: df: 'maybe' is not known"],
    ),
    "a GRE key that is no quad": (
        with_info("gre", {"okey": "fd00::1"}),
        ["ip-link.json: [1] (t0): linkinfo: info_data: okey: a dotted quad is wanted, found 'fd00::1'"],
    ),
    "a counter below zero": (
        {**ETH0, "ifindex": 9, "ifname": "x", "stats64": {"rx": {"packets": -1, "bytes": 5}}},
        [f"ip-link.json: [1] (x): stats64: rx: packets: -1 is not between 0 and {(1 << 64) - 1}"],
    ),
}


@pytest.mark.parametrize("name", ODD_LINKS)
def test_an_odd_link_is_one_problem_and_the_rest_is_good(name: str) -> None:
    element, expected = ODD_LINKS[name]
    found = network([ETH0, element, {**ETH0, "ifindex": 5, "ifname": "eth5"}])
    assert problems(found) == expected
    assert {2, 5} <= found.inventory().links.keys()


LINKS = [ETH0, {**ETH0, "ifindex": 3, "ifname": "vx0"}]
ODD_ROUTES: dict[str, tuple[object, list[str], int]] = {
    "an unknown device": (
        {"dst": "10.0.0.0/8", "dev": "gone"},
        ["ip-route.json: [1]: dev: no interface is named 'gone'"],
        0,
    ),
    "no destination": ({"dev": "eth0"}, ["ip-route.json: [1]: dst: missing"], 0),
    "a destination of nonsense": (
        {"dst": "10.0.0.0/40", "dev": "eth0"},
        ["ip-route.json: [1]: dst: a network is wanted, found '10.0.0.0/40'"],
        0,
    ),
    "a length of nonsense": (
        {"dst": "10.0.0.0/x", "dev": "eth0"},
        ["ip-route.json: [1]: dst: a network is wanted, found '10.0.0.0/x'"],
        0,
    ),
    "metrics as an object": (
        {"dst": "10.0.0.0/8", "dev": "eth0", "metrics": {"mtu": 1}},
        ['ip-route.json: [1]: metrics: a list is wanted, found {"mtu": 1}'],
        1,
    ),
    "a gateway of nonsense": (
        {"dst": "10.0.0.0/8", "dev": "eth0", "gateway": "router"},
        ['ip-route.json: [1]: gateway: an IP address is wanted, found "router"'],
        1,
    ),
    "a table whose name only that host knows": (
        {"dst": "10.0.0.0/8", "dev": "eth0", "table": "eni-1"},
        ["ip-route.json: [1]: table: the number of table 'eni-1' is not known"],
        1,
    ),
    "a blackhole is no path": ({"type": "blackhole", "dst": "10.0.0.0/8"}, [], 0),
    "local": ({"type": "local", "dst": "10.0.0.1", "dev": "eth0", "table": "local"}, [], 0),
    "a unicast route of the local table": ({"dst": "10.0.0.1", "dev": "eth0", "table": "local"}, [], 0),
}


@pytest.mark.parametrize("name", ODD_ROUTES)
def test_an_odd_route_is_one_problem_and_the_rest_is_good(name: str) -> None:
    element, expected, kept = ODD_ROUTES[name]
    good = {"dst": "default", "dev": "eth0"}
    found = network(LINKS, [], [good, element, good])
    assert problems(found) == expected
    assert len(found.inventory().routes) == 2 + kept


def test_what_routes_look_like() -> None:
    document = [
        {"dst": "10.1.0.0/24", "dev": "vx0", "metrics": [{"mtu": 1400}], "metric": 5, "prefsrc": "10.0.0.1"},
        {"dst": "10.2.0.1", "gateway": "10.0.0.2", "dev": "eth0", "table": "100"},
        {"dst": "10.3.0.0/24", "via": {"family": "inet6", "host": "fd00::2"}, "dev": "eth0", "table": 7},
        {"dst": "10.4.0.0/24", "nexthops": [{"gateway": "10.0.0.2", "dev": "eth0"}, {"dev": "vx0"}]},
        {"dst": "default", "via": {"family": "inet6", "host": "fd00::2"}, "dev": "eth0"},
        {"dst": "default", "dev": "eth0", "pref": "medium"},
        {"dst": "default", "gateway": "fd00::1", "dev": "eth0"},
        {"dst": "default", "pref": "medium", "nexthops": [{"gateway": "fd00::1", "dev": "eth0"}]},
        {"dst": "fd00::/64", "dev": "eth0", "table": "default"},
    ]
    routes = network(LINKS, [], document).inventory().routes
    assert routes == [
        pb.Route(destination="10.1.0.0/24", ifindex=3, mtu=1400, priority=5, source="10.0.0.1", table=254),
        pb.Route(destination="10.2.0.1/32", ifindex=2, gateway="10.0.0.2", table=100),
        pb.Route(destination="10.3.0.0/24", ifindex=2, gateway="fd00::2", table=7),
        pb.Route(destination="10.4.0.0/24", ifindex=2, gateway="10.0.0.2", table=254),
        pb.Route(destination="10.4.0.0/24", ifindex=3, table=254),
        pb.Route(destination="0.0.0.0/0", ifindex=2, gateway="fd00::2", table=254),
        pb.Route(destination="::/0", ifindex=2, table=254),
        pb.Route(destination="::/0", ifindex=2, gateway="fd00::1", table=254),
        pb.Route(destination="::/0", ifindex=2, gateway="fd00::1", table=254),
        pb.Route(destination="fd00::/64", ifindex=2, table=253),
    ]


def test_the_second_dst_of_an_encapsulated_route_does_not_hide_the_first() -> None:
    document = b'[{"dst":"10.9.3.0/24","encap":"ip","id":7,"src":"0.0.0.0","dst":"10.0.0.9","ttl":0,"dev":"eth0"}]'
    routes = network(LINKS, [], document).inventory().routes
    assert routes == [pb.Route(destination="10.9.3.0/24", ifindex=2, encap="ip", encap_remote="10.0.0.9", table=254)]


def test_a_device_below_by_name_by_index_or_gone() -> None:
    links = [
        *LINKS,
        {**ETH0, "ifindex": 4, "ifname": "veth1", "link_index": 3, "link_netnsid": 0},
        {**ETH0, "ifindex": 5, "ifname": "veth2", "link_index": 3},
        {**ETH0, "ifindex": 6, "ifname": "mv0", "link": "eth0"},
        {**ETH0, "ifindex": 7, "ifname": "mv1", "link": "if77"},
        {**ETH0, "ifindex": 8, "ifname": "tunl0", "link": None},
        with_info("vxlan", {"id": 1, "link": "eth0"}),
        with_info("vxlan", {"id": 1, "link": "eth0"}, ifindex=10, ifname="t1", link_netnsid=3),
    ]
    found = network(links).inventory()
    assert found.problems == []
    below = {i: (k.lower, k.peer_ifindex, k.peer_netnsid) for i, k in found.links.items()}
    assert below == {
        2: (0, 0, 0), 3: (0, 0, 0), 4: (0, 3, 0), 5: (0, 3, -1), 6: (2, 0, 0), 7: (77, 0, 0), 8: (0, 0, 0),
        9: (2, 0, 0), 10: (0, 2, 3),
    }  # fmt: skip


# -- damaged documents -------------------------------------------------------------------------------------------------


def test_a_document_cut_short_gives_what_came_before() -> None:
    whole = (CAPTURES / "ip-link.json").read_bytes()
    everything = network(whole).inventory().links
    cut = network(whole[: len(whole) // 2]).inventory()
    assert 2 < len(cut.links) < len(everything)
    assert "not JSON: line 1 column" in str(cut.problems[0])


@pytest.mark.parametrize("data", [b"", b"{}", b"null", b"\xff\xfe[", b"[" * 100_000, b"[" + b"9" * 5000 + b"]", b"[,"])
def test_a_document_of_nothing_usable(data: bytes) -> None:
    with pytest.raises(ReadError) as caught:
        network(data).inventory()
    assert caught.value.failure is Failure.DAMAGED
    assert str(caught.value).startswith("ip-link.json: ")
    assert "\n" not in str(caught.value)
    beside = network([ETH0], data, data).inventory()
    assert (beside.has_addresses, beside.has_routes) == (False, False)
    assert [problem.place for problem in beside.problems] == ["ip-addr.json", "ip-route.json"]


@given(st.integers(0, 1 << 20), st.integers(0, 255), st.sampled_from(["ip-link.json", "ip-addr.json", "ip-route.json"]))
@settings(max_examples=150)
def test_one_flipped_byte_never_raises_anything_else(position: int, value: int, name: str) -> None:
    documents = {n: (CAPTURES / n).read_bytes() for n in ("ip-link.json", "ip-addr.json", "ip-route.json")}
    flipped = bytearray(documents[name])
    flipped[position % len(flipped)] = value
    documents[name] = bytes(flipped)
    found = IpJsonNetwork(lambda n: documents[n])
    with contextlib.suppress(ReadError):  # where nothing of the links is left
        assert found.inventory().links or name == "ip-link.json"
        found.counters()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = (
    "ifindex", "ifname", "flags", "mtu", "operstate", "link_type", "master", "link", "link_index", "link_netnsid",
    "linkinfo", "stats64", "addr_info", "family", "local", "prefixlen", "dst", "dev", "gateway", "via", "table", "type",
    "metric", "metrics", "nexthops", "encap", "prefsrc", "info_kind", "info_data",
)  # fmt: skip
odd_elements = st.lists(st.dictionaries(st.sampled_from(KEYS), json_values, max_size=8) | json_values, max_size=4)


@given(odd_elements, odd_elements, odd_elements)
@settings(max_examples=200)
def test_any_json_never_raises(link: list[object], addr: list[object], route: list[object]) -> None:
    found = network([ETH0, *link], addr, route)
    assert 2 in found.inventory().links
    found.counters()


# -- counters ----------------------------------------------------------------------------------------------------------


def test_counters_left_out_because_they_are_zero_are_zero() -> None:
    """A row keeps its shape from snapshot to snapshot, though iproute2 leaves out some counters while they are 0."""
    rx = dict.fromkeys(("bytes", "packets", "errors", "dropped", "over_errors", "multicast", "length_errors"), 1)
    rx |= dict.fromkeys(("crc_errors", "frame_errors", "fifo_errors", "missed_errors"), 1)
    tx = dict.fromkeys(("bytes", "packets", "errors", "dropped", "carrier_errors", "collisions", "aborted_errors"), 1)
    tx |= dict.fromkeys(("fifo_errors", "window_errors", "heartbeat_errors", "carrier_changes"), 1)
    earlier = {**ETH0, "stats64": {"rx": rx, "tx": tx}}
    later = {**ETH0, "stats64": {"rx": {**rx, "nohandler": 4, "otherhost_dropped": 2}, "tx": tx}}
    quiet = {**ETH0, "ifindex": 3, "ifname": "lo", "stats64": {"rx": rx, "tx": tx}}
    first, second = (network([element, quiet]).counters()[2] for element in (earlier, later))
    assert first[0] == second[0] == COUNTER_NAMES[:24]
    assert dict(zip(*first, strict=True))["rx_nohandler"] == 0
    assert dict(zip(*second, strict=True))["rx_nohandler"] == 4


def test_a_link_without_counters_is_not_among_them() -> None:
    assert network([ETH0]).counters() == {}
    only = network([{**ETH0, "stats64": {"rx": {"packets": 5}}}]).counters()
    assert only == {2: (("rx_packets",), (5,))}


# -- written and read back ---------------------------------------------------------------------------------------------

v4 = st.ip_addresses(v=4).filter(int).map(str)
v6 = st.ip_addresses(v=6).filter(int).map(lambda address: inet_ntop(AF_INET6, address.packed))
names = st.text(st.characters(exclude_categories=("Cs", "Cc", "Z")), min_size=1, max_size=15).filter(
    lambda name: not name.startswith("if")
)


@st.composite
def tunnels(draw: st.DrawFn, kind: str) -> pb.Tunnel:
    tunnel = pb.Tunnel(external=draw(st.booleans()) and kind != "wireguard")
    df: int = pb.OUTER_DF_UNKNOWN
    addresses = st.just("") | (
        v6 if kind in IPV6_KINDS else v4 if kind in ("ipip", "sit", "gre", "gretap") else v4 | v6
    )
    if kind != "wireguard":
        tunnel.remote = draw(addresses)
        tunnel.local = "" if kind == "geneve" else draw(addresses)
    if kind in ("vxlan", "geneve"):
        tunnel.id = draw(st.integers(0, (1 << 24) - 1))
        tunnel.port = draw(st.integers(0, 0xFFFF))
        df = draw(st.integers(0, 3))
    elif kind != "wireguard":
        tunnel.encap_type = draw(st.sampled_from([0, 1, 2]))
        df = outer_df_of_ip_tunnel(kind, draw(st.sampled_from([None, True, False])), draw(st.booleans()))
        if "gre" in kind and not tunnel.external:
            tunnel.gre_flags = draw(st.sampled_from([0, 0x1000, 0x2000, 0x8000, 0xB000]))
            tunnel.id = draw(st.integers(0, (1 << 32) - 1)) if tunnel.gre_flags & 0x2000 else 0
    return finish(tunnel, kind, df)


@st.composite
def inventories(draw: st.DrawFn) -> tuple[Inventory, Mapping[int, Counters]]:
    indexes = draw(st.lists(st.integers(1, 500), min_size=1, max_size=6, unique=True))
    unique_names = draw(st.lists(names, min_size=len(indexes), max_size=len(indexes), unique=True))
    links: dict[int, pb.Link] = {}
    for index, name in zip(indexes, unique_names, strict=True):
        kind = draw(st.sampled_from(["", "veth", "bridge", "vlan", "macvlan", *sorted(TUNNEL_KINDS)]))
        link = pb.Link(
            ifindex=index,
            name=name,
            kind=kind,
            mtu=draw(st.integers(0, (1 << 32) - 1)),
            up=draw(st.booleans()),
            loopback=draw(st.booleans()),
            hardware=draw(st.booleans()),
            master=draw(st.sampled_from([0, *indexes])),
            arp_type=draw(st.sampled_from([0, 1, 772, 65534, 4711])),
            vlan_id=draw(st.integers(0, 4095)) if kind == "vlan" else 0,
            addresses=sorted(draw(st.sets(v4.map(lambda a: a + "/24") | v6.map(lambda a: a + "/64"), max_size=3))),
        )
        link.operstate = draw(st.integers(0, 6))  # type: ignore[assignment]
        if draw(st.booleans()):
            link.lower = draw(st.sampled_from([0, 999, *(other for other in indexes if other != index)]))
        elif draw(st.booleans()):
            link.peer_netnsid = draw(st.integers(-1, 9))
            link.peer_ifindex = draw(st.integers(1, 500))
        if kind in TUNNEL_KINDS:
            link.tunnel.CopyFrom(draw(tunnels(kind)))
        links[index] = link
    routes = draw(st.lists(routes_through(indexes), max_size=6))
    width = draw(st.sampled_from([24, 25]))
    rows = st.lists(st.integers(0, (1 << 64) - 1), min_size=width, max_size=width).map(tuple)
    counters = {index: (COUNTER_NAMES[:width], draw(rows)) for index in indexes if draw(st.booleans())}
    return Inventory(links=links, routes=routes), counters


@st.composite
def routes_through(draw: st.DrawFn, indexes: list[int]) -> pb.Route:
    ipv6 = draw(st.booleans())
    encap = draw(st.sampled_from(["", "", "ip", "ip6", "mpls", "seg6"]))
    mtu = draw(st.integers(0, 65535))
    gateway = draw(st.just("") | v4 | v6)
    return pb.Route(
        destination=draw(st.just("::/0") | v6.map(lambda a: a + "/64"))
        if ipv6
        else draw(st.just("0.0.0.0/0") | v4.map(lambda a: a + "/24")),
        ifindex=draw(st.sampled_from([0, *indexes])),
        gateway=gateway,
        mtu=mtu,
        mtu_locked=draw(st.booleans()),
        table=draw(st.sampled_from([254, 253, 7, 70000])),
        source=draw(st.just("") | (v6 if ipv6 else v4)),
        encap=encap,
        encap_remote=draw(st.just("") | v4 | v6) if encap in ("ip", "ip6") else "",
        priority=draw(st.integers(0, (1 << 32) - 1)),
    )


@given(inventories())
@settings(max_examples=150)
def test_what_is_written_reads_back_the_same(made: tuple[Inventory, Mapping[int, Counters]]) -> None:
    inventory, counters = made
    documents = render(inventory, counters)
    back = network(documents["ip-link.json"], documents["ip-addr.json"], documents["ip-route.json"])
    assert problems(back) == []
    assert back.inventory().links == inventory.links
    assert back.inventory().routes == inventory.routes
    assert back.counters() == counters


def test_what_is_not_known_is_not_written() -> None:
    unknown = Inventory(links={}, has_routes=False, has_addresses=False)
    assert render(unknown, {}) == {"ip-link.json": []}


def test_what_a_document_says_in_lines_is_told_in_one() -> None:
    error = ReadError(Failure.DAMAGED, "ip-link.json", 'no "ifindex"\nin\r\n"eth0"')
    assert str(error) == 'ip-link.json: no "ifindex" in "eth0"'
    assert error.reason == 'no "ifindex" in "eth0"'
