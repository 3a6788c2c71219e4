"""The Helm chart: what it renders to is what kustomize makes of the overlays, and its schema refuses nonsense.

What is rendered is the packed chart, as operators get it.
"""

from __future__ import annotations

import functools
import io
import itertools
import json
import platform
import re
import shutil
import tarfile
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # has no types
import pytest
import yaml  # type: ignore[import-untyped]  # comes with lightkube; its types do not
from nodetell import __version__
from nodetell.setting import settings_of

from aggregator.settings import AggregatorSettings
from cli.install.command import next_steps
from cli.install.objects import Choice, chosen, rendered
from release import chart, kustomize

Object = dict[str, Any]
Values = dict[str, Any]
NEWEST = max(kubernetes_validate.utils.all_versions(), key=lambda each: [int(part) for part in each.split(".")[:2]])
DIGEST = "sha256:" + 64 * "a"
EVERYTHING: Values = {
    "tier": 3,
    "controlPlane": {"enabled": True, "etcdMetricsUrl": "http://127.0.0.1:2382/metrics"},
    "createNamespace": True,
    "http": {"enabled": True},
    "prometheus": {"enabled": True},
    "objects": {"events": True, "nodeConditions": True},
    "image": {"digest": DIGEST, "tag": "1.0", "pullPolicy": "Always", "pullSecrets": ["one", "two"]},
    "persistence": {"keep": True},
    "credentialExpiry": {"enabled": True, "namespaces": ["no"], "everywhere": True},
    "secretMetadata": {"enabled": True},
    "agent": {
        "resources": {"requests": {"cpu": "20m", "memory": None}, "limits": {"cpu": 1}},
        "env": {
            "NODETELL_AGENT_PATH_MTU_PORT": 1000000,
            "NODETELL_AGENT_INSECURE": False,
            "NODETELL_AGENT_AGGREGATOR": "elsewhere:7443",
        },
        "nodeSelector": {"pool": "true"},
        "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "priorityClassName": "system-node-critical",
    },
    "aggregator": {
        "nodeSelector": {"infra": ""},
        "tolerations": [{"key": "infra", "operator": "Equal", "value": "yes", "tolerationSeconds": 30}],
        "priorityClassName": "1000",
    },
    "sensor": {"env": {"NODETELL_SENSOR_LOG_LEVEL": "debug"}, "resources": {"limits": {"memory": "1Gi"}}},
}
"""Every value that has one other than the default, but those of `nodetell install`."""


@functools.cache
def helm() -> Any:  # its exceptions are asked for by name
    """Helm as a library; skips the test where there is none."""
    return pytest.importorskip(
        "helm_python", reason=f"needs: helm as a library; there is none for {platform.machine()}"
    )


@functools.cache
def loaded() -> Any:
    return helm().Chart.load_archive(chart.packed())


@functools.cache
def texts(values: str, namespace: str) -> dict[str, str]:
    """What each template becomes, by the last part of its path."""
    made = loaded().render(json.loads(values), name="any", namespace=namespace)
    return {path.rpartition("/")[2]: text for path, text in made.items()}


def objects(values: Values, namespace: str = "nodetell") -> list[Object]:
    made = texts(json.dumps(values), namespace)
    files = [text for name, text in made.items() if name.endswith(".yaml")]
    return [item for text in files for item in yaml.safe_load_all(text) if item]


def notes(values: Values, namespace: str = "nodetell") -> str:
    return texts(json.dumps(values), namespace)["NOTES.txt"]


def by_name(items: list[Object]) -> dict[tuple[str, str, str], Object]:
    """For comparing: Helm has an order of its own for what it applies."""
    found = {(each["kind"], each["metadata"].get("namespace", ""), each["metadata"]["name"]): each for each in items}
    assert len(found) == len(items)
    return found


def of_overlay(name: str) -> Values:
    """Values for what an overlay is."""
    match = re.fullmatch(r"tier-(\d)(-control-plane)?(-cert-manager)?", name)
    assert match
    return {
        "tier": int(match[1]),
        "controlPlane": {"enabled": bool(match[2])},
        "certManager": {"enabled": bool(match[3])},
        "createNamespace": True,
    }


@pytest.mark.parametrize("overlay", kustomize.overlays())
def test_it_renders_to_what_kustomize_makes_of_the_overlay(overlay: str) -> None:
    made = objects({**of_overlay(overlay), "image": {"tag": "dev"}})
    assert by_name(made) == by_name(rendered(overlay))


