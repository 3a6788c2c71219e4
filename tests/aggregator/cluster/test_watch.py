"""The view of a whole cluster: what is current and since when not, what is denied, and the metrics beside it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from aggregator.cluster.resources import COLLECTED, WATCHED
from aggregator.cluster.scrape import MetricsReader
from aggregator.settings import KubernetesSettings
from tests.aggregator.cluster.following import FAST, PATHS, watching
from tests.apiserver import Cluster, Reply, Request, serving, status


def full() -> Cluster:
    """Something of everything."""
    there = Cluster()
    there.watch_s = 5.0
    for path in PATHS.values():
        for number in range(3):
            there.put(path, f"x-{number}")
    return there


def test_all_that_is_watched_is_where_it_should_be() -> None:
    assert PATHS == {
        "nodes": "/api/v1/nodes",
        "pods": "/api/v1/pods",
        "persistentvolumeclaims": "/api/v1/persistentvolumeclaims",
        "persistentvolumes": "/api/v1/persistentvolumes",
        "storageclasses": "/apis/storage.k8s.io/v1/storageclasses",
        "volumeattachments": "/apis/storage.k8s.io/v1/volumeattachments",
        "csinodes": "/apis/storage.k8s.io/v1/csinodes",
        "leases/kube-node-lease": "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases",
        "leases/kube-system": "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases",
        "poddisruptionbudgets": "/apis/policy/v1/poddisruptionbudgets",
        "resourcequotas": "/api/v1/resourcequotas",
        "replicasets": "/apis/apps/v1/replicasets",
        "statefulsets": "/apis/apps/v1/statefulsets",
        "events": "/api/v1/events",
    }
    assert {resource.plural for resource in WATCHED} < {resource.plural for resource in COLLECTED}


def test_nothing_but_get_list_and_watch_is_ever_sent(tmp_path: Path) -> None:
    """Whatever happens: no other method, no body, no path but the lists' and the metrics', never a single secret."""
    there = full()

    async def play() -> list[Request]:
        reader = MetricsReader(_Text, lambda _: None)
        settings = KubernetesSettings(metrics_interval_s=0.01)
        async with serving(there.answer) as server:
            async with watching(tmp_path, server.url, metrics=reader, settings=settings) as seen:
                await seen.until(lambda: seen.watch.synced)
                there.compact()
                await server.stop()
                await server.start()
                there.put(PATHS["pods"], "new")
                await seen.until(lambda: seen.held.objects["pods"] == there.truth(PATHS["pods"]))
            return server.requests

    requests = asyncio.run(play())
    assert {request.method for request in requests} == {"GET"}
    assert {request.path for request in requests} == {*PATHS.values(), "/metrics"}
    allowed = {"limit", "continue", "watch", "resourceVersion", "allowWatchBookmarks", "timeoutSeconds"}
    assert {key for request in requests for key in request.query} <= allowed
    assert not any("content-length" in request.headers for request in requests)


def test_a_view_that_is_current_is_current_now(tmp_path: Path) -> None:
    async def play() -> None:
        there = full()
        async with serving(there.answer) as server, watching(tmp_path, server.url) as seen:
            assert not seen.watch.synced
            assert seen.watch.stale().startswith("not read yet: nodes, pods, ")
            await seen.until(lambda: seen.watch.synced and not seen.watch.stale())
            assert seen.watch.current_until(1e10) == 1e10
            assert seen.watch.gaps() == []
            assert seen.watch.api_time(123.0) == 123.0
            assert seen.watch.server == server.url
            assert seen.held.complete == set(PATHS)

    asyncio.run(play())


def test_a_server_that_is_away_is_named_with_since_when_and_why(tmp_path: Path) -> None:
    async def play() -> None:
        there = full()
        async with serving(there.answer) as server, watching(tmp_path, server.url) as seen:
            await seen.until(lambda: seen.watch.synced and not seen.watch.stale())
            left = time.time()
            await server.stop()
            await seen.until(lambda: bool(seen.watch.stale()))
            assert time.time() - left > FAST.grace_s * 0.9  # a moment is nothing
            stale = seen.watch.stale()
            at = time.strftime("%Y-%m-%dT%H:%M", time.gmtime(left))
            assert stale.startswith(f"the API server at {server.url} does not answer since {at}")
            assert stale.endswith(": Connection refused")
            now = time.time()
            assert abs(seen.watch.current_until(now) - left) < 0.2
            assert {gap.status for gap in seen.watch.gaps()} == {"degraded"}
            await server.start()
            await seen.until(lambda: not seen.watch.stale())
            assert seen.watch.current_until(now) == now

    asyncio.run(play())


def test_one_resource_that_fails_is_named(tmp_path: Path) -> None:
    there = full()
    broken = False

    async def answer(request: Request, reply: Reply) -> None:
        if broken and request.path == PATHS["events"]:
            await reply.whole(500, status(500, "etcdserver: request timed out"))
        else:
            await there.answer(request, reply)

    async def play() -> None:
        nonlocal broken
        async with serving(answer) as server, watching(tmp_path, server.url) as seen:
            await seen.until(lambda: seen.watch.synced and not seen.watch.stale())
            broken = True
            await seen.until(lambda: bool(seen.watch.stale()))
            stale = seen.watch.stale()
            assert stale.startswith("events may be out of date since 20")
            assert stale.endswith(": HTTP 500: etcdserver: request timed out")
            (gap,) = seen.watch.gaps()
            assert (gap.signal, gap.status) == ("kube/events", "degraded")

    asyncio.run(play())


def test_credentials_that_are_not_accepted_are_said(tmp_path: Path) -> None:
    async def refused(_: Request, reply: Reply) -> None:
        await reply.whole(401, status(401, "Unauthorized", "Unauthorized"))

    async def play() -> None:
        async with serving(refused) as server, watching(tmp_path, server.url) as seen:
            await seen.until(lambda: "credentials" in seen.watch.stale() and len(seen.watch.gaps()) == len(PATHS))
            assert f"the API server at {server.url} does not accept the credentials since 20" in seen.watch.stale()
            assert not seen.watch.synced
            assert all("HTTP 401: Unauthorized" in gap.because for gap in seen.watch.gaps())
            assert "t0ken" not in repr(seen.watch.gaps()) + seen.watch.stale()

    asyncio.run(play())


def test_a_kubeconfig_that_is_mended_is_taken_without_a_restart(tmp_path: Path) -> None:
    there = full()

    async def play() -> None:
        async with serving(there.answer) as server, watching(tmp_path, server.url) as seen:
            good = (tmp_path / "kubeconfig").read_text()
            (tmp_path / "kubeconfig").write_text("{")
            await seen.until(lambda: "cannot be used" in seen.watch.stale())
            assert str(tmp_path / "kubeconfig") in seen.watch.stale()
            (tmp_path / "kubeconfig").write_text(good)
            await seen.until(lambda: seen.watch.synced)

    asyncio.run(play())


def test_what_is_denied_names_the_rule_and_the_rest_works(tmp_path: Path) -> None:
    there = full()
    denied = {PATHS["pods"], PATHS["leases/kube-system"], PATHS["csinodes"], "/metrics"}

    async def answer(request: Request, reply: Reply) -> None:
        if request.path in denied:
            await reply.whole(403, status(403, "is forbidden", "Forbidden"))
        elif request.path == PATHS["statefulsets"]:
            await reply.whole(404, b"404 page not found\n")
        else:
            await there.answer(request, reply)

    async def play() -> None:
        texts: list[str] = []
        reader = MetricsReader(_Text, texts.append)
        pace = replace(FAST, denied_s=0.3)
        settings = KubernetesSettings(metrics_interval_s=0.05)
        async with (
            serving(answer) as server,
            watching(tmp_path, server.url, pace, metrics=reader, settings=settings) as seen,
        ):
            await seen.until(lambda: len(seen.watch.gaps()) == 5 and not seen.watch.stale())
            assert seen.watch.synced
            gaps = {gap.signal: gap for gap in seen.watch.gaps()}
            rule = 'allow it: apiGroups: [""], resources: ["pods"], verbs: ["list", "watch"]'
            assert gaps["kube/pods"].remedy == rule
            assert gaps["kube/pods"].status == "missing"
            assert gaps["kube/csinodes"].remedy.startswith('allow it: apiGroups: ["storage.k8s.io"]')
            assert "a Role in namespace kube-system" in gaps["kube/leases/kube-system"].remedy
            assert 'nonResourceURLs: ["/metrics"], verbs: ["get"]' in gaps["kube/metrics"].remedy
            assert "does not have it" in gaps["kube/statefulsets"].because
            assert set(seen.held.complete) == set(PATHS) - {
                "pods", "leases/kube-system", "csinodes", "statefulsets",
            }  # fmt: skip
            denied.clear()  # the right is granted: nothing needs a restart
            await seen.until(lambda: "pods" in seen.held.complete and "csinodes" in seen.held.complete)
            await seen.until(lambda: len(seen.watch.gaps()) == 1 and bool(texts))

    asyncio.run(play())


def test_the_servers_clock_is_used_where_it_differs(tmp_path: Path) -> None:
    there = full()

    async def play() -> None:
        async with serving(there.answer) as server:
            server.ahead_s = -3600.0
            async with watching(tmp_path, server.url) as seen:
                await seen.until(lambda: seen.watch.synced)
                assert abs(seen.watch.api_time(10_000.0) - 6_400.0) < 1.1

    asyncio.run(play())


def test_a_change_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Not once for each of fourteen resources and each of their retries."""
    caplog.set_level("INFO", "nodetell")

    def told(what: str) -> int:
        return sum(f"event={what}" in record.getMessage() for record in caplog.records)

    async def play() -> None:
        there = full()
        async with serving(there.answer) as server, watching(tmp_path, server.url) as seen:
            await seen.until(lambda: told("kube_current") == 1)
            await server.stop()
            await seen.until(lambda: told("kube_stale") == 1)
            await asyncio.sleep(0.3)
            await server.start()
            await seen.until(lambda: told("kube_current") == 2)
            assert len(caplog.records) == 3, [record.getMessage() for record in caplog.records]
            assert "t0ken" not in caplog.text

    asyncio.run(play())


