"""Charts: whatever the figures and names are, well-formed markup without a style or script; gaps stay gaps."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator.cluster.objects import ContainerState, ContainerStatus, Pod, PodSpec
from aggregator.history.reading import Point
from aggregator.web.charts import units
from aggregator.web.charts.data import Stretch, condensed, drawable, held, mean, middle, plain, risen, told
from aggregator.web.charts.runs import runs_chart
from aggregator.web.charts.scale import scale_of, times
from aggregator.web.charts.strip import SILENT, TOO_FEW, Strip, strip, time_axis
from aggregator.web.charts.timeline import Chart, Limit, Line, Sort, time_chart

T = 1_782_874_800.0
UNITS = [units.LATENCY, units.OFFSET, units.BYTES, units.MTU, units.PER_MINUTE, units.PERCENT, units.COUNT, units.YES]
figures = st.floats(allow_nan=True, allow_infinity=True)
moments = st.one_of(st.floats(T - 4_000, T + 400), figures)
stretches = st.lists(st.builds(Stretch, moments, moments, figures, figures, figures), max_size=12)


def parsed(markup: str) -> ElementTree.Element:
    """As XML, with nothing in it that a strict policy forbids."""
    root = ElementTree.fromstring(f"<body>{markup}</body>")  # noqa: S314  # our own markup
    for element in root.iter():
        assert element.tag not in {"style", "script", "foreignObject"}
        for name, value in element.attrib.items():
            assert name != "style"
            assert not name.startswith("on")
            if name in {"x", "y", "x1", "x2", "y1", "y2", "width", "height"}:
                assert math.isfinite(float(value)), (element.tag, name, value)
            if name == "d":
                assert re.fullmatch(r"[MHVZ\d. -]*", value), value
    return root


def chart_of(
    values: Sequence[float | None], *, since: float = 0.0, step: float = 60.0, sort: Sort = Sort.TAIL
) -> Chart:
    begin = T - step * len(values)
    known = [plain(begin + i * step, begin + (i + 1) * step, v) for i, v in enumerate(values) if v is not None]
    return Chart("x", units.LATENCY, [Line("p99", known, sort)], begin, T, since)


def texts(markup: str) -> str:
    return " ".join(" ".join(parsed(markup).itertext()).split())


@settings(max_examples=60, deadline=None)
@given(
    stretches,
    st.sampled_from(UNITS),
    st.lists(figures, max_size=2),
    st.sampled_from(list(Sort)),
    st.tuples(st.one_of(st.just(0.0), moments), st.text(max_size=20)),
)
def test_any_figures_give_a_well_formed_picture(
    drawn: list[Stretch], unit: units.Unit, limits: list[float], sort: Sort, more: tuple[float, str]
) -> None:
    since, name = more
    lines = [Line(name, drawn, sort), Line("other", drawn[::-1], sort)]
    named = [Limit(value, name) for value in limits if math.isfinite(value)]
    root = parsed(time_chart(Chart(name, unit, lines, T - 3_600, T, since, named, name)))
    svg = root.find(".//svg")
    assert svg is not None
    assert svg.get("role") == "img"
    assert svg.find("title") is not None
    assert root.find(".//details//table") is not None


@pytest.mark.parametrize("values", [[], [5.0], [0.0], [-1.0, -1e300], [1e300, 1e-300], [math.nan], [math.inf, 3.0]])
def test_few_and_odd_figures(values: list[float]) -> None:
    for unit in UNITS:
        drawn = [plain(T - 120 + 60 * i, T - 60 + 60 * i, value) for i, value in enumerate(values)]
        parsed(time_chart(Chart("x", unit, [Line("y", drawn)], T - 3_600, T)))


def test_names_from_hosts_are_escaped() -> None:
    evil = '<script>alert("1")</script>&\x00\u202e'
    chart = Chart(evil, units.COUNT, [Line(evil, [plain(T - 60, T, 1)])] * 2, T - 60, T, 0.0, [Limit(1, evil)], evil)
    markup = time_chart(chart)
    assert "<script" not in markup
    assert "\u202e" not in markup
    assert '<script>alert("1")</script>' in texts(markup)
    assert "<script" not in strip(Strip(evil, [1]))


def test_before_and_since_are_told_apart_in_words_and_marked() -> None:
    markup = time_chart(chart_of([2_000.0] * 30 + [248_000.0] * 30, since=T - 1_800))
    assert "2 ms before, 248 ms since" in texts(markup)
    assert "since 02:30" in texts(markup)
    root = parsed(markup)
    assert root.find(".//*[@class='chart-since']") is not None
    assert "2 ms before" in (root.findtext(".//desc") or "")


def test_a_rate_of_bursts_is_not_nothing() -> None:
    markup = time_chart(chart_of([0.0] * 9 + [10_000.0], sort=Sort.RATE))
    assert "1 ms" in texts(markup)
    assert middle(chart_of([0.0] * 9 + [10_000.0]).lines[0].stretches, T - 600, T) == 0


def test_a_gap_is_drawn_as_a_gap_and_told_as_one() -> None:
    markup = time_chart(chart_of([1_000.0] * 20 + [None] * 20 + [1_000.0] * 20))
    root = parsed(markup)
    (gap,) = root.findall(".//rect[@class='chart-gap']")
    path = root.find(".//path[@class='chart-line chart-line-1']")
    assert path is not None
    assert path.attrib["d"].count("M") == 2
    left, width = float(gap.attrib["x"]), float(gap.attrib["width"])
    assert not [x for x in map(float, re.findall(r"H([\d.]+)", path.attrib["d"])) if left + 1 < x < left + width - 1]


def test_a_counter_that_stood_still_is_zero_only_where_its_node_was_heard() -> None:
    begin = T - 600
    points = [Point(int(begin + 60), 7, 7, 7), Point(int(begin + 480), 9, 9, 9)]
    found = risen(points, [(begin, begin + 180), (begin + 420, T)], T - 30)
    assert [(each.begin - begin, each.end - begin, each.value) for each in found] == [
        (0, 60, 0),
        (60, 120, 7),
        (120, 180, 0),
        (420, 480, 0),
        (480, 540, 9),
    ]  # the last minute is not over yet


def test_a_gauge_holds_until_its_node_is_silent_or_an_hour_begins_without_it() -> None:
    hour = T // 3_600 * 3_600
    points = [Point(int(hour), 1500, 1500, 1500), Point(int(hour + 600), 1450, 1450, 1500)]
    found = held(points, [(hour, hour + 1_200), (hour + 1_800, hour + 9_000)], hour + 9_000)
    assert [(each.begin - hour, each.end - hour, each.value) for each in found] == [
        (0, 600, 1500),
        (600, 1_200, 1450),
        (1_800, 3_600, 1450),
    ]
    assert told(points)[1].low == 1450


@settings(max_examples=40, deadline=None)
@given(stretches, st.integers(1, 50), st.booleans())
def test_what_is_condensed_keeps_the_extremes_and_never_fills_gaps(drawn: list[Stretch], most: int, last: bool) -> None:
    begin, end = T - 3_600, T
    clean = drawable(drawn, begin, end)
    assert all(one.end <= other.begin for one, other in pairwise(clean))
    parts = condensed(clean, begin, end, most, last=last)
    assert len(parts) <= max(most, len(clean) if len(clean) <= most else most)
    for part in parts:
        inside = [each for each in clean if each.begin < part.end and part.begin < each.end]
        assert inside
        assert part.low == min(each.low for each in inside)
        assert part.high == max(each.high for each in inside)
        assert part.low <= part.value <= part.high


def test_medians_and_means_weigh_by_how_long_it_held() -> None:
    drawn = [plain(0, 60, 10.0), plain(60, 6_000, 1.0)]
    assert middle(drawn, 0, 6_000) == 1.0
    assert mean(drawn, 0, 120) == 5.5
    assert mean(drawn, 7_000, 8_000) is None
    assert middle([], 0, 1) is None


def test_axes_have_round_figures() -> None:
    assert scale_of([0, 87], units.COUNT).ticks == (0, 25, 50, 75)
    assert scale_of([2_300.0, 240_000.0], units.LATENCY).ticks == (1_000, 10_000, 100_000, 1_000_000)
    assert [units.BYTES.said(tick) for tick in scale_of([2.1e9], units.BYTES).ticks] == [
        "0 B",
        "512 MiB",
        "1 GiB",
        "1.5 GiB",
    ]
    assert [name for _, name in times(T - 3_600, T)] == ["02:00", "02:15", "02:30", "02:45", "03:00"]
    assert next(name for _, name in times(T - 3 * 86_400, T)) == "Jun 29"
    assert times(T, T) == [(T, "03:00")]


@pytest.mark.parametrize(
    ("figure", "said"),
    [(85, "85 µs"), (7_130, "7.13 ms"), (248_000, "248 ms"), (1_250_000, "1.25 s"), (0, "0 µs"), (999_600, "1 s")],
)
def test_latencies_are_said_in_the_unit_that_suits_them(figure: float, said: str) -> None:
    assert units.latency(figure) == said


@given(st.lists(st.integers(TOO_FEW, 6) | st.just(SILENT), max_size=40))
@settings(max_examples=30, deadline=None)
def test_a_strip_shows_every_part_once(shades: list[int]) -> None:
    root = parsed(strip(Strip("etcd on a", shades)))
    widths = 0.0
    for path in root.findall(".//path"):
        for left, right in re.findall(r"M([\d.]+) [\d.]+H([\d.]+)", path.attrib["d"]):
            widths += float(right) - float(left)
    assert widths == pytest.approx(480.0 if shades else 0.0, abs=0.2 * len(shades))
    parsed(time_axis(T - 86_400, T))


def test_runs_of_containers() -> None:
    ended = ContainerState("terminated", "OOMKilled", "", 137, 9, T - 200, T - 180)
    waits = ContainerState("waiting", "CrashLoopBackOff")
    pod = Pod("a", "b", PodSpec(), containers=(ContainerStatus("<app>", restarts=13, state=waits, last=ended),))
    said = texts(runs_chart(pod, T, T - 3_000))
    assert "container <app>: 13 restarts; ended 02:57:00 with exit code 137 (OOMKilled), after 20 s" in said
    assert "waits (CrashLoopBackOff)" in said
    root = parsed(runs_chart(pod, T, T - 190))
    assert {rect.get("class") for rect in root.findall(".//rect")} == {"chart-run", "chart-ended", "chart-waiting"}
    odd = ContainerState("terminated", finished=T - 5, started=T + 100)
    for state in (None, odd, ContainerState("running", started=T + 50), ContainerState("running")):
        parsed(runs_chart(Pod("a", "b", PodSpec(), containers=(ContainerStatus("c", state=state, last=odd),)), T))
    parsed(runs_chart(Pod("a", "b", PodSpec()), T))
