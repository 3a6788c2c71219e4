"""Objects per second through list and watch: transport and envelopes alone, as the aggregator reads the API server.

    python -m bench.list_watch                     # 20,000 pods in pages of 500, and as many events of a watch
    python -m bench.list_watch --pods 150000

Another process serves pods as verbose as real ones over HTTP on loopback. The sink counts objects and takes none apart,
so what is measured is the socket, HTTP, the cut into pages and events, and the envelopes; what taking objects apart and
keeping them costs is in bench.cluster_view. "held" is the most CPU that the event loop
spent at a stretch before others had their turn.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import msgspec

from aggregator.cluster.client import ApiClient
from aggregator.cluster.credentials import Source
from aggregator.cluster.pace import Pace
from aggregator.cluster.reflector import Reflector
from aggregator.cluster.resources import Resource
from bench.cluster_objects import Size
from bench.cluster_objects import pods as pod_texts

_DISTINCT = 2_000
"""Pods that are made; further ones are the same again under other versions, which costs the reader no less."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured. CPU is this process's."""

    objects: int
    bytes_each: float
    list_per_s: float
    list_cpu_us: float
    """Per object."""
    watch_per_s: float
    watch_cpu_us: float
    held_ms: float
    peak_mb: float


class _Count:
    """A sink that counts."""

    def __init__(self) -> None:
        self.listed = self.changed = 0
        self.done_at = 0.0

    def begin(self, _: str) -> _Count:
        return self

    def page(self, items: Sequence[msgspec.Raw]) -> None:
        self.listed += len(items)

    def done(self) -> None:
        self.done_at = time.perf_counter()

    def put(self, _: str, __: msgspec.Raw) -> None:
        self.changed += 1

    drop = put

    def forget(self, _: str) -> None:
        raise AssertionError("nothing is denied here")


def serve(count: int, told: Connection) -> None:
    """Serve so many pods: as a list in pages, and each once more as an event of a watch."""
    texts = [text.encode() for text in islice(pod_texts(Size(nodes=100, pods=_DISTINCT)), _DISTINCT)]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:  # the base class calls it so
            query = {key: values[0] for key, values in parse_qs(urlsplit(self.path).query).items()}
            self.send_response(200)
            self._watch() if "watch" in query else self._list(int(query["limit"]), int(query.get("continue", "0")))

        def _list(self, limit: int, start: int) -> None:
            end = min(count, start + limit)
            more = f',"continue":"{end}"' if end < count else ""
            head = f'{{"kind":"PodList","apiVersion":"v1","metadata":{{"resourceVersion":"1"{more}}},"items":['
            items = b",".join(texts[number % len(texts)] for number in range(start, end))
            body = head.encode() + items + b"]}"
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _watch(self) -> None:
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            with suppress(OSError):  # the reader has had enough
                for number in range(count):
                    # Each in a chunk of its own, as API servers flush them.
                    version = b'"resourceVersion":"9%08d' % number
                    pod = texts[number % len(texts)].replace(b'"resourceVersion":"', version, 1)
                    event = b'{"type":"MODIFIED","object":' + pod + b"}\n"
                    self.wfile.write(b"%x\r\n%b\r\n" % (len(event), event))
                time.sleep(60)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    told.send((server.server_port, sum(map(len, texts)) / len(texts)))
    server.serve_forever()


async def measured(url: str, count: int, bytes_each: float, folder: Path) -> Figures:
    """Read the pods of a server, then as many events of its watch."""
    path = folder / "kubeconfig"
    config = {
        "current-context": "c",
        "clusters": [{"name": "bench", "cluster": {"server": url}}],
        "contexts": [{"name": "c", "context": {"cluster": "bench"}}],
    }
    path.write_text(json.dumps(config))
    api = ApiClient(Source(path), {}, Pace())
    sink = _Count()
    reflector = Reflector(
        Resource("pods"),
        api,
        sink,
        asyncio.Semaphore(1),
        limit=500,
        pace=Pace(),
        clock=time.time,
        monotonic=time.monotonic,
        chance=random.Random(1),  # noqa: S311  # jitter
    )
    held = 0.0

    async def beat() -> None:
        nonlocal held
        while True:
            began = time.thread_time()
            await asyncio.sleep(0)
            held = max(held, time.thread_time() - began)

    async with api.get("/api/v1/pods", {"limit": "1"}) as answer:  # reading certificates is not what is measured
        await answer.aread()
    beating = asyncio.create_task(beat())
    began, cpu = time.perf_counter(), time.process_time()
    reading = asyncio.create_task(reflector.run())
    while not sink.done_at:  # noqa: ASYNC110  # asking costs next to nothing
        await asyncio.sleep(0.005)
    list_s, list_cpu = sink.done_at - began, time.process_time() - cpu
    began, cpu = time.perf_counter(), time.process_time()
    while sink.changed < count:  # noqa: ASYNC110  # see above
        await asyncio.sleep(0.005)
    watch_s, watch_cpu = time.perf_counter() - began, time.process_time() - cpu
    for task in (reading, beating):
        task.cancel()
    await asyncio.gather(reading, beating, return_exceptions=True)
    await api.aclose()
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Figures(
        count,
        bytes_each,
        count / list_s,
        list_cpu / count * 1e6,
        count / watch_s,
        watch_cpu / count * 1e6,
        held * 1e3,
        peak_mb,
    )


def report(figures: Figures) -> str:
    """For people."""
    return (
        f"{figures.objects:,} pods of {figures.bytes_each:,.0f} bytes, {os.cpu_count()} cores shared with the server\n"
        f"list:  {figures.list_per_s:10,.0f} objects/s, {figures.list_cpu_us:6.1f} us of CPU each\n"
        f"watch: {figures.watch_per_s:10,.0f} events/s,  {figures.watch_cpu_us:6.1f} us of CPU each\n"
        f"held:  {figures.held_ms:.1f} ms at most; resident at most {figures.peak_mb:.0f} MB"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pods", type=int, default=20_000)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args(arguments)
    context = get_context("spawn")
    here, there = context.Pipe()
    server = context.Process(target=serve, args=(given.pods, there), daemon=True)
    server.start()
    there.close()  # so that a server that fails is an end, not a wait
    try:
        port, bytes_each = here.recv()
        with tempfile.TemporaryDirectory() as folder:
            figures = asyncio.run(measured(f"http://127.0.0.1:{port}", given.pods, bytes_each, Path(folder)))
    finally:
        server.terminate()
        server.join()
    print(json.dumps(asdict(figures)) if given.json else report(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
