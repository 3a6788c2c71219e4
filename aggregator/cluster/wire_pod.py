"""What is read of a pod, as it is on the wire. See wire.py."""

from __future__ import annotations

from datetime import datetime

from msgspec import field

from aggregator.cluster.wire import Condition, Meta, NodeSelector, Owner, Quantities, Selector, Texts, Wire


class PodMeta(Meta):
    labels: Texts | None = None
    owner_references: list[Owner | None] | None = None


class Resources(Wire):
    requests: Quantities | None = None
    limits: Quantities | None = None


class Reference(Wire):
    """Of a Secret or ConfigMap, or of a key in it."""

    name: str | None = None
    optional: bool | None = None


class ValueFrom(Wire):
    secret_key_ref: Reference | None = None
    config_map_key_ref: Reference | None = None


class Variable(Wire):
    value_from: ValueFrom | None = None


class VariablesFrom(Wire):
    secret_ref: Reference | None = None
    config_map_ref: Reference | None = None


class Port(Wire):
    host_port: int | None = None
    protocol: str | None = None
    host_ip: str | None = field(default=None, name="hostIP")


class Container(Wire):
    name: str | None = None
    image: str | None = None
    resources: Resources | None = None
    ports: list[Port | None] | None = None
    env: list[Variable | None] | None = None
    env_from: list[VariablesFrom | None] | None = None
    restart_policy: str | None = None


class SecretVolume(Wire):
    secret_name: str | None = None
    optional: bool | None = None


class ProjectedToken(Wire):
    audience: str | None = None


class ProjectedSource(Wire):
    secret: Reference | None = None
    config_map: Reference | None = None
    service_account_token: ProjectedToken | None = None


class ProjectedVolume(Wire):
    sources: list[ProjectedSource | None] | None = None


class ClaimVolume(Wire):
    claim_name: str | None = None
    read_only: bool | None = None


class EphemeralVolume(Wire):
    pass


class Volume(Wire):
    name: str | None = None
    persistent_volume_claim: ClaimVolume | None = None
    ephemeral: EphemeralVolume | None = None
    secret: SecretVolume | None = None
    config_map: Reference | None = None
    projected: ProjectedVolume | None = None


class NodeAffinity(Wire):
    required: NodeSelector | None = field(default=None, name="requiredDuringSchedulingIgnoredDuringExecution")


class PodTerm(Wire):
    label_selector: Selector | None = None
    topology_key: str | None = None
    namespaces: list[str | None] | None = None
    namespace_selector: Selector | None = None


class PodAffinity(Wire):
    required: list[PodTerm | None] | None = field(default=None, name="requiredDuringSchedulingIgnoredDuringExecution")


class Affinity(Wire):
    node_affinity: NodeAffinity | None = None
    pod_affinity: PodAffinity | None = None
    pod_anti_affinity: PodAffinity | None = None


class Spread(Wire):
    topology_key: str | None = None
    max_skew: int | None = None
    when_unsatisfiable: str | None = None
    label_selector: Selector | None = None
    min_domains: int | None = None
    match_label_keys: list[str | None] | None = None
    node_affinity_policy: str | None = None
    node_taints_policy: str | None = None


class Toleration(Wire):
    key: str | None = None
    operator: str | None = None
    value: str | None = None
    effect: str | None = None
    toleration_seconds: int | None = None


class Named(Wire):
    name: str | None = None


class ClaimSource(Wire):
    """Where a resource claim comes from; before 1.31 it was in a field of its own."""

    resource_claim_name: str | None = None
    resource_claim_template_name: str | None = None


class ResourceClaim(ClaimSource):
    source: ClaimSource | None = None


class PodSpec(Wire):
    node_name: str | None = None
    containers: list[Container | None] | None = None
    init_containers: list[Container | None] | None = None
    volumes: list[Volume | None] | None = None
    resources: Resources | None = None
    overhead: Quantities | None = None
    node_selector: Texts | None = None
    affinity: Affinity | None = None
    topology_spread_constraints: list[Spread | None] | None = None
    tolerations: list[Toleration | None] | None = None
    host_network: bool | None = None
    service_account_name: str | None = None
    image_pull_secrets: list[Named | None] | None = None
    resource_claims: list[ResourceClaim | None] | None = None
    scheduler_name: str | None = None
    scheduling_gates: list[Named | None] | None = None
    priority: int | None = None
    restart_policy: str | None = None


class Waiting(Wire):
    reason: str | None = None
    message: str | None = None


class Running(Wire):
    started_at: datetime | None = None


class Terminated(Wire):
    reason: str | None = None
    message: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None


class ContainerState(Wire):
    waiting: Waiting | None = None
    running: Running | None = None
    terminated: Terminated | None = None


class ContainerStatus(Wire):
    name: str | None = None
    ready: bool | None = None
    restart_count: int | None = None
    state: ContainerState | None = None
    last_state: ContainerState | None = None
    resources: Resources | None = None
    allocated_resources: Quantities | None = None


class PodStatus(Wire):
    phase: str | None = None
    reason: str | None = None
    message: str | None = None
    conditions: list[Condition | None] | None = None
    container_statuses: list[ContainerStatus | None] | None = None
    init_container_statuses: list[ContainerStatus | None] | None = None
    nominated_node_name: str | None = None
    pod_ip: str | None = field(default=None, name="podIP")
    resize: str | None = None
    """Before 1.33; a condition since."""


class Pod(Wire):
    metadata: PodMeta | None = None
    spec: PodSpec | None = None
    status: PodStatus | None = None
