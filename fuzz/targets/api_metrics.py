"""What an API server says of itself at /metrics, as the aggregator reads it: a stream, cut anywhere."""

from __future__ import annotations

import math
from collections.abc import Iterable

from aggregator.cluster.api_metrics import MetricsError, MetricsParser, Sample
from aggregator.cluster.metric_families import FAMILIES
from fuzz import mutators
from fuzz.target import Target, sometimes

_GOOD = b"etcd_server_has_leader 1\n# TYPE other gauge\n"


def check(case: bytes) -> None:
    """The same wherever it is cut; damage in one family loses that family and no other; no count is below 0."""
    step, text = (case[0] if case else 0) + 1, case[1:]
    whole, dearer = _parsed([text]), sometimes(case, 4)
    if dearer:
        assert repr(whole) == repr(_parsed([text[at : at + step] for at in range(0, len(text), step)]))
    if whole is None:
        return
    for histograms in whole.histograms.values():
        for histogram in histograms.values():
            assert len(histogram.counts) == len(histogram.bounds) + 1
            assert all(count >= 0 for count in histogram.counts)
            assert all(low < high for low, high in zip(histogram.bounds, histogram.bounds[1:], strict=False))
    for sums in whole.counters.values():
        assert all(math.isfinite(value) or value == math.inf for value in sums.values())
    assert all("\n" not in problem for problem in whole.problems)
    if dearer and b"etcd_server_has_leader" not in text:
        again = _parsed([_GOOD + text])
        assert again is not None
        assert again.levels["etcd_server_has_leader"] == {(): 1.0}


def _parsed(chunks: Iterable[bytes]) -> Sample | None:
    parser = MetricsParser(5.0)
    try:
        for chunk in chunks:
            parser.feed(chunk)
        return parser.finish()
    except MetricsError as error:
        assert "\n" not in str(error)
        return None


def _seeds() -> Iterable[bytes]:
    for family in FAMILIES:
        for source in family.sources[:2]:
            labels = 'verb="GET",resource="pods",code="200",name="x",request_kind="mutating",system_client="kubelet"'
            if family.kind.name == "HISTOGRAM":
                rows = [f'{source}_bucket{{{labels},le="{le}"}} {n}' for n, le in enumerate(("0.1", "1", "+Inf"), 3)]
                rows += [f"{source}_sum{{{labels}}} 1.5", f"{source}_count{{{labels}}} 5"]
            else:
                rows = [f"{source}{{{labels}}} 7", f'{source}{{code="500"}} 1e3']
            yield b"\x1f" + f"# HELP {source} x\n# TYPE {source} y\n{chr(10).join(rows)}\n".encode()
    yield b'\x03process_start_time_seconds 1.79e+09\nother{a="b\\"c",} 5 17 # {x="y"} 1\n{"http.server",a="b"} 1\n'


TARGET = Target(
    check, _seeds, words=tuple(family.name.encode() for family in FAMILIES), mutate=mutators.lines, max_bytes=1_200
)
