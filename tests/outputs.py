"""What an output looks at, set by the test; and a receiver of what it sends, which behaves as the test says."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from aiohttp import web
from nodetell.v1 import operator_pb2

from aggregator.findings import CLEARED, Kind, Record, Transition
from aggregator.known import Known
from aggregator.model import Evidence, Finding, Gap, Severity, Stage
from aggregator.settings import AggregatorSettings
from aggregator.surfaces import Made
from aggregator.view import ClusterView

AT = 1_790_000_000.0


def finding(key: str = "mtu-1", severity: Severity = Severity.WARNING, **fields: Any) -> Finding:
    """One that names node a."""
    whole: dict[str, Any] = {
        "code": "mtu.overlay_exceeds_underlay",
        "incident": "mtu_mismatch",
        "stage": Stage.RISK,
        "summary": f"{key}: the overlay does not fit",
        "nodes": ("a",),
        "evidence": (Evidence("a", "link.mtu", "flannel.1", 1450, "bytes", "netlink", AT),),
        "clears_when": "it fits",
        "remediation": ("Lower the MTU of the overlay.",),
    }
    return Finding(key, severity=severity, **(whole | fields))


@dataclass
class Situation:
    """What is known: what outputs ask of known.Known, and no more."""

    live = True
    cluster: str = "lab"
    found: dict[str, Record] = field(default_factory=dict)
    over: list[Record] = field(default_factory=list)
    listeners: list[Callable[[Transition], None]] = field(default_factory=list)
    nodes: list[operator_pb2.NodeSummary] = field(default_factory=list)
    limits: list[Gap] = field(default_factory=list)

    def now(self) -> float:
        return time.time()

    def view(self) -> ClusterView:
        return ClusterView(self.cluster, {})

    def standing(self) -> list[Record]:
        return list(self.found.values())

    def resolved(self, limit: int) -> list[Record]:
        return self.over[::-1][:limit]

    def gaps(self) -> list[Gap]:
        return self.limits

    def node_names(self) -> list[str]:
        return [each.node for each in self.nodes]

    def summaries(self, names: Sequence[str] | None = None) -> list[operator_pb2.NodeSummary]:
        return [each for each in self.nodes if names is None or each.node in names]

    def appear(self, *findings: Finding, unconfirmed: str = "") -> None:
        """They stand, or stand otherwise than before."""
        for each in findings:
            before, now = self.found.get(each.id), time.time()
            record = Record(each, "test", before.first_seen if before else now, now, unconfirmed)
            self.found[each.id] = record
            self._tell(Transition(Kind.CHANGED if before else Kind.APPEARED, record, now))

    def resolve(self, *keys: str) -> None:
        """They are over."""
        for key in keys:
            record = replace(self.found.pop(key), resolved=time.time(), because=CLEARED)
            self.over.append(record)
            self._tell(Transition(Kind.RESOLVED, record, time.time()))

    def made(self, settings: AggregatorSettings, directory: Path | None = None) -> Made:
        """For a surface."""
        return Made(settings, cast("Known", self), None, None, directory, time.time)

    def _tell(self, transition: Transition) -> None:
        for listener in self.listeners:
            listener(transition)


@dataclass
class Post:
    """One that came."""

    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


Behaviour = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Inbox:
    """Takes posts."""

    posts: list[Post] = field(default_factory=list)
    behave: Behaviour | None = None
    """What it does instead of taking them."""
    url: str = ""

    async def _take(self, request: web.Request) -> web.StreamResponse:
        if self.behave is not None:
            return await self.behave(request)
        self.posts.append(Post(request.path, dict(request.headers), await request.read()))
        return web.Response(text="ok")

    @contextlib.asynccontextmanager
    async def open(self, port: int = 0, tls: ssl.SSLContext | None = None) -> AsyncIterator[Inbox]:
        """At an address on loopback."""
        app = web.Application(client_max_size=64 << 20)
        app.router.add_route("*", "/{any:.*}", self._take)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls)
        await site.start()
        assert runner.addresses
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()


def free_port() -> int:
    """One that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def until(holds: Callable[[], Any], what: str = "", limit_s: float = 20.0) -> Any:
    """Wait for a condition; gives what it is. It may be a coroutine function."""
    end = time.monotonic() + limit_s
    while True:
        found = holds()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        assert time.monotonic() < end, f"not within {limit_s:g} s: {what}"
        await asyncio.sleep(0.02)
