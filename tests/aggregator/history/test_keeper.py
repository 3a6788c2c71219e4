"""What agents have told: on disk before it is answered for, whole again after a restart, and nothing in it twice."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from nodetell.v1 import agent_pb2

from aggregator.history import keeper as keeper_module
from aggregator.node_state import NodeState
from tests.aggregator.history.hosts import COUNTERS, EPOCH, Host, play, scene


def windows(state: NodeState) -> dict[tuple[str, float], Any]:
    """All that rules see of the counters."""
    return {
        (subject, window): state.increments(subject, window)
        for subject in state.counters
        for window in (10.0, 60.0, 300.0, 900.0)
    }


def same(one: NodeState, other: NodeState) -> None:
    assert one.items == other.items
    assert {s: (b.names, b.values, b.base, b.first_at) for s, b in one.counters.items()} == {
        s: (b.names, b.values, b.base, b.first_at) for s, b in other.counters.items()
    }
    assert windows(one) == windows(other)
    assert sorted(one.faults(300.0)) == sorted(other.faults(300.0))
    assert (one.at, one.coalesced_updates) == (other.at, other.coalesced_updates)


@pytest.mark.parametrize("based", [False, True])
def test_a_node_is_after_a_restart_what_it_was_with_its_windows(
    tmp_path: Path, based: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aggregator.history.journal.REST_S", 0.0)
    chance = random.Random(1)  # noqa: S311  # figures, not secrets
    host = Host("a")

    async def fill() -> NodeState:
        with scene(tmp_path) as before:
            for number in range(60):
                host.move(chance)
                host.mtus["link/2"] = 1500 - number // 20
                if number == 30:
                    host.restart()
                if number == 45:
                    host.counters["link/3"] = [1, 2, 3]
                if based and number % 25 == 24:
                    monkeypatch.setattr(keeper_module, "BASE_AFTER_S", 10.0)
                    before.history.step()
                await before.tell(host)
                before.now += 5
            return before.kept["a"].state

    async def again(known: NodeState) -> None:
        with scene(tmp_path, EPOCH + 302) as after:
            kept = after.rebuild()["a"]
            assert (kept.instance, kept.number) == (host.instance, host.number)
            same(kept.state, known)
            for _ in range(20):  # and the next deltas fit
                host.move(chance)
                await after.tell(host)
                after.now += 5
            assert {s: list(b.values) for s, b in kept.state.counters.items()} == host.counters
            assert kept.state.items["link/2"].link.mtu == host.mtus["link/2"]

    async def script() -> None:
        await again(await fill())

    play(script)


def test_what_counters_rose_by_is_in_the_history_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through bases, restarts and agents' restarts: the sum over all minutes is what the counters rose by."""
    monkeypatch.setattr("aggregator.history.journal.REST_S", 0.0)
    monkeypatch.setattr(keeper_module, "BASE_AFTER_S", 100.0)
    chance = random.Random(2)  # noqa: S311
    hosts = [Host("a"), Host("b")]
    first = {host.name: {s: list(v) for s, v in host.counters.items()} for host in hosts}

    async def script() -> None:
        now = EPOCH
        for life in range(3):
            with scene(tmp_path, now) as there:
                for host in hosts if not life else ():
                    await there.tell(host)
                for _ in range(30):
                    for host in hosts:
                        host.move(chance)
                        await there.tell(host, full=life > 1 and chance.random() < 0.05)
                    there.history.step()
                    there.now += 7
                for host in hosts:
                    for subject, values in host.counters.items():
                        for index, name in enumerate(COUNTERS):
                            rose = values[index] - first[host.name][subject][index]
                            assert await there.total(host.name, f"{subject}/{name}") == rose
                now = there.now

    play(script)


