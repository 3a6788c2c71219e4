"""`ip -j -d -s -s link show` and `ip -j addr show`, both ways.

Source: iproute2, ip/ipaddress.c, ip/iplink_vxlan.c, ip/iplink_geneve.c, ip/link_gre.c, ip/link_iptnl.c,
ip/link_ip6tnl.c, lib/ll_types.c. It leaves out what is zero or unset, and of a tunnel in metadata mode nearly all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from socket import AF_INET, inet_aton, inet_ntop

from nodetell.v1 import facts_pb2 as pb

from agent.netlink.stats import COUNTER_NAMES, Counters
from agent.netlink.tunnels import (
    GRE_CSUM,
    GRE_KEY,
    GRE_SEQ,
    TUNNEL_KINDS,
    finish,
    outer_df_of_ip_tunnel,
)
from agent.network.ipdocuments import MAX_U64, Fields, pack_address

Json = dict[str, object]

LINK_PLACE = "ip-link.json"
ADDRESS_PLACE = "ip-addr.json"

_ARP_TYPES = {
    "generic": 0, "ether": 1, "ieee1394": 24, "infiniband": 32, "slip": 256, "can": 280, "ppp": 512, "rawip": 519,
    "ipip": 768, "tunnel6": 769, "loopback": 772, "sit": 776, "gre": 778, "ieee802.11": 801, "ieee802.11/prism": 802,
    "ieee802.11/radiotap": 803, "ieee802.15.4": 804, "phonet": 820, "phonet_pipe": 821, "caif": 822, "gre6": 823,
    "netlink": 824, "6lowpan": 825, "vsockmon": 826, "none": 65534, "void": 65535,
}  # fmt: skip
_ARP_NAMES = {number: name for name, number in _ARP_TYPES.items()}
_ARP_NUMBER = re.compile(r"\[(\d{1,5})\]")
_OPERSTATES = ("UNKNOWN", "NOTPRESENT", "DOWN", "LOWERLAYERDOWN", "TESTING", "DORMANT", "UP")
_UNNAMED = re.compile(r"if(\d{1,9})")
"""How iproute2 names an index that no interface has (any more)."""
_DF_WORDS = {"unset": pb.OUTER_DF_UNSET, "set": pb.OUTER_DF_SET, "inherit": pb.OUTER_DF_INHERIT}
_DF_OF = {value: word for word, value in _DF_WORDS.items()}
_ENCAP_TYPES = {"fou": 1, "gue": 2}
_ENCAP_WORDS = {number: word for word, number in _ENCAP_TYPES.items()}
_GRE_KINDS = ("gre", "gretap", "ip6gre", "ip6gretap")

_COUNTER_KEYS = {name: name.split("_", 1) for name in COUNTER_NAMES} | {
    "multicast": ["rx", "multicast"],
    "collisions": ["tx", "collisions"],
}
"""Direction and key of each counter in "stats64"."""
_LEFT_OUT_WHEN_ZERO = frozenset({"rx_compressed", "tx_compressed", "rx_nohandler"})
_ONLY_WHEN_EVERYWHERE = "rx_otherhost_dropped"


def interface_names(elements: list[Fields]) -> dict[str, int]:
    """ifindex by name, of the elements that have both."""
    names: dict[str, int] = {}
    for fields in elements:
        quiet = Fields(fields.raw, "", "", [])
        index, name = quiet.number("ifindex", 1, (1 << 31) - 1), quiet.text("ifname")
        if index and name:
            names.setdefault(name, index)
    return names


def index_of(fields: Fields, key: str, names: Mapping[str, int]) -> int:
    """ifindex of the interface that a field names; 0: none, or a problem."""
    name = fields.text(key)
    if not name:
        return 0
    if name in names:
        return names[name]
    unnamed = _UNNAMED.fullmatch(name)
    if unnamed is None:
        fields.problem(key, f"no interface is named {name!r}")
    return 0 if unnamed is None else int(unnamed[1])


def parse_link(fields: Fields, names: Mapping[str, int]) -> pb.Link | None:
    """A link without its addresses; None: it cannot be told which."""
    index, name = fields.number("ifindex", 1, (1 << 31) - 1), fields.text("ifname")
    if index is None or not name:
        missing = "ifindex" if index is None else "ifname"
        if missing not in fields:
            fields.problem(missing, "missing")
        return None
    fields.name(name)
    mtu = fields.number("mtu")
    if mtu is None and "mtu" not in fields:
        fields.problem("mtu", "missing")
    flags = fields.texts("flags")
    info = fields.object("linkinfo")
    kind = info.text("info_kind")
    link = pb.Link(
        ifindex=index,
        name=name,
        kind=kind,
        mtu=mtu or 0,
        up="UP" in flags,
        master=index_of(fields, "master", names),
        arp_type=_arp_type(fields),
        hardware="parentdev" in fields,
        loopback="LOOPBACK" in flags,
    )
    link.operstate = _operstate(fields)  # type: ignore[assignment]  # protoc's stubs want the enum class
    data = info.object("info_data") if kind == "vlan" or kind in TUNNEL_KINDS else None
    below = 0
    if data is not None:
        if kind == "vlan":
            link.vlan_id = data.number("id", 0, 0xFFFF) or 0
        else:
            link.tunnel.CopyFrom(_parse_tunnel(kind, data))
            below = index_of(data, "link", names)
    _place_below(fields, link, below, names)
    return link


def _place_below(fields: Fields, link: pb.Link, below: int, names: Mapping[str, int]) -> None:
    netnsid = fields.number("link_netnsid", -1, (1 << 31) - 1)
    other = fields.number("link_index", 0, (1 << 31) - 1)
    if netnsid is None and other is None:
        below = index_of(fields, "link", names) or below
        link.lower = below if below != link.ifindex else 0
        return
    # A namespace without an id is left out of the JSON, though the index is there.
    link.peer_netnsid = -1 if netnsid is None else netnsid
    if other or below:
        link.peer_ifindex = other or below


def _arp_type(fields: Fields) -> int:
    word = fields.text("link_type")
    number = _ARP_NUMBER.fullmatch(word)
    if number is not None and int(number[1]) <= 0xFFFF:
        return int(number[1])
    if word and word not in _ARP_TYPES:
        fields.problem("link_type", f"{word!r} is not known")
    return _ARP_TYPES.get(word, 0)


def _operstate(fields: Fields) -> int:
    word = fields.text("operstate")
    if word and word not in _OPERSTATES:
        fields.problem("operstate", f"{word!r} is not known")
    return _OPERSTATES.index(word) if word in _OPERSTATES else 0


def _parse_tunnel(kind: str, data: Fields) -> pb.Tunnel:
    tunnel = pb.Tunnel(external=bool(data.flag("external")))
    df: int = pb.OUTER_DF_UNKNOWN
    if kind in ("vxlan", "geneve"):
        tunnel.id = data.number("id") or 0
        tunnel.port = data.number("port", 0, 0xFFFF) or 0
        tunnel.remote = next((a for key in ("remote", "group", "remote6", "group6") if (a := data.address(key))), "")
        tunnel.local = data.address("local") or data.address("local6")
        word = data.text("df")
        if word and word not in _DF_WORDS:
            data.problem("df", f"{word!r} is not known")
        df = _DF_WORDS.get(word, pb.OUTER_DF_UNKNOWN)
    elif kind != "wireguard":
        tunnel.remote = data.address("remote")
        tunnel.local = data.address("local")
        tunnel.encap_type = _ENCAP_TYPES.get(data.object("encap").text("type"), 0)
        if kind in _GRE_KINDS and not tunnel.external:
            _parse_gre(data, tunnel)
        df = outer_df_of_ip_tunnel(kind, data.flag("pmtudisc"), bool(data.flag("ignore_df")))
    return finish(tunnel, kind, df)


def _parse_gre(data: Fields, tunnel: pb.Tunnel) -> None:
    key = data.text("okey")
    if key:
        packed = pack_address(key)
        if packed is None or len(packed) != 4:
            data.problem("okey", f"a dotted quad is wanted, found {key!r}")
        else:
            tunnel.id = int.from_bytes(packed, "big")
            tunnel.gre_flags |= GRE_KEY
    tunnel.gre_flags |= (GRE_SEQ if data.flag("oseq") else 0) | (GRE_CSUM if data.flag("ocsum") else 0)


def parse_counters(elements: Mapping[int, Fields]) -> dict[int, Counters]:
    """Counters by ifindex. Those iproute2 leaves out when they are 0 are 0 where their neighbours are told.

    rx_otherhost_dropped, which it leaves out as well and older kernels lack, is taken only where every link tells it:
    else its first packet would look like another set of counters.
    """
    told = {index: _stats_of(fields) for index, fields in elements.items()}
    told = {index: counters for index, counters in told.items() if counters}
    everywhere = all(_ONLY_WHEN_EVERYWHERE in counters for counters in told.values())
    rows: dict[int, Counters] = {}
    for index, counters in told.items():
        whole = counters
        if "rx_length_errors" in counters:
            whole = dict.fromkeys(_LEFT_OUT_WHEN_ZERO, 0) | counters
        names = tuple(n for n in COUNTER_NAMES if n in whole and (everywhere or n != _ONLY_WHEN_EVERYWHERE))
        rows[index] = names, tuple(whole[name] for name in names)
    return rows


def _stats_of(fields: Fields) -> dict[str, int]:
    stats = fields.object("stats64" if "stats64" in fields else "stats")
    directions = {"rx": stats.object("rx"), "tx": stats.object("tx")}
    counters: dict[str, int] = {}
    for name, (direction, key) in _COUNTER_KEYS.items():
        value = directions[direction].number(key, 0, MAX_U64)
        if value is not None:
            counters[name] = value
    return counters


def parse_addresses(elements: list[Fields], names: Mapping[str, int]) -> dict[int, set[str]]:
    """Addresses with prefix length by ifindex."""
    found: dict[int, set[str]] = {}
    for fields in elements:
        index = fields.number("ifindex", 1, (1 << 31) - 1) or index_of(fields, "ifname", names)
        if not index:
            fields.problem("ifindex", "missing")
            continue
        for entry in fields.objects("addr_info"):
            if entry.text("family") not in ("inet", "inet6"):
                continue
            address = entry.address("local") or entry.address("address")
            length = entry.number("prefixlen", 0, 128 if ":" in address else 32)
            if address and length is not None:
                found.setdefault(index, set()).add(f"{address}/{length}")
            elif "prefixlen" not in entry or not ("local" in entry or "address" in entry):
                entry.problem("local/prefixlen", "missing")
    return found


# -- rendering ---------------------------------------------------------------------------------------------------------


def name_of(index: int, links: Mapping[int, pb.Link]) -> str:
    """How iproute2 names an interface."""
    return links[index].name if index in links else f"if{index}"


def render_link(link: pb.Link, links: Mapping[int, pb.Link], counters: Counters | None) -> Json:
    """One element of ip-link.json."""
    element: Json = {"ifindex": link.ifindex}
    tunnel = link.kind in TUNNEL_KINDS
    if link.HasField("peer_netnsid") or link.HasField("peer_ifindex"):
        element["link_index"] = link.peer_ifindex
    elif link.lower and not tunnel:
        element["link"] = name_of(link.lower, links)
    element |= {
        "ifname": link.name,
        "flags": [word for word, given in (("LOOPBACK", link.loopback), ("UP", link.up)) if given],
        "mtu": link.mtu,
    }
    if link.master:
        element["master"] = name_of(link.master, links)
    element["operstate"] = _OPERSTATES[link.operstate]
    element["link_type"] = _ARP_NAMES.get(link.arp_type, f"[{link.arp_type}]")
    if link.HasField("peer_netnsid") and link.peer_netnsid >= 0:
        element["link_netnsid"] = link.peer_netnsid
    if link.kind:
        element["linkinfo"] = _render_info(link, links)
    if counters is not None:
        element["stats64"] = _render_counters(counters)
    if link.hardware:
        element["parentdev"] = "unknown"
    return element


def _render_info(link: pb.Link, links: Mapping[int, pb.Link]) -> Json:
    info: Json = {"info_kind": link.kind}
    if link.kind == "vlan":
        info["info_data"] = {"id": link.vlan_id}
    elif link.kind in TUNNEL_KINDS:
        data = _render_tunnel(link.kind, link.tunnel)
        if link.lower:
            data["link"] = name_of(link.lower, links)
        if data:
            info["info_data"] = data
    return info


def _render_tunnel(kind: str, tunnel: pb.Tunnel) -> Json:
    data: Json = {"external": True} if tunnel.external else {}
    if kind == "wireguard":
        return data
    if kind in ("vxlan", "geneve"):
        data |= {"id": tunnel.id, "port": tunnel.port}
        if tunnel.remote:
            data[_remote_key(tunnel.remote)] = tunnel.remote
        if tunnel.local:
            data["local6" if ":" in tunnel.local else "local"] = tunnel.local
        if tunnel.df in _DF_OF:
            data["df"] = _DF_OF[tunnel.df]
        return data
    data |= {"remote": tunnel.remote or "any", "local": tunnel.local or "any"}
    if tunnel.encap_type in _ENCAP_WORDS:
        data["encap"] = {"type": _ENCAP_WORDS[tunnel.encap_type]}
    if tunnel.gre_flags & GRE_KEY:
        data["okey"] = inet_ntop(AF_INET, tunnel.id.to_bytes(4, "big"))
    data |= {key: True for key, bit in (("oseq", GRE_SEQ), ("ocsum", GRE_CSUM)) if tunnel.gre_flags & bit}
    if tunnel.df != pb.OUTER_DF_UNKNOWN:
        data["pmtudisc"] = tunnel.df == pb.OUTER_DF_SET
        if tunnel.df == pb.OUTER_DF_UNSET and kind != "sit":
            data["ignore_df"] = True
    return data


def _remote_key(remote: str) -> str:
    if ":" in remote:
        return "group6" if remote.lower().startswith("ff") else "remote6"
    return "group" if inet_aton(remote)[0] >> 4 == 0xE else "remote"


def _render_counters(counters: Counters) -> Json:
    directions: dict[str, dict[str, int]] = {"rx": {}, "tx": {}}
    for name, value in zip(*counters, strict=True):
        direction, key = _COUNTER_KEYS[name]
        directions[direction][key] = value
    return dict(directions)


def render_addresses(link: pb.Link) -> Json:
    """One element of ip-addr.json."""
    entries: list[Json] = []
    for address in link.addresses:
        local, _, length = address.partition("/")
        family = "inet6" if ":" in local else "inet"
        entries.append({"family": family, "local": local, "prefixlen": int(length)})
    return {"ifindex": link.ifindex, "ifname": link.name, "addr_info": entries}
