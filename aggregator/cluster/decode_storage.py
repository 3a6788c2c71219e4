"""Claims, volumes, classes, attachments and CSINodes as they are kept, from their wire forms."""

from __future__ import annotations

from typing import NamedTuple

from msgspec import structs

from aggregator.cluster import wire_storage as wire
from aggregator.cluster.decode_common import amounts, conditions, node_terms, present, seconds, texts
from aggregator.cluster.objects import (
    AttachError,
    Attachment,
    Claim,
    CsiDriverOnNode,
    CsiNode,
    NodeTerm,
    Requirement,
    StorageClass,
    Volume,
)
from aggregator.cluster.sharing import Sharing
from aggregator.cluster.wire import Meta
from aggregator.cluster.zones import REGION, REGION_BETA, ZONE, ZONE_BETA

_ZONE_LABELS = {ZONE: ZONE, ZONE_BETA: ZONE, REGION: REGION, REGION_BETA: REGION}
"""Labels of a volume that bind it to a place (the scheduler's VolumeZone): the label of nodes that says the place."""
_IN_TREE_DRIVERS = {
    "awsElasticBlockStore": "ebs.csi.aws.com",
    "gcePersistentDisk": "pd.csi.storage.gke.io",
    "azureDisk": "disk.csi.azure.com",
    "azureFile": "file.csi.azure.com",
    "vsphereVolume": "csi.vsphere.vmware.com",
    "cinder": "cinder.csi.openstack.org",
    "portworxVolume": "pxd.portworx.com",
}
"""What in-tree volumes are migrated to (csi-translation-lib)."""


def claim(given: wire.Claim, share: Sharing) -> Claim:
    """Raises FieldError."""
    meta = given.metadata or wire.ClaimMeta()
    spec, status = given.spec or wire.ClaimSpec(), given.status or wire.ClaimStatus()
    notes = meta.annotations or wire.ClaimAnnotations()
    requested = amounts(spec.resources.requests if spec.resources else None, ("spec", "resources", "requests"), share)
    class_name = notes.old_class if notes.old_class is not None else spec.storage_class_name  # as controllers do
    resize = (status.allocated_resource_statuses or {}).get("storage") or status.resize_status
    return Claim(
        namespace=share.text(meta.namespace),
        name=meta.name or "",
        uid=meta.uid or "",
        version=meta.resource_version or "",
        created=seconds(meta.creation_timestamp),
        deleted=seconds(meta.deletion_timestamp),
        phase=share.text(status.phase),
        volume=spec.volume_name or "",
        storage_class=None if class_name is None else share.text(class_name),
        access_modes=share.value(texts(spec.access_modes, share)),
        block=spec.volume_mode == "Block",
        requested=requested.get("storage", 0),
        capacity=amounts(status.capacity, ("status", "capacity"), share).get("storage", 0),
        selected_node=share.text(notes.selected_node),
        provisioner=share.text(notes.provisioner or notes.old_provisioner),
        conditions=conditions(status.conditions, share),
        resize_status=share.text(resize),
    )


def volume(given: wire.Volume, share: Sharing) -> Volume:
    """Raises FieldError."""
    meta = given.metadata or wire.VolumeMeta()
    spec, status = given.spec or wire.VolumeSpec(), given.status or wire.VolumeStatus()
    labels = share.mapping(meta.labels)
    reference = spec.claim_ref
    source = _source(spec)
    notes = meta.annotations or wire.VolumeAnnotations()
    required = node_terms(spec.node_affinity.required if spec.node_affinity else None, share)
    return Volume(
        name=meta.name or "",
        uid=meta.uid or "",
        version=meta.resource_version or "",
        created=seconds(meta.creation_timestamp),
        deleted=seconds(meta.deletion_timestamp),
        phase=share.text(status.phase),
        storage_class=share.text(notes.old_class or spec.storage_class_name),
        access_modes=share.value(texts(spec.access_modes, share)),
        block=spec.volume_mode == "Block",
        capacity=amounts(spec.capacity, ("spec", "capacity"), share).get("storage", 0),
        claim=f"{reference.namespace}/{reference.name}" if reference and reference.namespace and reference.name else "",
        claim_uid=(reference.uid if reference else None) or "",
        source=source.kind,
        driver=share.text(source.driver),
        handle=source.handle,
        node_terms=_placed(required, meta.labels or {}, share),
        reclaim=share.text(spec.persistent_volume_reclaim_policy),
        labels=labels,
    )


class _Source(NamedTuple):
    kind: str = ""
    driver: str = ""
    handle: str = ""


def _source(spec: wire.VolumeSpec) -> _Source:  # noqa: PLR0911  # one for each kind of volume
    if (csi := spec.csi) is not None:
        return _Source("csi", csi.driver or "", csi.volume_handle or "")
    if (aws := spec.aws_elastic_block_store) is not None:
        return _in_tree("awsElasticBlockStore", (aws.volume_id or "").rsplit("/", 1)[-1])  # aws://ZONE/vol-ID
    if (disk := spec.gce_persistent_disk) is not None:
        return _in_tree("gcePersistentDisk", disk.pd_name)
    if (azure := spec.azure_disk) is not None:
        return _in_tree("azureDisk", azure.disk_uri or azure.disk_name)
    if (share := spec.azure_file) is not None:
        return _in_tree("azureFile", share.share_name)
    if (vsphere := spec.vsphere_volume) is not None:
        return _in_tree("vsphereVolume", vsphere.volume_path)
    if (cinder := spec.cinder) is not None:
        return _in_tree("cinder", cinder.volume_id)
    if (portworx := spec.portworx_volume) is not None:
        return _in_tree("portworxVolume", portworx.volume_id)
    return _unmanaged(spec)


