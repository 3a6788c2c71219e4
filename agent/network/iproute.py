"""`ip -j route show table all`, both ways. Source: iproute2, ip/iproute.c, ip/iproute_lwtunnel.c."""

from __future__ import annotations

from collections.abc import Mapping
from socket import AF_INET, AF_INET6, inet_ntop

from nodetell.v1 import facts_pb2 as pb

from agent.netlink.routes import RT_TABLE_DEFAULT, RT_TABLE_LOCAL, RT_TABLE_MAIN
from agent.network.ipdocuments import MAX_U32, Fields, pack_address
from agent.network.iplink import Json, index_of, name_of

ROUTE_PLACE = "ip-route.json"
ENCAP_REMOTE_KEY = "encap_dst"
"""Where the remote of a route's encapsulation is held. iproute2 writes a second "dst" for it."""
LOCK_KEY = "lock"
"""Names of locked metrics, beside them. iproute2 leaves them out of its JSON."""
_TABLES = {"default": RT_TABLE_DEFAULT, "main": RT_TABLE_MAIN, "local": RT_TABLE_LOCAL}
_TABLE_NAMES = {number: name for name, number in _TABLES.items()}


def take_pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Hook for the JSON decoder: a "dst" after "encap" is the encapsulation's and would hide the route's own."""
    taken: dict[str, object] = {}
    for key, value in pairs:
        taken[ENCAP_REMOTE_KEY if key == "dst" and "encap" in taken else key] = value
    return taken


def parse_routes(elements: list[Fields], names: Mapping[str, int]) -> list[pb.Route]:
    """Unicast routes of all tables but local, once for each next hop."""
    routes: list[pb.Route] = []
    unknown_tables: set[str] = set()
    for fields in elements:
        if (fields.text("type") or "unicast") != "unicast":
            continue
        table = _table(fields, unknown_tables)
        hops = fields.objects("nexthops")
        whole = None if table == RT_TABLE_LOCAL else _parse_whole(fields, hops, table)
        if whole is None:
            continue
        for hop in hops or [fields]:
            route = _parse_hop(whole, hop, names)
            if route is not None:
                routes.append(route)
    return routes


def _table(fields: Fields, unknown: set[str]) -> int:
    """The table's number; 0: it has a name of the host's own, which only /etc/iproute2/rt_tables there explains."""
    if "table" not in fields:
        return RT_TABLE_MAIN
    if fields.is_number("table"):
        return fields.number("table", 1) or 0
    name = fields.text("table")
    if name.isascii() and name.isdigit() and len(name) <= 10 and 0 < int(name) <= MAX_U32:
        return int(name)
    if name and name not in _TABLES and name not in unknown:
        unknown.add(name)
        fields.problem("table", f"the number of table {name!r} is not known")
    return _TABLES.get(name, 0)


def _parse_whole(fields: Fields, hops: list[Fields], table: int) -> pb.Route | None:
    destination = _destination(fields, hops)
    if destination is None:
        return None
    route = pb.Route(
        destination=destination,
        table=table,
        source=fields.address("prefsrc"),
        priority=fields.number("metric") or 0,
    )
    for metric in fields.objects("metrics"):
        route.mtu = metric.number("mtu") or route.mtu
        route.mtu_locked = route.mtu_locked or "mtu" in metric.texts(LOCK_KEY)
    return route


def _destination(fields: Fields, hops: list[Fields]) -> str | None:
    text = fields.text("dst")
    if text == "default":
        return "::/0" if _is_ipv6_default(fields, hops) else "0.0.0.0/0"
    network, _, length_text = text.partition("/")
    packed = pack_address(network)
    if packed is None:
        if "dst" not in fields or text:
            fields.problem("dst", f"a network is wanted, found {text!r}" if text else "missing")
        return None
    width = 8 * len(packed)
    length = int(length_text) if length_text.isascii() and length_text.isdigit() and len(length_text) < 4 else width
    if length > width or (length_text and not length_text.isdigit()):
        fields.problem("dst", f"a network is wanted, found {text!r}")
        return None
    return f"{inet_ntop(AF_INET if width == 32 else AF_INET6, packed)}/{length}"


def _is_ipv6_default(fields: Fields, hops: list[Fields]) -> bool:
    """The family of "default", which is not told: by gateway or source, else only IPv6 routes have a preference.

    "via" names a gateway of the other family.
    """
    for hop in (fields, *hops):
        given = hop.text("gateway")
        if given:
            return ":" in given
        family = hop.object("via").text("family")
        if family:
            return family == "inet"
    source = fields.text("prefsrc")
    return ":" in source if source else "pref" in fields


def _parse_hop(whole: pb.Route, hop: Fields, names: Mapping[str, int]) -> pb.Route | None:
    """The route through one next hop; None: by a device that is not there."""
    ifindex = index_of(hop, "dev", names)
    if "dev" in hop and not ifindex:
        return None
    route = pb.Route()
    route.CopyFrom(whole)
    route.ifindex = ifindex
    route.gateway = hop.address("gateway") or hop.object("via").address("host")
    route.encap = hop.text("encap")
    if route.encap in ("ip", "ip6"):
        route.encap_remote = hop.address(ENCAP_REMOTE_KEY)
    return route


def render_route(route: pb.Route, links: Mapping[int, pb.Link]) -> Json:
    """One element of ip-route.json; of a route over several next hops each is an element of its own."""
    ipv6 = ":" in route.destination
    element: Json = {"dst": "default" if route.destination in ("0.0.0.0/0", "::/0") else route.destination}
    if route.encap:
        element["encap"] = route.encap
        if route.encap_remote:
            element[ENCAP_REMOTE_KEY] = route.encap_remote
    if route.gateway:
        if (":" in route.gateway) == ipv6:
            element["gateway"] = route.gateway
        else:
            element["via"] = {"family": "inet" if ipv6 else "inet6", "host": route.gateway}
    if route.ifindex:
        element["dev"] = name_of(route.ifindex, links)
    if route.table != RT_TABLE_MAIN:
        element["table"] = _TABLE_NAMES.get(route.table, str(route.table))
    if route.source:
        element["prefsrc"] = route.source
    if route.priority:
        element["metric"] = route.priority
    if route.mtu or route.mtu_locked:
        metric: Json = {"mtu": route.mtu} if route.mtu else {}
        element["metrics"] = [metric | ({LOCK_KEY: ["mtu"]} if route.mtu_locked else {})]
    if ipv6:
        element["pref"] = "medium"
    return element
