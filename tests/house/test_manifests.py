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

BASE = Path(__file__).resolve().parents[2] / "manifests" / "base"


def objects() -> list[dict[str, Any]]:
    """Everything that the kustomization lists."""
    listed = yaml.safe_load((BASE / "kustomization.yaml").read_text())["resources"]
    assert {*listed, "kustomization.yaml"} == {path.name for path in BASE.glob("*.yaml")}
    return [document for name in listed for document in yaml.safe_load_all((BASE / name).read_text())]


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


def test_the_aggregator_alone_is_granted_anything_and_only_to_read() -> None:
    rules = [rule for role in ROLES for rule in role["rules"]]
    assert rules
    for rule in rules:
        assert set(rule["verbs"]) <= {"get", "list", "watch"}
        assert "*" not in rule.get("resources", []) + rule.get("apiGroups", [])
        assert "secrets" not in rule.get("resources", [])
    for binding in BINDINGS:
        account = {"kind": "ServiceAccount", "name": "nodetell-aggregator", "namespace": "nodetell"}
        assert binding["subjects"] == [account]


def test_what_is_granted_is_what_is_asked_and_nothing_more() -> None:
    granted = {
        (group, resource, role["metadata"].get("namespace", ""))
        for role in ROLES
        for rule in role["rules"]
        for group in rule.get("apiGroups", [])
        for resource in rule.get("resources", [])
    }
    assert granted == {(each.group, each.plural, each.namespace) for each in WATCHED}
    urls = [rule["nonResourceURLs"] for role in ROLES for rule in role["rules"] if "nonResourceURLs" in rule]
    assert urls == [[METRICS_PATH]]


def test_secrets_may_be_got_by_a_role_that_nobody_has_and_not_be_listed() -> None:
    (unbound,) = (role for role in ALL_ROLES if role not in ROLES)
    assert unbound["kind"] == "ClusterRole"
    assert unbound["rules"] == [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]
    assert RULE == 'apiGroups: [""], resources: ["secrets"], verbs: ["get"]'
    text = (BASE / "credential-expiry.yaml").read_text()
    known = {setting.variable("NODETELL_AGGREGATOR_") for setting in settings_of(AggregatorSettings)}
    (variable,) = re.findall(r"NODETELL_AGGREGATOR_\w+", text)
    assert variable in known
    assert not KubernetesSettings().credential_expiry


def test_everything_with_a_namespace_says_it() -> None:
    without = {item["kind"] for item in objects() if "namespace" not in item["metadata"]}
    assert without == {"Namespace", "ClusterRole", "ClusterRoleBinding"}


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda item: item["kind"])
def test_every_variable_is_a_setting(workload: dict[str, Any]) -> None:
    role = workload["metadata"]["labels"]["app.kubernetes.io/component"]
    settings = {"agent": AgentSettings, "aggregator": AggregatorSettings}[role]
    assert dataclasses.is_dataclass(settings)
    prefix = f"NODETELL_{role.upper()}_"
    known = {setting.variable(prefix) for setting in settings_of(settings)}
    for container in workload["spec"]["template"]["spec"]["containers"]:
        assert {variable["name"] for variable in container["env"]} <= known
