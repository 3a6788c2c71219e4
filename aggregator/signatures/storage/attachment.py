"""Volumes that are not where their pod is: somebody else has them, nobody lets go, nothing happens.

Of one volume one cause is told, the most specific that its story bears out: the node that has it is lost or its host
has no such device (stale_attachment); it is being detached and that does not end (detach_stuck); another node has it
and keeps it (multi_attach); the node is full (attach_limit); nothing happens (attach_timeout). A hand-over that takes
its time is none of these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from aggregator.cluster.objects import Attachment, Pod
from aggregator.model import Evidence, RuledOut, Severity, Stage
from aggregator.signatures.case import Case
from aggregator.signatures.storage import holders, limits, lost_nodes
from aggregator.signatures.storage.codes import (
    ATTACH_LIMIT,
    ATTACH_TIMEOUT,
    DETACH_STUCK,
    DEVICE_NOT_FOUND,
    MOUNT_PERMISSION,
    MULTI_ATTACH,
    STALE_ATTACHMENT,
)
from aggregator.signatures.storage.facts import Facts, objects_of
from aggregator.signatures.storage.holders import standing
from aggregator.signatures.storage.refusals import refusals
from aggregator.signatures.storage.story import Story, Waiting, severity, stories, waits, who
from aggregator.wording import quoted, span

_NO_DEVICE = frozenset({ATTACH_TIMEOUT, DEVICE_NOT_FOUND, MULTI_ATTACH, STALE_ATTACHMENT, DETACH_STUCK})
"""What is said of a volume whose device does not come."""
_ATTACHING = "FailedAttachVolume"
_GENERIC = ("FailedMount", _ATTACHING, "FailedMapVolume")


def cases(facts: Facts) -> Iterator[Case]:
    """What is wrong about attaching and detaching, volume by volume."""
    told: list[Callable[[Story], Iterable[Case]]] = [lost_nodes.stale, _detach_stuck]
    if facts.view.objects.knows("pods", "persistentvolumes", "persistentvolumeclaims"):
        told += [_device_missing, holders.multi_attach, _unfinished]
    for story in stories(facts):
        yield from _told(story, told)


def _told(story: Story, rules: list[Callable[[Story], Iterable[Case]]]) -> list[Case]:
    """The most specific cause, for each node that it is about."""
    for rule in rules:
        found = list(rule(story))
        if found:
            return found
    return []


# -- detaching ------------------------------------------------------------------------------------------------------


def _detach_stuck(story: Story) -> Iterator[Case]:
    facts = story.facts
    for attachment in story.attachments:
        seconds = facts.age(attachment.deleted)
        if not attachment.deleted or seconds < facts.limits.attach_slow_s or facts.absence(attachment.node):
            continue
        waiting = story.kept_out
        pods = [each.pod for each in waiting]
        error = attachment.detach_error.message if attachment.detach_error is not None else ""
        how = standing(story, attachment.node)
        waits_for_it = f"; {who(pods)} waits for it" if pods else ""
        says = f'; the attacher says "{quoted(error)}"' if error else "; the attacher says nothing"
        yield Case(
            DETACH_STUCK,
            (attachment.node, attachment.attacher) if error else (attachment.attacher, "silent"),
            f"the detachment of {story.volume.name} from {attachment.node} began {span(seconds)} ago and is not done: "
            f"{how.text}{waits_for_it}{says}",
            (*objects_of(story.volume, *pods), f"VolumeAttachment/{attachment.name}"),
            (*facts.attachment_evidence(attachment), *how.evidence, *waits(facts, waiting)),
            nodes=(attachment.node,),
            severity=severity(facts, max((each.seconds for each in waiting), default=0.0)),
            weight=seconds,
            since=attachment.deleted,
            ruled_out=(
                RuledOut(STALE_ATTACHMENT, f"{attachment.node} is there and its kubelet is heard"),
                *_not_multi_attach(story),
            ),
            remedies=how.remedies,
        )


def _not_multi_attach(story: Story) -> Iterable[RuledOut]:
    if story.kept_out:
        yield RuledOut(MULTI_ATTACH, "nobody keeps the volume: it is being detached already")


# -- the host has no such device ------------------------------------------------------------------------------------


def _device_missing(story: Story) -> Iterator[Case]:
    facts, volume = story.facts, story.volume
    for attachment in story.attachments:
        node = attachment.node
        if not attachment.attached or attachment.deleted or facts.age(attachment.created) < facts.limits.attach_slow_s:
            continue
        cell = story.device(node)
        if cell.says is not False or facts.absence(node):
            continue
        rows = story.rows(node)
        here = [pod for pod in facts.users(volume, node) if pod.phase == "Pending" and not pod.deleted]
        sufferers = [pod for pod in here if facts.waited(pod) >= facts.limits.attach_slow_s]
        sufferers += [each.pod for each in story.kept_out if each.seconds >= facts.limits.attach_slow_s]
        mounted = [row for row in rows if row.mounted.says]
        running = [pod for pod in facts.users(volume, node) if pod.phase == "Running"]
        if (running and not mounted) or any(_got_further(facts, pod) for pod in here):
            continue  # whoever looked for the device did not see all there is
        if mounted:
            sufferers += running
        elif not sufferers and here:
            continue  # it may just be on its way
        seconds = max((facts.waited(pod) for pod in sufferers if pod.phase == "Pending"), default=0.0)
        yield Case(
            STALE_ATTACHMENT,
            (node, "no device"),
            f"{volume.name} counts as attached to {node}, and that host has no such device ({cell.detail})"
            f"{f'; {who(sufferers)} waits for it' if sufferers and not mounted else ''}"
            f"{f'; it is still mounted for {who(running)}' if mounted and running else ''}",
            (*objects_of(volume, *sufferers), f"VolumeAttachment/{attachment.name}"),
            (
                *facts.attachment_evidence(attachment),
                facts.host_says(node, "device.present", volume.handle or volume.name, False, cell.source),
                *(facts.waiting_evidence(pod) for pod in sufferers if pod.phase == "Pending"),
            ),
            nodes=(node,),
            stage=Stage.ACTIVE if sufferers else Stage.RISK,
            severity=severity(facts, seconds) if sufferers else Severity.INFO,
            weight=seconds,
            ruled_out=(RuledOut(MULTI_ATTACH, f"the host of {node} does not have it, whatever its attachment says"),),
            remedies=(
                *((f"Delete {running[0].key}: what it has mounted leads nowhere.",) if mounted and running else ()),
                (
                    f"See with the storage or the cloud where {volume.handle or volume.name} is attached. If nowhere, "
                    "or elsewhere, and no process on that host has it open, delete the VolumeAttachment: it comes anew."
                ),
            ),
        )


def _got_further(facts: Facts, pod: Pod) -> bool:
    """What the kubelet says of the pod's volumes is about something that comes after their devices, or beside them."""
    told = [each.label for each in refusals(facts, pod) if each.label not in _NO_DEVICE]
    return bool(told)


