"""An API server's side of writes, for tests: it takes Events and patches of Nodes' status as strictly as a real one,
and notes what came when.

What it checks is what k8s.io/kubernetes pkg/apis/core/validation/events.go asks of events.k8s.io/v1.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.apiserver import Cluster, Json, Reply, Request, status

_MICRO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
_SECOND = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_EVENTS = re.compile(r"/apis/events\.k8s\.io/v1/namespaces/([^/]+)/events(?:/([^/]+))?")
NODES = "/api/v1/nodes"
_STATUS = re.compile(rf"{NODES}/([^/]+)/status")

Fault = tuple[int, Json, dict[str, str]]
"""Status, body and headers."""


@dataclass
class Writes:
    """What has been written."""

    clock: Callable[[], float]
    events: dict[str, Json] = field(default_factory=dict)
    """By "namespace/name"."""
    conditions: dict[str, dict[str, Json]] = field(default_factory=dict)
    """Of nodes that exist, by type."""
    calls: list[tuple[float, str, str]] = field(default_factory=list)
    """When, method and path."""
    fault: Callable[[Request], Fault | None] = lambda _request: None
    """What is answered in place of a good answer."""
    patched: Callable[[str], None] = lambda _node: None
    """Told of each node whose status was patched."""

    async def answer(self, request: Request, reply: Reply) -> None:
        """As an API server does."""
        self.calls.append((self.clock(), request.method, request.path))
        fault = self.fault(request)
        if fault is not None:
            await reply.whole(*fault)
        else:
            code, body = self._done(request)
            await reply.whole(code, body)

    def _done(self, request: Request) -> tuple[int, Json]:
        assert request.query == {"fieldManager": "nodetell"}
        content = json.loads(request.body)
        if match := _EVENTS.fullmatch(request.path):
            if request.method == "POST" and match[2] is None:
                return self._create(match[1], content)
            assert request.method == "PATCH", request.path
            return self._again(f"{match[1]}/{match[2]}", request, content)
        match = _STATUS.fullmatch(request.path)
        assert match is not None, request.path
        assert request.method == "PATCH", request.path
        return self._patch(match[1], request, content)

    def _create(self, namespace: str, given: Json) -> tuple[int, Json]:
        key = f"{namespace}/{given['metadata']['name']}"
        problem = _unfit(namespace, given)
        if problem:
            return 422, status(422, problem, "Invalid")
        if key in self.events:
            return 409, status(409, f'events.events.k8s.io "{key}" already exists', "AlreadyExists")
        self.events[key] = given
        return 201, given

    def _again(self, key: str, request: Request, given: Json) -> tuple[int, Json]:
        assert request.headers["content-type"] == "application/strategic-merge-patch+json"
        if key not in self.events:
            return 404, status(404, f'events.events.k8s.io "{key}" not found', "NotFound")
        if set(given) != {"series"} or given["series"]["count"] < 2 or not _MICRO.fullmatch(_last(given)):
            return 422, status(422, "field is immutable", "Invalid")
        self.events[key] |= given
        return 200, self.events[key]

    def _patch(self, node: str, request: Request, given: Json) -> tuple[int, Json]:
        assert request.headers["content-type"] == "application/strategic-merge-patch+json"
        if node not in self.conditions:
            return 404, status(404, f'nodes "{node}" not found', "NotFound")
        assert set(given) == {"status"}
        assert set(given["status"]) == {"conditions"}
        for each in given["status"]["conditions"]:
            if each.get("$patch") == "delete":
                self.conditions[node].pop(each["type"], None)
            else:
                assert each["status"] in ("True", "False", "Unknown")
                assert all(_SECOND.fullmatch(each[at]) for at in ("lastHeartbeatTime", "lastTransitionTime"))
                self.conditions[node][each["type"]] = each
        self.patched(node)
        return 200, {"kind": "Node"}


def _last(given: Json) -> str:
    return str(given["series"]["lastObservedTime"])


def _unfit(namespace: str, given: Json) -> str:
    """Why the API server does not take it; empty: it does."""
    about: dict[str, Any] = given["regarding"]
    wrong = {
        "metadata.name": not _NAME.fullmatch(given["metadata"]["name"]) or len(given["metadata"]["name"]) > 253,
        "regarding.namespace": about.get("namespace", "default") != namespace,
        "eventTime": not _MICRO.fullmatch(given["eventTime"]),
        "reportingController": not given["reportingController"],
        "reportingInstance": not 0 < len(given["reportingInstance"]) <= 128,
        "action": not 0 < len(given["action"]) <= 128,
        "reason": not 0 < len(given["reason"]) <= 128,
        "type": given["type"] not in ("Normal", "Warning"),
        "note": len(given["note"].encode()) > 1_024,
        "uid": not about["uid"],
    }
    return ", ".join(name for name, is_wrong in wrong.items() if is_wrong)


class NodesAndWrites:
    """An API server's objects: Nodes, all other lists empty, and what is written on them, which its watch shows."""

    def __init__(self, names: Iterable[str], bookmark_s: float = 10.0) -> None:
        self.cluster = Cluster()
        self.cluster.bookmark_s, self.cluster.watch_s = bookmark_s, 600.0
        self.writes = Writes(time.monotonic, patched=self._show)
        for name in names:
            self.writes.conditions[name] = {"Ready": {"type": "Ready", "status": "True", "reason": "KubeletReady"}}
            self._show(name)

    def _show(self, name: str) -> None:
        conditions = list(self.writes.conditions[name].values())
        self.cluster.put(NODES, name, kind="Node", status={"conditions": conditions})
        self.cluster.of(NODES).objects[name]["metadata"]["uid"] = f"uid-{name}"

    async def answer(self, request: Request, reply: Reply) -> None:
        """As an API server does."""
        good = self.cluster.answer if request.method == "GET" else self.writes.answer
        await good(request, reply)
