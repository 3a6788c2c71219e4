"""How long the HTTP API keeps others in the aggregator waiting, and how long a client waits for it.

    python -m bench.http_api [--nodes 5000] [--rounds 5] [--format json]

A server over real sockets, in the event loop of this process as in the aggregator's, of hosts like those of a large
cluster, and a client in another process. Told for each address, the median and the worst of some rounds: how long the
client waited, what came over the wire (gzip), and the longest time (CPU time of the loop's thread) in which the loop
served nobody else, which is what an agent's stream would have waited.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
import urllib.request
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

from aggregator.findings import Record
from aggregator.model import Evidence, Finding, Severity, Stage
from aggregator.signatures.thresholds import Thresholds
from aggregator.view import ClusterView
from aggregator.web.server import HttpServer, make_site
from bench.hosts import START, Host
from cli.bundle_known import BundleKnown
from cli.report import Report

FINDINGS = 1_000


@dataclass
class _Holds:
    """The longest time in which the loop served nobody else, CPU time."""

    worst_s: float = 0.0

    async def watch(self) -> None:
        """Until cancelled."""
        while True:
            before = time.thread_time()
            await asyncio.sleep(0)
            self.worst_s = max(self.worst_s, time.thread_time() - before)


class _Anew(BundleKnown):
    """Of what is known, nothing is kept from one request to the next: as a running aggregator changes."""

    __slots__ = ()

    @property
    def live(self) -> bool:
        """It changes."""
        return True


def cluster(nodes: int) -> BundleKnown:
    """Hosts, and findings about them."""
    names = [f"worker-{number:05}" for number in range(nodes)]
    hosts = {}
    for number, name in enumerate(names):
        host = Host(number, names)
        host.report(START)
        host.traffic(START + 60)
        hosts[name] = host.state
    records = [Record(_finding(number, names[number % nodes]), "bench", START, START) for number in range(FINDINGS)]
    return _Anew(Report("bench", START + 60, records, []), ClusterView("bench", hosts), Thresholds(), {})


def _finding(number: int, node: str) -> Finding:
    fact = Evidence(node, "link.mtu", "flannel.1", 1500, "bytes", "rtnetlink", START)
    return Finding(
        id=f"mtu-path-below-link-{number:08x}",
        code="mtu.path_below_link",
        incident="mtu_mismatch",
        stage=Stage.ACTIVE,
        severity=Severity.WARNING,
        summary=f"On {node}: packets of 1500 bytes do not arrive at {number % 7} of 9 nodes, 1450 do.",
        nodes=(node,),
        evidence=(fact,) * 6,
        clears_when="all of them arrive",
        remediation=("lower the MTU of the interface",),
    )


def asked(url: str) -> tuple[float, int]:
    """Seconds until the whole answer was there, and its bytes on the wire; in a process of its own."""
    request = urllib.request.Request(url, headers={"Accept-Encoding": "gzip"})  # noqa: S310  # ours
    begun = time.perf_counter()
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310  # likewise
        size = len(answer.read())
    return time.perf_counter() - begun, size


async def measured(nodes: int, rounds: int) -> list[dict[str, float | str]]:
    """A row for each address."""
    server = HttpServer(make_site(cluster(nodes), None, page=False), "127.0.0.1:0")
    base = f"{await server.start()}/api/v1"
    loop, rows = asyncio.get_running_loop(), []
    with ProcessPoolExecutor(1, get_context("spawn")) as client:
        await loop.run_in_executor(client, asked, f"{base}/findings?limit=1")
        for path in ("/cluster", "/nodes?limit=1000", "/nodes/worker-00060", "/findings?limit=500", "/coverage"):
            holds, waits, size = [], [], 0
            for _ in range(rounds):
                await asyncio.sleep(1.1)  # so that no list is kept from the round before
                hold = _Holds()
                watching = asyncio.create_task(hold.watch())
                took, size = await loop.run_in_executor(client, asked, base + path)
                watching.cancel()
                waits.append(took)
                holds.append(hold.worst_s)
            rows.append(
                {
                    "path": path,
                    "wait_ms": statistics.median(waits) * 1000,
                    "wait_worst_ms": max(waits) * 1000,
                    "held_ms": statistics.median(holds) * 1000,
                    "held_worst_ms": max(holds) * 1000,
                    "wire_kb": size / 1000,
                }
            )
    await server.aclose()
    return rows


def main(arguments: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.http_api", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--nodes", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--format", choices=("text", "json"), default="text")
    given = parser.parse_args(arguments)
    rows = asyncio.run(measured(given.nodes, given.rounds))
    if given.format == "json":
        print(json.dumps({"nodes": given.nodes, "rows": rows}))
        return 0
    print(f"{given.nodes:,} nodes, {FINDINGS:,} findings, {given.rounds} rounds each")
    print(f"{'':26} {'client waits':>20} {'loop held':>20} {'on the wire':>12}")
    for row in rows:
        waits, held = ([float(row[f"{name}{worst}_ms"]) for worst in ("", "_worst")] for name in ("wait", "held"))
        told = [f"{median:6.1f} ({worst:5.1f}) ms" for median, worst in (waits, held)]
        print(f"{row['path']:26} {told[0]:>20} {told[1]:>20} {float(row['wire_kb']):9.1f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
