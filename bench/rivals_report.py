"""What bench.rivals measured, as tables, with ratios of the rivals' to ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bench.report import mebibytes, spread, table

RATIOS: dict[str, Callable[[dict[str, Any]], float | None]] = {
    "CPU, quiet": lambda one: one["quiet"]["percent"]["median"],
    "CPU, moving": lambda one: one["moving"]["percent"]["median"],
    "RSS": lambda one: one["memory"]["rss"],
    "control group": lambda one: one["memory"]["cgroup"],
    "wire, quiet": lambda one: one["quiet"]["bytes_per_minute"],
    "wire, moving": lambda one: one["moving"]["bytes_per_minute"],
    "system calls": lambda one: one["syscalls_per_second"],
}
"""What is compared, and where it is in what was measured of one."""


def ratio(theirs: float | None, ours: float | None) -> str:
    """ "theirs / ours"; "-" where one of them is not known or ours is nothing."""
    if theirs is None or not ours:
        return "-"
    quotient = theirs / ours
    return f"{quotient:.3g} x" if quotient < 100 else f"{quotient:,.0f} x"


def number(value: float | None, scale: float = 1.0, digits: int = 1) -> str:
    """A figure; "-": not known."""
    return "-" if value is None else f"{value * scale:,.{digits}f}"


def report(results: dict[int, dict[str, Any]], ours: str) -> str:
    """Everything, to read."""
    return "\n\n".join(_of_one(count, results[count], ours) for count in sorted(results))


def _of_one(count: int, result: dict[str, Any], ours: str) -> str:
    measured = result["measured"]
    figures = [
        [
            f"{count} interfaces",
            "% of a core, quiet",
            "moving",
            "MiB: RSS / PSS / control group",
            "kB/min, quiet",
            "moving",
            "system calls/s",
        ]
    ]
    for name, one in measured.items():
        figures.append(
            [
                name,
                spread(one["quiet"]["percent"], 1, 2),
                spread(one["moving"]["percent"], 1, 2),
                mebibytes(one["memory"]),
                number(one["quiet"]["bytes_per_minute"], 1e-3),
                number(one["moving"]["bytes_per_minute"], 1e-3),
                number(one["syscalls_per_second"], 1, 0),
            ]
        )
        by_process = one["moving"]["percent_by_process"]
        for process in by_process if len(by_process) > 1 else ():
            cells = [spread(one[traffic]["percent_by_process"][process], 1, 2) for traffic in ("quiet", "moving")]
            figures.append([f"  of which {process}", *cells, "", "", "", ""])
    lines = [
        "median (least-greatest); CPU is user and system time; -: tells nobody, or not measured",
        "",
        table(figures),
    ]
    if ours in measured:
        rows = [["rival / ours", *RATIOS]]
        for name, one in measured.items():
            if name != ours:
                rows.append([name, *(ratio(value(one), value(measured[ours])) for value in RATIOS.values())])
        lines += ["", table(rows)]
    less = "; ".join(f"{when}: {', '.join(names) or 'nothing'}" for when, names in result["read_less_often"].items())
    lines.append(f"\nread less often to keep to the agent's budget of {result['budget_percent']:g} %: {less}")
    lines += [f"\nleft out: {name}: {reason}" for name, reason in result["left_out"].items()]
    if result["syscalls_not_measured"]:
        lines.append(f"\nsystem calls not measured: {result['syscalls_not_measured']}")
    return "\n".join(lines)
