"""Incident 1, crash_loop: why containers do not start, or end again and again, and whether it is a matter of identity.

A pure function of the joined view. Few pods are in trouble at a time; only those are looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from aggregator.cluster.objects import ContainerStatus, Event, Pod
from aggregator.model import Evidence, RuledOut, Severity, Verdict
from aggregator.signatures.case import Case, api_evidence, gather
from aggregator.signatures.crash import expiring, identity, pulls
from aggregator.signatures.crash.cadence import Loop, is_done, loop_of
from aggregator.signatures.crash.cause import APP_ERROR, DEPENDENCY, IDENTITY, REGISTRY, UNAUTHORIZED, UNPACKING, Cause
from aggregator.signatures.crash.changed import Changed, changed_before
from aggregator.signatures.crash.clouds import hint
from aggregator.signatures.crash.codes import CODES
from aggregator.signatures.crash.decide import cause_of_end
from aggregator.signatures.crash.ending import end_of
from aggregator.signatures.crash.identity import Fine, Proof, Suspect
from aggregator.signatures.crash.jobs import loops_of_jobs
from aggregator.signatures.crash.kernel import kernel_evidence
from aggregator.signatures.crash.logged import logged_of
from aggregator.signatures.crash.lookalikes import ruled_out, ruled_out_of_start
from aggregator.signatures.crash.peers import hosts_in
from aggregator.signatures.crash.telling import evidence_of, name_of, objects_of, over, root_of
from aggregator.signatures.crash.troubled import Troubled, is_waiting, troubled
from aggregator.signatures.crash.waiting import cause_of_mounts, cause_of_waiting
from aggregator.signatures.crash.ways import Way, Ways, is_refusal
from aggregator.signatures.thresholds import Thresholds
from aggregator.view import ClusterView
from aggregator.wording import span

_IMAGE = "image."


def evaluate(view: ClusterView, thresholds: Thresholds) -> Verdict:
    """Findings about containers that do not start or do not stay: one for each cause."""
    verdict = Verdict()
    if not view.objects.knows("pods"):
        return verdict
    known = troubled(view.objects)
    look = _Look(view, thresholds, known)
    for pod in known.pods.values():
        look.at(pod)
    for key in [key for key in known.unmounted if key in view.objects.starting]:
        look.at_mounts(view.objects.starting[key])
    for pod, loop in loops_of_jobs(known, view.objects, view.now, thresholds):
        look.at_loop(pod, loop, view.objects.events_of("Pod", pod.key))
    proofs = identity.proofs(look.suspects, view.hosts, thresholds)
    cases = [*look.waiting, *(_loop_case(view, each, proofs) for each in look.suspects)]
    warned = expiring.warnings(view, thresholds, known)
    verdict.findings = gather(view.cluster, [*_spread(cases), *warned], CODES)
    return verdict


class _Look:
    """What one evaluation sees of the pods that are in trouble."""

    def __init__(self, view: ClusterView, thresholds: Thresholds, known: Troubled) -> None:
        self.view, self.limits, self.known = view, thresholds, known
        self.ways = Ways(view, thresholds)
        self.waiting: list[Case] = []
        self.suspects: list[Suspect] = []
        self._fine: dict[str, Fine] = {}
        """By UID of the controller: many pods of one may crash."""

    def at(self, pod: Pod) -> None:
        """All containers of a pod. One that is being taken away is waited for by nobody, and what is said of one on a
        node that nobody hears is of the past."""
        node = self.view.objects.nodes.get(pod.node)
        if pod.deleted or (node is not None and node.ready == "Unknown"):
            return
        events = self.view.objects.events_of("Pod", pod.key)
        for container in pod.containers:
            cause = cause_of_waiting(container, events) if is_waiting(container) else None
            if cause is not None:
                if self.view.now - _bound(pod) >= self.limits.image_wait_min_s:
                    self.waiting.append(self._waiting_case(pod, container, cause, events))
                continue
            loop = loop_of(container, pod, self.view.now, self.limits, self._booted(pod))
            if loop is not None:
                self.at_loop(pod, loop, events)

    def at_mounts(self, pod: Pod) -> None:
        """A pod whose containers wait for a volume that is made of what is not there."""
        if pod.deleted or self.view.now - _bound(pod) < self.limits.image_wait_min_s:
            return
        events = self.view.objects.events_of("Pod", pod.key)
        cause = cause_of_mounts(pod, events, self.view.now)
        waits = (each for each in pod.containers if not is_done(each, pod))
        container = next(waits, ContainerStatus(pod.spec.containers[0].name if pod.spec.containers else ""))
        if cause is not None and not is_waiting(container):
            self.waiting.append(self._waiting_case(pod, container, cause, events))

    def at_loop(self, pod: Pod, loop: Loop, events: Sequence[Event]) -> None:
        """A container that ends again and again."""
        view, limits = self.view, self.limits
        seen = end_of(loop, pod, events, view.hosts.get(pod.node), view.objects.events_of("Node", pod.node))
        way = self.ways.of(pod.node, loop.end.message, pod.namespace, pod_uid=pod.uid)
        cause = _by_way(cause_of_end(seen), way, loop.end.message)
        began = _began(pod, events) or loop.end.started
        self.suspects.append(
            Suspect(
                pod,
                loop,
                cause,
                seen,
                began,
                root_of(view.objects, pod),
                way,
                self.ways.timing_out(pod.node, pod.uid),
                self._fine_of(pod),
                changed_before(pod, identity.identities(pod), began, view.objects, limits),
                expiring.expired_before(identity.identities(pod), began, view.objects),
                logged_of(pod, loop, view.hosts.get(pod.node)),
            )
        )

    def _fine_of(self, pod: Pod) -> Fine:
        """Where other pods of its controller are ready."""
        if pod.owner is None:
            return Fine()
        if pod.owner.uid not in self._fine:
            self._fine[pod.owner.uid] = _fine(self.view.objects.pods_of(pod.owner).values())
        return self._fine[pod.owner.uid]

    def _booted(self, pod: Pod) -> float:
        """When its node was booted, seconds since the epoch; 0.0: not known."""
        host = self.view.hosts.get(pod.node)
        item = host.items.get("host") if host is not None else None
        return item.host.boot_time_unix_ms / 1000 if item is not None else 0.0

    def _waiting_case(self, pod: Pod, container: ContainerStatus, cause: Cause, events: Sequence[Event]) -> Case:
        view, way = self.view, None
        missing = tuple(_in_namespace(each, pod) for each in cause.missing)
        nodes = (pod.node,) if cause.code == UNPACKING and pod.node else ()
        since = _began(pod, events)
        statement = cause.statement
        dates: tuple[Evidence, ...] = ()
        if cause.code.startswith(_IMAGE):
            image = pulls.image_of(pod, container)
            about, registry = pulls.about(cause, pod, image), pulls.registry_of(image)
            if cause.code == REGISTRY:
                host = registry.partition(":")[0] if registry != pulls.DOCKER_HUB else ""
                way = self.ways.of(pod.node, f"{cause.statement} {cause.phrase}", pod.namespace, host=host)
                other = self.known.pulled_elsewhere(registry, pod.node, since or pod.created)
                if other:
                    about, nodes = (registry, pod.node), (pod.node,)
                    statement += f"; {other} has pulled from there since, so it is {pod.node} that does not reach it"
            elif cause.code == UNAUTHORIZED:
                changed = changed_before(pod, pulls.objects_of(cause, pod), since, view.objects, self.limits)
                statement += "".join(_was_changed(each, since) for each in changed)
                expired = expiring.login_expired(pod, image, since or view.now, view.objects)
                if expired is not None:
                    statement += f"; {expiring.said_of(expired, since or view.now)}"
                    dates = (expiring.evidence_of_expired(expired, view.now),)
        else:
            about = missing or (root_of(view.objects, pod), cause.phrase)
        return Case(
            cause.code,
            about,
            f"{name_of(pod, container)} {statement}{over(way)}",
            (*objects_of(view.objects, pod, way), *missing, *pulls.objects_of(cause, pod)),
            (*evidence_of(view, (pod, container), cause, way), *dates),
            nodes=nodes,
            weight=view.now - pod.created,
            ruled_out=ruled_out_of_start(cause),
            remedies=cause.remedies,
            since=since,
        )


def _by_way(cause: Cause, way: Way | None, message: str) -> Cause:
    """Who got no answer over a path that loses large packets was refused by nobody, whatever it was about to ask."""
    if way is None or not way.evidence or cause.code not in (IDENTITY, APP_ERROR) or is_refusal(message):
        return cause
    return replace(cause, code=DEPENDENCY)


def _was_changed(change: Changed, since: float) -> str:
    kind, _, name = change.object.partition("/")
    return f"; {kind} {name} was changed {span(max(0.0, since - change.at))} before"


def _in_namespace(name: str, pod: Pod) -> str:
    kind, _, rest = name.partition("/")
    return f"{kind}/{pod.namespace}/{rest}"


def _bound(pod: Pod) -> float:
    """Since when it has a node."""
    scheduled = pod.condition("PodScheduled")
    return max(pod.created, scheduled.since if scheduled is not None else 0.0)


def _began(pod: Pod, events: Sequence[Event]) -> float:
    """When it began to fail: at its first failure that is still remembered, else when it was last ready; 0.0: nothing
    tells."""
    first = [each.first for each in events if each.reason in ("BackOff", "Failed", "FailedMount") and each.first]
    ready = pod.condition("ContainersReady")
    return min(first, default=0.0) or (ready.since if ready is not None else 0.0)


def _fine(pods: Iterable[Pod]) -> Fine:
    """Where some of these pods are ready."""
    nodes, since = set(), 0.0
    for pod in pods:
        ready = pod.condition("Ready")
        if ready is not None and ready.status == "True" and not pod.deleted:
            nodes.add(pod.node)
            since = max(since, *(each.state.started for each in pod.containers if each.state is not None), 0.0)
    return Fine(frozenset(nodes), since)


def _loop_case(view: ClusterView, suspect: Suspect, proofs: Mapping[tuple[str, str], list[Proof]]) -> Case:
    pod, container, cause = suspect.pod, suspect.loop.container, suspect.cause
    found = proofs.get((pod.key, container.name), [])
    way = suspect.way if cause.code == DEPENDENCY else None
    told = (*evidence_of(view, (pod, container), cause, way, suspect.loop), *kernel_evidence(suspect.seen, cause))
    started = f"{name_of(pod, container)} has been started {suspect.loop.starts} times and {cause.statement}"
    excluded = ruled_out(suspect.seen, cause, events_known=view.objects.knows("events"))
    if not found:
        missing = tuple(_in_namespace(each, pod) for each in cause.missing)
        return Case(
            cause.code,
            missing or _about(suspect),
            started + over(way),
            (*objects_of(view.objects, pod, way), *missing),
            told,
            nodes=(pod.node,) if cause.of_node else (),
            weight=view.now - suspect.began,
            ruled_out=(*_not_refused(suspect, way), *excluded),
            remedies=cause.remedies,
            since=suspect.began,
        )
    anchors = tuple(dict.fromkeys(proof.object for proof in found if proof.object))
    kinds = {proof.kind for proof in found}
    at_node = (pod.node,) if "clock" in kinds else ()
    told += tuple(api_evidence("pods", pod.key, f"identity.{proof.kind}", proof.text, at=view.now) for proof in found)
    if suspect.logged is not None:
        told += (suspect.logged.evidence,)
    unfit = hint(pod, view.objects)
    if unfit:
        told += (api_evidence("serviceaccounts", pod.key, "identity.hint", unfit, at=view.now),)
    return Case(
        IDENTITY,
        (next(iter(anchors), suspect.workload), *at_node),
        f"{started}; {'; '.join([*(proof.text for proof in found), *([unfit] if unfit else [])])}",
        (*objects_of(view.objects, pod), *anchors),
        told,
        nodes=at_node,
        severity=Severity.CRITICAL if len(kinds) > 1 else Severity.WARNING,
        weight=view.now - suspect.began,
        ruled_out=tuple(each for each in excluded if each.code != IDENTITY),
        since=suspect.began,
    )


def _about(suspect: Suspect) -> tuple[str, ...]:
    """Whom nothing is heard of is one cause for all that need it; else each container of a workload is its own."""
    if suspect.cause.of_node:
        return (suspect.pod.node,)
    if suspect.cause.code == DEPENDENCY:
        host = next(iter(hosts_in(suspect.loop.end.message)), "")
        if host:
            return (host,) if "." in host or ":" in host else (suspect.pod.namespace, host)
    return suspect.workload, suspect.loop.container.name


def _not_refused(suspect: Suspect, way: Way | None) -> Iterator[RuledOut]:
    if way is not None and way.statement:
        yield RuledOut(IDENTITY, f"{way.statement}: it got no answer, and no refusal")
    elif suspect.hangs:
        yield RuledOut(IDENTITY, f"{suspect.hangs}: it got no answer, and no refusal")


def _spread(cases: Sequence[Case]) -> Iterator[Case]:
    """What keeps several workloads from their images or configuration has proven its harm more than once."""
    workloads: dict[tuple[str, tuple[str, ...]], set[str]] = {}
    for case in cases:
        workloads.setdefault((case.code, case.about), set()).add(case.objects[1])
    for case in cases:
        critical = case.severity is None and len(workloads[case.code, case.about]) > 1
        yield replace(case, severity=Severity.CRITICAL) if critical else case
