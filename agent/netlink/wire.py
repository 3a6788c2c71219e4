"""Taking apart what a netlink socket delivers: messages, and the attributes within them. Pure functions of bytes.

Source: netlink(7), rtnetlink(7), include/uapi/linux/netlink.h.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from socket import AF_INET, AF_INET6, inet_ntop
from struct import Struct
from typing import TypeVar

T = TypeVar("T")
Attributes = Mapping[int, bytes]
"""Payload by attribute type, flag bits removed. Of an attribute that comes twice the last counts, as in the kernel."""

NLMSG_NOOP, NLMSG_ERROR, NLMSG_DONE, NLMSG_OVERRUN = 1, 2, 3, 4
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP_INTR, NLM_F_DUMP = 0x1, 0x4, 0x10, 0x300
RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWSTATS, RTM_GETSTATS = 92, 94
TYPE_NAMES = {
    RTM_NEWLINK: "RTM_NEWLINK",
    RTM_DELLINK: "RTM_DELLINK",
    RTM_NEWADDR: "RTM_NEWADDR",
    RTM_DELADDR: "RTM_DELADDR",
    RTM_NEWROUTE: "RTM_NEWROUTE",
    RTM_DELROUTE: "RTM_DELROUTE",
    RTM_NEWSTATS: "RTM_NEWSTATS",
}

HEADER = Struct("=IHHII")
"""struct nlmsghdr: length, type, flags, sequence number, port id."""
_ATTRIBUTE = Struct("=HH")
_ATTRIBUTE_TYPE_MASK = 0x3FFF
"""NLA_F_NESTED and NLA_F_NET_BYTEORDER are not part of an attribute's type."""
_S32 = Struct("=i")


class DecodeError(ValueError):
    """A message cannot be understood. The reason is one line and names attribute and byte where it can."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A damaged message: where in the received bytes it begins, and why it is not understood."""

    offset: int
    reason: str

    def __str__(self) -> str:
        return f"message at byte {self.offset}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Message:
    """One netlink message without its header."""

    type: int
    flags: int
    offset: int
    """Of its header, in the received bytes."""
    body: bytes

    @property
    def name(self) -> str:
        """Its type as the kernel names it."""
        return TYPE_NAMES.get(self.type, f"message type {self.type}")


@dataclass(slots=True)
class Batch:
    """What one receive call delivered."""

    messages: list[Message] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    done: bool = False
    """NLMSG_DONE or NLMSG_ERROR came: nothing more follows."""
    interrupted: bool = False
    """NLM_F_DUMP_INTR: what is dumped changed meanwhile, so that something may be missing or there twice."""
    overrun: bool = False
    """NLMSG_OVERRUN: messages were lost."""
    error: int = 0
    """errno of NLMSG_ERROR or NLMSG_DONE; 0: none."""


def request(kind: int, body: bytes, flags: int = NLM_F_DUMP) -> bytes:
    """A request: for a dump, or with NLM_F_ACK for the one thing that `body` names."""
    return HEADER.pack(HEADER.size + len(body), kind, NLM_F_REQUEST | flags, 0, 0) + body


def attribute(kind: int, payload: bytes) -> bytes:
    """One attribute, padded."""
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(payload), kind) + payload + bytes(-len(payload) % 4)


def split(data: bytes | memoryview) -> Batch:
    """Messages of one datagram. Where a length is wrong the rest is lost: one problem; what came before is good."""
    batch = Batch()
    offset, end = 0, len(data)
    while offset < end:
        if end - offset < HEADER.size:
            batch.problems.append(Problem(offset, f"{end - offset} bytes are left, a header has {HEADER.size}"))
            break
        length, kind, flags, _, _ = HEADER.unpack_from(data, offset)
        if not HEADER.size <= length <= end - offset:
            reason = f"its length is {length}, between {HEADER.size} and {end - offset} fit"
            batch.problems.append(Problem(offset, reason))
            break
        batch.interrupted = batch.interrupted or bool(flags & NLM_F_DUMP_INTR)
        body = bytes(data[offset + HEADER.size : offset + length])
        _sort_in(batch, Message(kind, flags, offset, body))
        offset += (length + 3) & ~3
    return batch


