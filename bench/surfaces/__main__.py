"""What each surface of an aggregator costs at 1,000 nodes, as a share of the CPU that it takes without any.

    python -m bench.surfaces [--agents 1000] [--seconds 60] [--times 10] [--still] [--only http,objects]

One aggregator, the real one with its databases and an API server's Nodes, and the same agents' streams all the time; 20
more hosts with findings, of which 12 a minute come or go. Its surfaces are switched on one after the other, in use as
they would be, and off between: CPU is the process's own (its CPU clock), compared with the mean of the times without,
before and after. By how much those differ among themselves is what cannot be told from nothing. Where others on the
machine leave too little for all updates to come in time, it is measured again; where they never come, --still takes the
streams' own work out of the comparison, and --times makes what is compared larger.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import aiohttp

from agent.settings import StreamSettings
from bench.measure import cpu_seconds
from bench.storm.__main__ import ENVIRONMENT, ROOT, Workers, working
from bench.surfaces.aggregator import Orders
from bench.surfaces.users import SCRAPE_S, Used, browser, prometheus, using
from bench.surfaces.world import CANARIES, Receivers, api_server, canaries
from tests.api_writes import NodesAndWrites

SETTLE_S = 10.0
"""After a switch, before it is measured."""
Tables = Mapping[str, Mapping[str, Any]]
Users = Callable[[Mapping[str, str], aiohttp.ClientSession, Used], list[Coroutine[Any, Any, None]]]


def arguments(words: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.surfaces", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--agents", type=int, default=1_000)
    parser.add_argument("--processes", type=int, default=2, help="processes that the agents are in")
    parser.add_argument("--links", type=int, default=50, help="interfaces of each host, 24 counters each")
    parser.add_argument("--moving", type=int, default=10, help="interfaces with traffic")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long each is measured")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--least", type=float, default=0.95, help="part of the updates that must come ...")
    parser.add_argument("--tries", type=int, default=5, help="... or it is measured again, so many times at most")
    parser.add_argument("--directory", default=None, help="where its databases are (default: a temporary directory)")
    parser.add_argument(
        "--browsers", type=int, default=5, help="with the overview open; one more with the nodes' table"
    )
    parser.add_argument("--times", type=int, default=1, help="so many browsers, scrapes and exports for one of each")
    parser.add_argument("--still", action="store_true", help="surfaces are measured while the hosts have no traffic")
    parser.add_argument(
        "--only", default="", help="names of surfaces, with commas between (default: all, and together)"
    )
    return parser.parse_args(words)


class Measured:
    """The aggregator's process."""

    def __init__(self, process: asyncio.subprocess.Process, address: str) -> None:
        self._process = process
        self.address = address

    async def only(self, tables: Tables) -> dict[str, str]:
        """Switch these surfaces on, and all others off; where they are."""
        return dict(await _asked(self._process, tables))

    def cpu_s(self) -> float:
        """CPU time so far."""
        return cpu_seconds(self._process.pid)

    def memory_mib(self) -> float:
        """Resident."""
        lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


async def _asked(process: asyncio.subprocess.Process, line: Any) -> dict[str, str]:
    assert process.stdin is not None  # it was made with pipes
    assert process.stdout is not None
    process.stdin.write((json.dumps(line) + "\n").encode())
    answer = await process.stdout.readline()
    if not answer:
        raise SystemExit("the aggregator has ended: see above")
    return dict(json.loads(answer))


