"""What is kept of the API server's objects: the fields that the diagnosis uses, and no others.

Memory decides the shape: 150,000 pods must fit. What pods of one template have in common is one PodSpec that they
share; the rest is slotted, immutable, and outside the cycle collector's reach. Times are seconds since the epoch by the
API server's clock, 0.0 where the object does not say. Amounts are whole numbers: thousandths of a CPU for "cpu", bytes
for memory, storage and huge pages, a count for anything else; fractions are rounded up, as the scheduler does.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

Amounts = Mapping[str, int]
"""Amount by name of the resource ("cpu", "memory", "ephemeral-storage", "pods", "nvidia.com/gpu")."""

NOTHING: Amounts = {}
"""Shared, never changed."""


class Taint(Struct, frozen=True, gc=False):
    """spec.taints of a Node. As text: "key=value:effect"."""

    key: str
    value: str = ""
    effect: str = ""
    added: float = 0.0

    def __str__(self) -> str:
        return f"{self.key}{f'={self.value}' if self.value else ''}:{self.effect}"


class Condition(Struct, frozen=True, gc=False):
    """An entry of status.conditions."""

    type: str
    status: str
    """"True", "False" or "Unknown"."""
    reason: str = ""
    message: str = ""
    since: float = 0.0
    """lastTransitionTime."""


class NodeObject(Struct, frozen=True, gc=False):
    """v1.Node."""

    name: str
    labels: Mapping[str, str] = {}
    taints: tuple[Taint, ...] = ()
    """In order of their text."""
    addresses: Mapping[str, str] = {}
    """status.addresses by type ("InternalIP", "Hostname")."""
    pod_cidrs: tuple[str, ...] = ()
    """spec.podCIDRs."""
    uid: str = ""
    version: str = ""
    """resourceVersion, as everywhere below."""
    created: float = 0.0
    deleted: float = 0.0
    unschedulable: bool = False
    """Cordoned."""
    provider_id: str = ""
    capacity: Amounts = NOTHING
    allocatable: Amounts = NOTHING
    conditions: tuple[Condition, ...] = ()
    volumes_attached: tuple[tuple[str, str], ...] = ()
    """status.volumesAttached: (unique volume name, device path), as the attach-detach controller sees it."""
    volumes_in_use: tuple[str, ...] = ()
    """status.volumesInUse: unique volume names, as the kubelet sees it."""
    kubelet_version: str = ""

    def condition(self, type_: str) -> Condition | None:
        """The condition of this type."""
        return next((each for each in self.conditions if each.type == type_), None)

    @property
    def ready(self) -> str:
        """ "True", "False" or "Unknown": what the Ready condition says."""
        found = self.condition("Ready")
        return found.status if found is not None else "Unknown"


class Owner(Struct, frozen=True, gc=False):
    """The controller among metadata.ownerReferences."""

    kind: str
    name: str
    uid: str


class Requirement(Struct, frozen=True, gc=False):
    """One expression of a selector: matchExpressions, matchFields, or one pair of matchLabels (as In)."""

    key: str
    operator: str
    """In, NotIn, Exists, DoesNotExist, Gt, Lt."""
    values: tuple[str, ...] = ()


class NodeTerm(Struct, frozen=True, gc=False):
    """A nodeSelectorTerm: all its requirements must hold. One without any matches nothing."""

    labels: tuple[Requirement, ...] = ()
    fields: tuple[Requirement, ...] = ()
    """matchFields; the API server takes metadata.name alone."""


class Selector(Struct, frozen=True, gc=False):
    """A label selector: all requirements must hold; without any it matches everything."""

    requirements: tuple[Requirement, ...] = ()


class PodTerm(Struct, frozen=True, gc=False):
    """A required term of pod affinity or anti-affinity."""

    selector: Selector | None
    """None: matches no pod."""
    topology_key: str
    namespaces: tuple[str, ...] = ()
    namespace_selector: Selector | None = None
    """None and no namespaces: the pod's own namespace. An empty selector: all namespaces."""


class Spread(Struct, frozen=True, gc=False):
    """A topologySpreadConstraint with whenUnsatisfiable DoNotSchedule."""

    topology_key: str
    max_skew: int
    selector: Selector | None
    min_domains: int = 0
    honor_affinity: bool = True
    honor_taints: bool = False


class Toleration(Struct, frozen=True, gc=False):
    """spec.tolerations."""

    key: str = ""
    operator: str = "Equal"
    value: str = ""
    effect: str = ""
    seconds: int | None = None
    """tolerationSeconds; None: for ever."""


