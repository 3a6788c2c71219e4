"""What the aggregator's account may do beside what it does, and that the agents' account may nothing.

The API server's own answer counts (SubjectAccessReview). Where that may not be asked, roles and bindings are read; they
also tell which of them is missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cli.doctor.api_reader import LEASES, calls_of
from cli.doctor.calls import Call
from cli.doctor.model import (
    AGENT,
    AGGREGATOR,
    Check,
    Object,
    Reading,
    State,
    Unread,
    at,
    entries,
    name_of,
    parts,
    pod_spec,
    text,
    variable,
)

_APPLY = "apply the manifests' rights again (nodetell install prints them), or allow it"
_READS = frozenset({"get", "list", "watch"})


def check(reading: Reading) -> Iterator[Check]:
    """The aggregator's rights against the list of its calls, broken bindings, and rights that nobody needs."""
    aggregators = parts(reading.of("deployments"), AGGREGATOR)
    if any(variable(each, "NODETELL_AGGREGATOR_KUBERNETES_ENABLED") == "off" for each in aggregators):
        yield Check("rights", State.OK, "the aggregator does without the API server (kubernetes.enabled is off)")
        return
    broken = list(_broken_bindings(reading))
    yield from broken
    answers = reading.rights if not isinstance(reading.rights, Unread) else _by_rules(reading, aggregators)
    if isinstance(answers, Unread):
        yield _not_checked(reading)
    else:
        lacking = [call for call, allowed in answers.items() if not allowed]
        yield from _lacking(lacking, aggregators)
        if not lacking:
            yield Check("rights", State.OK, f"the aggregator's account may make all of its {len(answers)} calls")
    yield from _too_many(reading)


def _lacking(lacking: list[Call], aggregators: list[Object]) -> Iterator[Check]:
    by_token = not any(variable(each, "NODETELL_AGGREGATOR_ACCESS_AGENTS") == "certificate" for each in aggregators)
    for call in lacking:
        what = f"the aggregator's account may not: {call.shown}"
        do = f"{_APPLY}: {call.rule}"
        if call.is_review:
            state = State.BROKEN if by_token else State.WRONG
            yield Check("rights", state, what, "tokens of agents and operators cannot be checked without it", do)
        else:
            yield Check("rights", State.WRONG, what, "what follows from it is missing in the diagnosis", do)


def _not_checked(reading: Reading) -> Check:
    refused = reading.rights
    rules = reading.objects("clusterroles")
    why, right = "", ""
    if isinstance(refused, Unread):
        why, right = f"asking what it may do: {refused.why}", refused.right
    if isinstance(rules, Unread):
        why += f"; reading roles and bindings: {rules.why}"
        right = right or rules.right
    return Unread(why, right).check("rights", "what the aggregator's account may do")


def _account(aggregators: list[Object]) -> str:
    return next((text(pod_spec(each), "serviceAccountName") for each in aggregators), "") or "nodetell-aggregator"


def _by_rules(reading: Reading, aggregators: list[Object]) -> Mapping[Call, bool] | Unread:
    """The same from roles and bindings. Where another authorizer allows more than RBAC does, it is not seen."""
    kinds = ["clusterroles", "clusterrolebindings", *(f"{kind}/{at_}" for at_ in LEASES for kind in _NAMESPACED)]
    for kind in kinds:
        if isinstance(found := reading.objects(kind), Unread):
            return found
    account = _account(aggregators)
    everywhere = _rules(reading, account, "")
    within = {space: [*everywhere, *_rules(reading, account, space)] for space in LEASES}
    return {
        call: any(_allows(rule, call) for rule in within.get(call.namespace, everywhere))
        for call in calls_of(aggregators)
    }


_NAMESPACED = ("roles", "rolebindings")


def _bindings(reading: Reading, space: str) -> list[Object]:
    return list(reading.of(f"rolebindings/{space}" if space else "clusterrolebindings"))


def _rules(reading: Reading, account: str, space: str) -> list[Object]:
    """The rules that an account has by the bindings of a namespace; of none: by those of the cluster."""
    found: list[Object] = []
    for binding in _bindings(reading, space):
        if _is_for(binding, reading.namespace, account) and (role := _role(reading, binding, space)) is not None:
            found += entries(role, "rules")
    return found


