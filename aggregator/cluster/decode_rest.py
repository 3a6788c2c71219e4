"""Nodes, events, leases, budgets, quotas and workloads as they are kept, from their wire forms."""

from __future__ import annotations

from aggregator.cluster import wire
from aggregator.cluster.decode_common import amounts, conditions, controller, present, seconds, selector, texts
from aggregator.cluster.objects import Budget, Credential, Event, Lease, NodeObject, Quota, Taint, Workload
from aggregator.cluster.sharing import Sharing

_NO_META = wire.Meta()


def node(given: wire.Node, share: Sharing) -> NodeObject:
    """Raises FieldError."""
    meta = given.metadata or wire.LabelledMeta()
    spec, status = given.spec or wire.NodeSpec(), given.status or wire.NodeStatus()
    text = share.text
    addresses: dict[str, str] = {}
    for address in present(status.addresses):
        if address.type and address.address:
            addresses.setdefault(text(address.type), address.address)  # of two stacks the first is the primary one
    taints = (
        Taint(text(each.key), text(each.value), text(each.effect), seconds(each.time_added))
        for each in present(spec.taints)
        if each.key
    )
    return NodeObject(
        name=text(meta.name),
        labels=share.mapping(meta.labels),
        taints=tuple(sorted(taints, key=str)),
        addresses=addresses,
        pod_cidrs=texts(spec.pod_cidrs or [spec.pod_cidr], share),
        uid=meta.uid or "",
        version=meta.resource_version or "",
        created=seconds(meta.creation_timestamp),
        deleted=seconds(meta.deletion_timestamp),
        unschedulable=bool(spec.unschedulable),
        provider_id=spec.provider_id or "",
        capacity=amounts(status.capacity, ("status", "capacity"), share),
        allocatable=amounts(status.allocatable, ("status", "allocatable"), share),
        conditions=conditions(status.conditions, share),
        volumes_attached=tuple(
            (each.name, each.device_path or "") for each in present(status.volumes_attached) if each.name
        ),
        volumes_in_use=tuple(each for each in status.volumes_in_use or () if each),
        kubelet_version=text(status.node_info.kubelet_version if status.node_info else None),
    )


def event(given: wire.Event, share: Sharing) -> Event:
    """Never fails."""
    meta = given.metadata or _NO_META
    about = given.involved_object or given.regarding or wire.ObjectReference()
    source = given.source or given.deprecated_source or wire.EventSource()
    series = given.series or wire.EventSeries()
    text = share.text
    component = given.reporting_component or given.reporting_controller or source.component
    created, once = seconds(meta.creation_timestamp), seconds(given.event_time)
    first = seconds(given.first_timestamp or given.deprecated_first_timestamp)
    last = seconds(given.last_timestamp or given.deprecated_last_timestamp)
    host = source.host or (given.reporting_instance if component == "kubelet" else None)
    return Event(
        namespace=text(meta.namespace),
        name=meta.name or "",
        kind=text(about.kind),
        object=text(f"{about.namespace}/{about.name}" if about.namespace else about.name),
        reason=text(given.reason),
        message=text(given.message or given.note),
        object_uid=text(about.uid),
        uid=meta.uid or "",
        version=meta.resource_version or "",
        type=text(given.type) or "Warning",
        component=text(component),
        host=text(host),
        first=first or once or created,
        last=max(last, seconds(series.last_observed_time), once, first, created),
        count=max(given.count or given.deprecated_count or 1, series.count or 1),
        field=text(about.field_path),
    )


def lease(given: wire.Lease, share: Sharing) -> Lease:
    """Never fails."""
    meta, spec = given.metadata or _NO_META, given.spec or wire.LeaseSpec()
    return Lease(
        namespace=share.text(meta.namespace),
        name=share.text(meta.name),
        uid=meta.uid or "",
        version=meta.resource_version or "",
        created=seconds(meta.creation_timestamp),
        holder=share.text(spec.holder_identity),
        renewed=seconds(spec.renew_time),
        duration_s=spec.lease_duration_seconds or 0,
        transitions=spec.lease_transitions or 0,
        acquired=seconds(spec.acquire_time),
    )


