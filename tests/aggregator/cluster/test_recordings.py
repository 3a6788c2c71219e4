"""What a real API server said, said again: its lists, pages, watches, refusals and metrics, where they are at hand."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from aggregator.cluster.answers import ApiError, Cause, error_event, refusal
from aggregator.cluster.scrape import MetricsReader
from aggregator.cluster.watch_event import CHANGES, order, parse
from aggregator.settings import KubernetesSettings
from tests.aggregator.cluster.following import PATHS, PATIENT, watching
from tests.apiserver import Reply, Request, serving

_SHARED = os.environ.get("NODETELL_SHARED", "")
RECORDINGS = Path(_SHARED, "recordings")
pytestmark = pytest.mark.skipif(not _SHARED, reason="NODETELL_SHARED names no directory with recordings")

LISTS = {
    "nodes": "nodes.json",
    "pods": "pods.json",
    "persistentvolumeclaims": "pvcs.json",
    "persistentvolumes": "pvs.json",
    "storageclasses": "storageclasses.json",
    "volumeattachments": "volumeattachments.json",
    "csinodes": "csinodes.json",
    "poddisruptionbudgets": "poddisruptionbudgets.json",
    "replicasets": "replicasets.json",
    "events": "events-core-v1.json",
}
WATCHES = {name: f"watch-{name}-70s.jsonl" for name in ("nodes", "pods", "events")}


def read(name: str) -> bytes:
    """A recorded body."""
    return (RECORDINGS / name).read_bytes()


def headers(name: str) -> dict[str, str]:
    """The recorded headers of a body, without those of its transfer."""
    lines = (RECORDINGS / f"{name}.headers").read_text().splitlines()[1:]
    pairs = (line.partition(":") for line in lines if ":" in line)
    return {key.lower(): value.strip() for key, _, value in pairs if key.lower() != "content-length"}


def code(name: str) -> int:
    """The recorded status."""
    return int((RECORDINGS / f"{name}.headers").read_text().split()[1])


def versions(items: list[dict[str, Any]]) -> dict[str, str]:
    """Of objects, by namespace and name."""
    metadata = [item["metadata"] for item in items]
    return {"/".join(filter(None, (each.get("namespace"), each["name"]))): each["resourceVersion"] for each in metadata}


def events(name: str) -> Iterator[dict[str, Any]]:
    """Of a recorded watch."""
    return (json.loads(line) for line in read(name).splitlines() if line.strip())


def after(resource: str) -> dict[str, str]:
    """What a resource is once its list and its watch are through."""
    held = versions(json.loads(read(LISTS[resource]))["items"]) if resource in LISTS else {}
    for event in events(WATCHES[resource]) if resource in WATCHES else ():
        for name, version in versions([event["object"]]).items() if event["type"] in CHANGES else ():
            if event["type"] == "DELETED":
                held.pop(name, None)
            else:
                held[name] = version
    return held


@dataclass
class Replay:
    """Answers with what was recorded; the watches in pieces of any size, cut anywhere, and each ended once."""

    piece: int
    refused: set[str] = field(default_factory=set)
    """Paths that get the recorded 403."""
    told: dict[str, int] = field(default_factory=dict)

    async def answer(self, request: Request, reply: Reply) -> None:
        name = next((name for name, path in PATHS.items() if path == request.path), "")
        if request.path in self.refused:
            await reply.whole(403, read("403-serviceaccount-list-nodes.json"))
        elif request.path == "/metrics":
            body = read("metrics-apiserver-0-before.prom.gz")
            await reply.whole(200, body, {"Content-Encoding": "gzip", "Content-Type": "text/plain; version=0.0.4"})
        elif "watch" in request.query:
            await self._watch(name, int(request.query["resourceVersion"]), reply)
        elif name in LISTS:
            await reply.whole(200, read(LISTS[name]))
        else:
            empty = {"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "413"}, "items": None}
            await reply.whole(200, empty)

    async def _watch(self, name: str, version: int, reply: Reply) -> None:
        await reply.begin()
        lines = read(WATCHES[name]).splitlines(keepends=True) if name in WATCHES else []
        rest = b"".join(
            line
            for line in lines
            if line.strip() and int(json.loads(line)["object"]["metadata"]["resourceVersion"]) > version
        )
        times = self.told[name] = self.told.get(name, 0) + 1
        if times == 1:  # the first one is cut in the middle
            rest = rest[: len(rest) // 2]
        for start in range(0, len(rest), self.piece):
            await reply.piece(rest[start : start + self.piece])
        if times > 1:
            await asyncio.sleep(5)
        await reply.end()


@pytest.mark.parametrize("piece", [97, 4_096, 1 << 20])
def test_the_recorded_cluster_is_what_is_held(tmp_path: Path, piece: int) -> None:
    async def play() -> None:
        replay = Replay(piece)
        async with serving(replay.answer) as server, watching(tmp_path, server.url, PATIENT) as seen:
            await seen.until(
                lambda: all(seen.held.objects.get(name, {}) == after(name) for name in PATHS), "the recorded cluster"
            )
            await seen.until(lambda: not seen.watch.stale())
            assert seen.watch.gaps() == []
            lists = {standing.resource.name: standing.counters.lists for standing in seen.watch.standings()}
            assert lists == dict.fromkeys(PATHS, 1)

    asyncio.run(play())


def test_what_is_refused_as_recorded(tmp_path: Path) -> None:
    async def play() -> None:
        replay = Replay(4_096, refused={PATHS["nodes"], PATHS["events"]})
        async with serving(replay.answer) as server, watching(tmp_path, server.url) as seen:
            await seen.until(lambda: seen.watch.synced and len(seen.watch.gaps()) == 2 and not seen.watch.stale())
            gap = next(gap for gap in seen.watch.gaps() if gap.signal == "kube/nodes")
            assert 'User "system:serviceaccount:demo:norbac" cannot list resource "nodes"' in gap.because
            assert gap.remedy.endswith('apiGroups: [""], resources: ["nodes"], verbs: ["list", "watch"]')
            await seen.until(lambda: seen.held.objects["pods"] == after("pods"))

    asyncio.run(play())


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("401-bad-token.json", Cause.UNAUTHORIZED),
        ("401-tampered-jwt.json", Cause.UNAUTHORIZED),
        ("403-anonymous.json", Cause.DENIED),
        ("403-serviceaccount-metrics.json", Cause.DENIED),
        ("403-serviceaccount-watch-pods.json", Cause.DENIED),
        ("403-serviceaccount-list-pods-in-namespace.json", Cause.DENIED),
        ("410-list-exact-too-old.json", Cause.EXPIRED),
        ("410-list-expired-continue.json", Cause.EXPIRED),
        ("504-list-future-rv.json", Cause.AHEAD),
        ("resource-not-found-404.json", Cause.ABSENT),
    ],
)
def test_recorded_refusals(name: str, cause: Cause) -> None:
    error = refusal(code(name), headers(name), read(name), 0.0)
    assert error.cause is cause
    assert bool(error.token) == (name == "410-list-expired-continue.json")
    assert error.retry_after_s == (1.0 if cause is Cause.AHEAD else None)


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("410-watch-too-old.jsonl", Cause.EXPIRED),
        ("410-watch-too-old-rv1.jsonl", Cause.EXPIRED),
        ("watchlist-unsupported-etcd-3.4.23.jsonl", Cause.ODD),
    ],
)
def test_recorded_error_events(name: str, cause: Cause) -> None:
    (line,) = [line for line in read(name).splitlines() if line.strip()]
    with pytest.raises(ApiError) as caught:
        parse(line)
    assert caught.value.cause is cause
    assert error_event(json.dumps(json.loads(line)["object"]).encode()).cause is cause


def test_recorded_watches_ascend() -> None:
    """The rule that an event below the last version was seen already rests on it."""
    for name in sorted(RECORDINGS.glob("**/watch-*.jsonl")):
        last = "0"
        for line in name.read_bytes().splitlines():
            if line.strip():
                event = parse(line)
                assert order(event.version, last) >= (0 if event.type == "BOOKMARK" else 1), name
                last = event.version


def test_the_recorded_metrics_arrive_whole(tmp_path: Path) -> None:
    class Text:
        def __init__(self, _: float) -> None:
            self.size = 0

        def feed(self, chunk: bytes) -> None:
            self.size += len(chunk)

        def finish(self) -> int:
            return self.size

    sizes: list[int] = []

    async def play() -> None:
        reader = MetricsReader(Text, sizes.append)
        settings = KubernetesSettings(metrics_interval_s=60.0)
        replay = Replay(4_096)
        async with (
            serving(replay.answer) as server,
            watching(tmp_path, server.url, metrics=reader, settings=settings) as seen,
        ):
            await seen.until(lambda: bool(sizes))

    asyncio.run(play())
    assert sizes == [len(gzip.decompress(read("metrics-apiserver-0-before.prom.gz")))]
