"""What the page's maps cost an aggregator: CPU time to gather each, and for how long at a time nobody else is served.

    PYTHONPATH=.:proto python -m bench.maps [--nodes 5000]

A fleet of that size is made up (tests.web.fleet: four measured paths, a pod with a volume of its zone on each node).
Each map is gathered as the page does it, in the event loop, while something else wants its turn all the time: "held"
is the longest it had to wait, in CPU time of this thread, which a busy machine does not make longer. The last row is
what reading seven days of one node's fsync histograms takes in a thread: 100 interfaces and five processes, all of
whose counters move in every minute.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import sys
import time
from collections.abc import Awaitable, Sequence
from typing import Any

from nodetell.v1 import history_pb2

from aggregator.history.columns import past_of
from aggregator.history.reading import Live
from aggregator.web.page import maps_storage
from aggregator.web.page.maps_fsync import ranked
from aggregator.web.page.maps_matrix import By, of_groups
from aggregator.web.page.maps_paths import gathered
from tests.web.fleet import fleet

HOURS = 168


async def shared(work: Awaitable[Any]) -> tuple[Any, float, float]:
    """(result, CPU seconds, the longest that another task had to wait, CPU seconds)."""
    begun, longest = time.thread_time(), 0.0
    task = asyncio.ensure_future(work)
    while not task.done():
        before = time.thread_time()
        await asyncio.sleep(0)
        longest = max(longest, time.thread_time() - before)
    return task.result(), time.thread_time() - begun, longest


def hour() -> bytes:
    """Minute values of one hour, as they are stored, unpacked."""
    chance = random.Random(1)  # noqa: S311  # figures, not secrets
    rows = history_pb2.MinuteRows()
    rows.schemas.add(id=1, names=[f"c{number}" for number in range(24)])
    rows.schemas.add(id=2, names=[*(f"le_{1 << bound}us" for bound in range(6, 30)), "gt_536870912us"])
    for number in range(100):
        rows.blocks.add(subject=f"link/{number}", schema=1)
    for number in range(5):
        rows.blocks.add(subject=f"latency/passive/p{number}/8:0", label=f"p{number}", schema=2)
    for minute in range(60):
        row = rows.rows.add(minute=minute)
        row.blocks.extend(range(105))
        row.risen.extend(chance.randrange(1, 1000) for _ in range(100 * 24 + 5 * 25))
    return rows.SerializeToString()


async def measured(nodes: int) -> None:
    """All of them, printed."""
    known = fleet(nodes)
    gc.collect()
    gc.freeze()  # a look at all that was made up here would count for what it happens in
    view, thresholds = known.view(), known.thresholds
    paths, *first = await shared(gathered(view, thresholds))
    _, *again = await shared(gathered(view, thresholds))
    _, *matrix = await shared(of_groups(paths, By.BOTH, ""))
    _, *fsync = await shared(ranked(known))
    _, *storage = await shared(maps_storage.gathered(view))
    _, *strands = await shared(maps_storage.stranded(view))
    print(f"{nodes:,} nodes{'':<32}{'CPU':>10}{'held':>10}")
    for name, (spent, longest) in {
        "paths gathered, the first time": first,
        "paths gathered again": again,
        "matrix of zones and pools": matrix,
        "nodes ranked by fsync": fsync,
        "volumes and zones": storage,
        "what the loss of each zone strands": strands,
    }.items():
        print(f"{name:<42}{1000 * spent:>7.0f} ms{1000 * longest:>7.1f} ms")
    rows = hour()
    begun = time.thread_time()
    past_of(None, [Live(1, rows)], "n", since=0, until=3600)
    print(f"{'7 days of a node, read in a thread':<42}{1000 * HOURS * (time.thread_time() - begun):>7.0f} ms")


def main(words: Sequence[str] | None = None) -> int:
    """Print them."""
    parser = argparse.ArgumentParser(prog="python -m bench.maps", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--nodes", type=int, default=5_000)
    asyncio.run(measured(parser.parse_args(words).nodes))
    return 0


if __name__ == "__main__":
    sys.exit(main())
