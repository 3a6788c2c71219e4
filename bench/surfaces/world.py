"""What is around the measured aggregator: an API server with a Node for each agent, hosts that go wrong and recover,
and receivers that take whatever they are sent."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from aiohttp import web

from agent.connection import Peer
from agent.settings import StreamSettings
from agent.stream import Identity, Stream
from bench.storm.__main__ import Canary
from tests.api_writes import NodesAndWrites
from tests.apiserver import serving

CANARIES = 20
"""Hosts with an overlay that is too large for its interface, half of them always ..."""
FLIP_S = 10.0
"""... and of the others, two come or go in each of these."""


@contextlib.asynccontextmanager
async def api_server(names: list[str], folder: Path) -> AsyncIterator[tuple[NodesAndWrites, Path]]:
    """An API server that knows these nodes, and a kubeconfig for it."""
    objects = NodesAndWrites(names)
    async with serving(objects.answer) as server:
        path = folder / "kubeconfig"
        config: dict[str, Any] = {
            "current-context": "c",
            "clusters": [{"name": "a", "cluster": {"server": server.url}}],
            "contexts": [{"name": "c", "context": {"cluster": "a", "user": "u"}}],
            "users": [{"name": "u", "user": {"token": "bench"}}],
        }
        path.write_text(json.dumps(config))
        yield objects, path


@contextlib.asynccontextmanager
async def canaries(address: str) -> AsyncIterator[None]:
    """Hosts that go wrong and recover, meanwhile."""
    hosts = [Canary() for _ in range(CANARIES)]
    stop, news = asyncio.Event(), [asyncio.Event() for _ in hosts]
    tasks = []
    for number, host in enumerate(hosts):
        host.mtu = 1400 if number < CANARIES // 2 else 1500
        identity = Identity(f"canary-{number}", os.urandom(16), "bench")
        stream = Stream(Peer(address, None), StreamSettings(), identity, host, news[number])
        tasks.append(asyncio.create_task(stream.run(stop)))

    async def flip() -> None:
        number = CANARIES // 2
        while True:
            await asyncio.sleep(FLIP_S)
            for _ in range(2):
                hosts[number].mtu = 2_900 - hosts[number].mtu  # 1400 or 1500
                news[number].set()
                number = number + 1 if number + 1 < CANARIES else CANARIES // 2

    tasks.append(asyncio.create_task(flip()))
    try:
        yield
    finally:
        stop.set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Receivers:
    """An Alertmanager, a webhook's end and an OTLP receiver that say yes to everything, and count."""

    def __init__(self) -> None:
        self.taken: Counter[str] = Counter()
        self.url = ""

    async def _take(self, request: web.Request) -> web.Response:
        await request.read()
        self.taken[request.path] += 1
        return web.Response()

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Somewhere on loopback."""
        app = web.Application(client_max_size=64 << 20)
        app.router.add_post("/{any:.*}", self._take)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        try:
            yield
        finally:
            await runner.cleanup()
