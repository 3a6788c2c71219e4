"""Both ends of real streams that are cut again and again: the agents' in one process, the aggregator in another.

The soak's own process is between them, forwards their bytes and cuts them. Each end says what it holds when
it is asked.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field

from agent.connection import Peer, Proof
from agent.reading import Block, Reading
from agent.settings import StreamSettings
from agent.stream import Identity, Stream
from aggregator.main import run
from aggregator.settings import AggregatorSettings
from bench.soak.meter import Sample, sample
from tests.wire import Proxy, host_with

AGENTS = 5
CUT_S = 0.4
"""A stream stands so long before it is cut."""
CUTS_A_SAMPLE = 40
_LINKS = 40
_SETTLE_S = 1.0
"""gRPC closes what is over when it gets to it."""


@dataclass(slots=True)
class Moving:
    """A host on which every counter has moved whenever it is looked at."""

    looks: int = 0
    base: Reading = field(default_factory=lambda: host_with(_LINKS))

    def reading(self) -> Reading:
        """All of it."""
        self.looks += 1
        blocks = {
            subject: Block(block.names, tuple(value + self.looks for value in block.values))
            for subject, block in self.base.blocks.items()
        }
        return Reading(dict(self.base.items), blocks)


async def _told(what: Callable[[], dict[str, object]], settled: Callable[[], bool] = lambda: True) -> None:
    """For each line that comes, a line goes out, once all is settled; ends with the input."""
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, sys.stdin.readline):
        while not settled():  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(0.05)
        await asyncio.sleep(_SETTLE_S)
        sys.stdout.write(json.dumps(what()) + "\n")
        sys.stdout.flush()


async def agents(target: str) -> None:
    """Streams to `target`, which come back at once when they are cut."""
    settings = StreamSettings(batch_interval_s=0.2, reconnect_min_s=0.05, reconnect_max_s=0.1)
    stop, tasks, streams = asyncio.Event(), [], []

    async def prove(_peer: Peer) -> Proof:
        return Proof.PASSED

    for number in range(AGENTS):
        identity = Identity(f"soak-{number}", number.to_bytes(16, "big"), "soak")
        stream = Stream(Peer(target, None), settings, identity, Moving(), asyncio.Event(), prove=prove)
        streams.append(stream)
        tasks.append(asyncio.create_task(stream.run(stop)))
    begun = time.monotonic()

    def holds() -> dict[str, object]:
        acknowledged = sum(stream.ledger.last_acknowledged for stream in streams)
        return asdict(sample((time.monotonic() - begun) / 3_600)) | {"acknowledged": acknowledged}

    await _told(holds, lambda: all(stream.connected for stream in streams))
    stop.set()
    await asyncio.gather(*tasks)


async def aggregator() -> None:
    """A whole one on loopback; the first line is its address."""
    stop, begun = asyncio.Event(), time.monotonic()

    def ready(address: str) -> None:
        sys.stdout.write(json.dumps({"listening": address}) + "\n")
        sys.stdout.flush()

    with tempfile.TemporaryDirectory() as folder:
        settings = AggregatorSettings(listen="127.0.0.1:0", insecure=True, state_directory=folder, log_level="error")
        running = asyncio.create_task(run(settings, stop, ready))
        await _told(lambda: asdict(sample((time.monotonic() - begun) / 3_600)))
        stop.set()
        await running


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
    return await asyncio.wait_for(child.stdout.readline(), 60)


def series(outcome: Outcome) -> Iterator[tuple[str, list[Sample]]]:
    """By name of the end."""
    yield "streams, agents", outcome.agents
    yield "streams, aggregator", outcome.aggregator
