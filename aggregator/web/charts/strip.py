"""A row of a heat map, as a picture: each part of the time in the shade of its figure, and apart what is not known.

A shade is never the only thing that tells: the row's worst figure stands beside it in words, and the picture's name
says what it shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from aggregator.web.charts.markup import number, tag
from aggregator.web.charts.scale import times

WIDTH, HEIGHT = 480.0, 16.0
SILENT, TOO_FEW = -2, -1
"""Instead of a shade: nothing was told; too little to give a figure."""


@dataclass(frozen=True, slots=True)
class Strip:
    """Shades of equally long parts, oldest first, from 0 for the best; or SILENT, or TOO_FEW."""

    name: str
    """What it shows, in words."""
    shades: Sequence[int]


def strip(shown: Strip) -> Markup:
    """The picture. Parts of one shade beside each other are one piece, and all pieces of a shade one path."""
    width = WIDTH / max(1, len(shown.shades))
    pieces: dict[int, list[str]] = {}
    start = 0
    for index in range(1, len(shown.shades) + 1):
        if index == len(shown.shades) or shown.shades[index] != shown.shades[start]:
            left, right = number(start * width), number(index * width)
            pieces.setdefault(shown.shades[start], []).append(_piece(shown.shades[start], left, right))
            start = index
    paths = [tag("path", class_=f"heat {class_of(shade)}", d="".join(each)) for shade, each in sorted(pieces.items())]
    return tag(
        "svg",
        tag("title", shown.name),
        *paths,
        class_="heat-svg",
        viewBox=f"0 0 {number(WIDTH)} {number(HEIGHT)}",
        preserveAspectRatio="none",
        role="img",
    )


def _piece(shade: int, left: str, right: str) -> str:
    if shade in (SILENT, TOO_FEW):
        return f"M{left} {number(HEIGHT / 2)}H{right}"
    return f"M{left} 0H{right}V{number(HEIGHT)}H{left}Z"


def class_of(shade: int) -> str:
    """As charts.css has it."""
    return {SILENT: "heat-silent", TOO_FEW: "heat-few"}.get(shade, f"heat-{shade}")


def time_axis(begin: float, end: float) -> Markup:
    """What stands below the strips: round moments. A screen reader has them in words."""
    height = HEIGHT + 4
    marks = []
    for at, name in times(begin, end, most=6):
        x = WIDTH * (at - begin) / (end - begin)
        marks.append(tag("line", class_="chart-tick", x1=x, x2=x, y1=0, y2=4))
        if 14 < x < WIDTH - 14:
            marks.append(tag("text", name, class_="chart-label chart-middle", x=x, y=height - 2))
    box = f"0 0 {number(WIDTH)} {number(height)}"
    return tag("svg", *marks, class_="heat-axis", viewBox=box, aria_hidden="true")
