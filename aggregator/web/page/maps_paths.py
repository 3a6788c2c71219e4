"""The map of paths between nodes: what gets through from each zone and pool to each, the worst of many in each cell.

Nobody probes all pairs of thousands of nodes: a cell says how many of its pairs were measured of late, and one of which
none was says so. Pure, but for the order in which hosts are looked at.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from nodetell.v1 import facts_pb2 as pb

from aggregator.cluster.pools import pool_of
from aggregator.cluster.zones import zone_of
from aggregator.node_state import NodeState
from aggregator.signatures.thresholds import Thresholds
from aggregator.slices import gently
from aggregator.view import ClusterView

_NAME = "maps.paths"


class State(IntEnum):
    """Of a path; greater is worse."""

    UNMEASURED = 0
    FINE = 1
    SMALLER = 2
    SILENT = 3
    BLACK_HOLE = 4

    @property
    def word(self) -> str:
        """As the page says it."""
        return _WORDS[self][0]

    @property
    def meaning(self) -> str:
        """What it is, for whoever has not met it."""
        return _WORDS[self][1]

    @property
    def sign(self) -> str:
        """One character, so that no colour is needed."""
        return _WORDS[self][2]

    @property
    def key(self) -> str:
        """As maps.css has it."""
        return self.name.lower().replace("_", "-")


_WORDS = {
    State.UNMEASURED: ("not measured", "no probe of late: nothing is known, which is not fine", "·"),
    State.FINE: ("fine", "packets as large as the sender's interface allows arrive", "✓"),
    State.SMALLER: ("smaller", "only smaller packets arrive, and senders are told so by ICMP", "▽"),
    State.SILENT: ("no answer", "nothing arrived at any size: probes are blocked, or the path is down", "?"),
    State.BLACK_HOLE: ("black hole", "large packets vanish and nobody is told", "✕"),
}


@dataclass(frozen=True, slots=True)
class Path:
    """One measured path."""

    node: str
    peer: str
    via: str
    """"underlay" or "overlay"."""
    ends: str
    """Addresses and interface."""
    path_mtu: int | None
    interface_mtu: int
    icmp: bool
    at: float
    """When, seconds since the epoch by the node's clock."""

    @property
    def found(self) -> State:
        """What it came to, however old that is."""
        if self.path_mtu is None:
            return State.SILENT
        if self.path_mtu >= self.interface_mtu:
            return State.FINE
        return State.SMALLER if self.icmp else State.BLACK_HOLE


Group = tuple[str, str]
"""Zone and pool; empty where they are not known."""


@dataclass(slots=True)
class Cell:
    """All paths from one group to another, or from one node to another."""

    pairs: int
    """Pairs of nodes that there are."""
    states: Counter[State] = field(default_factory=Counter)
    measured: set[tuple[str, str]] = field(default_factory=set)
    smallest: int = 0
    """The smallest path MTU that is too small, bytes; 0: none is."""

    def add(self, path: Path) -> None:
        """Take in a path."""
        self.states[path.found] += 1
        self.measured.add((path.node, path.peer))
        if path.path_mtu is not None and path.path_mtu < path.interface_mtu:
            self.smallest = min(self.smallest or path.path_mtu, path.path_mtu)

    @property
    def worst(self) -> State:
        """The worst of all."""
        return max(self.states, default=State.UNMEASURED)

    @property
    def said(self) -> str:
        """How many are in each state, the worst first."""
        if not self.pairs:
            return "no pair of nodes"
        if not self.states:
            return f"none of {self.pairs:,} pairs of nodes measured"
        told = [f"{count:,} {state.word}" for state, count in sorted(self.states.items(), reverse=True)]
        return f"{', '.join(told)}; {len(self.measured):,} of {self.pairs:,} pairs of nodes measured"


@dataclass(slots=True)
class Fleet:
    """What the map is made from, at one moment."""

    members: dict[Group, list[str]] = field(default_factory=dict)
    """Names of nodes, by group."""
    group_of: dict[str, Group] = field(default_factory=dict)
    paths: list[Path] = field(default_factory=list)
    """Young enough to count."""
    old: int = 0
    """Results that are too old to say anything of now."""
    derived: dict[object, object] = field(default_factory=dict)
    """What was made of it."""


async def gathered(view: ClusterView, thresholds: Thresholds) -> Fleet:
    """All nodes and what they have measured, gathered a few milliseconds at a time."""
    fleet = Fleet()
    hosts = dict(view.hosts)
    async for name in gently(sorted({*view.nodes, *hosts})):
        node = view.nodes.get(name)
        group = (zone_of(node), pool_of(node)) if node is not None else ("", "")
        fleet.members.setdefault(group, []).append(name)
        fleet.group_of[name] = group
    async for state in gently(list(hosts.values())):
        for path in paths_of(state):
            if state.at - path.at <= thresholds.probe_max_age_s:
                fleet.paths.append(path)
            else:
                fleet.old += 1
    return fleet


def paths_of(state: NodeState) -> Sequence[Path]:
    """What a host has measured. Kept with it until that changes."""
    items = state.of("path_mtu")
    kept = state.derived.get(_NAME)
    if not isinstance(kept, tuple) or kept[0] is not items:
        kept = state.derived[_NAME] = (items, [_path(state.name, item.path_mtu) for item in items])
    found: Sequence[Path] = kept[1]
    return found


def _path(node: str, probe: pb.PathMtu) -> Path:
    return Path(
        node,
        probe.peer,
        probe.via,
        f"{probe.from_address} to {probe.to_address} by {probe.interface}",
        probe.path_mtu if probe.HasField("path_mtu") else None,
        probe.interface_mtu,
        probe.icmp_seen,
        probe.at_unix_ms / 1000,
    )
