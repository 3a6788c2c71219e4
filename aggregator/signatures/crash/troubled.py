"""Which pods do not run as they should: few of very many, so they are kept up to date, change by change.

Kept beside them is what tells whether a node is alone with its trouble: where images were pulled of late.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
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
    unmounted: set[str] = field(default_factory=set)
    """Keys of pods of which the kubelet has said that a volume could not be mounted."""
    pulled: dict[str, dict[str, float]] = field(default_factory=dict)
    """When an image was pulled last, by registry and node, seconds since the epoch."""

    def pulled_elsewhere(self, registry: str, node: str, since: float) -> str:
        """Another node that has pulled from a registry since then; empty: none is known."""
        found = self.pulled.get(registry, {})
        return min((each for each, at in found.items() if each != node and at > since), default="")

    def take(self, key: str, before: object, after: object) -> None:
        """A pod or an event came, changed or went."""
        if isinstance(before, Pod) or isinstance(after, Pod):
            self._take_pod(key, before, after)
        elif isinstance(after, Event):
            self._take_event(after)

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
        if not isinstance(after, Pod):
            self.unmounted.discard(key)
        elif _is_troubled(after):
            self.pods[key] = after
        elif after.phase == "Failed" and after.owner is not None and after.owner.kind == _JOB:
            self.failed.setdefault(after.owner.uid, {})[key] = after

    def _take_event(self, event: Event) -> None:
        if event.reason == MOUNT_FAILED and event.kind == "Pod":
            self.unmounted.add(event.object)
        elif event.reason == "Pulled" and event.host and (match := _PULLED.match(event.message)):
            nodes = self.pulled.setdefault(registry_of(match[1]), {})
            nodes[event.host] = max(event.last, nodes.get(event.host, 0.0))


def troubled(state: ClusterState) -> Troubled:
    """As it is now; only what has changed since the last time is looked at."""
    known = state.derived.get(_NAME)
    changes = state.changes(known.revision) if isinstance(known, Troubled) else None
    if not isinstance(known, Troubled) or changes is None:
        known = Troubled(state.revision)
        state.derived[_NAME] = known
        everything: Iterable[Mapping[str, object]] = (state.pods, state.events)
        for things in everything:
            for key, thing in things.items():
                known.take(key, None, thing)
        return known
    for change in changes:
        known.take(change.key, change.before, change.after)
    known.revision = state.revision
    return known


def _is_troubled(pod: Pod) -> bool:
    return not pod.terminal and any(is_waiting(each) or each.restarts > 0 for each in pod.containers)


def is_waiting(container: ContainerStatus) -> bool:
    """It waits, and for a reason that is worth a look."""
    state = container.state
    return state is not None and state.kind == "waiting" and state.reason not in _HARMLESS
