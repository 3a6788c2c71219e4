"""What is kept, for how long, and in how much room: under load, and never at the cost of what a start needs."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from aggregator.history import journal as journal_module
from aggregator.history import keeper as keeper_module
from aggregator.history.retention import directory_bytes
from tests.aggregator.history.hosts import EPOCH, Host, play, scene
from tests.aggregator.test_store import appeared, opened, resolved

HOUR = 3600.0


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "REST_S", 0.0)
    monkeypatch.setattr(journal_module, "PRUNE_S", 0.0)
    monkeypatch.setattr(keeper_module, "BASE_AFTER_S", 100.0)


def test_minutes_are_forgotten_after_their_time_hour_by_hour(tmp_path: Path) -> None:
    host = Host("a")

    async def script() -> None:
        with scene(tmp_path, retention_s=5 * HOUR) as there:
            for _ in range(60):
                host.counters["link/1"][0] += 1
                await there.tell(host)
                there.history.step()
                there.now += 600
            points = await there.history.read("a", "link/1/rx_packets", 0, there.now)
            assert there.now - 6 * HOUR <= points[0].at <= there.now - 4 * HOUR
            assert points[-1].at > there.now - HOUR

    play(script)


def test_all_files_together_stay_below_the_limit_under_load(tmp_path: Path) -> None:
    """Findings, history, logs and damaged files; the oldest goes first, and what a start needs stays."""
    most = 4 << 20
    chance = random.Random(8)  # noqa: S311  # figures, not secrets
    hosts = [Host(f"n{number}") for number in range(4)]
    for host in hosts:
        for index in range(1, 200):
            host.counters[f"link/{index}"] = [0, 0, 0]
            host.mtus[f"link/{index}"] = 1500
    (tmp_path / "findings.sqlite.damaged-20250101T000000Z").write_bytes(b"?" * (1 << 20))
    largest = 0

    async def script() -> None:
        nonlocal largest
        with (
            opened(tmp_path, max_bytes=most // 4, retention_s=1e12) as (store, _, _),
            scene(tmp_path, max_bytes=most, retention_s=1e9) as there,
        ):
            for life in range(140):
                for host in hosts:
                    for values in host.counters.values():
                        values[:] = [value + chance.getrandbits(40) for value in values]
                await asyncio.gather(*(there.tell(host) for host in hosts))
                there.history.step()
                text = random.Random(life).randbytes(1_000).hex()  # noqa: S311
                await store.commit([appeared(f"f{life}-{n}", there.now, text) for n in range(5)])
                await store.commit([resolved(f"f{life}-{n}", there.now) for n in range(5)])
                there.now += 300
                largest = max(largest, directory_bytes(tmp_path))
            assert not (tmp_path / "findings.sqlite.damaged-20250101T000000Z").exists()
            points = await there.history.read("n0", "link/1/rx_packets", 0, there.now)
            assert points[0].at > EPOCH + HOUR, "nothing had to go: the load was too small"
            assert points[-1].at >= there.now - 600
            assert there.history.gaps() == []
            now = there.now
        with scene(tmp_path, now, max_bytes=most) as again:
            for host in hosts:
                kept = again.rebuild()[host.name]
                assert {s: list(block.values) for s, block in kept.state.counters.items()} == host.counters

    play(script)
    assert largest < most


def test_a_node_that_takes_much_more_than_others_shortens_its_own_past_and_no_other_s(tmp_path: Path) -> None:
    chance = random.Random(3)  # noqa: S311  # figures, not secrets
    hosts = [Host(f"n{number}") for number in range(4)]
    for index in range(1, 300):
        hosts[0].counters[f"link/{index}"] = [0, 0, 0]
        hosts[0].mtus[f"link/{index}"] = 1500

    async def script() -> None:
        with scene(tmp_path, max_bytes=1 << 20, retention_s=1e9) as there:
            for _ in range(160):
                for host in hosts:
                    for values in host.counters.values():
                        values[:] = [value + chance.getrandbits(40) for value in values]
                await asyncio.gather(*(there.tell(host) for host in hosts))
                there.history.step()
                there.now += 300
            first = {
                host.name: (await there.history.read(host.name, "link/1/rx_packets", 0, there.now))[0].at
                for host in hosts
            }
            assert first["n0"] > EPOCH + 2 * HOUR, "nothing had to go: the load was too small"
            assert all(at <= EPOCH + 600 for name, at in first.items() if name != "n0")

    play(script)


def test_a_limit_that_what_is_needed_exceeds_is_said_and_the_needed_stays(tmp_path: Path) -> None:
    host = Host("a")

    async def script() -> None:
        with scene(tmp_path, max_bytes=20_000) as there:
            for _ in range(30):
                host.counters["link/1"][0] += 1
                await there.tell(host)
                there.now += 10
            said = [gap.because for gap in there.history.gaps()]
            assert len(said) == 1
            assert "what is needed takes" in said[0]
            assert "store.max_mib allows" in said[0]
        with scene(tmp_path, there.now, max_bytes=20_000) as again:
            assert again.rebuild()["a"].number == host.number

    play(script)
