"""The rtnetlink decoder on bytes that a kernel sent, on the same bytes damaged, and against pyroute2's definitions."""

from __future__ import annotations

import functools
import struct
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nodetell.v1 import facts_pb2 as pb
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.marshal import MarshalRtnl

from agent.host import Failure, ReadError
from agent.netlink import addresses, links, routes, stats, wire
from agent.network.ipjson import IpJsonNetwork

CAPTURES = Path(__file__).parent / "captures"
DECODERS: dict[str, Callable[[bytes], object]] = {
    "links": links.decode_link,
    "links-with-counters": links.decode_link_counters,
    "addresses": addresses.decode_address,
    "routes-ipv4": routes.decode_route,
    "routes-ipv6": routes.decode_route,
    "stats": stats.decode_stats,
}

pytestmark = pytest.mark.skipif(sys.byteorder != "little", reason="needs: a little-endian machine, as the captures are")


@functools.cache
def capture(name: str) -> bytes:
    return (CAPTURES / f"{name}.bin").read_bytes()


def messages(name: str) -> list[wire.Message]:
    batch = wire.split(capture(name))
    assert batch.problems == []
    assert batch.done
    assert batch.error == 0
    return batch.messages


def decoded_links() -> dict[int, pb.Link]:
    good, problems = wire.decode_all(messages("links"), links.decode_link)
    assert problems == []
    return {link.ifindex: link for link in good if link is not None}


def decoded_routes() -> list[pb.Route]:
    kept = [m for name in ("routes-ipv4", "routes-ipv6") for m in messages(name) if routes.is_kept(m.body)]
    good, problems = wire.decode_all(kept, routes.decode_route)
    assert problems == []
    return [route for of_message in good for route in of_message]


def iproute2() -> IpJsonNetwork:
    """What iproute2 said when the captures were made."""
    return IpJsonNetwork(lambda name: (CAPTURES / name).read_bytes())


# -- the kernel's bytes against iproute2's words -----------------------------------------------------------------------


def test_links_and_addresses_are_what_iproute2_says() -> None:
    found = decoded_links()
    good, problems = wire.decode_all(messages("addresses"), addresses.decode_address)
    assert problems == []
    for index, link in found.items():
        link.addresses.extend(sorted({a.text for a in good if a is not None and a.ifindex == index}))
    inventory = iproute2().inventory()
    assert inventory.problems == []
    assert len(found) > 10
    assert found == inventory.links


def test_routes_are_what_iproute2_says() -> None:
    said = iproute2().inventory().routes
    for route in (ours := decoded_routes()):
        route.mtu_locked = False  # iproute2 leaves it out of its JSON
    key = pb.Route.SerializeToString
    assert sorted(map(key, ours)) == sorted(map(key, said))
    assert len(ours) > 15


def test_the_lock_of_a_route_mtu_is_decoded() -> None:
    locked = {route.destination: route.mtu for route in decoded_routes() if route.mtu_locked}
    assert locked == {"10.9.0.0/24": 1400}


def test_counters_are_what_iproute2_says() -> None:
    said = iproute2().counters()
    for name, decode in (("stats", stats.decode_stats), ("links-with-counters", links.decode_link_counters)):
        good, problems = wire.decode_all(messages(name), decode)
        assert problems == []
        ours = {row[0]: stats.counters_of(row[1]) for row in good if row is not None}
        assert ours.keys() == said.keys()
        for index, (names, values) in said.items():
            assert dict(zip(*ours[index], strict=True)).items() >= dict(zip(names, values, strict=True)).items()


def test_particular_shapes() -> None:
    by_name = {link.name: link for link in decoded_links().values()}
    assert by_name["vx-bound"].lower == by_name["eth0"].ifindex
    assert by_name["vx-ext"].tunnel.external
    assert by_name["vx-ext"].tunnel.df == pb.OUTER_DF_UNKNOWN
    assert by_name["vx-remote"].tunnel == pb.Tunnel(
        id=42, local="10.0.0.1", remote="10.0.0.2", port=4789, df=pb.OUTER_DF_SET
    )
    assert by_name["vx-v6"].tunnel.outer_ipv6
    assert by_name["va"].master == by_name["br0"].ifindex
    assert by_name["va"].lower == by_name["vb"].ifindex
    assert by_name["eth0"].peer_ifindex
    assert by_name["eth0"].HasField("peer_netnsid")
    assert not by_name["eth0"].lower
    assert by_name["lo"].loopback
    assert "zw\u00f6lf\U0001f680" in by_name


