"""The parts of API objects that are read, as they are on the wire: whatever is not named here is skipped undecoded.

Every field may be absent or null, as Go's encoder leaves it. What pods say is in wire_pod.py, what storage objects say
in wire_storage.py.
"""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct, field

Quantities = dict[str, str | int | float | None]
Texts = dict[str, str | None]


class Wire(Struct, gc=False, rename="camel", omit_defaults=True):
    """How all of them are read."""


class Owner(Wire):
    kind: str | None = None
    name: str | None = None
    uid: str | None = None
    controller: bool | None = None


class Meta(Wire):
    """metadata of any object; labels and annotations only where a kind names them."""

    name: str | None = None
    namespace: str | None = None
    uid: str | None = None
    resource_version: str | None = None
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    generation: int | None = None


class Identity(Wire):
    """What tells whether an object must be read at all."""

    name: str | None = None
    namespace: str | None = None
    uid: str | None = None
    resource_version: str | None = None


class Peek(Wire):
    kind: str | None = None
    metadata: Identity | None = None


class Managed(Wire):
    """Who set fields of an object, and when; which fields is not read: of a secret they are names of its data."""

    time: datetime | None = None


class CredentialMeta(Meta):
    managed_fields: list[Managed | None] | None = None


class Credential(Wire):
    """The metadata of a Secret. There is no field for what is in one, nor for annotations, which may hold it too."""

    metadata: CredentialMeta | None = None


class CloudIdentities(Wire):
    """Annotations of a ServiceAccount that name whom clouds take it for."""

    aws: str | None = field(default=None, name="eks.amazonaws.com/role-arn")
    azure: str | None = field(default=None, name="azure.workload.identity/client-id")
    gcp: str | None = field(default=None, name="iam.gke.io/gcp-service-account")


class ServiceAccountMeta(CredentialMeta):
    annotations: CloudIdentities | None = None


class ServiceAccount(Wire):
    metadata: ServiceAccountMeta | None = None


class Condition(Wire):
    type: str | None = None
    status: str | None = None
    reason: str | None = None
    message: str | None = None
    last_transition_time: datetime | None = None


class Expression(Wire):
    key: str | None = None
    operator: str | None = None
    values: list[str | None] | None = None


class Selector(Wire):
    match_labels: Texts | None = None
    match_expressions: list[Expression | None] | None = None


class NodeTerm(Wire):
    match_expressions: list[Expression | None] | None = None
    match_fields: list[Expression | None] | None = None


class NodeSelector(Wire):
    node_selector_terms: list[NodeTerm | None] | None = None


# -- nodes ---------------------------------------------------------------------------------------------------------


class LabelledMeta(Meta):
    labels: Texts | None = None


class Taint(Wire):
    key: str | None = None
    value: str | None = None
    effect: str | None = None
    time_added: datetime | None = None


class Address(Wire):
    type: str | None = None
    address: str | None = None


class AttachedVolume(Wire):
    name: str | None = None
    device_path: str | None = None


class NodeInfo(Wire):
    kubelet_version: str | None = None


class NodeSpec(Wire):
    pod_cidr: str | None = field(default=None, name="podCIDR")
    pod_cidrs: list[str | None] | None = field(default=None, name="podCIDRs")
    provider_id: str | None = field(default=None, name="providerID")
    unschedulable: bool | None = None
    taints: list[Taint | None] | None = None


class NodeStatus(Wire):
    capacity: Quantities | None = None
    allocatable: Quantities | None = None
    conditions: list[Condition | None] | None = None
    addresses: list[Address | None] | None = None
    node_info: NodeInfo | None = None
    volumes_attached: list[AttachedVolume | None] | None = None
    volumes_in_use: list[str | None] | None = None


class Node(Wire):
    metadata: LabelledMeta | None = None
    spec: NodeSpec | None = None
    status: NodeStatus | None = None


# -- events, leases, and what controllers say ----------------------------------------------------------------------


class ObjectReference(Wire):
    kind: str | None = None
    namespace: str | None = None
    name: str | None = None
    uid: str | None = None
    field_path: str | None = None


class EventSource(Wire):
    component: str | None = None
    host: str | None = None


class EventSeries(Wire):
    count: int | None = None
    last_observed_time: datetime | None = None


class Event(Wire):
    """core/v1 and events.k8s.io/v1, which name the same things differently."""

    metadata: Meta | None = None
    type: str | None = None
    reason: str | None = None
    event_time: datetime | None = None
    series: EventSeries | None = None
    involved_object: ObjectReference | None = None
    regarding: ObjectReference | None = None
    message: str | None = None
    note: str | None = None
    source: EventSource | None = None
    deprecated_source: EventSource | None = None
    first_timestamp: datetime | None = None
    deprecated_first_timestamp: datetime | None = None
    last_timestamp: datetime | None = None
    deprecated_last_timestamp: datetime | None = None
    count: int | None = None
    deprecated_count: int | None = None
    reporting_component: str | None = None
    reporting_controller: str | None = None
    reporting_instance: str | None = None


class LeaseSpec(Wire):
    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: datetime | None = None
    renew_time: datetime | None = None
    lease_transitions: int | None = None


class Lease(Wire):
    metadata: Meta | None = None
    spec: LeaseSpec | None = None


class BudgetSpec(Wire):
    selector: Selector | None = None
    min_available: int | str | None = None
    max_unavailable: int | str | None = None


class BudgetStatus(Wire):
    observed_generation: int | None = None
    disruptions_allowed: int | None = None
    current_healthy: int | None = None
    desired_healthy: int | None = None
    expected_pods: int | None = None
    conditions: list[Condition | None] | None = None


class Budget(Wire):
    metadata: Meta | None = None
    spec: BudgetSpec | None = None
    status: BudgetStatus | None = None


class ScopeSelector(Wire):
    pass


class QuotaSpec(Wire):
    hard: Quantities | None = None
    scopes: list[str | None] | None = None
    scope_selector: ScopeSelector | None = None


class QuotaStatus(Wire):
    hard: Quantities | None = None
    used: Quantities | None = None


class Quota(Wire):
    metadata: Meta | None = None
    spec: QuotaSpec | None = None
    status: QuotaStatus | None = None


class OwnedMeta(Meta):
    owner_references: list[Owner | None] | None = None


class WorkloadSpec(Wire):
    replicas: int | None = None
    pod_management_policy: str | None = None


class WorkloadStatus(Wire):
    replicas: int | None = None
    ready_replicas: int | None = None
    observed_generation: int | None = None
    conditions: list[Condition | None] | None = None


class Workload(Wire):
    metadata: OwnedMeta | None = None
    spec: WorkloadSpec | None = None
    status: WorkloadStatus | None = None
