"""CPU per sweep and memory of the agent, beside node_exporter's, at a growing number of interfaces.

    python -m bench.sweep [--interfaces 10,100,500,1000] [--rounds 10] [--seconds 30] [--format json]

For each number a network namespace is made with so many interfaces, and in it, in turns, first quiet and then while a
few frames of random length go through every interface twice a second, so that all their counters have moved:

- node_exporter with netclass and netdev, and another with diskstats and filesystem too, scraped over HTTP, without
  compression (which would cost it more);
- the agent's collectors, in a process like the agent's.

Then the agent itself, as it runs, streaming to an aggregator over loopback, where nothing else passes: quiet, and with
all counters moving. CPU is the process's
CPU clock. The agent's sweep is the counters of all interfaces; names, MTUs and kinds, which netclass reads each time,
come by netlink events when they change. What turning it into messages and sending it costs is in the agent's own row.

Exit status 3: something it needs is not here.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench import place, processes
from bench.measure import Spread, cpu_seconds, memory, memory_group
from bench.place import inside, populate, traffic
from bench.processes import GET_EXPORTER, exporter, exporter_command, running, scrape, wait_for
from bench.report import EVERYTHING, NETWORK, report

TRAFFIC_INTERVAL_S = 0.5
SETTLE_S = 12.0
"""Until start-up and the first full update are over: two batch intervals and some."""


def obstacle() -> str:
    """Why this can't be measured here; empty: it can."""
    if reason := place.obstacle():
        return reason
    return "" if exporter() else f"needs node_exporter to compare with: {GET_EXPORTER}"


class Exporter:
    """A node_exporter with these collectors only."""

    def __init__(self, port: int, collectors: Sequence[str], stack: contextlib.ExitStack) -> None:
        path = exporter()
        assert path
        self.port = port
        self.group = stack.enter_context(memory_group(f"exporter-{port}"))
        self.pid = stack.enter_context(running(exporter_command(path, port, collectors), self.group))
        wait_for(port)
        self.cpu_us: list[float] = []
        self.bytes = 0

    def measure(self) -> None:
        """One scrape."""
        before = cpu_seconds(self.pid)
        self.bytes = scrape(self.port)
        self.cpu_us.append((cpu_seconds(self.pid) - before) * 1e6)

    def result(self) -> dict[str, Any]:
        """What it has cost."""
        return {
            "cpu_us": asdict(Spread.of(self.cpu_us)),
            "bytes": self.bytes,
            "memory": asdict(memory(self.pid, self.group)),
        }


def measure_sweeps(rounds: int) -> dict[str, Any]:
    """Scrapes and sweeps in turns, so that both meet the same machine; quiet first, then with all counters moving."""
    with contextlib.ExitStack() as stack:
        network = Exporter(19101, NETWORK, stack)
        everything = Exporter(19102, EVERYTHING, stack)
        sweeper = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-m", "bench.sweeper"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        )

        def turn() -> dict[str, float]:
            assert sweeper.stdin
            assert sweeper.stdout
            began = time.monotonic()
            network.measure()
            everything.measure()
            sweeper.stdin.write("\n")
            sweeper.stdin.flush()
            costs: dict[str, float] = json.loads(sweeper.stdout.readline())
            time.sleep(max(0.0, 2 * TRAFFIC_INTERVAL_S - (time.monotonic() - began)))
            return costs

        for _ in range(2):  # caches fill
            turn()
        network.cpu_us.clear()
        everything.cpu_us.clear()
        quiet = [turn() for _ in range(rounds)]
        with traffic(TRAFFIC_INTERVAL_S):
            turn()
            moving = [turn() for _ in range(rounds)]
        sweeper.communicate()
        return {
            "node_exporter": {"+".join(NETWORK): network.result(), "+".join(EVERYTHING): everything.result()},
            "sweep_us": {"quiet": spreads(quiet), "moving": spreads(moving)},
        }


def spreads(runs: Sequence[dict[str, float]]) -> dict[str, Any]:
    """Of each named cost."""
    return {name: asdict(Spread.of([costs[name] for costs in runs])) for name in runs[0]}


def watched(pid: int, seconds: float, parts: int = 5) -> dict[str, Any]:
    """Per cent of one core that a process takes, in several parts, and what passes loopback meanwhile."""
    shares = []
    before_bytes = loopback_bytes()
    start = time.monotonic()
    for _ in range(parts):
        began, before = time.monotonic(), cpu_seconds(pid)
        time.sleep(seconds / parts)
        shares.append(100 * (cpu_seconds(pid) - before) / (time.monotonic() - began))
    per_minute = (loopback_bytes() - before_bytes) / (time.monotonic() - start) * 60
    return {"percent": asdict(Spread.of(shares)), "bytes_per_minute": per_minute}


def loopback_bytes() -> int:
    """Bytes that passed loopback so far, TCP and IP headers included, Ethernet's (14) not."""
    statistics = Path("/sys/class/net/lo/statistics")
    length, packets = (int((statistics / name).read_text()) for name in ("rx_bytes", "rx_packets"))
    return length - 14 * packets


def measure_agent(seconds: float) -> dict[str, Any]:
    """The agent as it runs, with all its defaults, beside an aggregator that takes everything in."""
    address = "127.0.0.1:19103"
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nodetell-bench-")))
        receiver = stack.enter_context(processes.aggregator(address, scratch))
        group = stack.enter_context(memory_group("agent"))
        agent = stack.enter_context(processes.agent(address, scratch, group))
        time.sleep(SETTLE_S)
        processes.check_agent(address, scratch)
        quiet = watched(agent, seconds)
        with traffic(TRAFFIC_INTERVAL_S):
            time.sleep(2 * TRAFFIC_INTERVAL_S)
            moving = watched(agent, seconds)
        return {
            "quiet": quiet,
            "moving": moving,
            "memory": asdict(memory(agent, group)),
            "aggregator_memory": asdict(memory(receiver, None)),
        }


def main() -> int:
    """Measures outside-in: this process starts itself again in each namespace."""
    parser = argparse.ArgumentParser(description="CPU and memory of the agent beside node_exporter's")
    parser.add_argument("--interfaces", default="10,100,500,1000", help="how many (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=10, help="scrapes and sweeps of each (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=30, help="watching the agent (default: %(default)s)")
    parser.add_argument("--format", choices=("text", "json"), default="text")
    parser.add_argument("--inside", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--result", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if reason := obstacle():
        print(f"bench: {reason}", file=sys.stderr)
        return 3
    if options.inside:
        populate(options.inside)
        result = measure_sweeps(options.rounds)
        result["agent"] = measure_agent(options.seconds)
        options.result.write_text(json.dumps(result))
        return 0
    results = {}
    with tempfile.TemporaryDirectory(prefix="nodetell-bench-") as scratch:
        for count in map(int, options.interfaces.split(",")):
            print(f"bench: {count} interfaces", file=sys.stderr, flush=True)
            file = Path(scratch) / f"{count}.json"
            arguments = ["--inside", str(count), "--rounds", str(options.rounds), "--seconds", str(options.seconds)]
            if inside("bench.sweep", [*arguments, "--result", str(file)]):
                print(f"bench: failed at {count} interfaces", file=sys.stderr)
                return 1
            results[count] = json.loads(file.read_text())
    print(json.dumps(results, indent=2) if options.format == "json" else report(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
