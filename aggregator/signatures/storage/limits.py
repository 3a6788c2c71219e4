"""Nodes that can have no more volumes: refused by the attacher, or counted against what the driver says."""

from __future__ import annotations

from collections.abc import Iterator

from aggregator.cluster.objects import Attachment, Pod
from aggregator.messages.classify import classify
from aggregator.messages.model import Message
from aggregator.model import Evidence, RuledOut, Severity
from aggregator.signatures.case import Case, api_evidence
from aggregator.signatures.storage.codes import ATTACH_LIMIT, ATTACH_TIMEOUT
from aggregator.signatures.storage.facts import Facts, objects_of
from aggregator.signatures.storage.story import Story, Waiting, waits, who
from aggregator.wording import quoted, span

_NAMED = 8
_VOLUME_LIMIT = "sched.volume_limit"


def refused(story: Story, waiting: Waiting, own: Attachment | None, severity: Severity | None) -> Case:
    """The attacher refuses one more volume on the pod's node."""
    facts, node = story.facts, waiting.pod.node
    driver = own.attacher if own is not None else story.volume.driver
    used, limit = counted(facts, node, driver)
    against = f" of the {limit} that its CSINode allows" if limit is not None else ""
    error = own.attach_error.message if own is not None and own.attach_error is not None else ""
    if not error and waiting.refused:
        error = waiting.refused[0].event.message
    refusal = f'been refused ("{quoted(error)}")' if error else "not been attached"
    return Case(
        ATTACH_LIMIT,
        (node, driver),
        f"{node} can have no more volumes: {used}{against} are attached, and one more for {who([waiting.pod])} has "
        f"{refusal} for {span(waiting.seconds)}",
        objects_of(story.volume, waiting.pod),
        (
            *_numbers(facts, node, driver),
            *(facts.attachment_evidence(own) if own is not None else ()),
            *waits(facts, [waiting]),
        ),
        nodes=(node,),
        severity=severity,
        weight=waiting.seconds,
        since=facts.view.now - waiting.seconds,
        ruled_out=(RuledOut(ATTACH_TIMEOUT, "the attacher answers: it refuses"),),
    )


def is_full(facts: Facts, attachment: Attachment) -> bool:
    """Its node has as many volumes of its driver as its CSINode allows, and this is one more."""
    used, limit = counted(facts, attachment.node, attachment.attacher)
    return limit is not None and 0 < limit <= used and not attachment.attached


def counted(facts: Facts, node: str, driver: str) -> tuple[int, int | None]:
    """Volumes of a driver attached to a node (or being attached), and how many its CSINode allows; None: not said."""
    objects = facts.view.objects
    used = sum(each.attacher == driver and each.attached for each in objects.attachments_to(node).values())
    registered = objects.csi_nodes[node].driver(driver) if node in objects.csi_nodes else None
    return used, registered.limit if registered is not None else None


def _numbers(facts: Facts, node: str, driver: str) -> Iterator[Evidence]:
    used, limit = counted(facts, node, driver)
    now = facts.view.now
    yield api_evidence("volumeattachments", driver, "volumes.attached", used, at=now, unit="volumes", node=node)
    if limit is not None:
        yield api_evidence("csinodes", driver, "volumes.limit", limit, at=now, unit="volumes", node=node)


def full_nodes(facts: Facts) -> Iterator[Case]:
    """Nodes that are at their limit by the numbers, where the scheduler keeps pods waiting for it.

    The pods are the scheduler's finding; this one names the nodes, for the chain's sake.
    """
    objects = facts.view.objects
    if not objects.knows("volumeattachments", "csinodes"):
        return
    held: dict[str, list[Pod]] = {}
    for pod in objects.waiting.values():
        for driver in _drivers(facts, pod) if _held_by_limit(facts, pod) else ():
            held.setdefault(driver, []).append(pod)
    for driver, pods in sorted(held.items()):
        counts = ((node, *counted(facts, node, driver)) for node in sorted(objects.csi_nodes))
        full = {node: f"{node} has {used} of {limit}" for node, used, limit in counts if limit and used >= limit}
        if full:
            named = ", ".join(list(full.values())[:_NAMED])
            yield Case(
                ATTACH_LIMIT,
                ("scheduling", driver),
                f"of volumes of {driver} {named}, as many as can be, and {pods[0].key} finds no place",
                tuple(f"Pod/{pod.key}" for pod in sorted(pods, key=lambda pod: pod.key)),
                tuple(evidence for node in list(full)[:_NAMED] for evidence in _numbers(facts, node, driver)),
                nodes=tuple(full),
                severity=Severity.INFO,
            )


def _held_by_limit(facts: Facts, pod: Pod) -> bool:
    if not pod.claims or facts.age(pod.created) < facts.limits.pending_warning_s:
        return False
    condition = pod.condition("PodScheduled")
    if condition is None or not condition.message:
        return False
    said = classify(Message("Pod", "FailedScheduling", None, condition.message))
    return _VOLUME_LIMIT in (said.label, *said.also)


def _drivers(facts: Facts, pod: Pod) -> list[str]:
    """CSI drivers of the pod's claims, bound or not."""
    objects = facts.view.objects
    found = set()
    for used in pod.claims:
        claim = objects.claims.get(f"{pod.namespace}/{used.claim}")
        volume = objects.volume_of(claim) if claim is not None else None
        class_ = objects.storage_classes.get(claim.storage_class or "") if claim is not None else None
        if volume is not None and volume.driver:
            found.add(volume.driver)
        elif class_ is not None:
            found.add(class_.provisioner)
    return sorted(found)
