"""When the containers of a pod ran, how that ended and what they wait for: as far as the API server's object tells."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from markupsafe import Markup

from aggregator.cluster.objects import ContainerState, ContainerStatus, Pod
from aggregator.web.charts.markup import number, tag
from aggregator.web.charts.scale import moment, times
from aggregator.wording import quoted, span

WIDTH, LEFT, RIGHT = 480.0, 8.0, 472.0
TOP, ROW, BAR = 18.0, 34.0, 12.0
MOST = 6
"""Containers that are drawn; the worst first."""
_LEAST_S = 600.0
_TOLD = "Of each container the API server tells of the present run and the one before."


@dataclass(frozen=True, slots=True)
class _Piece:
    kind: str
    """"run", "ended" (a moment) or "waiting"."""
    begin: float
    end: float


def runs_chart(pod: Pod, now: float, since: float = 0.0) -> Markup:
    """The figure. `now`, `since`: seconds since the epoch; `since` 0.0: not known."""
    containers = sorted(pod.containers, key=lambda each: (-each.restarts, each.init, each.name))[:MOST]
    rows = [(each, list(_pieces(each, now))) for each in containers]
    starts = [piece.begin for _, pieces in rows for piece in pieces]
    begin = min(starts, default=now - _LEAST_S)
    begin -= max(5.0, (now - begin) * 0.1)
    said = [_said(each, now) for each in containers]
    title = f"runs of {pod.key}"
    height = TOP + ROW * len(rows) + 20
    return tag(
        "figure",
        tag("figcaption", tag("strong", title)),
        tag("ul", *(tag("li", each) for each in said), class_="chart-said"),
        tag(
            "svg",
            tag("title", f"{title}, {moment(begin):%Y-%m-%d %H:%M} to {moment(now):%H:%M} UTC"),
            tag("desc", "; ".join(said)),
            *(piece for index, row in enumerate(rows) for piece in _row(index, row, begin, now)),
            *_axis(begin, now, height),
            *_since(begin, now, since, height),
            class_="chart-svg",
            viewBox=f"0 0 {number(WIDTH)} {number(height)}",
            role="img",
        ),
        tag("p", _TOLD, class_="chart-remark"),
        class_="chart",
    )


def _pieces(container: ContainerStatus, now: float) -> Iterator[_Piece]:
    ended = 0.0
    for state in (container.last, container.state):
        if state is None:
            continue
        if state.kind == "running" and 0 < state.started <= now:
            yield _Piece("run", state.started, now)
        elif state.kind == "terminated" and 0 < state.finished <= now:
            yield _Piece(
                "run", state.started if 0 < state.started <= state.finished else state.finished, state.finished
            )
            yield _Piece("ended", state.finished, state.finished)
            ended = state.finished
        elif state.kind == "waiting" and 0 < ended <= now:
            yield _Piece("waiting", ended, now)


def _said(container: ContainerStatus, now: float) -> str:
    kind = "init container" if container.init else "container"
    restarts = f"{container.restarts:,} {'restart' if container.restarts == 1 else 'restarts'}"
    told = [_words(state, now) for state in (container.last, container.state) if state is not None]
    return "; ".join([f"{kind} {container.name}: {restarts}", *told])


def _words(state: ContainerState, now: float) -> str:
    if state.kind == "waiting":
        return f"waits ({quoted(state.reason) or 'no reason given'})"
    if state.kind == "running":
        return f"runs since {moment(state.started):%H:%M:%S} ({span(now - state.started)})" if state.started else "runs"
    how = f"exit code {state.exit_code}" + (f" ({quoted(state.reason)})" if state.reason else "")
    lived = f", after {span(state.finished - state.started)}" if 0 < state.started <= state.finished else ""
    return f"ended {moment(state.finished):%H:%M:%S} with {how}{lived}" if state.finished else f"ended with {how}"


def _x(at: float, begin: float, end: float) -> float:
    return LEFT + (RIGHT - LEFT) * (at - begin) / (end - begin)


def _row(index: int, row: tuple[ContainerStatus, list[_Piece]], begin: float, end: float) -> Iterator[Markup]:
    container, pieces = row
    top = TOP + ROW * index
    yield tag("text", container.name, class_="chart-label chart-start", x=LEFT, y=top + 9)
    for piece in pieces:
        left, right = _x(piece.begin, begin, end), _x(piece.end, begin, end)
        if piece.kind == "ended":
            yield tag("rect", class_="chart-ended", x=left - 1.5, y=top + 11, width=3, height=BAR + 4)
        else:
            width = max(1.5, right - left)
            yield tag("rect", class_=f"chart-{piece.kind}", x=left, y=top + 13, width=width, height=BAR)


def _axis(begin: float, end: float, height: float) -> Iterator[Markup]:
    bottom = height - 18
    yield tag("line", class_="chart-axis", x1=LEFT, x2=RIGHT, y1=bottom, y2=bottom)
    for at, name in times(begin, end):
        x = _x(at, begin, end)
        yield tag("line", class_="chart-tick", x1=x, x2=x, y1=bottom, y2=bottom + 4)
        yield tag("text", name, class_="chart-label chart-middle", x=min(max(x, 18), WIDTH - 18), y=bottom + 16)


def _since(begin: float, end: float, since: float, height: float) -> Iterator[Markup]:
    if begin < since < end:
        x = _x(since, begin, end)
        yield tag("line", class_="chart-since", x1=x, x2=x, y1=TOP - 6, y2=height - 18)
        side = ("chart-start", x + 4) if x < WIDTH * 0.75 else ("chart-end", x - 4)
        label = f"since {moment(since):%H:%M}"
        yield tag("text", label, class_=f"chart-label chart-mark {side[0]}", x=side[1], y=TOP - 6)
