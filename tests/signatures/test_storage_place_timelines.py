"""Where volumes may be, how they are made, mounted and made larger: positive, near miss and recovery of each code."""

from __future__ import annotations

from typing import Any

import pytest

from aggregator.signatures.storage import codes
from tests.lab.cluster import Lab
from tests.lab.scenario import Scenario, Want, judge, lacking, of_module, scenario
from tests.lab.shapes import DAY, Json

ZONE, CLASS = codes.ZONE_MISMATCH, codes.CLASS_MISSING
CLOUD, TOPOLOGY = codes.QUOTA_OR_CLOUD, codes.TOPOLOGY
FS, AUTH, DRIVER = codes.MOUNT_FAILED_FS, codes.MOUNT_PERMISSION, codes.DRIVER_NOT_REGISTERED
RESIZE, BINDING, STRANDED = codes.RESIZE_FAILED, codes.IMMEDIATE_BINDING, codes.STRANDED_ON_LOSS
OWN = (ZONE, CLASS, CLOUD, TOPOLOGY, FS, AUTH, DRIVER, RESIZE, BINDING, STRANDED)
SCHEDULER = ("sched.volume_zone", "sched.unbound_pvc", "sched.insufficient_resources", "sched.unschedulable_cordoned")
ELSEWHERE = "0/3 nodes are available: 3 node(s) didn't match PersistentVolume's node affinity."
UNBOUND = "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims. not found"


def zones(*names: str, **fields: Any) -> Lab:
    """A cluster with one node in each of these zones: n1, n2, ..."""
    lab = Lab("place")
    lab.storage_class("gp3", default=True)
    for number, zone in enumerate(names, 1):
        lab.node(f"n{number}", zone=zone, **fields)
    return lab


def waiting(lab: Lab, zone: str = "a", since: float = -1200.0, says: str = ELSEWHERE, **pod: Any) -> Lab:
    """db/pg-0 waits with its volume in a zone."""
    lab.disk("db/data-pg-0", "pv-1", zone=zone)
    lab.statefulset("db/pg", storage_class="gp3")
    lab.pod(
        "db/pg-0",
        owner=("StatefulSet", "pg"),
        claims={"data": "data-pg-0"},
        pending_since=since,
        scheduler_says=says,
        **pod,
    )
    return lab


def claimed(lab: Lab, *, since: float = -1200.0, says: str = UNBOUND, **claim: Any) -> Lab:
    """shop/web waits for its claim shop/files, which is as old as it."""
    lab.claim("shop/files", created=since, **claim)
    lab.replicaset("shop/web-7d", replicas=1, ready=0)
    lab.pod(
        "shop/web-7d-abcde",
        owner=("ReplicaSet", "web-7d"),
        claims={"files": "files"},
        pending_since=since,
        scheduler_says=says,
    )
    return lab


def refused(lab: Lab, message: str, *, first: float = -1100.0, last: float = -60.0, count: int = 12) -> Lab:
    """What the provisioner says of shop/files."""
    lab.event("PersistentVolumeClaim", "shop/files", "ProvisioningFailed", message, first=first, last=last, count=count)
    return lab


def starting(lab: Lab, *, since: float = -900.0, node: str = "n1", zone: str = "a", **volume: Any) -> Lab:
    """db/pg-0 has a node, and does not start."""
    lab.disk("db/data-pg-0", "pv-1", zone=zone, attached_to=node if "source" not in volume else "", **volume)
    lab.statefulset("db/pg", ready=0, storage_class="gp3")
    lab.pod(
        "db/pg-0",
        node=node,
        owner=("StatefulSet", "pg"),
        claims={"data": "data-pg-0"},
        pending_since=since,
        waiting="ContainerCreating",
    )
    return lab


def unmounted(lab: Lab, message: str, *, first: float = -880.0, last: float = -40.0) -> Lab:
    """What the kubelet says of db/pg-0."""
    lab.event("Pod", "db/pg-0", "FailedMount", message, first=first, last=last, count=9)
    return lab


# -- storage.zone_mismatch -----------------------------------------------------------------------------------------


@scenario
def storage_zone_mismatch__positive() -> Scenario:
    return Scenario(
        waiting(zones("b", "b", "c")),
        why="the volume is in zone a, where no node is; the pod has no selector",
        expect=[
            Want(
                ZONE,
                objects=["PersistentVolumeClaim/db/data-pg-0", "Pod/db/pg-0", "PersistentVolume/pv-1"],
                severity="critical",
                says=["zone a only, where there is no node", "3 nodes elsewhere", "Have a node in zone a"],
            ),
            Want("sched.volume_zone", objects=["Pod/db/pg-0"], caused_by=ZONE),
        ],
        allow=SCHEDULER,
        forbid=["sched.insufficient_resources", "sched.node_affinity"],
    )


@scenario
def storage_zone_mismatch__positive_the_only_node_is_lost() -> Scenario:
    lab = zones("a", "b", "b")
    for name in ("n1", "n2", "n3"):
        lab.host(name)
    lab.tick(600)
    lab.lose_node("n1", since=-900)
    says = ELSEWHERE.replace("3 node(s)", "1 node(s) had untolerated taint(s), 2 node(s)")
    waiting(lab, since=-500, says=says)
    return Scenario(
        lab,
        why="the root is the lost node, not its taint",
        expect=[
            Want("node.lost", nodes=["n1"]),
            Want(ZONE, objects=["Pod/db/pg-0", "Node/n1"], caused_by="node.lost", says=["n1 has not been heard for"]),
        ],
        allow=SCHEDULER,
    )


