"""Which finding explains which: shared facts, the right order in time, direct causes only, no rings."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator.causes import EDGES, NODE, ORDER_SLACK_S, PATH, Edge, Linked, link, shared
from aggregator.model import Finding, Severity, Stage
from aggregator.signatures.catalog import CODES

AT = 1_790_000_000.0


def finding(key: str, code: str, *objects: str, since: float = 0.0, **more: object) -> Finding:
    fields: dict[str, object] = {
        "id": key,
        "code": code,
        "incident": "node",
        "stage": Stage.ACTIVE,
        "severity": Severity.WARNING,
        "summary": key,
        "nodes": (),
        "evidence": (),
        "clears_when": "never",
        "objects": objects,
        "since": since,
    }
    return Finding(**(fields | more))  # type: ignore[arg-type]  # fields by name, for brevity


def causes(linked: Linked) -> dict[str, tuple[str, ...]]:
    return {each.id: each.caused_by for each in linked.findings}


@pytest.mark.parametrize("edge", EDGES, ids=lambda edge: f"{edge.cause}->{edge.effect}")
def test_each_edge_needs_a_shared_fact_and_the_right_order(edge: Edge) -> None:
    shared = f"{edge.kind}/a/b"
    cause = finding("c", edge.cause, shared, since=AT)
    after = finding("e", edge.effect, shared, since=AT + 300)
    assert causes(link([cause, after]))["e"] == ("c",)
    assert causes(link([after, cause]))["e"] == ("c",)
    elsewhere = finding("e", edge.effect, f"{edge.kind}/a/other", since=AT + 300)
    assert causes(link([cause, elsewhere]))["e"] == ()
    before = finding("e", edge.effect, shared, since=AT - ORDER_SLACK_S - 1)
    assert causes(link([cause, before]))["e"] == ()
    unknown = finding("e", edge.effect, shared)
    assert causes(link([cause, unknown]))["e"] == ("c",)


def test_every_edge_is_between_codes_that_there_are_and_said_once() -> None:
    assert {code for edge in EDGES for code in (edge.cause, edge.effect)} <= set(CODES)
    assert len(set(EDGES)) == len(EDGES)


def test_the_edges_by_themselves_make_no_ring() -> None:
    """One finding of each code that share everything: were there a ring of edges, it would show."""
    kinds = {edge.kind for edge in EDGES}
    codes = sorted({code for edge in EDGES for code in (edge.cause, edge.effect)})
    linked = link([finding(code, code, *(f"{kind}/x" for kind in sorted(kinds))) for code in codes])
    assert linked.gaps == []


def test_a_node_is_shared_whether_it_is_named_as_a_node_or_as_an_object() -> None:
    skew = finding("c", "node.clock_skew", nodes=("n1",))
    assert causes(link([skew, finding("e", "crash.identity", "Node/n1")]))["e"] == ("c",)
    assert causes(link([skew, finding("e", "crash.identity", nodes=("n1",))]))["e"] == ("c",)
    assert causes(link([skew, finding("e", "crash.identity", nodes=("n2",))]))["e"] == ()


def test_a_finding_that_names_no_path_is_about_all_paths_of_its_nodes() -> None:
    crash = finding("e", "crash.dependency_unreachable", "Path/n1", "Path/n1/n3")
    assert causes(link([finding("c", "mtu.drop_fingerprint", nodes=("n1",)), crash]))["e"] == ("c",)
    assert causes(link([finding("c", "mtu.drop_fingerprint", nodes=("n2",)), crash]))["e"] == ()
    one_path = finding("c", "mtu.path_black_hole", "Path/n1/n2", nodes=("n1",))
    assert causes(link([one_path, crash]))["e"] == (), "the path to n2 is another one than that to n3"


def test_a_chain_is_told_link_by_link() -> None:
    lost = finding("lost", "node.lost", nodes=("n1",))
    zone = finding("zone", "storage.zone_mismatch", "Node/n1", "PersistentVolumeClaim/db/data")
    pods = finding("pods", "sched.volume_zone", "PersistentVolumeClaim/db/data", caused_by=("lost",))
    linked = causes(link([pods, zone, lost]))
    assert linked == {"lost": (), "zone": ("lost",), "pods": ("zone",)}


def test_causes_that_are_not_there_any_more_are_not_named() -> None:
    linked = link([finding("e", "mtu.fragmenting", caused_by=("gone", "e"))])
    assert causes(linked) == {"e": ()}
    assert not linked.gaps


def test_a_ring_is_broken_where_it_is_weakest_and_a_gap_says_so() -> None:
    edges = (Edge("x.a", "x.b", NODE), Edge("x.b", "x.c", NODE), Edge("x.c", "x.a", NODE))
    ring = [
        finding("a", "x.a", nodes=("n",), since=AT),
        finding("b", "x.b", nodes=("n",), since=AT + 20),
        finding("c", "x.c", nodes=("n",), since=AT + 40),
    ]
    linked = link(ring, edges)
    assert causes(linked) == {"a": (), "b": ("a",), "c": ("b",)}, "c began last: it does not explain a"
    (gap,) = linked.gaps
    assert (gap.node, gap.signal, gap.status) == ("", "diagnosis/causes", "degraded")
    assert (
        gap.because == "x.c (c) and x.a (a) would explain each other: the first is not taken as a cause of the second"
    )


def test_what_seems_to_have_begun_first_by_no_more_than_the_slack_may_still_be_what_follows() -> None:
    edge = (Edge("x.a", "x.b", NODE),)
    cause = finding("c", "x.a", nodes=("n",), since=AT)
    for early, named in ((ORDER_SLACK_S, ("c",)), (ORDER_SLACK_S + 0.5, ())):
        effect = finding("e", "x.b", nodes=("n",), since=AT - early)
        assert causes(link([cause, effect], edge))["e"] == named


BOTH_WAYS = (Edge("x.a", "x.b", NODE), Edge("x.b", "x.a", NODE))


@pytest.mark.parametrize(
    ("a", "b", "first", "why"),
    [
        ({"since": AT + 30}, {"since": AT}, "b", "both say when, and b began first"),
        ({"since": AT}, {"since": AT + 30}, "a", "both say when, and a began first"),
        ({"caused_by": ("b",)}, {}, "b", "nothing is known of times, and a signature says that b explains a"),
        ({"caused_by": ("b",)}, {"since": AT}, "b", "a time that only one side says orders nothing"),
        ({"caused_by": ("b",), "since": AT}, {"since": AT + 30}, "a", "times are stronger than what a signature says"),
        ({"caused_by": ("b",), "since": AT}, {"since": AT}, "b", "neither began first"),
        ({}, {}, "a", "nothing tells: by name"),
        ({"since": AT}, {}, "a", "likewise"),
        ({}, {"since": AT}, "a", "likewise"),
    ],
)
def test_of_two_that_would_explain_each_other_the_stronger_edge_stays(
    a: dict[str, object], b: dict[str, object], first: str, why: str
) -> None:
    pair = [finding("a", "x.a", nodes=("n",), **a), finding("b", "x.b", nodes=("n",), **b)]  # type: ignore[arg-type]
    second = "b" if first == "a" else "a"
    for given_order in (pair, pair[::-1]):
        linked = link(given_order, BOTH_WAYS)
        assert causes(linked) == {first: (), second: (first,)}, why
        assert len(linked.gaps) == 1


def test_what_two_share_is_told_by_the_edges_between_their_codes() -> None:
    edges = (Edge("x.a", "x.b", NODE), Edge("x.a", "x.b", "Pod"), Edge("x.a", "x.c", "Volume"))
    cause = finding("c", "x.a", "Pod/p", "Volume/v", nodes=("n", "m"))
    effect = finding("e", "x.b", "Pod/q", "Pod/p", "Volume/v", nodes=("n",))
    assert shared(cause, effect, edges) == ("Node/n", "Pod/p")
    assert shared(effect, cause, edges) == ()


@st.composite
def webs(draw: st.DrawFn) -> tuple[list[Finding], list[Edge]]:
    """Any findings and any edges, rings among them."""
    codes = [f"x.{letter}" for letter in "abcde"]
    kinds = (NODE, PATH, "Pod")
    edge = st.builds(Edge, st.sampled_from(codes), st.sampled_from(codes), st.sampled_from(kinds))
    edges = draw(st.lists(edge, max_size=12))
    count = draw(st.integers(1, 9))
    names = [f"f{number}" for number in range(count)]
    found = [
        finding(
            name,
            draw(st.sampled_from(codes)),
            *draw(st.lists(st.sampled_from([f"{kind}/{n}" for kind in kinds for n in "xy"]), max_size=3, unique=True)),
            since=draw(st.sampled_from([0.0, AT, AT + 30, AT + 600])),
            nodes=tuple(draw(st.lists(st.sampled_from("xy"), max_size=2, unique=True))),
            caused_by=tuple(draw(st.lists(st.sampled_from([*names, "gone"]), max_size=2, unique=True))),
        )
        for name in names
    ]
    return found, edges


@given(webs(), st.integers(0, 1_000))
@settings(max_examples=150, deadline=None)
def test_whatever_is_found_it_is_a_forest_of_direct_causes_and_no_matter_of_order(
    web: tuple[list[Finding], list[Edge]], seed: int
) -> None:
    findings, edges = web
    linked = link(findings, edges)
    assert [each.id for each in linked.findings] == [each.id for each in findings]
    by_id = causes(linked)
    above = {each: _all_above(each, by_id) for each in by_id}
    assert all(each not in above[each] for each in by_id), "a ring"
    for own in by_id.values():
        assert list(own) == sorted(set(own))
        assert not any(one in above[other] for one in own for other in own), "not a direct cause"
    mixed, mixed_edges = findings[:], edges[:]
    random.Random(seed).shuffle(mixed)  # noqa: S311  # an order, no secret
    random.Random(seed + 1).shuffle(mixed_edges)  # noqa: S311
    again = link(mixed, mixed_edges)
    assert causes(again) == by_id
    assert sorted(gap.because for gap in again.gaps) == sorted(gap.because for gap in linked.gaps)
    assert causes(link(linked.findings, edges)) == by_id, "to link again changes nothing"


def _all_above(key: str, by_id: dict[str, tuple[str, ...]]) -> set[str]:
    found: set[str] = set()
    ahead = [*by_id[key]]
    while ahead:
        each = ahead.pop()
        if each not in found:
            found.add(each)
            ahead += by_id[each]
    return found
