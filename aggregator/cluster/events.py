"""Which events are kept: all warnings of others, and of normal ones those that the diagnosis reads something from."""

from __future__ import annotations

from aggregator.cluster.objects import Event

OWN = "nodetell.dev/aggregator"
"""Who wrote an event (reportingController) that an aggregator has written."""
MOST_EVENTS = 50_000
"""Events that are kept; normal ones, then the oldest, go first. (An API server drops them after an hour.)"""

NORMAL_REASONS = frozenset(
    {
        # the scheduler, preemption, evictions
        "Scheduled",
        "Preempted",
        "TaintManagerEviction",
        "NodeControllerEviction",
        # autoscalers (the cluster's, Karpenter)
        "TriggeredScaleUp",
        "NotTriggerScaleUp",
        "Nominated",
        "NominatedForScaleUp",
        "ScaledUpGroup",
        "ScaleDown",
        "ScaleDownEmpty",
        "DisruptionBlocked",
        "DisruptionTerminating",
        "Unconsolidatable",
        # the kubelet, about pods
        "BackOff",
        "Pulling",  # these two say as well that all volumes are mounted
        "Pulled",
        "Killing",
        "Unhealthy",
        "Evicted",
        # volumes
        "SuccessfulAttachVolume",
        "SuccessfulMountVolume",
        "WaitForFirstConsumer",
        "WaitForPodScheduled",
        "FailedBinding",  # a normal one
        "ExternalProvisioning",
        "Provisioning",
        "ProvisioningSucceeded",
        "ExternalExpanding",
        "Resizing",
        "VolumeResizeSuccessful",
        "FileSystemResizeRequired",
        "FileSystemResizeSuccessful",
        # nodes
        "Starting",
        "NodeReady",
        "NodeNotReady",
        "NodeNotSchedulable",
        "NodeHasDiskPressure",
        "NodeHasInsufficientMemory",
        "NodeHasInsufficientPID",
        "DeletingNode",
        "RemovingNode",
        "DeletingAllPods",
        # control plane
        "LeaderElection",
    }
)
"""Reasons of normal events that are kept."""


def wanted(event: Event) -> bool:
    """It is kept. Not what an aggregator wrote itself: no finding is to rest on another's words."""
    return event.component != OWN and (event.type != "Normal" or event.reason in NORMAL_REASONS)


def first_to_go(event: Event) -> tuple[bool, float]:
    """What orders events by how little they are missed."""
    return event.type != "Normal", event.last


def too_many(dropped: int) -> str:
    """What is said where so many events were not kept."""
    return f"over {MOST_EVENTS:,} events: the oldest {dropped:,} are not kept"
