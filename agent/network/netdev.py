"""/proc/net/dev: one cheap read that tells which interfaces' counters moved, and half of the counters themselves.

Source: dev_seq_printf_stats() in net/core/net-procfs.c. Some columns are sums of several counters.
"""

from __future__ import annotations

from collections.abc import Mapping

DIRECT = {
    "rx_bytes": 0, "rx_packets": 1, "rx_errors": 2, "rx_fifo_errors": 4, "rx_compressed": 6, "multicast": 7,
    "tx_bytes": 8, "tx_packets": 9, "tx_errors": 10, "tx_dropped": 11, "tx_fifo_errors": 12, "collisions": 13,
    "tx_compressed": 15,
}  # fmt: skip
"""Column of each counter that has one of its own."""
SUMS = {
    3: ("rx_dropped", "rx_missed_errors"),
    5: ("rx_length_errors", "rx_over_errors", "rx_crc_errors", "rx_frame_errors"),
    14: ("tx_carrier_errors", "tx_aborted_errors", "tx_window_errors", "tx_heartbeat_errors"),
}
"""Counters that a column is the sum of. rx_nohandler and rx_otherhost_dropped are in none."""
_COLUMNS = 16
WRAP = 1 << 64
"""What no counter reaches."""


def split_lines(data: bytes) -> dict[str, bytes]:
    """Each interface's columns, unparsed, by its name (not UTF-8: with surrogates, as in a directory listing)."""
    found: dict[str, bytes] = {}
    for line in data.splitlines():
        name, colon, columns = line.partition(b":")
        if colon:
            found[name.strip().decode("utf-8", "surrogateescape")] = columns
    return found


def parse_columns(line: bytes) -> tuple[int, ...] | None:
    """The numbers of a line; None: they are not what they should be."""
    words = line.split()
    if len(words) != _COLUMNS or not all(word.isdigit() and len(word) <= 20 for word in words):
        return None
    columns = tuple(map(int, words))
    return columns if max(columns) < WRAP else None


def moved_sums(columns: tuple[int, ...], counters: Mapping[str, int]) -> list[str]:
    """Counters to be read anew, for a column is no longer the sum of what is known of them."""
    return [
        name
        for column, names in SUMS.items()
        if sum(counters.get(name, 0) for name in names) % WRAP != columns[column]
        for name in names
    ]


def are_between(earlier: tuple[int, ...] | None, counters: Mapping[str, int], later: tuple[int, ...] | None) -> bool:
    """Whether counters read between two readings of the same interface's line can be that interface's."""
    if earlier is None or later is None:
        return False
    return all(
        earlier[column] <= counters[name] <= later[column] for name, column in DIRECT.items() if name in counters
    )
