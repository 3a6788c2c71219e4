"""Pods that no node takes: positive, near miss and recovery of each code of the scheduler's incident."""

from __future__ import annotations

from typing import Any

import pytest

from aggregator.model import Stage
from aggregator.scheduling import stops
from aggregator.scheduling.cause import FRAGMENTATION
from aggregator.signatures.scheduler import codes
from tests.lab.cluster import Lab
from tests.lab.pods import ContainerFields
from tests.lab.scenario import Scenario, Want, judge, lacking, of_module, scenario

OWN = (
    stops.TOO_LARGE,
    FRAGMENTATION,
    stops.INSUFFICIENT,
    stops.TOO_MANY_PODS,
    stops.TAINT,
    stops.NODE_AFFINITY,
    stops.POD_AFFINITY,
    stops.SPREAD,
    stops.HOST_PORT,
    stops.VOLUME_ZONE,
    stops.UNBOUND_CLAIM,
    stops.VOLUME_IN_USE,
    stops.VOLUME_LIMIT,
    stops.CORDONED,
    stops.RESOURCE_CLAIM,
    codes.UNKNOWN,
)
ALL = tuple(code for code in codes.CODES if code != codes.HEADROOM_LOW)
ROOM = "kubernetes.io/hostname"
ZONE = "topology.kubernetes.io/zone"
POD = "Pod/shop/api-7d-abcde"
NONE_FREE = "0/{0} nodes are available: {0} Insufficient cpu. no new claims to deallocate, preemption: 0/{0} nodes are "
NONE_FREE += "available: {0} No preemption victims found for incoming pod."
TAINTED = "0/{0} nodes are available: {0} node(s) had untolerated taint(s). preemption: 0/{0} nodes are available: {0} "
TAINTED += "Preemption is not helpful for scheduling."


def workers(*taken: str, **fields: Any) -> Lab:
    """Nodes w1, w2, ... of 4 CPU, each with so much CPU taken by a Deployment's pod ("0": none)."""
    lab = Lab("sched")
    lab.storage_class("gp3", default=True)
    for number, cpu in enumerate(taken, 1):
        lab.node(f"w{number}", **fields)
        if cpu != "0":
            lab.pod(f"etl/load-6f-{number}", node=f"w{number}", owner=("ReplicaSet", "load-6f"), requests={"cpu": cpu})
    return lab


def stuck(lab: Lab, says: str = "", since: float = -1200.0, key: str = "shop/api-7d-abcde", **pod: Any) -> Lab:
    """A pod of the ReplicaSet shop/api-7d waits for a node."""
    lab.replicaset("shop/api-7d", replicas=1, ready=0, owner=("Deployment", "api"))
    lab.pod(key, owner=("ReplicaSet", "api-7d"), pending_since=since, scheduler_says=says, **pod)
    return lab


def placed(lab: Lab, node: str, **pod: Any) -> Lab:
    """It has a node now."""
    lab.replicaset("shop/api-7d", replicas=1, owner=("Deployment", "api"))
    lab.pod("shop/api-7d-abcde", owner=("ReplicaSet", "api-7d"), node=node, **pod)
    return lab


def found(code: str, *objects: str, **more: Any) -> list[Want]:
    """The pod's finding, critical after 20 minutes."""
    return [Want(code, **{"objects": [POD, *objects], "severity": "critical", "count": 1, **more})]


def but(*expected: str) -> list[str]:
    """All other codes of the incident."""
    return [code for code in ALL if code not in expected]


# -- sched.too_large -----------------------------------------------------------------------------------------------


@scenario
def sched_too_large__positive() -> Scenario:
    return Scenario(
        stuck(workers("1", "0", "0"), NONE_FREE.format(3), requests={"cpu": "6"}),
        why="the message only says Insufficient cpu, but not even an empty node has six",
        expect=found(stops.TOO_LARGE, "ReplicaSet/shop/api-7d", "Deployment/shop/api", says=["6 CPU", "4 CPU"]),
        forbid=but(stops.TOO_LARGE),
    )


@scenario
def sched_too_large__positive_sidecar_and_overhead_count() -> Scenario:
    return Scenario(
        stuck(
            workers("0", "0"),
            NONE_FREE.format(2),
            requests={"cpu": "2"},
            init_containers=[ContainerFields(name="proxy", requests={"cpu": "1500m"}, restartable=True)],
            overhead={"cpu": "600m"},
        ),
        why="two CPU alone would fit; the sidecar and the overhead of its runtime class are added",
        expect=found(stops.TOO_LARGE, says=["4,100m CPU"]),
        forbid=but(stops.TOO_LARGE),
    )


@scenario
def sched_too_large__positive_a_larger_node_of_another_pool() -> Scenario:
    lab = workers("0", "0")
    lab.node("big", cpu="64", taints=["dedicated=ml:NoSchedule"])
    says = "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient cpu."
    return Scenario(
        stuck(lab, says, requests={"cpu": "6"}),
        why="the large node is kept for others; the finding names it and what keeps the pod off",
        expect=found(stops.TOO_LARGE, says=["big of pool", "dedicated=ml:NoSchedule"]),
        forbid=but(stops.TOO_LARGE),
    )


@scenario
def sched_too_large__near_miss_a_cordoned_node_could_hold_it() -> Scenario:
    lab = workers("1", "1", "1")
    lab.node("big", cpu="16", cordoned=True)
    says = "0/4 nodes are available: 1 node(s) were unschedulable, 3 Insufficient cpu."
    return Scenario(
        stuck(lab, says, requests={"cpu": "6"}),
        why="waiting helps: the large node will be uncordoned",
        expect=found(stops.INSUFFICIENT),
        forbid=but(stops.INSUFFICIENT),
    )


@scenario
def sched_too_large__near_miss_what_init_containers_ask_for_is_not_added() -> Scenario:
    lab = workers("0", "0")
    init = [ContainerFields(name=name, requests={"cpu": "3"}) for name in ("fetch", "migrate")]
    placed(lab, "w1", requests={"cpu": "3"}, init_containers=init)
    return Scenario(lab, why="init containers run one after the other, before the others", forbid=ALL)


@scenario
def sched_too_large__recovery() -> Scenario:
    lab = stuck(workers("0"), NONE_FREE.format(1), requests={"cpu": "6"})
    lab.tick(60)
    lab.node("big", cpu="8")
    placed(lab, "big", requests={"cpu": "6"})
    return Scenario(lab, why="a larger node came", at_each=[[stops.TOO_LARGE], []], watched=ALL)


# -- sched.fragmentation -------------------------------------------------------------------------------------------