# -- against pyroute2 --------------------------------------------------------------------------------------------------


@functools.cache
def parsed(name: str) -> list[Any]:
    """pyroute2's messages, kept alive, for they decode their attributes when asked."""
    return list(MarshalRtnl().parse(capture(name)))


def reference(name: str) -> list[dict[str, Any]]:
    """pyroute2's reading of a capture: header fields and attributes in one flat dict."""
    found = []
    for message in parsed(name):
        if message["header"]["type"] != wire.NLMSG_DONE:
            fields = {key: message[key] for key in message if key != "attrs"}
            found.append(fields | flat(message["attrs"]))
    return found


def flat(attributes: Iterable[Any]) -> dict[str, Any]:
    return {pair[0]: pair[1] for pair in attributes}


def test_links_field_by_field_as_pyroute2_reads_them() -> None:
    ours = decoded_links()
    theirs = reference("links")
    assert len(theirs) == len(ours)
    for message in theirs:
        link = ours[message["index"]]
        info = flat(message.get("IFLA_LINKINFO", {"attrs": []})["attrs"])
        assert link.name == message["IFLA_IFNAME"]
        assert link.mtu == message["IFLA_MTU"]
        assert link.kind == info.get("IFLA_INFO_KIND", "")
        assert link.up == bool(message["flags"] & 1)
        assert link.loopback == bool(message["flags"] & 8)
        assert link.arp_type == message["ifi_type"]
        assert pb.OperState.Name(link.operstate).replace("_", "") == "OPERSTATE" + message["IFLA_OPERSTATE"]
        assert link.master == message.get("IFLA_MASTER", 0)
        assert link.hardware == ("IFLA_PARENT_DEV_NAME" in message)
        data = flat(info["IFLA_INFO_DATA"]["attrs"]) if link.kind == "vxlan" else {}
        below = message.get("IFLA_LINK", 0) or data.get("IFLA_VXLAN_LINK", 0)
        if "IFLA_LINK_NETNSID" in message:
            assert (link.peer_ifindex, link.peer_netnsid) == (below, message["IFLA_LINK_NETNSID"])
        else:
            assert link.lower == below
        assert link.HasField("tunnel") == bool(data)
        if data:
            tunnel = link.tunnel
            assert tunnel.id == data["IFLA_VXLAN_ID"]
            assert tunnel.port == data["IFLA_VXLAN_PORT"]
            assert tunnel.local == data.get("IFLA_VXLAN_LOCAL", data.get("IFLA_VXLAN_LOCAL6", ""))
            assert tunnel.remote == data.get("IFLA_VXLAN_GROUP", data.get("IFLA_VXLAN_GROUP6", ""))
            assert tunnel.external == bool(data["IFLA_VXLAN_COLLECT_METADATA"])
            if not tunnel.external:
                assert tunnel.df == pb.OUTER_DF_UNSET + data["IFLA_VXLAN_DF"]


def test_addresses_as_pyroute2_reads_them() -> None:
    ours, _ = wire.decode_all(messages("addresses"), addresses.decode_address)
    theirs = [
        (m["index"], f"{m.get('IFA_LOCAL', m.get('IFA_ADDRESS'))}/{m['prefixlen']}") for m in reference("addresses")
    ]
    assert [(a.ifindex, a.text) for a in ours if a is not None] == theirs


@pytest.mark.parametrize("name", ["routes-ipv4", "routes-ipv6"])
def test_routes_field_by_field_as_pyroute2_reads_them(name: str) -> None:
    theirs = reference(name)
    ours, _ = wire.decode_all(messages(name), routes.decode_route)
    assert len(ours) == len(theirs)
    for found, message in zip(ours, theirs, strict=True):
        hops = [flat(hop["attrs"]) | {"RTA_OIF": hop["oif"]} for hop in message.get("RTA_MULTIPATH", [])]
        for route, hop in zip(found, hops or [message], strict=True):
            anything = "::" if message["family"] == 10 else "0.0.0.0"
            metrics = flat(message.get("RTA_METRICS", {"attrs": []})["attrs"])
            assert route.destination == f"{message.get('RTA_DST', anything)}/{message['dst_len']}"
            assert route.table == message["RTA_TABLE"]
            assert route.priority == message.get("RTA_PRIORITY", 0)
            assert route.source == message.get("RTA_PREFSRC", "")
            assert route.mtu == metrics.get("RTAX_MTU", 0)
            assert route.mtu_locked == bool(metrics.get("RTAX_LOCK", 0) & 4)
            assert route.ifindex == hop.get("RTA_OIF", 0)
            assert route.gateway == (hop.get("RTA_GATEWAY") or hop.get("RTA_VIA", {}).get("addr", ""))
            assert route.encap == {2: "ip", 4: "ip6", None: ""}[hop.get("RTA_ENCAP_TYPE")]


