"""The Makefile on machines that lack something, in a place with spaces; and what CI thinks of a skipped test."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with nothing in it but the Makefile and what it depends on."""
    place = tmp_path / "a place with spaces"
    place.mkdir()
    shutil.copy(ROOT / "Makefile", place)
    (place / "requirements").mkdir()
    (place / "requirements" / "run.txt").touch()
    (place / "pyproject.toml").touch()
    return place


def make(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run make there, without the settings of a make that may run us."""
    env = {name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MFLAGS", "MAKELEVEL"}}
    return subprocess.run(["make", *arguments], cwd=place, env=env, capture_output=True, text=True, check=False)


def fake_python(place: Path, script: str) -> Path:
    """Something that is run where Python is wanted."""
    path = place / "fake-python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_make_alone_tells_what_can_be_made(checkout: Path) -> None:
    result = make(checkout)
    assert result.returncode == 0
    assert "make run" in result.stdout
    assert "make test" in result.stdout
    assert not (checkout / ".venv").exists()


def test_an_old_python_is_refused_with_what_is_needed(checkout: Path) -> None:
    fake_python(checkout, 'test "$1" = --version && echo "Python 3.9.2" && exit 0; exit 1')
    result = make(checkout, "setup", "PYTHON=./fake-python")
    assert result.returncode != 0
    assert "Python 3.11 or newer is needed; found: Python 3.9.2" in result.stderr
    assert not (checkout / ".venv").exists()


def test_a_python_without_venv_is_refused_with_the_remedy(checkout: Path) -> None:
    fake_python(checkout, 'case "$2" in *ensurepip*) exit 1;; esac')
    result = make(checkout, "setup", "PYTHON=./fake-python")
    assert result.returncode != 0
    assert "apt-get install python3-venv" in result.stderr


def test_a_virtual_environment_of_another_place_is_made_anew(checkout: Path) -> None:
    (checkout / ".venv").mkdir()
    (checkout / ".venv" / ".made-in").write_text("/somewhere/else\n")
    (checkout / ".venv" / "left-over").touch()
    fake_python(checkout, "exit 1")
    make(checkout, "setup", "PYTHON=./fake-python")
    assert not (checkout / ".venv" / "left-over").exists()


@pytest.fixture
def skips() -> ModuleType:
    """The script by which CI judges skips."""
    spec = importlib.util.spec_from_file_location("skips", ROOT / ".ci" / "skips.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def junit(place: Path, reason: str) -> str:
    """pytest's report of one skipped test."""
    path = place / "junit.xml"
    path.write_text(
        '<testsuites><testsuite><testcase classname="tests.test_a" name="test_b">'
        f'<skipped type="pytest.skip" message="{reason}"/></testcase></testsuite></testsuites>'
    )
    return str(path)


@pytest.mark.parametrize(
    ("reason", "lacking", "status"),
    [
        ("needs: root and network namespaces", "", 1),
        ("needs: root and network namespaces", "unshare", 0),
        ("needs: link kind geneve", "geneve", 0),
        ("needs: link kind vxlan", "geneve", 1),
        ("needs: nft", "nft", 0),
        ("needs: nft", "", 1),
        ("needs: fanotify for errors: Operation not permitted", "-c", 0),
        ("needs: fanotify for errors: Operation not permitted", "", 1),
        ("needs: br_netfilter: the module is not loaded", "/proc/sys/net/bridge", 0),
        ("needs: br_netfilter: the module is not loaded", "", 1),
        ("needs: qdisc tbf: not known", "tbf", 0),
        ("needs: qdisc tbf: not known", "", 1),
        ("not on Tuesdays", "", 0),
    ],
)
def test_a_skip_needs_an_excuse(  # noqa: PLR0917 - fixtures
    reason: str, lacking: str, status: int, skips: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(skips, "works", lambda *command: not lacking or lacking not in command)
    monkeypatch.setattr(skips.os, "geteuid", lambda: 0)
    assert skips.main(junit(tmp_path, reason)) == status
