"""How many bytes a tunnel adds to each packet, by the link's own parameters."""

from __future__ import annotations

from nodetell.v1 import facts_pb2 as pb

IPV4_HEADER = 20
IPV6_HEADER = 40
_UDP = 8
_ETHERNET = 14
_GRE = 4
_GRE_KEY, _GRE_SEQ, _GRE_CSUM = 0x2000, 0x1000, 0x8000
OVN_GENEVE_OPTIONS = 8
"""OVN carries its logical ports in one Geneve option: 4 bytes of option header, 4 of data."""

_WIREGUARD = 32 + _UDP
"""Header 16, authentication tag 16, UDP 8. Padding never exceeds the MTU (drivers/net/wireguard/send.c)."""

METADATA_KINDS = frozenset({"vxlan", "geneve", "gre", "gretap", "ip6gre", "ip6gretap", "ipip", "ip6tnl", "sit"})
TUNNEL_KINDS = METADATA_KINDS | {"wireguard"}


def overhead(link: pb.Link, *, geneve_options: int = 0) -> int | None:  # noqa: PLR0911 - one row per kind
    """Bytes between the link's own MTU and the packet that the device below must carry. None: no tunnel we know.

    The outer IP header is IPv6 where `tunnel.outer_ipv6` says so. `geneve_options`: bytes of options on each packet.
    """
    outer = IPV6_HEADER if link.tunnel.outer_ipv6 else IPV4_HEADER
    fou = {0: 0, 1: _UDP, 2: _UDP + 4}.get(link.tunnel.encap_type, _UDP)
    match link.kind:
        case "vxlan":
            return outer + _UDP + 8 + _ETHERNET
        case "geneve":
            return outer + _UDP + 8 + _ETHERNET + geneve_options
        case "wireguard":
            return outer + _WIREGUARD
        case "ipip" | "sit":
            return IPV4_HEADER + fou
        case "ip6tnl":
            return IPV6_HEADER + fou
        case "gre":
            return IPV4_HEADER + _gre(link.tunnel.gre_flags) + fou
        case "gretap":
            return IPV4_HEADER + _gre(link.tunnel.gre_flags) + _ETHERNET + fou
        case "ip6gre":
            return IPV6_HEADER + _gre(link.tunnel.gre_flags) + fou
        case "ip6gretap":
            return IPV6_HEADER + _gre(link.tunnel.gre_flags) + _ETHERNET + fou
        case _:
            return None


def _gre(flags: int) -> int:
    return _GRE + sum(4 for flag in (_GRE_KEY, _GRE_SEQ, _GRE_CSUM) if flags & flag)