class HostPort(Struct, frozen=True, gc=False):
    """A port of the host that a container asks for."""

    port: int
    protocol: str = "TCP"
    address: str = "0.0.0.0"


class Container(Struct, frozen=True, gc=False):
    """spec.containers and spec.initContainers."""

    name: str
    image: str = ""
    requests: Amounts = NOTHING
    limits: Amounts = NOTHING
    init: bool = False
    restartable: bool = False
    """An init container with restartPolicy Always: a sidecar."""


class PodSpec(Struct, frozen=True, gc=False):
    """What pods of one template have in common; one object for all of them."""

    containers: tuple[Container, ...] = ()
    """Init containers in their order, then the others."""
    requests: Amounts = NOTHING
    """What the scheduler counts: the larger of containers and sidecars together and of each init container with the
    sidecars before it, plus overhead; pod-level spec.resources in their stead where given; while it is resized in
    place, the largest of what is wanted, allocated and in force; no "pods"."""
    overhead: Amounts = NOTHING
    node_selector: Mapping[str, str] = {}
    node_terms: tuple[NodeTerm, ...] | None = None
    """Required node affinity: one of them must hold. None: not asked for."""
    pod_affinity: tuple[PodTerm, ...] = ()
    pod_anti_affinity: tuple[PodTerm, ...] = ()
    spread: tuple[Spread, ...] = ()
    tolerations: tuple[Toleration, ...] = ()
    host_ports: tuple[HostPort, ...] = ()
    host_network: bool = False
    service_account: str = ""
    pull_secrets: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    """Secrets and ConfigMaps that it cannot start without: "Secret/name", "ConfigMap/name", sorted."""
    token_audiences: tuple[str, ...] = ()
    """Whom projected ServiceAccount tokens of it are for ("sts.amazonaws.com"), sorted; the API server's left out."""
    resource_claims: tuple[str, ...] = ()
    """spec.resourceClaims: names of ResourceClaims or of templates."""
    scheduler: str = "default-scheduler"
    priority: int = 0
    restart_policy: str = "Always"


class ContainerState(Struct, frozen=True, gc=False):
    """status.containerStatuses[].state or lastState."""

    kind: str
    """"waiting", "running" or "terminated"."""
    reason: str = ""
    message: str = ""
    exit_code: int = 0
    signal: int = 0
    started: float = 0.0
    finished: float = 0.0


class ContainerStatus(Struct, frozen=True, gc=False):
    """status.containerStatuses and status.initContainerStatuses."""

    name: str
    init: bool = False
    ready: bool = False
    restarts: int = 0
    state: ContainerState | None = None
    last: ContainerState | None = None


class PodClaim(Struct, frozen=True, gc=False):
    """A volume of a pod that is a claim."""

    volume: str
    """Name in the pod."""
    claim: str
    """Name of the PersistentVolumeClaim in the pod's namespace; of an ephemeral volume POD-VOLUME."""
    read_only: bool = False
    ephemeral: bool = False


class Pod(Struct, frozen=True, gc=False):
    """v1.Pod."""

    namespace: str
    name: str
    spec: PodSpec
    uid: str = ""
    version: str = ""
    created: float = 0.0
    deleted: float = 0.0
    """deletionTimestamp: when it should be gone, its grace period included."""
    owner: Owner | None = None
    labels: Mapping[str, str] = {}
    node: str = ""
    """spec.nodeName; empty: not bound."""
    pinned_node: str = ""
    """The one node that its required affinity allows by metadata.name, as for the pods of a DaemonSet. It is not in
    spec.node_terms then, so that they share one PodSpec."""
    claims: tuple[PodClaim, ...] = ()
    gates: tuple[str, ...] = ()
    """spec.schedulingGates."""
    phase: str = ""
    reason: str = ""
    """status.reason ("Evicted", "NodeLost")."""
    message: str = ""
    conditions: tuple[Condition, ...] = ()
    containers: tuple[ContainerStatus, ...] = ()
    nominated_node: str = ""
    ip: str = ""

    @property
    def key(self) -> str:
        """ "namespace/name"."""
        return f"{self.namespace}/{self.name}"

    @property
    def terminal(self) -> bool:
        """It has ended for good: it holds nothing of its node any more."""
        return self.phase in ("Succeeded", "Failed")

    def condition(self, type_: str) -> Condition | None:
        """The condition of this type."""
        return next((each for each in self.conditions if each.type == type_), None)


