"""The table of nodes: filtered, sorted and cut into pages on the server, so that it works in any browser."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from nodetell.v1 import operator_pb2

from aggregator.cluster.pools import pool_of
from aggregator.cluster.zones import zone_of
from aggregator.view import ClusterView

PAGE = 50
"""Rows of one page."""
MOST_TEXT = 253
"""Characters of a filter that are looked at: no name of a node is longer."""


@dataclass(frozen=True, slots=True)
class Row:
    """A node. None: not known, which is not 0."""

    name: str
    zone: str
    pool: str
    agent: str
    """ "connected", "silent" or "none"."""
    ready: str
    """ "True", "False", "Unknown"; empty: the API server is not known."""
    cordoned: bool
    findings: int
    fsync_us: int | None
    fsync_of: str
    drops: float | None
    path_mtu: int | None
    path_of: int
    """MTU of the path's interface."""
    path_peer: str
    unanswered: int
    clock_s: float | None
    clock_bound_s: float
    lag_s: float | None
    """How long ago the agent was last heard."""
    gaps: int

    @property
    def short(self) -> int:
        """By how much the path's packets must be smaller than its interface says."""
        return max(0, self.path_of - self.path_mtu) if self.path_mtu is not None else 0

    @property
    def well(self) -> bool:
        """Nothing is said against it."""
        return not self.findings and self.agent == "connected" and self.ready in ("True", "")


@dataclass(frozen=True, slots=True)
class Column:
    """One that can be sorted by."""

    key: str
    title: str
    hint: str
    value: Callable[[Row], float | str | None]
    """What is compared; None comes last in either direction."""
    worst_first: bool = True
    """Sorted from the greatest down when it is chosen."""
    number: bool = True


_STATES = {"connected": 0.0, "silent": 1.0, "none": 2.0}


def _trouble(row: Row) -> float:
    return _STATES[row.agent] + 4 * (row.ready not in ("True", "")) + (0.5 if row.cordoned else 0)


COLUMNS = (
    Column("node", "Node", "", lambda row: row.name, worst_first=False, number=False),
    Column("findings", "Findings", "findings that name the node", lambda row: row.findings),
    Column("state", "State", "Ready by the API server, and whether the agent is heard", _trouble, number=False),
    Column(
        "fsync",
        "fsync p99",
        "of 100 writes that wait for the disk, 99 take at most this long; above 10 ms etcd suffers",
        lambda row: row.fsync_us,
    ),
    Column("drops", "Drops", "packets that its interfaces dropped in the last minutes", lambda row: row.drops),
    Column(
        "path",
        "Path MTU",
        "largest packet that gets through to another node, on the path that lacks most",
        lambda row: row.short * 1e6 - row.path_mtu if row.path_mtu is not None else None,
    ),
    Column(
        "clock",
        "Clock",
        "by how much the node's clock is ahead",
        lambda row: abs(row.clock_s) if row.clock_s is not None else None,
    ),
    Column("lag", "Agent heard", "how long ago the agent was last heard", lambda row: row.lag_s),
)
_BY_KEY = {column.key: column for column in COLUMNS}


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody wants to see, as the address has it. Whatever stands there, it is something that can be shown."""

    text: str = ""
    """In the node's name, zone or pool."""
    zone: str = ""
    trouble: bool = False
    """Only nodes of which something is said against."""
    sort: str = "findings"
    down: bool = True
    page: int = 1

    def link(self, **changes: str | int | bool) -> str:
        """The address of the same with something changed: "?sort=fsync"; of the very first, "?"."""
        has = {name: changes.get(name, getattr(self, name)) for name in _DEFAULTS}
        words = {
            "q": has["text"],
            "zone": has["zone"],
            "only": "trouble" if has["trouble"] else "",
            "sort": has["sort"] if has["sort"] != "findings" else "",
            "order": "" if has["down"] == _BY_KEY[str(has["sort"])].worst_first else "down" if has["down"] else "up",
            "page": str(has["page"]) if has["page"] != 1 else "",
        }
        return "?" + urlencode({name: word for name, word in words.items() if word})

    def turned(self, key: str) -> str:
        """Sorted by a column, the other way round where it is sorted by that already."""
        down = not self.down if key == self.sort else _BY_KEY[key].worst_first
        return self.link(sort=key, down=down, page=1)


