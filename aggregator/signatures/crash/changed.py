"""What of a pod's identity was changed shortly before it began to fail: its ServiceAccount, the Secrets that it reads.

Of Secrets no more than names and times is ever known here. Where they may not be read, nothing is known of changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from aggregator.cluster.objects import Credential, Pod
from aggregator.cluster.state import ClusterState
from aggregator.signatures.thresholds import Thresholds

_SLACK_S = 60.0
"""What follows may seem to have begun so much earlier: the first failure is told by another clock."""
_MADE_S = 5.0
"""A change so soon after it was made is the making."""
_INSTALLED_S = 600.0
"""A workload that was made within so long of its Secret is new with it: nothing of it was changed."""


@dataclass(frozen=True, slots=True)
class Changed:
    """An object that was changed, or made anew."""

    object: str
    """"Secret/ns/name", "ServiceAccount/ns/name"."""
    at: float
    """Seconds since the epoch."""


def changed_before(
    pod: Pod, names: Iterable[str], began: float, state: ClusterState, limits: Thresholds
) -> tuple[Changed, ...]:
    """Which of these ("Secret/ns/name") were changed shortly before the pod began to fail."""
    return tuple(_changed(pod, names, began, state, limits))


def _changed(
    pod: Pod, names: Iterable[str], began: float, state: ClusterState, limits: Thresholds
) -> Iterator[Changed]:
    for name in names:
        kind, _, key = name.partition("/")
        found = (state.secrets if kind == "Secret" else state.service_accounts).get(key)
        if found is None or not found.changed:
            continue
        if -_SLACK_S <= began - found.changed <= limits.identity_changed_before_s and not _installed(pod, found, state):
            yield Changed(name, found.changed)


def _installed(pod: Pod, found: Credential, state: ClusterState) -> bool:
    """It was made, not changed, and its workload with it."""
    if found.changed - found.created > _MADE_S:
        return False
    born = pod.created
    owner = pod.owner
    if owner is not None:
        key = f"{pod.namespace}/{owner.name}"
        workload = {"ReplicaSet": state.replica_sets, "StatefulSet": state.stateful_sets}.get(owner.kind, {}).get(key)
        born = workload.created if workload is not None else born
    return abs(born - found.created) < _INSTALLED_S or born > found.created
