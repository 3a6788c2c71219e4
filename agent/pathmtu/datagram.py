"""What probes and their answers look like. Pure functions of bytes.

Both begin with 32 bytes: magic, id of the key, number of the probe, size of the probe's IP packet, and a signature
over all of these. A probe is padded to its size with random bytes, so that nothing on the way can shrink it. An answer
is the 32 bytes alone: never more than the probe, so nobody gains by making a responder answer somebody else.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from struct import Struct

HEADER_BYTES = 32
_LAYOUT = Struct("!4s8sQHH")
"""Magic, id of the key, number, size, two bytes that are zero; 8 bytes of signature follow."""
_SIGNED = _LAYOUT.size
_PROBE, _ANSWER = b"NTp1", b"NTa1"
IPV4_OVERHEAD, IPV6_OVERHEAD = 28, 48
"""IP and UDP headers in bytes; the kernel adds no options to these packets."""
MAX_SIZE = 65_535


@dataclass(frozen=True, slots=True)
class Key:
    """What probes of one agent to another are signed with."""

    id: bytes
    """8 bytes, in each probe."""
    secret: bytes
    """16 bytes, in none."""


def overhead(ipv6: bool) -> int:
    """Bytes of an IP packet that are not the datagram's."""
    return IPV6_OVERHEAD if ipv6 else IPV4_OVERHEAD


def smallest(ipv6: bool) -> int:
    """Size of the smallest probe's IP packet."""
    return HEADER_BYTES + overhead(ipv6)


def probe(key: Key, number: int, size: int, padding: bytes, *, ipv6: bool) -> bytes:
    """A datagram whose IP packet has `size` bytes; `padding` must be long enough."""
    return _sealed(key, _PROBE, number, size) + padding[: size - smallest(ipv6)]


def answer(key: Key, number: int, size: int) -> bytes:
    """The answer to a probe that has come."""
    return _sealed(key, _ANSWER, number, size)


def key_id(datagram: bytes) -> bytes:
    """Id of the key that a datagram names; empty: it is no probe, whole or quoted."""
    return datagram[4:12] if datagram[:4] == _PROBE and len(datagram) >= 12 else b""


def read_probe(datagram: bytes, key: Key, *, ipv6: bool) -> tuple[int, int] | None:
    """(number, size) of a probe that arrived whole and was signed with this very key; None: it is none."""
    found = _open(datagram, _PROBE, key)
    return found if found is not None and found[1] == len(datagram) + overhead(ipv6) else None


def read_answer(datagram: bytes, key: Key) -> tuple[int, int] | None:
    """(number, size) that an answer confirms; None: it is none."""
    return _open(datagram, _ANSWER, key) if len(datagram) == HEADER_BYTES else None


def read_quote(quote: bytes, key: Key) -> int | None:
    """Number of the probe that an ICMP message quotes; None: it quotes none of this key's, or not enough of it."""
    if len(quote) < _SIGNED or quote[:4] != _PROBE:
        return None
    _, of_key, number, _, _ = _LAYOUT.unpack_from(quote)
    return int(number) if of_key == key.id else None


def _sealed(key: Key, magic: bytes, number: int, size: int) -> bytes:
    told = _LAYOUT.pack(magic, key.id, number, size, 0)
    return told + _signature(key, told)


def _open(datagram: bytes, magic: bytes, key: Key) -> tuple[int, int] | None:
    if len(datagram) < HEADER_BYTES or datagram[:4] != magic:
        return None
    if not hmac.compare_digest(datagram[_SIGNED:HEADER_BYTES], _signature(key, datagram[:_SIGNED])):
        return None
    _, of_key, number, size, _ = _LAYOUT.unpack_from(datagram)
    return (int(number), int(size)) if of_key == key.id else None


def _signature(key: Key, told: bytes) -> bytes:
    return hmac.digest(key.secret, told, hashlib.sha256)[: HEADER_BYTES - _SIGNED]