_DEFAULTS = ("text", "zone", "trouble", "sort", "down", "page")


def asked(query: Mapping[str, str]) -> Asked:
    """What an address asks for; what makes no sense in it is left out."""
    sort = query.get("sort", "findings")
    sort = sort if sort in _BY_KEY else "findings"
    order, page = query.get("order", ""), query.get("page", "1")
    return Asked(
        text=query.get("q", "")[:MOST_TEXT].strip(),
        zone=query.get("zone", "")[:MOST_TEXT],
        trouble=query.get("only") == "trouble",
        sort=sort,
        down={"up": False, "down": True}.get(order, _BY_KEY[sort].worst_first),
        page=max(1, int(page)) if page.isdecimal() and len(page) < 7 else 1,
    )


@dataclass(frozen=True, slots=True)
class NodesPage:
    """What is shown."""

    asked: Asked
    rows: tuple[Row, ...]
    found: int
    """That the filter leaves."""
    every: int
    pages: int
    first: int
    """Number of the first row shown, from 1."""
    zones: tuple[str, ...]
    columns: tuple[Column, ...] = COLUMNS


def row_of(name: str, summary: operator_pb2.NodeSummary | None, view: ClusterView, findings: int, now: float) -> Row:
    """A node's row. `summary`: None, where no agent has reported for it; `findings`: that name it; `now`: seconds since
    the epoch."""
    node = view.nodes.get(name)
    has = summary if summary is not None else operator_pb2.NodeSummary()
    agent = "none" if summary is None else "connected" if summary.connected else "silent"
    return Row(
        name=name,
        zone=zone_of(node) if node is not None else "",
        pool=pool_of(node) if node is not None else "",
        agent=agent,
        ready=node.ready if node is not None else "",
        cordoned=node is not None and node.unschedulable,
        findings=findings,
        fsync_us=has.fsync_p99_us if has.HasField("fsync_p99_us") else None,
        fsync_of=has.fsync_process,
        drops=has.drops_per_s if has.HasField("drops_per_s") else None,
        path_mtu=has.path_mtu if has.HasField("path_mtu") else None,
        path_of=has.path_interface_mtu,
        path_peer=has.path_peer,
        unanswered=has.paths_unanswered,
        clock_s=has.clock_offset_us / 1e6 if has.HasField("clock_offset_us") else None,
        clock_bound_s=has.clock_bound_us / 1e6,
        lag_s=max(0.0, now - has.heard_at_unix_ms / 1000) if has.heard_at_unix_ms else None,
        gaps=has.coverage_gaps,
    )


def nodes_page(every: list[Row], wanted: Asked) -> NodesPage:
    """Those that are asked for, in the order that is."""
    text = wanted.text.lower()
    found = [
        row
        for row in every
        if (not text or any(text in each.lower() for each in (row.name, row.zone, row.pool)))
        and (not wanted.zone or row.zone == wanted.zone)
        and not (wanted.trouble and row.well)
    ]
    value = _BY_KEY[wanted.sort].value
    known = [(key, row) for row in found if (key := value(row)) is not None]
    known.sort(key=lambda each: each[1].name)
    known.sort(key=lambda each: each[0], reverse=wanted.down)
    ordered = [row for _, row in known] + [row for row in found if value(row) is None]
    pages = max(1, -(-len(ordered) // PAGE))
    page = min(wanted.page, pages)
    first = (page - 1) * PAGE
    return NodesPage(
        asked=Asked(wanted.text, wanted.zone, wanted.trouble, wanted.sort, wanted.down, page),
        rows=tuple(ordered[first : first + PAGE]),
        found=len(found),
        every=len(every),
        pages=pages,
        first=first + 1,
        zones=tuple(sorted({row.zone for row in every if row.zone})),
    )