def test_counters_as_pyroute2_reads_them() -> None:
    ours, _ = wire.decode_all(messages("stats"), stats.decode_stats)
    for (index, raw), message in zip(ours, reference("stats"), strict=True):
        assert index == message["ifindex"]
        counters = dict(zip(*stats.counters_of(raw), strict=True))
        theirs = message["IFLA_STATS_LINK_64"]
        assert {name: counters[name] for name in theirs} == theirs


def encoded(kind: str, data: list[tuple[str, object]], **link: object) -> pb.Link | None:
    """A link message made by pyroute2, decoded by us."""
    message = ifinfmsg()
    message["header"]["type"] = wire.RTM_NEWLINK
    message["index"] = 7
    attributes = [("IFLA_IFNAME", "t0"), ("IFLA_MTU", 1400), *((f"IFLA_{key}", value) for key, value in link.items())]
    info: list[tuple[str, object]] = [("IFLA_INFO_KIND", kind)]
    if data:
        info.append(("IFLA_INFO_DATA", {"attrs": data}))
    message["attrs"] = [*attributes, ("IFLA_LINKINFO", {"attrs": info})]
    message.encode()
    batch = wire.split(bytes(message.data))
    assert len(batch.messages) == 1
    return links.decode_link(batch.messages[0].body)


V4 = {"local": "10.0.0.1", "remote": "10.0.0.2"}
V6 = {"local": "fd00::1", "remote": "fd00::2", "outer_ipv6": True}
IPIP = [("IFLA_IPIP_LINK", 3), ("IFLA_IPIP_LOCAL", "10.0.0.1"), ("IFLA_IPIP_REMOTE", "10.0.0.2")]
GRE = [
    ("IFLA_GRE_LINK", 3),
    ("IFLA_GRE_IFLAGS", 0),
    ("IFLA_GRE_IKEY", 0),
    ("IFLA_GRE_LOCAL", "10.0.0.1"),
    ("IFLA_GRE_REMOTE", "10.0.0.2"),
]
KINDS: dict[str, tuple[str, list[tuple[str, object]], pb.Tunnel, int]] = {
    "geneve": (
        "geneve",
        [("IFLA_GENEVE_ID", 77), ("IFLA_GENEVE_REMOTE", "10.0.0.2"), ("IFLA_GENEVE_PORT", 6081)],
        pb.Tunnel(id=77, remote="10.0.0.2", port=6081),
        0,
    ),
    "geneve over IPv6": (
        "geneve",
        [("IFLA_GENEVE_ID", 77), ("IFLA_GENEVE_REMOTE6", "fd00::2"), ("IFLA_GENEVE_PORT", 6081)],
        pb.Tunnel(id=77, remote="fd00::2", port=6081, outer_ipv6=True),
        0,
    ),
    "geneve external": (
        "geneve",
        [("IFLA_GENEVE_ID", 0), ("IFLA_GENEVE_PORT", 6081), ("IFLA_GENEVE_COLLECT_METADATA", None)],
        pb.Tunnel(port=6081, external=True),
        0,
    ),
    "ipip": (
        "ipip",
        [*IPIP, ("IFLA_IPIP_PMTUDISC", 1)],
        pb.Tunnel(**V4, df=pb.OUTER_DF_SET),  # type: ignore[arg-type]
        3,
    ),
    "ipip nopmtudisc copies the inner DF": (
        "ipip",
        [*IPIP, ("IFLA_IPIP_PMTUDISC", 0)],
        pb.Tunnel(**V4, df=pb.OUTER_DF_INHERIT),  # type: ignore[arg-type]
        3,
    ),
    "ipip in FOU": (
        "ipip",
        [*IPIP, ("IFLA_IPIP_ENCAP_TYPE", 1)],
        pb.Tunnel(**V4, encap_type=1),  # type: ignore[arg-type]
        3,
    ),
    "ipip external": (
        "ipip",
        [("IFLA_IPIP_PMTUDISC", 1), ("IFLA_IPIP_COLLECT_METADATA", None)],
        pb.Tunnel(external=True),
        0,
    ),
    "ipip without addresses (tunl0)": (
        "ipip",
        [("IFLA_IPIP_LINK", 0), ("IFLA_IPIP_LOCAL", "0.0.0.0"), ("IFLA_IPIP_REMOTE", "0.0.0.0")],
        pb.Tunnel(),
        0,
    ),
    "sit nopmtudisc has no inner DF to copy": (
        "sit",
        [(key.replace("IPIP", "SIT"), value) for key, value in [*IPIP, ("IFLA_IPIP_PMTUDISC", 0)]],
        pb.Tunnel(**V4, df=pb.OUTER_DF_UNSET),  # type: ignore[arg-type]
        3,
    ),
    "gre": (
        "gre",
        [*GRE, ("IFLA_GRE_OFLAGS", 0), ("IFLA_GRE_OKEY", 9), ("IFLA_GRE_PMTUDISC", 1)],
        pb.Tunnel(**V4, df=pb.OUTER_DF_SET),  # type: ignore[arg-type]
        3,
    ),
    "gretap with key": (
        "gretap",
        [*GRE, ("IFLA_GRE_OFLAGS", 0x2000), ("IFLA_GRE_OKEY", 9), ("IFLA_GRE_PMTUDISC", 0), ("IFLA_GRE_IGNORE_DF", 1)],
        pb.Tunnel(**V4, id=9, gre_flags=0x2000, df=pb.OUTER_DF_UNSET),  # type: ignore[arg-type]
        3,
    ),
    "gre external": (
        "gre",
        [("IFLA_GRE_OFLAGS", 0), ("IFLA_GRE_PMTUDISC", 0), ("IFLA_GRE_COLLECT_METADATA", None)],
        pb.Tunnel(external=True),
        0,
    ),
    "ip6gre": (
        "ip6gre",
        [("IFLA_IP6GRE_LINK", 3), ("IFLA_IP6GRE_LOCAL", "fd00::1"), ("IFLA_IP6GRE_REMOTE", "fd00::2")],
        pb.Tunnel(**V6),  # type: ignore[arg-type]
        3,
    ),
    "ip6gretap without addresses": ("ip6gretap", [], pb.Tunnel(outer_ipv6=True), 0),
    "ip6tnl": (
        "ip6tnl",
        [("IFLA_IP6TNL_LINK", 3), ("IFLA_IP6TNL_LOCAL", "fd00::1"), ("IFLA_IP6TNL_REMOTE", "fd00::2")],
        pb.Tunnel(**V6),  # type: ignore[arg-type]
        3,
    ),
    "wireguard": ("wireguard", [], pb.Tunnel(), 0),
}


