"""What one evaluation of all signatures costs in a large cluster: from nothing, again, and after a single change.

    python -m bench.evaluation [--nodes 5000] [--pods 150000] [--format json]

The hosts are as their agents' own encoder reports them, with 30 to 100 interfaces each, and the API server's objects
are those of bench.cluster_objects as they come off the wire. Times are CPU time of this one process: the median of
several, where it can be done again. What is printed for each:

- cold: nothing has been judged yet. What follows from one host's items alone was worked out as they came, as the
  aggregator does it (engine.prepare); what that took is told apart;
- what-ifs: what the loss of a node or a zone would strand is worked out part by part, as the aggregator has it, here
  with an evaluation each second: at first, until all is known (of how many evaluations, the dearest), and again a
  minute later (of twenty, the dearest);
- all hosts changed: every host has sent new counters since, as all do within a few seconds;
- again: nothing has changed; one host, one host's drops, one pod: that alone has changed;
- what the aggregator does around it each time: who is heard, what findings became of it, who probes whom.

"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from aggregator import engine, probing
from aggregator.cluster.intake import ClusterSink
from aggregator.cluster.state import ClusterState
from aggregator.engine import Judgement
from aggregator.findings import FindingBook, Presence
from aggregator.model import Verdict
from aggregator.signatures.thresholds import Thresholds
from aggregator.view import ClusterView
from bench.cluster_objects import Size, pages
from bench.cluster_view import Page
from bench.hosts import OVERLAY, START, Host, Mounted

FULL_MS, CHANGE_MS = 500.0, 20.0
"""Numbers to beat: one full evaluation, and one after a single change."""
_ROUNDS = 5
_TOTAL = "all signatures"
_FIRST, _LATER = "what-ifs, at first", "what-ifs, later"
_MOST_FIRST = 2_000
_ROUNDS_LATER = 20


class Cluster:
    """A cluster of some size, and the view of it."""

    def __init__(self, nodes: int, pods: int) -> None:
        self.objects = ClusterState()
        self._sink = ClusterSink(self.objects)
        self._pods: list[msgspec.Raw] = []
        self._take_objects(Size(pods, nodes))
        names = sorted(self.objects.nodes)
        self.hosts = [Host(number, names, self._volumes(name)) for number, name in enumerate(names)]
        self.at = START
        self.pending = False
        """The latest evaluation has not looked at everything."""
        for host in self.hosts:
            host.report(self.at)
        begun = time.process_time()
        for host in self.hosts:
            engine.prepare(host.state, self.objects.nodes.get(host.name))
        self.preparing_ms = (time.process_time() - begun) * 1000 / max(1, nodes)
        """Of each host, as its first report comes."""
        for _ in range(3):
            self.all_hosts()

    def _take_objects(self, size: Size) -> None:
        listings = {}
        for line in pages(size):
            page = msgspec.json.decode(line, type=Page)
            if page.resource not in listings:
                listings[page.resource] = self._sink.begin(page.resource)
            listings[page.resource].page(page.items)
            if page.resource == "pods" and not self._pods:
                self._pods = page.items
        for listing in listings.values():
            listing.done()

    def _volumes(self, node: str) -> Iterator[Mounted]:
        for attachment in self.objects.attachments_to(node).values():
            volume = self.objects.volumes.get(attachment.volume)
            for pod in self.objects.pods_of_claim(volume.claim).values() if volume is not None else ():
                if volume is not None:
                    yield Mounted(volume.name, volume.handle, volume.driver, pod.uid)

    @property
    def view(self) -> ClusterView:
        """As it is now."""
        hosts = {host.name: host.state for host in self.hosts}
        return ClusterView("bench", hosts, self.objects, self.at, gradual=True)

    def all_hosts(self) -> None:
        """Every host reports."""
        self._pass(5)
        for host in self.hosts:
            host.traffic(self.at)

    def one_host(self) -> None:
        """One host reports, as usual."""
        self.hosts[0].traffic(self.at + 1)

    def one_hosts_drops(self) -> None:
        """One host reports drops on its overlay."""
        self.hosts[0].traffic(self.at + 1, (OVERLAY,), tx_dropped=1_000)

    def one_pod(self) -> None:
        """One pod has another version, and has restarted."""
        pod = msgspec.json.decode(self._pods[0])
        pod["metadata"]["resourceVersion"] += "1"
        pod["status"]["containerStatuses"][0]["restartCount"] += 1
        self._pods[0] = msgspec.Raw(msgspec.json.encode(pod))
        self._sink.put("pods", self._pods[0])

    def a_second(self) -> None:
        """Time passes."""
        self._pass(1)

    def a_minute(self) -> None:
        """More of it passes, with evaluations in between."""
        for _ in range(6):
            self._pass(10)
            engine.judge(self.view, Thresholds())

    def _pass(self, seconds: int) -> None:
        """Leases are renewed meanwhile, each within ten seconds."""
        self.at += seconds
        for number, (key, lease) in enumerate(list(self.objects.leases.items())):
            if (number - self.at) % 10 < seconds:
                self.objects.keep("leases", key, msgspec.structs.replace(lease, renewed=self.at))

    def nothing(self) -> None:
        """It is as it was."""


def measure(nodes: int, pods: int, rounds: int = _ROUNDS) -> dict[str, Any]:
    """Milliseconds by what was done, and by what of it."""
    cluster = Cluster(nodes, pods)
    gc.collect()
    gc.freeze()
    result: dict[str, Any] = {"nodes": nodes, "pods": len(cluster.objects.pods), "ms": {}}
    result["ms"]["cold"] = _judged(cluster, cluster.nothing, 1)
    first = 0
    while cluster.pending and first < _MOST_FIRST:
        _merge_worst(result["ms"].setdefault(_FIRST, {}), _judged(cluster, cluster.a_second, 1))
        first += 1
    result["first"] = first
    cluster.a_minute()
    for _ in range(_ROUNDS_LATER):
        _merge_worst(result["ms"].setdefault(_LATER, {}), _judged(cluster, cluster.a_second, 1))
    result["findings"] = [finding.code for finding in engine.judge(cluster.view, Thresholds()).verdict.findings]
    for name, change in (
        ("all hosts changed", cluster.all_hosts),
        ("again", cluster.nothing),
        ("one host", cluster.one_host),
        ("one host's drops", cluster.one_hosts_drops),
        ("one pod", cluster.one_pod),
    ):
        result["ms"][name] = _judged(cluster, change, rounds)
    result["around"] = _around(cluster, rounds)
    gc.unfreeze()
    return result


def _merge_worst(worst: dict[str, float], spent: dict[str, float]) -> None:
    for name, ms in spent.items():
        worst[name] = max(ms, worst.get(name, 0.0))


def _judged(cluster: Cluster, change: Callable[[], None], rounds: int) -> dict[str, float]:
    """CPU milliseconds of each signature, and of all with what joins them."""
    spent: dict[str, list[float]] = {}

    def timed(name: str, signature: engine.Signature) -> engine.Signature:
        def run(view: ClusterView, thresholds: Thresholds) -> Verdict:
            begun = time.process_time()
            try:
                return signature(view, thresholds)
            finally:
                spent.setdefault(name, []).append((time.process_time() - begun) * 1000)

        return run

    signatures = tuple((name, timed(name, signature)) for name, signature in engine.SIGNATURES)
    for _ in range(rounds):
        change()
        view = cluster.view
        begun = time.process_time()
        judgement = engine.judge(view, Thresholds(), signatures)
        cluster.pending = bool(judgement.verdict.pending)
        spent.setdefault(_TOTAL, []).append((time.process_time() - begun) * 1000)
        assert not judgement.failed, judgement.failed
        assert not judgement.left_out, judgement.left_out
    return {name: statistics.median(times) for name, times in spent.items()}


def _around(cluster: Cluster, rounds: int) -> dict[str, float]:
    """CPU milliseconds of what the aggregator does beside the signatures."""
    book = FindingBook()
    judgement: Judgement = engine.judge(cluster.view, Thresholds())
    presence = Presence({host.name for host in cluster.hosts}, {})
    director = probing.Director(peers=4, interval_s=60.0, secret=bytes(32))
    roster = probing.Roster()

    longest = 0.0

    def arrange() -> None:
        nonlocal longest
        begun = time.process_time()
        hosts = ((host.state, b"agent") for host in cluster.hosts)
        for _ in director.arranging(roster.members(hosts), roster.classes(cluster.objects.nodes)):
            longest = max(longest, time.process_time() - begun)
            begun = time.process_time()
        longest = max(longest, time.process_time() - begun)

    def after_one_more() -> float:
        cluster.hosts.append(Host(len(cluster.hosts), [*(host.name for host in cluster.hosts), "one-more"]))
        cluster.hosts[-1].report(cluster.at)
        return _median(arrange, 1)

    return {
        "preparing one host": cluster.preparing_ms,
        "findings' lives": _median(lambda: book.update(judgement, presence, cluster.at), rounds),
        "who probes whom, from nothing": _median(arrange, 1),
        "who probes whom, as before": _median(arrange, rounds),
        "who probes whom, one agent more": after_one_more(),
        "who probes whom, longest step": longest * 1000,
    }


def _median(work: Callable[[], object], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        begun = time.process_time()
        work()
        times.append((time.process_time() - begun) * 1000)
    return statistics.median(times)


def report(result: dict[str, Any]) -> str:
    """As a table, with the verdict on each number to beat."""
    ms = result["ms"]
    names = list(ms["cold"])
    width = max(map(len, [*ms, *result["around"]]))
    columns = [max(len(name), 9) for name in names]
    lines = [f"{result['nodes']:,} nodes, {result['pods']:,} pods: CPU milliseconds of one evaluation", ""]
    lines.append("  ".join([" " * width, *(name.rjust(size) for name, size in zip(names, columns, strict=True))]))
    for what, spent in ms.items():
        cells = (f"{spent[name]:.1f}".rjust(size) for name, size in zip(names, columns, strict=True))
        lines.append("  ".join([what.ljust(width), *cells]))
    lines += ["", *(f"{what.ljust(width)}  {spent:.2f}" for what, spent in result["around"].items()), ""]
    lines.insert(-1, f"{'evaluations until all what-ifs were known'.ljust(width)}  {result['first']}")
    for what, most in (
        ("cold", FULL_MS),
        (_FIRST, FULL_MS),
        (_LATER, CHANGE_MS),
        ("all hosts changed", FULL_MS),
        ("one host", CHANGE_MS),
        ("one pod", CHANGE_MS),
    ):
        if what not in ms:
            continue
        met = "met" if ms[what][_TOTAL] < most else "NOT MET"
        lines.append(f"{what}, {_TOTAL}, below {most:g} ms: {ms[what][_TOTAL]:.1f} ms: {met}")
    codes = sorted(set(result["findings"]))
    lines.append(f"findings that stood: {len(result['findings'])}{' (' + ', '.join(codes) + ')' if codes else ''}")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench.evaluation", description=__doc__)
    parser.add_argument("--nodes", type=int, default=5_000)
    parser.add_argument("--pods", type=int, default=150_000)
    parser.add_argument("--rounds", type=int, default=_ROUNDS)
    parser.add_argument("--format", choices=("text", "json"), default="text")
    options = parser.parse_args(arguments)
    result = measure(options.nodes, options.pods, options.rounds)
    sys.stdout.write((json.dumps(result) if options.format == "json" else report(result)) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