@scenario
def storage_zone_mismatch__positive_local_volume_of_a_node_that_is_gone() -> Scenario:
    lab = zones("a", "a", "a")
    lab.disk("db/data-pg-0", "pv-1", node="n9", storage_class="local-path")
    lab.pod("db/pg-0", claims={"data": "data-pg-0"}, pending_since=-1200, scheduler_says=ELSEWHERE)
    return Scenario(
        lab,
        why="local PVs are bound to one host name, and that node was replaced",
        expect=[Want(ZONE, objects=["PersistentVolume/pv-1"], says=["node n9 only, which is gone"])],
        allow=SCHEDULER,
    )


@scenario
def storage_zone_mismatch__positive_cordoned() -> Scenario:
    lab = zones("b", "c")
    lab.node("n3", zone="a", cordoned=True)
    return Scenario(
        waiting(lab),
        why="the volume's only node is cordoned, the open ones are elsewhere",
        expect=[Want(ZONE, says=["n3 is cordoned", "Uncordon a node there"])],
        allow=SCHEDULER,
    )


@scenario
def storage_zone_mismatch__positive_only_the_control_plane_is_there() -> Scenario:
    lab = zones("b", "c")
    lab.node("cp", zone="a", role="control-plane")
    return Scenario(
        waiting(lab),
        why="the control plane's node takes no workloads",
        expect=[Want(ZONE, says=["cp has taint node-role.kubernetes.io/control-plane"])],
        allow=SCHEDULER,
    )


@scenario
def storage_zone_mismatch__positive_of_many_is_one_finding() -> Scenario:
    lab = zones("b", "c")
    for number in range(5):
        lab.disk(f"db/data-{number}", f"pv-{number}", zone="a")
        owner = ("StatefulSet", f"set{number}")
        claims = {"data": f"data-{number}"}
        lab.pod(f"db/set{number}-0", owner=owner, claims=claims, pending_since=-700, scheduler_says=ELSEWHERE)
    objects = [f"Pod/db/set{number}-0" for number in range(5)]
    return Scenario(lab, why="one zone, one cause", expect=[Want(ZONE, objects=objects, count=1)], allow=SCHEDULER)


@scenario
def storage_zone_mismatch__positive_volumes_in_two_zones() -> Scenario:
    lab = zones("a", "b")
    lab.disk("db/data", "pv-1", zone="a")
    lab.disk("db/wal", "pv-2", zone="b")
    claims = {"data": "data", "wal": "wal"}
    lab.pod("db/pg-0", claims=claims, pending_since=-1200, scheduler_says=ELSEWHERE)
    return Scenario(
        lab,
        why="each could be used somewhere, both together nowhere",
        expect=[Want(ZONE, objects=["PersistentVolumeClaim/db/data", "PersistentVolumeClaim/db/wal"])],
        allow=SCHEDULER,
    )


@scenario
def storage_zone_mismatch__positive_the_driver_has_not_labelled_the_node() -> Scenario:
    lab = zones("a", "b")
    lab.disk("db/data-pg-0", "pv-1", zone="a", zone_key="topology.ebs.csi.aws.com/zone")
    lab.pod("db/pg-0", claims={"data": "data-pg-0"}, pending_since=-1200, scheduler_says=ELSEWHERE)
    return Scenario(
        lab,
        why="n1 is in the zone, but the driver never registered there and so its own label is missing",
        expect=[Want(ZONE, says=["n1", "no label topology.ebs.csi.aws.com/zone"])],
        allow=SCHEDULER,
    )


@scenario
def storage_zone_mismatch__positive_as_a_risk() -> Scenario:
    lab = zones("b", "c")
    lab.disk("db/data-pg-0", "pv-1", zone="a")
    lab.disk("db/data-pg-1", "pv-2", zone="b")
    lab.disk("db/shared", "pv-3", source=NFS, modes=["ReadWriteMany"])
    return Scenario(
        lab,
        why="scaled to none: when it comes back, no node is where its first volume is",
        expect=[
            Want(ZONE, stage="risk", severity="info", objects=["PersistentVolumeClaim/db/data-pg-0"], count=1),
        ],
    )


@scenario
def storage_zone_mismatch__near_miss() -> Scenario:
    lab = zones("b", "c")
    lab.node("n3", zone="a", cpu="1")
    lab.pod("db/other", node="n3", requests={"cpu": "900m"})
    says = "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) didn't match PersistentVolume's node affinity."
    return Scenario(
        waiting(lab, says=says, requests={"cpu": "500m"}),
        why="the volume's zone has a node that the pod may use: it is full, which is no mismatch",
        expect=[Want("sched.insufficient_resources", objects=["Pod/db/pg-0"], severity="critical")],
        forbid=[ZONE, "sched.volume_zone"],
    )


@scenario
def storage_zone_mismatch__near_miss_younger_than_its_threshold() -> Scenario:
    return Scenario(waiting(zones("b", "c"), since=-120), why="two minutes Pending", forbid=[ZONE], allow=SCHEDULER)


@scenario
def storage_zone_mismatch__near_miss_regional_disk() -> Scenario:
    lab = zones("b", "c")
    lab.disk("db/data", "pv-1", zone=["a", "b"], zone_key="topology.gke.io/zone")
    for name in ("n1", "n2"):
        lab.node(name, zone="b" if name == "n1" else "c", labels={"topology.gke.io/zone": "b" if name == "n1" else "c"})
    lab.pod("db/pg-0", claims={"data": "data"}, requests={"cpu": "8"}, pending_since=-1200)
    return Scenario(
        lab,
        why="one of its two zones has a node",
        forbid=[ZONE],
        allow=(*SCHEDULER, "sched.too_large", "sched.fragmentation"),
    )


@scenario
def storage_zone_mismatch__near_miss_the_pod_s_own_selector() -> Scenario:
    says = "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector."
    return Scenario(
        waiting(zones("b", "c"), says=says, node_selector={"disk": "ssd"}),
        why="the selector takes no node of any zone",
        forbid=[ZONE],
        allow=("sched.node_affinity", *SCHEDULER),
    )


