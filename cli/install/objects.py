"""What is installed, as objects: an overlay as kustomize rendered it, with what the operator chose put in its places.

Each choice changes named places of named objects, and says so where one of them is not there: nothing is replaced by
searching through text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from typing import Any

import yaml  # type: ignore[import-untyped]  # its types do not come with it

from cli.install.parts import PARTS
from cli.install.sizing import MOST, size_for

Object = dict[str, Any]
NAMESPACE = "nodetell"
ACCOUNT = "NODETELL_AGGREGATOR_ACCESS_AGENT_SERVICE_ACCOUNT"
STATE = "state"
"""The volume of the aggregator's state."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What an operator asks for."""

    tier: int = 2
    """0 to 3 (docs/privileges.md)."""
    control_plane: bool = False
    """Agents of their own for the nodes of the control plane; tiers 2 and 3."""
    cert_manager: bool = False
    namespace: str = NAMESPACE
    image: str = ""
    """Empty: nodetell:VERSION."""
    pull_secret: str = ""
    """Name of a Secret in the namespace; empty: none."""
    cluster: str = ""
    """Name of the cluster, for reports; empty: the setting's default."""
    storage_class: str = ""
    """Empty: the cluster's default."""
    storage: str = ""
    """Size of the volume, as Kubernetes writes amounts; empty: as rendered."""
    nodes: int = 0
    """How many the cluster has; 0: as rendered, for the smallest size."""
    http: bool = False
    """The page and the HTTP API, and what `kubectl nodetell` needs."""
    objects: bool = False
    """Events and conditions of nodes, and the right to write them."""
    prometheus: bool = False
    """Metrics of both roles, open to whoever reaches their ports."""
    ephemeral: bool = False
    """No volume: what is known ends with the aggregator's pod."""


class ChoiceError(Exception):
    """It can't be had like that; one line."""


def overlay(choice: Choice) -> str:
    """Name of the overlay that a choice begins with. Raises ChoiceError."""
    if choice.control_plane and choice.tier < 2:
        because = f"etcd is asked on the host's loopback, and tier {choice.tier} is not there"
        raise ChoiceError(f"--control-plane needs tier 2 or 3: {because}")
    suffix = "-control-plane" if choice.control_plane else ""
    return f"tier-{choice.tier}{suffix}{'-cert-manager' if choice.cert_manager else ''}"


def rendered(name: str) -> list[Object]:
    """The objects of an overlay."""
    text = resources.files("cli.install").joinpath("rendered", f"{name}.yaml").read_text("utf-8")
    return list(yaml.load_all(text, Loader=_LOADER))  # both are safe loaders


_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""That of libyaml, ten times as fast, where PyYAML was built with it."""


def chosen(choice: Choice, version: str) -> list[Object]:
    """All objects, in the order to apply them. Raises ChoiceError."""
    _check(choice)
    items = rendered(overlay(choice))
    for name in (name for name in PARTS if getattr(choice, name)):
        items = PARTS[name](items)
    if choice.ephemeral:
        items = [item for item in items if item["kind"] != "PersistentVolumeClaim"]
        _aggregator(items)["volumes"] = [_without_claim(each) for each in _aggregator(items)["volumes"]]
    for claim in (item["spec"] for item in items if item["kind"] == "PersistentVolumeClaim"):
        if choice.storage_class:
            claim["storageClassName"] = choice.storage_class
        if choice.storage:
            claim["resources"]["requests"]["storage"] = choice.storage
    for pod in _pods(items):
        for container in pod["containers"]:
            container["image"] = choice.image or f"nodetell:{version}"
        if choice.pull_secret:
            pod["imagePullSecrets"] = [{"name": choice.pull_secret}]
    if choice.nodes:
        _aggregator(items)["containers"][0]["resources"] = size_for(choice.nodes).resources
    if choice.cluster:
        _set_variable(_aggregator(items)["containers"][0], "NODETELL_AGGREGATOR_CLUSTER", choice.cluster)
    if choice.namespace != NAMESPACE:
        _move(items, choice.namespace)
    return items


_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_DNS_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._\-/:]*(@sha256:[0-9a-f]{64})?")
_AMOUNT = re.compile(r"[1-9][0-9]*(\.[0-9]+)?(Ki|Mi|Gi|Ti|k|M|G|T)?")


def _check(choice: Choice) -> None:
    for name, value, form, what in (
        ("--namespace", choice.namespace, _DNS_LABEL, "a name of a namespace"),
        ("--image", choice.image, _IMAGE, "a name of an image"),
        ("--pull-secret", choice.pull_secret, _DNS_NAME, "a name of a Secret"),
        ("--storage-class", choice.storage_class, _DNS_NAME, "a name of a StorageClass"),
        ("--storage", choice.storage, _AMOUNT, 'an amount like "10Gi"'),
    ):
        if value and form.fullmatch(value) is None:
            raise ChoiceError(f'{name}: "{value}" is not {what}')
    if not 0 <= choice.nodes <= MOST:
        raise ChoiceError(
            f"--nodes: {choice.nodes:,} is not a number from 1 to {MOST:,}, which is as far as was measured"
        )
    if choice.ephemeral and (choice.storage or choice.storage_class):
        raise ChoiceError("--ephemeral is without a volume: --storage and --storage-class have nothing to say")


def _pods(items: list[Object]) -> Iterator[Object]:
    return (item["spec"]["template"]["spec"] for item in items if item["kind"] in {"DaemonSet", "Deployment"})


def _aggregator(items: list[Object]) -> Object:
    (found,) = (item["spec"]["template"]["spec"] for item in items if item["kind"] == "Deployment")
    return found  # type: ignore[no-any-return]  # YAML


def _without_claim(volume: Object) -> Object:
    return {"name": STATE, "emptyDir": {"sizeLimit": "3Gi"}} if volume["name"] == STATE else volume


def _set_variable(container: Object, name: str, value: str) -> None:
    others = [each for each in container["env"] if each["name"] != name]
    container["env"] = [*others, {"name": name, "value": value}]


def _move(items: list[Object], namespace: str) -> None:
    """Into another namespace: whatever is in ours, and whoever names it. Roles of kube-system stay there."""
    for item in items:
        about = item["metadata"]
        if (item["kind"], about["name"]) == ("Namespace", NAMESPACE):
            about["name"] = namespace
        for place in (about, *item.get("subjects", ())):
            if place.get("namespace") == NAMESPACE:
                place["namespace"] = namespace
        # What is not in our namespace must not be another installation's.
        if about.get("namespace") != namespace and item["kind"] != "Namespace":
            about["name"] = _of(namespace, about["name"])
        if "roleRef" in item:
            item["roleRef"]["name"] = _of(namespace, item["roleRef"]["name"])
        if "dnsNames" in item.get("spec", {}):
            names = item["spec"]["dnsNames"]
            item["spec"]["dnsNames"] = [re.sub(rf"\.{NAMESPACE}(?=\.|$)", f".{namespace}", name) for name in names]
    (account,) = (each for each in _aggregator(items)["containers"][0]["env"] if each["name"] == ACCOUNT)
    account["value"] = f"{namespace}/{account['value'].partition('/')[2]}"
    for pod in _pods(items):
        pod["priorityClassName"] = _of(namespace, pod["priorityClassName"])


def _of(namespace: str, name: str) -> str:
    """A name that no installation in another namespace has: "nodetell-viewer" of "ops" is "nodetell-ops-viewer"."""
    return re.sub(rf"^{NAMESPACE}-", f"{NAMESPACE}-{namespace}-", name)
