"""Claims, volumes, storage classes and VolumeAttachments as an API server and the CSI sidecars write them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.lab.nodes import ZONE
from tests.lab.shapes import DAY, Json, compact, made, metadata, stamp, uid_of

EBS = "ebs.csi.aws.com"


@dataclass(frozen=True, kw_only=True)
class ClaimFields:
    """A claim as a test asks for it. Times are seconds relative to the lab's now."""

    volume: str = ""
    """PersistentVolume that it is bound to; none: it is pending."""
    storage_class: str | None = "gp3"
    size: str = "20Gi"
    modes: Sequence[str] = ("ReadWriteOnce",)
    block: bool = False
    phase: str = ""
    """"Lost", where neither Bound nor Pending follows from the volume."""
    created: float = -10 * DAY
    deleted: float | None = None
    selected_node: str = ""
    provisioner: str = ""
    conditions: Sequence[Json] = ()
    resize_to: str = ""
    """Size that is asked for and not had yet."""
    resize_status: str = ""
    """status.allocatedResourceStatuses.storage."""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class VolumeFields:
    """A volume as a test asks for it. Times are seconds relative to the lab's now."""

    claim: str = ""
    """ "namespace/name"."""
    driver: str = EBS
    handle: str = ""
    zone: str | Sequence[str] = ""
    """One or several zones that its node affinity allows; empty: any node."""
    zone_key: str = ZONE
    node: str = ""
    """Node that a local volume lies on."""
    source: Json = field(default_factory=dict)
    """In place of CSI: {"nfs": {"server": ..., "path": ...}}."""
    storage_class: str = "gp3"
    size: str = "20Gi"
    modes: Sequence[str] = ("ReadWriteOnce",)
    block: bool = False
    fs: str = "ext4"
    phase: str = ""
    """Empty: Bound with a claim, else Available."""
    reclaim: str = "Delete"
    created: float = -10 * DAY
    deleted: float | None = None
    mount_options: Sequence[str] = ()


def claim(key: str, wanted: ClaimFields, uid: str, now: float) -> Json:
    """v1.PersistentVolumeClaim."""
    phase = wanted.phase or ("Bound" if wanted.volume else "Pending")
    annotations = compact(
        **{
            "pv.kubernetes.io/bind-completed": "yes" if wanted.volume else "",
            "pv.kubernetes.io/bound-by-controller": "yes" if wanted.volume else "",
            "volume.beta.kubernetes.io/storage-provisioner": wanted.provisioner,
            "volume.kubernetes.io/selected-node": wanted.selected_node,
            "volume.kubernetes.io/storage-provisioner": wanted.provisioner,
        }
    )
    bound = phase == "Bound"
    return made(
        "PersistentVolumeClaim",
        metadata(
            key,
            uid,
            now + wanted.created,
            labels=wanted.labels,
            annotations=annotations,
            finalizers=["kubernetes.io/pvc-protection"],
            deleted=None if wanted.deleted is None else now + wanted.deleted,
        ),
        spec={
            "accessModes": list(wanted.modes),
            "resources": {"requests": {"storage": wanted.resize_to or wanted.size}},
            **compact(volumeName=wanted.volume),
            **({"storageClassName": wanted.storage_class} if wanted.storage_class is not None else {}),
            "volumeMode": "Block" if wanted.block else "Filesystem",
        },
        status={
            "phase": phase,
            **({"accessModes": list(wanted.modes), "capacity": {"storage": wanted.size}} if bound else {}),
            **compact(
                conditions=list(wanted.conditions),
                allocatedResources={"storage": wanted.resize_to} if wanted.resize_to else {},
                allocatedResourceStatuses={"storage": wanted.resize_status} if wanted.resize_status else {},
            ),
        },
    )


def volume(name: str, wanted: VolumeFields, uid: str, now: float) -> Json:
    """v1.PersistentVolume."""
    created = now + wanted.created
    csi = not wanted.source and not wanted.node
    source: Json = wanted.source or {"local": {"path": f"/mnt/disks/{name}"}}
    if csi:
        identity = f"1751284410-8081-{wanted.driver}"
        source = {
            "csi": {
                "driver": wanted.driver,
                "volumeHandle": wanted.handle or handle_of(name),
                **({} if wanted.block else {"fsType": wanted.fs}),
                "volumeAttributes": {"storage.kubernetes.io/csiProvisionerIdentity": identity},
            }
        }
    namespace, _, claimed = wanted.claim.rpartition("/")
    reference = {
        "kind": "PersistentVolumeClaim",
        "namespace": namespace,
        "name": claimed,
        "uid": uid_of("PersistentVolumeClaim", wanted.claim),
        "apiVersion": "v1",
        "resourceVersion": "1",
    }
    finalizers = ["kubernetes.io/pv-protection", *([_attacher(wanted.driver)] if csi else [])]
    return made(
        "PersistentVolume",
        metadata(
            name,
            uid,
            created,
            annotations={"pv.kubernetes.io/provisioned-by": wanted.driver} if csi else {},
            finalizers=finalizers,
            deleted=None if wanted.deleted is None else now + wanted.deleted,
        ),
        spec={
            "capacity": {"storage": wanted.size},
            **source,
            "accessModes": list(wanted.modes),
            **({"claimRef": reference} if wanted.claim else {}),
            "persistentVolumeReclaimPolicy": wanted.reclaim,
            **compact(storageClassName=wanted.storage_class, mountOptions=list(wanted.mount_options)),
            "volumeMode": "Block" if wanted.block else "Filesystem",
            **compact(nodeAffinity=_affinity(wanted)),
        },
        status={
            "phase": wanted.phase or ("Bound" if wanted.claim else "Available"),
            "lastPhaseTransitionTime": stamp(created + 2),
        },
    )