@scenario
def sched_fragmentation__positive() -> Scenario:
    return Scenario(
        stuck(workers("3", "3", "3"), NONE_FREE.format(3), requests={"cpu": "2"}),
        why="three CPU are free in sum, one on each node",
        expect=found(FRAGMENTATION, says=["3 CPU are free on 3 nodes", "1 CPU at most", "w1 lacks the least: 1 CPU"]),
        forbid=but(FRAGMENTATION),
    )


@scenario
def sched_fragmentation__positive_one_move_makes_room() -> Scenario:
    lab = workers("2", "2")
    for number in (1, 2):
        lab.pod(f"etl/small-{number}", node=f"w{number}", owner=("StatefulSet", "small"), requests={"cpu": "500m"})
    return Scenario(
        stuck(lab, NONE_FREE.format(2), requests={"cpu": "2"}),
        why="1.5 CPU are free on each; a pod of 0.5 CPU can move from one to the other",
        expect=found(FRAGMENTATION, says=["Moving etl/small-1 (500m CPU) from w1 to w2 would make room on w1"]),
        forbid=but(FRAGMENTATION),
    )


@scenario
def sched_fragmentation__positive_devices() -> Scenario:
    lab = workers("0")
    for name in ("g1", "g2"):
        lab.node(name, extended={"nvidia.com/gpu": "4"})
        lab.pod(f"ml/old-{name}", node=name, owner=("Job", f"old-{name}"), requests={"nvidia.com/gpu": "2"})
    says = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
    return Scenario(
        stuck(lab, says, requests={"nvidia.com/gpu": "4"}),
        why="four GPUs are free, two on each node; the node without any was never meant for it",
        expect=found(FRAGMENTATION, says=["4 nvidia.com/gpu are free on 2 nodes", "2 nvidia.com/gpu at most"]),
        forbid=but(FRAGMENTATION),
    )


@scenario
def sched_fragmentation__near_miss_the_sum_is_short() -> Scenario:
    return Scenario(
        stuck(workers("3500m", "3500m", "3500m"), NONE_FREE.format(3), requests={"cpu": "2"}),
        why="1.5 CPU are free in sum",
        expect=found(stops.INSUFFICIENT),
        forbid=but(stops.INSUFFICIENT),
    )


@scenario
def sched_fragmentation__near_miss_the_rest_is_cordoned() -> Scenario:
    lab = workers("3500m", "3500m", "3500m")
    lab.node("w4", cordoned=True)
    says = "0/4 nodes are available: 1 node(s) were unschedulable, 3 Insufficient cpu."
    return Scenario(
        stuck(lab, says, requests={"cpu": "2"}),
        why="what a cordoned node has free is not free",
        expect=found(stops.INSUFFICIENT),
        forbid=but(stops.INSUFFICIENT),
    )


@scenario
def sched_fragmentation__recovery() -> Scenario:
    lab = stuck(workers("3", "3", "3"), NONE_FREE.format(3), requests={"cpu": "2"})
    lab.tick(60)
    lab.delete("Pod/etl/load-6f-1")
    placed(lab, "w1", requests={"cpu": "2"})
    return Scenario(lab, why="a pod ended", at_each=[[FRAGMENTATION], []], watched=ALL)


# -- sched.insufficient_resources ----------------------------------------------------------------------------------


@scenario
def sched_insufficient_resources__positive_beside_the_control_plane() -> Scenario:
    lab = workers("3800m", "3800m")
    for number in (1, 2, 3):
        lab.node(f"cp-{number}", role="control-plane")
    says = (
        "0/5 nodes are available: 2 Insufficient cpu, 3 node(s) had untolerated taint "
        "{node-role.kubernetes.io/control-plane: }. preemption: 0/5 nodes are available: 2 No preemption victims found "
        "for incoming pod, 3 Preemption is not helpful for scheduling."
    )
    return Scenario(
        stuck(lab, says, requests={"cpu": "1500m"}),
        why="the taints of the control plane are as they should be, though they are in the majority",
        expect=found(stops.INSUFFICIENT, says=["w1 lacks the least: 1,300m CPU", "w1 has the most left, 200m CPU"]),
        forbid=but(stops.INSUFFICIENT),
    )


@scenario
def sched_insufficient_resources__positive_fifty_pods_are_one_finding() -> Scenario:
    lab = workers("4", "4")
    for number in range(50):
        stuck(lab, NONE_FREE.format(2), key=f"shop/api-7d-{number:05}", requests={"cpu": "1"})
    lab.pod("shop/other", pending_since=-1000, scheduler_says=NONE_FREE.format(2), requests={"cpu": "2"})
    names = [f"Pod/shop/api-7d-{number:05}" for number in range(50)]
    return Scenario(
        lab,
        why="one pool is full: one cause, whoever waits",
        expect=[
            Want(stops.INSUFFICIENT, objects=[*names, "Pod/shop/other"], severity="critical", count=1, says=["49 more"])
        ],
        forbid=but(stops.INSUFFICIENT),
    )


@scenario
def sched_insufficient_resources__positive_memory_in_the_wording_of_1_20() -> Scenario:
    lab = workers("100m", "100m", memory="2Gi")
    for number in (1, 2):
        lab.pod(f"etl/hog-{number}", node=f"w{number}", requests={"memory": "1900Mi"})
    return Scenario(
        stuck(lab, "0/2 nodes are available: 2 Insufficient memory.", since=-400, requests={"memory": "1Gi"}),
        why="a warning after five minutes, and not yet critical",
        expect=found(stops.INSUFFICIENT, severity="warning", says=["memory"]),
        forbid=but(stops.INSUFFICIENT),
    )


@scenario
def sched_insufficient_resources__near_miss_younger_than_the_threshold() -> Scenario:
    lab = workers("4", "4")
    for number in range(50):
        stuck(lab, NONE_FREE.format(2), since=-20, key=f"shop/api-7d-{number:05}", requests={"cpu": "1"})
    return Scenario(lab, why="fifty pods pending for 20 seconds in a roll-out are none", forbid=ALL)


@scenario
def sched_insufficient_resources__near_miss_an_autoscaler_has_just_begun() -> Scenario:
    lab = stuck(workers("4", "4"), NONE_FREE.format(2), since=-420, requests={"cpu": "1"})
    message = "pod triggered scale-up: [{main 2->3 (max: 9)}]"
    lab.event("Pod", "shop/api-7d-abcde", "TriggeredScaleUp", message, last=-400, component="cluster-autoscaler")
    return Scenario(lab, why="a node is on its way", forbid=ALL)


