"""What is kept from one evaluation to the next says what a look from scratch would, whatever happened in between."""

from __future__ import annotations

from collections.abc import Callable
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from aggregator.cluster.objects import (
    ApiObject,
    Claim,
    Condition,
    Event,
    NodeObject,
    NodeTerm,
    Owner,
    Pod,
    PodClaim,
    PodSpec,
    PodTerm,
    Requirement,
    Selector,
    StorageClass,
    Volume,
)
from aggregator.cluster.state import RESOURCES, ClusterState
from aggregator.signatures.case import Case
from aggregator.signatures.storage import abandoned, binding, placement, provisioning, resize, stranded
from aggregator.signatures.thresholds import Thresholds
from aggregator.topology import topology_of
from aggregator.view import ClusterView

NOW = 1_790_000_000.0
ZONE = "topology.kubernetes.io/zone"
RULES = (abandoned, placement, provisioning, resize, binding, stranded)
AT_ONCE = Thresholds(what_if_every_s=0.0)
APART = PodTerm(Selector((Requirement("app", "In", ("a",)),)), "kubernetes.io/hostname")
SPECS = (PodSpec(requests={"cpu": 1000}), PodSpec(requests={"cpu": 3000}), PodSpec(pod_anti_affinity=(APART,)))
CLASSES = ("fast", "slow", "gone")

Change = tuple[str, str, ApiObject | None]


def node(number: int, zone: str, ready: str, cordoned: bool) -> Change:
    name = f"n{number}"
    labels = {ZONE: zone, "kubernetes.io/hostname": name} if zone else {"kubernetes.io/hostname": name}
    condition = Condition("Ready", ready, since=NOW - 500)
    allocatable = {"cpu": 4000, "pods": 110}
    made = NodeObject(
        name, labels, allocatable=allocatable, conditions=(condition,), unschedulable=cordoned, created=NOW - 9000
    )
    return "nodes", name, made


def pod(number: int, on: int, spec: int, phase: str, since: float) -> Change:
    name = f"p{number}"
    made = Pod(
        "db",
        name,
        SPECS[spec],
        uid=name,
        created=NOW - since,
        owner=Owner("StatefulSet", f"s{number % 2}", f"u{number % 2}"),
        labels={"app": "a"},
        node=f"n{on}" if on else "",
        claims=(PodClaim("data", f"c{number}"),),
        phase=phase if on else "Pending",
    )
    return "pods", made.key, made


def volume(number: int, where: str, class_: int) -> Change:
    key = "kubernetes.io/hostname" if where.startswith("n") else ZONE
    terms = (NodeTerm(labels=(Requirement(key, "In", (where,)),)),) if where else None
    made = Volume(f"v{number}", claim=f"db/c{number}", storage_class=CLASSES[class_], node_terms=terms, source="csi")
    return "persistentvolumes", made.name, made


def claim(number: int, bound: bool, class_: int, grows: bool) -> Change:
    made = Claim(
        "db",
        f"c{number}",
        phase="Bound" if bound else "Pending",
        volume=f"v{number}" if bound else "",
        storage_class=CLASSES[class_],
        created=NOW - 4000,
        requested=50 if grows else 20,
        capacity=20 if bound else 0,
        resize_status="NodeResizeInfeasible" if grows else "",
    )
    return "persistentvolumeclaims", made.key, made


def storage_class(number: int, waits: bool) -> Change:
    made = StorageClass(CLASSES[number], provisioner="ebs.csi.aws.com", waits_for_consumer=waits)
    return "storageclasses", made.name, made


def event(number: int, first: float) -> Change:
    text = "exceeded quota of volumes: VolumeLimitExceeded"
    made = Event("db", f"e{number}", "PersistentVolumeClaim", f"db/c{number}", "ProvisioningFailed", text)
    return "events", made.key, replace(made, first=NOW - first, last=NOW - 5)


def gone(change: Change) -> Change:
    return change[0], change[1], None


