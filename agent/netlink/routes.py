"""RTM_NEWROUTE to Route.

Source: include/uapi/linux/rtnetlink.h and lwtunnel.h; net/ipv4/fib_semantics.c, net/ipv6/route.c.
"""

from __future__ import annotations

from collections.abc import Iterator
from socket import AF_INET, AF_INET6
from struct import Struct

from nodetell.v1 import facts_pb2 as pb

from agent.netlink import wire
from agent.netlink.wire import DecodeError

RTMSG = Struct("=BBBBBBBBI")
"""struct rtmsg: family, dst_len, src_len, tos, table, protocol, scope, type, flags."""
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY, RTA_PREFSRC, RTA_METRICS, RTA_MULTIPATH = 1, 4, 5, 6, 7, 8, 9
RTA_TABLE, RTA_VIA, RTA_ENCAP_TYPE, RTA_ENCAP = 15, 18, 21, 22
RTAX_LOCK, RTAX_MTU = 1, 2
RTN_UNICAST, RTM_F_CLONED = 1, 0x200
RT_TABLE_DEFAULT, RT_TABLE_MAIN, RT_TABLE_LOCAL = 253, 254, 255
ENCAP_NAMES = {
    1: "mpls", 2: "ip", 3: "ila", 4: "ip6", 5: "seg6", 6: "bpf", 7: "seg6local", 8: "rpl", 9: "ioam6", 10: "xfrm",
}  # fmt: skip
"""enum lwtunnel_encap_types, as iproute2 spells it."""
LWTUNNEL_IP_DST = 2
"""The same number as LWTUNNEL_IP6_DST."""
_NEXT_HOP = Struct("=HBBi")
"""struct rtnexthop: length, flags, hops, ifindex."""


def dump_request(family: int) -> bytes:
    """Body of RTM_GETROUTE for the unicast routes of a family; a kernel before 4.20 ignores the type and sends all."""
    return RTMSG.pack(family, 0, 0, 0, 0, 0, 0, RTN_UNICAST, 0)


def is_kept(body: bytes) -> bool:
    """A unicast route of any table but local, and no cached copy. A body cut short is kept, for decoding to tell."""
    if len(body) < RTMSG.size:
        return True
    _, _, _, _, table, _, _, kind, flags = RTMSG.unpack_from(body)
    return kind == RTN_UNICAST and table != RT_TABLE_LOCAL and not flags & RTM_F_CLONED


def is_default(body: bytes) -> bool:
    """A route for everything."""
    return len(body) > 1 and body[1] == 0


def decode_route(body: bytes) -> list[pb.Route]:
    """The route, once for each of its next hops. Raises DecodeError."""
    family, dst_len, _, _, table, _, _, _, _ = wire.fixed(RTMSG, body, "rtmsg")
    if family not in (AF_INET, AF_INET6):
        return []
    width = 4 if family == AF_INET else 16
    found = wire.attributes(body, RTMSG.size)
    network = found.get(RTA_DST, bytes(width))
    if len(network) != width or dst_len > 8 * width:
        raise DecodeError(f"a destination of {len(network)} bytes with prefix length {dst_len}")
    metrics = wire.nested(found, RTA_METRICS)
    table = wire.u32(found, RTA_TABLE) or table
    whole = pb.Route(
        destination=f"{wire.ip_text(network)}/{dst_len}",
        mtu=wire.u32(metrics, RTAX_MTU) or 0,
        mtu_locked=bool((wire.u32(metrics, RTAX_LOCK) or 0) & (1 << RTAX_MTU)),
        table=table,
        source=wire.endpoint(found, RTA_PREFSRC),
        priority=wire.u32(found, RTA_PRIORITY) or 0,
    )
    if RTA_MULTIPATH in found:
        return [_through(whole, index, hop) for index, hop in _next_hops(found[RTA_MULTIPATH])]
    return [_through(whole, wire.u32(found, RTA_OIF) or 0, found)]


def _through(whole: pb.Route, ifindex: int, hop: wire.Attributes) -> pb.Route:
    """The route through one next hop, whose attributes are the route's own where it has only one."""
    route = pb.Route()
    route.CopyFrom(whole)
    route.ifindex = ifindex
    via = hop.get(RTA_VIA)
    if via is not None:
        if len(via) < 2:
            raise DecodeError(f"RTA_VIA of {len(via)} bytes")
        route.gateway = wire.ip_text(via[2:])
    else:
        route.gateway = wire.endpoint(hop, RTA_GATEWAY)
    encap = wire.u16(hop, RTA_ENCAP_TYPE)
    if encap:
        route.encap = ENCAP_NAMES.get(encap, str(encap))
        if route.encap in ("ip", "ip6"):
            route.encap_remote = wire.endpoint(wire.nested(hop, RTA_ENCAP), LWTUNNEL_IP_DST)
    return route


def _next_hops(data: bytes) -> Iterator[tuple[int, dict[int, bytes]]]:
    """(ifindex, attributes) of each next hop in RTA_MULTIPATH."""
    start = 0
    while len(data) - start >= _NEXT_HOP.size:
        length, _, _, index = _NEXT_HOP.unpack_from(data, start)
        if not _NEXT_HOP.size <= length <= len(data) - start or index < 0:
            raise DecodeError(f"next hop at byte {start} of RTA_MULTIPATH: length {length}, ifindex {index}")
        yield index, wire.attributes(data[start : start + length], _NEXT_HOP.size)
        start += (length + 3) & ~3
    if start < len(data):
        raise DecodeError(f"{len(data) - start} bytes at byte {start} of RTA_MULTIPATH are no next hop")
