"""What the agent costs with everything on, beside node_exporter, netdata and collectd on the same host in the same run.

    python -m bench.rivals [--interfaces 100,1000] [--parts 3] [--format json]      # or: make bench-rivals

All of them run at the same time, so that they meet the same machine, in a network namespace with so many interfaces and
in mount and pid namespaces in which nothing else runs: first quiet, then while a few frames go through every interface
twice a second, so that all their counters have moved. Measured of each, with all processes that it has started:

- CPU: per cent of one core, user and system, over parts of half a minute, in which each exporter is scraped as often;
- memory: RSS and PSS, summed over its processes, and what its control group is charged with. Two contestants that are
  the same program share pages: PSS divides them, and the control group of the one that came first is charged;
- bytes a minute of what it tells others, over loopback, both directions, with the headers of IP and TCP or UDP;
- system calls a second, counted by the kernel (perf) in a time of its own, for counting costs something.

Ours is the agent with all its collectors, the sensor, a probe of a directory and the responder of path MTU probes, and
streams to an aggregator, which is not counted, no more than Prometheus, netdata's parent or collectd's server is.
node_exporter is scraped as Prometheus does it, compressed. Nothing is encrypted.

The agent keeps to a budget of CPU time by reading some things less often, which takes it the first minutes: what it has
stretched at the end of either half is said, and --budget-percent 100 shows what everything costs at its full pace.

A rival that is not installed is left out, and how to get it is said. Nothing is installed, and all that was started is
stopped, on Ctrl-C too. Exit status 3: something that is needed for any of it is not here.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agent.budget import DEFAULT_PERCENT
from bench import place, processes, syscalls, wire
from bench.contestants import AGGREGATOR_PORT, OURS, Contestant, contestants
from bench.measure import Spread, alive, memory_group, tree, tree_cpu_seconds, tree_memory
from bench.rivals_report import report

TRAFFIC_INTERVAL_S = 0.5
SETTLE_S = 25.0
"""Until what all of them do at their start is over."""
PART_S = 30.0
"""Both intervals of scraping are contained a whole number of times in it."""
SYSCALLS_S = 15.0
AGGREGATOR = f"127.0.0.1:{AGGREGATOR_PORT}"


@dataclass(frozen=True, slots=True)
class Runner:
    """A contestant that runs."""

    contestant: Contestant
    pids: Mapping[str, int]
    group: Path | None
    scratch: Path

    def ended(self) -> str:
        """Which of its processes has ended, with the end of its log; empty: none."""
        names = [name for name, pid in self.pids.items() if not alive(pid)]
        if not names:
            return ""
        logs = "".join(file.read_text(errors="replace")[-500:] for file in sorted(self.scratch.glob("*log")))
        return f"{' and '.join(names)} ended: {' / '.join(logs.split(chr(10))[-4:])}"


def start(contestant: Contestant, scratch: Path, stack: contextlib.ExitStack) -> Runner:
    """Start one, until the stack is closed."""
    group = stack.enter_context(memory_group("rival"))
    return Runner(contestant, contestant.start(scratch, group, stack), group, scratch)


def share(before: tuple[float, float], after: tuple[float, float]) -> float:
    """Per cent of one core between two readings of (time, CPU time), both in seconds."""
    return 100 * (after[1] - before[1]) / (after[0] - before[0])


def watched(runners: Sequence[Runner], parts: int, part_s: float) -> dict[str, dict[str, Any]]:
    """CPU and bytes of each, in the same time."""
    processes_of = {(runner.contestant.name, name): [pid] for runner in runners for name, pid in runner.pids.items()}
    readings: list[dict[tuple[str, str], tuple[float, float]]] = []
    began, bytes_before = time.monotonic(), wire.counted()
    for part in range(parts + 1):
        order = list(processes_of)[:: -1 if part % 2 else 1]
        readings.append({key: (time.monotonic(), tree_cpu_seconds(processes_of[key])) for key in order})
        if part < parts:
            progress(f"  part {part + 1} of {parts}, {part_s:g} s")
            time.sleep(max(0.0, began + (part + 1) * part_s - time.monotonic()))
    seconds, bytes_after = time.monotonic() - began, wire.counted()
    result: dict[str, dict[str, Any]] = {}
    for runner in runners:
        shares = {
            name: [share(a[key], b[key]) for a, b in itertools.pairwise(readings)]
            for name, key in ((name, (runner.contestant.name, name)) for name in runner.pids)
        }
        port = runner.contestant.port
        result[runner.contestant.name] = {
            "percent": asdict(Spread.of([sum(part) for part in zip(*shares.values(), strict=True)])),
            "percent_by_process": {name: asdict(Spread.of(of_one)) for name, of_one in shares.items()},
            "bytes_per_minute": None if port is None else (bytes_after[port] - bytes_before[port]) / seconds * 60,
        }
    return result


def measure(parts: int, part_s: float, settle_s: float, budget_percent: float) -> dict[str, Any]:
    """Everything, in the namespaces that were made for it."""
    failed: list[str] = []
    everyone = contestants(failed, budget_percent)
    left_out = {one.name: one.missing for one in everyone if one.missing}
    here = [one for one in everyone if not one.missing]
    wire.count_ports([one.port for one in here if one.port is not None])
    # On a disk, where netdata keeps its data and where syncs are probed.
    with tempfile.TemporaryDirectory(prefix="nodetell-bench-", dir="/var/tmp") as base, contextlib.ExitStack() as stack:
        runners = []
        for number, one in enumerate(here):
            scratch = Path(base) / str(number)
            scratch.mkdir()
            runners.append(start(one, scratch, stack))
        progress(f"  {len(runners)} run side by side; settling, {settle_s:g} s")
        time.sleep(settle_s)
        processes.check_agent(AGGREGATOR, runners[0].scratch)
        for runner in runners:
            if reason := runner.ended():
                left_out[runner.contestant.name] = reason
        runners = [runner for runner in runners if runner.contestant.name not in left_out]
        progress("  quiet")
        quiet = watched(runners, parts, part_s)
        stretched = {"quiet": processes.stretched(AGGREGATOR)}
        with place.traffic(TRAFFIC_INTERVAL_S):
            time.sleep(2 * TRAFFIC_INTERVAL_S)
            progress("  all counters moving")
            moving = watched(runners, parts, part_s)
            stretched["moving"] = processes.stretched(AGGREGATOR)
            used = {one.contestant.name: asdict(tree_memory(one.pids.values(), one.group)) for one in runners}
            calls: Mapping[str, float | None] = {}
            if not (uncounted := syscalls.obstacle()):
                progress(f"  system calls, {SYSCALLS_S:g} s")
                calls = syscalls.per_second(
                    {one.contestant.name: tree(one.pids.values()) for one in runners}, SYSCALLS_S
                )
        failed += [f"{one.contestant.name}: {reason}" for one in runners if (reason := one.ended())]
    if failed:
        raise RuntimeError("; ".join(failed[:5]))
    measured = {
        name: {
            "quiet": quiet[name],
            "moving": moving[name],
            "memory": used[name],
            "syscalls_per_second": calls.get(name),
        }
        for name in quiet
    }
    return {
        "measured": measured,
        "budget_percent": budget_percent,
        "read_less_often": stretched,
        "left_out": left_out,
        "syscalls_not_measured": uncounted,
    }


def progress(text: str) -> None:
    """To standard error."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="The agent with everything on, beside node_exporter, netdata and collectd, all at the same time: "
        "CPU, memory, bytes on the wire, system calls. Four minutes for each number of interfaces, as root."
    )
    parser.add_argument("--interfaces", default="100", help="how many; several after commas (default: %(default)s)")
    parser.add_argument("--parts", type=int, default=3, help=f"of {PART_S:g} s, quiet and again moving (default: 3)")
    parser.add_argument(
        "--budget-percent",
        type=float,
        default=DEFAULT_PERCENT,
        help="of a core, to which the agent keeps by reading less often; 100: it never does (default: %(default)s)",
    )
    parser.add_argument("--part-seconds", type=float, default=PART_S, help=argparse.SUPPRESS)
    parser.add_argument("--settle-seconds", type=float, default=SETTLE_S, help=argparse.SUPPRESS)
    parser.add_argument("--format", choices=("text", "json"), default="text", help="what to print (default: text)")
    parser.add_argument("--inside", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--result", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.parts < 1:
        parser.error("--parts must be at least 1")
    try:
        options.counts = [int(text) for text in options.interfaces.split(",")]
    except ValueError:
        parser.error(f'--interfaces: "{options.interfaces}" is not a number, nor several after commas')
    if min(options.counts) < 2:
        parser.error("--interfaces: at least 2, of which one is loopback")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures outside-in: this process starts itself again in each namespace."""
    options = parsed(arguments)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        return run(options)
    except KeyboardInterrupt:
        if not options.inside:
            progress("interrupted; all that was started has been stopped")
        return 130


def run(options: argparse.Namespace) -> int:
    """Exit status."""
    if options.inside:
        place.populate(options.inside)
        result = measure(options.parts, options.part_seconds, options.settle_seconds, options.budget_percent)
        options.result.write_text(json.dumps(result))
        return 0
    if reason := place.obstacle() or wire.obstacle():
        progress(reason)
        return 3
    results = {}
    with tempfile.TemporaryDirectory(prefix="nodetell-bench-") as scratch:
        for count in options.counts:
            progress(f"{count} interfaces")
            file = Path(scratch) / f"{count}.json"
            inner = ["--inside", str(count), "--parts", str(options.parts), "--result", str(file)]
            inner += ["--part-seconds", str(options.part_seconds), "--settle-seconds", str(options.settle_seconds)]
            inner += ["--budget-percent", str(options.budget_percent)]
            if place.inside("bench.rivals", inner):
                progress(f"failed at {count} interfaces")
                return 1
            results[count] = json.loads(file.read_text())
    print(json.dumps(results, indent=2) if options.format == "json" else report(results, OURS))
    return 0


if __name__ == "__main__":
    sys.exit(main())
