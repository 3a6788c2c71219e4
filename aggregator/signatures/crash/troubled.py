"""Which pods do not run as they should: few of very many, so they are kept up to date, change by change.

Kept beside them is what tells whether a node is alone with its trouble: where images were pulled of late.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from aggregator.cluster.objects import ContainerStatus, Event, Pod
from aggregator.cluster.state import ClusterState
from aggregator.signatures.crash.pulls import registry_of
from aggregator.signatures.crash.waiting import MOUNT_FAILED

_NAME = "crash_loop"
_HARMLESS = frozenset({"ContainerCreating", "PodInitializing", ""})
"""Reasons of waiting that say nothing: the container's turn has not come."""
_PULLED = re.compile(r'Successfully pulled image "([^"]{1,512})"')
_JOB = "Job"


@dataclass(slots=True)
class Troubled:
    """What is worth a look."""

    revision: int
    """Of the objects that it is of."""
    pods: dict[str, Pod] = field(default_factory=dict)
    """Pods with a container that waits for a reason, or has been restarted, by key."""
    failed: dict[str, dict[str, Pod]] = field(default_factory=dict)
    """Pods of Jobs that have failed, by UID of the Job, then by key."""
    unmounted: dict[str, set[str]] = field(default_factory=dict)
    """Events that a volume could not be mounted, by key of the pod."""
    pulled: dict[str, dict[str, Event]] = field(default_factory=dict)
    """Events that an image was pulled, by registry, then by key."""

    def pulled_elsewhere(self, registry: str, node: str, since: float) -> str:
        """Another node that has pulled from a registry since then; empty: none is known."""
        found = self.pulled.get(registry, {}).values()
        return min((each.host for each in found if each.host != node and each.last > since), default="")

    def take(self, key: str, before: object, after: object) -> None:
        """A pod or an event came, changed or went."""
        if isinstance(before, Pod) or isinstance(after, Pod):
            self._take_pod(key, before, after)
            return
        if isinstance(before, Event):
            self._forget_event(key, before)
        if isinstance(after, Event):
            self._take_event(key, after)

    def _take_pod(self, key: str, before: object, after: object) -> None:
        self.pods.pop(key, None)
        if (
            isinstance(before, Pod)
            and before.owner is not None
            and key in (group := self.failed.get(before.owner.uid, {}))
        ):
            del group[key]
            if not group:
                del self.failed[before.owner.uid]
        if isinstance(after, Pod) and _is_troubled(after):
            self.pods[key] = after
        elif (
            isinstance(after, Pod) and after.phase == "Failed" and after.owner is not None and after.owner.kind == _JOB
        ):
            self.failed.setdefault(after.owner.uid, {})[key] = after

    def _forget_event(self, key: str, event: Event) -> None:
        if _is_of_mount(event):
            group = self.unmounted.get(event.object, set())
            group.discard(key)
            if not group:
                self.unmounted.pop(event.object, None)
        elif registry := _pulled_from(event):
            self.pulled.get(registry, {}).pop(key, None)

    def _take_event(self, key: str, event: Event) -> None:
        if _is_of_mount(event):
            self.unmounted.setdefault(event.object, set()).add(key)
        elif registry := _pulled_from(event):
            self.pulled.setdefault(registry, {})[key] = event


def _is_of_mount(event: Event) -> bool:
    return event.reason == MOUNT_FAILED and event.kind == "Pod"


def _pulled_from(event: Event) -> str:
    """The registry that an event says an image was pulled from; empty: it is about something else."""
    match = _PULLED.match(event.message) if event.reason == "Pulled" and event.host else None
    return registry_of(match[1]) if match is not None else ""


def troubled(state: ClusterState) -> Troubled:
    """As it is now; only what has changed since the last time is looked at."""
    known = state.derived.get(_NAME)
    changes = state.changes(known.revision) if isinstance(known, Troubled) else None
    if not isinstance(known, Troubled) or changes is None:
        known = Troubled(state.revision)
        state.derived[_NAME] = known
        for key, pod in state.pods.items():
            if pod.phase == "Failed" or _is_troubled(pod):  # of very many few are
                known.take(key, None, pod)
        for key, event in state.events.items():
            known.take(key, None, event)
        return known
    for change in changes:
        known.take(change.key, change.before, change.after)
    known.revision = state.revision
    return known


def _is_troubled(pod: Pod) -> bool:
    if pod.terminal:
        return False
    for each in pod.containers:  # noqa: SIM110  # of 150,000 pods, in half of the time
        if each.restarts > 0 or is_waiting(each):
            return True
    return False


def is_waiting(container: ContainerStatus) -> bool:
    """It waits, and for a reason that is worth a look."""
    state = container.state
    return state is not None and state.kind == "waiting" and state.reason not in _HARMLESS
