"""The agent's process as a whole, against a real server."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from nodetell.v1 import facts_pb2 as pb

from agent.main import run
from agent.settings import AgentSettings, CollectorSettings, StreamSettings
from tests.wire import MemorySink, serving, until


@pytest.fixture(autouse=True)
def _log_as_before() -> Iterator[None]:
    """The process's log is set up by the agent's main function; other tests want it as it was."""
    logger = logging.getLogger("nodetell")
    handlers, propagate, level = logger.handlers[:], logger.propagate, logger.level
    yield
    logger.handlers[:], logger.propagate = handlers, propagate
    logger.setLevel(level)


FAST = StreamSettings(batch_interval_s=0.2, heartbeat_interval_s=0.5)


def test_this_very_host_is_told_and_the_agent_stops_at_once() -> None:
    async def scenario() -> None:
        sink, stop = MemorySink(), asyncio.Event()
        async with serving(sink) as target:
            settings = AgentSettings(node="this", aggregator=target, insecure=True, stream=FAST, log_level="error")
            task = asyncio.create_task(run(settings, stop))
            await until(lambda: sink.taken)
            state = sink.nodes["this"]
            assert sink.taken[0][2].full
            assert any(link.loopback for link in state.links().values())
            assert state.items["host"].host.kernel_release
            assert state.items["collector/links"].collector.ok
            stop.set()
            began = time.monotonic()
            assert await task == 0
            assert time.monotonic() - began < 1.5
            await until(lambda: not sink.connected)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "settings",
    [AgentSettings(node="Not_A_Name"), AgentSettings(collectors=CollectorSettings(disabled=("nonsense",)))],
)
def test_settings_that_cannot_be_used(settings: AgentSettings, capfd: pytest.CaptureFixture[str]) -> None:
    assert asyncio.run(run(replace(settings, aggregator="127.0.0.1:1", insecure=True), asyncio.Event())) == 2
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "event=settings_refused" in lines[0]
    assert "Not_A_Name" in lines[0] or "there is none named nonsense" in lines[0]


def test_a_collector_that_is_switched_off_is_missed() -> None:
    async def scenario() -> None:
        sink, stop = MemorySink(), asyncio.Event()
        async with serving(sink) as target:
            settings = AgentSettings(
                node="this",
                aggregator=target,
                insecure=True,
                collectors=CollectorSettings(disabled=("usage",)),
                log_level="error",
            )
            task = asyncio.create_task(run(settings, stop))
            await until(lambda: sink.taken)
            state = sink.nodes["this"]
            assert "usage" not in state.items
            assert state.items["coverage/usage/disabled"].coverage.status == pb.COVERAGE_STATUS_MISSING
            stop.set()
            await task

    asyncio.run(scenario())


def test_nothing_starts_without_tls_but_by_an_explicit_word_which_is_said(capfd: pytest.CaptureFixture[str]) -> None:
    async def scenario() -> None:
        assert await run(AgentSettings(node="this", aggregator="127.0.0.1:1"), asyncio.Event()) == 2
        assert 'event=settings_refused reason="tls.ca is not set' in capfd.readouterr().err
        for _ in range(2):
            sink, stop = MemorySink(), asyncio.Event()
            async with serving(sink) as target:
                settings = AgentSettings(node="this", aggregator=target, insecure=True, log_level="warning")
                task = asyncio.create_task(run(settings, stop))
                await until(lambda: sink.taken)  # noqa: B023  # called at once
                stop.set()
                assert await task == 0
            (line,) = [each for each in capfd.readouterr().err.splitlines() if "event=insecure" in each]
            assert "level=warning" in line
            assert "nothing is encrypted, and whatever listens there is taken for the aggregator" in line

    asyncio.run(scenario())
