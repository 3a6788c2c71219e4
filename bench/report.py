"""What bench.sweep measured, as a table, with the numbers to beat beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

NETWORK = ("netclass", "netdev")
SWEEP = "interface counters"
RATIO = "node_exporter netclass+netdev / sweep, all counters moving"
EVERYTHING = (*NETWORK, "diskstats", "filesystem")


@dataclass(frozen=True, slots=True)
class Target:
    """A number to beat."""

    name: str
    interfaces: int
    bound: float
    at_least: bool


TARGETS = (
    Target(RATIO, 100, 100, at_least=True),
    Target(RATIO, 1000, 100, at_least=True),
    Target("agent, all counters moving, % of a core", 100, 0.25, at_least=False),
    Target("agent, all counters moving, % of a core", 1000, 0.4, at_least=False),
    Target("wire, quiet, kB a minute", 100, 5, at_least=False),
    Target("wire, all counters moving, kB a minute", 100, 25, at_least=False),
    Target("agent RSS, MiB", 100, 42 * 1e6 / 2**20, at_least=False),
    Target("agent cgroup charge, MiB", 100, 18, at_least=False),
)


def ratio(result: dict[str, Any], traffic: str) -> float:
    """How many of our sweeps of all interface counters one scrape of netclass and netdev pays for."""
    theirs = result["node_exporter"]["+".join(NETWORK)]["cpu_us"]["median"]
    return float(theirs / result["sweep_us"][traffic][SWEEP]["median"])


def measured(target: Target, result: dict[str, Any]) -> float | None:
    """What was measured of a number to beat; None: could not be."""
    values: dict[str, float | None] = {
        RATIO: ratio(result, "moving"),
        "agent, all counters moving, % of a core": result["agent"]["moving"]["percent"]["median"],
        "wire, quiet, kB a minute": result["agent"]["quiet"]["bytes_per_minute"] / 1e3,
        "wire, all counters moving, kB a minute": result["agent"]["moving"]["bytes_per_minute"] / 1e3,
        "agent RSS, MiB": result["agent"]["memory"]["rss"],
        "agent cgroup charge, MiB": result["agent"]["memory"]["cgroup"],
    }
    return values[target.name]


def spread(value: dict[str, float], scale: float = 1.0, digits: int = 1) -> str:
    """ "median (least-greatest)"."""
    low, high = value["least"] * scale, value["greatest"] * scale
    return f"{value['median'] * scale:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


def kilobytes(value: dict[str, float]) -> str:
    """Bytes a minute, in kB."""
    return f"{value['bytes_per_minute'] / 1e3:.1f}"


def mebibytes(value: dict[str, float | None]) -> str:
    """ "RSS / PSS / control group"."""
    return " / ".join("-" if part is None else f"{part:.1f}" for part in (value["rss"], value["pss"], value["cgroup"]))


def table(rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as they need to be, the first to the left."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def report(results: dict[int, dict[str, Any]]) -> str:
    """Everything, to read."""
    counts = sorted(results)

    def row(name: str, cell: Any) -> list[str]:
        return [name, *(cell(results[count]) for count in counts)]

    def theirs(collectors: Sequence[str], key: str) -> Any:
        return lambda result: result["node_exporter"]["+".join(collectors)][key]

    network, everything = theirs(NETWORK, "cpu_us"), theirs(EVERYTHING, "cpu_us")

    def ours(traffic: str, name: str = SWEEP) -> Any:
        return lambda result: spread(result["sweep_us"][traffic][name], 1e-3, 3)

    others = [name for name in results[counts[0]]["sweep_us"]["moving"] if name != SWEEP]
    rows = [
        ["interfaces", *map(str, counts)],
        row("node_exporter netclass+netdev, ms a scrape", lambda r: spread(network(r), 1e-3)),
        row("node_exporter, diskstats+filesystem too, ms a scrape", lambda r: spread(everything(r), 1e-3)),
        row("agent, counters of all interfaces, quiet, ms a sweep", ours("quiet")),
        row("  node_exporter netclass+netdev / that", lambda r: f"{ratio(r, 'quiet'):.0f} x"),
        row("agent, the same, all of them moving, ms a sweep", ours("moving")),
        row("  node_exporter netclass+netdev / that", lambda r: f"{ratio(r, 'moving'):.0f} x"),
        *(row(f"  collector {name}, ms a run", ours("moving", name)) for name in others),
        row("agent running, quiet, % of a core", lambda r: spread(r["agent"]["quiet"]["percent"], 1, 2)),
        row("agent running, all counters moving, % of a core", lambda r: spread(r["agent"]["moving"]["percent"], 1, 2)),
        row("agent on the wire, quiet, kB a minute with TCP/IP", lambda r: kilobytes(r["agent"]["quiet"])),
        row("agent on the wire, all counters moving, the same", lambda r: kilobytes(r["agent"]["moving"])),
        row(
            "node_exporter, four collectors, one exposition, kB",
            lambda r: f"{theirs(EVERYTHING, 'bytes')(r) / 1e3:.0f}",
        ),
        row("agent, MiB: RSS / PSS / control group", lambda r: mebibytes(r["agent"]["memory"])),
        row("node_exporter, MiB: the same", lambda r: mebibytes(theirs(EVERYTHING, "memory")(r))),
        row("aggregator, MiB: the same", lambda r: mebibytes(r["agent"]["aggregator_memory"])),
    ]
    lines = ["median (least-greatest); CPU is user and system time", "", table(rows), "", "numbers to beat"]
    for target in TARGETS:
        if target.interfaces in results:
            value = measured(target, results[target.interfaces])
            if value is None:
                lines.append(f"  {target.name}, {target.interfaces} interfaces: could not be measured here")
                continue
            met = value >= target.bound if target.at_least else value <= target.bound
            sign, verdict = (">=" if target.at_least else "<="), ("met" if met else "NOT MET")
            bound = f"to be {sign} {target.bound:.4g}"
            lines.append(f"  {target.name}, {target.interfaces} interfaces: {value:.4g} ({bound}): {verdict}")
    return "\n".join(lines)
