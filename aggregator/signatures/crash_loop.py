"""Incident 1, crash_loop: why containers do not start, or end again and again, and whether it is a matter of identity.

A pure function of the joined view. Few pods are in trouble at a time; only those are looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from aggregator.cluster.objects import ContainerStatus, Pod
from aggregator.cluster.state import ClusterState
from aggregator.model import Evidence, RuledOut, Severity, Verdict
from aggregator.signatures.case import Case, api_evidence, gather
from aggregator.signatures.crash import identity
from aggregator.signatures.crash.cadence import loop_of
from aggregator.signatures.crash.codes import CODES
from aggregator.signatures.crash.decide import (
    APP_ERROR,
    DEPENDENCY,
    IDENTITY,
    REGISTRY,
    UNPACKING,
    Cause,
    cause_of_end,
    cause_of_waiting,
)
from aggregator.signatures.crash.identity import Proof, Suspect
from aggregator.signatures.crash.troubled import is_waiting, troubled
from aggregator.signatures.crash.ways import Way, Ways, is_refusal
from aggregator.signatures.thresholds import Thresholds
from aggregator.view import ClusterView

_IMAGE = "image."


def evaluate(view: ClusterView, thresholds: Thresholds) -> Verdict:
    """Findings about containers that do not start or do not stay: one for each cause."""
    verdict = Verdict()
    if not view.objects.knows("pods"):
        return verdict
    waiting, suspects = _look(view, thresholds)
    fine = {suspect.workload: _fine(view.objects, suspect) for suspect in suspects}
    proofs = identity.proofs(suspects, view.hosts, fine, thresholds)
    cases = [*waiting, *(_loop_case(view, each, proofs) for each in suspects)]
    verdict.findings = gather(view.cluster, cases, CODES)
    return verdict


def _look(view: ClusterView, thresholds: Thresholds) -> tuple[list[Case], list[Suspect]]:
    waiting: list[Case] = []
    suspects: list[Suspect] = []
    ways = Ways(view, thresholds)
    for pod in troubled(view.objects).values():
        if pod.deleted:
            continue  # it is being taken away: nobody waits for it to run
        events = view.objects.events_of("Pod", pod.key)
        workload = root_of(view.objects, pod)
        for container in pod.containers:
            cause = cause_of_waiting(container, events) if is_waiting(container) else None
            if cause is not None:
                if view.now - pod.created >= thresholds.image_wait_min_s:
                    waiting.append(_waiting_case(view, pod, container, cause, ways))
                continue
            loop = loop_of(container, view.now, thresholds)
            if loop is not None:
                cause = cause_of_end(loop, pod, events, view.hosts.get(pod.node))
                way = ways.of(pod.node, loop.end.message, pod.namespace, pod_uid=pod.uid)
                cause = _by_way(cause, way, loop.end.message)
                suspects.append(Suspect(pod, loop, cause, _began(view, pod) or loop.end.started, workload, way))
    return waiting, suspects


def _by_way(cause: Cause, way: Way | None, message: str) -> Cause:
    """Who got no answer over a path that loses large packets was refused by nobody, whatever it was about to ask."""
    if way is None or not way.evidence or cause.code not in (IDENTITY, APP_ERROR) or is_refusal(message):
        return cause
    return replace(cause, code=DEPENDENCY)


def root_of(state: ClusterState, pod: Pod) -> str:
    """ "Kind/namespace/name" of the workload that the pod is of: a ReplicaSet's owner stands for the ReplicaSet."""
    owner = pod.owner
    if owner is None:
        return f"Pod/{pod.key}"
    if owner.kind == "ReplicaSet":
        replica_set = state.replica_sets.get(f"{pod.namespace}/{owner.name}")
        if replica_set is not None and replica_set.owner is not None:
            owner = replica_set.owner
    return f"{owner.kind}/{pod.namespace}/{owner.name}"


def _began(view: ClusterView, pod: Pod) -> float:
    """When it began to fail: at its first failure that is still remembered, else when it was last ready; 0.0: nothing
    tells."""
    events = view.objects.events_of("Pod", pod.key)
    first = [each.first for each in events if each.reason in ("BackOff", "Failed") and each.first]
    ready = pod.condition("ContainersReady")
    return min(first, default=0.0) or (ready.since if ready is not None else 0.0)