def test_a_sink_that_fails_costs_that_object_only(tmp_path: Path) -> None:
    there = full()

    async def play() -> None:
        async with serving(there.answer) as server, watching(tmp_path, server.url) as seen:
            await seen.until(lambda: seen.watch.synced)
            await seen.until(lambda: server.watches(PATHS["pods"]) > 0)
            there.put(PATHS["pods"], "odd")
            there.of(PATHS["pods"]).objects["odd"]["metadata"]["name"] = 7  # before it is sent
            there.put(PATHS["pods"], "good")
            await seen.until(lambda: "good" in seen.held.objects["pods"])
            pods = next(each for each in seen.watch.standings() if each.resource.name == "pods")
            assert (pods.counters.odd, pods.counters.lists) == (1, 1)

    asyncio.run(play())


def test_cancelling_leaves_nothing_open(tmp_path: Path) -> None:
    there = full()

    async def play() -> None:
        async with serving(there.answer) as server:
            async with watching(tmp_path, server.url) as seen:
                await seen.until(lambda: seen.watch.synced and server.open > len(PATHS) / 2)
            await seen.until(lambda: server.open == 0)
            left = [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("kube")]
            assert left == []

    asyncio.run(play())


def test_the_loop_is_not_held_by_a_large_list(tmp_path: Path) -> None:
    """5,000 pods of 2 kB at 500 a page, while something else wants to run every millisecond."""
    there = Cluster()
    for number in range(5_000):
        there.put(PATHS["pods"], f"pod-{number:05}", filler="x" * 2_000)
    worst = 0.0

    async def beat() -> None:
        nonlocal worst
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0.001)
            worst = max(worst, time.perf_counter() - began)

    async def play() -> None:
        answers: dict[str, bytes] = {}

        async def answer(request: Request, reply: Reply) -> None:
            """From memory: the server is in this very loop."""
            key = f"{request.path}?{request.query.get('continue', '')}"
            if "watch" in request.query:
                await there.answer(request, reply)
            elif key in answers:
                await reply.whole(200, answers[key])
            else:
                record = _Record()
                await there.list(request, record)  # type: ignore[arg-type]  # what is used of a reply
                answers[key] = record.body

        async with serving(answer) as server:
            token: str | None = ""
            while token is not None:  # made beforehand
                query = {"limit": "500"} | ({"continue": token} if token else {})
                record = _Record()
                await there.list(Request("GET", PATHS["pods"], query, {}), record)  # type: ignore[arg-type]
                answers[f"{PATHS['pods']}?{token}"] = record.body
                token = record.token
            beating = asyncio.create_task(beat())
            try:
                async with watching(tmp_path, server.url, settings=KubernetesSettings(page_size=500)) as seen:
                    await seen.until(lambda: "pods" in seen.held.complete)
            finally:
                beating.cancel()

    asyncio.run(play())
    assert worst < 0.25  # this sink parses with json, the machine may be busy; without pauses it is over a second


