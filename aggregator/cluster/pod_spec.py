"""One PodSpec for all pods of a template: what makes them differ is left out, then equal ones are the same object.

The key of a template is its wire form without what is the pod's own, encoded anew: for all pods but the first of a
template that is all that is done. Pods of a DaemonSet differ by the one node that they may run on (matchFields), pods
of a StatefulSet by the names of their claims, and all by the name of the volume with their token.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from msgspec import structs
from msgspec.msgpack import Encoder

from aggregator.cluster import wire, wire_pod
from aggregator.cluster.decode_common import amounts, node_terms, present, selector, texts
from aggregator.cluster.objects import (
    NOTHING,
    Amounts,
    Container,
    HostPort,
    PodSpec,
    PodTerm,
    Requirement,
    Selector,
    Spread,
    Toleration,
)
from aggregator.cluster.sharing import Sharing

_ENCODER = Encoder(order="deterministic")
"""A mapping in another order is the same template."""
_NO_SPEC = wire_pod.PodSpec()
_POD_LEVEL = ("cpu", "memory")
"""Resources that may be asked for at the level of the pod; huge pages too."""


def _encoded(parts: tuple[object, ...]) -> bytes:
    """The same bytes for the same parts."""
    try:
        return _ENCODER.encode(parts)
    except OverflowError:  # a number that no field of the API holds, and JSON does
        return repr(parts).encode("utf-8", "replace")


class Template(NamedTuple):
    """What of a pod belongs to its template."""

    spec: PodSpec
    pinned_node: str


def template(pod: wire_pod.Pod, share: Sharing) -> Template:
    """The shared PodSpec of a pod, and the node that it is pinned to. Raises FieldError."""
    spec = pod.spec or _NO_SPEC
    pinned, affinity = _pinned(spec.affinity)
    sources = [
        (volume.secret, volume.config_map, volume.projected)
        for volume in spec.volumes or ()
        if volume is not None and (volume.secret or volume.config_map or volume.projected)
    ]
    resized = _resized(pod, share)
    spread = _spread_keys(spec, pod)
    key = hashlib.blake2b(
        _encoded(
            (
                spec.containers,
                spec.init_containers,
                sources,
                resized,
                spec.resources,
                spec.overhead,
                spec.node_selector,
                affinity,
                spec.topology_spread_constraints,
                spread,
                spec.tolerations,
                spec.host_network,
                spec.service_account_name,
                spec.image_pull_secrets,
                spec.resource_claims,
                spec.scheduler_name,
                spec.priority,
                spec.restart_policy,
            )
        ),
        digest_size=16,
    ).digest()
    found = share.templates.get(key)
    if found is None:
        found = share.templates.add(key, _built(spec, affinity, resized, spread, share))
    return Template(found, share.text(pinned))


def _built(
    spec: wire_pod.PodSpec,
    affinity: wire_pod.Affinity | None,
    resized: Mapping[str, Amounts],
    spread: Mapping[str, str],
    share: Sharing,
) -> PodSpec:
    init = _containers(spec.init_containers, "initContainers", share)
    main = _containers(spec.containers, "containers", share)
    overhead = amounts(spec.overhead, ("spec", "overhead"), share)
    pod_level = amounts(spec.resources.requests if spec.resources else None, ("spec", "resources", "requests"), share)
    affinity = affinity or wire_pod.Affinity()
    return PodSpec(
        containers=init + main,
        requests=share.amounts(scheduled_requests(init + main, overhead, pod_level, resized)),
        overhead=overhead,
        node_selector=share.mapping(spec.node_selector),
        node_terms=node_terms(affinity.node_affinity.required if affinity.node_affinity else None, share),
        pod_affinity=_pod_terms(affinity.pod_affinity, share),
        pod_anti_affinity=_pod_terms(affinity.pod_anti_affinity, share),
        spread=tuple(
            _spread(each, spread, share)
            for each in present(spec.topology_spread_constraints)
            if each.when_unsatisfiable in (None, "DoNotSchedule")
        ),
        tolerations=tuple(
            Toleration(
                share.text(each.key),
                share.text(each.operator) or "Equal",
                share.text(each.value),
                share.text(each.effect),
                each.toleration_seconds,
            )
            for each in present(spec.tolerations)
        ),
        host_ports=_host_ports(spec, share),
        host_network=bool(spec.host_network),
        service_account=share.text(spec.service_account_name),
        pull_secrets=texts((each.name for each in present(spec.image_pull_secrets)), share),
        references=_references(spec, share),
        token_audiences=_token_audiences(spec, share),
        resource_claims=texts((_resource_claim(each) for each in present(spec.resource_claims)), share),
        scheduler=share.text(spec.scheduler_name) or "default-scheduler",
        priority=spec.priority or 0,
        restart_policy=share.text(spec.restart_policy) or "Always",
    )


# -- what the scheduler counts -------------------------------------------------------------------------------------


def scheduled_requests(
    containers: Sequence[Container],
    overhead: Amounts = NOTHING,
    pod_level: Amounts = NOTHING,
    resized: Mapping[str, Amounts] = {},
) -> dict[str, int]:
    """Requests of a pod as the scheduler adds them up (component-helpers/resource, PodRequests).

    `containers` has the init containers first, in their order. `resized`: what a container that is resized in place
    counts for instead of its spec, by its name.
    """
    total: dict[str, int] = {}
    sidecars: dict[str, int] = {}
    start: dict[str, int] = {}
    for container in containers:
        requests = resized.get(container.name, container.requests)
        if not container.init:
            _add(total, requests)
        elif container.restartable:
            _add(total, requests)
            _add(sidecars, requests)
            _raise_to(start, sidecars)
        else:
            at_once = dict(requests)
            _add(at_once, sidecars)
            _raise_to(start, at_once)
    _raise_to(total, start)
    total.update(
        (name, amount) for name, amount in pod_level.items() if name in _POD_LEVEL or name.startswith("hugepages-")
    )
    _add(total, overhead)
    return total


def _add(total: dict[str, int], amounts: Mapping[str, int]) -> None:
    for name, amount in amounts.items():
        total[name] = total.get(name, 0) + amount


def _raise_to(total: dict[str, int], amounts: Mapping[str, int]) -> None:
    for name, amount in amounts.items():
        if amount > total.get(name, 0):
            total[name] = amount


def _resized(pod: wire_pod.Pod, share: Sharing) -> dict[str, Amounts]:
    """Requests by container that count instead of those of the spec, while a pod is resized in place (1.33 and later):
    the largest of what is wanted, what is allocated and what is in force; without what is wanted if that cannot be."""
    status = pod.status
    if status is None or pod.spec is None or not status.container_statuses:
        return {}
    wanted = {
        each.name: each.resources.requests if each.resources else None
        for each in (*present(pod.spec.containers), *present(pod.spec.init_containers))
    }
    found: dict[str, Amounts] = {}
    for field, statuses in (
        ("containerStatuses", status.container_statuses),
        ("initContainerStatuses", status.init_container_statuses),
    ):
        for number, each in enumerate(statuses or ()):
            in_force = each.resources.requests if each and each.resources else None
            if each is None or not each.name or not in_force or in_force == wanted.get(each.name):
                continue
            path = ("status", field, number)
            counted = dict(amounts(in_force, (*path, "resources", "requests"), share))
            _raise_to(counted, amounts(each.allocated_resources, (*path, "allocatedResources"), share))
            if not _resize_is_infeasible(status):
                _raise_to(counted, amounts(wanted.get(each.name), ("spec",), share))
            found[each.name] = counted
    return found


def _resize_is_infeasible(status: wire_pod.PodStatus) -> bool:
    return status.resize == "Infeasible" or any(
        each.type == "PodResizePending" and each.reason == "Infeasible" for each in present(status.conditions)
    )


# -- parts ---------------------------------------------------------------------------------------------------------


def _containers(given: Sequence[wire_pod.Container | None] | None, field: str, share: Sharing) -> tuple[Container, ...]:
    init = field == "initContainers"
    found = []
    for number, each in enumerate(given or ()):
        if each is not None:
            resources = each.resources or wire_pod.Resources()
            path = ("spec", field, number, "resources")
            requests = amounts(resources.requests, (*path, "requests"), share)
            limits = amounts(resources.limits, (*path, "limits"), share)
            restartable = init and each.restart_policy == "Always"
            found.append(Container(share.text(each.name), share.text(each.image), requests, limits, init, restartable))
    return tuple(found)


def _pinned(affinity: wire_pod.Affinity | None) -> tuple[str, wire_pod.Affinity | None]:
    """The one node that every term allows by name, and the affinity without those requirements."""
    required = affinity.node_affinity.required if affinity and affinity.node_affinity else None
    terms = list(present(required.node_selector_terms)) if required else []
    names = {_named_node(term) for term in terms}
    if affinity is None or len(names) != 1 or None in names:
        return "", affinity
    kept = [term for term in terms if term.match_expressions]
    rest = wire_pod.NodeAffinity(
        # A term that asks for nothing else would match nothing without its name: then nothing else is asked for.
        wire.NodeSelector([wire.NodeTerm(term.match_expressions) for term in kept]) if len(kept) == len(terms) else None
    )
    return names.pop() or "", structs.replace(affinity, node_affinity=rest)


def _named_node(term: wire.NodeTerm) -> str | None:
    fields = list(present(term.match_fields))
    if len(fields) == 1 and fields[0].key == "metadata.name" and fields[0].operator == "In":
        values = list(present(fields[0].values))
        return values[0] if len(values) == 1 else None
    return None


def _pod_terms(given: wire_pod.PodAffinity | None, share: Sharing) -> tuple[PodTerm, ...]:
    return tuple(
        PodTerm(
            selector(each.label_selector, share),
            share.text(each.topology_key),
            texts(each.namespaces, share),
            selector(each.namespace_selector, share),
        )
        for each in present(given.required if given else None)
    )


def _spread_keys(spec: wire_pod.PodSpec, pod: wire_pod.Pod) -> dict[str, str]:
    """The pod's values of the labels that its spread constraints name by matchLabelKeys."""
    keys = [key for each in present(spec.topology_spread_constraints) for key in present(each.match_label_keys)]
    labels = (pod.metadata.labels if pod.metadata else None) or {}
    return {key: value for key in keys if (value := labels.get(key)) is not None}