def _in_tree(kind: str, handle: str | None) -> _Source:
    return _Source(kind, _IN_TREE_DRIVERS[kind], handle or "")


def _unmanaged(spec: wire.VolumeSpec) -> _Source:  # noqa: PLR0911  # one for each kind of volume
    if (nfs := spec.nfs) is not None:
        return _Source("nfs", "", f"{nfs.server or ''}:{nfs.path or ''}")
    if (local := spec.local) is not None:
        return _Source("local", "", local.path or "")
    if (host := spec.host_path) is not None:
        return _Source("hostPath", "", host.path or "")
    if (iscsi := spec.iscsi) is not None:
        return _Source("iscsi", "", f"{iscsi.target_portal or ''}/{iscsi.iqn or ''}/{iscsi.lun or 0}")
    if (channel := spec.fc) is not None:
        names = ",".join(present(channel.wwids or channel.target_wwns))
        return _Source("fc", "", f"{names}/{channel.lun or 0}")
    if (flex := spec.flex_volume) is not None:
        return _Source("flexVolume", flex.driver or "")
    if (rbd := spec.rbd) is not None:
        return _Source("rbd", "", f"{rbd.pool or 'rbd'}/{rbd.image or ''}")
    if (ceph := spec.cephfs) is not None:
        return _Source("cephfs", "", f"{','.join(present(ceph.monitors))}:{ceph.path or '/'}")
    if (gluster := spec.glusterfs) is not None:
        return _Source("glusterfs", "", f"{gluster.endpoints or ''}/{gluster.path or ''}")
    return _Source()


def _placed(
    terms: tuple[NodeTerm, ...] | None, labels: dict[str, str | None], share: Sharing
) -> tuple[NodeTerm, ...] | None:
    """Node terms with what the volume's zone and region labels ask for; several zones are joined by "__"."""
    asked: dict[str, Requirement] = {}
    for label, key in _ZONE_LABELS.items():
        if (value := labels.get(label)) and key not in asked:
            asked[key] = Requirement(key, "In", tuple(share.text(zone) for zone in value.split("__") if zone))
    if not asked:
        return share.value(terms)
    placed = [
        structs.replace(term, labels=term.labels + tuple(each for each in asked.values() if each not in term.labels))
        for term in (terms if terms is not None else (NodeTerm(),))
    ]
    return share.value(tuple(placed))


def storage_class(given: wire.StorageClass, share: Sharing) -> StorageClass:
    """Never fails."""
    meta = given.metadata or wire.ClassMeta()
    notes = meta.annotations or wire.ClassAnnotations()
    return StorageClass(
        name=meta.name or "",
        uid=meta.uid or "",
        version=meta.resource_version or "",
        provisioner=share.text(given.provisioner),
        waits_for_consumer=given.volume_binding_mode == "WaitForFirstConsumer",
        expandable=bool(given.allow_volume_expansion),
        default="true" in (notes.default, notes.old_default),
        topologies=tuple(
            NodeTerm(
                tuple(
                    Requirement(share.text(each.key), "In", texts(each.values, share))
                    for each in present(topology.match_label_expressions)
                    if each.key
                )
            )
            for topology in present(given.allowed_topologies)
        ),
        reclaim=share.text(given.reclaim_policy),
    )


def attachment(given: wire.Attachment, share: Sharing) -> Attachment:
    """Never fails."""
    meta = given.metadata or wire.AttachmentMeta()
    spec, status = given.spec or wire.AttachmentSpec(), given.status or wire.AttachmentStatus()
    return Attachment(
        name=meta.name or "",
        uid=meta.uid or "",
        version=meta.resource_version or "",
        created=seconds(meta.creation_timestamp),
        deleted=seconds(meta.deletion_timestamp),
        attacher=share.text(spec.attacher),
        node=share.text(spec.node_name),
        volume=(spec.source.persistent_volume_name if spec.source else None) or "",
        attached=bool(status.attached),
        attach_error=_error(status.attach_error),
        detach_error=_error(status.detach_error),
        finalizers=share.value(texts(meta.finalizers, share)),
        metadata=share.mapping(status.attachment_metadata),
    )


def _error(given: wire.VolumeError | None) -> AttachError | None:
    return AttachError(given.message or "", seconds(given.time)) if given is not None else None


def csi_node(given: wire.CsiNode, share: Sharing) -> CsiNode:
    """Never fails."""
    meta = given.metadata or Meta()
    return CsiNode(
        name=share.text(meta.name),
        uid=meta.uid or "",
        version=meta.resource_version or "",
        created=seconds(meta.creation_timestamp),
        drivers=tuple(
            CsiDriverOnNode(
                share.text(each.name),
                share.text(each.node_id),
                each.allocatable.count if each.allocatable else None,
                share.value(texts(each.topology_keys, share)),
            )
            for each in present(given.spec.drivers if given.spec else None)
            if each.name
        ),
    )
