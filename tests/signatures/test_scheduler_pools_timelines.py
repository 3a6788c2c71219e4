"""Quotas, full and idle pools, no headroom, drains that budgets hold: positive, near miss and recovery of each code."""

from __future__ import annotations

from typing import Any

import pytest

from aggregator.signatures.scheduler import codes
from tests.lab.cluster import Lab
from tests.lab.scenario import Scenario, Want, judge, lacking, of_module, scenario
from tests.lab.shapes import stamp
from tests.signatures import test_scheduler_timelines as pending

QUOTA, IDLE = codes.QUOTA, codes.STUCK_WAITING
ROOM, DEADLOCK = codes.HEADROOM_LOW, codes.PDB_DEADLOCK
OWN = (QUOTA, IDLE, ROOM, DEADLOCK)
ALL = tuple(codes.CODES)


def but(*expected: str) -> list[str]:
    """All other codes of the incident."""
    return [code for code in ALL if code not in expected]


# -- sched.quota ---------------------------------------------------------------------------------------------------

EXCEEDED = (
    'pods "api-7d-x2x4z" is forbidden: exceeded quota: team, requested: requests.cpu=500m, used: requests.cpu=1, '
    "limited: requests.cpu=1"
)


def refused(lab: Lab, message: str = EXCEEDED, since: float = -1200.0) -> Lab:
    """The ReplicaSet shop/api-7d has two of its three pods."""
    lab.node("w1")
    lab.quota("shop/team", {"requests.cpu": "1", "pods": "10"}, {"requests.cpu": "1", "pods": "2"})
    condition = {
        "type": "ReplicaFailure",
        "status": "True",
        "lastTransitionTime": moment(lab, since),
        "reason": "FailedCreate",
        "message": message,
    }
    patch = {"status": {"conditions": [condition]}}
    lab.replicaset("shop/api-7d", replicas=3, made=2, owner=("Deployment", "api"), patch=patch)
    return lab


def moment(lab: Lab, at: float) -> str:
    """A time relative to the lab's now."""
    return stamp(lab.now + at)


def refused_by_event(lab: Lab, kind: str, key: str, message: str, **event: Any) -> Lab:
    """A controller whose attempts only events tell of."""
    lab.node("w1")
    lab.quota("shop/team", {"pods": "2"}, {"pods": "2"})
    said = {"first": -1500.0, "last": -200.0, "count": 14, **event}
    lab.event(kind, key, "FailedCreate", message, **said)
    return lab


PODS = "is forbidden: exceeded quota: team, requested: pods=1, used: pods=2, limited: pods=2"


@scenario
def sched_quota__positive() -> Scenario:
    return Scenario(
        refused(Lab()),
        why="there is no pod to look at: only the ReplicaSet tells",
        expect=[
            Want(
                QUOTA,
                objects=["ReplicaSet/shop/api-7d", "Deployment/shop/api", "ResourceQuota/shop/team"],
                count=1,
                says=[
                    "2 of 3 pods are there",
                    "requests.cpu 1 of 1 used, 500m more asked",
                    "500m more of requests.cpu",
                ],
            )
        ],
        forbid=but(QUOTA),
    )


@scenario
def sched_quota__positive_a_job_by_its_events() -> Scenario:
    return Scenario(
        refused_by_event(Lab(), "Job", "shop/load", f'Error creating: pods "load-abcde" {PODS}'),
        why="Jobs have no condition for it",
        expect=[Want(QUOTA, objects=["Job/shop/load", "ResourceQuota/shop/team"])],
        forbid=but(QUOTA),
    )


@scenario
def sched_quota__positive_a_stateful_set_by_its_events() -> Scenario:
    lab = Lab()
    message = f'create Pod pg-2 in StatefulSet pg failed error: pods "pg-2" {PODS}'
    lab.statefulset("shop/pg", replicas=3, made=2)
    return Scenario(
        refused_by_event(lab, "StatefulSet", "shop/pg", message),
        why="two of three, and the third is never made",
        expect=[Want(QUOTA, objects=["StatefulSet/shop/pg"], says=["2 of 3 pods are there"])],
        forbid=but(QUOTA),
    )


@scenario
def sched_quota__positive_what_the_quota_asks_for_is_not_specified() -> Scenario:
    message = 'Error creating: pods "agent-abcde" is forbidden: failed quota: team: must specify limits.cpu for: app'
    return Scenario(
        refused_by_event(Lab(), "DaemonSet", "shop/agent", message),
        why="a quota of limits refuses pods without limits",
        expect=[Want(QUOTA, objects=["DaemonSet/shop/agent"], says=["limits.cpu"])],
        forbid=but(QUOTA),
    )


