"""The API server's metrics in a bundle: what is damaged is one gap, and what is there counts."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cli.api_history import METRICS
from cli.report import Report
from tests.lab.cluster import Lab
from tests.lab.control_plane import ControlPlane, Syncs

FILE = f"kube/{METRICS}"


def slow(damage: Callable[[bytes], bytes] | None = None, at: int = -1) -> Report:
    """Three snapshots, the API server slow in the last; the text of one is damaged, or taken away (None)."""
    plane = ControlPlane(Lab("cp"), host="cp-1")
    plane.go()
    plane.go(slower=6, syncs={"etcd": Syncs(15, 220)})
    plane.lab.tick(0.5)
    name, when, files = plane.lab.snapshots[at]
    if damage is not None:
        files[FILE] = damage(files[FILE])
    else:
        del files[FILE]
    plane.lab.snapshots[at] = name, when, files
    return report(plane.lab)


def report(lab: Lab) -> Report:
    """Of the snapshots that were frozen; the present is none."""
    lab.store.now = lab.snapshots[-1][1]
    _, _, lab.files = lab.snapshots.pop()
    return lab.diagnose()


def said(found: Report) -> list[tuple[str, str]]:
    """Status and reason of each gap about the metrics."""
    return [(gap.status, gap.because) for gap in found.gaps if gap.signal == "kube/metrics"]


def codes(found: Report) -> set[str]:
    """Of its findings."""
    return {record.finding.code for record in found.records}


def test_whole_there_is_no_gap() -> None:
    found = slow(lambda text: text)
    assert codes(found) == {"cp.etcd_slow_fsync", "cp.saturation"}
    assert said(found) == []


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda _: b"<html>502 Bad Gateway</html>\n", "t2/kube/apiserver.metrics: no metrics in it"),
        (lambda _: b"", "t2/kube/apiserver.metrics: no metrics in it"),
        (lambda text: text[: len(text) // 3], "t2/kube/apiserver.metrics: cut off in line"),
        (lambda text: text.replace(b'le="0.05"} ', b'le="0.05"} x', 2), "t2/kube/apiserver.metrics: line"),
    ],
    ids=["no metrics", "empty", "cut off", "odd lines"],
)
def test_what_is_damaged_is_one_gap_with_its_place_and_the_host_speaks_on(
    damage: Callable[[bytes], bytes], words: str
) -> None:
    found = slow(damage)
    told = [because for status, because in said(found) if status == "damaged"]
    assert len(told) == 1
    assert told[0].startswith(words)
    assert "cp.etcd_slow_fsync" in codes(found)


def test_without_any_of_the_last_snapshot_nothing_is_said_of_now() -> None:
    found = slow()
    assert [status for status, _ in said(found)] == ["missing"]
    assert codes(found) == {"cp.etcd_slow_fsync"}


def test_a_snapshot_between_that_has_none_costs_nothing() -> None:
    assert codes(slow(None, 1)) == {"cp.etcd_slow_fsync", "cp.saturation"}