@scenario
def storage_zone_mismatch__near_miss_volumes_are_not_listed() -> Scenario:
    lab = waiting(zones("b", "c"))
    lab.unlisted |= {"nodes"}
    return Scenario(lab, why="which nodes there are is not known", forbid=[ZONE], allow=SCHEDULER)


@scenario
def storage_zone_mismatch__near_miss_a_disk_of_no_zone() -> Scenario:
    """Azure: the label is there and empty on nodes without zones, and so is the volume's term."""
    lab = Lab("azure")
    key = "topology.disk.csi.azure.com/zone"
    lab.node("n1", labels={key: ""})
    lab.disk("db/data", "pv-1", zone=[""], zone_key=key, driver="disk.csi.azure.com")
    lab.pod("db/pg-0", claims={"data": "data"}, requests={"cpu": "8"}, pending_since=-1200)
    return Scenario(lab, why="it fits there", forbid=[ZONE], allow=(*SCHEDULER, "sched.too_large"))


@scenario
def storage_zone_mismatch__recovery() -> Scenario:
    lab = waiting(zones("b", "c"))
    lab.tick(60)
    lab.node("n3", zone="a")
    lab.change_pod("db/pg-0", node="n3", scheduler_says="", pending_since=None)
    return Scenario(lab, why="a node came up in the zone", at_each=[[ZONE], []], watched=[ZONE], allow=SCHEDULER)


# -- storage.provision_failed_class_missing ------------------------------------------------------------------------


@scenario
def storage_provision_failed_class_missing__positive() -> Scenario:
    lab = claimed(zones("a", "b"), storage_class="fast")
    return Scenario(
        refused(lab, 'storageclass.storage.k8s.io "fast" not found'),
        why="the class does not exist",
        expect=[
            Want(
                CLASS,
                objects=["PersistentVolumeClaim/shop/files", "Pod/shop/web-7d-abcde"],
                says=["storage class fast, which does not exist", "gp3"],
            ),
            Want("sched.unbound_pvc", objects=["Pod/shop/web-7d-abcde"], caused_by=CLASS),
        ],
        allow=SCHEDULER,
    )


@scenario
def storage_provision_failed_class_missing__positive_no_default() -> Scenario:
    lab = Lab("bare")
    lab.node("n1")
    lab.storage_class("slow")
    claimed(lab, storage_class=None)
    text = "no persistent volumes available for this claim and no storage class is set"
    lab.event("PersistentVolumeClaim", "shop/files", "FailedBinding", text, first=-1100, count=70, type="Normal")
    return Scenario(
        lab,
        why="no class named, none is the default",
        expect=[Want(CLASS, says=["no class is the default"])],
        allow=SCHEDULER,
    )


@scenario
def storage_provision_failed_class_missing__positive_without_events() -> Scenario:
    return Scenario(
        claimed(zones("a"), storage_class="fast"),
        why="events live an hour; the missing class is proof enough",
        expect=[Want(CLASS)],
        allow=SCHEDULER,
    )


@scenario
def storage_provision_failed_class_missing__positive_made_before_the_default() -> Scenario:
    lab = claimed(zones("a"), storage_class=None)
    text = "no persistent volumes available for this claim and no storage class is set"
    lab.event("PersistentVolumeClaim", "shop/files", "FailedBinding", text, first=-1100, last=-10, count=70)
    return Scenario(
        lab,
        why="clusters before 1.28 do not give the default class to claims that are there already",
        expect=[Want(CLASS, says=["was made before there was a default one"])],
        allow=SCHEDULER,
    )


@scenario
def storage_provision_failed_class_missing__near_miss_static() -> Scenario:
    return Scenario(
        claimed(zones("a"), storage_class=""),
        why="no class is wanted: it waits for a volume that somebody makes by hand",
        forbid=[CLASS, CLOUD],
        allow=SCHEDULER,
    )


@scenario
def storage_provision_failed_class_missing__near_miss_classes_are_not_listed() -> Scenario:
    lab = claimed(zones("a"), storage_class="fast")
    lab.unlisted |= {"storageclasses"}
    return Scenario(lab, why="not known is not absent", forbid=[CLASS], allow=SCHEDULER)


@scenario
def storage_provision_failed_class_missing__near_miss_made_since() -> Scenario:
    lab = claimed(zones("a"), storage_class="fast")
    refused(lab, 'storageclass.storage.k8s.io "fast" not found', last=-200)
    lab.storage_class("fast", created=-100)
    return Scenario(lab, why="the event is older than the class", forbid=[CLASS, CLOUD], allow=SCHEDULER)


@scenario
def storage_provision_failed_class_missing__recovery() -> Scenario:
    lab = refused(claimed(zones("a"), storage_class="fast"), 'storageclass.storage.k8s.io "fast" not found')
    lab.tick(60)
    lab.storage_class("fast", created=-30)
    lab.disk("shop/files", "pv-1", zone="a", storage_class="fast")
    lab.change_pod("shop/web-7d-abcde", node="n1", pending_since=None, scheduler_says="")
    return Scenario(lab, why="the class was made", at_each=[[CLASS], []], watched=[CLASS], allow=SCHEDULER)


# -- storage.provision_failed_quota_or_cloud -----------------------------------------------------------------------

QUOTA = (
    'failed to provision volume with StorageClass "gp3": rpc error: code = Internal desc = Could not create volume '
    '"pvc-1": could not create volume in EC2: VolumeLimitExceeded: You have exceeded the maximum gp3 storage limit of '
    "300 TiB in this region."
)


