"""A chart of figures over time: lines that hold until something else is told, and gaps where nothing is.

It is a figure with its statement in words, an SVG with a name of its own, and a table of what is drawn.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto

from markupsafe import Markup

from aggregator.web.charts.data import Stretch, condensed, drawable, mean, middle
from aggregator.web.charts.markup import number, tag
from aggregator.web.charts.scale import Scale, moment, scale_of, times
from aggregator.web.charts.units import Unit

WIDTH, HEIGHT = 480.0, 170.0
LEFT, RIGHT, TOP, BOTTOM = 66.0, 472.0, 20.0, 146.0
"""Edges of the area in which figures are drawn, in the picture's own units."""
MOST = 96
"""Parts that a line is drawn in, and rows of the table."""
MOST_LINES = 4
_LETTER = 6.6
"""About the width of a letter."""
_MINUTE_WIDE = 2.0


class Sort(Enum):
    """What of several figures stands for them."""

    LEVEL = auto()
    """The last one; of long times that which held longest: an MTU."""
    RATE = auto()
    """Their mean: what rises in bursts is not nothing."""
    TAIL = auto()
    """Their mean; of long times the median, as one bad minute is no bad hour."""


@dataclass(frozen=True, slots=True)
class Line:
    """One thing over time."""

    name: str
    stretches: Sequence[Stretch]
    sort: Sort = Sort.TAIL


@dataclass(frozen=True, slots=True)
class Limit:
    """A figure that the others are compared with."""

    value: float
    name: str


@dataclass(frozen=True, slots=True)
class Chart:
    """What is to be drawn."""

    title: str
    unit: Unit
    lines: Sequence[Line]
    begin: float
    end: float
    """Seconds since the epoch."""
    since: float = 0.0
    """When what it is about began: before and after are told apart; 0.0: not known."""
    limits: Sequence[Limit] = ()
    remark: str = ""
    """What one should know to read it."""


def time_chart(chart: Chart) -> Markup:
    """The figure."""
    clean = [
        Line(line.name, drawable(line.stretches, chart.begin, chart.end), line.sort)
        for line in chart.lines[:MOST_LINES]
    ]
    said = _statement(chart, clean)
    lines = [replace(line, stretches=_parts(chart, line)) for line in clean]
    text = [tag("strong", chart.title), *([Markup(" "), tag("span", said, class_="chart-said")] if said else [])]
    return tag(
        "figure",
        tag("figcaption", *text),
        _picture(chart, lines, said),
        _key(chart, lines),
        *([tag("p", chart.remark, class_="chart-remark")] if chart.remark else []),
        _table(chart, lines),
        class_="chart",
    )


def _parts(chart: Chart, line: Line) -> list[Stretch]:
    return condensed(line.stretches, chart.begin, chart.end, MOST, last=line.sort is Sort.LEVEL)


# -- in words ----------------------------------------------------------------------------------------------------------


def _statement(chart: Chart, lines: Sequence[Line]) -> str:
    """What changed: each line before and since, or what it usually is."""
    said = []
    for line in lines:
        unit, name = chart.unit.said, f"{line.name}: " if len(lines) > 1 else ""
        if not line.stretches:
            said.append(f"{name}nothing is known of this time")
            continue
        if not chart.begin < chart.since < chart.end:
            value = _usual(line, chart.begin, chart.end)
            said.append(f"{name}{unit(value)}" if value is not None else "")
            continue
        before = _usual(line, chart.begin, chart.since)
        after = _usual(line, chart.since, chart.end)
        words = (unit(before) if before is not None else "not known", unit(after) if after is not None else "not known")
        said.append(f"{name}{words[0]} before, {words[1]} since")
    return "; ".join(filter(None, said))


def _usual(line: Line, begin: float, end: float) -> float | None:
    return (mean if line.sort is Sort.RATE else middle)(line.stretches, begin, end)


def _period(chart: Chart) -> str:
    begin, end = moment(chart.begin), moment(chart.end)
    return f"{begin:%Y-%m-%d %H:%M} to {end:%H:%M} UTC" if begin.date() == end.date() else (
        f"{begin:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC"
    )  # fmt: skip


def _key(chart: Chart, lines: Sequence[Line]) -> Markup:
    if len(lines) < 2 and not chart.limits:  # one line is what the title says
        return Markup()
    entries = [tag("span", line.name, class_=f"chart-key chart-key-{which}") for which, line in enumerate(lines, 1)]
    entries += [
        tag("span", f"{limit.name}: {chart.unit.said(limit.value)}", class_="chart-key chart-key-limit")
        for limit in chart.limits
    ]
    return tag("p", *_spaced(entries), class_="chart-keys")


def _spaced(entries: Iterable[Markup]) -> Iterator[Markup]:
    for entry in entries:
        yield entry
        yield Markup(" ")