@pytest.mark.parametrize("case", KINDS)
def test_tunnels_that_pyroute2_encodes(case: str) -> None:
    kind, data, tunnel, lower = KINDS[case]
    link = encoded(kind, data)
    assert link is not None
    assert link.kind == kind
    assert link.tunnel == tunnel
    assert link.HasField("tunnel")
    assert link.lower == lower


def test_gre_flags_are_in_network_order_on_the_wire() -> None:
    """pyroute2 names them; this is the kernel's own layout, written by hand."""
    oflags = wire.attribute(3, struct.pack(">H", 0x8000 | 0x2000 | 0x1000)) + wire.attribute(5, struct.pack(">I", 258))
    info = wire.attribute(1, b"gre\0") + wire.attribute(2, oflags)
    body = links.IFINFOMSG.pack(0, 778, 7, 1, 0) + b"".join(
        (wire.attribute(3, b"g0\0"), wire.attribute(4, struct.pack("=I", 1476)), wire.attribute(18, info))
    )
    link = links.decode_link(body)
    assert link is not None
    assert (link.tunnel.gre_flags, link.tunnel.id) == (0xB000, 258)


def test_vlan_and_a_link_in_another_namespace() -> None:
    vlan = encoded("vlan", [("IFLA_VLAN_ID", 100)], LINK=2)
    assert vlan is not None
    assert (vlan.vlan_id, vlan.lower, vlan.HasField("tunnel")) == (100, 2, False)
    moved = encoded("ipip", IPIP, LINK_NETNSID=4)
    assert moved is not None
    assert (moved.lower, moved.peer_ifindex, moved.peer_netnsid) == (0, 3, 4)


