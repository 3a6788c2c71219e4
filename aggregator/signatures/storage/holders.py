"""Who still has a volume that is wanted elsewhere: the node, how far up it goes there, and by which pod."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from aggregator.cluster.objects import Pod
from aggregator.model import Evidence, RuledOut
from aggregator.signatures.case import API, Case
from aggregator.signatures.storage.codes import DETACH_STUCK, MULTI_ATTACH, STALE_ATTACHMENT
from aggregator.signatures.storage.facts import objects_of
from aggregator.signatures.storage.story import Story, Waiting, severity, waits, who
from aggregator.signatures.storage.truth import Row
from aggregator.wording import span


@dataclass(frozen=True, slots=True)
class Standing:
    """How a volume stands on one node, by both sides."""

    node: str
    text: str
    """A clause."""
    evidence: tuple[Evidence, ...]
    remedies: tuple[str, ...]
    users: list[Pod]
    """Pods there that name its claim, as the API server knows."""
    ghost: str
    """UID of a pod that the API server does not know any more and that the host has it mounted for, as of now."""


def standing(story: Story, node: str) -> Standing:
    """What the node's host has of the volume, for whom, and how old that is."""
    facts, volume = story.facts, story.volume
    users = facts.users(volume, node)
    age = facts.host_age(node)
    if age is None:
        text = "no agent tells what its host has"
        return Standing(node, text, (), _leave(users), users, "")
    current = facts.host_is_current(node)
    rows = story.rows(node)
    mounted = [row for row in rows if row.mounted.says]
    ghost = next((row.pod_uid for row in mounted if row.wanted.says is False), "") if current else ""
    text, remedies = _how(node, rows, mounted, ghost)
    evidence = []
    if rows[0].in_use.says:
        evidence.append(Evidence(node, "node.volumes_in_use", volume.name, True, "", f"{API}nodes", facts.view.now))
    if not current:  # told, and no evidence: a finding that rests on it could not be over before the agent is back
        text = f"when its agent last told, {span(age)} ago, {text}"
        return Standing(node, text, tuple(evidence), _leave(users), users, "")
    evidence += [
        facts.host_says(node, "volume.mounted", row.pod or row.pod_uid, row.mounted.detail, row.mounted.source)
        for row in mounted
    ]
    cell = rows[0].device
    if cell.says is not None:
        subject = volume.handle or volume.name
        evidence.append(facts.host_says(node, "device.present", subject, cell.detail or cell.says, cell.source))
    return Standing(node, text, tuple(evidence), remedies or _leave(users), users, ghost)


def _how(node: str, rows: list[Row], mounted: list[Row], ghost: str) -> tuple[str, tuple[str, ...]]:
    device = rows[0].device
    named = f" ({device.detail})" if device.says and device.detail else ""
    if ghost:
        text = f"its host still has it mounted{named} for pod {ghost}, which is no more"
        return text, (
            (
                f"On {node}, see in the kubelet's log why it does not unmount pod {ghost}, and which process holds the "
                "mount (fuser -m); restart the kubelet."
            ),
        )
    if mounted:
        names = ", ".join(sorted({row.pod or row.pod_uid for row in mounted}))
        return f"its host still has it mounted{named}, for {names}", ()
    if rows[0].staged.says:
        return f"its host has it mounted{named} for no pod, in its global place only", (
            f"On {node}, see in the logs of the kubelet and of the driver's node pod why it is not unstaged.",
        )
    if device.says:
        return f"its host still has the device{named}, mounted nowhere", (
            f"Nothing on {node} has it mounted any more: it is for the driver's controller to detach it.",
        )
    if device.says is False:
        return "its host does not have the device any more", (
            f"The host of {node} has let go: only the API server has not been told. See the driver's csi-attacher.",
        )
    return f"whether its host has the device is not known ({device.source})", ()


def _leave(users: list[Pod]) -> tuple[str, ...]:
    staying = [pod for pod in users if not pod.deleted]
    if not staying:
        return ()
    names = ", ".join(pod.key for pod in staying[:3])
    return (f"It is for {names} on {staying[0].node} to leave: scale its workload down, or delete it if it may go.",)


# -- somebody else has it -------------------------------------------------------------------------------------------


