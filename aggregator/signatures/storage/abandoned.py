"""Volumes whose place has no node any more, while no pod wants them yet: the tell before a pod waits in vain.

A workload that is scaled to none, a job that is not due: its claim is bound, and when the pod comes, no node will be
where the volume is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from aggregator.cluster.state import ClusterState
from aggregator.cluster.zones import Kind, Place, place_of
from aggregator.model import Severity, Stage
from aggregator.signatures.case import Case, api_evidence
from aggregator.signatures.storage.codes import ZONE_MISMATCH
from aggregator.signatures.storage.volume_index import volumes_by_place
from aggregator.signatures.thresholds import Thresholds
from aggregator.topology import topology_of
from aggregator.view import ClusterView

_NAME = "storage.abandoned"
_MOST = 200
"""Claims of one place that are named."""


def cases(view: ClusterView, thresholds: Thresholds) -> Iterable[Case]:  # noqa: ARG001  # the shape of every rule
    """One for each bound claim without pods whose volume can be used on no node that there is."""
    state = view.objects
    if not state.knows("nodes", "pods", "persistentvolumeclaims", "persistentvolumes") or not state.nodes:
        return
    for place, claims in _places_without_nodes(state):
        yield from _of_place(view, place, claims)


def _places_without_nodes(state: ClusterState) -> list[tuple[Place, dict[str, str]]]:
    """With the claims of their volumes, by name of the volume; worked out when volumes or nodes have changed."""
    topology, volumes = topology_of(state), volumes_by_place(state)
    key = volumes.changed, topology.version
    known = state.derived.get(_NAME)
    if not isinstance(known, tuple) or known[0] != key:
        found = [
            (place_of(terms), claims)
            for by_terms in volumes.by_class.values()
            for terms, claims in by_terms.items()
            if terms is not None and claims and not topology.usable((terms,))
        ]
        known = state.derived[_NAME] = key, found
    return list(known[1])


def _of_place(view: ClusterView, place: Place, claims: dict[str, str]) -> Iterator[Case]:
    state, named = view.objects, 0
    where = f"in {place}" if place.kind is Kind.ZONE else f"on {place}"
    for volume, key in sorted(claims.items()):
        claim = state.claims.get(key)
        if claim is None or claim.deleted or claim.volume != volume or state.pods_of_claim(key):
            continue
        named += 1
        if named > _MOST:
            return
        yield Case(
            ZONE_MISMATCH,
            (place.kind.value, *place.values),
            f"Claim {key} is bound to volume {volume}, which can be used {where} only, where there is no node; no pod "
            "wants it yet",
            (f"PersistentVolumeClaim/{key}", f"PersistentVolume/{volume}"),
            (api_evidence("persistentvolumes", volume, "volume.place", str(place), at=view.now),),
            stage=Stage.RISK,
            severity=Severity.INFO,
        )
