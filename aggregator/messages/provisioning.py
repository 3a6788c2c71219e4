"""Why a claim gets no volume, or its volume does not grow."""

from __future__ import annotations

from aggregator.messages.attaching import NO_DRIVER_RULE
from aggregator.messages.model import Classification
from aggregator.messages.mounting import MOUNT_RULES
from aggregator.messages.rules import Rule, first
from aggregator.messages.said import Said, by

WAITS_FOR_CONSUMER = "storage.wait_for_first_consumer"
CLASS_MISSING = "storage.provision_failed_class_missing"
QUOTA_OR_CLOUD = "storage.provision_failed_quota_or_cloud"
TOPOLOGY = "storage.provision_failed_topology"
RESIZE_FAILED = "storage.resize_failed"

WAITING_RULES: tuple[Rule, ...] = (
    Rule(
        WAITS_FOR_CONSUMER,
        (
            "waiting for first consumer to be created before binding",
            "waiting for first consumer",
            "waitforfirstconsumer",
            "waiting for pod…to be scheduled",
            "waitforpodscheduled",
        ),
        unless=("failed to provision", "provisioning failed", "error"),
        no_fault=True,
        why="the class binds when a pod needs the claim: this is how it should be",
    ),
)

PROVISION_RULES: tuple[Rule, ...] = (
    *WAITING_RULES,
    Rule(
        CLASS_MISSING,
        (
            'storageclass.storage.k8s.io "*" not found',
            'storageclasses.storage.k8s.io "*" not found',
            'storageclass "*" not found',
            'storageclass \\"*\\" not found',
            'k8s.io \\"*\\" not found',
            "no matching storage class",
            'storage class "*" not found',
            "no storage class is set",
            "no default storageclass",
            "storage class * was not found",
            "storage class * does not exist",
        ),
        why="the claim's class does not exist, or it names none and there is no default",
    ),
    NO_DRIVER_RULE,
    Rule(
        TOPOLOGY,
        (
            "error generating accessibility requirements",
            "no available topology found",
            "no topology key found",
            "failed to get target node",
            "topology requirement",
            "topologyrequirement",
            "failed to pick zones",
            "available zones",
            "from topology",
            "accessibility requirements",
            "topology-restricted",
            "allowedtopologies",
            "no zones found",
            "failed to find zone",
            "could not get zone",
            "zone…is not available",
            "zone…does not exist",
            "not available in the zone",
            "not supported in this availability zone",
            "not supported in the requested availability zone",
            "does not satisfy",
            "no shared datastore",
            "no compatible datastore",
            "no compatible shared datastores",
            "topology segment",
            "topology key",
            "preferred topology",
            "requisite topology",
            "no node found that",
            "the zone…invalid",
            "failed to get compatible datastore",
            "no pool matches",
        ),
        unless=("quota", "limitexceeded"),
        why="no place that the class and the pod's node allow can hold the volume",
    ),
    Rule(
        QUOTA_OR_CLOUD,
        (
            "quota",
            "limitexceeded",
            "limit exceeded",
            "limit (#) has been reached",
            "resourceexhausted",
            "resource exhausted",
            "out of range",
            "outofrange",
            "insufficient capacity",
            "insufficient space",
            "insufficient storage",
            "insufficientvolumecapacity",
            "not enough space",
            "not enough capacity",
            "no space left",
            "not enough free",
            "notenoughspace",
            "not have enough free space",
            "no free space",
            "invalidparameter",
            "invalid argument",
            "invalidargument",
            "invalid value",
            "unauthorizedoperation",
            "authorizationfailed",
            "not authorized",
            "accessdenied",
            "access denied",
            "unauthorized",
            "forbidden",
            "permission",
            "credential",
            "authentication",
            "status code: 4",
            "status code: 5",
            "statuscode: 4",
            "statuscode=4",
            "statuscode=5",
            "http status",
            "http response code",
            "httpstatuscode",
            "googleapi:",
            "googleapi: error",
            "api error",
            "requesterror",
            "operation error",
            "cloud provider",
            "failed to create volume",
            "could not create volume",
            "createvolume failed",
            "failed to create disk",
            "failed to create share",
            "failed to create subvolume",
            "failed to create fileshare",
            "error creating volume",
            "failed to provision volume with storageclass",
            "failed to provision volume",
            "failed to create provisioner",
            "failed to get storage account",
            "could not allocate io space",
            "kmskeynotaccessible",
        ),
        last_resort=True,
        why="the storage behind the class refuses: quota, capacity, credentials or an error of its API",
    ),
)
"""Of claims that no volume comes for."""

