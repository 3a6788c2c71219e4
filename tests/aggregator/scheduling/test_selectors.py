"""Selectors, terms and tolerations, against what apimachinery and component-helpers say of each case."""

from __future__ import annotations

import pytest

from aggregator.cluster.objects import NodeObject, NodeTerm, Requirement, Selector, Taint, Toleration
from aggregator.scheduling.selectors import (
    any_term_holds,
    requirement_holds,
    requirement_text,
    selects,
    terms_text,
    tolerates,
    untolerated,
)

LABELS = {"zone": "a", "cores": "8", "odd": "eight"}


@pytest.mark.parametrize(
    ("key", "operator", "values", "holds"),
    [
        ("zone", "In", ("a", "b"), True),
        ("zone", "In", ("b",), False),
        ("rack", "In", ("a",), False),
        ("zone", "NotIn", ("a",), False),
        ("zone", "NotIn", ("b",), True),
        ("rack", "NotIn", ("a",), True),
        ("zone", "Exists", (), True),
        ("rack", "Exists", (), False),
        ("zone", "DoesNotExist", (), False),
        ("rack", "DoesNotExist", (), True),
        ("cores", "Gt", ("7",), True),
        ("cores", "Gt", ("8",), False),
        ("cores", "Lt", ("9",), True),
        ("cores", "Lt", ("8",), False),
        ("odd", "Gt", ("7",), False),
        ("rack", "Lt", ("9",), False),
        ("cores", "Gt", ("x",), False),
        ("cores", "Gt", ("1", "2"), False),
        ("zone", "Resembles", ("a",), False),
    ],
)
def test_a_requirement(key: str, operator: str, values: tuple[str, ...], holds: bool) -> None:
    assert requirement_holds(Requirement(key, operator, values), LABELS) is holds


def test_a_selector_without_requirements_takes_everything_and_none_takes_nothing() -> None:
    assert selects(Selector(), {})
    assert not selects(None, LABELS)
    assert not selects(Selector((Requirement("zone", "Exists"), Requirement("rack", "Exists"))), LABELS)


def test_terms_are_alternatives_and_an_empty_one_matches_no_node() -> None:
    node = NodeObject("n1", labels=LABELS)
    in_a, in_b = (NodeTerm((Requirement("zone", "In", (zone,)),)) for zone in "ab")
    assert any_term_holds(None, node)
    assert any_term_holds((in_b, in_a), node)
    assert not any_term_holds((in_b,), node)
    assert not any_term_holds((NodeTerm(),), node)
    assert not any_term_holds((), node)


def test_fields_are_the_node_s_name() -> None:
    term = NodeTerm((), (Requirement("metadata.name", "In", ("n1",)),))
    assert any_term_holds((term,), NodeObject("n1"))
    assert not any_term_holds((term,), NodeObject("n2"))


@pytest.mark.parametrize(
    ("toleration", "taken"),
    [
        (Toleration("spot", "Equal", "yes", "NoSchedule"), True),
        (Toleration("spot", "", "yes"), True),
        (Toleration("spot", "Equal", "no"), False),
        (Toleration("spot", "Exists"), True),
        (Toleration("spot", "Exists", "", "NoExecute"), False),
        (Toleration("", "Exists"), True),
        (Toleration("", "Exists", "", "NoExecute"), False),
        (Toleration("other", "Exists"), False),
        (Toleration("spot", "Resembles", "yes"), False),
    ],
)
def test_a_toleration_against_a_taint(toleration: Toleration, taken: bool) -> None:
    assert tolerates(toleration, Taint("spot", "yes", "NoSchedule")) is taken


@pytest.mark.parametrize(
    ("operator", "value", "taken"), [("Gt", "4", True), ("Gt", "5", False), ("Lt", "6", True), ("Lt", "x", False)]
)
def test_a_toleration_that_compares_numbers(operator: str, value: str, taken: bool) -> None:
    assert tolerates(Toleration("sla", operator, value), Taint("sla", "5", "NoSchedule")) is taken


def test_a_preference_never_stops() -> None:
    taints = Taint("a", "", "PreferNoSchedule"), Taint("b", "", "NoExecute"), Taint("c", "", "NoSchedule")
    assert [taint.key for taint in untolerated([Toleration("c", "Exists")], taints)] == ["b"]


def test_requirements_as_kubectl_writes_them() -> None:
    written = [
        requirement_text(each)
        for each in (
            Requirement("a", "In", ("x",)),
            Requirement("a", "In", ("x", "y")),
            Requirement("a", "NotIn", ("x",)),
            Requirement("a", "NotIn", ("x", "y")),
            Requirement("a", "Exists"),
            Requirement("a", "DoesNotExist"),
            Requirement("a", "Gt", ("1",)),
        )
    ]
    assert written == ["a=x", "a in (x, y)", "a!=x", "a notin (x, y)", "a", "!a", "a>1"]
    assert terms_text(()) == "(matches no node)"