class _Record:
    """Keeps what would be answered."""

    def __init__(self) -> None:
        self.body = b""
        self.token: str | None = None

    async def whole(self, _: int, body: dict[str, object]) -> None:
        import json

        self.body = json.dumps(body).encode()
        metadata = body["metadata"]
        assert isinstance(metadata, dict)
        self.token = metadata.get("continue")


# -- the metrics ---------------------------------------------------------------------------------------------------


@dataclass
class _Text:
    """A parser that keeps the text."""

    at: float
    chunks: list[bytes] = field(default_factory=list)

    def feed(self, chunk: bytes) -> None:
        assert len(chunk) <= 16 << 10
        if chunk.startswith(b"bad"):
            raise ValueError("no metrics")
        self.chunks.append(chunk)

    def finish(self) -> str:
        return b"".join(self.chunks).decode()


def test_metrics_are_read_at_an_interval_and_survive_a_bad_text(tmp_path: Path) -> None:
    there = full()
    under_way = most = number = 0

    async def answer(request: Request, reply: Reply) -> None:
        nonlocal under_way, most, number
        if request.path != "/metrics":
            await there.answer(request, reply)
            return
        number += 1
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.03)  # longer than the interval
        under_way -= 1
        await reply.whole(200, b"bad" if number == 2 else b"up 1\n" * 10_000)

    async def play() -> None:
        texts: list[str] = []
        reader = MetricsReader(_Text, texts.append)
        settings = KubernetesSettings(metrics_interval_s=0.01)
        async with (
            serving(answer) as server,
            watching(tmp_path, server.url, metrics=reader, settings=settings) as seen,
        ):
            await seen.until(lambda: any("no metrics" in gap.because for gap in seen.watch.gaps()))
            await seen.until(lambda: len(texts) == 4)
            assert seen.watch.gaps() == []
            assert set(texts) == {"up 1\n" * 10_000}

    asyncio.run(play())
    assert most == 1


def test_metrics_can_be_left_alone(tmp_path: Path) -> None:
    there = full()

    async def play() -> None:
        reader = MetricsReader(_Text, lambda _: None)
        settings = KubernetesSettings(metrics_interval_s=0.0)
        async with serving(there.answer) as server:
            async with watching(tmp_path, server.url, metrics=reader, settings=settings) as seen:
                await seen.until(lambda: seen.watch.synced)
            assert not any(request.path == "/metrics" for request in server.requests)

    asyncio.run(play())