CHOICES: list[tuple[Values, Choice]] = [
    ({}, Choice()),
    ({**of_overlay("tier-0-cert-manager")}, Choice(tier=0, cert_manager=True, namespace="ops")),
    (
        {
            **of_overlay("tier-3-control-plane-cert-manager"),
            "image": {"repository": "registry.example.org:5000/tools/nodetell", "tag": "1.0", "pullSecrets": ["1e3"]},
            "cluster": "prod-a",
            "persistence": {"storageClass": "true", "size": "10Gi"},
        },
        Choice(
            tier=3,
            control_plane=True,
            cert_manager=True,
            namespace="10",  # what YAML would take for something else
            image="registry.example.org:5000/tools/nodetell:1.0",
            pull_secret="1e3",  # noqa: S106  # a name
            cluster="prod-a",
            storage_class="true",
            storage="10Gi",
        ),
    ),
    ({**of_overlay("tier-1"), "http": {"enabled": True}}, Choice(tier=1, namespace="ops", http=True)),
    (
        {
            **of_overlay("tier-2-control-plane"),
            "http": {"enabled": True},
            "prometheus": {"enabled": True},
            "objects": {"events": True, "nodeConditions": True},
            "cluster": "prod-a",
        },
        Choice(control_plane=True, http=True, prometheus=True, objects=True, cluster="prod-a"),
    ),
    ({**of_overlay("tier-0"), "prometheus": {"enabled": True}}, Choice(tier=0, prometheus=True)),
    (
        {**of_overlay("tier-1"), "persistence": {"enabled": False}, "image": {"digest": DIGEST}},
        Choice(tier=1, namespace="ops", ephemeral=True, image=f"nodetell@{DIGEST}"),
    ),
]


@pytest.mark.parametrize(
    ("values", "choice"), CHOICES, ids=["default", "namespace", "all", "http", "outputs", "metrics", "ephemeral"]
)
def test_it_renders_to_what_install_prints(values: Values, choice: Choice) -> None:
    made = by_name(objects(values, choice.namespace))
    expected = by_name(chosen(choice, __version__))
    if not values:
        del expected["Namespace", "", "nodetell"]
    assert made == expected


def test_nothing_of_it_is_named_after_the_release() -> None:
    values = {**of_overlay("tier-3-control-plane-cert-manager"), "credentialExpiry": {"enabled": True}}
    others = loaded().render(values, name="other", namespace="nodetell")
    assert {path.rpartition("/")[2]: text for path, text in others.items()} == texts(json.dumps(values), "nodetell")


# -- what kustomize has no overlay for ---------------------------------------------------------------------------------


def test_what_is_chosen_is_in_its_place() -> None:
    items = by_name(objects(EVERYTHING))
    agents = [item["spec"]["template"]["spec"] for (kind, _, _), item in items.items() if kind == "DaemonSet"]
    aggregator = items["Deployment", "nodetell", "nodetell-aggregator"]["spec"]["template"]["spec"]
    assert len(agents) == 2
    for pod in [*agents, aggregator]:
        assert pod["imagePullSecrets"] == [{"name": "one"}, {"name": "two"}]
        assert {each["image"] for each in pod["containers"]} == {f"nodetell@{DIGEST}"}
        assert {each["imagePullPolicy"] for each in pod["containers"]} == {"Always"}
    for pod in agents:
        agent, sensor = pod["containers"]
        variables = {each["name"]: each.get("value") for each in agent["env"]}
        assert len(variables) == len(agent["env"])
        assert variables["NODETELL_AGENT_PATH_MTU_PORT"] == "1000000"
        assert variables["NODETELL_AGENT_INSECURE"] == "false"
        assert variables["NODETELL_AGENT_AGGREGATOR"] == "elsewhere:7443"
        assert agent["resources"] == {"requests": {"cpu": "20m"}, "limits": {"cpu": 1, "memory": "128Mi"}}
        assert sensor["resources"] == {"requests": {"cpu": "10m", "memory": "48Mi"}, "limits": {"memory": "1Gi"}}
        assert {"name": "NODETELL_SENSOR_LOG_LEVEL", "value": "debug"} in sensor["env"]
        assert pod["tolerations"] == EVERYTHING["agent"]["tolerations"]
        assert pod["nodeSelector"]["pool"] == "true"
        assert pod["nodeSelector"]["kubernetes.io/os"] == "linux"
        assert pod["priorityClassName"] == "system-node-critical"
    etcd = [each["value"] for pod in agents for each in pod["containers"][0]["env"] if "ETCD" in each["name"]]
    assert etcd == ["http://127.0.0.1:2382/metrics"]
    assert aggregator["nodeSelector"] == {"kubernetes.io/os": "linux", "infra": ""}
    assert aggregator["tolerations"] == EVERYTHING["aggregator"]["tolerations"]
    assert aggregator["priorityClassName"] == "1000"
    assert "PriorityClass" not in {kind for kind, _, _ in items}
    claim = items["PersistentVolumeClaim", "nodetell", "nodetell-aggregator"]
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


