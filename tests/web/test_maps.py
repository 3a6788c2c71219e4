"""The maps: what they say of fleets of any size, what nobody measured is not fine, and nobody is held up."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Generator
from typing import Any
from xml.etree import ElementTree  # our own markup

import pytest
from msgspec.structs import replace

from aggregator.cluster.objects import Condition
from aggregator.cluster.state import ClusterState
from aggregator.history.columns import Calls, Past, past_of
from aggregator.history.reading import HistoryError, Live
from aggregator.signatures.thresholds import Thresholds
from aggregator.slices import Kept, through
from aggregator.view import ClusterView
from aggregator.web.charts.strip import SILENT, TOO_FEW
from aggregator.web.page import maps_storage
from aggregator.web.page.maps import legend, paths_asked
from aggregator.web.page.maps_fsync import RANGES, USUAL, Pasts, edges_us, ranked, rows_of, shade_of
from aggregator.web.page.maps_matrix import MOST, By, Matrix, between, label, of_groups, of_nodes
from aggregator.web.page.maps_paths import Fleet, State, gathered
from tests.web.fleet import AT, ZONES, fleet, name_of, node, volumes
from tests.web.site import Running, made_up, running

SMALL, LARGE = 60, 5_000


def grouped(fleet_: Fleet, by: By, via: str = "") -> Matrix:
    return asyncio.run(of_groups(fleet_, by, via))


# -- paths -------------------------------------------------------------------------------------------------------------


def test_each_cell_shows_its_worst_path_and_how_much_of_it_was_measured() -> None:
    found = asyncio.run(gathered(fleet(SMALL).view(), Thresholds()))
    matrix = grouped(found, By.ZONE, "")
    assert [axis.label for axis in matrix.rows] == list(ZONES)
    assert dict(matrix.states) == {
        State.FINE: (SMALL - 4) * 4,
        State.BLACK_HOLE: 4,
        State.SILENT: 4,
        State.SMALLER: 4,
    }
    assert found.old == 4
    for cell in matrix.cells.values():
        assert sum(cell.states.values()) >= len(cell.measured)
        assert cell.pairs in (20 * 20, 20 * 19)
    row, _, cell = matrix.worst[0]
    assert (row.label, cell.worst, cell.smallest) == ("eu-1a", State.BLACK_HOLE, 1400)
    assert cell.said.startswith("2 black hole" if cell.states[State.BLACK_HOLE] == 2 else "1 black hole")
    assert "of 400 pairs of nodes measured" in cell.said or "of 380 pairs of nodes measured" in cell.said
    by_both = grouped(found, By.BOTH, "")
    assert sum(sum(cell.states.values()) for cell in by_both.cells.values()) == sum(matrix.states.values())
    assert not grouped(found, By.BOTH, "overlay").states


def test_what_nobody_measured_is_not_fine() -> None:
    found = asyncio.run(gathered(fleet(SMALL).view(), Thresholds()))
    rows, columns, paths = asyncio.run(between(found, ("eu-1a", ""), ("eu-1b", ""), By.ZONE, ""))
    matrix = of_nodes(rows, columns, paths)
    (old,) = [name for name in rows if name == name_of(9)]
    cells = [matrix.cells[old, column.key] for column in matrix.columns]
    assert {cell.worst for cell in cells} == {State.UNMEASURED}
    assert cells[0].said == "none of 1 pairs of nodes measured"
    assert paths[0].found is State.BLACK_HOLE
    nothing = grouped(asyncio.run(gathered(ClusterView("x", {}), Thresholds())), By.BOTH)
    assert not nothing.rows


def test_a_matrix_of_too_many_shows_the_worst() -> None:
    found = asyncio.run(gathered(fleet(SMALL).view(), Thresholds()))
    every = sorted(found.group_of)
    matrix = of_nodes(every, every, found.paths)
    assert (len(matrix.rows), matrix.left_out) == (MOST, SMALL - MOST)
    assert {name_of(0), name_of(3), name_of(6)} <= {axis.key for axis in matrix.rows}
    assert matrix.cells[name_of(0), name_of(0)].pairs == 0


def test_five_thousand_nodes_are_gathered_while_others_are_served() -> None:
    known = fleet(LARGE)

    async def both() -> tuple[Any, int]:
        gathering = asyncio.ensure_future(gathered(known.view(), Thresholds()))
        turns = 0
        while not gathering.done():
            await asyncio.sleep(0)
            turns += 1
        return gathering.result(), turns

    found, turns = asyncio.run(both())
    assert turns > 2
    assert len(found.paths) == LARGE * 4 - 4
    matrix = grouped(found, By.BOTH, "")
    assert len(matrix.rows) == 12
    assert matrix.worst[0][2].worst is State.BLACK_HOLE
    storage = asyncio.run(maps_storage.gathered(known.view()))
    assert sum(zone.only_here for zone in storage.zones) == LARGE


def test_labels_and_addresses_of_the_matrix() -> None:
    assert label(("", "")) == "no zone, no pool"
    assert label(("a", "b"), By.POOL) == "b"
    asked = paths_asked({"by": "odd", "from": "1", "from_zone": "a", "to": "1", "page": "-3"})
    assert (asked.by, asked.from_, asked.to, asked.page) == (By.BOTH, ("a", ""), ("", ""), 1)
    assert asked.link(page=2) == "?from_zone=a&from=1&to=1&page=2"
    assert asked.link(from_=None, to=None) == "?"


# -- fsync -------------------------------------------------------------------------------------------------------------


def test_the_slowest_come_first_and_a_finding_before_them() -> None:
    known = fleet(SMALL)
    found = asyncio.run(ranked(known))
    assert (found[0].name, found[0].process) == (name_of(1), "db-1")
    assert found[0].p99_us is not None
    assert found[0].p99_us > 100_000
    assert [each.p99_us or -1 for each in found] == sorted((each.p99_us or -1 for each in found), reverse=True)


def test_a_row_has_a_shade_for_each_part_of_the_time() -> None:
    known = fleet(SMALL)
    heat = asyncio.run(Pasts(known).heat([name_of(1), "nobody"], RANGES[0]))
    (row,) = heat.rows
    assert len(row.shades) == 60
    assert row.shades.count(TOO_FEW) in (9, 10)
    live = past_of(None, [Live(1, known.rows[name_of(1)])], name_of(1), since=heat.begin, until=heat.end)
    (alive,) = rows_of(name_of(1), live, (heat.begin, heat.end), 60, Thresholds())
    assert alive.shades.count(SILENT) == row.shades.count(TOO_FEW) + row.shades.count(SILENT)
    assert row.label == "db-1 /var/lib/db"
    edges = edges_us(Thresholds())
    assert max(row.shades) == shade_of(199_000, edges)
    assert row.worst_us is not None
    assert 100_000 < row.worst_us <= 200_000
    assert row.worst_at >= AT - 700
    assert heat.silent == ("nobody",)


def test_too_few_calls_are_neither_quick_nor_slow() -> None:
    calls = Calls("latency/x", "", (1_000,), {0: [10, 0], 1: [30, 0]})
    (row,) = rows_of("n", Past(((0, 180),), (calls,)), (0, 240), 60, Thresholds())
    assert row.shades == (TOO_FEW, 0, TOO_FEW, SILENT)
    assert row.label == "x"


def test_shades_are_set_by_what_is_warned_of() -> None:
    told = legend(Thresholds())
    assert ("heat-3", "from 10 ms (warning)") in told
    assert ("heat-5", "from 100 ms (critical)") in told
    assert [words for _, words in legend(Thresholds(fsync_warning_ms=0.2))][:2] == ["below 20 µs", "from 20 µs"]


class Broken:
    """Whose history hangs, or cannot be read."""

    def __init__(self, known: Any, *, hangs: bool) -> None:
        self._known, self._hangs = known, hangs

    def __getattr__(self, name: str) -> Any:
        return getattr(self._known, name)

    async def past(self, node: str, **span: Any) -> Past:
        if node == name_of(1):
            if self._hangs:
                await asyncio.sleep(3600)
            raise HistoryError("the disk is on fire")
        past: Past = await self._known.past(node, **span)
        return past


@pytest.mark.parametrize("hangs", [True, False])
def test_a_past_that_cannot_be_read_is_left_out_and_named(monkeypatch: pytest.MonkeyPatch, hangs: bool) -> None:
    monkeypatch.setattr("aggregator.web.page.maps_fsync.IN_TIME_S", 0.5)
    heat = asyncio.run(Pasts(Broken(fleet(SMALL), hangs=hangs)).heat([name_of(1), name_of(2)], USUAL))
    assert heat.late == (name_of(1),)
    assert [row.node for row in heat.rows] == [name_of(2)]


# -- storage -----------------------------------------------------------------------------------------------------------


def test_volumes_by_where_they_may_go() -> None:
    storage = asyncio.run(maps_storage.gathered(fleet(SMALL).view()))
    assert [(zone.name, zone.nodes, zone.ready) for zone in storage.zones] == [(name, 20, 20) for name in ZONES]
    assert [(zone.only_here, zone.of_one_node, zone.pods) for zone in storage.zones] == [
        (20, 0, 20),
        (20, 0, 20),
        (20, 1, 20),
    ]
    assert (storage.anywhere, storage.nowhere, storage.unknown) == (1, 1, ())
    by_name = {row.name: row for row in storage.volumes}
    assert (by_name["pv-0002"].nodes, by_name["pv-0002"].zones) == (1, ("eu-1c",))
    assert (by_name["pv-none"].nodes, by_name["pv-none"].stuck) == (0, False)
    assert by_name["pv-0001"].pods == ("db/db-1-0",)
    assert len(maps_storage.filtered(storage, "eu-1c", "")) == 20
    assert [row.name for row in maps_storage.filtered(storage, None, "PV-0002")] == ["pv-0002"]


def test_what_a_lost_zone_would_strand() -> None:
    found = asyncio.run(maps_storage.stranded(fleet(SMALL).view()))
    assert set(found) == set(ZONES)
    assert found["eu-1a"].pods == 20
    assert {cause.value for cause in found["eu-1a"].causes} == {"volume"}


def test_of_a_zone_that_is_lost_already_nothing_is_called_well() -> None:
    state = ClusterState()
    for resource in maps_storage.NEEDED:
        state.set_known(resource, True)
    gone = replace(node(0), conditions=(Condition("Ready", "Unknown"),))
    for each in (gone, node(1)):
        state.keep("nodes", each.name, each)
    volumes(state, 1)
    state.keep("pods", "db/db-0-0", replace(state.pods["db/db-0-0"], node=""))
    known = made_up([], view=ClusterView("c", {}, state, AT))

    async def script(at: Running) -> None:
        text = (await at.get("/maps/storage")).text
        assert "it is lost already" in text
        assert "1 pod with a volume of it waits for a node" in text
        assert "none ready" in text
        assert "no pod there would have to move" in text  # of the other zone
        assert "every pod would come back" not in text

    asking(known, script)


def test_work_in_steps_lets_others_go_first() -> None:
    def steps() -> Generator[None, None, int]:
        for _ in range(5):
            time.sleep(0.005)
            yield
        return 7

    async def script() -> tuple[int, int]:
        task = asyncio.ensure_future(through(steps()))
        turns = 0
        while not task.done():
            await asyncio.sleep(0)
            turns += 1
        return task.result(), turns

    result, turns = asyncio.run(script())
    assert result == 7
    assert turns >= 5


def test_an_answer_is_made_once_for_all_and_the_old_one_serves_until_then() -> None:
    async def script() -> None:
        made, now, gate = 0, 0.0, asyncio.Event()

        async def make() -> int:
            nonlocal made
            made += 1
            await gate.wait()
            return made

        kept = Kept(make, 10.0, lambda: now)
        assert await kept.soon(0.01) is None
        gate.set()
        assert list(await asyncio.gather(kept.get(), kept.get())) == [1, 1]
        now = 9.0
        assert await kept.get() == 1
        now = 11.0
        gate.clear()
        assert await kept.soon(0.01) == 1
        gate.set()
        assert await kept.get() == 2

    asyncio.run(script())


# -- the pages ---------------------------------------------------------------------------------------------------------


def asking(known: Any, script: Callable[[Running], Awaitable[None]]) -> None:
    async def run() -> None:
        async with running(known) as at:
            await script(at)

    asyncio.run(run())


def as_xml(text: str) -> ElementTree.Element:
    body = text[text.index("<main") : text.index("</main>") + 7]
    for bare in ("selected", "data-live", "checked", "hidden"):
        body = re.sub(rf" {bare}(?=[ >])", "", body)
    body = re.sub(r"<(input|br)([^>]*[^/])?>", r"<\1\2/>", body)
    return ElementTree.fromstring(body)  # noqa: S314  # our own markup


PAGES = (
    "/maps",
    "/maps/paths",
    "/maps/paths?by=zone&via=underlay",
    "/maps/paths?by=zone&from=1&from_zone=eu-1a&from_pool=&to=1&to_zone=eu-1b&to_pool=",
    "/maps/paths?from=1&from_zone=none&to=1",
    "/maps/paths?page=x&by=odd&via=%22%3E",
    "/maps/fsync",
    "/maps/fsync?range=7d&page=2",
    "/maps/fsync?q=n0001&range=1h",
    "/maps/fsync?q=%3Cscript%3E",
    "/maps/fsync?node=n0001&range=1h",
    "/maps/fsync?node=%3Cscript%3E",
    "/maps/storage",
    "/maps/storage?zone=eu-1a",
    "/maps/storage?zone=",
    "/maps/storage?zone=%3Cscript%3E&q=x&page=9999999",
)


@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_whole_and_relative_and_without_style_or_script(path: str) -> None:
    async def script(at: Running) -> None:
        answer = await at.get(path, raw=True)
        text = answer.text
        assert answer.status == 200, text
        root = as_xml(text)
        for element in root.iter():
            assert element.tag not in {"script", "style"}
            assert "style" not in element.attrib
            for name in ("href", "src", "action"):
                assert not element.get(name, "").startswith(("/", "http", "javascript"))
            if element.tag == "div" and element.get("class") == "wide":
                assert element.get("tabindex") == "0"
                assert element.get("aria-label")
        (heading,) = root.findall(".//h1")
        assert "".join(heading.itertext()).strip()

    asking(fleet(SMALL), script)


@pytest.mark.parametrize("path", [path for path in PAGES if "node=" not in path])
def test_of_nothing_every_page_says_so(path: str) -> None:
    async def script(at: Running) -> None:
        answer = await at.get(path, raw=True)
        text = answer.text
        assert answer.status == 200, text
        as_xml(text)
        if path != "/maps":
            assert 'class="empty"' in text

    asking(made_up([]), script)


def test_a_page_of_a_large_fleet_is_small_and_soon_there() -> None:
    async def script(at: Running) -> None:
        for path in ("/maps/paths", "/maps/fsync?range=1h", "/maps/storage"):
            answer = await at.get(path)
            text = answer.text
            assert answer.status == 200
            assert len(text) < 300_000, path
            again = time.perf_counter()
            await at.get(path)
            print(path, len(text), round(time.perf_counter() - again, 3))  # noqa: T201  # shown by -s

    asking(fleet(LARGE), script)
