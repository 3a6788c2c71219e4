"""RTM_NEWLINK to Link. Source: include/uapi/linux/if_link.h, net/core/rtnetlink.c (rtnl_fill_ifinfo)."""

from __future__ import annotations

from struct import Struct

from nodetell.v1 import facts_pb2 as pb

from agent.netlink import wire
from agent.netlink.tunnels import decode_tunnel
from agent.netlink.wire import DecodeError

IFINFOMSG = Struct("=BxHiII")
"""struct ifinfomsg: family, device type, index, flags, change mask."""
IFLA_IFNAME, IFLA_MTU, IFLA_LINK, IFLA_MASTER, IFLA_WIRELESS, IFLA_OPERSTATE, IFLA_LINKINFO = 3, 4, 5, 10, 11, 16, 18
IFLA_STATS64, IFLA_EXT_MASK, IFLA_LINK_NETNSID, IFLA_PARENT_DEV_NAME = 23, 29, 37, 56
IFLA_INFO_KIND, IFLA_INFO_DATA = 1, 2
IFLA_VLAN_ID = 1
RTEXT_FILTER_SKIP_STATS = 1 << 3
IFF_UP, IFF_LOOPBACK = 0x1, 0x8
HIGHEST_OPERSTATE = 6
"""IF_OPER_UP. A greater number is one we do not know."""

DUMP_REQUEST = IFINFOMSG.pack(0, 0, 0, 0, 0) + wire.attribute(IFLA_EXT_MASK, Struct("=I").pack(RTEXT_FILTER_SKIP_STATS))
"""Body of RTM_GETLINK for all links without their counters, which are a third of its cost (since Linux 4.4)."""
PAIR_KINDS = frozenset({"veth", "netkit", "vxcan"})
"""Kinds made in pairs. The end that is made first is announced before it has another end, and not again."""
DUMP_REQUEST_WITH_COUNTERS = IFINFOMSG.pack(0, 0, 0, 0, 0)


def request_one(ifindex: int) -> bytes:
    """Body of RTM_GETLINK for one link, without its counters."""
    return IFINFOMSG.pack(0, 0, ifindex, 0, 0) + DUMP_REQUEST[IFINFOMSG.size :]


def link_family_and_index(body: bytes) -> tuple[int, int]:
    """(ifi_family, ifindex). Family 0 is the link itself; AF_BRIDGE is a bridge port, whose end is no deleted link."""
    family, _, index, _, _ = wire.fixed(IFINFOMSG, body, "ifinfomsg")
    if index <= 0:
        raise DecodeError(f"ifindex {index}")
    return family, index


def decode_link(body: bytes) -> pb.Link | None:
    """A link without its addresses and underlay. None: the message tells of something else (a wireless event)."""
    _, arp_type, index, flags, _ = wire.fixed(IFINFOMSG, body, "ifinfomsg")
    if index <= 0:
        raise DecodeError(f"ifindex {index}")
    found = wire.attributes(body, IFINFOMSG.size)
    name, mtu = wire.text(found.get(IFLA_IFNAME, b"")), wire.u32(found, IFLA_MTU)
    if not name or mtu is None:
        if IFLA_WIRELESS in found:
            return None
        raise DecodeError(f"ifindex {index}: no {'IFLA_MTU' if name else 'IFLA_IFNAME'}")
    info = wire.nested(found, IFLA_LINKINFO)
    kind = wire.text(info.get(IFLA_INFO_KIND, b""))
    operstate = wire.u8(found, IFLA_OPERSTATE) or 0
    link = pb.Link(
        ifindex=index,
        name=name,
        kind=kind,
        mtu=mtu,
        up=bool(flags & IFF_UP),
        master=wire.u32(found, IFLA_MASTER) or 0,
        arp_type=arp_type,
        hardware=IFLA_PARENT_DEV_NAME in found,
        loopback=bool(flags & IFF_LOOPBACK),
    )
    link.operstate = operstate if operstate <= HIGHEST_OPERSTATE else 0  # type: ignore[assignment]  # see Reading.gap
    below = _decode_info(kind, info, link)
    _place_below(link, wire.u32(found, IFLA_LINK) or below, wire.s32(found, IFLA_LINK_NETNSID))
    return link


def _decode_info(kind: str, info: wire.Attributes, link: pb.Link) -> int:
    """Fill in what IFLA_LINKINFO says; the result is the `link` it names, 0: none."""
    if kind == "vlan":
        link.vlan_id = wire.u16(wire.nested(info, IFLA_INFO_DATA), IFLA_VLAN_ID) or 0
        return 0
    decoded = decode_tunnel(kind, info.get(IFLA_INFO_DATA))
    if decoded is None:
        return 0
    link.tunnel.CopyFrom(decoded.tunnel)
    return decoded.link


def _place_below(link: pb.Link, below: int, netnsid: int | None) -> None:
    if netnsid is not None:
        link.peer_netnsid = netnsid
        if below:
            link.peer_ifindex = below
    elif below != link.ifindex:
        link.lower = below


def decode_link_counters(body: bytes) -> tuple[int, bytes] | None:
    """(ifindex, struct rtnl_link_stats64) for kernels without RTM_GETSTATS; None: the link has no counters."""
    _, index = link_family_and_index(body)
    counters = wire.attributes(body, IFINFOMSG.size).get(IFLA_STATS64)
    return None if counters is None else (index, counters)
