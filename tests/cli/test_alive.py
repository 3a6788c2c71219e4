"""Signs of life: what a role writes, and what a probe makes of it."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from nodetell import alive, alive_check

CHECK = [sys.executable, "-IS", alive_check.__file__]


@pytest.mark.parametrize(
    ("text", "wanted", "problem"),
    [
        ("0000000000000090.000 ready   \n", "", ""),
        ("0000000000000090.000 ready   \n", "ready", ""),
        ("0000000000000090.000 starting\n", "", ""),
        ("0000000000000090.000 starting\n", "ready", "is starting, not ready"),
        ("0000000000000039.900 ready   \n", "", "the last sign of life is 60 s old"),
        ("0000000000000101.100 ready   \n", "", "is of another boot"),
        ("", "", "holds no sign of life"),
        ("ready\n", "ready", "holds no sign of life"),
        ("nan ready\n", "", "is of another boot"),
    ],
)
def test_what_a_file_says(text: str, wanted: str, problem: str) -> None:
    assert alive_check.problem(text, 100.0, 60.0, wanted) == problem


def test_a_sign_is_written_at_once_and_again_and_taken_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alive, "BEAT_S", 0.01)
    file = tmp_path / "alive"

    async def live() -> None:
        async with alive.alive(str(file)) as signs:
            assert signs is not None
            first = file.read_text()
            assert alive_check.problem(first, time.monotonic(), 60.0, "") == ""
            assert alive_check.main([str(file), "60", "ready"]) == 1
            signs.ready()
            assert alive_check.main([str(file), "60", "ready"]) == 0
            ready = file.read_text()
            while file.read_text() == ready:  # noqa: ASYNC110  # another process reads it, too
                await asyncio.sleep(0.01)
            assert len(file.read_text()) == len(first)

    asyncio.run(live())
    assert not file.exists()


def test_without_a_file_nothing_is_written() -> None:
    async def live() -> None:
        async with alive.alive("") as signs:
            assert signs is None

    asyncio.run(live())


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(alive.AliveError, match=r"^alive_file: .*/no/where: no such file or directory$"):
        alive.Alive(str(tmp_path / "no" / "where"))
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", "sensor", "--alive-file", str(tmp_path / "no" / "where")],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert (done.returncode, done.stderr.count("alive_file: ")) == (73, 1)


def test_what_the_probe_runs_says_why(tmp_path: Path) -> None:
    file = tmp_path / "alive"
    for arguments, why in (
        ([str(file), "60"], "no such file or directory"),
        ([str(file)], "FILE SECONDS"),
        ([str(tmp_path), "60"], "is a directory"),
    ):
        done = subprocess.run([*CHECK, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert why in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_a_role_that_hangs_is_noticed_and_one_that_goes_on_again_too(tmp_path: Path) -> None:
    """Stopped, as a loop is that never comes round."""
    file = tmp_path / "alive"
    script = (
        "import asyncio, sys; from nodetell import alive; alive.BEAT_S = 0.05\n"
        "async def main():\n"
        "    async with alive.alive(sys.argv[1]):\n"
        "        await asyncio.Event().wait()\n"
        "asyncio.run(main())"
    )
    role = subprocess.Popen([sys.executable, "-c", script, str(file)], env={"PYTHONPATH": ":".join(sys.path)})
    try:
        until(0, file, "30")
        role.send_signal(signal.SIGSTOP)
        until(1, file, "0.5")
        role.send_signal(signal.SIGCONT)
        until(0, file, "0.5")
    finally:
        role.kill()
        role.wait()


def until(status: int, file: Path, seconds: str) -> None:
    """Wait until the probe says so."""
    end = time.monotonic() + 30
    while subprocess.run([*CHECK, str(file), seconds], capture_output=True, check=False).returncode != status:
        assert time.monotonic() < end
        time.sleep(0.05)