@scenario
def sched_insufficient_resources__positive_an_autoscaler_has_not_helped() -> Scenario:
    lab = stuck(workers("4", "4"), NONE_FREE.format(2), since=-1900, requests={"cpu": "1"})
    message = "pod triggered scale-up: [{main 2->3 (max: 9)}]"
    said = {"first": -1880.0, "last": -100.0, "count": 3, "component": "cluster-autoscaler"}
    lab.event("Pod", "shop/api-7d-abcde", "TriggeredScaleUp", message, **said)
    return Scenario(
        lab,
        why="it has tried for half an hour",
        expect=found(stops.INSUFFICIENT, says=["The autoscaler wanted to make a node", "TriggeredScaleUp"]),
    )


@scenario
def sched_insufficient_resources__near_miss_a_place_is_being_freed() -> Scenario:
    lab = workers("4", "4")
    lab.pod("etl/load-6f-1", node="w1", owner=("ReplicaSet", "load-6f"), requests={"cpu": "4"}, deleted=-5)
    stuck(lab, NONE_FREE.format(2), since=-330, requests={"cpu": "1"}, priority=1000, nominated_node="w1")
    return Scenario(lab, why="a lesser pod is on its way out of the node that it is to have", forbid=ALL)


@scenario
def sched_insufficient_resources__near_miss_gated() -> Scenario:
    lab = stuck(workers("4"), since=-8 * 86400, gates=["kueue.x-k8s.io/admission"], requests={"cpu": "1"})
    return Scenario(lab, why="the scheduler was told not to look", forbid=ALL)


@scenario
def sched_insufficient_resources__near_miss_just_let_through_its_gate() -> Scenario:
    lab = stuck(workers("4"), since=-8 * 86400, labels={"kueue.x-k8s.io/queue-name": "a"}, requests={"cpu": "1"})
    lab.event("Pod", "shop/api-7d-abcde", "FailedScheduling", NONE_FREE.format(1), first=-40, last=-40)
    return Scenario(lab, why="it has waited its turn for eight days, and for a node for forty seconds", forbid=ALL)


@scenario
def sched_insufficient_resources__near_miss_terminating() -> Scenario:
    lab = stuck(workers("4"), NONE_FREE.format(1), deleted=-10, requests={"cpu": "1"})
    return Scenario(lab, why="nobody waits for it any more", forbid=ALL)


@scenario
def sched_insufficient_resources__recovery() -> Scenario:
    lab = stuck(workers("4"), NONE_FREE.format(1), since=-200, requests={"cpu": "1"})
    lab.tick(300)
    lab.tick(600)
    lab.node("w2")
    lab.change_pod("shop/api-7d-abcde", node="w2", pending_since=None)
    return Scenario(lab, why="young, then stuck, then a node came", at_each=[[], [stops.INSUFFICIENT], []], watched=ALL)


# -- sched.too_many_pods -------------------------------------------------------------------------------------------


def crowded(lab: Lab, count: int = 3) -> Lab:
    """Every worker has so many small pods."""
    for name in list(lab.store.objects["Node"]):
        for number in range(count):
            lab.pod(f"jobs/{name}-{number}", node=name, owner=("Job", f"j{number}"), requests={"cpu": "10m"})
    return lab


@scenario
def sched_too_many_pods__positive() -> Scenario:
    lab = stuck(crowded(workers("0", "0", pods=3)), "0/2 nodes are available: 2 Too many pods.")
    return Scenario(
        lab,
        why="small instance types take few pods (addresses), whatever CPU is free",
        expect=found(stops.TOO_MANY_PODS, says=["3 of at most 3 pods"]),
        forbid=but(stops.TOO_MANY_PODS),
    )


@scenario
def sched_too_many_pods__near_miss_one_node_crowded_and_the_others_full() -> Scenario:
    lab = workers("4", "4", "4")
    lab.node("small", pods=2)
    for number in (1, 2):
        lab.pod(f"jobs/small-{number}", node="small", owner=("Job", "j"), requests={"cpu": "10m"})
    says = "0/4 nodes are available: 1 Too many pods, 3 Insufficient cpu."
    return Scenario(
        stuck(lab, says, requests={"cpu": "1"}),
        why="what stops most nodes is CPU",
        expect=found(stops.INSUFFICIENT),
        forbid=but(stops.INSUFFICIENT),
    )


@scenario
def sched_too_many_pods__recovery() -> Scenario:
    lab = stuck(crowded(workers("0", pods=3)), "0/1 nodes are available: 1 Too many pods.")
    lab.tick(60)
    lab.delete("Pod/jobs/w1-0")
    placed(lab, "w1")
    return Scenario(lab, why="a job ended", at_each=[[stops.TOO_MANY_PODS], []], watched=ALL)


# -- sched.taint ---------------------------------------------------------------------------------------------------


@scenario
def sched_taint__positive() -> Scenario:
    lab = workers("0", "0", taints=["dedicated=batch:NoSchedule"])
    lab.node("cp-1", role="control-plane")
    return Scenario(
        stuck(lab, TAINTED.format(3)),
        why="1.36 names neither key nor value; the nodes do",
        expect=found(stops.TAINT, says=["dedicated=batch:NoSchedule", "A toleration of", "2 nodes"]),
        forbid=but(stops.TAINT),
    )


@scenario
def sched_taint__positive_the_only_nodes_with_the_device() -> Scenario:
    lab = workers("0", "0", "0")
    lab.node("g1", extended={"nvidia.com/gpu": "4"}, taints=["nvidia.com/gpu=present:NoSchedule"])
    says = "0/4 nodes are available: 1 node(s) had untolerated taint(s), 3 Insufficient nvidia.com/gpu."
    return Scenario(
        stuck(lab, says, requests={"nvidia.com/gpu": "1"}),
        why="GPUs are free; nodes without any were never meant for the pod",
        expect=found(stops.TAINT, says=["nvidia.com/gpu=present:NoSchedule"]),
        forbid=but(stops.TAINT),
    )


@scenario
def sched_taint__positive_all_nodes_not_ready() -> Scenario:
    lab = workers("0", "0", ready="False", ready_since=-900)
    return Scenario(
        stuck(lab, TAINTED.format(2), since=-800, requests={"cpu": "1"}),
        why="the network plug-in is down everywhere: nothing more specific decides",
        expect=found(stops.TAINT, severity="warning", says=["node.kubernetes.io/not-ready", "Bring w1 back"]),
        allow=["node.not_ready", "node.lost"],
        forbid=but(stops.TAINT),
    )


