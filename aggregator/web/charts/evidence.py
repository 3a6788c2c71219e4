"""Charts of what a finding rests on: each piece of evidence with its signal over the time around it.

The figures are read from the history, in its own threads, all at once and for a limited time: what cannot be read in
time, or not at all, says so where its chart would be.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from aggregator.cluster.metrics_history import MetricsHistory
from aggregator.history.columns import Span
from aggregator.history.minutes import MINUTE_S
from aggregator.history.reading import HistoryError
from aggregator.known import Known
from aggregator.model import Evidence, Finding
from aggregator.signatures.control_plane.past import Key
from aggregator.web.charts import api_past
from aggregator.web.charts.asked import ApiChart, Asked, Figure, HostChart, HostLine, How, RunsChart, Shown
from aggregator.web.charts.data import HOUR_S, Stretch, held, risen, told
from aggregator.web.charts.markup import tag
from aggregator.web.charts.of_api import wanted
from aggregator.web.charts.runs import runs_chart
from aggregator.web.charts.series import shown
from aggregator.web.charts.timeline import Chart, Line, Sort, time_chart

MOST = 16
"""Charts of one finding, or one story."""
BEFORE_S = 900.0
"""At least so long before it began ..."""
MOST_BEFORE_S = 10_800.0
AFTER_S = 900.0
"""... and after what is over was last seen."""
LONGEST_S = 86_400.0
"""Of what goes on for longer, the last day."""
IN_TIME_S = 4.0
"""What takes longer to be read is not waited for."""
_NOTHING_SHARE = 0.15
"""Of the time of which nothing is known yet, so much is drawn."""
_API_KEPT = "The aggregator keeps an hour of the API server's figures."


async def evidence_chart(known: Known, finding: Finding, evidence: Evidence) -> Markup | None:
    """The chart of one piece of a finding's evidence; None: there is none."""
    return (await evidence_charts(known, finding, [evidence]))[0]


async def evidence_charts(
    known: Known, finding: Finding, evidence: Sequence[Evidence] | None = None
) -> list[Markup | None]:
    """One for each piece of evidence (of the finding's, if none are given), in their order; None: there is none, or the
    same is shown for one before it. Never raises."""
    thresholds, view, asked = known.thresholds, known.view(), finding.evidence if evidence is None else evidence
    drawn: dict[Shown, int] = {}
    for index, each in enumerate(asked):
        found = shown(Asked(view, finding, each, thresholds))
        if found is not None and len(drawn) < MOST:
            drawn.setdefault(found, index)
    reader = _Reader(known, finding.since, *_period(known, finding))
    made = await asyncio.gather(*(reader.chart(each) for each in drawn))
    charts: list[Markup | None] = [None] * len(asked)
    for index, chart in zip(drawn.values(), made, strict=True):
        charts[index] = chart
    return charts


def each_once(known: Known) -> Callable[[Finding, Evidence], Awaitable[Markup | None]]:
    """Draws fact by fact, for one page: what has been drawn there already is not drawn again."""
    drawn: set[Shown] = set()

    async def draw(finding: Finding, fact: Evidence) -> Markup | None:
        found = shown(Asked(known.view(), finding, fact, known.thresholds))
        if found is None or found in drawn or len(drawn) >= MOST:
            return None
        drawn.add(found)
        return await evidence_chart(known, finding, fact)

    return draw


async def chart_of(known: Known, wanted: Shown, period: Span, since: float = 0.0) -> Markup | None:
    """A chart of any time; None: nothing is known of it. Never raises."""
    return await _Reader(known, since, *period).chart(wanted)


def _period(known: Known, finding: Finding) -> Span:
    """What time around a finding is shown."""
    times = [each.at for each in finding.evidence if each.at > 0]
    now = known.now()
    stands = not times or any(record.finding.id == finding.id for record in known.standing())
    end = now + MINUTE_S if stands else min(now + MINUTE_S, max(times) + AFTER_S)
    start = min([*([finding.since] if finding.since > 0 else times), end - MINUTE_S])
    before = min(MOST_BEFORE_S, max(BEFORE_S, (end - start) / 2))
    begin = max(start - before, end - LONGEST_S)
    return begin // MINUTE_S * MINUTE_S, end


