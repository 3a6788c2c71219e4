"""Both ends of real streams that are cut again and again: the agents' in one process, the aggregator in another.

The soak's own process is between them, forwards their bytes and cuts them. Each end says what it holds when
it is asked.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field

from bench.soak.meter import Sample
from tests.wire import Proxy

CUT_S = 0.4
"""A stream stands so long before it is cut."""
CUTS_A_SAMPLE = 40


@dataclass(slots=True)
class Outcome:
    """What became of it."""

    cuts: int = 0
    acknowledged: int = 0
    agents: list[Sample] = field(default_factory=list)
    aggregator: list[Sample] = field(default_factory=list)


async def soak(samples: int) -> Outcome:
    """So many samples of each end, CUTS_A_SAMPLE cuts before each."""
    outcome = Outcome()
    far = await _child("wire-aggregator")
    address = json.loads(await _line(far))["listening"]
    proxy = Proxy(address)
    async with proxy.running() as front:
        near = await _child("wire-agents", front)
        for _ in range(samples):
            for _ in range(CUTS_A_SAMPLE):
                await asyncio.sleep(CUT_S)
                proxy.cut()
                proxy.connections.clear()
                outcome.cuts += 1
            for child, into in ((near, outcome.agents), (far, outcome.aggregator)):
                assert child.stdin is not None
                child.stdin.write(b"?\n")
                row = json.loads(await _line(child))
                outcome.acknowledged = row.pop("acknowledged", outcome.acknowledged)
                into.append(Sample(**row))
        for child in (near, far):
            assert child.stdin is not None
            child.stdin.close()
            await child.wait()
    return outcome


async def _child(*words: str) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    command = [sys.executable, "-m", "bench.soak", "--child", *words]
    return await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)


async def _line(child: asyncio.subprocess.Process) -> bytes:
    assert child.stdout is not None
    return await asyncio.wait_for(child.stdout.readline(), 600)


def series(outcome: Outcome) -> Iterator[tuple[str, list[Sample]]]:
    """By name of the end."""
    yield "streams, agents", outcome.agents
    yield "streams, aggregator", outcome.aggregator