def test_minutes_gauges_and_series_as_a_chart_asks_for_them(tmp_path: Path) -> None:
    host = Host("a")

    async def script() -> None:
        with scene(tmp_path) as there:
            for _ in range(4):
                host.counters["link/1"][2] += 7
                host.mtus["link/1"] -= 10
                await there.tell(host)
                there.now += 20
            points = await there.history.read("a", "link/1/rx_dropped", EPOCH, EPOCH + 120)
            assert [(point.at - EPOCH, point.value) for point in points] == [(0, 14), (60, 7)]
            points = await there.history.read("a", "link/1/mtu", EPOCH, EPOCH + 120)
            shown = [(point.at - EPOCH, point.value, point.low, point.high) for point in points]
            assert shown == [(0, 1470, 1470, 1490), (60, 1460, 1460, 1460)]
            assert await there.history.read("a", "link/1/mtu", EPOCH + 60, EPOCH + 61) == points[1:]
            assert await there.history.read("nobody", "link/1/mtu", EPOCH, EPOCH + 120) == []
            series = await there.history.series("a", EPOCH, EPOCH + 120)
            found = {each.name: (each.label, each.gauge) for each in series}
            assert found["link/1/rx_dropped"] == ("eth1", False)
            assert found["link/1/mtu"] == ("eth1", True)
            started = await there.history.read("a", "agent/started", EPOCH, EPOCH + 120)
            assert [(point.at - EPOCH, point.value) for point in started] == [(0, 1)]

    play(script)


def test_quantiles_of_latencies_by_minute(tmp_path: Path) -> None:
    names = ("le_1000us", "le_2000us", "gt_2000us")

    async def script() -> None:
        with scene(tmp_path) as there:
            there.kept["a"] = there.history.fresh("a")
            full = agent_pb2.Update(at_unix_ms=round(EPOCH * 1000), full=True)
            full.schemas.add(id=1, names=names)
            full.blocks.add(first_slot=1, schema=1, subject="latency/probe/x", values=[0, 0, 0])
            await there.take(Host("a"), 1, full)
            delta = agent_pb2.Update(at_unix_ms=round(EPOCH * 1000) + 1000)
            delta.samples.add(slot_gaps=[1, 1], increments=[90, 10])
            await there.take(Host("a"), 2, delta)
            for name, value in (("p50_us", 555.6), ("p99_us", 1900.0)):
                points = await there.history.read("a", f"latency/probe/x/{name}", EPOCH - 60, EPOCH + 60)
                assert [round(point.value, 1) for point in points] == [value]

    play(script)


def test_an_absence_is_told_once_by_its_minutes(tmp_path: Path) -> None:
    """The jump at the end of it is taken back as its roll-ups come, and a roll-up that comes twice counts once."""

    async def script() -> None:
        host = Host("a")
        with scene(tmp_path) as there:
            await there.tell(host)
            there.now += 600
            host.counters["link/1"][0] += 600
            host.now = there.now
            number, update = host.update()
            update.samples[0].span_ms = 600_000
            await there.take(host, number, update)
            assert [p.value for p in await there.history.read("a", "link/1/rx_packets", 0, there.now + 60)] == [600]
            for _ in range(2):
                there.now += 5
                late = agent_pb2.Update(at_unix_ms=round(there.now * 1000))
                late.backlog.schemas.add(id=1, names=COUNTERS)
                values = host.counters["link/1"]
                late.backlog.blocks.add(first_slot=1, schema=1, subject="link/1", values=values)
                for minute in range(10):
                    end = round(1000 * (EPOCH + 60 * (minute + 1) - there.now))
                    late.backlog.samples.add(at_offset_ms=end, span_ms=60_000, slot_gaps=[1], increments=[60])
                host.number += 1
                await there.take(host, host.number, late)
            points = await there.history.read("a", "link/1/rx_packets", 0, there.now + 60)
            assert [(point.at - EPOCH, point.value) for point in points] == [(60 * n, 60) for n in range(10)]
        with scene(tmp_path, there.now) as after:
            after.rebuild()
            assert await after.total("a", "link/1/rx_packets") == 600

    play(script)
