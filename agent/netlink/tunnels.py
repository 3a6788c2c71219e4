"""IFLA_INFO_DATA of the tunnel kinds to Tunnel.

Source: include/uapi/linux/if_link.h (VXLAN, Geneve) and if_tunnel.h (GRE, IPIP, SIT, ip6tnl); drivers/net/vxlan,
drivers/net/geneve.c, net/ipv4/ip_tunnel.c, net/ipv6/sit.c.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nodetell.v1 import facts_pb2 as pb

from agent.netlink import wire

GRE_CSUM, GRE_KEY, GRE_SEQ = 0x8000, 0x2000, 0x1000


@dataclass(frozen=True, slots=True)
class DecodedTunnel:
    """A tunnel, and the ifindex of its `link` (0: unset), which stands in another place of the model."""

    tunnel: pb.Tunnel
    link: int = 0


def outer_df(value: int | None) -> int:
    """IFLA_VXLAN_DF, IFLA_GENEVE_DF (0 unset, 1 set, 2 inherit) to OuterDf."""
    return pb.OUTER_DF_UNKNOWN if value is None or value > 2 else pb.OUTER_DF_UNSET + value


def outer_df_of_ip_tunnel(kind: str, pmtudisc: bool | None, ignore_df: bool) -> int:
    """OuterDf of a tunnel by its `pmtudisc`; IPv6 outside has no DF.

    Without pmtudisc, ip_tunnel_xmit() copies the inner DF; SIT carries IPv6, which has none to copy.
    """
    if pmtudisc is None or kind in IPV6_KINDS:
        return pb.OUTER_DF_UNKNOWN
    if pmtudisc:
        return pb.OUTER_DF_SET
    return pb.OUTER_DF_UNSET if ignore_df or kind == "sit" else pb.OUTER_DF_INHERIT


def finish(tunnel: pb.Tunnel, kind: str, df: int) -> pb.Tunnel:
    """What follows from the rest: the outer family, and that in metadata mode DF comes with each packet."""
    given = tunnel.local or tunnel.remote
    tunnel.outer_ipv6 = ":" in given if given else kind in IPV6_KINDS
    tunnel.df = pb.OUTER_DF_UNKNOWN if tunnel.external else df  # type: ignore[assignment]  # see Reading.gap
    return tunnel


def _flag(data: wire.Attributes, kind: int) -> bool | None:
    value = wire.u8(data, kind)
    return None if value is None else bool(value)


def _vxlan(kind: str, data: wire.Attributes) -> DecodedTunnel:
    tunnel = pb.Tunnel(
        id=wire.u32(data, 1) or 0,
        remote=wire.endpoint(data, 2, 16),
        local=wire.endpoint(data, 4, 17),
        port=wire.be16(data, 15) or 0,
        external=bool(wire.u8(data, 25)),
    )
    return DecodedTunnel(finish(tunnel, kind, outer_df(wire.u8(data, 29))), wire.u32(data, 3) or 0)


def _geneve(kind: str, data: wire.Attributes) -> DecodedTunnel:
    tunnel = pb.Tunnel(
        id=wire.u32(data, 1) or 0, remote=wire.endpoint(data, 2, 7), port=wire.be16(data, 5) or 0, external=6 in data
    )
    return DecodedTunnel(finish(tunnel, kind, outer_df(wire.u8(data, 13))))


def _gre(kind: str, data: wire.Attributes) -> DecodedTunnel:
    external = 18 in data
    flags = 0 if external else (wire.be16(data, 3) or 0) & (GRE_CSUM | GRE_KEY | GRE_SEQ)
    tunnel = pb.Tunnel(
        id=(wire.be32(data, 5) or 0) if flags & GRE_KEY else 0,
        local=wire.endpoint(data, 6),
        remote=wire.endpoint(data, 7),
        external=external,
        gre_flags=flags,
        encap_type=wire.u16(data, 14) or 0,
    )
    df = outer_df_of_ip_tunnel(kind, _flag(data, 10), bool(wire.u8(data, 19)))
    return DecodedTunnel(finish(tunnel, kind, df), wire.u32(data, 1) or 0)


def _ip_tunnel(kind: str, data: wire.Attributes) -> DecodedTunnel:
    tunnel = pb.Tunnel(
        local=wire.endpoint(data, 2),
        remote=wire.endpoint(data, 3),
        external=19 in data,
        encap_type=wire.u16(data, 15) or 0,
    )
    df = outer_df_of_ip_tunnel(kind, _flag(data, 10), ignore_df=False)
    return DecodedTunnel(finish(tunnel, kind, df), wire.u32(data, 1) or 0)


def _wireguard(_kind: str, _data: wire.Attributes) -> DecodedTunnel:
    """rtnetlink tells no more than the kind; peers and ports are generic netlink's, which needs CAP_NET_ADMIN."""
    return DecodedTunnel(pb.Tunnel())


_DECODERS: dict[str, Callable[[str, wire.Attributes], DecodedTunnel]] = {
    "vxlan": _vxlan,
    "geneve": _geneve,
    "gre": _gre,
    "gretap": _gre,
    "ip6gre": _gre,
    "ip6gretap": _gre,
    "ipip": _ip_tunnel,
    "sit": _ip_tunnel,
    "ip6tnl": _ip_tunnel,
    "wireguard": _wireguard,
}
TUNNEL_KINDS = frozenset(_DECODERS)
IPV6_KINDS = frozenset({"ip6gre", "ip6gretap", "ip6tnl"})
"""Kinds whose outer header is IPv6 whatever their addresses."""


def decode_tunnel(kind: str, data: bytes | None) -> DecodedTunnel | None:
    """Tunnel parameters; None: the kind is no tunnel. Raises DecodeError."""
    decoder = _DECODERS.get(kind)
    return None if decoder is None else decoder(kind, {} if data is None else wire.attributes(data))
