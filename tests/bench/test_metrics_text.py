"""The benchmark of metrics texts: the text is one, what is used of it is read, and what is printed is measured."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from aggregator.cluster import metric_families as families
from bench import metrics_text


def test_the_text_is_good_and_both_sorts_of_lines_are_in_it() -> None:
    sample = metrics_text.read(metrics_text.text(3))
    assert sample.problems == ()
    assert len(sample.counters[families.REQUESTS]) == 3 * 7
    assert sum(sample.histograms[families.REQUEST_SECONDS]["GET",].counts) == 3 * 1_023_000
    assert b"apiserver_request_sli_duration_seconds" in metrics_text.text(3)


def test_an_hour_takes_no_more_than_a_few_texts() -> None:
    data = metrics_text.text(10)
    assert 0 < metrics_text.hour_bytes(metrics_text.read(data)) < 4 * len(data)


def test_it_prints_what_it_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    packed = tmp_path / "a.prom.gz"
    packed.write_bytes(gzip.compress(metrics_text.text(2)))
    assert metrics_text.main([str(packed)]) == 0
    assert metrics_text.main(["--resources", "2"]) == 0
    for line in capsys.readouterr().out.splitlines():
        assert "MB/s; an hour of it every 30 s takes" in line
