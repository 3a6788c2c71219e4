"""Volumes that a node has which is gone or not heard: nobody there can let go, and what it still does nobody knows."""

from __future__ import annotations

from collections.abc import Iterator

from aggregator.cluster.objects import Attachment
from aggregator.model import RuledOut, Severity, Stage
from aggregator.signatures.case import Case, api_evidence
from aggregator.signatures.storage.codes import MULTI_ATTACH, STALE_ATTACHMENT
from aggregator.signatures.storage.facts import Facts, objects_of
from aggregator.signatures.storage.holders import standing
from aggregator.signatures.storage.story import Story, severity, waits, who
from aggregator.wording import span

_OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"


def stale(story: Story) -> Iterator[Case]:
    """Attachments to such nodes, of volumes that somebody waits for or that nobody can be asked about for long."""
    for attachment in story.attachments:
        if attachment.attached or attachment.deleted:
            absence = story.facts.absence(attachment.node)
            case = _case(story, attachment, absence) if absence else None
            if case is not None:
                yield case
    yield from _by_host_alone(story)


def _by_host_alone(story: Story) -> Iterator[Case]:
    """Nobody's attachment says who has the volume; the host that had it last is of such a node."""
    facts, volume = story.facts, story.volume
    waiting = [each for each in story.blocked if story.used_elsewhere(each)]
    if not waiting or waiting[0].seconds < facts.limits.attach_slow_s:
        return
    known = {each.node for each in story.attachments}
    hosts = facts.fleet.hosts_with(volume)
    # A host that reports and has no Node goes by another name there: nothing is gone.
    nodes = [node for node in hosts if node not in known and not _unnamed(facts, node)]
    if not nodes or not all(facts.absence(node) for node in nodes):
        return
    pods = [each.pod for each in waiting]
    for node in nodes:
        how = standing(story, node)
        yield Case(
            STALE_ATTACHMENT,
            (node, "node"),
            f"{volume.name} is in use elsewhere, says its attacher, and no VolumeAttachment tells where; {node} had "
            f"it, and {facts.absence(node)}: {how.text}; {who(pods)} has waited {span(waiting[0].seconds)} for it",
            objects_of(volume, *pods),
            (*how.evidence, *waits(facts, waiting)),
            nodes=(node,),
            severity=severity(facts, waiting[0].seconds),
            weight=waiting[0].seconds,
            since=_since(story, node),
            ruled_out=(RuledOut(MULTI_ATTACH, f"on {node} nobody is there to let it go: {facts.absence(node)}"),),
            remedies=_remedies(story, node, ""),
        )


def _unnamed(facts: Facts, node: str) -> bool:
    return node not in facts.view.nodes and facts.host_is_current(node)


def _case(story: Story, attachment: Attachment, absence: str) -> Case | None:
    facts, volume, node = story.facts, story.volume, attachment.node
    waiting = [each for each in story.kept_out if each.pod.node != node]
    pods = [each.pod for each in waiting]
    if not volume.shareable:
        pods += [pod for pod in story.seekers if facts.age(pod.created) >= facts.limits.attach_slow_s]
    seconds = max((facts.waited(pod) for pod in pods), default=0.0)
    leaving = [pod for pod in facts.users(volume, node) if pod.deleted and facts.age(pod.deleted)]
    known = facts.view.nodes.get(node)
    if pods and seconds < facts.limits.attach_slow_s:
        return None
    if not pods and leaving:
        if facts.age(min(pod.deleted for pod in leaving)) < facts.limits.attach_slow_s:
            return None
        pods = leaving
    if not pods and known is not None and not attachment.deleted:
        return None  # it may be back before anybody is sent away from it
    away = _away(story, attachment)
    if not pods and away < facts.limits.attach_handover_s:
        return None  # what follows a node's removal takes its minutes
    how = standing(story, node)
    claim = f" for claim {volume.claim}" if volume.claim else ""
    still = "is being detached from" if attachment.deleted else "still counts as attached to"
    until = ""
    if pods:
        until = f"; {who(pods)} has waited {span(seconds)} for it" if pods != leaving else f"; {who(pods)} cannot end"
    return Case(
        STALE_ATTACHMENT,
        (node, "node"),
        f"{volume.name}{claim} {still} {node}, and {absence}: {how.text}{until}",
        (*objects_of(volume, *pods), f"VolumeAttachment/{attachment.name}"),
        (
            *facts.attachment_evidence(attachment),
            api_evidence(
                "nodes", node, "node.ready", known.ready if known is not None else "no Node object", at=facts.view.now
            ),
            *how.evidence,
            *waits(facts, waiting),
        ),
        nodes=(node,),
        stage=Stage.ACTIVE if pods else Stage.RISK,
        since=_since(story, node),
        severity=severity(facts, seconds) if pods else Severity.WARNING,
        weight=seconds,
        ruled_out=(RuledOut(MULTI_ATTACH, f"on {node} nobody is there to let it go: {absence}"),) if pods else (),
        remedies=_remedies(story, node, attachment.name),
    )


def _since(story: Story, node: str) -> float:
    """When the node fell silent, as the API server noticed; 0.0: nobody tells."""
    known = story.facts.view.nodes.get(node)
    ready = known.condition("Ready") if known is not None else None
    return ready.since if ready is not None and ready.status == "Unknown" else 0.0


def _away(story: Story, attachment: Attachment) -> float:
    """For how long nobody has answered: since the detachment was asked for, or since a node without a Node object was
    last heard of, as far as anything tells."""
    facts = story.facts
    ages = [facts.age(attachment.deleted)]
    if attachment.node in facts.view.nodes:
        return ages[0]
    host = facts.host_age(attachment.node)
    if host is not None:
        ages.append(host)
    told = [event.last for event in facts.view.objects.events_of("Node", attachment.node)]
    if told:
        ages.append(facts.age(max(told)))
    return max(ages)


def _remedies(story: Story, node: str, attachment: str) -> tuple[str, ...]:
    facts = story.facts
    known = facts.view.nodes.get(node)
    if facts.host_is_current(node):
        return (
            (
                f"The agent on {node} still reports: the machine runs and may write. Bring its kubelet back; nothing "
                "may be detached while it runs."
            ),
        )
    if known is None:
        letting_go = f"the VolumeAttachment {attachment} may be deleted" if attachment else "it may be detached there"
        return (
            (
                f"See with the cloud or the hypervisor that the machine behind {node} is off for good; while it may "
                "run, nothing is safe."
            ),
            f"Then {letting_go}: nobody writes any more.",
        )
    if any(taint.key == _OUT_OF_SERVICE for taint in known.taints):
        return (f"{node} has the out-of-service taint already: see the driver's csi-attacher why it does not detach.",)
    return (
        f"Find out from outside whether {node} runs (console, cloud, ping). If it does, bring it back.",
        (
            f"Only when it is surely shut down: kubectl taint nodes {node} {_OUT_OF_SERVICE}=nodeshutdown:NoExecute, "
            "which lets its volumes go; take the taint away when the pods have moved."
        ),
    )