@scenario
def sched_quota__near_miss_it_succeeded_since() -> Scenario:
    lab = Lab()
    lab.statefulset("shop/pg", replicas=3)
    message = f'create Pod pg-2 in StatefulSet pg failed error: pods "pg-2" {PODS}'
    return Scenario(refused_by_event(lab, "StatefulSet", "shop/pg", message), why="all three are there", forbid=ALL)


@scenario
def sched_quota__near_miss_the_quota_has_room_again() -> Scenario:
    lab = refused(Lab())
    lab.quota("shop/team", {"requests.cpu": "4"}, {"requests.cpu": "1"})
    return Scenario(lab, why="the quota was raised; the controller tries again within minutes", forbid=ALL)


@scenario
def sched_quota__near_miss_long_ago() -> Scenario:
    message = f'Error creating: pods "load-abcde" {PODS}'
    lab = refused_by_event(Lab(), "Job", "shop/load", message, first=-3400.0, last=-3000.0)
    return Scenario(lab, why="nobody has tried for fifty minutes", forbid=ALL)


@scenario
def sched_quota__near_miss_another_refusal() -> Scenario:
    message = 'Error creating: pods "x" is forbidden: error looking up service account shop/api: not found'
    lab = refused(Lab(), message)
    return Scenario(lab, why="refused, but by no quota", forbid=ALL)


@scenario
def sched_quota__recovery() -> Scenario:
    lab = refused(Lab())
    lab.tick(60)
    lab.quota("shop/team", {"requests.cpu": "4"}, {"requests.cpu": "1500m"})
    lab.replicaset("shop/api-7d", replicas=3, owner=("Deployment", "api"))
    return Scenario(lab, why="the quota was raised", at_each=[[QUOTA], []], watched=ALL)


# -- sched.stuck_waiting -------------------------------------------------------------------------------------------


def pool(lab: Lab, *, cpu: float, memory: float = 0.3, count: int = 3, work: str = "1900m", agents: int = 9) -> Lab:
    """Nodes of a pool with two pods each, and agents on the first of them; a minute passes, so that CPU is measured."""
    for number in range(1, count + 1):
        lab.node(f"p{number}", pool="main")
        for each in (1, 2):
            owner = ("ReplicaSet", "web-5c")
            lab.pod(f"shop/web-5c-{number}{each}", node=f"p{number}", owner=owner, requests={"cpu": work})
        if number <= agents:
            lab.host(f"p{number}").usage(cpu, memory)
    lab.tick(60)
    return lab


@scenario
def sched_stuck_waiting__positive() -> Scenario:
    return Scenario(
        pool(Lab(), cpu=0.25, work="1950m"),
        why="97.5 % of the CPU is requested and a quarter is used: the next deployment waits on idle machines",
        expect=[Want(IDLE, stage="risk", count=1, says=["98 %", "25 %", "measured on 3 of 3 nodes", "pool main"])],
        forbid=but(IDLE, ROOM),
    )


@scenario
def sched_stuck_waiting__positive_memory_and_some_nodes_without_an_agent() -> Scenario:
    lab = Lab()
    for number in (1, 2, 3, 4):
        lab.node(f"p{number}", pool="main")
        lab.pod(f"shop/cache-{number}", node=f"p{number}", requests={"cpu": "1", "memory": "15800Mi"})
        if number < 3:
            lab.host(f"p{number}").usage(0.2, 0.4)
    lab.tick(60)
    return Scenario(
        lab,
        why="of memory too; the finding says how many nodes are measured",
        expect=[Want(IDLE, stage="risk", says=["memory", "measured on 2 of 4 nodes"])],
        forbid=but(IDLE, ROOM),
    )


@scenario
def sched_stuck_waiting__near_miss_full_and_busy() -> Scenario:
    return Scenario(pool(Lab(), cpu=0.8, work="1950m"), why="the machines work", forbid=but(ROOM))


@scenario
def sched_stuck_waiting__near_miss_room_for_more() -> Scenario:
    return Scenario(pool(Lab(), cpu=0.1, work="1500m"), why="three quarters are requested", forbid=but(ROOM))


@scenario
def sched_stuck_waiting__near_miss_nobody_measures() -> Scenario:
    lab = pool(Lab(), cpu=0.1, work="1950m", agents=0)
    return Scenario(lab, why="what is used is not known: a coverage entry", forbid=but(ROOM))


