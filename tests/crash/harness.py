"""Kill the aggregator with SIGKILL at random moments under load, and look each time whether all that was acknowledged
is on disk.

    python -m tests.crash.harness --kills 200 [--agents 8] [--seed 1]

The aggregator is a process of its own, as it runs in production, but that bases are written and rows deleted all the
time instead of every ten minutes: kills fall into those moments, too. After each kill a copy of its files is opened
with the program's own reader, and looked at:

- every node that an agent has an acknowledgement from is rebuilt, with just the counters and the MTU of that update, or
  of a later one that was under way;
- the sum of each series in the history is what the counter rose by since it was told first: nothing is missing, nothing
  is there twice;
- every acknowledged update that broke an MTU has its finding's transition on disk, each that mended one its own, and
  the findings that stand are those of the updates;
- nothing is said to be damaged or missing.

Then the aggregator is started again on the files themselves, and the agents go on: with deltas where it says that it
holds their state, which the next look shows to be right or wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aggregator import store as store_module
from aggregator.database import Mark
from aggregator.history.keeper import History
from tests.crash.agents import BAD, COUNTERS, FakeAgent, Told

ROOT = Path(__file__).resolve().parents[2]
CODE = "mtu.overlay_exceeds_underlay"
SERVER = """
import asyncio, os, sys
sys.path[:0] = [{root!r}, {root!r} + "/proto"]
from aggregator.history import journal, keeper
from aggregator.main import run
from aggregator.settings import AggregatorSettings
keeper.BASE_AFTER_S, journal.PRUNE_S, keeper.AT_ONCE_S = 0.3, 0.2, 0.002
{sabotage}
settings = AggregatorSettings(listen="127.0.0.1:0", insecure=True, state_directory={state!r}, log_level="error")
for _ in sys.stdin:
    life = os.fork()
    if not life:
        asyncio.run(run(settings, asyncio.Event(), lambda address, _: print(os.getpid(), address, flush=True)))
        os._exit(1)
    os.waitpid(life, 0)
    print("gone", flush=True)
