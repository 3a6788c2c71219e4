"""Whether a node is left for a pod where its volumes can be used, and why each of those that are there is out. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice

from aggregator.cluster.objects import Condition, NodeObject, NodeTerm, Pod
from aggregator.cluster.zones import Kind, Place, asked_keys, is_zone_key, place_of, zone_of
from aggregator.scheduling.candidates import says_lost
from aggregator.scheduling.fit import Fit
from aggregator.scheduling.stops import CORDONED, NODE_AFFINITY, TAINT
from aggregator.signatures.storage.claims import age
from aggregator.signatures.thresholds import Thresholds
from aggregator.topology import Pinned, Topology, terms_of
from aggregator.view import ClusterView
from aggregator.whatif import NOBODY
from aggregator.wording import span

COUNTED = 100
"""Nodes elsewhere that are counted: one is enough to prove that it is the volume."""


class Out(StrEnum):
    """Why a node is out for a pod; of several reasons, the first of these."""

    LOST = "lost"
    CORDONED = "cordoned"
    TAINTED = "tainted"
    NOT_SELECTED = "not selected"


@dataclass(frozen=True, slots=True)
class Excluded:
    """A node where the volume could be used, and why the pod may not use it."""

    node: NodeObject
    kind: Out
    because: str


@dataclass(frozen=True, slots=True)
class Mismatch:
    """What holds for all pods of one template with volumes of one place."""

    place: Place
    culprits: frozenset[tuple[NodeTerm, ...]]
    """Node affinities of the volumes that exclude every node; all of them where only together they do."""
    apart: bool
    """Each volume by itself could be used somewhere, and all of them together nowhere."""
    there: tuple[Excluded, ...]
    """Nodes of the place."""
    out: dict[Out, list[str]]
    """Their names, by what keeps them out."""
    unlabelled: tuple[tuple[str, str], ...]
    """Nodes in the same zone that lack the label which the volume asks for: name and key."""
    elsewhere: Counter[str]
    """Nodes that the pod may use, by zone."""
    about: tuple[str, ...]
    """The cause: the place, but of volumes that are local to nodes what happened to those, zone by zone."""


def _about(place: Place, there: list[Excluded]) -> tuple[str, ...]:
    if place.kind is not Kind.NODE:
        return place.kind.value, *place.values
    return (place.kind.value, there[0].kind, zone_of(there[0].node)) if there else (place.kind.value, "gone")


class Judge:
    """Asks about pods, in the cluster as it is now."""

    def __init__(self, view: ClusterView, topology: Topology, thresholds: Thresholds) -> None:
        self._view = view
        self._topology = topology
        self._thresholds = thresholds
        self._away: dict[str, tuple[Out, str] | None] = {}
        """By name of the node: that it is lost, for every pod alike."""

    def mismatch(self, pod: Pod, pinned: list[Pinned]) -> Mismatch | None:
        """None: a node is open to the pod and to its volumes, or none is open to the pod at all."""
        usable = self._topology.usable(terms_of(pinned))
        standing = Fit(NOBODY, pod)
        there = []
        for name in usable:
            reason = self._why_out(standing, name)
            if reason is None:
                return None
            there.append(Excluded(self._view.nodes[name], *reason))
        elsewhere = self._elsewhere(standing, frozenset(usable))
        if not elsewhere:
            return None
        alone = [each for each in pinned if not self._is_open(standing, each)]
        culprits = alone or pinned
        place = place_of(culprits[0].terms)
        out: dict[Out, list[str]] = {}
        for node in there:
            out.setdefault(node.kind, []).append(node.node.name)
        return Mismatch(
            place,
            frozenset(each.terms for each in culprits),
            not alone,
            tuple(there),
            out,
            self._unlabelled(culprits, place) if alone else (),
            elsewhere,
            _about(place, there),
        )

    def _elsewhere(self, standing: Fit, there: frozenset[str]) -> Counter[str]:
        """Nodes that the pod may use where its volumes are not, by zone."""
        zones = self._topology.zones.items()
        open_to_it = (zone for name, zone in zones if name not in there and self._why_out(standing, name) is None)
        return Counter(islice(open_to_it, COUNTED))

    def _is_open(self, standing: Fit, one: Pinned) -> bool:
        """The pod may use a node where this volume can be used."""
        return any(self._why_out(standing, name) is None for name in self._topology.usable((one.terms,)))

    def _why_out(self, standing: Fit, name: str) -> tuple[Out, str] | None:
        """Why the pod may not use the node, in a word and in a clause; None: it may."""
        node = self._view.nodes[name]
        ready = node.condition("Ready")
        if ready is None or ready.status == "True":
            return next((_OF_STOP[stop.code](stop.about) for stop in standing.standing_stops(node)), None)
        if name not in self._away:
            self._away[name] = self._lost(ready)
        return self._away[name]

    def _lost(self, ready: Condition) -> tuple[Out, str] | None:
        away = age(self._view, ready.since)
        if ready.since and away < self._thresholds.node_away_min_s:
            return None  # a kubelet that restarts; its taints go with that
        silent = "has not been heard" if ready.status == "Unknown" else "has not been ready"
        return Out.LOST, f"{silent}{f' for {span(away)}' if ready.since else ''}"

    def _unlabelled(self, culprits: list[Pinned], place: Place) -> tuple[tuple[str, str], ...]:
        """Nodes that are in the volume's zone and lack the label by which its driver, or an older version, calls it."""
        if place.kind is not Kind.ZONE:
            return ()
        keys = sorted({key for one in culprits for key in asked_keys(one.terms) if is_zone_key(key)})
        return tuple(
            (name, missing)
            for name, zone in self._topology.zones.items()
            if zone in place.values
            and (missing := next((key for key in keys if key not in self._view.nodes[name].labels), ""))
        )


def _of_taint(about: str) -> tuple[Out, str]:
    if says_lost(about):
        return Out.LOST, f"is not ready ({about})"
    return Out.TAINTED, f"has taint {about}, which the pod does not tolerate"


_OF_STOP: dict[str, Callable[[str], tuple[Out, str]]] = {
    CORDONED: lambda _: (Out.CORDONED, "is cordoned"),
    TAINT: _of_taint,
    NODE_AFFINITY: lambda about: (Out.NOT_SELECTED, f"is not selected by the pod ({about})"),
}
