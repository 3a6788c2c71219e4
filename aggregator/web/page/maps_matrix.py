"""Paths put together as a matrix: of zones and pools, or of the nodes of two of them. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from aggregator.slices import gently
from aggregator.web.page.maps_paths import Cell, Fleet, Group, Path, State

MOST = 24
"""Rows and columns of a matrix; of more, those with the worst paths are shown."""
WORST = 5
"""Cells that are named above the matrix."""
PAGE = 100
"""Paths of one page of a list."""


class By(StrEnum):
    """How nodes are put together."""

    BOTH = "both"
    ZONE = "zone"
    POOL = "pool"


_Key = Group | str


@dataclass(frozen=True, slots=True)
class Axis:
    """A row, which is a column as well."""

    key: _Key
    """Zone and pool, or a node's name."""
    label: str
    nodes: int


@dataclass(frozen=True, slots=True)
class Matrix:
    """What is shown."""

    rows: tuple[Axis, ...]
    columns: tuple[Axis, ...]
    cells: Mapping[tuple[_Key, _Key], Cell]
    """By keys of row and column; where nothing was measured there is one all the same."""
    left_out: int
    """Rows for which there is no room, none of which is worse than those shown."""
    worst: tuple[tuple[Axis, Axis, Cell], ...]
    """Cells in which something is wrong, the worst first."""
    states: Mapping[State, int]
    """How many paths are in each state, of all."""


def label(group: Group, by: By = By.BOTH) -> str:
    """What a group is called."""
    zone, pool = group
    told = {By.ZONE: [zone or "no zone"], By.POOL: [pool or "no pool"]}
    return ", ".join(told.get(by, [zone or "no zone", pool or "no pool"]))


def merged(group: Group, by: By) -> Group:
    """The group that it is part of when nodes are put together so."""
    zone, pool = group
    return (zone if by is not By.POOL else "", pool if by is not By.ZONE else "")


def ways(fleet: Fleet) -> list[str]:
    """Underlay, overlay: what was measured over."""
    return sorted({path.via for path in fleet.paths})


async def of_groups(fleet: Fleet, by: By, via: str) -> Matrix:
    """From each group to each. `via`: of `ways`; empty is any. Made once for a fleet."""
    known = fleet.derived.get((by, via))
    if isinstance(known, Matrix):
        return known
    sizes: Counter[Group] = Counter()
    for group, members in fleet.members.items():
        sizes[merged(group, by)] += len(members)
    nowhere: Group = ("", "")
    axes: dict[_Key, Axis] = {group: Axis(group, label(group, by), count) for group, count in sizes.items()}
    groups = {node: merged(group, by) for node, group in fleet.group_of.items()}
    tally = _Tally(axes)
    async for path in gently(fleet.paths):
        if via in ("", path.via):
            tally.add(path, groups.get(path.node, nowhere), groups.get(path.peer, nowhere))
    matrix = fleet.derived[by, via] = tally.matrix(frozenset(axes), frozenset(axes))
    return matrix


def of_nodes(rows: Sequence[str], columns: Sequence[str], paths: Iterable[Path]) -> Matrix:
    """From each node of some to each of others."""
    axes: dict[_Key, Axis] = {name: Axis(name, name, 1) for name in (*rows, *columns)}
    tally = _Tally(axes)
    for path in paths:
        tally.add(path, path.node, path.peer)
    return tally.matrix(frozenset(rows), frozenset(columns))


async def between(fleet: Fleet, from_: Group, to: Group, by: By, via: str) -> tuple[list[str], list[str], list[Path]]:
    """Nodes of two groups, and the paths from the one to the other, the worst first."""
    members: dict[Group, list[str]] = {}
    for group, names in fleet.members.items():
        members.setdefault(merged(group, by), []).extend(names)
    rows, columns = sorted(members.get(from_, ())), sorted(members.get(to, ()))
    here, there = frozenset(rows), frozenset(columns)
    found = [
        path async for path in gently(fleet.paths) if path.node in here and path.peer in there and via in ("", path.via)
    ]
    found.sort(key=lambda path: (-path.found, path.path_mtu or 0, path.node, path.peer, path.via))
    return rows, columns, found


class _Tally:
    """Paths put into cells."""

    def __init__(self, axes: Mapping[_Key, Axis]) -> None:
        self._axes = axes
        self._cells: dict[tuple[_Key, _Key], Cell] = {}
        self._states: Counter[State] = Counter()

    def add(self, path: Path, from_: _Key, to: _Key) -> None:
        cell = self._cells.get((from_, to))
        if cell is None:
            if from_ not in self._axes or to not in self._axes:
                return
            cell = self._cells[from_, to] = Cell(_pairs(self._axes[from_], self._axes[to]))
        cell.add(path)
        self._states[path.found] += 1

    def matrix(self, rows: frozenset[_Key], columns: frozenset[_Key]) -> Matrix:
        cells, axes = self._cells, self._axes
        bad: dict[_Key, State] = {}
        for ends, cell in cells.items():
            for key in ends:
                bad[key] = max(bad.get(key, State.UNMEASURED), cell.worst)
        shown = [_shown(axes, keys, bad) for keys in (rows, columns)]
        for row in shown[0]:
            for column in shown[1]:
                if (row.key, column.key) not in cells:
                    cells[row.key, column.key] = Cell(_pairs(row, column))
        wrong = [entry for entry in cells.items() if entry[1].worst > State.FINE]
        wrong.sort(key=lambda entry: (-entry[1].worst, -entry[1].states[entry[1].worst], str(entry[0])))
        worst = tuple((axes[one], axes[other], cell) for (one, other), cell in wrong[:WORST])
        left_out = max(len(rows) - len(shown[0]), len(columns) - len(shown[1]))
        return Matrix(shown[0], shown[1], cells, left_out, worst, self._states)


def _pairs(row: Axis, column: Axis) -> int:
    return row.nodes * column.nodes - (row.nodes if row.key == column.key else 0)


def _shown(axes: Mapping[_Key, Axis], keys: frozenset[_Key], bad: Mapping[_Key, State]) -> tuple[Axis, ...]:
    found = [axis for key, axis in axes.items() if key in keys]
    if len(found) > MOST:
        found = sorted(found, key=lambda axis: (-bad.get(axis.key, 0), -axis.nodes, axis.label))[:MOST]
    return tuple(sorted(found, key=lambda axis: axis.label))
