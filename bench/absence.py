"""What an agent holds of an absence of the aggregator, and what keeping it costs. Time is passed in: a day in minutes.

    python -m bench.absence [--interfaces 100 1000] [--hours 1 24]

Every counter of every interface moves in every batch of 5 s, which no host does.
"""

from __future__ import annotations

import argparse
import time

from agent.backlog import MAX_BYTES, Backlog
from agent.hosts.own import rss_bytes
from agent.reading import Block

_NAMES = tuple(f"counter_{number}" for number in range(24))
_STEP_S = 5.0


def host(interfaces: int, tick: int) -> dict[str, Block]:
    """All of its counters after so many batches."""
    return {
        f"link/{which}": Block(_NAMES, tuple(tick * (1 + 997 * which * n % 60_000) for n in range(24)))
        for which in range(interfaces)
    }


def absence(interfaces: int, hours: float) -> str:
    """What comes of it, one line."""
    backlog = Backlog()
    backlog.begin(host(interfaces, 0), 0.0)
    ticks, most, cpu_s, before = round(hours * 3_600 / _STEP_S), 0, 0.0, 0
    for tick in range(1, ticks + 1):
        blocks = host(interfaces, tick)
        began = time.process_time()
        backlog.add(blocks, tick * _STEP_S)
        cpu_s += time.process_time() - began
        most = max(most, backlog.size)
        if tick == 12:
            before = rss_bytes()
    grown = (rss_bytes() - before) / 1024
    return (
        f"{interfaces:>10,} {hours:>6g} {most / 1024:>9.0f} {backlog.size / 1024:>8.0f} {len(backlog):>8} "
        f"{backlog.merged:>9,} {1000 * cpu_s / ticks:>9.1f} {grown:>11.0f}"
    )


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(prog="python -m bench.absence", description=__doc__.splitlines()[0])
    parser.add_argument("--interfaces", type=int, nargs="+", default=[100, 1_000])
    parser.add_argument("--hours", type=float, nargs="+", default=[1.0, 24.0])
    wanted = parser.parse_args()
    print(f"at most {MAX_BYTES / 1024:,.0f} KiB are held")
    print("interfaces  hours  most KiB end, KiB roll-ups    merged CPU ms/5s RSS grew KiB")
    for interfaces in wanted.interfaces:
        for hours in wanted.hours:
            print(absence(interfaces, hours), flush=True)


if __name__ == "__main__":
    main()