@scenario
def sched_taint__positive_short_of_disk() -> Scenario:
    conditions = {"conditions": {"DiskPressure": "True"}, "taints": ["node.kubernetes.io/disk-pressure:NoSchedule"]}
    lab = workers("0", "0", **conditions)
    lab.node("full")
    lab.pod("etl/big", node="full", requests={"cpu": "4"})
    says = "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had untolerated taint(s)."
    return Scenario(
        stuck(lab, says, requests={"cpu": "1"}),
        why="two of three were meant for it and are short of disk",
        expect=found(
            stops.TAINT,
            nodes=["w1", "w2"],
            caused_by="node.disk_pressure",
            says=["Relieve w1 (node.kubernetes.io/disk-pressure)"],
        ),
        allow=["node.disk_pressure"],
        forbid=but(stops.TAINT),
    )


@scenario
def sched_taint__near_miss_another_pool_s_taint() -> Scenario:
    lab = workers("4", "4")
    for number in (1, 2, 3):
        lab.node(f"s{number}", pool="spot", taints=["cloud.google.com/gke-spot=true:NoSchedule"])
    says = "0/5 nodes are available: 2 Insufficient cpu, 3 node(s) had untolerated taint(s)."
    return Scenario(
        stuck(lab, says, requests={"cpu": "1"}),
        why="spot nodes were never meant for it",
        expect=found(stops.INSUFFICIENT),
        forbid=but(stops.INSUFFICIENT),
    )


@scenario
def sched_taint__near_miss_tolerated_and_preferred() -> Scenario:
    lab = workers("0", taints=["dedicated=batch:NoSchedule", "slow=yes:PreferNoSchedule"])
    placed(lab, "w1", tolerations=["dedicated=batch:NoSchedule"])
    return Scenario(lab, why="it tolerates the one, and the other is a preference", forbid=ALL)


@scenario
def sched_taint__recovery() -> Scenario:
    lab = stuck(workers("0", taints=["dedicated=batch:NoSchedule"]), TAINTED.format(1))
    lab.tick(60)
    lab.node("w1")
    placed(lab, "w1")
    return Scenario(lab, why="the taint was taken off", at_each=[[stops.TAINT], []], watched=ALL)


# -- sched.node_affinity -------------------------------------------------------------------------------------------

NO_LABEL = "0/{0} nodes are available: {0} node(s) didn't match Pod's node affinity/selector."


@scenario
def sched_node_affinity__positive() -> Scenario:
    return Scenario(
        stuck(workers("0", "0", labels={"disk": "nvme"}), NO_LABEL.format(2), node_selector={"disk": "ssd"}),
        why="a label that was renamed; the finding says what nodes have",
        expect=found(stops.NODE_AFFINITY, says=["disk=ssd", "Nodes have disk=nvme"]),
        forbid=but(stops.NODE_AFFINITY),
    )


@scenario
def sched_node_affinity__positive_another_architecture() -> Scenario:
    return Scenario(
        stuck(workers("0", "0"), NO_LABEL.format(2), affinity={"kubernetes.io/arch": ["arm64"]}),
        why="required affinity in place of a selector",
        expect=found(stops.NODE_AFFINITY, says=["kubernetes.io/arch=arm64"]),
        forbid=but(stops.NODE_AFFINITY),
    )


@scenario
def sched_node_affinity__near_miss_those_that_match_are_full() -> Scenario:
    lab = workers("0", "0", "0")
    lab.node("ssd-1", labels={"disk": "ssd"})
    lab.pod("etl/big", node="ssd-1", requests={"cpu": "3800m"})
    says = "0/4 nodes are available: 1 Insufficient cpu, 3 node(s) didn't match Pod's node affinity/selector."
    return Scenario(
        stuck(lab, says, requests={"cpu": "1"}, node_selector={"disk": "ssd"}),
        why="three of four do not match, and are as they should be",
        expect=found(stops.INSUFFICIENT, says=["ssd-1"]),
        forbid=but(stops.INSUFFICIENT),
    )


@scenario
def sched_node_affinity__recovery() -> Scenario:
    lab = stuck(workers("0"), NO_LABEL.format(1), node_selector={"disk": "ssd"})
    lab.tick(60)
    lab.node("w1", labels={"disk": "ssd"})
    placed(lab, "w1", node_selector={"disk": "ssd"})
    return Scenario(lab, why="the node was labelled", at_each=[[stops.NODE_AFFINITY], []], watched=ALL)


# -- sched.pod_anti_affinity ---------------------------------------------------------------------------------------

NOT_TOGETHER = "0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules."


def apart(lab: Lab, *nodes: str) -> Lab:
    """A replica of the workload on each of these nodes."""
    for node in nodes:
        lab.pod(f"shop/api-7d-{node}", node=node, owner=("ReplicaSet", "api-7d"), anti_affinity=[("app=api", ROOM)])
    return lab


@scenario
def sched_pod_anti_affinity__positive() -> Scenario:
    return Scenario(
        stuck(apart(workers("0", "0"), "w1", "w2"), NOT_TOGETHER, anti_affinity=[("app=api", ROOM)]),
        why="three replicas, two nodes",
        expect=found(stops.POD_AFFINITY, says=["app=api"]),
        forbid=but(stops.POD_AFFINITY),
    )


@scenario
def sched_pod_anti_affinity__positive_refused_by_those_who_are_there() -> Scenario:
    lab = workers("0", "0")
    for node in ("w1", "w2"):
        lab.pod(f"db/lonely-{node}", node=node, labels={"app": "lonely"}, anti_affinity=[("app=api", ROOM)])
    lab.pod("db/api", pending_since=-1200, labels={"app": "api"}, scheduler_says=NOT_TOGETHER)
    return Scenario(
        lab,
        why="the waiting pod itself has no affinity at all",
        expect=[Want(stops.POD_AFFINITY, objects=["Pod/db/api"], severity="critical", says=["refuses its company"])],
        forbid=but(stops.POD_AFFINITY),
    )


@scenario
def sched_pod_anti_affinity__positive_nobody_to_be_with() -> Scenario:
    says = "0/2 nodes are available: 2 node(s) didn't match pod affinity rules."
    return Scenario(
        stuck(workers("0", "0"), says, pod_affinity=[("app=cache", ZONE)]),
        why="affinity to pods that do not run",
        expect=found(stops.POD_AFFINITY, says=["no such pod has a node"]),
        forbid=but(stops.POD_AFFINITY),
    )


@scenario
def sched_pod_anti_affinity__near_miss_the_free_nodes_are_full() -> Scenario:
    lab = apart(workers("0", "4", "4"), "w1")
    says = "0/3 nodes are available: 1 node(s) didn't match pod anti-affinity rules, 2 Insufficient cpu."
    return Scenario(
        stuck(lab, says, requests={"cpu": "1"}, anti_affinity=[("app=api", ROOM)]),
        why="two of three lack CPU",
        expect=found(stops.INSUFFICIENT),
        forbid=but(stops.INSUFFICIENT),
    )


