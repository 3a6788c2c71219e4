"""Objects that the API server does not take, and pods that the kubelet does not take."""

from __future__ import annotations

from aggregator.messages import api_server
from aggregator.messages.model import Classification
from aggregator.messages.rules import Rule, first
from aggregator.messages.said import Said, by

QUOTA = "sched.quota"

CREATE_RULES: tuple[Rule, ...] = (
    Rule(
        QUOTA,
        ("exceeded quota", "failed quota:", "quota exceeded", "exceeded resource quota"),
        needs=("forbidden", "quota:", "resourcequota", "exceeded quota", "requested:"),
        unless=("failed to provision", "googleapi", "quota exceeded for quota metric"),
        why="a quota of the namespace is used up, or asks for limits that the pod does not set",
    ),
)
"""Of objects that the API server does not take."""

ADMISSION_RULES: tuple[Rule, ...] = (
    Rule(
        "sched.too_many_pods",
        ("didn't have enough resource: pods", "node didn't have enough capacity: pods"),
        why="the node has as many pods as it may",
    ),
    Rule(
        "sched.insufficient_resources",
        (
            "didn't have enough resource",
            "didn't have enough capacity",
            "requested number of devices unavailable",
            "no healthy devices present",
        ),
        why="the node has no longer what the scheduler counted on",
    ),
    Rule(
        "sched.node_affinity",
        ("predicate nodeaffinity failed", "predicate matchnodeselector failed"),
        why="the node's labels are not those that the pod asks for",
    ),
    Rule(
        "sched.host_port", ("predicate podfitshostports failed", "predicate nodeports failed"), why="the port is taken"
    ),
    Rule(
        "sched.taint",
        ("predicate tainttoleration failed", "predicate podtoleratesnodetaints failed"),
        why="the node has a taint that the pod does not tolerate",
    ),
)
"""Of pods that the kubelet does not take although they were scheduled."""

_CREATE_REASONS = frozenset({"failedcreate", "failedupdate", "replicasetcreateerror", "replicafailure"})

_CREATE_SHAPES = ("exceeded quota", "failed quota:", "disruption budget")

_ADMISSION_REASONS = frozenset(
    {
        "nodeaffinity",
        "nodeports",
        "tainttoleration",
        "matchnodeselector",
        "unexpectedadmissionerror",
        "podfitshostports",
    }
)

_ADMISSION_SHAPES = ("didn't have enough resource", "predicate…failed")


def judge_creation(said: Said) -> Classification | None:
    """What a message about an object that was refused says. None: it is about something else."""
    if said.reason not in _CREATE_REASONS and not said.has(*_CREATE_SHAPES):
        return None
    rules = (*api_server.REFUSAL_RULES, *CREATE_RULES, *api_server.TIMEOUT_RULES)
    return by(rules, said, "the API server did not take the object, for no known reason")


def judge_admission(said: Said) -> Classification | None:
    """What a kubelet says of a pod that it refuses. None: it is about something else."""
    known = said.reason in _ADMISSION_REASONS or said.reason.startswith("outof")
    return first(ADMISSION_RULES, said.text) if known or said.has(*_ADMISSION_SHAPES) else None
