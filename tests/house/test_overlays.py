"""Every overlay: it is rendered as kustomize has it, the API knows it, and a tier has no more than its own."""

from __future__ import annotations

import json
import platform
import shutil
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # has no types
import pytest
import yaml  # type: ignore[import-untyped]  # comes with lightkube; its types do not
from nodetell import alive
from nodetell.setting import settings_of

from agent.sensor.settings import SensorSettings
from agent.settings import AgentSettings
from aggregator.settings import AggregatorSettings
from cli.install.parts import PARTS
from cli.remote import proxy
from release import kustomize
from release.rootfs import APPLICATION, INTERPRETER

ROOT = Path(__file__).resolve().parents[2]
OVERLAYS = kustomize.overlays()
COMPONENTS = sorted(path.name for path in (ROOT / "manifests" / "components").iterdir())
OLDEST = "1.27"
VERSIONS = {tuple(int(part) for part in version.split(".")[:2]) for version in kubernetes_validate.utils.all_versions()}
NEWEST = [f"{major}.{minor}" for major, minor in sorted(VERSIONS)[-3:]]
"""The three newest minor versions whose schemas are at hand."""
SETTINGS = {"agent": AgentSettings, "aggregator": AggregatorSettings, "sensor": SensorSettings}

Object = dict[str, Any]


def objects(overlay: str) -> list[Object]:
    return list(yaml.safe_load_all((kustomize.RENDERED / f"{overlay}.yaml").read_text()))


def workloads(overlay: str) -> list[Object]:
    return [item for item in objects(overlay) if item["kind"] in {"DaemonSet", "Deployment"}]


def pods(overlay: str) -> dict[str, Object]:
    return {item["metadata"]["name"]: item["spec"]["template"]["spec"] for item in workloads(overlay)}


@pytest.fixture(scope="module")
def library() -> Path:
    found = kustomize.available()
    if found is None:
        pytest.skip(f"needs: kustomize as a library (make manifests); there is none for {platform.machine()}")
    return found


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_is_rendered_is_what_kustomize_makes_of_it(overlay: str, library: Path) -> None:
    kept = (kustomize.RENDERED / f"{overlay}.yaml").read_text()
    assert kept == kustomize.rendered(overlay, library), "make manifests"


def test_nothing_is_rendered_that_has_no_overlay() -> None:
    assert sorted(path.stem for path in kustomize.RENDERED.iterdir()) == OVERLAYS
    assert sorted(path.stem for path in kustomize.PARTS.iterdir()) == kustomize.parts()
    assert set(kustomize.parts()) <= set(PARTS) <= set(COMPONENTS)


@pytest.mark.parametrize("part", kustomize.parts())
def test_what_a_component_adds_is_rendered_as_kustomize_has_it(part: str, library: Path) -> None:
    assert (kustomize.PARTS / f"{part}.yaml").read_text() == kustomize.part(part, library), "make manifests"


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("tier", ["tier-1", "tier-3-control-plane"])
def test_install_puts_a_component_where_kustomize_puts_it(part: str, tier: str, library: Path, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "manifests", tmp_path / "manifests")
    own = tmp_path / "manifests" / "overlays" / "own"
    own.mkdir()
    with_it = yaml.safe_load((own.parent / tier / "kustomization.yaml").read_text())
    with_it["components"] = [*with_it.get("components", ()), f"../../components/{part}"]
    (own / "kustomization.yaml").write_text(yaml.safe_dump(with_it))
    made = {_named(item): item for item in yaml.safe_load_all(kustomize.build(own, library))}
    assert {_named(item): item for item in PARTS[part](objects(tier))} == made


def test_operators_are_granted_two_things_by_name_and_nobody_has_them_unasked() -> None:
    made = {_named(item)[::2]: item for item in yaml.safe_load_all((kustomize.PARTS / "http.yaml").read_text())}
    assert set(made) == {(kind, "nodetell-operator") for kind in ("ServiceAccount", "Role", "ClusterRoleBinding")}
    assert made["Role", "nodetell-operator"]["rules"] == [
        {
            "apiGroups": [""],
            "resources": ["serviceaccounts/token"],
            "resourceNames": [proxy.ACCOUNT],
            "verbs": ["create"],
        },
        {
            "apiGroups": [""],
            "resources": ["services/proxy"],
            "resourceNames": [proxy.Place().service],
            "verbs": ["get"],
        },
    ]
    bound = made["ClusterRoleBinding", "nodetell-operator"]
    assert bound["roleRef"]["name"] == "nodetell-viewer"
    assert bound["subjects"] == [{"kind": "ServiceAccount", "name": proxy.ACCOUNT, "namespace": "nodetell"}]
    (viewer,) = (item for item in objects("tier-1") if item["metadata"]["name"] == "nodetell-viewer")
    assert viewer["rules"] == [{"apiGroups": ["nodetell.dev"], "resources": ["findings"], "verbs": ["get"]}]


def _named(item: Object) -> tuple[str, str, str]:
    return item["kind"], item["metadata"].get("namespace", ""), item["metadata"]["name"]