@scenario
def sched_pod_anti_affinity__recovery() -> Scenario:
    lab = stuck(apart(workers("0", "0"), "w1", "w2"), NOT_TOGETHER, anti_affinity=[("app=api", ROOM)])
    lab.tick(60)
    lab.node("w3")
    placed(lab, "w3", anti_affinity=[("app=api", ROOM)])
    return Scenario(lab, why="a third node came", at_each=[[stops.POD_AFFINITY], []], watched=ALL)


# -- sched.topology_spread -----------------------------------------------------------------------------------------

UNEVEN = "0/3 nodes are available: 3 node(s) didn't match pod topology spread constraints."
EVENLY = [("app=api", ZONE, 1)]


def zones() -> Lab:
    """Two nodes in zone a with a replica each, and a zone b whose node takes none of them."""
    lab = Lab("zones")
    for name in ("a1", "a2"):
        lab.node(name, zone="a")
        lab.pod(f"shop/api-7d-{name}", node=name, owner=("ReplicaSet", "api-7d"), spread=EVENLY)
    lab.node("b1", zone="b", taints=["dedicated=db:NoSchedule"])
    return lab


@scenario
def sched_topology_spread__positive() -> Scenario:
    says = "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 node(s) didn't match pod topology spread "
    says += "constraints."
    return Scenario(
        stuck(zones(), says, spread=EVENLY),
        why="the tainted node's zone counts as an empty domain",
        expect=found(stops.SPREAD, says=["a: 2, b: 0"]),
        forbid=but(stops.SPREAD),
    )


@scenario
def sched_topology_spread__positive_nodes_without_the_label() -> Scenario:
    says = UNEVEN.replace("constraints.", "constraints (missing required label).")
    return Scenario(
        stuck(workers("0", "0", "0"), says, spread=EVENLY),
        why="no node says its zone",
        expect=found(stops.SPREAD),
        forbid=but(stops.SPREAD),
    )


@scenario
def sched_topology_spread__near_miss_the_emptiest_zone_is_full() -> Scenario:
    lab = Lab("zones")
    lab.node("a1", zone="a")
    lab.pod("shop/api-7d-a1", node="a1", owner=("ReplicaSet", "api-7d"), spread=EVENLY)
    for name in ("b1", "b2"):
        lab.node(name, zone="b")
        lab.pod(f"etl/{name}", node=name, requests={"cpu": "3800m"})
    says = "0/3 nodes are available: 1 node(s) didn't match pod topology spread constraints, 2 Insufficient cpu."
    return Scenario(
        stuck(lab, says, requests={"cpu": "1"}, spread=EVENLY),
        why="where it should go there is no room",
        expect=found(stops.INSUFFICIENT),
        forbid=but(stops.INSUFFICIENT),
    )


@scenario
def sched_topology_spread__recovery() -> Scenario:
    lab = stuck(zones(), UNEVEN, spread=EVENLY)
    lab.tick(60)
    lab.node("b2", zone="b")
    placed(lab, "b2", spread=EVENLY)
    return Scenario(lab, why="zone b got a node", at_each=[[stops.SPREAD], []], watched=ALL)


# -- sched.host_port -----------------------------------------------------------------------------------------------

NO_PORT = "0/2 nodes are available: 2 node(s) didn't have free ports for the requested pod ports."


@scenario
def sched_host_port__positive() -> Scenario:
    lab = workers("0", "0")
    for number in (1, 2):
        lab.pod(f"shop/old-{number}", node=f"w{number}", owner=("ReplicaSet", "old"), host_ports=[8443])
    return Scenario(
        stuck(lab, NO_PORT, host_ports=[8443]),
        why="as many replicas with a host port as there are nodes, and one more",
        expect=found(stops.HOST_PORT, says=["8443/TCP", "shop/old-1"]),
        forbid=but(stops.HOST_PORT),
    )


@scenario
def sched_host_port__near_miss_a_roll_out() -> Scenario:
    lab = workers("0")
    lab.pod("shop/old-1", node="w1", owner=("ReplicaSet", "old"), host_ports=[8443])
    stuck(lab, NO_PORT, since=-40, host_ports=[8443])
    return Scenario(lab, why="the old one ends in a moment", forbid=ALL)


@scenario
def sched_host_port__near_miss_those_with_the_port_free_are_full() -> Scenario:
    lab = workers("0", "4", "4")
    lab.pod("shop/old-1", node="w1", owner=("ReplicaSet", "old"), host_ports=[8443])
    says = "0/3 nodes are available: 1 node(s) didn't have free ports for the requested pod ports, 2 Insufficient cpu."
    return Scenario(
        stuck(lab, says, requests={"cpu": "1"}, host_ports=[8443]),
        why="two of three lack CPU",
        expect=found(stops.INSUFFICIENT),
        forbid=but(stops.INSUFFICIENT),
    )


@scenario
def sched_host_port__recovery() -> Scenario:
    lab = workers("0")
    lab.pod("shop/old-1", node="w1", owner=("ReplicaSet", "old"), host_ports=[8443])
    stuck(lab, NO_PORT, host_ports=[8443])
    lab.tick(60)
    lab.delete("Pod/shop/old-1")
    placed(lab, "w1", host_ports=[8443])
    return Scenario(lab, why="the other pod ended", at_each=[[stops.HOST_PORT], []], watched=ALL)


# -- sched.volume_zone ---------------------------------------------------------------------------------------------

ELSEWHERE = "0/{0} nodes are available: {0} node(s) didn't match PersistentVolume's node affinity."


def with_disk(zone: str, *node_zones: str) -> Lab:
    """Nodes n1, n2, ... in these zones, and the claim shop/data on a disk of one zone."""
    lab = Lab("disk")
    lab.storage_class("gp3", default=True)
    for number, each in enumerate(node_zones, 1):
        lab.node(f"n{number}", zone=each)
    lab.disk("shop/data", "pv-1", zone=zone)
    return lab


@scenario
def sched_volume_zone__positive() -> Scenario:
    return Scenario(
        stuck(with_disk("a", "b", "c"), ELSEWHERE.format(2), claims={"data": "data"}),
        why="no node is left in the volume's zone",
        expect=found(
            stops.VOLUME_ZONE,
            "PersistentVolumeClaim/shop/data",
            "PersistentVolume/pv-1",
            caused_by="storage.zone_mismatch",
            says=[f"{ZONE}=a"],
        ),
        allow=["storage.zone_mismatch"],
        forbid=but(stops.VOLUME_ZONE),
    )


