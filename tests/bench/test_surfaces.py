"""The benchmark of surfaces, small: that it measures what it says, with whatever is around it."""

from __future__ import annotations

import pytest

from aggregator.settings import AggregatorSettings, AlertmanagerSettings
from bench.surfaces.__main__ import Window, show
from bench.surfaces.aggregator import settings_of


def test_tables_are_settings() -> None:
    base = AggregatorSettings()
    made = settings_of(base, {"alertmanager": {"urls": ["http://127.0.0.1:9093"]}, "objects": {"events": True}})
    assert made.alertmanager == AlertmanagerSettings(urls=("http://127.0.0.1:9093",))
    assert made.objects.events
    assert made.http == base.http


def test_each_is_compared_with_the_times_without_before_and_after(capsys: pytest.CaptureFixture[str]) -> None:
    told = [("none", 0.2, 1), ("http", 0.75, 10), ("none", 0.3, 1), ("objects", 0.31, 1), ("none", 0.3, 1)]
    show([Window(name, cpu, 1.0, 100.0, times=times) for name, cpu, times in told], 0.5)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "none: 50.0 % of a core; between the others 20.0 to 30.0",
        "http: +10.0 %; without it, 2.0 % apart before and after",
        "objects: +2.0 %; without it, 0.0 % apart before and after",
    ]