def handle_of(volume_name: str) -> str:
    """The handle that a volume has where the test does not care: an EBS volume id."""
    return f"vol-0{hashlib.sha256(volume_name.encode()).hexdigest()[:16]}"


def unique_name(pv: Json) -> str:
    """Of a volume, as in a node's status; empty: it is not attached to nodes."""
    csi = pv["spec"].get("csi")
    return f"kubernetes.io/csi/{csi['driver']}^{csi['volumeHandle']}" if csi else ""


def attachment_name(handle: str, driver: str, node: str) -> str:
    """Source: getAttachmentName() in pkg/volume/csi/csi_attacher.go."""
    return f"csi-{hashlib.sha256(f'{handle}{driver}{node}'.encode()).hexdigest()}"


def storage_class(
    name: str,
    uid: str,
    created: float,
    *,
    driver: str = EBS,
    waits: bool = True,
    default: bool = False,
    zones: Sequence[str] = (),
    expandable: bool = True,
    reclaim: str = "Delete",
) -> Json:
    """storage.k8s.io/v1 StorageClass; `waits`: WaitForFirstConsumer."""
    annotations = {"storageclass.kubernetes.io/is-default-class": "true"} if default else {}
    topologies = [{"matchLabelExpressions": [{"key": ZONE, "values": list(zones)}]}] if zones else []
    return made(
        "StorageClass",
        metadata(name, uid, created, annotations=annotations),
        provisioner=driver,
        reclaimPolicy=reclaim,
        **compact(allowVolumeExpansion=expandable or None, allowedTopologies=topologies),
        volumeBindingMode="WaitForFirstConsumer" if waits else "Immediate",
    )


@dataclass(frozen=True, kw_only=True)
class AttachmentFields:
    """A VolumeAttachment as a test asks for it. Times are seconds relative to the lab's now."""

    attached: bool = True
    created: float = -2 * 3600.0
    deleted: float | None = None
    """Since when the detachment is asked for."""
    attach_error: str = ""
    detach_error: str = ""
    error_at: float = -70.0


def attachment(pv: Json, node: str, wanted: AttachmentFields, uid: str, now: float) -> Json:
    """storage.k8s.io/v1 VolumeAttachment of a CSI volume."""
    driver = pv["spec"]["csi"]["driver"]
    name = attachment_name(pv["spec"]["csi"]["volumeHandle"], driver, node)

    def error(message: str) -> Json:
        return {"time": stamp(now + wanted.error_at), "message": message} if message else {}

    holds = wanted.attached or wanted.attach_error or wanted.deleted is not None
    return made(
        "VolumeAttachment",
        metadata(
            name,
            uid,
            now + wanted.created,
            annotations={"csi.alpha.kubernetes.io/node-id": node} if holds else {},
            finalizers=[_attacher(driver)] if holds else [],
            deleted=None if wanted.deleted is None else now + wanted.deleted,
        ),
        spec={"attacher": driver, "source": {"persistentVolumeName": pv["metadata"]["name"]}, "nodeName": node},
        status={
            "attached": wanted.attached,
            **compact(attachError=error(wanted.attach_error), detachError=error(wanted.detach_error)),
        },
    )


def _attacher(driver: str) -> str:
    """Finalizer of the external attacher: GetFinalizerName() in kubernetes-csi/external-attacher."""
    return f"external-attacher/{driver.replace('.', '-')}"


def _affinity(wanted: VolumeFields) -> Json:
    zones = [wanted.zone] if isinstance(wanted.zone, str) else list(wanted.zone)
    key, values = (wanted.zone_key, [zone for zone in zones if zone])
    if wanted.node:
        key, values = "kubernetes.io/hostname", [wanted.node]
    if not values:
        return {}
    expressions = [{"key": key, "operator": "In", "values": values}]
    return {"required": {"nodeSelectorTerms": [{"matchExpressions": expressions}]}}
