"""Lists in files: whole ones, damaged ones, and ones that look whole and are not."""

from __future__ import annotations

import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.cluster import lists
from aggregator.cluster.decode import Decoder
from aggregator.cluster.lists import damage, load
from aggregator.cluster.state import RESOURCES, ClusterState
from tests.aggregator.cluster.samples import OLD_EVENT, SAMPLES, meta, pod, raw


def loaded(data: bytes, resource: str = "pods") -> tuple[ClusterState, list[str]]:
    state = ClusterState()
    return state, load(state, resource, data, Decoder())


def kubectl(*items: Any, **more: Any) -> bytes:
    """As `kubectl get -o json` prints it."""
    kinded = [{"apiVersion": "v1", "kind": "Pod", **each} if isinstance(each, dict) else each for each in items]
    document = {"apiVersion": "v1", "kind": "List", "items": kinded, "metadata": {"resourceVersion": ""}, **more}
    return json.dumps(document, indent=4).encode()


def typed(*items: Any, **metadata: Any) -> bytes:
    """As the API server sends it."""
    document = {"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "7", **metadata}, "items": items}
    return json.dumps(document).encode()


@pytest.mark.parametrize("shape", [kubectl, typed])
def test_both_shapes_of_a_list(shape: Any) -> None:
    state, problems = loaded(shape(pod("a"), pod("b")))
    assert problems == []
    assert sorted(state.pods) == ["demo/a", "demo/b"]
    assert state.pods["demo/a"].spec is state.pods["demo/b"].spec
    assert state.knows("pods")


@pytest.mark.parametrize("resource", RESOURCES)
def test_lists_of_every_kind(resource: str) -> None:
    state, problems = loaded(raw({"items": [SAMPLES[resource]]}), resource)
    assert problems == []
    assert len(state.keys(resource)) == 1
    assert state.knows(resource)


def test_an_empty_list_is_known() -> None:
    for data in (kubectl(), typed(), b'{"items": null}', b"\xef\xbb\xbf" + kubectl()):
        state, problems = loaded(data)
        assert problems == []
        assert state.knows("pods")


def test_one_odd_object_is_one_problem_and_the_others_count() -> None:
    state, problems = loaded(
        kubectl(pod("a"), pod("b", nodeName=7), "odd", {"kind": "Service"}, pod("c", priority="x"))
    )
    assert sorted(state.pods) == ["demo/a", "demo/c"]
    assert state.knows("pods")
    assert problems == [
        "item 1: Pod demo/b: spec.nodeName: Expected `str | null`, got `int`",
        "item 2: Pod: the object: Expected `object`, got `str`",
        "item 3: Pod: kind: it is a Service",
        "item 4: Pod demo/c: spec.priority: Expected `int | null`, got `str`",
    ]


def test_many_odd_objects_are_counted() -> None:
    _, problems = loaded(typed(*({} for _ in range(lists.MOST_PROBLEMS + 5))))
    assert len(problems) == lists.MOST_PROBLEMS + 1
    assert problems[-1] == "5 more objects with something odd in them"


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "line 1, column 1 (offset 0): input data was truncated"),
        (b'{"items": [', "line 1, column 12 (offset 11): input data was truncated"),
        (b'{"items": [\n {"metadata": }]}', "line 2, column 15 (offset 26): invalid character"),
        (b'{"items": []}\n{"items": []}', "line 2, column 1 (offset 14): trailing characters"),
        (b"No resources found\n", "line 1, column 1 (offset 0): invalid character"),
        (b'{"items":' + b"[" * 200_000, "not JSON: maximum recursion depth"),
        (b"{}", "no list of items in it"),
        (b"[]", "no list of items in it"),
        (b'{"items": {}}', "no list of items in it"),
        (b'{"kind": "Status", "message": "pods is\\n forbidden"}', "a Status instead of a list: pods is forbidden"),
    ],
)
def test_what_is_no_list_leaves_the_resource_unknown(data: bytes, problem: str) -> None:
    state, problems = loaded(data)
    assert len(problems) == 1
    assert problems[0].startswith(f"{problem}")
    assert not state.knows("pods")


def test_a_page_of_a_longer_list_does_not_pass_for_the_list() -> None:
    metadata = {"continue": "eyJ2IjoibWV0YS5rOHMuaW8vdjEi", "remainingItemCount": 8}
    state, problems = loaded(typed(pod("a"), **metadata))
    assert problems == ["only the first page of a longer list (8 more)"]
    assert list(state.pods) == ["demo/a"]
    assert not state.knows("pods")


@given(st.data())
def test_a_list_that_is_cut_off_is_never_known(data: st.DataObject) -> None:
    whole = kubectl(pod("a"), pod("b"))
    state, problems = loaded(whole[: data.draw(st.integers(0, len(whole) - 1))])
    assert len(problems) == 1
    assert not state.knows("pods")


def test_events_that_say_nothing_are_left_out() -> None:
    pulled = OLD_EVENT | {"metadata": meta("e2", "demo"), "type": "Normal", "reason": "Created"}
    state, problems = loaded(raw({"items": [OLD_EVENT, pulled]}), "events")
    assert problems == []
    assert [each.reason for each in state.events.values()] == ["BackOff"]


def test_damage_is_told_of_any_json() -> None:
    assert damage(b'{"items": [1, {"a": null}]}') == ""
    assert damage(b"[1, 2]") == ""
    assert damage(b'{"a": 1,\n "b": NaN}') == "line 2, column 7 (offset 15): invalid character"


def test_a_large_file_is_not_held_several_times() -> None:
    """What is read keeps far less than the file; while it is read, not much more."""
    data = typed(*(pod(f"p{number}") | {"padding": "x" * 20_000} for number in range(500)))
    tracemalloc.start()
    try:
        state, _ = loaded(data)
        kept, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(state.pods) == 500
    assert kept < len(data) / 5
    assert most < len(data) / 3


SHARED = os.environ.get("NODETELL_SHARED", "")
LISTS = sorted(Path(SHARED, "scenarios").glob("*/*/kube/*.json")) if SHARED else []


@pytest.mark.skipif(not LISTS, reason="NODETELL_SHARED names no directory with scenarios")
def test_lists_of_recorded_bundles() -> None:
    for path in LISTS:
        if path.stem in RESOURCES:
            state, problems = loaded(path.read_bytes(), path.stem)
            if "damaged" in str(path) and problems:
                assert not state.knows(path.stem)
            else:
                assert problems == [], path
                assert state.knows(path.stem)


def test_events_that_were_too_many_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aggregator.cluster.state.MOST_EVENTS", 10)
    given = [OLD_EVENT | {"metadata": meta(f"e{number}", "demo")} for number in range(12)]
    state, problems = loaded(raw({"items": given}), "events")
    assert len(state.events) == 10
    assert problems == ["over 50,000 events: the oldest 2 are not kept"]
    assert state.knows("events")
