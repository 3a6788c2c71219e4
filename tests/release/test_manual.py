"""The manual pages: one for each command and part, with everything that its help has, and without a fault of roff."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from cli.pages import PAGES
from release.manual import main, pages
from tests.needs import tool

SECTIONS = [
    "NAME",
    "SYNOPSIS",
    "DESCRIPTION",
    "OPTIONS",
    "OUTPUT",
    "AGGREGATOR",
    "EXAMPLES",
    "ENVIRONMENT",
    "EXIT STATUS",
]


@pytest.fixture(scope="module")
def manual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("man")
    assert main([str(directory)]) == 0
    return directory


def shown(path: Path) -> tuple[str, str]:
    """A page as man shows it, and what it warns of."""
    env = {**os.environ, "LC_ALL": "C.UTF-8", "MANWIDTH": "100", "MAN_KEEP_FORMATTING": ""}
    done = subprocess.run(
        ["man", "--warnings=w", "-P", "cat", "-l", str(path)],
        capture_output=True, text=True, env=env, timeout=50, check=True,
    )  # fmt: skip
    return done.stdout, done.stderr


def test_there_is_one_for_each_command_and_part(manual: Path) -> None:
    there = {path.name for path in manual.iterdir()}
    assert {f"nodetell-{command}.1" for command in PAGES} | {"nodetell.1", "nodetell-certs-issue.1"} <= there


def test_none_has_a_fault(manual: Path) -> None:
    tool("groff")
    paths = [str(path) for path in sorted(manual.iterdir())]
    done = subprocess.run(
        ["groff", "-man", "-ww", "-Tutf8", "-z", *paths], capture_output=True, text=True, timeout=50, check=True
    )
    assert done.stderr == ""


def test_a_page_says_what_the_help_says(manual: Path) -> None:
    tool("man")
    text, _ = shown(manual / "nodetell-findings.1")
    found = [line for line in text.splitlines() if line in (*SECTIONS, "SEE ALSO")]
    assert found == [*SECTIONS, "SEE ALSO"]
    assert "--sort-by COLUMN[:desc]" in text
    assert "nodetell findings --watch --format json" in text
    assert "a critical finding stands" in " ".join(text.split())
    assert "nodetell-explain(1)" in text


def test_pages_do_not_hang_on_the_terminal_or_the_environment(manual: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = {path.name: path.read_text() for path in manual.iterdir()}
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NODETELL_AGGREGATOR", "elsewhere:1")
    assert pages() == first


def test_no_line_is_taken_for_a_request(manual: Path) -> None:
    known = (".SH", ".TP", ".B", ".nf", ".fi", ".TH", ".nh", ".ad", '.\\"')
    for path in manual.iterdir():
        for line in path.read_text().splitlines():
            assert not line.startswith("'"), (path.name, line)
            assert not line.startswith(".") or line.split()[0] in known, (path.name, line)
