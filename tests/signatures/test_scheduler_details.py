"""Details of what is said about pods that wait, each by itself."""

from __future__ import annotations

import pytest

from aggregator.cluster.objects import Condition, Pod, PodSpec
from aggregator.cluster.state import ClusterState
from aggregator.model import Finding
from aggregator.signatures import scheduler_stuck
from aggregator.signatures.scheduler.quota import _remedies as remedies_of
from aggregator.signatures.scheduler.quota import parse
from aggregator.signatures.thresholds import Thresholds
from aggregator.view import ClusterView
from tests.lab.cluster import NOW, Lab


@pytest.mark.parametrize(
    ("resource", "amounts", "lacks"),
    [
        ("cpu", ("2", "8", "9"), "1,000m more of cpu"),
        ("requests.cpu", ("500m", "800m", "1"), "300m more of requests.cpu"),
        ("limits.cpu", ("1", "1", "1"), "1,000m more of limits.cpu"),
        ("pods", ("3", "1999", "1"), "2,001 more of pods"),
        ("requests.nvidia.com/gpu", ("2", "8", "8"), "2 more of requests.nvidia.com/gpu"),
    ],
)
def test_what_one_more_pod_needs_has_its_unit(resource: str, amounts: tuple[str, str, str], lacks: str) -> None:
    asked, used, hard = amounts
    message = (
        f'pods "x" is forbidden: exceeded quota: team, requested: {resource}={asked}, used: {resource}={used}, '
        f"limited: {resource}={hard}"
    )
    refusal = parse(message)
    assert refusal is not None
    assert list(remedies_of(refusal)) == [f"One more pod needs {lacks} in quota team."]


def tainted(count: int) -> str:
    """What is said where so many nodes have a taint that the pod does not tolerate."""
    lab = Lab("sched")
    for number in range(count):
        lab.node(f"w{number}", taints=("maintenance=true:NoSchedule",))
    says = f"0/{count} nodes are available: {count} node(s) had untolerated taint(s)."
    lab.pod("shop/api-0", pending_since=-1200, scheduler_says=says)
    return lab.codes()["sched.taint"].summary


def test_four_nodes_are_named_and_the_others_counted() -> None:
    assert "(w0, w1, w2, w3)" in tainted(4)
    assert "(w0, w1, w2, w3 and 1 more)" in tainted(5)


def without_nodes(scheduler: str) -> Finding:
    """A pod of which nobody knows any node."""
    state = ClusterState()
    state.set_known("pods", known=True)
    said = Condition("PodScheduled", "False", "Unschedulable", "", NOW - 1200)
    pod = Pod("shop", "api-0", PodSpec(scheduler=scheduler), created=NOW - 1200, phase="Pending", conditions=(said,))
    state.keep("pods", "shop/api-0", pod)
    view = ClusterView("test", {}, state, NOW)
    (finding,) = scheduler_stuck.evaluate(view, Thresholds()).findings
    return finding


def test_where_nodes_are_not_known_that_is_said() -> None:
    assert "; nodes are not known" in without_nodes("default-scheduler").summary