def _table(chart: Chart, lines: Sequence[Line]) -> Markup:
    starts = sorted({each.begin for line in lines for each in line.stretches})
    if len(starts) > MOST:
        starts = starts[:: -(-len(starts) // MOST)]
    cursors = [0] * len(lines)
    rows = []
    for at in starts:
        cells = []
        for which, line in enumerate(lines):
            while cursors[which] < len(line.stretches) and line.stretches[cursors[which]].end <= at:
                cursors[which] += 1
            each = line.stretches[cursors[which]] if cursors[which] < len(line.stretches) else None
            known = each is not None and each.begin <= at
            cells.append(tag("td", _figure(chart, each) if known and each is not None else "no data"))
        rows.append(tag("tr", tag("th", f"{moment(at):%m-%d %H:%M}", scope="row"), *cells))
    head = tag("tr", tag("th", "UTC", scope="col"), *(tag("th", line.name, scope="col") for line in lines))
    table = tag("table", tag("caption", f"{chart.title}, {_period(chart)}"), tag("thead", head), tag("tbody", *rows))
    label = f"Figures: {chart.title}"
    return tag(
        "details",
        tag("summary", "Figures"),
        tag("div", table, class_="chart-table", tabindex="0", role="region", aria_label=label),
    )


def _figure(chart: Chart, each: Stretch) -> str:
    text = chart.unit.said(each.value)
    if (low := chart.unit.said(each.low)) != (high := chart.unit.said(each.high)):
        return f"{text} ({low} to {high})"
    return text


# -- as a picture ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Area:
    begin: float
    end: float
    scale: Scale

    def x(self, at: float) -> float:
        length = self.end - self.begin
        share = (at - self.begin) / length if length > 0 else 0.0
        return LEFT + (RIGHT - LEFT) * min(1.0, max(0.0, share))

    def y(self, value: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * self.scale.at(value)


def _picture(chart: Chart, lines: Sequence[Line], said: str) -> Markup:
    figures = [value for line in lines for each in line.stretches for value in (each.low, each.value, each.high)]
    area = _Area(chart.begin, chart.end, scale_of([*figures, *_limits_near(chart, figures)], chart.unit))
    return tag(
        "svg",
        tag("title", f"{chart.title}, {_period(chart)}"),
        tag("desc", said),
        *_grid(chart, area, known=bool(figures)),
        *_gaps(lines, area),
        *_limits(chart, area),
        *(piece for which, line in enumerate(lines, 1) for piece in _line(which, line, area)),
        *_since(chart, area),
        class_="chart-svg",
        viewBox=f"0 0 {number(WIDTH)} {number(HEIGHT)}",
        role="img",
    )


def _limits_near(chart: Chart, figures: Sequence[float]) -> list[float]:
    """Limits that do not press what is drawn flat."""
    highest = max(figures, default=0.0)
    return [limit.value for limit in chart.limits if chart.unit.logarithmic or not highest or limit.value < 5 * highest]


def _grid(chart: Chart, area: _Area, *, known: bool) -> Iterator[Markup]:
    for tick in area.scale.ticks if known else ():
        y = area.y(tick)
        yield tag("line", class_="chart-grid", x1=LEFT, x2=RIGHT, y1=y, y2=y)
        said = (chart.unit.tick or chart.unit.said)(tick)
        yield tag("text", said, class_="chart-label chart-end", x=LEFT - 5, y=y + 4)
    for at, name in times(area.begin, area.end):
        x = area.x(at)
        yield tag("line", class_="chart-tick", x1=x, x2=x, y1=BOTTOM, y2=BOTTOM + 4)
        edge = len(name) * _LETTER / 2
        yield tag("text", name, class_="chart-label chart-middle", x=min(x, WIDTH - edge), y=BOTTOM + 17)
    yield tag("line", class_="chart-axis", x1=LEFT, x2=RIGHT, y1=BOTTOM, y2=BOTTOM)


def _gaps(lines: Sequence[Line], area: _Area) -> Iterator[Markup]:
    """Where no line has anything."""
    at = area.begin
    for begin, end in [*_known(lines), (area.end, area.end)]:
        left, right = area.x(at), area.x(begin)
        if right - left >= _MINUTE_WIDE:
            yield tag("rect", class_="chart-gap", x=left, y=TOP, width=right - left, height=BOTTOM - TOP)
            if right - left > 8 * _LETTER:
                yield tag("text", "no data", class_="chart-label chart-middle", x=(left + right) / 2, y=BOTTOM - 8)
        at = max(at, end)


def _known(lines: Sequence[Line]) -> list[tuple[float, float]]:
    return sorted((each.begin, each.end) for line in lines for each in line.stretches)


def _limits(chart: Chart, area: _Area) -> Iterator[Markup]:
    for limit in chart.limits:
        if area.scale.low <= limit.value <= area.scale.high:
            y = area.y(limit.value)
            yield tag("line", class_="chart-limit", x1=LEFT, x2=RIGHT, y1=y, y2=y)


def _line(which: int, line: Line, area: _Area) -> Iterator[Markup]:
    path, band = [], []
    end = None
    for each in line.stretches:
        left, right = area.x(each.begin), area.x(each.end)
        y, low, high = area.y(each.value), area.y(each.low), area.y(each.high)
        joined = end is not None and each.begin - end < 1.0
        path.append(f"{'V' if joined else f'M{number(left)} '}{number(y)}H{number(right)}")
        if low - high > 1.0:
            band.append(f"M{number(left)} {number(high)}H{number(right)}V{number(low)}H{number(left)}Z")
        end = each.end
    if band:
        yield tag("path", class_=f"chart-band chart-band-{which}", d="".join(band))
    if path:
        yield tag("path", class_=f"chart-line chart-line-{which}", d="".join(path))


def _since(chart: Chart, area: _Area) -> Iterator[Markup]:
    if not chart.begin < chart.since < chart.end:
        return
    x, label = area.x(chart.since), f"since {moment(chart.since):%H:%M}"
    yield tag("rect", class_="chart-after", x=x, y=TOP, width=RIGHT - x, height=BOTTOM - TOP)
    yield tag("line", class_="chart-since", x1=x, x2=x, y1=TOP - 6, y2=BOTTOM)
    room = len(label) * _LETTER
    beside = ("chart-start", x + 4) if x + 4 + room < RIGHT else ("chart-end", x - 4)
    yield tag("text", label, class_=f"chart-label chart-mark {beside[0]}", x=beside[1], y=TOP - 8)
