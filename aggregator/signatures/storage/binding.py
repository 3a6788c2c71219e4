"""Classes of zonal volumes that bind at once: the zone is chosen before anybody knows where the pod can run.

A class is zonal if its volumes are, each usable in one zone alone; where it has none yet, if its provisioner is known
to make such. One that allows a single zone leaves nothing to choose.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from aggregator.cluster.objects import NodeTerm, StorageClass
from aggregator.cluster.zones import Kind, place_of
from aggregator.model import Evidence, Stage
from aggregator.scheduling.candidates import of_control_plane
from aggregator.signatures.case import Case, api_evidence
from aggregator.signatures.storage.codes import IMMEDIATE_BINDING
from aggregator.signatures.storage.volume_index import VolumesByPlace, volumes_by_place
from aggregator.signatures.thresholds import Thresholds
from aggregator.topology import Topology, topology_of
from aggregator.view import ClusterView

ZONAL_PROVISIONERS = frozenset(
    {
        "ebs.csi.aws.com",
        "ebs.csi.eks.amazonaws.com",
        "kubernetes.io/aws-ebs",
        "blockvolume.csi.oraclecloud.com",
        "com.tencent.cloud.csi.cbs",
        "csi.hetzner.cloud",
        "csi.scaleway.com",
        "diskplugin.csi.alibabacloud.com",
        "evs.csi.huaweicloud.com",
        "vpc.block.csi.ibm.io",
        "yandex.csi.flant.com",
        "disk-csi-driver.mks.ycloud.io",
    }
)
"""Provisioners all of whose disks are in one zone. Where there are regional disks too (pd.csi.storage.gke.io,
disk.csi.azure.com) or zones may be ignored (cinder.csi.openstack.org, csi.vsphere.vmware.com), the volumes tell."""
_CASES = "storage.binding.cases"
_MOST_CLAIMS = 500
_NAMED = 4


def cases(view: ClusterView, thresholds: Thresholds) -> Iterable[Case]:  # noqa: ARG001  # the shape of every rule
    """One for each class."""
    state = view.objects
    if not state.knows("nodes", "storageclasses"):
        return []
    topology, volumes = topology_of(state), volumes_by_place(state)
    # Volumes and classes change seldom: what follows from them is kept until they do.
    key = state.revisions["storageclasses"], volumes.changed, topology.version
    known = state.derived.get(_CASES)
    if not isinstance(known, tuple) or known[0] != key:
        known = state.derived[_CASES] = key, list(_cases(view, topology, volumes))
    return list(known[1])


def _cases(view: ClusterView, topology: Topology, volumes: VolumesByPlace) -> Iterator[Case]:
    immediate = [each for _, each in sorted(view.objects.storage_classes.items()) if not each.waits_for_consumer]
    zones = _zones(view, topology) if immediate else Counter[str]()
    if len(zones) < 2:
        return
    for made_by in immediate:
        if len(_allowed(topology, made_by, zones)) > 1:
            found = _case(view, made_by, zones, _pinned(topology, volumes, made_by.name, zones))
            if found is not None:
                yield found


def _zones(view: ClusterView, topology: Topology) -> Counter[str]:
    """Nodes by zone; those of the control plane are nowhere that a workload goes."""
    counted: Counter[str] = Counter()
    for name, zone in topology.zones.items():
        taints = view.nodes[name].taints
        if zone and not any(of_control_plane(str(taint)) for taint in taints):
            counted[zone] += 1
    return counted


def _allowed(topology: Topology, made_by: StorageClass, zones: Counter[str]) -> set[str]:
    """Zones in which the class makes volumes."""
    if not made_by.topologies:
        return set(zones)
    named = place_of(made_by.topologies)
    if named.kind is Kind.ZONE:
        return set(named.values) & set(zones)
    return {topology.zones[name] for name in topology.usable((made_by.topologies,))}


@dataclass(slots=True)
class _Pinned:
    """Volumes of a class."""

    by_zone: dict[str, list[str]] = field(default_factory=dict)
    """Claims of those that can be used in one zone alone."""
    others: int = 0
    """How many are not bound to one zone."""


def _pinned(topology: Topology, volumes: VolumesByPlace, name: str, zones: Counter[str]) -> _Pinned:
    found = _Pinned()
    for terms, by_name in volumes.by_class.get(name, {}).items():
        zone = _only_zone(topology, terms, zones)
        if zone:
            found.by_zone.setdefault(zone, []).extend(claim for claim in by_name.values() if claim)
        else:
            found.others += len(by_name)
    return found


def _only_zone(topology: Topology, terms: tuple[NodeTerm, ...] | None, zones: Counter[str]) -> str:
    """The one zone in which such volumes can be used; empty: there are several, or they are bound to single nodes."""
    place = place_of(terms)
    if terms is None or place.kind is Kind.NODE:
        return ""
    if place.kind is Kind.ZONE:
        return place.values[0] if len(place.values) == 1 else ""
    usable = {topology.zones[name] for name in topology.usable((terms,))}
    return usable.pop() if len(usable) == 1 and len(zones) > 1 else ""


def _case(view: ClusterView, made_by: StorageClass, zones: Counter[str], pinned: _Pinned) -> Case | None:
    if not pinned.by_zone and (pinned.others or made_by.provisioner not in ZONAL_PROVISIONERS):
        return None
    claims = sorted(claim for each in pinned.by_zone.values() for claim in each)
    by_zone = ", ".join(f"{len(each):,} to {zone}" for zone, each in _some(pinned.by_zone))
    has = f"it has pinned {len(claims):,} claim{'' if len(claims) == 1 else 's'} so far ({by_zone})" if claims else ""
    default = ", the default one," if made_by.default else ""
    return Case(
        IMMEDIATE_BINDING,
        (made_by.name,),
        f"Storage class {made_by.name}{default} of {made_by.provisioner} binds at once (volumeBindingMode Immediate) "
        f"in a cluster of {len(zones)} zones: a volume's zone is chosen before its pod's node; "
        f"{has or 'it has pinned no claim yet'}",
        (f"StorageClass/{made_by.name}", *(f"PersistentVolumeClaim/{claim}" for claim in claims[:_MOST_CLAIMS])),
        tuple(_evidence(view, made_by, zones, pinned)),
        stage=Stage.RISK,
        weight=float(len(claims)),
    )


def _some(by_zone: dict[str, list[str]]) -> list[tuple[str, list[str]]]:
    return sorted(by_zone.items(), key=lambda each: (-len(each[1]), each[0]))[:_NAMED]


def _evidence(view: ClusterView, made_by: StorageClass, zones: Counter[str], pinned: _Pinned) -> Iterator[Evidence]:
    at = view.now
    yield api_evidence("storageclasses", made_by.name, "class.binding", "Immediate", at=at)
    yield api_evidence("storageclasses", made_by.name, "class.provisioner", made_by.provisioner, at=at)
    for zone, count in sorted(zones.items())[:_NAMED]:
        yield api_evidence("nodes", f"zone {zone}", "nodes", count, unit="nodes", at=at)
    for zone, claims in _some(pinned.by_zone):
        yield api_evidence("persistentvolumes", f"zone {zone}", "claims.pinned", len(claims), unit="claims", at=at)