def test_secrets_are_granted_where_that_is_asked_for_and_nowhere_else() -> None:
    more = by_name(objects({**EVERYTHING, "createNamespace": False}, "ops"))
    others = {key: EVERYTHING[key] for key in ("http", "objects")}
    less = by_name(objects({**of_overlay("tier-3-control-plane"), **others}, "ops"))
    grants = {name for name in {*more} - {*less} if name[0].endswith("Binding")}
    assert grants == {
        ("RoleBinding", "no", "nodetell-ops-credential-expiry"),
        ("ClusterRoleBinding", "", "nodetell-ops-credential-expiry"),
        ("ClusterRoleBinding", "", "nodetell-ops-secret-metadata"),
    }
    for name in grants:
        role = more["ClusterRole", "", more[name]["roleRef"]["name"]]
        verbs = {"nodetell-ops-credential-expiry": ["get"], "nodetell-ops-secret-metadata": ["list", "watch"]}
        assert [rule["verbs"] for rule in role["rules"]] == [verbs[role["metadata"]["name"]]]
        account = {"kind": "ServiceAccount", "name": "nodetell-aggregator", "namespace": "ops"}
        assert more[name]["subjects"] == [account]
    (container,) = more["Deployment", "ops", "nodetell-aggregator"]["spec"]["template"]["spec"]["containers"]
    switched = {each["name"]: each["value"] for each in container["env"] if "_KUBERNETES_" in each["name"]}
    assert switched == {
        "NODETELL_AGGREGATOR_KUBERNETES_CREDENTIAL_EXPIRY": "true",
        "NODETELL_AGGREGATOR_KUBERNETES_SECRET_METADATA": "true",
    }
    assert {*switched} <= {setting.variable("NODETELL_AGGREGATOR_") for setting in settings_of(AggregatorSettings)}


def test_the_api_knows_every_field_of_what_kustomize_does_not_make() -> None:
    items = objects(EVERYTHING)
    assert len(items) > 20
    for item in items:
        kubernetes_validate.validate(item, NEWEST, strict=True)


@pytest.mark.parametrize("cert_manager", [False, True])
def test_the_notes_say_what_install_says(cert_manager: bool) -> None:
    said = " ".join(notes({"certManager": {"enabled": cert_manager}, "http": {"enabled": True}}, "ops").split())
    told = next_steps(Choice(cert_manager=cert_manager, namespace="ops", http=True)).splitlines()
    steps = [line for line in told if line[0] == " "]
    assert len(steps) == (3 if cert_manager else 4)
    for step in steps:
        assert " ".join(step.split()) in said
    assert "pod-security.kubernetes.io/enforce=privileged" in said
    assert "enforce=restricted" in notes({"tier": 0})