"""
"""Loads the aggregator once; each line on standard input is a life of it, in a process of its own."""


START_S = 200.0
"""On a machine that is busy with other things; then it has not started."""


class LostError(AssertionError):
    """Something acknowledged is not there, or is wrong."""


@dataclass
class Outcome:
    """What came of all kills."""

    kills: int = 0
    acknowledged: int = 0
    resumed: int = 0
    fulls: int = 0
    transitions: int = 0
    under_way: int = 0
    """Updates that were not acknowledged when the kill came."""
    stored_unacknowledged: int = 0
    """Of these, those that were on disk nevertheless."""
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)


async def killed_again_and_again(
    directory: Path, *, kills: int, agents: int, seed: int, verbose: bool = False, sabotage: str = ""
) -> Outcome:
    """Run it all. Raises LostError at the first loss. `sabotage`: lines that the aggregator runs first."""
    chance = random.Random(seed)  # noqa: S311  # moments, not secrets
    fleet = [FakeAgent(f"n{number}", random.Random(seed * 1000 + number)) for number in range(agents)]  # noqa: S311
    outcome, begun = Outcome(), time.monotonic()
    state, copy = directory / "state", directory / "copy"
    program = SERVER.format(root=str(ROOT), state=str(state), sabotage=sabotage)
    pipe = asyncio.subprocess.PIPE
    cradle = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdin=pipe, stdout=pipe)
    try:
        await _lives(cradle, fleet, chance, outcome, kills=kills, state=state, copy=copy, verbose=verbose)
    finally:
        cradle.kill()
        await cradle.wait()
    outcome.seconds = time.monotonic() - begun
    outcome.acknowledged = sum(agent.acknowledgements for agent in fleet)
    outcome.resumed = sum(agent.resumed for agent in fleet)
    outcome.fulls = sum(agent.fulls for agent in fleet)
    outcome.transitions = sum(agent.appeared + agent.resolved for agent in fleet)
    return outcome


async def _lives(
    cradle: asyncio.subprocess.Process,
    fleet: list[FakeAgent],
    chance: random.Random,
    outcome: Outcome,
    *,
    kills: int,
    state: Path,
    copy: Path,
    verbose: bool,
) -> None:
    begun = time.monotonic()
    for kill in range(kills):
        await _live(cradle, fleet, chance, first=not kill)
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(state, copy)
        outcome.kills += 1
        await _look(copy, fleet, outcome)
        if verbose and (kill + 1) % 10 == 0:
            print(f"{kill + 1} kills, {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)  # noqa: T201


async def _live(
    cradle: asyncio.subprocess.Process, fleet: list[FakeAgent], chance: random.Random, *, first: bool
) -> None:
    """One life of the aggregator, to its kill."""
    assert cradle.stdin is not None
    assert cradle.stdout is not None
    cradle.stdin.write(b"\n")
    said = (await asyncio.wait_for(cradle.stdout.readline(), START_S)).decode().split()
    assert len(said) == 2, "the aggregator did not start"
    pid, address = int(said[0]), said[1]
    before = {agent.name: agent.acknowledgements for agent in fleet}
    playing = [asyncio.create_task(agent.play(address)) for agent in fleet]
    try:
        async with asyncio.timeout(START_S):
            # Some kills come while agents are still coming back; the first only when all have been heard.
            wanted = len(fleet) if first else chance.randrange(len(fleet) + 1)
            while sum(agent.acknowledgements > before[agent.name] for agent in fleet) < wanted:
                await _failed(playing)
                await asyncio.sleep(0.005)
        await asyncio.sleep(chance.uniform(0.0, 0.8))
        await _failed(playing)
    finally:
        os.kill(pid, signal.SIGKILL)
        assert await cradle.stdout.readline() == b"gone\n"
        await asyncio.sleep(0.05)  # acknowledgements that are on their way count
        for each in playing:
            each.cancel()
        results = await asyncio.gather(*playing, return_exceptions=True)
    for result in results:
        if isinstance(result, AssertionError):
            raise LostError(f"an agent met {result}")


async def _failed(playing: Sequence[asyncio.Task[None]]) -> None:
    for each in playing:
        if each.done():
            await each


async def _look(copy: Path, fleet: list[FakeAgent], outcome: Outcome) -> None:
    history = History(copy)
    history.open()
    try:
        if gaps := history.gaps():
            raise LostError(str(gaps))
        for agent in fleet:
            if agent.acknowledged is not None:
                there = await _look_at(history, agent, outcome)
                _findings_of(copy, agent, there)
    finally:
        history.close()
    standing_mark = Mark(copy / store_module.MARK).read() or 0
    with closing(sqlite3.connect(copy / store_module.DATABASE)) as connection:
        if store_module._last_number(connection) < standing_mark:
            raise LostError("transitions that were marked as stored are missing")


async def _look_at(history: History, agent: FakeAgent, outcome: Outcome) -> Told:
    kept = history.rebuilt(agent.name)
    assert agent.acknowledged is not None
    candidates = [agent.acknowledged, *agent.under_way]
    outcome.under_way += bool(agent.under_way)
    there = next(
        (told for told in candidates if kept and (told.instance, told.number) == (kept.instance, kept.number)), None
    )
    if kept is None or there is None:
        at = f"update {kept.number}" if kept else "nothing"
        raise LostError(f"{agent.name}: {at} is on disk; acknowledged was {candidates[0].number}")
    outcome.stored_unacknowledged += there in agent.under_way
    counters = {subject: tuple(block.values) for subject, block in kept.state.counters.items()}
    if counters != there.counters:
        raise LostError(f"{agent.name}: counters of update {there.number} are {counters}, not {there.counters}")
    if kept.state.links()[2].mtu != there.mtu:
        raise LostError(f"{agent.name}: the MTU of update {there.number} is not {there.mtu}")
    subject = agent.chance.choice(list(counters))  # each is looked at in time
    for index, name in enumerate(COUNTERS[:2]):
        points = await history.read(agent.name, f"{subject}/{name}", 0, time.time() + 3600)
        rose = there.counters[subject][index] - agent.first[subject][index]
        if sum(point.value for point in points) != rose:
            raise LostError(f"{agent.name}: {subject}/{name} rose by {rose}, and its minutes by {points}")
    return there


def _findings_of(copy: Path, agent: FakeAgent, there: Told) -> None:
    """Of the node, and of no other: one that is of several goes on while one of them is silent."""
    with closing(sqlite3.connect(copy / store_module.DATABASE)) as connection:
        rows = connection.execute("SELECT id, kind, body FROM transitions ORDER BY seq").fetchall()
        standing = [json.loads(body) for (body,) in connection.execute("SELECT body FROM findings")]
    naming: set[str] = set()
    appeared = resolved = 0
    for key, kind, body in rows:
        before = bool(naming)
        names = kind != "resolved" and _is_of(json.loads(body), agent.name)
        (naming.add if names else naming.discard)(key)
        appeared += not before and bool(naming)
        resolved += before and not naming
    if appeared < agent.appeared or resolved < agent.resolved:
        acknowledged = f"{agent.appeared} times its finding appeared and {agent.resolved} times it was resolved"
        raise LostError(f"{agent.name}: {acknowledged}, on disk are {appeared} and {resolved}")
    stands = any(_is_of(body, agent.name) for body in standing)
    possible = {told.mtu == BAD for told in (agent.acknowledged, *agent.under_way) if told is not None}
    if stands not in possible or stands != bool(naming):
        raise LostError(f"{agent.name}: its finding {'stands' if stands else 'does not stand'}, MTU {there.mtu}")


def _is_of(body: dict[str, Any], node: str) -> bool:
    return bool(body["code"] == CODE and body["nodes"] == [node])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print; 1 if anything was lost."""
    parser = argparse.ArgumentParser(prog="tests.crash.harness", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--agents", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    with contextlib.suppress(OSError):
        os.nice(5)
    with tempfile.TemporaryDirectory() as directory:
        running = killed_again_and_again(
            Path(directory), kills=options.kills, agents=options.agents, seed=options.seed, verbose=True
        )
        try:
            outcome = asyncio.run(running)
        except LostError as lost:
            print(f"LOST: {lost}")  # noqa: T201
            return 1
    print(  # noqa: T201
        f"{outcome.kills} kills in {outcome.seconds:.0f} s, {options.agents} agents: {outcome.acknowledged:,} updates "
        f"acknowledged, {outcome.transitions:,} of them transitions of findings, none lost; {outcome.under_way} were "
        f"under way at a kill, {outcome.stored_unacknowledged} of them on disk; {outcome.resumed} streams went on with "
        f"deltas, {outcome.fulls} full updates"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
