"""Lists and watches into the state: what is decoded, dropped and known, and what is said of odd objects."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.cluster import intake
from aggregator.cluster.decode import Decoded
from aggregator.cluster.intake import LISTS, ClusterSink
from aggregator.cluster.sink import Sink
from aggregator.cluster.state import RESOURCES, ClusterState
from tests.aggregator.cluster.samples import LEASE, NODE, OLD_EVENT, SAMPLES, meta, pod, raw, sample


class World:
    """A state and its sink."""

    def __init__(self, expected: tuple[str, ...] = LISTS) -> None:
        self.state = ClusterState()
        self.sink = ClusterSink(self.state, expected)

    def list(self, resource: str, *things: Any, done: bool = True) -> None:
        """One list, two objects a page."""
        listing = self.sink.begin(resource)
        for start in range(0, len(things), 2):
            listing.page([item(thing) for thing in things[start : start + 2]])
        if done:
            listing.done()


def item(thing: Any) -> msgspec.Raw:
    """As it comes; text as it is."""
    return msgspec.Raw(thing.encode() if isinstance(thing, str) else raw(thing))


def lease(namespace: str, name: str) -> dict[str, Any]:
    return LEASE | {"metadata": meta(name, namespace)}


def versioned(thing: dict[str, Any], version: str, **spec: Any) -> dict[str, Any]:
    return thing | {"metadata": thing["metadata"] | {"resourceVersion": version}, "spec": thing["spec"] | spec}


def test_it_is_what_the_watch_writes_to() -> None:
    world: Sink = ClusterSink(ClusterState())
    assert hasattr(world, "begin")
    assert {each.partition("/")[0] for each in LISTS} == set(RESOURCES) - {"serviceaccounts", "secrets"}


@pytest.mark.parametrize("resource", RESOURCES)
def test_every_kind_is_taken_in(resource: str) -> None:
    world = World()
    world.list(resource, SAMPLES[resource])
    assert len(world.state.keys(resource)) == 1
    assert world.sink.problems(resource) == []
    world.sink.drop(resource, item(SAMPLES[resource]))
    assert len(world.state.keys(resource)) == 0


def test_nothing_is_known_before_the_list_is_done() -> None:
    world = World()
    world.list("pods", pod("a"), done=False)
    assert list(world.state.pods) == ["demo/a"]
    assert not world.state.knows("pods")
    world.list("pods", pod("a"))
    assert world.state.knows("pods")


def test_what_is_not_listed_any_more_is_gone() -> None:
    world = World()
    world.list("pods", pod("a"), pod("b"), pod("c"))
    world.list("pods", pod("b"), pod("d"), done=False)
    assert sorted(world.state.pods) == ["demo/a", "demo/b", "demo/c", "demo/d"]
    world.list("pods", pod("b"), pod("d"))
    assert sorted(world.state.pods) == ["demo/b", "demo/d"]


def test_only_what_changed_is_decoded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    world.list("pods", *(pod(f"p{number}") for number in range(10)))
    before, revision = dict(world.state.pods), world.state.revision
    read: list[str] = []
    decode = world.sink._decoder.decode

    def noticed(resource: str, data: bytes | msgspec.Raw, key: str = "") -> Decoded:
        read.append(key)
        return decode(resource, data, key)

    monkeypatch.setattr(world.sink._decoder, "decode", noticed)
    world.list("pods", *(versioned(pod(f"p{number}"), "398" if number != 3 else "400") for number in range(10)))
    assert read == ["demo/p3"]
    assert world.state.revision == revision  # nothing that is kept of it has changed
    assert all(world.state.pods[key] is thing for key, thing in before.items())
    again = pod("p4")
    again["metadata"]["uid"] = "another"  # deleted and made anew: versions of another object say nothing
    world.list("pods", again)
    assert world.state.pods["demo/p4"].uid == "another"


def test_a_watch_brings_and_takes() -> None:
    world = World()
    world.list("pods")
    world.sink.put("pods", item(pod("a", nodeName="n1")))
    assert world.state.pods["demo/a"].node == "n1"
    world.sink.put("pods", item(versioned(pod("a"), "399", nodeName="n2")))
    assert (list(world.state.pods_on("n1")), list(world.state.pods_on("n2"))) == ([], ["demo/a"])
    world.sink.drop("pods", item(pod("a")))
    world.sink.drop("pods", item(pod("never-there")))
    assert not world.state.pods


def test_what_a_watch_brings_during_a_list_is_not_dropped_by_it() -> None:
    world = World()
    listing = world.sink.begin("pods")
    listing.page([item(pod("a"))])
    world.sink.put("pods", item(pod("b")))
    listing.done()
    assert sorted(world.state.pods) == ["demo/a", "demo/b"]


def test_a_list_that_was_given_up_says_nothing() -> None:
    world = World()
    world.list("pods", pod("a"))
    given_up = world.sink.begin("pods")
    given_up.page([item(pod("b")), item("{}")])
    whole = world.sink.begin("pods")
    given_up.done()
    assert "demo/a" in world.state.pods
    whole.page([item(pod("a"))])
    whole.done()
    assert list(world.state.pods) == ["demo/a"]
    assert world.sink.problems("pods") == []


def test_leases_of_one_namespace_leave_the_others_alone() -> None:
    world = World()
    world.list("leases/kube-node-lease", lease("kube-node-lease", "a"), lease("kube-node-lease", "b"))
    assert not world.state.knows("leases")
    world.list("leases/kube-system", lease("kube-system", "kube-scheduler"))
    assert world.state.knows("leases")
    world.list("leases/kube-node-lease", lease("kube-node-lease", "b"))
    assert sorted(world.state.leases) == ["kube-node-lease/b", "kube-system/kube-scheduler"]
    world.sink.forget("leases/kube-system")
    assert not world.state.knows("leases")
    assert sorted(world.state.leases) == ["kube-node-lease/b"]
    world.list("leases/kube-system")
    assert world.state.knows("leases")


def test_all_leases_at_once_are_known_at_once() -> None:
    world = World(("leases",))
    world.list("leases", lease("kube-node-lease", "a"), lease("x", "b"))
    assert world.state.knows("leases")
    assert len(world.state.leases) == 2


def test_what_may_not_be_read_is_not_known_and_not_kept() -> None:
    world = World()
    world.list("pods", pod("a"), "{}")
    revision = world.state.revision
    world.sink.forget("pods")
    assert not world.state.knows("pods")
    assert (len(world.state.pods), len(world.state.pods_on("node-c"))) == (0, 0)
    assert world.sink.problems("pods") == []
    assert world.state.changes(revision) is None  # begin anew
    world.list("pods", pod("a"))
    assert list(world.state.pods_on("node-c")) == ["demo/a"]


# -- odd objects ---------------------------------------------------------------------------------------------------


def test_an_odd_object_is_a_problem_until_it_comes_right_and_the_others_count() -> None:
    world = World()
    world.list("pods", pod("a"), pod("b", nodeName=7), pod("c", tolerations="none"))
    assert sorted(world.state.pods) == ["demo/a", "demo/c"]
    first, second = world.sink.problems("pods")
    assert first.startswith("Pod demo/b: spec.nodeName: ")
    assert second.startswith("Pod demo/c: spec.tolerations: ")
    world.list("pods", pod("a"), pod("b", nodeName=7), pod("c", tolerations="none"))
    assert world.sink.problems("pods") == [first, second]  # though c is not read again
    world.sink.put("pods", item(versioned(pod("b"), "399")))
    assert world.sink.problems("pods") == [second]
    world.sink.drop("pods", item(pod("c")))
    assert world.sink.problems("pods") == []


def test_what_was_known_of_an_object_stays_while_it_cannot_be_read() -> None:
    world = World()
    world.list("nodes", NODE)
    broken = sample("nodes")
    broken["metadata"]["resourceVersion"] = "400"
    broken["status"] = "gone"
    world.sink.put("nodes", item(broken))
    world.list("nodes", broken)
    assert list(world.state.nodes) == ["node-a"]
    assert len(world.sink.problems("nodes")) == 1


def test_problems_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "MOST_PROBLEMS", 3)
    world = World()
    world.list("pods", *(pod(f"p{number}", nodeName=7) for number in range(8)))
    problems = world.sink.problems("pods")
    assert len(problems) == 4
    assert problems[-1] == "5 more objects with something odd in them"
    world.list("pods")
    assert world.sink.problems("pods") == []


def test_events_that_say_nothing_are_not_kept() -> None:
    world = World()
    for number, (kind, reason) in enumerate([("Warning", "Failed"), ("Normal", "Created"), ("Normal", "Killing")]):
        world.sink.put(
            "events", item(OLD_EVENT | {"metadata": meta(f"e{number}", "x"), "type": kind, "reason": reason})
        )
    assert [each.reason for each in world.state.events.values()] == ["Failed", "Killing"]


def test_events_that_were_too_many_are_said() -> None:
    world = World()
    assert world.sink.problems("events") == []
    world.state.events_dropped = 7
    assert world.sink.problems("events") == ["over 50,000 events: the oldest 7 are not kept"]


things = st.sampled_from([pod("a"), pod("b"), pod("a", nodeName="n2"), pod("b", nodeName=9), pod("c", priority="x")])
odd_things = things | st.sampled_from(["{}", "[]", "null", '"x"', '{"metadata": {"name": "a"}}', '{"metadata": 7}'])


@given(
    st.lists(st.tuples(st.sampled_from(["list", "half", "put", "drop", "forget"]), st.lists(odd_things, max_size=4)))
)
def test_it_never_raises_and_a_list_at_the_end_puts_everything_right(steps: list[tuple[str, list[Any]]]) -> None:
    world = World()
    for what, given_things in steps:
        if what in ("list", "half"):
            world.list("pods", *given_things, done=what == "list")
        elif what == "forget":
            world.sink.forget("pods")
        for thing in given_things:
            if what == "put":
                world.sink.put("pods", item(thing))
            elif what == "drop":
                world.sink.drop("pods", item(thing))
    world.list("pods", versioned(pod("a"), "900"), versioned(pod("z"), "901"))
    assert sorted(world.state.pods) == ["demo/a", "demo/z"]
    assert sorted(world.state.pods_on("node-c")) == ["demo/a", "demo/z"]
    assert world.sink.problems("pods") == []
    assert world.state.knows("pods")


# -- a real API server's lists and watches -------------------------------------------------------------------------

SHARED = os.environ.get("NODETELL_SHARED", "")
RECORDED = [
    ("pods", "pods.json", "watch-pods-70s.jsonl"),
    ("nodes", "nodes.json", "watch-nodes-70s.jsonl"),
    ("events", "events-core-v1.json", "watch-events-70s.jsonl"),
    ("pods", "node-lost/pods.json", "node-lost/watch-pods.jsonl"),
    ("nodes", "node-lost/nodes.json", "node-lost/watch-nodes.jsonl"),
    ("events", "node-lost/events.json", "node-lost/watch-events.jsonl"),
]


@pytest.mark.skipif(not SHARED, reason="NODETELL_SHARED names no directory with recordings of an API server")
@pytest.mark.parametrize(("resource", "listed", "watched"), RECORDED)
def test_a_recorded_watch_ends_where_a_list_of_its_last_objects_would(resource: str, listed: str, watched: str) -> None:
    folder = Path(SHARED, "recordings")
    items = json.loads((folder / listed).read_bytes())["items"]
    came = [json.loads(line) for line in (folder / watched).read_bytes().splitlines() if line.strip()]
    changes = [each for each in came if each["type"] in ("ADDED", "MODIFIED", "DELETED")]
    assert changes
    last = {(each["metadata"].get("namespace"), each["metadata"]["name"]): each for each in items}
    world = World()
    world.list(resource, *items)
    for each in changes:
        thing = each["object"]
        place = (thing["metadata"].get("namespace"), thing["metadata"]["name"])
        if each["type"] == "DELETED":
            world.sink.drop(resource, item(thing))
            last.pop(place, None)
        else:
            world.sink.put(resource, item(thing))
            last[place] = thing
    fresh = World()
    fresh.list(resource, *last.values())
    assert world.sink.problems(resource) == fresh.sink.problems(resource) == []
    keys = world.state.keys(resource)
    assert keys == fresh.state.keys(resource)
    assert {key: world.state.get(resource, key) for key in keys} == {
        key: fresh.state.get(resource, key) for key in keys
    }
    revision = world.state.revision
    world.list(resource, *last.values())
    assert world.state.revision == revision  # listed again: nothing new