def _spread(given: wire_pod.Spread, labels: Mapping[str, str], share: Sharing) -> Spread:
    chosen = selector(given.label_selector, share)
    if chosen is not None:
        said = {each.key for each in chosen.requirements}  # recent API servers merge the keys themselves
        own = tuple(
            Requirement(share.text(key), "In", (share.text(labels[key]),))
            for key in present(given.match_label_keys)
            if key in labels and key not in said
        )
        chosen = Selector(chosen.requirements + own)
    return Spread(
        share.text(given.topology_key),
        given.max_skew if given.max_skew is not None else 1,
        chosen,
        given.min_domains or 0,
        given.node_affinity_policy != "Ignore",
        given.node_taints_policy == "Honor",
    )


def _host_ports(spec: wire_pod.PodSpec, share: Sharing) -> tuple[HostPort, ...]:
    lasting = (each for each in present(spec.init_containers) if each.restart_policy == "Always")
    return tuple(
        HostPort(port.host_port, share.text(port.protocol) or "TCP", share.text(port.host_ip) or "0.0.0.0")
        for container in (*present(spec.containers), *lasting)
        for port in present(container.ports)
        if port.host_port
    )


def _resource_claim(given: wire_pod.ResourceClaim) -> str | None:
    for each in (given, given.source):
        if each is not None and (each.resource_claim_name or each.resource_claim_template_name):
            return each.resource_claim_name or each.resource_claim_template_name
    return None


