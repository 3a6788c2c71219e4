"""Nodes that are lost or short of disk: positive, near miss and recovery of each."""

from __future__ import annotations

import pytest

from aggregator.signatures.node_health import CODES
from tests.lab.cluster import Lab
from tests.lab.scenario import Scenario, Want, judge, lacking, of_module, scenario

LOST, PRESSURE = "node.lost", "node.disk_pressure"


def three_nodes() -> Lab:
    lab = Lab("nodes")
    for number, zone in enumerate(("eu-1a", "eu-1a", "eu-1b"), 1):
        lab.node(f"n{number}", zone=zone)
        lab.host(f"n{number}")
    return lab


@scenario
def node_lost__positive() -> Scenario:
    lab = three_nodes()
    lab.tick(300)
    lab.lose_node("n1", since=-240)
    return Scenario(
        lab,
        why="Ready is Unknown, the lease has run out and the agent is silent",
        expect=[Want(LOST, nodes=["n1"], objects=["Node/n1"], says=["zone eu-1a", "its agent has been silent"])],
    )


@scenario
def node_lost__positive_a_zone_is_one_finding() -> Scenario:
    lab = three_nodes()
    lab.tick(300)
    lab.lose_node("n1", since=-240)
    lab.lose_node("n2", since=-200)
    return Scenario(
        lab, why="both nodes of a zone", expect=[Want(LOST, nodes=["n1", "n2"], severity="critical", count=1)]
    )


@scenario
def node_lost__positive_without_an_agent() -> Scenario:
    lab = Lab("nodes")
    lab.node("n1", zone="eu-1a")
    lab.node("n2", zone="eu-1a")
    lab.host("n2")
    lab.lose_node("n1")
    return Scenario(lab, why="no agent ever ran there", expect=[Want(LOST, nodes=["n1"], says=["no agent"])])


@scenario
def node_lost__near_miss_the_agent_still_reports() -> Scenario:
    lab = three_nodes()
    lab.tick(300)
    lab.lose_node("n1", since=-240)
    lab.hosts["n1"].silent = False
    return Scenario(lab, why="the kubelet is stuck, the node runs: it may still write to its disks", forbid=[LOST])


@scenario
def node_lost__near_miss_the_kubelet_says_what_is_wrong() -> Scenario:
    lab = three_nodes()
    lab.node("n1", zone="eu-1a", ready="False", ready_since=-240)
    return Scenario(lab, why="Ready is False: somebody is there to say so", forbid=[LOST])


@scenario
def node_lost__near_miss_the_lease_is_renewed() -> Scenario:
    lab = three_nodes()
    lab.lose_node("n1", since=-240)
    lab.lease("kube-node-lease/n1", "n1", renewed=-5)
    return Scenario(lab, why="the lease is fresh: its status will be, too", forbid=[LOST])


@scenario
def node_lost__recovery() -> Scenario:
    lab = three_nodes()
    lab.tick(300)
    lab.lose_node("n1", since=-240)
    lab.tick(120)
    lab.node("n1", zone="eu-1a", ready_since=-20)
    lab.hosts["n1"].silent = False
    return Scenario(lab, why="it comes back", at_each=[[], [LOST], []], watched=[LOST])


@scenario
def node_disk_pressure__positive() -> Scenario:
    lab = three_nodes()
    lab.node("n1", zone="eu-1a", conditions={"DiskPressure": "True"})
    return Scenario(lab, why="the kubelet says so", expect=[Want(PRESSURE, nodes=["n1"], count=1)])


@scenario
def node_disk_pressure__near_miss() -> Scenario:
    lab = three_nodes()
    lab.node("n1", zone="eu-1a", conditions={"DiskPressure": "Unknown"})
    return Scenario(lab, why="Unknown is not True: nobody has said that the disk is full", forbid=[PRESSURE])


@scenario
def node_disk_pressure__recovery() -> Scenario:
    lab = three_nodes()
    lab.node("n1", zone="eu-1a", conditions={"DiskPressure": "True"})
    lab.tick(60)
    lab.node("n1", zone="eu-1a")
    return Scenario(lab, why="images were removed", at_each=[[PRESSURE], []], watched=[PRESSURE])


SCENARIOS = of_module(__name__)


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(name: str) -> None:
    judge(SCENARIOS[name](), by_word=True)


def test_each_code_has_all_three() -> None:
    assert not lacking(CODES, SCENARIOS)


def test_nodes_without_a_host_are_said_once_and_those_that_can_have_none_are_not() -> None:
    lab = three_nodes()
    for number in range(7):
        lab.node(f"more-{number}")
    lab.node("win", labels={"kubernetes.io/os": "windows"})
    lab.node("fargate", labels={"eks.amazonaws.com/compute-type": "fargate"})
    said = [gap.because for gap in lab.diagnose().gaps if gap.signal == "agent"]
    expected = "nothing is known of the hosts of 7 of 12 nodes: more-0, more-1, more-2, more-3, more-4 and 2 more"
    assert said == [expected]
