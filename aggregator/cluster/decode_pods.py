"""A pod as it is kept, from its wire form."""

from __future__ import annotations

from collections.abc import Sequence

from aggregator.cluster import wire_pod
from aggregator.cluster.decode_common import conditions, controller, present, seconds, texts
from aggregator.cluster.objects import ContainerState, ContainerStatus, Pod, PodClaim
from aggregator.cluster.pod_spec import template
from aggregator.cluster.sharing import Sharing

_NO_META = wire_pod.PodMeta()
_NO_SPEC = wire_pod.PodSpec()
_NO_STATUS = wire_pod.PodStatus()


def pod(given: wire_pod.Pod, share: Sharing) -> Pod:
    """Raises FieldError."""
    meta, spec, status = given.metadata or _NO_META, given.spec or _NO_SPEC, given.status or _NO_STATUS
    text = share.text
    shared = template(given, share)
    name = meta.name or ""
    return Pod(
        namespace=text(meta.namespace),
        name=name,
        spec=shared.spec,
        uid=meta.uid or "",
        version=meta.resource_version or "",
        created=seconds(meta.creation_timestamp),
        deleted=seconds(meta.deletion_timestamp),
        owner=controller(meta.owner_references, share),
        labels=share.mapping(meta.labels),
        node=text(spec.node_name),
        pinned_node=shared.pinned_node,
        claims=_claims(name, spec.volumes, share) if spec.volumes else (),
        gates=texts((each.name for each in present(spec.scheduling_gates)), share) if spec.scheduling_gates else (),
        phase=text(status.phase),
        reason=text(status.reason),
        message=text(status.message),
        conditions=conditions(status.conditions, share),
        containers=(
            *_statuses(status.init_container_statuses, share, init=True),
            *_statuses(status.container_statuses, share),
        ),
        nominated_node=text(status.nominated_node_name),
        ip=status.pod_ip or "",
    )


def _claims(pod_name: str, volumes: Sequence[wire_pod.Volume | None], share: Sharing) -> tuple[PodClaim, ...]:
    found = []
    for volume in volumes:
        if volume is None or not volume.name:
            continue
        claim = volume.persistent_volume_claim
        if claim is not None and claim.claim_name:
            found.append(PodClaim(share.text(volume.name), claim.claim_name, bool(claim.read_only)))
        elif volume.ephemeral is not None:
            found.append(PodClaim(share.text(volume.name), f"{pod_name}-{volume.name}", ephemeral=True))
    return tuple(found)


def _statuses(
    given: Sequence[wire_pod.ContainerStatus | None] | None, share: Sharing, *, init: bool = False
) -> tuple[ContainerStatus, ...]:
    if not given:
        return ()
    return tuple(
        ContainerStatus(
            share.text(each.name),
            init,
            bool(each.ready),
            each.restart_count or 0,
            _state(each.state, share),
            _state(each.last_state, share),
        )
        for each in given
        if each is not None and each.name
    )


def _state(given: wire_pod.ContainerState | None, share: Sharing) -> ContainerState | None:
    if given is None:
        return None
    text = share.text
    if (ended := given.terminated) is not None:
        return ContainerState(
            "terminated",
            text(ended.reason),
            text(ended.message),
            ended.exit_code or 0,
            ended.signal or 0,
            seconds(ended.started_at),
            seconds(ended.finished_at),
        )
    if (running := given.running) is not None:
        return ContainerState("running", started=seconds(running.started_at))
    if (waiting := given.waiting) is not None:
        return ContainerState("waiting", text(waiting.reason), text(waiting.message))
    return None