@pytest.mark.parametrize("component", COMPONENTS)
def test_each_component_goes_with_the_default(component: str, library: Path, tmp_path: Path) -> None:
    """As an operator combines them, in a kustomization of their own."""
    shutil.copytree(ROOT / "manifests", tmp_path / "manifests")
    chosen = {"resources": ["../manifests/base"], "components": [f"../manifests/components/{component}"]}
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "kustomization.yaml").write_text(yaml.safe_dump(chosen))
    made = list(yaml.safe_load_all(kustomize.build(tmp_path / "own", library)))
    assert made != objects("tier-1")
    known = {json.dumps(item, sort_keys=True) for item in objects("tier-1")}
    for item in made:
        if json.dumps(item, sort_keys=True) not in known and not item["apiVersion"].startswith("cert-manager.io/"):
            kubernetes_validate.validate(item, NEWEST[-1], strict=True)


@pytest.mark.parametrize("version", sorted({OLDEST, *NEWEST}))
def test_the_api_knows_every_field(version: str) -> None:
    different = {json.dumps(item, sort_keys=True): item for overlay in OVERLAYS for item in objects(overlay)}
    own = [item for item in different.values() if not item["apiVersion"].startswith("cert-manager.io/")]
    assert len(own) > 20
    for item in own:
        kubernetes_validate.validate(item, version, strict=True)


def test_a_field_that_the_api_does_not_know_is_noticed() -> None:
    item = next(item for item in objects("tier-1") if item["kind"] == "DaemonSet")
    item["spec"]["template"]["spec"]["hostNetwrok"] = True
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(item, OLDEST, strict=True)


# -- what each tier may do ---------------------------------------------------------------------------------------------


def beyond_restricted(pod: Object) -> set[str]:
    """What of a pod the restricted Pod Security Standard forbids (kubernetes.io, Pod Security Standards)."""
    found = {name for name in ("hostNetwork", "hostPID", "hostIPC") if pod.get(name)}
    allowed = {
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    }
    for volume in pod.get("volumes", []):
        kinds = set(volume) - {"name"}
        found |= {f"hostPath {volume['hostPath']['path']}" for kind in kinds if kind == "hostPath"}
        assert kinds <= {*allowed, "hostPath"}
    for container in [*pod["containers"], *pod.get("initContainers", [])]:
        context = {**pod.get("securityContext", {}), **container.get("securityContext", {})}
        if context.get("privileged"):
            found.add("privileged")
        if context.get("allowPrivilegeEscalation") is not False:
            found.add("escalation")
        if not context.get("runAsNonRoot") or context.get("runAsUser") == 0:
            found.add(f"root in {container['name']}")
        if context.get("seccompProfile", {}).get("type") not in {"RuntimeDefault", "Localhost"}:
            found.add("seccomp")
        capabilities = context.get("capabilities", {})
        if capabilities.get("drop") != ["ALL"]:
            found.add("capabilities kept")
        found |= {
            f"{name} in {container['name']}" for name in capabilities.get("add", []) if name != "NET_BIND_SERVICE"
        }
        found |= {"host port" for port in container.get("ports", []) if port.get("hostPort")}
        assert context.get("readOnlyRootFilesystem") is True
    return found


TIER_1 = {"hostPath /proc", "hostPath /sys"}
TIER_2 = TIER_1 | {"hostNetwork"}
TIER_3 = TIER_2 | {"hostPath /sys/kernel/tracing", "root in sensor", "BPF in sensor", "PERFMON in sensor"}
BEYOND = {"tier-0": set[str](), "tier-1": TIER_1, "tier-2": TIER_2, "tier-3": TIER_3}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_tier_has_no_more_than_its_own(overlay: str) -> None:
    expected = BEYOND[overlay[: len("tier-0")]]
    found = pods(overlay)
    aggregator = beyond_restricted(found.pop("nodetell-aggregator"))
    assert aggregator == ({"hostNetwork"} if "hostNetwork" in expected else set())
    assert found
    for pod in found.values():
        assert beyond_restricted(pod) == expected
    (namespace,) = (item for item in objects(overlay) if item["kind"] == "Namespace")
    level = namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
    assert level == ("privileged" if expected else "restricted")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_nothing_listens_on_a_host_but_the_aggregator_where_it_is_reached_over_the_underlay(overlay: str) -> None:
    for name, pod in pods(overlay).items():
        ports = [port["containerPort"] for container in pod["containers"] for port in container.get("ports", [])]
        if pod.get("hostNetwork"):
            assert ports == ([7443] if name == "nodetell-aggregator" else [])
            assert pod["dnsPolicy"] == "ClusterFirstWithHostNet"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_agents_in_the_hosts_network_reach_the_aggregator_without_crossing_the_overlay(overlay: str) -> None:
    found = pods(overlay)
    (service,) = (item["spec"] for item in objects(overlay) if item["kind"] == "Service")
    in_host = {bool(pod.get("hostNetwork")) for pod in found.values()}
    assert len(in_host) == 1  # all of them or none
    assert (service.get("clusterIP") == "None") is in_host.pop()
    policies = {item["metadata"]["name"] for item in objects(overlay) if item["kind"] == "NetworkPolicy"}
    assert policies == (
        set() if found["nodetell-agent"].get("hostNetwork") else {"nodetell-agent", "nodetell-aggregator"}
    )


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_container_is_probed_by_its_sign_of_life_and_nothing_has_to_listen_for_that(overlay: str) -> None:
    for container in (each for pod in pods(overlay).values() for each in pod["containers"]):
        (role,) = container["args"]
        settings = {each["name"]: each.get("value") for each in container["env"]}
        file = Path(settings[f"NODETELL_{role.upper()}_ALIVE_FILE"])
        assert [each["name"] for each in container["volumeMounts"] if each["mountPath"] == str(file.parent)] == ["run"]
        probes = {
            name: container[name] for name in ("startupProbe", "readinessProbe", "livenessProbe") if name in container
        }
        assert set(probes) - {"readinessProbe"} == {"startupProbe", "livenessProbe"}
        assert ("readinessProbe" in probes) is (role == "aggregator")
        for name, probe in probes.items():
            python, how, program, path, seconds, *state = probe["exec"]["command"]
            assert (python, how, path) == (f"/{INTERPRETER}", "-IS", str(file))
            assert (ROOT / "proto" / Path(program).relative_to(f"/{APPLICATION}")).is_file()
            assert float(seconds) >= 10 * alive.BEAT_S
            assert state == (["ready"] if name == "readinessProbe" else [])
            assert probe["timeoutSeconds"] >= 10


