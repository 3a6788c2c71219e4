"""Running the command as operators do, and comparing what it prints with small golden files."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parent / "golden"
ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-P", "-m", "cli.main")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write golden files anew; then read their diff")


def environment(**more: str) -> dict[str, str]:
    """A plain environment in which the command of this tree runs."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ}
    return {**kept, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'proto'}", **more}


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run() -> Run:
    """Run the command with arguments, to its end."""

    def run(*arguments: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
        words = [*COMMAND, *(str(each) for each in arguments)]
        return subprocess.run(words, capture_output=True, text=True, env=environment(**env), timeout=50, check=False)

    return run


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare a text with tests/cli/golden/NAME."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--update-golden", default=False):
            GOLDEN.mkdir(exist_ok=True)
            path.write_text(text + "\n")
        assert text + "\n" == path.read_text()

    return compare
