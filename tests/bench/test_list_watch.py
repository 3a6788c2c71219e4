"""The bench of list and watch runs, and counts what it should."""

from __future__ import annotations

import json

import pytest

from bench import list_watch


def test_it_reads_every_object_and_every_event(capsys: pytest.CaptureFixture[str]) -> None:
    assert list_watch.main(["--pods", "700", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["objects"] == 700
    assert figures["list_per_s"] > 100
    assert figures["watch_per_s"] > 100
    assert figures["bytes_each"] > 2_000


def test_what_was_measured_is_one_paragraph() -> None:
    text = list_watch.report(list_watch.Figures(1, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0))
    assert "list:" in text
    assert "watch:" in text
