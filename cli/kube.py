"""The cluster's objects for an evidence bundle, as `kubectl get RESOURCE -A -o json` would print them.

lightkube finds the credentials; the lists are then fetched page by page and written as they come, without being turned
into objects. What may not be read is said, with the rule that would allow it, and the rest is fetched.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import httpx2
from lightkube.core.exceptions import ConfigError

from aggregator.cluster import credentials as own
from aggregator.cluster.answers import Cause, refusal
from aggregator.cluster.credentials import Credentials, KubeError
from aggregator.cluster.resources import COLLECTED, METRICS_PATH, METRICS_RULE, Resource

PAGE = 500
TIMEOUT_S = 30.0
_METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_SECRET_KEYS = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp", "deletionTimestamp")
"""Of a secret's metadata, what is kept: an annotation may hold its data (kubectl apply leaves it there)."""

Say = Callable[[str], None]


class _NotReadError(Exception):
    """One resource could not be read: why, one line."""


@contextmanager
def connect(credentials: Credentials) -> Iterator[httpx2.Client]:
    """An HTTP client with these credentials. Raises KubeError."""
    context, auth = own.tls(credentials), own.auth(credentials)
    name = credentials.tls_name

    def call_by_name(request: httpx2.Request) -> None:
        request.extensions["sni_hostname"] = name

    try:
        client = httpx2.Client(
            base_url=credentials.server,
            verify=context,
            auth=auth,
            headers=list(credentials.headers),
            proxy=credentials.proxy,
            trust_env=False,
            timeout=httpx2.Timeout(TIMEOUT_S),
            event_hooks={"request": [call_by_name]} if name else None,
        )
    except (ImportError, ValueError, TypeError, httpx2.InvalidURL) as error:
        raise KubeError(f"{credentials.server}: {own.one_line(error)}") from error
    with client:
        yield client


def collect_objects(client: httpx2.Client, target: Path, say: Say) -> None:
    """Write a file for each resource into `target`, and say what could not be read. Raises KubeError, OSError."""
    for resource in COLLECTED:
        path = target / f"{resource.plural}.json"
        _attempt(resource.plural, say, path, partial(_write_list, client, resource, path))
    secrets = Resource("secrets")
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
    accept = _METADATA_ONLY if resource.plural == "secrets" else "application/json"
    while True:
        page = _json(_get(client, url, resource.rule("list"), parameters, accept))
        yield page
        token = page["metadata"].get("continue") if isinstance(page.get("metadata"), dict) else None
        if not token:
            return
        parameters["continue"] = str(token)


def _write_items(pages: Iterator[dict[str, Any]], resource: Resource, file: TextIO) -> None:
    secrets = resource.plural == "secrets"
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
        answer = _get(client, METRICS_PATH, METRICS_RULE, {}, "text/plain")
    except (_MissingError, _ExpiredError):
        raise _NotReadError("the server has none") from None
    path.write_bytes(answer.content)


def _get(client: httpx2.Client, url: str, rule: str, parameters: dict[str, str], accept: str) -> httpx2.Response:
    try:
        answer = client.get(url, params=parameters, headers={"Accept": accept})
    except httpx2.TimeoutException:
        raise _NotReadError(f"no answer in {TIMEOUT_S:g} s") from None
    except (httpx2.HTTPError, ConfigError, OSError, ValueError, LookupError) as error:  # the latter: a plug-in's token
        raise KubeError(f"{client.base_url}: {own.one_line(error)}") from error
    if answer.status_code == 200:
        return answer
    refused = refusal(answer.status_code, answer.headers, answer.content, time.time())
    if refused.cause is Cause.ABSENT:
        raise _MissingError
    if refused.cause is Cause.EXPIRED:
        raise _ExpiredError
    if refused.cause is Cause.UNAUTHORIZED:
        raise KubeError(f"{client.base_url}: the API server does not accept these credentials (401)")
    raise _NotReadError(f"denied; this rule allows it: {rule}" if refused.cause is Cause.DENIED else str(refused))


def _json(answer: httpx2.Response) -> dict[str, Any]:
    try:
        document = json.loads(answer.content)
    except ValueError as error:
        raise _NotReadError(f"the answer is no JSON: {own.one_line(error)}") from error
    if not isinstance(document, dict):
        raise _NotReadError("the answer is no JSON object")
    return document
