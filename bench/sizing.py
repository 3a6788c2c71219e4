"""What an aggregator takes for so many nodes, once all are in: CPU, memory, disk, bandwidth, with nothing wrong.

    python -m bench.sizing [--nodes 100,1000,5000] [--settle 30] [--seconds 120] [--links 50] [--moving 10]

The aggregator is the real one with its databases on the disk of --directory; agents are the real streams of
bench.storm, in processes of their own, each with `--links` interfaces of 24 counters of which `--moving` have traffic.
No API server: what its objects take comes on top, and is measured by bench.cluster_view (docs/performance.md). CPU is
the process's own time, so that what else runs on the machine does not count; `kept up` says whether all that should
have come did.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.settings import StreamSettings
from bench.storm.__main__ import Aggregator, Workers, working

_RECEIVED = re.compile(r"\bbytes_received:(\d+)")
_SENT = re.compile(r"\bbytes_sent:(\d+)")


@dataclass(frozen=True, slots=True)
class Point:
    """The counters of a moment."""

    at: float
    cpu_s: float
    disk_bytes: int
    received: int
    """Bytes of TCP's payload, of all connections, since they were made."""
    sent: int
    updates: int
    """That agents had acknowledged, all together."""


def arguments(words: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.sizing", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--nodes", default="100,1000,5000", help="how many, one run after the other")
    parser.add_argument("--settle", type=float, default=30.0, help="seconds after all are in, before it is measured")
    parser.add_argument("--seconds", type=float, default=120.0, help="how long it is measured")
    parser.add_argument("--links", type=int, default=50, help="interfaces of each host, 24 counters each")
    parser.add_argument("--moving", type=int, default=10, help="interfaces with traffic")
    parser.add_argument("--processes", type=int, default=2, help="processes that the agents are in")
    parser.add_argument("--directory", default=None, help="where its databases are (default: a temporary directory)")
    return parser.parse_args(words)


def disk_bytes(directory: str) -> int:
    """What the databases take, as the file system counts."""
    return sum(path.stat().st_blocks * 512 for path in Path(directory).glob("*.sqlite*"))


def traffic(port: int) -> tuple[int, int]:
    """Payload received and sent on the connections to a port of this host. Source: ss(8), tcp_info."""
    told = subprocess.run(["ss", "-tinH", f"sport = :{port}"], check=True, capture_output=True, text=True).stdout
    return sum(map(int, _RECEIVED.findall(told))), sum(map(int, _SENT.findall(told)))


async def point(aggregator: Aggregator, workers: Workers, directory: str) -> Point:
    """Now."""
    reports = await workers.ask("report")
    received, sent = await asyncio.to_thread(traffic, int(aggregator.address.rpartition(":")[2]))
    updates = sum(report.acknowledged for report in reports)
    return Point(time.monotonic(), aggregator.cpu_s(), disk_bytes(directory), received, sent, updates)


async def measure(wanted: argparse.Namespace, nodes: int, directory: str) -> None:
    """One size, as a line."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    aggregator = Aggregator(address, directory, "")
    wanted.agents = nodes
    await aggregator.start()
    try:
        async with working(wanted, address, "") as workers:
            began = time.monotonic()
            reports = await workers.until_back(nodes)
            took, cpu = time.monotonic() - began, aggregator.cpu_s()
            known = sum(len(report.back) for report in reports)
            peak = aggregator.memory_mib("VmHWM")
            await asyncio.sleep(wanted.settle)
            first = await point(aggregator, workers, directory)
            await asyncio.sleep(wanted.seconds)
            last = await point(aggregator, workers, directory)
            memory, most = aggregator.memory_mib("VmRSS"), aggregator.memory_mib("VmHWM")
    finally:
        await aggregator.kill()
    span = last.at - first.at
    expected = nodes * span / StreamSettings().batch_interval_s
    print(
        f"{nodes:>6,} nodes: in after {took:.0f} s ({known:,}, {cpu:.1f} s of CPU, {peak:.0f} MiB at most); then "
        f"CPU {100 * (last.cpu_s - first.cpu_s) / span:.1f} % of a core, RSS {memory:.0f} MiB ({most:.0f} at most), "
        f"disk {last.disk_bytes / 2**20:.0f} MiB and {3600 / span * (last.disk_bytes - first.disk_bytes) / 2**20:+.0f} "
        f"MiB/h, in {(last.received - first.received) / span / 1024:.0f} KiB/s, "
        f"out {(last.sent - first.sent) / span / 1024:.0f} KiB/s, "
        f"kept up {100 * (last.updates - first.updates) / expected:.0f} %",
        flush=True,
    )


def main() -> int:
    """The program."""
    wanted = arguments(sys.argv[1:])
    for nodes in (int(each) for each in wanted.nodes.split(",")):
        with tempfile.TemporaryDirectory(prefix="nodetell-sizing-", dir=wanted.directory) as directory:
            asyncio.run(measure(wanted, nodes, directory))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
