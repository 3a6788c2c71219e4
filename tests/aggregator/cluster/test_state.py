"""The state's indexes and its journal, after whatever has happened, against ones made from scratch."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from aggregator.cluster import events, state
from aggregator.cluster.objects import (
    ApiObject,
    Attachment,
    Claim,
    Container,
    Event,
    Lease,
    NodeObject,
    Owner,
    Pod,
    PodClaim,
    PodSpec,
    Volume,
)
from aggregator.cluster.state import RESOURCES, ClusterState

NODES = ("", "n1", "n2")
SPECS = (
    PodSpec(),
    PodSpec(containers=(Container("a"),), requests={"cpu": 100, "memory": 1 << 20}),
    PodSpec(requests={"cpu": 50, "nvidia.com/gpu": 1, "ephemeral-storage": 0}),
)
names = st.sampled_from("abcd")

pods = st.builds(
    Pod,
    namespace=st.just("x"),
    name=names,
    spec=st.sampled_from(SPECS),
    version=st.sampled_from(["1", "2"]),
    node=st.sampled_from(NODES),
    phase=st.sampled_from(["Pending", "Running", "Succeeded", "Failed"]),
    owner=st.none() | st.builds(Owner, st.just("ReplicaSet"), names, names),
    claims=st.lists(st.builds(PodClaim, names, names), max_size=2).map(tuple),
).flatmap(lambda pod: st.sampled_from(["1", "2"]).map(lambda uid: structs.replace(pod, uid=f"{pod.name}-{uid}")))
volumes = st.builds(Volume, name=names, handle=st.sampled_from(["", "v1", "v2"]), version=st.sampled_from(["1", "2"]))
attachments = st.builds(
    Attachment, name=names, node=st.sampled_from(NODES), volume=st.sampled_from(["", "pv"]), attached=st.booleans()
)
happened = st.builds(
    Event,
    namespace=st.just("x"),
    name=names,
    kind=st.sampled_from(["Pod", "Node"]),
    object=names,
    reason=names,
    message=st.just(""),
    last=st.floats(0, 9),
)
steps = st.one_of(
    st.tuples(st.just("pods"), pods),
    st.tuples(st.just("persistentvolumes"), volumes),
    st.tuples(st.just("volumeattachments"), attachments),
    st.tuples(st.just("events"), happened),
    st.tuples(st.sampled_from(["pods", "persistentvolumes", "volumeattachments", "events"]), names),
    st.tuples(st.sampled_from(["pods", "persistentvolumes", "volumeattachments", "events"]), st.booleans()),
    st.tuples(st.sampled_from(["pods", "persistentvolumes", "volumeattachments", "events"]), st.none()),
)
NAMESPACED = ("pods", "events")


def take(cluster: ClusterState, resource: str, what: Any) -> None:
    """An object comes, the one of a name goes, a resource becomes known or unknown, or all of it is forgotten."""
    if what is None:
        cluster.clear(resource)
    elif isinstance(what, bool):
        cluster.set_known(resource, what)
    elif isinstance(what, str):
        cluster.keep(resource, f"x/{what}" if resource in NAMESPACED else what, None)
    else:
        cluster.keep(resource, getattr(what, "key", what.name), what)


def from_scratch(cluster: ClusterState) -> ClusterState:
    """The same objects, each taken in once."""
    fresh = ClusterState()
    for resource in RESOURCES:
        for key in cluster.keys(resource):
            fresh.keep(resource, key, cluster.get(resource, key))
    return fresh


def indexes(cluster: ClusterState) -> dict[str, dict[str, object]]:
    """All that is indexed."""
    kept = cluster._indexes
    return {name: vars(index) for name, index in vars(kept).items() if name != "_change"}


@settings(max_examples=150)
@given(st.lists(steps, max_size=40))
def test_indexes_are_those_of_the_objects(sequence: list[tuple[str, Any]]) -> None:
    cluster = ClusterState()
    for resource, what in sequence:
        take(cluster, resource, what)
    assert indexes(cluster) == indexes(from_scratch(cluster))


@given(st.lists(steps, max_size=40))
def test_indexes_say_what_a_walk_over_all_objects_would(sequence: list[tuple[str, Any]]) -> None:
    cluster = ClusterState()
    for resource, what in sequence:
        take(cluster, resource, what)
    every = cluster.pods.values()
    requested: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for pod in every:
        if pod.node and pod.phase in ("Pending", "Running"):
            requested[pod.node]["pods"] += 1
            for name, amount in pod.spec.requests.items():
                requested[pod.node][name] += amount
    for node in NODES:
        assert dict(cluster.requested(node)) == {name: amount for name, amount in requested[node].items() if amount}
        assert set(cluster.pods_on(node)) == {pod.key for pod in every if node and pod.node == node}
        assert set(cluster.attachments_to(node)) == {
            a.name for a in cluster.attachments.values() if node and a.node == node
        }
    alive = [pod for pod in every if pod.phase in ("Pending", "Running")]
    assert set(cluster.waiting) == {pod.key for pod in alive if not pod.node}
    assert set(cluster.starting) == {pod.key for pod in alive if pod.node and pod.phase == "Pending"}
    for name in "abcd":
        assert set(cluster.pods_of(name)) == {pod.key for pod in every if pod.owner and pod.owner.uid == name}
        claimed = {pod.key for pod in every if name in [each.claim for each in pod.claims]}
        assert set(cluster.pods_of_claim(f"x/{name}")) == claimed
        about = [each for each in cluster.events.values() if (each.kind, each.object) == ("Pod", name)]
        assert cluster.events_of("Pod", name) == sorted(about, key=lambda each: each.last)
    for pod in every:
        assert cluster.pod_by_uid(pod.uid) is pod


def versionless(thing: ApiObject | None) -> ApiObject | None:
    return structs.replace(thing, version="") if thing is not None else None


@given(st.lists(steps, max_size=30), st.integers(0, 30), st.integers(1, 30))
def test_changes_replay_to_the_same_state(sequence: list[tuple[str, Any]], split: int, remembered: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(state, "JOURNAL", remembered)
        cluster = ClusterState()
        for resource, what in sequence[:split]:
            take(cluster, resource, what)
        since = cluster.revision
        seen = {(resource, key): cluster.get(resource, key) for resource in RESOURCES for key in cluster.keys(resource)}
        for resource, what in sequence[split:]:
            take(cluster, resource, what)
    changes = cluster.changes(since)
    if changes is None:
        cleared = any(what is None for _, what in sequence[split:])
        assert cleared or cluster.revision - since > remembered
        return
    for change in changes:
        if change.key:
            place = (change.resource, change.key)
            assert versionless(seen.pop(place, None)) == versionless(change.before)
            if change.after is not None:
                seen[place] = change.after
    now = {(resource, key): cluster.get(resource, key) for resource in RESOURCES for key in cluster.keys(resource)}
    assert {place: versionless(thing) for place, thing in seen.items()} == {
        place: versionless(thing) for place, thing in now.items()
    }


def test_what_changes_nothing_that_is_kept_is_no_change() -> None:
    cluster = ClusterState()
    cluster.keep("nodes", "n", NodeObject("n", version="1"))
    before, revision = cluster.nodes["n"], cluster.revision
    cluster.keep("nodes", "n", NodeObject("n", version="2"))
    assert cluster.nodes["n"] is before
    assert (before.version, cluster.revision) == ("2", revision)
    cluster.keep("nodes", "n", NodeObject("n", version="2", unschedulable=True))
    assert cluster.revision == cluster.revisions["nodes"] == revision + 1
    assert [change.after for change in cluster.changes(revision) or ()] == [cluster.nodes["n"]]


def test_changes_of_another_state_are_not_made_up() -> None:
    cluster = ClusterState()
    assert list(cluster.changes(0) or ()) == []
    assert cluster.changes(1) is None
    cluster.keep("nodes", "n", NodeObject("n"))
    cluster.clear("nodes")
    assert cluster.changes(0) is None
    assert list(cluster.changes(cluster.revision) or ()) == []


def test_known_is_not_the_same_as_empty() -> None:
    cluster = ClusterState()
    assert not cluster.knows("pods")
    cluster.set_known("pods", known=True)
    assert cluster.knows("pods")
    assert not cluster.knows("pods", "nodes")
    revision = cluster.revision
    cluster.set_known("pods", known=True)
    assert cluster.revision == revision
    cluster.set_known("pods", known=False)
    assert not cluster.knows("pods")
    assert cluster.revisions["pods"] == cluster.revision == revision + 1


def test_the_oldest_events_go_first_and_normal_ones_before_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "MOST_EVENTS", 20)
    cluster = ClusterState()
    for number in range(30):
        kind = "Normal" if number % 3 == 0 else "Warning"
        event = Event("x", f"e{number}", "Pod", "x/p", "Killing", "", type=kind, last=float(100 - number))
        cluster.keep("events", event.key, event)
    assert 20 <= len(cluster.events) <= 22
    assert cluster.events_dropped == 30 - len(cluster.events)
    kept = cluster.events.values()
    warnings = sorted(each.last for each in kept if each.type == "Warning")
    assert warnings == sorted(100.0 - number for number in range(30) if number % 3)[-len(warnings) :]
    assert len(cluster.events_of("Pod", "x/p")) == len(kept)


def test_normal_events_are_kept_only_where_they_say_something() -> None:
    def event(kind: str, reason: str) -> Event:
        return Event("x", "e", "Pod", "x/p", reason, "", type=kind)

    assert events.wanted(event("Warning", "Anything"))
    assert events.wanted(event("Normal", "Killing"))
    assert not events.wanted(event("Normal", "Created"))


def test_claims_and_volumes_find_each_other() -> None:
    cluster = ClusterState()
    claim = Claim("x", "c", uid="1", volume="pv")
    volume = Volume("pv", claim="x/c", claim_uid="1", handle="h")
    cluster.keep("persistentvolumeclaims", claim.key, claim)
    assert cluster.volume_of(claim) is None
    cluster.keep("persistentvolumes", "pv", volume)
    assert cluster.volume_of(claim) is volume
    assert cluster.claim_of(volume) is claim
    assert cluster.claim_of(structs.replace(volume, claim_uid="2")) is None
    assert cluster.volumes_by_handle("h") == {"pv": volume}


def test_every_resource_has_its_view() -> None:
    cluster = ClusterState()
    lease = Lease("kube-node-lease", "n")
    cluster.keep("leases", lease.key, lease)
    views = (
        *(cluster.nodes, cluster.pods, cluster.claims, cluster.volumes, cluster.storage_classes, cluster.attachments),
        *(cluster.csi_nodes, cluster.events, cluster.leases, cluster.budgets, cluster.quotas),
        *(cluster.replica_sets, cluster.stateful_sets, cluster.service_accounts, cluster.secrets),
    )
    assert len(views) == len(RESOURCES)
    assert [len(view) for view in views].count(1) == 1
    assert cluster.leases[lease.key] is lease
