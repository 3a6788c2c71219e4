"""What the loss of nodes or zones would mean: which pods would come back elsewhere, which could not, and why not.

An estimate in one respect: pods are placed one after the other, the most urgent and the most constrained first, each on
the first node that takes it, so that no two count on the same room. The real scheduler may choose better or worse, and
it may preempt pods of lower priority, which is left out here. Pure.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Set
from typing import cast

from aggregator.cluster.objects import Pod
from aggregator.cluster.state import ClusterState
from aggregator.cluster.workloads import controller_of
from aggregator.topology import Terms, Topology, pinned_volumes, terms_of, topology_of
from aggregator.view import ClusterView
from aggregator.whatif.loss import Cause, Loss, Stranded, WhatIfError, WhatIfUnknownError
from aggregator.whatif.nodes import reachable
from aggregator.whatif.placing import Mover, Placing, urgency
from aggregator.wording import some

NEEDED = ("nodes", "pods")
"""Resources of the API server without which nothing can be said."""
WANTED = ("persistentvolumeclaims", "persistentvolumes", "csinodes", "replicasets")
"""... and those without which less can be."""
_STAYING = ("DaemonSet", "Node")
"""Controllers whose pods belong to their node: they are not missed elsewhere. Node: a static pod's mirror."""
_STEP = 100
"""Nodes that are looked at, and pods that are placed, in one step."""

_NAMED = 12


def nodes_of(view: ClusterView, zones: Iterable[str], nodes: Iterable[str]) -> tuple[str, ...]:
    """Names of all nodes of these zones, and these nodes. Raises WhatIfError for one that there is not."""
    state = view.objects
    missing = [resource for resource in NEEDED if not state.knows(resource)]
    if missing:
        raise WhatIfUnknownError(f"{' and '.join(missing)} of the API server are not known: nothing can be said")
    topology = topology_of(state)
    there = sorted({zone for zone in topology.zones.values() if zone})
    found: dict[str, None] = {}
    for zone in zones:
        if zone not in there:
            raise WhatIfError(f"no node is in zone {zone}; zones there are: {some(there, _NAMED)}")
        found.update((name, None) for name, its in topology.zones.items() if its == zone)
    for name in nodes:
        if name not in state.nodes:
            raise WhatIfError(f"there is no node {name}; nodes there are: {some(sorted(state.nodes), _NAMED)}")
        found[name] = None
    if not found:
        raise WhatIfError("no node and no zone is named that would be lost")
    return tuple(found)


def lose(view: ClusterView, nodes: Iterable[str]) -> Loss:
    """What would follow if these nodes were lost now. `nodes`: names that the view has."""
    steps = lose_in_steps(view, nodes)
    while True:
        try:
            next(steps)
        except StopIteration as done:
            return cast(Loss, done.value)


def lose_in_steps(view: ClusterView, nodes: Iterable[str]) -> Generator[None, None, Loss]:
    """The same in steps of a few milliseconds, for whoever has other things to do meanwhile. What happens to the view
    between them may or may not be in the answer."""
    state, lost = view.objects, tuple(dict.fromkeys(nodes))
    topology = topology_of(state)
    gone = frozenset(lost) | {name for name, node in state.nodes.items() if not reachable(node)}
    census = _Census(state, topology, gone)
    for number, name in enumerate(lost, 1):
        census.take(name)
        if not number % _STEP:
            yield
    placing = Placing(state, topology, gone)
    yield
    for number, mover in enumerate(sorted(census.movers, key=urgency), 1):
        if placing.place(mover) or not number % _STEP:
            yield
    unknown = [f"{resource} of the API server are not known" for resource in WANTED if not state.knows(resource)]
    return Loss(
        lost,
        tuple(
            sorted([*census.orphans, *placing.stranded()], key=lambda each: (each.cause, each.workload, each.because))
        ),
        tuple(placing.returning()),
        census.going,
        (*unknown, *sorted(placing.unknown)),
    )


class _Census:
    """The pods of the nodes that are lost."""

    def __init__(self, state: ClusterState, topology: Topology, gone: Set[str]) -> None:
        self._state = state
        self._topology = topology
        self._gone = gone
        self._left: dict[Terms, int] = {}
        self.movers: list[Mover] = []
        """Those that have to come back."""
        self.orphans: list[Stranded] = []
        """Those that nobody makes again."""
        self.going = 0
        """The number of those that belong to their node."""

    def take(self, node: str) -> None:
        """Count the pods of one node."""
        for _, pod in sorted(self._state.pods_on(node).items()):
            if pod.terminal or pod.deleted:
                continue
            owner = controller_of(self._state, pod)
            if owner is None:
                self.orphans.append(_orphan(pod))
            elif owner.kind in _STAYING:
                self.going += 1
            else:
                pinned = pinned_volumes(self._state, pod)
                self.movers.append(Mover(pod, pinned, self._candidates(terms_of(pinned))))

    def _candidates(self, terms: Terms) -> int:
        """Nodes left on which such volumes can be used."""
        if terms not in self._left:
            self._left[terms] = sum(name not in self._gone for name in self._topology.usable(terms))
        return self._left[terms]


def _orphan(pod: Pod) -> Stranded:
    because, needs = "it has no controller: nobody makes it again", ("a Deployment or StatefulSet of its own",)
    return Stranded(f"Pod/{pod.key}", Cause.NOT_MADE_AGAIN, because, needs, (pod.key,))
