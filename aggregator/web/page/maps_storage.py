"""The map of storage by zone: volumes, where they may go, and what the loss of a zone would strand.

What a loss would mean is the what-if of `nodetell whatif`: every pod that would have to come back is placed, one after
the other. Both are worked out a few milliseconds at a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from aggregator.cluster.objects import NodeTerm, Volume
from aggregator.cluster.state import ClusterState
from aggregator.cluster.zones import Kind, Place, is_node_key, place_of, zone_of
from aggregator.slices import gently, through
from aggregator.topology import topology_of
from aggregator.view import ClusterView
from aggregator.whatif import Cause, Loss, lose_in_steps, nodes_of, reachable

NEEDED = ("nodes", "persistentvolumes", "persistentvolumeclaims", "pods")
MOST_ZONES = 16
"""Zones of which the loss is worked out: those with most nodes."""
PAGE = 50
"""Volumes of one page."""
WHY = {
    Cause.VOLUME: "their volume cannot follow",
    Cause.ROOM: "no node left has room for them",
    Cause.SHARED_ROOM: "others need the same room",
    Cause.NOT_MADE_AGAIN: "nobody makes them again",
}
"""Why pods could not come back, in words."""
MOST_STRANDED = 30
"""Workloads that are named for one zone."""


@dataclass(frozen=True, slots=True)
class Row:
    """A volume."""

    name: str
    claim: str
    storage_class: str
    size: int
    """Bytes."""
    phase: str
    place: str
    """Where it may be used, in words."""
    zones: tuple[str, ...]
    """Zones of nodes that it can be used on; empty: none, or it can be used anywhere."""
    nodes: int
    """Nodes that it can be used on ..."""
    ready: int
    """... and how many of them are ready."""
    bound: bool
    """It cannot be used everywhere."""
    attached: tuple[str, ...]
    """Nodes that the API server counts it as attached to."""
    pods: tuple[str, ...]
    waiting: int
    """Pods among them that no node has."""

    @property
    def stuck(self) -> bool:
        """It can be used in one zone only."""
        return self.bound and len(self.zones) == 1


@dataclass(slots=True)
class Zone:
    """One zone, and what is in it."""

    name: str
    nodes: int = 0
    ready: int = 0
    only_here: int = 0
    """Volumes that can be used in this zone and no other."""
    of_one_node: int = 0
    """... among them those that can be used on a single node."""
    here_too: int = 0
    """Volumes that can be used here and in other zones as well."""
    size: int = 0
    """Bytes of those that can be used only here."""
    pods: int = 0
    """Pods that use those ..."""
    waiting: int = 0
    """... and how many of them no node has."""

    @property
    def lost(self) -> bool:
        """None of its nodes is ready: it need not be asked what its loss would mean."""
        return not self.ready

    def add(self, row: Row) -> None:
        """Count a volume that can be used here, and not everywhere."""
        if not row.stuck:
            self.here_too += 1
            return
        self.only_here += 1
        self.of_one_node += row.nodes == 1
        self.size += row.size
        self.pods += len(row.pods)
        self.waiting += row.waiting


@dataclass(frozen=True, slots=True)
class Storage:
    """What is known of all zones."""

    zones: tuple[Zone, ...]
    """By name."""
    volumes: tuple[Row, ...]
    """By name."""
    anywhere: int
    """Volumes that can be used everywhere."""
    nowhere: int
    """Volumes that no node there is can use."""
    unknown: tuple[str, ...]
    """Resources of the API server that are not known."""


@dataclass(frozen=True, slots=True)
class Strand:
    """What the loss of a zone would strand."""

    zone: str
    loss: Loss
    causes: Mapping[Cause, int] = field(default_factory=dict)
    """Pods by why they could not come back."""

    @property
    def pods(self) -> int:
        """All of them."""
        return sum(self.causes.values())


async def gathered(view: ClusterView) -> Storage:
    """Zones and volumes, gathered a few milliseconds at a time."""
    state = view.objects
    unknown = tuple(resource for resource in NEEDED if not state.knows(resource))
    zones: dict[str, Zone] = {}
    by_name: dict[str, str] = {}
    async for node in gently(list(state.nodes.values())):
        zone = zones.setdefault(zone_of(node), Zone(zone_of(node)))
        zone.nodes += 1
        zone.ready += reachable(node)
        for name in (node.name, *(value for key, value in node.labels.items() if is_node_key(key))):
            by_name[name] = node.name
    rows = []
    where = _Where(state, by_name)
    async for volume in gently(sorted(state.volumes.values(), key=lambda volume: volume.name)):
        row = _row(state, volume, where)
        rows.append(row)
        for name in row.zones if row.bound else ():
            if name in zones:
                zones[name].add(row)
    anywhere = sum(not row.bound for row in rows)
    nowhere = sum(row.bound and not row.nodes for row in rows)
    return Storage(tuple(zones[name] for name in sorted(zones)), tuple(rows), anywhere, nowhere, unknown)


class _Where:
    """Nodes on which volumes can be used. Those of one node each are found by its name: there is one for each node."""

    def __init__(self, state: ClusterState, by_name: Mapping[str, str]) -> None:
        self._topology, self._by_name = topology_of(state), by_name
        self._ready = {name for name, node in state.nodes.items() if reachable(node)}
        self._known: dict[tuple[NodeTerm, ...], tuple[int, int, tuple[str, ...]]] = {}

    def of(self, volume: Volume, place: Place) -> tuple[int, int, tuple[str, ...]]:
        """(how many nodes, how many of them are ready, their zones)."""
        terms, zones = volume.node_terms, self._topology.zones
        if terms is None:
            return len(zones), len(self._ready), ()
        found = self._known.get(terms)
        if found is None:
            if place.kind is Kind.NODE:
                names = {self._by_name[value] for value in place.values if value in self._by_name}
            else:
                names = set(self._topology.usable((terms,)))
            there = tuple(sorted({zones[name] for name in names if name in zones}))
            found = self._known[terms] = len(names), len(names & self._ready), there
        return found


def _row(state: ClusterState, volume: Volume, where: _Where) -> Row:
    place = place_of(volume.node_terms)
    nodes, ready, zones = where.of(volume, place)
    users = state.pods_of_claim(volume.claim).values() if volume.claim else ()
    pods = [pod for pod in users if not pod.terminal]
    return Row(
        name=volume.name,
        claim=volume.claim,
        storage_class=volume.storage_class,
        size=volume.capacity,
        phase=volume.phase,
        place=str(place),
        zones=zones,
        nodes=nodes,
        ready=ready,
        bound=volume.node_terms is not None,
        attached=tuple(sorted({each.node for each in state.attachments_of(volume.name).values()})),
        pods=tuple(sorted(pod.key for pod in pods)),
        waiting=sum(not pod.node for pod in pods),
    )


async def stranded(view: ClusterView) -> dict[str, Strand]:
    """What the loss of each zone would strand, by its name; of very many zones, of the largest. Raises WhatIfError."""
    sizes = Counter(zone for zone in topology_of(view.objects).zones.values() if zone)
    found = {}
    for zone, _ in sizes.most_common(MOST_ZONES):
        loss = await through(lose_in_steps(view, nodes_of(view, [zone], [])))
        causes: Counter[Cause] = Counter()
        for each in loss.stranded:
            causes[each.cause] += len(each.pods)
        found[zone] = Strand(zone, loss, dict(causes))
    return found


def filtered(storage: Storage, zone: str | None, text: str) -> list[Row]:
    """Volumes that can be used in a zone (None: all), and have a text in a name of theirs."""
    text = text.lower()
    return [
        row
        for row in storage.volumes
        if (zone is None or (zone in row.zones if row.bound else False))
        and (not text or any(text in each.lower() for each in (row.name, row.claim, row.storage_class, *row.attached)))
    ]
