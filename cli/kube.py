"""The cluster's objects for an evidence bundle, as `kubectl get RESOURCE -A -o json` would print them.

lightkube finds the credentials; the lists are then fetched page by page and written as they come, without being turned
into objects. What may not be read is said, with the rule that would allow it, and the rest is fetched.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import httpx2
import msgspec
import yaml  # type: ignore[import-untyped]  # only its error class is used
from lightkube.config.client_adapter import Client, ConnectionParams
from lightkube.config.kubeconfig import SERVICE_ACCOUNT, KubeConfig, SingleConfig
from lightkube.config.models import User
from lightkube.core.exceptions import ConfigError

PAGE = 500
TIMEOUT_S = 30.0
_METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_SECRET_KEYS = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp", "deletionTimestamp")
"""Of a secret's metadata, what is kept: an annotation may hold its data (kubectl apply leaves it there)."""

Say = Callable[[str], None]


class KubeError(Exception):
    """The API server cannot be used at all: why, one line."""


class _NotReadError(Exception):
    """One resource could not be read: why, one line."""


@dataclass(frozen=True, slots=True)
class Resource:
    """A list to fetch. Of several API versions the first one that the server has is taken."""

    name: str
    group: str
    versions: tuple[str, ...] = ("v1",)

    def paths(self) -> Iterator[str]:
        """Where it may be."""
        for version in self.versions:
            yield f"/apis/{self.group}/{version}/{self.name}" if self.group else f"/api/{version}/{self.name}"

    @property
    def rule(self) -> str:
        """The RBAC rule that allows it."""
        return f'apiGroups: ["{self.group}"], resources: ["{self.name}"], verbs: ["list"]'


_DRA = ("v1", "v1beta2", "v1beta1")
RESOURCES: tuple[Resource, ...] = (
    *(Resource(name, "") for name in ("nodes", "pods", "events", "persistentvolumes", "persistentvolumeclaims")),
    *(Resource(name, "") for name in ("resourcequotas", "services", "serviceaccounts")),
    *(Resource(name, "storage.k8s.io") for name in ("storageclasses", "volumeattachments", "csinodes")),
    Resource("leases", "coordination.k8s.io"),
    Resource("poddisruptionbudgets", "policy"),
    *(Resource(name, "apps") for name in ("replicasets", "statefulsets", "deployments", "daemonsets")),
    Resource("jobs", "batch"),
    Resource("endpointslices", "discovery.k8s.io"),
    *(Resource(name, "resource.k8s.io", _DRA) for name in ("resourceslices", "resourceclaims")),
)
"""What the evidence bundle has a file for."""


def configuration(kubeconfig: str | None, env: Mapping[str, str], home: Path) -> SingleConfig | None:
    """The credentials that are at hand, in kubectl's order: a file that is named, $KUBECONFIG, ~/.kube/config, then the
    pod's service account. None: there are none. Raises KubeError if those that were found cannot be used."""
    named = [kubeconfig] if kubeconfig else [part for part in env.get("KUBECONFIG", "").split(os.pathsep) if part]
    path = next((Path(each) for each in named if Path(each).is_file()), Path(named[0]) if named else None)
    if path is None and (home / ".kube/config").is_file():
        path = home / ".kube/config"
    try:
        if path is not None:
            return _usable(KubeConfig.from_file(path).get())
        if env.get("KUBERNETES_SERVICE_HOST") and Path(SERVICE_ACCOUNT, "token").is_file():
            return _usable(KubeConfig.from_service_account().get())
    except (ConfigError, yaml.YAMLError, msgspec.ValidationError, OSError, LookupError, TypeError, ValueError) as error:
        raise KubeError(f"{path or SERVICE_ACCOUNT}: cannot be used: {_line(error)}") from error
    except AttributeError as error:  # a file that is no mapping
        raise KubeError(f"{path}: is no kubeconfig") from error
    return None


def _usable(config: SingleConfig | None) -> SingleConfig | None:
    return config._replace(user=User()) if config is not None and config.user is None else config


@contextmanager
def connect(config: SingleConfig) -> Iterator[httpx2.Client]:
    """An HTTP client with these credentials. Raises KubeError."""
    try:
        client = Client(config, ConnectionParams(timeout=httpx2.Timeout(TIMEOUT_S)))
    except (ConfigError, OSError, ValueError, TypeError) as error:
        raise KubeError(f"{config.cluster.server}: {_line(error)}") from error
    with client:
        yield client


def collect_objects(client: httpx2.Client, target: Path, say: Say) -> None:
    """Write a file for each resource into `target`, and say what could not be read. Raises KubeError, OSError."""
    for resource in RESOURCES:
        path = target / f"{resource.name}.json"
        _attempt(resource.name, say, path, partial(_write_list, client, resource, path))
    secrets = Resource("secrets", "")
    path = target / "secret-metadata.json"
    _attempt("secrets (names and times only)", say, path, partial(_write_list, client, secrets, path))


def collect_metrics(client: httpx2.Client, target: Path, say: Say) -> None:
    """Write the API server's own metrics into `target`. Raises KubeError, OSError."""
    path = target / "apiserver.metrics"
    _attempt("metrics of the API server", say, path, partial(_write_metrics, client, path))


def _attempt(what: str, say: Say, path: Path, write: Callable[[], None]) -> None:
    try:
        write()
    except _NotReadError as error:
        path.unlink(missing_ok=True)
        say(f"{what}: {error}")


