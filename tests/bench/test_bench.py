"""The benchmark's own arithmetic: what it divides, and that it says so where a number to beat is not met."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Any

from bench.measure import Spread, cpu_seconds, memory
from bench.report import ratio, report


def spread(median: float) -> dict[str, float]:
    """Of three measurements."""
    return {"median": median, "least": median / 2, "greatest": median * 2, "count": 3}


def result(ours_us: float, share: float, cgroup: float | None = 10.0) -> dict[str, Any]:
    """What one run gives."""
    used = {"rss": 30.0, "pss": 20.0, "cgroup": cgroup}
    exporter = {"cpu_us": spread(20_000), "bytes": 230_000, "memory": used}
    running = {"percent": spread(share), "bytes_per_minute": 3_900}
    return {
        "node_exporter": {"netclass+netdev": exporter, "netclass+netdev+diskstats+filesystem": exporter},
        "sweep_us": {
            "quiet": {"interface counters": spread(ours_us / 2), "links": spread(40)},
            "moving": {"interface counters": spread(ours_us), "links": spread(80)},
        },
        "agent": {"quiet": running, "moving": running, "memory": used, "aggregator_memory": used},
    }


def test_the_ratio_is_theirs_by_ours() -> None:
    assert ratio(result(100, 0.1), "moving") == 200
    assert ratio(result(100, 0.1), "quiet") == 400


def test_the_report_says_what_is_met_and_what_is_not() -> None:
    text = report({100: result(100, 0.1), 1000: result(400, 0.5)})
    lines = text.splitlines()
    verdicts = [
        line.rpartition(": ")[2] for line in lines if line.startswith("  node_exporter netclass+netdev / sweep,")
    ]
    assert verdicts == ["met", "NOT MET"]
    shares = [line.rpartition(": ")[2] for line in lines if "moving, % of a core, " in line]
    assert shares == ["met", "NOT MET"]


def test_what_could_not_be_measured_is_not_called_met() -> None:
    text = report({100: result(100, 0.1, cgroup=None)})
    assert "cgroup charge, MiB, 100 interfaces: could not be measured here" in text


def test_the_spread_has_the_median() -> None:
    assert Spread.of([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0, 3)


def test_cpu_time_of_another_process_is_seen() -> None:
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        before = cpu_seconds(busy.pid)
        time.sleep(0.3)
        assert cpu_seconds(busy.pid) - before > 0.02
    finally:
        busy.kill()
        busy.wait()


def test_memory_of_this_process() -> None:
    used = memory(os.getpid(), None)
    assert used.rss > 5
    assert used.pss is None or 0 < used.pss <= used.rss
    assert used.cgroup is None


def test_without_root_it_says_so() -> None:
    script = (
        "import os, sys; os.geteuid = lambda: 1000; sys.argv = ['x']; from bench.sweep import main; sys.exit(main())"
    )
    outcome = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert outcome.returncode == 3
    assert "needs root" in outcome.stderr
