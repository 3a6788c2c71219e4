"""The codes of incident 4: what each means, when it clears, what to do first. docs/findings.md must agree."""

from __future__ import annotations

from aggregator.model import Severity
from aggregator.signatures.code import Code

INCIDENT = "storage_gravity"

MULTI_ATTACH = "storage.multi_attach"
STALE_ATTACHMENT = "storage.stale_attachment"
ORPHANED_DEVICE = "storage.orphaned_device"
ATTACH_TIMEOUT = "storage.attach_timeout"
DETACH_STUCK = "storage.detach_stuck"
ATTACH_LIMIT = "storage.attach_limit"
DEVICE_NOT_FOUND = "storage.device_not_found"
IO_ERROR_READONLY = "storage.io_error_readonly"
STALE_NFS = "storage.stale_nfs"
KERNEL_IO_ERROR = "node.kernel_io_error"
ZONE_MISMATCH = "storage.zone_mismatch"
CLASS_MISSING = "storage.provision_failed_class_missing"
QUOTA_OR_CLOUD = "storage.provision_failed_quota_or_cloud"
TOPOLOGY = "storage.provision_failed_topology"
MOUNT_FAILED_FS = "storage.mount_failed_fs"
MOUNT_PERMISSION = "storage.mount_permission_or_auth"
DRIVER_NOT_REGISTERED = "storage.driver_not_registered"
RESIZE_FAILED = "storage.resize_failed"
IMMEDIATE_BINDING = "storage.immediate_binding"
STRANDED_ON_LOSS = "storage.stranded_on_loss"