@scenario
def storage_provision_failed_quota_or_cloud__positive() -> Scenario:
    lab = zones("a")
    lab.storage_class("fast", waits=False)
    claimed(lab, storage_class="fast", provisioner="ebs.csi.aws.com")
    return Scenario(
        refused(lab, QUOTA, first=-900),
        why="the cloud's limit; of the events the first are gone",
        expect=[
            Want(
                CLOUD,
                objects=["PersistentVolumeClaim/shop/files", "StorageClass/fast"],
                says=["VolumeLimitExceeded", "ebs.csi.aws.com"],
            ),
            Want("sched.unbound_pvc", caused_by=CLOUD),
        ],
        forbid=[CLASS, TOPOLOGY],
        allow=SCHEDULER,
    )


@scenario
def storage_provision_failed_quota_or_cloud__positive_cause_not_said() -> Scenario:
    lab = claimed(zones("a"), selected_node="n1", provisioner="ebs.csi.aws.com", says="")
    text = "the flux is out of phase"
    return Scenario(
        refused(lab, text),
        why="refused, and why is not told",
        expect=[Want(CLOUD, says=["why is not clear"])],
        allow=SCHEDULER,
    )


@scenario
def storage_provision_failed_quota_or_cloud__positive_two_workloads_are_critical() -> Scenario:
    lab = refused(claimed(zones("a"), selected_node="n1", provisioner="ebs.csi.aws.com", says=""), QUOTA)
    lab.claim("db/data-0", created=-900, selected_node="n1", provisioner="ebs.csi.aws.com")
    lab.pod("db/set-0", owner=("StatefulSet", "set"), claims={"data": "data-0"}, pending_since=-900)
    lab.event("PersistentVolumeClaim", "db/data-0", "ProvisioningFailed", QUOTA, first=-800, last=-20, count=8)
    return Scenario(
        lab, why="one quota, two workloads", expect=[Want(CLOUD, severity="critical", count=1)], allow=SCHEDULER
    )


@scenario
def storage_provision_failed_quota_or_cloud__near_miss_succeeded_later() -> Scenario:
    lab = claimed(zones("a"), selected_node="n1", provisioner="ebs.csi.aws.com", says="")
    refused(lab, QUOTA, last=-120)
    text = "Successfully provisioned volume pvc-1"
    lab.event("PersistentVolumeClaim", "shop/files", "ProvisioningSucceeded", text, last=-20)
    return Scenario(lab, why="it went through in the end", forbid=[CLOUD], allow=SCHEDULER)


@scenario
def storage_provision_failed_quota_or_cloud__near_miss_first_tries() -> Scenario:
    lab = claimed(zones("a"), since=-90, selected_node="n1", provisioner="ebs.csi.aws.com", says="")
    return Scenario(refused(lab, QUOTA, first=-80, last=-10, count=4), why="just begun", forbid=[CLOUD])


@scenario
def storage_provision_failed_quota_or_cloud__near_miss_waits_for_its_first_consumer() -> Scenario:
    lab = zones("a", "b")
    lab.claim("shop/files", created=-3 * 3600)
    text = "waiting for first consumer to be created before binding"
    lab.event("PersistentVolumeClaim", "shop/files", "WaitForFirstConsumer", text, first=-10000, count=700)
    refused(lab, QUOTA, first=-3000, last=-2900)
    return Scenario(lab, why="nobody wants it: that is how it should be", forbid=[CLOUD, CLASS, TOPOLOGY])


@scenario
def storage_provision_failed_quota_or_cloud__near_miss_nobody_answers() -> Scenario:
    lab = claimed(zones("a"), selected_node="n1", provisioner="ebs.csi.aws.com", says="")
    text = (
        "Waiting for a volume to be created either by the external provisioner 'ebs.csi.aws.com' or manually by the "
        "system administrator."
    )
    lab.event("PersistentVolumeClaim", "shop/files", "ExternalProvisioning", text, first=-1150, count=80)
    return Scenario(
        lab,
        why="nothing proves that it failed: told, and no more than that",
        expect=[Want(CLOUD, severity="info", says=["nor said why not"])],
        allow=SCHEDULER,
    )


@scenario
def storage_provision_failed_quota_or_cloud__recovery() -> Scenario:
    lab = refused(claimed(zones("a"), selected_node="n1", provisioner="ebs.csi.aws.com", says=""), QUOTA)
    lab.tick(60)
    lab.disk("shop/files", "pv-1", zone="a")
    lab.change_pod("shop/web-7d-abcde", node="n1", pending_since=None)
    return Scenario(lab, why="the quota was raised", at_each=[[CLOUD], []], watched=[CLOUD], allow=SCHEDULER)


# -- storage.provision_failed_topology -----------------------------------------------------------------------------

NO_KEY = (
    'failed to provision volume with StorageClass "gp3": error generating accessibility requirements: no topology key '
    "found on CSINode n1"
)


@scenario
def storage_provision_failed_topology__positive() -> Scenario:
    lab = claimed(zones("a"), selected_node="n1", provisioner="ebs.csi.aws.com", says="")
    return Scenario(
        refused(lab, NO_KEY),
        why="the driver has not registered on the chosen node",
        expect=[Want(TOPOLOGY, nodes=["n1"], objects=["PersistentVolumeClaim/shop/files"])],
        forbid=[CLOUD],
        allow=SCHEDULER,
    )


@scenario
def storage_provision_failed_topology__positive_allowed_topologies() -> Scenario:
    lab = zones("a", "b")
    lab.storage_class("far", zones=["x"], waits=False)
    claimed(lab, storage_class="far", provisioner="ebs.csi.aws.com")
    text = (
        'failed to provision volume with StorageClass "far": error generating accessibility requirements: no available '
        "topology found"
    )
    return Scenario(
        refused(lab, text),
        why="the class allows a zone without nodes",
        expect=[Want(TOPOLOGY, says=["zone=x"])],
        allow=SCHEDULER,
    )


@scenario
def storage_provision_failed_topology__near_miss() -> Scenario:
    lab = claimed(zones("a"), selected_node="n1", provisioner="ebs.csi.aws.com", says="")
    return Scenario(
        refused(lab, QUOTA), why="a quota is no topology", expect=[Want(CLOUD)], forbid=[TOPOLOGY], allow=SCHEDULER
    )


