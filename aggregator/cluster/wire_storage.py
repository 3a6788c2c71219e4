"""What is read of claims, volumes, classes, attachments and CSINodes, as it is on the wire. See wire.py."""

from __future__ import annotations

from datetime import datetime

from msgspec import field

from aggregator.cluster.wire import Condition, LabelledMeta, Meta, NodeSelector, Quantities, Texts, Wire


class ClaimAnnotations(Wire):
    selected_node: str | None = field(default=None, name="volume.kubernetes.io/selected-node")
    provisioner: str | None = field(default=None, name="volume.kubernetes.io/storage-provisioner")
    old_provisioner: str | None = field(default=None, name="volume.beta.kubernetes.io/storage-provisioner")
    old_class: str | None = field(default=None, name="volume.beta.kubernetes.io/storage-class")


class ClaimMeta(Meta):
    annotations: ClaimAnnotations | None = None


class Requests(Wire):
    requests: Quantities | None = None


class ClaimSpec(Wire):
    volume_name: str | None = None
    storage_class_name: str | None = None
    access_modes: list[str | None] | None = None
    volume_mode: str | None = None
    resources: Requests | None = None


class ClaimStatus(Wire):
    phase: str | None = None
    capacity: Quantities | None = None
    conditions: list[Condition | None] | None = None
    resize_status: str | None = None
    """Alpha, before 1.28."""
    allocated_resource_statuses: Texts | None = None


class Claim(Wire):
    metadata: ClaimMeta | None = None
    spec: ClaimSpec | None = None
    status: ClaimStatus | None = None


class ClaimRef(Wire):
    namespace: str | None = None
    name: str | None = None
    uid: str | None = None


class VolumeAffinity(Wire):
    required: NodeSelector | None = None


class Csi(Wire):
    driver: str | None = None
    volume_handle: str | None = None


class VolumeId(Wire):
    volume_id: str | None = field(default=None, name="volumeID")


class GcePersistentDisk(Wire):
    pd_name: str | None = None


class AzureDisk(Wire):
    disk_uri: str | None = field(default=None, name="diskURI")
    disk_name: str | None = None


class AzureFile(Wire):
    share_name: str | None = None


class VsphereVolume(Wire):
    volume_path: str | None = None


class Nfs(Wire):
    server: str | None = None
    path: str | None = None


class Path(Wire):
    path: str | None = None


class Iscsi(Wire):
    target_portal: str | None = None
    iqn: str | None = None
    lun: int | None = None


class Fc(Wire):
    target_wwns: list[str | None] | None = field(default=None, name="targetWWNs")
    wwids: list[str | None] | None = None
    lun: int | None = None


class Flex(Wire):
    driver: str | None = None


class Rbd(Wire):
    pool: str | None = None
    image: str | None = None


class Cephfs(Wire):
    monitors: list[str | None] | None = None
    path: str | None = None


class Glusterfs(Wire):
    endpoints: str | None = None
    path: str | None = None


class VolumeSpec(Wire):
    capacity: Quantities | None = None
    access_modes: list[str | None] | None = None
    volume_mode: str | None = None
    storage_class_name: str | None = None
    persistent_volume_reclaim_policy: str | None = None
    claim_ref: ClaimRef | None = None
    node_affinity: VolumeAffinity | None = None
    csi: Csi | None = None
    aws_elastic_block_store: VolumeId | None = None
    gce_persistent_disk: GcePersistentDisk | None = None
    azure_disk: AzureDisk | None = None
    azure_file: AzureFile | None = None
    vsphere_volume: VsphereVolume | None = None
    cinder: VolumeId | None = None
    portworx_volume: VolumeId | None = None
    nfs: Nfs | None = None
    local: Path | None = None
    host_path: Path | None = None
    iscsi: Iscsi | None = None
    fc: Fc | None = None
    flex_volume: Flex | None = None
    rbd: Rbd | None = None
    cephfs: Cephfs | None = None
    glusterfs: Glusterfs | None = None


class VolumeStatus(Wire):
    phase: str | None = None


class VolumeAnnotations(Wire):
    old_class: str | None = field(default=None, name="volume.beta.kubernetes.io/storage-class")


class VolumeMeta(LabelledMeta):
    annotations: VolumeAnnotations | None = None


class Volume(Wire):
    metadata: VolumeMeta | None = None
    spec: VolumeSpec | None = None
    status: VolumeStatus | None = None


class ClassAnnotations(Wire):
    default: str | None = field(default=None, name="storageclass.kubernetes.io/is-default-class")
    old_default: str | None = field(default=None, name="storageclass.beta.kubernetes.io/is-default-class")


class ClassMeta(Meta):
    annotations: ClassAnnotations | None = None


class TopologyExpression(Wire):
    key: str | None = None
    values: list[str | None] | None = None


class Topology(Wire):
    match_label_expressions: list[TopologyExpression | None] | None = None


class StorageClass(Wire):
    metadata: ClassMeta | None = None
    provisioner: str | None = None
    reclaim_policy: str | None = None
    volume_binding_mode: str | None = None
    allow_volume_expansion: bool | None = None
    allowed_topologies: list[Topology | None] | None = None


class AttachmentMeta(Meta):
    finalizers: list[str | None] | None = None


class AttachmentSource(Wire):
    persistent_volume_name: str | None = None


class AttachmentSpec(Wire):
    attacher: str | None = None
    node_name: str | None = None
    source: AttachmentSource | None = None


class VolumeError(Wire):
    message: str | None = None
    time: datetime | None = None


class AttachmentStatus(Wire):
    attached: bool | None = None
    attach_error: VolumeError | None = None
    detach_error: VolumeError | None = None
    attachment_metadata: Texts | None = None


class Attachment(Wire):
    metadata: AttachmentMeta | None = None
    spec: AttachmentSpec | None = None
    status: AttachmentStatus | None = None


class Allocatable(Wire):
    count: int | None = None


class NodeDriver(Wire):
    name: str | None = None
    node_id: str | None = field(default=None, name="nodeID")
    topology_keys: list[str | None] | None = None
    allocatable: Allocatable | None = None


class CsiNodeSpec(Wire):
    drivers: list[NodeDriver | None] | None = None


class CsiNode(Wire):
    metadata: Meta | None = None
    spec: CsiNodeSpec | None = None
