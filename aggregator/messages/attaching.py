"""Why a volume does not come to a node, or does not leave one. Some of it comes up again when it is mounted."""

from __future__ import annotations

from aggregator.messages.model import Classification
from aggregator.messages.rules import Rule
from aggregator.messages.said import Said, by

MULTI_ATTACH = "storage.multi_attach"
STALE_ATTACHMENT = "storage.stale_attachment"
ATTACH_TIMEOUT = "storage.attach_timeout"
DETACH_STUCK = "storage.detach_stuck"
ATTACH_LIMIT = "storage.attach_limit"
ZONE_MISMATCH = "storage.zone_mismatch"
MOUNT_AUTH = "storage.mount_permission_or_auth"
NO_DEVICE = "storage.device_not_found"
NO_DRIVER = "storage.driver_not_registered"

NO_DRIVER_RULE = Rule(
    NO_DRIVER,
    (
        "not found in the list of registered csi drivers",
        "failed to get csi client",
        "no matching csi driver",
        "does not contain driver",
        "csi driver…not found",
        "csidriver…not found",
        "csi.sock: connect: connection refused",
        "csi.sock: connect: no such file",
        ".sock: connect: no such file or directory",
        "no volume plugin matched",
        "no csi driver",
        "csinode…not found",
        "driver…is not registered",
        "driver…not registered",
        "unable to find csi driver",
        "no provisioner found",
        'failed to find plugin "kubernetes.io',
    ),
    why="no such driver answers on that node",
)

IN_USE_RULE = Rule(
    MULTI_ATTACH,
    (
        "multi-attach error",
        "already exclusively attached to one node",
        "already used by pod",
        "volumeinuse",
        "volume in use",
        "is already attached to an instance",
        "already attached to instance",
        "already attached to node",
        "already attached to the node",
        "already attached to another",
        "already attached to a different",
        "already attached to server",
        "already attached to vm",
        "already attached to droplet",
        "already attached to…another node",
        "is already attached to",
        "is attached to a different",
        "attached to another",
        "attached to a different node",
        "resourceinuse",
        "resource 'volume' is in use",
        "resource_in_use_by_another_resource",
        "resourceinusebyanotherresource",
        "already being used by",
        "is already owned by vm",
        "already owned by",
        "already in use by",
        "is in use by another",
        "in use by node",
        "being used by another node",
        "already published to node",
        "already mounted on another",
        "can't be attached to another",
        "cannot be attached to another",
        "already mapped to another",
        "readwriteonce…another node",
        "exclusive lock",
        "failed to acquire exclusive lock",
        "already locked",
        "failed to lock image",
        "locked by other nodes",
    ),
    why="another node, or another pod, still has the volume",
)

DETACHING_RULE = Rule(
    DETACH_STUCK,
    (
        "volume attachment is being deleted",
        "currently being detached",
        "is being detached",
        "attachdiskwhilebeingdetached",
        "detachvolume.detach failed",
        "detach volume…failed",
        "failed to detach",
        "could not detach",
        "cannot detach",
        "unable to detach",
        "error detaching",
        "timed out waiting for…detach",
        "still being used",
        "is still in use",
        "is still mounted",
        "still attached to",
        "conflictinguserinput",
        "detaching state",
        "state…detaching",
        "in detaching",
        "in state detaching",
        "status: detaching",
        "volume is not detached",
        "unmountvolume.teardown failed",
        "unmountdevice failed",
        "target is busy",
        "device is busy",
        "has watchers",
    ),
    why="the volume is not let go where it was",
)

LIMIT_RULE = Rule(
    ATTACH_LIMIT,
    (
        "attachmentlimitexceeded",
        "attachment limit",
        "maximum number of volumes",
        "maximum number of data disks",
        "maximum number of disks",
        "maximum number of attach",
        "maximum number of attachments",
        "max number of volumes",
        "max volume count",
        "too many volumes",
        "too many data disks",
        "exceeds the limit of disks",
        "exceed the limit of disks",
        "limit of volumes per",
        "volume limit",
        "data disks limit",
        "volume attach limit",
        "attach limit",
        "number of volumes attached",
        "no free slots",
        "no available scsi slot",
        "no available disk",
        "no free device",
        "exceeded limit of # volumes",
        "attachvolumelimit",
        "volume attachments…exceed",
        "droplet…volume limit",
        "too many disks",
        "maximum persistent disks",
    ),
    why="the node has as many volumes as it can hold",
)

ZONE_RULE = Rule(
    ZONE_MISMATCH,
    (
        "zonemismatch",
        "not in the same availability zone",
        "not in the same zone",
        "must be in the same zone",
        "must be in the same availability zone",
        "in different zones",
        "different availability zone",
        "different zone",
        "cross zone",
        "resource 'projects/…zones",
        "notsupportavailabilityzone",
        "badrequest…availability zone",
        "cannot attach…availability zone",
        "zone of the disk",
    ),
    why="volume and node are in different zones",
)