# -- attaching ------------------------------------------------------------------------------------------------------


def _unfinished(story: Story) -> Iterator[Case]:
    """Nothing and nobody else explains why the volume is not attached where it is wanted."""
    if any(each.deleted for each in story.attachments):
        return  # a detachment that has begun of late
    for waiting in story.blocked:
        own = story.own(waiting)
        if story.facts.absence(waiting.pod.node) or waiting.seconds < story.facts.limits.attach_slow_s:
            continue
        told = [each for each in waiting.refused if each.event.reason in _GENERIC]
        labels = {each.label for each in told} | ({story.error_label(own)} if own is not None else set())
        if MULTI_ATTACH in labels or _others_have_it(story, waiting):
            continue  # a hand-over, as yet
        if any(each.label not in _NO_DEVICE and each.event.reason != _ATTACHING for each in told):
            continue  # the kubelet says something more certain of it
        if ATTACH_LIMIT in labels or (own is not None and limits.is_full(story.facts, own)):
            yield limits.refused(story, waiting, own, severity(story.facts, waiting.seconds))
        elif own is not None:
            if story.facts.age(own.created) >= story.facts.limits.attach_slow_s:
                yield _timeout(story, waiting, own)
        elif _never_begun(story, waiting):
            yield _timeout(story, waiting, None)


def _others_have_it(story: Story, waiting: Waiting) -> bool:
    return not story.volume.shareable and any(
        each.attached and each.node != waiting.pod.node for each in story.attachments
    )


def _never_begun(story: Story, waiting: Waiting) -> bool:
    """No VolumeAttachment at all, although the driver needs them and the waiting is told of."""
    if any((each.label, each.event.reason) == (ATTACH_TIMEOUT, _ATTACHING) for each in waiting.refused):
        return True
    objects = story.facts.view.objects
    if not objects.knows("volumeattachments"):
        return False
    told = [each.label for each in waiting.refused]
    if not told or any(label != ATTACH_TIMEOUT for label in told):
        return False
    return any(each.attacher == story.volume.driver for each in objects.attachments.values())


def _timeout(story: Story, waiting: Waiting, own: Attachment | None) -> Case:
    facts, volume, pod = story.facts, story.volume, waiting.pod
    error = own.attach_error.message if own is not None and own.attach_error is not None else ""
    seconds = facts.age(own.created) if own is not None else waiting.seconds
    cell = story.device(pod.node)
    host = ""
    told: list[Evidence] = []
    if cell.says is not None:
        host = f"; its host has the device ({cell.detail})" if cell.says else "; its host has no such device"
        told.append(facts.host_says(pod.node, "device.present", volume.handle or volume.name, cell.says, cell.source))
    if own is not None:
        began = f"the attachment of {volume.name} to {pod.node} began {span(seconds)} ago and is not done"
        says = f'the attacher says "{quoted(error)}"' if error else "the attacher says nothing"
        attacher = own.attacher
        remedies: tuple[str, ...] = ()
    else:
        began = f"nobody has begun to attach {volume.name} to {pod.node} in {span(seconds)}"
        says, attacher = "there is no VolumeAttachment for it", volume.driver
        remedies = ("See whether the attach-detach controller (kube-controller-manager) is up, and its log.",)
    cause = (attacher, pod.node) if error else (attacher, "silent")
    if own is not None and story.error_label(own) == MOUNT_PERMISSION:
        cause = (attacher, "refused")  # whichever node it is: the driver's rights
    objects = objects_of(volume, pod)
    return Case(
        ATTACH_TIMEOUT,
        cause,
        f"{began}: {says}{host}; {who([pod])} waits for it",
        (*objects, f"VolumeAttachment/{own.name}") if own is not None else objects,
        (
            *(facts.attachment_evidence(own) if own is not None else ()),
            *told,
            *waits(facts, [waiting]),
        ),
        nodes=(pod.node,),
        severity=severity(facts, waiting.seconds),
        weight=seconds,
        since=own.created if own is not None else facts.view.now - waiting.seconds,
        ruled_out=(RuledOut(MULTI_ATTACH, _nobody_else(story, pod)),),
        remedies=remedies,
    )


def _nobody_else(story: Story, pod: Pod) -> str:
    hosts = [node for node in story.facts.fleet.hosts_with(story.volume) if node != pod.node]
    if hosts:
        return f"no other VolumeAttachment has it, though the host of {', '.join(hosts)} still shows it"
    return "no other VolumeAttachment has it, and no host that reports"
