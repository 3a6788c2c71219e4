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
    told = [("none", 0.2), ("http", 0.26), ("none", 0.3), ("objects", 0.3), ("none", 0.3)]
    show([Window(name, cpu, 1.0, 100.0) for name, cpu in told])
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "none: 26.7 % of a core, 20.0 to 30.0 in 3 times",
        "http: +4.0 % of that",
        "objects: +0.0 % of that",
        "not told from nothing: 37.5 %",
    ]
