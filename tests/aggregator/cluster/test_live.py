"""The API server as the fleet sees it: what is not read, since when, and what stays of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from aggregator.cluster.credentials import Source
from aggregator.cluster.live import LiveCluster
from aggregator.settings import KubernetesSettings
from tests.aggregator.cluster.following import FAST, PATHS, kubeconfig
from tests.apiserver import Cluster, Reply, Request, serving, status


@asynccontextmanager
async def following(folder: Path, url: str) -> AsyncIterator[LiveCluster]:
    live = LiveCluster(Source(kubeconfig(folder, url)), KubernetesSettings(metrics_interval_s=0.0), pace=FAST)
    task = asyncio.create_task(live.run())
    try:
        yield live
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 15
    while not holds():
        assert time.monotonic() < end
        await asyncio.sleep(0.002)


def two_nodes() -> Cluster:
    there = Cluster()
    there.watch_s = 5.0
    for name in ("n1", "n2"):
        there.put(PATHS["nodes"], name)
    return there


def test_until_all_is_listed_it_is_not_read_and_then_nothing_is_missing(tmp_path: Path) -> None:
    async def play() -> None:
        async with serving(two_nodes().answer) as server, following(tmp_path, server.url) as live:
            assert {"nodes", "pods", "leases"} <= set(live.unread())
            assert not live.objects.knows("nodes")
            await until(lambda: not live.unread())
            assert sorted(live.objects.nodes) == ["n1", "n2"]
            assert live.objects.knows("nodes", "pods", "leases", "events")
            assert live.gaps() == []

    asyncio.run(play())


def test_what_is_denied_is_unread_with_the_rule_to_add_and_the_rest_is_read(tmp_path: Path) -> None:
    there = two_nodes()

    async def answer(request: Request, reply: Reply) -> None:
        if request.path == PATHS["pods"]:
            await reply.whole(403, status(403, 'pods is forbidden: User "u" cannot list resource "pods"', "Forbidden"))
        else:
            await there.answer(request, reply)

    async def play() -> None:
        async with serving(answer) as server, following(tmp_path, server.url) as live:
            await until(lambda: set(live.unread()) == {"pods"} and live.objects.knows("nodes"))
            assert "cannot list resource" in live.unread()["pods"]
            assert not live.objects.knows("pods")
            rules = [gap.remedy for gap in live.gaps() if gap.signal == "kube/pods"]
            assert rules == ['allow it: apiGroups: [""], resources: ["pods"], verbs: ["list", "watch"]']

    asyncio.run(play())


def test_while_it_is_away_all_is_unread_time_stands_still_and_objects_stay(tmp_path: Path) -> None:
    async def play() -> None:
        async with serving(two_nodes().answer) as server, following(tmp_path, server.url) as live:
            await until(lambda: not live.unread())
            left = time.time()
            await server.stop()
            await until(lambda: {"nodes", "pods", "leases"} <= set(live.unread()))
            assert "does not answer since" in live.unread()["nodes"]
            assert abs(live.current_until(time.time() + 600) - left) < 0.5
            assert sorted(live.objects.nodes) == ["n1", "n2"]
            await server.start()
            await until(lambda: not live.unread())
            now = time.time()
            assert live.current_until(now) == now

    asyncio.run(play())


def test_an_object_that_cannot_be_read_is_named_and_the_others_are_there(tmp_path: Path) -> None:
    there = two_nodes()
    there.put(PATHS["nodes"], "odd", status={"allocatable": {"cpu": "many"}})

    async def play() -> None:
        async with serving(there.answer) as server, following(tmp_path, server.url) as live:
            await until(lambda: not live.unread())
            assert {"n1", "n2"} <= set(live.objects.nodes)
            odd = [gap.because for gap in live.gaps() if gap.signal == "kube/nodes"]
            assert len(odd) == 1
            assert "odd" in odd[0]
            assert "many" in odd[0]

    asyncio.run(play())