RESIZE_RULES: tuple[Rule, ...] = (
    Rule(
        "",
        (
            "waiting for an external controller to expand this pvc",
            "waiting for user to (re-)start a pod to finish file system resize",
            "require file system resize of volume on node",
            "external resizer is resizing volume",
            "mountvolume.nodeexpandvolume succeeded",
            "ignoring the pvc: didn't find a plugin capable of expanding the volume",
        ),
        unless=("failed", "error"),
        no_fault=True,
        why="an expansion on its way",
    ),
    Rule(
        RESIZE_FAILED,
        (
            "error expanding volume",
            "volume expansion failed",
            "expansion failed",
            "failed to expand",
            "could not expand",
            "resize volume…failed",
            "nodeexpandvolume failed",
            "expandvolume failed",
            "nodeexpand",
            "controllerexpandvolume",
            "could not resize",
            "cannot resize",
            "failed to resize",
            "error resizing",
            "resize failed",
            "resize of volume…failed",
            "expand volume…failed",
            "fails to expand",
            "can not be resized",
            "can't be resized",
            "can be resized and the storageclass",
            "must support resize",
            "resize2fs",
            "xfs_growfs",
            "modification rate",
            "volumemodificationratelimit",
            "volumemodificationsizelimitexceeded",
            "shrink",
            "not support volume expansion",
            "online expansion",
        ),
        why="the expansion failed",
    ),
)
"""Of claims that should grow."""

PROVISION_REASONS = frozenset(
    {"provisioningfailed", "failedbinding", "waitforfirstconsumer", "waitforpodscheduled", "provisioningcleanupfailed"}
)

RESIZE_REASONS = frozenset(
    {
        "volumeresizefailed",
        "filesystemresizefailed",
        "resizefailed",
        "volumemodifyfailed",
        "externalexpanding",
        "filesystemresizerequired",
        "filesystemresizesuccessful",
        "resizing",
        "volumeresizesuccessful",
        "externalexpansion",
        "expansionfailed",
        "controllerresizeinfeasible",
        "noderesizeinfeasible",
        "controllerresizeerror",
    }
)

_RESIZE_SHAPES = (
    "error expanding volume",
    "resize volume",
    "expandvolume",
    "volume expansion",
    "expand this pvc",
    "while expanding volume",
)

_PROVISION_SHAPES = (
    "failed to provision volume",
    'storageclass.storage.k8s.io "*" not found',
    "no storage class is set",
    "waiting for first consumer",
    "waiting for pod…to be scheduled",
    "failed to create provisioner",
    "error syncing claim",
)


def judge_expansion(said: Said) -> Classification | None:
    """What a message about an expansion says. None: it is about something else."""
    if said.reason not in RESIZE_REASONS and not said.has(*_RESIZE_SHAPES):
        return None
    answer = first(RESIZE_RULES, said.text)
    if answer is None and "fail" in said.reason:
        why = "the reason says that the expansion failed"
        return Classification(RESIZE_FAILED, phrase=said.written.reason, why=why)
    return answer or Classification("", why="about an expansion, not that it fails")


def judge_claim(said: Said) -> Classification | None:
    """What a message about provisioning or binding says. None: it is about something else."""
    if said.reason not in PROVISION_REASONS and not said.has(*_PROVISION_SHAPES):
        return None
    if said.has("mount failed", "failed to mount", "mount.nfs"):  # by a driver that mounts its share to make room
        return by(MOUNT_RULES, said, "about provisioning, not why it fails")
    return by(PROVISION_RULES, said, "about provisioning, not why it fails")
