"""The command that fuzzes: what it says of a run, and of what it cannot do."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from fuzz import __main__ as command
from fuzz import corpus


@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="needs: atheris (requirements/fuzz.txt)")
def test_a_short_run_counts_its_cases_and_keeps_what_is_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(corpus, "DIRECTORY", tmp_path / "corpus")
    monkeypatch.setattr(corpus.load, "__defaults__", (tmp_path / "corpus",))
    monkeypatch.setattr(corpus.save, "__defaults__", (tmp_path / "corpus",))
    (tmp_path / "corpus").mkdir()
    assert command.main(["plan", "--runs", "300", "--keep", "--work", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "plan: 300 cases in " in said
    assert " 0 findings; " in said
    assert len(corpus.load("plan")) > 1


def test_an_unknown_target_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["plan", "nonsense"])
    assert "no target nonsense" in capsys.readouterr().err


def test_without_the_engine_it_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "find_spec", lambda _name: None)
    with pytest.raises(SystemExit):
        command.main(["plan"])
    assert "requirements/fuzz.txt" in capsys.readouterr().err
