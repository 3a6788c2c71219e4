"""Whether a pod's claims let it onto a node: where volumes may be used, what still has no volume, how many fit.

kube-scheduler VolumeBinding, VolumeZone, VolumeRestrictions and NodeVolumeLimits. What is not listed is said to be
unknown, never taken for absent.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from aggregator.cluster.objects import Claim, NodeObject, NodeTerm, Pod, PodClaim, StorageClass, Volume
from aggregator.cluster.state import ClusterState
from aggregator.scheduling.cluster import Cluster
from aggregator.scheduling.selectors import any_term_holds, terms_text
from aggregator.scheduling.stops import UNBOUND_CLAIM, VOLUME_IN_USE, VOLUME_LIMIT, VOLUME_ZONE, Stop

NO_PROVISIONER = "kubernetes.io/no-provisioner"
ONE_POD = "ReadWriteOncePod"
_IN_TREE_LIMITS = {
    "ebs.csi.aws.com": "attachable-volumes-aws-ebs",
    "pd.csi.storage.gke.io": "attachable-volumes-gce-pd",
    "disk.csi.azure.com": "attachable-volumes-azure-disk",
    "cinder.csi.openstack.org": "attachable-volumes-cinder",
}
"""Where nodes said their limit before CSINode had one (until 1.16, in-tree plugins until 1.3x)."""


@dataclass(slots=True)
class VolumeNeeds:
    """What the claims of one pod ask of a node."""

    of_pod: list[Stop] = field(default_factory=list)
    """Holds whichever the node is."""
    places: list[tuple[tuple[NodeTerm, ...], Stop]] = field(default_factory=list)
    """Node terms that must hold, and what to say where they do not."""
    nodes: list[tuple[frozenset[str], Stop]] = field(default_factory=list)
    """Names of the only nodes, and what to say elsewhere."""
    statics: list[tuple[list[Volume], Stop]] = field(default_factory=list)
    """Volumes of which one must be usable on the node, and what to say where none is."""
    new: dict[str, set[str]] = field(default_factory=dict)
    """By CSI driver: what would be attached."""
    unknown: list[str] = field(default_factory=list)
    """What could not be decided, one clause each."""
    underway: list[str] = field(default_factory=list)
    """Claims whose volume is being made for a node that is already chosen ("namespace/name")."""

    def kind(self) -> tuple[object, ...]:
        """What pods whose volumes let them onto the same nodes have in common, names of claims and volumes aside."""
        return (
            tuple((stop.code, stop.about, stop.detail * (stop.code == VOLUME_IN_USE)) for stop in self.of_pod),
            tuple(stop.about for _, stop in self.places),
            tuple((names, stop.about) for names, stop in self.nodes),
            tuple((tuple(volume.name for volume in volumes), stop.about) for volumes, stop in self.statics),
            tuple((driver, len(keys)) for driver, keys in self.new.items()),
            tuple(self.unknown),
        )

    def stops(self, cluster: Cluster, node: NodeObject) -> Iterator[Stop]:
        """What keeps the pod off this node: limits first, as the scheduler looks."""
        for driver, keys in self.new.items():
            if (stop := _over_limit(cluster, node, driver, keys)) is not None:
                yield stop
        for names, stop in self.nodes:
            if node.name not in names:
                yield stop
        for volumes, stop in self.statics:
            if not any(any_term_holds(volume.node_terms, node) for volume in volumes):
                yield stop
        for terms, stop in self.places:
            if not any_term_holds(terms, node):
                yield stop


def volume_needs(cluster: Cluster, pod: Pod) -> VolumeNeeds:
    """What this pod's claims ask for."""
    needs = VolumeNeeds()
    if not pod.claims:
        return needs
    state = cluster.state
    if not state.knows("persistentvolumeclaims"):
        needs.unknown.append("persistentvolumeclaims are not known")
        return needs
    for use in pod.claims:
        claim = state.claims.get(f"{pod.namespace}/{use.claim}")
        if claim is None or claim.deleted:
            needs.of_pod.append(_no_claim(pod, use, claim))
            continue
        if ONE_POD in claim.access_modes:
            _one_pod_only(cluster, pod, claim, needs)
        if claim.volume and claim.phase != "Pending":
            _bound(state, claim, needs)
        else:
            _unbound(state, claim, needs)
    return needs


