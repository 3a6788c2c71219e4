"""A few hours of the soak, and that it notices what grows. `make soak` is the long form."""

from __future__ import annotations

import asyncio
import gc
from dataclasses import replace
from pathlib import Path

import pytest

from agent.host import Host
from agent.reading import Reading
from aggregator import findings
from aggregator.cluster import state
from bench.cluster_objects import Size
from bench.soak import agent, aggregator
from bench.soak.meter import Sample, problems, sample, spread

_SOME = Sample(hours=1.0, rss_bytes=100_000_000, traced_bytes=0, objects=30_000, descriptors=9, threads=3)


def _objects(samples: list[Sample]) -> float:
    """By which share their number differs: what is resident is the test run's own."""
    return spread([each.objects for each in samples])


def test_an_agent_holds_after_hours_what_it_held_before() -> None:
    life, samples = agent.Life(), []
    for number in range(1, 121):
        life.step(number * 6)  # each minute of two hours
        if number >= 60 and number % 30 == 0:
            samples.append(sample(number / 60))
    assert life.updates > 100
    assert life.ledger.coalesced_updates > 5
    reading = life.runtime.reading()
    assert len([key for key in reading.blocks if key.startswith("link/")]) == 65
    assert not [
        item for item in reading.items.values() if item.WhichOneof("fact") == "collector" and not item.collector.ok
    ]
    assert _objects(samples) < 0.05, samples
    assert len({each.descriptors for each in samples}) == 1


@pytest.mark.timeout(150)
def test_an_aggregator_holds_after_hours_what_it_held_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "JOURNAL", 500)  # what is bounded is full within the first hour
    monkeypatch.setattr(findings, "KEPT_RESOLVED", 10)

    async def live() -> list[Sample]:
        samples = []
        async with aggregator.living(tmp_path, Size(24, 3)) as life:
            for number in range(1, 3 * aggregator.STEPS_AN_HOUR + 1):
                await life.step(number)
                if number % aggregator.STEPS_AN_HOUR == 0:
                    samples.append(sample(number / aggregator.STEPS_AN_HOUR))
            assert life.transitions > 20
            assert len(life.fleet.book.resolved) == 10
            assert len(life.fleet.nodes) == 3
            assert dict(life.objects.sizes())["pods"] == 24
        return samples

    samples = asyncio.run(live())
    assert _objects(samples) < 0.05, samples
    assert len({each.descriptors for each in samples}) == 1


class _Hoarder:
    """A collector that keeps whatever it sees."""

    name = "hoarder"
    lane = "hoarder"
    interval_s = 10.0

    def __init__(self) -> None:
        self._seen: list[list[str]] = []

    def collect(self, host: Host, now: float) -> Reading:  # noqa: ARG002  # the contract
        names = host.read("proc/diskstats").decode().split()
        # In a process that runs all tests there are very many objects already.
        self._seen += [[name] for name in names * (len(gc.get_objects()) // (50 * len(names)) + 1)]
        return Reading()


def test_what_grows_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent, "collectors", lambda _settings: [_Hoarder()])
    life, samples = agent.Life(), []
    for number in range(1, 31):
        life.step(number)
        if number % 10 == 0:
            samples.append(sample(number))
    assert any(problem.startswith("objects differs by") for problem in problems(samples))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"rss_bytes": 104_000_000}, []),
        ({"rss_bytes": 106_000_000}, ["rss_bytes differs by 6.0%: from 100,000,000 to 106,000,000"]),
        ({"rss_bytes": 90_000_000}, ["rss_bytes differs by 11.1%: from 90,000,000 to 100,000,000"]),
        ({"objects": 32_000}, ["objects differs by 6.7%: from 30,000 to 32,000"]),
        ({"descriptors": 10}, ["descriptors is not constant: from 9 to 10"]),
        ({"threads": 4}, ["threads is not constant: from 3 to 4"]),
    ],
)
def test_flat_is_within_a_twentieth_and_files_are_constant(changed: dict[str, int], said: list[str]) -> None:
    assert problems([_SOME, replace(_SOME, **changed), _SOME]) == said


def test_nothing_is_said_of_one_sample() -> None:
    assert problems([_SOME]) == ["fewer than two samples after the warm-up: nothing can be said"]
