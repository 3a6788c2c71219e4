"""What the scheduler says, taken apart: wordings from 1.8 to 1.36, of the autoscalers, and garbage."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator.messages.scheduling import Kind, Reason, SchedulerSays, is_gated, parse

SUFFIX = (
    " no new claims to deallocate, preemption: 0/7 nodes are available: 3 Preemption is not helpful for scheduling."
)


def test_a_current_message() -> None:
    says = parse("0/7 nodes are available: 3 node(s) had untolerated taint(s), 4 Insufficient cpu." + SUFFIX)
    assert says == SchedulerSays(
        7,
        (
            Reason(3, Kind.TAINT, "node(s) had untolerated taint(s)"),
            Reason(4, Kind.RESOURCES, "Insufficient cpu", resource="cpu"),
        ),
    )


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("node(s) had untolerated taint {dedicated: gpu}", "dedicated"),
        (
            "node(s) had taint {node.kubernetes.io/not-ready: }, that the pod didn't tolerate",
            "node.kubernetes.io/not-ready",
        ),
        ("node(s) had taint {example.com/pool=a:NoSchedule}, that the pod didn't tolerate", "example.com/pool"),
        ("node(s) had untolerated taint(s)", None),
        ("node(s) had taints that the pod didn't tolerate", None),
    ],
)
def test_the_wordings_of_a_taint(text: str, key: str | None) -> None:
    (taint, short) = parse(f"0/3 nodes are available: 2 {text}, 1 Insufficient memory.").reasons
    assert (taint.count, taint.kind, taint.text, taint.taint) == (2, Kind.TAINT, text, key)
    assert short.resource == "memory"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Insufficient nvidia.com/gpu", Kind.RESOURCES),
        ("Insufficient ephemeral-storage", Kind.RESOURCES),
        ("Insufficient pods", Kind.PODS),
        ("Too many pods", Kind.PODS),
        ("node(s) didn't match node selector", Kind.NODE_AFFINITY),
        ("node(s) didn't match Pod's node affinity", Kind.NODE_AFFINITY),
        ("node(s) didn't match Pod's node affinity/selector", Kind.NODE_AFFINITY),
        ("node(s) didn't match the requested hostname", Kind.NODE_AFFINITY),
        ("node(s) didn't match pod affinity/anti-affinity rules", Kind.POD_AFFINITY),
        ("node(s) didn't match pod affinity rules", Kind.POD_AFFINITY),
        ("node(s) didn't satisfy existing pods anti-affinity rules", Kind.POD_AFFINITY),
        ("node(s) didn't match pod topology spread constraints", Kind.SPREAD),
        ("node(s) didn't match pod topology spread constraints (missing required label)", Kind.SPREAD),
        ("node(s) didn't have free ports for the requested pod ports", Kind.HOST_PORT),
        ("node(s) had volume node affinity conflict", Kind.VOLUME_ZONE),
        ("node(s) didn't match PersistentVolume's node affinity", Kind.VOLUME_ZONE),
        ("node(s) had no available volume zone", Kind.VOLUME_ZONE),
        ("node(s) didn't find available persistent volumes to bind", Kind.UNBOUND_CLAIM),
        ("pod has unbound immediate PersistentVolumeClaims", Kind.UNBOUND_CLAIM),
        ("node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)", Kind.UNBOUND_CLAIM),
        ("node(s) exceed max volume count", Kind.VOLUME_LIMIT),
        ("node(s) were unschedulable", Kind.CORDONED),
        ("cannot allocate all claims", Kind.RESOURCE_CLAIM),
        ("resourceclaim not available on the node", Kind.RESOURCE_CLAIM),
        ("node(s) were not ready", Kind.NOT_READY),
        ("node(s) had a mood", Kind.OTHER),
    ],
)
def test_the_kinds_of_reasons(text: str, kind: Kind) -> None:
    (reason,) = parse(f"0/12 nodes are available: 12 {text}.").reasons
    assert (reason.count, reason.kind, reason.text) == (12, kind, text)


def test_the_oldest_wording() -> None:
    says = parse(
        "No nodes are available that match all of the predicates: Insufficient cpu (4), MatchNodeSelector (9)."
    )
    assert [(each.count, each.kind) for each in says.reasons] == [(4, Kind.RESOURCES), (9, Kind.NODE_AFFINITY)]
    # There each node is counted for each of its reasons: no node has the label at all.
    assert says.main is not None
    assert says.main.kind is Kind.NODE_AFFINITY


@pytest.mark.parametrize(
    "message",
    [
        'persistentvolumeclaim "data-0" not found',
        '0/3 nodes are available: persistentvolumeclaim "data-0" not found. preemption: 0/3 nodes are available: 3 No.',
        "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims. preemption: 0/3 nodes are avail",
        "pod has unbound immediate PersistentVolumeClaims (repeated 3 times)",
        'running PreFilter plugin "VolumeBinding": error getting PVC "a/b": could not find PersistentVolumeClaim "a/b"',
        'running PreBind plugin "VolumeBinding": binding volumes: timed out waiting for the condition',
        'persistentvolumeclaim "x" bound to non-existent persistentvolume "y"',
    ],
)
def test_what_is_said_of_the_pod_as_a_whole(message: str) -> None:
    (reason,) = parse(message).reasons
    assert (reason.count, reason.kind) == (0, Kind.UNBOUND_CLAIM)


def test_resource_claims_before_any_node() -> None:
    message = 'running Reserve plugin "DynamicResources": waiting for resource driver to allocate resource'
    assert [each.kind for each in parse(message).reasons] == [Kind.RESOURCE_CLAIM]


def test_the_list_alone() -> None:
    says = parse(
        "1 node(s) had taint {a: b}, that the pod didn't tolerate, 2 node(s) didn't match pod anti-affinity rules."
    )
    assert [(each.count, each.kind) for each in says.reasons] == [(1, Kind.TAINT), (2, Kind.POD_AFFINITY)]


def test_gates() -> None:
    assert is_gated(parse("Scheduling is blocked due to non-empty scheduling gates"))
    assert not is_gated(parse("0/1 nodes are available: 1 Insufficient cpu."))


def test_an_autoscaler_lists_reasons_too() -> None:
    message = (
        "pod didn't trigger scale-up (it wouldn't fit if a new node is added): 1 node(s) had volume node affinity "
    )
    says = parse(message + "conflict, 2 max node group size reached")
    assert [(each.count, each.kind) for each in says.reasons] == [(1, Kind.VOLUME_ZONE), (2, Kind.RESOURCES)]


CONTROL_PLANE = "3 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }"


@pytest.mark.parametrize(
    ("listed", "kind"),
    [
        (f"{CONTROL_PLANE}, 1 Insufficient cpu", Kind.RESOURCES),
        (f"{CONTROL_PLANE}, 2 Insufficient cpu, 1 node(s) were unschedulable", Kind.RESOURCES),
        (f"{CONTROL_PLANE}, 2 node(s) didn't match Pod's node affinity/selector", Kind.NODE_AFFINITY),
        ("6 node(s) didn't match Pod's node affinity/selector, 1 Too many pods", Kind.PODS),
        (
            "6 node(s) had untolerated taint {pool: gpu}, 4 node(s) didn't match Pod's node affinity/selector",
            Kind.TAINT,
        ),
        ("1 node(s) had untolerated taint(s), 9 node(s) didn't match Pod's node affinity/selector", Kind.NODE_AFFINITY),
        ("10 node(s) didn't match node selector, 4 Insufficient cpu", Kind.NODE_AFFINITY),
        ("10 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }", Kind.TAINT),
        ("2 Insufficient cpu, 8 node(s) had volume node affinity conflict", Kind.VOLUME_ZONE),
    ],
)
def test_the_reason_that_decides(listed: str, kind: Kind) -> None:
    main = parse(f"0/10 nodes are available: {listed}. preemption: 0/10 nodes are available: 10 No preemption.").main
    assert main is not None
    assert main.kind is kind


def test_what_follows_the_list_is_no_reason() -> None:
    for suffix in (
        " preemption: 0/2 nodes are available: 1 Insufficient memory, 1 Preemption is not helpful for scheduling.",
        " no new claims to deallocate, preemption: 0/2 nodes are available: 2 No preemption victims found.",
        ", preemption: not eligible due to preemptionPolicy=Never..",
    ):
        says = parse("0/2 nodes are available: 2 Insufficient cpu." + suffix)
        assert [each.text for each in says.reasons] == ["Insufficient cpu"]


@settings(max_examples=60)
@given(st.text(max_size=300))
def test_anything_can_be_parsed(text: str) -> None:
    for message in (
        text,
        f"0/3 nodes are available: {text}",
        f"0/3 nodes are available: 2 {text}, 1 Insufficient cpu.",
    ):
        says = parse(message)
        assert says.main is None or says.main in says.reasons


KNOWN = [
    "Insufficient cpu",
    "Too many pods",
    "node(s) had untolerated taint {a: b}",
    "node(s) didn't match PersistentVolume's node affinity",
    "node(s) didn't have free ports for the requested pod ports",
]


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(1, 9_999), st.sampled_from(KNOWN)), min_size=1, max_size=5))
def test_counts_and_texts_come_back(listed: list[tuple[int, str]]) -> None:
    total = sum(count for count, _ in listed)
    says = parse(f"0/{total} nodes are available: " + ", ".join(f"{count} {text}" for count, text in listed) + ".")
    assert says.total == total
    assert [(each.count, each.text) for each in says.reasons] == listed