@scenario
def sched_stuck_waiting__near_miss_the_rest_of_the_pool_is_free() -> Scenario:
    lab = Lab()
    lab.node("p9", pool="main")
    lab.host("p9").usage(0.05, 0.1)
    return Scenario(pool(lab, cpu=0.2, work="1950m"), why="a fourth node is empty", forbid=but(ROOM))


@scenario
def sched_stuck_waiting__recovery() -> Scenario:
    lab = pool(Lab(), cpu=0.25, work="1950m")
    lab.tick(60)
    for number in (1, 2, 3):
        lab.host(f"p{number}").usage(0.9, 0.3)
    lab.tick(60)
    return Scenario(lab, why="the machines are used", at_each=[[], [IDLE], [IDLE], []], watched=[IDLE])


def test_a_full_pool_that_nobody_measures_is_a_gap() -> None:
    gaps = pool(Lab(), cpu=0.1, work="1950m", agents=0).diagnose().gaps
    assert [gap.because for gap in gaps if gap.signal == "usage"] == [
        "pool main: 98 % of its CPU is requested; what is used is not known"
    ]


# -- sched.headroom_low --------------------------------------------------------------------------------------------


def three(lab: Lab, cpu: str, count: int = 2, memory: str = "1Gi") -> Lab:
    """Three nodes of 4 CPU with so many pods of one size each, and a DaemonSet's."""
    for number in (1, 2, 3):
        lab.node(f"p{number}", pool="main")
        lab.pod(f"kube-system/cni-{number}", node=f"p{number}", owner=("DaemonSet", "cni"), requests={"cpu": "50m"})
        for each in range(count):
            requests = {"cpu": cpu, "memory": memory}
            lab.pod(f"shop/web-{number}{each}", node=f"p{number}", owner=("ReplicaSet", "web"), requests=requests)
    return lab


@scenario
def sched_headroom_low__positive() -> Scenario:
    return Scenario(
        three(Lab(), "1500m"),
        why="0.95 CPU are free on each node and the pods ask for 1.5: the next one fits nowhere",
        expect=[Want(ROOM, stage="risk", severity="info", says=["1,500m CPU", "550m CPU short", "pool main"])],
        forbid=but(ROOM),
    )


@scenario
def sched_headroom_low__positive_both_amounts_must_be_on_one_node() -> Scenario:
    lab = three(Lab(), "1", count=1, memory="8Gi")
    for name in ("a", "b"):
        lab.pod(f"shop/cpu-{name}", node="p1", requests={"cpu": "1250m"})
    for number in (2, 3):
        lab.pod(f"shop/memory-{number}", node=f"p{number}", requests={"cpu": "10m", "memory": "3Gi"})
        lab.pod(f"shop/memory-{number}b", node=f"p{number}", requests={"cpu": "10m", "memory": "3Gi"})
    return Scenario(
        lab,
        why="CPU is free on two nodes and memory on the third",
        expect=[Want(ROOM, stage="risk", severity="info")],
        forbid=but(ROOM),
    )


@scenario
def sched_headroom_low__near_miss_small_pods() -> Scenario:
    return Scenario(three(Lab(), "350m", count=10), why="nine tenths are requested and the pods are small", forbid=ALL)


@scenario
def sched_headroom_low__near_miss_one_large_pod_among_many() -> Scenario:
    lab = three(Lab(), "100m", count=9)
    lab.pod("etl/giant", node="p1", requests={"cpu": "3"})
    return Scenario(lab, why="one in twenty-eight is no usual size", forbid=ALL)


@scenario
def sched_headroom_low__near_miss_gated_pods() -> Scenario:
    lab = three(Lab(), "500m")
    for number in range(9):
        lab.pod(f"ml/train-{number}", pending_since=-900, gates=["kueue.x-k8s.io/admission"], requests={"cpu": "4"})
    return Scenario(lab, why="nine large pods that are not looking for room yet", forbid=ALL)


@scenario
def sched_headroom_low__near_miss_of_the_control_plane() -> Scenario:
    lab = three(Lab(), "500m")
    lab.node("cp-1", role="control-plane")
    for name in ("etcd", "apiserver"):
        lab.pod(f"kube-system/{name}-cp-1", node="cp-1", owner=("Node", "cp-1"), requests={"cpu": "1900m"})
        lab.pod(f"kube-system/{name}-more", node="cp-1", requests={"cpu": "100m"})
    return Scenario(lab, why="nobody puts pods there", forbid=ALL)


