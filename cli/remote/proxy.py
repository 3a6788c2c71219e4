"""The way to an aggregator's HTTP API through the API server: a token is made, and shown beside each request.

The proxy of a Service takes Authorization away before it hands a request on. So the operator's own credentials stay
with the API server, which has a token made (TokenRequest) for an account that may read findings and nothing else, of
the aggregator's own audience and good for ten minutes. It is never written anywhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx2
from lightkube.core.exceptions import ConfigError

from aggregator.cluster import credentials as own
from cli.exits import NOT_FOUND, NOT_PERMITTED, UNAVAILABLE, CliError
from cli.terminal import clean

ACCOUNT, ROLE = "nodetell-operator", "nodetell-operator"
SERVICE, PORT = "nodetell-aggregator", "http"
AUDIENCE = "nodetell"
TOKEN_S = 600
"""For how long the token is good; the API server makes none for less."""
HEADER = "X-Nodetell-Token"
QUIET_S = 60.0
"""A stream of events, in which something comes every 15 s, is dead after so long."""
MOST_BYTES = 64 << 20
"""Of one answer."""
_PROBLEM = "application/problem+json"
"""Media type in which the aggregator itself says what is wrong."""
Query = Sequence[tuple[str, str]]
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """Where an aggregator is in a cluster."""

    namespace: str = "nodetell"
    audience: str = AUDIENCE
    """Setting access.token_audience."""

    @property
    def token_path(self) -> str:
        """Where tokens are made."""
        return f"/api/v1/namespaces/{self.namespace}/serviceaccounts/{ACCOUNT}/token"

    @property
    def service(self) -> str:
        """The Service as the proxy wants it: it is reached by TLS, at a port by name."""
        return f"https:{SERVICE}:{PORT}"

    def path(self, path: str) -> str:
        """An address of the HTTP API ("nodes/worker-3"), behind the proxy."""
        return f"/api/v1/namespaces/{self.namespace}/services/{self.service}/proxy/api/v1/{quote(path)}"


class Api:
    """Asks by GET. Raises CliError, one line, for whatever goes wrong."""

    def __init__(self, client: httpx2.Client, place: Place, timeout_s: float) -> None:
        self._client, self._place, self._timeout_s = client, place, timeout_s
        self._token = ""

    def get(self, path: str, query: Query = ()) -> Json:
        """What stands at an address of the HTTP API, a JSON object."""
        return _object(self._asked(path, query), "the aggregator")

    def pages(self, path: str, name: str, query: Query = ()) -> list[Json]:
        """All of a list that comes in parts: what stands under `name`."""
        found: list[Json] = []
        cursor = ""
        while True:
            page = self.get(path, [*query, *([("cursor", cursor)] if cursor else [])])
            part, following = page.get(name), page.get("next")
            if not isinstance(part, list) or not all(isinstance(each, dict) for each in part):
                raise _odd(f"there is no list {name} in it")
            found += part
            if not following or following == cursor:
                return found
            cursor = str(following)

    def events(self, path: str) -> Iterator[tuple[str, Json]]:
        """Server-sent events, each with its name, until the server ends them; then a CliError, too."""
        self._token = self._token or self._made()
        patience = httpx2.Timeout(self._timeout_s, read=QUIET_S)
        with (
            self._caught(),
            self._client.stream(
                "GET", self._place.path(path), headers={HEADER: self._token}, timeout=patience
            ) as answer,
        ):
            if answer.status_code != httpx2.codes.OK:
                raise refused(answer.status_code, answer.headers, answer.read(), self._place)
            name = ""
            for line in answer.iter_lines():
                field, _, value = line.partition(": ")
                if field == "event":
                    name = value
                elif field == "data":
                    yield name, _parsed(value.encode(), "the aggregator")
        raise CliError(UNAVAILABLE, "the aggregator or the API server has ended the connection")

    def _asked(self, path: str, query: Query) -> httpx2.Response:
        self._token = self._token or self._made()
        answer = self._send("GET", self._place.path(path), params=list(query), headers={HEADER: self._token})
        if answer.status_code == httpx2.codes.OK:
            return answer
        raise refused(answer.status_code, answer.headers, answer.content, self._place)

    def _made(self) -> str:
        """A token. What the API server says of it is not repeated: it could be in there."""
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"audiences": [self._place.audience], "expirationSeconds": TOKEN_S},
        }
        answer = self._send("POST", self._place.token_path, json=body)
        if answer.status_code not in (200, 201):
            raise not_made(answer.status_code, answer.content, self._place)
        status = _object(answer, "the API server").get("status")
        token = status.get("token") if isinstance(status, dict) else None
        if not isinstance(token, str) or not own.is_token(token):
            raise CliError(UNAVAILABLE, f"{self._client.base_url}: made no token where one was asked for")
        return token

    def _send(self, method: str, path: str, **more: Any) -> httpx2.Response:
        with self._caught():
            return self._client.request(method, path, timeout=self._timeout_s, **more)

    @contextmanager
    def _caught(self) -> Iterator[None]:
        try:
            yield
        except httpx2.TimeoutException:
            raise CliError(UNAVAILABLE, f"API server {self._client.base_url}: no answer in time") from None
        except (
            httpx2.HTTPError,
            ConfigError,
            OSError,
            ValueError,
            LookupError,
        ) as error:  # the latter: a plug-in's token
            raise CliError(UNAVAILABLE, f"API server {self._client.base_url}: {own.one_line(error)}") from error


@contextmanager
def api(source: own.Source, env: Mapping[str, str], place: Place, timeout_s: float) -> Iterator[Api]:
    """The API of the aggregator of this cluster. Raises CliError."""
    from cli.kube import connect  # noqa: PLC0415  # it takes a moment

    try:
        with connect(own.load(source, env)) as client:
            yield Api(client, place, timeout_s)
    except own.KubeError as error:
        raise CliError(UNAVAILABLE, str(error)) from error


# -- what went wrong ---------------------------------------------------------------------------------------------------


def not_made(status: int, body: bytes, place: Place) -> CliError:
    """Why there is no token."""
    about, account = f"a token of the ServiceAccount {ACCOUNT} of namespace {place.namespace}", ACCOUNT
    if status == 401:
        return _unknown_caller()
    if status == 403:
        rule = _rule("serviceaccounts/token", account, "create")
        return CliError(NOT_PERMITTED, f"you may not have {about} made; {_granting(place, rule)}")
    if status == 404:
        switch = "nodetell install --http, http.enabled of the chart"
        there = f"is Nodetell there (-n), and with its HTTP API ({switch})?"
        return CliError(UNAVAILABLE, f"there is no ServiceAccount {account} in namespace {place.namespace}: {there}")
    return CliError(UNAVAILABLE, f"{about} could not be made: {status}: {_said(body)}")


def refused(status: int, headers: Mapping[str, str], body: bytes, place: Place) -> CliError:
    """Why there is no answer: the aggregator's own reason, or what kept the API server from getting there."""
    if headers.get("content-type", "").partition(";")[0].strip() == _PROBLEM:
        return _by_aggregator(status, body, place)
    service, said = f"Service {SERVICE} of namespace {place.namespace}", _said(body)
    if status == 401:
        return _unknown_caller()
    if status == 403:
        may = f"you may not reach the {service} by way of the API server"
        return CliError(NOT_PERMITTED, f"{may}; {_granting(place, _rule('services/proxy', place.service, 'get'))}")
    why = f"the {service}: {status}: {said}"
    if status == 404:
        why = f"there is no {service}: is Nodetell there? -n names another namespace"
    elif status == 503 and "no endpoints" in said:
        pods = f"kubectl -n {place.namespace} get pods; nodetell doctor"
        why = f"the {service} has no pod that is ready, or no port {PORT}: {said} ({pods})"
    elif status in (502, 503, 504):
        reach = f"the API server does not get through to the {service}: {said}"
        why = f"{reach} (a NetworkPolicy or a firewall in between, port 7444?)"
    return CliError(UNAVAILABLE, why)


