"""Mounts that hosts still have for pods that the API server does not know any more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from nodetell.v1 import facts_pb2 as pb

from aggregator.cluster.objects import Pod
from aggregator.cluster.state import ClusterState
from aggregator.signatures.storage.facts import Facts
from aggregator.signatures.storage.host_storage import HostStorage

_NAME = "storage/ghosts"
_ANONYMOUS = "0:"


@dataclass(slots=True)
class _Ghosts:
    """What was found, and what it followed from."""

    revision: int = -1
    looked_at: dict[str, HostStorage] = field(default_factory=dict)
    found: dict[str, tuple[pb.Volume, ...]] = field(default_factory=dict)


def ghosts(facts: Facts) -> Mapping[str, tuple[pb.Volume, ...]]:
    """By node: mounts of block devices for pods that are no more. A host is looked at when its volumes or pods changed.

    Only where pods are known."""
    objects, hosts = facts.view.objects, facts.fleet.hosts
    kept = objects.derived.pop(_NAME, None)
    known = kept if isinstance(kept, _Ghosts) else _Ghosts()
    nodes = {node for node, storage in hosts.items() if known.looked_at.get(node) is not storage}
    if known.revision < objects.revisions["pods"]:
        moved = _nodes_of_changes(objects, known.revision)
        nodes |= hosts.keys() if moved is None else moved & hosts.keys()
    for node in known.looked_at.keys() - hosts.keys():
        del known.looked_at[node]
        known.found.pop(node, None)
    for node in nodes:
        known.looked_at[node] = hosts[node]
        found = tuple(
            item.volume
            for item in hosts[node].volumes
            if item.volume.pod_uid
            and (item.volume.mounted or (item.volume.raw_block and item.volume.attached))
            and not item.volume.dev.startswith(_ANONYMOUS)
            and not _is_there(objects.pod_by_uid(item.volume.pod_uid), node)
        )
        if found:
            known.found[node] = found
        else:
            known.found.pop(node, None)
    known.revision = objects.revision
    objects.derived[_NAME] = known
    return known.found


def _is_there(pod: Pod | None, node: str) -> bool:
    return pod is not None and pod.node == node


def _nodes_of_changes(objects: ClusterState, since: int) -> set[str] | None:
    """Nodes whose pods changed; None: any may have."""
    changes = objects.changes(since) if since >= 0 else None
    if changes is None:
        return None
    pods = (each for change in changes if change.resource == "pods" for each in (change.before, change.after))
    return {pod.node for pod in pods if isinstance(pod, Pod)}
