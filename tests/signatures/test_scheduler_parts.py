"""Parts of the scheduler's incident by themselves: what a quota's refusal says, and who is not waiting too long."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator.cluster.objects import Condition, Event, Pod, PodSpec
from aggregator.cluster.state import ClusterState
from aggregator.signatures.scheduler.quota import parse
from aggregator.signatures.scheduler.waiting import waiting
from aggregator.signatures.thresholds import Thresholds
from aggregator.view import ClusterView

NOW = 1_790_000_000.0


@pytest.mark.parametrize(
    ("message", "quota", "asked", "missing"),
    [
        (
            (
                'pods "x" is forbidden: exceeded quota: team, requested: limits.cpu=1,pods=1, '
                "used: limits.cpu=4,pods=9, limited: limits.cpu=4,pods=9"
            ),
            "team",
            {"limits.cpu": "1", "pods": "1"},
            "",
        ),
        (
            (
                'Error creating: pods "x" is forbidden: exceeded quota: gpu.team-a, requested: '
                "requests.nvidia.com/gpu=2, used: requests.nvidia.com/gpu=8, limited: requests.nvidia.com/gpu=8"
            ),
            "gpu.team-a",
            {"requests.nvidia.com/gpu": "2"},
            "",
        ),
        (
            'pods "x" is forbidden: failed quota: compute: must specify limits.cpu,limits.memory',
            "compute",
            {},
            "limits.cpu,limits.memory",
        ),
    ],
)
def test_what_a_quota_s_refusal_says(message: str, quota: str, asked: dict[str, str], missing: str) -> None:
    found = parse(message)
    assert found is not None
    assert (found.quota, dict(found.asked), found.missing) == (quota, asked, missing)


def test_other_refusals_are_no_quota_s() -> None:
    assert parse("exceeded the quota of patience") is None
    assert parse('pods "x" is forbidden: maximum cpu usage per Container is 1') is None


@settings(max_examples=100)
@given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=60))
def test_any_message_is_taken(name: str, asked: str, rest: str) -> None:
    found = parse(f"exceeded quota: {name}, requested: {asked}, used: {rest}, limited: {rest}")
    assert found is None or found.quota
    parse(f"failed quota: {name}: must specify {asked}")
    parse(rest)


def waits(condition: Condition | None = None, created: float = NOW - 1000, uid: str = "u1", *events: Event) -> bool:
    """Whether a pod with this condition and these events has waited too long."""
    state = ClusterState()
    pod = Pod(
        "shop",
        "api",
        PodSpec(),
        uid=uid,
        created=created,
        phase="Pending",
        conditions=(condition,) if condition is not None else (),
    )
    state.keep("pods", pod.key, pod)
    for number, event in enumerate(events):
        state.keep("events", f"shop/e{number}", event)
    return bool(list(waiting(ClusterView("test", {}, state, NOW), Thresholds())))


def refused(since: float, message: str = "0/3 nodes are available: 3 Insufficient cpu.") -> Condition:
    """The scheduler's condition."""
    return Condition("PodScheduled", "False", "Unschedulable", message, since)


def said(reason: str, at: float, component: str, uid: str = "u1", first: float = 0.0) -> Event:
    """An event about the pod."""
    return Event(
        "shop", "e", "Pod", "shop/api", reason, "text", object_uid=uid, component=component, first=first, last=at
    )


def test_the_age_is_that_of_the_refusal_else_of_the_pod() -> None:
    assert waits(refused(NOW - 400))
    assert not waits(refused(NOW - 200))
    assert waits(None)
    assert not waits(None, created=NOW - 200)
    assert not waits(None, created=0.0)
    assert not waits(refused(NOW + 500))


def test_a_pod_held_at_a_gate_is_not_waiting() -> None:
    assert not waits(Condition("PodScheduled", "False", "SchedulingGated", "gated", NOW - 900))


def test_an_autoscaler_helps_for_a_while_and_only_this_very_pod() -> None:
    stuck = refused(NOW - 1000)
    helping = said("TriggeredScaleUp", NOW - 300, "cluster-autoscaler")
    assert not waits(stuck, NOW - 1000, "u1", helping)
    assert not waits(stuck, NOW - 1000, "u1", said("Nominated", NOW - 300, "karpenter"))
    assert waits(stuck, NOW - 1000, "u1", said("Nominated", NOW - 300, "default-scheduler"))
    assert waits(stuck, NOW - 1000, "u1", said("TriggeredScaleUp", NOW - 700, "cluster-autoscaler"))
    again = said("TriggeredScaleUp", NOW - 100, "cluster-autoscaler", first=NOW - 900)
    assert waits(stuck, NOW - 1000, "u1", again)
    assert waits(stuck, NOW - 1000, "u1", said("TriggeredScaleUp", NOW - 300, "cluster-autoscaler", uid="old"))
    assert waits(stuck, NOW - 1000, "u1", said("NotTriggerScaleUp", NOW - 300, "cluster-autoscaler"))
