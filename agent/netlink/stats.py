"""Counters of all links at the least cost: most did not move since the sweep before, and one comparison of bytes tells.

Source: RTM_GETSTATS with IFLA_STATS_LINK_64 (since Linux 4.7): struct if_stats_msg, then one attribute that holds
struct rtnl_link_stats64 (include/uapi/linux/if_link.h).
"""

from __future__ import annotations

from struct import Struct

from agent.netlink import wire
from agent.netlink.wire import Batch, DecodeError, Problem

Counters = tuple[tuple[str, ...], tuple[int, ...]]
"""Names and values of one link's counters."""

COUNTER_NAMES = (
    "rx_packets", "tx_packets", "rx_bytes", "tx_bytes", "rx_errors", "tx_errors", "rx_dropped", "tx_dropped",
    "multicast", "collisions", "rx_length_errors", "rx_over_errors", "rx_crc_errors", "rx_frame_errors",
    "rx_fifo_errors", "rx_missed_errors", "tx_aborted_errors", "tx_carrier_errors", "tx_fifo_errors",
    "tx_heartbeat_errors", "tx_window_errors", "rx_compressed", "tx_compressed", "rx_nohandler",
    "rx_otherhost_dropped",
)  # fmt: skip
"""Members of struct rtnl_link_stats64 in order. Linux before 5.19 ends at rx_nohandler, before 4.6 at tx_compressed."""

IF_STATS_MSG = Struct("=BxHII")
"""struct if_stats_msg: family, padding, index, filter mask."""
IFLA_STATS_LINK_64 = 1
DUMP_REQUEST = IF_STATS_MSG.pack(0, 0, 0, 1 << (IFLA_STATS_LINK_64 - 1))

_BEFORE_VALUES = 32
"""Bytes before the first counter: struct nlmsghdr, struct if_stats_msg, the attribute's header."""
_MORE = Batch()
"""Answer of `take` to the usual datagram: nothing but records in it, and more to come."""

_names_of_count: dict[int, tuple[str, ...]] = {}
_values_of_count: dict[int, Struct] = {}
_record_of_length: dict[int, Struct] = {}


def counters_of(raw: bytes) -> Counters:
    """Names and values of a struct rtnl_link_stats64, whichever kernel's. Raises DecodeError for an odd length."""
    if not raw or len(raw) % 8:
        raise DecodeError(f"counters of {len(raw)} bytes")
    count = min(len(raw) // 8, len(COUNTER_NAMES))
    names = _names_of_count.get(count)
    if names is None:
        names = _names_of_count[count] = COUNTER_NAMES[:count]
        _values_of_count[count] = Struct(f"={count}Q")
    return names, _values_of_count[count].unpack_from(raw)


def decode_stats(body: bytes) -> tuple[int, bytes]:
    """(ifindex, struct rtnl_link_stats64) of RTM_NEWSTATS. Raises DecodeError."""
    _, _, index, _ = wire.fixed(IF_STATS_MSG, body, "if_stats_msg")
    raw = wire.attributes(body, IF_STATS_MSG.size).get(IFLA_STATS_LINK_64)
    if index == 0 or raw is None:
        raise DecodeError(f"ifindex {index}: {'no IFLA_STATS_LINK_64' if index else 'no link has this index'}")
    return index, raw


class CounterTable:
    """Counters by ifindex, kept from sweep to sweep: the same object again for a link whose counters did not move."""

    def __init__(self) -> None:
        self._raw: dict[int, bytes] = {}
        self._counters: dict[int, Counters] = {}
        self._seen: list[int] = []
        self.problems: list[Problem] = []
        """DecodeError messages of the sweep under way."""

    def begin(self) -> None:
        """A new sweep."""
        self._seen = []
        self.problems = []

    def take(self, data: memoryview) -> Batch:
        """Take in one datagram of a sweep: by the fixed layout that all its records share, or message by message."""
        consumed = self._take_records(data)
        if consumed == len(data):
            return _MORE
        batch = wire.split(data[consumed:])
        found, problems = wire.decode_all(batch.messages, decode_stats)
        for index, raw in found:
            self.put(index, raw)
        self.problems += (Problem(p.offset + consumed, p.reason) for p in batch.problems + problems)
        return batch

    def _take_records(self, data: memoryview) -> int:
        """Take in what has the first record's layout; the result is how many bytes that were."""
        if len(data) < _BEFORE_VALUES:
            return 0
        length, kind, flags, _, _ = wire.HEADER.unpack_from(data)
        attribute_length, attribute_type = Struct("=HH").unpack_from(data, _BEFORE_VALUES - 4)
        regular = (
            kind == wire.RTM_NEWSTATS
            and not flags & wire.NLM_F_DUMP_INTR
            and attribute_type == IFLA_STATS_LINK_64
            and attribute_length == length - _BEFORE_VALUES + 4
            and length > _BEFORE_VALUES
            and length % 8 == 0
        )
        if not regular:
            return 0
        record = _record_of_length.get(length)
        if record is None:
            record = _record_of_length[length] = Struct(f"=Q12xI4xI{length - _BEFORE_VALUES}s")
        known, seen = self._raw, self._seen.append
        usable = len(data) // length * length
        if not usable:
            return 0
        consumed = 0
        first_head, _, first_attribute, _ = record.unpack_from(data)
        for head, index, attribute, raw in record.iter_unpack(data[:usable]):
            if head != first_head or attribute != first_attribute or not index:
                return consumed
            if known.get(index) != raw:
                known[index] = raw
                self._counters[index] = counters_of(raw)
            seen(index)
            consumed += length
        return consumed

    def put(self, index: int, raw: bytes) -> None:
        """Take in one link's counters. What is no row of numbers becomes a problem."""
        if self._raw.get(index) != raw:
            try:
                self._counters[index] = counters_of(raw)
            except DecodeError as damage:
                self.problems.append(Problem(0, f"ifindex {index}: {damage}"))
                return
            self._raw[index] = raw
        self._seen.append(index)

    def end(self) -> dict[int, Counters]:
        """The sweep is over: links that were not in it are gone."""
        if len(self._seen) != len(self._raw):
            for index in self._raw.keys() - set(self._seen):
                del self._raw[index], self._counters[index]
        return dict(self._counters)
