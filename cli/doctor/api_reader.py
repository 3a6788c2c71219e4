"""What the API server says of an installation: by GET, and by asking what the aggregator's account may do.

Of a Secret only its metadata is asked for, and nothing is taken of that but that it is there. What may not be read is
said with the rule that would allow it, and the rest is read.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2
from lightkube.core.exceptions import ConfigError

from aggregator.cluster import credentials as own
from aggregator.cluster.answers import Cause, refusal
from aggregator.cluster.credentials import KubeError
from aggregator.trust.review import ACCESS_REVIEWS
from cli.doctor.calls import Call, calls
from cli.doctor.model import (
    AGENT,
    AGGREGATOR,
    NAME_LABEL,
    NOT_ASKED,
    Object,
    Objects,
    Unread,
    at,
    entries,
    parts,
    pod_spec,
    text,
)
from cli.doctor.model import variable as variable_of

CA_CONFIG_MAP, TLS_SECRET = "nodetell-ca", "nodetell-aggregator-tls"
"""As the manifests name them, where the workloads cannot be asked."""
LEASES = ("kube-system", "kube-node-lease")
_PAGE, _MOST_PAGES = 500, 200
_JSON = "application/json"
_METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_RBAC = "rbac.authorization.k8s.io"
_OURS = (("apps", "daemonsets"), ("apps", "deployments"), ("", "pods"), ("", "services"))
_ALL_THERE = (
    ("", "persistentvolumeclaims"),
    ("", "serviceaccounts"),
    ("", "events"),
    ("networking.k8s.io", "networkpolicies"),
)


@dataclass(slots=True)
class ApiRead:
    """What came of it."""

    lists: dict[str, Objects] = field(default_factory=dict)
    rights: Mapping[Call, bool] | Unread = NOT_ASKED
    ahead: tuple[float, float] | None = None


class _RefusedError(Exception):
    """One question was not answered."""

    def __init__(self, unread: Unread, *, absent: bool = False) -> None:
        super().__init__(unread.why)
        self.unread, self.absent = unread, absent


class ApiReader:
    """Reads one installation. Raises KubeError where the API server cannot be used at all."""

    def __init__(self, client: httpx2.Client, namespace: str) -> None:
        self._client, self._namespace = client, namespace
        self._read = ApiRead()
        self._answered = False

    def read(self) -> ApiRead:
        """All of it."""
        lists, space = self._read.lists, self._namespace
        lists["namespaces"] = self._one("", "namespaces", space, within="")
        for group, plural in _OURS:
            lists[plural] = self._list(group, plural, space, {"labelSelector": f"{NAME_LABEL}=nodetell"})
        for group, plural in _ALL_THERE:
            lists[plural] = self._list(group, plural, space, {})
        lists["nodes"] = self._list("", "nodes", "", {})
        lists["clusterrolebindings"] = self._list(_RBAC, "clusterrolebindings", "", {})
        lists["clusterroles"] = self._list(_RBAC, "clusterroles", "", {})
        for where in LEASES:
            for plural in ("roles", "rolebindings"):
                lists[f"{plural}/{where}"] = self._list(_RBAC, plural, where, {})
        agents, aggregators = self._workloads("daemonsets", AGENT), self._workloads("deployments", AGGREGATOR)
        lists["configmaps"] = self._named("configmaps", _used(agents, "configMap", "name") or {CA_CONFIG_MAP})
        lists["secrets"] = self._named("secrets", _used(aggregators, "secret", "secretName") or {TLS_SECRET})
        self._read.rights = self._rights(aggregators)
        return self._read

    def _workloads(self, plural: str, part: str) -> list[Object]:
        found = self._read.lists[plural]
        return [] if isinstance(found, Unread) else parts(found, part)

    def _named(self, plural: str, names: set[str]) -> Objects:
        found: list[Object] = []
        for name in sorted(names):
            one = self._one("", plural, name, within=self._namespace)
            if isinstance(one, Unread):
                return one
            found += one
        return tuple(found)

    def _one(self, group: str, plural: str, name: str, *, within: str) -> Objects:
        accept = _METADATA if plural == "secrets" else _JSON
        try:
            item = self._ask(f"{_path(group, plural, within)}/{name}", _rule(group, plural, within, "get"), {}, accept)
        except _RefusedError as error:
            return () if error.absent else error.unread
        if plural == "secrets":
            return ({"metadata": {"name": name}},)
        return (item,)

    def _list(self, group: str, plural: str, within: str, query: dict[str, str]) -> Objects:
        items: list[Object] = []
        query = query | {"limit": str(_PAGE)}
        try:
            for _ in range(_MOST_PAGES):
                page = self._ask(_path(group, plural, within), _rule(group, plural, within, "list"), query, _JSON)
                items += entries(page, "items")
                if not (token := text(page, "metadata", "continue")):
                    return tuple(items)
                query = query | {"continue": token}
        except _RefusedError as error:
            return error.unread
        return Unread(f"the list has over {_PAGE * _MOST_PAGES:,} entries")

    def _rights(self, aggregators: list[Object]) -> Mapping[Call, bool] | Unread:
        """Asks by SubjectAccessReview, which changes nothing."""
        account = (
            next((text(pod_spec(each), "serviceAccountName") for each in aggregators), "") or "nodetell-aggregator"
        )
        space = self._namespace
        who = {
            "user": f"system:serviceaccount:{space}:{account}",
            "groups": ["system:serviceaccounts", f"system:serviceaccounts:{space}", "system:authenticated"],
        }
        answers: dict[Call, bool] = {}
        rule = 'apiGroups: ["authorization.k8s.io"], resources: ["subjectaccessreviews"], verbs: ["create"]'
        for call in calls_of(aggregators):
            what: dict[str, Any] = {"resourceAttributes": _attributes(call)}
            if call.path:
                what = {"nonResourceAttributes": {"path": call.path, "verb": call.verb}}
            review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": who | what}
            try:
                answer = self._ask(ACCESS_REVIEWS, rule, {}, _JSON, review)
            except _RefusedError as error:
                return error.unread
            allowed = answer.get("status")
            answers[call] = isinstance(allowed, dict) and allowed.get("allowed") is True
        return answers

    def _ask(self, path: str, rule: str, query: dict[str, str], accept: str, body: Object | None = None) -> Object:
        began = time.time()
        method = "GET" if body is None else "POST"
        try:
            answer = self._client.request(method, path, params=query, headers={"Accept": accept}, json=body)
        except httpx2.TimeoutException:
            raise self._unanswered("no answer in time") from None
        except (httpx2.HTTPError, ConfigError, OSError, ValueError, LookupError) as error:  # as in cli/kube.py
            raise self._unanswered(own.one_line(error)) from error
        self._answered = True
        self._note_date(answer.headers.get("date", ""), began, time.time())
        if answer.status_code not in (200, 201):
            refused = refusal(answer.status_code, answer.headers, answer.content, time.time())
            if refused.cause is Cause.UNAUTHORIZED:
                raise KubeError(f"{self._client.base_url}: the API server does not accept these credentials (401)")
            denied = refused.cause is Cause.DENIED
            unread = Unread("we may not read that (403)", rule) if denied else Unread(str(refused))
            raise _RefusedError(unread, absent=refused.cause is Cause.ABSENT)
        try:
            document = json.loads(answer.content)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise _RefusedError(Unread("the answer is no JSON object"))
        return document

    def _unanswered(self, why: str) -> Exception:
        """One question that is lost is one thing that is not known; where nothing ever came, there is nobody to ask."""
        return _RefusedError(Unread(why)) if self._answered else KubeError(f"{self._client.base_url}: {why}")

    def _note_date(self, date: str, began: float, ended: float) -> None:
        """The header has whole seconds: half of one is as good as it gets. The quickest answer tells most."""
        try:
            theirs = parsedate_to_datetime(date).timestamp() + 0.5
        except (ValueError, TypeError, OverflowError):
            return
        bound = 0.5 + (ended - began) / 2
        if ended >= began and (self._read.ahead is None or bound < self._read.ahead[1]):
            self._read.ahead = (theirs - (began + ended) / 2, bound)


def calls_of(aggregators: list[Object]) -> tuple[Call, ...]:
    """The calls that an aggregator of this Deployment makes, by its settings in the environment."""

    def on(name: str) -> bool:
        setting = f"NODETELL_AGGREGATOR_{name}"
        return any(variable_of(each, setting).lower() in ("true", "yes", "on", "1") for each in aggregators)

    return calls(
        secret_metadata=on("KUBERNETES_SECRET_METADATA"),
        credential_expiry=on("KUBERNETES_CREDENTIAL_EXPIRY"),
        events=on("OBJECTS_EVENTS"),
        node_conditions=on("OBJECTS_NODE_CONDITIONS"),
    )


def _used(workloads: list[Object], kind: str, key: str) -> set[str]:
    """Names of what their volumes are made of, and what they cannot start without."""
    volumes = [volume for each in workloads for volume in entries(pod_spec(each), "volumes")]
    return {name for each in volumes if (name := text(each, kind, key)) and at(each, kind, "optional") is not True}


def _attributes(call: Call) -> dict[str, str]:
    resource, _, part = call.resource.partition("/")
    asked = {"verb": call.verb, "group": call.group, "resource": resource, "subresource": part}
    asked["namespace"] = call.namespace
    return {name: value for name, value in asked.items() if value or name == "group"}


def _path(group: str, plural: str, within: str) -> str:
    where = f"/namespaces/{within}" if within else ""
    return f"/apis/{group}/v1{where}/{plural}" if group else f"/api/v1{where}/{plural}"


def _rule(group: str, plural: str, within: str, verb: str) -> str:
    where = f" (a Role in namespace {within}, or a ClusterRole)" if within else ""
    return f'apiGroups: ["{group}"], resources: ["{plural}"], verbs: ["{verb}"]{where}'
