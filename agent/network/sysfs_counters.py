"""Interface counters without rtnetlink: files of /sys/class/net/X/statistics, read only where they moved.

One sweep of all files costs six hundred times what rtnetlink does. /proc/net/dev, where it is of the same network
namespace (which is found out, not assumed), tells which links moved and has half of their counters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from agent.host import Failure, ReadError
from agent.netlink.stats import COUNTER_NAMES, Counters
from agent.network import netdev

FILES = tuple(name for name in COUNTER_NAMES if name != "rx_otherhost_dropped")
"""sysfs has no file for that one."""
_IN_NO_COLUMN = "rx_nohandler"


@dataclass(frozen=True, slots=True)
class _Row:
    """One link's counters."""

    name: str
    line: bytes
    """Its line of /proc/net/dev, read before the counters; empty: there is none to go by."""
    counters: Counters


class SysfsCounters:
    """Keeps rows from sweep to sweep, the same object for a link that did not move."""

    def __init__(self, read: Callable[[str], bytes]) -> None:
        self._read = read
        self._rows: dict[int, _Row] = {}
        self._is_same_namespace: bool | None = None
        """Whether /proc/net/dev is of the namespace whose /sys this is; None: not found out yet."""

    def sweep(self, indexes: Mapping[str, int], thorough: bool) -> dict[int, Counters]:
        """Counters by ifindex of the links named. `thorough`: also of those that no column of /proc/net/dev tells."""
        lines = {} if self._is_same_namespace is False else self._lines()
        rows: dict[int, _Row] = {}
        for name, index in indexes.items():
            row = self._row(name, self._rows.get(index), lines.get(name, b""), thorough)
            if row is not None and row.counters[0]:
                rows[index] = row
        self._rows = rows
        if self._is_same_namespace is None and rows:
            self._is_same_namespace = _fit(rows.values(), lines, self._lines())
        return {index: row.counters for index, row in rows.items()}

    def _lines(self) -> dict[str, bytes]:
        try:
            return netdev.split_lines(self._read("proc/net/dev"))
        except ReadError:
            return {}

    def _row(self, name: str, before: _Row | None, line: bytes, thorough: bool) -> _Row | None:
        """The link's row now; None: it vanished."""
        if before is None or before.name != name or not line or not self._is_same_namespace:
            wanted: Iterable[str] = FILES
            known: dict[str, int] = {}
        else:
            if line == before.line and not thorough:
                return before
            known = dict(zip(*before.counters, strict=True))
            columns = netdev.parse_columns(line)
            wanted = FILES if columns is None else self._take_columns(columns, known)
            if thorough and columns is not None:
                wanted = [*wanted, _IN_NO_COLUMN]
        read = self._read_files(name, wanted)
        if read is None:
            return None
        known |= read
        names = tuple(file for file in FILES if file in known)
        values = tuple(known[file] for file in names)
        if before is not None and (names, values) == before.counters:
            return _Row(name, line, before.counters)
        return _Row(name, line, (names, values))

    @staticmethod
    def _take_columns(columns: tuple[int, ...], known: dict[str, int]) -> list[str]:
        """Update counters from the line; the result is those that must be read from files."""
        for counter, column in netdev.DIRECT.items():
            if counter in known:
                known[counter] = columns[column]
        return [counter for counter in netdev.moved_sums(columns, known) if counter in known]

    def _read_files(self, name: str, wanted: Iterable[str]) -> dict[str, int] | None:
        """The counters whose files hold a number; None: the link vanished."""
        found: dict[str, int] = {}
        for counter in wanted:
            try:
                text = self._read(f"sys/class/net/{name}/statistics/{counter}").strip()
            except ReadError as error:
                if error.failure is not Failure.ABSENT or not found:
                    return None
                continue  # an older kernel has no such file
            if text.isdigit() and len(text) <= 20 and (value := int(text)) < netdev.WRAP:
                found[counter] = value
        return found


def _fit(rows: Iterable[_Row], earlier: Mapping[str, bytes], later: Mapping[str, bytes]) -> bool | None:
    """Whether the counters of all links lie between two readings of /proc/net/dev: then it is of the same namespace.

    None: it does not have all links; one may just have come or gone.
    """
    for row in rows:
        if row.name not in earlier or row.name not in later:
            return None
        low, high = netdev.parse_columns(earlier[row.name]), netdev.parse_columns(later[row.name])
        if not netdev.are_between(low, dict(zip(*row.counters, strict=True)), high):
            return False
    return True
