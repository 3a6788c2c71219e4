"""What must be told at once, and what can wait for the next batch. Pure functions of names and readings.

Links, routes, mounts and the like change seldom, and a change of one may be the fault itself. Gauges change with every
reading and tell nothing by that. Most counters run all the time; a few stand still on a healthy host.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from operator import itemgetter

from agent.reading import Reading

_GAUGES = frozenset({"usage", "clock", "conntrack", "pressure", "collector", "drop", "retransmits"})
"""First parts of the keys of items that change with every reading."""

_TALLIES = frozenset({"kernel", "latency"})
"""... of items that count: that one appears is news, for its window begins with it; that it counts on is not."""

_URGENT = re.compile(
    r"errors?$|dropped$|missed_errors$"  # struct rtnl_link_stats64; softnet_stat
    r"|Errors$|Errs$|Discards$|NoRoutes$|Frag|Reasm|Unreachs?$|TimeExcds$|TooBigs$"  # /proc/net/snmp, snmp6
    r"|Drops?$|Overflows$|MTUP"  # /proc/net/netstat
)
_NOT_FAULTS = frozenset({"rx_otherhost_dropped"})
"""Packets for another host, seen only because the interface is promiscuous."""


def is_urgent_item(key: str) -> bool:
    """That the item under `key` appears or goes does not wait for the next batch."""
    return key.partition("/")[0] not in _GAUGES


def _tells_at_once(key: str) -> bool:
    return is_urgent_item(key) and key.partition("/")[0] not in _TALLIES


def is_urgent(counter: str) -> bool:
    """The counter of this name tells of errors, drops, fragmentation or unreachable destinations."""
    return counter not in _NOT_FAULTS and _URGENT.search(counter) is not None


def items_changed(before: Reading, after: Reading) -> bool:
    """An item that does not wait appeared, changed or went."""
    old, new = before.items, after.items
    if old.keys() != new.keys() and any(is_urgent_item(key) for key in old.keys() ^ new.keys()):
        return True
    for key, item in new.items():
        known = old.get(key)
        if known is not item and known is not None and known != item and _tells_at_once(key):
            return True
    return False


def urgent_moves(before: Reading, after: Reading) -> Iterator[str]:
    """Subjects of which an urgent counter moved. A subject that is new or has new names has not moved."""
    old = before.blocks
    for subject, block in after.blocks.items():
        known = old.get(subject)
        if known is None or known is block or known.values == block.values or known.names != block.names:
            continue
        pick = _urgent_values(block.names)
        if pick is not None and pick(known.values) != pick(block.values):
            yield subject


@lru_cache(maxsize=256)
def _urgent_values(names: tuple[str, ...]) -> Callable[[tuple[int, ...]], object] | None:
    """Picks the urgent counters' values out of a row; None: there are none."""
    indices = [index for index, name in enumerate(names) if is_urgent(name)]
    return itemgetter(*indices) if indices else None