@scenario
def sched_headroom_low__recovery() -> Scenario:
    lab = three(Lab(), "1500m")
    lab.tick(60)
    lab.node("p4", pool="main")
    return Scenario(lab, why="a node came", at_each=[[ROOM], []], watched=ALL)


# -- sched.pdb_deadlock --------------------------------------------------------------------------------------------


def draining(lab: Lab, *, healthy: int = 2, allowed: int = 0, taints: tuple[str, ...] = (), **budget: Any) -> Lab:
    """shop/web has two replicas and a budget that asks for two; n1 is to be drained."""
    lab.node("n1", cordoned=not taints, taints=taints)
    lab.node("n2")
    for number in (1, 2):
        lab.pod(f"shop/web-5c-{number}", node=f"n{number}", owner=("ReplicaSet", "web-5c"), labels={"app": "web"})
    wanted = {"selector": "app=web", "min_available": 2, "desired": 2, "expected": 2, **budget}
    lab.budget("shop/web", allowed=allowed, healthy=healthy, **wanted)
    return lab


@scenario
def sched_pdb_deadlock__positive() -> Scenario:
    return Scenario(
        draining(Lab()),
        why="minAvailable equals the replicas: the drain waits for ever",
        expect=[
            Want(
                DEADLOCK,
                stage="risk",
                nodes=["n1"],
                objects=["PodDisruptionBudget/shop/web", "Pod/shop/web-5c-1"],
                count=1,
                says=["minAvailable 2", "no drain can ever pass"],
            )
        ],
        forbid=but(DEADLOCK),
    )


@scenario
def sched_pdb_deadlock__positive_by_those_who_take_nodes_away() -> Scenario:
    lab = draining(Lab(), healthy=1, taints=("karpenter.sh/disrupted:NoSchedule",))
    return Scenario(
        lab,
        why="Karpenter's taint in place of a cordon, and a pod that is not ready",
        expect=[
            Want(DEADLOCK, stage="risk", nodes=["n1"], says=["1 of 2 pods healthy", "1 of its pods must become ready"])
        ],
        forbid=but(DEADLOCK),
    )


@scenario
def sched_pdb_deadlock__near_miss_one_may_go() -> Scenario:
    return Scenario(draining(Lab(), allowed=1, min_available=1, desired=1), why="the drain passes", forbid=ALL)


@scenario
def sched_pdb_deadlock__near_miss_nobody_drains() -> Scenario:
    lab = draining(Lab())
    lab.node("n1")
    return Scenario(lab, why="the budget is as it is, and no node is to be drained", forbid=ALL)


@scenario
def sched_pdb_deadlock__near_miss_the_controller_has_not_looked() -> Scenario:
    return Scenario(draining(Lab(), observed=False), why="its numbers are of another budget", forbid=ALL)


@scenario
def sched_pdb_deadlock__near_miss_of_daemons_and_of_others() -> Scenario:
    lab = draining(Lab())
    lab.pod("shop/web-5c-1", node="n1", owner=("DaemonSet", "web"), labels={"app": "web"})
    lab.pod("other/web-1", node="n1", owner=("ReplicaSet", "web-5c"), labels={"app": "web"})
    return Scenario(lab, why="a drain leaves daemons alone, and another namespace's pods are not covered", forbid=ALL)


@scenario
def sched_pdb_deadlock__near_miss_a_pod_was_unready_for_a_moment() -> Scenario:
    lab = draining(Lab(), healthy=1, min_available=1, desired=1)
    told = {"type": "DisruptionAllowed", "status": "False", "reason": "InsufficientPods", "message": ""}
    condition = {**told, "observedGeneration": 1, "lastTransitionTime": moment(lab, -30)}
    lab.change("PodDisruptionBudget/shop/web", {"status": {"conditions": [condition]}})
    return Scenario(lab, why="its replacement is starting", forbid=ALL)


@scenario
def sched_pdb_deadlock__recovery() -> Scenario:
    lab = draining(Lab())
    lab.tick(60)
    lab.pod("shop/web-5c-3", node="n2", owner=("ReplicaSet", "web-5c"), labels={"app": "web"})
    lab.budget("shop/web", selector="app=web", min_available=2, allowed=1, healthy=3, desired=2, expected=3)
    return Scenario(lab, why="a third replica", at_each=[[DEADLOCK], []], watched=ALL)


SCENARIOS = of_module(__name__)


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(name: str) -> None:
    judge(SCENARIOS[name](), by_word=True)


def test_each_code_has_all_three() -> None:
    assert not lacking(OWN, SCENARIOS)
    assert {*OWN, *pending.OWN} == set(codes.CODES)