@scenario
def storage_provision_failed_topology__recovery() -> Scenario:
    lab = refused(claimed(zones("a"), selected_node="n1", provisioner="ebs.csi.aws.com", says=""), NO_KEY)
    lab.tick(60)
    lab.disk("shop/files", "pv-1", zone="a")
    lab.change_pod("shop/web-7d-abcde", node="n1", pending_since=None)
    return Scenario(lab, why="the driver registered", at_each=[[TOPOLOGY], []], watched=[TOPOLOGY], allow=SCHEDULER)


# -- storage.mount_failed_fs ---------------------------------------------------------------------------------------

WRONG = (
    'MountVolume.MountDevice failed for volume "pv-1" : rpc error: code = Internal desc = mount failed: exit status '
    "32\nMounting command: mount\nMounting arguments: -t ext4 -o defaults /dev/nvme1n1 /var/lib/kubelet/globalmount\n"
    "Output: mount: wrong fs type, bad option, bad superblock on /dev/nvme1n1, missing codepage or helper program, or "
    "other error."
)


@scenario
def storage_mount_failed_fs__positive_not_decided() -> Scenario:
    return Scenario(
        unmounted(starting(zones("a")), WRONG),
        why="these words are damage, another file system, or a bad option",
        expect=[
            Want(
                FS,
                nodes=["n1"],
                objects=["Pod/db/pg-0", "PersistentVolumeClaim/db/data-pg-0", "PersistentVolume/pv-1"],
                says=["either its file system is damaged, or"],
            )
        ],
        forbid=["storage.io_error_readonly"],
    )


@scenario
def storage_mount_failed_fs__positive_the_kernel_tells_of_damage() -> Scenario:
    lab = starting(zones("a"))
    host = lab.host("n1", thorough=True)
    device = host.attach_volume("pv-1")
    host.kernel(f"EXT4-fs error (device {device}): ext4_fill_super:4567: comm mount: bad block bitmap checksum", -60)
    return Scenario(
        unmounted(lab, WRONG),
        why="the host decides: damage",
        expect=[Want(FS, nodes=["n1"], says=["its file system is damaged", "snapshot"])],
        allow=["storage.io_error_readonly", "node.kernel_io_error"],
    )


@scenario
def storage_mount_failed_fs__positive_fsck() -> Scenario:
    text = (
        "MountVolume.MountDevice failed for volume \"pv-1\" : rpc error: code = Internal desc = 'fsck' found errors on "
        "device /dev/rbd12 but could not correct them: fsck from util-linux 2.37.4"
    )
    return Scenario(unmounted(starting(zones("a")), text), why="fsck says so", expect=[Want(FS, says=["is damaged"])])


@scenario
def storage_mount_failed_fs__positive_no_helper_for_nfs() -> Scenario:
    source: Json = {"nfs": {"server": "10.0.0.5", "path": "/export"}}
    text = (
        'MountVolume.SetUp failed for volume "pv-1" : mount failed: exit status 32\nMounting command: mount\nMounting '
        "arguments: -t nfs 10.0.0.5:/export /var/lib/kubelet/pods/u/volumes/kubernetes.io~nfs/pv-1\nOutput: mount: "
        "wrong fs type, bad option, bad superblock on 10.0.0.5:/export, missing codepage or helper program, or other "
        "error (for several filesystems (e.g. nfs, cifs) you might need a /sbin/mount.<type> helper program)"
    )
    return Scenario(
        unmounted(starting(zones("a"), zone="", source=source, modes=["ReadWriteMany"]), text),
        why="a network file system has no superblock: the helper is missing",
        expect=[Want(FS, nodes=["n1"], says=["mount.nfs is missing", "nfs-common"])],
        forbid=["storage.io_error_readonly"],
    )


@scenario
def storage_mount_failed_fs__near_miss() -> Scenario:
    lab = unmounted(starting(zones("a")), WRONG, first=-880, last=-300)
    lab.event("Pod", "db/pg-0", "Pulling", 'Pulling image "registry.example.com/app:1"', last=-60)
    return Scenario(lab, why="images are pulled only when all volumes are mounted", forbid=[FS])


@scenario
def storage_mount_failed_fs__near_miss_time_out_says_nothing() -> Scenario:
    text = (
        "Unable to attach or mount volumes: unmounted volumes=[data], unattached volumes=[], failed to process "
        "volumes=[]: timed out waiting for the condition"
    )
    return Scenario(
        unmounted(starting(zones("a")), text),
        why="which of them, and why, is not said",
        forbid=[FS, AUTH, DRIVER],
        allow=["storage.attach_timeout", "storage.device_not_found"],
    )


@scenario
def storage_mount_failed_fs__near_miss_read_only_root() -> Scenario:
    lab = zones("a")
    message = 'failed to create containerd task: mkdir "/var/cache/nginx": Read-only file system'
    lab.pod("shop/web", node="n1", waiting=("CrashLoopBackOff", message), restarts=9, last_exit=("Error", 1))
    return Scenario(
        lab,
        why="the container's own readOnlyRootFilesystem",
        forbid=[FS, "storage.io_error_readonly"],
        allow=["crash.permission_fs", "crash.app_error"],
    )


@scenario
def storage_mount_failed_fs__near_miss_first_attempt() -> Scenario:
    return Scenario(
        unmounted(starting(zones("a"), since=-50), WRONG, first=-45, last=-40),
        why="the first attempt may fail healthily",
        forbid=[FS],
    )


@scenario
def storage_mount_failed_fs__recovery() -> Scenario:
    lab = unmounted(starting(zones("a")), WRONG)
    lab.tick(60)
    lab.change_pod("db/pg-0", waiting="", pending_since=None)
    return Scenario(lab, why="fsType was corrected", at_each=[[FS], []], watched=[FS])


