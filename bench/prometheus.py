"""What a scrape of the agent costs beside one of node_exporter, in one run on the same interfaces.

    python -m bench.prometheus [--interfaces 100,1000] [--rounds 15] [--format json]

In namespaces of their own (root), with frames through all interfaces once a second: an agent that tells pods' veths as
one sum, an agent that tells each, node_exporter with the collectors whose metrics the agent has, too, and node_exporter
as it comes. They are scraped in turn, a round every 1.6 s, for an agent's answer holds for one second. Told for each:
CPU time of the process from the request to the end of the answer (median; its collectors, which read anyway, are in
it), wall-clock time, rows, and bytes plain and compressed. And once without scrapes: what an agent takes either way.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import measure, place, processes

COLLECTORS = (
    "netdev", "netclass", "netstat", "softnet", "diskstats", "cpu", "stat", "meminfo", "pressure", "conntrack", "timex",
    "filesystem",
)  # fmt: skip
"""Those of node_exporter whose metrics the agent has."""
SHARED, DEFAULT = "node_exporter, the same collectors", "node_exporter, its defaults"
FOLDED, EACH = "agent, pods as one sum", "agent, pod_interfaces"
EVERY_S = 1.6


@dataclass(slots=True)
class Target:
    """Something that is scraped."""

    name: str
    pid: int
    port: int
    cpu_ms: list[float] = field(default_factory=list)
    wall_ms: list[float] = field(default_factory=list)

    def scrape(self) -> None:
        """Once, and note what it took."""
        cpu, begun = measure.cpu_seconds(self.pid), time.perf_counter()
        processes.scrape(self.port)
        self.wall_ms.append((time.perf_counter() - begun) * 1000)
        self.cpu_ms.append((measure.cpu_seconds(self.pid) - cpu) * 1000)

    def told(self) -> dict[str, Any]:
        """As it is printed."""
        body = _body(self.port)
        return {
            "cpu_ms": statistics.median(self.cpu_ms),
            "cpu_ms_least": min(self.cpu_ms),
            "cpu_ms_most": max(self.cpu_ms),
            "wall_ms": statistics.median(self.wall_ms),
            "rows": sum(not line.startswith(b"#") for line in body.splitlines()),
            "bytes": len(body),
            "compressed": processes.scrape(self.port, "gzip"),
        }


def _body(port: int) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with contextlib.closing(connection):
        connection.request("GET", "/metrics")
        return connection.getresponse().read()


@contextlib.contextmanager
def _targets(scratch: Path) -> Iterator[list[Target]]:
    exporter = processes.exporter()
    assert exporter is not None  # main has looked
    with contextlib.ExitStack() as stack:
        found = []
        for port, (name, each) in enumerate(((FOLDED, "false"), (EACH, "true")), 9301):
            env = {
                "NODETELL_AGENT_PROMETHEUS_LISTEN": f"127.0.0.1:{port}",
                "NODETELL_AGENT_PROMETHEUS_POD_INTERFACES": each,
            }
            found.append(Target(name, stack.enter_context(processes.agent("127.0.0.1:1", scratch, None, env)), port))
        for port, (name, collectors) in enumerate(((SHARED, COLLECTORS), (DEFAULT, None)), 9401):
            command = processes.exporter_command(exporter, port, collectors)
            found.append(Target(name, stack.enter_context(processes.running(command)), port))
        for target in found:
            processes.wait_for(target.port)
        yield found


def measured(interfaces: int, rounds: int) -> dict[str, Any]:
    """Inside: all of it."""
    place.populate(interfaces)
    with tempfile.TemporaryDirectory() as scratch, place.traffic(1.0), _targets(Path(scratch)) as targets:
        time.sleep(12)  # collectors have read everything
        idle = {target.name: measure.cpu_seconds(target.pid) for target in targets}
        time.sleep(rounds * EVERY_S)
        idle = {target.name: measure.cpu_seconds(target.pid) - idle[target.name] for target in targets}
        for _ in range(rounds):
            began = time.monotonic()
            for target in targets:
                target.scrape()
            time.sleep(max(0.0, began + EVERY_S - time.monotonic()))
        found: dict[str, Any] = {target.name: target.told() for target in targets}
    for name, result in found.items():
        result["unscraped_percent"] = 100 * idle[name] / (rounds * EVERY_S)
    return found


def _inside(arguments: argparse.Namespace) -> int:
    found = measured(int(arguments.interfaces), arguments.rounds)
    Path(arguments.inside).write_text(json.dumps(found))
    return 0


def _print(interfaces: str, found: dict[str, Any]) -> None:
    print(f"{interfaces} interfaces")
    head = f"{'':36}{'CPU ms (least-most)':>24}{'wall ms':>9}{'rows':>8}{'kB':>9}{'gzip kB':>9}{'unscraped %':>13}"
    print(head)
    for name, one in found.items():
        cpu = f"{one['cpu_ms']:.1f} ({one['cpu_ms_least']:.1f}-{one['cpu_ms_most']:.1f})"
        sizes = f"{one['bytes'] / 1e3:>9.1f}{one['compressed'] / 1e3:>9.1f}{one['unscraped_percent']:>13.2f}"
        print(f"{name:36}{cpu:>24}{one['wall_ms']:>9.1f}{one['rows']:>8}{sizes}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--interfaces", default="100,1000", help="how many, several with commas between")
    parser.add_argument("--rounds", type=int, default=15, help="scrapes of each")
    parser.add_argument("--format", choices=("text", "json"), default="text")
    parser.add_argument("--inside", default="", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.inside:
        return _inside(options)
    if problem := place.obstacle() or (
        "" if processes.exporter() else f"needs node_exporter: {processes.GET_EXPORTER}"
    ):
        print(f"bench: {problem}", file=sys.stderr)
        return 2
    results = {}
    for interfaces in options.interfaces.split(","):
        with tempfile.NamedTemporaryFile(suffix=".json") as answer:
            ours = ["--interfaces", interfaces, "--rounds", str(options.rounds), "--inside", answer.name]
            if status := place.inside("bench.prometheus", ours):
                return status
            results[interfaces] = json.loads(Path(answer.name).read_text())
        if options.format == "text":
            _print(interfaces, results[interfaces])
    if options.format == "json":
        print(json.dumps(results))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.CalledProcessError as error:
        sys.exit(f"bench: {error}")