@scenario
def sched_volume_zone__positive_the_zone_s_node_is_lost_in_the_old_wording() -> Scenario:
    lab = with_disk("a", "a", "b")
    lab.lose_node("n1", since=-2000)
    says = (
        "0/2 nodes are available: 1 node(s) had taint {node.kubernetes.io/unreachable: }, that the pod didn't "
        "tolerate, 1 node(s) had volume node affinity conflict."
    )
    return Scenario(
        stuck(lab, says, claims={"data": "data"}),
        why="one taint, one zone: the taint of a lost node only says that it is lost",
        expect=found(stops.VOLUME_ZONE, "PersistentVolumeClaim/shop/data"),
        allow=["storage.zone_mismatch", "node.lost", "storage.stale_attachment"],
        forbid=but(stops.VOLUME_ZONE),
    )


@scenario
def sched_volume_zone__near_miss_the_volume_s_nodes_are_full() -> Scenario:
    lab = with_disk("a", "a", "a", "b")
    for name in ("n1", "n2"):
        lab.pod(f"etl/{name}", node=name, requests={"cpu": "3800m"})
    says = "0/3 nodes are available: 1 node(s) didn't match PersistentVolume's node affinity, 2 Insufficient cpu."
    return Scenario(
        stuck(lab, says, requests={"cpu": "1"}, claims={"data": "data"}),
        why="two nodes of the right zone lack CPU",
        expect=found(stops.INSUFFICIENT),
        forbid=but(stops.INSUFFICIENT),
    )


@scenario
def sched_volume_zone__recovery() -> Scenario:
    lab = stuck(with_disk("a", "b"), ELSEWHERE.format(1), claims={"data": "data"})
    lab.tick(60)
    lab.node("n9", zone="a")
    lab.attachment("pv-1", "n9")
    placed(lab, "n9", claims={"data": "data"})
    return Scenario(lab, why="zone a got a node", at_each=[[stops.VOLUME_ZONE], []], watched=ALL)


# -- sched.unbound_pvc ---------------------------------------------------------------------------------------------

UNBOUND = "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. not found"


def unbound(lab: Lab, class_: str | None = "nfs", **claim: Any) -> Lab:
    """The claim shop/data without a volume."""
    lab.storage_class("nfs", driver="nfs.csi.k8s.io", waits=False)
    lab.claim("shop/data", storage_class=class_, created=-1300, **claim)
    return lab


@scenario
def sched_unbound_pvc__positive() -> Scenario:
    return Scenario(
        stuck(unbound(workers("0")), UNBOUND, claims={"data": "data"}),
        why="the class binds at once, and nobody has made a volume",
        expect=found(stops.UNBOUND_CLAIM, "PersistentVolumeClaim/shop/data", says=["class nfs binds at once"]),
        allow=["storage.provision_failed_quota_or_cloud", "storage.driver_not_registered"],
        forbid=but(stops.UNBOUND_CLAIM),
    )


@scenario
def sched_unbound_pvc__positive_a_claim_that_does_not_exist() -> Scenario:
    says = '0/1 nodes are available: persistentvolumeclaim "data" not found. not found'
    return Scenario(
        stuck(workers("0"), says, claims={"data": "data"}),
        why="the chart's claim was never made",
        expect=found(stops.UNBOUND_CLAIM, "PersistentVolumeClaim/shop/data", says=["does not exist"]),
        forbid=but(stops.UNBOUND_CLAIM),
    )


@scenario
def sched_unbound_pvc__positive_the_class_is_missing() -> Scenario:
    lab = unbound(workers("0"), class_="gone")
    message = 'storageclass.storage.k8s.io "gone" not found'
    said = {"first": -1290.0, "last": -30.0, "count": 80}
    lab.event("PersistentVolumeClaim", "shop/data", "ProvisioningFailed", message, **said)
    return Scenario(
        stuck(lab, UNBOUND, claims={"data": "data"}),
        why="why the claim has no volume is the storage's to say",
        expect=found(
            stops.UNBOUND_CLAIM,
            "PersistentVolumeClaim/shop/data",
            caused_by="storage.provision_failed_class_missing",
        ),
        allow=["storage.provision_failed_class_missing"],
        forbid=but(stops.UNBOUND_CLAIM),
    )


@scenario
def sched_unbound_pvc__positive_a_volume_that_is_being_made_for_a_node_that_is_chosen() -> Scenario:
    lab = workers("0")
    lab.claim("shop/data", storage_class="gp3", selected_node="w1")
    says = 'running PreBind plugin "VolumeBinding": binding volumes: context deadline exceeded'
    stuck(lab, says, claims={"data": "data"})
    return Scenario(
        lab,
        why="the scheduler has done its part; the provisioner has not",
        expect=found("sched.unbound_pvc", "PersistentVolumeClaim/shop/data", says=["is chosen"]),
        allow=["storage.provision_failed_quota_or_cloud"],
    )


@scenario
def sched_unbound_pvc__near_miss_the_claim_waits_for_its_pod_and_that_for_cpu() -> Scenario:
    lab = unbound(workers("4", "4"), class_="gp3")
    return Scenario(
        stuck(lab, NONE_FREE.format(2), requests={"cpu": "1"}, claims={"data": "data"}),
        why="WaitForFirstConsumer: the claim is as it should be",
        expect=found(stops.INSUFFICIENT),
        forbid=but(stops.INSUFFICIENT),
    )


@scenario
def sched_unbound_pvc__near_miss_a_claim_without_a_pod() -> Scenario:
    return Scenario(unbound(workers("0"), class_="gp3"), why="it waits for its first consumer", forbid=ALL)


@scenario
def sched_unbound_pvc__recovery() -> Scenario:
    lab = stuck(unbound(workers("0")), UNBOUND, claims={"data": "data"})
    lab.tick(60)
    lab.disk("shop/data", "pv-9", storage_class="nfs", driver="nfs.csi.k8s.io")
    placed(lab, "w1", claims={"data": "data"})
    return Scenario(
        lab,
        why="the volume was made",
        allow=["storage.driver_not_registered"],
        at_each=[[stops.UNBOUND_CLAIM], []],
        watched=ALL,
    )


# -- sched.volume_in_use -------------------------------------------------------------------------------------------

IN_USE = "0/2 nodes are available: 2 node(s) has pod using PersistentVolumeClaim with the same name and "
IN_USE += "ReadWriteOncePod access mode."


def shared(mode: str) -> Lab:
    """A claim that a running pod has."""
    lab = workers("0", "0", zone="a")
    lab.disk("shop/data", "pv-1", zone="a", modes=[mode], attached_to="w1")
    lab.pod("shop/api-6c-old", node="w1", owner=("ReplicaSet", "api-6c"), claims={"data": "data"})
    return lab