def _sort_in(batch: Batch, message: Message) -> None:
    if message.type == NLMSG_ERROR:
        if len(message.body) < _S32.size:
            batch.problems.append(Problem(message.offset, f"NLMSG_ERROR of {len(message.body)} bytes"))
        else:
            batch.error = -_S32.unpack_from(message.body)[0]
        batch.done = True
    elif message.type == NLMSG_DONE:
        if len(message.body) >= _S32.size:
            batch.error = max(0, -_S32.unpack_from(message.body)[0])
        batch.done = True
    elif message.type == NLMSG_OVERRUN:
        batch.overrun = True
    elif message.type != NLMSG_NOOP:
        batch.messages.append(message)


def decode_all(messages: Iterable[Message], decode: Callable[[bytes], T]) -> tuple[list[T], list[Problem]]:
    """Each message's body decoded; a damaged one is one problem and the others are good."""
    good: list[T] = []
    problems: list[Problem] = []
    for message in messages:
        try:
            good.append(decode(message.body))
        except DecodeError as damage:
            problems.append(Problem(message.offset, f"{message.name}: {damage}"))
    return good, problems


def fixed(layout: Struct, body: bytes, what: str) -> tuple[int, ...]:
    """The fixed struct a message begins with. Raises DecodeError if it is cut short."""
    if len(body) < layout.size:
        raise DecodeError(f"{what} has {len(body)} of {layout.size} bytes")
    return layout.unpack_from(body)


def attributes(data: bytes, start: int = 0) -> dict[int, bytes]:
    """Attributes from byte `start` on. Raises DecodeError where a length does not fit."""
    found: dict[int, bytes] = {}
    end = len(data)
    unpack = _ATTRIBUTE.unpack_from
    while end - start >= 4:
        length, kind = unpack(data, start)
        if not 4 <= length <= end - start:
            kind &= _ATTRIBUTE_TYPE_MASK
            raise DecodeError(
                f"attribute {kind} at byte {start}: its length is {length}, between 4 and {end - start} fit"
            )
        found[kind & _ATTRIBUTE_TYPE_MASK] = data[start + 4 : start + length]
        start += (length + 3) & ~3
    if start < end:
        raise DecodeError(f"{end - start} bytes at byte {start} are no attribute")
    return found


def nested(found: Attributes, kind: int) -> dict[int, bytes]:
    """Attributes within an attribute; empty where it is missing."""
    payload = found.get(kind)
    return {} if payload is None else attributes(payload)


_U8, _U16, _U32, _BE16, _BE32 = Struct("=B"), Struct("=H"), Struct("=I"), Struct(">H"), Struct(">I")


def _number(layout: Struct, found: Attributes, kind: int) -> int | None:
    payload = found.get(kind)
    if payload is None:
        return None
    if len(payload) < layout.size:
        raise DecodeError(f"attribute {kind} has {len(payload)} of {layout.size} bytes")
    value: int = layout.unpack_from(payload)[0]
    return value


def u8(found: Attributes, kind: int) -> int | None:
    """8 bits; None: the attribute is missing. Raises DecodeError if it is cut short, as the others below."""
    return _number(_U8, found, kind)


def u16(found: Attributes, kind: int) -> int | None:
    """16 bits in host byte order."""
    return _number(_U16, found, kind)


def u32(found: Attributes, kind: int) -> int | None:
    """32 bits in host byte order."""
    return _number(_U32, found, kind)


def s32(found: Attributes, kind: int) -> int | None:
    """32 bits in host byte order, signed."""
    return _number(_S32, found, kind)


def be16(found: Attributes, kind: int) -> int | None:
    """16 bits in network byte order."""
    return _number(_BE16, found, kind)


def be32(found: Attributes, kind: int) -> int | None:
    """32 bits in network byte order."""
    return _number(_BE32, found, kind)


def text(payload: bytes) -> str:
    """A zero-terminated name. Names are bytes to the kernel: what is not UTF-8 becomes replacement characters."""
    return payload.partition(b"\0")[0].decode("utf-8", "replace")


def ip_text(payload: bytes) -> str:
    """An IPv4 or IPv6 address in its usual spelling. Raises DecodeError for any other length."""
    if len(payload) == 4:
        return inet_ntop(AF_INET, payload)
    if len(payload) == 16:
        return inet_ntop(AF_INET6, payload)
    raise DecodeError(f"an IP address of {len(payload)} bytes")


def endpoint(found: Attributes, *kinds: int) -> str:
    """The first address given among `kinds` that is not all zero; empty: none is."""
    for kind in kinds:
        payload = found.get(kind)
        if payload is not None and any(payload):
            return ip_text(payload)
    return ""


def error_text(number: int) -> str:
    """An errno in words."""
    return os.strerror(number)