SMALL = st.integers(1, 4)
MADE: st.SearchStrategy[Change] = st.one_of(
    st.builds(node, SMALL, st.sampled_from(["a", "b", ""]), st.sampled_from(["True", "Unknown"]), st.booleans()),
    st.builds(
        pod,
        SMALL,
        st.integers(0, 4),
        st.integers(0, 2),
        st.sampled_from(["Running", "Failed"]),
        st.sampled_from([60.0, 600.0]),
    ),
    st.builds(volume, SMALL, st.sampled_from(["a", "b", "n1", ""]), st.integers(0, 2)),
    st.builds(claim, SMALL, st.booleans(), st.integers(0, 2), st.booleans()),
    st.builds(storage_class, st.integers(0, 1), st.booleans()),
    st.builds(event, SMALL, st.sampled_from([30.0, 600.0])),
)
CHANGES = st.lists(st.one_of(MADE, MADE, MADE.map(gone)), max_size=25)


def state_of(objects: dict[tuple[str, str], ApiObject]) -> ClusterState:
    """A state that knows everything and has kept nothing."""
    state = ClusterState()
    for resource in RESOURCES:
        state.set_known(resource, known=True)
    for (resource, key), thing in objects.items():
        state.keep(resource, key, thing)
    return state


def said(state: ClusterState) -> dict[str, list[str]]:
    """By rule: what is told of which objects, in any order."""
    view = ClusterView("test", {}, state, NOW)
    rules: dict[str, Callable[[ClusterView, Thresholds], object]] = {rule.__name__: rule.cases for rule in RULES}
    told = {}
    for name, rule in rules.items():
        cases = [case for case in rule(view, AT_ONCE) if isinstance(case, Case)]  # type: ignore[attr-defined]
        told[name] = sorted(f"{case.code} {case.about} {case.statement} {sorted(case.objects)}" for case in cases)
    return told


@settings(max_examples=120, deadline=None)
@given(st.lists(CHANGES, min_size=1, max_size=4))
def test_what_is_kept_is_what_a_look_from_scratch_would_say(story: list[list[Change]]) -> None:
    kept, objects = state_of({}), dict[tuple[str, str], ApiObject]()
    for changes in story:
        for resource, key, thing in changes:
            if thing is not None:
                objects[resource, key] = thing
                kept.keep(resource, key, thing)
            elif objects.pop((resource, key), None) is not None:
                kept.keep(resource, key, None)
        fresh = state_of(objects)
        assert said(kept) == said(fresh)
        assert topology_of(kept).zones == topology_of(fresh).zones


def lost(state: ClusterState, now: float, *, gradual: bool) -> set[str]:
    """What losses are said to strand."""
    view = ClusterView("test", {}, state, now, gradual=gradual)
    return {f"{case.about} {case.statement} {sorted(case.objects)}" for case in stranded.cases(view, Thresholds())}


@settings(max_examples=60, deadline=None)
@given(CHANGES, CHANGES, st.booleans())
def test_what_is_worked_out_part_by_part_is_never_said_in_part(
    first: list[Change], then: list[Change], anew: bool
) -> None:
    objects = {(resource, key): thing for resource, key, thing in first if thing is not None}
    state = state_of(objects)
    said_before: set[str] = set()
    with patch.multiple(stranded, _AT_FIRST=1, _AT_ONCE=1, _SORTED_AT_ONCE=1):
        for number, changes in enumerate(([], then)):
            for resource, key, thing in changes:
                if thing is not None:
                    objects[resource, key] = thing
                elif objects.pop((resource, key), None) is None:
                    continue
                state.keep(resource, key, thing)
            if anew and number:
                state._journal.clear()  # more has happened than is remembered
            now = NOW + 100 * number
            whole = lost(state_of(objects), now, gradual=False)
            for _ in range(30):
                told = lost(state, now, gradual=True)
                view = ClusterView("test", {}, state, now, gradual=True)
                if not stranded.pending(view) and told == whole:
                    break
                if stranded.pending(view):
                    assert told == said_before
            assert told == whole
            assert not stranded.pending(view)
            said_before = told


def test_the_story_reaches_every_rule() -> None:
    """Else the property above would hold of nothing."""
    things = [node(1, "b", "True", False), node(2, "a", "True", False), pod(1, 0, 0, "", 600.0), volume(1, "n4", 0)]
    things += [claim(1, True, 0, True), storage_class(0, False), storage_class(1, False), pod(3, 1, 0, "Running", 60.0)]
    things += [volume(3, "b", 0), claim(3, True, 0, False), claim(2, False, 1, False), event(2, 600.0)]
    things += [volume(4, "n4", 0), claim(4, True, 0, False)]
    told = said(state_of({(resource, key): thing for resource, key, thing in things if thing is not None}))
    assert {name: len(cases) for name, cases in told.items() if not cases} == {}
