"""docs/prometheus.md has a row for every metric and every alert, and no other."""

from __future__ import annotations

import re

import pytest
from nodetell.metrics import Kind, Metric

from aggregator.metrics import declared
from tests.house.metrics_page import COMMON, OF_AGENT, PAGE, filled


def test_the_page_is_what_the_code_declares() -> None:
    page = PAGE.read_text()
    assert filled(page) == page, "python -m tests.house.metrics_page"


def test_a_place_that_is_missing_is_noticed() -> None:
    with pytest.raises(ValueError, match="aggregator: begin"):
        filled(PAGE.read_text().replace("<!-- aggregator: begin -->", ""))


@pytest.mark.parametrize("metrics", [(*OF_AGENT, *COMMON), (*declared.METRICS, *COMMON)], ids=["agent", "aggregator"])
def test_no_metric_is_declared_twice_and_all_are_named_as_they_should_be(metrics: tuple[Metric, ...]) -> None:
    names = [metric.name for metric in metrics]
    assert len(names) == len(set(names))
    for metric in metrics:
        assert (metric.kind is Kind.COUNTER) == metric.name.endswith("_total"), metric.name
        assert metric.help.endswith("."), metric.name
        if metric.name.startswith("nodetell_"):
            assert re.fullmatch(r"[a-z_]+", metric.name), metric.name