def _references(spec: wire_pod.PodSpec, share: Sharing) -> tuple[str, ...]:
    """Secrets and ConfigMaps that must be there, of containers and volumes."""
    secrets: list[wire_pod.Reference | None] = []
    maps: list[wire_pod.Reference | None] = []
    for container in (*present(spec.init_containers), *present(spec.containers)):
        for variable in present(container.env):
            if variable.value_from is not None:
                secrets.append(variable.value_from.secret_key_ref)
                maps.append(variable.value_from.config_map_key_ref)
        for source in present(container.env_from):
            secrets.append(source.secret_ref)
            maps.append(source.config_map_ref)
    names = set()
    for volume in present(spec.volumes):
        maps.append(volume.config_map)
        if volume.secret is not None and volume.secret.secret_name and not volume.secret.optional:
            names.add(f"Secret/{volume.secret.secret_name}")
        for part in present(volume.projected.sources if volume.projected else None):
            secrets.append(part.secret)
            maps.append(part.config_map)
    for kind, references in (("Secret", secrets), ("ConfigMap", maps)):
        names.update(f"{kind}/{each.name}" for each in present(references) if each.name and not each.optional)
    return texts(sorted(names), share)


def _token_audiences(spec: wire_pod.PodSpec, share: Sharing) -> tuple[str, ...]:
    tokens = (
        part.service_account_token
        for volume in present(spec.volumes)
        for part in present(volume.projected.sources if volume.projected else None)
    )
    return texts(sorted({each.audience for each in present(tokens) if each.audience}), share)