def _fine(state: ClusterState, suspect: Suspect) -> frozenset[str]:
    """Nodes where other pods of the same controller are ready."""
    owner = suspect.pod.owner
    if owner is None:
        return frozenset()
    ready = (
        pod for pod in state.pods_of(owner).values() if (found := pod.condition("Ready")) and found.status == "True"
    )
    return frozenset(pod.node for pod in ready)


def _waiting_case(view: ClusterView, pod: Pod, container: ContainerStatus, cause: Cause, ways: Ways) -> Case:
    way = None
    if cause.code.startswith(_IMAGE):
        image = next((each.image for each in pod.spec.containers if each.name == container.name), "")
        about: tuple[str, ...] = (image,)
        if cause.code == REGISTRY:
            way = ways.of(pod.node, f"{cause.statement} {cause.phrase}", pod.namespace, host=_registry_of(image))
    else:
        about = (root_of(view.objects, pod), cause.phrase)
    return Case(
        cause.code,
        about,
        f"{_name(pod, container)} {cause.statement}{_over(way)}",
        _objects(view.objects, pod, way),
        _evidence(view, pod, container, cause, way),
        nodes=(pod.node,) if cause.code == UNPACKING and pod.node else (),
        weight=view.now - pod.created,
        since=_began(view, pod),
    )


def _registry_of(image: str) -> str:
    """The host that an image comes from; empty: the runtime's default."""
    host, slash, _ = image.partition("/")
    return host.partition(":")[0] if slash and ("." in host or ":" in host or host == "localhost") else ""


def _loop_case(view: ClusterView, suspect: Suspect, proofs: Mapping[tuple[str, str], list[Proof]]) -> Case:
    pod, container, cause = suspect.pod, suspect.loop.container, suspect.cause
    found = proofs.get((pod.key, container.name), [])
    way = suspect.way if cause.code == DEPENDENCY else None
    told = _evidence(view, pod, container, cause, way)
    restarts = f"{_name(pod, container)} has been started {container.restarts + 1} times and {cause.statement}"
    if not found:
        return Case(
            cause.code,
            (suspect.workload, container.name),
            restarts + _over(way),
            _objects(view.objects, pod, way),
            told,
            weight=view.now - suspect.began,
            ruled_out=(RuledOut(IDENTITY, f"{way.statement}: it got no answer, and no refusal"),)
            if way is not None and way.statement
            else (),
            since=suspect.began,
        )
    shared = next((proof.shared for proof in found if proof.shared), "")
    kinds = {proof.kind for proof in found}
    at_node = (pod.node,) if "clock" in kinds else ()
    told += tuple(api_evidence("pods", pod.key, f"identity.{proof.kind}", proof.text, at=view.now) for proof in found)
    return Case(
        IDENTITY,
        (shared or suspect.workload, *at_node),
        f"{restarts}; {'; '.join(proof.text for proof in found)}",
        _objects(view.objects, pod),
        told,
        nodes=at_node,
        severity=Severity.CRITICAL if len(kinds) > 1 else Severity.WARNING,
        weight=view.now - suspect.began,
        since=suspect.began,
    )


def _name(pod: Pod, container: ContainerStatus) -> str:
    kind = "init container" if container.init else "container"
    return f"{kind} {container.name} of {pod.key}"


def _over(way: Way | None) -> str:
    return f"; {way.statement}" if way is not None and way.statement else ""


def _objects(state: ClusterState, pod: Pod, way: Way | None = None) -> tuple[str, ...]:
    return f"Pod/{pod.key}", root_of(state, pod), *(way.objects if way is not None else ())


def _evidence(
    view: ClusterView, pod: Pod, container: ContainerStatus, cause: Cause, way: Way | None = None
) -> tuple[Evidence, ...]:
    told = [api_evidence("pods", pod.key, "container.restarts", container.restarts, at=view.now, node=pod.node)]
    end = container.last if container.last is not None else container.state
    if end is not None and end.kind == "terminated":
        told.append(api_evidence("pods", pod.key, "container.exit_code", end.exit_code, at=view.now, node=pod.node))
    if cause.phrase:
        source = "events" if cause.said_by == "event" else "pods"
        told.append(api_evidence(source, pod.key, "message", cause.phrase, at=view.now, node=pod.node))
    return (*told, *(way.evidence if way is not None else ()))
