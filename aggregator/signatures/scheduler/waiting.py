"""Which pods have waited too long for a node. What waits as it should is nobody's fault.

None are: pods younger than the threshold, gated or terminating ones, those whose nominated node is being freed, and
those that an autoscaler has just begun to make a node for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from aggregator.cluster.objects import Event, Pod
from aggregator.messages.scheduling import SchedulerSays, is_gated, parse
from aggregator.signatures.thresholds import Thresholds
from aggregator.view import ClusterView

_GATED = "SchedulingGated"
_SAID = "FailedScheduling"
_SCALES = ("TriggeredScaleUp", "Nominated", "NominatedForScaleUp")
"""Cluster autoscaler; Karpenter (component karpenter)."""
_SCALES_NOT = ("NotTriggerScaleUp", "FailedScheduling")
"""The latter from Karpenter."""
_AUTOSCALERS = ("cluster-autoscaler", "karpenter", "node-autoprovisioner", "auto-mode")
_GATING = "kueue.x-k8s.io/"
"""Labels of pods that Kueue holds at a gate until it is their turn."""
_FREEING_S = 600.0
"""Victims of a preemption have their grace period; who takes longer frees nothing."""
_TURN = re.compile(
    r"pod ?group|\bgang\b|\bminmember|\bminavailable|coscheduling|waiting for (?:its|other) (?:turn|pods)"
    r"|queue (?:quota|is full|resource)|elasticquota|application .{0,80}(?:waiting|queued)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A pod that has waited too long, and what was said of it."""

    pod: Pod
    since: float
    age: float
    """Seconds."""
    message: str
    """What the scheduler says; empty: nothing."""
    says: SchedulerSays
    """The same, taken apart."""
    said_at: float
    """When that was last said, as far as events tell; 0.0: they do not."""
    autoscaler: str
    """What an autoscaler says of it; empty: nothing."""

    @property
    def takes_turns(self) -> bool:
        """The scheduler says that it waits for its group or its queue."""
        return _TURN.search(self.message) is not None


def waiting(view: ClusterView, thresholds: Thresholds) -> Iterator[Waiting]:
    """Pods that no node has been chosen for and that have waited too long."""
    border = view.now - thresholds.pending_warning_s
    for pod in view.objects.waiting.values():
        since = _since(view, pod)
        if 0.0 < since <= border and not pod.deleted and not pod.gates and not _is_being_freed(view, pod):
            found = _told(view, pod, since)
            if found is not None and not _is_helped(view, pod, thresholds):
                yield found


def _since(view: ClusterView, pod: Pod) -> float:
    """Since when it is refused, or since its creation; 0.0: not said."""
    condition = pod.condition("PodScheduled")
    refused = condition.since if condition is not None and condition.status != "True" else 0.0
    since = refused or pod.created
    if any(label.startswith(_GATING) for label in pod.labels):
        # The condition keeps the time at which the gate was met: who is let through is refused from then on.
        tried = [event.first for event in events_of(view, pod) if event.reason == _SAID and event.first]
        since = max(since, min(tried, default=0.0))
    return since


def _is_being_freed(view: ClusterView, pod: Pod) -> bool:
    """Lesser pods are on their way out of the node that it is to have."""
    if not pod.nominated_node:
        return False
    return any(
        other.deleted and view.now - other.deleted < _FREEING_S and other.spec.priority < pod.spec.priority
        for other in view.objects.pods_on(pod.nominated_node).values()
        if not other.terminal
    )


def _told(view: ClusterView, pod: Pod, since: float) -> Waiting | None:
    """None: it is held at a gate."""
    condition = pod.condition("PodScheduled")
    message = condition.message if condition is not None and condition.status != "True" else ""
    if condition is not None and condition.reason == _GATED:
        return None
    events = [event for event in events_of(view, pod) if event.reason == _SAID and not _is_autoscaler(event)]
    last = events[-1] if events else None
    if last is not None and not _parsed(message).reasons:
        message = last.message
    says = _parsed(message)
    if is_gated(says):
        return None
    said_at = last.last if last is not None else 0.0
    return Waiting(pod, since, max(0.0, view.now - since), message, says, said_at, _autoscaler_says(view, pod))


@lru_cache(maxsize=1024)
def _parsed(message: str) -> SchedulerSays:
    """Thousands of pods wait with one message."""
    return parse(message)


def events_of(view: ClusterView, pod: Pod) -> list[Event]:
    """Events of this very pod, oldest first: a StatefulSet gives its pods the same names again."""
    return [
        event for event in view.objects.events_of("Pod", pod.key) if event.object_uid in ("", pod.uid) or not pod.uid
    ]


def _is_autoscaler(event: Event) -> bool:
    return event.component.startswith(_AUTOSCALERS)


def _is_helped(view: ClusterView, pod: Pod, thresholds: Thresholds) -> bool:
    """An autoscaler has begun to make a node for it, not long ago. Its first attempt counts: one that is repeated has
    not helped."""
    began = [
        event.first or event.last
        for event in events_of(view, pod)
        if event.reason in _SCALES and (event.reason == "TriggeredScaleUp" or _is_autoscaler(event))
    ]
    return bool(began) and view.now - min(began) < thresholds.scale_up_help_s


def _autoscaler_says(view: ClusterView, pod: Pod) -> str:
    told = [
        event
        for event in events_of(view, pod)
        if event.reason in ("TriggeredScaleUp", "NotTriggerScaleUp")
        or (_is_autoscaler(event) and event.reason in (*_SCALES, *_SCALES_NOT))
    ]
    return f"{told[-1].reason}: {told[-1].message}" if told else ""