# -- storage.mount_permission_or_auth ------------------------------------------------------------------------------

DENIED = (
    'MountVolume.SetUp failed for volume "pv-1" : mount failed: exit status 32\nMounting command: mount\nMounting '
    "arguments: -t nfs 10.0.0.5:/export /var/lib/kubelet/pods/u/volumes/kubernetes.io~nfs/pv-1\nOutput: mount.nfs: "
    "access denied by server while mounting 10.0.0.5:/export"
)
NFS: Json = {"nfs": {"server": "10.0.0.5", "path": "/export"}}


@scenario
def storage_mount_permission_or_auth__positive() -> Scenario:
    lab = starting(zones("a"), zone="", source=NFS, modes=["ReadWriteMany"])
    return Scenario(
        unmounted(lab, DENIED),
        why="the server's export list",
        expect=[Want(AUTH, nodes=["n1"], objects=["Pod/db/pg-0"], says=["refused", "by 10.0.0.5"])],
        forbid=[FS],
    )


@scenario
def storage_mount_permission_or_auth__positive_one_server_is_one_finding() -> Scenario:
    lab = starting(zones("a", "b"), zone="", source=NFS, modes=["ReadWriteMany"])
    unmounted(lab, DENIED)
    lab.disk("web/files", "pv-2", source={"nfs": {"server": "10.0.0.5", "path": "/web"}}, modes=["ReadWriteMany"])
    owner = ("StatefulSet", "web")
    lab.pod("web/web-0", node="n2", owner=owner, claims={"f": "files"}, pending_since=-900, waiting="ContainerCreating")
    second = DENIED.replace("pv-1", "pv-2").replace("/export", "/web")
    lab.event("Pod", "web/web-0", "FailedMount", second, first=-800, count=9)
    return Scenario(
        lab, why="two workloads, one server", expect=[Want(AUTH, nodes=["n1", "n2"], severity="critical", count=1)]
    )


@scenario
def storage_mount_permission_or_auth__near_miss() -> Scenario:
    text = 'MountVolume.SetUp failed for volume "config" : configmap "settings" not found'
    return Scenario(
        unmounted(starting(zones("a")), text),
        why="a missing config map is no fault of storage",
        forbid=[AUTH, FS, DRIVER],
        allow=["crash.config_missing"],
    )


@scenario
def storage_mount_permission_or_auth__recovery() -> Scenario:
    lab = unmounted(starting(zones("a"), zone="", source=NFS, modes=["ReadWriteMany"]), DENIED)
    lab.tick(60)
    lab.change_pod("db/pg-0", waiting="", pending_since=None)
    return Scenario(lab, why="the export was corrected", at_each=[[AUTH], []], watched=[AUTH])


# -- storage.driver_not_registered ---------------------------------------------------------------------------------

UNREGISTERED = (
    'MountVolume.MountDevice failed for volume "pv-1" : kubernetes.io/csi: attacher.MountDevice failed to create '
    "newCsiDriverClient: driver name ebs.csi.aws.com not found in the list of registered CSI drivers"
)


@scenario
def storage_driver_not_registered__positive() -> Scenario:
    lab = unmounted(starting(zones("a", "b")), UNREGISTERED)
    lab.csinode("n1", {})
    return Scenario(
        lab,
        why="CSINode proves it",
        expect=[Want(DRIVER, nodes=["n1"], objects=["Pod/db/pg-0"], says=["ebs.csi.aws.com", "no driver at all"])],
        allow=["storage.attach_timeout"],
    )


@scenario
def storage_driver_not_registered__positive_without_a_word() -> Scenario:
    lab = starting(zones("a", "b"))
    lab.csinode("n1", {"efs.csi.aws.com": None})
    return Scenario(
        lab,
        why="nobody says so, but the node's CSINode does not have the volume's driver",
        expect=[Want(DRIVER, nodes=["n1"], says=["efs.csi.aws.com"])],
        allow=["storage.attach_timeout", "storage.device_not_found"],
    )


@scenario
def storage_driver_not_registered__positive_does_not_answer() -> Scenario:
    text = (
        'MountVolume.MountDevice failed for volume "pv-1" : rpc error: code = Unavailable desc = connection error: '
        'desc = "transport: Error while dialing: dial unix /var/lib/kubelet/plugins/ebs.csi.aws.com/csi.sock: connect: '
        'connection refused"'
    )
    return Scenario(
        unmounted(starting(zones("a")), text),
        why="its pod on the node crashes: CSINode still has the driver",
        expect=[Want(DRIVER, nodes=["n1"], says=["ebs.csi.aws.com does not answer", "though its CSINode has it"])],
    )


@scenario
def storage_driver_not_registered__near_miss() -> Scenario:
    lab = Lab("new node")
    lab.node("n1", zone="a", created=-200, ready_since=-150)
    lab.csinode("n1", {})
    unmounted(starting(lab, since=-145), UNREGISTERED, first=-140, last=-20)
    return Scenario(lab, why="the node has just started: its drivers are coming up", forbid=[DRIVER])


@scenario
def storage_driver_not_registered__near_miss_registered_meanwhile() -> Scenario:
    return Scenario(
        unmounted(starting(zones("a"), since=-250), UNREGISTERED, first=-240, last=-100),
        why="CSINode has it by now: the next attempt gets through",
        forbid=[DRIVER],
    )


@scenario
def storage_driver_not_registered__near_miss_csinodes_are_not_listed() -> Scenario:
    lab = starting(zones("a"))
    lab.unlisted |= {"csinodes"}
    return Scenario(lab, why="not known is not absent", forbid=[DRIVER], allow=["storage.device_not_found"])