def _role(reading: Reading, binding: Object, space: str) -> Object | None:
    kind, name = text(binding, "roleRef", "kind"), text(binding, "roleRef", "name")
    roles = reading.of("clusterroles") if kind == "ClusterRole" else reading.of(f"roles/{space}")
    return next((each for each in roles if name_of(each) == name), None)


def _is_for(binding: Object, namespace: str, account: str) -> bool:
    """Whether it names the account, or a group that it is in."""
    groups = {"system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"}
    for subject in entries(binding, "subjects"):
        kind, name = subject.get("kind"), subject.get("name")
        if kind == "Group" and name in groups:
            return True
        if kind == "ServiceAccount" and (name, subject.get("namespace")) == (account, namespace):
            return True
        if kind == "User" and name == f"system:serviceaccount:{namespace}:{account}":
            return True
    return False


def _names_it(binding: Object, namespace: str, account: str) -> bool:
    """Whether it names the account itself."""
    return any(
        (each.get("kind"), each.get("name"), each.get("namespace")) == ("ServiceAccount", account, namespace)
        for each in entries(binding, "subjects")
    )


def _allows(rule: Object, call: Call) -> bool:
    """Whether a rule allows a call on all objects of the kind."""

    def holds(key: str, value: str) -> bool:
        listed = at(rule, key)
        return isinstance(listed, list) and (value in listed or "*" in listed)

    if not holds("verbs", call.verb):
        return False
    if call.path:
        return holds("nonResourceURLs", call.path)
    return holds("apiGroups", call.group) and holds("resources", call.resource) and not at(rule, "resourceNames")


def _broken_bindings(reading: Reading) -> Iterator[Check]:
    """Bindings of the aggregator's account to a role that is not there."""
    account = _account(parts(reading.of("deployments"), AGGREGATOR))
    for space in ("", *LEASES):
        kinds = ("clusterroles", *((f"roles/{space}",) if space else ()))
        if any(isinstance(reading.objects(kind), Unread) for kind in kinds):
            continue  # a role that could not be read is not one that is missing
        for binding in _bindings(reading, space):
            if _names_it(binding, reading.namespace, account) and _role(reading, binding, space) is None:
                kind = "RoleBinding" if space else "ClusterRoleBinding"
                where = f" in namespace {space}" if space else ""
                role = f"{text(binding, 'roleRef', 'kind')} {text(binding, 'roleRef', 'name')}"
                what = f"{kind} {name_of(binding)}{where} gives the rights of {role}, and there is none"
                yield Check("rights", State.WRONG, what, "it grants nothing", _APPLY)


def _too_many(reading: Reading) -> Iterator[Check]:
    """Rights that no part needs: those given to the agents' account, and any to change something."""
    agents = {text(pod_spec(each), "serviceAccountName") for each in parts(reading.of("daemonsets"), AGENT)} - {""}
    account = _account(parts(reading.of("deployments"), AGGREGATOR))
    for space in ("", *LEASES):
        for binding in _bindings(reading, space):
            role = _role(reading, binding, space)
            if role is None:
                continue
            granted = f"{text(binding, 'roleRef', 'kind')} {name_of(role)} (binding {name_of(binding)})"
            for agent in sorted(agents - {account}):
                if _names_it(binding, reading.namespace, agent) and entries(role, "rules"):
                    what = f"the agents' account {agent} has the rights of {granted}"
                    why = "an agent asks the API server nothing; whoever takes over a node gets these rights"
                    yield Check("rights", State.WRONG, what, why, "delete that binding")
            if _names_it(binding, reading.namespace, account) and (verbs := _changing(role)):
                what = f"the aggregator's account may {', '.join(verbs)} by {granted}"
                why = "it only reads, and asks by create of reviews"
                yield Check("rights", State.WRONG, what, why, "take these verbs out of the role")


def _changing(role: Object) -> list[str]:
    """Verbs of a role that are not for reading, nor for asking who calls."""
    found: set[str] = set()
    for rule in entries(role, "rules"):
        verbs, resources = at(rule, "verbs") or [], set(at(rule, "resources") or [])
        if resources and resources <= {"tokenreviews", "subjectaccessreviews"}:
            continue
        found |= {verb for verb in verbs if isinstance(verb, str) and verb not in _READS}
    return sorted(found)