def _by_aggregator(status: int, body: bytes, place: Place) -> CliError:
    said = _said(body)
    if status == 404:
        return CliError(NOT_FOUND, said)
    if status == 401:
        audience = f"is {place.audience} its access.token_audience?"
        return CliError(NOT_PERMITTED, f"the aggregator does not know who asks: {said}; {audience} (--audience)")
    if status == 403:
        bound = f"the ClusterRole nodetell-viewer has to be bound to {place.namespace}/{ACCOUNT}"
        return CliError(NOT_PERMITTED, f"the aggregator does not let the account {ACCOUNT} ask: {said}; {bound}")
    return CliError(UNAVAILABLE, f"the aggregator could not answer: {said}")


def _unknown_caller() -> CliError:
    return CliError(NOT_PERMITTED, "the API server does not accept the credentials of the kubeconfig (401)")


def _rule(resource: str, name: str, verb: str) -> str:
    return f'resources: ["{resource}"], resourceNames: ["{name}"], verbs: ["{verb}"]'


def _granting(place: Place, rule: str) -> str:
    bind = f"kubectl -n {place.namespace} create rolebinding NAME --role {ROLE} --user YOU"
    return f"the Role {ROLE} allows it ({rule}): {bind}"


def _said(body: bytes) -> str:
    """The reason in a v1 Status or a problem; empty bodies and pages have none to show."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if isinstance(document, dict):
        for key in ("detail", "message", "title"):
            if isinstance(document.get(key), str) and document[key]:
                return clean(" ".join(document[key].split()))[:300]
    return "no reason told"


def _object(answer: httpx2.Response, who: str) -> Json:
    return _parsed(answer.content, who)


def _parsed(body: bytes, who: str) -> Json:
    if len(body) > MOST_BYTES:
        raise _odd(f"{who} sent over {MOST_BYTES >> 20} MiB")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise _odd(f"what came from {who} is no JSON object")
    return document


def _odd(why: str) -> CliError:
    return CliError(UNAVAILABLE, f"the answer cannot be understood: {why}; versions apart? (nodetell doctor)")
