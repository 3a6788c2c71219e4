"""How fast an API server's metrics are read, and what an hour of them takes.

    python -m bench.metrics_text [--resources 60] [FILE.prom[.gz]]

Without a file the text is one as an API server of so many resources has it: the families that are used and, three
lines for each of theirs, others that are not. It comes in chunks of 64 KiB, as off the wire.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import gzip
import statistics
import sys
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

from aggregator.cluster.api_metrics import MetricsParser, Sample
from aggregator.cluster.metrics_history import HISTORY_S, MetricsHistory

_CHUNK = 64 << 10
_INTERVAL_S = 30.0
_BOUNDS = [
    "0.005",
    "0.025",
    "0.05",
    "0.1",
    "0.2",
    "0.4",
    "0.6",
    "0.8",
    "1",
    "1.25",
    "1.5",
    "2",
    "3",
    "4",
    "5",
    "6",
    "8",
    "10",
    "15",
    "20",
    "30",
    "45",
    "60",
    "+Inf",
]
_VERBS = ("GET", "LIST", "PUT", "PATCH", "POST", "DELETE", "WATCH")


def text(resources: int) -> bytes:
    """A metrics text, the same on every run."""
    return "".join(_lines(resources)).encode()


def _lines(resources: int) -> Iterator[str]:
    for name, used in (("apiserver_request_duration_seconds", True), ("apiserver_request_sli_duration_seconds", False)):
        yield f"# HELP {name} Response latency distribution.\n# TYPE {name} histogram\n"
        for number in range(resources * (1 if used else 3)):
            for verb in _VERBS:
                labels = f'component="apiserver",group="",resource="r{number}",scope="resource",verb="{verb}"'
                for place, bound in enumerate(_BOUNDS):
                    yield f'{name}_bucket{{{labels},le="{bound}"}} {1_000_000 + place * 1_000}\n'
                yield f"{name}_sum{{{labels}}} 12.5\n{name}_count{{{labels}}} {1_000_000 + 23_000}\n"
    yield "# TYPE apiserver_request_total counter\n"
    for number in range(resources):
        for verb in _VERBS:
            yield f'apiserver_request_total{{code="200",group="",resource="r{number}",verb="{verb}"}} 1023000\n'
    yield "# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds 1.79534509217e+09\n"


def read(data: bytes, at: float = 0.0) -> Sample:
    """As it comes off the wire."""
    parser = MetricsParser(at)
    for start in range(0, len(data), _CHUNK):
        parser.feed(data[start : start + _CHUNK])
    return parser.finish()


def speed(data: bytes, rounds: int = 5) -> float:
    """MB per second of CPU time, the median."""
    rates = []
    for _ in range(rounds):
        begun = time.process_time()
        read(data)
        rates.append(len(data) / (time.process_time() - begun) / 1e6)
    return statistics.median(rates)


def hour_bytes(sample: Sample) -> int:
    """What the history of one server takes, every counter moving."""
    tracemalloc.start()
    history = MetricsHistory()
    for number in range(int(HISTORY_S / _INTERVAL_S) + 1):
        counters = {
            family: {key: value + 7 * number * (place % 50) for place, (key, value) in enumerate(sums.items())}
            for family, sums in sample.counters.items()
        }
        history.add(dataclasses.replace(sample, at=number * _INTERVAL_S, counters=counters))
    gc.collect()
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return taken


def main(arguments: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench.metrics_text", description=__doc__)
    parser.add_argument("--resources", type=int, default=60)
    parser.add_argument("file", nargs="?", type=Path)
    options = parser.parse_args(arguments)
    if options.file is not None:
        data = options.file.read_bytes()
        data = gzip.decompress(data) if options.file.suffix == ".gz" else data
    else:
        data = text(options.resources)
    sample = read(data)
    sys.stdout.write(
        f"{len(data) / 1e6:.1f} MB: {speed(data):.0f} MB/s; an hour of it every {_INTERVAL_S:g} s takes "
        f"{hour_bytes(sample) / 1e6:.2f} MB\n"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