def _write_list(client: httpx2.Client, resource: Resource, path: Path) -> None:
    for number, url in enumerate(resource.paths(), 1):
        try:
            with path.open("w", encoding="utf-8") as file:
                _write_pages(client, resource, url, file)
        except _MissingError:
            if number == len(resource.versions):
                raise _NotReadError("this cluster does not have it") from None
        else:
            return


class _MissingError(Exception):
    """404: the server has no such resource in this version."""


class _ExpiredError(Exception):
    """410: the continue token is too old."""


def _write_pages(client: httpx2.Client, resource: Resource, url: str, file: TextIO) -> None:
    """All pages as one v1 List. A list that expires on the way is begun again, once, and then without pages."""
    try:
        _write_items(_pages(client, resource, url, PAGE), resource, file)
    except _ExpiredError:
        file.seek(0)
        file.truncate()
        try:
            _write_items(_pages(client, resource, url, None), resource, file)
        except _ExpiredError:
            raise _NotReadError("the list expired twice while it was being read") from None


def _pages(client: httpx2.Client, resource: Resource, url: str, limit: int | None) -> Iterator[dict[str, Any]]:
    parameters: dict[str, str] = {} if limit is None else {"limit": str(limit)}
    accept = _METADATA_ONLY if resource.name == "secrets" else "application/json"
    while True:
        page = _json(_get(client, url, resource.rule, parameters, accept))
        yield page
        token = page["metadata"].get("continue") if isinstance(page.get("metadata"), dict) else None
        if not token:
            return
        parameters["continue"] = str(token)


def _write_items(pages: Iterator[dict[str, Any]], resource: Resource, file: TextIO) -> None:
    secrets = resource.name == "secrets"
    kind = "PartialObjectMetadataList" if secrets else "List"
    version = "meta.k8s.io/v1" if secrets else "v1"
    comma = ""
    file.write(f'{{"apiVersion":"{version}","kind":"{kind}","metadata":{{"resourceVersion":""}},"items":[')
    for page in pages:
        if secrets and page.get("kind") != "PartialObjectMetadataList":
            raise _NotReadError("the server does not serve metadata alone; their contents are not taken")
        items = page.get("items") or []
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise _NotReadError("the answer is no list of objects")
        for item in items:
            shown = _secret(item) if secrets else _as_kubectl(item, page)
            file.write(comma + json.dumps(shown, ensure_ascii=False, separators=(",", ":")))
            comma = ",\n"
    file.write("]}\n")


def _as_kubectl(item: dict[str, Any], page: Mapping[str, Any]) -> dict[str, Any]:
    """The item with its own apiVersion and kind, without managedFields."""
    kind = str(page.get("kind", "")).removesuffix("List")
    if isinstance(item.get("metadata"), dict):
        item["metadata"].pop("managedFields", None)
    return {"apiVersion": page.get("apiVersion", "v1"), "kind": kind} | item


def _secret(item: Mapping[str, Any]) -> dict[str, Any]:
    metadata = item.get("metadata") or {}
    kept = {key: metadata[key] for key in _SECRET_KEYS if key in metadata}
    kept["managedFields"] = [
        {key: entry[key] for key in ("manager", "operation", "time") if key in entry}
        for entry in metadata.get("managedFields") or []
    ]
    return {"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": kept}


def _write_metrics(client: httpx2.Client, path: Path) -> None:
    try:
        answer = _get(client, "/metrics", 'nonResourceURLs: ["/metrics"], verbs: ["get"]', {}, "text/plain")
    except (_MissingError, _ExpiredError):
        raise _NotReadError("the server has none") from None
    path.write_bytes(answer.content)


def _get(client: httpx2.Client, url: str, rule: str, parameters: dict[str, str], accept: str) -> httpx2.Response:
    try:
        answer = client.get(url, params=parameters, headers={"Accept": accept})
    except httpx2.TimeoutException:
        raise _NotReadError(f"no answer in {TIMEOUT_S:g} s") from None
    except (httpx2.HTTPError, ConfigError, OSError, ValueError, LookupError) as error:  # the latter: a plug-in's token
        raise KubeError(f"{client.base_url}: {_line(error)}") from error
    if answer.status_code == 200:
        return answer
    if answer.status_code == 404:
        raise _MissingError
    if answer.status_code == 410:
        raise _ExpiredError
    if answer.status_code == 401:
        raise KubeError(f"{client.base_url}: the API server does not accept these credentials (401)")
    if answer.status_code == 403:
        raise _NotReadError(f"denied; this rule allows it: {rule}")
    raise _NotReadError(f"HTTP {answer.status_code}: {_message(answer)}")


def _json(answer: httpx2.Response) -> dict[str, Any]:
    try:
        document = json.loads(answer.content)
    except ValueError as error:
        raise _NotReadError(f"the answer is no JSON: {_line(error)}") from error
    if not isinstance(document, dict):
        raise _NotReadError("the answer is no JSON object")
    return document


def _message(answer: httpx2.Response) -> str:
    """The message of a v1 Status, or the beginning of whatever else came."""
    try:
        text = str(json.loads(answer.content)["message"])
    except (ValueError, LookupError, TypeError):
        text = answer.text
    return " ".join(text.split())[:200]


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
