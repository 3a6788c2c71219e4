"""A whole aggregator, from an agent's update to the Event and the condition that an API server gets, to their end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from aggregator.main import run
from aggregator.outputs.kubernetes import surface
from aggregator.settings import AggregatorSettings, KubernetesSettings, ObjectsSettings
from tests.aggregator.test_main import an_agent, tunnel_host
from tests.api_writes import NodesAndWrites
from tests.apiserver import serving
from tests.entrance import kubeconfig

MTU = "NodetellMtuMismatch"


async def until(holds: Callable[[], bool], running: asyncio.Task[int]) -> None:
    async with asyncio.timeout(40):
        while not holds():
            assert not running.done()
            await asyncio.sleep(0.02)


def with_aggregator(
    folder: Path, known: NodesAndWrites, script: Callable[[str, asyncio.Task[int]], Coroutine[Any, Any, None]]
) -> None:
    """Run the script against an aggregator that knows these objects and keeps nothing on disk."""

    async def scene() -> None:
        async with serving(known.answer) as server:
            stop, address = asyncio.Event(), asyncio.get_running_loop().create_future()
            settings = AggregatorSettings(
                listen="127.0.0.1:0",
                insecure=True,
                state_directory="",
                log_level="error",
                kubernetes=KubernetesSettings(enabled="on", kubeconfig=str(kubeconfig(folder, server.url).path)),
                objects=ObjectsSettings(events=True, node_conditions=True, writes_per_s=20.0),
            )
            running = asyncio.create_task(run(settings, stop, lambda where, _: address.set_result(where)))
            await asyncio.wait({running, address}, return_when=asyncio.FIRST_COMPLETED)
            try:
                await script(address.result(), running)
            finally:
                stop.set()
                assert await running == 0

    asyncio.run(scene())


def test_from_an_agents_update_to_an_event_and_a_condition_and_their_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(surface, "QUIET_S", 0.2)
    monkeypatch.setattr(surface, "LOOK_S", 0.05)
    known = NodesAndWrites(["a", "b"], bookmark_s=0.1)
    conditions, events = known.writes.conditions["a"], known.writes.events

    async def first(address: str, running: asyncio.Task[int]) -> None:
        async with an_agent(address) as agent:
            await agent.send(tunnel_host(1400))
            await until(lambda: MTU in conditions and len(events) == 1, running)
            assert conditions[MTU]["status"] == "True"
            (event,) = events.values()
            assert (event["regarding"]["name"], event["action"], event["type"]) == ("a", "Appeared", "Warning")
            assert event["reason"] == conditions[MTU]["reason"] == "MtuOverlayExceedsUnderlay"
            await agent.send(tunnel_host(1500))
            await until(lambda: MTU not in conditions and len(events) == 2, running)
            assert [each["type"] for each in events.values()] == ["Warning", "Normal"]
            await agent.send(tunnel_host(1400))
            await until(lambda: MTU in conditions and any("series" in each for each in events.values()), running)
        assert set(known.writes.conditions["b"]) == {"Ready"}

    async def second(address: str, running: asyncio.Task[int]) -> None:
        """After a life that knows nothing of the first one's."""
        await until(lambda: conditions[MTU]["status"] == "Unknown", running)
        async with an_agent(address) as agent:
            await agent.send(tunnel_host(1500))
            await until(lambda: MTU not in conditions, running)
        assert set(conditions) == {"Ready"}

    with_aggregator(tmp_path, known, first)
    with_aggregator(tmp_path, known, second)