def _no_claim(pod: Pod, use: PodClaim, claim: Claim | None) -> Stop:
    key = f"{pod.namespace}/{use.claim}"
    detail = f"claim {key} is being deleted" if claim is not None else f"claim {key} does not exist"
    return Stop(UNBOUND_CLAIM, key, detail, objects=(_name(pod.namespace, use.claim),))


def _name(namespace: str, claim: str) -> str:
    return f"PersistentVolumeClaim/{namespace}/{claim}"


def _one_pod_only(cluster: Cluster, pod: Pod, claim: Claim, needs: VolumeNeeds) -> None:
    for other in sorted(cluster.users_of(claim.key), key=lambda each: each.key):
        if other.key != pod.key:
            detail = f"claim {claim.key} is {ONE_POD} and pod {other.key} on {other.node} uses it"
            objects = _name(claim.namespace, claim.name), f"Pod/{other.key}"
            needs.of_pod.append(Stop(VOLUME_IN_USE, claim.key, detail, objects=objects))
            return


def _bound(state: ClusterState, claim: Claim, needs: VolumeNeeds) -> None:
    objects: tuple[str, ...] = (_name(claim.namespace, claim.name),)
    volume = state.volumes.get(claim.volume)
    if volume is None:
        if state.knows("persistentvolumes"):
            detail = f"claim {claim.key} is bound to volume {claim.volume}, which does not exist"
            needs.of_pod.append(Stop(UNBOUND_CLAIM, claim.key, detail, objects=objects))
        else:
            needs.unknown.append("persistentvolumes are not known")
        return
    if claim.phase == "Lost":
        needs.of_pod.append(Stop(UNBOUND_CLAIM, claim.key, f"claim {claim.key} has lost its volume", objects=objects))
    objects = (*objects, f"PersistentVolume/{volume.name}")
    if volume.node_terms is not None:
        where = terms_text(volume.node_terms)
        detail = f"volume {volume.name} of claim {claim.key} can only be used where {where}"
        needs.places.append((volume.node_terms, Stop(VOLUME_ZONE, where, detail, objects=objects)))
    if volume.driver:
        needs.new.setdefault(volume.driver, set()).add(volume.handle or volume.name)


def _unbound(state: ClusterState, claim: Claim, needs: VolumeNeeds) -> None:
    """A claim without a volume: the scheduler goes on only where its class waits for a pod."""
    if not state.knows("storageclasses"):
        needs.unknown.append("storageclasses are not known")
        return
    objects = (_name(claim.namespace, claim.name),)
    class_ = class_of(state, claim)
    if class_ is None or not class_.waits_for_consumer or claim.volume:
        if claim.volume:
            reason = f"waits for volume {claim.volume}, which it names"
        elif class_ is not None:
            reason = f"has no volume yet; its class {class_.name} binds at once"
        elif claim.storage_class:
            reason = f"has no volume; its class {claim.storage_class} does not exist"
        else:
            reason = "has no volume and no class that would make one"
        about = claim.volume or f"class {claim.storage_class or (class_.name if class_ is not None else '')}"
        needs.of_pod.append(Stop(UNBOUND_CLAIM, about, f"claim {claim.key} {reason}", objects=objects))
        return
    if claim.selected_node:
        needs.underway.append(claim.key)
        detail = f"the volume of claim {claim.key} is being made for node {claim.selected_node}"
        stop = Stop(UNBOUND_CLAIM, f"class {class_.name}", detail, objects=objects)
        needs.nodes.append((frozenset({claim.selected_node}), stop))
    elif class_.provisioner == NO_PROVISIONER or not class_.provisioner:
        _static(state, claim, class_, needs)
    elif class_.topologies and not _fitting_volumes(state, claim, class_):
        where = terms_text(class_.topologies)
        detail = f"class {class_.name} of claim {claim.key} makes volumes only where {where}"
        needs.places.append((class_.topologies, Stop(VOLUME_ZONE, where, detail, objects=objects)))
    if class_.provisioner and class_.provisioner != NO_PROVISIONER:
        needs.new.setdefault(class_.provisioner, set()).add(claim.key)


