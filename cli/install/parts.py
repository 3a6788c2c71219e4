"""What can be had beside an overlay: the opt-in components of manifests/, put in their places as kustomize puts them.

Objects of their own come rendered (components/, `make manifests`), so that each is written once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib import resources
from typing import Any

import yaml  # type: ignore[import-untyped]  # its types do not come with it

Object = dict[str, Any]
HTTP_PORT, AGENT_METRICS, AGGREGATOR_METRICS = 7444, 9101, 9102


def part(name: str) -> list[Object]:
    """The objects that a component adds."""
    text = resources.files("cli.install").joinpath("components", f"{name}.yaml").read_text("utf-8")
    return list(yaml.safe_load_all(text))


def with_http(items: list[Object]) -> list[Object]:
    """The page and the HTTP API, and what operators reach them with (manifests/components/http)."""
    for pod in _pods(items, "Deployment"):
        _set(pod, NODETELL_AGGREGATOR_HTTP_LISTEN=f"0.0.0.0:{HTTP_PORT}")
    _open(items, "http", HTTP_PORT)
    return [*items, *part("http")]


def with_objects(items: list[Object]) -> list[Object]:
    """Events and conditions of nodes, and the right to write them (manifests/components/objects)."""
    for pod in _pods(items, "Deployment"):
        _set(pod, NODETELL_AGGREGATOR_OBJECTS_EVENTS="true", NODETELL_AGGREGATOR_OBJECTS_NODE_CONDITIONS="true")
    return [*items, *part("objects")]


def with_prometheus(items: list[Object]) -> list[Object]:
    """Metrics of both roles, for whoever comes and asks (manifests/components/prometheus)."""
    listen = f"0.0.0.0:{AGGREGATOR_METRICS}"
    for pod in _pods(items, "Deployment"):
        _set(pod, NODETELL_AGGREGATOR_PROMETHEUS_LISTEN=listen, NODETELL_AGGREGATOR_PROMETHEUS_EXPOSE="true")
        _annotate(pod, AGGREGATOR_METRICS)
    _open(items, "metrics", AGGREGATOR_METRICS)
    for pod in _pods(items, "DaemonSet"):
        _set(pod, NODETELL_AGENT_PROMETHEUS_LISTEN=f"0.0.0.0:{AGENT_METRICS}", NODETELL_AGENT_PROMETHEUS_EXPOSE="true")
        _annotate(pod, AGENT_METRICS)
        pod["spec"]["containers"][0]["ports"] = [{"name": "metrics", "containerPort": AGENT_METRICS}]
    for policy in _of(items, "NetworkPolicy", "nodetell-agent"):
        policy["spec"]["ingress"] = [_from_everywhere("metrics")]
    return items


PARTS: Mapping[str, Callable[[list[Object]], list[Object]]] = {
    "http": with_http,
    "objects": with_objects,
    "prometheus": with_prometheus,
}
"""By the name of the component."""


def _of(items: list[Object], kind: str, name: str = "") -> Iterator[Object]:
    """Objects of a kind, of one name if one is given."""
    return (item for item in items if item["kind"] == kind and name in ("", item["metadata"]["name"]))


def _pods(items: list[Object], kind: str) -> Iterator[Object]:
    return (item["spec"]["template"] for item in _of(items, kind))


def _set(pod: Object, **variables: str) -> None:
    """Variables of its first container, which is the role's own."""
    pod["spec"]["containers"][0]["env"] += [{"name": name, "value": value} for name, value in variables.items()]


def _annotate(pod: Object, port: int) -> None:
    pod["metadata"]["annotations"] = {"prometheus.io/scrape": "true", "prometheus.io/port": str(port)}


def _open(items: list[Object], name: str, port: int) -> None:
    """A port of the aggregator, by its Service and for everybody."""
    for pod in _pods(items, "Deployment"):
        pod["spec"]["containers"][0]["ports"].append({"name": name, "containerPort": port})
    for service in _of(items, "Service"):
        service["spec"]["ports"].append({"name": name, "port": port, "targetPort": name})
    for policy in _of(items, "NetworkPolicy", "nodetell-aggregator"):
        policy["spec"]["ingress"].append(_from_everywhere(name))


def _from_everywhere(port: str) -> Object:
    return {"ports": [{"protocol": "TCP", "port": port}]}
