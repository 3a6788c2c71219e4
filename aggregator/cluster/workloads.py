"""What a pod belongs to, in the operator's own terms: the Deployment rather than its ReplicaSet."""

from __future__ import annotations

from aggregator.cluster.objects import Owner, Pod
from aggregator.cluster.state import ClusterState


def workload_of(state: ClusterState, pod: Pod) -> str:
    """ "Kind/namespace/name" of its outermost controller that is known; of a pod without any, the pod itself."""
    owner = controller_of(state, pod)
    return f"{owner.kind}/{pod.namespace}/{owner.name}" if owner is not None else f"Pod/{pod.key}"


def controller_of(state: ClusterState, pod: Pod) -> Owner | None:
    """Its outermost controller that is known; None: nobody would make the pod again."""
    owner = pod.owner
    if owner is not None and owner.kind == "ReplicaSet":
        above = state.replica_sets.get(f"{pod.namespace}/{owner.name}")
        if above is not None and above.owner is not None:
            return above.owner
    return owner