def budget(given: wire.Budget, share: Sharing) -> Budget:
    """Never fails."""
    meta = given.metadata or _NO_META
    spec, status = given.spec or wire.BudgetSpec(), given.status or wire.BudgetStatus()
    return Budget(
        namespace=share.text(meta.namespace),
        name=meta.name or "",
        uid=meta.uid or "",
        version=meta.resource_version or "",
        created=seconds(meta.creation_timestamp),
        selector=selector(spec.selector, share),
        min_available=_number_or_share(spec.min_available),
        max_unavailable=_number_or_share(spec.max_unavailable),
        allowed=status.disruptions_allowed or 0,
        healthy=status.current_healthy or 0,
        desired=status.desired_healthy or 0,
        expected=status.expected_pods or 0,
        observed=_is_observed(meta, status.observed_generation),
        conditions=conditions(status.conditions, share),
    )


def _number_or_share(given: int | str | None) -> str:
    return "" if given is None else str(given)


def _is_observed(meta: wire.Meta, observed: int | None) -> bool:
    return meta.generation is None or (observed or 0) >= meta.generation


def quota(given: wire.Quota, share: Sharing) -> Quota:
    """Raises FieldError."""
    meta = given.metadata or _NO_META
    spec, status = given.spec or wire.QuotaSpec(), given.status or wire.QuotaStatus()
    return Quota(
        namespace=share.text(meta.namespace),
        name=meta.name or "",
        uid=meta.uid or "",
        version=meta.resource_version or "",
        created=seconds(meta.creation_timestamp),
        hard=amounts(status.hard or spec.hard, ("status", "hard"), share),
        used=amounts(status.used, ("status", "used"), share),
        scoped=bool(spec.scopes) or spec.scope_selector is not None,
    )


def replica_set(given: wire.Workload, share: Sharing) -> Workload:
    """Never fails."""
    return _workload("ReplicaSet", given, share)


def stateful_set(given: wire.Workload, share: Sharing) -> Workload:
    """Never fails."""
    return _workload("StatefulSet", given, share)


def _workload(kind: str, given: wire.Workload, share: Sharing) -> Workload:
    meta = given.metadata or wire.OwnedMeta()
    spec, status = given.spec or wire.WorkloadSpec(), given.status or wire.WorkloadStatus()
    return Workload(
        kind=kind,
        namespace=share.text(meta.namespace),
        name=share.text(meta.name),
        uid=share.text(meta.uid),
        version=meta.resource_version or "",
        created=seconds(meta.creation_timestamp),
        deleted=seconds(meta.deletion_timestamp),
        owner=controller(meta.owner_references, share),
        wanted=spec.replicas if spec.replicas is not None else 1,
        existing=status.replicas or 0,
        ready=status.ready_replicas or 0,
        observed=_is_observed(meta, status.observed_generation),
        conditions=conditions(status.conditions, share),
        parallel=spec.pod_management_policy == "Parallel",
    )


def service_account(given: wire.ServiceAccount, share: Sharing) -> Credential:
    """Never fails."""
    meta = given.metadata or wire.ServiceAccountMeta()
    named = meta.annotations or wire.CloudIdentities()
    clouds = (("aws", named.aws), ("azure", named.azure), ("gcp", named.gcp))
    return _credential("ServiceAccount", meta, share, tuple(cloud for cloud, identity in clouds if identity))


def secret(given: wire.Credential, share: Sharing) -> Credential:
    """Never fails."""
    return _credential("Secret", given.metadata or wire.CredentialMeta(), share)


def _credential(kind: str, meta: wire.CredentialMeta, share: Sharing, clouds: tuple[str, ...] = ()) -> Credential:
    created = seconds(meta.creation_timestamp)
    return Credential(
        kind=kind,
        namespace=share.text(meta.namespace),
        name=share.text(meta.name),
        uid=meta.uid or "",
        version=meta.resource_version or "",
        created=created,
        deleted=seconds(meta.deletion_timestamp),
        changed=max((seconds(each.time) for each in present(meta.managed_fields)), default=0.0) or created,
        clouds=clouds,
    )
