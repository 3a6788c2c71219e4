"""The manifests parse, ask for no more than they say, and set settings that exist."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # comes with lightkube; its types do not
from nodetell.setting import settings_of

from agent.settings import AgentSettings
from aggregator.cluster.date_reader import RULE
from aggregator.cluster.resources import METRICS_PATH, WATCHED
from aggregator.settings import AggregatorSettings, KubernetesSettings
from aggregator.trust.operators import RIGHT
from aggregator.trust.review import ACCESS_REVIEWS, TOKEN_REVIEWS

BASE = Path(__file__).resolve().parents[2] / "manifests" / "base"
RENDERED = BASE.parents[1] / "cli" / "install" / "rendered"


def objects() -> list[dict[str, Any]]:
    """Those of the default: what kustomize makes of the overlay tier-1 (test_overlays.py holds both in step)."""
    return list(yaml.safe_load_all((RENDERED / "tier-1.yaml").read_text()))


WORKLOADS = [item for item in objects() if item["kind"] in {"DaemonSet", "Deployment"}]


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda item: item["kind"])
def test_a_workload_has_no_more_than_tier_1(workload: dict[str, Any]) -> None:
    pod = workload["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 65534
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is (pod["serviceAccountName"] == "nodetell-aggregator")
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    for container in pod["containers"]:
        context = container["securityContext"]
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["readOnlyRootFilesystem"] is True
        assert context["allowPrivilegeEscalation"] is False
        read_only = {mount["name"] for mount in container["volumeMounts"] if mount.get("readOnly")}
        host_paths = {volume["name"]: volume["hostPath"]["path"] for volume in pod["volumes"] if "hostPath" in volume}
        assert set(host_paths) <= read_only
        assert set(host_paths.values()) <= {"/proc", "/sys"}


BINDINGS = [item for item in objects() if item["kind"].endswith("Binding")]
BOUND = {(item["roleRef"]["kind"], item["roleRef"]["name"]) for item in BINDINGS}
ALL_ROLES = [item for item in objects() if item["kind"] in {"ClusterRole", "Role"}]
ROLES = [item for item in ALL_ROLES if (item["kind"], item["metadata"]["name"]) in BOUND]
"""Those that grant anything."""
UNBOUND = {role["metadata"]["name"]: role for role in ALL_ROLES if role not in ROLES}


QUESTIONS = {TOKEN_REVIEWS, ACCESS_REVIEWS}
"""Paths that are asked by "create"; nothing is created."""


def test_the_aggregator_alone_is_granted_anything_and_only_to_read_or_ask_who_calls() -> None:
    rules = [rule for role in ROLES for rule in role["rules"]]
    assert rules
    asked = set()
    for rule in rules:
        if rule["verbs"] == ["create"]:
            ((group,), (resource,)) = rule["apiGroups"], rule["resources"]
            asked.add(f"/apis/{group}/v1/{resource}")
            continue
        assert set(rule["verbs"]) <= {"get", "list", "watch"}
        assert "*" not in rule.get("resources", []) + rule.get("apiGroups", [])
        assert "secrets" not in rule.get("resources", [])
    assert asked == QUESTIONS
    for binding in BINDINGS:
        account = {"kind": "ServiceAccount", "name": "nodetell-aggregator", "namespace": "nodetell"}
        assert binding["subjects"] == [account]


def test_what_is_granted_is_what_is_asked_and_nothing_more() -> None:
    granted = {
        (group, resource, role["metadata"].get("namespace", ""))
        for role in ROLES
        for rule in role["rules"]
        if rule["verbs"] != ["create"]
        for group in rule.get("apiGroups", [])
        for resource in rule.get("resources", [])
    }
    assert granted == {(each.group, each.plural, each.namespace) for each in WATCHED}
    urls = [rule["nonResourceURLs"] for role in ROLES for rule in role["rules"] if "nonResourceURLs" in rule]
    assert urls == [[METRICS_PATH]]


def test_secrets_may_be_got_by_a_role_that_nobody_has_and_not_be_listed() -> None:
    unbound = UNBOUND["nodetell-credential-expiry"]
    assert unbound["rules"] == [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]
    assert RULE == 'apiGroups: [""], resources: ["secrets"], verbs: ["get"]'
    text = (BASE / "credential-expiry.yaml").read_text()
    known = {setting.variable("NODETELL_AGGREGATOR_") for setting in settings_of(AggregatorSettings)}
    (variable,) = re.findall(r"NODETELL_AGGREGATOR_\w+", text)
    assert variable in known
    assert not KubernetesSettings().credential_expiry


def test_what_operators_need_is_the_right_that_is_asked_about_and_nobody_has_it() -> None:
    verb, group, resource = RIGHT
    rule = {"apiGroups": [group], "resources": [resource], "verbs": [verb]}
    assert UNBOUND["nodetell-viewer"]["rules"] == [rule]
    assert set(UNBOUND) == {"nodetell-viewer", "nodetell-credential-expiry"}


def variables(kind: str) -> dict[str, str]:
    """The variables with a value of the one container of a workload."""
    (workload,) = (item for item in WORKLOADS if item["kind"] == kind)
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    return {each["name"]: each["value"] for each in container["env"] if "value" in each}


def mounted(kind: str, path: str) -> dict[str, Any]:
    """The volume that a file of a workload's container is in."""
    (workload,) = (item for item in WORKLOADS if item["kind"] == kind)
    pod = workload["spec"]["template"]["spec"]
    mount = next(each for each in pod["containers"][0]["volumeMounts"] if path.startswith(each["mountPath"] + "/"))
    assert mount["readOnly"] is True
    assert "subPath" not in mount
    volume: dict[str, Any] = next(each for each in pod["volumes"] if each["name"] == mount["name"])
    return volume