@scenario
def sched_volume_in_use__positive() -> Scenario:
    return Scenario(
        stuck(shared("ReadWriteOncePod"), IN_USE, claims={"data": "data"}),
        why="a rolling update starts the new pod before the old one ends, and the claim is for one pod",
        expect=found(stops.VOLUME_IN_USE, "PersistentVolumeClaim/shop/data", says=["shop/api-6c-old on w1"]),
        forbid=but(stops.VOLUME_IN_USE),
    )


@scenario
def sched_volume_in_use__near_miss_a_claim_for_one_node() -> Scenario:
    lab = shared("ReadWriteOnce")
    placed(lab, "w1", claims={"data": "data"})
    return Scenario(lab, why="two pods of one node may share it", forbid=ALL)


@scenario
def sched_volume_in_use__recovery() -> Scenario:
    lab = stuck(shared("ReadWriteOncePod"), IN_USE, claims={"data": "data"})
    lab.tick(60)
    lab.delete("Pod/shop/api-6c-old")
    placed(lab, "w1", claims={"data": "data"})
    return Scenario(lab, why="the old pod ended", at_each=[[stops.VOLUME_IN_USE], []], watched=ALL)


# -- sched.volume_limit --------------------------------------------------------------------------------------------

NO_SLOT = "0/1 nodes are available: 1 node(s) exceed max volume count."


def slots(limit: int | None) -> Lab:
    """A node with two volumes and a limit, and a claim for a third."""
    lab = Lab("slots", attach_limit=limit)
    lab.storage_class("gp3", default=True)
    lab.node("w1", zone="a")
    for number in (1, 2):
        lab.disk(f"db/data-{number}", f"pv-{number}", zone="a", attached_to="w1")
        lab.pod(f"db/pg-{number}", node="w1", claims={"data": f"data-{number}"})
    lab.disk("shop/data", "pv-9", zone="a")
    return lab


@scenario
def sched_volume_limit__positive() -> Scenario:
    return Scenario(
        stuck(slots(2), NO_SLOT, claims={"data": "data"}),
        why="the instance type takes no more volumes",
        expect=found(stops.VOLUME_LIMIT, "PersistentVolumeClaim/shop/data", nodes=["w1"], says=["2 of at most 2"]),
        allow=["storage.attach_limit"],
        forbid=but(stops.VOLUME_LIMIT),
    )


@scenario
def sched_volume_limit__near_miss_the_volume_is_there_already() -> Scenario:
    lab = slots(3)
    lab.attachment("pv-9", "w1")
    placed(lab, "w1", claims={"data": "data"})
    return Scenario(lab, why="three of three, and nobody waits", forbid=ALL, allow=["storage.attach_limit"])


@scenario
def sched_volume_limit__near_miss_cpu_is_short_on_a_node_with_slots() -> Scenario:
    lab = slots(25)
    lab.pod("etl/big", node="w1", requests={"cpu": "3500m"})
    return Scenario(
        stuck(lab, NONE_FREE.format(1), requests={"cpu": "1"}, claims={"data": "data"}),
        why="the node takes 25 volumes",
        expect=found(stops.INSUFFICIENT),
        forbid=but(stops.INSUFFICIENT),
    )


@scenario
def sched_volume_limit__recovery() -> Scenario:
    lab = stuck(slots(2), NO_SLOT, claims={"data": "data"})
    lab.tick(60)
    lab.delete("Pod/db/pg-1")
    lab.detached("pv-1", "w1")
    lab.attachment("pv-9", "w1")
    placed(lab, "w1", claims={"data": "data"})
    allowed = ["storage.attach_limit"]
    return Scenario(lab, why="a volume left", allow=allowed, at_each=[[stops.VOLUME_LIMIT], []], watched=ALL)


# -- sched.unschedulable_cordoned ----------------------------------------------------------------------------------

CORDONED = "0/{0} nodes are available: {0} node(s) were unschedulable."


@scenario
def sched_unschedulable_cordoned__positive() -> Scenario:
    return Scenario(
        stuck(workers("0", "0", cordoned=True), CORDONED.format(2)),
        why="both nodes were cordoned for maintenance and forgotten",
        expect=found(stops.CORDONED, nodes=["w1", "w2"], says=["Uncordon w1: nothing else keeps the pod off it"]),
        forbid=but(stops.CORDONED),
    )


@scenario
def sched_unschedulable_cordoned__near_miss_most_are_full() -> Scenario:
    lab = workers("4", "4")
    lab.node("w3", cordoned=True)
    says = "0/3 nodes are available: 1 node(s) were unschedulable, 2 Insufficient cpu."
    return Scenario(
        stuck(lab, says, requests={"cpu": "1"}),
        why="one of three is cordoned",
        expect=found(stops.INSUFFICIENT),
        forbid=but(stops.INSUFFICIENT),
    )


@scenario
def sched_unschedulable_cordoned__recovery() -> Scenario:
    lab = stuck(workers("0", cordoned=True), CORDONED.format(1))
    lab.tick(60)
    lab.node("w1")
    placed(lab, "w1")
    return Scenario(lab, why="the node is schedulable again", at_each=[[stops.CORDONED], []], watched=ALL)


# -- sched.resource_claim ------------------------------------------------------------------------------------------

NO_DEVICE = "0/2 nodes are available: 2 cannot allocate all claims. still not schedulable, preemption: 0/2 nodes are "
NO_DEVICE += "available: 2 Preemption is not helpful for scheduling."


@scenario
def sched_resource_claim__positive() -> Scenario:
    return Scenario(
        stuck(workers("0", "0"), NO_DEVICE, resource_claims=["gpu"]),
        why="devices are not followed here: by its sums the pod would fit, and the scheduler knows better",
        expect=found(stops.RESOURCE_CLAIM, says=["cannot allocate all claims"]),
        forbid=but(stops.RESOURCE_CLAIM),
    )


@scenario
def sched_resource_claim__positive_beside_the_control_plane() -> Scenario:
    lab = workers("0", "0")
    for number in (1, 2, 3):
        lab.node(f"cp-{number}", role="control-plane")
    says = "0/5 nodes are available: 2 cannot allocate all claims, 3 node(s) had untolerated taint(s)."
    return Scenario(
        stuck(lab, says, resource_claims=["gpu"]),
        why="more taints than devices in the message, and they are as they should be",
        expect=found(stops.RESOURCE_CLAIM),
        forbid=but(stops.RESOURCE_CLAIM),
    )