@scenario
def storage_driver_not_registered__recovery() -> Scenario:
    lab = unmounted(starting(zones("a", "b")), UNREGISTERED)
    lab.csinode("n1", {})
    lab.tick(60)
    lab.csinode("n1", {"ebs.csi.aws.com": 25})
    lab.change_pod("db/pg-0", waiting="", pending_since=None)
    return Scenario(
        lab, why="the driver came up", at_each=[[DRIVER], []], watched=[DRIVER], allow=["storage.attach_timeout"]
    )


# -- storage.resize_failed -----------------------------------------------------------------------------------------

ATTACHED = (
    'resize volume "pv-1" by resizer "disk.csi.azure.com" failed: rpc error: code = Internal desc = failed to resize '
    "disk: OperationNotAllowed: Cannot resize disk while it is attached to running VM"
)


def growing(**claim: Any) -> Lab:
    """db/data-pg-0 asks for 50 GiB instead of 20."""
    lab = zones("a")
    lab.disk("db/data-pg-0", "pv-1", zone="a", attached_to="n1")
    lab.claim("db/data-pg-0", volume="pv-1", resize_to="50Gi", **claim)
    lab.pod("db/pg-0", node="n1", owner=("StatefulSet", "pg"), claims={"data": "data-pg-0"})
    return lab


def condition(kind: str, message: str = "", since: str = "2026-09-21T13:00:00Z") -> Json:
    return {"type": kind, "status": "True", "lastProbeTime": None, "lastTransitionTime": since, "message": message}


@scenario
def storage_resize_failed__positive() -> Scenario:
    lab = growing(conditions=[condition("Resizing")])
    lab.event("PersistentVolumeClaim", "db/data-pg-0", "VolumeResizeFailed", ATTACHED, first=-1500, last=-100, count=9)
    return Scenario(
        lab,
        why="refused again and again",
        expect=[
            Want(
                RESIZE,
                objects=["PersistentVolumeClaim/db/data-pg-0", "Pod/db/pg-0"],
                says=["50 GiB", "20 GiB", "cannot grow while it is attached"],
            )
        ],
    )


@scenario
def storage_resize_failed__positive_infeasible() -> Scenario:
    return Scenario(
        growing(resize_status="ControllerResizeInfeasible"),
        why="the claim's status says that it cannot be done",
        expect=[Want(RESIZE, says=["ControllerResizeInfeasible"])],
    )


@scenario
def storage_resize_failed__positive_on_the_node() -> Scenario:
    lab = growing(conditions=[condition("FileSystemResizePending")])
    text = 'MountVolume.NodeExpandVolume failed for volume "pv-1" : resize2fs: Permission denied to resize filesystem'
    lab.event("Pod", "db/pg-0", "FileSystemResizeFailed", text, first=-1500, last=-100, count=9)
    return Scenario(lab, why="the disk grew, the file system did not", expect=[Want(RESIZE, says=["resize2fs"])])


@scenario
def storage_resize_failed__near_miss() -> Scenario:
    text = "Waiting for user to (re-)start a pod to finish file system resize of volume on node."
    return Scenario(
        growing(conditions=[condition("FileSystemResizePending", text)], resize_status="NodeResizePending"),
        why="the node does the rest when a pod starts: no failure",
        forbid=[RESIZE],
    )


@scenario
def storage_resize_failed__near_miss_went_through() -> Scenario:
    lab = growing(conditions=[condition("Resizing")])
    lab.event("PersistentVolumeClaim", "db/data-pg-0", "VolumeResizeFailed", ATTACHED, first=-1500, last=-300, count=9)
    text = "Resize volume succeeded"
    lab.event("PersistentVolumeClaim", "db/data-pg-0", "VolumeResizeSuccessful", text, last=-10)
    return Scenario(lab, why="the last attempt succeeded", forbid=[RESIZE])


@scenario
def storage_resize_failed__recovery() -> Scenario:
    lab = growing(conditions=[condition("Resizing")])
    lab.event("PersistentVolumeClaim", "db/data-pg-0", "VolumeResizeFailed", ATTACHED, first=-1500, last=-100, count=9)
    lab.tick(60)
    lab.claim("db/data-pg-0", volume="pv-1", size="50Gi")
    return Scenario(lab, why="it has grown", at_each=[[RESIZE], []], watched=[RESIZE])


# -- storage.immediate_binding -------------------------------------------------------------------------------------


@scenario
def storage_immediate_binding__positive() -> Scenario:
    lab = zones("a", "b")
    lab.storage_class("fast", waits=False)
    lab.disk("db/data", "pv-1", zone="a", storage_class="fast")
    return Scenario(
        lab,
        why="the zone was chosen before any pod",
        expect=[
            Want(
                BINDING,
                stage="risk",
                severity="info",
                objects=["StorageClass/fast", "PersistentVolumeClaim/db/data"],
                says=["1 to a", "2 zones"],
                count=1,
            )
        ],
    )


@scenario
def storage_immediate_binding__positive_by_its_volumes() -> Scenario:
    lab = zones("a", "b")
    lab.storage_class("cinder", driver="cinder.csi.openstack.org", waits=False)
    key = "topology.cinder.csi.openstack.org/zone"
    lab.disk("db/data", "pv-1", zone="b", zone_key=key, driver="cinder.csi.openstack.org", storage_class="cinder")
    return Scenario(lab, why="its volumes tell", expect=[Want(BINDING, stage="risk", severity="info", says=["1 to b"])])


@scenario
def storage_immediate_binding__near_miss() -> Scenario:
    lab = zones("a", "b")
    lab.storage_class("nfs", driver="nfs.csi.k8s.io", waits=False)
    lab.disk("db/data", "pv-1", driver="nfs.csi.k8s.io", storage_class="nfs")
    lab.storage_class("regional", driver="pd.csi.storage.gke.io", waits=False)
    lab.disk("db/more", "pv-2", zone=["a", "b"], driver="pd.csi.storage.gke.io", storage_class="regional")
    lab.storage_class("pinned", waits=False, zones=["a"])
    return Scenario(lab, why="not zonal; in two zones at once; one zone on purpose; and gp3 waits", forbid=[BINDING])


