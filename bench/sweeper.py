"""The agent's collectors, run once for each line on standard input; answers with what each run cost.

A process of its own, so that nothing but the host and its collectors is in the figures, as it is in the agent.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from functools import partial

from agent.collectors import registry
from agent.hosts.live import live_host


def cost_us(work: Callable[[], object]) -> float:
    """CPU time of one call, user and system, microseconds."""
    before = time.thread_time_ns()
    work()
    return (time.thread_time_ns() - before) / 1000


def main() -> None:
    """Until standard input ends."""
    host = live_host("bench")
    collectors = registry.collectors()
    host.network.inventory()
    for _ in sys.stdin:
        now = time.time()
        costs = {"interface counters": cost_us(host.network.counters)}
        for collector in collectors:
            costs[collector.name] = cost_us(partial(collector.collect, host, now))
        print(json.dumps(costs), flush=True)


if __name__ == "__main__":
    main()
