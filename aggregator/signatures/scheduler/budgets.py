"""Budgets that allow no disruption on a node that is to be drained: the drain waits for them, and they for nothing.

A node is to be drained if it is cordoned or bears a taint of those who take nodes away (cluster autoscaler, Karpenter,
Cluster API, spot terminations). What a drain leaves alone, pods of DaemonSets and the kubelet's own, holds nothing up.
"""

from __future__ import annotations

from collections.abc import Iterator

from aggregator.cluster.objects import Budget, NodeObject, Pod, Taint
from aggregator.cluster.state import ClusterState
from aggregator.model import RuledOut, Stage
from aggregator.scheduling import stops
from aggregator.scheduling.candidates import says_leaving
from aggregator.scheduling.fit import UNSCHEDULABLE
from aggregator.scheduling.selectors import STOPPING, selects
from aggregator.signatures.case import Case, api_evidence
from aggregator.signatures.scheduler.codes import PDB_DEADLOCK
from aggregator.signatures.scheduler.pools import is_usual
from aggregator.signatures.thresholds import Thresholds
from aggregator.view import ClusterView
from aggregator.wording import span

_NAME = "scheduler.draining"
_ALLOWED = "DisruptionAllowed"


def cases(view: ClusterView, thresholds: Thresholds) -> Iterator[Case]:
    """One for each budget and node. Nothing where nodes, pods or budgets are not known."""
    state = view.objects
    if not state.knows("nodes", "pods", "poddisruptionbudgets"):
        return
    draining = _draining(state)
    if not draining:
        return
    closed = [budget for _, budget in sorted(state.budgets.items()) if _is_closed(budget)]
    for name in draining:
        node = state.nodes[name]
        for budget in closed:
            covered = _covered(state, name, budget)
            held = _held_for(view, node, budget) if covered else 0.0
            if covered and (held is None or _is_for_ever(budget) or held >= thresholds.drain_blocked_min_s):
                yield _case(view, node, budget, covered, held)


def _draining(state: ClusterState) -> list[str]:
    """Nodes that are to be drained, kept until a Node changes: they are few."""
    revision = state.revisions["nodes"]
    known = state.derived.get(_NAME)
    if isinstance(known, tuple) and known[0] == revision:
        return list(known[1])
    names = sorted(name for name, node in state.nodes.items() if _is_draining(node))
    state.derived[_NAME] = (revision, names)
    return names


def _is_draining(node: NodeObject) -> bool:
    return node.unschedulable or any(_is_leaving(taint) for taint in node.taints)


def _is_leaving(taint: Taint) -> bool:
    """It is decided: a preference (a candidate for deletion) is not."""
    return taint.effect in STOPPING and says_leaving(str(taint))


def _is_closed(budget: Budget) -> bool:
    """It allows no disruption, and its numbers are of pods that there are."""
    return budget.observed and budget.allowed <= 0 and budget.expected > 0


def _is_for_ever(budget: Budget) -> bool:
    """It asks for all of its pods: what any of them does changes nothing, so there is nothing to wait for."""
    return budget.desired >= budget.expected


def _covered(state: ClusterState, node: str, budget: Budget) -> list[Pod]:
    return sorted(
        (
            pod
            for pod in state.pods_on(node).values()
            if pod.namespace == budget.namespace
            and not pod.deleted
            and is_usual(pod)
            and selects(budget.selector, pod.labels)
        ),
        key=lambda pod: pod.key,
    )


def _held_for(view: ClusterView, node: NodeObject, budget: Budget) -> float | None:
    """For how long both have been so, seconds; None: neither says since when."""
    condition = next((each for each in budget.conditions if each.type == _ALLOWED), None)
    cordoned = [
        taint.added for taint in node.taints if taint.added and (taint.key == UNSCHEDULABLE or _is_leaving(taint))
    ]
    closed = [condition.since] if condition is not None and condition.since and condition.status == "False" else []
    known = [min(cordoned), *closed] if cordoned else closed
    return max(0.0, view.now - max(known)) if known else None


def _case(view: ClusterView, node: NodeObject, budget: Budget, pods: list[Pod], held: float | None) -> Case:
    wants = (
        f"minAvailable {budget.min_available}" if budget.min_available else f"maxUnavailable {budget.max_unavailable}"
    )
    healthy = f"{budget.healthy} of {budget.expected} pods healthy, {budget.desired} must be"
    since = f" for {span(held)}" if held is not None else ""
    why = "cordoned" if node.unschedulable else "about to be taken away"
    at = view.now
    told = (
        api_evidence("poddisruptionbudgets", budget.key, "budget.allowed", budget.allowed, unit="pods", at=at),
        api_evidence("poddisruptionbudgets", budget.key, "budget.healthy", budget.healthy, unit="pods", at=at),
        api_evidence("poddisruptionbudgets", budget.key, "budget.desired", budget.desired, unit="pods", at=at),
        api_evidence("poddisruptionbudgets", budget.key, "budget.expected", budget.expected, unit="pods", at=at),
        api_evidence("nodes", node.name, "node.draining", why, at=at, node=node.name),
    )
    return Case(
        PDB_DEADLOCK,
        (budget.key,),
        f"Budget {budget.key} ({wants}) has allowed no disruption{since}: {healthy}; it covers {pods[0].key} on "
        f"{node.name}, which is {why}, so the node cannot be drained",
        (f"PodDisruptionBudget/{budget.key}", *(f"Pod/{pod.key}" for pod in pods)),
        told,
        nodes=(node.name,),
        stage=Stage.RISK,
        weight=held or 0.0,
        since=view.now - held if held else 0.0,
        remedies=_remedies(budget),
        ruled_out=(RuledOut(stops.CORDONED, "the pods on it run: it is the drain that waits"),),
    )


def _remedies(budget: Budget) -> tuple[str, ...]:
    if budget.healthy < budget.desired:
        missing = budget.desired - budget.healthy
        return (f"{missing} of its pods must become ready before any may go: see what keeps them from it.",)
    if _is_for_ever(budget):
        return (f"It asks for all of its {budget.expected} pods: no drain can ever pass. Let it allow one to be away.",)
    return ()
