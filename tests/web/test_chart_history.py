"""Charts of what a running aggregator remembers: a silence is a gap, a counter that stood still is 0, what cannot be
read says so, and what was told before a chart begins holds in it."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from aggregator.cluster.state import ClusterState
from aggregator.history.columns import Past
from aggregator.history.keeper import History
from aggregator.history.reading import HistoryError, Point
from aggregator.model import Evidence, Finding, Severity, Stage
from aggregator.signatures.thresholds import Thresholds
from aggregator.view import ClusterView
from aggregator.web.charts import evidence as module
from aggregator.web.charts.evidence import each_once, evidence_chart, evidence_charts
from tests.aggregator.history.hosts import EPOCH, Host, Scene, play, scene


@pytest.fixture(autouse=True)
def _no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal writes at once."""
    monkeypatch.setattr("aggregator.history.journal.REST_S", 0.0)


class Remembering:
    """What is known, as far as charts ask."""

    live = True
    thresholds = Thresholds()

    def __init__(self, history: History, there: Scene) -> None:
        self._history, self._there = history, there

    def now(self) -> float:
        return self._there.now

    def standing(self) -> list[Any]:
        return []

    def view(self) -> ClusterView:
        hosts = {name: kept.state for name, kept in self._there.kept.items()}
        return ClusterView("c", hosts, ClusterState(), self._there.now)

    async def points(self, node: str, series: str, *, since: float, until: float) -> list[Point]:
        return await self._history.read(node, series, since=since, until=until)

    async def past(self, node: str, *, since: float, until: float, step_s: float) -> Past:
        return await self._history.past(node, since=since, until=until, step_s=step_s)


def finding(*evidence: Evidence, since: float) -> Finding:
    return Finding("x", "x", "x", Stage.ACTIVE, Severity.WARNING, "", ("a",), evidence, "", since=since)


def drops(at: float) -> Evidence:
    return Evidence("a", "counter.delta", "eth1.rx_dropped", 1, "packets", "", at)


def mtu(at: float) -> Evidence:
    return Evidence("a", "link.mtu", "eth1", 1500, "bytes", "", at)


async def an_hour(there: Scene) -> None:
    """Drops from minute 40 on, the MTU set at minute 20, and a silence from minute 30 to 35."""
    host = Host("a")
    for minute in range(60):
        there.now = EPOCH + 60 * minute + 5
        if 30 <= minute < 35:
            continue
        host.counters["link/1"][0] += 1_000
        host.counters["link/1"][2] += 120 if minute >= 40 else 0
        host.mtus["link/1"] = 1450 if minute >= 20 else 1500
        await there.tell(host)
    there.now = EPOCH + 3_600


def test_drops_an_mtu_and_a_silence(tmp_path: Path) -> None:
    async def script() -> None:
        with scene(tmp_path) as there:
            await an_hour(there)
            asked = finding(drops(there.now), mtu(there.now), drops(there.now), since=EPOCH + 2_400)
            known: Any = Remembering(there.history, there)
            dropped, step, again = await evidence_charts(known, asked)
            assert again is None
            assert dropped is not None
            assert "rx_dropped of eth1, a" in dropped
            assert "0 before, 120/min since" in dropped
            assert step is not None
            assert "1,450 bytes before, 1,450 bytes since" in step
            for chart in (dropped, step):
                assert chart.count("chart-gap") == 1, "the silence, and nothing else"
            assert "no data" in dropped
            assert re.search(r"<td>0</td>", dropped)
            draw = each_once(known)
            assert await draw(asked, drops(there.now)) is not None
            assert await draw(asked, drops(there.now)) is None

    play(script)


@pytest.mark.parametrize(("hangs", "says"), [(True, "could not be read within 0.2 s"), (False, "the disk is on fire")])
def test_what_cannot_be_read_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hangs: bool, says: str) -> None:
    monkeypatch.setattr(module, "IN_TIME_S", 0.2)

    class Broken(Remembering):
        async def points(self, node: str, series: str, *, since: float, until: float) -> list[Point]:  # noqa: ARG002  # the protocol's
            if hangs:
                await asyncio.sleep(3_600)
            raise HistoryError("the disk is on fire")

    async def script() -> None:
        with scene(tmp_path) as there:
            await an_hour(there)
            known: Any = Broken(there.history, there)
            chart = await evidence_chart(known, finding(drops(there.now), since=EPOCH), drops(there.now))
            assert chart is not None
            assert says in chart
            assert "<svg" not in chart

    play(script)