@scenario
def sched_resource_claim__positive_the_claim_was_not_made() -> Scenario:
    says = '0/1 nodes are available: waiting for dynamic resource controller to create the resourceclaim "train-gpu".'
    return Scenario(
        stuck(workers("0"), says, resource_claims=["gpu"]),
        why="the scheduler refuses the pod before it looks at any node",
        expect=found(stops.RESOURCE_CLAIM),
        forbid=but(stops.RESOURCE_CLAIM),
    )


@scenario
def sched_resource_claim__near_miss_most_nodes_lack_cpu() -> Scenario:
    says = "0/4 nodes are available: 1 cannot allocate all claims, 3 Insufficient cpu."
    return Scenario(
        stuck(workers("4", "4", "4", "0"), says, requests={"cpu": "1"}, resource_claims=["gpu"]),
        why="three of four lack CPU, and the devices of the fourth are not followed",
        expect=found(stops.INSUFFICIENT),
        forbid=but(stops.INSUFFICIENT),
    )


@scenario
def sched_resource_claim__near_miss_no_node_has_the_cpu_either() -> Scenario:
    return Scenario(
        stuck(workers("4", "4"), NONE_FREE.format(2), requests={"cpu": "1"}, resource_claims=["gpu"]),
        why="CPU is short, which is proven",
        expect=found(stops.INSUFFICIENT),
        forbid=but(stops.INSUFFICIENT),
    )


@scenario
def sched_resource_claim__recovery() -> Scenario:
    lab = stuck(workers("0", "0"), NO_DEVICE, resource_claims=["gpu"])
    lab.tick(60)
    placed(lab, "w1", resource_claims=["gpu"])
    return Scenario(lab, why="the claim was allocated", at_each=[[stops.RESOURCE_CLAIM], []], watched=ALL)


# -- sched.unknown -------------------------------------------------------------------------------------------------


def unheard(lab: Lab, **pod: Any) -> Lab:
    """A pod that no scheduler has looked at: it has no condition at all."""
    stuck(lab, **pod)
    lab.change("Pod/shop/api-7d-abcde", {"status": {"conditions": None}})
    return lab


@scenario
def sched_unknown__positive_no_scheduler_of_that_name() -> Scenario:
    return Scenario(
        unheard(workers("0", "0"), scheduler="stork"),
        why="nobody schedules for stork, though every node has room",
        expect=found(codes.UNKNOWN, says=["no scheduler named stork has said anything of it", "2 nodes would take it"]),
        forbid=but(codes.UNKNOWN),
    )


@scenario
def sched_unknown__positive_the_scheduler_is_down() -> Scenario:
    lab = unheard(workers("4"), requests={"cpu": "1"})
    lab.lease("kube-system/kube-scheduler", "cp-0", renewed=-1500, renews=False, seconds=15)
    return Scenario(
        lab,
        why="that CPU is short too nobody has found out: there is no scheduler",
        expect=found(codes.UNKNOWN, says=["has not renewed its lease for 25 min"]),
        allow=["cp.leader_lost", "cp.lease_renew_failed"],
        forbid=but(codes.UNKNOWN),
    )


@scenario
def sched_unknown__positive_the_reason_does_not_hold() -> Scenario:
    return Scenario(
        stuck(workers("0", "0"), NONE_FREE.format(2), requests={"cpu": "1"}),
        why="the message says Insufficient cpu, and both nodes are empty",
        expect=found(codes.UNKNOWN, says=["does not hold now", "2 nodes would take it"]),
        forbid=but(codes.UNKNOWN),
    )


@scenario
def sched_unknown__positive_a_plug_in_of_its_own() -> Scenario:
    says = "0/2 nodes are available: 2 node(s) didn't pass the licence check."
    return Scenario(
        stuck(workers("0", "0"), says),
        why="a reason that nobody knows here",
        expect=found(codes.UNKNOWN, says=["licence check", "2 nodes would take it"]),
        forbid=but(codes.UNKNOWN),
    )


@scenario
def sched_unknown__near_miss_a_plug_in_of_its_own_on_one_node() -> Scenario:
    says = "0/3 nodes are available: 1 node(s) didn't pass the licence check, 2 Insufficient cpu."
    return Scenario(
        stuck(workers("4", "4", "0"), says, requests={"cpu": "1"}),
        why="two of three lack CPU",
        expect=found(stops.INSUFFICIENT),
        forbid=but(stops.INSUFFICIENT),
    )


@scenario
def sched_unknown__positive_a_scheduler_that_makes_nodes() -> Scenario:
    lab = workers("0", taints=["eks.amazonaws.com/compute-type=fargate:NoSchedule"])
    return Scenario(
        unheard(lab, scheduler="fargate-scheduler"),
        why="each Fargate node is for one pod: their taints explain nothing",
        expect=found(codes.UNKNOWN, says=["no scheduler named fargate-scheduler has said anything of it"]),
        forbid=but(codes.UNKNOWN),
    )


@scenario
def sched_unknown__near_miss_a_gang_waits_its_turn() -> Scenario:
    says = "pod group is not ready, 1 Pending, 3 minAvailable; Pending: 1 Unschedulable"
    lab = stuck(workers("0", "0"), says, scheduler="volcano")
    return Scenario(lab, why="its group is not complete: a job that waits its turn", forbid=ALL)


@scenario
def sched_unknown__near_miss_pods_are_not_known() -> Scenario:
    lab = stuck(workers("0"), NONE_FREE.format(1))
    lab.unlisted.add("pods")
    return Scenario(lab, why="what is not listed must not be taken for absent", forbid=ALL)


@scenario
def sched_unknown__near_miss_nodes_are_not_known() -> Scenario:
    lab = stuck(workers("4"), NONE_FREE.format(1), requests={"cpu": "1"})
    lab.unlisted.add("nodes")
    return Scenario(
        lab,
        why="there is only the scheduler's word: insufficient, whether fragmented or too large cannot be told",
        expect=found(stops.INSUFFICIENT),
        forbid=but(stops.INSUFFICIENT),
    )


@scenario
def sched_unknown__recovery() -> Scenario:
    lab = unheard(workers("0", "0"), scheduler="stork")
    lab.tick(60)
    placed(lab, "w1", scheduler="stork")
    return Scenario(lab, why="the scheduler was started", at_each=[[codes.UNKNOWN], []], watched=ALL)


SCENARIOS = of_module(__name__)


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(name: str) -> None:
    judge(SCENARIOS[name](), by_word=True)


def test_each_code_has_all_three() -> None:
    assert not lacking(OWN, SCENARIOS)


def test_what_waits_is_active() -> None:
    lab = stuck(workers("4"), NONE_FREE.format(1), requests={"cpu": "1"})
    assert lab.codes()[stops.INSUFFICIENT].stage is Stage.ACTIVE