@dataclass(slots=True)
class _Reader:
    """What the charts of one finding have in common."""

    known: Known
    since: float
    """When what it is about began; 0.0: not known."""
    begin: float
    end: float
    heard: dict[str, asyncio.Task[tuple[Span, ...]]] = field(default_factory=dict)
    """When a node was heard, by its name."""

    async def chart(self, wanted_: Shown) -> Markup | None:
        try:
            async with asyncio.timeout(IN_TIME_S):
                match wanted_:
                    case HostChart():
                        return await self._of_host(wanted_)
                    case ApiChart():
                        return await self._of_api(wanted_)
                    case RunsChart():
                        return self._of_runs(wanted_)
        except TimeoutError:
            reason = f"its past could not be read within {IN_TIME_S:g} s"
        except HistoryError as error:
            reason = str(error)
        return tag("p", f"No chart: {reason}.", class_="chart-remark")

    async def _of_host(self, wanted_: HostChart) -> Markup | None:
        points = await asyncio.gather(
            *(
                self.known.points(wanted_.node, line.series, since=self._told_since(line), until=self.end)
                for line in wanted_.lines
            )
        )
        if not any(points) and not any(line.how is How.RISEN for line in wanted_.lines):
            return None
        heard = await self._heard(wanted_.node)
        lines = []
        for line, its in zip(wanted_.lines, points, strict=True):
            match line.how:
                case How.HELD:
                    stretches = held(its, heard, self.end)
                case How.RISEN:
                    stretches = risen(its, heard, self.known.now())
                case How.TOLD:
                    stretches = told(its)
            lines.append(Line(line.name, _scaled(stretches, line), _SORTS[line.how]))
        known = [each for line in lines for each in line.stretches]
        first, last = min((each.begin for each in known), default=0.0), max((each.end for each in known), default=0.0)
        steady = all(line.how is How.HELD for line in wanted_.lines)
        if last - first < MINUTE_S or (steady and last - first <= MINUTE_S):
            return None  # a figure of one moment is in the evidence itself
        begin = max(self.begin, first - _NOTHING_SHARE * (self.end - first))
        return time_chart(
            Chart(
                wanted_.title,
                wanted_.unit,
                lines,
                min(begin, self.since - MINUTE_S) if self.since > self.begin else begin,
                self.end if steady and not self.known.live else min(self.end, self.known.now()),
                self.since,
                wanted_.limits,
                wanted_.remark,
            )
        )

    def _told_since(self, line: HostLine) -> float:
        """What a gauge shows when the chart begins was told before, at the latest when that hour began."""
        return self.begin // HOUR_S * HOUR_S if line.how is How.HELD else self.begin

    async def _heard(self, node: str) -> tuple[Span, ...]:
        if node not in self.heard:
            self.heard[node] = asyncio.ensure_future(self._read_heard(node))
        return await asyncio.shield(self.heard[node])

    async def _read_heard(self, node: str) -> tuple[Span, ...]:
        length = self.end - self.begin
        return (await self.known.past(node, since=self.begin, until=self.end, step_s=length)).heard

    async def _of_api(self, wanted_: ApiChart) -> Markup | None:
        metrics = self.known.view().metrics
        sort = Sort.TAIL if wanted_.figure is Figure.TAIL else Sort.RATE
        lines = []
        for name, key in wanted_.lines:
            found = await _of_metrics(metrics, wanted_.figure, key)
            inside = [each for each in found if self.begin < each.end and each.begin < self.end]
            lines.append(Line(name, inside, sort))
        every = [each for line in lines for each in line.stretches]
        if not every:
            return None
        begin = max(self.begin, min(each.begin for each in every))
        end = min(self.end, max(each.end for each in every))
        remark = _API_KEPT if begin > self.begin + MINUTE_S and self.known.live else ""
        return time_chart(Chart(wanted_.title, wanted_.unit, lines, begin, end, self.since, wanted_.limits, remark))

    def _of_runs(self, wanted_: RunsChart) -> Markup | None:
        view = self.known.view()
        pod = view.objects.pods.get(wanted_.pod)
        return runs_chart(pod, view.now or self.known.now(), self.since) if pod is not None else None


async def _of_metrics(metrics: MetricsHistory, figure: Figure, key: Key) -> list[Stretch]:
    match figure:
        case Figure.TAIL:
            return await api_past.tail(metrics, key)
        case Figure.RATE:
            return await api_past.rate(metrics, key)
        case Figure.CALLS:
            return await api_past.calls(metrics, key)
        case Figure.RISE:
            return await api_past.rises(metrics, key[0], lambda labels: wanted(key, labels))


_SORTS = {How.HELD: Sort.LEVEL, How.RISEN: Sort.RATE, How.TOLD: Sort.TAIL}


def _scaled(stretches: list[Stretch], line: HostLine) -> list[Stretch]:
    if line.factor == 1.0:
        return stretches
    by = line.factor
    return [Stretch(each.begin, each.end, each.value * by, each.low * by, each.high * by) for each in stretches]
