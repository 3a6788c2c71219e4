"""Nodes that are lost or short of disk: they explain other incidents more often than they stand alone.

A pure function of the joined view.
"""

from __future__ import annotations

from collections.abc import Iterator

from aggregator.cluster.lost import Lost, lost
from aggregator.cluster.objects import NodeObject
from aggregator.model import Evidence, Gap, Verdict
from aggregator.signatures.case import Case, api_evidence, gather
from aggregator.signatures.code import Code
from aggregator.signatures.thresholds import Thresholds
from aggregator.view import ClusterView
from aggregator.wording import some, span

LOST = "node.lost"
DISK_PRESSURE = "node.disk_pressure"
_ZONE = "topology.kubernetes.io/zone"
_NAME = "node_health"
_NAMED = 5

CODES = {
    entry.code: entry
    for entry in (
        Code(
            LOST,
            "node",
            "nobody hears the node any more: neither kubelet nor agent",
            "the node reports again, or its Node object is gone",
            (
                "Find out from outside (console, cloud, ping) whether it runs: it may, cut off, and still write.",
                "Only when it is surely off, taint it node.kubernetes.io/out-of-service=nodeshutdown:NoExecute.",
            ),
        ),
        Code(
            DISK_PRESSURE,
            "node",
            "the kubelet is short of disk: it evicts pods and takes no new ones",
            "the node's DiskPressure condition is False",
            (
                "See what fills it: images, logs and emptyDir volumes below /var/lib/kubelet and the runtime's root.",
                "Set ephemeral-storage limits on what grows; raise the disk or the image garbage collection.",
            ),
        ),
    )
}


def evaluate(view: ClusterView, thresholds: Thresholds) -> Verdict:
    """Findings about nodes as such: one for those of a zone that are lost, one for each that is short of disk.

    Nodes that no agent has reported for are one gap: nothing is known of their hosts.
    """
    return Verdict(gather(view.cluster, _cases(view, thresholds), CODES), _unwatched(view))


def _unwatched(view: ClusterView) -> list[Gap]:
    missing = sorted(name for name, node in view.nodes.items() if name not in view.hosts and _can_have_agent(node))
    if not missing or not view.hosts:
        return []  # where there is no host at all, the objects of the API server are all that was given
    named = some(missing, _NAMED)
    because = f"nothing is known of the hosts of {len(missing):,} of {len(view.nodes):,} nodes: {named}"
    return [Gap("", "agent", "missing", because, "run the agent there, or add what it reads to the bundle")]


def _can_have_agent(node: NodeObject) -> bool:
    """It is a Linux host: not Windows, and not a node without a host (Fargate, virtual kubelets)."""
    return (
        node.labels.get("kubernetes.io/os", "linux") == "linux"
        and node.labels.get("type") != "virtual-kubelet"
        and node.labels.get("eks.amazonaws.com/compute-type") != "fargate"
    )


def _cases(view: ClusterView, thresholds: Thresholds) -> Iterator[Case]:
    for name in _ailing(view):
        node = view.nodes[name]
        found = lost(view, name, thresholds.agent_silent_s)
        if found is not None:
            yield _lost(view, found)
        pressure = node.condition("DiskPressure")
        if pressure is not None and pressure.status == "True":
            yield Case(
                DISK_PRESSURE,
                (name,),
                f"{name} has been short of disk for {span(view.now - pressure.since)}: {pressure.message}",
                (f"Node/{name}",),
                (api_evidence("nodes", name, "node.condition", "DiskPressure", at=view.now, node=name),),
                nodes=(name,),
                since=pressure.since,
            )


def _ailing(view: ClusterView) -> list[str]:
    """Nodes with a condition that is worth a look, kept until a Node changes: in a large cluster they are few."""
    revision = view.objects.revisions["nodes"]
    known = view.objects.derived.get(_NAME)
    if isinstance(known, tuple) and known[0] == revision:
        return list(known[1])
    names = sorted(name for name, node in view.nodes.items() if _is_ailing(node))
    view.objects.derived[_NAME] = (revision, names)
    return names


def _is_ailing(node: NodeObject) -> bool:
    pressure = node.condition("DiskPressure")
    return node.ready == "Unknown" or (pressure is not None and pressure.status == "True")


def _lost(view: ClusterView, found: Lost) -> Case:
    name, zone = found.node.name, found.node.labels.get(_ZONE, "")
    silent = view.now - found.since
    told: list[Evidence] = [api_evidence("nodes", name, "node.ready", "Unknown", at=view.now, node=name)]
    if found.lease is not None:
        late = round(view.now - found.lease.renewed)
        told.append(api_evidence("leases", found.lease.key, "lease.age", late, at=view.now, unit="s", node=name))
    if found.agent_at is None:
        agent = "no agent has reported for it"
    else:
        agent = f"its agent has been silent for {span(view.now - found.agent_at)}"
    return Case(
        LOST,
        (zone or name,),
        f"{name}{f' in zone {zone}' if zone else ''} has not been heard for {span(silent)}: its kubelet reports "
        f"nothing (Ready is Unknown) and {agent}",
        (f"Node/{name}",),
        tuple(told),
        nodes=(name,),
        weight=silent,
        since=found.since,
    )
