"""What it costs the aggregator to have everything on disk before it is acknowledged, and what a week of minutes takes.

    python -m bench.history journal [--nodes 1000] [--seconds 60]   # in real time: an update of each node every 5 s
    python -m bench.history week [--nodes 20] [--days 7]            # time is passed in: 100 series of each node

`journal`: hosts as in bench.evaluation, with 30 to 100 interfaces each, whose packets all move, report every 5 s. CPU
time of this process is told with the history and without it, in turns in one run, and what differs is the history's:
writing updates, the minutes, the bases as they fall due when an aggregator has run for long. Then the files are opened
again, as after a kill, and all nodes rebuilt.

`week`: every node has 100 counters, ten each of ten interfaces. On three interfaces packets and bytes rise in every
minute by amounts of no pattern; on three in one minute of four; four stand still; an error here and there. The files
are as they come, log and free pages included. CPU is of taking it in and writing it, less that of taking it in without.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

from nodetell.v1 import agent_pb2
from nodetell.v1 import facts_pb2 as pb

from agent.netlink.stats import COUNTER_NAMES
from aggregator.history import journal, keeper
from aggregator.history.base import Kept
from aggregator.history.keeper import History
from aggregator.history.retention import directory_bytes
from bench.hosts import START, Host

INTERVAL_S = 5.0
INSTANCE = b"bench-----------"
NAMES = (*COUNTER_NAMES[:9], "rx_nohandler")
INTERFACES = 10


class Load:
    """Hosts whose updates were made beforehand: what is measured is what becomes of them."""

    def __init__(self, nodes: int) -> None:
        names = [f"n{number:04}" for number in range(nodes)]
        self.fulls: list[bytes] = []
        self.deltas: list[bytes] = []
        for number in range(nodes):
            made: list[agent_pb2.Update] = []
            host = Host(number, names, take=made.append)
            host.report(START)
            host.traffic(START + INTERVAL_S)
            self.fulls.append(made[0].SerializeToString())
            self.deltas.append(made[1].SerializeToString())
        self.names = names

    async def run(self, history: History, kept: list[Kept], seconds: float) -> tuple[float, float, int]:
        """Spread over each interval. Gives CPU time, the longest answer, and how many updates it was."""
        waiting: set[asyncio.Future[None]] = set()
        begun, cpu, count, longest = time.monotonic(), time.process_time(), 0, 0.0
        number = {each.state.name: each.number for each in kept}

        def answered(sent: float, future: asyncio.Future[None]) -> None:
            nonlocal longest
            longest = max(longest, time.monotonic() - sent)
            waiting.discard(future)

        while (elapsed := time.monotonic() - begun) < seconds:
            due = int(elapsed / INTERVAL_S * len(kept))
            while count < due:
                which = count % len(kept)
                node = kept[which]
                update = agent_pb2.Update.FromString(self.deltas[which])
                update.at_unix_ms = round(time.time() * 1000)
                number[node.state.name] += 1
                answer = history.take(node, INSTANCE, number[node.state.name], update)
                if answer is not None:
                    waiting.add(answer)
                    answer.add_done_callback(partial(answered, time.monotonic()))
                count += 1
            history.step()
            await asyncio.sleep(0.05)
        if waiting:
            await asyncio.wait(waiting)
        return time.process_time() - cpu, longest, count


async def measure_journal(nodes: int, seconds: float, directory: Path) -> list[str]:
    """Lines to print."""
    load = Load(nodes)
    costs: dict[str, list[float]] = {"with": [], "without": []}
    longest, lines = 0.0, []
    histories = {"with": History(directory), "without": History(None)}
    kept: dict[str, list[Kept]] = {}
    for name, history in histories.items():
        history.open()
        kept[name] = []
        for which, full in enumerate(load.fulls):
            node = history.fresh(load.names[which])
            kept[name].append(node)
            update = agent_pb2.Update.FromString(full)
            update.at_unix_ms = round(time.time() * 1000)
            answer = history.take(node, INSTANCE, 1, update)
            if answer is not None and which % 100 == 99:
                await answer
    histories["with"]._tails = {  # as after a while: some fall due all the time
        name: keeper._Tail(time.time() - keeper.BASE_AFTER_S * (nodes - which) / nodes)
        for which, name in enumerate(load.names)
    }
    written = _written()
    for _ in range(2):
        for name, history in histories.items():
            cpu, slowest, count = await load.run(history, kept[name], seconds)
            costs[name].append(cpu / count * 1e6)
            longest = max(longest, slowest)
    written = _written() - written
    cost = [have - lack for have, lack in zip(costs["with"], costs["without"], strict=True)]
    lines.append(f"{nodes:,} nodes, CPU time of an update in microseconds (last round: {count / seconds:.0f}/s)")
    for name, each in (*costs.items(), ("of it the", cost)):
        shares = " and ".join(f"{one * nodes / INTERVAL_S / 1e6:.1%}" for one in each)
        lines.append(
            f"  {name} history: {' and '.join(f'{one:.0f}' for one in each)}: at an update of each node every "
            f"{INTERVAL_S:g} s {shares} of a core"
        )
    rate, files = written / seconds / 2 / 1000, directory_bytes(directory) / 1e6
    lines.append(f"  slowest answer {longest:.2f} s; written to disk: {rate:,.0f} kB/s; files {files:.1f} MB")
    lines.append(f"  an update is {sum(map(len, load.deltas)) / nodes:,.0f} bytes")
    histories["with"].close()
    again = History(directory)
    begun, cpu = time.monotonic(), time.process_time()
    again.open()
    opened, slowest_node, count = time.monotonic() - begun, 0.0, 0
    while (waiting := again.waiting()) is not None:
        one = time.thread_time()
        count += again.rebuilt(waiting) is not None
        slowest_node = max(slowest_node, time.thread_time() - one)
    lines.append(
        f"  after a restart: read in {opened:.2f} s, {count:,} nodes rebuilt with {time.process_time() - cpu:.2f} s of "
        f"CPU, the slowest in {slowest_node * 1000:.0f} ms"
    )
    again.close()
    return lines


def _written() -> int:
    fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(fields["write_bytes"])


class Node:
    """100 counters."""

    def __init__(self, number: int) -> None:
        self.name = f"n{number:04}"
        self.chance = random.Random(number)  # noqa: S311  # traffic, not secrets
        self.number = 0

    def update(self, at: float) -> agent_pb2.Update:
        """The next one."""
        self.number += 1
        update = agent_pb2.Update(at_unix_ms=round(at * 1000), full=self.number == 1)
        if update.full:
            update.schemas.add(id=1, names=NAMES)
            for index in range(INTERFACES):
                link = pb.Link(ifindex=index + 1, name=f"eth{index}", mtu=1500, up=True)
                update.items.append(pb.Item(key=f"link/{index + 1}", link=link))
                update.blocks.add(first_slot=1 + 10 * index, schema=1, subject=f"link/{index + 1}", values=[0] * 10)
            return update
        risen: dict[int, int] = {}
        for index in range(INTERFACES):
            if index < 3 or (index < 6 and self.chance.random() < 0.25):
                for counter, scale in enumerate((5e3, 4e3, 4e6, 9e5)):
                    risen[1 + 10 * index + counter] = 1 + int(scale * self.chance.lognormvariate(0, 0.5))
            if self.chance.random() < 0.01:
                risen[1 + 10 * index + self.chance.randrange(4, 10)] = 1 + self.chance.randrange(20)
        sample, before = update.samples.add(), 0
        for slot in sorted(risen):
            sample.slot_gaps.append(slot - before)
            sample.increments.append(risen[slot])
            before = slot
        return update


class Passed:
    """A clock that is told the time."""

    now = START

    def __call__(self) -> float:
        return self.now


async def measure_week(nodes: int, days: float, directory: Path) -> list[str]:
    """Lines to print."""
    journal.REST_S = 0.0
    minutes = round(days * 1440)
    clock = Passed()
    cpu: dict[str, float] = {}
    with ExitStack() as stack:
        for name in ("without", "with"):
            fleet = [Node(number) for number in range(nodes)]
            clock.now = START
            history = History(directory if name == "with" else None, retention_s=1e9, clock=clock)
            history.open()
            stack.callback(history.close)
            kept = [history.fresh(node.name) for node in fleet]
            begun = time.process_time()
            for _ in range(minutes):
                answers = [
                    history.take(each, INSTANCE, node.number, node.update(clock.now))
                    for each, node in zip(kept, fleet, strict=True)
                ]
                await asyncio.gather(*(answer for answer in answers if answer is not None))
                history.step()
                clock.now += 60
            cpu[name] = time.process_time() - begun
        size = directory_bytes(directory)
        with closing(sqlite3.connect(directory / journal.DATABASE)) as connection:
            stored, hours = connection.execute("SELECT sum(length(body)), count(*) FROM hours").fetchone()
        begun_wall = time.monotonic()
        points = await history.read("n0000", "link/1/rx_bytes", START, clock.now)
        read_s = time.monotonic() - begun_wall
    scale = 1000 / nodes * 7 / days
    share = (cpu["with"] - cpu["without"]) / (minutes * 60) * 1000 / nodes
    return [
        f"{nodes} nodes, 100 series each, {days:g} days by the minute: {size / 1e6:.1f} MB",
        (
            f"  of it {stored / 1e6:.1f} MB in {hours:,} hours of a node, {stored / hours:,.0f} bytes each: "
            f"{stored * scale / 1e9:.3f} GB for 1,000 nodes in 7 days; {share:.3%} of a core for 1,000 nodes"
        ),
        f"  one series of one node over all of it: {len(points):,} points in {read_s:.2f} s",
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench.history", description=__doc__.partition("\n\n")[0])
    parser.add_argument("what", choices=("journal", "week"))
    parser.add_argument("--nodes", type=int)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--days", type=float, default=7.0)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as directory:
        if options.what == "journal":
            lines = asyncio.run(measure_journal(options.nodes or 1000, options.seconds, Path(directory)))
        else:
            lines = asyncio.run(measure_week(options.nodes or 20, options.days, Path(directory)))
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
