"""Label selectors, node selector terms, and tolerations against taints, as the API defines them.

apimachinery labels.Requirement.Matches, component-helpers nodeaffinity and v1.Toleration.ToleratesTaint.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from aggregator.cluster.objects import NodeObject, NodeTerm, Requirement, Selector, Taint, Toleration

STOPPING = ("NoSchedule", "NoExecute")
"""Effects of a taint that keep a pod off; PreferNoSchedule never does."""


def requirement_holds(requirement: Requirement, labels: Mapping[str, str]) -> bool:
    """Whether labels meet one requirement. A key that is not there meets NotIn and DoesNotExist."""
    value = labels.get(requirement.key)
    match requirement.operator:
        case "In":
            return value is not None and value in requirement.values
        case "NotIn":
            return value is None or value not in requirement.values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt":
            return _compares(value, requirement)
    return False


def _compares(value: str | None, requirement: Requirement) -> bool:
    if value is None or len(requirement.values) != 1:
        return False
    ours, theirs = whole(value), whole(requirement.values[0])
    if ours is None or theirs is None:
        return False
    return ours > theirs if requirement.operator == "Gt" else ours < theirs


def whole(text: str) -> int | None:
    """A whole number as Go's ParseInt reads it; None: it is none."""
    digits = text[1:] if text[:1] in ("+", "-") else text
    return int(text) if digits.isascii() and digits.isdigit() and len(digits) < 20 else None


def selects(selector: Selector | None, labels: Mapping[str, str]) -> bool:
    """Whether a label selector takes these labels. None takes nothing, one without requirements everything."""
    return selector is not None and all(requirement_holds(each, labels) for each in selector.requirements)


def term_holds(term: NodeTerm, node: NodeObject) -> bool:
    """Whether a node meets a node selector term. One without any requirement is met by none."""
    if not term.labels and not term.fields:
        return False
    return all(requirement_holds(each, node.labels) for each in term.labels) and all(
        requirement_holds(each, {"metadata.name": node.name}) for each in term.fields
    )


def any_term_holds(terms: Iterable[NodeTerm] | None, node: NodeObject) -> bool:
    """Whether a node meets one of the terms; None asks for nothing."""
    return terms is None or any(term_holds(term, node) for term in terms)


def tolerates(toleration: Toleration, taint: Taint) -> bool:
    """Whether a toleration takes a taint. No effect: all effects; no key with Exists: all taints."""
    if toleration.effect not in ("", taint.effect) or toleration.key not in ("", taint.key):
        return False
    if toleration.operator in ("Gt", "Lt"):  # KEP-5471, since 1.35: the taint's number against the toleration's
        ours, theirs = whole(taint.value), whole(toleration.value)
        if ours is None or theirs is None:
            return False
        return ours > theirs if toleration.operator == "Gt" else ours < theirs
    if toleration.operator in ("", "Equal"):
        return bool(toleration.key) and toleration.value == taint.value
    return toleration.operator == "Exists"


def untolerated(tolerations: Sequence[Toleration], taints: Iterable[Taint]) -> tuple[Taint, ...]:
    """Taints that keep a pod with these tolerations off."""
    return tuple(
        taint
        for taint in taints
        if taint.effect in STOPPING and not any(tolerates(each, taint) for each in tolerations)
    )


_SIGNS = {"Gt": ">", "Lt": "<"}
_OF_MANY = {"In": " in ", "NotIn": " notin "}
_OF_ONE = {"In": "=", "NotIn": "!="}


def requirement_text(requirement: Requirement) -> str:
    """As kubectl writes it: "zone in (a, b)", "disk=ssd", "!spot", "cores>8"."""
    key, operator, values = requirement.key, requirement.operator, requirement.values
    if operator in ("Exists", "DoesNotExist"):
        return key if operator == "Exists" else f"!{key}"
    if len(values) == 1 and (sign := _SIGNS.get(operator) or _OF_ONE.get(operator)):
        return f"{key}{sign}{values[0]}"
    return f"{key}{_OF_MANY.get(operator, f' {operator} ')}({', '.join(values)})"


def term_text(term: NodeTerm) -> str:
    """All requirements of a term."""
    return " and ".join(requirement_text(each) for each in (*term.labels, *term.fields)) or "(matches no node)"


def terms_text(terms: Iterable[NodeTerm]) -> str:
    """All terms."""
    return " or ".join(term_text(term) for term in terms) or "(matches no node)"
