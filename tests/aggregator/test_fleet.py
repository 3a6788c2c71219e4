"""Updates in, findings out: when an update counts as taken, who is silent, and what one bad node does to others."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from nodetell.v1 import agent_pb2
from nodetell.v1 import facts_pb2 as pb

from aggregator import fleet as fleet_module
from aggregator import store as store_module
from aggregator.clock_offset import ClockSample
from aggregator.database import NotStoredError
from aggregator.engine import Judgement, judge
from aggregator.findings import FindingBook, Kind, Transition
from aggregator.fleet import Fleet
from aggregator.model import Finding, Severity, Stage, Verdict
from aggregator.node_items import UpdateError
from aggregator.settings import FleetSettings
from aggregator.signatures.thresholds import Thresholds
from aggregator.store import Store
from aggregator.view import ClusterView

EPOCH = 1_800_000_000.0
INSTANCE = b"i" * 16


def small_mtu(view: ClusterView, _thresholds: Thresholds) -> Verdict:
    """A finding for each node that has an interface below 1280 bytes."""
    verdict = Verdict()
    for name, state in view.hosts.items():
        for link in state.links().values():
            if link.mtu == 666:
                raise RuntimeError("666")
            if link.mtu < 1280:
                code, summary = "mtu.small", f"{link.name} has {link.mtu}"
                verdict.findings.append(
                    Finding(f"small-{name}", code, "mtu", Stage.RISK, Severity.WARNING, summary, (name,), (), "larger")
                )
    return verdict


@dataclass
class Clock:
    now: float = EPOCH

    def __call__(self) -> float:
        return self.now


@dataclass
class Scene:
    store: Store
    settings: FleetSettings = field(default_factory=FleetSettings)
    clock: Clock = field(default_factory=Clock)
    judged: int = 0
    told: list[Transition] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        standing, over = self.store.open()
        self.fleet = Fleet(
            self.store,
            FindingBook(standing, over),
            settings=self.settings,
            judge=self._judge,
            clock=self.clock,
            monotonic=self.clock,
        )
        self.fleet.listeners.append(self.told.append)

    def _judge(self, view: ClusterView, thresholds: Thresholds) -> Judgement:
        self.judged += 1
        return judge(view, thresholds, (("small_mtu", small_mtu),))

    def connect(self, node: str, last_update: int = 0, instance: bytes = INSTANCE) -> bool:
        return self.fleet.connect(agent_pb2.Hello(node=node, instance=instance, last_update=last_update), "peer")

    def update(self, mtu: int = 1500, *, full: bool = True) -> agent_pb2.Update:
        update = agent_pb2.Update(at_unix_ms=round(self.clock.now * 1000), full=full)
        update.items.append(pb.Item(key="link/1", link=pb.Link(ifindex=1, name="eth0", mtu=mtu)))
        return update

    async def send(self, node: str, mtu: int = 1500) -> None:
        number = self.numbers[node] = self.numbers.get(node, 0) + 1
        await self.fleet.take(node, INSTANCE, number, self.update(mtu))

    def news(self) -> list[tuple[Kind, str, str]]:
        news = [(each.kind, each.record.finding.id, each.record.unconfirmed) for each in self.told]
        self.told.clear()
        return news


def play(scene: Scene, script: Callable[[Scene], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        evaluation = asyncio.create_task(scene.fleet.run())
        try:
            await asyncio.wait_for(script(scene), 10)
        finally:
            evaluation.cancel()

    try:
        asyncio.run(run())
    finally:
        scene.store.close()


def test_an_update_is_taken_when_what_it_changed_is_on_disk(tmp_path: Path) -> None:
    async def script(scene: Scene) -> None:
        scene.connect("a")
        await scene.send("a", 1000)
        assert scene.news() == [(Kind.APPEARED, "small-a", "")]
        rows = store_module._load(sqlite3.connect(tmp_path / store_module.DATABASE))[0]
        assert [record.finding.id for record in rows] == ["small-a"]
        await scene.send("a", 1500)
        assert scene.news() == [(Kind.RESOLVED, "small-a", "")]

    play(Scene(Store(tmp_path)), script)


def test_updates_of_many_nodes_share_one_judgement() -> None:
    async def script(scene: Scene) -> None:
        for number in range(50):
            scene.connect(f"n{number}")
        await asyncio.sleep(0)
        before = scene.judged
        await asyncio.gather(*(scene.send(f"n{number}", 1000) for number in range(50)))
        assert scene.judged - before <= 2
        assert len(scene.fleet.book.standing) == 50

    play(Scene(Store(None)), script)


def test_an_update_that_does_not_fit_changes_nothing_for_anybody() -> None:
    async def script(scene: Scene) -> None:
        for node in ("good", "bad"):
            scene.connect(node)
            await scene.send(node)
        nonsense = scene.update(999, full=False)
        nonsense.samples.add(slot_gaps=[77], increments=[1])
        with pytest.raises(UpdateError, match="slot 77"):
            await scene.fleet.take("bad", INSTANCE, 2, nonsense)
        await scene.send("good", 1000)
        assert list(scene.fleet.book.standing) == ["small-good"]
        assert scene.connect("bad", last_update=1)  # what was before it is still held

    play(Scene(Store(None)), script)


def test_facts_that_break_a_signature_hurt_no_other_node_and_resolve_nothing() -> None:
    async def script(scene: Scene) -> None:
        for node in ("a", "b"):
            scene.connect(node)
            await scene.send(node, 1000)
        scene.news()
        await scene.send("b", 666)
        [(kind, key, unconfirmed)] = scene.news()
        assert (kind, key) == (Kind.CHANGED, "small-b")
        assert unconfirmed.startswith("b: signature small_mtu could not be evaluated: RuntimeError: 666")
        assert [(gap.node, gap.signal) for gap in scene.fleet.gaps()] == [("b", "diagnosis/small_mtu")]
        await scene.send("a", 1500)
        assert scene.news() == [(Kind.RESOLVED, "small-a", "")]
        await scene.send("b", 1000)
        assert scene.news() == [(Kind.CHANGED, "small-b", "")]
        assert scene.fleet.gaps() == []

    play(Scene(Store(None)), script)


def test_a_defect_in_the_evaluation_gives_updates_back_and_does_not_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def script(scene: Scene) -> None:
        scene.connect("a")
        with monkeypatch.context() as broken:
            broken.setattr(FindingBook, "update", lambda *_: 1 / 0)
            with pytest.raises(NotStoredError, match="division by zero"):
                await scene.send("a")
        await scene.send("a", 1000)
        assert list(scene.fleet.book.standing) == ["small-a"]

    play(Scene(Store(None)), script)


# -- resuming ----------------------------------------------------------------------------------------------------------


def test_an_agent_goes_on_only_from_exactly_what_is_held() -> None:
    async def script(scene: Scene) -> None:
        assert not scene.connect("a")
        await scene.send("a")
        await scene.send("a")
        scene.fleet.disconnect("a", INSTANCE)
        assert not scene.fleet.nodes["a"].connected
        assert scene.connect("a", last_update=2)
        assert not scene.connect("a", last_update=1)  # the acknowledgement of 2 was lost
        assert not scene.connect("a", last_update=3)
        assert not scene.connect("a", last_update=2, instance=b"j" * 16)
        assert not scene.connect("a", last_update=0, instance=b"j" * 16)
        scene.fleet.disconnect("a", INSTANCE)  # of the older agent: says nothing of the newer one
        assert scene.fleet.nodes["a"].connected
        with pytest.raises(UpdateError, match="another agent"):
            await scene.send("a")

    play(Scene(Store(None)), script)


def test_more_nodes_than_allowed_are_refused_and_the_known_ones_stay() -> None:
    async def script(scene: Scene) -> None:
        scene.connect("a")
        assert not scene.connect("b")
        with pytest.raises(UpdateError, match="max_nodes: 1 nodes are known already"):
            await scene.send("b")
        await scene.send("a")
        scene.fleet.heard("b", 5)
        scene.fleet.disconnect("b", INSTANCE)
        assert list(scene.fleet.nodes) == ["a"]

    play(Scene(Store(None), FleetSettings(max_nodes=1)), script)


# -- silence -----------------------------------------------------------------------------------------------------------


def test_a_silent_node_s_finding_is_unconfirmed_then_forgotten_with_it() -> None:
    async def script(scene: Scene) -> None:
        scene.connect("a")
        await scene.send("a", 1000)
        scene.fleet.disconnect("a", INSTANCE)
        scene.clock.now += 10
        scene.fleet.evaluate()
        assert scene.news() == [(Kind.APPEARED, "small-a", "")]
        scene.clock.now += 10
        scene.fleet.evaluate()
        scene.fleet.evaluate()
        assert scene.news() == [(Kind.CHANGED, "small-a", "a: not heard since 2027-01-15T08:00:00Z")]
        scene.clock.now += 3_600
        scene.fleet.evaluate()
        assert scene.told[0].record.because == "not observed any more: a"
        assert scene.news() == [(Kind.RESOLVED, "small-a", "")]
        assert not scene.fleet.nodes

    play(Scene(Store(None)), script)


def test_a_heartbeat_is_a_sign_of_life_and_lets_windows_slide() -> None:
    async def script(scene: Scene) -> None:
        scene.connect("a")
        await scene.send("a", 1000)
        for _ in range(5):
            scene.clock.now += 10
            scene.fleet.heard("a", round(scene.clock.now * 1000))
            scene.fleet.evaluate()
        assert scene.news() == [(Kind.APPEARED, "small-a", "")]
        assert scene.fleet.nodes["a"].state.at == EPOCH + 50

    play(Scene(Store(None)), script)


def test_a_host_s_clock_is_told_with_its_bound_and_when() -> None:
    async def script(scene: Scene) -> None:
        scene.connect("a")
        scene.connect("b")
        await scene.send("a")
        await scene.send("b")
        scene.fleet.measured("a", ClockSample(scene.clock.now, -12.5, 0.25))
        scene.fleet.measured("stranger", ClockSample(scene.clock.now, 1.0, 0.1))
        scene.clock.now += 12
        scene.fleet.evaluate()
        a, b = scene.fleet.summaries()
        assert a.clock_offset_us == -12_500_000
        assert a.clock_bound_us == 256_000
        assert a.clock_measured_unix_ms == round((scene.clock.now - 12) * 1000)
        assert not a.clock_from_most
        assert not b.HasField("clock_offset_us")
        assert not scene.fleet.gaps()

    play(Scene(Store(None)), script)


def test_an_aggregator_whose_own_clock_is_wrong_says_so_once() -> None:
    async def script(scene: Scene) -> None:
        for node in ("a", "b", "c"):
            scene.connect(node)
            await scene.send(node)
            scene.fleet.measured(node, ClockSample(scene.clock.now, 90.0, 0.25))
        scene.clock.now += 12
        scene.fleet.evaluate()
        assert [gap.signal for gap in scene.fleet.gaps()] == ["clock"]
        assert all(each.clock_from_most and each.clock_offset_us == 0 for each in scene.fleet.summaries())

    play(Scene(Store(None)), script)


def test_after_a_restart_findings_wait_for_their_nodes(tmp_path: Path) -> None:
    async def before(scene: Scene) -> None:
        for node in ("a", "b", "c"):
            scene.connect(node)
            await scene.send(node, 1000)

    async def after(scene: Scene) -> None:
        scene.clock.now += 100
        scene.fleet.evaluate()
        assert {(kind, key) for kind, key, _ in scene.news()} == {
            (Kind.CHANGED, f"small-{node}") for node in ("a", "b", "c")
        }
        why = scene.fleet.book.standing["small-a"].unconfirmed
        assert why == "a: not heard since the aggregator started at 2027-01-15T08:00:00Z"
        for node in ("a", "b"):
            assert not scene.connect(node, last_update=1)
        scene.fleet.evaluate()
        assert scene.news() == []  # connected is not yet heard: its facts are not here
        await scene.send("a", 1000)
        await scene.send("b", 1500)
        assert scene.news() == [(Kind.CHANGED, "small-a", ""), (Kind.RESOLVED, "small-b", "")]
        assert scene.fleet.book.standing["small-a"].first_seen == EPOCH
        scene.clock.now += 3_600
        scene.connect("a")
        scene.fleet.evaluate()
        assert scene.told[0].record.because == "not observed any more: c"
        assert scene.news() == [(Kind.RESOLVED, "small-c", "")]

    play(Scene(Store(tmp_path)), before)
    play(Scene(Store(tmp_path)), after)


# -- a disk that refuses -----------------------------------------------------------------------------------------------


def test_a_disk_that_refuses_withholds_the_update_that_needs_it_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet_module, "STORE_WAIT_S", 1.0)
    monkeypatch.setattr(store_module, "_FIRST_PAUSE_S", 0.02)
    obstacle = tmp_path / "state"
    obstacle.write_text("")

    async def script(scene: Scene) -> None:
        for node in ("a", "b"):
            scene.connect(node)
        with pytest.raises(NotStoredError, match="state"):
            await scene.send("a", 1000)
        assert list(scene.fleet.book.standing) == ["small-a"]  # served all the same
        assert scene.news() == [(Kind.APPEARED, "small-a", "")]
        assert scene.fleet.gaps()[0].because.startswith("findings can't be stored: ")
        await scene.send("b", 1500)
        await scene.send("a", 1000)  # the agent comes again, which changes nothing
        obstacle.unlink()
        await scene.send("b", 1000)
        assert scene.fleet.gaps() == []

    play(Scene(Store(obstacle)), script)
    store = Store(obstacle)
    try:
        assert {record.finding.id for record in store.open()[0]} == {"small-a", "small-b"}
    finally:
        store.close()


def test_closing_gives_waiting_updates_back(tmp_path: Path) -> None:
    obstacle = tmp_path / "state"
    obstacle.write_text("")

    async def script(scene: Scene) -> None:
        scene.connect("a")
        taking = asyncio.ensure_future(scene.send("a", 1000))
        await asyncio.sleep(0.01)
        await scene.fleet.close()
        with pytest.raises(NotStoredError, match="stops"):
            await taking

    play(Scene(Store(obstacle)), script)


def test_summaries_count_what_is_known() -> None:
    async def script(scene: Scene) -> None:
        scene.connect("b")
        scene.connect("a")
        await scene.send("a", 1000)
        first, second = scene.fleet.summaries()
        assert (first.node, first.connected, first.links, first.findings) == ("a", True, 1, 1)
        assert first.facts_at_unix_ms == EPOCH * 1000
        assert (second.node, second.facts_at_unix_ms, second.findings) == ("b", 0, 0)

    play(Scene(Store(None)), script)
