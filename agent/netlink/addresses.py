"""RTM_NEWADDR and RTM_DELADDR. Source: include/uapi/linux/if_addr.h."""

from __future__ import annotations

from dataclasses import dataclass
from socket import AF_INET, AF_INET6
from struct import Struct

from agent.netlink import wire
from agent.netlink.wire import DecodeError

IFADDRMSG = Struct("=BBBBI")
"""struct ifaddrmsg: family, prefix length, flags, scope, index."""
IFA_ADDRESS, IFA_LOCAL = 1, 2
DUMP_REQUEST = IFADDRMSG.pack(0, 0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Address:
    """An address of a link."""

    ifindex: int
    text: str
    """With prefix length: "10.0.0.11/24"."""
    identity: bytes
    """What tells it from the link's others: of two with the same local address, each may have a peer of its own."""


def decode_address(body: bytes) -> Address | None:
    """The address told of; None: it is neither IPv4 nor IPv6 (MCTP, Phonet). Raises DecodeError."""
    family, prefix_length, _, _, index = wire.fixed(IFADDRMSG, body, "ifaddrmsg")
    if family not in (AF_INET, AF_INET6):
        return None
    found = wire.attributes(body, IFADDRMSG.size)
    peer = found.get(IFA_ADDRESS, b"")
    local = found.get(IFA_LOCAL, peer)
    width = 4 if family == AF_INET else 16
    if len(local) != width or prefix_length > 8 * width:
        raise DecodeError(f"ifindex {index}: an address of {len(local)} bytes with prefix length {prefix_length}")
    return Address(index, f"{wire.ip_text(local)}/{prefix_length}", bytes([prefix_length]) + local + peer)