@scenario
def storage_immediate_binding__near_miss_one_zone() -> Scenario:
    lab = zones("a", "a")
    lab.storage_class("fast", waits=False)
    lab.disk("db/data", "pv-1", zone="a", storage_class="fast")
    return Scenario(lab, why="there is nothing to choose", forbid=[BINDING])


@scenario
def storage_immediate_binding__recovery() -> Scenario:
    lab = zones("a", "b")
    lab.storage_class("fast", waits=False)
    lab.tick(60)
    lab.storage_class("fast", waits=True)
    return Scenario(lab, why="made anew with WaitForFirstConsumer", at_each=[[BINDING], []], watched=[BINDING])


# -- storage.stranded_on_loss --------------------------------------------------------------------------------------


def running(lab: Lab, key: str, node: str, zone: str, **fields: Any) -> Lab:
    """A pod of a StatefulSet that runs with a volume of a zone."""
    namespace, _, name = key.partition("/")
    owner = name.rpartition("-")[0]
    lab.disk(f"{namespace}/data-{name}", f"pv-{name}", zone=zone, attached_to=node)
    lab.statefulset(f"{namespace}/{owner}", storage_class="gp3")
    lab.pod(key, node=node, owner=("StatefulSet", owner), claims={"data": f"data-{name}"}, **fields)
    return lab


@scenario
def storage_stranded_on_loss__positive() -> Scenario:
    return Scenario(
        running(zones("a", "b", "b"), "db/pg-0", "n1", "a"),
        why="zone a has one node: with it goes the only place of the volume",
        expect=[
            Want(
                STRANDED,
                stage="risk",
                severity="info",
                nodes=["n1"],
                objects=["StatefulSet/db/pg", "Pod/db/pg-0", "PersistentVolumeClaim/db/data-pg-0"],
                says=["db/pg 1 of 1", "no other node there"],
            ),
            Want(STRANDED, stage="risk", severity="info", says=["If zone a were lost"], count=2),
        ],
    )


@scenario
def storage_stranded_on_loss__positive_no_room() -> Scenario:
    lab = running(zones("a", "a", "b"), "db/pg-0", "n1", "a", requests={"cpu": "3"})
    lab.pod("shop/big", node="n2", requests={"cpu": "3"}, owner=("ReplicaSet", "big"))
    return Scenario(
        lab,
        why="the other node of the zone is full, the free one is where the volume cannot follow",
        expect=[Want(STRANDED, stage="risk", severity="info", nodes=["n1"], says=["3 CPU"])],
    )


@scenario
def storage_stranded_on_loss__positive_local_volumes_are_one_finding() -> Scenario:
    lab = zones("a", "a", "a")
    for number in (1, 2, 3):
        lab.disk(f"db/data-kafka-{number}", f"pv-{number}", node=f"n{number}", storage_class="local-path")
        owner, claims = ("StatefulSet", "kafka"), {"data": f"data-kafka-{number}"}
        lab.pod(f"db/kafka-{number}", node=f"n{number}", owner=owner, claims=claims)
    return Scenario(
        lab,
        why="by design: one finding with the count, not one for each node",
        expect=[Want(STRANDED, stage="risk", severity="info", says=["local-path", "3 nodes", "kafka 3 of 3"], count=1)],
    )


@scenario
def storage_stranded_on_loss__near_miss() -> Scenario:
    lab = running(zones("a", "a"), "db/pg-0", "n1", "a")
    lab.disk("shop/files", "pv-nfs", source=NFS, modes=["ReadWriteMany"])
    lab.pod("shop/web", node="n2", owner=("ReplicaSet", "web"), claims={"files": "files"})
    return Scenario(
        lab, why="one zone: the other node takes it; and a network file system follows anywhere", forbid=[STRANDED]
    )


@scenario
def storage_stranded_on_loss__near_miss_regional_disk() -> Scenario:
    lab = zones("a", "b")
    lab.disk("db/data", "pv-1", zone=["a", "b"])
    lab.pod("db/pg-0", node="n1", owner=("StatefulSet", "pg"), claims={"data": "data"})
    return Scenario(lab, why="the disk is in both zones", forbid=[STRANDED])


@scenario
def storage_stranded_on_loss__near_miss_daemons() -> Scenario:
    lab = zones("a", "b")
    lab.disk("db/data", "pv-1", zone="a")
    lab.pod("db/cache-x", node="n1", owner=("DaemonSet", "cache"), claims={"data": "data"})
    return Scenario(lab, why="a daemon's pod belongs to its node", forbid=[STRANDED])


@scenario
def storage_stranded_on_loss__recovery() -> Scenario:
    lab = running(zones("a", "b"), "db/pg-0", "n1", "a")
    lab.tick(60)
    lab.delete("Pod/db/pg-0")
    return Scenario(lab, why="the workload is gone", at_each=[[STRANDED], []], watched=[STRANDED])


SCENARIOS = of_module(__name__)


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(name: str) -> None:
    judge(SCENARIOS[name](), by_word=True)


def test_each_code_has_all_three() -> None:
    assert not lacking(OWN, SCENARIOS)


def test_a_zone_with_a_second_node_strands_its_pods_only_with_the_zone() -> None:
    lab = running(zones("a", "b"), "db/pg-0", "n1", "a")
    assert sum(finding.code == STRANDED for finding in lab.findings()) == 2
    lab.tick(DAY)
    lab.node("n3", zone="a")
    assert next(finding.summary for finding in lab.findings() if finding.code == STRANDED).startswith("If zone a")
    assert sum(finding.code == STRANDED for finding in lab.findings()) == 1