class Claim(Struct, frozen=True, gc=False):
    """v1.PersistentVolumeClaim."""

    namespace: str
    name: str
    uid: str = ""
    version: str = ""
    created: float = 0.0
    deleted: float = 0.0
    phase: str = ""
    """Pending, Bound, Lost."""
    volume: str = ""
    """spec.volumeName."""
    storage_class: str | None = None
    """None: not said (the default class is meant, or was when it was made); empty: none is wanted."""
    access_modes: tuple[str, ...] = ()
    block: bool = False
    requested: int = 0
    """Bytes."""
    capacity: int = 0
    """status.capacity, bytes; 0: not bound."""
    selected_node: str = ""
    """Annotation volume.kubernetes.io/selected-node: the scheduler has chosen, the provisioner is to act."""
    provisioner: str = ""
    """Annotation volume.kubernetes.io/storage-provisioner."""
    conditions: tuple[Condition, ...] = ()
    resize_status: str = ""
    """status.allocatedResourceStatuses.storage ("NodeResizeInfeasible", ...)."""

    @property
    def key(self) -> str:
        """ "namespace/name"."""
        return f"{self.namespace}/{self.name}"


class Volume(Struct, frozen=True, gc=False):
    """v1.PersistentVolume."""

    name: str
    uid: str = ""
    version: str = ""
    created: float = 0.0
    deleted: float = 0.0
    phase: str = ""
    storage_class: str = ""
    access_modes: tuple[str, ...] = ()
    block: bool = False
    capacity: int = 0
    """Bytes."""
    claim: str = ""
    """spec.claimRef as "namespace/name"; empty: none."""
    claim_uid: str = ""
    source: str = ""
    """Kind of volume: "csi", "nfs", "local", "hostPath", "awsElasticBlockStore", "gcePersistentDisk", ..."""
    driver: str = ""
    """CSI driver; for an in-tree kind the driver that it is migrated to, where known."""
    handle: str = ""
    """csi.volumeHandle; else what names it outside (volumeID, pdName, diskURI, server:path, path)."""
    node_terms: tuple[NodeTerm, ...] | None = None
    """spec.nodeAffinity.required: one of them must hold. None: any node. What the volume's own zone and
    region labels ask for is in it, as the scheduler has it."""
    reclaim: str = ""
    labels: Mapping[str, str] = {}

    @property
    def shareable(self) -> bool:
        """Several nodes may have it at once."""
        return "ReadWriteMany" in self.access_modes or "ReadOnlyMany" in self.access_modes


class StorageClass(Struct, frozen=True, gc=False):
    """storage.k8s.io/v1 StorageClass."""

    name: str
    uid: str = ""
    version: str = ""
    provisioner: str = ""
    waits_for_consumer: bool = False
    """volumeBindingMode is WaitForFirstConsumer."""
    expandable: bool = False
    default: bool = False
    topologies: tuple[NodeTerm, ...] = ()
    """allowedTopologies."""
    reclaim: str = ""


class AttachError(Struct, frozen=True, gc=False):
    """status.attachError, status.detachError."""

    message: str
    at: float = 0.0


class Attachment(Struct, frozen=True, gc=False):
    """storage.k8s.io/v1 VolumeAttachment."""

    name: str
    uid: str = ""
    version: str = ""
    created: float = 0.0
    deleted: float = 0.0
    """When the detachment was asked for."""
    attacher: str = ""
    node: str = ""
    volume: str = ""
    """Name of the PersistentVolume; empty: given inline."""
    attached: bool = False
    attach_error: AttachError | None = None
    detach_error: AttachError | None = None
    finalizers: tuple[str, ...] = ()
    metadata: Mapping[str, str] = {}
    """status.attachmentMetadata (a device path, for some drivers)."""


class CsiDriverOnNode(Struct, frozen=True, gc=False):
    """An entry of a CSINode."""

    name: str
    node_id: str = ""
    limit: int | None = None
    """allocatable.count: volumes of this driver at most; None: not said."""
    topology_keys: tuple[str, ...] = ()


class CsiNode(Struct, frozen=True, gc=False):
    """storage.k8s.io/v1 CSINode: which drivers are registered on a node."""

    name: str
    uid: str = ""
    version: str = ""
    created: float = 0.0
    drivers: tuple[CsiDriverOnNode, ...] = ()

    def driver(self, name: str) -> CsiDriverOnNode | None:
        """The driver of this name."""
        return next((each for each in self.drivers if each.name == name), None)


