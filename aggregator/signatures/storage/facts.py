"""What every rule of the storage incident looks at, put together once for an evaluation."""

from __future__ import annotations

from dataclasses import dataclass

from aggregator.cluster.objects import Attachment, Claim, NodeObject, Pod, Volume
from aggregator.model import Evidence
from aggregator.signatures.case import api_evidence
from aggregator.signatures.storage.host_storage import Fleet, fleet_of
from aggregator.signatures.thresholds import Thresholds
from aggregator.view import ClusterView
from aggregator.wording import quoted

INLINE = "inline"
"""Stands for the kind of a volume that a VolumeAttachment describes itself: no PersistentVolume is behind it, and its
name is the attachment's."""


@dataclass(frozen=True, slots=True)
class Facts:
    """The joined view, the limits, and who has what."""

    view: ClusterView
    limits: Thresholds
    fleet: Fleet

    def age(self, at: float) -> float:
        """Seconds since then; 0.0 where it is not said, or in the future."""
        return max(0.0, self.view.now - at) if at else 0.0

    def host_age(self, node: str) -> float | None:
        """Seconds since the node's agent last read its host; None: no agent has told."""
        host = self.view.hosts.get(node)
        return max(0.0, self.view.now - host.at) if host is not None and host.at else None

    def host_is_current(self, node: str) -> bool:
        """What the agent of the node says is of now."""
        age = self.host_age(node)
        return age is not None and age <= self.limits.agent_silent_s

    def volume(self, attachment: Attachment) -> Volume | None:
        """The volume that it attaches; None: given inline, or not known."""
        return self.view.objects.volumes.get(attachment.volume)

    def users(self, volume: Volume, node: str) -> list[Pod]:
        """Pods on the node that name the volume's claim and have not ended, in order."""
        pods = self.view.objects.pods_of_claim(volume.claim) if volume.claim else {}
        return sorted((pod for pod in pods.values() if pod.node == node and not pod.terminal), key=lambda pod: pod.key)

    def waited(self, pod: Pod) -> float:
        """Seconds since the pod was given its node, or since it was made."""
        scheduled = pod.condition("PodScheduled")
        return self.age(scheduled.since if scheduled is not None and scheduled.since else pod.created)

    def absence(self, node: str) -> str:
        """Why nobody can be asked on this node, as the API server knows it; empty: it is there, or nobody knows."""
        found = self.view.nodes.get(node)
        if found is None:
            return "its Node object is gone" if self.view.objects.knows("nodes") else ""
        return "its kubelet is not heard (Ready is Unknown)" if unreachable(found) else ""

    def host_says(self, node: str, signal: str, subject: str, value: str | bool | int, source: str) -> Evidence:
        """A fact of the host."""
        host = self.view.hosts[node]
        return Evidence(node, signal, subject, value, "", source, host.at)

    def attachment_evidence(self, attachment: Attachment) -> tuple[Evidence, ...]:
        """What the API server says of an attachment: its state, its ages, its last error."""
        now, name, node = self.view.now, attachment.name, attachment.node
        kept = "volumeattachments"
        told = [api_evidence(kept, name, "volumeattachment.attached", attachment.attached, at=now, node=node)]
        age = round(self.age(attachment.created))
        told.append(api_evidence(kept, name, "volumeattachment.age", age, at=now, unit="s", node=node))
        if attachment.deleted:
            age = round(self.age(attachment.deleted))
            told.append(api_evidence(kept, name, "volumeattachment.deleting", age, at=now, unit="s", node=node))
        for signal, error in (("attach_error", attachment.attach_error), ("detach_error", attachment.detach_error)):
            if error is not None and error.message:
                at = error.at or now
                told.append(api_evidence(kept, name, f"volumeattachment.{signal}", quoted(error.message), at=at))
        return tuple(told)

    def waiting_evidence(self, pod: Pod) -> Evidence:
        """How long a pod has waited."""
        seconds = round(self.waited(pod))
        return api_evidence("pods", pod.key, "pod.waiting", seconds, at=self.view.now, unit="s", node=pod.node)


def facts_of(view: ClusterView, thresholds: Thresholds) -> Facts:
    """All of it."""
    return Facts(view, thresholds, fleet_of(view))


def unreachable(node: NodeObject) -> bool:
    """The API server does not hear its kubelet."""
    ready = node.condition("Ready")
    tainted = any(taint.key == "node.kubernetes.io/unreachable" for taint in node.taints)
    return (ready is not None and ready.status == "Unknown") or tainted


def objects_of(volume: Volume, *pods: Pod, claim: Claim | None = None) -> tuple[str, ...]:
    """How findings name pods, their claim and volume, those who suffer first."""
    bound = volume.claim or (claim.key if claim is not None else "")
    names = [f"Pod/{pod.key}" for pod in pods]
    if bound:
        names.append(f"PersistentVolumeClaim/{bound}")
    return tuple(names) if volume.source == INLINE else (*names, f"PersistentVolume/{volume.name}")
