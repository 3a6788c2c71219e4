"""One volume's story: who waits for it, who has it, by the API server and by the hosts, and which errors were told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from aggregator.cluster.objects import Attachment, NodeObject, Pod, Volume
from aggregator.cluster.state import ClusterState
from aggregator.messages.classify import classify
from aggregator.messages.model import Message
from aggregator.model import Evidence, Severity
from aggregator.signatures.storage.codes import ATTACH_TIMEOUT, MULTI_ATTACH
from aggregator.signatures.storage.facts import INLINE, Facts, unreachable
from aggregator.signatures.storage.ghosts import too_few_disks
from aggregator.signatures.storage.refusals import Refusal, attached_since, refusals
from aggregator.signatures.storage.truth import Cell, Row, device_of, rows_of, volume_on_host
from aggregator.signatures.storage.watchlist import Watchlist

_UNSETTLED: Watchlist[Attachment] = Watchlist(
    "storage/unsettled",
    "volumeattachments",
    Attachment,
    lambda objects: objects.attachments,
    lambda each: bool(each.deleted) or not each.attached or each.detach_error is not None,
)
_UNREACHABLE: Watchlist[NodeObject] = Watchlist(
    "storage/unreachable", "nodes", NodeObject, lambda objects: objects.nodes, unreachable
)
_NAME = "storage/attached"


@dataclass(frozen=True, slots=True)
class Waiting:
    """A pod that has a node and not this volume there."""

    pod: Pod
    seconds: float
    refused: list[Refusal] = field(default_factory=list)
    """What events say of it, latest first."""


@dataclass(frozen=True, slots=True)
class Story:
    """What matters of one volume."""

    facts: Facts
    volume: Volume
    attachments: list[Attachment]
    blocked: list[Waiting]
    """Pods whose node has no attachment of it that is done, longest first."""
    seekers: list[Pod]
    """Pods that want it and have no node."""

    def rows(self, node: str) -> list[Row]:
        """What both sides say of the volume there."""
        return rows_of(self.facts.view, self.facts.fleet.hosts.get(node), node, self.volume)

    def device(self, node: str) -> Cell:
        """Whether the node's host has the device, where what is known of it is of now."""
        if not self.facts.host_is_current(node):
            return Cell(None, "the agent is silent")
        return device_of(self.facts.fleet.hosts.get(node), self.volume)

    def error_label(self, attachment: Attachment) -> str:
        """Cause family of what the attacher says; empty: it says nothing, or nothing certain."""
        error = attachment.attach_error
        return label_of(self.volume, error.message) if error is not None else ""

    @property
    def kept_out(self) -> list[Waiting]:
        """Of the blocked ones those that another node's having it can keep waiting."""
        return [each for each in self.blocked if not self.volume.shareable or self.used_elsewhere(each)]

    def own(self, waiting: Waiting) -> Attachment | None:
        """The attachment to the pod's own node."""
        return next((each for each in self.attachments if each.node == waiting.pod.node), None)

    def used_elsewhere(self, waiting: Waiting) -> bool:
        """The controller or the attacher says that somebody else has the volume."""
        own = self.own(waiting)
        labels = {each.label for each in waiting.refused} | ({self.error_label(own)} if own is not None else set())
        return MULTI_ATTACH in labels


def label_of(volume: Volume, error: str) -> str:
    """Cause family of an attacher's error."""
    said = f'AttachVolume.Attach failed for volume "{volume.name}" : {error}'
    return classify(Message("Pod", "FailedAttachVolume", None, said)).label