_ATTACHING = (
    Code(
        MULTI_ATTACH,
        INCIDENT,
        "a volume for one node is wanted on another while the first still has it",
        "the waiting pod has its volume, or wants it no more",
        ("Do not detach it by force and do not delete the VolumeAttachment: the node that has it may still write.",),
        spreads=False,
    ),
    Code(
        STALE_ATTACHMENT,
        INCIDENT,
        "a VolumeAttachment says that a volume is attached where it is not, or where nobody can let it go",
        "the VolumeAttachment is gone or not attached any more, or the node is back with the device",
        (
            (
                "Do not delete the VolumeAttachment or its finalizer before that is sure: two writers destroy a "
                "file system."
            ),
        ),
        spreads=False,
    ),
    Code(
        ORPHANED_DEVICE,
        INCIDENT,
        "a host has the device of a volume that no VolumeAttachment and no pod accounts for",
        "the device is gone from the host, or a VolumeAttachment or a pod of that node wants it",
        (
            "See on the node that nothing writes to it, then unmount it and detach it with the storage's own tools.",
            (
                "Look why it was left: a driver that was restarted while it detached, a node restored from an image, a "
                "VolumeAttachment deleted by hand."
            ),
        ),
        risk=Severity.INFO,
        spreads=False,
    ),
    Code(
        ATTACH_TIMEOUT,
        INCIDENT,
        "a volume is not attached long after it was asked for",
        "the VolumeAttachment is attached, or no pod waits for it any more",
        (
            "See the driver's controller: its pods, the log of its csi-attacher container, its rights at the cloud.",
            "See whether the storage or the cloud itself answers: the device may be attached and not reported.",
        ),
    ),
    Code(
        DETACH_STUCK,
        INCIDENT,
        "a volume is not detached long after that was asked for",
        "the VolumeAttachment is gone",
        (
            "See the log of the driver's csi-attacher container, and what the cloud says of the volume.",
            (
                "Do not remove the VolumeAttachment's finalizer while the device is on the host: only the attacher "
                "knows when it is safe elsewhere."
            ),
        ),
    ),
    Code(
        ATTACH_LIMIT,
        INCIDENT,
        "a node has as many volumes attached as it can have",
        "the node has fewer volumes than its limit, or nothing is refused there for want of one any more",
        (
            (
                "Move pods with volumes to other nodes, or take machines that can have more; network interfaces "
                "and local disks may count against the same limit."
            ),
            (
                "If the limit in CSINode is higher than the machine's, the driver overstates it: lower it there (for "
                "instance with the driver's own flag for volumes per node)."
            ),
        ),
        spreads=False,
    ),
)
_ON_THE_HOST = (
    Code(
        DEVICE_NOT_FOUND,
        INCIDENT,
        "a volume counts as attached and its device is not found on the node",
        "the pod has its volume, or wants it no more",
        (
            (
                "On the node, look for the disk (lsblk -o NAME,SERIAL,WWN, /dev/disk/by-id) and restart the driver's "
                "node pod if it is there under another name."
            ),
            "For iSCSI and NVMe over fabrics see whether the node reaches the portal at all.",
        ),
        spreads=False,
    ),
    Code(
        IO_ERROR_READONLY,
        INCIDENT,
        "a volume's file system went read-only after errors, or its device fails requests",
        "the file system is writable, and for a quarter of an hour it counted no error and the kernel told of none",
        (
            "Stop the pod and check the file system (fsck, xfs_repair) before it is mounted again: errors grow.",
            "See what the storage says of the volume, and whether the device was taken away while it was mounted.",
        ),
    ),
    Code(
        STALE_NFS,
        INCIDENT,
        "a network file system answers for files that its server does not know any more, or not at all",
        "no message or kernel event of the kind is new",
        (
            "See whether the server is up, and whether the export was made anew: a new file system has other handles.",
            (
                "Delete the pods that use it: only a fresh mount has fresh handles. Where one hangs, unmount it lazily "
                "on the node (umount -l)."
            ),
        ),
    ),
    Code(
        KERNEL_IO_ERROR,
        "node",
        "the kernel tells of errors on a disk of the node itself",
        "for a quarter of an hour the kernel told of none, and the file systems on it are writable",
        ("Drain the node and replace its disk or the machine.",),
    ),
)
_MAKING = (
    Code(
        ZONE_MISMATCH,
        INCIDENT,
        "a volume can be used only where no node is left that its pod may use",
        "a node that the pod may use is where the volume is, or the pod waits no more",
        (
            "Do not delete the claim to get the pod going: with it goes the volume, and what is on it.",
            "If the place is lost for good, restore a snapshot or a backup into a volume where nodes are.",
        ),
        spreads=False,
    ),
    Code(
        CLASS_MISSING,
        INCIDENT,
        "a claim waits for a storage class that is not there",
        "the claim is bound or gone, or its class is there",
        ("A claim's class cannot be changed: make the class, or make the claim anew with one that is there.",),
        spreads=False,
    ),
    Code(
        QUOTA_OR_CLOUD,
        INCIDENT,
        "the driver or the cloud behind it does not make the volume",
        "the claim is bound or gone",
        (
            "See the log of the driver's csi-provisioner container, and the cloud's quotas and permissions.",
            "The driver goes on trying by itself: nothing has to be made anew once the cause is gone.",
        ),
        spreads=False,
    ),
    Code(
        TOPOLOGY,
        INCIDENT,
        "there is no place where the volume may be made",
        "the claim is bound or gone",
        (
            "Compare the class's allowedTopologies with the nodes' labels and with the topology keys in CSINode.",
            "A node whose driver has not registered a topology key counts for nothing: see the driver's pod on it.",
        ),
        spreads=False,
    ),
)
_MOUNTING = (
    Code(
        MOUNT_FAILED_FS,
        INCIDENT,
        "a volume's file system cannot be mounted",
        "the pod has its volume, or wants it no more",
        (),
        spreads=False,
    ),
    Code(
        MOUNT_PERMISSION,
        INCIDENT,
        "a volume is refused: rights or credentials are wanting",
        "the pod has its volume, or wants it no more",
        (
            "For NFS and SMB see the server's export list, its rights for the nodes' addresses and the credentials.",
            "For a driver with a secret see that the secret named by the class or the volume is there and current.",
        ),
        spreads=False,
    ),
    Code(
        DRIVER_NOT_REGISTERED,
        INCIDENT,
        "a node's kubelet does not know the driver of a volume that its pod needs",
        "the driver is in the node's CSINode and the pod has its volume, or the pod is elsewhere",
        (
            "See the driver's DaemonSet: has it a pod on the node, and does its node-driver-registrar run?",
            "If it runs, compare its kubelet directory with the kubelet's --root-dir: the socket must be below that.",
        ),
        spreads=False,
    ),
    Code(
        RESIZE_FAILED,
        INCIDENT,
        "a volume is not made larger, as its claim asks",
        "the claim has the size that it asks for, or asks for no more than it has",
        ("The volume goes on working at its old size meanwhile.",),
        spreads=False,
    ),
)
_AT_RISK = (
    Code(
        IMMEDIATE_BINDING,
        INCIDENT,
        "a class of zonal volumes chooses the zone before the scheduler has chosen a node",
        "the class waits for the first consumer, or has no volumes left and makes no zonal ones",
        (
            "volumeBindingMode cannot be changed: make a class with WaitForFirstConsumer, and use it for new claims.",
            "Claims that are bound stay where they are; move their data with a snapshot where the zone is wrong.",
        ),
        risk=Severity.INFO,
    ),
    Code(
        STRANDED_ON_LOSS,
        INCIDENT,
        "workloads could not come back if their node or zone were lost, because their volumes cannot follow",
        "the workloads' volumes can follow them, or a node with room is left for them in any one loss",
        ("`nodetell whatif` shows pod by pod what a loss would mean, and what would make up for it.",),
        risk=Severity.INFO,
    ),
)

CODES = {entry.code: entry for entry in (*_ATTACHING, *_ON_THE_HOST, *_MAKING, *_MOUNTING, *_AT_RISK)}
