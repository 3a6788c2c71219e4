"""`nodetell install`: the overlay asked for, with what was chosen in its places and nothing else changed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # its types do not come with it
from hypothesis import given
from hypothesis import strategies as st

from cli.exits import OK, USAGE
from cli.install.command import next_steps
from cli.install.objects import Choice, ChoiceError, chosen, overlay, rendered
from cli.main import main

Object = dict[str, Any]


def by_kind(items: Iterable[Object], kind: str) -> list[Object]:
    return [item for item in items if item["kind"] == kind]


def pods(items: Iterable[Object]) -> list[Object]:
    return [item["spec"]["template"]["spec"] for item in items if item["kind"] in {"DaemonSet", "Deployment"}]


def texts(value: object) -> list[str]:
    """All texts in an object, keys as well."""
    if isinstance(value, dict):
        return [text for key, each in value.items() for text in (key, *texts(each))]
    if isinstance(value, list):
        return [text for each in value for text in texts(each)]
    return [value] if isinstance(value, str) else []


CHOICES = [
    Choice(tier=tier, control_plane=control_plane, cert_manager=cert_manager)
    for tier in range(4)
    for control_plane in ((False, True) if tier >= 2 else (False,))
    for cert_manager in (False, True)
]
WITH_PARTS = [*CHOICES, Choice(tier=1, http=True), Choice(http=True, objects=True, prometheus=True)]


@pytest.mark.parametrize("choice", CHOICES, ids=overlay)
def test_without_options_it_is_what_was_rendered_but_for_the_image(choice: Choice) -> None:
    items, before = chosen(choice, "1.2.3"), rendered(overlay(choice))
    for pod in pods(before):
        for container in pod["containers"]:
            assert container["image"] == "nodetell:dev"
            container["image"] = "nodetell:1.2.3"
    assert items == before


@pytest.mark.parametrize("choice", WITH_PARTS)
def test_in_another_namespace_nothing_is_left_in_ours(choice: Choice) -> None:
    items = chosen(replace(choice, namespace="ops"), "1.2.3")
    assert {item["metadata"].get("namespace") for item in items} <= {None, "ops", "kube-system", "kube-node-lease"}
    assert [item["metadata"]["name"] for item in by_kind(items, "Namespace")] == ["ops"]
    for text in texts(items):
        assert not re.search(r"(^|[/.:])nodetell($|[/.])|system:serviceaccount:nodetell", text) or text in {
            "nodetell",  # a label's value, a container's audience
            *(f"/{place}" for place in ("var/lib/nodetell", "run/nodetell")),
            *(f"/run/nodetell/{role}.alive" for role in ("aggregator", "agent", "sensor")),
            "/opt/nodetell/nodetell/alive_check.py",
            *("/etc/nodetell/ca", "/etc/nodetell/tls", "/etc/nodetell/ca/ca.crt"),
            *("/etc/nodetell/tls/tls.crt", "/etc/nodetell/tls/tls.key"),
            *("/var/run/secrets/nodetell", "/var/run/secrets/nodetell/token", "nodetell.dev/nodes", "nodetell.dev"),
            "nodetell:1.2.3",
        }, text
    subjects = [subject for item in items for subject in item.get("subjects", ())]
    assert subjects
    assert {subject["namespace"] for subject in subjects} == {"ops"}


@pytest.mark.parametrize("choice", WITH_PARTS)
def test_two_installations_share_nothing_but_kinds(choice: Choice) -> None:
    def names(items: list[Object]) -> set[tuple[str, str, str]]:
        return {(item["kind"], item["metadata"].get("namespace", ""), item["metadata"]["name"]) for item in items}

    assert not names(chosen(choice, "1")) & names(chosen(replace(choice, namespace="ops"), "1"))


@pytest.mark.parametrize("choice", WITH_PARTS)
def test_roles_are_bound_and_classes_are_there_whatever_the_namespace(choice: Choice) -> None:
    items = chosen(replace(choice, namespace="ops"), "1")
    made = {(item["kind"], item["metadata"]["name"]) for item in items}
    for item in items:
        if "roleRef" in item:
            assert (item["roleRef"]["kind"], item["roleRef"]["name"]) in made
    for pod in pods(items):
        assert ("PriorityClass", pod["priorityClassName"]) in made
        assert ("ServiceAccount", pod["serviceAccountName"]) in made


def test_what_is_chosen_is_in_its_place() -> None:
    choice = Choice(
        *(2, False, True),
        image="registry.example.org/tools/nodetell@sha256:" + 64 * "0",
        pull_secret="registry",  # noqa: S106  # a name
        cluster="prod-a",
        storage_class="fast",
        storage="10Gi",
    )
    items = chosen(choice, "1")
    for pod in pods(items):
        assert pod["imagePullSecrets"] == [{"name": "registry"}]
        assert {container["image"] for container in pod["containers"]} == {choice.image}
    (claim,) = by_kind(items, "PersistentVolumeClaim")
    assert claim["spec"]["storageClassName"] == "fast"
    assert claim["spec"]["resources"]["requests"] == {"storage": "10Gi"}
    (aggregator,) = by_kind(items, "Deployment")
    environment = aggregator["spec"]["template"]["spec"]["containers"][0]["env"]
    assert [each["value"] for each in environment if each["name"] == "NODETELL_AGGREGATOR_CLUSTER"] == ["prod-a"]


def test_without_a_volume() -> None:
    items = chosen(Choice(ephemeral=True), "1")
    assert by_kind(items, "PersistentVolumeClaim") == []
    (aggregator,) = by_kind(items, "Deployment")
    (state,) = (each for each in aggregator["spec"]["template"]["spec"]["volumes"] if each["name"] == "state")
    assert state == {"name": "state", "emptyDir": {"sizeLimit": "3Gi"}}


@pytest.mark.parametrize(
    ("choice", "because"),
    [
        (Choice(tier=1, control_plane=True), "--control-plane needs tier 2 or 3"),
        (Choice(namespace="No"), '--namespace: "No" is not a name of a namespace'),
        (Choice(image="a b"), '--image: "a b" is not a name of an image'),
        (Choice(nodes=5_001), "--nodes: 5,001 is not a number from 1 to 5,000"),
        (Choice(nodes=-1), "--nodes: -1 is not a number"),
        (Choice(storage="much"), '--storage: "much" is not an amount'),
        (Choice(storage="0Gi"), '--storage: "0Gi" is not an amount'),
        (Choice(storage_class="-x"), '--storage-class: "-x" is not a name of a StorageClass'),
        (Choice(ephemeral=True, storage="1Gi"), "--ephemeral is without a volume"),
    ],
)
def test_what_cannot_be_had(choice: Choice, because: str) -> None:
    with pytest.raises(ChoiceError, match=re.escape(because)):
        chosen(choice, "1")


@given(st.text(max_size=80))
def test_no_name_gets_anything_else_into_the_manifest(name: str) -> None:
    try:
        items = chosen(Choice(namespace=name), "1")
    except ChoiceError:
        return
    assert [item["metadata"]["name"] for item in by_kind(items, "Namespace")] == [name]


def test_the_command_prints_yaml_that_is_the_same_as_its_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["install", "--tier", "3", "--namespace", "ops"]) == OK
    printed = list(yaml.safe_load_all(capsys.readouterr().out))
    assert main(["install", "--tier", "3", "--namespace", "ops", "--format", "json"]) == OK
    listed = json.loads(capsys.readouterr().out)
    assert listed["kind"] == "List"
    assert listed["items"] == printed
    assert len(printed) > 10


def test_a_choice_that_cannot_be_had_is_a_wrong_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["install", "--tier", "0", "--control-plane"]) == USAGE
    assert "needs tier 2 or 3" in capsys.readouterr().err


@pytest.mark.parametrize("cert_manager", [False, True])
def test_what_is_left_to_do_names_what_the_pods_wait_for(cert_manager: bool) -> None:
    choice = Choice(cert_manager=cert_manager, namespace="ops")
    steps = next_steps(choice)
    waited = {
        volume.get("secret", {}).get("secretName") or volume.get("configMap", {}).get("name")
        for pod in pods(chosen(choice, "1"))
        for volume in pod["volumes"]
    } - {None}
    made = {item["spec"]["secretName"] for item in by_kind(chosen(choice, "1"), "Certificate")}
    for name in waited:
        assert f" {name} " in steps or name in made - {"nodetell-ca"}
    assert "-n ops" in steps
