"""The bench of the sensor's cost: it measures what this machine allows, and says what it does not."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from bench.fsync_cost import Operation, compared, main
from tests import needs


def test_a_cost_is_found_by_turns() -> None:
    state = {"on": False}

    def operation() -> None:
        time.sleep(0.002 if state["on"] else 0.0005)

    cost = compared(Operation("sleep", operation, 3), 4, lambda: state.update(on=True), lambda: state.update(on=False))
    assert not state["on"]
    assert (cost.without.count, cost.on.count) == (4, 4)
    assert 1e6 < cost.added < 10e6
    assert cost.ratio > 1.5


@pytest.mark.needs_root
def test_it_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    needs.bpf()
    out = tmp_path / "figures.json"
    assert main(["--rounds", "1", "--directory", str(tmp_path), "--json", str(out)]) == 0
    printed = capsys.readouterr().out
    figures = json.loads(out.read_text())
    assert {"drops", "retransmits"} <= set(figures)
    assert all(cost["without"]["least"] > 0 and cost["on"]["least"] > 0 for costs in figures.values() for cost in costs)
    assert "getppid" in printed
    assert "kprobe vfs_fsync_range" in printed
