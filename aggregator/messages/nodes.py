"""Nodes in trouble, and the pods that they put out."""

from __future__ import annotations

from aggregator.messages.model import Classification
from aggregator.messages.rules import Rule, first
from aggregator.messages.said import Said
from aggregator.messages.text import text_of

DISK_PRESSURE = "node.disk_pressure"
MEMORY_PRESSURE = "node.memory_pressure"
PID_PRESSURE = "node.pid_pressure"
NODE_LOST = "node.lost"
NOT_READY = "node.not_ready"

EVICTION_RULES: tuple[Rule, ...] = (
    Rule(
        "",
        ("invalid capacity 0 on image filesystem", "cancelling deletion of pod"),
        no_fault=True,
        why="a kubelet that starts says so before it has counted; an eviction that was called off",
    ),
    Rule(
        DISK_PRESSURE,
        (
            "low on resource: ephemeral-storage",
            "low on resource: nodefs",
            "low on resource: imagefs",
            "low on resource: inodes",
            "low on resource: [diskpressure",
            "low on resource: disk",
            "condition: [diskpressure",
            "conditions: [diskpressure",
            "reclaim ephemeral-storage",
            "reclaim nodefs",
            "reclaim imagefs",
            "reclaim inodes",
            "nodehasdiskpressure",
            "kubelethasdiskpressure",
            "kubelet has disk pressure",
            "freediskspacefailed",
            "failed to garbage collect required amount of images",
            "image garbage collection failed",
            "wanted to free # bytes",
            "disk usage on image filesystem is over the high threshold",
            "disk usage on image filesystem",
            "eviction manager: attempting to reclaim…ephemeral-storage",
            "must evict pod(s) to reclaim…ephemeral-storage",
            "diskpressure",
            "node.kubernetes.io/disk-pressure",
            "threshold quantity…ephemeral-storage",
            "nodeoutofdisk",
        ),
        unless=("hasnodiskpressure", "has no disk pressure", "diskpressure false", "diskpressure=false"),
        why="the node's disk is filling up, and the kubelet makes room",
    ),
    Rule(
        MEMORY_PRESSURE,
        (
            "low on resource: memory",
            "low on resource: [memorypressure",
            "condition: [memorypressure",
            "conditions: [memorypressure",
            "reclaim memory",
            "nodehasinsufficientmemory",
            "kubelethasinsufficientmemory",
            "kubelet has insufficient memory",
            "memorypressure",
        ),
        unless=("nodehassufficientmemory", "has sufficient memory", "memorypressure false"),
        why="the node runs out of memory, and the kubelet makes room",
    ),
    Rule(
        PID_PRESSURE,
        ("low on resource: pids", "nodehasinsufficientpid", "kubelethasinsufficientpid", "condition: [pidpressure"),
        why="the node runs out of process numbers",
    ),
    Rule(
        NOT_READY,
        (
            "pleg is not healthy",
            "container runtime is down",
            "container runtime status check may not have completed",
            "node became not ready",
            "kubeletnotready",
        ),
        why="the kubelet says itself that it is not ready: it waits for the container runtime, mostly",
    ),
    Rule(
        NODE_LOST,
        (
            "kubelet stopped posting node status",
            "nodestatusunknown",
            "node is unreachable",
            "kubelet never posted node status",
            "node…is unresponsive",
            "node.kubernetes.io/unreachable",
            "status is now: nodenotready",
            "node is not ready",
            "deleting node…because it does not exist in the cloud provider",
        ),
        why="the node no longer reports",
    ),
)
"""Of nodes in trouble, and of pods that they put out."""

_NODE_OBJECTS = frozenset({"node", "nodes"})

_EVICTION_SHAPES = (
    "low on resource",
    "the node had condition",
    "node had conditions",
    "image filesystem",
    "garbage collect required amount of images",
    "eviction manager",
    "eviction_manager",
    "must evict pod",
    "attempting to reclaim",
    "kubelet stopped posting node status",
    "status is now: node",
    "node is not ready",
    "pleg is not healthy",
    "node became not ready",
    "container runtime is down",
    "cancelling deletion of pod",
    "kubelet has disk pressure",
    "kubelethasdiskpressure",
)


def judge(said: Said) -> Classification | None:
    """What a message about a node, or an eviction, says. None: it is about something else."""
    if said.object not in _NODE_OBJECTS and said.reason != "evicted" and not said.has(*_EVICTION_SHAPES):
        return None
    return first(EVICTION_RULES, said.text) or first(EVICTION_RULES, text_of(said.reason))
