"""What the view of the API server costs: objects per second, memory per pod and per node, and how long it ever stalls.

    python -m bench.cluster_view --pods 150000 --nodes 5000

The objects are made by another process and come as the API server's client hands them on: pages of 500 as raw JSON,
taken in 50 at a time. "Slice" is what the event loop is held for at once, the collector of cycles included.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple

import msgspec

from aggregator.cluster.intake import LISTS, ClusterSink
from aggregator.cluster.sink import Listing
from aggregator.cluster.state import ClusterState
from bench.cluster_objects import Size
from bench.measure import memory

SLICE = 50
"""Objects that are taken in before others get their turn."""


class Page(msgspec.Struct):
    """A line of bench.cluster_objects."""

    resource: str
    items: list[msgspec.Raw]


class Listed(NamedTuple):
    """What a list came to."""

    objects: int
    seconds: float
    longest: float
    """The longest slice, seconds."""

    @property
    def rate(self) -> float:
        """Objects per second."""
        return self.objects / self.seconds if self.seconds else 0.0


@dataclass(slots=True)
class Figures:
    """All that is measured. Rates: objects per second. Times: seconds of CPU. Memory: MiB, or bytes each."""

    pods: int = 0
    nodes: int = 0
    listed_per_s: float = 0.0
    relist_unchanged_s: float = 0.0
    relist_changed_s: float = 0.0
    changed: float = 0.0
    watched_per_s: float = 0.0
    bytes_per_pod: float = 0.0
    bytes_per_node: float = 0.0
    rss_before: float = 0.0
    rss: float = 0.0
    rss_after: float = 0.0
    """After relists and watches: what did not leak."""
    longest_slice_s: float = 0.0
    problems: list[str] = field(default_factory=list)


@contextmanager
def objects(size: Size, *more: str) -> Iterator[Iterator[bytes]]:
    """The objects, from a process of their own."""
    command = [
        sys.executable,
        "-m",
        "bench.cluster_objects",
        "--pods",
        str(size.pods),
        "--nodes",
        str(size.nodes),
        *more,
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[1]) as process:
        assert process.stdout is not None
        yield iter(process.stdout)


class Taken:
    """Takes pages in as the client of the API server does."""

    def __init__(self) -> None:
        self.state = ClusterState()
        self.sink = ClusterSink(self.state)
        self._decoder = msgspec.json.Decoder(Page)
        self.longest = 0.0

    def list(self, lines: Iterator[bytes]) -> dict[str, Listed]:
        """Take in lists; what each came to."""
        listings: dict[str, Listing] = {}
        listed: dict[str, Listed] = {}
        for line in lines:
            started = time.thread_time()
            page = self._decoder.decode(line)
            took = time.thread_time() - started
            if page.resource not in listings:
                listings[page.resource] = self.sink.begin(page.resource)
                listed[page.resource] = Listed(0, 0.0, 0.0)
            takes = [
                _timed(listings[page.resource].page, page.items[start : start + SLICE])
                for start in range(0, len(page.items), SLICE)
            ]
            count, spent, longest = listed[page.resource]
            listed[page.resource] = Listed(count + len(page.items), spent + took + sum(takes), max(longest, *takes))
        for resource, listing in listings.items():
            took = _timed(listing.done)
            count, spent, longest = listed[resource]
            listed[resource] = Listed(count, spent + took, max(longest, took))
        self.longest = max([self.longest, *(each.longest for each in listed.values())])
        return listed

    def watch(self, lines: Iterator[bytes]) -> Listed:
        """Take objects in one by one, as a watch brings them."""
        count, spent, longest = 0, 0.0, 0.0
        for line in lines:
            page = self._decoder.decode(line)
            for item in page.items:
                took = _timed(self.sink.put, page.resource, item)
                spent, longest, count = spent + took, max(longest, took), count + 1
        self.longest = max(self.longest, longest)
        return Listed(count, spent, longest)


def _timed(call: Callable[..., None], *arguments: object) -> float:
    started = time.thread_time()
    call(*arguments)
    return time.thread_time() - started


def measured(size: Size, changed: float, watched: float) -> Figures:
    """Everything, in this process: it should be a fresh one. `watched`: share of the pods that a watch brings."""
    figures = Figures(pods=size.pods, nodes=size.nodes, changed=changed, rss_before=_rss())
    taken = Taken()
    with objects(size, "--only", "nodes") as lines:
        taken.list(lines)
    after_nodes = _rss()
    with objects(size, "--only", "pods") as lines:
        pods = taken.list(lines)["pods"]
    after_pods = _rss()
    with objects(size) as lines:
        again = taken.list(lines)["pods"]
    figures.listed_per_s, figures.rss = pods.rate, _rss()
    figures.bytes_per_node = (after_nodes - figures.rss_before) * 2**20 / size.nodes
    figures.bytes_per_pod = (after_pods - after_nodes) * 2**20 / size.pods
    figures.relist_unchanged_s = again.seconds
    with objects(size, "--only", "pods", "--changed", str(changed)) as lines:
        figures.relist_changed_s = taken.list(lines)["pods"].seconds
    with objects(size, "--only", "pods", "--changed", str(watched)) as lines:
        figures.watched_per_s = taken.watch(lines).rate
    figures.rss_after, figures.longest_slice_s = _rss(), taken.longest
    figures.problems = [line for resource in LISTS for line in taken.sink.problems(resource)]
    missing = size.pods - len(taken.state.pods)
    if missing or len(taken.state.nodes) != size.nodes:
        figures.problems.append(f"{missing} pods and {size.nodes - len(taken.state.nodes)} nodes are missing")
    return figures


def _rss() -> float:
    return memory(os.getpid(), None).rss


def report(figures: Figures) -> str:
    """To read."""
    each = figures
    lines = [
        f"{each.pods:,} pods and {each.nodes:,} nodes with their claims, volumes, attachments, leases and events",
        f"list                 {each.listed_per_s:,.0f} pods/s",
        f"list, nothing new    {each.relist_unchanged_s:.2f} s ({each.pods / each.relist_unchanged_s:,.0f} pods/s)",
        f"list, {each.changed:.0%} new         {each.relist_changed_s:.2f} s",
        f"watch                {each.watched_per_s:,.0f} events/s",
        f"memory of a pod      {each.bytes_per_pod:,.0f} bytes",
        f"memory of a node     {each.bytes_per_node:,.0f} bytes",
        f"memory in all        {each.rss:,.0f} MiB, {each.rss_before:,.0f} before, {each.rss_after:,.0f} at last",
        f"longest slice        {each.longest_slice_s * 1000:.1f} ms",
    ]
    return "\n".join([*lines, *(f"problem: {line}" for line in each.problems)])


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 if anything was lost or odd."""
    parser = argparse.ArgumentParser(prog="bench.cluster_view", description=__doc__)
    parser.add_argument("--pods", type=int, default=150_000)
    parser.add_argument("--nodes", type=int, default=5_000)
    parser.add_argument(
        "--changed", type=float, default=0.01, help="share of the pods that a second list finds changed"
    )
    parser.add_argument("--watched", type=float, default=1.0, help="share of the pods that watch events bring anew")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args(arguments)
    figures = measured(Size(options.pods, options.nodes), options.changed, options.watched)
    print(report(figures))
    if options.json:
        options.json.write_text(json.dumps(asdict(figures), indent=1) + "\n")
    return 1 if figures.problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