def test_both_ends_agree_on_tls_and_on_the_token() -> None:
    agent, aggregator = variables("DaemonSet"), variables("Deployment")
    token = mounted("DaemonSet", agent["NODETELL_AGENT_TOKEN_FILE"])["projected"]["sources"][0]["serviceAccountToken"]
    assert token["audience"] == aggregator["NODETELL_AGGREGATOR_ACCESS_TOKEN_AUDIENCE"]
    assert agent["NODETELL_AGENT_TOKEN_FILE"].endswith("/" + token["path"])
    account = aggregator["NODETELL_AGGREGATOR_ACCESS_AGENT_SERVICE_ACCOUNT"]
    (daemons,) = (item for item in WORKLOADS if item["kind"] == "DaemonSet")
    own = daemons["spec"]["template"]["spec"]["serviceAccountName"]
    assert account == f"{daemons['metadata']['namespace']}/{own}"
    assert mounted("DaemonSet", agent["NODETELL_AGENT_TLS_CA"])["configMap"]["name"] == "nodetell-ca"
    secret = mounted("Deployment", aggregator["NODETELL_AGGREGATOR_TLS_CERTIFICATE"])["secret"]
    assert secret == mounted("Deployment", aggregator["NODETELL_AGGREGATOR_TLS_KEY"])["secret"]
    assert not any("INSECURE" in name for name in agent | aggregator)
    made = {
        item["metadata"]["name"]: item["spec"]
        for item in yaml.safe_load_all((BASE.parent / "components/cert-manager/certificates.yaml").read_text())
        if item["kind"] == "Certificate"
    }
    assert made["nodetell-aggregator"]["secretName"] == secret["secretName"]
    host = agent["NODETELL_AGENT_AGGREGATOR"].partition(":")[0]
    assert host in made["nodetell-aggregator"]["dnsNames"]
    for each in made.values():
        assert each["privateKey"]["algorithm"] == "ECDSA"
        assert each["privateKey"]["size"] == 256


def test_everything_with_a_namespace_says_it() -> None:
    without = {item["kind"] for item in objects() if "namespace" not in item["metadata"]}
    assert without == {"Namespace", "ClusterRole", "ClusterRoleBinding", "PriorityClass"}


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda item: item["kind"])
def test_every_variable_is_a_setting(workload: dict[str, Any]) -> None:
    role = workload["metadata"]["labels"]["app.kubernetes.io/component"]
    settings = {"agent": AgentSettings, "aggregator": AggregatorSettings}[role]
    assert dataclasses.is_dataclass(settings)
    prefix = f"NODETELL_{role.upper()}_"
    known = {setting.variable(prefix) for setting in settings_of(settings)}
    for container in workload["spec"]["template"]["spec"]["containers"]:
        assert {variable["name"] for variable in container["env"]} <= known
