"""What may be written to the API server is granted where it is switched on, as the code asks for it; nowhere else."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # comes with lightkube; its types do not
from nodetell.setting import settings_of

from aggregator.outputs.kubernetes.rights import CONDITIONS, EVENTS, ROLE, Right
from aggregator.settings import AggregatorSettings, ObjectsSettings
from cli.doctor.calls import Call, calls
from release import chart, kustomize

ROOT = Path(__file__).resolve().parents[2]
SWITCHES = {
    "NODETELL_AGGREGATOR_OBJECTS_EVENTS": (EVENTS, "events"),
    "NODETELL_AGGREGATOR_OBJECTS_NODE_CONDITIONS": (CONDITIONS, "nodeConditions"),
}

Object = dict[str, Any]


def rules(rights: Iterable[Right]) -> list[Object]:
    return [{"apiGroups": [each.group], "resources": [each.resource], "verbs": [*each.verbs]} for each in rights]


def switched(items: list[Object]) -> set[str]:
    (deployment,) = (item for item in items if item["kind"] == "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return {each["name"] for each in container["env"] if "_OBJECTS_" in each["name"] and each["value"] == "true"}


def granted(items: list[Object], name: str, namespace: str) -> list[Object]:
    """Rules of the role that is bound to the aggregator."""
    found: list[Object] = []
    for item in items:
        if item["kind"] == "ClusterRoleBinding" and item["roleRef"]["name"] == name:
            account = {"kind": "ServiceAccount", "name": "nodetell-aggregator", "namespace": namespace}
            assert item["subjects"] == [account]
            (role,) = (each for each in items if each["kind"] == "ClusterRole" and each["metadata"]["name"] == name)
            found += role["rules"]
    return found


def test_the_component_grants_what_it_switches_on(tmp_path: Path) -> None:
    library = kustomize.available()
    if library is None:
        pytest.skip(f"needs: kustomize as a library (make manifests); there is none for {platform.machine()}")
    shutil.copytree(ROOT / "manifests", tmp_path / "manifests")
    chosen = {"resources": ["../manifests/base"], "components": ["../manifests/components/objects"]}
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "kustomization.yaml").write_text(yaml.safe_dump(chosen))
    items = list(yaml.safe_load_all(kustomize.build(tmp_path / "own", library)))
    assert switched(items) == set(SWITCHES)
    assert granted(items, ROLE, "nodetell") == rules((EVENTS, CONDITIONS))


@pytest.mark.parametrize("on", [[], [*SWITCHES], *([each] for each in SWITCHES)], ids=["none", "both", "one", "other"])
def test_the_chart_grants_what_it_switches_on(on: list[str]) -> None:
    helm = pytest.importorskip(
        "helm_python", reason=f"needs: helm as a library; there is none for {platform.machine()}"
    )
    values = {"objects": {SWITCHES[name][1]: True for name in on}}
    made = helm.Chart.load_archive(chart.packed()).render(values, name="any", namespace="ops")
    texts = [text for path, text in made.items() if path.endswith(".yaml")]
    items = [item for text in texts for item in yaml.safe_load_all(text) if item]
    assert switched(items) == set(on)
    assert granted(items, "nodetell-ops-objects", "ops") == rules(SWITCHES[name][0] for name in on)


@pytest.mark.parametrize("overlay", kustomize.overlays())
def test_by_default_nothing_may_be_written(overlay: str) -> None:
    items = list(yaml.safe_load_all((kustomize.RENDERED / f"{overlay}.yaml").read_text()))
    assert not switched(items)
    assert not [item for item in items if item["metadata"]["name"] == ROLE]
    settings = ObjectsSettings()
    assert not settings.events
    assert not settings.node_conditions


def test_the_switches_are_settings_and_doctor_asks_for_these_rights() -> None:
    known = {setting.variable("NODETELL_AGGREGATOR_") for setting in settings_of(AggregatorSettings)}
    assert set(SWITCHES) <= known
    more = set(calls(events=True, node_conditions=True)) - set(calls())
    assert more == {
        Call("create", "events.k8s.io", "events"),
        Call("patch", "events.k8s.io", "events"),
        Call("patch", "", "nodes/status"),
    }
    assert {call.rule for call in more if call.resource == "nodes/status"} == {CONDITIONS.rule}