@contextlib.asynccontextmanager
async def aggregator(folder: Path, kubeconfig: Path) -> AsyncIterator[Measured]:
    """One at work."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.surfaces.aggregator", cwd=ROOT, env=ENVIRONMENT,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        told = await _asked(process, asdict(Orders(str(folder / "state"), str(kubeconfig))))
        yield Measured(process, told["listening"])
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@dataclass(frozen=True, slots=True)
class Case:
    """A surface, and how it is used."""

    name: str
    tables: Tables
    users: Users = lambda _addresses, _session, _used: []
    times: int = 1
    """How much more it is used than it would be."""


def cases(receivers: Receivers, secret: Path, browsers: int, times: int) -> list[Case]:
    """All of them; and all together at the end, where none is used more than it would be."""

    def pages(addresses: Mapping[str, str], session: aiohttp.ClientSession, used: Used) -> list[Any]:
        paths = [*[""] * browsers, "nodes"] * times
        return [browser(session, addresses["http"].rstrip("/"), path, used) for path in paths]

    def scrape(addresses: Mapping[str, str], session: aiohttp.ClientSession, used: Used) -> list[Any]:
        return [
            prometheus(session, addresses["prometheus"].rstrip("/").removesuffix("/metrics"), SCRAPE_S / times, used)
        ]

    anywhere = {"listen": "127.0.0.1:0"}
    found = [
        Case("http", {"http": anywhere}, pages, times),
        Case("prometheus", {"prometheus": anywhere}, scrape, times),
        Case("objects", {"objects": {"events": True, "node_conditions": True}}),
        Case("alertmanager", {"alertmanager": {"urls": [receivers.url], "quiet_start_s": 0.0}}),
        Case(
            "webhook", {"webhook": {"url": f"{receivers.url}/hook", "secret_file": str(secret), "quiet_start_s": 0.0}}
        ),
        Case("otlp", {"otlp": {"endpoint": receivers.url, "interval_s": 60.0 / times}}, times=times),
    ]

    def both(addresses: Mapping[str, str], session: aiohttp.ClientSession, used: Used) -> list[Any]:
        return [*pages(addresses, session, used), *scrape(addresses, session, used)]

    every = {name: table for case in found for name, table in case.tables.items()}
    return [*found, Case("all", every, both)] if times == 1 else found


@dataclass(slots=True)
class Window:
    """What was measured."""

    name: str
    cpu: float
    """Of a core."""
    kept_up: float
    """Updates that came, of those that should have."""
    memory_mib: float
    used: str = ""
    times: int = 1
    """How much more it was used than it would be."""


class Bench:
    """All that is at work."""

    def __init__(
        self,
        wanted: argparse.Namespace,
        measured: Measured,
        workers: Workers,
        objects: NodesAndWrites,
        receivers: Receivers,
    ) -> None:
        self._wanted, self._measured, self._workers = wanted, measured, workers
        self._objects, self._receivers = objects, receivers
        self.least: float = wanted.least
        """Part of the updates that must come."""

    async def window(self, case: Case) -> Window:
        """What of one case is measured while all updates come; the last one where they never do."""
        for _ in range(self._wanted.tries):
            window = await self._once(case)
            tell(window)
            if window.kept_up >= self.least:
                break
        return window

    async def _once(self, case: Case) -> Window:
        """Switch on, use, settle, measure."""
        used = Used()
        addresses = await self._measured.only(case.tables)
        async with aiohttp.ClientSession() as session, using(case.users(addresses, session, used)):
            await asyncio.sleep(SETTLE_S)
            used.requests = used.bytes = used.unchanged = used.events = 0
            self._receivers.taken.clear()
            writes = len(self._objects.writes.calls)
            updates, cpu, began = await self._updates(), self._measured.cpu_s(), time.monotonic()
            await asyncio.sleep(self._wanted.seconds)
            span = time.monotonic() - began
            took = (self._measured.cpu_s() - cpu) / span
            came = await self._updates() - updates
        expected = self._wanted.agents * span / StreamSettings().batch_interval_s
        what = []
        if used.requests:
            came_back = f"{used.unchanged} unchanged, {used.bytes / 1024:.0f} KiB"
            what.append(f"{used.requests} requests ({came_back}), {used.events} events")
        if count := len(self._objects.writes.calls) - writes:
            what.append(f"{count} writes")
        what += [f"{count} x {path}" for path, count in sorted(self._receivers.taken.items())]
        what += [f"FAILED {each}" for each in used.failed[:3]]
        return Window(case.name, took, came / expected, self._measured.memory_mib(), "; ".join(what), case.times)

    async def _updates(self) -> int:
        return sum(report.acknowledged for report in await self._workers.ask("report"))


def show(windows: Sequence[Window], base: float) -> None:
    """What was measured, and what it comes to: each less the mean of the times without before and after, as a share of
    what the aggregator takes without any."""
    bases = [each.cpu for each in windows if each.name == "none"]
    print(f"none: {100 * base:.1f} % of a core; between the others {100 * min(bases):.1f} to {100 * max(bases):.1f}")
    shares: dict[str, list[float]] = {}
    for number, each in enumerate(windows):
        if each.name != "none":
            before = next(window.cpu for window in reversed(windows[:number]) if window.name == "none")
            after = next(window.cpu for window in windows[number:] if window.name == "none")
            more = (each.cpu - statistics.mean((before, after))) / each.times / base
            noise = abs(before - after) / each.times / base
            shares.setdefault(each.name, []).append(more)
            print(f"{each.name}: {100 * more:+.1f} %; without it, {100 * noise:.1f} % apart before and after")
    for name, values in shares.items():
        if len(values) > 1:
            print(f"{name}: {100 * statistics.mean(values):+.1f} % on average")


async def bench(wanted: argparse.Namespace, folder: Path) -> int:
    """Run it and print what came of it."""
    secret = folder / "secret"
    secret.write_text("bench" * 8)
    receivers = Receivers()
    names = [*(f"node-{number}" for number in range(wanted.agents)), *(f"canary-{n}" for n in range(CANARIES))]
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(receivers.listening())
        objects, kubeconfig = await stack.enter_async_context(api_server(names, folder))
        measured = await stack.enter_async_context(aggregator(folder, kubeconfig))
        workers = await stack.enter_async_context(working(wanted, measured.address, ""))
        await stack.enter_async_context(canaries(measured.address))
        began = time.monotonic()
        reports = await workers.until_back(wanted.agents)
        print(
            f"{sum(len(each.back) for each in reports):,} agents in after {time.monotonic() - began:.0f} s", flush=True
        )
        await asyncio.sleep(3 * SETTLE_S)
        chosen = cases(receivers, secret, wanted.browsers, wanted.times)
        if wanted.only:
            chosen = [each for each in chosen if each.name in wanted.only.split(",")]
        at_work, nothing = Bench(wanted, measured, workers, objects, receivers), Case("none", {})
        bases = [await at_work.window(nothing) for _ in range(2)] if wanted.still else []
        if wanted.still:
            await workers.ask("still")
            at_work.least = 0.0
        turns = [each for _ in range(wanted.rounds) for one in chosen for each in (nothing, one)]
        windows = [await at_work.window(case) for case in (*turns, nothing)]
        base = statistics.mean(each.cpu for each in bases or windows if each.name == "none")
        show(windows, base)
    return 0


def tell(window: Window) -> None:
    """One line of it."""
    print(
        f"{window.name:<13}{100 * window.cpu:5.1f} % of a core, kept up {100 * window.kept_up:.0f} %, "
        f"{window.memory_mib:.0f} MiB; {window.used}",
        flush=True,
    )


def main() -> int:
    """The program."""
    wanted = arguments(sys.argv[1:])
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="nodetell-surfaces-", dir=wanted.directory) as folder:
        return asyncio.run(bench(wanted, Path(folder)))


if __name__ == "__main__":
    raise SystemExit(main())