def class_of(state: ClusterState, claim: Claim) -> StorageClass | None:
    """The claim's class; the default one where it names none and did not refuse any."""
    if claim.storage_class is None:
        return next((each for _, each in sorted(state.storage_classes.items()) if each.default), None)
    return state.storage_classes.get(claim.storage_class) if claim.storage_class else None


def _static(state: ClusterState, claim: Claim, class_: StorageClass, needs: VolumeNeeds) -> None:
    """Nobody makes volumes of this class: one that exists must be free and usable on the node."""
    if not state.knows("persistentvolumes"):
        needs.unknown.append("persistentvolumes are not known")
        return
    volumes = _fitting_volumes(state, claim, class_)
    there = f"{len(volumes)} free elsewhere" if volumes else "none is free"
    detail = f"claim {claim.key} needs a volume of class {class_.name} that exists already: {there}"
    stop = Stop(UNBOUND_CLAIM, f"class {class_.name}", detail, objects=(_name(claim.namespace, claim.name),))
    needs.statics.append((volumes, stop))


def _fitting_volumes(state: ClusterState, claim: Claim, class_: StorageClass) -> list[Volume]:
    return [
        volume
        for volume in state.volumes.values()
        if volume.storage_class == class_.name
        and ((volume.phase == "Available" and not volume.claim) or volume.claim == claim.key)
        and volume.capacity >= claim.requested
        and volume.block == claim.block
        and set(claim.access_modes) <= set(volume.access_modes)
        and not volume.deleted
    ]


# -- how many volumes fit a node -----------------------------------------------------------------------------------


def volume_limit(state: ClusterState, node: NodeObject, driver: str) -> int | None:
    """Volumes of a CSI driver that a node takes at most; None: not said."""
    csi_node = state.csi_nodes.get(node.name)
    registered = csi_node.driver(driver) if csi_node is not None else None
    if registered is not None and registered.limit is not None:
        return registered.limit
    for name in (_IN_TREE_LIMITS.get(driver, ""), f"attachable-volumes-csi-{driver}"):
        if name in node.allocatable:
            return node.allocatable[name]
    return None


def volumes_at(cluster: Cluster, node: NodeObject, driver: str) -> set[str]:
    """What of a CSI driver is on a node or is about to be: by its pods' claims and its VolumeAttachments. Handles;
    for a claim without a volume "namespace/name"."""
    state = cluster.state
    found = set()
    for pod in cluster.pods_on(node.name):
        for use in pod.claims:
            claim = state.claims.get(f"{pod.namespace}/{use.claim}")
            if claim is not None and (key := _attachable(state, claim, driver)):
                found.add(key)
    for attachment in state.attachments_to(node.name).values():
        volume = state.volumes.get(attachment.volume)
        if volume is not None and volume.driver == driver:
            found.add(volume.handle or volume.name)
    return found


def _attachable(state: ClusterState, claim: Claim, driver: str) -> str:
    volume = state.volume_of(claim)
    if volume is not None:
        return (volume.handle or volume.name) if volume.driver == driver else ""
    class_ = class_of(state, claim)
    return claim.key if class_ is not None and class_.provisioner == driver else ""


def _over_limit(cluster: Cluster, node: NodeObject, driver: str, keys: set[str]) -> Stop | None:
    limit = volume_limit(cluster.state, node, driver)
    if limit is None:
        return None
    there = volumes_at(cluster, node, driver)
    new = len(keys - there)
    if not new or len(there) + new <= limit:
        return None
    detail = f"{len(there)} of at most {limit} volumes of {driver}"
    return Stop(VOLUME_LIMIT, driver, detail, new, limit - len(there), limit)
