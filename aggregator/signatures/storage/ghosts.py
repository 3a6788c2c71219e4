"""What hosts have and API objects do not bear out: mounts for pods that are no more, fewer disks than attachments."""

from __future__ import annotations

from collections.abc import Mapping

from nodetell.v1 import facts_pb2 as pb

from aggregator.cluster.objects import Pod
from aggregator.signatures.storage.facts import Facts
from aggregator.signatures.storage.per_node import PerNode
from aggregator.signatures.storage.truth import DISK_DRIVERS

_ANONYMOUS = "0:"


def ghosts(facts: Facts) -> Mapping[str, tuple[pb.Volume, ...]]:
    """By node: mounts of block devices (or these themselves, handed out) for pods that are no more.

    Only where pods are known.
    """
    return _GHOSTS.answers(facts)


def _ghosts_on(facts: Facts, node: str) -> tuple[pb.Volume, ...] | None:
    pods = facts.view.objects
    return (
        tuple(
            item.volume
            for item in facts.fleet.hosts[node].volumes
            if item.volume.pod_uid
            and (item.volume.mounted or (item.volume.raw_block and item.volume.attached))
            and not item.volume.dev.startswith(_ANONYMOUS)
            and not _is_there(pods.pod_by_uid(item.volume.pod_uid), node)
        )
        or None
    )


def _is_there(pod: Pod | None, node: str) -> bool:
    return pod is not None and pod.node == node


def too_few_disks(facts: Facts) -> Mapping[str, tuple[str, ...]]:
    """By node with fewer disks than attachments that stand for one: the names of all their volumes."""
    return _TOO_FEW.answers(facts)


def _too_few_on(facts: Facts, node: str) -> tuple[str, ...] | None:
    storage = facts.fleet.hosts[node]
    attachments = facts.view.objects.attachments_to(node).values()
    names = sorted(each.volume for each in attachments if each.attached and each.attacher in DISK_DRIVERS)
    return tuple(names) if storage.complete and len(names) > len(storage.disks) else None


_GHOSTS = PerNode("storage/ghosts", "pods", _ghosts_on)
_TOO_FEW = PerNode("storage/too_few_disks", "volumeattachments", _too_few_on)