# -- damaged bytes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DECODERS)
def test_a_capture_cut_at_every_byte(name: str) -> None:
    data = capture(name)
    whole = wire.split(data)
    ends = {m.offset + 16 + len(m.body) for m in whole.messages}
    step = max(1, len(data) // 4000)
    for end in (*range(0, len(data), step), *ends):
        batch = wire.split(data[:end])
        complete = [m for m in whole.messages if m.offset + 16 + len(m.body) <= end]
        assert batch.messages == complete
        assert not batch.done
        covered = max((m.offset + ((16 + len(m.body) + 3) & ~3) for m in complete), default=0)
        assert [p.offset for p in batch.problems] == ([covered] if end > covered else [])


@pytest.mark.parametrize("name", DECODERS)
def test_every_message_cut_at_every_byte_is_decoded_or_told(name: str) -> None:
    decode = DECODERS[name]
    for message in messages(name):
        cut = [wire.Message(message.type, 0, end, message.body[:end]) for end in range(len(message.body))]
        good, problems = wire.decode_all(cut, decode)
        assert len(good) + len(problems) == len(cut)
        assert len(problems) > len(cut) // 2
        assert all(p.reason.startswith(message.name) and "\n" not in p.reason for p in problems)


def test_one_damaged_message_is_one_problem_and_the_others_are_good() -> None:
    data = bytearray(capture("links"))
    whole = messages("links")
    victim = whole[4]
    struct.pack_into("=H", data, victim.offset + 16 + 16, 3)  # the first attribute's length
    good, problems = wire.decode_all(wire.split(bytes(data)).messages, links.decode_link)
    assert [p.offset for p in problems] == [victim.offset]
    assert "RTM_NEWLINK: attribute 3 at byte 16: its length is 3" in problems[0].reason
    assert len(good) == len(whole) - 1


def test_a_length_that_reaches_into_the_next_message_or_beyond() -> None:
    data = bytearray(capture("addresses"))
    second = wire.split(bytes(data)).messages[1]
    struct.pack_into("=I", data, second.offset, len(data))
    batch = wire.split(bytes(data))
    assert len(batch.messages) == 1
    assert [p.offset for p in batch.problems] == [second.offset]
    struct.pack_into("=I", data, second.offset, 8)
    assert "its length is 8" in wire.split(bytes(data)).problems[0].reason


flips = st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=12)


@given(name=st.sampled_from(sorted(DECODERS)), changes=flips)
@settings(max_examples=300)
def test_flipped_bytes_never_raise(name: str, changes: list[tuple[int, int]]) -> None:
    data = bytearray(capture(name))
    for position, value in changes:
        data[position % len(data)] = value
    batch = wire.split(bytes(data))
    good, problems = wire.decode_all(batch.messages, DECODERS[name])
    assert len(good) + len(problems) == len(batch.messages)
    table = stats.CounterTable()
    table.begin()
    table.take(memoryview(bytes(data)))
    table.end()


@given(st.binary(max_size=400))
@settings(max_examples=200)
def test_any_bytes_never_raise(data: bytes) -> None:
    wire.split(data)
    for decode in DECODERS.values():
        wire.decode_all([wire.Message(wire.RTM_NEWLINK, 0, 0, data)], decode)


# -- control messages --------------------------------------------------------------------------------------------------


def header(length: int, kind: int, flags: int = 0) -> bytes:
    return wire.HEADER.pack(length, kind, flags, 0, 0)


def test_error_done_overrun_interrupted() -> None:
    error = wire.split(header(36, wire.NLMSG_ERROR) + struct.pack("=i", -95) + bytes(16))
    assert (error.done, error.error) == (True, 95)
    assert wire.split(header(20, wire.NLMSG_ERROR) + bytes(4)).error == 0
    assert wire.split(header(20, wire.NLMSG_DONE) + struct.pack("=i", -4)).error == 4
    assert wire.split(header(16, wire.NLMSG_DONE)).done
    assert wire.split(header(16, wire.NLMSG_OVERRUN)).overrun
    assert wire.split(header(16, wire.NLMSG_DONE, wire.NLM_F_DUMP_INTR)).interrupted
    assert wire.split(header(16, wire.NLMSG_NOOP)).messages == []
    short = wire.split(header(18, wire.NLMSG_ERROR) + b"ab")
    assert short.done
    assert len(short.problems) == 1


def test_a_wireless_event_is_no_link() -> None:
    body = links.IFINFOMSG.pack(0, 1, 7, 1, 0) + wire.attribute(links.IFLA_WIRELESS, b"whatever")
    assert links.decode_link(body) is None
    with pytest.raises(wire.DecodeError, match="ifindex 7: no IFLA_IFNAME"):
        links.decode_link(links.IFINFOMSG.pack(0, 1, 7, 1, 0))


