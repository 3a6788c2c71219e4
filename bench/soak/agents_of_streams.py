"""The agents' end of streams that are cut again and again."""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict, dataclass, field

from nodetell.v1 import facts_pb2 as pb

from agent.connection import Peer, Proof
from agent.netlink.stats import COUNTER_NAMES
from agent.reading import Block, Reading
from agent.settings import StreamSettings
from agent.stream import Identity, Stream
from bench.soak.meter import sample
from bench.soak.told import told

AGENTS = 5
_LINKS = 5
"""Few: what is kept of the time between two streams is not what is measured here."""


def _host() -> Reading:
    """Interfaces with counters."""
    reading = Reading()
    for index in range(1, _LINKS + 1):
        reading.add(pb.Item(key=f"link/{index}", link=pb.Link(ifindex=index, name=f"veth{index:04x}", mtu=1500)))
        reading.blocks[f"link/{index}"] = Block(COUNTER_NAMES, (1_000,) * len(COUNTER_NAMES))
    return reading


@dataclass(slots=True)
class Moving:
    """A host on which every counter has moved whenever it is looked at."""

    looks: int = 0
    base: Reading = field(default_factory=_host)

    def reading(self) -> Reading:
        """All of it."""
        self.looks += 1
        blocks = {
            subject: Block(block.names, tuple(value + self.looks for value in block.values))
            for subject, block in self.base.blocks.items()
        }
        return Reading(dict(self.base.items), blocks)


async def live(target: str) -> None:
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

    await told(holds, lambda: all(stream.connected for stream in streams))
    stop.set()
    await asyncio.gather(*tasks)