def stories(facts: Facts) -> Iterator[Story]:
    """Of every volume that something is not settled about, by name."""
    objects = facts.view.objects
    names: dict[str, None] = {}
    for attachment in _UNSETTLED.of(objects).values():
        names[attachment.volume or attachment.name] = None
    for node in _nobody_there(facts):
        for attachment in objects.attachments_to(node).values():
            names[attachment.volume or attachment.name] = None
    for suspects in too_few_disks(facts).values():
        names.update(dict.fromkeys(suspects))
    for node in facts.fleet.with_vanished:
        for found in facts.fleet.hosts[node].vanished:
            volume = volume_on_host(facts.view, found)
            if volume is not None:
                names[volume.name] = None
    for pod in objects.starting.values():
        for used in pod.claims if facts.waited(pod) >= facts.limits.attach_slow_s else ():
            claim = objects.claims.get(f"{pod.namespace}/{used.claim}")
            if claim is not None and claim.volume:
                names[claim.volume] = None
    for name in sorted(names):
        inline = name in objects.attachments
        yield story(facts, objects.volumes.get(name) or Volume(name=name, source=INLINE if inline else ""))


def story(facts: Facts, volume: Volume) -> Story:
    """Of this one."""
    objects = facts.view.objects
    attachments = sorted(objects.attachments_of(volume.name).values(), key=lambda each: each.name)
    if volume.source == INLINE and volume.name in objects.attachments:
        attachments = [objects.attachments[volume.name]]
    done = {each.node for each in attachments if each.attached and not each.deleted}
    pods = objects.pods_of_claim(volume.claim).values() if volume.claim else ()
    blocked = [
        Waiting(pod, facts.waited(pod), [each for each in refusals(facts, pod) if each.names(volume)])
        for pod in pods
        if pod.phase == "Pending" and pod.node and not pod.deleted and pod.node not in done
    ]
    if not objects.knows("volumeattachments"):  # then events are all there is
        blocked = [each for each in blocked if not attached_since(facts, each.pod, volume)]
    blocked.sort(key=lambda each: (-each.seconds, each.pod.key))
    seekers = [pod for pod in pods if not pod.node and not pod.terminal and not pod.deleted and not pod.gates]
    return Story(facts, volume, attachments, blocked, sorted(seekers, key=lambda pod: pod.key))


def severity(facts: Facts, waited: float) -> Severity | None:
    """Worse where a pod has waited so many seconds."""
    return Severity.CRITICAL if waited >= facts.limits.pending_critical_s else None


def who(pods: list[Pod]) -> str:
    """Pods in a sentence."""
    more = f" and {len(pods) - 1} more" if len(pods) > 1 else ""
    return f"{pods[0].key} on {pods[0].node}{more}" if pods[0].node else f"{pods[0].key}{more}"


def waits(facts: Facts, blocked: Iterable[Waiting]) -> Iterator[Evidence]:
    """How long pods have waited, and what the latest event about each says, one that tells a cause before others."""
    for waiting in blocked:
        yield facts.waiting_evidence(waiting.pod)
        told = [each for each in waiting.refused if each.label != ATTACH_TIMEOUT] or waiting.refused
        if told:
            yield told[0].evidence(waiting.pod.node)


@dataclass(slots=True)
class _Attached:
    """How many VolumeAttachments each node has."""

    revision: int = -1
    count: dict[str, int] = field(default_factory=dict)


def _nobody_there(facts: Facts) -> list[str]:
    """Nodes with attachments whose Node object is gone, or whose kubelet is not heard."""
    objects = facts.view.objects
    names = set(_UNREACHABLE.of(objects))
    if objects.knows("nodes"):
        nodes = objects.nodes
        names.update(node for node in _attached_nodes(objects) if node not in nodes)
    return sorted(names)


def _attached_nodes(objects: ClusterState) -> Mapping[str, int]:
    """Nodes that have attachments, brought up to date by what changed."""
    kept = objects.derived.get(_NAME)
    if not isinstance(kept, _Attached):
        kept = objects.derived[_NAME] = _Attached()
    if kept.revision < objects.revisions["volumeattachments"]:
        changes = objects.changes(kept.revision) if kept.revision >= 0 else None
        if changes is None:
            kept.count = Counter(each.node for each in objects.attachments.values())
        else:
            for change in changes:
                for each, step in ((change.before, -1), (change.after, 1)):
                    if isinstance(each, Attachment):
                        kept.count[each.node] = kept.count.get(each.node, 0) + step
            kept.count = {node: count for node, count in kept.count.items() if count}
    kept.revision = objects.revision
    return kept.count