# -- counters ----------------------------------------------------------------------------------------------------------


def row(count: int, first: int = 0) -> bytes:
    return struct.pack(f"={count}Q", *range(first, first + count))


def stats_message(index: int, raw: bytes, flags: int = 2) -> bytes:
    body = stats.IF_STATS_MSG.pack(0, 0, index, 1) + wire.attribute(stats.IFLA_STATS_LINK_64, raw)
    return wire.HEADER.pack(16 + len(body), wire.RTM_NEWSTATS, flags, 0, 0) + body


def sweep(table: stats.CounterTable, *datagrams: bytes) -> dict[int, stats.Counters]:
    table.begin()
    for datagram in datagrams:
        table.take(memoryview(datagram))
    return table.end()


def test_the_names_follow_the_length_of_the_row() -> None:
    for count in (23, 24, 25, 26):
        names, values = stats.counters_of(row(count))
        assert names == stats.COUNTER_NAMES[:count]
        assert values == tuple(range(min(count, 25)))
    with pytest.raises(wire.DecodeError):
        stats.counters_of(b"1234567")


def test_an_unmoved_link_keeps_its_very_tuple() -> None:
    table = stats.CounterTable()
    first = sweep(table, stats_message(1, row(25)) + stats_message(2, row(25)))
    second = sweep(table, stats_message(1, row(25)) + stats_message(2, row(25, 1)))
    assert second[1] is first[1]
    assert second[2][1] == tuple(range(1, 26))
    assert second[2][0] is first[1][0]
    third = sweep(table, stats_message(2, row(25, 1)))
    assert third.keys() == {2}
    assert third[2] is second[2]
    assert first.keys() == {1, 2}


def test_the_table_reads_a_capture_as_message_by_message_decoding_does() -> None:
    data = capture("stats")
    expected = {
        index: stats.counters_of(raw) for index, raw in wire.decode_all(messages("stats"), stats.decode_stats)[0]
    }
    table = stats.CounterTable()
    assert sweep(table, data) == expected
    assert table.problems == []


def test_the_index_of_no_link_is_a_problem_on_either_way() -> None:
    table = stats.CounterTable()
    assert sweep(table, stats_message(1, row(25)) + stats_message(0, row(25)) + stats_message(2, row(25))).keys() == {
        1,
        2,
    }
    assert len(table.problems) == 1


def test_a_record_that_is_cut_short_is_a_problem_wherever_it_is_cut() -> None:
    whole = stats_message(1, row(25))
    for end in range(1, len(whole)):
        table = stats.CounterTable()
        assert sweep(table, whole[:end]) == {}
        assert len(table.problems) == 1


def test_rows_of_two_kernels_and_an_interrupted_dump_go_the_slow_way() -> None:
    table = stats.CounterTable()
    mixed = stats_message(1, row(25)) + stats_message(2, row(24)) + stats_message(3, row(25))
    assert {i: len(c[1]) for i, c in sweep(table, mixed).items()} == {1: 25, 2: 24, 3: 25}
    table.begin()
    batch = table.take(memoryview(stats_message(1, row(25)) + stats_message(2, row(25), 2 | wire.NLM_F_DUMP_INTR)))
    assert batch.interrupted


def test_a_damaged_record_is_one_problem_with_its_offset_in_the_datagram() -> None:
    table = stats.CounterTable()
    good = stats_message(1, row(25))
    bad = bytearray(stats_message(2, row(25)))
    struct.pack_into("=H", bad, 28, 2)
    found = sweep(table, good + bytes(bad) + stats_message(3, row(25)))
    assert found.keys() == {1, 3}
    assert [p.offset for p in table.problems] == [len(good)]


def test_iproute2_documents_that_are_missing_are_told_apart() -> None:
    def read(name: str) -> bytes:
        if name == "ip-link.json":
            return (CAPTURES / name).read_bytes()
        raise ReadError(Failure.ABSENT, name, "missing")

    inventory = IpJsonNetwork(read).inventory()
    assert (inventory.has_addresses, inventory.has_routes, inventory.problems) == (False, False, [])
    with pytest.raises(ReadError) as caught:
        IpJsonNetwork(lambda name: read("x" + name)).inventory()
    assert caught.value.failure is Failure.ABSENT
