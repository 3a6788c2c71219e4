"""What an etcd says of itself at /metrics, as the agent reads it."""

from __future__ import annotations

from collections.abc import Iterable

from agent.collectors.etcd import EtcdCollector
from agent.collectors.etcd_metrics import COMMIT, COUNTERS, LEVELS, WAL, parse_etcd
from agent.collectors.fsync import FsyncCollector
from fuzz import mutators
from fuzz.hosts import collected
from fuzz.target import Target, sometimes

_GOOD = b"etcd_server_quota_backend_bytes 2.147483648e+09\n"


def check(case: bytes) -> None:
    """What is odd costs its own figure and no other, and all figures can be told."""
    found = parse_etcd(_GOOD + case)
    assert found.levels["quota_bytes"] == 2147483648
    for name in (WAL, COMMIT):
        try:
            histogram = found.histogram(name, "wal")
        except ValueError as odd:
            assert "\n" not in str(odd)
            continue
        assert len(histogram.counts) == len(histogram.bounds_us) + 1
        assert all(0 <= count < 1 << 64 for count in histogram.counts)
    if sometimes(case, 8):
        collected([EtcdCollector(), FsyncCollector()], {"etcd.metrics": case})


def _seeds() -> Iterable[bytes]:
    buckets = "".join(
        f'{name}_bucket{{le="{bound}"}} {count}\n'
        for name in (WAL, COMMIT)
        for count, bound in enumerate(("0.001", "0.002", "8.192", "+Inf"), 5)
    )
    yield buckets.encode()
    yield "".join(f"{name} {number}\n" for number, name in enumerate((*LEVELS, *COUNTERS))).encode()
    yield b"# HELP x y\n# TYPE x counter\nx 1\n" + _GOOD + buckets.encode()[:200]
    yield b'etcd_server_leader_changes_seen_total{a="b\\"c"} 1.8446744073709552e+19 1700000000000 # {} 1\n'


TARGET = Target(
    check,
    _seeds,
    words=tuple(name.encode() for name in (WAL, COMMIT, *LEVELS, *COUNTERS)),
    mutate=mutators.lines,
    max_bytes=800,
)
