"""What became of interfaces while nobody listened."""

from __future__ import annotations

import asyncio
import os
import socket
from itertools import pairwise

from nodetell.v1 import facts_pb2 as pb
from nodetell.v1 import operator_pb2

from agent.connection import Peer
from agent.link_events import MAX_EVENTS, LinkEvents
from agent.reading import Reading
from agent.settings import StreamSettings
from agent.stream import Identity, Stream
from cli.facts import HostFacts
from cli.link_events_text import link_events
from cli.terminal import Look
from tests.wire import MemorySink, Source, link, serving, until


def state(mtu: int = 1500, *, up: bool = True, name: str = "eth0") -> dict[str, pb.Item]:
    operstate = pb.OPER_STATE_UP if up else pb.OPER_STATE_LOWER_LAYER_DOWN
    eth0 = pb.Link(ifindex=2, name=name, mtu=mtu, up=True, operstate=operstate)
    return {"link/2": pb.Item(key="link/2", link=eth0), "host": pb.Item(key="host", host=pb.HostInfo(cpus=mtu))}


def test_what_came_and_went_is_told_and_what_pods_bring_is_not() -> None:
    events = LinkEvents()
    story = [
        state(),
        state(1400),
        state(1400, up=False),
        {**state(), "link/9": link(9)},
        state(),
        state(),
        state(9000, name="x"),
    ]
    for number, (before, after) in enumerate(pairwise(story)):
        events.note(before, after, 1_000 * (number + 1))
    told = [item.link_event for item in events.items]
    times = [(one.at_unix_ms, one.mtu_before, one.mtu) for one in told]
    assert times == [(1_000, 1500, 1400), (2_000, 1400, 1400), (3_000, 1400, 1500)]
    assert [item.key for item in events.items] == ["link_event/1", "link_event/2", "link_event/3"]
    shown = link_events(HostFacts(operator_pb2.GetNodeResponse(facts=pb.NodeFacts(items=events.items))), Look(100))
    assert [line.split(maxsplit=2)[2] for line in shown[1:]] == [
        "MTU 1400 to 1500, lower layer down to up",
        "up to lower layer down",
        "MTU 1500 to 1400",
    ]


def test_it_is_bounded() -> None:
    events = LinkEvents()
    for number in range(1_000):
        events.note(state(number), state(number + 1), number)
    assert len(list(events.items)) == MAX_EVENTS
    assert max(item.link_event.at_unix_ms for item in events.items) == 999


def test_a_flap_in_an_absence_is_known_afterwards_and_none_outside_of_it() -> None:
    async def scenario() -> None:
        with socket.socket() as holder:
            holder.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{holder.getsockname()[1]}"
        sink, source, stop, news = MemorySink(), Source(Reading(state())), asyncio.Event(), asyncio.Event()
        fast = StreamSettings(batch_interval_s=0.2, reconnect_min_s=0.05, reconnect_max_s=0.2)
        stream = Stream(Peer(address, None), fast, Identity("node", os.urandom(16), "test"), source, news)
        running = asyncio.create_task(stream.run(stop))
        for items in (state(), state(1400), state()):
            source.now = Reading(items)
            await until(lambda items=items: stream.ledger.seen.items.items() >= items.items())  # type: ignore[misc]
        async with serving(sink, address):
            await until(lambda: "node" in sink.nodes)
            told = sink.nodes["node"].of("link_event")
            assert [(item.link_event.mtu_before, item.link_event.mtu) for item in told] == [(1500, 1400), (1400, 1500)]
            source.now = Reading(state(1300))
            await until(lambda: sink.nodes["node"].links()[2].mtu == 1300)
            assert len(sink.nodes["node"].of("link_event")) == 2
            stop.set()
            await running

    asyncio.run(scenario())
