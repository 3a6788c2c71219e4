"""The cluster as a pod would find it: as it is, or without some nodes and pods. Nothing is copied for the what-if."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set

from msgspec.structs import replace

from aggregator.cluster.objects import Amounts, NodeObject, Pod
from aggregator.cluster.state import ClusterState
from aggregator.scheduling.index import Refusal, pod_index


class Cluster:
    """A view of `state` that holds until the state changes."""

    def __init__(
        self,
        state: ClusterState,
        without_nodes: Set[str] = frozenset(),
        without_pods: Set[str] = frozenset(),
    ) -> None:
        """`without_nodes`: names of nodes that are gone, with all that is on them; `without_pods`: keys of pods that
        are gone ("namespace/name")."""
        self.state = state
        self.without_nodes = without_nodes
        self.without_pods = without_pods
        self._changed: dict[str, dict[str, int]] = {}
        self._placed: dict[str, Pod] = {}
        self._placed_on: dict[str, list[Pod]] = {}
        self._placed_refusing: dict[Refusal, list[Pod]] = {}
        for key in without_pods:
            pod = state.pods.get(key)
            if pod is not None and pod.node and not pod.terminal:
                self._count(pod, pod.node, -1)
        self._nominated: dict[str, list[Pod]] = {}
        for key, pod in state.waiting.items():
            if pod.nominated_node and key not in without_pods:
                self._nominated.setdefault(pod.nominated_node, []).append(pod)

    def _count(self, pod: Pod, node: str, sign: int) -> None:
        changed = self._changed.get(node)
        if changed is None:
            changed = self._changed[node] = dict(self.state.requested(node))
        changed["pods"] = changed.get("pods", 0) + sign
        for name, amount in pod.spec.requests.items():
            changed[name] = changed.get(name, 0) + sign * amount

    def place(self, pod: Pod, node: str) -> None:
        """A pod that is gone, or whose node is, has come back on this one: who is asked about from now on finds it."""
        self._placed[pod.key] = placed = replace(pod, node=node)
        self._placed_on.setdefault(node, []).append(placed)
        if pod.spec.pod_anti_affinity:
            self._placed_refusing.setdefault((pod.namespace, pod.spec.pod_anti_affinity), []).append(placed)
        self._count(pod, node, 1)

    def nodes(self) -> Iterator[NodeObject]:
        """Nodes that are there."""
        if not self.without_nodes:
            return iter(self.state.nodes.values())
        return (node for name, node in self.state.nodes.items() if name not in self.without_nodes)

    def node(self, name: str) -> NodeObject | None:
        """The node of this name, if it is there."""
        return None if name in self.without_nodes else self.state.nodes.get(name)

    def requested(self, node: str) -> Amounts:
        """What the pods on a node request together; "pods" is their number."""
        return self._changed[node] if node in self._changed else self.state.requested(node)

    def pods_on(self, node: str) -> Iterator[Pod]:
        """Pods bound to the node that have not ended."""
        for key, pod in self.state.pods_on(node).items():
            if not pod.terminal and key not in self.without_pods:
                yield pod
        yield from self._placed_on.get(node, ())

    def nominated(self, node: str) -> Iterable[Pod]:
        """Pods that are to get the place that others free on this node."""
        return self._nominated.get(node, ())

    def bound_pods(self, namespace: str) -> Iterator[Pod]:
        """Pods of a namespace that have a node that is there and have not ended."""
        yield from self._there(pod_index(self.state).of(namespace))
        yield from (pod for pod in self._placed.values() if pod.namespace == namespace)

    def all_bound_pods(self) -> Iterator[Pod]:
        """The same of all namespaces."""
        for pods in pod_index(self.state).by_namespace.values():
            yield from self._there(pods)
        yield from self._placed.values()

    def refusals(self) -> Iterator[tuple[Refusal, Iterator[Pod]]]:
        """What bound pods with required anti-affinity refuse, and the pods that refuse it."""
        for refusal, pods in pod_index(self.state).refusing.items():
            yield refusal, self._there(pods)
        for refusal, placed in self._placed_refusing.items():
            yield refusal, iter(placed)

    def users_of(self, claim: str) -> Iterator[Pod]:
        """Pods that name the claim "namespace/name", have a node that is there and have not ended."""
        for pod in self._there(self.state.pods_of_claim(claim)):
            if pod.node and not pod.terminal:
                yield pod
        named = (self._placed.get(key) for key in self.state.pods_of_claim(claim))
        yield from (pod for pod in named if pod is not None)

    def _there(self, pods: Mapping[str, Pod]) -> Iterator[Pod]:
        for key, pod in pods.items():
            if pod.node not in self.without_nodes and key not in self.without_pods:
                yield pod
