"""What `nodetell doctor` says of an installation: each kind of wrong, and what comes near it and is none."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from aggregator.cluster.resources import METRICS_PATH, WATCHED
from cli.authority import Role, issue, new_authority
from cli.doctor.calls import Call, calls
from cli.doctor.command import as_text, checks, status
from cli.doctor.model import Aggregator, Check, Known, Object, Objects, Reading, State, Unread
from cli.terminal import Look
from tests.cli.installation import AUTHORITY, NAMES, NODES, NOW, lists, node, reading

Change = Callable[[dict[str, Any]], None]
BAD = {State.WRONG, State.BROKEN}


def bad(given: Reading) -> list[Check]:
    """What is wrong."""
    return [each for each in checks(given) if each.state in BAD]


def changed(change: Change, tier: int = 1) -> Reading:
    """The installation after a change of what the API server has."""
    found: dict[str, Any] = dict(lists(tier))
    change(found)
    return reading(lists=found)


def only(given: Reading, name: str) -> Check:
    """The one thing that is wrong."""
    (found,) = bad(given)
    assert found.name == name
    return found


def spec(found: dict[str, Any], plural: str) -> Any:
    return found[plural][0]["spec"]["template"]["spec"]


def set_variable(found: dict[str, Any], plural: str, name: str, value: str) -> None:
    others = [each for each in spec(found, plural)["containers"][0]["env"] if each["name"] != name]
    spec(found, plural)["containers"][0]["env"] = [*others, {"name": name, "value": value}]


def agent_status(found: dict[str, Any], state: Object, last: Object | None = None) -> None:
    """Of the agent on the first node."""
    container = found["pods"][0]["status"]["containerStatuses"][0]
    container |= {"ready": False, "state": state, "lastState": last or {}}


def event(kind: str, name: str, reason: str, message: str) -> Object:
    about = {"kind": kind, "name": name, "namespace": "nodetell"}
    return {"involvedObject": about, "reason": reason, "message": message, "type": "Warning"}


@pytest.mark.parametrize("tier", range(4))
def test_an_installation_that_is_well_is_told_to_be(tier: int) -> None:
    well = reading(lists=lists(tier))
    found = list(checks(well))
    assert {each.state for each in found} == {State.OK}
    assert status(found) == 0
    names = {each.name for each in found}
    assert names >= {"objects", "volume", "identity", "pods", "agents", "nodes", "heard", "rights", "certificates"}
    assert names >= {"versions", "clocks", "pod security", "network policies"}


# -- objects -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plural", ["daemonsets", "deployments", "services", "configmaps", "secrets"])
def test_what_is_not_there_is_said(plural: str) -> None:
    found = [each for each in bad(changed(lambda found: found.update({plural: ()}))) if each.name == "objects"]
    assert [each.state for each in found] == [State.BROKEN]
    assert found[0].do


def test_without_the_namespace_the_rest_is_not_looked_for() -> None:
    nothing: dict[str, Objects] = dict.fromkeys(lists(), ())
    found = [each for each in bad(reading(lists=nothing)) if each.name == "objects"]
    assert [each.what for each in found] == ["there is no namespace nodetell"]


def test_a_config_map_that_may_be_missing_is_not_missed() -> None:
    def change(found: dict[str, Any]) -> None:
        spec(found, "daemonsets")["volumes"].append({"name": "x", "configMap": {"name": "more", "optional": True}})

    assert not bad(changed(change))


def test_an_account_that_is_not_there() -> None:
    def change(found: dict[str, Any]) -> None:
        found["serviceaccounts"] = tuple(
            each for each in found["serviceaccounts"] if each["metadata"]["name"] != "nodetell-agent"
        )

    assert "ServiceAccount nodetell-agent" in only(changed(change), "objects").what


@pytest.mark.parametrize(("replicas", "wrong"), [(0, True), (1, False), (2, True)])
def test_there_is_one_aggregator(replicas: int, wrong: bool) -> None:
    def change(found: dict[str, Any]) -> None:
        found["deployments"][0]["spec"]["replicas"] = replicas

    given = changed(change)
    if wrong:
        assert only(given, "one aggregator").state is State.BROKEN
    else:
        assert not bad(given)


def test_a_claim_that_waits_is_told_with_its_event() -> None:
    said = 'storageclass.storage.k8s.io "fast" not found'

    def change(found: dict[str, Any]) -> None:
        found["persistentvolumeclaims"][0]["status"]["phase"] = "Pending"
        found["events"] = (event("PersistentVolumeClaim", "nodetell-aggregator", "ProvisioningFailed", said),)

    assert only(changed(change), "volume").why == said


def test_where_certificates_are_asked_for_tokens_do_not_matter() -> None:
    def change(found: dict[str, Any]) -> None:
        set_variable(found, "deployments", "NODETELL_AGGREGATOR_ACCESS_TOKEN_AUDIENCE", "x")
        set_variable(found, "deployments", "NODETELL_AGGREGATOR_ACCESS_AGENTS", "certificate")

    assert not bad(changed(change))


def test_tokens_for_somebody_else_are_refused() -> None:
    given = changed(lambda found: set_variable(found, "deployments", "NODETELL_AGGREGATOR_ACCESS_TOKEN_AUDIENCE", "x"))
    assert "UNAUTHENTICATED" in only(given, "identity").why


def test_agents_of_another_account_are_refused() -> None:
    name = "NODETELL_AGGREGATOR_ACCESS_AGENT_SERVICE_ACCOUNT"
    given = changed(lambda found: set_variable(found, "deployments", name, "nodetell/other"))
    assert "PERMISSION_DENIED" in only(given, "identity").why


# -- pods ----------------------------------------------------------------------------------------------------------


def test_a_crash_loop_is_told_with_how_it_ended() -> None:
    ended = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
    waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s"}}
    found = only(changed(lambda found: agent_status(found, waiting, ended)), "pods")
    assert found.state is State.WRONG
    assert "CrashLoopBackOff" in found.what
    assert "status 137 (OOMKilled)" in found.why
    assert "out of memory" in found.why
    assert "--previous" in found.do


def test_a_status_of_our_own_is_told_in_our_own_words() -> None:
    ended = {"terminated": {"exitCode": 78, "reason": "Error"}}
    found = only(changed(lambda found: agent_status(found, {"waiting": {"reason": "CrashLoopBackOff"}}, ended)), "pods")
    assert "its settings are wrong" in found.why


def test_an_image_that_does_not_come() -> None:
    message = 'Back-off pulling image "nodetell:1.0": ErrImagePull: not found'
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": message}}
    found = only(changed(lambda found: agent_status(found, waiting)), "pods")
    assert "no such repository, tag or platform" in found.why
    assert "--image" in found.do


def test_a_secret_that_a_container_waits_for() -> None:
    waiting = {"waiting": {"reason": "CreateContainerConfigError", "message": 'configmap "nodetell-ca" not found'}}
    assert 'configmap "nodetell-ca" not found' in only(changed(lambda found: agent_status(found, waiting)), "pods").why


def test_a_container_that_is_being_made_is_told_with_the_event() -> None:
    said = 'MountVolume.SetUp failed for volume "ca" : configmap "nodetell-ca" not found'

    def change(found: dict[str, Any]) -> None:
        agent_status(found, {"waiting": {"reason": "ContainerCreating"}})
        found["events"] = (event("Pod", "nodetell-agent-node-a", "FailedMount", said),)

    assert said in only(changed(change), "pods").why


def test_what_the_scheduler_says_of_the_aggregator_keeps_it_from_working() -> None:
    said = "0/3 nodes are available: 3 Insufficient cpu."

    def change(found: dict[str, Any]) -> None:
        pending = found["pods"][-1]
        condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": said}
        pending["status"] = {"phase": "Pending", "conditions": [condition]}

    found = only(changed(change), "pods")
    assert found.state is State.BROKEN
    assert said in found.why


def test_pods_that_say_the_same_are_told_once() -> None:
    def change(found: dict[str, Any]) -> None:
        for each in found["pods"][:3]:
            said = f"not present, says {each['metadata']['name']}"
            waiting = {"waiting": {"reason": "ErrImageNeverPull", "message": said}}
            each["status"]["containerStatuses"][0] |= {"ready": False, "state": waiting}

    found = only(changed(change), "pods")
    assert found.state is State.BROKEN  # not one agent runs
    assert "3 pods" in found.what


def test_a_pod_that_is_going_and_one_that_is_done_are_no_fault() -> None:
    def change(found: dict[str, Any]) -> None:
        going = {**found["pods"][0], "status": {"phase": "Running"}}
        going["metadata"] = {**going["metadata"], "name": "old", "deletionTimestamp": "2026-11-20T12:00:00Z"}
        done = {**found["pods"][-1], "metadata": {**found["pods"][-1]["metadata"], "name": "done"}}
        done["status"] = {"phase": "Succeeded"}
        found["pods"] = (*found["pods"], going, done)

    assert not bad(changed(change))


@pytest.mark.parametrize(("ready", "state"), [(3, None), (2, State.WRONG), (0, State.BROKEN)])
def test_what_the_controller_counts(ready: int, state: State | None) -> None:
    given = changed(lambda found: found["daemonsets"][0]["status"].update({"numberReady": ready}))
    assert [each.state for each in bad(given)] == ([state] if state else [])


def test_no_pod_of_the_aggregator_is_told_with_what_refused_it() -> None:
    said = 'pods "nodetell-aggregator-7d-" is forbidden: exceeded quota: small, requested: requests.cpu=100m'

    def change(found: dict[str, Any]) -> None:
        found["pods"] = found["pods"][:3]
        found["events"] = (event("ReplicaSet", "nodetell-aggregator-7d", "FailedCreate", said),)

    found = only(changed(change), "pods")
    assert found.state is State.BROKEN
    assert "exceeded quota" in found.why


# -- nodes ---------------------------------------------------------------------------------------------------------


def with_node(document: Object, *more: Change, tolerations: bool = True) -> Reading:
    """A node besides, without an agent."""

    def change(found: dict[str, Any]) -> None:
        found["nodes"] = (*found["nodes"], document)
        if not tolerations:
            del spec(found, "daemonsets")["tolerations"]
        for each in more:
            each(found)

    return changed(change)


TAINTED = node("gpu-1") | {"spec": {"taints": [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]}}
CORDONED = node("old-1") | {
    "spec": {"taints": [{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}], "unschedulable": True}
}


def test_a_node_without_an_agent_for_its_taint() -> None:
    found = only(with_node(TAINTED, tolerations=False), "nodes")
    assert "gpu=yes:NoSchedule" in found.why
    assert "gpu-1" in found.what


@pytest.mark.parametrize("given", [with_node(TAINTED), with_node(CORDONED, tolerations=False)])
def test_a_taint_that_is_tolerated_is_not_blamed(given: Reading) -> None:
    assert "no event says why" in only(given, "nodes").why


@pytest.mark.parametrize("host_network", [True, False])
def test_a_taint_that_only_the_hosts_network_takes(host_network: bool) -> None:
    taint = {"key": "node.kubernetes.io/network-unavailable", "effect": "NoSchedule"}
    tainted = node("new-1") | {"spec": {"taints": [taint]}}

    def change(found: dict[str, Any]) -> None:
        spec(found, "daemonsets")["hostNetwork"] = host_network
        found["networkpolicies"] = ()

    found = only(with_node(tainted, change, tolerations=False), "nodes")
    assert ("does not tolerate" in found.why) is not host_network


def test_a_node_that_affinity_leaves_out() -> None:
    def change(found: dict[str, Any]) -> None:
        spec(found, "daemonsets")["nodeSelector"]["pool"] = "a"
        for each in found["nodes"][:3]:
            each["metadata"]["labels"]["pool"] = "a"

    assert "pool=a" in only(with_node(node("node-d"), change), "nodes").why


@pytest.mark.parametrize(
    "left_out",
    [node("win-1", **{"kubernetes.io/os": "windows"}), node("v-1", type="virtual-kubelet")],
    ids=["windows", "virtual"],
)
def test_a_node_that_has_no_agent_on_purpose_is_no_fault(left_out: Object) -> None:
    given = with_node(left_out)
    assert not bad(given)
    assert any(each.name == "nodes" and left_out["metadata"]["name"] in each.what for each in checks(given))


def test_a_node_without_an_agent_that_admission_refused() -> None:
    said = 'pods "nodetell-agent-" is forbidden: violates PodSecurity "baseline:latest": hostPath volumes'

    def change(found: dict[str, Any]) -> None:
        found["events"] = (event("DaemonSet", "nodetell-agent", "FailedCreate", said),)

    assert said in only(with_node(node("node-d"), change), "nodes").why


def test_a_pod_that_is_not_bound_counts_for_the_node_it_is_made_for() -> None:
    def change(found: dict[str, Any]) -> None:
        waiting = found["pods"][0]
        del waiting["spec"]["nodeName"]
        field = {"key": "metadata.name", "operator": "In", "values": ["node-a"]}
        terms = {"nodeSelectorTerms": [{"matchFields": [field]}]}
        waiting["spec"]["affinity"] = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}
        waiting["status"] = {"phase": "Pending"}

    assert only(changed(change), "pods").state is State.WRONG


# -- heard ---------------------------------------------------------------------------------------------------------


def told(*nodes: Known, version: str = "1.0") -> Aggregator:
    return Aggregator(version, nodes)


def known(name: str, **more: Any) -> Known:
    given: dict[str, Any] = {"version": "1.0", "heard_at": NOW.timestamp()}
    return Known(name, **(given | more))


def test_an_agent_that_runs_and_was_never_heard_of() -> None:
    found = only(reading(aggregator=told(known("node-a"), known("node-b"))), "heard")
    assert found.state is State.WRONG
    assert "node-c" in found.what


def test_a_node_that_only_the_api_server_told_of_was_never_heard_of() -> None:
    silent = known("node-c", connected=False, heard_at=0.0)
    assert "never" in only(reading(aggregator=told(known("node-a"), known("node-b"), silent)), "heard").what


def test_not_one_agent_is_heard() -> None:
    gone = (known(name, connected=False) for name in NODES)
    assert only(reading(aggregator=told(*gone)), "heard").state is State.BROKEN


def test_a_node_whose_agent_does_not_run_is_not_missed_by_the_aggregator() -> None:
    waiting = {"waiting": {"reason": "ErrImageNeverPull", "message": "not present"}}
    given = changed(lambda found: agent_status(found, waiting))
    given = replace(given, aggregator=told(known("node-b"), known("node-c")))
    assert only(given, "pods").state is State.WRONG


# -- rights --------------------------------------------------------------------------------------------------------


def test_the_list_of_calls_is_what_the_tables_say() -> None:
    listed = {(each.group, each.resource, each.namespace) for each in calls() if each.verb == "list"}
    assert listed == {(each.group, each.plural, each.namespace) for each in WATCHED}
    assert Call("get", path=METRICS_PATH) in calls()
    assert sum(each.is_review for each in calls()) == 2
    assert {each.verb for each in calls()} == {"list", "watch", "get", "create"}
    assert not any(each.resource == "secrets" for each in calls())
    assert {each.verb for each in calls(secret_metadata=True) if each.resource == "secrets"} == {"list", "watch"}
    assert {each.verb for each in calls(credential_expiry=True) if each.resource == "secrets"} == {"get"}


def test_a_call_as_kubectl_takes_it() -> None:
    leases = Call("list", "coordination.k8s.io", "leases", "kube-system")
    assert leases.shown == "list leases.coordination.k8s.io -n kube-system"
    assert Call("get", path="/metrics").shown == "get /metrics"


def test_a_right_that_is_missing_is_told_with_its_rule() -> None:
    pods = Call("watch", "", "pods")
    found = only(reading(rights=dict.fromkeys(calls(), True) | {pods: False}), "rights")
    assert found.state is State.WRONG
    assert pods.rule in found.do


def test_without_reviews_no_agent_gets_in() -> None:
    (review,) = (each for each in calls() if each.resource == "tokenreviews")
    given = reading(rights=dict.fromkeys(calls(), True) | {review: False})
    assert only(given, "rights").state is State.BROKEN


DENIED = Unread("we may not read that (403)", "create of reviews")


def test_where_it_may_not_be_asked_the_roles_tell_the_same() -> None:
    assert not bad(replace(reading(), rights=DENIED))


@pytest.mark.parametrize("index", range(9))
def test_each_rule_that_is_missing_is_noticed(index: int) -> None:
    def change(found: dict[str, Any]) -> None:
        (role,) = (each for each in found["clusterroles"] if each["metadata"]["name"] == "nodetell-aggregator")
        del role["rules"][index]

    found = bad(replace(changed(change), rights=DENIED))
    assert {each.name for each in found} == {"rights"}


def test_a_role_in_one_namespace_counts_for_that_one_alone() -> None:
    given = changed(lambda found: found.update({"rolebindings/kube-system": ()}))
    found = bad(replace(given, rights=DENIED))
    assert {each.what.rpartition(" -n ")[2] for each in found} == {"kube-system"}


def test_a_rule_for_named_objects_is_none_for_all() -> None:
    def change(found: dict[str, Any]) -> None:
        (role,) = (each for each in found["clusterroles"] if each["metadata"]["name"] == "nodetell-aggregator")
        role["rules"][0]["resourceNames"] = ["node-a"]

    assert {each.what for each in bad(replace(changed(change), rights=DENIED))} == {
        "the aggregator's account may not: list nodes",
        "the aggregator's account may not: watch nodes",
    }


def test_a_binding_to_a_role_that_is_not_there() -> None:
    def change(found: dict[str, Any]) -> None:
        found["clusterroles"] = tuple(
            each for each in found["clusterroles"] if each["metadata"]["name"] != "nodetell-aggregator-reviews"
        )

    found = only(changed(change), "rights")
    assert "ClusterRoleBinding nodetell-aggregator-reviews" in found.what


def test_a_role_that_could_not_be_read_is_not_called_missing() -> None:
    assert not bad(changed(lambda found: found.update({"clusterroles": DENIED})))


def bound(account: str, rules: list[Object]) -> Change:
    def change(found: dict[str, Any]) -> None:
        subject = {"kind": "ServiceAccount", "name": account, "namespace": "nodetell"}
        role = {"kind": "ClusterRole", "name": "extra"}
        found["clusterroles"] += ({"metadata": {"name": "extra"}, "rules": rules},)
        binding = {"metadata": {"name": "extra"}, "roleRef": role, "subjects": [subject]}
        found["clusterrolebindings"] += (binding,)

    return change


READ_PODS = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}


def test_agents_have_no_rights() -> None:
    assert "nodetell-agent" in only(changed(bound("nodetell-agent", [READ_PODS])), "rights").what
    assert not bad(changed(bound("somebody", [READ_PODS])))


def test_the_aggregator_changes_nothing() -> None:
    assert (
        "may delete" in only(changed(bound("nodetell-aggregator", [READ_PODS | {"verbs": ["delete"]}])), "rights").what
    )
    assert not bad(changed(bound("nodetell-aggregator", [READ_PODS])))


# -- certificates --------------------------------------------------------------------------------------------------


def days(number: float) -> float:
    return NOW.timestamp() + number * 86_400


@pytest.mark.parametrize(
    ("at", "state"),
    [
        (days(300), None),
        (days(343), None),
        (days(345), State.WRONG),
        (days(366), State.BROKEN),
        (days(-1), State.BROKEN),
    ],
)
def test_dates_of_the_certificate(at: float, state: State | None) -> None:
    found = {each.state for each in bad(replace(reading(), now=at)) if each.name == "certificates"}
    assert found == ({state} if state else set())


def test_dates_are_judged_by_the_api_servers_clock() -> None:
    given = replace(reading(), now=days(366), server_ahead=(-200 * 86_400.0, 0.5))
    assert {each.name for each in bad(given)} == {"clocks"}


def test_an_authority_that_ends_and_one_beside_it_that_does_not() -> None:
    old = new_authority("old", 100, NOW - datetime.timedelta(days=99)).certificate_pem().decode()
    new = AUTHORITY.certificate_pem().decode()

    def change(pem: str) -> Reading:
        return changed(lambda found: found["configmaps"][0].update({"data": {"ca.crt": pem}}))

    assert not bad(change(old + new))
    assert any("authority in ConfigMap" in each.what for each in bad(change(old)))
    assert any("holds no certificate" in each.what for each in bad(change("nothing")))


def der(by: Any, names: tuple[str, ...]) -> bytes:
    made = issue(by, Role.AGGREGATOR, "aggregator", names, days=300, now=NOW)
    return made.certificate.public_bytes(Encoding.DER)


def test_a_certificate_for_another_name() -> None:
    found = only(reading(certificate=der(AUTHORITY, ("other",))), "certificates")
    assert '"nodetell-aggregator"' in found.what
    assert found.state is State.BROKEN


def test_a_certificate_of_another_authority() -> None:
    other = new_authority("other", 3650, NOW)
    assert "not signed by" in only(reading(certificate=der(other, NAMES)), "certificates").what


def test_a_name_that_agents_are_told_to_expect_counts() -> None:
    given = changed(lambda found: set_variable(found, "daemonsets", "NODETELL_AGENT_TLS_SERVER_NAME", "a.example.org"))
    assert not bad(replace(given, certificate=der(AUTHORITY, ("*.example.org",))))
    assert only(replace(given, certificate=der(AUTHORITY, ("*.org",))), "certificates").state is State.BROKEN


@given(data=st.binary(max_size=60))
def test_whatever_is_shown_is_judged(data: bytes) -> None:
    assert [each.name for each in checks(reading(certificate=data)) if each.state is State.BROKEN] == (
        ["certificates"] if data else []
    )


# -- versions, clocks ----------------------------------------------------------------------------------------------


def test_versions_apart() -> None:
    mixed = told(known("node-a"), known("node-b", version="0.9"), known("node-c"))
    assert "0.9: node-b" in only(reading(aggregator=mixed), "versions").what
    gone = told(known("node-a"), known("node-b"), known("node-c"), known("x", version="0.9", connected=False))
    assert not bad(reading(aggregator=gone))


def test_this_commands_version() -> None:
    assert "this command" in only(replace(reading(), version="2.0"), "versions").what


def test_images_apart() -> None:
    def change(found: dict[str, Any]) -> None:
        spec(found, "deployments")["containers"][0]["image"] = "nodetell:2.0"

    assert "different images" in only(changed(change), "versions").what


@pytest.mark.parametrize(("updated", "wrong"), [(2, True), (3, False)])
def test_an_update_that_is_under_way(updated: int, wrong: bool) -> None:
    given = changed(lambda found: found["daemonsets"][0]["status"].update({"updatedNumberScheduled": updated}))
    assert [each.name for each in bad(given)] == (["versions"] if wrong else [])


@pytest.mark.parametrize(("ahead", "wrong"), [((5.4, 0.5), False), ((-5.6, 0.5), True), ((20.0, 16.0), False)])
def test_the_api_servers_clock(ahead: tuple[float, float], wrong: bool) -> None:
    assert [each.name for each in bad(reading(server_ahead=ahead))] == (["clocks"] if wrong else [])


@pytest.mark.parametrize(("offset", "bound_s", "wrong"), [(4.9, 0.1, False), (-9.0, 0.1, True), (9.0, 5.0, False)])
def test_clocks_of_nodes(offset: float, bound_s: float, wrong: bool) -> None:
    nodes = told(known("node-a", offset_s=offset, bound_s=bound_s), known("node-b"), known("node-c"))
    assert [each.name for each in bad(reading(aggregator=nodes))] == (["clocks"] if wrong else [])


# -- admission -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tier", "level", "states"),
    [
        (0, "restricted", set()),
        (1, "baseline", {State.BROKEN}),
        (1, "privileged", set()),
        (1, "", {State.UNKNOWN}),
        (3, "restricted", {State.BROKEN}),
    ],
)
def test_pod_security_of_the_namespace(tier: int, level: str, states: set[State]) -> None:
    def change(found: dict[str, Any]) -> None:
        found["namespaces"][0]["metadata"]["labels"] = {"pod-security.kubernetes.io/enforce": level} if level else {}

    found = [each for each in checks(changed(change, tier)) if each.name == "pod security"]
    assert {each.state for each in found} - {State.OK} == states


def deny(direction: str) -> Object:
    return {"metadata": {"name": "deny"}, "spec": {"podSelector": {}, "policyTypes": [direction]}}


@pytest.mark.parametrize("direction", ["Ingress", "Egress"])
def test_a_policy_that_keeps_agents_out(direction: str) -> None:
    given = changed(lambda found: found.update({"networkpolicies": (deny(direction),)}))
    found = only(given, "network policies")
    assert "NetworkPolicy deny" in found.why
    assert found.state is State.BROKEN


def test_a_policy_that_denies_beside_one_that_allows_is_no_fault() -> None:
    assert not bad(
        changed(lambda found: found.update({"networkpolicies": (*found["networkpolicies"], deny("Egress"))}))
    )


def test_a_policy_for_other_pods_or_another_port() -> None:
    other = deny("Egress")
    other["spec"]["podSelector"] = {"matchLabels": {"app": "other"}}
    assert not bad(changed(lambda found: found.update({"networkpolicies": (other,)})))

    def wrong_port(found: dict[str, Any]) -> None:
        (policy,) = (each for each in found["networkpolicies"] if each["metadata"]["name"] == "nodetell-agent")
        policy["spec"]["egress"][0]["ports"][0]["port"] = 7444

    assert only(changed(wrong_port), "network policies").state is State.BROKEN


def test_policies_do_not_hold_in_the_hosts_network() -> None:
    def change(found: dict[str, Any]) -> None:
        found["networkpolicies"] = (deny("Egress"),)

    assert not bad(changed(change, tier=2))


def test_a_policy_for_pods_does_not_let_in_who_comes_from_the_hosts_network() -> None:
    def change(found: dict[str, Any]) -> None:
        spec(found, "daemonsets")["hostNetwork"] = True

    found = only(changed(change), "network policies")
    assert "into the aggregator" in found.what


# -- what could not be read ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("plural", sorted(lists()))
def test_a_list_that_may_not_be_read_is_unknown_and_no_fault(plural: str) -> None:
    given = changed(lambda found: found.update({plural: DENIED}))
    assert not bad(given)


def test_with_nothing_read_of_the_api_server_the_aggregator_still_tells() -> None:
    silent = told(known("node-a", connected=False), known("node-b"), known("node-c"))
    given = Reading("nodetell", NOW.timestamp(), "1.0", {}, aggregator=silent, certificate=b"", api_unread=DENIED)
    assert "no longer hears 1 agent: node-a" in only(given, "heard").what
    assert [each.name for each in checks(given) if each.state is State.UNKNOWN] == ["API server"]


def test_with_no_aggregator_that_is_told_once() -> None:
    not_asked = Unread("the aggregator was not asked")
    found = [
        each for each in checks(reading(aggregator=not_asked, certificate=not_asked)) if each.state is State.UNKNOWN
    ]
    assert [each.name for each in found] == ["aggregator"]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["metadata", "name", "labels", "spec", "status", "template", "rules", "containers"]), inner
        )
    ),
    max_leaves=8,
)


@given(
    plural=st.sampled_from(sorted(lists())),
    item=st.dictionaries(st.sampled_from(["metadata", "spec", "status"]), _JSON),
)
def test_odd_objects_end_nothing(plural: str, item: Object) -> None:
    found: dict[str, Any] = dict(lists())
    found[plural] = (*found[plural], item)
    assert list(checks(reading(lists=found, rights=DENIED)))


def test_the_text_begins_with_the_worst_and_hides_what_is_well() -> None:
    found = [Check("a", State.BROKEN, "x", "because", "this"), Check("b", State.OK, "fine")]
    shown = as_text(found, Look(), verbose=False)
    assert shown.startswith("broken  a: x\n        why: because\n        do:  this")
    assert "fine" not in shown
    assert shown.endswith("2 checks: 1 broken, 1 ok")
    assert "fine" in as_text(found, Look(), verbose=True)
    assert status(found) == 2
    assert status([Check("a", State.WRONG, "x")]) == 1
    assert status([Check("a", State.UNKNOWN, "x")]) == 0
