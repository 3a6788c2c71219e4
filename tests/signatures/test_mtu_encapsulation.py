"""What a tunnel adds to each packet, kind by kind, over IPv4 and IPv6."""

from __future__ import annotations

import pytest
from nodetell.v1 import facts_pb2 as pb

from aggregator.signatures.mtu.encapsulation import OVN_GENEVE_OPTIONS, TUNNEL_KINDS, overhead

KEY, SEQUENCE, CHECKSUM = 0x2000, 0x1000, 0x8000


def added(kind: str, *, ipv6: bool = False, options: int = 0, flags: int = 0, encap: int = 0) -> int | None:
    tunnel = pb.Tunnel(outer_ipv6=ipv6, gre_flags=flags, encap_type=encap)
    return overhead(pb.Link(ifindex=1, name="t", kind=kind, tunnel=tunnel), geneve_options=options)


@pytest.mark.parametrize(
    ("kind", "over_ipv4", "over_ipv6"), [("vxlan", 50, 70), ("geneve", 50, 70), ("wireguard", 60, 80)]
)
def test_kinds_that_go_over_either(kind: str, over_ipv4: int, over_ipv6: int) -> None:
    assert (added(kind), added(kind, ipv6=True)) == (over_ipv4, over_ipv6)


@pytest.mark.parametrize(
    ("kind", "bytes_"),
    [("ipip", 20), ("sit", 20), ("ip6tnl", 40), ("gre", 24), ("gretap", 38), ("ip6gre", 44), ("ip6gretap", 58)],
)
def test_kinds_that_say_it_by_their_name(kind: str, bytes_: int) -> None:
    assert added(kind) == bytes_
    assert (added(kind, encap=1), added(kind, encap=2), added(kind, encap=7)) == (bytes_ + 8, bytes_ + 12, bytes_ + 8)


@pytest.mark.parametrize("kind", ["gre", "gretap", "ip6gre", "ip6gretap"])
def test_each_option_of_gre_is_four_bytes(kind: str) -> None:
    plain = added(kind)
    assert plain is not None
    for flags, more in ((KEY, 4), (SEQUENCE, 4), (CHECKSUM, 4), (KEY | SEQUENCE | CHECKSUM, 12), (0x0800, 0)):
        assert added(kind, flags=flags) == plain + more


def test_options_of_geneve() -> None:
    assert added("geneve", options=OVN_GENEVE_OPTIONS) == 58
    assert added("vxlan", options=OVN_GENEVE_OPTIONS) == 50


def test_what_is_no_tunnel_adds_nothing_that_is_known() -> None:
    assert [added(kind) for kind in ("", "bridge", "veth")] == [None] * 3
    assert all(added(kind) for kind in TUNNEL_KINDS)
