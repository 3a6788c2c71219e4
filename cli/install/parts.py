"""What can be had beside an overlay: the opt-in components of manifests/, put in their places as kustomize puts them.

Objects of their own come rendered (components/, `make manifests`), so that each is written once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import resources
from typing import Any

import yaml  # type: ignore[import-untyped]  # its types do not come with it

Object = dict[str, Any]
HTTP_PORT = 7444


def part(name: str) -> list[Object]:
    """The objects that a component adds."""
    text = resources.files("cli.install").joinpath("components", f"{name}.yaml").read_text("utf-8")
    return list(yaml.safe_load_all(text))


def with_http(items: list[Object]) -> list[Object]:
    """The page and the HTTP API, and what operators reach them with (manifests/components/http)."""
    container = _of(items, "Deployment")["spec"]["template"]["spec"]["containers"][0]
    container["env"].append({"name": "NODETELL_AGGREGATOR_HTTP_LISTEN", "value": f"0.0.0.0:{HTTP_PORT}"})
    container["ports"].append({"name": "http", "containerPort": HTTP_PORT})
    _of(items, "Service")["spec"]["ports"].append({"name": "http", "port": HTTP_PORT, "targetPort": "http"})
    for item in items:
        if (item["kind"], item["metadata"]["name"]) == ("NetworkPolicy", "nodetell-aggregator"):
            item["spec"]["ingress"].append({"ports": [{"protocol": "TCP", "port": "http"}]})
    return [*items, *part("http")]


PARTS: Mapping[str, Callable[[list[Object]], list[Object]]] = {"http": with_http}
"""By the name of the component."""


def _of(items: list[Object], kind: str) -> Object:
    """The aggregator's object of a kind that only it has."""
    (found,) = (item for item in items if item["kind"] == kind)
    return found