class Event(Struct, frozen=True, gc=False):
    """v1.Event, with whichever of the old and new fields it has."""

    namespace: str
    name: str
    kind: str
    """Of the object concerned."""
    object: str
    """"namespace/name" of it, or the name where it has no namespace."""
    reason: str
    message: str
    object_uid: str = ""
    uid: str = ""
    version: str = ""
    type: str = "Warning"
    component: str = ""
    """reportingComponent or source.component."""
    host: str = ""
    """source.host: the node whose kubelet sent it."""
    first: float = 0.0
    last: float = 0.0
    """The latest of lastTimestamp, series.lastObservedTime, eventTime, firstTimestamp and the creation."""
    count: int = 1
    field: str = ""
    """involvedObject.fieldPath ("spec.containers{app}")."""

    @property
    def key(self) -> str:
        """ "namespace/name" of the event itself."""
        return f"{self.namespace}/{self.name}"


class Lease(Struct, frozen=True, gc=False):
    """coordination.k8s.io/v1 Lease."""

    namespace: str
    name: str
    uid: str = ""
    version: str = ""
    created: float = 0.0
    holder: str = ""
    renewed: float = 0.0
    duration_s: int = 0
    transitions: int = 0
    acquired: float = 0.0

    @property
    def key(self) -> str:
        """ "namespace/name"."""
        return f"{self.namespace}/{self.name}"


class Budget(Struct, frozen=True, gc=False):
    """policy/v1 PodDisruptionBudget."""

    namespace: str
    name: str
    uid: str = ""
    version: str = ""
    created: float = 0.0
    selector: Selector | None = None
    """None: selects nothing."""
    min_available: str = ""
    """Number or percentage as text; empty: not said."""
    max_unavailable: str = ""
    allowed: int = 0
    """status.disruptionsAllowed."""
    healthy: int = 0
    desired: int = 0
    expected: int = 0
    observed: bool = True
    """status.observedGeneration is the object's own: the numbers are current."""
    conditions: tuple[Condition, ...] = ()

    @property
    def key(self) -> str:
        """ "namespace/name"."""
        return f"{self.namespace}/{self.name}"


class Quota(Struct, frozen=True, gc=False):
    """v1.ResourceQuota. Amounts by their full name in the quota ("requests.cpu", "limits.memory", "pods")."""

    namespace: str
    name: str
    uid: str = ""
    version: str = ""
    created: float = 0.0
    hard: Amounts = NOTHING
    used: Amounts = NOTHING
    scoped: bool = False
    """It has scopes or a scopeSelector: it does not count every pod."""

    @property
    def key(self) -> str:
        """ "namespace/name"."""
        return f"{self.namespace}/{self.name}"


class Workload(Struct, frozen=True, gc=False):
    """apps/v1 ReplicaSet or StatefulSet."""

    kind: str
    namespace: str
    name: str
    uid: str = ""
    version: str = ""
    created: float = 0.0
    deleted: float = 0.0
    owner: Owner | None = None
    wanted: int = 1
    """spec.replicas."""
    existing: int = 0
    """status.replicas."""
    ready: int = 0
    observed: bool = True
    """status.observedGeneration is the object's own."""
    conditions: tuple[Condition, ...] = ()
    parallel: bool = False
    """podManagementPolicy is Parallel."""

    @property
    def key(self) -> str:
        """ "namespace/name"."""
        return f"{self.namespace}/{self.name}"


class Credential(Struct, frozen=True, gc=False):
    """v1.ServiceAccount, or the metadata of a v1.Secret: never what is in it."""

    kind: str
    namespace: str
    name: str
    uid: str = ""
    version: str = ""
    created: float = 0.0
    deleted: float = 0.0
    changed: float = 0.0
    """The latest of metadata.managedFields, else the creation."""
    clouds: tuple[str, ...] = ()
    """Of a ServiceAccount: clouds of which its annotations name an identity ("aws", "azure", "gcp"), sorted."""

    @property
    def key(self) -> str:
        """ "namespace/name"."""
        return f"{self.namespace}/{self.name}"


class Expiry(Struct, frozen=True, gc=False):
    """Until when something in a Secret is good."""

    kind: str
    """"login" (what is shown to a registry), "token" or "certificate"."""
    at: float
    issued: float = 0.0
    """When it was made, or from when on it is good."""
    registry: str = ""
    """Of a login: whom it is for, as images name it."""


class SecretDates(Struct, frozen=True, gc=False):
    """All that is kept of what is in a v1.Secret."""

    version: str = ""
    """resourceVersion that they are of."""
    expiries: tuple[Expiry, ...] = ()
    """The first to expire comes first."""


ApiObject = (
    NodeObject
    | Pod
    | Claim
    | Volume
    | StorageClass
    | Attachment
    | CsiNode
    | Event
    | Lease
    | Budget
    | Quota
    | Workload
    | Credential
)