# -- what it refuses ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "where"),
    [
        ({"tier": 4}, "tier"),
        ({"tier": -1}, "tier"),
        ({"tier": "2"}, "tier"),
        ({"teir": 2}, "teir"),
        ({"image": {"name": "x"}}, "name"),
        ({"tier": 1, "controlPlane": {"enabled": True}}, "tier"),
        ({"controlPlane": {"etcdMetricsUrl": "127.0.0.1:2381"}}, "etcdMetricsUrl"),
        ({"certManager": {"enabled": "yes"}}, "certManager"),
        ({"image": {"repository": "nodetell:1.0"}}, "repository"),
        ({"image": {"repository": "a b"}}, "repository"),
        ({"image": {"tag": 1.0}}, "tag"),
        ({"image": {"digest": "sha256:1"}}, "digest"),
        ({"image": {"pullPolicy": "Sometimes"}}, "pullPolicy"),
        ({"image": {"pullSecrets": [{"name": "x"}]}}, "pullSecrets"),
        ({"persistence": {"size": "0Gi"}}, "size"),
        ({"persistence": {"size": "much"}}, "size"),
        ({"persistence": {"storageClass": "-x"}}, "storageClass"),
        ({"persistence": {"enabled": False, "storageClass": "fast"}}, "storageClass"),
        ({"credentialExpiry": {"everywhere": True}}, "everywhere"),
        ({"credentialExpiry": {"namespaces": ["shop"]}}, "namespaces"),
        ({"agent": {"env": {"NODETELL_AGGREGATOR_CLUSTER": "x"}}}, "propertyName 'NODETELL_AGGREGATOR_CLUSTER'"),
        ({"agent": {"env": {"NODETELL_AGENT_NODE": "x"}}}, "propertyName 'NODETELL_AGENT_NODE'"),
        ({"agent": {"env": {"PATH": "/tmp"}}}, "propertyName 'PATH'"),
        ({"agent": {"env": {"NODETELL_AGENT_LOG_LEVEL": ["debug"]}}}, "env"),
        ({"agent": {"nodeSelector": {"kubernetes.io/os": "windows"}}}, "propertyName 'kubernetes.io/os'"),
        ({"agent": {"nodeSelector": {"pool": True}}}, "nodeSelector"),
        ({"agent": {"tolerations": [{"effect": "Never"}]}}, "effect"),
        ({"agent": {"resources": {"limits": {"memory": "lots"}}}}, "memory"),
        ({"aggregator": {"env": {"NODETELL_AGGREGATOR_CLUSTER": "x"}}}, "propertyName 'NODETELL_AGGREGATOR_CLUSTER'"),
        ({"aggregator": {"replicas": 2}}, "replicas"),
        ({"sensor": {"env": {"NODETELL_AGENT_LOG_LEVEL": "debug"}}}, "propertyName 'NODETELL_AGENT_LOG_LEVEL'"),
    ],
)
def test_the_schema_refuses(values: Values, where: str) -> None:
    with pytest.raises(helm().HelmValuesError, match=where):
        loaded().validate_schema(loaded().merge_values(values))


def test_the_schema_takes_what_is_rendered_here() -> None:
    for values in ({}, EVERYTHING, {"global": {}}, *(each for each, _ in CHOICES)):
        loaded().validate_schema(loaded().merge_values(values))


def test_every_value_has_its_place_in_the_schema_and_every_place_its_value() -> None:
    def leaves(value: Values, schema: Values, place: str) -> None:
        if "$ref" in schema:
            schema = properties["definitions"][schema["$ref"].rpartition("/")[2]]
        if "properties" not in schema:
            return
        assert schema["additionalProperties"] is False, place
        assert place.endswith(".resources") or set(value) == set(schema["properties"]) - {"global"}, place
        for key, each in value.items():
            if isinstance(each, dict) and not place.endswith(".resources"):
                leaves(each, schema["properties"][key], f"{place}.{key}")

    properties = json.loads((chart.CHART / "values.schema.json").read_text())
    leaves(yaml.safe_load((chart.CHART / "values.yaml").read_text()), properties, "")


def test_every_value_is_explained() -> None:
    """By a comment above it, or by the one above all of its group."""
    paragraphs = (chart.CHART / "values.yaml").read_text().split("\n\n")[1:]
    assert sorted(next(iter(yaml.safe_load(each))) for each in paragraphs) == sorted(loaded().values)
    for paragraph in paragraphs:
        explained = paragraph.startswith("#")
        for before, line in itertools.pairwise(paragraph.splitlines()):
            if re.match(r"(  )?\w+:", line):
                assert explained or before.lstrip().startswith("#"), paragraph


# -- the chart as a thing ----------------------------------------------------------------------------------------------


def test_lint_has_nothing_to_say() -> None:
    report = helm().lint(chart.CHART, {}, strict=True, namespace="nodetell", kube_version="v1.27.0")
    assert report["total_charts_linted"] == 1
    said = [each for each in report["messages"] if "icon" not in each["error"]]
    assert not said
    assert not report["errors"]


def test_it_has_the_version_of_the_rest() -> None:
    about = yaml.safe_load((chart.CHART / "Chart.yaml").read_text())
    assert (about["version"], about["appVersion"]) == (__version__, __version__)


def test_the_archive_is_the_same_each_time_and_has_nothing_else_in_it(tmp_path: Path) -> None:
    copied = shutil.copytree(chart.CHART, tmp_path / "nodetell")
    (copied / "templates" / ".agents.yaml.swp").write_text("{{")
    (copied / "secret.txt").touch()
    assert chart.packed(copied) == chart.packed()
    with tarfile.open(fileobj=io.BytesIO(chart.packed())) as archive:
        names = set(archive.getnames())
    assert names == {f"nodetell/{path.relative_to(chart.CHART)}" for path in chart.CHART.rglob("*") if path.is_file()}
