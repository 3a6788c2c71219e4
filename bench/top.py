"""What `nodetell top` takes while nobody types: bytes drawn per second, CPU and memory, at 3 and at 5,000 nodes.

Usage: PYTHONPATH=proto python -m bench.top [--seconds 30]. The aggregator is one of made-up answers, and each answer is
another; the terminal is a real one of 80 by 24.
"""

from __future__ import annotations

import argparse
import sys
import time

import psutil

from tests.cli.test_top import Busy, serve
from tests.cli.test_top_terminal import terminal

SETTLE_S = 5.0
"""It starts and fills its screen meanwhile."""


def measure(nodes: int, seconds: float) -> str:
    """One line."""
    operators = Busy(nodes)
    server, address = serve(operators)
    try:
        with terminal(address) as shown:
            shown.until(b"node-00")
            shown.watch(SETTLE_S)
            process = psutil.Process(shown.process.pid)
            drawn, took, asked = len(shown.text), _cpu(process), operators.times
            shown.watch(seconds)
            rate, share = (len(shown.text) - drawn) / seconds, (_cpu(process) - took) / seconds
            memory, answers = process.memory_info().rss >> 20, operators.times - asked
    finally:
        operators.hold.set()
        server.stop(None).wait()
    return (
        f"{nodes:,} nodes: {rate:,.0f} bytes/s, {share:.1%} of a core, {memory} MiB, {answers} answers in {seconds:g} s"
    )


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def main() -> int:
    """Both sizes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0)
    seconds = parser.parse_args().seconds
    for nodes in (3, 5_000):
        sys.stdout.write(measure(nodes, seconds) + "\n")
        sys.stdout.flush()
    began = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
    sys.stdout.write(f"{began} UTC, load {psutil.getloadavg()[0]:.1f}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