GONE_NODE_RULE = Rule(
    STALE_ATTACHMENT,
    (
        "node…no longer exists",
        "attached to a node that",
        "instance not found",
        "instancenotfound",
        "invalidinstanceid.notfound",
        "instance…does not exist",
        "vm…not found",
        "virtual machine…not found",
        "no vm found",
        "failed to find vm",
        "server…not found",
        "droplet not found",
        "volume attachment…already exists",
        "node…not found",
        "nodes…not found",
        "deleted node",
        "failed to get node",
    ),
    unless=("getting node from cache",),
    why="the attachment is to a machine that is not there",
)

CLOUD_DENIES_RULE = Rule(
    MOUNT_AUTH,
    (
        "unauthorizedoperation",
        "not authorized to perform",
        "authorizationfailed",
        "accessdenied",
        "access denied",
        "invalid credentials",
        "invalidclienttokenid",
        "expiredtoken",
        "aadsts",
        "403 forbidden",
        "401 unauthorized",
        "status code: 403",
        "status code: 401",
        "statuscode=403",
        "statuscode=401",
        "permission denied",
        "permissiondenied",
        "does not have permission",
        "authentication failed",
        "authenticationfailed",
        "unauthenticated",
        "insufficient permissions",
        "required…permission",
        "serviceaccounts…forbidden",
        "is forbidden:",
    ),
    why="the storage refuses the credentials or the rights of who asks",
)

ATTACH_SLOW_RULE = Rule(
    ATTACH_TIMEOUT,
    (
        "timed out waiting for external-attacher",
        "timed out waiting for the external-attacher",
        "attachment timeout for volume",
        "attach timeout for volume",
        "timed out waiting for the condition",
        "timeout expired waiting for volumes to attach",
        "timeout expired waiting for volumes",
        "timeout waiting for volume",
        "timed out waiting for attach",
        "timed out waiting for volume",
        "timeout waiting for",
        "timed out waiting for",
        "volume not attached according to node status",
        "is not yet attached",
        "volume is not attached",
        "not attached yet",
        "is attaching",
        "currently attaching",
        "expected device to be attached but was attaching",
        "state…attaching",
        "still attaching",
        "waiting for volume…to be attached",
        "an operation with the given volume",
        "operation…already in progress",
        "operation is pending",
        "operation pending",
        "there is already an operation pending",
        "already in process",
        "context deadline exceeded",
        "deadlineexceeded",
        "context canceled",
        "requestcanceled",
    ),
    why="attach or mount does not end; what holds it up is not said here",
)

ATTACH_RULES: tuple[Rule, ...] = (
    Rule(
        "",
        ("not ready for workloads", "attachvolume.attach succeeded", "detachvolume.detach succeeded"),
        no_fault=True,
        why="the storage is still making the volume ready; it says so while it works",
    ),
    Rule(
        DETACH_STUCK,
        ("conflictinguserinput", "currently being detached", "attachdiskwhilebeingdetached"),
        also=(MULTI_ATTACH,),
        why="the machine that had the disk has not let go of it",
    ),
    Rule(
        MULTI_ATTACH,
        (
            "cannot be attached…since it is already attached",
            "is already attached to the node",
            "is already owned by vm",
        ),
        also=(DETACH_STUCK,),
        why="another node still has the volume",
    ),
    IN_USE_RULE,
    DETACHING_RULE,
    LIMIT_RULE,
    ZONE_RULE,
    NO_DRIVER_RULE,
    CLOUD_DENIES_RULE,
    GONE_NODE_RULE,
    Rule(
        NO_DEVICE,
        (
            "volume…does not exist",
            "invalidvolume.notfound",
            "volume not found",
            "volume…not found",
            "disk…not found",
            "disk…was not found",
            "could not be found",
            "no such volume",
            "disk…does not exist",
            "filenotfound",
        ),
        why="the storage has no such volume",
    ),
    ATTACH_SLOW_RULE,
)
"""Of volumes that should come to a node, or leave one."""

ATTACH_REASONS = frozenset(
    {"failedattachvolume", "faileddetachvolume", "attacherror", "failedattach", "successfulattachvolume"}
)

_ATTACH_SHAPES = (
    "attachvolume.attach",
    "multi-attach error",
    "detachvolume.detach",
    "failed to attach volume",
    "failed to detach volume",
    "volume attachment is being deleted",
    "error attaching",
    "controllerpublishvolume",
)


def judge(said: Said) -> Classification | None:
    """What a message about an attachment says. None: it is about something else."""
    if said.reason not in ATTACH_REASONS and not said.has(*_ATTACH_SHAPES):
        return None
    return by(ATTACH_RULES, said, "the attachment failed, and it is not said why")
