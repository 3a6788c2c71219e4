"""Whether either role grows over days: `make soak`, or

    python -m bench.soak [--hours 48] [--warm-up 6] [--traced-hours 18] [--cuts 800] [--only agent]

Each role lives in a process of its own, on simulated time; once measured by what the kernel says it holds, once by what
Python has allocated, which takes too much memory itself to be measured together. Then both ends of real streams are
measured while those are cut again and again. Status 1 where memory differs by more than 5 % after the warm-up, or the
number of open files or threads is not constant.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from bench.soak.meter import Sample, problems, spread


def _child(words: Sequence[str]) -> None:
    """A measured process, which loads no more than it needs: prints its samples, a JSON object per line."""
    logging.disable(logging.CRITICAL)
    if words[0] == "wire-agents":
        from bench.soak.agents_of_streams import live

        asyncio.run(live(words[1]))
    elif words[0] == "wire-aggregator":
        from bench.soak.aggregator_of_streams import live as serve

        asyncio.run(serve())
    elif words[0] == "agent":
        from bench.soak import agent

        for each in agent.soak(int(words[1]), traced=words[2] == "traced"):
            _tell(each)
    else:
        asyncio.run(_aggregator(int(words[1]), traced=words[2] == "traced"))


async def _aggregator(hours: int, *, traced: bool) -> None:
    from bench.soak import aggregator

    with tempfile.TemporaryDirectory() as folder:
        async for each in aggregator.soak(hours, Path(folder), traced=traced):
            _tell(each)


def _tell(each: Sample) -> None:
    sys.stdout.write(json.dumps(asdict(each)) + "\n")
    sys.stdout.flush()


def _measured(role: str, hours: int, how: str) -> list[Sample]:
    command = [sys.executable, "-m", "bench.soak", "--child", role, str(hours), how]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return [Sample(**json.loads(line)) for line in done.stdout.splitlines()]


def lines(name: str, samples: Sequence[Sample], warm_up: int, took_s: float) -> Iterator[str]:
    """What to say of a process, and what of it is wrong."""
    kept = samples[warm_up:]
    if kept:
        first, last = kept[0], kept[-1]
        of_what = [("RSS, MB", [each.rss_bytes / 1e6 for each in kept])]
        if last.traced_bytes:
            of_what = [("allocated, MB", [each.traced_bytes / 1e6 for each in kept])]
        of_what.append(("thousand objects", [each.objects / 1e3 for each in kept]))
        told = [f"{what} {values[0]:.2f} to {values[-1]:.2f} (within {spread(values):.1%})" for what, values in of_what]
        told.append(f"{first.descriptors} to {last.descriptors} open files")
        yield f"{name}: {len(kept)} samples after {warm_up} of warm-up, {took_s:.0f} s: {', '.join(told)}"
    for problem in problems(kept):
        yield f"{name}: NOT FLAT: {problem}"


def _judged(name: str, samples: Sequence[Sample], warm_up: int, took_s: float, traced: bool) -> bool:
    if traced:  # its resident memory is mostly that of the tracing
        samples = [Sample(**asdict(each) | {"rss_bytes": 1}) for each in samples]
    told = list(lines(name, samples, warm_up, took_s))
    sys.stdout.write("\n".join(told) + "\n")
    sys.stdout.flush()
    return not any("NOT FLAT" in line for line in told)


def main() -> int:
    """Measures and prints."""
    if sys.argv[1:2] == ["--child"]:
        _child(sys.argv[2:])
        return 0
    parser = argparse.ArgumentParser(
        prog="bench.soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hours", type=int, default=48, help="simulated, of each role")
    parser.add_argument("--warm-up", type=int, default=6, help="of them")
    parser.add_argument("--traced-hours", type=int, default=18, help="simulated, with what Python allocates traced")
    parser.add_argument("--cuts", type=int, default=800, help="of all streams at once, half of them as warm-up")
    parser.add_argument("--only", choices=("agent", "aggregator", "streams"), help="just this")
    options = parser.parse_args()
    good = True
    for role in ("agent", "aggregator"):
        if options.only in (None, role):
            for how, hours in (("plain", options.hours), ("traced", options.traced_hours)):
                begun = time.monotonic()
                samples = _measured(role, hours, how)
                took_s = time.monotonic() - begun
                good &= _judged(f"{role}, {how}, {hours} h", samples, options.warm_up, took_s, how == "traced")
    if options.only in (None, "streams"):
        from bench.soak import wire

        begun = time.monotonic()
        outcome = asyncio.run(wire.soak(options.cuts // wire.CUTS_A_SAMPLE))
        took_s = time.monotonic() - begun
        sys.stdout.write(f"streams: {outcome.cuts} cuts of all, {outcome.acknowledged:,} updates taken\n")
        for name, samples in wire.series(outcome):
            good &= _judged(name, samples, len(samples) // 2, took_s, traced=False)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
