"""Which pods have a container that does not run as it should: few of very many, so they are kept up to date."""

from __future__ import annotations

from dataclasses import dataclass, field

from aggregator.cluster.objects import ContainerStatus, Pod
from aggregator.cluster.state import ClusterState

_NAME = "crash_loop"
_HARMLESS = frozenset({"ContainerCreating", "PodInitializing", ""})
"""Reasons of waiting that say nothing: the container's turn has not come."""


@dataclass(slots=True)
class _Kept:
    revision: int
    pods: dict[str, Pod] = field(default_factory=dict)


def troubled(state: ClusterState) -> dict[str, Pod]:
    """Pods with a container that waits for a reason, or has been restarted, by key."""
    known = state.derived.get(_NAME)
    changes = state.changes(known.revision) if isinstance(known, _Kept) else None
    if not isinstance(known, _Kept) or changes is None:
        known = _Kept(state.revision, {key: pod for key, pod in state.pods.items() if _is_troubled(pod)})
        state.derived[_NAME] = known
        return known.pods
    for change in changes:
        if change.resource == "pods" and change.key:
            if isinstance(change.after, Pod) and _is_troubled(change.after):
                known.pods[change.key] = change.after
            else:
                known.pods.pop(change.key, None)
    known.revision = state.revision
    return known.pods


def _is_troubled(pod: Pod) -> bool:
    return not pod.terminal and any(is_waiting(each) or each.restarts > 0 for each in pod.containers)


def is_waiting(container: ContainerStatus) -> bool:
    """It waits, and for a reason that is worth a look."""
    state = container.state
    return state is not None and state.kind == "waiting" and state.reason not in _HARMLESS