# -- what has to fit together ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_variable_is_a_setting(overlay: str) -> None:
    for pod in pods(overlay).values():
        for container in pod["containers"]:
            (role,) = container["args"]
            known = {setting.variable(f"NODETELL_{role.upper()}_") for setting in settings_of(SETTINGS[role])}
            assert {variable["name"] for variable in container["env"]} <= known


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_is_mounted_is_there_and_what_is_there_is_mounted(overlay: str) -> None:
    for pod in pods(overlay).values():
        volumes = {volume["name"] for volume in pod["volumes"]}
        mounted = {mount["name"] for container in pod["containers"] for mount in container["volumeMounts"]}
        assert mounted == volumes
        for container in pod["containers"]:
            paths = [mount["mountPath"] for mount in container["volumeMounts"]]
            assert len(set(paths)) == len(paths)
            host = {volume["name"] for volume in pod["volumes"] if "hostPath" in volume}
            assert all(mount.get("readOnly") for mount in container["volumeMounts"] if mount["name"] in host)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_pod_is_selected_by_its_own_and_by_no_other(overlay: str) -> None:
    selectors = {item["metadata"]["name"]: item["spec"]["selector"]["matchLabels"] for item in workloads(overlay)}
    for item in workloads(overlay):
        labels = item["spec"]["template"]["metadata"]["labels"].items()
        assert [name for name, wanted in selectors.items() if wanted.items() <= labels] == [item["metadata"]["name"]]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_is_named_is_made(overlay: str) -> None:
    made = {(item["kind"], item["metadata"]["name"]) for item in objects(overlay)}
    for pod in pods(overlay).values():
        assert ("ServiceAccount", pod["serviceAccountName"]) in made
        assert ("PriorityClass", pod["priorityClassName"]) in made


def test_each_node_has_one_agent_where_the_control_plane_has_its_own() -> None:
    """One set asks for the label that keeps the other one away."""
    found = pods("tier-2-control-plane")
    label = "node-role.kubernetes.io/control-plane"
    terms = {
        name: pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
        for name, pod in found.items()
        if "affinity" in pod
    }
    assert [len(each) for each in terms.values()] == [1, 1]
    away, here = {"key": label, "operator": "DoesNotExist"}, {"key": label, "operator": "Exists"}
    everywhere, on_control_planes = terms["nodetell-agent"][0], terms["nodetell-agent-control-plane"][0]
    assert (away in everywhere["matchExpressions"], here in everywhere["matchExpressions"]) == (True, False)
    assert (away in on_control_planes["matchExpressions"], here in on_control_planes["matchExpressions"]) == (
        False,
        True,
    )
    # Not by its value, which kubeadm leaves empty and k3s does not.
    assert not any(label in pod.get("nodeSelector", {}) for pod in found.values())


def test_agent_and_sensor_share_the_socket_and_nothing_else_that_can_be_written() -> None:
    (pod,) = (pod for name, pod in pods("tier-3").items() if name == "nodetell-agent")
    writable = {
        container["name"]: {each["name"] for each in container["volumeMounts"] if not each.get("readOnly")}
        for container in pod["containers"]
    }
    assert writable == {"agent": {"run"}, "sensor": {"run", "scratch"}}
    where = {
        each["mountPath"]
        for container in pod["containers"]
        for each in container["volumeMounts"]
        if each["name"] == "run"
    }
    assert where == {str(Path(SensorSettings().socket).parent)}
    (sensor,) = (container for container in pod["containers"] if container["name"] == "sensor")
    assert sensor["securityContext"]["runAsGroup"] == pod["securityContext"]["runAsUser"] == SensorSettings().agent_uid