def multi_attach(story: Story) -> Iterator[Case]:
    """A pod waits for a volume that another node has, and nothing tells that this will end."""
    waiting = [each for each in story.blocked if _refused_for_another(story, each)]
    if not waiting:
        return
    facts, volume = story.facts, story.volume
    wanted_on = {each.pod.node for each in waiting}
    nodes = {each.node for each in story.attachments if each.attached and not each.deleted} - wanted_on
    having = set(facts.fleet.hosts_with(volume)) - wanted_on
    nodes |= {node for node in having if facts.host_is_current(node)} or (having if not nodes else set())
    nodes = nodes or _running_on(story) - wanted_on
    found = [standing(story, node) for node in sorted(nodes)]
    proved = any(each.ghost for each in found)
    border = facts.limits.attach_slow_s if proved else facts.limits.attach_handover_s
    if waiting[0].seconds < border:
        return
    pods = [each.pod for each in waiting]
    holding = [pod for each in found for pod in each.users]
    says = "; ".join(f"{each.node} has it: {each.text}" for each in found)
    kind, remedies = _kind(pods, found)
    attachments = [f"VolumeAttachment/{each.name}" for each in story.attachments if each.node in nodes]
    yield Case(
        MULTI_ATTACH,
        (volume.name,),
        f"{who(pods)} has waited {span(waiting[0].seconds)} for {volume.name}, which only one node may have; "
        f"{says or 'neither a VolumeAttachment nor a host that reports tells which node has it'}{kind}",
        (*objects_of(volume, *pods), *attachments, *(f"Pod/{pod.key}" for pod in holding)),
        (
            *waits(facts, waiting),
            *(
                evidence
                for each in story.attachments
                if each.node in nodes
                for evidence in facts.attachment_evidence(each)
            ),
            *(evidence for each in found for evidence in each.evidence),
        ),
        nodes=tuple(sorted(nodes)),
        severity=severity(facts, waiting[0].seconds),
        weight=waiting[0].seconds,
        since=facts.view.now - waiting[0].seconds,
        ruled_out=_not_others(story, found),
        remedies=(*remedies, *(remedy for each in found for remedy in each.remedies)),
    )


def _running_on(story: Story) -> set[str]:
    """Nodes where pods that use the volume run: it is mounted there, though nobody else tells."""
    claim = story.volume.claim
    pods = story.facts.view.objects.pods_of_claim(claim).values() if claim else ()
    return {pod.node for pod in pods if pod.node and pod.phase == "Running"}


def _refused_for_another(story: Story, waiting: Waiting) -> bool:
    if story.used_elsewhere(waiting):
        return True
    others = any(each.attached and not each.deleted and each.node != waiting.pod.node for each in story.attachments)
    return others and not story.volume.shareable and bool(story.volume.access_modes)


def _kind(waiting: list[Pod], found: list[Standing]) -> tuple[str, tuple[str, ...]]:
    """Why the other does not let go, and what would end it."""
    ghosts = any(each.ghost for each in found)
    staying = [pod for each in found for pod in each.users if not pod.deleted]
    leaving = [pod for each in found for pod in each.users if pod.deleted]
    owner = waiting[0].owner
    if staying and not ghosts:
        other = staying[0]
        if owner is not None and other.owner is not None and owner.uid == other.owner.uid:
            text = f": replicas of {owner.kind} {owner.name} share one claim, and it is for one node"
            return text, ("Give each replica a claim of its own (a StatefulSet), or one replica, or shared storage.",)
        if owner is not None and owner.kind == "ReplicaSet":
            text = f": the new pod waits for the volume, and {other.key} stays until the new one is ready"
            return text, ("Set the Deployment's strategy to Recreate: RollingUpdate cannot hand over such a volume.",)
        return f": {other.key} uses it, and nothing tells it to leave", (
            "Use it in one pod at a time, or have storage with an access mode and a driver that allow several nodes.",
        )
    if leaving:
        pod = leaving[0]
        return f": {pod.key} was to be gone by now, and is not", (
            f"See why {pod.key} does not end on {pod.node}: a container that does not stop, a mount that hangs.",
        )
    if found and not ghosts:
        return ": no pod there wants it any more", ()
    return "", ()


def _not_others(story: Story, found: list[Standing]) -> tuple[RuledOut, ...]:
    rules = []
    there = [each.node for each in found if story.facts.view.nodes.get(each.node) is not None]
    if there:
        rules.append(RuledOut(STALE_ATTACHMENT, f"{', '.join(there)} is there and its kubelet is heard"))
    if not any(each.deleted for each in story.attachments):
        rules.append(RuledOut(DETACH_STUCK, "no detachment has been asked for"))
    return tuple(rules)
