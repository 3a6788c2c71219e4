"""What the page costs whoever looks at it, and the aggregator: first paint, bytes over the wire, time to make a page.

    PYTHONPATH=.:proto python -m bench.page [--nodes 5000] [--pods 50000] [--troubled 40] [--rounds 5]

A cluster of that size is made up (bench.evaluation: each host with its interfaces, volumes and latencies, the objects
of the API server) and judged; on some hosts the overlay does not fit. Its page is served as the aggregator serves it
and opened in a real Chromium, each time with nothing kept from before. "First paint" is the browser's own
first-contentful-paint, "wire" all that it was sent, heads and compressed bodies, style sheets and scripts among them.
"First" is what the very first request takes, for which the table of nodes and the coverage are gathered; "made" what
another takes that finds them (loopback, on the machine that the browser runs on).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from playwright.sync_api import Browser, sync_playwright

from aggregator import engine
from aggregator.convert import gap_from_coverage
from aggregator.findings import Record
from aggregator.known import Known
from aggregator.signatures.thresholds import Thresholds
from aggregator.web.server import HttpServer, make_site
from bench.evaluation import Cluster
from cli.bundle_known import BundleKnown
from cli.report import Report

EXECUTABLE = "/usr/bin/chromium"
OPTIONS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")
PATHS = ("", "findings", "nodes", "nodes?sort=fsync", "coverage", "maps/paths", "maps/storage")
_PAINTED = """() => new Promise(resolve => {
    const told = () => performance.getEntriesByName("first-contentful-paint")[0];
    const look = () => told() ? resolve(told().startTime) : setTimeout(look, 10);
    look();
})"""
_WIRE = """() => [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
    .reduce((sum, each) => sum + each.transferSize, 0)"""


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one page."""

    path: str
    first_s: float
    made_s: float
    """Median."""
    paint_s: float
    """Median first contentful paint."""
    worst_paint_s: float
    wire_kb: float
    """Thousands of bytes."""
    elements: int
    """In the document."""


def cluster(nodes: int, pods: int, troubled: int) -> Known:
    """One that is made up and judged; on `troubled` hosts the device below the overlay is smaller than it needs."""
    made = Cluster(nodes, pods)
    step = max(1, nodes // troubled) if troubled else nodes + 1
    for host in made.hosts[::step][:troubled]:
        for item in host.state.of("link"):
            if item.link.hardware:
                item.link.mtu = 1400
    view, thresholds = made.view, Thresholds()
    verdict = engine.judge(view, thresholds).verdict
    gaps = verdict.gaps + [
        gap_from_coverage(name, each) for name, state in view.hosts.items() for each in state.coverage()
    ]
    records = [Record(finding, "", made.at, made.at) for finding in verdict.findings]
    return BundleKnown(Report(view.cluster, made.at, records, gaps), view, thresholds, {})


@contextmanager
def served(known: Known) -> Iterator[str]:
    """Its page, from a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = HttpServer(make_site(known, None), "127.0.0.1:0")
    try:
        yield f"{asyncio.run_coroutine_threadsafe(server.start(), loop).result(30)}/"
    finally:
        asyncio.run_coroutine_threadsafe(server.aclose(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def asked(address: str) -> float:
    """Seconds until an answer is there as a whole."""
    begun = time.perf_counter()
    with urllib.request.urlopen(address, timeout=60) as answer:  # noqa: S310  # our own server, on loopback
        answer.read()
    return time.perf_counter() - begun


def looked(browser: Browser, address: str) -> tuple[float, float, int]:
    """(seconds to the first paint, bytes over the wire, elements) of one look with nothing kept from before."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    try:
        page = context.new_page()
        page.goto(address, wait_until="load")
        painted: float = page.evaluate(_PAINTED)
        sent: float = page.evaluate(_WIRE)
        elements: int = page.evaluate("document.querySelectorAll('*').length")
        return painted / 1000, sent, elements
    finally:
        context.close()


def measured(known: Known, rounds: int) -> list[Figures]:
    """Each page, `rounds` times."""
    found = []
    with served(known) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=EXECUTABLE, args=list(OPTIONS))
        for path in PATHS:
            first = asked(address + path)
            made = statistics.median(asked(address + path) for _ in range(rounds))
            looks = [looked(browser, address + path) for _ in range(rounds)]
            paints = [paint for paint, _, _ in looks]
            wire, elements = max(sent for _, sent, _ in looks) / 1000, looks[0][2]
            found.append(Figures(f"/{path}", first, made, statistics.median(paints), max(paints), wire, elements))
        browser.close()
    return found


def main(words: Sequence[str] | None = None) -> int:
    """Exit status 1: a page is later than a second or larger than 300 kB."""
    parser = argparse.ArgumentParser(prog="python -m bench.page", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--nodes", type=int, default=5_000)
    parser.add_argument("--pods", type=int, default=50_000)
    parser.add_argument("--troubled", type=int, default=40, help="nodes whose overlay does not fit")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    wanted = parser.parse_args(words)
    known = cluster(wanted.nodes, wanted.pods, wanted.troubled)
    print(f"{wanted.nodes:,} nodes, {wanted.pods:,} pods, {len(known.standing())} findings", file=sys.stderr)
    found = measured(known, wanted.rounds)
    if wanted.json:
        print(json.dumps([asdict(each) for each in found], indent=2))
    else:
        print(f"{'page':<20}{'first':>9}{'made':>9}{'paint':>9}{'worst':>9}{'wire':>10}{'elements':>10}")
        for each in found:
            times = f"{each.first_s:>7.2f} s{each.made_s:>7.3f} s{each.paint_s:>7.2f} s{each.worst_paint_s:>7.2f} s"
            print(f"{each.path:<20}{times}{each.wire_kb:>7.1f} kB{each.elements:>10,}")
    return int(any(each.paint_s > 1.0 or each.wire_kb > 300 for each in found))


if __name__ == "__main__":
    sys.exit(main())
