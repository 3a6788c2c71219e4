"""Pods by what the scheduler asks of them, kept beside ClusterState and brought up to date by its changes.

Built when a pod first needs it, and by namespace only when one asks for pods of other nodes: most never do.
"""

from __future__ import annotations

from collections.abc import Mapping

from aggregator.cluster.objects import Pod, PodTerm
from aggregator.cluster.state import Change, ClusterState

_NAME = "scheduling.index"
Refusal = tuple[str, tuple[PodTerm, ...]]
"""Namespace, and terms of anti-affinity."""


class PodIndex:
    """Bound pods that have not ended, by namespace, and those that refuse others' company."""

    def __init__(self, state: ClusterState) -> None:
        self.revision = state.revision
        self._state = state
        self._by_namespace: dict[str, dict[str, Pod]] | None = None
        self.refusing: dict[Refusal, dict[str, Pod]] = {}
        """Pods with required anti-affinity, by what they refuse and then by key: a template's pods refuse alike."""
        for key, pod in state.pods.items():
            if pod.spec.pod_anti_affinity:
                self._add(key, pod)

    def take(self, change: Change) -> None:
        """Take in one change of the state."""
        if change.resource != "pods":
            return
        if isinstance(change.before, Pod):
            self._remove(change.key, change.before)
        if isinstance(change.after, Pod):
            self._add(change.key, change.after)

    @property
    def by_namespace(self) -> Mapping[str, Mapping[str, Pod]]:
        """Pods by namespace and key."""
        if self._by_namespace is None:
            self._by_namespace = {}
            for key, pod in self._state.pods.items():
                if pod.node and not pod.terminal:
                    self._by_namespace.setdefault(pod.namespace, {})[key] = pod
        return self._by_namespace

    def of(self, namespace: str) -> Mapping[str, Pod]:
        """Pods of a namespace, by key."""
        return self.by_namespace.get(namespace, {})

    def _add(self, key: str, pod: Pod) -> None:
        if pod.node and not pod.terminal:
            if self._by_namespace is not None:
                self._by_namespace.setdefault(pod.namespace, {})[key] = pod
            if pod.spec.pod_anti_affinity:
                self.refusing.setdefault((pod.namespace, pod.spec.pod_anti_affinity), {})[key] = pod

    def _remove(self, key: str, pod: Pod) -> None:
        if self._by_namespace is not None:
            self._by_namespace.get(pod.namespace, {}).pop(key, None)
        alike = self.refusing.get((pod.namespace, pod.spec.pod_anti_affinity))
        if alike is not None:
            alike.pop(key, None)
            if not alike:
                del self.refusing[pod.namespace, pod.spec.pod_anti_affinity]


def pod_index(state: ClusterState) -> PodIndex:
    """The index of this state, current."""
    index = state.derived.get(_NAME)
    changes = state.changes(index.revision) if isinstance(index, PodIndex) else None
    if not isinstance(index, PodIndex) or changes is None:
        index = state.derived[_NAME] = PodIndex(state)
        return index
    for change in changes:
        index.take(change)
    index.revision = state.revision
    return index
